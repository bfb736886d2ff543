// The workloads whose messages wait in the broker: QoS 1 from publishers that are online to kept sessions whose clients are away.
//
//   offline     publish for a time, in closed or open loop; then the clients come back and take everything
//   hold-fill   a fixed number of messages is published and stays in the broker: what does each cost in memory and on disk?
//   hold-drain  against the same broker or a restarted one: its memory, then the clients come back and take everything that hold-fill has left
//
// "Delivered" is a message that the broker has acknowledged, and latency runs until PUBACK. Every acknowledged message must come to its client once
// and in order, judged per publisher. What has not come when --drain is over counts as lost; `stillArriving` says that more was on its way. hold-drain
// is another process than hold-fill, so publishers and targets follow one fixed scheme that both know.
#pragma once

#include <algorithm>
#include <deque>

#include "fleet.hpp"
#include "histogram.hpp"
#include "ledger.hpp"
#include "pace.hpp"
#include "payload.hpp"
#include "process.hpp"

class OfflineLoad : private Fleet {
 public:
  static bool isMeant(const Options& options) { return options.workload == "offline" || isHold(options); }

  explicit OfflineLoad(const Options& options)
      : Fleet(options, options.receivers + options.publishers),
        broker_(options.pid),
        targetCount_(options.receivers),
        publisherCount_(options.publishers),
        ledger_(Ledger::Shape::flow, publisherCount_, targetCount_),
        publishers_(publisherCount_),
        payload_(options.payload),
        pace_(options.rate, loop_) {
    if (options.qos != 1) failUsage("--qos: " + options.workload + " takes 1");
    if (isHold(options) && options.rate > 0) failUsage("--rate: hold has a window");
    for (uint32_t i = 0; i < targetCount_; i++) {
      plans_[i].clientId = "bench-t" + std::to_string(i);
      plans_[i].isKept = true;
      topics_.push_back("bench/p2p/" + plans_[i].clientId);
      if (options.addressing == "topics") plans_[i].filter = topics_[i];
    }
    for (uint32_t i = 0; i < publisherCount_; i++) plans_[targetCount_ + i].clientId = "bench-p" + std::to_string(i);
  }

  // Runs to the end, prints the result, and returns the exit code.
  int run() {
    if (options_.workload == "hold-fill") return fill();
    if (options_.workload == "hold-drain") return drain();
    return measure();
  }

 private:
  struct Publisher {
    uint32_t sent = 0;
    uint32_t inFlight = 0;
    std::vector<uint64_t> sentAt;   // by packet ID - 1; 0 when the ID is free
    std::vector<uint16_t> freeIds;  // those that have been used before
    std::deque<uint64_t> held;      // open loop: due, but the broker's Receive Maximum is used up
  };

  static bool isHold(const Options& options) { return options.workload == "hold-fill" || options.workload == "hold-drain"; }

  uint32_t targetOf(uint32_t publisher, uint32_t number) const { return (publisher + number) % targetCount_; }

  // How many of the messages of hold are this publisher's.
  uint32_t shareOf(uint32_t publisher) const { return options_.messages / publisherCount_ + (publisher < options_.messages % publisherCount_ ? 1 : 0); }

  int measure() {
    makeSessions();
    connectRange(targetCount_, connections_.size());
    const uint64_t begin = nowNanoseconds();
    const uint64_t measureFrom = begin + static_cast<uint64_t>(options_.warmup * 1e9);
    const uint64_t measureTo = measureFrom + static_cast<uint64_t>(options_.seconds * 1e9);
    pace_.begin(begin);
    isSending_ = true;
    if (options_.rate == 0) pumpAll();
    CostSnapshot from;
    for (;;) {
      turn();
      const uint64_t now = nowNanoseconds();
      if (!isMeasuring_ && now >= measureFrom) {
        from = snapshot();
        isMeasuring_ = true;
      }
      if (now >= measureTo) break;
      sendDue(now);
    }
    const CostSnapshot to = snapshot();
    isMeasuring_ = isSending_ = false;
    turnWhile([this] { return unacknowledged_ > 0; });
    const uint64_t waiting = published_;
    const uint64_t drainBegin = nowNanoseconds();
    takeBack();
    const double drainSeconds = static_cast<double>(nowNanoseconds() - drainBegin) / 1e9;
    leaveRange(0, targetCount_);
    disconnectAll();

    const uint64_t lost = ledger_.lost();
    const bool ok = ledger_.isRight() && lost + damaged_ + unacknowledged_ + refused_ == 0 && acknowledged_ > 0;
    printHead(ok);
    if (options_.rate > 0) printf("\"rate\":%.0f,", options_.rate);
    else printf("\"window\":%u,", options_.window);
    printf("\"delivered\":%llu,", static_cast<unsigned long long>(acknowledged_));
    CostSpan(from, to).print(acknowledged_);
    latency_.print();
    printf("\"waiting\":%llu,\"drainedPerSecond\":%.0f,", static_cast<unsigned long long>(waiting), static_cast<double>(arrived_) / drainSeconds);
    printFindings(lost);
    return ok ? 0 : 1;
  }

  int fill() {
    makeSessions();
    connectRange(targetCount_, connections_.size());
    settle();
    const Memory before = memory();
    const CostSnapshot from = snapshot();
    isSending_ = isMeasuring_ = true;
    pumpAll();
    turnWhile([this] { return acknowledged_ < options_.messages; });
    const CostSnapshot filled = snapshot();
    isSending_ = isMeasuring_ = false;
    settle();
    const Memory after = memory();
    const Written written = CostSpan(from, snapshot()).written;  // with what the broker writes a little later
    disconnectAll();

    const bool ok = damaged_ + unacknowledged_ + refused_ == 0 && acknowledged_ == options_.messages;
    printHead(ok);
    CostSpan span(from, filled);
    span.written = written;
    printf("\"messages\":%u,\"acknowledged\":%llu,", options_.messages, static_cast<unsigned long long>(acknowledged_));
    span.print(acknowledged_);
    const auto perMessage = [this](uint64_t low, uint64_t high) { return (static_cast<double>(high) - static_cast<double>(low)) / options_.messages; };
    printf("\"bytesPerMessage\":%.1f,\"anonymousBytesPerMessage\":%.1f,", perMessage(before.rssBytes, after.rssBytes),
           perMessage(before.anonymousBytes, after.anonymousBytes));
    printf("\"rssBeforeBytes\":%llu,\"rssAfterBytes\":%llu,", static_cast<unsigned long long>(before.rssBytes), static_cast<unsigned long long>(after.rssBytes));
    printFindings(0);
    return ok ? 0 : 1;
  }

  int drain() {
    for (uint32_t publisher = 0; publisher < publisherCount_; publisher++)
      for (uint32_t number = 0; number < shareOf(publisher); number++) ledger_.number(publisher, targetOf(publisher, number));
    published_ = options_.messages;
    settle();
    const Memory recovered = memory();
    const CostSnapshot from = snapshot();
    takeBack();
    const CostSnapshot to = snapshot();
    leaveRange(0, targetCount_);

    const uint64_t lost = ledger_.lost();
    const bool ok = ledger_.isRight() && lost + damaged_ == 0;
    printHead(ok);
    printf("\"messages\":%u,\"taken\":%llu,", options_.messages, static_cast<unsigned long long>(arrived_));
    CostSpan(from, to).print(arrived_);
    printf("\"rssBytes\":%llu,\"anonymousBytes\":%llu,\"firstMessageMilliseconds\":%.1f,", static_cast<unsigned long long>(recovered.rssBytes),
           static_cast<unsigned long long>(recovered.anonymousBytes), static_cast<double>(firstArrival_ - std::min(from.time, firstArrival_)) / 1e6);
    printFindings(lost);
    return ok ? 0 : 1;
  }

  // The targets get new and empty sessions, and go away.
  void makeSessions() {
    forgetSessions(0, targetCount_);
    connectRange(0, targetCount_);
    leaveRange(0, targetCount_);
  }

  // The targets come back and take what waits for them.
  void takeBack() {
    isTaking_ = true;
    connectRange(0, targetCount_);
    for (uint32_t i = 0; i < targetCount_; i++)
      if (!plans_[i].hadSession) failRun(plans_[i].clientId + ": the broker has lost its session");
    turnWhile([this] { return arrived_ < published_; });
    isStillArriving_ = arrived_ < published_ && nowNanoseconds() - lastArrival_ < 1'000'000'000;
    loop_.flushAll();
  }

  void turn() {
    loop_.flushAll();
    if (loop_.turn(5)) pace_.clearTimer();
  }

  // Serves the loop while `isWanted`, but not longer than --drain says.
  template <typename Condition>
  void turnWhile(Condition isWanted) {
    const uint64_t deadline = nowNanoseconds() + static_cast<uint64_t>(options_.drain * 1e9);
    while (isWanted() && nowNanoseconds() < deadline) turn();
  }

  void settle() {
    const uint64_t end = nowNanoseconds() + static_cast<uint64_t>(options_.settle * 1e9);
    while (nowNanoseconds() < end) turn();
  }

  bool mayPublish(uint32_t index) const {
    return publishers_[index].inFlight < std::min(plans_[targetCount_ + index].receiveMaximum, 65535u);
  }

  bool isFinished(uint32_t index) const { return isHold(options_) && publishers_[index].sent == shareOf(index); }

  void pump(uint32_t index) {
    while (isSending_ && publishers_[index].inFlight < options_.window && mayPublish(index) && !isFinished(index)) publish(index, nowNanoseconds());
  }

  void pumpAll() {
    for (uint32_t index = 0; index < publisherCount_; index++) pump(index);
  }

  void sendDue(uint64_t now) {
    for (uint64_t number, due; pace_.take(now, number, due);) {
      const uint32_t index = static_cast<uint32_t>(number % publisherCount_);
      if (mayPublish(index)) publish(index, due);
      else publishers_[index].held.push_back(due);
    }
  }

  void publish(uint32_t index, uint64_t time) {
    Publisher& publisher = publishers_[index];
    Connection& connection = connections_[targetCount_ + index];
    uint16_t packetId;
    if (publisher.freeIds.empty()) {
      publisher.sentAt.push_back(time);
      packetId = static_cast<uint16_t>(publisher.sentAt.size());
    } else {
      packetId = publisher.freeIds.back();
      publisher.freeIds.pop_back();
      publisher.sentAt[packetId - 1u] = time;
    }
    const uint32_t target = targetOf(index, publisher.sent++);
    uint8_t* p = mqtt::publish(connection.out, options_.protocol, 1, packetId, topics_[target], options_.payload);
    payload_.write(p, {index, target, ledger_.number(index, target), payload_.bytes(), time});
    publisher.inFlight++;
    unacknowledged_++;
    published_++;
    loop_.touch(connection);
  }

  void onPacket(Connection& connection, const mqtt::Frame& frame) override {
    switch (frame.first & 0xf0) {
      case mqtt::PUBLISH:
        return onPublish(connection, frame);
      case mqtt::PUBACK:
        return onPuback(connection, frame);
      default:
        failRun(plans_[connection.index].clientId + ": unexpected packet type " + std::to_string(frame.first >> 4));
    }
  }

  void onPuback(Connection& connection, const mqtt::Frame& frame) {
    if (connection.index < targetCount_ || frame.end - frame.body < 2) return onDamaged();
    const uint32_t index = connection.index - targetCount_;
    Publisher& publisher = publishers_[index];
    const size_t packetId = mqtt::readU16(frame.body);
    if (packetId == 0 || packetId > publisher.sentAt.size() || publisher.sentAt[packetId - 1] == 0) return onDamaged();
    if (frame.end - frame.body > 2 && frame.body[2] >= 0x80) refused_++;
    if (isMeasuring_) {
      acknowledged_++;
      latency_.record(nowNanoseconds() - publisher.sentAt[packetId - 1]);
    }
    publisher.sentAt[packetId - 1] = 0;
    publisher.freeIds.push_back(static_cast<uint16_t>(packetId));
    publisher.inFlight--;
    unacknowledged_--;
    if (options_.rate == 0) return pump(index);
    if (publisher.held.empty() || !isSending_) return;
    publish(index, publisher.held.front());
    publisher.held.pop_front();
  }

  void onPublish(Connection& connection, const mqtt::Frame& frame) {
    mqtt::Publication publication;
    Header header;
    if (!isTaking_ || !mqtt::readPublish(frame, options_.protocol, publication) || publication.qos != 1) return onDamaged();
    mqtt::acknowledge(connection.out, mqtt::PUBACK, publication.packetId);
    loop_.touch(connection);
    if (!payload_.read(publication.payload, publication.end, header) || header.receiver != connection.index || header.publisher >= publisherCount_) return onDamaged();
    if (!ledger_.arrive(header.publisher, header.receiver, header.sequence)) return;
    lastArrival_ = nowNanoseconds();
    if (arrived_++ == 0) firstArrival_ = lastArrival_;
  }

  void onDamaged() { damaged_++; }

  Memory memory() const {
    Memory memory;
    if (!broker_.memory(memory)) failRun("the broker's memory cannot be read");
    return memory;
  }

  CostSnapshot snapshot() const {
    CostSnapshot snapshot;
    if (!broker_.snapshot(nowNanoseconds(), snapshot)) failRun("the broker's process is gone");
    return snapshot;
  }

  void printHead(bool ok) const {
    printf("{\"workload\":\"%s\",\"ok\":%s,\"protocol\":%d,\"payloadBytes\":%u,\"publishers\":%u,\"receivers\":%u,", options_.workload.c_str(), ok ? "true" : "false",
           options_.protocol, options_.payload, publisherCount_, targetCount_);
  }

  void printFindings(uint64_t lost) const {
    ledger_.print(lost);
    printf("\"stillArriving\":%s,", isStillArriving_ ? "true" : "false");
    printf("\"damaged\":%llu,\"unacknowledged\":%llu,\"refused\":%llu}\n", static_cast<unsigned long long>(damaged_), static_cast<unsigned long long>(unacknowledged_),
           static_cast<unsigned long long>(refused_));
  }

  BrokerProcess broker_;
  const uint32_t targetCount_;  // the targets take the first places of connections_, the publishers those behind them
  const uint32_t publisherCount_;
  Ledger ledger_;
  std::vector<Publisher> publishers_;
  Payload payload_;
  Pace pace_;
  std::vector<std::string> topics_;
  Histogram latency_;
  uint64_t published_ = 0;
  uint64_t unacknowledged_ = 0;
  uint64_t acknowledged_ = 0;  // in the measured time
  uint64_t arrived_ = 0;
  uint64_t firstArrival_ = 0;
  uint64_t lastArrival_ = 0;
  uint64_t damaged_ = 0;
  uint64_t refused_ = 0;
  bool isSending_ = false;
  bool isMeasuring_ = false;
  bool isTaking_ = false;
  bool isStillArriving_ = false;
};
