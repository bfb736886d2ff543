// What one run of the load generator is told on its command line, checked once.
//
// A wrong option ends the process with code 2 and one line that names it. Durations are seconds, sizes are bytes.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

struct Options {
  std::string workload;
  int port = 0;
  int pid = 0;
  int protocol = 4;
  unsigned qos = 0;
  uint32_t publishers = 100;
  uint32_t receivers = 1;
  uint32_t clients = 1000;
  uint32_t window = 1;
  double rate = 0;
  uint32_t payload = 64;
  double warmup = 2;
  double seconds = 5;
  double drain = 10;
  double settle = 3;
  unsigned parallel = 128;
  unsigned keepAlive = 600;
  std::string addressing = "hop";
  std::string targets = "any";
  std::string topics = "each";
  std::string session = "clean";
  std::string transport = "tcp";
  std::string handshakes = "full";
  std::string password;
  uint32_t messages = 1'000'000;
  uint64_t seed = 1;
};

constexpr const char* usageText = R"(load: MQTT load on 127.0.0.1; one JSON object on stdout.

  --workload NAME     fan-in | fan-out | p2p | shared | connect | idle | offline | hold-fill | hold-drain
  --port N            the broker's port
  --pid N             the broker's process, for CPU time and memory
  --transport NAME    tcp (default) | ws | tls | wss | quic, as far as this generator was built with it: --transports lists those
  --handshakes WHAT   tls, wss, quic: full (default) | resumed (where a client connects again)
  --protocol 4|5      MQTT 3.1.1 (default) or 5.0
  --qos 0|1|2         of publishers and of subscriptions (default 0); offline and hold: 1
  --publishers N      all but p2p, connect and idle (default 100)
  --receivers N       fan-out: subscribers; shared: members of the group; offline and hold: sessions of clients that are away (default 1)
  --clients N         p2p: clients, each sends and receives; idle: connections (default 1000)
  --window N          closed loop: messages that each publisher has under way (default 1)
  --rate N            open loop: messages per second of all publishers; replaces the window (not for hold)
  --payload BYTES     at least 24 (default 64)
  --addressing WHAT   p2p, offline, hold: hop (bench/p2p/<clientId>, no subscription) | topics (the same topics, each client subscribes its own)
  --targets WHAT      p2p: any (a random other client each time) | next (always the same other client) | self
  --topics WHAT       fan-in: each (one topic per publisher, wildcard subscription) | one (one topic for all)
  --session WHAT      of the clients that send and receive: clean (default) | kept (it outlives the connection; Clean Session 0)
  --password TEXT     of every client, with the username `bench` (default: neither)
  --messages N        hold: messages that wait (default 1000000)
  --warmup S          not counted (default 2)
  --seconds S         counted (default 5)
  --drain S           longest wait for messages still under way at the end; hold: longest time to fill or to drain (default 10)
  --settle S          idle, hold: wait before memory is read (default 3)
  --parallel N        connections being opened at once (default 128)
  --keepalive S       of CONNECT (default 600; 0 is none)
  --seed N            of the random targets (default 1)

Exit code: 0 when every message arrived once and in order, 1 when not or when the broker failed, 2 for a wrong option.
)";

[[noreturn]] inline void failUsage(const std::string& text) {
  fprintf(stderr, "load: %s\n", text.c_str());
  exit(2);
}

// A failure of the run itself: the broker refused, closed, or did not answer in time.
[[noreturn]] inline void failRun(const std::string& text) {
  fprintf(stderr, "load: %s\n", text.c_str());
  exit(1);
}

inline double readNumber(const std::string& name, const char* text, double min, double max) {
  char* end = nullptr;
  const double value = strtod(text, &end);
  if (end == text || *end != 0 || !(value >= min && value <= max)) {
    char range[160];
    snprintf(range, sizeof range, "%s: want a number from %g to %g", name.c_str(), min, max);
    failUsage(range);
  }
  return value;
}

inline std::string readChoice(const std::string& name, const std::string& text, const std::string& choices) {
  if ((" " + choices + " ").find(" " + text + " ") == std::string::npos) failUsage(name + ": want one of: " + choices);
  return text;
}

inline Options readOptions(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i++) {
    const std::string name = argv[i];
    if (name == "--help") {
      fputs(usageText, stdout);
      exit(0);
    }
    if (i + 1 == argc) failUsage(name + ": unknown option, or its value is missing (--help lists all)");
    const char* text = argv[++i];
    const auto number = [&](double min, double max) { return readNumber(name, text, min, max); };
    const auto count = [&](double min, double max) { return static_cast<uint32_t>(number(min, max)); };
    if (name == "--workload") options.workload = readChoice(name, text, "fan-in fan-out p2p shared connect idle offline hold-fill hold-drain");
    else if (name == "--port") options.port = static_cast<int>(number(1, 65535));
    else if (name == "--pid") options.pid = static_cast<int>(number(1, 1 << 30));
    else if (name == "--protocol") options.protocol = static_cast<int>(number(4, 5));
    else if (name == "--qos") options.qos = count(0, 2);
    else if (name == "--publishers") options.publishers = count(1, 20'000);
    else if (name == "--receivers") options.receivers = count(1, 20'000);
    else if (name == "--clients") options.clients = count(2, 200'000);
    else if (name == "--window") options.window = count(1, 10'000);
    else if (name == "--rate") options.rate = number(1, 5e6);
    else if (name == "--payload") options.payload = count(24, 1 << 20);
    else if (name == "--addressing") options.addressing = readChoice(name, text, "hop topics");
    else if (name == "--targets") options.targets = readChoice(name, text, "any next self");
    else if (name == "--topics") options.topics = readChoice(name, text, "each one");
    else if (name == "--session") options.session = readChoice(name, text, "clean kept");
    else if (name == "--transport") options.transport = readChoice(name, text, "tcp ws tls wss quic");
    else if (name == "--handshakes") options.handshakes = readChoice(name, text, "full resumed");
    else if (name == "--password") options.password = text;
    else if (name == "--messages") options.messages = count(1, 100'000'000);
    else if (name == "--warmup") options.warmup = number(0, 600);
    else if (name == "--seconds") options.seconds = number(0.1, 3600);
    else if (name == "--drain") options.drain = number(0.1, 600);
    else if (name == "--settle") options.settle = number(0, 600);
    else if (name == "--parallel") options.parallel = count(1, 4096);
    else if (name == "--keepalive") options.keepAlive = count(0, 65535);
    else if (name == "--seed") options.seed = static_cast<uint64_t>(number(1, 1e15));
    else failUsage(name + ": unknown option (--help lists all)");
  }
  if (options.workload.empty()) failUsage("--workload is missing (--help lists all)");
  if (options.port == 0) failUsage("--port is missing");
  if (options.pid == 0) failUsage("--pid is missing");
  if (options.workload == "p2p" && options.clients > 10'000) failUsage("--clients: p2p takes at most 10000");
  if (static_cast<uint64_t>(options.publishers) * options.receivers > 100'000'000) failUsage("--publishers times --receivers: at most 100000000");
  return options;
}
