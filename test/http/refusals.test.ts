/**
 * What a refusal says: the true reason, in words of whoever has sent the request, what there is instead, and when to try again.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Role } from '../../src/http/role.ts';
import { hashPassword } from '../../src/server/user-commands.ts';
import { writeUserFile } from '../../src/server/user-file.ts';
import { connect } from '../support/client.ts';
import { type HttpBroker, type HttpReply, startHttpBroker, suite } from '../support/http.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { until } from '../support/until.ts';

/** A POST without a body, and without a word of one but what is given. */
async function post(broker: HttpBroker, path: string, headers: Record<string, string> = {}): Promise<number> {
  const request = http.request(`${broker.url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${broker.keys.admin}`, ...headers },
  });
  const [reply] = (await once(request.end(), 'response')) as [http.IncomingMessage];
  reply.resume();
  await once(reply, 'end');
  return reply.statusCode!;
}

describe('what is refused', () => {
  let broker: HttpBroker;
  const whole = suite();
  after(() => whole.stop());
  before(async () => {
    broker = await startHttpBroker(whole, { shards: 2, 'auth.blocked': join(storeDirectory(), 'blocked.json') });
  });

  const ask = (method: string, path: string, body?: unknown, role: Role = 'admin'): Promise<HttpReply> =>
    broker.request(method, path, { role, ...(body !== undefined && { body }) });
  const told = async (method: string, path: string, body?: unknown): Promise<string> => {
    const { status, json } = await ask(method, path, body);
    return `${status} ${json.detail}`;
  };

  test('a parameter that is not known is named, with those that are', async () => {
    const page = 'limit, cursor';
    for (const [method, path, detail, body] of [
      ['GET', '/api/v1/subscriptions?client=x', `query.client: is not known here; known: filter, topic, clientId, group, ${page}`],
      ['GET', '/api/v1/retained?fitler=x', `query.fitler: is not known here; known: filter, ${page}`],
      ['GET', '/api/v1/clients?foo=1', `query.foo: is not known here; known: prefix, contains, state, username, address, ${page}`],
      ['DELETE', '/api/v1/clients/dev-1?wil=false', 'query.wil: is not known here; known: session, will'],
      ['GET', '/api/v1/shards?x=1', 'query.x: is not known here'],
      ['GET', '/api/v1/traces?limit=5', 'query.limit: is not known here'],
      [
        'POST',
        '/v1/publish?qos=2',
        'query.qos: is not known here; known: client_id, clientId',
        { messages: [{ topic: 't', payload: 'x' }] },
      ],
      [
        'POST',
        '/v1/clients/messages?confirm=true',
        'query.confirm: is not known here; known: client_id, clientId',
        { clientIds: ['dev-1'], payload: 'x' },
      ],
    ] as const)
      assert.equal(await told(method, path, body), `400 ${detail}`);
    const { json } = await ask('GET', '/api/v1/broker?one=1&two=2');
    assert.deepEqual(
      json.errors.map(({ at }: { at: string }) => at),
      ['query.one', 'query.two'],
    );
    for (const path of ['/metrics', '/healthz', '/readyz', '/openapi.json', '/console/'])
      assert.equal((await ask('GET', `${path}?probe=1`)).status, 200, path);
  });

  test('a topic is refused for its own reason', async () => {
    const client = await connect(broker.port, { clientId: 'dev-1' });
    const toClient = (topic: string): Promise<string> => told('POST', `/v1/clients/dev-1/messages?topic=${encodeURIComponent(topic)}`, 'x');
    const published = (topic: string): Promise<string> => told('POST', `/topics/${topic}`, 'x');
    const somebody = '400 the topic is the P2P address of another client: leave it out, or name one that is nobody else’s address';
    const noTarget =
      '400 a P2P address without a Client Identifier: publish to {first}/p2p/{clientId}, or name targets in User Properties p2p-target, none of them empty';
    const wild = '400 the topic holds + or #: a message goes to one topic, without wildcards';
    const deep = '400 the topic has 201 levels; limits.topicLevels allows 128';
    assert.equal(await toClient('cmd/p2p/other'), somebody);
    assert.equal(await toClient('a/+'), wild);
    assert.equal(await toClient('a/'.repeat(200)), deep);
    assert.equal(await toClient('a\0'), '400 the topic holds U+0000, or something else that is no text in MQTT');
    assert.equal(await published(''), '400 the topic is empty');
    assert.equal(await published('a/%23'), wild);
    assert.equal(await published('a/'.repeat(200)), deep);
    assert.equal(await published('cmd/p2p/'), noTarget);
    const long = await ask('POST', '/v1/publish', { messages: [{ topic: 'é'.repeat(40_000) }, { topic: 'cmd/p2p' }] });
    assert.deepEqual(
      long.json.results.map(({ problem }: { problem: { detail: string } }) => `400 ${problem.detail}`),
      ['400 the topic has 80000 bytes; MQTT allows 65535', noTarget],
    );
    const many = await ask('POST', '/v1/clients/messages', { clientIds: ['dev-1'], topic: 'cmd/p2p/other', payload: 'x' });
    assert.equal(`400 ${many.json.results[0].problem.detail}`, somebody);
    await client.disconnect();
  });

  test('a value is refused in words, and not in those of the validator', async () => {
    const filters = Array.from({ length: 33 }, (_, index) => `filter=f${index}`).join('&');
    const rule = { name: 'r', kind: 'client-id', include: 'x' };
    for (const [method, path, text, body] of [
      ['GET', '/v1/subscribe', '400 query.filter: give 1 to 32 filters, each as filter=…'],
      ['GET', `/v1/subscribe?${filters}`, '400 query.filter: give 1 to 32 filters, each as filter=…'],
      ['GET', '/v1/subscribe?filter=a&qos=5', '400 query.qos: must be 0, 1 or 2'],
      ['GET', '/v1/subscribe?filter=a&qos=1&qos=1', '400 query.qos: comes more than once'],
      ['POST', '/keep-alive?interval=60', '400 query.client-id: is required'],
      ['GET', '/api/v1/clients?limit=0', '400 query.limit: must be at least 1'],
      ['GET', '/api/v1/clients?limit=x', '400 query.limit: must be a number'],
      ['GET', '/api/v1/clients?limit=1.5', '400 query.limit: must be a whole number'],
      ['GET', '/api/v1/clients?state=away', '400 query.state: must be connected or disconnected'],
      ['GET', '/api/v1/subscriptions?topic=', '400 query.topic: must not be empty'],
      ['GET', '/api/v1/audit?from=noon', '400 query.from: must be a time such as 2026-11-29T17:00:00Z'],
      ['POST', '/v1/publish', '422 body.messages.0.qos: must be 0, 1 or 2', { messages: [{ topic: 't', qos: 5 }] }],
      ['POST', '/v1/publish', '422 body.messages.0.payload: must be a text', { messages: [{ topic: 't', payload: 5 }] }],
      ['POST', '/v1/publish', '422 body.messages.0.payloadBase64: must be Base64', { messages: [{ topic: 't', payloadBase64: '*' }] }],
      ['POST', '/v1/publish', '422 body.messages.0.topic: is required', { messages: [{}] }],
      ['POST', '/v1/publish', '422 body.messages.0: must be an object', { messages: [1] }],
      ['POST', '/v1/publish', '422 body.messages: must have at least 1 entry', { messages: [] }],
      ['POST', '/v1/publish', '422 body.messages: is required', {}],
      ['POST', '/v1/publish', '422 body.more: is not known here; known: messages', { messages: [{ topic: 't' }], more: 1 }],
      ['POST', '/api/v1/block-rules', '422 body.kind: must be client-id, username or address', { ...rule, kind: 'x' }],
      ['POST', '/api/v1/block-rules', '422 body.expiresAt: must be a time such as 2026-11-29T17:00:00Z', { ...rule, expiresAt: '' }],
    ] as const)
      assert.equal(await told(method, path, body), text);
  });

  test('a key of the configuration says what a change of it needs, or that there is none', async () => {
    const restart = 'cannot be changed while the broker runs: write it to the configuration, and restart the broker';
    const signal = 'cannot be changed here: write it to the configuration, and send SIGHUP to the broker';
    for (const [body, faults] of [
      [{ history: { enabled: false } }, [`history.enabled: ${restart}`]],
      [{ listeners: [] }, [`listeners: ${restart}`]],
      [{ limits: { inflight: 9, nonsense: 1 } }, [`limits.inflight: ${restart}`, 'limits.nonsense: unknown key']],
      [{ p2p: { mailbox: { ttl: '1d' } } }, [`p2p.mailbox.ttl: ${restart}`]],
      [{ history: null }, [`history: ${restart}`]],
      [{ authorization: { deniedV3: 'close', file: 'x' } }, [`authorization.file: ${signal}`]],
      [{ nonsense: 1 }, ['nonsense: unknown key']],
      [{ log: { nonsense: 1 } }, ['log.nonsense: unknown key']],
      [{ quotas: { nonsense: 1 } }, ['quotas.nonsense: unknown key']],
    ] as const) {
      const { status, json } = await ask('PATCH', '/api/v1/config', body);
      assert.equal(status, 422);
      assert.deepEqual(
        json.errors.map(({ at, message }: { at: string; message: string }) => `${at}: ${message}`),
        faults,
      );
    }
    const { json } = await ask('GET', '/api/v1/config');
    assert.ok(
      json.data.every(({ source }: { source: string }) => source !== 'api'),
      'nothing of them holds',
    );
  });

  test('what would have no effect is not passed over', async () => {
    const only = 'only with confirm';
    assert.equal(await told('POST', '/v1/clients/dev-1/messages?timeout=3', 'x'), `400 query.timeout: ${only}=true`);
    assert.equal(await told('POST', '/v1/clients/dev-1/messages?timeout=10&confirm=false', 'x'), `400 query.timeout: ${only}=true`);
    assert.equal(
      await told('POST', '/v1/clients/messages', { clientIds: ['a'], payload: 'x', timeoutMilliseconds: 10_000 }),
      `422 body.timeoutMilliseconds: ${only}: true`,
    );
    for (const [method, path, name] of [
      ['POST', '/topics/t', 'client_id'],
      ['POST', '/v1/clients/dev-1/messages', 'clientId'],
      ['GET', '/api/v1/me', 'clientId'],
    ] as const) {
      const { status, json } = await ask(method, `${path}?${name}=me`, method === 'POST' ? 'x' : undefined);
      assert.deepEqual([status, json.code], [400, 'bad-request']);
      assert.match(json.detail, /^query\.client_id: an API key always has its own Client Identifier/);
    }
    // Where it is what is asked for, it is another thing.
    assert.equal((await ask('GET', '/api/v1/subscriptions?clientId=me')).status, 200);
  });

  test('a body that need not say anything may be missing', async () => {
    for (const headers of [{}, { 'content-type': 'application/json' }]) {
      assert.ok([200, 202].includes(await post(broker, '/api/v1/store/compact', headers)));
      await until('it is done', async () => (await ask('GET', '/api/v1/store')).json.compaction.state !== 'running');
      assert.ok([200, 202].includes(await post(broker, '/api/v1/store/backup', headers)));
      await until('it is done', async () => (await ask('GET', '/api/v1/store')).json.backup.state !== 'running');
    }
    assert.equal(await post(broker, '/v1/publish'), 415);
    assert.equal(await post(broker, '/v1/publish', { 'content-type': 'application/json' }), 400);
    const typed = await broker.request('POST', '/api/v1/store/compact', {
      role: 'admin',
      body: '{}',
      headers: { 'content-type': 'text/plain' },
    });
    assert.equal(typed.status, 415, 'what is there is not passed over');
    const { paths } = (await ask('GET', '/openapi.json')).json;
    assert.equal(paths['/api/v1/store/compact'].post.requestBody.required, false);
    assert.equal(paths['/v1/publish'].post.requestBody.required, true);
  });

  test('the document names every way to show who asks', async () => {
    const { components, paths } = (await ask('GET', '/openapi.json')).json;
    assert.deepEqual(Object.keys(components.securitySchemes), ['bearer', 'basic', 'mutualTls']);
    assert.equal(components.securitySchemes.mutualTls.type, 'mutualTLS');
    assert.deepEqual(paths['/api/v1/me'].get.security, [{ bearer: [] }, { basic: [] }, { mutualTls: [] }]);
    assert.deepEqual(paths['/healthz'].get.security, []);
  });

  test('a block rule and an API key without an end have none, in the same word', async () => {
    const path = '/api/v1/block-rules';
    const rule = { kind: 'client-id', include: 'nobody-*' };
    const added = await ask('POST', path, { ...rule, name: 'for-ever', expiresAt: null });
    assert.deepEqual([added.status, added.json.expiresAt], [201, null]);
    assert.equal((await ask('GET', path)).json.data[0].expiresAt, null);
    const until = '2126-01-01T00:00:00.000Z';
    assert.equal((await ask('PUT', `${path}/for-ever`, { ...rule, expiresAt: until })).json.expiresAt, until);
    assert.equal((await ask('GET', path)).json.data[0].expiresAt, until);
    assert.equal((await ask('PUT', `${path}/for-ever`, rule)).json.expiresAt, null);
    const key = await ask('POST', '/api/v1/api-keys', { id: 'same', role: 'viewer', expiresAt: null });
    assert.deepEqual([key.status, key.json.expiresAt], [201, null]);
  });
});

test('who logs in may say as which client he asks, on every route for services', async (t) => {
  const file = join(storeDirectory(), 'users.json');
  const password = await hashPassword(Buffer.from('secret'));
  writeUserFile(file, [{ username: 'ann', password, attributes: {}, isSuperuser: false, remark: '' }]);
  const broker = await startHttpBroker(t, { 'auth.authenticators': [{ type: 'users', file }] });
  const headers = { authorization: `Basic ${Buffer.from('ann:secret').toString('base64')}` };
  for (const name of ['client_id', 'clientId'])
    assert.equal((await broker.request('GET', `/api/v1/me?${name}=me-1`, { headers })).json.clientId, 'me-1');
  const sent = await broker.request('POST', '/v1/publish?client_id=me-2', { headers, body: { messages: [{ topic: 't' }] } });
  assert.equal(sent.status, 200, sent.text);
});

test('who comes when too much is under way is told when to try again', async (t) => {
  const broker = await startHttpBroker(t, { 'http.requests': 1 });
  const silent = await connect(broker.port, { clientId: 'silent', autoAck: false });
  const waits = broker.request('POST', '/v1/clients/silent/messages?confirm=true', { role: 'service', body: 'x' });
  const message = await silent.next();
  const { status, json, headers } = await broker.request('GET', '/api/v1/me', { role: 'viewer' });
  assert.deepEqual([status, json.detail, headers.get('retry-after')], [503, 'too many requests are under way; try again', '1']);
  silent.ack(message);
  assert.equal((await waits).status, 200);
});
