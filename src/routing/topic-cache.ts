/*
 * A bounded cache from topic names (bytes) to what was found out about them: matches, masks. Set-associative: a hash names a set of eight
 * places, so a lookup reads one or two lines of memory and a miss costs no more than a hit.
 * Topics seen once do not push out topics that are used: once a set is full, a topic is admitted at its second miss in short time, and then
 * takes the place of one that was not used again. So a walk over millions of topics passes without harm.
 * Invariant: at most `entriesMax` entries of together at most `bytesMax` bytes; nothing of another version is ever returned.
 *
 * Hot path.
 */

import { cloneKey, equalBytes } from '../base/bytes.ts';

const WAYS = 8;
/** Uses are counted up to this number, and down again one by one where newcomers find the whole set in use. */
const USES_MAX = 3;
const SEEN_WAYS = 4;
/** What an entry costs apart from its topic and its own bytes: key object, array places. */
const OVERHEAD_BYTES = 250;

/** What the cache asks of an entry: the version of the trees that it was made from. */
export interface CacheEntry {
  readonly version: number;
}

/** Cache by topic. The version is any number that changes with everything the entries were made from, such as the sum of versions. */
export class TopicCache<E extends CacheEntry> {
  /** Number of entries, outdated ones included. */
  size = 0;
  /** Bytes of all entries as reckoned by `put`. */
  bytes = 0;
  readonly entriesMax: number;
  readonly bytesMax: number;
  private readonly setMask: number;
  private readonly hashes: Int32Array;
  private readonly uses: Uint8Array;
  private readonly sizes: Int32Array;
  /** By set: the way that the search for a victim begins with. */
  private readonly turns: Uint8Array;
  private readonly keys: (Uint8Array | undefined)[];
  private readonly entries: (E | undefined)[];
  /** Hashes of topics that were not admitted, newest first in each group of SEEN_WAYS. */
  private readonly seen: Int32Array;
  private hand = 0;

  /** `entriesMax` is rounded down to a power of two, and up to 8. */
  constructor(entriesMax: number, bytesMax: number) {
    let places = WAYS;
    while (places * 2 <= entriesMax) places *= 2;
    this.entriesMax = places;
    this.bytesMax = bytesMax;
    this.setMask = places / WAYS - 1;
    this.hashes = new Int32Array(places);
    this.uses = new Uint8Array(places);
    this.sizes = new Int32Array(places);
    this.turns = new Uint8Array(places / WAYS);
    this.keys = new Array<Uint8Array | undefined>(places).fill(undefined);
    this.entries = new Array<E | undefined>(places).fill(undefined);
    this.seen = new Int32Array(places * SEEN_WAYS);
  }

  /** The entry of the topic `bytes[at, end)` if it was made at `version`, else undefined. `hash` is that of `hash32`. */
  get(bytes: Uint8Array, at: number, end: number, hash: number, version: number): E | undefined {
    const place = this.find(bytes, at, end, hash);
    if (place < 0) return undefined;
    const entry = this.entries[place]!;
    if (entry.version !== version) return undefined;
    if (this.uses[place]! < USES_MAX) this.uses[place]!++;
    return entry;
  }

  /**
   * Offers an entry for the topic `bytes[at, end)` after a miss; `entryBytes` is what the entry holds on to, about. The topic's bytes are
   * copied if the entry is admitted. Returns whether it was.
   */
  put(bytes: Uint8Array, at: number, end: number, hash: number, entry: E, entryBytes: number): boolean {
    const size = end - at + entryBytes + OVERHEAD_BYTES;
    let place = this.find(bytes, at, end, hash);
    // One entry may take an eighth: a topic with a million receivers is not worth all the others.
    const isTooLarge = size > this.bytesMax / 8;
    if (place >= 0) {
      // An outdated entry of the same topic: it keeps its place and its uses.
      if (isTooLarge || !this.makeRoom(size - this.sizes[place]!, place)) {
        this.evict(place);
        return false;
      }
      this.bytes += size - this.sizes[place]!;
      this.sizes[place] = size;
      this.entries[place] = entry;
      return true;
    }
    if (isTooLarge) return false;
    place = this.placeFor(hash, entry.version);
    if (place < 0) return false;
    // Whoever took a place by asking twice has been used once; that lets it live to its next use.
    const uses = this.entries[place] === undefined ? 0 : 1;
    if (uses === 1) this.evict(place);
    if (!this.makeRoom(size, place)) return false;
    this.keys[place] = cloneKey(bytes, at, end);
    this.entries[place] = entry;
    this.hashes[place] = hash;
    this.uses[place] = uses;
    this.sizes[place] = size;
    this.bytes += size;
    this.size++;
    return true;
  }

  /** Drops everything. */
  clear(): void {
    for (let place = 0; place < this.entriesMax; place++) if (this.entries[place] !== undefined) this.evict(place);
    this.seen.fill(0);
  }

  private find(bytes: Uint8Array, at: number, end: number, hash: number): number {
    // The bits above the low ones: shards and slots use those, and topics of one shard may share them.
    const first = ((hash >>> 8) & this.setMask) * WAYS;
    for (let place = first; place < first + WAYS; place++) {
      if (this.hashes[place] === hash && this.entries[place] !== undefined && this.holds(place, bytes, at, end)) return place;
    }
    return -1;
  }

  private holds(place: number, bytes: Uint8Array, at: number, end: number): boolean {
    const key = this.keys[place]!;
    return equalBytes(key, 0, key.length, bytes, at, end);
  }

  /** The place where a new topic may go, or -1 where it is not admitted this time. */
  private placeFor(hash: number, version: number): number {
    const set = (hash >>> 8) & this.setMask;
    const first = set * WAYS;
    const turn = this.turns[set]!;
    let victim = -1;
    for (let way = 0; way < WAYS; way++) {
      // From the set's turn on, so that of the unused the oldest goes and a newcomer has time to be used.
      const place = first + ((turn + way) & (WAYS - 1));
      const entry = this.entries[place];
      if (entry === undefined) return place;
      if (this.uses[place] === 0) {
        if (entry.version !== version) return place;
        if (victim < 0) victim = place;
      }
    }
    if (!this.wasSeen(hash)) return -1;
    this.turns[set] = (turn + 1) & (WAYS - 1);
    if (victim >= 0) {
      // Past the victim: rounds over twice as many topics as fit hit 43 of 100 times; without this line, 3 after other such rounds.
      this.turns[set] = (victim - first + 1) & (WAYS - 1);
      return victim;
    }
    // Everything here is in use: take a use from one. Who stays in use gets it back sooner than its turn comes again, the others make room.
    this.uses[first + turn]!--;
    return -1;
  }

  /** Whether this hash was asked for here not long ago; notes it. */
  private wasSeen(hash: number): boolean {
    const seen = this.seen;
    const first = (Math.imul(hash, 0x9e3779b1) >>> 6) & (seen.length - SEEN_WAYS);
    for (let i = first; i < first + SEEN_WAYS; i++) if (seen[i] === hash) return true;
    for (let i = first + SEEN_WAYS - 1; i > first; i--) seen[i] = seen[i - 1]!;
    seen[first] = hash;
    return false;
  }

  /** Evicts little used entries until `extraBytes` more fit; false where that takes too long or cannot be. Spares `place`. */
  private makeRoom(extraBytes: number, place: number): boolean {
    for (let steps = 0; this.bytes + extraBytes > this.bytesMax; steps++) {
      if (steps === 8 * WAYS) return false;
      this.hand = (this.hand + 1) & (this.entriesMax - 1);
      if (this.hand === place || this.entries[this.hand] === undefined) continue;
      if (this.uses[this.hand] === 0) this.evict(this.hand);
      else this.uses[this.hand]!--;
    }
    return true;
  }

  private evict(place: number): void {
    this.bytes -= this.sizes[place]!;
    this.size--;
    this.sizes[place] = 0;
    this.uses[place] = 0;
    this.hashes[place] = 0;
    this.keys[place] = undefined;
    this.entries[place] = undefined;
  }
}
