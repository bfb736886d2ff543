/**
 * What a shard answers about measured topic prefixes, and the list of them as the supervisor has it: that list is the same for all shards, and a shard that begins asks for it.
 */
import { SUPERVISOR } from '../../shard/asks.ts';
import type { Shard } from '../../shard/shard.ts';
import type { MeteredPrefix } from '../../shard/topic-meters.ts';

/** The name of the supervisor's question, with a change or none. */
export const METER_LIST = 'topic-meters';

/** What the supervisor is asked: to begin or to end with a prefix, or only for the list. */
export interface MeterAsk {
  readonly begin?: string;
  readonly end?: string;
}

/** Its answer. */
export interface MeterReply {
  readonly prefixes: readonly MeteredPrefix[];
  /** Grows with each change: an older list does not replace a newer one. */
  readonly version: number;
  /** `full`: there are too many; `missing`: there is no such prefix. */
  readonly refused: 'full' | 'missing' | null;
}

/** What one shard has counted for one prefix. */
export interface MeterCount {
  readonly prefix: string;
  readonly since: number;
  readonly publishIn: readonly number[];
  readonly bytesIn: number;
  readonly publishOut: number;
  readonly bytesOut: number;
  readonly dropped: number;
}

export function answerAboutMeters(shard: Shard): void {
  let version = 0;
  const take = (reply: MeterReply): void => {
    if (reply.version <= version) return;
    version = reply.version;
    shard.meter(reply.prefixes);
  };
  shard.asks.handle('meters-set', (value, answer) => {
    take(value as MeterReply);
    answer({});
  });
  shard.asks.handle('meters-get', (_value, answer) => answer(counts(shard)));
  // The way to the supervisor is there when the thread has begun.
  setImmediate(() =>
    shard.asks.ask(SUPERVISOR, METER_LIST, {}, (value) => {
      if (value !== null) take(value as MeterReply);
    }),
  );
}

function counts(shard: Shard): readonly MeterCount[] {
  if (shard.topicMeters === null) return [];
  return shard.topicMeters.list.map(({ prefix, since, publishIn, bytesIn, publishOut, bytesOut, dropped }) => ({
    prefix,
    since,
    publishIn: [...publishIn],
    bytesIn,
    publishOut,
    bytesOut,
    dropped,
  }));
}
