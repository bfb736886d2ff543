// Connections on one epoll loop: bytes in, whole packets out to a Listener; one write per connection per turn.
//
// It knows framing and no workload. Over plain TCP the bytes go from and to the socket; over anything else a Wire lies between. Everything read in a turn is handed over before anything is written, so that packets for one connection
// leave together. A connection in steady state allocates nothing. Invariant: a Connection is in `dirty_` exactly when its `isDirty` is set.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "clock.hpp"
#include "options.hpp"
#include "packets.hpp"
#include "transports.hpp"

struct Connection {
  int fd = -1;
  uint32_t index = 0;
  uint32_t generation = 0;  // counts the sockets that this object has held, so that a late event of an old one is known
  bool isConnecting = false;
  bool isOpen = false;  // the handshakes of its wire are done
  bool isDirty = false;
  bool isBlocked = false;  // the kernel took less than all; waits for EPOLLOUT
  std::unique_ptr<Wire> wire;
  mqtt::OutBuffer out;
  std::vector<uint8_t> rest;  // the beginning of a packet whose end has not come
};

class Listener {
 public:
  virtual void onOpen(Connection& connection) = 0;
  virtual void onFrame(Connection& connection, const mqtt::Frame& frame) = 0;
  virtual void onClose(Connection& connection, const std::string& why) = 0;

 protected:
  ~Listener() = default;
};

class Loop {
 public:
  // `connections` lives elsewhere and does not move; Connection::index is its place there.
  Loop(std::vector<Connection>& connections, Listener& listener, const Options& options)
      : connections_(connections),
        listener_(listener),
        port_(options.port),
        transport_(options, connections.size()),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        buffer_(bufferBytes) {
    if (epoll_ < 0) failRun(std::string("epoll_create1: ") + strerror(errno));
    if (transport_.hasTimers()) expiries_.resize(connections_.size(), Wire::never);
    for (size_t i = 0; i < connections_.size(); i++) connections_[i].index = static_cast<uint32_t>(i);
  }
  ~Loop() {
    for (Connection& connection : connections_) connection.wire.reset();
    ::close(epoll_);
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // Begins to connect from 127.0.0.(1 + source); onOpen says when it stands. Many sources give more than 28,000 ports.
  void open(Connection& connection, unsigned source) {
    const int type = transport_.socketType();
    const int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) failRun(std::string("socket: ") + strerror(errno));
    const int on = 1;
    if (type == SOCK_STREAM) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    const sockaddr_in from = address(source, 0);
    if (bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0) failRun(std::string("bind: ") + strerror(errno));
    connection.fd = fd;
    connection.generation++;
    connection.isConnecting = true;
    connection.isOpen = transport_.isTcpAlone();
    connection.isBlocked = false;
    connection.wire = transport_.makeWire(connection.index);
    connection.out.clear();
    connection.rest.clear();
    const sockaddr_in to = address(0, port_);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS) {
      failRun(std::string("connect: ") + strerror(errno));
    }
    watch(connection, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
  }

  // Closes at once; what is not written yet is dropped. No onClose follows.
  void close(Connection& connection) {
    if (connection.fd < 0) return;
    if (connection.wire != nullptr && !connection.isConnecting) {
      connection.wire->end();
      connection.wire->send(connection.fd);
    }
    drop(connection);
  }

  // To be called after something was put into `connection.out`; it is written at the end of the turn.
  void touch(Connection& connection) {
    if (connection.isDirty) return;
    connection.isDirty = true;
    dirty_.push_back(&connection);
  }

  // Writes now what `connection.out` holds.
  void flush(Connection& connection) {
    if (connection.wire != nullptr) return flushWire(connection);
    while (connection.fd >= 0 && connection.out.size() > 0 && !connection.isConnecting) {
      const ssize_t wrote = send(connection.fd, connection.out.begin(), connection.out.size(), MSG_NOSIGNAL);
      if (wrote >= 0) {
        connection.out.consume(static_cast<size_t>(wrote));
        continue;
      }
      if (errno == EINTR) continue;
      if (errno == EAGAIN) {
        if (!connection.isBlocked) watch(connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
        connection.isBlocked = true;
        return;
      }
      fail(connection, std::string("write: ") + strerror(errno));
      return;
    }
    if (connection.isBlocked && connection.fd >= 0) {
      connection.isBlocked = false;
      watch(connection, EPOLL_CTL_MOD, EPOLLIN);
    }
  }

  // Also wake up when `fd` is readable (a timer); turn() says so by returning true.
  void watchTimer(int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = timerMark;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  }

  // One turn: waits up to `timeoutMilliseconds` for events, serves them all. True when the timer was among them. flushAll() ends it.
  bool turn(int timeoutMilliseconds) {
    if (transport_.hasTimers()) timeoutMilliseconds = 1;
    const int count = epoll_wait(epoll_, events_, maxEvents, timeoutMilliseconds);
    bool timer = false;
    for (int i = 0; i < count; i++) {
      const uint64_t mark = events_[i].data.u64;
      if (mark == timerMark) {
        timer = true;
        continue;
      }
      Connection& connection = connections_[static_cast<uint32_t>(mark)];
      if (connection.fd >= 0 && connection.generation == mark >> 32) serve(connection, events_[i].events);
    }
    if (transport_.hasTimers()) expire();
    return timer;
  }

  void flushAll() {
    for (size_t i = 0; i < dirty_.size(); i++) {
      dirty_[i]->isDirty = false;
      if (!dirty_[i]->isBlocked) flush(*dirty_[i]);
    }
    dirty_.clear();
  }

 private:
  static constexpr int maxEvents = 1024;
  static constexpr size_t readBytes = 256 * 1024;
  static constexpr size_t bufferBytes = readBytes + (2 << 20);  // a read behind the beginning of the largest packet
  static constexpr uint64_t timerMark = ~0ull;

  static sockaddr_in address(unsigned source, int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(0x7f000001u + source);
    return address;
  }

  void watch(Connection& connection, int operation, uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = static_cast<uint64_t>(connection.generation) << 32 | connection.index;
    if (epoll_ctl(epoll_, operation, connection.fd, &event) != 0) failRun(std::string("epoll_ctl: ") + strerror(errno));
  }

  void serve(Connection& connection, uint32_t events) {
    if (connection.isConnecting) {
      int error = 0;
      socklen_t length = sizeof error;
      getsockopt(connection.fd, SOL_SOCKET, SO_ERROR, &error, &length);
      if (error != 0) return fail(connection, std::string("connect: ") + strerror(error));
      connection.isConnecting = false;
      watch(connection, EPOLL_CTL_MOD, EPOLLIN);
      if (connection.wire == nullptr) return listener_.onOpen(connection);
      connection.wire->begin(connection.fd);
      flushWire(connection);
      return;
    }
    if (events & EPOLLOUT) flush(connection);
    if (connection.fd >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) read(connection);
  }

  void read(Connection& connection) {
    const size_t kept = connection.rest.size();
    if (kept > 0) memcpy(buffer_.data(), connection.rest.data(), kept);
    uint8_t* to = buffer_.data() + kept;
    const uint32_t generation = connection.generation;
    const ssize_t got = connection.wire == nullptr ? recv(connection.fd, to, readBytes, 0) : receive(connection, to);
    if (connection.generation != generation) return;
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) return fail(connection, got == 0 ? "closed by the broker" : errno == EPROTO ? connection.wire->problem() : std::string("read: ") + strerror(errno));
    const uint8_t* at = buffer_.data();
    const uint8_t* end = at + kept + got;
    for (mqtt::Frame frame{};;) {
      const mqtt::Cut cut = mqtt::cutFrame(at, end, frame);
      if (cut == mqtt::Cut::malformed) return fail(connection, "malformed packet from the broker");
      if (cut == mqtt::Cut::needsMore) break;
      at = frame.end;
      listener_.onFrame(connection, frame);
      if (connection.fd < 0 || connection.generation != generation) return;  // the listener closed it
    }
    if (static_cast<size_t>(end - at) > bufferBytes - readBytes) return fail(connection, "a packet above 2 MiB from the broker");
    connection.rest.assign(at, end);
  }

  // As recv(2), through the wire. Says onOpen when that has opened.
  ssize_t receive(Connection& connection, uint8_t* to) {
    Wire& wire = *connection.wire;
    const ssize_t got = wire.receive(connection.fd, to, readBytes);
    if (wire.hasOutput()) touch(connection);
    if (connection.isOpen || !wire.isOpen()) return got;
    const int error = errno;
    connection.isOpen = true;
    listener_.onOpen(connection);
    errno = error;
    return got;
  }

  void flushWire(Connection& connection) {
    if (connection.fd < 0 || connection.isConnecting) return;
    Wire& wire = *connection.wire;
    if (connection.isOpen && connection.out.size() > 0) {
      wire.take(connection.out.begin(), connection.out.size());
      connection.out.clear();
    }
    const Sent sent = wire.send(connection.fd);
    if (sent == Sent::failed) return fail(connection, wire.problem());
    if (transport_.hasTimers()) expiries_[connection.index] = wire.expiry();
    const bool isBlocked = sent == Sent::some;
    if (isBlocked == connection.isBlocked) return;
    connection.isBlocked = isBlocked;
    watch(connection, EPOLL_CTL_MOD, isBlocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }

  // Once a millisecond: serves the wires whose time has come.
  void expire() {
    const uint64_t now = nowNanoseconds();
    if (now - expiredAt_ < 1'000'000) return;
    expiredAt_ = now;
    for (size_t i = 0; i < expiries_.size(); i++) {
      if (expiries_[i] > now) continue;
      expiries_[i] = Wire::never;
      Connection& connection = connections_[i];
      connection.wire->expire();
      if (connection.wire->problem().empty()) touch(connection);
      else fail(connection, connection.wire->problem());
    }
  }

  void drop(Connection& connection) {
    if (connection.fd < 0) return;
    ::close(connection.fd);
    connection.fd = -1;
    connection.wire.reset();
    if (transport_.hasTimers()) expiries_[connection.index] = Wire::never;
  }

  void fail(Connection& connection, const std::string& why) {
    const std::string reason = why;  // it may be the wire's own
    drop(connection);
    listener_.onClose(connection, reason);
  }

  std::vector<Connection>& connections_;
  Listener& listener_;
  int port_;
  Transport transport_;
  int epoll_;
  std::vector<uint8_t> buffer_;
  std::vector<Connection*> dirty_;
  std::vector<uint64_t> expiries_;  // by connection; empty without timers
  uint64_t expiredAt_ = 0;
  epoll_event events_[maxEvents];
};
