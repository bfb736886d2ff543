// The workloads that move connections: a storm of connects, and connections that stand and do nothing.
#pragma once

#include "fleet.hpp"
#include "histogram.hpp"
#include "process.hpp"

// `parallel` clients at once connect, wait for CONNACK, send DISCONNECT, close, and begin again under a new client ID.
// Latency runs from connect(2) to CONNACK, with all handshakes between.
class ConnectStorm : private Listener {
 public:
  explicit ConnectStorm(const Options& options)
      : options_(options), broker_(options.pid), connections_(options.parallel), begun_(options.parallel), loop_(connections_, *this, options) {}

  int run() {
    const uint64_t measureFrom = nowNanoseconds() + static_cast<uint64_t>(options_.warmup * 1e9);
    const uint64_t measureTo = measureFrom + static_cast<uint64_t>(options_.seconds * 1e9);
    for (Connection& connection : connections_) begin(connection);
    CostSnapshot from, to;
    for (;;) {
      loop_.turn(5);
      loop_.flushAll();
      const uint64_t now = nowNanoseconds();
      if (!isMeasuring_ && now >= measureFrom) {
        if (!broker_.snapshot(now, from)) failRun("the broker's process is gone");
        isMeasuring_ = true;
      }
      if (now >= measureTo) break;
    }
    if (!broker_.snapshot(nowNanoseconds(), to)) failRun("the broker's process is gone");
    for (Connection& connection : connections_) loop_.close(connection);
    const bool ok = latency_.count() > 0 && refused_ == 0;
    printf("{\"workload\":\"connect\",\"ok\":%s,\"protocol\":%d,\"parallel\":%u,\"connects\":%llu,\"resumed\":%llu,", ok ? "true" : "false", options_.protocol, options_.parallel,
           static_cast<unsigned long long>(latency_.count()), static_cast<unsigned long long>(resumed_));
    CostSpan(from, to).print(latency_.count());
    printf("\"latencyMicroseconds\":{\"p50\":%.1f,\"p99\":%.1f,\"p99.9\":%.1f,\"max\":%.1f},\"refused\":%llu}\n", static_cast<double>(latency_.percentile(50)) / 1e3,
           static_cast<double>(latency_.percentile(99)) / 1e3, static_cast<double>(latency_.percentile(99.9)) / 1e3, static_cast<double>(latency_.max()) / 1e3,
           static_cast<unsigned long long>(refused_));
    return ok ? 0 : 1;
  }

 private:
  void begin(Connection& connection) {
    begun_[connection.index] = nowNanoseconds();
    loop_.open(connection, static_cast<unsigned>(count_++ % 128));
  }

  void onOpen(Connection& connection) override {
    mqtt::connect(connection.out, options_.protocol, "storm-" + std::to_string(named_++), options_.keepAlive, false, options_.password);
    loop_.flush(connection);
  }

  void onFrame(Connection& connection, const mqtt::Frame& frame) override {
    unsigned receiveMaximum = 0;
    if ((frame.first & 0xf0) != mqtt::CONNACK || mqtt::readConnack(frame, options_.protocol, receiveMaximum) != 0) refused_++;
    else if (isMeasuring_) {
      latency_.record(nowNanoseconds() - begun_[connection.index]);
      if (connection.wire != nullptr && connection.wire->isResumed()) resumed_++;
    }
    mqtt::disconnect(connection.out);
    loop_.flush(connection);
    loop_.close(connection);
    begin(connection);
  }

  void onClose(Connection& connection, const std::string& why) override {
    if (++refused_ > 1000) failRun("connect storm: " + why);
    begin(connection);
  }

  const Options& options_;
  BrokerProcess broker_;
  std::vector<Connection> connections_;
  std::vector<uint64_t> begun_;
  Loop loop_;
  Histogram latency_;
  uint64_t count_ = 0;
  uint64_t named_ = 0;
  uint64_t refused_ = 0;
  uint64_t resumed_ = 0;
  bool isMeasuring_ = false;
};

// `clients` connections that stand idle: the broker's memory before the first and after the last, then one PINGREQ each to see that all live.
class IdleLoad : private Fleet {
 public:
  explicit IdleLoad(const Options& options) : Fleet(options, options.clients), broker_(options.pid) {
    for (size_t i = 0; i < plans_.size(); i++) plans_[i].clientId = "idle-" + std::to_string(i);
  }

  int run() {
    Memory before, after;
    if (!broker_.memory(before)) failRun("the broker's memory cannot be read");
    const uint64_t begin = nowNanoseconds();
    connectAll();
    const double ramp = static_cast<double>(nowNanoseconds() - begin) / 1e9;
    turnFor(options_.settle, 0);
    CostSnapshot from, to;
    broker_.snapshot(nowNanoseconds(), from);
    turnFor(options_.seconds, 0);
    if (!broker_.snapshot(nowNanoseconds(), to) || !broker_.memory(after)) failRun("the broker's process is gone");
    for (Connection& connection : connections_) {
      mqtt::pingreq(connection.out);
      loop_.touch(connection);
    }
    turnFor(options_.drain, connections_.size());
    const bool ok = pings_ == connections_.size();
    disconnectAll();
    const double count = static_cast<double>(connections_.size());
    const auto perConnection = [count](uint64_t low, uint64_t high) { return (static_cast<double>(high) - static_cast<double>(low)) / count; };
    const CostSpan span(from, to);
    printf("{\"workload\":\"idle\",\"ok\":%s,\"protocol\":%d,\"connections\":%zu,\"bytesPerConnection\":%.0f,\"pssBytesPerConnection\":%.0f,", ok ? "true" : "false",
           options_.protocol, connections_.size(), perConnection(before.rssBytes, after.rssBytes), perConnection(before.pssBytes, after.pssBytes));
    printf("\"rssBeforeBytes\":%llu,\"rssAfterBytes\":%llu,\"rampSeconds\":%.3f,\"brokerCores\":%.4f,\"unanswered\":%zu}\n", static_cast<unsigned long long>(before.rssBytes),
           static_cast<unsigned long long>(after.rssBytes), ramp, span.brokerCpu / span.elapsed, connections_.size() - pings_);
    return ok ? 0 : 1;
  }

 private:
  // Serves the loop for `seconds`, or until `pings` answers have come (0: the whole time).
  void turnFor(double seconds, size_t pings) {
    const uint64_t end = nowNanoseconds() + static_cast<uint64_t>(seconds * 1e9);
    while (nowNanoseconds() < end && (pings == 0 || pings_ < pings)) {
      loop_.flushAll();
      loop_.turn(10);
    }
  }

  void onPacket(Connection& connection, const mqtt::Frame& frame) override {
    if (frame.first != mqtt::PINGRESP) failRun(plans_[connection.index].clientId + ": unexpected packet type " + std::to_string(frame.first >> 4));
    pings_++;
  }

  BrokerProcess broker_;
  size_t pings_ = 0;
};
