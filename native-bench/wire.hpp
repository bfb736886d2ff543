// What lies between the MQTT bytes of a connection and its socket: TLS, WebSocket, QUIC. A connection over plain TCP has no wire.
//
// A wire turns bytes into other bytes and calls recv and send; it knows no MQTT, no epoll and no workload. Nothing of the loop runs inside its calls.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "packets.hpp"

enum class Sent { all, some, failed };

class Wire {
 public:
  static constexpr uint64_t never = ~0ull;

  virtual ~Wire() = default;

  // The socket stands: puts the first bytes of the handshake aside for send().
  virtual void begin(int fd) = 0;

  // MQTT bytes may be given and will come.
  virtual bool isOpen() const = 0;

  // The handshake used what an earlier connection has left.
  virtual bool isResumed() const { return false; }

  // Takes MQTT bytes, all of them. Only when open.
  virtual void take(const uint8_t* bytes, size_t count) = 0;

  // Sends what has been put aside. `some`: the kernel has no room for the rest. `failed`: see problem().
  virtual Sent send(int fd) = 0;

  // As recv(2), but what comes out are MQTT bytes; EAGAIN when there are none among what has come. EPROTO: see problem().
  virtual ssize_t receive(int fd, uint8_t* to, size_t room) = 0;

  // After receive(): send() has something to do.
  virtual bool hasOutput() const = 0;

  // Puts a goodbye aside for send(). Nothing follows.
  virtual void end() {}

  // When expire() wants to be called, on the clock of nowNanoseconds().
  virtual uint64_t expiry() const { return never; }
  virtual void expire() {}

  const std::string& problem() const { return problem_; }

 protected:
  ssize_t fails(const std::string& problem) {
    problem_ = problem;
    errno = EPROTO;
    return -1;
  }

  static ssize_t nothingYet() {
    errno = EAGAIN;
    return -1;
  }

  std::string problem_;
};

// A wire over a stream of bytes: what it has put aside leaves in order.
class StreamWire : public Wire {
 public:
  Sent send(int fd) override {
    while (waiting_.size() > 0) {
      const ssize_t wrote = ::send(fd, waiting_.begin(), waiting_.size(), MSG_NOSIGNAL);
      if (wrote >= 0) {
        waiting_.consume(static_cast<size_t>(wrote));
        continue;
      }
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return Sent::some;
      problem_ = std::string("write: ") + strerror(errno);
      return Sent::failed;
    }
    return Sent::all;
  }

  bool hasOutput() const override { return waiting_.size() > 0; }

 protected:
  mqtt::OutBuffer waiting_;
};
