/*
 * Goal: from the moment that a shard has other statements everything is judged by them, on data streams too, though the walk over its clients takes many turns; and
 * superusers and clients with rules of their own are judged as before.
 * Method: a shard in this thread with clients that publish in the very turn in which the statements change.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { StatementSettings } from '../../src/base/settings.ts';
import { AckView, readAck } from '../../src/protocol/ack.ts';
import * as types from '../../src/protocol/packet-type.ts';
import { loadSettings } from '../../src/server/config.ts';
import { clientIdOn } from '../support/placement.ts';
import { type MemoryClient, startShards } from '../support/shard-group.ts';

async function statementsOf(...list: readonly object[]): Promise<readonly StatementSettings[]> {
  return (await loadSettings({ set: [`authorization.statements=${JSON.stringify(list)}`] })).authorization.statements!;
}

function code(client: MemoryClient): number {
  const { body } = client.packetsOf(types.PUBACK).at(-1)!;
  const view = new AckView();
  assert.equal(readAck(view, types.PUBACK, body, 0, body.length, client.version), 0);
  return view.reasonCode;
}

test('no client is judged by the old statements any more, whenever the walk comes to it', async (t) => {
  const group = await startShards(1, ['mqtt.sysInterval=never']);
  t.after(() => group.stop());
  const shard = group.shards[0]!;
  const clients: MemoryClient[] = [];
  for (let i = 0; i < 300; i++) clients.push(group.connect({ clientId: clientIdOn(0, 1) }));
  await group.settle();
  const stream = clients[0]!.openStream();
  const [chief, bringer] = [clients[1]!, clients[2]!];
  const { identity } = chief.connection;
  const own = (await statementsOf({ effect: 'allow', actions: ['publish'], topics: ['own'] }))[0]!;
  Object.assign(chief.connection, { identity: { ...identity!, isSuperuser: true } });
  Object.assign(bringer.connection, { identity: { ...identity!, rules: [own] } });
  const allow = async (topic: string): Promise<readonly StatementSettings[]> =>
    statementsOf({ effect: 'allow', actions: ['publish'], topics: [topic] });
  const sets: [readonly StatementSettings[] | null, boolean, boolean][] = [
    [await allow('a'), true, false],
    [await allow('b'), false, true],
    [null, true, true],
    [[], false, false],
    [await allow('a'), true, false],
  ];
  for (const [statements, mayA, mayB] of sets) {
    let walks = 0;
    shard.accessRenewal.begin({ statements, deniedV3: 'acknowledge' }, () => walks++);
    for (const [topic, isAllowed] of [['a', mayA] as const, ['b', mayB] as const]) {
      for (const client of [...clients, stream]) client.publish(topic, '', 1, 1);
      await group.settle();
      for (const client of [...clients, stream])
        if (client !== chief && client !== bringer) assert.equal(code(client), isAllowed ? 0x10 : 0x87, topic);
      assert.equal(code(chief), 0x10);
      assert.equal(code(bringer), isAllowed && statements !== null ? 0x10 : 0x87);
    }
    bringer.publish('own', '', 1, 1);
    await group.settle();
    assert.equal(code(bringer), 0x10);
    assert.equal(walks, 1);
  }
});

test('the Will of a client that may not stay is judged by the new statements as well', async (t) => {
  const group = await startShards(1, ['mqtt.sysInterval=never']);
  t.after(() => group.stop());
  const ears = group.connect({ clientId: 'ears' });
  ears.subscribe('#', 1);
  for (const topic of ['free', 'secret']) group.connect({ clientId: `leaver-${topic}`, will: { topic, payload: topic, qos: 1 } });
  await group.settle();
  const statements = await statementsOf(
    { effect: 'deny', actions: ['connect'], clientIds: ['leaver-*'] },
    { effect: 'deny', actions: ['publish'], topics: ['secret'] },
    { effect: 'allow', actions: ['connect', 'publish', 'subscribe'], topics: ['secret', 'free', '#'] },
  );
  group.shards[0]!.accessRenewal.begin({ statements, deniedV3: 'acknowledge' }, () => {});
  await group.settle();
  assert.equal(group.count('clients/connected'), 1);
  assert.deepEqual(ears.payloads(), ['free']);
});

test('a forbidden subscription ends, also where its filter could not be written any more', async (t) => {
  const group = await startShards(1, ['mqtt.sysInterval=never']);
  t.after(() => group.stop());
  const shard = group.shards[0]!;
  group.connect({ clientId: 'ears' }).subscribe('a/b/c', 1);
  await group.settle();
  // As after a start with another configuration.
  Object.assign(shard.settings.limits, { topicLevels: 2 });
  shard.accessRenewal.begin({ statements: [], deniedV3: 'acknowledge' }, () => {});
  await group.settle();
  assert.equal(group.count('subscriptions/count'), 0);
});
