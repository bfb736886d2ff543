// What the kernel says about the broker's process and the machine: CPU time, memory and bytes written, read from /proc.
//
// It only reads. CPU time counts all threads, user and system. `ticks` come from /proc/<pid>/stat (10 ms steps), `nanoseconds` from the
// schedstat of every thread (exact, but a thread that has ended is gone from the sum). What another user's process writes may be unreadable; then the
// fields are left out.
#pragma once

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

struct CpuTime {
  uint64_t ticksNanoseconds = 0;
  uint64_t schedNanoseconds = 0;
  bool hasSched = false;
};

// From /proc/<pid>/io, since the process began.
struct Written {
  uint64_t diskBytes = 0;  // handed to a file system on a disk, in whole pages, also through mapped files; 0 where the file system has no disk
  uint64_t callBytes = 0;  // given to write(2) and the like, whatever it went to: files, pipes, and sockets too
  bool isKnown = false;
};

struct CostSnapshot;

struct Memory {
  uint64_t rssBytes = 0;
  uint64_t pssBytes = 0;
  uint64_t anonymousBytes = 0;  // the part of rssBytes that is not backed by a file
};

class BrokerProcess {
 public:
  explicit BrokerProcess(int pid) : pid_(pid) {}

  // False when the process is gone or its /proc files cannot be read.
  bool cpu(CpuTime& time) const {
    char text[1024];
    if (!readText(path("stat"), text, sizeof text)) return false;
    const char* afterName = strrchr(text, ')');  // the name may hold spaces
    unsigned long user = 0, system = 0;
    if (afterName == nullptr || sscanf(afterName + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2) return false;
    time.ticksNanoseconds = (user + system) * (1'000'000'000ull / static_cast<uint64_t>(sysconf(_SC_CLK_TCK)));
    time.schedNanoseconds = 0;
    time.hasSched = false;
    DIR* tasks = opendir(path("task").c_str());
    if (tasks == nullptr) return true;
    while (const dirent* task = readdir(tasks)) {
      if (task->d_name[0] == '.') continue;
      unsigned long long nanoseconds = 0;
      if (readText(path("task/") + task->d_name + "/schedstat", text, sizeof text) && sscanf(text, "%llu", &nanoseconds) == 1) {
        time.schedNanoseconds += nanoseconds;
        time.hasSched = true;
      }
    }
    closedir(tasks);
    return true;
  }

  bool memory(Memory& memory) const {
    char text[4096];
    if (readText(path("smaps_rollup"), text, sizeof text)) {
      memory.rssBytes = kilobytes(text, "\nRss:");
      memory.pssBytes = kilobytes(text, "\nPss:");
      memory.anonymousBytes = kilobytes(text, "\nAnonymous:");
      return memory.rssBytes > 0;
    }
    if (!readText(path("status"), text, sizeof text)) return false;
    memory.rssBytes = memory.pssBytes = kilobytes(text, "\nVmRSS:");
    memory.anonymousBytes = kilobytes(text, "\nRssAnon:");
    return memory.rssBytes > 0;
  }

  Written written() const {
    char text[1024];
    Written written;
    unsigned long long callBytes = 0, diskBytes = 0;
    if (!readText(path("io"), text, sizeof text)) return written;
    const char* calls = strstr(text, "wchar:");
    const char* disk = strstr(text, "\nwrite_bytes:");
    if (calls == nullptr || disk == nullptr) return written;
    if (sscanf(calls, "wchar: %llu", &callBytes) != 1 || sscanf(disk, "\nwrite_bytes: %llu", &diskBytes) != 1) return written;
    written.callBytes = callBytes;
    written.diskBytes = diskBytes;
    written.isKnown = true;
    return written;
  }

  // False when the process is gone.
  bool snapshot(uint64_t time, CostSnapshot& snapshot) const;

 private:
  std::string path(const char* file) const { return "/proc/" + std::to_string(pid_) + "/" + file; }

  static bool readText(const std::string& path, char* text, size_t bytes) {
    FILE* file = fopen(path.c_str(), "r");
    if (file == nullptr) return false;
    const size_t got = fread(text, 1, bytes - 1, file);
    fclose(file);
    text[got] = 0;
    return got > 0;
  }

  static uint64_t kilobytes(const char* text, const char* label) {
    const char* at = strstr(text, label);
    unsigned long long value = 0;
    if (at == nullptr || sscanf(at + strlen(label), "%llu", &value) != 1) return 0;
    return value * 1024;
  }

  int pid_;
};

// Busy time of all cores of the machine, whoever used it; 0 when it cannot be read. In 10 ms steps.
inline uint64_t machineCpuNanoseconds() {
  unsigned long long user = 0, nice = 0, system = 0, interrupt = 0, softInterrupt = 0;
  FILE* file = fopen("/proc/stat", "r");
  if (file == nullptr) return 0;
  const int read = fscanf(file, "cpu %llu %llu %llu %*u %*u %llu %llu", &user, &nice, &system, &interrupt, &softInterrupt);
  fclose(file);
  if (read != 5) return 0;
  return (user + nice + system + interrupt + softInterrupt) * (1'000'000'000ull / static_cast<uint64_t>(sysconf(_SC_CLK_TCK)));
}

// CPU time of the load generator itself, to see whether it was the bottleneck.
inline uint64_t ownCpuNanoseconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto nanoseconds = [](const timeval& time) { return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000ull + static_cast<uint64_t>(time.tv_usec) * 1000ull; };
  return nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime);
}

// The accounts at one instant. Two of them give what a stretch of time cost whom.
struct CostSnapshot {
  uint64_t time = 0;  // of the caller's clock
  CpuTime broker;
  Written written;
  uint64_t own = 0;
  uint64_t machine = 0;
};

inline bool BrokerProcess::snapshot(uint64_t time, CostSnapshot& snapshot) const {
  snapshot.time = time;
  snapshot.own = ownCpuNanoseconds();
  snapshot.machine = machineCpuNanoseconds();
  snapshot.written = written();
  return cpu(snapshot.broker);
}

struct CostSpan {
  double elapsed;     // nanoseconds
  double brokerCpu;   // nanoseconds, by schedstat where readable
  double brokerTicks; // nanoseconds, by the coarse count
  double ownCpu;      // nanoseconds

  // Nanoseconds that others used meanwhile. Much of it makes a measurement worthless: a broker that has to wait for a core finds more to do at once.
  double foreignCpu;

  Written written;  // by the broker

  CostSpan(const CostSnapshot& from, const CostSnapshot& to)
      : elapsed(static_cast<double>(to.time - from.time)),
        brokerCpu(0),
        brokerTicks(static_cast<double>(to.broker.ticksNanoseconds - from.broker.ticksNanoseconds)),
        ownCpu(static_cast<double>(to.own - from.own)),
        foreignCpu(0) {
    const bool hasSched = from.broker.hasSched && to.broker.hasSched;
    brokerCpu = hasSched ? static_cast<double>(to.broker.schedNanoseconds - from.broker.schedNanoseconds) : brokerTicks;
    const double foreign = static_cast<double>(to.machine - from.machine) - brokerCpu - ownCpu;
    foreignCpu = foreign > 0 ? foreign : 0;
    written = {to.written.diskBytes - from.written.diskBytes, to.written.callBytes - from.written.callBytes, from.written.isKnown && to.written.isKnown};
  }

  // The fields that every result has, as JSON without braces; `count` is of messages or connects.
  void print(uint64_t count) const {
    const double each = count > 0 ? static_cast<double>(count) : 1;
    printf("\"seconds\":%.3f,\"perSecond\":%.0f,\"cpuMicroseconds\":%.4f,\"cpuTicksMicroseconds\":%.4f,", elapsed / 1e9, static_cast<double>(count) * 1e9 / elapsed,
           brokerCpu / each / 1e3, brokerTicks / each / 1e3);
    printf("\"brokerCores\":%.3f,\"generatorCores\":%.3f,\"foreignCores\":%.3f,", brokerCpu / elapsed, ownCpu / elapsed, foreignCpu / elapsed);
    printWritten();
  }

  void printWritten() const {
    if (!written.isKnown) return;
    printf("\"writtenDiskBytes\":%llu,\"writtenCallBytes\":%llu,", static_cast<unsigned long long>(written.diskBytes), static_cast<unsigned long long>(written.callBytes));
  }
};
