// Clients that are all connected and subscribed before a workload begins, and all say goodbye after it.
//
// It opens a bounded number at once, and fails the run when the broker refuses one, closes one, or takes longer than a minute for all. It knows
// nothing of messages: packets of a ready client go to the derived workload.
#pragma once

#include <string>
#include <vector>

#include "loop.hpp"

class Fleet : protected Listener {
 protected:
  Fleet(const Options& options, size_t size) : options_(options), connections_(size), plans_(size), loop_(connections_, *this, options.port) {}
  ~Fleet() = default;

  // What a client is called, and what it subscribes to (nothing when empty).
  struct Plan {
    std::string clientId;
    std::string filter;
    unsigned receiveMaximum = 65535;  // the broker's, from CONNACK
    bool isReady = false;
  };

  virtual void onPacket(Connection& connection, const mqtt::Frame& frame) = 0;

  void connectAll() {
    const uint64_t deadline = nowNanoseconds() + 60'000'000'000ull;
    while (readyCount_ < connections_.size()) {
      while (openedCount_ < connections_.size() && openedCount_ - readyCount_ < options_.parallel) {
        loop_.open(connections_[openedCount_], static_cast<unsigned>(openedCount_ / 20'000));
        openedCount_++;
      }
      loop_.turn(10);
      loop_.flushAll();
      if (nowNanoseconds() > deadline) failRun("only " + std::to_string(readyCount_) + " of " + std::to_string(connections_.size()) + " clients were ready after 60 s");
    }
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
  void onOpen(Connection& connection) final {
    mqtt::connect(connection.out, options_.protocol, plans_[connection.index].clientId, options_.keepAlive);
    loop_.touch(connection);
  }

  void onFrame(Connection& connection, const mqtt::Frame& frame) final {
    Plan& plan = plans_[connection.index];
    if (plan.isReady) return onPacket(connection, frame);
    const uint8_t type = frame.first & 0xf0;
    if (type == mqtt::CONNACK) {
      const uint8_t code = mqtt::readConnack(frame, options_.protocol, plan.receiveMaximum);
      if (code != 0) failRun(plan.clientId + ": CONNACK with code " + std::to_string(code));
      if (plan.filter.empty()) return becomeReady(plan);
      mqtt::subscribe(connection.out, options_.protocol, 1, plan.filter, options_.qos);
      return loop_.touch(connection);
    }
    if (type != mqtt::SUBACK) failRun(plan.clientId + ": packet type " + std::to_string(type >> 4) + " instead of CONNACK or SUBACK");
    if (frame.end - frame.body < 3 || frame.end[-1] != options_.qos) failRun(plan.clientId + ": SUBACK does not grant the QoS");
    becomeReady(plan);
  }

  void onClose(Connection& connection, const std::string& why) final { failRun(plans_[connection.index].clientId + ": " + why); }

  void becomeReady(Plan& plan) {
    plan.isReady = true;
    readyCount_++;
  }

  size_t openedCount_ = 0;
  size_t readyCount_ = 0;
};
