/**
 * Goal: a token lets in whom it names, with the role that it gives; only so many requests are under way at a time; the access log is thinned out, but not of what failed.
 * Method: real brokers with an HTTP door, tokens of a shared secret, and a client that does not acknowledge.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import test from 'node:test';
import { SignJWT } from 'jose';
import { writeUserFile } from '../../src/server/user-file.ts';
import { connect } from '../support/client.ts';
import { startHttpBroker } from '../support/http.ts';
import { storeDirectory } from '../support/store-directory.ts';

test('a token: its role, its end, somebody else’s', async (t) => {
  const secret = randomBytes(48).toString('base64');
  const file = join(storeDirectory(), 'secret');
  writeFileSync(file, secret);
  const authenticator = { type: 'jwt', algorithms: ['HS256'], secret: file, usernameClaim: 'sub', attributesClaim: 'attributes' };
  const broker = await startHttpBroker(t, {
    shards: 2,
    'auth.authenticators': [authenticator],
    'auth.failures.perAddress': 0,
    'http.roleAttribute': 'role',
  });
  const seconds = Math.floor(Date.now() / 1000);
  const token = (key: string, exp: number, attributes: object): Promise<string> =>
    new SignJWT({ sub: 'ann', exp, attributes }).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(key));
  const ask = async (bearer: string, method: string, path: string): Promise<number> =>
    (await broker.request(method, path, { headers: { authorization: `Bearer ${bearer}` } })).status;
  const operator = await token(secret, seconds + 600, { role: 'operator' });
  const plain = await token(secret, seconds + 600, {});
  assert.equal(await ask(operator, 'GET', '/api/v1/clients'), 200);
  assert.equal(await ask(operator, 'DELETE', '/api/v1/users/nobody'), 403);
  assert.equal(await ask(plain, 'GET', '/api/v1/clients'), 403);
  assert.equal((await broker.request('POST', '/topics/a?qos=0', { headers: { authorization: `Bearer ${plain}` }, body: 'x' })).status, 200);
  assert.equal(await ask(await token(secret, seconds - 60, { role: 'admin' }), 'GET', '/api/v1/clients'), 401);
  assert.equal(await ask(await token(`${secret}x`, seconds + 600, { role: 'admin' }), 'GET', '/api/v1/clients'), 401);
});

test('tokens without a name are told apart, and no one has the idempotency keys of another', async (t) => {
  const secret = randomBytes(48).toString('base64');
  const file = join(storeDirectory(), 'secret');
  writeFileSync(file, secret);
  const broker = await startHttpBroker(t, { shards: 2, 'auth.authenticators': [{ type: 'jwt', algorithms: ['HS256'], secret: file }] });
  const client = await connect(broker.port, { password: await tokenOf('reader') });
  await client.subscribe('t');
  async function tokenOf(sub: string): Promise<string> {
    return new SignJWT({ sub }).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(secret));
  }
  for (const tenant of ['a', 'b']) {
    const headers = { authorization: `bearer ${await tokenOf(tenant)}`, 'idempotency-key': 'order-1' };
    assert.equal((await broker.request('GET', '/api/v1/me', { headers })).json.name, `user ${tenant}`);
    const answer = await broker.request('POST', '/topics/t', { headers, body: 'the same' });
    assert.deepEqual([answer.status, answer.headers.get('idempotency-replayed')], [200, null]);
    assert.equal((await broker.request('POST', '/topics/t', { headers, body: 'the same' })).headers.get('idempotency-replayed'), 'true');
    await client.next();
  }
  await client.expectNone();
  await client.disconnect();
  const authenticators = [{ type: 'jwt', algorithms: ['HS256'], secret: file, from: 'username' }];
  const nameless = await startHttpBroker(t, { 'auth.authenticators': authenticators });
  for (const jti of ['a', 'b']) {
    const token = await new SignJWT({ jti }).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(secret));
    const headers = { authorization: `Bearer ${token}`, 'idempotency-key': 'order-1' };
    const answer = await nameless.request('POST', '/topics/t', { headers, body: 'the same' });
    assert.deepEqual([answer.status, answer.headers.get('idempotency-replayed')], [200, null]);
  }
});

test('who shows nothing is let in where MQTT clients are, beside authenticators', async (t) => {
  const file = join(storeDirectory(), 'users.json');
  writeUserFile(file, []);
  const authenticators = [{ type: 'users', file }];
  const broker = await startHttpBroker(t, { 'auth.authenticators': authenticators, 'auth.allowAnonymous': true });
  assert.equal((await broker.request('POST', '/topics/a', { body: 'x' })).status, 200);
  assert.equal((await broker.request('POST', '/topics/a', { body: 'x', headers: { authorization: 'Basic YTpi' } })).status, 401);
  const from = async (localAddress: string): Promise<string | undefined> => {
    const headers = { 'idempotency-key': 'k' };
    const request = http.request(`${broker.url}/topics/a`, { method: 'POST', localAddress, headers }).end('x');
    const [reply] = (await once(request, 'response')) as [http.IncomingMessage];
    reply.resume();
    assert.equal(reply.statusCode, 200);
    return reply.headers['idempotency-replayed'] as string | undefined;
  };
  assert.deepEqual([await from('127.0.0.1'), await from('127.0.0.2'), await from('127.0.0.1')], [undefined, undefined, 'true']);
  const closed = await startHttpBroker(t, { 'auth.authenticators': authenticators });
  assert.equal((await closed.request('POST', '/topics/a', { body: 'x' })).status, 401);
});

test('requests that are under way are bounded, and the next ones are taken when they have ended', async (t) => {
  const broker = await startHttpBroker(t, { shards: 1, 'http.requests': 8 });
  const client = await connect(broker.port, { clientId: 'slow', autoAck: false });
  const send = (): ReturnType<typeof broker.request> =>
    broker.request('POST', '/v1/clients/slow/messages?topic=cmd&qos=1&confirm=true&timeout=20', { role: 'service', body: 'x' });
  const answers: ReturnType<typeof send>[] = [];
  const messages = [];
  while (answers.length < 7) {
    answers.push(send());
    messages.push(await client.next());
  }
  const busy = await send();
  assert.deepEqual([busy.status, busy.json.code], [503, 'unavailable']);
  assert.match(busy.json.detail, /too many requests/);
  assert.equal((await broker.request('GET', '/healthz')).status, 200, 'the broker is well');
  assert.equal((await broker.request('GET', '/api/v1/clients', { role: 'viewer' })).status, 200, 'there is room for who looks after it');
  for (const message of messages) client.ack(message);
  for (const answer of await Promise.all(answers)) assert.equal(answer.status, 200, answer.text);
  const after = send();
  client.ack(await client.next());
  assert.equal((await after).status, 200);
  await client.disconnect();
});

test('a thinned access log has what failed', async (t) => {
  const broker = await startHttpBroker(t, { shards: 1, 'http.accessLog': 'all', 'http.accessLogSample': 0 });
  for (let i = 0; i < 20; i++) assert.equal((await broker.request('GET', '/healthz')).status, 200);
  assert.equal((await broker.request('GET', '/nothing')).status, 404);
  await broker.line(({ msg, path }) => msg === 'HTTP request' && path === '/nothing');
  assert.ok(!broker.log.some(({ path }) => path === '/healthz'));
});
