/*
 * Goal: after SUBACK no message published anywhere is missed; shards learn of each other's filters and forget them; events and statistics say what happened.
 * Method: shards in this thread, whose turns the test holds back, and clients in memory.
 */
import assert from 'node:assert/strict';
import test, { describe, type TestContext } from 'node:test';
import { VERSION } from '../../src/base/version.ts';
import * as types from '../../src/protocol/packet-type.ts';
import { COUNTERS } from '../../src/shard/counters.ts';
import { sendSnapshot } from '../../src/shard/routes.ts';
import { peerDied } from '../../src/shard/shard-life.ts';
import { startStatistics } from '../../src/shard/statistics.ts';
import type { ConnectOptions } from '../support/packet-client.ts';
import { clientIdOn } from '../support/placement.ts';
import { type MemoryClient, type ShardGroup, startShards } from '../support/shard-group.ts';

async function shards(t: TestContext, count: number, set: readonly string[] = []): Promise<ShardGroup> {
  const group = await startShards(count, set);
  t.after(() => group.stop());
  return group;
}

async function connected(group: ShardGroup, options: ConnectOptions = {}): Promise<MemoryClient> {
  const client = group.connect(options);
  await group.settle();
  assert.equal(client.connack().code, 0);
  return client;
}

describe('SUBACK', () => {
  test('waits until every shard has installed the filter', async (t) => {
    const group = await shards(t, 3);
    const client = await connected(group, { clientId: clientIdOn(0, 3) });
    const [own, second, third] = group.shards.map((shard) => shard.mesh);
    client.subscribe('t/+', 1);
    own!.publish();
    for (let i = 0; i < 3; i++) {
      // The second shard answers, the third has not looked yet.
      second!.drain();
      second!.publish();
      own!.drain();
      own!.publish();
      assert.equal(group.count('routes/waiting'), 1);
    }
    assert.equal(client.packetsOf(types.SUBACK).length, 0);
    third!.drain();
    third!.publish();
    own!.drain();
    assert.equal(group.count('routes/waiting'), 0);
    await group.settle();
    assert.equal(client.packetsOf(types.SUBACK).length, 1);
    for (const shard of group.shards) assert.equal(shard.interest.match('t/x').shardMask & 1, shard.index === 0 ? 0 : 1);
  });

  test('leaves in the order of the SUBSCRIBE packets, and is not sent to a connection that has ended', async (t) => {
    const group = await shards(t, 2);
    const stays = await connected(group, { clientId: clientIdOn(0, 2) });
    const goes = await connected(group, { clientId: clientIdOn(0, 2) });
    stays.subscribe('a', 0, 10);
    goes.subscribe('b', 0, 1);
    // Nothing new for the peers, yet it must not overtake the first.
    stays.subscribe('a', 1, 11);
    stays.subscribe('c', 0, 12);
    assert.equal(group.shards[0]!.waitingSubacks.count, 4);
    goes.channel.lose();
    await group.settle();
    assert.deepEqual(
      stays.packetsOf(types.SUBACK).map(({ body }) => body.readUInt16BE(0)),
      [10, 11, 12],
    );
    assert.equal(goes.packetsOf(types.SUBACK).length, 0);
    assert.equal(group.shards[0]!.waitingSubacks.count, 0);
    assert.equal(group.count('routes/waiting'), 0);
  });

  test('does not count a successor as informed before it has the last route of the snapshot', async (t) => {
    const FILTERS = 3000;
    const group = await shards(t, 2, ['limits.subscriptionsPerClient=5000']);
    const client = await connected(group, { clientId: clientIdOn(0, 2) });
    for (let i = 0; i < FILTERS; i++) client.subscribe(`f/${i}`, 0, i + 1);
    await group.settle();
    const [old, young] = group.shards;
    const toYoung = old!.mesh.links[1]!;
    const toOld = young!.mesh.links[0]!;
    // As after a restart: the young shard has heard nothing, and the old one knows that.
    young!.interest.clearShard(0);
    Object.assign(toOld, { hasSnapshot: false, routesInstalled: 0, routesTold: 0 });
    toYoung.routesKnownByPeer = 0;
    sendSnapshot(old!, 1);
    let partial = 0;
    while (toYoung.routesKnownByPeer === 0) {
      old!.mesh.publish();
      young!.mesh.drain();
      if (!toOld.hasSnapshot) partial++;
      young!.mesh.publish();
      old!.mesh.drain();
      if (toYoung.routesKnownByPeer > 0) assert.ok(toOld.hasSnapshot);
    }
    assert.ok(partial > 0, 'the snapshot takes more than one turn');
    assert.equal(toYoung.routesKnownByPeer, old!.routeSequence);
    for (let i = 0; i < FILTERS; i++) assert.equal(young!.interest.match(`f/${i}`).shardMask, 1);
    await group.settle();
  });

  test('does not wait for a shard that died', async (t) => {
    const group = await shards(t, 2);
    const client = await connected(group, { clientId: clientIdOn(0, 2) });
    client.subscribe('a');
    assert.equal(group.count('routes/waiting'), 1);
    peerDied(group.shards[0]!, 1);
    assert.equal(group.count('routes/waiting'), 0);
    client.subscribe('b', 0, 2);
    await group.settle();
    assert.equal(client.packetsOf(types.SUBACK).length, 2);
  });

  test('a filter is announced with its first subscriber and withdrawn with its last', async (t) => {
    const group = await shards(t, 2);
    const [one, other] = [await connected(group, { clientId: clientIdOn(0, 2) }), await connected(group, { clientId: clientIdOn(0, 2) })];
    const peer = group.shards[1]!;
    const before = peer.interest.version;
    one.subscribe('x/#');
    await group.settle();
    assert.equal(peer.interest.match('x/y').shardMask, 1);
    const first = peer.interest.version;
    other.subscribe('x/#');
    await group.settle();
    assert.equal(peer.interest.version, first, 'a second subscriber is no news');
    one.unsubscribe('x/#');
    await group.settle();
    assert.equal(peer.interest.match('x/y').shardMask, 1);
    other.channel.lose();
    await group.settle();
    assert.equal(peer.interest.match('x/y').shardMask, 0);
    assert.equal(peer.interest.size, 0);
    assert.ok(before < first);
    assert.equal(group.count('subscriptions/count'), 0);
  });

  test('members of a shared subscription are known everywhere, and an online one is preferred', async (t) => {
    const group = await shards(t, 2);
    const publisher = await connected(group, { clientId: clientIdOn(0, 2) });
    const keeps: ConnectOptions = { cleanStart: false, properties: { sessionExpiryInterval: 60 } };
    const away = await connected(group, { clientId: clientIdOn(0, 2), ...keeps });
    const here = await connected(group, { clientId: clientIdOn(1, 2) });
    away.subscribe('$share/g/s', 1);
    here.subscribe('$share/g/s', 1);
    await group.settle();
    for (let i = 0; i < 10; i++) publisher.publish('s', `${i}`, 1, i + 1);
    await group.settle();
    assert.deepEqual([away.messages().length, here.messages().length], [5, 5]);
    away.channel.lose();
    await group.settle();
    for (let i = 0; i < 10; i++) publisher.publish('s', `${i}`, 1, i + 11);
    await group.settle();
    assert.equal(here.messages().length, 15);
    await group.pass(62);
    // The five that the first member never acknowledged went to the second when its session ended.
    assert.equal(here.messages().length, 20);
    assert.equal(group.count('subscriptions/shared/count'), 1);
  });
});

describe('events', () => {
  test('tell of clients, subscriptions and drops, on every shard, and only to those who ask', async (t) => {
    const group = await shards(t, 2, ['mqtt.sysInterval=never', 'limits.inflight=1', 'limits.queueMessages=1']);
    const watcher = await connected(group, { clientId: clientIdOn(0, 2, 'watcher') });
    watcher.subscribe('$events/#');
    await group.settle();
    const events = (): Record<string, unknown>[] => watcher.payloads().map((payload) => JSON.parse(payload) as Record<string, unknown>);
    const before = events().length;
    const client = await connected(group, { clientId: clientIdOn(1, 2), keepAlive: 30 });
    client.subscribe('t', 1);
    await group.settle();
    const publisher = await connected(group, { clientId: clientIdOn(1, 2) });
    for (let i = 0; i < 3; i++) publisher.publish('t', `${i}`, 1, i + 1);
    publisher.publish('d/p2p/nobody', 'x', 1, 9);
    await group.settle();
    client.unsubscribe('t');
    await group.settle();
    client.disconnect();
    await group.settle();
    const told = events().slice(before);
    const about = told.filter((event) => event['clientid'] === client.clientId);
    assert.deepEqual(
      about.map((event) => event['event']),
      ['client.connected', 'session.subscribed', 'message.dropped', 'session.unsubscribed', 'client.disconnected', 'message.dropped'],
    );
    assert.equal(about[0]!['keepalive'], 30);
    assert.equal(about[2]!['reason'], 'queue_full');
    assert.equal(about[4]!['reason'], 'normal');
    // What waited for the client goes with its session.
    assert.equal(about[5]!['reason'], 'connection-ended');
    assert.ok(
      told.some((event) => event['event'] === 'message.dropped' && event['reason'] === 'no_session' && event['clientid'] === 'nobody'),
    );
    assert.ok(told.every((event) => event['timestamp'] === group.now));
    const silent = group.shards.map((shard) => shard.outbox.count);
    assert.deepEqual(silent, [0, 0]);
  });

  test('switched off, nothing is said', async (t) => {
    const group = await shards(t, 1, ['mqtt.events=false', 'mqtt.sysInterval=never']);
    const watcher = await connected(group);
    watcher.subscribe('$events/#');
    const client = await connected(group);
    client.disconnect();
    await group.settle();
    assert.deepEqual(watcher.payloads(), []);
  });
});

test('statistics: every counter as a Retained Message, summed over the shards, spoken by shard 0 alone', async (t) => {
  const group = await shards(t, 2, ['mqtt.sysInterval=3600s']);
  const clients = await Promise.all([0, 1, 1].map((shard) => connected(group, { clientId: clientIdOn(shard, 2) })));
  for (const shard of group.shards) startStatistics(shard);
  await group.settle();
  clients[0]!.subscribe('$SYS/#');
  await group.settle();
  const said = new Map(clients[0]!.messages().map((message) => [message.topic, Buffer.from(message.payload).toString()]));
  for (const name of COUNTERS) assert.match(said.get(`$SYS/broker/${name}`) ?? '', /^\d+$/, name);
  assert.equal(said.get('$SYS/broker/clients/connected'), '3');
  assert.equal(said.get('$SYS/broker/shards'), '2');
  assert.equal(said.get('$SYS/broker/version'), `onehop ${VERSION}`);
  assert.equal(clients[0]!.messages().length, COUNTERS.length + 3);
});
