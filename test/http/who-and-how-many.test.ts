/**
 * Goal: a token lets in whom it names, with the role that it gives; only so many requests are under way at a time; the access log is thinned out, but not of what failed.
 * Method: real brokers with an HTTP door, tokens of a shared secret, and a client that does not acknowledge.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { SignJWT } from 'jose';
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

test('requests that are under way are bounded, and the next ones are taken when they have ended', async (t) => {
  const broker = await startHttpBroker(t, { shards: 1, 'http.requests': 2 });
  const client = await connect(broker.port, { clientId: 'slow', autoAck: false });
  const send = (): ReturnType<typeof broker.request> =>
    broker.request('POST', '/v1/clients/slow/messages?topic=cmd&qos=1&confirm=true&timeout=20', { role: 'service', body: 'x' });
  const answers = [send(), send()];
  const messages = [await client.next(), await client.next()];
  const busy = await broker.request('GET', '/healthz');
  assert.deepEqual([busy.status, busy.json.code], [503, 'unavailable']);
  assert.match(busy.json.detail, /too many requests/);
  for (const message of messages) client.ack(message);
  for (const answer of await Promise.all(answers)) assert.equal(answer.status, 200, answer.text);
  assert.equal((await broker.request('GET', '/healthz')).status, 200);
  await client.disconnect();
});

test('a thinned access log has what failed', async (t) => {
  const broker = await startHttpBroker(t, { shards: 1, 'http.accessLog': 'all', 'http.accessLogSample': 0 });
  for (let i = 0; i < 20; i++) assert.equal((await broker.request('GET', '/healthz')).status, 200);
  assert.equal((await broker.request('GET', '/nothing')).status, 404);
  await broker.line(({ msg, path }) => msg === 'HTTP request' && path === '/nothing');
  assert.ok(!broker.log.some(({ path }) => path === '/healthz'));
});
