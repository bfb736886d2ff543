/**
 * Measured topic prefixes, the broker in numbers and its shards, over HTTP, of brokers with one shard and with three.
 */
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { addApiKey } from '../../src/server/api-key-commands.ts';
import { stageCrashable } from '../scenario/crashable.ts';
import { connect } from '../support/client.ts';
import { endAllClients, type HttpReply, startHttpBroker } from '../support/http.ts';
import { clientIdOn } from '../support/placement.ts';

for (const shards of [1, 3])
  test(`topics of ${shards} shards`, async (t) => {
    const broker = await startHttpBroker(t, { shards });
    await t.test('the broker and its shards in numbers', async () => {
      const clients = await Promise.all(Array.from({ length: 6 }, (_, i) => connect(broker.port, { clientId: `n${i}` })));
      await clients[0]!.subscribe('t');
      for (const client of clients) await client.publish('t', 'x', { qos: 1 });
      const all = await broker.request('GET', '/api/v1/broker', { role: 'viewer' });
      assert.ok(all.json.node.length > 0);
      assert.equal(all.json.shards, shards);
      assert.equal(all.json.clientsConnected, 6);
      assert.equal(all.json.sessions, 6);
      assert.equal(all.json.publishReceived, 6);
      assert.equal(all.json.publishSent, 6);
      assert.ok(all.json.rssBytes > 10_000_000);
      assert.ok(all.json.rates.publishReceived > 0);
      assert.equal(all.json.rates.publishDropped, 0);
      const each = await broker.request('GET', '/api/v1/shards', { role: 'viewer' });
      assert.equal(each.json.total, shards);
      // biome-ignore lint/suspicious/noExplicitAny: numbers and a text.
      const rows = each.json.data as Record<string, any>[];
      assert.deepEqual(
        rows.map(({ shard, state }) => `${shard} ${state}`),
        Array.from({ length: shards }, (_, index) => `${index} serving`),
      );
      const sum = (name: string): number => rows.reduce((total, row) => total + row[name]!, 0);
      assert.equal(sum('clients'), 6);
      assert.equal(sum('publishReceived'), 6);
      for (const row of rows) {
        assert.ok(row['heapBytes']! > 1_000_000 && row['heapBytes']! < row['heapBytesMax']!);
        assert.ok(row['loadPercent']! >= 0 && row['loadPercent']! <= 100);
      }
      assert.equal((await broker.request('GET', '/api/v1/broker', { role: 'service' })).status, 403);
      assert.equal((await broker.request('GET', '/api/v1/shards')).status, 403);
      await Promise.all(clients.map((client) => client.disconnect()));
    });

    await t.test('what goes in and out below a prefix is counted, ordinary, shared and P2P', async () => {
      await endAllClients(broker);
      const ask = (method: string, path: string, role: 'viewer' | 'operator' = 'operator'): Promise<HttpReply> =>
        broker.request(method, `/api/v1/topics${path}`, { role });
      const clients = await Promise.all(Array.from({ length: 4 }, (_, i) => connect(broker.port, { clientId: `c${i}` })));
      for (const client of clients) await client.subscribe('a/b/#', { qos: 1, noLocal: true });
      await clients[0]!.subscribe('$share/g/a/b/#', { qos: 1 });
      // Known to the route caches before anything is measured.
      await clients[0]!.publish('a/b/1', 'before', { qos: 1 });
      for (const prefix of ['a', 'a/b', 'a/b/c', 'x/p2p']) {
        const begun = await ask('PUT', `/metrics/${prefix}`);
        assert.equal(begun.status, 200, begun.text);
        assert.equal(begun.json.publishIn, 0);
      }
      await clients[0]!.publish('a/b/1', '12345', { qos: 1 });
      await clients[1]!.publish('a/b/c', '123', { qos: 2 });
      await clients[2]!.publish('a/bc', '1', { qos: 0 });
      await clients[2]!.publish('a/bc', '1', { qos: 1 });
      await clients[3]!.publish('x/p2p/c0', '1234', { qos: 1 });
      await clients[3]!.publish('x/p2p/nobody', '1234', { qos: 1 });
      await Promise.all(clients.map((client) => client.ping()));
      const { json } = await ask('GET', '/metrics', 'viewer');
      assert.equal(json.total, 4);
      const counted = json.data.map((one: { since: string }) => ({ ...one, since: '' }));
      assert.deepEqual(counted, [
        // Three others each time, and one member of the group.
        { prefix: 'a', since: '', publishIn: 4, publishInByQos: [1, 2, 1], bytesIn: 10, publishOut: 8, bytesOut: 32, dropped: 0 },
        { prefix: 'a/b', since: '', publishIn: 2, publishInByQos: [0, 1, 1], bytesIn: 8, publishOut: 8, bytesOut: 32, dropped: 0 },
        { prefix: 'a/b/c', since: '', publishIn: 1, publishInByQos: [0, 0, 1], bytesIn: 3, publishOut: 4, bytesOut: 12, dropped: 0 },
        { prefix: 'x/p2p', since: '', publishIn: 2, publishInByQos: [0, 2, 0], bytesIn: 8, publishOut: 1, bytesOut: 4, dropped: 1 },
      ]);
      assert.ok(Math.abs(Date.parse(json.data[0].since) - Date.now()) < 60_000);
      assert.equal((await ask('PUT', '/metrics/a%2Fb')).json.publishIn, 2, 'begun twice it goes on');
      assert.deepEqual((await ask('GET', '?prefix=a/b', 'viewer')).json.data.length, 2);
      assert.deepEqual((await ask('GET', '?prefix=a&depth=1', 'viewer')).json.data.length, 1);
      assert.equal((await ask('GET', '/metrics/a/b/c', 'viewer')).json.publishIn, 1);
      assert.equal((await ask('DELETE', '/metrics/a/b')).status, 200);
      assert.equal((await ask('DELETE', '/metrics/a/b')).status, 404);
      assert.equal((await ask('GET', '/metrics/a/b', 'viewer')).status, 404);
      for (const wrong of ['/metrics/a/b/c/d', '/metrics/a/%23', '/metrics/%2B', '/metrics/a/', '/metrics/']) {
        const reply = await ask('PUT', wrong);
        assert.equal(reply.status, 400, `${wrong} ${reply.text}`);
      }
      assert.equal((await ask('PUT', '/metrics/q', 'viewer')).status, 403);
      for (let i = 0; i < 97; i++) assert.equal((await ask('PUT', `/metrics/p${i}`)).status, 200);
      assert.equal((await ask('PUT', '/metrics/more')).json.code, 'quota-exceeded');
      await Promise.all(clients.map((client) => client.disconnect()));
    });
  });

test('a shard that is started anew measures what the others measure', async (t) => {
  const keyFile = join(mkdtempSync(join(tmpdir(), 'onehop-keys-')), 'api-keys.json');
  const key = addApiKey(keyFile, { id: 'test', role: 'operator', username: '', expiresAt: 0, remark: '' });
  const broker = await stageCrashable(t, {
    shards: 2,
    'http.apiKeys': keyFile,
    listeners: [
      { type: 'tcp', bind: '127.0.0.1:0' },
      { type: 'http', bind: '127.0.0.1:0' },
    ],
  });
  const ask = async (method: string): Promise<{ publishIn: number }> => {
    // A connection of its own each time: those of the shard that dies go with it.
    const headers = { authorization: `Bearer ${key}`, connection: 'close' };
    const reply = await fetch(`http://127.0.0.1:${broker.ports[1]}/api/v1/topics/metrics/a`, { method, headers });
    assert.equal(reply.status, 200);
    return (await reply.json()) as { publishIn: number };
  };
  await ask('PUT');
  await broker.crashAndWait(1);
  for (const shard of [0, 1]) {
    const client = await connect(broker.port, { clientId: clientIdOn(shard, 2) });
    await client.publish('a/1', 'x', { qos: 1 });
    await client.disconnect();
  }
  assert.equal((await ask('GET')).publishIn, 2);
  await broker.stop();
});
