// The fault layer: a library that is loaded before the C library of one broker process (LD_PRELOAD) and makes its disk fail when it is told to.
//
//   broker → LMDB → pwrite, writev, fdatasync … → this layer → C library → kernel
//
// Only calls on files below FAULT_DIRECTORY are its business; sockets, pipes and the log pass. What happens to them says a control file that is mapped here and
// written by the test: nine numbers of 64 bits, little endian as the machine is.
//
//   0 mode: 0 none · 1 writes fail with EIO · 2 writes of a page or more are cut in half · 3 syncs fail with EIO · 4 ENOSPC
//           5 writes that sync by themselves (O_DSYNC) fail with EIO: in LMDB those of the page that says which commit is the last
//           6 ENOSPC where room is taken, and nowhere else: a disk that is full, and a file that has room
//           7 the process is killed before it writes, syncs, changes a size, takes room, or gives another name
//           8 the process is killed when it has given another name
//   1 only: 0 every call that the mode is about; k: only the k-th since this number was written
//   2 calls that the mode was about since then     3 faults so far
//   4 writes so far     5 syncs so far     6 changes of size so far
//   7 1: the mode begins with the next call that is not LMDB's, and not in the middle of a commit of LMDB; then it is 0 again
//   8 writes of LMDB that did not reach the disk so far
//
// A sync that fails has written nothing down, and what was written before stays in the page cache, as with a real disk: a write to a descriptor that syncs by
// itself (O_DSYNC) is made and then fails.
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdint>

namespace {

enum Mode : uint64_t { kNone, kWriteError, kShortWrite, kSyncError, kNoSpace, kHeaderError, kNoRoom, kDeath, kRenamedDeath };

constexpr size_t kPageBytes = 4096;

struct Control {
  uint64_t mode, only, matched, injected, writes, syncs, resizes, waits, lmdbFaults;
};

char directory[4096];
size_t directoryLength = 0;
Control *control = nullptr;

__attribute__((constructor)) void begin() {
  const char *path = getenv("FAULT_CONTROL");
  const char *root = getenv("FAULT_DIRECTORY");
  if (path == nullptr || root == nullptr || strlen(root) >= sizeof directory) return;
  int file = open(path, O_RDWR | O_CLOEXEC);
  if (file < 0) return;
  void *memory = mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (memory == MAP_FAILED) return;
  strcpy(directory, root);
  directoryLength = strlen(root);
  control = static_cast<Control *>(memory);
}

template <typename Function>
Function next(const char *name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

void count(uint64_t &counter) { __atomic_add_fetch(&counter, 1, __ATOMIC_SEQ_CST); }

bool isBelow(const char *path) {
  return strncmp(path, directory, directoryLength) == 0 && (path[directoryLength] == '/' || path[directoryLength] == 0);
}

constexpr size_t kPathMax = 4096;

bool pathOf(int file, char *path) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  int before = errno;
  ssize_t length = readlink(link, path, kPathMax - 1);
  errno = before;
  if (length <= 0) return false;
  path[length] = 0;
  return true;
}

bool isOurs(int file) {
  char path[kPathMax];
  return control != nullptr && pathOf(file, path) && isBelow(path);
}

bool isLmdbs(int file) {
  char path[kPathMax];
  return pathOf(file, path) && strstr(path, ".mdb") != nullptr;
}

// Mapped memory has no descriptor: the list of mappings says which file an address belongs to.
bool isOurs(const void *address) {
  if (control == nullptr) return false;
  FILE *maps = fopen("/proc/self/maps", "re");
  if (maps == nullptr) return false;
  bool found = false;
  char line[8192];
  while (!found && fgets(line, sizeof line, maps) != nullptr) {
    unsigned long from = 0, to = 0;
    int pathAt = 0;
    if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %n", &from, &to, &pathAt) < 2 || pathAt == 0) continue;
    auto at = reinterpret_cast<unsigned long>(address);
    line[strcspn(line, "\n")] = 0;
    found = from <= at && at < to && isBelow(line + pathAt);
  }
  fclose(maps);
  return found;
}

uint64_t mode() { return __atomic_load_n(&control->mode, __ATOMIC_SEQ_CST); }

// What the mode is for this call: none as long as it waits.
uint64_t modeFor(bool lmdbs) {
  if (__atomic_load_n(&control->waits, __ATOMIC_SEQ_CST) != 0) {
    if (lmdbs || mode() == kNone) return kNone;
    __atomic_store_n(&control->waits, 0, __ATOMIC_SEQ_CST);
  }
  return mode();
}

// The mode is about this call: whether it fails.
bool strikes() {
  uint64_t number = __atomic_add_fetch(&control->matched, 1, __ATOMIC_SEQ_CST);
  uint64_t only = __atomic_load_n(&control->only, __ATOMIC_SEQ_CST);
  if (only != 0 && only != number) return false;
  count(control->injected);
  return true;
}

// A call of ours that leaves a trace on the disk.
void mayDie() {
  if (mode() == kDeath && strikes()) kill(getpid(), SIGKILL);
}

bool syncsItself(int file) {
  int flags = fcntl(file, F_GETFL);
  return flags >= 0 && (flags & O_DSYNC) != 0;
}

ssize_t fail(int error) {
  errno = error;
  return -1;
}

// A write of `size` bytes: `whole` does it all, `part` the first so many bytes.
template <typename Whole, typename Part>
ssize_t writing(int file, size_t size, Whole whole, Part part) {
  if (!isOurs(file)) return whole();
  count(control->writes);
  mayDie();
  bool lmdbs = isLmdbs(file);
  auto refuse = [&](int error) {
    if (lmdbs) count(control->lmdbFaults);
    return fail(error);
  };
  switch (modeFor(lmdbs)) {
    case kWriteError:
      return strikes() ? refuse(EIO) : whole();
    case kNoSpace:
      return strikes() ? refuse(ENOSPC) : whole();
    case kShortWrite:
      return size >= kPageBytes && strikes() ? part(size / 2) : whole();
    case kSyncError:
      if (!syncsItself(file) || !strikes()) return whole();
      whole();
      return fail(EIO);
    case kHeaderError:
      return syncsItself(file) && strikes() ? fail(EIO) : whole();
    default:
      return whole();
  }
}

template <typename Whole>
int syncing(bool ours, Whole whole) {
  if (!ours) return whole();
  count(control->syncs);
  mayDie();
  return mode() == kSyncError && strikes() ? static_cast<int>(fail(EIO)) : whole();
}

template <typename Whole>
int resizing(int file, Whole whole) {
  if (!isOurs(file)) return whole();
  count(control->resizes);
  mayDie();
  return modeFor(isLmdbs(file)) == kNoSpace && strikes() ? static_cast<int>(fail(ENOSPC)) : whole();
}

// LMDB never does.
template <typename Whole>
int takingRoom(int file, Whole whole) {
  if (!isOurs(file)) return whole();
  count(control->resizes);
  mayDie();
  uint64_t now = modeFor(false);
  return (now == kNoSpace || now == kNoRoom) && strikes() ? static_cast<int>(fail(ENOSPC)) : whole();
}

size_t bytesOf(const iovec *parts, int count) {
  size_t bytes = 0;
  for (int i = 0; i < count; i++) bytes += parts[i].iov_len;
  return bytes;
}

// The first `bytes` bytes as a list of their own. @returns its length
int cut(const iovec *parts, int count, size_t bytes, iovec *result) {
  int used = 0;
  for (; used < count && bytes > 0; used++) {
    result[used] = parts[used];
    if (result[used].iov_len > bytes) result[used].iov_len = bytes;
    bytes -= result[used].iov_len;
  }
  return used;
}

constexpr int kPartsMax = 1024;

template <typename Write>
ssize_t vector(int file, const iovec *parts, int count, Write write) {
  return writing(
      file, bytesOf(parts, count), [&] { return write(parts, count); },
      [&](size_t bytes) {
        iovec some[kPartsMax];
        return write(some, cut(parts, count < kPartsMax ? count : kPartsMax, bytes, some));
      });
}

template <typename Offset>
ssize_t positioned(const char *name, int file, const void *bytes, size_t size, Offset at) {
  auto real = next<ssize_t (*)(int, const void *, size_t, Offset)>(name);
  return writing(
      file, size, [&] { return real(file, bytes, size, at); }, [&](size_t part) { return real(file, bytes, part, at); });
}

template <typename Offset>
ssize_t positionedVector(const char *name, int file, const iovec *parts, int count, Offset at) {
  auto real = next<ssize_t (*)(int, const iovec *, int, Offset)>(name);
  return vector(file, parts, count, [&](const iovec *list, int length) { return real(file, list, length, at); });
}

}  // namespace

extern "C" {

ssize_t write(int file, const void *bytes, size_t size) {
  static auto real = next<ssize_t (*)(int, const void *, size_t)>("write");
  return writing(
      file, size, [&] { return real(file, bytes, size); }, [&](size_t part) { return real(file, bytes, part); });
}

ssize_t writev(int file, const iovec *parts, int count) {
  static auto real = next<ssize_t (*)(int, const iovec *, int)>("writev");
  return vector(file, parts, count, [&](const iovec *list, int length) { return real(file, list, length); });
}

ssize_t pwrite(int file, const void *bytes, size_t size, off_t at) { return positioned("pwrite", file, bytes, size, at); }

ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t at) { return positioned("pwrite64", file, bytes, size, at); }

ssize_t pwritev(int file, const iovec *parts, int count, off_t at) { return positionedVector("pwritev", file, parts, count, at); }

ssize_t pwritev64(int file, const iovec *parts, int count, off64_t at) { return positionedVector("pwritev64", file, parts, count, at); }

int fdatasync(int file) {
  static auto real = next<int (*)(int)>("fdatasync");
  return syncing(isOurs(file), [&] { return real(file); });
}

int fsync(int file) {
  static auto real = next<int (*)(int)>("fsync");
  return syncing(isOurs(file), [&] { return real(file); });
}

int msync(void *address, size_t size, int flags) {
  static auto real = next<int (*)(void *, size_t, int)>("msync");
  return syncing(isOurs(address), [&] { return real(address, size, flags); });
}

int ftruncate(int file, off_t size) noexcept {
  static auto real = next<int (*)(int, off_t)>("ftruncate");
  return resizing(file, [&] { return real(file, size); });
}

int ftruncate64(int file, off64_t size) noexcept {
  static auto real = next<int (*)(int, off64_t)>("ftruncate64");
  return resizing(file, [&] { return real(file, size); });
}

int fallocate(int file, int how, off_t at, off_t size) {
  static auto real = next<int (*)(int, int, off_t, off_t)>("fallocate");
  return takingRoom(file, [&] { return real(file, how, at, size); });
}

int fallocate64(int file, int how, off64_t at, off64_t size) {
  static auto real = next<int (*)(int, int, off64_t, off64_t)>("fallocate64");
  return takingRoom(file, [&] { return real(file, how, at, size); });
}

int rename(const char *from, const char *to) {
  static auto real = next<int (*)(const char *, const char *)>("rename");
  if (control == nullptr || !isBelow(to)) return real(from, to);
  mayDie();
  int result = real(from, to);
  if (result == 0 && mode() == kRenamedDeath && strikes()) kill(getpid(), SIGKILL);
  return result;
}

// These two return the error.
int posix_fallocate(int file, off_t at, off_t size) {
  static auto real = next<int (*)(int, off_t, off_t)>("posix_fallocate");
  int result = takingRoom(file, [&] { return real(file, at, size); });
  return result == -1 ? ENOSPC : result;
}

int posix_fallocate64(int file, off64_t at, off64_t size) {
  static auto real = next<int (*)(int, off64_t, off64_t)>("posix_fallocate64");
  int result = takingRoom(file, [&] { return real(file, at, size); });
  return result == -1 ? ENOSPC : result;
}
}
