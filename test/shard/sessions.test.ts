/*
 * Goal: a session lives, sleeps and ends as its client and the clock say; what waits in it, in a mailbox or in a window is delivered once, counted exactly and
 * given up at its time.
 * Method: shards in this thread, clients in memory, and a clock that the test moves.
 */
import assert from 'node:assert/strict';
import test, { describe, type TestContext } from 'node:test';
import { hash32 } from '../../src/base/hash.ts';
import * as types from '../../src/protocol/packet-type.ts';
import { ReasonCode } from '../../src/protocol/reason-code.ts';
import { CONNECTED } from '../../src/shard/connection.ts';
import type { ConnectOptions } from '../support/packet-client.ts';
import { clientIdOn } from '../support/placement.ts';
import { type MemoryClient, type ShardGroup, startShards } from '../support/shard-group.ts';

async function shards(t: TestContext, count = 1, set: readonly string[] = []): Promise<ShardGroup> {
  const group = await startShards(count, ['mqtt.sysInterval=never', ...set]);
  t.after(() => group.stop());
  return group;
}

async function connected(group: ShardGroup, options: ConnectOptions = {}): Promise<MemoryClient> {
  const client = group.connect(options);
  await group.settle();
  assert.equal(client.connack().code, 0);
  return client;
}

const hashOf = (text: string): number => hash32(Buffer.from(text), 0, text.length);

const keeps = (seconds: number): ConnectOptions => ({ cleanStart: false, properties: { sessionExpiryInterval: seconds } });

/** What the group's counters say of waiting messages, and what its sessions hold. */
function waiting(group: ShardGroup): { counted: number; bytes: number; held: number; heldBytes: number } {
  let held = 0;
  let heldBytes = 0;
  for (const shard of group.shards) {
    let cursor = 0;
    while (cursor >= 0) {
      cursor = shard.sessions.scan(cursor, 100, (session) => {
        held += session.queue?.count ?? 0;
        heldBytes += session.queue?.bytes ?? 0;
      });
    }
  }
  return { counted: group.count('queued/messages'), bytes: group.count('queued/bytes'), held, heldBytes };
}

describe('session expiry', () => {
  test('a session outlives its connection for its interval, to the second, and then holds nothing', async (t) => {
    const group = await shards(t);
    const publisher = await connected(group);
    const client = await connected(group, { clientId: 'sleeper', ...keeps(60) });
    client.subscribe('t', 1);
    await group.settle();
    client.channel.lose();
    for (let i = 0; i < 10; i++) publisher.publish('t', `m${i}`, 1, i + 1);
    await group.settle();
    assert.equal(waiting(group).held, 10);
    for (let i = 0; i < 59; i++) await group.pass(1);
    assert.equal(group.count('clients/total'), 2);
    await group.pass(1);
    await group.pass(1);
    assert.equal(group.count('clients/total'), 1);
    assert.equal(group.count('sessions/expired'), 1);
    assert.equal(group.count('subscriptions/count'), 0);
    assert.deepEqual(waiting(group), { counted: 0, bytes: 0, held: 0, heldBytes: 0 });
    assert.equal(group.shards[0]!.timers.armedCount, 0);
  });

  test('coming back stops the clock; DISCONNECT may set another interval', async (t) => {
    const group = await shards(t);
    const client = await connected(group, { clientId: 'one', ...keeps(10) });
    client.channel.lose();
    await group.pass(9);
    const again = await connected(group, { clientId: 'one', ...keeps(10) });
    assert.equal(again.connack().sessionPresent, true);
    await group.pass(100);
    assert.equal(again.connection.state, CONNECTED);
    again.disconnect(0, { sessionExpiryInterval: 5 });
    await group.settle();
    await group.pass(4);
    assert.equal(group.count('clients/total'), 1);
    await group.pass(2);
    assert.equal(group.count('clients/total'), 0);
    assert.equal(group.shards[0]!.timers.armedCount, 0);
  });

  test('never means never', async (t) => {
    const group = await shards(t);
    const client = await connected(group, { clientId: 'one', ...keeps(0xffffffff) });
    client.channel.lose();
    await group.pass(10 * 365 * 86_400);
    assert.equal(group.count('clients/total'), 1);
  });

  test('at the limit of sessions and connections, whoever has one may come back and take over', async (t) => {
    const group = await shards(t, 1, ['limits.sessions=2', 'limits.connections=2']);
    const one = await connected(group, { clientId: 'one', ...keeps(60) });
    const two = await connected(group, { clientId: 'two', ...keeps(60) });
    const stranger = group.connect({ clientId: 'three' });
    await group.settle();
    assert.equal(stranger.connack().code, ReasonCode.QuotaExceeded);
    one.channel.lose();
    await group.settle();
    const again = await connected(group, { clientId: 'one', ...keeps(60) });
    assert.equal(again.connack().sessionPresent, true);
    const younger = await connected(group, { clientId: 'two', ...keeps(60) });
    assert.equal(younger.connack().sessionPresent, true);
    await group.settle();
    assert.notEqual(two.connection.state, CONNECTED);
    const fresh = await connected(group, { clientId: 'two', cleanStart: true });
    assert.equal(fresh.connack().sessionPresent, false);
    assert.equal(group.count('clients/total'), 2);
  });
});

describe('will', () => {
  const will = (delay: number): ConnectOptions['will'] => ({ topic: 'w', payload: 'gone', properties: { willDelayInterval: delay } });

  async function watched(t: TestContext): Promise<{ group: ShardGroup; watcher: MemoryClient }> {
    const group = await shards(t);
    const watcher = await connected(group);
    watcher.subscribe('w');
    await group.settle();
    return { group, watcher };
  }

  test('comes after its delay', async (t) => {
    const { group, watcher } = await watched(t);
    const client = await connected(group, { clientId: 'one', ...keeps(60), will: will(10) });
    client.channel.lose();
    await group.pass(9);
    assert.deepEqual(watcher.payloads(), []);
    await group.pass(2);
    assert.deepEqual(watcher.payloads(), ['gone']);
    await group.pass(100);
    assert.deepEqual(watcher.payloads(), ['gone'], 'not again at the end of the session');
    assert.equal(group.shards[0]!.timers.armedCount, 0);
  });

  test('comes at the end of the session when that is earlier', async (t) => {
    const { group, watcher } = await watched(t);
    const client = await connected(group, { clientId: 'one', ...keeps(5), will: will(60) });
    client.channel.lose();
    await group.pass(6);
    assert.deepEqual(watcher.payloads(), ['gone']);
    assert.equal(group.shards[0]!.timers.armedCount, 0);
  });

  test('does not come when the client is back in time', async (t) => {
    const { group, watcher } = await watched(t);
    const client = await connected(group, { clientId: 'one', ...keeps(60), will: will(10) });
    client.channel.lose();
    await group.pass(5);
    await connected(group, { clientId: 'one', ...keeps(60) });
    await group.pass(60);
    assert.deepEqual(watcher.payloads(), []);
  });

  test('comes at once when the client is back with a clean start, and at a takeover without delay', async (t) => {
    const { group, watcher } = await watched(t);
    const client = await connected(group, { clientId: 'one', ...keeps(60), will: will(10) });
    client.channel.lose();
    await group.pass(5);
    const second = await connected(group, { clientId: 'one', cleanStart: true, will: will(0) });
    assert.deepEqual(watcher.payloads(), ['gone']);
    await connected(group, { clientId: 'one', cleanStart: false });
    assert.deepEqual(watcher.payloads(), ['gone', 'gone']);
    assert.notEqual(second.connection.state, CONNECTED);
  });
});

describe('keep alive', () => {
  test('one and a half intervals without a byte end the connection; a byte in time does not', async (t) => {
    const group = await shards(t);
    const client = await connected(group, { keepAlive: 10, ...keeps(60) });
    for (let i = 0; i < 30; i++) {
      if (i % 14 === 13) client.channel.arrive(Buffer.from('c000', 'hex'));
      await group.pass(1);
    }
    assert.equal(client.connection.state, CONNECTED);
    for (let i = 0; i < 20; i++) await group.pass(1);
    assert.equal(client.packets().at(-1)!.body[0], ReasonCode.KeepAliveTimeout);
    assert.equal(group.count('clients/connected'), 0);
  });

  test('a clock that is set back ends no connection', async (t) => {
    const group = await shards(t);
    const client = await connected(group, { keepAlive: 10 });
    for (let i = 0; i < 14; i++) await group.pass(1);
    // The last byte comes after the deadline of 15 s and before the timers are looked at; then the clock goes back a little.
    group.now += 1400;
    await group.settle();
    client.channel.arrive(Buffer.from('c000', 'hex'));
    await group.settle();
    group.now -= 300;
    await group.pass(0);
    assert.equal(client.connection.state, CONNECTED);
    await group.pass(-3600);
    await group.pass(1);
    assert.equal(client.connection.state, CONNECTED);
  });
});

describe('the window', () => {
  /** A session with a window of `window`, QoS 2 messages in it and more in the queue. */
  async function halfway(t: TestContext, window: number, messages: number): Promise<{ group: ShardGroup; client: MemoryClient }> {
    const group = await shards(t);
    const publisher = await connected(group);
    const client = await connected(group, {
      clientId: 'one',
      cleanStart: false,
      properties: { sessionExpiryInterval: 60, receiveMaximum: window },
    });
    client.subscribe('t', 2);
    await group.settle();
    for (let i = 0; i < messages; i++) publisher.publish('t', `m${i}`, 2, i + 1);
    await group.settle();
    return { group, client };
  }

  test('resumed with a smaller window: never more open than it allows, all delivered in order, the quota whole again', async (t) => {
    const { group, client } = await halfway(t, 8, 30);
    const first = client.messages();
    assert.equal(first.length, 8);
    // Three are the client's already: only their release is open.
    for (const message of first.slice(0, 3)) client.ack(types.PUBREC, message.packetId);
    await group.settle();
    client.channel.lose();
    await group.settle();
    const window = 4;
    const again = await connected(group, {
      clientId: 'one',
      cleanStart: false,
      properties: { sessionExpiryInterval: 60, receiveMaximum: window },
    });
    const received = new Set<number>();
    const completed = new Set<number>();
    const payloads: string[] = [];
    let handled = 0;
    for (let quiet = 0; quiet < 2; ) {
      const packets = again.packets();
      const open = new Set<number>();
      for (const { type, first: firstByte, body } of packets) {
        if (type === types.PUBLISH) open.add(body.readUInt16BE(2 + body.readUInt16BE(0)));
        assert.ok(type !== types.PUBLISH || (firstByte & 6) === 4);
      }
      for (const id of completed) open.delete(id);
      // [MQTT-3.3.4-9]: unacknowledged means without PUBCOMP, also for those of the connection before.
      const released = [...first.slice(0, 3)].filter((message) => !completed.has(message.packetId)).length;
      assert.ok(open.size + released <= window, `${open.size} + ${released} are open`);
      const fresh = packets.slice(handled);
      quiet = fresh.length === 0 ? quiet + 1 : 0;
      handled = packets.length;
      for (const { type, body } of fresh) {
        if (type === types.PUBLISH) {
          const id = body.readUInt16BE(2 + body.readUInt16BE(0));
          completed.delete(id);
          received.add(id);
          again.ack(types.PUBREC, id);
        } else if (type === types.PUBREL) {
          const id = body.readUInt16BE(0);
          completed.add(id);
          again.ack(types.PUBCOMP, id);
        }
      }
      await group.settle();
    }
    payloads.push(...again.payloads());
    assert.deepEqual(
      payloads,
      Array.from({ length: 27 }, (_, i) => `m${i + 3}`),
    );
    assert.equal(again.connection.sendQuota, window);
    assert.equal(group.shards[0]!.sessions.get(Buffer.from('one'), 0, 3, hashOf('one'))!.inflight!.count, 0);
    assert.deepEqual(waiting(group), { counted: 0, bytes: 0, held: 0, heldBytes: 0 });
  });

  test('an answer from before the reconnect is not followed by the same message again', async (t) => {
    const { group, client } = await halfway(t, 4, 4);
    const ids = client.messages().map((message) => message.packetId);
    client.channel.lose();
    const again = await connected(group, {
      clientId: 'one',
      cleanStart: false,
      properties: { sessionExpiryInterval: 60, receiveMaximum: 1 },
    });
    assert.deepEqual(again.payloads(), ['m0']);
    // The client had the second message already and says so before it is sent again.
    again.ack(types.PUBREC, ids[1]!);
    again.ack(types.PUBCOMP, ids[1]!);
    again.ack(types.PUBREC, ids[2]!);
    await group.settle();
    again.ack(types.PUBREC, ids[0]!);
    again.ack(types.PUBCOMP, ids[0]!);
    again.ack(types.PUBCOMP, ids[2]!);
    await group.settle();
    assert.deepEqual(again.payloads(), ['m0', 'm3']);
    again.ack(types.PUBREC, ids[3]!);
    again.ack(types.PUBCOMP, ids[3]!);
    await group.settle();
    assert.equal(again.connection.sendQuota, 1);
  });
});

describe('the queue', () => {
  test('bounds by count and by bytes, and counters that follow it exactly', async (t) => {
    for (const overflow of ['refuse', 'drop-oldest']) {
      const group = await shards(t, 1, [`queue.overflow=${overflow}`, 'limits.queueMessages=10', 'limits.queueBytes=8192']);
      const publisher = await connected(group);
      const client = await connected(group, { clientId: 'one', ...keeps(60) });
      client.subscribe('t', 1);
      await group.settle();
      client.channel.lose();
      for (let i = 0; i < 15; i++) publisher.publish('t', `m${i}`, 1, i + 1);
      await group.settle();
      let state = waiting(group);
      assert.deepEqual([state.counted, state.bytes], [state.held, state.heldBytes]);
      assert.equal(state.held, 10);
      const codes = publisher.packetsOf(types.PUBACK).map(({ body }) => body[2] ?? 0);
      assert.equal(codes.filter((code) => code === ReasonCode.QuotaExceeded).length, overflow === 'refuse' ? 5 : 0);
      publisher.publish('t', 'x'.repeat(7500), 1, 20);
      publisher.publish('t', 'y'.repeat(9000), 1, 21);
      await group.settle();
      state = waiting(group);
      assert.deepEqual([state.counted, state.bytes], [state.held, state.heldBytes]);
      assert.ok(state.bytes <= 8192);
      const again = await connected(group, { clientId: 'one', ...keeps(60) });
      const lengths = again.payloads().map((payload) => payload.length);
      // A message that can never fit must not push out what does.
      assert.deepEqual(lengths, overflow === 'refuse' ? new Array(10).fill(2) : [3, 3, 3, 7500]);
      assert.deepEqual(waiting(group), { counted: 0, bytes: 0, held: 0, heldBytes: 0 });
    }
  });

  test('an expired message is dropped when it comes to the front', async (t) => {
    const group = await shards(t);
    const publisher = await connected(group);
    const client = await connected(group, { clientId: 'one', ...keeps(600) });
    client.subscribe('t', 1);
    await group.settle();
    client.channel.lose();
    publisher.publish('t', 'short', 1, 1, { messageExpiryInterval: 10 });
    publisher.publish('t', 'long', 1, 2, { messageExpiryInterval: 100 });
    await group.settle();
    await group.pass(30);
    const again = await connected(group, { clientId: 'one', ...keeps(600) });
    const [message, ...others] = again.messages();
    assert.deepEqual([Buffer.from(message!.payload).toString(), others.length], ['long', 0]);
    assert.equal(message!.properties.messageExpiryInterval, 70);
    assert.equal(group.count('publish/dropped/expired'), 1);
    assert.deepEqual(waiting(group), { counted: 0, bytes: 0, held: 0, heldBytes: 0 });
  });
});

describe('mailboxes', () => {
  const set = ['p2p.mailbox.enabled=true', 'p2p.mailbox.ttl=60s', 'p2p.mailbox.maxMessages=3', 'p2p.mailbox.maxBytes=1000'];

  test('keep messages for a client that never was, up to their bounds, until it comes', async (t) => {
    const group = await shards(t, 2, set);
    const publisher = await connected(group, { clientId: clientIdOn(0, 2) });
    const target = clientIdOn(1, 2);
    for (let i = 0; i < 4; i++) publisher.publish(`d/p2p/${target}`, `m${i}`, 1, i + 1);
    publisher.publish(`d/p2p/${target}`, 'QoS 0', 0);
    await group.settle();
    assert.deepEqual(
      publisher.packetsOf(types.PUBACK).map(({ body }) => body[2] ?? 0),
      [0, 0, 0, ReasonCode.QuotaExceeded],
    );
    assert.equal(group.count('mailboxes/count'), 1);
    assert.equal(group.count('queued/messages'), 3);
    const client = await connected(group, { clientId: target });
    assert.deepEqual(client.payloads(), ['m0', 'm1', 'm2']);
    assert.deepEqual([group.count('mailboxes/count'), group.count('queued/messages'), group.count('queued/bytes')], [0, 0, 0]);
  });

  test('bytes bound a mailbox from its first message on', async (t) => {
    const group = await shards(t, 1, set);
    const publisher = await connected(group);
    publisher.publish('d/p2p/big', 'x'.repeat(2000), 1, 1);
    await group.settle();
    assert.equal(publisher.packetsOf(types.PUBACK)[0]!.body[2], ReasonCode.QuotaExceeded);
    assert.equal(group.count('mailboxes/count'), 0);
    publisher.publish('d/p2p/big', 'x'.repeat(500), 1, 2);
    publisher.publish('d/p2p/big', 'x'.repeat(500), 1, 3);
    await group.settle();
    assert.deepEqual(
      publisher.packetsOf(types.PUBACK).map(({ body }) => body[2] ?? 0),
      [ReasonCode.QuotaExceeded, 0, ReasonCode.QuotaExceeded],
    );
  });

  test('end after their time to live, and the sender who asked is told', async (t) => {
    const group = await shards(t, 1, set);
    const publisher = await connected(group, { clientId: 'sender' });
    const asks = { responseTopic: 'answers/p2p/sender', userProperties: [['p2p-receipt', '1']] as [string, string][] };
    publisher.publish('d/p2p/nobody', 'first', 1, 1, asks);
    await group.settle();
    await group.pass(50);
    publisher.publish('d/p2p/nobody', 'second', 1, 2);
    await group.settle();
    assert.equal(group.count('queued/messages'), 2);
    await group.pass(11);
    assert.deepEqual([group.count('mailboxes/count'), group.count('queued/messages'), group.count('queued/bytes')], [0, 0, 0]);
    assert.equal(group.shards[0]!.timers.armedCount, 0);
    const [receipt] = publisher.messages();
    assert.deepEqual(JSON.parse(Buffer.from(receipt!.payload).toString()), { target: 'nobody', status: 'expired', at: group.now });
    const client = await connected(group, { clientId: 'nobody' });
    assert.deepEqual(client.payloads(), []);
  });

  test('their number is bounded', async (t) => {
    const group = await shards(t, 1, [...set, 'p2p.mailbox.maxMailboxes=2']);
    const publisher = await connected(group);
    for (let i = 0; i < 3; i++) publisher.publish(`d/p2p/box-${i}`, 'x', 1, i + 1);
    await group.settle();
    assert.equal(group.count('mailboxes/count'), 2);
    assert.equal(publisher.packetsOf(types.PUBACK)[2]!.body[2], ReasonCode.QuotaExceeded);
  });
});

describe('shared subscriptions', () => {
  test('at the end of a session QoS 1 goes to another member, QoS 2 that has begun does not', async (t) => {
    const group = await shards(t, 1, ['mqtt.sharedStrategy=sticky']);
    const publisher = await connected(group);
    const leaver = await connected(group, { clientId: 'leaver', cleanStart: true });
    leaver.subscribe('$share/g/t', 2);
    await group.settle();
    publisher.publish('t', 'begun at 2', 2, 1);
    publisher.publish('t', 'begun at 1', 1, 2);
    await group.settle();
    assert.equal(leaver.payloads().length, 2);
    const heir = await connected(group, { clientId: 'heir' });
    heir.subscribe('$share/g/t', 2);
    await group.settle();
    leaver.channel.lose();
    await group.settle();
    assert.deepEqual(heir.payloads(), ['begun at 1']);
  });
});

test('a session whose time has passed is not resumed, although its timer is late', async (t) => {
  const group = await shards(t);
  const client = await connected(group, { clientId: 'late', ...keeps(10) });
  client.channel.lose();
  await group.settle();
  group.now += 9_000;
  const early = await connected(group, { clientId: 'late', ...keeps(10) });
  assert.equal(early.connack().sessionPresent, true);
  early.channel.lose();
  await group.settle();
  group.now += 10_000;
  const late = await connected(group, { clientId: 'late', ...keeps(10) });
  assert.equal(late.connack().sessionPresent, false);
  assert.deepEqual([group.count('clients/total'), group.count('sessions/expired')], [1, 1]);
});
