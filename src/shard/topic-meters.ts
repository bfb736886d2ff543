/**
 * Topic meters: how much is published below a few topic prefixes, and how much of it goes out. Each shard counts what passes it; who asks adds the shards up.
 *
 *   `a/b` counts `a/b`, `a/b/c`, `a/b/c/d` …, not `a/bc`
 *
 * A cached route knows its meters, so an ordinary message costs a walk over an array of those that match; a P2P message has no route and is compared with each prefix.
 * Where nothing is measured `Shard.topicMeters` and `Route.meters` are null, and that is all that is asked: no difference shows (168 to 180 ns for an ordinary message without that
 * question, 172 to 174 with it). A prefix that counts takes 15 to 30 ns, of a P2P message 40 ns (native-bench/micro/topic-meters.bench.ts).
 *
 * Hot path.
 */
import { readText, utf8Bytes } from '../base/bytes.ts';
import type { MessageView } from '../protocol/publish.ts';

/** Prefixes that may be measured at a time. */
export const TOPIC_METERS_MAX = 100;
/** Levels that a prefix may have. */
export const METER_LEVELS_MAX = 3;
/** Bytes of one. */
export const METER_BYTES_MAX = 1024;

const SLASH = 0x2f;

/** A prefix, and since when (wall milliseconds) it is measured. */
export interface MeteredPrefix {
  readonly prefix: string;
  readonly since: number;
}

export class TopicMeter {
  readonly prefix: string;
  readonly bytes: Uint8Array;
  readonly since: number;
  /** By QoS, as published. */
  readonly publishIn: Float64Array;
  /** Of payloads. */
  bytesIn: number;
  /** Sent or queued, once for each receiver. */
  publishOut: number;
  bytesOut: number;
  /** Not taken by a receiver that wanted it. */
  dropped: number;

  constructor({ prefix, since }: MeteredPrefix) {
    this.prefix = prefix;
    this.bytes = utf8Bytes(prefix);
    this.since = since;
    this.publishIn = new Float64Array(3);
    this.bytesIn = 0;
    this.publishOut = 0;
    this.bytesOut = 0;
    this.dropped = 0;
  }

  /** Whether the topic bytes[at, end) is the prefix, or below it. */
  covers(bytes: Uint8Array, at: number, end: number): boolean {
    const prefix = this.bytes;
    const length = prefix.length;
    if (end - at < length) return false;
    for (let i = 0; i < length; i++) if (bytes[at + i] !== prefix[i]) return false;
    return end - at === length || bytes[at + length] === SLASH;
  }
}

export class TopicMeters {
  readonly list: readonly TopicMeter[];
  /** By the first byte of the prefix. */
  private readonly byFirst: TopicMeter[][];

  /** @param before what is measured on keeps its numbers; null: nothing was measured */
  constructor(prefixes: readonly MeteredPrefix[], before: TopicMeters | null) {
    const list: TopicMeter[] = [];
    for (const one of prefixes) {
      const known = before?.list.find(({ prefix, since }) => prefix === one.prefix && since === one.since);
      list.push(known ?? new TopicMeter(one));
    }
    this.list = list;
    this.byFirst = Array.from({ length: 256 }, () => []);
    for (const meter of list) this.byFirst[meter.bytes[0]!]!.push(meter);
  }

  /** Those of a topic; null: none. Asked once for each cached route. */
  of(topicBytes: Uint8Array, at: number, end: number): readonly TopicMeter[] | null {
    let found: TopicMeter[] | null = null;
    for (let i = 0; i < this.list.length; i++) {
      const meter = this.list[i]!;
      if (!meter.covers(topicBytes, at, end)) continue;
      if (found === null) found = [];
      found.push(meter);
    }
    return found;
  }

  /** A message without a route has been published. */
  published(view: MessageView): void {
    const list = this.byFirst[view.topicBytes[view.topicAt]!]!;
    for (let i = 0; i < list.length; i++) {
      const meter = list[i]!;
      if (meter.covers(view.topicBytes, view.topicAt, view.topicEnd)) countIn(meter, view);
    }
  }

  /** One receiver of a message without a route has taken it, or not. */
  given(view: MessageView, wasTaken: boolean): void {
    const list = this.byFirst[view.topicBytes[view.topicAt]!]!;
    for (let i = 0; i < list.length; i++) {
      const meter = list[i]!;
      if (meter.covers(view.topicBytes, view.topicAt, view.topicEnd)) countOut(meter, view, wasTaken ? 1 : 0, 1);
    }
  }
}

/** A message has been published. */
export function meterIn(meters: readonly TopicMeter[], view: MessageView): void {
  for (let i = 0; i < meters.length; i++) countIn(meters[i]!, view);
}

/** Of those who wanted a message so many have taken it. */
export function meterOut(meters: readonly TopicMeter[], view: MessageView, taken: number, wanted: number): void {
  for (let i = 0; i < meters.length; i++) countOut(meters[i]!, view, taken, wanted);
}

function countIn(meter: TopicMeter, view: MessageView): void {
  meter.publishIn[view.qos]!++;
  meter.bytesIn += view.payloadEnd - view.payloadAt;
}

function countOut(meter: TopicMeter, view: MessageView, taken: number, wanted: number): void {
  meter.publishOut += taken;
  meter.bytesOut += taken * (view.payloadEnd - view.payloadAt);
  meter.dropped += wanted - taken;
}

/** What is wrong with a prefix, as a sentence; null: nothing. */
export function prefixProblem(prefix: string): string | null {
  const bytes = utf8Bytes(prefix);
  if (bytes.length === 0 || bytes.length > METER_BYTES_MAX) return 'a prefix has 1 to '.concat(String(METER_BYTES_MAX), ' bytes'); // cold: for people
  if (prefix.includes('+') || prefix.includes('#') || prefix.includes('\u0000') || prefix.endsWith('/'))
    return 'a prefix is whole levels of a topic, without wildcards and without a slash at its end';
  if (prefix.split('/').length > METER_LEVELS_MAX) return 'a prefix has at most '.concat(String(METER_LEVELS_MAX), ' levels'); // cold: for people
  return readText(bytes, 0, bytes.length) === prefix ? null : 'a prefix is well-formed text';
}
