// Clients that are connected and subscribed together, and say goodbye together: all of them, or those of a range.
//
// It opens a bounded number at once, and fails the run when the broker refuses one, closes one, or takes longer than a minute for all. It knows
// nothing of messages: packets of a ready client go to the derived workload.
#pragma once

#include <string>
#include <vector>

#include "loop.hpp"

class Fleet : protected Listener {
 protected:
  Fleet(const Options& options, size_t size) : options_(options), connections_(size), plans_(size), loop_(connections_, *this, options) {}
  ~Fleet() = default;

  // What a client is called, and what it subscribes to (nothing when empty).
  struct Plan {
    std::string clientId;
    std::string filter;
    bool isKept = false;              // its session outlives the connection
    unsigned receiveMaximum = 65535;  // the broker's, from CONNACK
    bool hadSession = false;          // the broker still had its session, from CONNACK
    bool isReady = false;
    bool isLeaving = false;
  };

  virtual void onPacket(Connection& connection, const mqtt::Frame& frame) = 0;

  void connectAll() { connectRange(0, connections_.size()); }

  // Connects the clients from `first` up to and without `end`.
  void connectRange(size_t first, size_t end) {
    const uint64_t deadline = nowNanoseconds() + timeoutNanoseconds;
    readyCount_ = 0;
    for (size_t next = first; readyCount_ < end - first;) {
      for (; next < end && next - first - readyCount_ < options_.parallel; next++) {
        plans_[next].isReady = plans_[next].isLeaving = false;
        loop_.open(connections_[next], static_cast<unsigned>(next / 20'000));
      }
      loop_.turn(10);
      loop_.flushAll();
      if (nowNanoseconds() > deadline) failRun("only " + std::to_string(readyCount_) + " of " + std::to_string(end - first) + " clients were ready after 60 s");
    }
  }

  // Says goodbye and waits until the broker has closed each connection: then it has read everything that came before, and knows that the client is
  // away. What it sends meanwhile still goes to onPacket.
  void leaveRange(size_t first, size_t end) {
    const uint64_t deadline = nowNanoseconds() + timeoutNanoseconds;
    leavingCount_ = end - first;
    for (size_t i = first; i < end; i++) {
      plans_[i].isLeaving = true;
      mqtt::disconnect(connections_[i].out);
      loop_.touch(connections_[i]);
    }
    while (leavingCount_ > 0) {
      loop_.flushAll();
      loop_.turn(10);
      if (nowNanoseconds() > deadline) failRun("the broker kept " + std::to_string(leavingCount_) + " connections open for 60 s after DISCONNECT");
    }
  }

  // Ends the sessions that an earlier run has left behind, so that this one begins with empty ones.
  void forgetSessions(size_t first, size_t end) {
    isForgetting_ = true;
    connectRange(first, end);
    leaveRange(first, end);
    isForgetting_ = false;
  }

  void disconnectAll() {
    for (Connection& connection : connections_) {
      mqtt::disconnect(connection.out);
      loop_.flush(connection);
      loop_.close(connection);
    }
  }

  const Options& options_;
  std::vector<Connection> connections_;
  std::vector<Plan> plans_;
  Loop loop_;

 private:
  static constexpr uint64_t timeoutNanoseconds = 60'000'000'000;

  void onOpen(Connection& connection) final {
    const Plan& plan = plans_[connection.index];
    mqtt::connect(connection.out, options_.protocol, plan.clientId, options_.keepAlive, plan.isKept && !isForgetting_, options_.password);
    loop_.touch(connection);
  }

  void onFrame(Connection& connection, const mqtt::Frame& frame) final {
    Plan& plan = plans_[connection.index];
    if (plan.isReady) return onPacket(connection, frame);
    const uint8_t type = frame.first & 0xf0;
    if (type == mqtt::CONNACK) {
      const uint8_t code = mqtt::readConnack(frame, options_.protocol, plan.receiveMaximum);
      if (code != 0) failRun(plan.clientId + ": CONNACK with code " + std::to_string(code));
      plan.hadSession = mqtt::readSessionPresent(frame);
      if (plan.filter.empty() || plan.hadSession || isForgetting_) return becomeReady(plan);  // a kept session keeps its subscription
      mqtt::subscribe(connection.out, options_.protocol, 1, plan.filter, options_.qos);
      return loop_.touch(connection);
    }
    if (type != mqtt::SUBACK) failRun(plan.clientId + ": packet type " + std::to_string(type >> 4) + " instead of CONNACK or SUBACK");
    if (frame.end - frame.body < 3 || frame.end[-1] != options_.qos) failRun(plan.clientId + ": SUBACK does not grant the QoS");
    becomeReady(plan);
  }

  void onClose(Connection& connection, const std::string& why) final {
    Plan& plan = plans_[connection.index];
    if (!plan.isLeaving) failRun(plan.clientId + ": " + why);
    plan.isLeaving = false;
    leavingCount_--;
  }

  void becomeReady(Plan& plan) {
    plan.isReady = true;
    readyCount_++;
  }

  size_t readyCount_ = 0;
  size_t leavingCount_ = 0;
  bool isForgetting_ = false;
};
