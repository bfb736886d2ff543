/**
 * PublisherNames: Client Identifiers of those who publish, one in each line of the processor's cache, for the history, which copies one for each message.
 *
 *   session ─ nameAt ─▶ | length | Client Identifier … 64 bytes | length | … |          0: none yet
 *
 * A session's own array has its length, the place of its bytes and the bytes in lines of their own: where publishers take turns, none of them is at hand. With a read and a write
 * of a pipe before each of 1,000 publishers' messages, a message cost its shard 350 ns so and 300 with this (medians of 340 paired rounds, three times).
 *
 * It holds `NAMES_MAX`. Whoever comes later, until another leaves, or has a longer name than a line holds, is read from its own array, which is counted for each message.
 *
 * Hot path.
 */
import { counter } from './counters.ts';
import type { ClientSession } from './shard.ts';

const HELD = counter('history/names');
const REFUSED = counter('history/names/refused');
const LINE_BYTES = 64;
/** Names that are held. With the first line, which is nobody's, they fill 4 MB. */
export const NAMES_MAX = 65_535;
const LINES_FIRST = 1024;
/** `nameAt` of a session that gets no place any more. */
export const NOWHERE = -1;

export class PublisherNames {
  /** At `nameAt` of a session its length, then its Client Identifier. Another array when there are more. */
  bytes: Uint8Array;
  private readonly counters: Float64Array;
  private end: number;
  private readonly free: number[];

  /** @param counters of the shard */
  constructor(counters: Float64Array) {
    this.counters = counters;
    this.bytes = new Uint8Array(LINES_FIRST * LINE_BYTES);
    this.end = LINE_BYTES;
    this.free = [];
  }

  /** Finds a place for the name of a session that has none yet. @returns its `nameAt`; NOWHERE: there is none now */
  place(session: ClientSession): number {
    const { clientIdBytes } = session;
    if (session.hasEnded) return NOWHERE;
    if (clientIdBytes.length >= LINE_BYTES || (this.free.length === 0 && this.end === (NAMES_MAX + 1) * LINE_BYTES)) {
      this.counters[REFUSED]!++;
      return NOWHERE;
    }
    const at = this.free.pop() ?? this.next();
    this.bytes[at] = clientIdBytes.length;
    this.bytes.set(clientIdBytes, at + 1);
    session.nameAt = at;
    this.counters[HELD]!++;
    return at;
  }

  private next(): number {
    const at = this.end;
    this.end += LINE_BYTES;
    if (this.end > this.bytes.length) {
      const larger = new Uint8Array(2 * this.bytes.length);
      larger.set(this.bytes);
      this.bytes = larger;
    }
    return at;
  }

  /** The session has ended. */
  forget(session: ClientSession): void {
    if (session.nameAt > 0) {
      this.free.push(session.nameAt);
      this.counters[HELD]!--;
    }
    session.nameAt = NOWHERE;
  }
}
