/**
 * Goal: cleaning the log makes it short and loses nothing; and a record that cannot be read is left where it is, with all that lies behind it.
 * Method: one shard over a disk in memory, a session that is away and has a message that waits, and much that is written and settled after it. Then the power
 * goes, and the shard that comes back has the message.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { PUBACK } from '../../src/protocol/packet-type.ts';
import { loadSettings } from '../../src/server/config.ts';
import { recoverShard } from '../../src/server/recover-shard.ts';
import { FakeDisk } from '../sim/fake-disk.ts';
import { clientIdOn } from '../support/placement.ts';
import { ShardGroup } from '../support/shard-group.ts';

const LOG_BYTES = 4000;
const KEPT = { cleanStart: false, properties: { sessionExpiryInterval: 600 } };

async function start(disk: FakeDisk, logBytes = LOG_BYTES): Promise<ShardGroup> {
  const group = new ShardGroup(
    await loadSettings({ shards: '1', set: ['mqtt.sysInterval=0', 'limits.queueMessages=10000', 'limits.queueBytes=1GiB'] }),
  );
  const shard = group.shards[0]!;
  const { isRewrite, nextCount } = disk.open(1);
  const store = { epoch: disk.epoch, nextCount, isRewrite, isProcessStart: true };
  await new Promise<void>((resolve) => {
    const done = (): void => {
      shard.checkReady();
      resolve();
    };
    recoverShard(shard, store, disk.port(0, isRewrite, shard.journal), done, logBytes);
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

/** A log of this size for the tests of its bound, so that records are larger than the pieces that the cleaner takes. */
const LONG_BYTES = 4_000_000;

function oneTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/**
 * Sets one topic again and again, while a commit is always under way: the disk needs four turns for each, and answers what it is asked for twice in that time.
 * @returns the most bytes that the log had
 */
async function overwrite(group: ShardGroup, disk: FakeDisk, messages: number, bytes: number): Promise<number> {
  const publisher = group.connect({ clientId: 'writer' });
  await work(group, disk);
  const inTurn = Math.min(40, Math.ceil(100_000 / bytes));
  let most = 0;
  let sent = 0;
  for (let turn = 0; sent < messages; turn++) {
    assert.ok(turn < messages * 20, 'publishers are not held back for ever');
    for (let i = 0; i < inTurn && sent < messages && !publisher.connection.isPaused; i++) {
      sent++;
      publisher.publish('state/hot', Buffer.alloc(bytes, 0x20 + (sent % 64)), 1, 1 + (sent % 60_000), {}, true);
    }
    group.now += 1;
    group.shards[0]!.startTurn();
    await oneTurn();
    if (turn % 4 === 1) disk.answerReads();
    if (turn % 4 !== 3) continue;
    disk.sync();
    disk.answerReads();
    most = Math.max(most, disk.bytes);
  }
  return most;
}

/** What a log may grow to: a round begins at twice of what is live and lets it grow by a quarter of that at most; and eight commits may be under way or due. */
function boundOf(live: number, bytes: number): number {
  return Math.max(LONG_BYTES, 2 * live) + Math.max(LONG_BYTES, live) / 4 + 8 * 4 * Math.max(bytes, 100_000);
}

/** Time without clients passes. */
async function rest(group: ShardGroup, disk: FakeDisk, ticks: number): Promise<void> {
  for (let i = 0; i < ticks; i++) {
    for (const shard of group.shards) shard.journal.cleaner?.tick(250);
    await work(group, disk);
  }
}

for (const bytes of [1000, 20_000, 300_000]) {
  test(`a load that never pauses does not make the log longer than its bound: messages of ${bytes} bytes`, async () => {
    const disk = new FakeDisk();
    const group = await start(disk, LONG_BYTES);
    const most = await overwrite(group, disk, Math.ceil(60_000_000 / bytes), bytes);
    assert.ok(most < boundOf(0, bytes), `${most} bytes at most, bound ${boundOf(0, bytes)}`);
    await rest(group, disk, 4);
    assert.ok(disk.bytes <= LONG_BYTES + 2 * bytes, `${disk.bytes} bytes are left`);
    group.stop();
  });
}

test('the bound follows what is live: a large part that is never touched, oldest in the log, and a load', async () => {
  const disk = new FakeDisk();
  const group = await start(disk, LONG_BYTES);
  const publisher = group.connect({ clientId: 'publisher' });
  for (let i = 0; i < 60; i++) {
    publisher.publish(`cold/${i}`, Buffer.alloc(100_000, 0x61), 1, 1 + i, {}, true);
    await work(group, disk);
  }
  const live = 6_000_000;
  const written = group.count('store/bytes');
  const most = await overwrite(group, disk, 1500, 50_000);
  assert.ok(most < boundOf(live, 50_000), `${most} bytes at most`);
  const rewritten = group.count('store/rewritten');
  const fresh = group.count('store/bytes') - written - rewritten;
  assert.ok(rewritten < 2 * fresh, `${rewritten} bytes were copied for ${fresh} that were written`);
  disk.crash(false);
  group.stop();
  const next = await start(disk, LONG_BYTES);
  assert.equal(next.count('retained/count'), 61);
  next.stop();
});

test('when a long queue has been emptied the log becomes short by itself', async () => {
  const disk = new FakeDisk();
  const group = await start(disk, LONG_BYTES);
  const away = group.connect({ clientId: 'away', ...KEPT });
  await work(group, disk);
  away.channel.lose();
  const publisher = group.connect({ clientId: 'publisher' });
  for (let i = 0; i < 600; i++) {
    publisher.publish('cmd/p2p/away', Buffer.alloc(20_000, 0x61), 1, 1 + i);
    if (i % 10 === 9) await work(group, disk);
  }
  await rest(group, disk, 10);
  assert.ok(disk.bytes > 12_000_000);
  const back = group.connect({ clientId: 'away', cleanStart: false, properties: { sessionExpiryInterval: 600 } });
  let acknowledged = 0;
  for (let i = 0; i < 400 && acknowledged < 600; i++) {
    await work(group, disk);
    for (const message of back.messages().slice(acknowledged)) {
      back.ack(PUBACK, message.packetId);
      acknowledged++;
    }
  }
  assert.equal(acknowledged, 600);
  assert.equal(group.count('queued/log-bytes'), 0);
  await rest(group, disk, 40);
  assert.ok(disk.bytes <= LONG_BYTES, `${disk.bytes} bytes are left`);
  group.stop();
});

test('messages that come in for clients that are away are live: nothing is copied, until they are gone', async () => {
  const disk = new FakeDisk();
  const group = await start(disk, LONG_BYTES);
  const away = [0, 1, 2].map((i) => group.connect({ clientId: `away-${i}`, ...KEPT }));
  for (const client of away) client.subscribe('all', 1);
  await work(group, disk);
  for (const client of away) client.channel.lose();
  const publisher = group.connect({ clientId: 'publisher' });
  for (let i = 0; i < 300; i++) {
    publisher.publish('all', Buffer.alloc(10_000, 0x61), 1, 1 + i);
    publisher.publish('cmd/p2p/away-0', Buffer.alloc(30_000, 0x62), 1, 1001 + i);
    if (i % 10 === 9) await work(group, disk);
  }
  await rest(group, disk, 10);
  assert.ok(disk.bytes > 2 * LONG_BYTES, `${disk.bytes} bytes wait`);
  assert.equal(group.count('store/rewritten'), 0);
  // A message of three sessions counts once.
  const known = group.count('queued/log-bytes');
  assert.ok(known > 0.99 * disk.bytes && known <= disk.bytes, `${known} of ${disk.bytes} bytes are known to be live`);
  for (const { clientId } of away) group.connect({ clientId });
  assert.equal(group.count('queued/log-bytes'), 0);
  await rest(group, disk, 60);
  assert.ok(disk.bytes <= LONG_BYTES, `${disk.bytes} bytes are left`);
  group.stop();
});

test('a start copies nothing of a log that is live', async () => {
  const disk = new FakeDisk();
  let group = await start(disk, LONG_BYTES);
  const away = [0, 1, 2].map((i) => group.connect({ clientId: `away-${i}`, ...KEPT }));
  for (const client of away) client.subscribe('all', 1);
  await work(group, disk);
  for (const client of away) client.channel.lose();
  const publisher = group.connect({ clientId: 'publisher' });
  for (let i = 0; i < 700; i++) {
    publisher.publish('all', Buffer.alloc(10_000, 0x61), 1, 1 + i);
    if (i % 10 === 9) await work(group, disk);
  }
  const { bytes } = disk;
  assert.ok(bytes > LONG_BYTES && bytes < 2 * LONG_BYTES);
  for (let i = 0; i < 3; i++) {
    disk.crash(true);
    group.stop();
    group = await start(disk, LONG_BYTES);
    await rest(group, disk, 4);
    assert.equal(group.count('store/rewritten'), 0);
    assert.equal(group.count('queued/messages'), 2100);
  }
  // One message of 10,000 bytes lies there for three sessions: it counts once, so another 10 MB make a round begin.
  const most = await overwrite(group, disk, 400, 100_000);
  assert.ok(most < boundOf(bytes, 100_000), `${most} bytes at most, ${bytes} are live`);
  group.stop();
});

/** As `work`, of shards that wait for each other's commits. */
async function workTogether(group: ShardGroup, disk: FakeDisk): Promise<void> {
  for (let round = 0; round < 40; round++) {
    group.now += 10;
    for (const shard of group.shards) shard.startTurn();
    await oneTurn();
    disk.sync();
    disk.answerReads();
  }
}

test('a message whose deliveries do not stand together is whole when its record is walked in pieces', async () => {
  const disk = new FakeDisk();
  const begin = async (): Promise<ShardGroup> => {
    const group = new ShardGroup(await loadSettings({ shards: '2', set: ['mqtt.sysInterval=0'] }));
    const { isRewrite, nextCount } = disk.open(2);
    for (const shard of group.shards) {
      const store = { epoch: disk.epoch, nextCount, isRewrite, isProcessStart: true };
      recoverShard(shard, store, disk.port(shard.index, isRewrite, shard.journal), () => shard.checkReady(), LOG_BYTES);
    }
    await workTogether(group, disk);
    return group;
  };
  let group = await begin();
  const ids = Array.from({ length: 30 }, (_, i) => clientIdOn(0, 2, `away-${i}`));
  const away = ids.map((clientId) => group.connect({ clientId, ...KEPT }));
  for (const client of away) client.subscribe('all', 2);
  await workTogether(group, disk);
  for (const client of away) client.channel.lose();
  // From another shard, so that after each delivery stands where the message came from.
  const publisher = group.connect({ clientId: clientIdOn(1, 2), ...KEPT });
  publisher.publish('all', 'once', 2, 1);
  await workTogether(group, disk);
  const filler = group.connect({ clientId: clientIdOn(0, 2, 'filler') });
  for (let i = 0; i < 60; i++) {
    filler.publish('cmd/p2p/nobody', '.'.repeat(400), 1, 1 + i);
    filler.publish(`state/${i % 3}`, `${i}`.padStart(400, '.'), 1, 101 + i, {}, true);
    await workTogether(group, disk);
  }
  assert.ok(group.count('store/rewritten') > 0);
  disk.crash(false);
  group.stop();
  group = await begin();
  const back = ids.map((clientId) => group.connect({ clientId, cleanStart: false, properties: { sessionExpiryInterval: 600 } }));
  await workTogether(group, disk);
  assert.equal(group.count('store/lost'), 0);
  assert.deepEqual(
    back.map((client) => client.payloads()),
    ids.map(() => ['once']),
  );
  group.stop();
});

test('a disk that refuses and cannot read: the cleaner rests, and goes on when it works again', async () => {
  const disk = new FakeDisk();
  const group = await start(disk, LONG_BYTES);
  const publisher = group.connect({ clientId: 'publisher' });
  let isRound = false;
  for (let i = 0; i < 200 && !isRound; i++) {
    publisher.publish('state', Buffer.alloc(300_000, 0x61), 1, 1 + i, {}, true);
    disk.sync();
    await group.settle();
    isRound = disk.hasReads;
  }
  assert.ok(isRound, 'the cleaner has asked for records');
  publisher.publish('state', Buffer.alloc(300_000, 0x62), 1, 999, {}, true);
  await group.settle();
  disk.fail();
  disk.isUnreadable = true;
  disk.answerReads();
  await group.settle();
  assert.equal(group.shards[0]!.journal.isCongested, false, 'what the disk need not keep is served');
  assert.equal(disk.hasReads, false, 'nothing is asked for meanwhile');
  disk.isUnreadable = false;
  await overwrite(group, disk, 100, 300_000);
  await rest(group, disk, 4);
  assert.ok(disk.bytes <= LONG_BYTES + 600_000, `${disk.bytes} bytes are left`);
  group.stop();
});

test('a stop in the middle of a round waits for no cleaning', async () => {
  const disk = new FakeDisk();
  const group = await start(disk, LONG_BYTES);
  const publisher = group.connect({ clientId: 'publisher' });
  for (let i = 0; i < 400 && !disk.hasReads; i++) {
    publisher.publish(`state/${i}`, Buffer.alloc(30_000, 0x61), 1, 1 + i, {}, true);
    disk.sync();
    await group.settle();
  }
  assert.ok(disk.hasReads);
  const shard = group.shards[0]!;
  shard.isStopping = true;
  let isIdle = false;
  shard.journal.whenIdle(() => {
    isIdle = true;
  });
  disk.answerReads();
  for (let i = 0; i < 3; i++) {
    disk.sync();
    await group.settle();
  }
  assert.ok(isIdle);
  const before = group.count('retained/count');
  disk.crash(false);
  group.stop();
  const next = await start(disk, LONG_BYTES);
  assert.equal(next.count('retained/count'), before);
  next.stop();
});
