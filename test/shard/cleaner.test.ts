/**
 * Goal: cleaning the log makes it short and loses nothing; and a record that cannot be read is left where it is, with all that lies behind it.
 * Method: one shard over a disk in memory, a session that is away and has a message that waits, and much that is written and settled after it. Then the power
 * goes, and the shard that comes back has the message.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { loadSettings } from '../../src/server/config.ts';
import { recoverShard } from '../../src/server/recover-shard.ts';
import { FakeDisk } from '../sim/fake-disk.ts';
import { ShardGroup } from '../support/shard-group.ts';

const LOG_BYTES = 4000;
const KEPT = { cleanStart: false, properties: { sessionExpiryInterval: 600 } };

async function start(disk: FakeDisk): Promise<ShardGroup> {
  const group = new ShardGroup(await loadSettings({ shards: '1', set: ['mqtt.sysInterval=0'] }));
  const shard = group.shards[0]!;
  const { isRewrite, nextCount } = disk.open(1);
  const store = { epoch: disk.epoch, nextCount, isRewrite, isProcessStart: true };
  await new Promise<void>((resolve) => {
    recoverShard(shard, store, disk.port(0, isRewrite, shard.journal), () => resolve(), LOG_BYTES);
  });
  return group;
}

/** Lets shard and disk work until both rest. */
async function work(group: ShardGroup, disk: FakeDisk): Promise<void> {
  for (let round = 0; round < 8; round++) {
    group.now += 50;
    await group.settle();
    disk.sync();
    disk.answerReads();
  }
}

/** One message waits for `away`; then far more than the log may hold is set and set again. @returns bytes on the disk at the end */
async function fill(group: ShardGroup, disk: FakeDisk): Promise<number> {
  const away = group.connect({ clientId: 'away', ...KEPT });
  await work(group, disk);
  away.channel.lose();
  const publisher = group.connect({ clientId: 'publisher' });
  publisher.publish('cmd/p2p/away', 'waits', 1, 1);
  for (let i = 0; i < 40; i++) {
    publisher.publish('state', `${i}`.padStart(400, '.'), 1, 2 + i, {}, true);
    await work(group, disk);
  }
  return disk.bytes;
}

/** The power goes; what the next start has for `away`. */
async function afterCrash(group: ShardGroup, disk: FakeDisk): Promise<string[]> {
  disk.crash(false);
  group.stop();
  const next = await start(disk);
  const away = next.connect({ clientId: 'away', ...KEPT });
  await work(next, disk);
  next.stop();
  return away.payloads();
}

test('what is live is copied, the rest goes, and a crash afterwards loses nothing', async () => {
  const disk = new FakeDisk();
  const group = await start(disk);
  const bytes = await fill(group, disk);
  assert.ok(bytes < 4 * LOG_BYTES, `${bytes} bytes are left of more than 16,000`);
  assert.ok(group.count('store/rewritten') > 0);
  assert.deepEqual(await afterCrash(group, disk), ['waits']);
});

test('a record that cannot be read is not removed', async () => {
  const disk = new FakeDisk();
  const group = await start(disk);
  disk.isUnreadable = true;
  const bytes = await fill(group, disk);
  assert.ok(bytes > 16_000, `${bytes} bytes: nothing was removed`);
  disk.isUnreadable = false;
  assert.deepEqual(await afterCrash(group, disk), ['waits']);
});
