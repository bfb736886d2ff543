/*
 * Goal: statements about attributes of a P2P message's target are judged where the target is known, in the order of the statements, and what the sender sees is
 * what it sees of a denial on its own shard; one frame carries message and question, also again to a successor of the target's shard.
 * Method: two shards in this thread, and logins that say of each client what the test has noted.
 */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { AckView, readAck } from '../../src/protocol/ack.ts';
import * as types from '../../src/protocol/packet-type.ts';
import type { Properties } from '../../src/protocol/property.ts';
import { ReasonCode } from '../../src/protocol/reason-code.ts';
import type { ConnectOptions } from '../support/packet-client.ts';
import { clientIdOn } from '../support/placement.ts';
import { type MemoryClient, type ShardGroup, startShards } from '../support/shard-group.ts';

const oneGroup = [
  { effect: 'allow', resource: 'p2p', actions: ['publish'], same: ['group'] },
  { effect: 'allow', actions: ['publish', 'subscribe'] },
];

type Attributes = Readonly<Record<string, string>>;

/** By Client Identifier. */
const known = new Map<string, Attributes>();

async function shards(t: TestContext, statements: readonly object[], more: readonly string[] = []): Promise<ShardGroup> {
  const group = await startShards(2, ['mqtt.sysInterval=never', `authorization.statements=${JSON.stringify(statements)}`, ...more]);
  t.after(() => group.stop());
  for (const { logins } of group.shards)
    logins.port = {
      ask: (login, { clientId }) => {
        const attributes = known.get(clientId) ?? {};
        const identity = { authenticator: 'test', username: null, attributes, isSuperuser: false, rules: null, expiresAt: 0 };
        queueMicrotask(() => logins.answer(login, { code: ReasonCode.Success, cause: '', identity }));
      },
      proceed: () => {},
      leave: () => {},
    };
  return group;
}

async function client(group: ShardGroup, shard: number, attributes: Attributes, options: ConnectOptions = {}): Promise<MemoryClient> {
  const clientId = options.clientId ?? clientIdOn(shard, 2);
  known.set(clientId, attributes);
  const one = group.connect({ ...options, clientId });
  await group.settle();
  assert.equal(one.connack().code, 0);
  return one;
}

function codes(one: MemoryClient, type: number): number[] {
  return one.packetsOf(type).map(({ body }) => {
    const view = new AckView();
    assert.equal(readAck(view, type, body, 0, body.length, one.version), 0);
    return view.reasonCode;
  });
}

function statuses(one: MemoryClient): string[] {
  const { body } = one.packetsOf(types.PUBACK).at(-1)!;
  const view = new AckView();
  assert.equal(readAck(view, types.PUBACK, body, 0, body.length, one.version), 0);
  return (view.properties?.userProperties ?? []).map(([, value]) => value);
}

for (const shard of [0, 1]) {
  const place = shard === 0 ? 'its own shard' : 'another shard';

  test(`one group, at every QoS: a target on ${place}`, async (t) => {
    const group = await shards(t, oneGroup);
    const lines: Record<string, unknown>[] = [];
    for (const { log } of group.shards) log.info = (facts: object) => void lines.push(facts as Record<string, unknown>);
    const sender = await client(group, 0, { group: 'pumps' });
    const friend = await client(group, shard, { group: 'pumps' });
    const foe = await client(group, shard, { group: 'pump' });
    const nobody = await client(group, shard, {});
    const before = group.count('ring/frames/publish');
    for (const [index, target] of [friend, foe, nobody].entries()) {
      for (const qos of [0, 1, 2]) {
        sender.publish(`a/p2p/${target.clientId}`, `${qos}`, qos, 10 * index + qos);
        await group.settle();
      }
    }
    sender.publish(`a/p2p/${clientIdOn(shard, 2)}`, 'nowhere', 1, 99);
    await group.settle();
    assert.deepEqual(codes(sender, types.PUBACK), [0, 0x87, 0x87, 0x87]);
    assert.deepEqual(codes(sender, types.PUBREC), [0, 0x87, 0x87]);
    assert.deepEqual(
      [friend, foe, nobody].map((target) => target.payloads()),
      [['0', '1', '2'], [], []],
    );
    assert.equal(group.count('authorization/denied/publish'), 7);
    assert.equal(group.count('publish/dropped/not-authorized'), 7);
    assert.equal(group.count('ring/frames/publish') - before, shard === 0 ? 0 : 10, 'one hop');
    const line = lines.find(({ action }) => action === 'publish to client')!;
    assert.deepEqual([line['client'], line['topic'], line['statement']], [sender.clientId, foe.clientId, 'none']);
    // The identifier of what was refused is free.
    assert.equal(sender.connection.session!.received?.has(12) ?? false, false);
  });

  test(`first match: a deny that asks stands above an allow, for a target on ${place}`, async (t) => {
    const group = await shards(t, [
      { effect: 'deny', resource: 'p2p', actions: ['publish'], targetAttributes: { role: ['locked*'] } },
      { effect: 'allow', resource: 'p2p', actions: ['publish'], same: ['group', 'site'] },
      { effect: 'deny', resource: 'p2p', actions: ['publish'], same: ['group'] },
      { effect: 'allow', resource: 'p2p', actions: ['publish'] },
    ]);
    const sender = await client(group, 0, { group: 'g', site: 's' });
    const expected: [Attributes, number][] = [
      [{ role: 'locked-1', group: 'g', site: 's' }, 0x87],
      [{ group: 'g', site: 's' }, 0],
      [{ group: 'g', site: 'other' }, 0x87],
      [{ group: 'g' }, 0x87],
      [{ group: 'other', site: 's' }, 0],
      [{}, 0],
    ];
    for (const [attributes, code] of expected) {
      const target = await client(group, shard, attributes);
      sender.publish(`a/p2p/${target.clientId}`, '', 1, 1);
      await group.settle();
      assert.equal(codes(sender, types.PUBACK).at(-1), code, JSON.stringify(attributes));
      assert.equal(target.payloads().length, code === 0 ? 1 : 0);
    }
  });

  test(`older clients: acknowledged, or the end with deniedV3: close; a target on ${place}`, async (t) => {
    for (const deniedV3 of ['acknowledge', 'close']) {
      const group = await shards(t, oneGroup, [`authorization.deniedV3=${deniedV3}`]);
      const target = await client(group, shard, { group: 'b' });
      for (const qos of [1, 2]) {
        const sender = await client(group, 0, { group: 'a' }, { version: types.V311 });
        sender.publish(`a/p2p/${target.clientId}`, '', qos, 1);
        await group.settle();
        assert.equal(sender.packetsOf(qos === 1 ? types.PUBACK : types.PUBREC).length, deniedV3 === 'close' ? 0 : 1);
        assert.equal(sender.connection.session === null, deniedV3 === 'close');
      }
    }
  });

  test(`a Will asks its targets when it is published: targets on ${place}`, async (t) => {
    const group = await shards(t, [{ effect: 'deny', resource: 'p2p', actions: ['publish'], targets: ['never'] }, ...oneGroup]);
    const friend = await client(group, shard, { group: 'a' });
    const foe = await client(group, shard, { group: 'b' });
    const userProperties = [friend, foe].map(({ clientId }): [string, string] => ['p2p-target', clientId]);
    const wills = [
      { topic: 'x/p2p', qos: 1, properties: { userProperties } },
      { topic: `x/p2p/${friend.clientId}` },
      { topic: `x/p2p/${foe.clientId}`, qos: 2 },
    ];
    for (const will of wills) {
      const leaver = await client(group, 0, { group: 'a' }, { will });
      leaver.channel.destroy();
      await group.settle();
    }
    assert.deepEqual([friend.payloads().length, foe.payloads().length], [2, 0]);
    assert.equal(group.count('wills/published'), 3);
  });
}

test('several targets, a report, and receipts: a denied target has none', async (t) => {
  const group = await shards(t, oneGroup);
  const sender = await client(group, 0, { group: 'a' });
  const targets: MemoryClient[] = [];
  for (const shard of [0, 1]) for (const name of ['a', 'b']) targets.push(await client(group, shard, { group: name }));
  const missing = clientIdOn(1, 2);
  const ids = [...targets.map(({ clientId }) => clientId), missing];
  const asking: Properties = {
    responseTopic: `r/p2p/${sender.clientId}`,
    userProperties: [['p2p-report', '1'], ['p2p-receipt', '1'], ...ids.map((clientId): [string, string] => ['p2p-target', clientId])],
  };
  sender.publish('a/p2p', 'all', 1, 1, asking);
  await group.settle();
  const expected = ids.map((clientId, index) => `${clientId}=${index % 2 === 0 && clientId !== missing ? 'delivered' : 'denied'}`);
  assert.deepEqual(statuses(sender).sort(), expected.sort());
  assert.deepEqual(codes(sender, types.PUBACK), [0]);
  for (const target of targets) if (target.payloads().length > 0) target.ack(types.PUBACK, 1);
  await group.settle();
  assert.deepEqual(
    sender
      .payloads()
      .map((payload) => (JSON.parse(payload) as { target: string }).target)
      .sort(),
    [ids[0]!, ids[2]!].sort(),
  );
  // On the address of somebody else it could come when that one is something else.
  sender.publish(`a/p2p/${ids[0]}`, '', 1, 2, { responseTopic: `r/p2p/${ids[2]}`, userProperties: [['p2p-receipt', '1']] });
  await group.settle();
  targets[0]!.ack(types.PUBACK, 2);
  await group.settle();
  assert.equal(targets[2]!.payloads().length, 1);
});

test('a session remembers what its client was', async (t) => {
  const group = await shards(t, oneGroup);
  const kept: ConnectOptions = { cleanStart: false, properties: { sessionExpiryInterval: 600 } };
  const sender = await client(group, 0, { group: 'a' });
  const away = await client(group, 1, { group: 'a' }, kept);
  away.channel.destroy();
  await group.settle();
  sender.publish(`x/p2p/${away.clientId}`, 'waits', 1, 1);
  await group.settle();
  const other = await client(group, 1, { group: 'b' }, { ...kept, clientId: away.clientId });
  assert.deepEqual(other.payloads(), ['waits'], 'what was judged is not judged again');
  sender.publish(`x/p2p/${away.clientId}`, 'refused', 1, 2);
  await group.settle();
  assert.deepEqual(codes(sender, types.PUBACK), [0, 0x87]);
});

test('what waits for a shard that is down is asked of its successor', async (t) => {
  const group = await shards(t, oneGroup);
  const sender = await client(group, 0, { group: 'a' });
  const friend = await client(group, 1, { group: 'a' });
  const foe = await client(group, 1, { group: 'b' });
  const { mesh } = group.shards[0]!;
  const link = mesh.links[1]!;
  link.isLive = false;
  for (const [index, target] of [friend, foe].entries()) {
    sender.publish(`x/p2p/${target.clientId}`, 'one', 1, 2 * index + 1);
    sender.publish(`x/p2p/${target.clientId}`, 'two', 2, 2 * index + 2);
  }
  await group.settle();
  assert.deepEqual([codes(sender, types.PUBACK), codes(sender, types.PUBREC)], [[], []]);
  link.isLive = true;
  mesh.resend(1);
  await group.settle();
  assert.deepEqual(
    [codes(sender, types.PUBACK), codes(sender, types.PUBREC)],
    [
      [0, 0x87],
      [0, 0x87],
    ],
  );
  assert.deepEqual([friend.payloads(), foe.payloads()], [['one', 'two'], []]);
});

test('a Will with more targets than one message may have is refused, and no question is kept for each', async (t) => {
  const group = await shards(t, oneGroup, ['p2p.maxTargets=3']);
  for (const [count, code] of [[3, 0] as const, [4, 0x87] as const]) {
    const userProperties = Array.from({ length: count }, (_, i): [string, string] => ['p2p-target', `t${i}`]);
    const clientId = clientIdOn(0, 2);
    known.set(clientId, { group: 'a' });
    const leaver = group.connect({ clientId, will: { topic: 'x/p2p', qos: 1, properties: { userProperties } } });
    await group.settle();
    assert.equal(leaver.connack().code, code);
  }
});
