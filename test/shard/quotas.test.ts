/*
 * Goal: what is over a quota is dropped, refused or left unread, as QoS and version ask for, and nothing that was acknowledged is lost; each scope holds for those whom it is
 * about, over all shards; who waits goes on when there is room.
 * Method: shards in this thread on a clock of the test, clients in memory; the messages that come are counted, and nothing comes while the clock stands.
 */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { AckView, readAck } from '../../src/protocol/ack.ts';
import { PINGREQ_IMAGE } from '../../src/protocol/disconnect.ts';
import * as types from '../../src/protocol/packet-type.ts';
import { writePublishPacket } from '../../src/protocol/publish.ts';
import { readSuback, SubackPacket } from '../../src/protocol/subscribe.ts';
import { loadSettings } from '../../src/server/config.ts';
import { type ConnectOptions, publishOf } from '../support/packet-client.ts';
import { clientIdOn } from '../support/placement.ts';
import { type MemoryClient, type ShardGroup, startShards } from '../support/shard-group.ts';

async function shards(t: TestContext, count: number, ...set: string[]): Promise<ShardGroup> {
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

async function listener(group: ShardGroup, filter = '#', qos = 0, options: ConnectOptions = {}): Promise<MemoryClient> {
  const client = await connected(group, { clientId: clientIdOn(0, group.shards.length, 'listener'), ...options });
  client.subscribe(filter, qos);
  await group.settle();
  return client;
}

function codes(client: MemoryClient, type: number): number[] {
  return client.packetsOf(type).map(({ body }) => {
    const view = new AckView();
    assert.equal(readAck(view, type, body, 0, body.length, client.version), 0);
    return view.reasonCode;
  });
}

function granted(client: MemoryClient): number[] {
  return client.packetsOf(types.SUBACK).flatMap(({ body }) => {
    const packet = new SubackPacket();
    assert.equal(readSuback(packet, body, 0, body.length, client.version), 0);
    return [...packet.codes];
  });
}

/** Publishes `count` messages, numbered from `from`; packet identifiers follow. */
function flood(client: MemoryClient, count: number, qos: number, from = 1, topic = 'a/b'): void {
  for (let i = from; i < from + count; i++) client.publish(topic, `${i}`, qos, i);
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, i) => String(from + i));
}

test('without quotas a connection has none', async (t) => {
  const group = await shards(t, 2);
  const client = await connected(group);
  assert.equal(client.connection.quota, null);
  flood(client, 500, 1);
  await group.settle();
  assert.equal(codes(client, types.PUBACK).length, 500);
});

test('QoS 0 is dropped before QoS 1 and 2 are refused', async (t) => {
  const group = await shards(t, 1, 'quotas.client.messagesIn=100');
  const receiver = await listener(group);
  const client = await connected(group);
  flood(client, 1000, 0);
  await group.settle();
  assert.deepEqual(receiver.payloads(), numbers(1, 75));
  flood(client, 30, 1, 2001);
  await group.settle();
  assert.deepEqual(codes(client, types.PUBACK), [...new Array(25).fill(0), ...new Array(5).fill(0x97)]);
  assert.deepEqual(receiver.payloads().slice(75), numbers(2001, 2025));
  assert.equal(group.count('publish/dropped/quota'), 925);
  assert.equal(group.count('quota/rejected'), 5);
  // Another client has limits of its own.
  const other = await connected(group);
  flood(other, 10, 1, 3001);
  await group.pass(1);
  assert.deepEqual(codes(other, types.PUBACK), new Array(10).fill(0));
  flood(client, 100, 1, 4001);
  await group.settle();
  assert.equal(codes(client, types.PUBACK).filter((code) => code === 0).length, 125);
});

test('a dropped message still sets its Topic Alias', async (t) => {
  const group = await shards(t, 1, 'quotas.client.messagesIn=4');
  const receiver = await listener(group);
  const client = await connected(group);
  flood(client, 3, 0);
  client.publish('by/alias', 'dropped', 0, 0, { topicAlias: 1 });
  client.publish('', 'kept', 1, 9, { topicAlias: 1 });
  await group.settle();
  assert.deepEqual(
    receiver.messages().map(({ topic }) => topic),
    ['a/b', 'a/b', 'a/b', 'by/alias'],
  );
});

test('what was taken is taken: PUBREL and a QoS 2 message that comes again pass, and one that was refused may come again', async (t) => {
  const group = await shards(t, 1, 'quotas.client.messagesIn=4');
  const receiver = await listener(group, '#', 2);
  const client = await connected(group);
  flood(client, 6, 2);
  await group.settle();
  assert.deepEqual(codes(client, types.PUBREC), [0, 0, 0, 0, 0x97, 0x97]);
  const again = publishOf('a/b', '1', 2, 1, {}, false);
  again.dup = true;
  client.send((writer) => writePublishPacket(writer, again, client.version));
  for (const id of [1, 2, 3, 4]) client.ack(types.PUBREL, id);
  await group.settle();
  assert.deepEqual(codes(client, types.PUBREC).slice(6), [0]);
  assert.deepEqual(codes(client, types.PUBCOMP), [0, 0, 0, 0]);
  await group.pass(1);
  flood(client, 1, 2, 5);
  await group.settle();
  assert.deepEqual(codes(client, types.PUBREC).slice(7), [0]);
  assert.deepEqual(receiver.payloads(), numbers(1, 5));
});

test('MQTT 3.1.1 does not wait with what was taken before and comes again', async (t) => {
  const group = await shards(t, 1, 'quotas.client.messagesIn=4');
  const client = await connected(group, { version: types.V311 });
  flood(client, 4, 2);
  const again = publishOf('a/b', '1', 2, 1, {}, false);
  again.dup = true;
  client.send((writer) => writePublishPacket(writer, again, client.version));
  for (const id of [1, 2, 3, 4]) client.ack(types.PUBREL, id);
  await group.settle();
  assert.equal(codes(client, types.PUBREC).length, 5);
  assert.equal(codes(client, types.PUBCOMP).length, 4);
  assert.equal(group.count('quota/throttled'), 0);
});

for (const [name, version, set] of [
  ['MQTT 3.1.1', types.V311, 'quotas.client.overLimit=reject'],
  ['MQTT 5 with throttle', types.V5, 'quotas.client.overLimit=throttle'],
] as const) {
  test(`${name}: nothing is refused, all come in order at the rate, and Keep Alive does not end who is not read`, async (t) => {
    const group = await shards(t, 1, 'quotas.client.messagesIn=100', set);
    const receiver = await listener(group);
    const client = await connected(group, { version, keepAlive: 1 });
    flood(client, 1000, 1);
    client.publish('a/b', 'q0', 0);
    client.send((writer) => writer.raw(PINGREQ_IMAGE, 0, 2));
    await group.settle();
    assert.equal(receiver.payloads().length, 100);
    assert.equal(group.count('quota/throttled/connections'), 1);
    assert.equal(client.channel.isReading, false);
    const throttled = group.count('quota/throttled');
    for (let turn = 0; turn < 50; turn++) await group.settle();
    assert.equal(group.count('quota/throttled'), throttled, 'while time stands nobody tries');
    let seconds = 0;
    while (codes(client, types.PUBACK).length < 1000) {
      await group.pass(0.25);
      seconds += 0.25;
      assert.ok(seconds < 12, `${codes(client, types.PUBACK).length} after ${seconds} s`);
    }
    assert.ok(seconds >= 9, `all passed after ${seconds} s`);
    await group.pass(0.25);
    assert.deepEqual(
      receiver.payloads().filter((text) => text !== 'q0'),
      numbers(1, 1000),
    );
    assert.deepEqual(new Set(codes(client, types.PUBACK)), new Set([0]));
    assert.equal(client.packetsOf(types.PINGRESP).length, 1);
    assert.equal(client.channel.isReading, true);
    assert.equal(group.count('quota/throttled/connections'), 0);
    assert.equal(group.count('keepalive/expired'), 0);
  });
}

test('a client that waits and goes leaves nothing behind, and coming back does not fill its bucket', async (t) => {
  const group = await shards(t, 1, 'quotas.client.messagesIn=100', 'quotas.client.overLimit=throttle');
  const clientId = clientIdOn(0, 1);
  const client = await connected(group, { clientId });
  flood(client, 300, 1);
  await group.settle();
  client.channel.lose();
  await group.settle();
  assert.equal(group.count('quota/throttled/connections'), 0);
  const again = await connected(group, { clientId });
  flood(again, 50, 1);
  await group.settle();
  assert.equal(codes(again, types.PUBACK).length, 0);
  await group.pass(0.25);
  assert.equal(codes(again, types.PUBACK).length, 25);
  // So does a takeover.
  const third = await connected(group, { clientId });
  flood(third, 50, 1);
  await group.settle();
  assert.equal(codes(third, types.PUBACK).length, 0);
  await group.pass(3600);
  assert.equal(codes(third, types.PUBACK).length, 50);
});

test('bytes: one packet larger than the burst passes, and is paid for', async (t) => {
  const group = await shards(t, 1, 'quotas.client.bytesIn=1000', 'quotas.client.overLimit=throttle');
  const receiver = await listener(group);
  const client = await connected(group, { keepAlive: 1 });
  client.publish('big', new Uint8Array(5000), 1, 1);
  client.publish('small', 'x', 1, 2);
  await group.settle();
  assert.equal(receiver.messages().length, 1);
  await group.pass(3.9);
  assert.equal(receiver.messages().length, 1);
  assert.equal(group.count('keepalive/expired'), 0, 'who is not read cannot show that it lives');
  await group.pass(0.3);
  assert.equal(receiver.messages().length, 2);
});

test('who waits and who is refused share a limit', async (t) => {
  const group = await shards(t, 1, 'quotas.broker.messagesIn=100');
  const older = await connected(group, { clientId: clientIdOn(0, 1, 'older'), version: types.V311 });
  const newer = await connected(group, { clientId: clientIdOn(0, 1, 'newer') });
  flood(older, 2000, 1);
  let packetId = 0;
  for (let i = 0; i < 300; i++) {
    // It does not mind that it is refused, and is always there first.
    flood(newer, 5, 1, packetId + 1);
    packetId += 5;
    await group.pass(0.01);
  }
  // The burst was the first one's.
  const taken = [codes(older, types.PUBACK).length - 100, codes(newer, types.PUBACK).filter((code) => code < 0x80).length];
  for (const one of taken) assert.ok(one >= 90, `${taken.join(' and ')} of 300`);
});

for (const bytes of [4000, 4250, 4500, 4750]) {
  test(`Keep Alive begins anew when a client is read again, ${bytes} bytes`, async (t) => {
    const group = await shards(t, 1, 'quotas.client.bytesIn=1000', 'quotas.client.overLimit=throttle');
    const receiver = await listener(group);
    const client = await connected(group, { keepAlive: 1 });
    client.publish('big', new Uint8Array(bytes), 1, 1);
    client.publish('small', 'x', 1, 2);
    await group.settle();
    for (let i = 0; receiver.messages().length < 2; i++) {
      await group.pass(0.25);
      assert.ok(i < 30);
    }
    await group.pass(0.75);
    await group.pass(0.5);
    assert.equal(group.count('keepalive/expired'), 0, 'it has one and a half of its interval to show that it lives');
    await group.pass(1);
    await group.pass(1);
    assert.equal(group.count('keepalive/expired'), 1);
  });
}

for (const count of [2, 4]) {
  test(`broker, ${count} shards: a load on one shard has nearly all, and all together no more than the limit`, async (t) => {
    const group = await shards(t, count, 'quotas.broker.messagesIn=400');
    const clients: MemoryClient[] = [];
    for (let shard = 0; shard < count; shard++) clients.push(await connected(group, { clientId: clientIdOn(shard, count) }));
    const taken = (): number => clients.reduce((sum, client) => sum + codes(client, types.PUBACK).filter((code) => code < 0x80).length, 0);
    flood(clients[0]!, 900, 1);
    await group.settle();
    assert.ok(taken() >= 360 && taken() <= 401, `${taken()} of the burst`);
    for (const client of clients.slice(1)) flood(client, 900, 1);
    await group.settle();
    assert.ok(taken() >= 360 && taken() <= 400 + count, `${taken()} of all shards`);
    const before = taken();
    await group.pass(0.5);
    flood(clients[count - 1]!, 900, 1, 1001);
    await group.settle();
    const more = taken() - before;
    assert.ok(more >= 180 && more <= 201, `${more} in half a second`);
  });
}

test('broker: those who wait for the same share what is there', async (t) => {
  const group = await shards(t, 1, 'quotas.broker.messagesIn=200', 'quotas.broker.overLimit=throttle');
  const clients: MemoryClient[] = [];
  for (let i = 0; i < 5; i++) clients.push(await connected(group));
  for (const client of clients) flood(client, 900, 1);
  await group.settle();
  for (let i = 0; i < 8; i++) await group.pass(0.25);
  const passed = clients.map((client) => codes(client, types.PUBACK).length);
  // The first had the burst; of the 400 afterwards each of the others has its part.
  assert.ok(passed.reduce((sum, one) => sum + one, 0) <= 601, `${passed}`);
  for (const one of passed) assert.ok(one >= 60, `${passed}`);
});

test('a scope with fewer tokens than clients that wait gives each its turn', async (t) => {
  const group = await shards(t, 1, 'quotas.broker.messagesIn=20', 'quotas.broker.overLimit=throttle');
  const clients: MemoryClient[] = [];
  for (let i = 0; i < 30; i++) clients.push(await connected(group));
  for (const client of clients) flood(client, 100, 1);
  for (let i = 0; i < 16; i++) await group.pass(0.25);
  const passed = clients.map((client) => codes(client, types.PUBACK).length);
  assert.ok(
    passed.slice(1).every((one) => one >= 1 && one <= 5),
    `${passed}`,
  );
});

test('a refusal of one scope costs nothing of another', async (t) => {
  const group = await shards(t, 1, 'quotas.client.messagesIn=10', 'quotas.broker.messagesIn=100');
  const greedy = await connected(group);
  flood(greedy, 900, 1);
  await group.settle();
  const other = await connected(group);
  flood(other, 10, 1);
  await group.settle();
  assert.deepEqual(
    codes(other, types.PUBACK).filter((code) => code >= 0x80),
    [],
  );
});

test('P2P: each target counts', async (t) => {
  const group = await shards(t, 2, 'quotas.client.messagesIn=10');
  const client = await connected(group);
  const targets = numbers(1, 8).map((name): [string, string] => ['p2p-target', name]);
  client.publish('x/p2p/', 'm', 1, 1, { userProperties: targets });
  await group.settle();
  flood(client, 4, 1, 2);
  await group.settle();
  assert.deepEqual(
    codes(client, types.PUBACK).map((code) => code === 0x97),
    [false, false, false, true, true],
  );
});

test('QUIC: the data streams of a client share its bucket, and each waits for itself', async (t) => {
  const group = await shards(t, 1, 'quotas.client.messagesIn=20', 'quotas.client.overLimit=throttle');
  const control = await connected(group);
  const streams = [control.openStream(), control.openStream()];
  await group.settle();
  for (const stream of streams) flood(stream, 15, 1);
  await group.settle();
  const done = (): number[] => streams.map((stream) => codes(stream, types.PUBACK).length);
  assert.deepEqual(done(), [15, 5]);
  control.publish('c', 'm', 1, 1);
  await group.pass(1);
  assert.deepEqual(done(), [15, 15]);
  assert.equal(codes(control, types.PUBACK).length, 1);
  streams[0]!.channel.lose();
  await group.settle();
  assert.equal(group.count('quota/throttled/connections'), 0);
});

test('out: QoS 0 is dropped, QoS 1 waits in the queue and comes in order', async (t) => {
  const group = await shards(t, 1, 'quotas.client.messagesOut=40');
  const receiver = await listener(group, '#', 1);
  const client = await connected(group);
  flood(client, 100, 0);
  await group.settle();
  assert.deepEqual(receiver.payloads(), numbers(1, 30));
  flood(client, 100, 1, 101);
  await group.settle();
  assert.deepEqual(receiver.payloads().slice(30), numbers(101, 110));
  assert.deepEqual(codes(client, types.PUBACK), new Array(100).fill(0));
  const answered = new Set<number>();
  for (let i = 0; i < 12; i++) {
    for (const { packetId } of receiver.messages()) {
      if (packetId === 0 || answered.has(packetId)) continue;
      answered.add(packetId);
      receiver.ack(types.PUBACK, packetId);
    }
    await group.pass(0.25);
  }
  assert.deepEqual(receiver.payloads().slice(30), numbers(101, 200));
  assert.equal(group.count('publish/dropped/quota'), 70);
});

test('out: retained messages that a subscription asks for wait, and are not dropped', async (t) => {
  const group = await shards(t, 1, 'quotas.client.messagesOut=20');
  const client = await connected(group);
  for (let i = 0; i < 50; i++) client.publish(`r/${i}`, `${i}`, 0, 0, {}, true);
  await group.settle();
  const receiver = await listener(group, 'r/#');
  for (let i = 0; i < 16; i++) await group.pass(0.25);
  assert.deepEqual(
    receiver.payloads().sort((a, b) => Number(a) - Number(b)),
    numbers(0, 49),
  );
});

test('connect: beyond the rate CONNECT is refused, before anybody is asked; a takeover counts', async (t) => {
  const group = await shards(t, 1, 'quotas.broker.connectRate=3');
  let asked = 0;
  group.shards[0]!.logins.port = {
    ask: (login) => {
      asked++;
      const identity = { authenticator: 'test', username: null, attributes: {}, isSuperuser: false, rules: null, expiresAt: 0 };
      setImmediate(() => group.shards[0]!.logins.answer(login, { code: 0, cause: '', identity }));
    },
    proceed: () => {},
    leave: () => {},
  };
  const clientId = clientIdOn(0, 1);
  const tries = async (version: types.ProtocolVersion): Promise<number> => {
    const client = group.connect({ clientId, version });
    await group.settle();
    return client.connack().code;
  };
  assert.deepEqual([await tries(5), await tries(5), await tries(5), await tries(5), await tries(4)], [0, 0, 0, 0x9f, 3]);
  assert.equal(asked, 3);
  assert.equal(group.count('connections/refused/rate'), 2);
  await group.pass(1);
  assert.equal(await tries(5), 0);
});

test('subscribe: MQTT 5 is told for each filter, MQTT 3.1.1 waits', async (t) => {
  const group = await shards(t, 1, 'quotas.client.subscribeRate=4');
  const client = await connected(group);
  for (let i = 0; i < 6; i++) client.subscribe(`f/${i}`, 0, i + 1);
  await group.settle();
  assert.deepEqual(granted(client), [0, 0, 0, 0, 0x97, 0x97]);
  const old = await connected(group, { version: types.V311 });
  for (let i = 0; i < 6; i++) old.subscribe(`f/${i}`, 0, i + 1);
  await group.settle();
  assert.deepEqual(granted(old), [0, 0, 0, 0]);
  await group.pass(1);
  assert.deepEqual(granted(old), [0, 0, 0, 0, 0, 0]);
  assert.equal(group.count('quota/subscribe/rejected'), 2);
});

test('groups: the clients of a tenant share its limits over all shards, and those of another have their own', async (t) => {
  const group = await shards(t, 2, 'quotas.groups.by=attribute:tenant', 'quotas.groups.messagesIn=100', 'quotas.groups.connections=3');
  for (const shard of group.shards) {
    shard.logins.port = {
      ask: (login, { clientId }) => {
        const tenant = clientId.split('-')[0]!;
        const attributes: Record<string, string> = tenant === 'none' ? {} : { tenant };
        const identity = { authenticator: 'test', username: null, attributes, isSuperuser: false, rules: null, expiresAt: 0 };
        setImmediate(() => shard.logins.answer(login, { code: 0, cause: '', identity }));
      },
      proceed: () => {},
      leave: () => {},
    };
  }
  const on = (shard: number, tenant: string): Promise<MemoryClient> => connected(group, { clientId: clientIdOn(shard, 2, tenant) });
  const red = [await on(0, 'red'), await on(1, 'red'), await on(1, 'red')];
  const blue = await on(0, 'blue');
  const free = await on(0, 'none');
  const full = group.connect({ clientId: clientIdOn(0, 2, 'red') });
  await group.settle();
  assert.equal(full.connack().code, 0x97);
  // Whoever takes over has its place already.
  const taking = await connected(group, { clientId: red[0]!.clientId });
  red[0] = taking;
  for (const client of [...red, blue, free]) flood(client, 200, 1);
  await group.settle();
  const taken = (client: MemoryClient): number => codes(client, types.PUBACK).filter((code) => code < 0x80).length;
  const sum = red.reduce((so, client) => so + taken(client), 0);
  assert.ok(sum >= 90 && sum <= 102, `${sum} of the tenant`);
  assert.ok(taken(blue) >= 90 && taken(blue) <= 101, `${taken(blue)}`);
  assert.equal(taken(free), 200);
  assert.equal(group.count('quota/groups/count'), 3);
  // The last one goes, and a new one begins where the group was.
  for (const client of red) client.channel.lose();
  await group.settle();
  assert.equal(group.count('quota/groups/count'), 1);
  const late = await on(1, 'red');
  flood(late, 50, 1);
  await group.settle();
  assert.ok(taken(late) <= 1, `${taken(late)} for who comes back`);
});

test('a listener: its clients share its limits', async (t) => {
  const bind = '127.0.0.1:0';
  const listeners = [{ type: 'tcp', bind, messagesIn: 20 }];
  const group = await shards(t, 2, `listeners=${JSON.stringify(listeners)}`);
  const clients = [await connected(group), await connected(group, { clientId: clientIdOn(1, 2) })];
  for (const client of clients) flood(client, 50, 1);
  await group.settle();
  const taken = clients.flatMap((client) => codes(client, types.PUBACK)).filter((code) => code < 0x80).length;
  assert.ok(taken >= 18 && taken <= 22, `${taken}`);
});

test('limits are replaced while clients are connected', async (t) => {
  const group = await shards(t, 1, 'quotas.client.messagesIn=10', 'quotas.client.overLimit=throttle', 'quotas.client.messagesOut=10');
  const receiver = await listener(group, '#', 1);
  const client = await connected(group);
  const stream = client.openStream();
  await group.settle();
  flood(client, 100, 1);
  flood(stream, 5, 1, 101);
  await group.settle();
  assert.equal(codes(client, types.PUBACK).length, 10);
  const { quotas } = await loadSettings({ set: ['store.enabled=false'] });
  group.shards[0]!.quotas.replace(quotas);
  await group.pass(0.25);
  assert.equal(codes(client, types.PUBACK).length, 100);
  assert.equal(codes(stream, types.PUBACK).length, 5);
  assert.deepEqual([client.connection.quota, stream.connection.quota], [null, null]);
  assert.equal(receiver.payloads().length, 105);
  const narrow = await loadSettings({ set: ['store.enabled=false', 'quotas.client.messagesIn=2'] });
  group.shards[0]!.quotas.replace(narrow.quotas);
  flood(client, 5, 1, 201);
  await group.settle();
  assert.deepEqual(
    codes(client, types.PUBACK)
      .slice(100)
      .filter((code) => code >= 0x80),
    [0x97, 0x97, 0x97],
  );
});
