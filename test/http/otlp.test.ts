/**
 * Traces as a collector of OpenTelemetry gets them, over a real broker and a real HTTP service: spans of one message over two shards, the trace of a publisher that goes on, what
 * is not traced, and a collector that is not there.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { connect } from '../support/client.ts';
import { startHttpBroker } from '../support/http.ts';
import { type HttpReceiver, startHttpReceiver } from '../support/http-receiver.ts';
import { clientIdOn } from '../support/placement.ts';

interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { readonly key: string; readonly value: Readonly<Record<string, unknown>> }[];
  readonly status?: { readonly code: number; readonly message: string };
}

function spansOf(receiver: HttpReceiver): Span[] {
  return receiver.requests.flatMap(({ body }) =>
    JSON.parse(body).resourceSpans.flatMap(({ scopeSpans }: { scopeSpans: { spans: Span[] }[] }) =>
      scopeSpans.flatMap(({ spans }) => spans),
    ),
  );
}

function attribute(span: Span, name: string): unknown {
  const found = span.attributes.find(({ key }) => key === name);
  return found === undefined ? undefined : Object.values(found.value)[0];
}

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';

describe('traces', () => {
  test('one P2P message: publish, route, deliver, acknowledge, over two shards', async (t) => {
    const receiver = await startHttpReceiver(t);
    const broker = await startHttpBroker(t, {
      shards: 2,
      'tracing.otlp': receiver.url,
      'tracing.headers': { 'X-Tenant': 'blue' },
      'tracing.sample': 1,
    });
    const sender = await connect(broker.port, { clientId: clientIdOn(0, 2, 'sender') });
    const target = await connect(broker.port, { clientId: clientIdOn(1, 2, 'target') });
    await sender.publish(`a/p2p/${target.clientId}`, 'hello', { qos: 1 });
    const message = await target.next();
    const [, trace, publishId] = /^00-([\da-f]{32})-([\da-f]{16})-01$/.exec(
      message.properties.userProperties!.find(([key]) => key === 'traceparent')![1],
    )!;
    await receiver.until(() => spansOf(receiver).length >= 4);
    const spans = spansOf(receiver);
    const [publish, route, deliver, acknowledge] = ['publish', 'route', 'deliver', 'acknowledge'].map((name) => {
      const found = spans.filter((span) => span.name === name);
      assert.equal(found.length, 1, name);
      return found[0]!;
    });
    for (const span of spans) {
      assert.equal(span.traceId, trace);
      assert.ok(BigInt(span.endTimeUnixNano) >= BigInt(span.startTimeUnixNano), span.name);
      assert.ok(Math.abs(Number(BigInt(span.startTimeUnixNano) / 1_000_000n) - Date.now()) < 60_000);
      assert.equal(span.status, undefined);
    }
    assert.equal(publish!.spanId, publishId);
    assert.equal(publish!.parentSpanId, undefined);
    assert.equal(route!.parentSpanId, publishId);
    assert.equal(deliver!.parentSpanId, publishId);
    assert.equal(acknowledge!.parentSpanId, deliver!.spanId);
    assert.equal(attribute(publish!, 'messaging.destination.name'), `a/p2p/${target.clientId}`);
    assert.equal(attribute(publish!, 'messaging.client.id'), sender.clientId);
    assert.equal(attribute(publish!, 'onehop.shard'), '0');
    assert.equal(attribute(publish!, 'mqtt.reason_code'), '0');
    assert.equal(attribute(deliver!, 'messaging.client.id'), target.clientId);
    assert.equal(attribute(deliver!, 'onehop.shard'), '1');
    const [first] = receiver.requests;
    assert.equal(first!.path, '/v1/traces');
    assert.equal(first!.headers['x-tenant'], 'blue');
    const resource = JSON.parse(first!.body).resourceSpans[0].resource as Span;
    assert.equal(attribute(resource, 'service.name'), 'onehop');
    assert.equal(attribute(resource, 'service.instance.id'), '127.0.0.1:0');
    const config = (await broker.request('GET', '/api/v1/config', { role: 'admin' })).json.data as { key: string; value: unknown }[];
    assert.deepEqual(config.find(({ key }) => key === 'tracing.headers')!.value, { 'X-Tenant': '***' }, 'headers hold keys');
    await sender.disconnect();
    await target.disconnect();
  });

  test('the trace of a publisher goes on where it says so, and its property stays as it was', async (t) => {
    const receiver = await startHttpReceiver(t);
    const broker = await startHttpBroker(t, { 'tracing.otlp': `${receiver.url}/otlp`, 'tracing.sample': 0 });
    const client = await connect(broker.port);
    await client.subscribe('#', { qos: 2 });
    const texts = [
      `00-${TRACE}-${PARENT}-00`,
      'nonsense',
      `ff-${TRACE}-${PARENT}-01`,
      `00-${'0'.repeat(32)}-${PARENT}-01`,
      `00-${TRACE}-${PARENT}-01`,
    ];
    for (const text of texts) await client.publish('a', '', { qos: 2, properties: { userProperties: [['traceparent', text]] } });
    await client.publish('nothing', '', { qos: 1 });
    const messages = await client.nextMany(texts.length + 1);
    assert.deepEqual(
      messages.map(({ properties }) => properties.userProperties),
      [...texts.map((text) => [['traceparent', text]]), undefined],
    );
    await receiver.until(() => spansOf(receiver).length >= 4);
    const spans = spansOf(receiver);
    assert.deepEqual(spans.map(({ name }) => name).sort(), ['acknowledge', 'deliver', 'publish', 'route']);
    for (const { traceId } of spans) assert.equal(traceId, TRACE);
    for (const name of ['publish', 'deliver']) assert.equal(spans.find((span) => span.name === name)!.parentSpanId, PARENT);
    assert.equal(receiver.requests[0]!.path, '/otlp');
    await client.disconnect();
  });

  test('messages to clients over HTTP are traced, and the trace of their request goes on', async (t) => {
    const receiver = await startHttpReceiver(t);
    const broker = await startHttpBroker(t, { shards: 2, 'tracing.otlp': receiver.url, 'tracing.sample': 0 });
    const target = await connect(broker.port, { clientId: clientIdOn(1, 2, 'target') });
    const headers = { traceparent: `00-${TRACE}-${PARENT}-01` };
    const { clientId } = target;
    const own = `00-${'a'.repeat(32)}-${PARENT}-00`;
    const requests = [
      [`/v1/clients/${clientId}/messages`, 'x'],
      ['/v1/clients/messages', { clientIds: [clientId], payload: 'x' }],
      [`/topics/a/p2p/${clientId}`, 'x'],
      ['/v1/publish', { messages: [{ topic: `a/p2p/${clientId}`, payload: 'x' }] }],
      ['/v1/publish', { messages: [{ topic: `a/p2p/${clientId}`, payload: 'x', userProperties: [['traceparent', own]] }] }],
    ] as const;
    for (const [path, body] of requests) {
      const { status } = await broker.request('POST', path, { headers, body });
      assert.ok(status === 200 || status === 202, `${path}: ${status}`);
    }
    const messages = await target.nextMany(requests.length);
    assert.deepEqual(
      messages.map(({ properties }) => properties.userProperties),
      [...Array.from({ length: 4 }, () => [['traceparent', headers.traceparent]]), [['traceparent', own]]],
    );
    await receiver.until(() => spansOf(receiver).length >= 16);
    const spans = spansOf(receiver);
    for (const name of ['publish', 'route', 'deliver', 'acknowledge'])
      assert.equal(spans.filter((span) => span.name === name && span.traceId === TRACE).length, 4, name);
    for (const [path, body] of requests.slice(0, 4))
      assert.ok((await broker.request('POST', path, { headers: { traceparent: 'nonsense' }, body })).status < 300, path);
    for (const { properties } of await target.nextMany(4))
      assert.equal(properties.userProperties, undefined, 'nothing is left of those before');
    await target.disconnect();
  });

  test('publishers do not choose where they may not, and a refusal is told', async (t) => {
    const receiver = await startHttpReceiver(t);
    const broker = await startHttpBroker(t, { 'tracing.otlp': receiver.url, 'tracing.sample': 1, 'tracing.fromClients': false });
    const client = await connect(broker.port);
    await client.subscribe('a');
    await client.publish('a', '', { properties: { userProperties: [['traceparent', `00-${TRACE}-${PARENT}-01`]] } });
    assert.equal((await client.publish('$SYS/mine', '', { qos: 1 })).code, 0x87);
    await receiver.until(() => spansOf(receiver).length >= 2);
    const spans = spansOf(receiver);
    assert.deepEqual(spans.map(({ name }) => name).sort(), ['publish', 'route']);
    for (const { status, traceId } of spans) {
      assert.deepEqual(status, { code: 2, message: 'Not authorized' });
      assert.notEqual(traceId, TRACE);
    }
    await client.disconnect();
  });

  test('a collector that is not there costs spans, and nothing else', async (t) => {
    const receiver = await startHttpReceiver(t);
    receiver.answer = () => 400;
    const broker = await startHttpBroker(t, { 'tracing.otlp': receiver.url, 'tracing.sample': 1 });
    const client = await connect(broker.port);
    await client.publish('a', '', { qos: 1 });
    const line = await broker.line(({ msg }) => msg === 'spans were lost: the collector does not take them');
    assert.equal(line['problem'], 'status 400');
    const counters = (await broker.request('GET', '/api/v1/counters', { role: 'viewer' })).json;
    assert.equal(counters['tracing/spans/lost'], 2);
    assert.equal(counters['tracing/spans/made'], 2);
    await client.disconnect();
    assert.equal(await broker.stop(), 0);
  });
});
