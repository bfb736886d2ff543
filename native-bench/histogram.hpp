// A histogram of durations in nanoseconds with a bounded relative error.
//
// Each power of two is cut into 128 equal steps, so a value is off by less than 1 % whatever its size, and recording is an
// index computation and an addition. It never allocates after construction. Invariant: the counts add up to count().
#pragma once

#include <bit>
#include <cstdint>
#include <cstdio>
#include <vector>

class Histogram {
 public:
  Histogram() : counts_(slotCount, 0) {}

  void record(uint64_t nanoseconds) {
    counts_[slotOf(nanoseconds)]++;
    count_++;
    if (nanoseconds > max_) max_ = nanoseconds;
  }

  uint64_t count() const { return count_; }
  uint64_t max() const { return max_; }

  // The percentiles in microseconds, as a JSON field without braces around it.
  void print() const {
    printf("\"latencyMicroseconds\":{");
    for (const double percent : {50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.99}) printf("\"p%g\":%.1f,", percent, static_cast<double>(percentile(percent)) / 1e3);
    printf("\"max\":%.1f},", static_cast<double>(max_) / 1e3);
  }

  // The value that `percent` of all records do not exceed; the upper edge of its step. 0 when nothing was recorded.
  uint64_t percentile(double percent) const {
    if (count_ == 0) return 0;
    const double exact = percent / 100.0 * static_cast<double>(count_);
    uint64_t rank = static_cast<uint64_t>(exact);
    if (static_cast<double>(rank) < exact || rank == 0) rank++;
    uint64_t seen = 0;
    for (size_t slot = 0; slot < slotCount; slot++) {
      seen += counts_[slot];
      if (seen >= rank) return upperEdge(slot) < max_ ? upperEdge(slot) : max_;
    }
    return max_;
  }

 private:
  static constexpr unsigned stepBits = 7;
  static constexpr uint64_t steps = 1ull << stepBits;
  static constexpr size_t slotCount = (64 - stepBits + 1) * steps;

  static size_t slotOf(uint64_t value) {
    if (value < 2 * steps) return value;
    const unsigned shift = 63 - stepBits - static_cast<unsigned>(std::countl_zero(value));
    return shift * steps + (value >> shift);
  }

  static uint64_t upperEdge(size_t slot) {
    if (slot < 2 * steps) return slot;
    const unsigned shift = static_cast<unsigned>(slot / steps) - 1;
    return ((slot - shift * steps + 1) << shift) - 1;
  }

  std::vector<uint64_t> counts_;
  uint64_t count_ = 0;
  uint64_t max_ = 0;
};
