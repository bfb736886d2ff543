/**
 * Goal: an operator learns what has happened to one client lately: connections, why they ended, subscriptions, refusals, on whatever shard; and what one client does all the
 * time pushes out nothing of another kind. Method: real clients on brokers with one and three shards; the list by itself.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { RecentEvents } from '../../src/shard/recent-events.ts';
import { connackCode, connect } from '../support/client.ts';
import { startHttpBroker } from '../support/http.ts';
import { clientIdOn } from '../support/placement.ts';

interface Event {
  readonly at: string;
  readonly event: string;
  readonly address: string | null;
  readonly detail: string | null;
}

for (const shards of [1, 3])
  test(`what has happened to a client, with ${shards} shards`, async (t) => {
    const broker = await startHttpBroker(t, { shards });
    const events = async (clientId: string, query = ''): Promise<Event[]> => {
      const reply = await broker.request('GET', `/api/v1/clients/${encodeURIComponent(clientId)}/events${query}`, { role: 'viewer' });
      assert.equal(reply.status, 200, reply.text);
      assert.deepEqual(reply.json.missing, []);
      return reply.json.data;
    };
    const clientId = clientIdOn(shards - 1, shards, 'seen');
    const begun = Date.now();
    const client = await connect(broker.port, { clientId });
    await client.subscribe('site/#', { qos: 1 });
    await client.unsubscribe('site/#');
    const kicked = await broker.request('DELETE', `/api/v1/clients/${clientId}`, { role: 'operator' });
    assert.ok(kicked.status < 300, kicked.text);
    await client.closed;
    const found = await events(clientId);
    assert.deepEqual(
      found.map(({ event, detail }) => `${event} ${detail}`),
      ['disconnected kicked', 'unsubscribed site/#', 'subscribed site/#', 'connected null'],
    );
    assert.match(found[0]!.address!, /^127\.0\.0\.1:\d+$/);
    for (const { at } of found) assert.ok(Math.abs(Date.parse(at) - begun) < 60_000, at);
    assert.equal((await events(clientId, '?limit=1')).length, 1);
    assert.deepEqual(await events('nobody'), []);
    assert.equal((await broker.request('GET', `/api/v1/clients/${clientId}/events?limit=0`, { role: 'viewer' })).status, 400);
  });

test('who does not get in, and why', async (t) => {
  const broker = await startHttpBroker(t, { shards: 2, 'auth.allowAnonymous': false, 'auth.failures.perAddress': 0 });
  assert.notEqual(await connackCode(broker.port, { clientId: 'stranger' }), 0);
  const { data } = (await broker.request('GET', '/api/v1/clients/stranger/events', { role: 'viewer' })).json;
  assert.equal(data.length, 1);
  assert.equal(data[0].event, 'refused');
  assert.ok(data[0].detail.length > 0);
});

test('long names and filters are cut, and keep nothing else in memory', () => {
  const recent = new RecentEvents();
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const used = (): number => {
    collect();
    return process.memoryUsage().heapUsed;
  };
  const before = used();
  for (let i = 0; i < 4096; i++) {
    const long = Buffer.alloc(65_000, 97 + (i % 26)).toString('latin1');
    recent.subscription(i, long, 'subscribed', long);
    recent.refusal(i, long.slice(0, 128), 'b', long);
  }
  assert.equal(recent.of('a'.repeat(200), 10)[0]!.detail.length, 256);
  // 4,096 texts of 65,000 characters would be 266 MB.
  const growth = used() - before;
  assert.ok(growth < 20_000_000, `${growth} bytes`);
});

test('kinds do not push each other out, and all are bounded', () => {
  const recent = new RecentEvents();
  recent.connection(1, 'quiet', 'connected', 'a', '');
  for (let i = 0; i < 20_000; i++) {
    recent.subscription(i, 'loud', 'subscribed', 'x');
    recent.refusal(i, 'loud', 'b', 'no');
  }
  assert.equal(recent.of('quiet', 100).length, 1);
  assert.equal(recent.of('loud', 100_000).length, 4096 + 1024);
  assert.deepEqual(
    recent.of('loud', 2).map(({ at }) => at),
    [19_999, 19_999],
  );
  for (let i = 0; i < 8192; i++) recent.connection(i, 'busy', 'connected', 'c', '');
  assert.equal(recent.of('quiet', 100).length, 0);
});
