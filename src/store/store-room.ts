/**
 * StoreRoom: notices before LMDB writes that the disk is full, or fails, so that no page write of LMDB itself fails.
 *
 *   commit: probe (8 bytes to a file of its own) → is there room for the worst that this commit may add? → rarely: fallocate beyond the end → LMDB
 *
 * LMDB (lmdb 3.5.6, `mdb_page_flush`) describes a page write that failed in 100 bytes, and beyond some MB of store the description is longer: it writes over
 * other memory, and the process aborts soon after. A full disk is noticed by `fallocate`, which takes the room that the next commits need; a file system that
 * was shut down or made read-only is noticed by the probe. Both fail as any call does, and LMDB is not touched.
 *
 * Cost: the probe takes 1.2 µs; LMDB is asked for its end about every fourth commit, 6 µs; room is taken for each 8 MB of growth, 10 µs on ext4, 2 ms on tmpfs. A
 * commit of 2 KB takes 25 µs without all this and 29 µs with it, not counting fsync (400 µs).
 *
 * What is left: a disk that begins to fail between the probe and the end of the commit, some 100 µs; a full disk where `fallocate` is not supported (`canReserve`
 * is false), or where the file system never writes in place (btrfs).
 */
import { closeSync, constants, fstatSync, ftruncateSync, openSync, rmSync, writeSync } from 'node:fs';
import { constants as system } from 'node:os';
import { join } from 'node:path';
import { library } from '../base/c-library.ts';

/** `FALLOC_FL_KEEP_SIZE`: blocks beyond the end, and the size stays. */
const KEEP_SIZE = 1;
/** `POSIX_FADV_DONTNEED`. */
const DONT_NEED = 4;
/** Taken at one time. Not all at once: XFS wants as much to be free as one call spans, even if nothing of it is missing. */
const PIECE_BYTES = 8 * 1024 * 1024;
/** LMDB writes its lock file through mapped memory: where a block is missing on a full disk, that is a signal. */
const LOCK_BYTES = 64 * 1024;
const PROBE_BYTES = 4096;
const PAGE_BYTES = 4096;
/** Pages of a path from the root to a leaf that are copied for one put, and those that splitting adds. */
const PUT_PAGES = 16;
/** Keys of one range are neighbours: a leaf holds at least two of them, and there are no more branches than leaves. */
const REMOVAL_PAGES = 2;
const COMMIT_BYTES = 1024 * 1024;
/** A commit may write its list of free pages anew: 8 bytes for each page of the file, and some rounds until the list has room for itself. */
const FREE_LIST_PART = 128;

/** An error of the system. */
export interface SystemError extends Error {
  readonly code?: string;
  readonly errno?: number;
}

/** Whether more room is all that is missing: nothing else is wrong with the disk. */
export function isFull(error: unknown): boolean {
  const { errno } = error as SystemError;
  return errno === -system.errno.ENOSPC || errno === -system.errno.EDQUOT;
}

export class StoreRoom {
  /** False: this file system, or platform, cannot set room aside. */
  canReserve: boolean;
  private readonly directory: string;
  private data: number;
  private probeFile: number;
  private readonly probeBytes: Buffer;
  /** No page lies beyond this byte of the file, by what is known. */
  private end: number;
  /** All before this byte of the file has its place on the disk. */
  private reserved: number;

  constructor(directory: string) {
    this.directory = directory;
    this.canReserve = library()?.fallocate !== undefined;
    this.data = -1;
    this.probeFile = -1;
    this.probeBytes = Buffer.alloc(8);
    this.end = 0;
    this.reserved = 0;
  }

  /** Before LMDB opens the directory, which writes too where the store is new. @throws SystemError */
  open(): void {
    this.close();
    this.probeFile = this.openProbe();
    if (!this.canReserve) return;
    this.reserveLockFile();
    // As LMDB would make it.
    this.data = openSync(join(this.directory, 'data.mdb'), constants.O_RDWR | constants.O_CREAT, 0o664);
    const { size } = fstatSync(this.data);
    // From the beginning: a copy may have holes, and LMDB has some where it never wrote a page.
    this.reserved = 0;
    this.end = size;
    this.take(0, 0, 0, () => size);
  }

  /** A file without a name: it is gone whenever the process is. */
  private openProbe(): number {
    const name = join(this.directory, 'onehop.probe');
    const file = openSync(name, 'w', 0o600);
    try {
      writeSync(file, Buffer.alloc(PROBE_BYTES));
      rmSync(name);
    } catch (error) {
      closeSync(file);
      throw error;
    }
    return file;
  }

  /** A new probe instead of the old one, whose file system may have been mounted anew. @throws SystemError; then all is as it was */
  renewProbe(): void {
    const file = this.openProbe();
    if (this.probeFile >= 0) closeSync(this.probeFile);
    this.probeFile = file;
  }

  private reserveLockFile(): void {
    // Closed again before LMDB opens it: a process that closes a file loses its locks on it.
    const lock = openSync(join(this.directory, 'lock.mdb'), constants.O_RDWR | constants.O_CREAT, 0o664);
    try {
      this.allocate(lock, 0, LOCK_BYTES);
    } finally {
      closeSync(lock);
    }
  }

  /**
   * Makes sure that one transaction can be written.
   * @param puts values that it writes, `bytes` long together
   * @param removals keys that it removes
   * @param lookUp says where the pages of the file end
   * @param spare bytes that must be left beyond that, for others
   * @throws SystemError when it cannot
   */
  take(puts: number, bytes: number, removals: number, lookUp: () => number, spare = 0): void {
    const { probeFile, probeBytes } = this;
    const written = writeSync(probeFile, probeBytes, 0, probeBytes.length, 0);
    if (written !== probeBytes.length) throw systemError(system.errno.EIO, 'write');
    if (!this.canReserve) return;
    const pages = puts * (PUT_PAGES + 2) + removals * REMOVAL_PAGES;
    const growth = bytes + pages * PAGE_BYTES + COMMIT_BYTES + Math.ceil(this.end / FREE_LIST_PART);
    if (this.end + growth + spare > this.reserved) {
      this.end = lookUp();
      this.reserve(this.end + growth + spare);
    }
    this.end += growth;
  }

  private reserve(to: number): void {
    while (this.reserved < to && this.canReserve) {
      let length = PIECE_BYTES;
      try {
        this.allocate(this.data, this.reserved, length);
      } catch (error) {
        // Not for what comes later: for this commit it may do.
        length = to - this.reserved;
        if (length >= PIECE_BYTES || !isFull(error)) throw error;
        this.allocate(this.data, this.reserved, length);
      }
      this.reserved += length;
    }
  }

  private allocate(file: number, at: number, length: number): void {
    const libc = library()!;
    while (libc.fallocate!(file, KEEP_SIZE, at, length) !== 0) {
      const errno = libc.errno();
      switch (errno) {
        case system.errno.EINTR:
          continue;
        case system.errno.EOPNOTSUPP:
        case system.errno.ENOSYS:
        case system.errno.EINVAL:
          this.canReserve = false;
          return;
        default:
          throw systemError(errno, 'fallocate');
      }
    }
  }

  /** All before this byte of the file has its place on the disk. */
  get reservedBytes(): number {
    return this.reserved;
  }

  /** Lets the system forget what it holds in memory of the file and what is on disk; what is read through a map stays. @returns whether it does */
  forgetCached(): boolean {
    return this.data >= 0 && library()?.posix_fadvise?.(this.data, 0, 0, DONT_NEED) === 0;
  }

  /** Gives the room that was not needed back to the disk. The environment is closed. */
  release(): void {
    try {
      // Cutting a file at its end frees what was taken beyond.
      if (this.data >= 0) ftruncateSync(this.data, fstatSync(this.data).size);
    } catch {
      // It stays with the file, and is used when that grows.
    }
    this.close();
  }

  private close(): void {
    for (const file of [this.data, this.probeFile]) if (file >= 0) closeSync(file);
    this.data = -1;
    this.probeFile = -1;
  }
}

function systemError(errno: number, call: string): SystemError {
  const code = Object.entries(system.errno).find(([, number]) => number === errno)?.[0] ?? `error ${errno}`;
  const text =
    errno === system.errno.ENOSPC ? 'no space left on device' : errno === system.errno.EDQUOT ? 'disk quota exceeded' : 'I/O error';
  return Object.assign(new Error(`${code}: ${text}, ${call}`), { code, errno: -errno });
}
