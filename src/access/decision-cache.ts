/**
 * Decision cache: the last decisions about what one client publishes, so that a device which repeats its few topics is judged by one comparison of bytes.
 *
 * Its size is fixed: a new topic takes the place of the one with the same hash bits. Long topics are not kept. The bytes are compared, never the hash alone,
 * because a client chooses its topics.
 *
 * Hot path.
 */
import { copyBytes, equalBytes } from '../base/bytes.ts';

/** Answer of `get` when there is none. */
export const NOT_CACHED = -0x40000000;

const ENTRIES = 8;
const TOPIC_BYTES_MAX = 256;
/** Keys grow by steps, so that topics of nearly the same length use one array again. */
const KEY_STEP = 32;
/** Numbers of one entry: hash, kind, length, decision. */
const WORDS = 4;

const NO_KEY = new Uint8Array(0);

export class DecisionCache {
  private readonly keys: Uint8Array[];
  /** Small integers in a plain array: a typed one of this size takes some 300 bytes more, outside of the heap. */
  private readonly words: number[];

  constructor() {
    this.keys = new Array<Uint8Array>(ENTRIES).fill(NO_KEY);
    this.words = new Array<number>(ENTRIES * WORDS).fill(0);
  }

  /** @param kind everything beside the bytes that the decision depends on. @returns the decision, or NOT_CACHED */
  get(bytes: Uint8Array, at: number, end: number, hash: number, kind: number): number {
    const entry = hash & (ENTRIES - 1);
    const { words } = this;
    const word = entry * WORDS;
    const length = words[word + 2]!;
    if (words[word] !== hash || words[word + 1] !== kind || length !== end - at || length === 0) return NOT_CACHED;
    return equalBytes(this.keys[entry]!, 0, length, bytes, at, end) ? words[word + 3]! : NOT_CACHED;
  }

  set(bytes: Uint8Array, at: number, end: number, hash: number, kind: number, decision: number): void {
    const length = end - at;
    if (length > TOPIC_BYTES_MAX) return;
    const entry = hash & (ENTRIES - 1);
    if (this.keys[entry]!.length < length) this.keys[entry] = new Uint8Array(Math.ceil(length / KEY_STEP) * KEY_STEP);
    copyBytes(this.keys[entry]!, 0, bytes, at, end);
    const { words } = this;
    const word = entry * WORDS;
    words[word] = hash;
    words[word + 1] = kind;
    words[word + 2] = length;
    words[word + 3] = decision;
  }
}
