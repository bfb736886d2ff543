// The account of every message: sent once, arrived once, in order.
//
// Three shapes of delivery, three ways to number:
//   flow       each (publisher, receiver) pair counts its own messages       fan-in, p2p, offline, hold
//   broadcast  each publisher counts, and each receiver must see all of them  fan-out
//   group      each publisher counts, one receiver of the group gets each     shared
// Order is judged per (publisher, receiver). Invariant: after the drain, lost + arrived (without duplicates) = what had to arrive.
#pragma once

#include <cstdint>
#include <cstdio>
#include <unordered_set>
#include <vector>

class Ledger {
 public:
  enum class Shape { flow, broadcast, group };

  Ledger(Shape shape, uint32_t publishers, uint32_t receivers)
      : shape_(shape), publishers_(publishers), receivers_(receivers), sent_(shape == Shape::flow ? flows() : publishers, 0), next_(flows(), 0) {
    if (shape == Shape::group) marks_.resize(static_cast<size_t>(publishers) * markWords), base_.resize(publishers, 0);
  }

  // The sequence number of the next message from `publisher` (to `receiver`, where flows count).
  uint32_t number(uint32_t publisher, uint32_t receiver) { return sent_[shape_ == Shape::flow ? flow(publisher, receiver) : publisher]++; }

  // Books an arrival; true when it is the first of this message at this receiver (in the group).
  bool arrive(uint32_t publisher, uint32_t receiver, uint32_t sequence) {
    const size_t at = flow(publisher, receiver);
    if (sequence >= sent_[shape_ == Shape::flow ? at : publisher]) {
      invented_++;
      return false;
    }
    if (shape_ == Shape::group) return arriveInGroup(publisher, at, sequence);
    uint32_t& next = next_[at];
    if (sequence == next) {
      next++;
      return true;
    }
    if (sequence > next) {  // a gap: these are lost unless they come later
      for (uint32_t i = next; i < sequence; i++) missing_.insert(key(at, i));
      next = sequence + 1;
      return true;
    }
    if (missing_.erase(key(at, sequence)) == 1) {
      misordered_++;
      return true;
    }
    duplicated_++;
    return false;
  }

  // Messages that have not arrived; to be asked after the drain.
  uint64_t lost() const {
    uint64_t lost = missing_.size() + skipped_;
    if (shape_ == Shape::group) {
      for (uint32_t publisher = 0; publisher < publishers_; publisher++)
        for (uint32_t i = base_[publisher]; i < sent_[publisher]; i++) lost += i - base_[publisher] < markBits && isMarked(publisher, i) ? 0 : 1;
      return lost;
    }
    for (size_t at = 0; at < next_.size(); at++) lost += sent_[shape_ == Shape::flow ? at : at / receivers_] - next_[at];
    return lost;
  }
  // Whether all that arrived was sent, came once, and in order.
  bool isRight() const { return duplicated_ + misordered_ + invented_ == 0; }

  // The findings, as JSON fields without braces. `invented` are arrivals of what was never sent.
  void print(uint64_t lost) const {
    const auto field = [](const char* name, uint64_t count) { printf("\"%s\":%llu,", name, static_cast<unsigned long long>(count)); };
    field("lost", lost);
    field("duplicated", duplicated_);
    field("misordered", misordered_);
    field("invented", invented_);
  }

 private:
  static constexpr uint32_t markBits = 1 << 14;
  static constexpr size_t markWords = markBits / 64;

  size_t flows() const { return static_cast<size_t>(publishers_) * receivers_; }
  size_t flow(uint32_t publisher, uint32_t receiver) const { return static_cast<size_t>(publisher) * receivers_ + receiver; }
  static uint64_t key(size_t at, uint32_t sequence) { return static_cast<uint64_t>(at) << 32 | sequence; }

  uint64_t& word(uint32_t publisher, uint32_t sequence) { return marks_[publisher * markWords + sequence % markBits / 64]; }
  bool isMarked(uint32_t publisher, uint32_t sequence) const {
    return (marks_[publisher * markWords + sequence % markBits / 64] >> (sequence % 64) & 1) != 0;
  }

  // base_ is the lowest number not yet arrived; the marks above it say which of the following have.
  bool arriveInGroup(uint32_t publisher, size_t at, uint32_t sequence) {
    uint32_t& base = base_[publisher];
    if (sequence < base || (sequence - base < markBits && isMarked(publisher, sequence))) {
      duplicated_++;
      return false;
    }
    while (sequence - base >= markBits) {  // too far behind to be still under way
      if (isMarked(publisher, base)) word(publisher, base) &= ~(1ull << (base % 64));
      else skipped_++;
      base++;
    }
    word(publisher, sequence) |= 1ull << (sequence % 64);
    while (isMarked(publisher, base)) {
      word(publisher, base) &= ~(1ull << (base % 64));
      base++;
    }
    if (sequence < next_[at]) misordered_++;
    else next_[at] = sequence + 1;
    return true;
  }

  Shape shape_;
  uint32_t publishers_;
  uint32_t receivers_;
  std::vector<uint32_t> sent_;
  std::vector<uint32_t> next_;
  std::vector<uint64_t> marks_;
  std::vector<uint32_t> base_;
  std::unordered_set<uint64_t> missing_;
  uint64_t skipped_ = 0;
  uint64_t duplicated_ = 0;
  uint64_t misordered_ = 0;
  uint64_t invented_ = 0;
};
