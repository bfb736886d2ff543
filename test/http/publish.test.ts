/**
 * Publishing over HTTP, against a real broker and real MQTT clients: what arrives, what is answered, who may, how much, and what is a mistake.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { connect, payloadText, userValues } from '../support/client.ts';
import { type HttpBroker, type HttpReply, startHttpBroker, suite } from '../support/http.ts';
import { clientIdOn } from '../support/placement.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { until } from '../support/until.ts';

const role = 'service';

const post = (broker: HttpBroker, path: string, key: string, body: unknown, as: 'service' | 'viewer' = 'service'): Promise<HttpReply> =>
  broker.request('POST', path, { role: as, body, headers: { 'idempotency-key': key } });

describe('publishing over HTTP', () => {
  // One broker for all that need no settings of their own: a start takes longer than most of them.
  let broker: HttpBroker;
  const whole = suite();
  after(() => whole.stop());
  before(async () => {
    broker = await startHttpBroker(whole, { shards: 3 });
  });

  test('a message comes to subscribers on every shard as it was given', async () => {
    const receivers = await Promise.all([0, 1, 2].map((shard) => connect(broker.port, { clientId: clientIdOn(shard, 3) })));
    for (const receiver of receivers) await receiver.subscribe('plant/#', { qos: 2 });
    const query = new URLSearchParams({
      qos: '2',
      expiry: '60',
      contentType: 'text/plain',
      responseTopic: 'answers/1',
      correlationData: 'SN0001',
      payloadFormat: '1',
    });
    query.append('userProperty', 'a:1');
    query.append('userProperty', 'b:x:y');
    const answer = await broker.request('POST', `/topics/plant/7/t%C3%A4?${query}`, {
      role,
      body: 'grüße',
      headers: { 'x-mqtt-user-property': 'c=3, d%2C=4%3D' },
    });
    assert.deepEqual([answer.status, answer.json], [200, { status: 'ok', reasonCode: 0 }]);
    for (const receiver of receivers) {
      const got = await receiver.next();
      assert.equal(got.topic, 'plant/7/tä');
      assert.equal(payloadText(got), 'grüße');
      assert.equal(got.qos, 2);
      assert.equal(got.properties.contentType, 'text/plain');
      assert.equal(got.properties.responseTopic, 'answers/1');
      assert.equal(Buffer.from(got.properties.correlationData!).toString(), 'SN0001');
      assert.equal(got.properties.payloadFormatIndicator, 1);
      assert.ok(got.properties.messageExpiryInterval! <= 60);
      assert.deepEqual(got.properties.userProperties, [
        ['a', '1'],
        ['b', 'x:y'],
        ['c', '3'],
        ['d,', '4='],
      ]);
    }
  });

  test('the spellings of the hosted product are understood', async () => {
    const receiver = await connect(broker.port, { clientId: 'r' });
    await receiver.subscribe('sample/#', { qos: 1 });
    const query =
      'qos=1&retained=false&client_id=me&username=x&ResponseTopic=sample%2Fresponse%2Ftopic&CorrelationData=SN0001&ContentType=application%2Fjson&PayloadFormatIndicator=1&MessageExpiryInterval=9';
    assert.equal((await broker.request('POST', `/topics/sample%2Ftopic?${query}`, { body: '{}' })).status, 200);
    const got = await receiver.next();
    assert.equal(got.topic, 'sample/topic');
    assert.equal(got.properties.responseTopic, 'sample/response/topic');
    assert.equal(got.properties.contentType, 'application/json');
    assert.equal(got.properties.messageExpiryInterval, 9);
  });

  test('every QoS, a large payload, bytes, an empty payload, Retained Messages, nobody to hear it', async () => {
    const receiver = await connect(broker.port, { clientId: clientIdOn(1, 3) });
    await receiver.subscribe('in/#', { qos: 2 });
    const large = Buffer.alloc(900_000, 0xc3);
    for (const qos of [0, 1, 2]) {
      assert.equal((await broker.request('POST', `/topics/in/a?qos=${qos}`, { role, body: large })).json.reasonCode, 0);
      const got = await receiver.next();
      assert.equal(got.qos, qos);
      assert.ok(Buffer.from(got.payload).equals(large));
    }
    assert.equal((await broker.request('POST', '/topics/in/empty', { role })).json.reasonCode, 0);
    assert.equal((await receiver.next()).payload.length, 0);
    for (const qos of [0, 1, 2]) assert.equal((await broker.request('POST', `/topics/nobody?qos=${qos}`, { role })).json.reasonCode, 16);
    assert.equal((await broker.request('POST', '/topics/kept?retained=true', { role, body: 'kept' })).status, 200);
    await receiver.subscribe('kept');
    const kept = await receiver.next();
    assert.deepEqual([payloadText(kept), kept.retain], ['kept', true]);
  });

  test('what is wrong is said, and nobody else notices', async () => {
    const code = async (path: string, body: string | Uint8Array = 'x', headers: Record<string, string> = {}): Promise<string> => {
      const answer = await broker.request('POST', path, { role, body, headers });
      return answer.status === 200 ? 'ok' : `${answer.status} ${answer.json.code}`;
    };
    for (const path of [
      '/topics/',
      '/topics/a/%2B/b',
      '/topics/%23',
      '/topics/a%00b',
      '/topics/%ed%a0%80',
      `/topics/${'a/'.repeat(200)}`,
      '/topics/t?qos=3',
      '/topics/t?qos=',
      '/topics/t?qos=1&qos=1',
      '/topics/t?expiry=1&MessageExpiryInterval=1',
      '/topics/t?retained=maybe',
      '/topics/t?expiry=-1',
      '/topics/t?expiry=4294967296',
      '/topics/t?payloadFormat=2',
      '/topics/t?responseTopic=a%2F%23',
      '/topics/t?contentType=a%00b',
      '/topics/t?userProperty=none',
      '/topics/t?unknown=1',
      '/topics/t?confirm=true',
      '/topics/t?%63lient_id=a%00b',
      '/topics/t?contentType=%ff',
    ])
      assert.match(await code(path), /^(400 bad-request|404 not-found)$/, path);
    assert.equal(await code('/topics/t', 'x', { 'x-mqtt-user-property': 'nothing' }), '400 bad-request');
    assert.equal(await code('/topics/t', 'x', { 'idempotency-key': 'a b' }), '400 bad-request');
    assert.equal(await code('/topics/t?client_id=a%00b'), '400 bad-request');
    const deep = `{"messages":[${'['.repeat(100_000)}${']'.repeat(100_000)}]}`;
    const json = { 'content-type': 'application/json' };
    assert.equal(await code('/v1/publish', deep, json), '400 bad-request');
    assert.equal(await code('/v1/publish', deep, { ...json, 'idempotency-key': 'deep' }), '400 bad-request');
    assert.equal(await code('/topics/$SYS/x'), '403 forbidden');
    assert.equal(await code('/topics/$share/g/x'), '403 forbidden');
    assert.equal(await code('/topics/t?payloadFormat=1', new Uint8Array([0xff])), '422 unprocessable');
    assert.equal(await code('/topics/t', 'x'.repeat(1_100_000)), '413 too-large');
    assert.equal(await code(`/topics/t?${Array.from({ length: 101 }, () => 'userProperty=a:b').join('&')}`), '400 bad-request');
    assert.equal((await broker.request('POST', '/topics/t', { headers: { authorization: 'Bearer ohk_no_no' } })).status, 401);
    assert.equal(await code('/topics/t'), 'ok');
  });

  test('a request that is repeated is done once, on whichever shard it comes', async () => {
    const receiver = await connect(broker.port, { clientId: 'r' });
    await receiver.subscribe('t/#', { qos: 1 });
    for (let i = 0; i < 6; i++) {
      const answers: HttpReply[] = [];
      for (let n = 0; n < 4; n++) {
        const answer = await post(broker, `/topics/t/${i}`, `key-${i}`, `body ${i}`);
        answers.push(answer);
        assert.deepEqual([answer.status, answer.json], [200, { status: 'ok', reasonCode: 0 }]);
        assert.equal(answer.headers.get('idempotency-replayed'), n === 0 ? null : 'true');
      }
      assert.equal(payloadText(await receiver.next()), `body ${i}`);
    }
    assert.equal((await post(broker, '/topics/t/0', 'key-0', 'another body')).json.code, 'unprocessable');
    assert.equal((await post(broker, '/topics/t/other', 'key-0', 'body 0')).json.code, 'unprocessable');
    // A key is its caller's.
    assert.equal((await post(broker, '/topics/t/mine', 'key-0', 'mine', 'viewer')).headers.get('idempotency-replayed'), null);
    assert.equal(payloadText(await receiver.next()), 'mine');
    await receiver.expectNone();
  });

  test('what the broker is not to do, it does not do over HTTP', async (t) => {
    const broker = await startHttpBroker(t, { 'mqtt.maximumQos': 1, 'mqtt.retainAvailable': false, 'p2p.enabled': false });
    const qos = await broker.request('POST', '/topics/t?qos=2', { role });
    assert.deepEqual([qos.status, qos.json.reasonCode], [400, 0x9b]);
    const retained = await broker.request('POST', '/topics/t?retained=true', { role });
    assert.deepEqual([retained.status, retained.json.reasonCode], [400, 0x9a]);
    assert.equal((await broker.request('POST', '/v1/clients/dev-1/messages', { role })).json.code, 'not-implemented');
    assert.equal((await broker.request('POST', '/v1/clients/messages', { role, body: { clientIds: ['a'] } })).status, 501);
  });

  test('a batch keeps its order, and one that is refused keeps none back', async () => {
    const receiver = await connect(broker.port, { clientId: clientIdOn(2, 3) });
    await receiver.subscribe('b/#', { qos: 1 });
    const messages = Array.from({ length: 1000 }, (_, index) => ({
      topic: index === 500 ? 'b/+' : 'b/x',
      payload: String(index),
      qos: index % 2,
    }));
    const answer = await broker.request('POST', '/v1/publish', { role, body: { messages } });
    assert.equal(answer.status, 200);
    const { results } = answer.json as { results: { reasonCode: number; problem?: { code: string } }[] };
    assert.equal(results.length, 1000);
    for (const [index, { reasonCode, problem }] of results.entries()) {
      assert.equal(reasonCode, index === 500 ? 0x90 : 0, String(index));
      assert.equal(problem?.code, index === 500 ? 'bad-request' : undefined);
    }
    const got = await receiver.nextMany(999);
    const expected = messages.map(({ payload }) => payload).filter((payload) => payload !== '500');
    // QoS 0 and 1 promise no order between each other.
    for (const rest of [0, 1])
      assert.deepEqual(
        got.map(payloadText).filter((payload) => Number(payload) % 2 === rest),
        expected.filter((payload) => Number(payload) % 2 === rest),
      );
    const bytes = {
      topic: 'b/y',
      payloadBase64: '/wA=',
      retain: true,
      correlationData: 'AP8=',
      userProperties: [['k', 'v']],
      expirySeconds: 5,
    };
    assert.equal((await broker.request('POST', '/v1/publish', { role, body: { messages: [bytes] } })).json.results[0].reasonCode, 0);
    const one = await receiver.next();
    assert.deepEqual([...one.payload], [0xff, 0]);
    assert.deepEqual([...one.properties.correlationData!], [0, 0xff]);
    assert.deepEqual(userValues(one.properties, 'k'), ['v']);
  });

  test('a batch that is wrong as a whole is refused as a whole', async () => {
    const topic = 't';
    for (const [body, status] of [
      ['{', 400],
      [{}, 422],
      [{ messages: [] }, 422],
      [{ messages: Array.from({ length: 1001 }, () => ({ topic })) }, 422],
      [{ messages: [{ topic, payload: 'a', payloadBase64: 'YQ==' }] }, 422],
      [{ messages: [{ topic, payloadBase64: '***' }] }, 422],
      [{ messages: [{ topic, qos: 3 }] }, 422],
      [{ messages: [{ topic, more: 1 }] }, 422],
      [{ messages: [{ topic: '\ud800' }] }, 422],
      [{ messages: [{ topic: 'a\0' }] }, 422],
      [{ messages: [null] }, 422],
      [{ messages: [{ topic, userProperties: Array.from({ length: 101 }, () => ['k', 'v']) }] }, 422],
      [{ messages: Array.from({ length: 101 }, () => ({ topic, userProperties: Array.from({ length: 100 }, () => ['k', 'v']) })) }, 413],
    ] as const) {
      const answer = await broker.request('POST', '/v1/publish', { role, body, headers: { 'content-type': 'application/json' } });
      assert.equal(answer.status, status, JSON.stringify(body).slice(0, 80));
    }
    // The last of many is wrong, long after the first could have been published.
    const receiver = await connect(broker.port, { clientId: clientIdOn(1, 3) });
    await receiver.subscribe('whole/#', { qos: 1 });
    const messages = Array.from({ length: 1000 }, (_, index) => ({ topic: 'whole/x', qos: index === 999 ? 7 : 0 }));
    const late = await broker.request('POST', '/v1/publish', { role, body: { messages } });
    assert.equal(late.status, 422);
    assert.deepEqual(
      late.json.errors.map(({ at }: { at: string }) => at),
      ['body.messages.999.qos'],
    );
    assert.equal((await broker.request('POST', '/v1/publish', { role, body: { messages: [{ topic: 'whole/end', qos: 1 }] } })).status, 200);
    assert.equal((await receiver.next()).topic, 'whole/end', 'nothing came before it');
    await receiver.disconnect();
    const type = await broker.request('POST', '/v1/publish', { role, body: '{}', headers: { 'content-type': 'text/plain' } });
    assert.equal(type.status, 415);
  });

  test('statements hold for callers as for clients', async (t) => {
    const broker = await startHttpBroker(t, {
      'authorization.statements': [
        { effect: 'deny', actions: ['publish'], topics: ['open/shut'] },
        { effect: 'allow', actions: ['publish'], topics: ['open/#', 'own/${Username}/#'] },
      ],
    });
    const ask = async (topic: string): Promise<number> => (await broker.request('POST', `/topics/${topic}`, { role })).status;
    for (let i = 0; i < 2; i++) {
      assert.equal(await ask('open/a'), 200);
      assert.equal(await ask('open/shut'), 403);
      assert.equal(await ask('own/api-key-testservice/x'), 200);
      assert.equal(await ask('own/other/x'), 403);
    }
    assert.equal((await broker.request('POST', '/topics/anything', { role: 'operator' })).status, 200, 'an operator may everything');
    const batch = await broker.request('POST', '/v1/publish', { role, body: { messages: [{ topic: 'open/a' }, { topic: 'shut' }] } });
    assert.deepEqual(
      batch.json.results.map(({ reasonCode }: { reasonCode: number }) => reasonCode),
      [16, 0x87],
    );
  });

  test('quotas that change while a caller is remembered hold for it', async (t) => {
    const broker = await startHttpBroker(t, { 'quotas.groups.by': 'username', 'quotas.groups.messagesIn': 100_000 });
    // Of the same group, which therefore is not made anew by itself.
    const device = await connect(broker.port, { clientId: 'device', username: 'fleet', password: 'any' });
    const headers = { authorization: `Basic ${Buffer.from('fleet:any').toString('base64')}` };
    const statusOf = async (): Promise<number> => (await broker.request('POST', '/topics/t?qos=1', { headers, body: 'x' })).status;
    assert.equal(await statusOf(), 200);
    const body = { quotas: { groups: { messagesIn: { perSecond: 1, burst: 2 } } } };
    assert.equal((await broker.request('PATCH', '/api/v1/config', { role: 'admin', body })).status, 200);
    const statuses: number[] = [];
    for (let i = 0; i < 8; i++) statuses.push(await statusOf());
    assert.ok(statuses.includes(429), String(statuses));
    await device.disconnect();
  });

  test('a quota that is used up is 429 at every QoS, and an event', async (t) => {
    const broker = await startHttpBroker(t, { 'quotas.client.messagesIn': { perSecond: 1, burst: 3 } });
    const watcher = await connect(broker.port, { clientId: 'w' });
    await watcher.subscribe('$events/message_dropped');
    const statuses: number[] = [];
    for (let i = 0; i < 12; i++) statuses.push((await broker.request('POST', `/topics/t?qos=${i % 3}`, { role })).status);
    assert.equal(statuses[0], 200);
    for (const qos of [0, 1, 2])
      assert.ok(
        statuses.slice(6).some((status, index) => status === 429 && index % 3 === qos),
        String(statuses),
      );
    assert.ok(statuses.every((status) => status === 200 || status === 429));
    const event = JSON.parse(payloadText(await watcher.next()));
    assert.deepEqual([event.event, event.reason, event.topic], ['message.dropped', 'quota', 't']);
  });

  test('what was answered with 200 at QoS 1 outlives SIGKILL', async (t) => {
    const store = { 'store.path': storeDirectory() };
    const broker = await startHttpBroker(t, { shards: 2, ...store });
    const clientIds = [0, 1].map((shard) => clientIdOn(shard, 2));
    const properties = { sessionExpiryInterval: 3600 };
    for (const clientId of clientIds) {
      const client = await connect(broker.port, { clientId, properties });
      await client.subscribe('kept/#', { qos: 1 });
      await client.disconnect();
    }
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, index) => broker.request('POST', `/topics/kept/${index}?qos=1`, { role, body: String(index) })),
    );
    assert.ok(answers.every(({ status, json }) => status === 200 && json.reasonCode === 0));
    await broker.kill();
    const again = await startHttpBroker(t, { shards: 2, ...store });
    for (const clientId of clientIds) {
      const client = await connect(again.port, { clientId, cleanStart: false, properties });
      const got = await client.nextMany(20);
      assert.deepEqual(got.map(payloadText).sort(), Array.from({ length: 20 }, (_, index) => String(index)).sort());
    }
  });
});

describe('idempotency keys', () => {
  test('User Properties in a header are part of the request; a batch of which nothing was taken may be tried again', async (t) => {
    const broker = await startHttpBroker(t, {
      shards: 2,
      'authorization.statements': [
        { effect: 'deny', actions: ['publish'], topics: ['no/#'] },
        { effect: 'allow', actions: ['publish'], topics: ['#'] },
      ],
    });
    const send = (unit: string): Promise<HttpReply> =>
      broker.request('POST', '/topics/t', {
        role,
        body: '21',
        headers: { 'idempotency-key': 'k', 'x-mqtt-user-property': `unit=${unit}` },
      });
    assert.equal((await send('C')).status, 200);
    assert.equal((await send('F')).status, 422);
    assert.equal((await send('C')).headers.get('idempotency-replayed'), 'true');
    const batch = (key: string, topics: readonly string[]): Promise<HttpReply> =>
      post(broker, '/v1/publish', key, { messages: topics.map((topic) => ({ topic, payload: 'x' })) });
    for (const [key, topics, replayed] of [
      ['none', ['no/1', 'no/2'], null],
      ['some', ['no/1', 'yes'], 'true'],
    ] as const) {
      assert.equal((await batch(key, topics)).status, 200);
      assert.equal((await batch(key, topics)).headers.get('idempotency-replayed'), replayed, key);
    }
  });

  test('batches have keys, and what may be tried again is forgotten', async (t) => {
    const broker = await startHttpBroker(t, { 'quotas.client.messagesIn': { perSecond: 5, burst: 2 } });
    const receiver = await connect(broker.port, { clientId: 'r' });
    await receiver.subscribe('t', { qos: 1 });
    const body = { messages: [{ topic: 't', payload: '1', qos: 1 }] };
    const first = await post(broker, '/v1/publish', 'b', body);
    const second = await post(broker, '/v1/publish', 'b', body);
    assert.deepEqual(second.json, first.json);
    assert.equal(second.headers.get('idempotency-replayed'), 'true');
    let answer = await post(broker, '/topics/t', 'over', '2');
    for (let i = 0; answer.status === 200; i++) answer = await post(broker, '/topics/t', `over-${i}`, '2');
    assert.equal(answer.status, 429);
    const key = 'over-again';
    await until('the quota has room again', async () => (await post(broker, '/topics/t', key, '3')).status !== 429);
    assert.equal((await post(broker, '/topics/t', key, '3')).headers.get('idempotency-replayed'), 'true');
  });
});
