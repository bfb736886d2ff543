// The instants at which messages fall due in an open loop. They are fixed beforehand, whatever the broker does.
//
// A timer wakes the loop often enough; how late it does so is part of the latency, because latency counts from the instant. With rate 0 there is no
// timer, and nothing falls due.
#pragma once

#include <sys/timerfd.h>

#include <algorithm>

#include "loop.hpp"

class Pace {
 public:
  Pace(double rate, Loop& loop) : rate_(rate), loop_(loop) {}
  ~Pace() {
    if (timer_ >= 0) ::close(timer_);
  }
  Pace(const Pace&) = delete;
  Pace& operator=(const Pace&) = delete;

  // Starts the timer. The first message falls due at `time`.
  void begin(uint64_t time) {
    if (rate_ == 0) return;
    begin_ = time;
    timer_ = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer_ < 0) failRun(std::string("timerfd_create: ") + strerror(errno));
    const uint64_t step = std::max<uint64_t>(50'000, static_cast<uint64_t>(1e9 / rate_));
    itimerspec spec{};
    spec.it_interval.tv_sec = spec.it_value.tv_sec = static_cast<time_t>(step / 1'000'000'000);
    spec.it_interval.tv_nsec = spec.it_value.tv_nsec = static_cast<long>(step % 1'000'000'000);
    timerfd_settime(timer_, 0, &spec, nullptr);
    loop_.watchTimer(timer_);
  }

  // To be called when turn() says that the timer was among the events.
  void clearTimer() {
    uint64_t expirations = 0;
    if (::read(timer_, &expirations, sizeof expirations) < 0 && errno != EAGAIN) failRun(std::string("timer: ") + strerror(errno));
  }

  // Takes the next message that is due: true, its number from 0, and its instant.
  bool take(uint64_t now, uint64_t& number, uint64_t& due) {
    if (rate_ == 0) return false;
    due = begin_ + static_cast<uint64_t>(static_cast<double>(count_) * 1e9 / rate_);
    if (due > now) return false;
    number = count_++;
    return true;
  }

 private:
  double rate_;
  Loop& loop_;
  int timer_ = -1;
  uint64_t begin_ = 0;
  uint64_t count_ = 0;
};
