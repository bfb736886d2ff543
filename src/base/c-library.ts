/**
 * CLibrary: the few functions of the C library that Node does not offer, called through koffi. The only file that knows it.
 */
import { createRequire } from 'node:module';

export interface CLibrary {
  dup(fd: number): number;
  close(fd: number): number;
  send(fd: number, bytes: Uint8Array, length: number, flags: number): number;
  flock(fd: number, operation: number): number;
}

let native: CLibrary | null | undefined;

/** Calls into the C library, or null where there is none to call (Windows, an unknown platform). */
export function library(): CLibrary | null {
  if (native !== undefined) return native;
  native = null;
  const names =
    process.platform === 'linux' ? ['libc.so.6', 'libc.so', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1'] : ['libc.dylib', 'libc.so'];
  if (process.platform === 'win32') return native;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as { load(name: string): { func(signature: string): never } };
    for (const name of names) {
      try {
        const libc = koffi.load(name);
        native = {
          dup: libc.func('int dup(int fd)'),
          close: libc.func('int close(int fd)'),
          flock: libc.func('int flock(int fd, int operation)'),
          send: libc.func('int64_t send(int fd, const uint8_t *bytes, size_t length, int flags)'),
        };
        break;
      } catch {
        // Not under this name: the next one is tried.
      }
    }
  } catch {
    // koffi has no binary for this platform: the caller runs without hand-off and says so.
  }
  return native;
}
