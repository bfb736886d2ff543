// The transports that the load generator was built with, and the wires that they are made of.
#pragma once

#include <sys/socket.h>

#include <memory>
#include <string>

#include "options.hpp"
#include "web-socket-wire.hpp"
#ifdef HAS_TLS
#include "tls-wire.hpp"
#endif
#ifdef HAS_QUIC
#include "quic-wire.hpp"
#endif

inline std::string builtTransports() {
  std::string names = "tcp ws";
#ifdef HAS_TLS
  names += " tls wss";
#endif
#ifdef HAS_QUIC
  names += " quic";
#endif
  return names;
}

class Transport {
 public:
  // `places`: connections of the run.
  Transport(const Options& options, [[maybe_unused]] size_t places) : name_(options.transport) {
    if ((" " + builtTransports() + " ").find(" " + name_ + " ") == std::string::npos)
      failUsage("--transport: this generator was built without " + name_ + " (native-bench/README.md says what it needs); it has " + builtTransports());
    [[maybe_unused]] const bool resumes = options.handshakes == "resumed";
#ifdef HAS_TLS
    if (name_ == "tls" || name_ == "wss") tls_ = std::make_unique<TlsContext>(places, resumes);
#endif
#ifdef HAS_QUIC
    if (name_ == "quic") quic_ = std::make_unique<QuicContext>(places, resumes, options.targets == "self");
#endif
  }

  bool isTcpAlone() const { return name_ == "tcp"; }
  bool hasTimers() const { return name_ == "quic"; }
  int socketType() const { return name_ == "quic" ? SOCK_DGRAM : SOCK_STREAM; }

  // Null: nothing lies between MQTT and the socket.
  std::unique_ptr<Wire> makeWire([[maybe_unused]] uint32_t place) {
    if (name_ == "ws") return std::make_unique<WebSocketWire>(nullptr, ++count_);
#ifdef HAS_TLS
    if (name_ == "tls") return std::make_unique<TlsWire>(*tls_, place, true);
    if (name_ == "wss") return std::make_unique<WebSocketWire>(std::make_unique<TlsWire>(*tls_, place, false), ++count_);
#endif
#ifdef HAS_QUIC
    if (name_ == "quic") return std::make_unique<QuicWire>(*quic_, place);
#endif
    return nullptr;
  }

 private:
  const std::string name_;
  uint64_t count_ = 0;
#ifdef HAS_TLS
  std::unique_ptr<TlsContext> tls_;
#endif
#ifdef HAS_QUIC
  std::unique_ptr<QuicContext> quic_;
#endif
};
