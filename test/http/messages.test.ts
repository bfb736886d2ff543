/**
 * Goal: messages that were published are found again in every way that may be asked, after a crash too, and leave when they are old or too many; and where they
 * cannot be kept, that is all that happens. Method: real brokers with one and three shards, MQTT clients on each, and the HTTP API.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { Writer } from '../../src/base/bytes.ts';
import { V5 } from '../../src/protocol/packet-type.ts';
import { PublishPacket, writePublishPacket } from '../../src/protocol/publish.ts';
import { Random } from '../routing/random-topics.ts';
import { connect, payloadText, type TestClient, userValues } from '../support/client.ts';
import { type HttpBroker, startHttpBroker } from '../support/http.ts';
import { clientIdOn } from '../support/placement.ts';

interface Message {
  readonly id: string;
  readonly at: string;
  readonly topic: string;
  readonly qos: number;
  readonly retain: boolean;
  readonly publisher: string;
  readonly targets: readonly string[] | null;
  readonly bytes: number;
  readonly payloadBase64: string | null;
  readonly payloadCut: boolean;
  readonly expirySeconds: number | null;
  readonly properties: Record<string, unknown> | null;
}

function historyDirectory(): string {
  return join(mkdtempSync(join(tmpdir(), 'onehop-history-')), 'history');
}

function startWithHistory(t: TestContext, options: Record<string, unknown> = {}): Promise<HttpBroker> {
  return startHttpBroker(t, { 'history.enabled': true, 'history.path': historyDirectory(), ...options });
}

async function find(
  broker: HttpBroker,
  query: string,
  role: 'viewer' | 'operator' = 'operator',
): Promise<{ data: Message[]; next: string | null }> {
  const reply = await broker.request('GET', `/api/v1/messages?${query}`, { role });
  assert.equal(reply.status, 200, reply.text);
  return reply.json;
}

async function findAll(broker: HttpBroker, query: string): Promise<Message[]> {
  const found: Message[] = [];
  for (let cursor = ''; ; ) {
    const page = await find(broker, `${query}${cursor === '' ? '' : `&cursor=${cursor}`}`);
    found.push(...page.data);
    if (page.next === null) return found;
    cursor = page.next;
  }
}

function texts(messages: readonly Message[]): string[] {
  return messages.map(({ payloadBase64 }) => Buffer.from(payloadBase64!, 'base64').toString());
}

/** Asks again until the answer is as it must be in the end. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 10_000;
  while (!(await condition())) assert.ok(Date.now() < end, 'it becomes so within ten seconds');
}

test('each message has the name of its publisher, whoever has come and gone before', async (t) => {
  const broker = await startWithHistory(t, { shards: 1 });
  const names = Array.from({ length: 60 }, (_, i) => (i % 7 === 0 ? `${i}-${'long'.repeat(20)}` : `sensor-${i}`));
  const stays = await connect(broker.port, { clientId: 'stays' });
  for (const [i, clientId] of names.entries()) {
    const client = await connect(broker.port, { clientId });
    await client.publish(`plant/${i}`, 'x', { qos: 1 });
    await stays.publish(`plant/${i}`, 'y', { qos: 1 });
    // Every third leaves, and its place is another's.
    if (i % 3 === 0) await client.disconnect();
  }
  const found = await findAll(broker, 'filter=plant/%2B&order=oldest');
  assert.deepEqual(
    found.map(({ topic, publisher }) => [topic, publisher]),
    names.flatMap((name, i) => [
      [`plant/${i}`, name],
      [`plant/${i}`, 'stays'],
    ]),
  );
  const counters = (await broker.request('GET', '/api/v1/counters', { role: 'viewer' })).json;
  assert.equal(counters['history/names/refused'], names.filter(({ length }) => length > 63).length);
  // Those that have gone, and whoever publishes over HTTP, take no place.
  const here = names.filter(({ length }, i) => i % 3 !== 0 && length <= 63).length + 1;
  assert.equal(counters['history/names'], here);
  for (let i = 0; i < 3; i++)
    assert.equal((await broker.request('POST', `/topics/plant/${i}?clientId=http-${i}`, { body: 'z' })).status, 200);
  assert.equal((await findAll(broker, 'publisher=http-1')).length, 1);
  assert.equal((await broker.request('GET', '/api/v1/counters', { role: 'viewer' })).json['history/names'], here);
});

test('messages that a device sends in one packet of the network are found one by one, each with its ID', async (t) => {
  const broker = await startWithHistory(t, { shards: 2, 'history.messageId': true });
  const reader = await connect(broker.port, { clientId: 'reader' });
  await reader.subscribe('plant/#');
  const device = await connect(broker.port, { clientId: 'sensor-1' });
  const sent = Array.from({ length: 10 }, (_, i) => `${'m'.repeat(i * 10)}${i}`);
  const writer = new Writer(4096);
  for (const text of sent) {
    const packet = new PublishPacket();
    packet.topic = 'plant/1/temperature';
    packet.payload = Buffer.from(text);
    writePublishPacket(writer, packet, V5);
  }
  device.sendRaw(writer.copy());
  const ids: string[] = [];
  for (const text of sent) {
    const message = await reader.next();
    assert.equal(payloadText(message), text);
    ids.push(...userValues(message.properties, 'message-id'));
  }
  const found = await findAll(broker, 'publisher=sensor-1&order=oldest&limit=3');
  assert.deepEqual(texts(found), sent);
  assert.deepEqual(
    found.map(({ id }) => id),
    ids,
  );
  for (const [i, id] of ids.entries()) {
    const { json } = await broker.request('GET', `/api/v1/messages/${id}`, { role: 'operator' });
    assert.deepEqual([json.bytes, json.topic], [sent[i]!.length, 'plant/1/temperature']);
  }
  for (const client of [reader, device]) await client.destroy();
});

for (const shards of [1, 3]) {
  describe(`messages of a broker with ${shards} shards`, () => {
    const publish = async (broker: HttpBroker): Promise<TestClient[]> => {
      const clients: TestClient[] = [];
      for (let shard = 0; shard < shards; shard++) clients.push(await connect(broker.port, { clientId: clientIdOn(shard, shards, 'pub') }));
      for (let i = 0; i < 12; i++) {
        const client = clients[i % shards]!;
        await client.publish(`plant/${i % 2}/line-${i % 4}`, `m${i}`, { qos: 1 });
      }
      return clients;
    };

    test('are found by topic, filter, publisher, time and ID, and come in pages', async (t) => {
      const broker = await startWithHistory(t, { shards });
      const clients = await publish(broker);
      const expected = Array.from({ length: 12 }, (_, i) => `m${i}`);
      const all = (await find(broker, 'order=oldest')).data;
      // Those of one millisecond that came through different shards are in no order.
      assert.deepEqual(texts(all).toSorted(), expected.toSorted());
      assert.deepEqual(
        all.map(({ id }) => id).toSorted(),
        all.map(({ id }) => id),
        'IDs are in the order of time',
      );
      assert.deepEqual((await find(broker, '')).data, all.toReversed(), 'the newest first');
      const ofTopic = (topic: string): Message[] => all.filter((message) => message.topic === topic);
      assert.deepEqual((await find(broker, 'topic=plant/1/line-3&order=oldest')).data, ofTopic('plant/1/line-3'));
      assert.equal(ofTopic('plant/1/line-3').length, 3);
      assert.deepEqual((await find(broker, 'topic=plant/1')).data, []);
      assert.deepEqual((await find(broker, `filter=${encodeURIComponent('plant/+/line-2')}&order=oldest`)).data, ofTopic('plant/0/line-2'));
      assert.equal((await find(broker, `filter=${encodeURIComponent('plant/0/#')}`)).data.length, 6);
      const [first] = clients;
      const own = (await find(broker, `publisher=${first!.clientId}&order=oldest`)).data;
      assert.deepEqual(
        texts(own),
        expected.filter((_, i) => i % shards === 0),
      );
      assert.ok(own.every(({ publisher }) => publisher === first!.clientId));
      assert.deepEqual(texts((await find(broker, `publisher=${first!.clientId}&topic=plant/0/line-0&order=oldest`)).data).at(0), 'm0');
      assert.deepEqual((await find(broker, 'publisher=nobody')).data, []);
      const middle = all[6]!;
      const since = (await find(broker, `from=${middle.at}&order=oldest`)).data;
      assert.deepEqual(
        since,
        all.filter(({ at }) => at >= middle.at),
      );
      assert.deepEqual(
        (await find(broker, `to=${middle.at}&order=oldest`)).data,
        all.filter(({ at }) => at <= middle.at),
      );
      assert.deepEqual((await find(broker, `to=${Date.parse(all[0]!.at) - 1}`)).data, []);
      assert.deepEqual((await find(broker, `id=${middle.id}`)).data, [middle]);
      assert.deepEqual((await broker.request('GET', `/api/v1/messages/${middle.id.toUpperCase()}`, { role: 'operator' })).json, middle);
      assert.equal((await broker.request('GET', `/api/v1/messages/${'0'.repeat(32)}`, { role: 'operator' })).status, 404);
      assert.ok(all.every(({ id }) => /^[0-9a-f]{32}$/.test(id)));
      for (const order of ['oldest', 'newest'])
        for (const limit of [1, 5, 12]) {
          const paged = await findAll(broker, `order=${order}&limit=${limit}`);
          assert.deepEqual(paged, order === 'oldest' ? all : all.toReversed(), `${order} by ${limit}`);
        }
      assert.deepEqual(
        await findAll(broker, 'topic=plant/0/line-2&limit=2'),
        all.filter(({ topic }) => topic === 'plant/0/line-2').toReversed(),
      );
      for (const client of clients) await client.disconnect();
    });

    test('are there with all that they have, P2P messages, Wills and retained ones too', async (t) => {
      const broker = await startWithHistory(t, { shards });
      const sender = await connect(broker.port, { clientId: clientIdOn(0, shards, 'sender') });
      const targets = [clientIdOn(shards - 1, shards, 'device'), clientIdOn(0, shards, 'device')];
      const properties = {
        contentType: 'text/plain',
        responseTopic: 'answers/1',
        correlationData: Buffer.from([1, 2, 255]),
        payloadFormatIndicator: 1,
        messageExpiryInterval: 60,
        userProperties: [
          ['a', '1'],
          ['a', '2'],
        ] as [string, string][],
      };
      await sender.publish('facts', 'whole', { qos: 1, retain: true, properties });
      const [whole] = (await find(broker, 'topic=facts')).data;
      assert.deepEqual(
        { ...whole, id: '', at: '' },
        {
          id: '',
          at: '',
          topic: 'facts',
          qos: 1,
          retain: true,
          publisher: sender.clientId,
          targets: null,
          bytes: 5,
          expirySeconds: 60,
          payloadBase64: Buffer.from('whole').toString('base64'),
          payloadCut: false,
          properties: {
            payloadFormat: 1,
            contentType: 'text/plain',
            responseTopic: 'answers/1',
            correlationData: 'AQL/',
            userProperties: [
              ['a', '1'],
              ['a', '2'],
            ],
          },
        },
      );
      const [seen] = (await find(broker, 'topic=facts', 'viewer')).data;
      assert.deepEqual(seen, { ...whole, payloadBase64: null, properties: null }, 'a viewer sees no content');

      const device = await connect(broker.port, { clientId: targets[0]! });
      await sender.publish(`cmd/p2p/${targets[0]}`, 'one', { qos: 1 });
      for (const query of [`target=${targets[0]}`, `topic=cmd/p2p/${targets[0]}`, 'filter=cmd/p2p/%2B'])
        assert.deepEqual(texts((await find(broker, query)).data), ['one'], query);
      await sender.publish('cmd/p2p/', 'both', { qos: 1, properties: { userProperties: targets.map((id) => ['p2p-target', id]) } });
      assert.deepEqual(texts((await find(broker, `target=${targets[0]}&order=oldest`)).data), ['one', 'both']);
      const [both] = (await find(broker, `target=${targets[1]}`)).data;
      assert.deepEqual(both!.targets, targets);
      assert.equal(both!.topic, 'cmd/p2p/');
      assert.deepEqual(both!.properties!['userProperties'], undefined, 'what was meant for the broker does not travel on');

      const mortal = await connect(broker.port, {
        clientId: clientIdOn(shards - 1, shards, 'mortal'),
        will: { topic: 'wills', payload: 'gone', qos: 1 },
      });
      await mortal.destroy();
      await until(async () => (await find(broker, 'topic=wills')).data.length === 1);
      assert.equal((await find(broker, 'topic=wills')).data[0]!.publisher, mortal.clientId);
      await sender.disconnect();
      await device.disconnect();
    });
  });
}

describe('the history', () => {
  test('outlives a crash, without its last moment', async (t) => {
    const path = historyDirectory();
    const first = await startWithHistory(t, { shards: 3, 'history.path': path });
    const client = await connect(first.port, { clientId: 'writer' });
    for (let i = 0; i < 50; i++) await client.publish(`crash/${i}`, `c${i}`, { qos: 1 });
    const before = (await find(first, 'order=oldest')).data;
    await until(async () => (await first.request('GET', '/api/v1/message-history', { role: 'viewer' })).json.waitingBytes === 0);
    await client.publish('crash/last', 'perhaps', { qos: 1 });
    await first.kill();
    const second = await startWithHistory(t, { shards: 2, 'history.path': path });
    const after = (await find(second, 'order=oldest')).data;
    assert.deepEqual(after.slice(0, 50), before, 'what was committed is there, with another number of shards too');
    const again = await connect(second.port, { clientId: 'writer' });
    await again.publish('crash/3', 'later', { qos: 1 });
    assert.deepEqual(texts((await find(second, 'topic=crash/3')).data), ['later', 'c3'], 'new ones come behind');
    await again.disconnect();
    assert.equal(await second.stop(), 0);
    const third = await startWithHistory(t, { shards: 2, 'history.path': path });
    assert.equal((await find(third, 'limit=1000')).data.length, after.length + 1, 'a stop loses nothing');
  });

  test('forgets what is old', async (t) => {
    const broker = await startWithHistory(t, { 'history.retention': '1s' });
    const client = await connect(broker.port);
    await client.publish('old', 'x', { qos: 1 });
    assert.equal((await find(broker, '')).data.length, 1);
    await until(async () => (await find(broker, '')).data.length === 0);
    await client.disconnect();
  });

  test('forgets the oldest where there is too much', async (t) => {
    const broker = await startWithHistory(t, { 'history.maxBytes': '1MiB' });
    const client = await connect(broker.port);
    const payload = Buffer.alloc(16_000, 'x');
    for (let i = 0; i < 200; i++) await client.publish('much', payload, { qos: 1 });
    await until(async () => (await broker.request('GET', '/api/v1/message-history', { role: 'viewer' })).json.bytes <= 1024 * 1024);
    await until(async () => (await findAll(broker, 'limit=50&order=oldest')).length < 100);
    const left = await findAll(broker, 'limit=50&order=oldest');
    assert.ok(left.length > 10, `${left.length} are left`);
    await client.publish('much', 'newest', { qos: 1 });
    assert.deepEqual(texts((await find(broker, 'limit=1')).data), ['newest']);
    await client.disconnect();
  });

  test('keeps what its filters name, and the beginning of what is long', async (t) => {
    const broker = await startWithHistory(t, { 'history.filters': ['keep/#', '+/too'], 'history.maxPayload': 10 });
    const client = await connect(broker.port);
    for (const topic of ['keep', 'keep/a/b', 'not', 'not/too', 'not/too/deep']) await client.publish(topic, 'x'.repeat(25), { qos: 1 });
    const found = (await find(broker, 'order=oldest')).data;
    assert.deepEqual(
      found.map(({ topic }) => topic),
      ['keep', 'keep/a/b', 'not/too'],
    );
    assert.ok(
      found.every(
        ({ bytes, payloadCut, payloadBase64 }) => bytes === 25 && payloadCut && Buffer.from(payloadBase64!, 'base64').length === 10,
      ),
    );
    await client.disconnect();
  });

  test('without room loses itself and no message', async (t) => {
    const broker = await startWithHistory(t, { 'history.buffer': '64KiB', 'history.maxPayload': '1MiB' });
    const subscriber = await connect(broker.port);
    await subscriber.subscribe('big', { qos: 1 });
    const publisher = await connect(broker.port, { clientId: 'big-one' });
    // More in one turn than the buffer holds.
    await Promise.all(Array.from({ length: 40 }, (_, i) => publisher.publish('big', Buffer.alloc(12_000, i), { qos: 1 })));
    for (let i = 0; i < 40; i++) assert.equal((await subscriber.next()).payload.length, 12_000);
    const state = (await broker.request('GET', '/api/v1/message-history', { role: 'viewer' })).json;
    assert.ok(state.dropped > 0, 'some were not kept');
    assert.equal(state.kept + state.dropped, 40);
    assert.equal((await findAll(broker, 'limit=100')).length, state.kept);
    await publisher.publish('big', Buffer.alloc(100_000, 'y'), { qos: 1 });
    const [cut] = (await find(broker, 'limit=1')).data;
    assert.ok(cut!.payloadCut && cut!.bytes === 100_000, 'one that is larger than the buffer takes is cut');
    await publisher.disconnect();
    await subscriber.disconnect();
  });

  test('keeps each as it was, over many rounds of a small ring, with traces between them', async (t) => {
    const random = new Random('history-ring');
    const broker = await startWithHistory(t, { 'history.buffer': '64KiB' });
    const trace = await broker.request('POST', '/api/v1/traces', { role: 'operator', body: { filter: 'round/traced', seconds: 60 } });
    assert.equal(trace.status, 201, trace.text);
    const publisher = await connect(broker.port, { clientId: 'rounds' });
    const total = 1200;
    for (let i = 0; i < total; i += 4) {
      // A body says which message it is, and how long it must be.
      const bodies = Array.from({ length: 4 }, (_, n) =>
        `${i + n} `.padEnd(8 + random.next(random.next(8) === 0 ? 9000 : 700), `${(i + n) % 10}`),
      );
      const topics = bodies.map((_, n) => ((i + n) % 3 === 0 ? 'round/traced' : 'round/plain'));
      await Promise.all(
        bodies.map((body, n) => publisher.publish(topics[n]!, body, { qos: 1, properties: { contentType: `${body.length}` } })),
      );
    }
    const state = (await broker.request('GET', '/api/v1/message-history', { role: 'viewer' })).json;
    // Each event of a trace is a frame as well.
    assert.ok(state.kept > 100 && state.kept <= total, `${state.kept} messages were kept`);
    const found = await findAll(broker, 'limit=500&order=oldest');
    assert.equal(found.length, state.kept);
    let before = -1;
    for (const { payloadBase64, topic, properties } of found) {
      const body = Buffer.from(payloadBase64!, 'base64').toString();
      const number = Number.parseInt(body, 10);
      assert.ok(number > before, 'in their order, each once');
      assert.equal(`${body.length}`, properties!['contentType']);
      assert.ok(
        /^\d+ +\d*$/.test(body) &&
          body
            .slice(8)
            .split('')
            .every((digit) => digit === `${number % 10}`),
        'as it was published',
      );
      assert.equal(topic, number % 3 === 0 ? 'round/traced' : 'round/plain');
      before = number;
    }
    await publisher.disconnect();
  });

  test('names messages to their receivers where that is wanted', async (t) => {
    const broker = await startWithHistory(t, { shards: 2, 'history.messageId': true });
    const subscriber = await connect(broker.port, { clientId: clientIdOn(1, 2, 'sub') });
    await subscriber.subscribe('named/#', { qos: 1 });
    const publisher = await connect(broker.port, { clientId: clientIdOn(0, 2, 'pub') });
    await publisher.publish('named/1', 'x', { qos: 1, properties: { userProperties: [['own', 'kept']], messageExpiryInterval: 100 } });
    const properties: [string, string][] = [
      ['p2p-target', subscriber.clientId],
      ['own', 'kept'],
    ];
    await publisher.publish('named/p2p/', 'y', { qos: 1, properties: { userProperties: properties } });
    for (const text of ['x', 'y']) {
      const message = await subscriber.next();
      assert.deepEqual(userValues(message.properties, 'own'), ['kept']);
      const [id] = userValues(message.properties, 'message-id');
      const [found] = (await find(broker, `id=${id}`)).data;
      assert.equal(Buffer.from(found!.payloadBase64!, 'base64').toString(), text);
      assert.deepEqual(found!.properties!['userProperties'], [['own', 'kept']]);
    }
    await publisher.disconnect();
    await subscriber.disconnect();
  });

  test('that is off makes no file and says so', async (t) => {
    const path = historyDirectory();
    const broker = await startHttpBroker(t, { 'history.path': path });
    const client = await connect(broker.port);
    await client.publish('a', 'x', { qos: 1 });
    const refused = await broker.request('GET', '/api/v1/messages', { role: 'viewer' });
    assert.equal(refused.status, 501);
    assert.equal(refused.json.code, 'not-implemented');
    assert.equal((await broker.request('GET', '/api/v1/message-history', { role: 'viewer' })).json.enabled, false);
    assert.ok(!existsSync(path));
    await client.disconnect();
  });

  test('belongs to one broker at a time', async (t) => {
    const path = historyDirectory();
    await startWithHistory(t, { 'history.path': path });
    await assert.rejects(
      startWithHistory(t, { 'history.path': path }),
      /history: .* is in use by another process .*choose another history\.path/,
    );
    assert.ok(readdirSync(path).includes('data.mdb'));
  });

  test('says what is wrong with a question', async (t) => {
    const broker = await startWithHistory(t);
    for (const query of [
      'filter=a/%23/b',
      'from=yesterday',
      'from=-1',
      'from=2026-11',
      'limit=0',
      'limit=1001',
      'cursor=12',
      'order=any',
      'unknown=1',
      'topic=',
    ])
      assert.equal((await broker.request('GET', `/api/v1/messages?${query}`, { role: 'viewer' })).status, 400, query);
    for (const [query, detail] of [
      ['topic=plant/%23', 'query.topic: a topic has no wildcards: use filter=…'],
      ['topic=plant/%2B/x', 'query.topic: a topic has no wildcards: use filter=…'],
      ['from=2026-11-30T00:00:00Z&to=2026-11-29T00:00:00Z', 'query.from: is later than to: nothing can be in between'],
    ] as const) {
      const { status, json } = await broker.request('GET', `/api/v1/messages?${query}`, { role: 'viewer' });
      assert.deepEqual([status, json.detail], [400, detail]);
    }
    assert.equal((await broker.request('GET', '/api/v1/messages?from=1&to=1', { role: 'viewer' })).status, 200, 'one moment');
    assert.equal((await broker.request('GET', '/api/v1/messages', { role: 'service' })).status, 403);
    assert.equal((await broker.request('GET', '/api/v1/messages/zz', { role: 'viewer' })).status, 400);
  });
});
