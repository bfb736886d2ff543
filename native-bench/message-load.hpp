// The workloads that move messages: fan-in, fan-out, p2p, shared. Closed loop with a window, or open loop at a rate.
//
// Closed loop: a publisher has `window` messages under way and sends the next when one has arrived (at all receivers, for fan-out).
// Open loop: messages fall due at fixed instants whatever the broker does, and latency counts from that instant, so that a stall is seen by every
// message that it held up. Only what arrives in the measured seconds is counted; everything that was sent is verified. With kept sessions the clients
// take up sessions that outlive them, and stay online all the same.
#pragma once

#include <deque>

#include "fleet.hpp"
#include "histogram.hpp"
#include "ledger.hpp"
#include "pace.hpp"
#include "payload.hpp"
#include "process.hpp"

class MessageLoad : private Fleet {
 public:
  explicit MessageLoad(const Options& options)
      : Fleet(options, isP2p(options) ? options.clients : options.publishers + options.receivers),
        broker_(options.pid),
        publisherCount_(isP2p(options) ? options.clients : options.publishers),
        receiverCount_(isP2p(options) ? options.clients : options.workload == "fan-in" ? 1 : options.receivers),
        ledger_(shapeOf(options), publisherCount_, receiverCount_),
        publishers_(publisherCount_),
        payload_(options.payload),
        pace_(options.rate, loop_),
        random_(options.seed * 0x9e3779b97f4a7c15ull | 1) {
    if (options.workload == "fan-in" && options.receivers != 1) failUsage("--receivers: fan-in has one receiver");
    if (isBroadcast_ && options.publishers > 1000) failUsage("--publishers: fan-out takes at most 1000");
    planClients();
    if (isBroadcast_) remaining_.resize(static_cast<size_t>(publisherCount_) * remainingSlots, 0);
  }

  // Runs to the end, prints the result, and returns the exit code.
  int run() {
    if (options_.session == "kept") forgetSessions(0, connections_.size());
    connectAll();
    const uint64_t begin = nowNanoseconds();
    const uint64_t measureFrom = begin + static_cast<uint64_t>(options_.warmup * 1e9);
    const uint64_t measureTo = measureFrom + static_cast<uint64_t>(options_.seconds * 1e9);
    pace_.begin(begin);
    isSending_ = true;
    if (!isOpenLoop()) {
      for (uint32_t publisher = 0; publisher < publisherCount_; publisher++) pump(publisher);
      loop_.flushAll();
    }
    CostSnapshot from, to;
    for (;;) {
      if (loop_.turn(5)) pace_.clearTimer();
      const uint64_t now = nowNanoseconds();
      if (!isMeasuring_ && now >= measureFrom) {
        from = snapshot();
        isMeasuring_ = true;
      }
      if (now >= measureTo) break;
      sendDue(now);
      loop_.flushAll();
    }
    to = snapshot();
    isMeasuring_ = isSending_ = false;
    const uint64_t deadline = nowNanoseconds() + static_cast<uint64_t>(options_.drain * 1e9);
    do {
      loop_.flushAll();
      loop_.turn(5);
    } while ((underWay_ > 0 || unacknowledged_ > 0 || handshakes_ > 0) && nowNanoseconds() < deadline);
    loop_.flushAll();
    disconnectAll();
    return print(CostSpan(from, to));
  }

 private:
  struct Publisher {
    uint32_t inFlight = 0;        // closed loop: not arrived yet
    uint32_t unacknowledged = 0;  // QoS 1 and 2: no PUBACK or PUBCOMP yet
    uint16_t packetId = 0;
    std::deque<uint64_t> held;    // open loop: due, but the broker's Receive Maximum is used up
  };

  static constexpr uint32_t anyReceiver = ~0u;
  // More than the largest window. Receivers get a publisher's messages in order, so no older message can still be waiting.
  static constexpr size_t remainingSlots = 1 << 14;

  static bool isP2p(const Options& options) { return options.workload == "p2p"; }
  static Ledger::Shape shapeOf(const Options& options) {
    return options.workload == "fan-out" ? Ledger::Shape::broadcast : options.workload == "shared" ? Ledger::Shape::group : Ledger::Shape::flow;
  }
  bool isOpenLoop() const { return options_.rate > 0; }

  // Receivers take the first places of connections_, publishers the places behind them; in p2p every client is both.
  uint32_t connectionOf(uint32_t publisher) const { return isP2p(options_) ? publisher : receiverCount_ + publisher; }
  bool isReceiver(uint32_t connection) const { return connection < receiverCount_; }
  uint32_t publisherOf(uint32_t connection) const { return isP2p(options_) ? connection : connection - receiverCount_; }

  void planClients() {
    for (uint32_t i = 0; i < connections_.size(); i++) {
      Plan& plan = plans_[i];
      plan.isKept = options_.session == "kept";
      if (isP2p(options_)) {
        plan.clientId = "bench-" + std::to_string(i);
        topics_.push_back("bench/p2p/" + plan.clientId);
        if (options_.addressing == "topics") plan.filter = topics_[i];
      } else if (isReceiver(i)) {
        plan.clientId = "bench-r" + std::to_string(i);
        const std::string topic = "bench/" + options_.workload + (options_.workload == "fan-in" && options_.topics == "each" ? "/+" : "");
        plan.filter = (options_.workload == "shared" ? "$share/g/" : "") + topic;
      } else {
        plan.clientId = "bench-p" + std::to_string(i - receiverCount_);
        const bool own = options_.workload == "fan-in" && options_.topics == "each";
        topics_.push_back("bench/" + options_.workload + (own ? "/" + plan.clientId : ""));
      }
    }
  }

  uint32_t chooseTarget(uint32_t publisher) {
    if (!isP2p(options_)) return options_.workload == "fan-in" ? 0 : anyReceiver;
    if (options_.targets == "self") return publisher;
    if (options_.targets == "next") return (publisher + 1) % receiverCount_;
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    const uint32_t other = static_cast<uint32_t>((random_ >> 32) * (receiverCount_ - 1) >> 32);
    return other < publisher ? other : other + 1;
  }

  bool mayPublish(const Publisher& publisher, uint32_t index) const {
    return options_.qos == 0 || publisher.unacknowledged < plans_[connectionOf(index)].receiveMaximum;
  }

  void pump(uint32_t index) {
    Publisher& publisher = publishers_[index];
    while (isSending_ && publisher.inFlight < options_.window && mayPublish(publisher, index)) {
      publisher.inFlight++;
      publish(index, nowNanoseconds());
    }
  }

  void publish(uint32_t index, uint64_t time) {
    Publisher& publisher = publishers_[index];
    Connection& connection = connections_[connectionOf(index)];
    const uint32_t target = chooseTarget(index);
    const uint32_t sequence = ledger_.number(index, target);
    if (isBroadcast_) remaining(index, sequence) = receiverCount_;
    uint16_t packetId = 0;
    if (options_.qos > 0) {
      if (++publisher.packetId == 0) publisher.packetId = 1;
      packetId = publisher.packetId;
      publisher.unacknowledged++;
      unacknowledged_++;
    }
    uint8_t* p = mqtt::publish(connection.out, options_.protocol, options_.qos, packetId, topics_[isP2p(options_) ? target : index], options_.payload);
    payload_.write(p, {index, target, sequence, payload_.bytes(), time});
    underWay_ += isBroadcast_ ? receiverCount_ : 1;
    loop_.touch(connection);
  }

  void onPacket(Connection& connection, const mqtt::Frame& frame) override {
    switch (frame.first & 0xf0) {
      case mqtt::PUBLISH:
        return onPublish(connection, frame);
      case mqtt::PUBACK:
      case mqtt::PUBCOMP:
        return onPublished(connection, frame);
      case mqtt::PUBREC:
        if (frame.end - frame.body > 2 && frame.body[2] >= 0x80) return onPublished(connection, frame);
        mqtt::acknowledge(connection.out, mqtt::PUBREL, mqtt::readU16(frame.body));
        return loop_.touch(connection);
      case mqtt::PUBREL:
        handshakes_--;
        mqtt::acknowledge(connection.out, mqtt::PUBCOMP, mqtt::readU16(frame.body));
        return loop_.touch(connection);
      default:
        failRun(plans_[connection.index].clientId + ": unexpected packet type " + std::to_string(frame.first >> 4));
    }
  }

  void onPublish(Connection& connection, const mqtt::Frame& frame) {
    mqtt::Publication publication;
    if (!mqtt::readPublish(frame, options_.protocol, publication)) return onDamaged();
    if (publication.qos > 0) {
      mqtt::acknowledge(connection.out, publication.qos == 1 ? mqtt::PUBACK : mqtt::PUBREC, publication.packetId);
      loop_.touch(connection);
      if (publication.qos == 2) handshakes_++;
    }
    Header header;
    if (publication.qos != options_.qos || !payload_.read(publication.payload, publication.end, header)) return onDamaged();
    const bool isMine = isReceiver(connection.index) && (header.receiver == connection.index || (header.receiver == anyReceiver && !isP2p(options_)));
    if (!isMine || header.publisher >= publisherCount_) return onDamaged();
    if (!ledger_.arrive(header.publisher, connection.index, header.sequence)) return;
    underWay_--;
    if (isMeasuring_) {
      delivered_++;
      latency_.record(nowNanoseconds() - header.time);
    }
    if (isOpenLoop() || (isBroadcast_ && --remaining(header.publisher, header.sequence) > 0)) return;
    publishers_[header.publisher].inFlight--;
    pump(header.publisher);
  }

  void onPublished(Connection& connection, const mqtt::Frame& frame) {
    if (frame.end - frame.body > 2 && frame.body[2] >= 0x80) refused_++;
    const uint32_t index = publisherOf(connection.index);
    Publisher& publisher = publishers_[index];
    if (publisher.unacknowledged == 0) return onDamaged();
    publisher.unacknowledged--;
    unacknowledged_--;
    if (isOpenLoop()) {
      if (publisher.held.empty() || !isSending_) return;
      publish(index, publisher.held.front());
      publisher.held.pop_front();
    } else {
      pump(index);
    }
  }

  void onDamaged() { damaged_++; }

  uint32_t& remaining(uint32_t publisher, uint32_t sequence) { return remaining_[publisher * remainingSlots + sequence % remainingSlots]; }

  void sendDue(uint64_t now) {
    for (uint64_t number, due; pace_.take(now, number, due);) {
      const uint32_t index = static_cast<uint32_t>(number % publisherCount_);
      if (mayPublish(publishers_[index], index)) publish(index, due);
      else publishers_[index].held.push_back(due);
    }
  }

  CostSnapshot snapshot() const {
    CostSnapshot snapshot;
    if (!broker_.snapshot(nowNanoseconds(), snapshot)) failRun("the broker's process is gone");
    return snapshot;
  }

  int print(const CostSpan& span) const {
    const uint64_t lost = ledger_.lost();
    const bool ok = ledger_.isRight() && lost + damaged_ + unacknowledged_ + refused_ == 0 && delivered_ > 0;
    printf("{\"workload\":\"%s\",\"ok\":%s,\"qos\":%u,\"protocol\":%d,\"payloadBytes\":%u,\"publishers\":%u,\"receivers\":%u,", options_.workload.c_str(),
           ok ? "true" : "false", options_.qos, options_.protocol, options_.payload, publisherCount_, receiverCount_);
    if (isOpenLoop()) printf("\"rate\":%.0f,", options_.rate);
    else printf("\"window\":%u,", options_.window);
    printf("\"delivered\":%llu,", static_cast<unsigned long long>(delivered_));
    span.print(delivered_);
    latency_.print();
    ledger_.print(lost);
    printf("\"damaged\":%llu,\"unacknowledged\":%llu,\"refused\":%llu}\n", static_cast<unsigned long long>(damaged_),
           static_cast<unsigned long long>(unacknowledged_), static_cast<unsigned long long>(refused_));
    return ok ? 0 : 1;
  }

  BrokerProcess broker_;
  const uint32_t publisherCount_;
  const uint32_t receiverCount_;
  const bool isBroadcast_ = options_.workload == "fan-out";
  Ledger ledger_;
  std::vector<Publisher> publishers_;
  Payload payload_;
  Pace pace_;
  std::vector<std::string> topics_;  // p2p: of the receivers; else: of the publishers
  std::vector<uint32_t> remaining_;  // fan-out: receivers that still wait, per publisher and sequence
  Histogram latency_;
  uint64_t random_;
  uint64_t delivered_ = 0;
  uint64_t underWay_ = 0;
  uint64_t unacknowledged_ = 0;
  int64_t handshakes_ = 0;  // QoS 2 messages received whose PUBREL has not come
  uint64_t damaged_ = 0;
  uint64_t refused_ = 0;
  bool isSending_ = false;
  bool isMeasuring_ = false;
};
