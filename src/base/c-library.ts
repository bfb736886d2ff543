/**
 * CLibrary: the few functions of the C library that Node does not offer, called through koffi. The only file that knows it.
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
  /** Why the last call of this thread has failed; to be asked at once. */
  errno(): number;
}

interface Library {
  func(signature: string): never;
}

let native: CLibrary | null | undefined;

/** Calls into the C library, or null where there is none to call (Windows, an unknown platform). */
export function library(): CLibrary | null {
  if (native !== undefined) return native;
  native = null;
  if (process.platform === 'win32') return native;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as { load(name: null): Library; errno(): number };
    // What the process itself sees: the C library, and whatever was loaded before it.
    const libc = koffi.load(null);
    native = {
      dup: libc.func('int dup(int fd)'),
      close: libc.func('int close(int fd)'),
      recv: libc.func('int64_t recv(int fd, uint8_t *bytes, size_t length, int flags)'),
      flock: libc.func('int flock(int fd, int operation)'),
      send: libc.func('int64_t send(int fd, const uint8_t *bytes, size_t length, int flags)'),
      fallocate: fallocateOf(libc),
      errno: () => koffi.errno(),
    };
  } catch {
    // koffi has no binary for this platform: the caller runs without hand-off and says so.
  }
  return native;
}

/** With offsets of 64 bits: glibc has another name for that one, musl has no other. */
function fallocateOf(libc: Library): CLibrary['fallocate'] {
  if (process.platform !== 'linux') return undefined;
  for (const name of ['fallocate64', 'fallocate']) {
    try {
      return libc.func(`int ${name}(int fd, int mode, int64_t offset, int64_t length)`);
    } catch {
      // Not under this name: the next one is tried.
    }
  }
  return undefined;
}
