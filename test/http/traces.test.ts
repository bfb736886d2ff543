/**
 * Goal: a trace shows what became of a message, on whatever shard, by client, filter, Message ID and sample, within its bounds, and nothing where there is none.
 * Method: real brokers with one and three shards, devices that are there, away, refuse or are not let, and the events that the API gives.
 */
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { connect, userValues } from '../support/client.ts';
import { type HttpBroker, startHttpBroker } from '../support/http.ts';
import { clientIdOn } from '../support/placement.ts';
import { until } from '../support/until.ts';

interface Event {
  readonly at: string;
  readonly event: string;
  readonly shard: number;
  readonly messageId: string | null;
  readonly topic: string;
  readonly clientId?: string;
  readonly reason?: string;
  readonly shards?: readonly number[];
  readonly microseconds: number;
}

async function begin(broker: HttpBroker, body: object): Promise<string> {
  const reply = await broker.request('POST', '/api/v1/traces', { role: 'operator', body });
  assert.equal(reply.status, 201, reply.text);
  assert.equal(reply.json.state, 'running');
  assert.equal(reply.headers.get('location'), `/api/v1/traces/${reply.json.id}`);
  return reply.json.id as string;
}

async function eventsOf(broker: HttpBroker, id: string, query = 'limit=1000'): Promise<Event[]> {
  const reply = await broker.request('GET', `/api/v1/traces/${id}/events?${query}`, { role: 'viewer' });
  assert.equal(reply.status, 200, reply.text);
  return reply.json.data as Event[];
}

/** Asks until the trace has an event like this, and gives all. */
async function awaitEvent(broker: HttpBroker, id: string, event: string, clientId?: string): Promise<Event[]> {
  const end = Date.now() + 10_000;
  for (;;) {
    const events = await eventsOf(broker, id);
    if (events.some((one) => one.event === event && (clientId === undefined || one.clientId === clientId))) return events;
    assert.ok(Date.now() < end, `${event} is among ${JSON.stringify(events)}`);
  }
}

function words(events: readonly Event[], clientId?: string): string[] {
  return events
    .filter((event) => clientId === undefined || event.clientId === clientId)
    .map(({ event, reason }) => (reason === undefined ? event : `${event}: ${reason}`));
}

function withHistory(t: TestContext, options: Record<string, unknown> = {}): Promise<HttpBroker> {
  const path = join(mkdtempSync(join(tmpdir(), 'onehop-history-')), 'history');
  return startHttpBroker(t, { 'history.enabled': true, 'history.path': path, ...options });
}

for (const shards of [1, 3]) {
  describe(`traces of a broker with ${shards} shards`, () => {
    test('show the way of a message by its topic', async (t) => {
      const broker = await withHistory(t, { shards });
      const far = await connect(broker.port, { clientId: clientIdOn(shards - 1, shards, 'far'), autoAck: false });
      const near = await connect(broker.port, { clientId: clientIdOn(0, shards, 'near') });
      const away = await connect(broker.port, {
        clientId: clientIdOn(shards - 1, shards, 'away'),
        cleanStart: false,
        properties: { sessionExpiryInterval: 600 },
      });
      await far.subscribe('way/#', { qos: 1 });
      await near.subscribe('way/+', { qos: 2 });
      await away.subscribe('way/1', { qos: 1 });
      await away.disconnect();
      const publisher = await connect(broker.port, { clientId: clientIdOn(0, shards, 'pub') });
      const id = await begin(broker, { filter: 'way/#' });
      await publisher.publish('other/1', 'x', { qos: 1 });
      await publisher.publish('way/1', 'x', { qos: 2 });
      far.ack(await far.next());
      await near.next();
      await awaitEvent(broker, id, 'acknowledged', far.clientId);
      const events = await awaitEvent(broker, id, 'acknowledged', near.clientId);
      assert.deepEqual(words(events).slice(0, 2), ['published', 'routed']);
      assert.equal(events[0]!.clientId, publisher.clientId);
      assert.deepEqual(events[1]!.shards, shards === 1 ? [0] : [0, 2]);
      for (const { clientId } of [far, near]) assert.deepEqual(words(events, clientId), ['delivered', 'acknowledged']);
      assert.deepEqual(words(events, away.clientId), ['queued']);
      const messageId = events[0]!.messageId!;
      assert.ok(events.every((event) => event.messageId === messageId && event.topic === 'way/1'));
      assert.ok(events.every(({ microseconds }, i) => i === 0 || microseconds >= events[i - 1]!.microseconds));
      // Later, from the queue.
      const back = await connect(broker.port, { clientId: away.clientId, cleanStart: false, properties: { sessionExpiryInterval: 600 } });
      await back.next();
      assert.deepEqual(words(await awaitEvent(broker, id, 'acknowledged', away.clientId), away.clientId), [
        'queued',
        'delivered',
        'acknowledged',
      ]);

      // By its ID, while the trace is there, and from the history when it is gone.
      const ofMessage = async (): Promise<Event[]> =>
        (await broker.request('GET', `/api/v1/messages/${messageId}/trace`, { role: 'viewer' })).json.events;
      const all = await ofMessage();
      assert.deepEqual(words(all), words(await eventsOf(broker, id)));
      assert.equal((await broker.request('DELETE', `/api/v1/traces/${id}`, { role: 'operator' })).status, 204);
      assert.equal((await broker.request('GET', `/api/v1/traces/${id}`, { role: 'viewer' })).status, 404);
      assert.deepEqual(words(await ofMessage()).toSorted(), words(all).toSorted());
      const untraced = (await broker.request('GET', '/api/v1/messages?topic=other/1', { role: 'viewer' })).json.data[0].id;
      const bare = (await broker.request('GET', `/api/v1/messages/${untraced}/trace`, { role: 'viewer' })).json.events;
      assert.deepEqual(words(bare), ['published']);
      for (const client of [far, near, back, publisher]) await client.disconnect();
    });

    test('follow a client, as publisher, as target, and as whoever gets messages', async (t) => {
      const broker = await startHttpBroker(t, { shards });
      const device = await connect(broker.port, { clientId: clientIdOn(shards - 1, shards, 'device') });
      const other = await connect(broker.port, { clientId: clientIdOn(0, shards, 'other') });
      await device.subscribe('all', { qos: 1 });
      await other.subscribe('all', { qos: 1 });
      const id = await begin(broker, { clientId: device.clientId });
      await other.publish(`cmd/p2p/${device.clientId}`, 'x', { qos: 1 });
      await other.publish(`cmd/p2p/${other.clientId}`, 'x', { qos: 1 });
      await other.publish('all', 'x', { qos: 1 });
      await device.publish('nobody', 'x', { qos: 0 });
      await device.ping();
      const events = await awaitEvent(broker, id, 'dropped');
      const byTopic = (topic: string): Event[] => events.filter((event) => event.topic === topic);
      await awaitEvent(broker, id, 'acknowledged');
      const p2p = (await eventsOf(broker, id)).filter(({ topic }) => topic.startsWith('cmd/'));
      assert.deepEqual(words(p2p).slice(0, 3), ['published', 'routed', 'delivered']);
      assert.deepEqual(p2p[1]!.shards, [shards - 1]);
      assert.ok(
        p2p.every(({ topic }) => topic === `cmd/p2p/${device.clientId}`),
        'what goes to others is not its business',
      );
      assert.deepEqual(words(byTopic('nobody')), ['published', 'routed', 'dropped: no_subscriber']);
      assert.deepEqual(
        [...new Set(byTopic('all').map(({ clientId }) => clientId))],
        [device.clientId],
        'of a message of others only what the client itself gets is shown',
      );
      assert.ok(byTopic('all').some(({ event, messageId }) => event === 'delivered' && messageId !== null));
      await device.disconnect();
      await other.disconnect();
    });

    test('say why a message was dropped', async (t) => {
      const statements = [
        { effect: 'deny', resource: 'topic', actions: ['publish'], topics: ['secret'] },
        { effect: 'deny', resource: 'p2p', actions: ['publish'], targets: ['closed-*'] },
        { effect: 'allow', resource: 'topic', actions: ['connect', 'publish', 'subscribe'] },
        { effect: 'allow', resource: 'p2p', actions: ['publish'] },
      ];
      const broker = await startHttpBroker(t, { shards, 'authorization.statements': statements, 'limits.queueMessages': 1 });
      const publisher = await connect(broker.port, { clientId: clientIdOn(0, shards, 'pub') });
      const away = clientIdOn(shards - 1, shards, 'away');
      const session = await connect(broker.port, { clientId: away, cleanStart: false, properties: { sessionExpiryInterval: 600 } });
      await session.disconnect();
      const small = await connect(broker.port, {
        clientId: clientIdOn(shards - 1, shards, 'small'),
        properties: { maximumPacketSize: 50 },
      });
      const refusing = await connect(broker.port, { clientId: clientIdOn(shards - 1, shards, 'refusing'), autoAck: false });
      const id = await begin(broker, { clientId: publisher.clientId });
      await publisher.publish('secret', 'x', { qos: 1 });
      await publisher.publish('cmd/p2p/closed-1', 'x', { qos: 1 });
      await publisher.publish('cmd/p2p/nobody', 'x', { qos: 1 });
      await publisher.publish(`cmd/p2p/${away}`, 'x', { qos: 1, properties: { messageExpiryInterval: 1 } });
      await publisher.publish(`cmd/p2p/${away}`, 'x', { qos: 1 });
      await publisher.publish(`cmd/p2p/${small.clientId}`, 'x'.repeat(100), { qos: 1 });
      await publisher.publish(`cmd/p2p/${refusing.clientId}`, 'x', { qos: 1 });
      refusing.ack(await refusing.next(), 0x83);
      const events = await awaitEvent(broker, id, 'dropped', refusing.clientId);
      const dropped = (clientId: string): string[] => words(events, clientId).filter((word) => word.startsWith('dropped'));
      assert.deepEqual(dropped(publisher.clientId), ['dropped: not_authorized']);
      assert.deepEqual(dropped('closed-1'), ['dropped: not_authorized']);
      assert.deepEqual(dropped('nobody'), ['dropped: no_session']);
      assert.deepEqual(dropped(away), ['dropped: queue_full']);
      assert.deepEqual(dropped(small.clientId), ['dropped: too_large']);
      assert.deepEqual(dropped(refusing.clientId), ['dropped: refused_by_client']);
      // Its turn comes when it has expired.
      const end = Date.now() + 1500;
      while (Date.now() < end) await publisher.ping();
      const back = await connect(broker.port, { clientId: away, cleanStart: false });
      assert.equal((await awaitEvent(broker, id, 'expired', away)).filter(({ event }) => event === 'expired').length, 1);
      for (const client of [publisher, small, refusing, back]) await client.disconnect();
    });
  });
}

describe('a trace', () => {
  test('of one Message ID finds a message that waits and carries it', async (t) => {
    const broker = await withHistory(t, { shards: 2, 'history.messageId': true });
    const clientId = clientIdOn(1, 2, 'away');
    const options = { clientId, cleanStart: false, properties: { sessionExpiryInterval: 600 } };
    await (await connect(broker.port, options)).disconnect();
    const publisher = await connect(broker.port, { clientId: clientIdOn(0, 2, 'pub') });
    for (const text of ['first', 'second']) await publisher.publish(`cmd/p2p/${clientId}`, text, { qos: 1 });
    const [, first] = (await broker.request('GET', `/api/v1/messages?target=${clientId}`, { role: 'viewer' })).json.data;
    const id = await begin(broker, { messageId: first.id });
    const back = await connect(broker.port, options);
    assert.deepEqual(userValues((await back.next()).properties, 'message-id'), [first.id]);
    await back.next();
    const events = await awaitEvent(broker, id, 'acknowledged');
    assert.deepEqual(words(events), ['delivered', 'acknowledged']);
    assert.ok(events.every(({ messageId }) => messageId === first.id));
    await back.disconnect();
    await publisher.disconnect();
  });

  test('and the history have what came over HTTP', async (t) => {
    const broker = await withHistory(t, { shards: 2 });
    const device = await connect(broker.port, { clientId: clientIdOn(1, 2, 'device') });
    await device.subscribe('over/http', { qos: 1 });
    const id = await begin(broker, { clientId: device.clientId });
    await broker.request('POST', '/topics/over/http?qos=1', { role: 'service', body: 'one' });
    await broker.request('POST', `/v1/clients/${device.clientId}/messages?topic=any/topic`, {
      role: 'service',
      body: 'two',
    });
    await device.next();
    await device.next();
    const events = await awaitEvent(broker, id, 'published');
    assert.deepEqual(
      events.filter(({ event }) => event === 'published').map(({ topic, clientId }) => [topic, clientId]),
      [['any/topic', 'http-api-key-testservice']],
    );
    const { data } = (await broker.request('GET', '/api/v1/messages?publisher=http-api-key-testservice&order=oldest', { role: 'operator' }))
      .json;
    assert.deepEqual(
      data.map((message: { topic: string; targets: unknown; payloadBase64: string }) => [
        message.topic,
        message.targets,
        Buffer.from(message.payloadBase64, 'base64').toString(),
      ]),
      [
        ['over/http', null, 'one'],
        ['any/topic', [device.clientId], 'two'],
      ],
    );
    await device.disconnect();
  });

  test('takes a sample, the same messages on every shard', async (t) => {
    const broker = await startHttpBroker(t, { shards: 3 });
    const subscriber = await connect(broker.port, { clientId: clientIdOn(2, 3, 'sub') });
    await subscriber.subscribe('s', { qos: 0 });
    const publisher = await connect(broker.port, { clientId: clientIdOn(0, 3, 'pub') });
    const id = await begin(broker, { sample: 4 });
    for (let i = 0; i < 20; i++) await publisher.publish('s', 'x', { qos: 1 });
    for (let i = 0; i < 20; i++) await subscriber.next();
    const events = await eventsOf(broker, id);
    assert.equal(events.filter(({ event }) => event === 'published').length, 5);
    assert.equal(events.filter(({ event }) => event === 'delivered').length, 5);
    const every = await begin(broker, { sample: 1 });
    for (let i = 0; i < 3; i++) await publisher.publish('s', 'x', { qos: 1 });
    for (let i = 0; i < 3; i++) await subscriber.next();
    assert.equal((await eventsOf(broker, every)).filter(({ event }) => event === 'published').length, 3, 'one in one is every message');
    const nothing = await broker.request('POST', '/api/v1/traces', { role: 'operator', body: { seconds: 3 } });
    assert.deepEqual([nothing.status, /say what to trace/.test(nothing.text)], [422, true]);
    await subscriber.disconnect();
    await publisher.disconnect();
  });

  test('is bounded in number, time and events', async (t) => {
    const broker = await startHttpBroker(t, { shards: 2 });
    const publisher = await connect(broker.port);
    const full = await begin(broker, { filter: '#', events: 5 });
    for (let i = 0; i < 10; i++) await publisher.publish('a', 'x', { qos: 1 });
    const trace = (await broker.request('GET', `/api/v1/traces/${full}`, { role: 'viewer' })).json;
    assert.equal(trace.eventCount, 5);
    assert.equal(trace.lost, 25, 'published, routed and dropped, ten times');
    const page = await broker.request('GET', `/api/v1/traces/${full}/events?limit=2`, { role: 'viewer' });
    assert.deepEqual([page.json.data.length, page.json.next, page.json.total], [2, page.json.last, 5]);
    assert.equal((await eventsOf(broker, full, `limit=3&cursor=${page.json.next}`)).length, 3);
    assert.equal((await broker.request('GET', `/api/v1/traces/${full}/events?cursor=x`, { role: 'viewer' })).status, 400);

    const ids = [full];
    for (let i = 1; i < 16; i++) ids.push(await begin(broker, { filter: 'x', seconds: i === 1 ? 1 : 60 }));
    const refused = await broker.request('POST', '/api/v1/traces', { role: 'operator', body: { filter: 'x' } });
    assert.equal(refused.status, 429);
    const state = async (id: string): Promise<string> =>
      (await broker.request('GET', `/api/v1/traces/${id}`, { role: 'viewer' })).json.state;
    await until('the trace ends', async () => (await state(ids[1]!)) === 'ended');
    assert.equal((await broker.request('POST', `/api/v1/traces/${full}/end`, { role: 'operator' })).status, 200);
    assert.equal((await broker.request('POST', `/api/v1/traces/${full}/end`, { role: 'operator' })).status, 404);
    assert.equal((await eventsOf(broker, full)).length, 5, 'what it has seen stays');
    const list = (await broker.request('GET', '/api/v1/traces', { role: 'viewer' })).json;
    assert.equal(list.total, 16);
    for (const id of ids) assert.equal((await broker.request('DELETE', `/api/v1/traces/${id}`, { role: 'operator' })).status, 204);
    assert.equal((await broker.request('GET', '/api/v1/traces', { role: 'viewer' })).json.total, 0);
    await publisher.disconnect();
  });

  test('is begun by operators, with what makes sense', async (t) => {
    const broker = await startHttpBroker(t);
    const post = async (body: unknown, role: 'viewer' | 'operator' = 'operator'): Promise<number> =>
      (await broker.request('POST', '/api/v1/traces', { role, body })).status;
    assert.equal(await post({ filter: 'a' }, 'viewer'), 403);
    for (const body of [
      {},
      { filter: 'a/#/b' },
      { filter: 'a', seconds: 3601 },
      { messageId: 'x' },
      { filter: 'a', events: 0 },
      { any: 1 },
    ])
      assert.equal(await post(body), 422, JSON.stringify(body));
    assert.equal((await broker.request('GET', '/api/v1/traces/1/events', { role: 'viewer' })).status, 404);
    assert.equal((await broker.request('DELETE', '/api/v1/traces/1', { role: 'operator' })).status, 404);
  });
});
