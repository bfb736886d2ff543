/**
 * `$SYS/broker/…`: the counters of all shards, published as Retained Messages by shard 0 every `mqtt.sysInterval`. The names are those of `counters.ts`;
 * each topic holds the sum over all shards as decimal text, beside version, uptime and shard count.
 */
import { utf8Bytes } from '../base/bytes.ts';
import { VERSION } from '../base/version.ts';
import { COUNTERS } from './counters.ts';
import { ownMessage } from './receipt.ts';
import type { Shard } from './shard.ts';

const NO_PROPERTIES = new Uint8Array(0);

/** Begins to publish; only shard 0 does. */
export function startStatistics(shard: Shard): void {
  const interval = shard.settings.mqtt.sysIntervalSeconds;
  if (shard.index !== 0 || interval === 0) return;
  const publish = (): void => {
    if (!shard.isStopping) publishStatistics(shard);
  };
  publish();
  setInterval(publish, interval * 1000).unref();
}

function publishStatistics(shard: Shard): void {
  shard.startTurn();
  const say = (name: string, value: string): void => {
    shard.publishLater(ownMessage(utf8Bytes(`$SYS/broker/${name}`), NO_PROPERTIES, utf8Bytes(value), 0, true));
  };
  say('version', `onehop ${VERSION}`);
  say('uptime', String(Math.floor((shard.timers.now - shard.startedAt) / 1000)));
  say('shards', String(shard.shards));
  for (let index = 0; index < COUNTERS.length; index++) say(COUNTERS[index]!, String(shard.sumOfAll(index)));
}
