// The load generator: one workload against one broker, one JSON object on stdout, the exit code says whether every message arrived.
//
// One thread, no dependencies but those of the transports. It knows MQTT and /proc, and nothing of any broker. It ends by itself: a guard stops it when the broker hangs.
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

#include "connect-load.hpp"
#include "message-load.hpp"
#include "offline-load.hpp"

namespace {

void raiseOpenFiles() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// 60 s for connecting, the workload's own times, and 30 s more. Some workloads connect, wait and drain twice.
void setGuard(const Options& options) {
  signal(SIGALRM, [](int) {
    constexpr char text[] = "load: stopped, the run took far longer than it was told to\n";
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(1);
    _exit(1);
  });
  alarm(static_cast<unsigned>(150 + options.warmup + options.seconds + 2 * options.drain + 2 * options.settle));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--transports") {
    puts(builtTransports().c_str());
    return 0;
  }
  const Options options = readOptions(argc, argv);
  raiseOpenFiles();
  setGuard(options);
  if (options.workload == "connect") return ConnectStorm(options).run();
  if (options.workload == "idle") return IdleLoad(options).run();
  if (OfflineLoad::isMeant(options)) return OfflineLoad(options).run();
  return MessageLoad(options).run();
}
