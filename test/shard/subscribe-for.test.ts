/**
 * Goal: what an operator subscribes a client to, and ends for it, is as if the client had done so, on all its streams, while it is there and while it is away.
 * Method: shards and clients in memory; what each client has been sent is compared.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ReasonCode } from '../../src/protocol/reason-code.ts';
import type { ClientSession } from '../../src/shard/shard.ts';
import { subscribeFor, unsubscribeFor } from '../../src/shard/subscribe-for.ts';
import { type ShardGroup, startShards } from '../support/shard-group.ts';

const entry = (
  filter: string,
  qos = 1,
): { filter: string; qos: number; noLocal: boolean; retainAsPublished: boolean; retainHandling: number } => ({
  filter,
  qos,
  noLocal: false,
  retainAsPublished: false,
  retainHandling: 0,
});

async function withShards(count: number, set: readonly string[], run: (group: ShardGroup) => Promise<void>): Promise<void> {
  const group = await startShards(count, ['mqtt.sysInterval=0', ...set]);
  await run(group);
  group.stop();
}

async function subscribe(group: ShardGroup, session: ClientSession, filter: string, qos = 1): Promise<number> {
  let code = -1;
  subscribeFor(group.shards[0]!, session, entry(filter, qos), 0, (granted) => {
    code = granted;
  });
  await group.settle();
  return code;
}

describe('subscribing on behalf', () => {
  test('ends a subscription on every stream of a client', () =>
    withShards(1, [], async (group) => {
      const client = group.connect({ clientId: 'c' });
      const stream = client.openStream();
      stream.subscribe('t', 1);
      await group.settle();
      const session = client.connection.session!;
      assert.equal(await subscribe(group, session, 't'), 1);
      const results: boolean[] = [];
      unsubscribeFor(group.shards[0]!, session, 't', (existed) => results.push(existed));
      unsubscribeFor(group.shards[0]!, session, 't', (existed) => results.push(existed));
      await group.settle();
      assert.deepEqual(results, [true, false]);
      group.connect({ clientId: 'p' }).publish('t', 'x', 0);
      await group.settle();
      assert.deepEqual([client.payloads(), stream.payloads()], [[], []]);
      assert.equal(group.count('subscriptions/count'), 0);
    }));

  test('tells the other shards before it is done, and a member that is away as one that is away', () =>
    withShards(2, [], async (group) => {
      const client = group.connect({ properties: { sessionExpiryInterval: 100 } });
      await group.settle();
      const session = client.connection.session!;
      client.disconnect();
      await group.settle();
      assert.equal(await subscribe(group, session, '$share/g/t', 2), 2);
      const share = group.shards[1]!.interest.shareOf('g', 't')!;
      assert.deepEqual([share.memberCounts[0], share.onlineCounts[0]], [1, 0]);
    }));

  test('refuses what the client could not have either, and what is not for an operator to decide', () =>
    withShards(1, ['limits.subscriptionsPerClient=1', 'mqtt.maximumQos=1'], async (group) => {
      const client = group.connect({ clientId: 'c' });
      await group.settle();
      const session = client.connection.session!;
      assert.equal(await subscribe(group, session, 'a', 2), 1, 'the maximum QoS holds');
      assert.equal(await subscribe(group, session, 'b'), ReasonCode.QuotaExceeded);
      assert.equal(await subscribe(group, session, 'a/#/b'), ReasonCode.TopicFilterInvalid);
      assert.equal(await subscribe(group, session, 'x/p2p/other'), ReasonCode.NotAuthorized);
      assert.equal(await subscribe(group, session, 'x/p2p/c'), 1, 'the own address needs no subscription');
      assert.equal(group.count('subscriptions/count'), 1);
    }));
});
