/**
 * Topic Aliases of one Network Connection, one table for each direction. They live and die with the connection [MQTT-3.3.2-7].
 *
 * Inbound: the client says which number stands for which topic, and the table holds the topic's bytes. Outbound: the broker gives a number to the first
 * topics that it sends, up to the Topic Alias Maximum of the client; later topics go out in full, because replacing a live alias would cost
 * as many bytes as it saves.
 *
 * Hot path.
 */
import { equalBytes } from '../base/bytes.ts';

/** What the client may refer to by number. */
export class InboundAliases {
  private readonly topics: (Uint8Array | undefined)[];
  private bytes: number;

  constructor() {
    this.topics = [];
    this.bytes = 0;
  }

  /** @param topic bytes that the table owns from now on; @param bytesMax of all topics. @returns false: there is no room for it */
  set(alias: number, topic: Uint8Array, bytesMax: number): boolean {
    const bytes = this.bytes + topic.length - (this.topics[alias]?.length ?? 0);
    if (bytes > bytesMax) return false;
    this.topics[alias] = topic;
    this.bytes = bytes;
    return true;
  }

  get(alias: number): Uint8Array | undefined {
    return this.topics[alias];
  }
}

/** What the broker refers to by number. */
export class OutboundAliases {
  /** Set by `assign`: the alias was known to the client before, so the topic may be left out. */
  isKnown: boolean;
  /** The last `assign` gave out a new alias. */
  private isNew: boolean;
  readonly maximum: number;
  private readonly hashes: number[];
  private readonly topics: Uint8Array[];
  private readonly bytesMax: number;
  private bytes: number;

  /** @param maximum the smaller of the client's Topic Alias Maximum and our own setting; @param bytesMax of all topics */
  constructor(maximum: number, bytesMax: number) {
    this.bytesMax = bytesMax;
    this.bytes = 0;
    this.isKnown = false;
    this.isNew = false;
    this.maximum = maximum;
    this.hashes = [];
    this.topics = [];
  }

  /**
   * The alias for a topic; a new one is given out while there are any.
   * @returns 1 to maximum, or 0: send the topic without alias. `isKnown` says whether the topic may be omitted.
   */
  assign(bytes: Uint8Array, at: number, end: number, hash: number): number {
    this.isKnown = false;
    this.isNew = false;
    for (let i = 0; i < this.hashes.length; i++) {
      if (this.hashes[i] !== hash) continue;
      const topic = this.topics[i]!;
      if (equalBytes(topic, 0, topic.length, bytes, at, end)) {
        this.isKnown = true;
        return i + 1;
      }
    }
    if (this.hashes.length >= this.maximum || this.bytes + end - at > this.bytesMax) return 0;
    this.bytes += end - at;
    const topic = new Uint8Array(end - at);
    for (let i = at; i < end; i++) topic[i - at] = bytes[i]!;
    this.hashes.push(hash);
    this.topics.push(topic);
    this.isNew = true;
    return this.hashes.length;
  }

  /** The packet that was to carry the last alias is not sent after all: the client would not know a new one. */
  takeBack(): void {
    if (!this.isNew) return;
    this.isNew = false;
    this.hashes.pop();
    this.bytes -= this.topics.pop()!.length;
  }
}
