/**
 * CLibrary: the few functions of the C library that Node does not offer, called through koffi; `open-ssl.ts` does the same for OpenSSL.
 */
import { createRequire } from 'node:module';

export interface CLibrary {
  dup(fd: number): number;
  close(fd: number): number;
  send(fd: number, bytes: Uint8Array, length: number, flags: number): number;
  flock(fd: number, operation: number): number;
  recv(fd: number, bytes: Uint8Array, length: number, flags: number): number;
  /** Linux alone has it. */
  readonly fallocate: ((fd: number, mode: number, offset: number, length: number) => number) | undefined;
  /** Linux alone has it. Returns the error. */
  readonly posix_fadvise: ((fd: number, offset: number, length: number, advice: number) => number) | undefined;
  /** Linux only. */
  readonly memfd_create?: (name: string, flags: number) => number;
  /** Why the last call of this thread has failed; to be asked at once. */
  errno(): number;
  socket(family: number, type: number, protocol: number): number;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, length: number): number;
  bind(fd: number, address: Uint8Array, length: number): number;
  /** `messages` is the address of an array of `struct mmsghdr`. */
  recvmmsg(fd: number, messages: bigint, count: number, flags: number, timeout: null): number;
  sendmmsg(fd: number, messages: bigint, count: number, flags: number): number;
  /** Memory that does not move, zeroed, for structures that hold addresses. It is never given back: who takes some keeps it for the life of its thread. */
  memory(length: number): NativeMemory;
}

export interface NativeMemory {
  readonly address: bigint;
  readonly bytes: Uint8Array;
}

interface Library {
  func(signature: string): never;
}

interface Koffi {
  load(name: null): Library;
  errno(): number;
  alloc(type: string, length: number): unknown;
  address(value: unknown): bigint;
  view(pointer: unknown, length: number): ArrayBuffer;
}

let native: CLibrary | null | undefined;

/** Calls into the C library, or null where there is none to call (Windows, an unknown platform). */
export function library(): CLibrary | null {
  if (native !== undefined) return native;
  native = null;
  if (process.platform === 'win32') return native;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as Koffi;
    // What the process itself sees: the C library, and whatever was loaded before it.
    const libc = koffi.load(null);
    native = {
      dup: libc.func('int dup(int fd)'),
      close: libc.func('int close(int fd)'),
      recv: libc.func('int64_t recv(int fd, uint8_t *bytes, size_t length, int flags)'),
      flock: libc.func('int flock(int fd, int operation)'),
      send: libc.func('int64_t send(int fd, const uint8_t *bytes, size_t length, int flags)'),
      socket: libc.func('int socket(int family, int type, int protocol)'),
      setsockopt: libc.func('int setsockopt(int fd, int level, int name, const uint8_t *value, uint32_t length)'),
      bind: libc.func('int bind(int fd, const uint8_t *address, uint32_t length)'),
      ...datagramCalls(libc),
      memory: (length) => {
        const pointer = koffi.alloc('uint8_t', length);
        const bytes = new Uint8Array(koffi.view(pointer, length));
        return { address: koffi.address(pointer), bytes: bytes.fill(0) };
      },
      fallocate: largeFileCall(libc, 'fallocate', 'int fd, int mode, int64_t offset, int64_t length'),
      posix_fadvise: largeFileCall(libc, 'posix_fadvise', 'int fd, int64_t offset, int64_t length, int advice'),
      ...(process.platform === 'linux' ? { memfd_create: libc.func('int memfd_create(const char *name, unsigned int flags)') } : {}),
      errno: () => koffi.errno(),
    };
  } catch {
    // koffi has no binary for this platform: the caller runs without hand-off and says so.
  }
  return native;
}

/** With offsets of 64 bits: glibc has another name for that one, musl has no other. */
function largeFileCall(libc: Library, name: string, parameters: string): ((...values: number[]) => number) | undefined {
  if (process.platform !== 'linux') return undefined;
  for (const one of [`${name}64`, name]) {
    try {
      return libc.func(`int ${one}(${parameters})`);
    } catch {
      // Not under this name: the next one is tried.
    }
  }
  return undefined;
}

/** Many datagrams with one call: Linux has it, macOS does not. */
function datagramCalls(libc: { func(signature: string): never }): Pick<CLibrary, 'recvmmsg' | 'sendmmsg'> {
  if (process.platform !== 'linux') return { recvmmsg: () => -1, sendmmsg: () => -1 };
  return {
    recvmmsg: libc.func('int recvmmsg(int fd, void *messages, unsigned int count, int flags, void *timeout)'),
    sendmmsg: libc.func('int sendmmsg(int fd, void *messages, unsigned int count, int flags)'),
  };
}
