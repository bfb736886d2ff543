/**
 * Goal: whoever is there during a whole list is on exactly one page, however chunks of shards, sizes of pages and changes fall.
 * Method: three shards in one thread; sessions, subscriptions, groups and Retained Messages come and go at random between pages of random sizes.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { Call } from '../../src/http/call.ts';
import { answerManagement } from '../../src/http/management/answers.ts';
import { listPage, type Page } from '../../src/http/management/pages.ts';
import { counter } from '../../src/shard/counters.ts';
import { Random } from '../routing/random-topics.ts';
import { clientIdOn } from '../support/placement.ts';
import { type MemoryClient, type ShardGroup, startShards } from '../support/shard-group.ts';

const ASKED = counter('asks/sent');

/** One page; the shards go on meanwhile. */
async function page(
  group: ShardGroup,
  shard: number,
  name: string,
  query: object,
  limit: number,
  cursor: string | undefined,
  combine?: (a: string | object, b: string | object) => object,
): Promise<Page<string | object>> {
  let isOver = false;
  const asked = listPage<string | object>(
    { shard: group.shards[shard]!, isOver: false } as Call,
    name,
    query,
    { limit, cursor },
    combine,
  ).finally(() => {
    isOver = true;
  });
  while (!isOver) await group.settle();
  return asked;
}

/** Parts of a group. */
function addUp(a: string | object, b: string | object): object {
  const [one, other] = [a as { members: number }, b as { members: number }];
  return { ...one, members: one.members + other.members };
}

test('lists of three shards, while everything changes', async () => {
  const random = new Random('pages');
  const group = await startShards(3, ['mqtt.sysInterval=0', 'mqtt.events=false']);
  for (const shard of group.shards) {
    shard.asks.toSupervisor = (ask) => shard.asks.answered(ask, null);
    answerManagement(shard);
  }
  const connect = (clientId: string): MemoryClient => {
    const client = group.connect({ clientId });
    client.subscribe(`own/${clientId}`, 1);
    client.subscribe(`$share/g${clientId.length % 3}/jobs/${clientId}`, 1);
    client.subscribe('$share/all/jobs/common', 1);
    return client;
  };
  const publisher = group.connect({ clientId: 'publisher' });
  // Most on one shard: its chunks end before those of the others.
  const staying = Array.from({ length: 60 }, (_, i) => clientIdOn(i < 50 ? 0 : i % 3, 3, 'stay'));
  const [one] = staying as [string];
  for (const clientId of staying) {
    connect(clientId);
    publisher.publish(`kept/${clientId}`, 'x', 0, 0, {}, true);
  }
  const going = new Map<string, MemoryClient>();
  const change = (): void => {
    for (let i = random.next(20); i > 0; i--) {
      const clientId = `go-${random.next(200)}`;
      const client = going.get(clientId);
      if (client === undefined) going.set(clientId, connect(clientId));
      else {
        client.disconnect();
        going.delete(clientId);
      }
      publisher.publish(`kept/${clientId}`, client === undefined ? 'x' : '', 0, 0, {}, true);
    }
  };
  for (const [name, query, nameOf] of [
    ['client-list', {}, (item: { clientId: string }) => item.clientId],
    ['client-list', { prefix: 'stay' }, (item: { clientId: string }) => item.clientId],
    ['subscription-list', {}, (item: { filter: string }) => /^own\/(.*)$/.exec(item.filter)?.[1] ?? ''],
    ['subscription-list', { topic: `jobs/${one}` }, null],
    ['group-list', {}, (item: { filter: string }) => item.filter.slice('jobs/'.length)],
    ['retained-list', { filter: 'kept/+' }, (item: { topic: string }) => item.topic.slice('kept/'.length)],
  ] as [string, object, ((item: object) => string) | null][]) {
    for (let round = 0; round < 3; round++) {
      const seen: string[] = [];
      let cursor: string | undefined;
      do {
        change();
        await group.settle();
        const limit = 1 + random.next(random.next(3) === 0 ? 1000 : 30);
        const { data, next } = await page(group, random.next(3), name, query, limit, cursor, name === 'group-list' ? addUp : undefined);
        seen.push(...data.map((item) => (nameOf === null ? one : nameOf(typeof item === 'string' ? JSON.parse(item) : item))));
        cursor = next ?? undefined;
      } while (cursor !== undefined);
      assert.equal(
        seen.filter((filter) => filter === 'common').length,
        name === 'group-list' ? 1 : 0,
        'a group of all shards stands there once',
      );
      const stayed = seen.filter((clientId) => clientId.startsWith('stay-')).sort();
      assert.deepEqual(stayed, nameOf === null ? [one] : [...staying].sort(), `${name} ${JSON.stringify(query)}`);
    }
  }
  group.stop();
});

test('what is too long for one answer of a shard comes in several', async () => {
  const group = await startShards(2, ['mqtt.sysInterval=0', 'mqtt.events=false']);
  for (const shard of group.shards) answerManagement(shard);
  const publisher = group.connect({ clientId: 'publisher' });
  // Of each shard more than it puts into one.
  const topics = Array.from({ length: 80 }, (_, i) => `${'long'.repeat(15_000)}/${i}`);
  for (const topic of topics) publisher.publish(topic, 'x', 0, 0, {}, true);
  await group.settle();
  const { counters } = group.shards[0]!;
  const asked = counters[ASKED]!;
  const { data, next } = await page(group, 0, 'retained-list', { filter: '#' }, 1000, undefined);
  assert.ok(counters[ASKED]! - asked >= 4, 'two questions to each shard');
  assert.equal(next, null);
  assert.deepEqual(data.map((item) => JSON.parse(item as string).topic).sort(), topics.sort());
  group.stop();
});
