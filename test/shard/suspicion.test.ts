/*
 * Goal: two clients that fight for one Client Identifier end each other a bounded number of times a minute, and whoever writes to clients that nobody knows learns
 * of a bounded number of them; both are counted and reported once a minute, and nobody else notices.
 * Method: shards in this thread with a clock that the test moves, clients in memory, and one that subscribes to the reports.
 */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { AckView, readAck } from '../../src/protocol/ack.ts';
import * as types from '../../src/protocol/packet-type.ts';
import { ReasonCode } from '../../src/protocol/reason-code.ts';
import type { ConnectOptions } from '../support/packet-client.ts';
import { clientIdOn } from '../support/placement.ts';
import { type MemoryClient, type ShardGroup, startShards } from '../support/shard-group.ts';

async function shards(t: TestContext, count: number, set: readonly string[]): Promise<ShardGroup> {
  const group = await startShards(count, ['mqtt.sysInterval=never', ...set]);
  t.after(() => group.stop());
  return group;
}

async function connected(group: ShardGroup, options: ConnectOptions): Promise<MemoryClient> {
  const client = group.connect(options);
  await group.settle();
  return client;
}

/** Somebody who hears `$events/client_suspected`. */
async function reporter(group: ShardGroup): Promise<MemoryClient> {
  const client = await connected(group, { clientId: clientIdOn(0, group.shards.length, 'reporter') });
  client.subscribe('$events/client_suspected');
  await group.settle();
  return client;
}

function reports(client: MemoryClient): Record<string, unknown>[] {
  return client.payloads().map((text) => JSON.parse(text) as Record<string, unknown>);
}

function pubackCodes(client: MemoryClient): number[] {
  const view = new AckView();
  return client.packetsOf(types.PUBACK).map(({ body }) => {
    assert.equal(readAck(view, types.PUBACK, body, 0, body.length, types.V5), 0);
    return view.reasonCode;
  });
}

for (const count of [1, 2]) {
  test(`a Client Identifier is taken over so often a minute, then whoever has it keeps it; ${count} shards`, async (t) => {
    const group = await shards(t, count, ['limits.takeoversPerMinute=3']);
    const watch = await reporter(group);
    const clientId = clientIdOn(count - 1, count, 'wanted');
    let holder = await connected(group, { clientId });
    for (let i = 0; i < 3; i++) {
      const next = await connected(group, { clientId });
      assert.equal(next.connack().code, 0);
      assert.equal(holder.channel.isEnded, true, 'the older connection has ended');
      holder = next;
    }
    for (const version of [types.V5, types.V311, types.V31] as const) {
      const late = await connected(group, { clientId, version });
      assert.equal(late.connack().code, version === types.V5 ? ReasonCode.ConnectionRateExceeded : 3);
      assert.equal(late.channel.isEnded, true);
    }
    assert.equal(holder.channel.isEnded, false);
    holder.publish('up', 'x', 1, 1);
    await group.settle();
    assert.equal(pubackCodes(holder).length, 1, 'it is still served');
    assert.deepEqual([group.count('takeovers'), group.count('takeovers/refused'), group.count('takeovers/contested')], [3, 3, 1]);
    const [report, ...others] = reports(watch);
    assert.deepEqual(others, [], 'one report a minute');
    assert.deepEqual(
      [report?.['event'], report?.['clientid'], report?.['suspicion']],
      ['client.suspected', clientId, 'contested_client_id'],
    );
    // Another client is another matter.
    const other = clientIdOn(count - 1, count, 'other');
    await connected(group, { clientId: other });
    assert.equal((await connected(group, { clientId: other })).connack().code, 0);
    await group.pass(61);
    assert.equal((await connected(group, { clientId })).connack().code, 0);
    assert.equal(holder.channel.isEnded, true);
  });

  test(`who writes to unknown clients is told of so many a minute; ${count} shards`, async (t) => {
    const group = await shards(t, count, ['p2p.missesPerMinute=4']);
    const watch = await reporter(group);
    const scanner = await connected(group, { clientId: clientIdOn(0, count, 'scanner') });
    const known = await connected(group, { clientId: clientIdOn(count - 1, count, 'known') });
    const tell = async (target: string): Promise<number> => {
      scanner.publish(`to/p2p/${target}`, 'x', 1, 1);
      await group.settle();
      return pubackCodes(scanner).at(-1)!;
    };
    for (let i = 0; i < 5; i++) assert.equal(await tell(clientIdOn(i % count, count, `guess${i}`)), ReasonCode.NoMatchingSubscribers);
    assert.equal(await tell('one-more'), ReasonCode.QuotaExceeded);
    assert.equal(await tell(known.clientId), ReasonCode.QuotaExceeded, 'known ones are not told apart');
    scanner.publish('plain', 'x', 1, 1);
    await group.settle();
    assert.equal(pubackCodes(scanner).at(-1), ReasonCode.NoMatchingSubscribers, 'ordinary messages go on');
    // What one has done does not touch another.
    known.publish(`to/p2p/${scanner.clientId}`, 'x', 1, 1);
    await group.settle();
    assert.deepEqual(pubackCodes(known), [0]);
    assert.deepEqual([group.count('p2p/scans'), group.count('p2p/refused/scan')], [1, 2]);
    assert.deepEqual(
      reports(watch).map(({ clientid, suspicion }) => [clientid, suspicion]),
      [[scanner.clientId, 'p2p_scan']],
    );
    await group.pass(61);
    assert.equal(await tell(known.clientId), 0);
  });
}

test('without a limit everything is as it was', async (t) => {
  const group = await shards(t, 1, ['limits.takeoversPerMinute=0', 'p2p.missesPerMinute=0']);
  for (let i = 0; i < 50; i++) assert.equal((await connected(group, { clientId: 'wanted' })).connack().code, 0);
  const scanner = await connected(group, { clientId: 'scanner' });
  for (let i = 1; i <= 2000; i++) scanner.publish(`to/p2p/guess${i}`, 'x', 1, (i % 900) + 1);
  await group.settle();
  assert.deepEqual([...new Set(pubackCodes(scanner))], [ReasonCode.NoMatchingSubscribers]);
});
