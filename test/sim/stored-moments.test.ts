/*
 * Goal: single moments at which a promise could be broken: an answer that overtakes its commit, a message that is routed before those who want it are known,
 * one that a failing disk refuses to its next owner, numbers that come twice.
 * Method: shards over a disk in memory; the test decides which commit reaches it and when the power goes.
 */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { PUBACK, PUBCOMP, PUBREC, PUBREL, UNSUBACK } from '../../src/protocol/packet-type.ts';
import { clientIdOn } from '../support/placement.ts';
import { KEPT, StoredScene } from './stored-scene.ts';

async function sceneOf(t: TestContext, shards: number, set: readonly string[] = []): Promise<StoredScene> {
  const scene = new StoredScene(set);
  t.after(() => scene.stop());
  await scene.start(shards);
  return scene;
}

test('PUBREC waits for the other shard’s commit also when the publisher has come back meanwhile', async (t) => {
  const scene = await sceneOf(t, 2);
  const publisherId = clientIdOn(0, 2, 'publisher');
  const targetId = clientIdOn(1, 2, 'target');
  const target = scene.group.connect({ clientId: targetId, ...KEPT });
  await scene.work();
  target.channel.lose();
  const first = scene.group.connect({ clientId: publisherId, ...KEPT });
  await scene.work();
  first.publish(`cmd/p2p/${targetId}`, 'must arrive', 2, 5);
  await scene.turns(6);
  first.channel.lose();
  const second = scene.group.connect({ clientId: publisherId, ...KEPT });
  await scene.turns(6);
  scene.syncOnly(0);
  await scene.turns(6);
  scene.publishAgain(second, `cmd/p2p/${targetId}`, 'must arrive', 5);
  scene.publishAgain(second, `cmd/p2p/${targetId}`, 'must arrive', 5);
  await scene.turns(6);
  assert.equal(second.packetsOf(PUBREC).length, 0, 'the target’s commit is not done');
  await scene.work();
  assert.equal(second.packetsOf(PUBREC).length, 1);
  second.ack(PUBREL, 5);
  await scene.work();
  assert.equal(second.packetsOf(PUBCOMP).length, 1);
  scene.crash(false);
  await scene.start(2);
  const again = scene.group.connect({ clientId: targetId, ...KEPT });
  await scene.work();
  assert.deepEqual(again.payloads(), ['must arrive']);
});

test('a message that came a moment ago over another connection is known, and its answer waits for the same commit', async (t) => {
  const scene = await sceneOf(t, 2);
  const targetId = clientIdOn(1, 2, 'target');
  const publisherId = clientIdOn(0, 2, 'publisher');
  const target = scene.group.connect({ clientId: targetId, ...KEPT });
  const publisher = scene.group.connect({ clientId: publisherId, ...KEPT });
  await scene.work();
  publisher.publish(`cmd/p2p/${targetId}`, 'one', 2, 5);
  await scene.turns(6);
  scene.syncOnly(1);
  // The publisher's shard dies with the power, the target's commit is there.
  scene.crash(false);
  target.channel.lose();
  await scene.start(2);
  const later = scene.group.connect({ clientId: publisherId, ...KEPT });
  await scene.work();
  scene.publishAgain(later, `cmd/p2p/${targetId}`, 'one', 5);
  await scene.work();
  assert.equal(later.packetsOf(PUBREC).length, 1);
  const again = scene.group.connect({ clientId: targetId, ...KEPT });
  await scene.work();
  assert.deepEqual(again.payloads(), ['one']);
});

test('a receipt that was due at the crash reaches its sender on another shard', async (t) => {
  const scene = await sceneOf(t, 2);
  const targetId = clientIdOn(0, 2, 'target');
  const senderId = clientIdOn(1, 2, 'sender');
  const sender = scene.group.connect({ clientId: senderId, ...KEPT });
  await scene.work();
  sender.subscribe('receipts/#', 1);
  await scene.work();
  const away = scene.group.connect({ clientId: targetId, ...KEPT });
  await scene.work();
  away.channel.lose();
  await scene.work();
  const properties = { responseTopic: 'receipts/me', userProperties: [['p2p-receipt', '1']] as [string, string][] };
  sender.publish(`cmd/p2p/${targetId}`, 'x', 1, 1, properties);
  await scene.work();
  sender.channel.lose();
  await scene.work();
  const target = scene.group.connect({ clientId: targetId, ...KEPT });
  await scene.work();
  target.ack(PUBACK, target.messages()[0]!.packetId);
  await scene.turns(13, 10);
  scene.syncOnly(0);
  assert.equal(scene.group.shards[0]!.pendingOwn.size, 1, 'the receipt is on its way');
  scene.crash(false);
  await scene.start(2);
  const back = scene.group.connect({ clientId: senderId, ...KEPT });
  await scene.work(20);
  assert.equal(back.payloads().length, 1);
});

for (const late of [0, 1]) {
  test(`what ends while the broker is down is told to clients of a shard that recovers later (shard ${late})`, async (t) => {
    const scene = await sceneOf(t, 2);
    const holderId = clientIdOn(0, 2, 'holder');
    const otherId = clientIdOn(1, 2, 'other');
    const other = scene.group.connect({ clientId: otherId, ...KEPT });
    await scene.work();
    other.subscribe('$share/g/work', 1, 1);
    other.subscribe('wills/#', 1, 2);
    await scene.work();
    other.channel.lose();
    await scene.work();
    const holder = scene.group.connect({
      clientId: holderId,
      cleanStart: false,
      properties: { sessionExpiryInterval: 1 },
      will: { topic: 'wills/holder', payload: 'gone', qos: 1 },
    });
    await scene.work();
    holder.subscribe('$share/g/work', 1);
    await scene.work();
    const publisher = scene.group.connect({ clientId: 'publisher' });
    for (let job = 1; job <= 3; job++) publisher.publish('work', `job ${job}`, 1, job);
    await scene.work();
    assert.equal(publisher.packetsOf(PUBACK).length, 3);
    scene.crash(false);
    // Nobody knows when its connection ended: it has ten seconds for its Will, and its expiry from the start.
    await scene.start(2, late);
    await scene.turns(20, 1000);
    await scene.work(20);
    const back = scene.group.connect({ clientId: otherId, ...KEPT });
    await scene.work(20);
    assert.deepEqual(back.payloads().sort(), ['gone', 'job 1', 'job 2', 'job 3']);
  });
}

test('a failing disk does not take Wills and shared messages from those who are to get them', async (t) => {
  const scene = await sceneOf(t, 1);
  const { group } = scene;
  const other = group.connect({ clientId: 'other', ...KEPT });
  const heir = group.connect({ clientId: 'heir', ...KEPT });
  await scene.work();
  other.subscribe('$share/g/work', 1);
  heir.subscribe('wills/#', 1);
  await scene.work();
  other.channel.lose();
  heir.channel.lose();
  const holder = group.connect({
    clientId: 'holder',
    cleanStart: false,
    properties: { sessionExpiryInterval: 30 },
    will: { topic: 'wills/holder', payload: 'gone', qos: 1, properties: { willDelayInterval: 20 } },
  });
  await scene.work();
  holder.subscribe('$share/g/work', 1);
  await scene.work();
  const publisher = group.connect({ clientId: 'publisher' });
  for (let job = 1; job <= 3; job++) publisher.publish('work', `job ${job}`, 1, job);
  await scene.work();
  assert.equal(publisher.packetsOf(PUBACK).length, 3);
  holder.channel.lose();
  await scene.work();
  await scene.fail();
  await scene.turns(80, 1000);
  assert.ok(group.shards[0]!.journal.isDegraded);
  await scene.work();
  await scene.turns(10, 1000);
  await scene.work();
  const otherAgain = group.connect({ clientId: 'other', ...KEPT });
  const heirAgain = group.connect({ clientId: 'heir', ...KEPT });
  await scene.work(20);
  assert.deepEqual(otherAgain.payloads().sort(), ['job 1', 'job 2', 'job 3']);
  assert.deepEqual(heirAgain.payloads(), ['gone']);
  assert.equal(group.shards[0]!.pendingOwn.size, 0);
});

test('a client that comes again and again while the disk fails costs nobody anything, and is served', async (t) => {
  const scene = await sceneOf(t, 1);
  const { group } = scene;
  const { journal } = group.shards[0]!;
  const options = { clientId: 'comes-again', ...KEPT, will: { topic: 'w', payload: 'x'.repeat(60_000), qos: 1 } } as const;
  const first = group.connect(options);
  await scene.work();
  first.disconnect();
  await scene.work();
  await scene.fail();
  const before = journal.position;
  for (let time = 0; time < 300; time++) {
    const client = group.connect(options);
    await scene.turns(2, 1);
    assert.equal(client.connack().sessionPresent, true);
    client.channel.lose();
    await scene.turns(2, 1);
  }
  assert.ok(journal.position - before < 1000, `${journal.position - before} bytes wait for the disk`);
  const last = group.connect({ ...options, will: { ...options.will, payload: 'the last' } });
  await scene.work();
  assert.equal(last.connack().sessionPresent, true);
  const heir = group.connect({ clientId: 'heir' });
  heir.subscribe('w', 1);
  await scene.work();
  scene.crash(false);
  await scene.start(1);
  const again = scene.group.connect({ clientId: 'heir' });
  again.subscribe('w', 1);
  await scene.turns(20, 1000);
  await scene.work();
  assert.deepEqual(again.payloads(), ['the last'], 'the Will of the last connection is on disk');
});

test('a session that is not on disk yet is not called present while the disk fails', async (t) => {
  const scene = await sceneOf(t, 1);
  const { group } = scene;
  group.connect({ clientId: 'other', ...KEPT });
  await scene.turns(4);
  const first = group.connect({ clientId: 'late', ...KEPT });
  await scene.turns(4);
  first.channel.lose();
  scene.disk.fail();
  const second = group.connect({ clientId: 'late', ...KEPT });
  await scene.turns(20);
  assert.deepEqual(second.packets(), []);
  await scene.work();
  assert.equal(second.connack().sessionPresent, true);
});

test('a new session, and the end of an old one, are refused while the disk fails', async (t) => {
  const scene = await sceneOf(t, 1);
  const { group } = scene;
  const old = group.connect({ clientId: 'old', ...KEPT });
  await scene.work();
  old.channel.lose();
  await scene.work();
  await scene.fail();
  const fresh = group.connect({ clientId: 'fresh', ...KEPT });
  const clean = group.connect({ clientId: 'old', cleanStart: true });
  const guest = group.connect({ clientId: 'guest' });
  await scene.turns(4);
  assert.equal(fresh.connack().code, 0x97);
  assert.equal(clean.connack().code, 0x97);
  assert.equal(guest.connack().code, 0);
});

test('QoS 2 to a group comes to one member, whoever would be next when it is sent again', async (t) => {
  const scene = await sceneOf(t, 2);
  const publisherId = clientIdOn(0, 2, 'publisher');
  const memberIds = [clientIdOn(1, 2, 'member'), clientIdOn(1, 2, 'member')];
  for (const clientId of memberIds) {
    const member = scene.group.connect({ clientId, ...KEPT });
    await scene.work();
    member.subscribe('$share/g/work', 2);
    await scene.work();
    member.channel.lose();
  }
  const publisher = scene.group.connect({ clientId: publisherId, ...KEPT });
  await scene.work();
  publisher.publish('work', 'one job', 2, 5);
  await scene.turns(10, 10);
  scene.syncOnly(1);
  scene.crash(false);
  await scene.start(2);
  const another = scene.group.connect({ clientId: 'another' });
  another.publish('work', 'another job', 1, 1);
  await scene.work();
  const again = scene.group.connect({ clientId: publisherId, ...KEPT });
  await scene.work();
  scene.publishAgain(again, 'work', 'one job', 5);
  await scene.work();
  assert.equal(again.packetsOf(PUBREC).length, 1);
  const all: string[] = [];
  for (const clientId of memberIds) {
    const member = scene.group.connect({ clientId, ...KEPT });
    await scene.work();
    all.push(...member.payloads());
  }
  assert.deepEqual(all.sort(), ['another job', 'one job']);
});

test('numbers of sessions do not come twice, however many were given out', async (t) => {
  const scene = await sceneOf(t, 1);
  const shard = scene.group.shards[0]!;
  const { epoch } = shard;
  (shard as unknown as { sessionCount: number }).sessionCount = 2 ** 26 - 10;
  for (let client = 0; client < 20; client++) scene.group.connect({ clientId: `c${client}`, ...KEPT });
  await scene.work();
  assert.ok(shard.epoch > epoch, 'a new epoch has begun');
  const ids = new Set(shard.journal.holders.keys());
  assert.equal(ids.size, 20);
  scene.crash(false);
  await scene.start(1);
  const later = scene.group.shards[0]!;
  for (let client = 20; client < 60; client++) scene.group.connect({ clientId: `c${client}`, ...KEPT });
  await scene.work();
  assert.equal(later.journal.holders.size, 60);
  assert.ok([...ids].every((id) => later.journal.holders.has(id)));
});

test('one message has one receipt: none of its expiry when its session has ended before', async (t) => {
  const scene = await sceneOf(t, 1);
  const { group } = scene;
  const sender = group.connect({ clientId: 'sender' });
  sender.subscribe('r/#', 0);
  const target = group.connect({ clientId: 'target', ...KEPT });
  await scene.work();
  target.channel.lose();
  await scene.work();
  const properties = { responseTopic: 'r/me', messageExpiryInterval: 20, userProperties: [['p2p-receipt', '1']] as [string, string][] };
  sender.publish('cmd/p2p/target', 'x', 1, 1, properties);
  await scene.work();
  group.connect({ clientId: 'target', cleanStart: true });
  await scene.work();
  await scene.turns(40, 2000);
  assert.equal(sender.payloads().length, 1);
});

test('whoever clears or unsubscribes what another has just removed waits for the same commit', async (t) => {
  const scene = await sceneOf(t, 2);
  const [first, second] = [clientIdOn(0, 2, 'first'), clientIdOn(1, 2, 'second')].map((clientId) => scene.group.connect({ clientId }));
  const keeper = scene.group.connect({ clientId: 'keeper', ...KEPT });
  await scene.work();
  for (const topic of ['a', 'b', 'c', 'd']) first!.publish(topic, 'old', 1, 1, {}, true);
  keeper.subscribe('x', 1);
  await scene.work();
  const acknowledged = [first!.packetsOf(PUBACK).length, second!.packetsOf(PUBACK).length];
  for (const topic of ['a', 'b', 'c', 'd']) {
    first!.publish(topic, '', 1, 2, {}, true);
    await scene.turns(3, 1);
    second!.publish(topic, '', 1, 2, {}, true);
  }
  keeper.unsubscribe('x', 7);
  await scene.turns(3, 1);
  keeper.unsubscribe('x', 8);
  await scene.turns(20, 1);
  assert.deepEqual([first!.packetsOf(PUBACK).length, second!.packetsOf(PUBACK).length], acknowledged);
  assert.equal(keeper.packetsOf(UNSUBACK).length, 0);
  await scene.work();
  assert.deepEqual([first!.packetsOf(PUBACK).length, second!.packetsOf(PUBACK).length], [acknowledged[0]! + 4, acknowledged[1]! + 4]);
  assert.equal(keeper.packetsOf(UNSUBACK).length, 2);
});

test('publishers that are refused by another shard’s disk are answered at once, and pile up nothing', async (t) => {
  const scene = await sceneOf(t, 2);
  const { group } = scene;
  const targetId = clientIdOn(1, 2, 'target');
  const target = group.connect({ clientId: targetId, ...KEPT });
  const publisher = group.connect({ clientId: clientIdOn(0, 2, 'publisher') });
  const another = group.connect({ clientId: clientIdOn(0, 2, 'another') });
  await scene.work();
  target.channel.lose();
  await scene.work();
  // One message is taken and waits for the disk; its shard learns of the failure after the message has left the publisher's.
  publisher.publish(`cmd/p2p/${targetId}`, 'waits', 1, 60_000);
  publisher.publish(`cmd/p2p/${targetId}`, 'waits, too', 2, 60_001);
  await scene.turns(6);
  scene.disk.fail();
  await scene.turns(6);
  assert.equal(publisher.packetsOf(PUBACK).length, 1, 'QoS 1 is refused');
  assert.equal(publisher.packetsOf(PUBREC).length, 0, 'QoS 2 waits');
  const link = group.shards[0]!.mesh.links[1]!;
  const payload = 'x'.repeat(500);
  for (let packetId = 1; packetId <= 3000; packetId++) {
    another.publish(`cmd/p2p/${targetId}`, payload, packetId % 3 === 0 ? 2 : 1, packetId);
    if (packetId % 50 === 0) await scene.turns(4, 1);
  }
  assert.equal(another.packetsOf(PUBACK).length, 2000);
  assert.equal(another.packetsOf(PUBREC).length, 1000);
  assert.ok(link.unacked.count < 1000, `${link.unacked.count} frames`);
  assert.ok(link.unackedBytes < 20_000, `${link.unackedBytes} bytes`);
  assert.equal(group.shards[0]!.isCongested, false);
  await scene.work();
  const again = group.connect({ clientId: targetId, ...KEPT });
  await scene.work();
  assert.deepEqual(again.payloads().slice(0, 2), ['waits', 'waits, too']);
});
