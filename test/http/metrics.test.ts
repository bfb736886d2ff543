/**
 * What is measured can be read: the text for Prometheus by a parser of somebody else, by whom it may be read, that it moves as messages flow, counters, samples, and who is slow.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import parse from 'parse-prometheus-text-format';
import { allMetrics } from '../../src/http/metrics-text.ts';
import { COUNTERS } from '../../src/shard/counters.ts';
import { connect } from '../support/client.ts';
import { type HttpBroker, startHttpBroker } from '../support/http.ts';
import { clientIdOn } from '../support/placement.ts';

interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly metrics: readonly { readonly value: string; readonly labels?: Readonly<Record<string, string>> }[];
}

interface Scrape {
  /** By name; a histogram is those of its names with `_bucket`, `_sum` and `_count`. */
  readonly families: ReadonlyMap<string, Family>;
  /** Kind and help of each, as the text says them. */
  readonly kinds: ReadonlyMap<string, { readonly kind: string; readonly help: string }>;
}

async function scrape(broker: HttpBroker): Promise<Scrape> {
  const { text, status, headers } = await broker.request('GET', '/metrics', { role: 'viewer' });
  assert.equal(status, 200, text);
  assert.equal(headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  const kinds = new Map(
    [...text.matchAll(/^# HELP (\w+) (.*)\n# TYPE (\w+) (\w+)$/gm)].map(([, name, help, again, kind]) => {
      assert.equal(name, again);
      return [name!, { kind: kind!, help: help! }];
    }),
  );
  // The parser puts all histograms of a name into one, whatever their labels: without their heads it reads each line.
  const isOfHistogram = (line: string): boolean => line.startsWith('# ') && kinds.get(line.split(' ')[2]!)?.kind === 'histogram';
  const lines = text.split('\n').filter((line) => !isOfHistogram(line));
  const families = new Map<string, Family>();
  for (const family of parse(lines.join('\n')) as readonly Family[]) {
    const before = families.get(family.name);
    families.set(family.name, before === undefined ? family : { ...before, metrics: [...before.metrics, ...family.metrics] });
  }
  return { kinds, families };
}

/** The sum of a counter or gauge over all shards, or the count of a histogram. */
function sumOf({ families }: Scrape, name: string, labels: Readonly<Record<string, string>> = {}): number {
  const family = families.get(name) ?? families.get(`${name}_count`);
  assert.ok(family !== undefined, `${name} is there`);
  return family.metrics
    .filter((metric) => Object.entries(labels).every(([label, value]) => metric.labels?.[label] === value))
    .reduce((sum, { value }) => sum + Number(value), 0);
}

describe('metrics', () => {
  test('every one is named by the conventions, once, and is in the text', async (t) => {
    const broker = await startHttpBroker(t, { shards: 2 });
    const found = await scrape(broker);
    const metrics = allMetrics();
    assert.deepEqual([...found.kinds.keys()].sort(), metrics.map(({ name }) => name).sort());
    for (const { name, kind, help, labels } of metrics) {
      assert.match(name, /^(onehop|process)_[a-z0-9]+(_[a-z0-9]+)*$/, name);
      assert.equal(name.endsWith('_total'), kind === 'counter', name);
      assert.doesNotMatch(name, /milliseconds|kilobytes|percent/, `${name} has base units`);
      assert.match(help, /^[A-Z].*\.$/, name);
      assert.deepEqual(found.kinds.get(name), { kind, help });
      const family = found.families.get(kind === 'histogram' ? `${name}_count` : name)!;
      for (const one of family.metrics) assert.deepEqual(Object.keys(one.labels ?? {}).sort(), [...labels].sort(), name);
    }
    for (const { name } of metrics.filter(({ kind }) => kind === 'histogram')) {
      const counts = new Map<string, number[]>();
      for (const { labels, value } of found.families.get(`${name}_bucket`)!.metrics) {
        const { le, ...others } = labels!;
        const key = JSON.stringify(others);
        counts.set(key, [...(counts.get(key) ?? []), Number(value)]);
        assert.ok(le === '+Inf' || Number(le) > 0);
      }
      for (const { labels, value } of found.families.get(`${name}_count`)!.metrics) {
        const own = counts.get(JSON.stringify(labels ?? {}))!;
        assert.deepEqual(
          own,
          own.toSorted((a, b) => a - b),
          `${name} is cumulative`,
        );
        assert.equal(own.at(-1), Number(value), name);
      }
    }
  });

  test('they need the role viewer, unless they are public', async (t) => {
    const broker = await startHttpBroker(t);
    assert.equal((await broker.request('GET', '/metrics', { role: 'service' })).status, 403);
    assert.equal((await broker.request('GET', '/api/v1/metrics', { role: 'viewer' })).status, 200);
    const open = await startHttpBroker(t, { 'metrics.public': true, 'auth.allowAnonymous': false });
    assert.equal((await open.request('GET', '/metrics')).status, 200);
    assert.equal((await open.request('GET', '/api/v1/metrics')).status, 401);
  });

  test('they move as messages flow', async (t) => {
    const broker = await startHttpBroker(t, { shards: 2, 'metrics.routeSample': 1 });
    const before = await scrape(broker);
    const sender = await connect(broker.port, { clientId: clientIdOn(0, 2, 'sender') });
    const target = await connect(broker.port, { clientId: clientIdOn(1, 2, 'target') });
    await target.subscribe('news/#');
    const messages = 128;
    const waiting: Promise<unknown>[] = [];
    for (let i = 0; i < messages; i++) waiting.push(sender.publish(`a/p2p/${target.clientId}`, 'x', { qos: 1 }));
    for (let i = 0; i < 10; i++) waiting.push(sender.publish('news/today', 'y', { qos: 2 }), sender.publish('nobody', 'z', { qos: 1 }));
    await Promise.all(waiting);
    await target.nextMany(messages + 10);
    const after = await scrape(broker);
    const moved = (name: string, labels: Readonly<Record<string, string>> = {}): number =>
      sumOf(after, name, labels) - sumOf(before, name, labels);
    assert.equal(moved('onehop_publish_received_total'), messages + 20);
    assert.equal(moved('onehop_publish_received_total', { shard: '1' }), 0);
    assert.equal(moved('onehop_publish_dropped_total', { reason: 'no_subscriber' }), 10);
    assert.equal(moved('onehop_p2p_total', { outcome: 'delivered', shard: '1' }), messages);
    assert.equal(moved('onehop_clients_connected'), 2);
    assert.equal(moved('onehop_connect_duration_seconds'), 2);
    assert.equal(moved('onehop_publish_acknowledge_seconds', { qos: '1' }), messages + 10);
    assert.equal(moved('onehop_publish_acknowledge_seconds', { qos: '2' }), 10);
    assert.equal(moved('onehop_p2p_hop_seconds'), messages / 64);
    assert.ok(moved('onehop_turn_duration_seconds', { shard: '0' }) > 0);
    assert.ok(moved('onehop_http_request_duration_seconds', { group: 'management' }) >= 1);
    assert.ok(sumOf(after, 'process_resident_memory_bytes') > 2 ** 20);
    assert.ok(sumOf(after, 'onehop_thread_heap_used_bytes', { thread: 'shard-1' }) > 2 ** 20);

    const counters = await broker.request('GET', '/api/v1/counters', { role: 'viewer' });
    assert.deepEqual(Object.keys(counters.json), [...COUNTERS]);
    assert.equal(counters.json['p2p/delivered'], messages);

    const routes = await broker.request('GET', '/api/v1/slow/routes', { role: 'viewer' });
    assert.deepEqual(routes.json.missing, []);
    const [news] = (routes.json.data as { topic: string; deliveries: number }[]).filter(({ topic }) => topic === 'news/today');
    assert.ok(news!.deliveries >= 5 && news!.deliveries <= 10, `${news!.deliveries} fade from 10`);
    await sender.disconnect();
    await target.disconnect();
  });

  test('clients that are behind are listed, those that are furthest first', async (t) => {
    const broker = await startHttpBroker(t, { shards: 2, 'store.enabled': false });
    const ids = [0, 1, 1].map((shard) => clientIdOn(shard, 2, 'slow'));
    const sender = await connect(broker.port);
    for (const [place, clientId] of ids.entries()) {
      const client = await connect(broker.port, { clientId, cleanStart: false, properties: { sessionExpiryInterval: 60 }, autoAck: false });
      if (place < 2) await client.disconnect();
      else {
        await sender.publish(`a/p2p/${clientId}`, 'x', { qos: 1 });
        await client.next();
      }
    }
    for (const [place, clientId] of ids.slice(0, 2).entries())
      for (let i = 0; i <= place; i++) await sender.publish(`a/p2p/${clientId}`, 'x', { qos: 1 });
    const list = async (query: string): Promise<{ data: Record<string, unknown>[]; missing: number[] }> => {
      const reply = await broker.request('GET', `/api/v1/slow/clients${query}`, { role: 'viewer' });
      assert.equal(reply.status, 200, reply.text);
      return reply.json;
    };
    const queued = await list('');
    assert.deepEqual(
      queued.data.map(({ clientId, queuedMessages, state, shard }) => [clientId, queuedMessages, state, shard]),
      [
        [ids[1], 2, 'disconnected', 1],
        [ids[0], 1, 'disconnected', 0],
      ],
    );
    assert.deepEqual(queued.missing, []);
    assert.equal((await list('?limit=1')).data.length, 1);
    const unacknowledged = await list('?by=unacknowledgedMilliseconds');
    assert.deepEqual(
      unacknowledged.data.map(({ clientId, inflight, state }) => [clientId, inflight, state]),
      [[ids[2], 1, 'connected']],
    );
    assert.equal((await broker.request('GET', '/api/v1/slow/clients?by=name', { role: 'viewer' })).status, 400);
  });

  test('samples begin empty and say when they end', async (t) => {
    const broker = await startHttpBroker(t);
    const { json, status } = await broker.request('GET', '/api/v1/samples?seconds=60', { role: 'viewer' });
    assert.equal(status, 200);
    assert.equal(json.intervalSeconds, 5);
    assert.ok(Math.abs(Date.parse(json.until) - Date.now()) < 60_000);
    assert.ok('publishReceivedPerSecond' in json.series && 'loadPercent/0' in json.series);
    assert.equal((await broker.request('GET', '/api/v1/samples?seconds=0', { role: 'viewer' })).status, 400);
  });
});
