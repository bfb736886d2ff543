/**
 * SlowRoutes: topics whose messages cost this shard most, by the number of receivers and by time. One message of many is looked at; a topic that is not in the table
 * takes the place of the cheapest one, and what is there fades, so that the table shows the last minutes.
 *
 * What it costs per message: 2 ns, and 1.2 µs for each one that is looked at (native-bench/micro/measures.bench.ts).
 *
 * Hot path.
 */
import { cloneBytes, equalBytes, readText } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import type { MessageView } from '../protocol/publish.ts';

const TOPICS_MAX = 256;
/** All that is known weighs half of this after so many seconds. */
const HALF_LIFE_SECONDS = 60;
/** What weighs less is forgotten. */
const WEIGHT_MIN = 0.05;

class Entry {
  topic: Uint8Array;
  hash: number;
  /** Messages that were looked at. */
  samples: number;
  receivers: number;
  microseconds: number;

  constructor(topic: Uint8Array, hash: number) {
    this.topic = topic;
    this.hash = hash;
    this.samples = 0;
    this.receivers = 0;
    this.microseconds = 0;
  }
}

/** One topic for a list: estimates of what passed, weighted so that the last minute counts most. */
export interface SlowRoute {
  readonly topic: string;
  readonly messages: number;
  readonly deliveries: number;
  readonly milliseconds: number;
}

export class SlowRoutes {
  private readonly every: number;
  private left: number;
  private readonly entries: Entry[];

  /** @param every one message of so many is looked at */
  constructor(every: number) {
    this.every = every;
    this.left = every;
    this.entries = [];
  }

  /** Whether this message is one to look at. */
  isDue(): boolean {
    if (--this.left > 0) return false;
    this.left = this.every;
    return true;
  }

  /** A message that was looked at has been given to `receivers` sessions. */
  add(view: MessageView, receivers: number, microseconds: number): void {
    const { topicBytes, topicAt, topicEnd } = view;
    const entry = this.entryOf(topicBytes, topicAt, topicEnd);
    entry.samples++;
    entry.receivers += receivers;
    entry.microseconds += microseconds;
  }

  private entryOf(bytes: Uint8Array, at: number, end: number): Entry {
    const { entries } = this;
    const hash = hash32(bytes, at, end);
    let cheapest = 0;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i]!;
      if (entry.hash === hash && equalBytes(entry.topic, 0, entry.topic.length, bytes, at, end)) return entry;
      if (entry.receivers < entries[cheapest]!.receivers) cheapest = i;
    }
    const entry = new Entry(cloneBytes(bytes, at, end), hash);
    if (entries.length < TOPICS_MAX) entries.push(entry);
    else entries[cheapest] = entry;
    return entry;
  }

  /** One second has passed. */
  fade(): void {
    const { entries } = this;
    const factor = 0.5 ** (1 / HALF_LIFE_SECONDS);
    let kept = 0;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i]!;
      entry.samples *= factor;
      entry.receivers *= factor;
      entry.microseconds *= factor;
      if (entry.samples >= WEIGHT_MIN) entries[kept++] = entry;
    }
    entries.length = kept;
  }

  /** Those that cost most time, most first. */
  top(limit: number): SlowRoute[] {
    const sorted = this.entries.toSorted((a, b) => b.microseconds - a.microseconds);
    const found: SlowRoute[] = [];
    for (let i = 0; i < sorted.length && i < limit; i++) {
      const { topic, samples, receivers, microseconds } = sorted[i]!;
      found.push({
        topic: readText(topic, 0, topic.length),
        messages: Math.round(samples * this.every),
        deliveries: Math.round(receivers * this.every),
        milliseconds: Math.round(microseconds * this.every) / 1000,
      });
    }
    return found;
  }
}
