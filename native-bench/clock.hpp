// The one clock of the load generator.
#pragma once

#include <time.h>

#include <cstdint>

inline uint64_t nowNanoseconds() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000ull + static_cast<uint64_t>(time.tv_nsec);
}
