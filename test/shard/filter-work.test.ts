/*
 * Goal: a packet with many filters, and the end of a session with many subscriptions, take several turns; others are served in between, and nothing else changes: the
 * codes are in order, what follows the packet waits for it, nobody who has gone gets a message, and nothing is left behind.
 * Method: shards in this thread, turn by turn, with clients in memory.
 */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { PINGREQ_IMAGE } from '../../src/protocol/disconnect.ts';
import { DISCONNECT, PINGRESP, PUBACK, SUBACK, UNSUBACK, V5 } from '../../src/protocol/packet-type.ts';
import { readSuback, readUnsuback, SubackPacket, writeSubscribe, writeUnsubscribe } from '../../src/protocol/subscribe.ts';
import { FILTERS_PER_TURN } from '../../src/shard/filter-work.ts';
import { clientIdOn } from '../support/placement.ts';
import { type MemoryClient, type ShardGroup, startShards } from '../support/shard-group.ts';

const MANY = FILTERS_PER_TURN * 6 + 5;

async function group(t: TestContext, count: number, set: readonly string[] = []): Promise<ShardGroup> {
  const shards = await startShards(count, ['mqtt.sysInterval=never', ...set]);
  t.after(() => shards.stop());
  return shards;
}

async function client(shards: ShardGroup, name: string, shard = 0): Promise<MemoryClient> {
  const one = shards.connect({ clientId: clientIdOn(shard, shards.shards.length, name) });
  await shards.settle();
  return one;
}

function names(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `many/+/${i}`);
}

function subscribeMany(to: MemoryClient, filters: readonly string[], packetId = 7): void {
  const entries = filters.map((filter) => ({ filter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 }));
  to.send((writer) => writeSubscribe(writer, { packetId, properties: {}, entries }, V5));
}

function codesOf(from: MemoryClient, type: number): number[][] {
  return from.packetsOf(type).map(({ body }) => {
    const packet = new SubackPacket();
    const read = type === SUBACK ? readSuback : readUnsuback;
    assert.equal(read(packet, body, 0, body.length, V5), 0);
    return packet.codes;
  });
}

/** One turn of the only shard. */
async function turn(shards: ShardGroup): Promise<void> {
  for (const shard of shards.shards) shard.startTurn();
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
}

for (const count of [1, 2]) {
  test(`SUBSCRIBE and UNSUBSCRIBE with many filters, ${count} shards`, async (t) => {
    const shards = await group(t, count);
    const greedy = await client(shards, 'greedy', count - 1);
    const filters = names(MANY);
    // A bad one among them keeps its place.
    filters[100] = 'bad/#/x';
    subscribeMany(greedy, filters);
    greedy.publish('many/x/0', 'behind', 1, 9);
    greedy.channel.arrive(PINGREQ_IMAGE);
    const modest = await client(shards, 'modest', count - 1);
    await shards.settle();
    const [codes] = codesOf(greedy, SUBACK);
    assert.deepEqual(
      codes,
      filters.map((_, i) => (i === 100 ? 0x8f : 1)),
    );
    assert.equal(greedy.packetsOf(PUBACK).length, 1);
    assert.deepEqual(greedy.payloads(), ['behind'], 'what comes behind the packet finds its subscriptions');
    assert.equal(greedy.packetsOf(PINGRESP).length, 1);
    modest.publish('many/x/200', 'm', 1, 1);
    await shards.settle();
    assert.deepEqual(greedy.payloads(), ['behind', 'm']);
    greedy.send((writer) => writeUnsubscribe(writer, { packetId: 8, properties: {}, filters: [...filters, 'none'] }, V5));
    await shards.settle();
    const [ended] = codesOf(greedy, UNSUBACK);
    assert.deepEqual(
      ended,
      [...filters, 'none'].map((_, i) => (i === 100 ? 0x8f : i === MANY ? 0x11 : 0)),
    );
    assert.equal(shards.count('subscriptions/count'), 0);
  });
}

test('others have their turn meanwhile, and a turn does not more than its share', async (t) => {
  const shards = await group(t, 1);
  const [shard] = shards.shards;
  const greedy = await client(shards, 'greedy');
  const modest = await client(shards, 'modest');
  subscribeMany(greedy, names(MANY));
  assert.equal(shards.count('subscriptions/count'), FILTERS_PER_TURN);
  modest.subscribe('one');
  let turns = 0;
  for (; modest.packetsOf(SUBACK).length === 0; turns++) {
    assert.ok(turns < 3, 'the modest client is answered soon');
    const before = shards.count('subscriptions/count');
    await turn(shards);
    assert.ok(shards.count('subscriptions/count') - before <= FILTERS_PER_TURN);
  }
  assert.equal(greedy.packetsOf(SUBACK).length, 0, 'before the greedy one');
  await shards.settle();
  assert.equal(greedy.packetsOf(SUBACK).length, 1);
  assert.equal(shard!.filterWorks.count, 0);
});

test('a client that goes in the middle leaves nothing behind, nor does one with many subscriptions; neither gets a message', async (t) => {
  const shards = await group(t, 1);
  const [shard] = shards.shards;
  const sender = await client(shards, 'sender');
  for (const isWhole of [false, true]) {
    const greedy = await client(shards, `greedy${isWhole}`);
    subscribeMany(greedy, names(MANY));
    if (isWhole) await shards.settle();
    else for (let i = 0; i < 4; i++) await turn(shards);
    greedy.channel.lose();
    await turn(shards);
    assert.ok(shards.count('subscriptions/count') > 0, 'not all at once');
    sender.publish(`many/x/${isWhole ? MANY - 1 : 0}`, 'm', 1, 1);
    await turn(shards);
    await shards.settle();
    assert.equal(shards.count('subscriptions/count'), 0);
    assert.equal(shards.count('queued/messages'), 0);
    assert.deepEqual([shard!.filterWorks.count, shard!.withdrawals.length], [0, 0]);
    assert.deepEqual(greedy.payloads(), []);
  }
});

test('what has ended is removed while others subscribe without pause', async (t) => {
  const shards = await group(t, 1);
  const [shard] = shards.shards;
  // Enough to use up every turn.
  const greedy = await Promise.all(Array.from({ length: 4 }, (_, i) => client(shards, `greedy${i}`)));
  const gone = await client(shards, 'gone');
  subscribeMany(gone, names(MANY));
  await shards.settle();
  for (const one of greedy) for (let packetId = 1; packetId <= 4; packetId++) subscribeMany(one, names(MANY), packetId);
  gone.channel.lose();
  for (let turns = 0; shard!.withdrawals.length > 0; turns++) {
    await turn(shards);
    assert.ok(turns < 40, 'a part of each turn is for what has ended');
  }
  assert.ok(shard!.filterWorks.count > 0, 'the others are not done');
  await shards.settle();
  for (const one of greedy) assert.equal(one.packetsOf(SUBACK).length, 4);
});

test('Keep Alive does not end a client whose packet waits for its turns', async (t) => {
  const shards = await group(t, 1);
  const patient = shards.connect({ clientId: clientIdOn(0, 1, 'patient'), keepAlive: 1 });
  await shards.settle();
  subscribeMany(patient, names(MANY));
  patient.channel.arrive(PINGREQ_IMAGE);
  // The shard has much else to do.
  shards.now += 3000;
  await turn(shards);
  for (const shard of shards.shards) shard.timers.advance();
  await shards.settle();
  assert.equal(shards.count('keepalive/expired'), 0);
  assert.equal(patient.packetsOf(SUBACK).length, 1);
  assert.equal(patient.packetsOf(PINGRESP).length, 1);
});

test('a packet with more filters than anybody may have ends the connection', async (t) => {
  const shards = await group(t, 1);
  const greedy = await client(shards, 'greedy');
  subscribeMany(greedy, names(10_001));
  await shards.settle();
  assert.deepEqual([...greedy.packetsOf(DISCONNECT)[0]!.body], [0x97]);
  assert.equal(shards.count('subscriptions/count'), 0);
});
