/**
 * File descriptors of sockets: duplicating and closing them, sending on them past the stream layer, and the table that says which are on their way from one shard to another.
 *
 *   accepting shard: dup → mark(fd, owner) → record on the ring        owner: claim(fd) → adopt
 *   sender or owner died before it was claimed: the supervisor closes what is still marked for either
 *
 * Ownership passes exactly once, because a mark is taken by compare-and-exchange. Node has no `dup(2)`; the C library's is called.
 */
import { library } from '../base/c-library.ts';

/** Descriptors beyond this cannot be handed off; such a connection is refused. */
export const DESCRIPTORS_MAX: number = 1 << 20;

/** Whether sockets can move between shards on this machine. */
export function canHandOff(): boolean {
  return library() !== null;
}

/** Duplicates a descriptor. @returns the new one, -1 when the process has none left */
export function duplicate(fd: number): number {
  return library()?.dup(fd) ?? -1;
}

/** Closes a descriptor that no Node object owns. */
export function closeDescriptor(fd: number): void {
  library()?.close(fd);
}

/** MSG_DONTWAIT and MSG_NOSIGNAL, by platform. macOS has no MSG_NOSIGNAL; Node ignores SIGPIPE there as well. */
const SEND_FLAGS = process.platform === 'linux' ? 0x4040 : 0x80;

/**
 * Sends bytes[0, length) on a socket at once, past Node's stream layer.
 * @returns bytes taken by the kernel; -1 when it takes none now or the connection is broken: then the stream is to write them, which finds out which
 */
export function sendNow(fd: number, bytes: Uint8Array, length: number): number {
  return library()!.send(fd, bytes, length, SEND_FLAGS);
}

/** MSG_DONTWAIT and MSG_PEEK, by platform. */
const PEEK_FLAGS = process.platform === 'linux' ? 0x42 : 0x82;

/** Reads what has come on a socket and leaves it there. @returns bytes; 0 when the peer has ended, -1 when nothing is there */
export function peek(fd: number, bytes: Uint8Array): number {
  return library()!.recv(fd, bytes, bytes.length, PEEK_FLAGS);
}

/** Bytes of SharedArrayBuffer for the table of descriptors under way. */
export const TRANSIT_BYTES: number = DESCRIPTORS_MAX * 2;

/** The table, seen by one thread. An entry is sender + 1 in the high byte and owner + 1 in the low one; 0 is not under way. */
export class Transit {
  private readonly entries: Uint16Array;

  constructor(shared: SharedArrayBuffer) {
    this.entries = new Uint16Array(shared);
  }

  /** `fd` is under way to shard `owner` from shard `sender`. @returns false when the number is beyond the table */
  mark(fd: number, owner: number, sender: number): boolean {
    if (fd >= DESCRIPTORS_MAX) return false;
    Atomics.store(this.entries, fd, ((sender + 1) << 8) | (owner + 1));
    return true;
  }

  /** Shard `owner` takes `fd` over. @returns false when it was not on its way to it */
  claim(fd: number, owner: number): boolean {
    if (fd >= DESCRIPTORS_MAX) return false;
    const entry = Atomics.load(this.entries, fd);
    return (entry & 0xff) === owner + 1 && Atomics.compareExchange(this.entries, fd, entry, 0) === entry;
  }

  /**
   * Takes everything that was under way to a dead shard, or from it and will not arrive. Reads the whole table: for the supervisor, after the other shards
   * have taken what the dead one had still shown them.
   */
  claimAllOf(dead: number): number[] {
    const lost: number[] = [];
    for (let fd = 0; fd < DESCRIPTORS_MAX; fd++) {
      const entry = this.entries[fd]!;
      if (entry === 0 || ((entry & 0xff) !== dead + 1 && entry >> 8 !== dead + 1)) continue;
      if (Atomics.compareExchange(this.entries, fd, entry, 0) === entry) lost.push(fd);
    }
    return lost;
  }
}
