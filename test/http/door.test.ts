/**
 * The HTTP door itself, over a real broker: routes and problems, who may ask, what is too much, pages of others, TLS, and the stop.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { library } from '../../src/base/c-library.ts';
import { addApiKey, removeApiKey } from '../../src/server/api-key-commands.ts';
import { hashPassword } from '../../src/server/user-commands.ts';
import { writeUserFile } from '../../src/server/user-file.ts';
import { Authority, pem, temporaryFile } from '../support/certificates.ts';
import { type HttpBroker, startHttpBroker } from '../support/http.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { until } from '../support/until.ts';

const LOCK_EXCLUSIVE = 2;

describe('the HTTP door', () => {
  test('health needs no credentials, the caller does', async (t) => {
    const broker = await startHttpBroker(t, { shards: 2 });
    const health = await broker.request('GET', '/healthz');
    assert.equal(health.status, 200);
    assert.deepEqual(health.json, { status: 'ok' });
    assert.match(health.headers.get('x-request-id')!, /^[01]-[0-9a-f]{8}-\w+$/);
    assert.equal((await broker.request('GET', '/readyz')).json.shards, 2);
    for (const role of ['service', 'viewer', 'operator', 'admin'] as const) {
      const me = await broker.request('GET', '/api/v1/me', { role });
      assert.equal(me.json.role, role);
      assert.equal(me.json.name, `api key test${role}`);
    }
    const given = await broker.request('GET', '/healthz', { headers: { 'x-request-id': 'mine-1' } });
    assert.equal(given.headers.get('x-request-id'), 'mine-1');
  });

  test('what is wrong is a problem document', async (t) => {
    const broker = await startHttpBroker(t);
    const missing = await broker.request('GET', '/nowhere');
    assert.equal(missing.status, 404);
    assert.match(missing.headers.get('content-type')!, /^application\/problem\+json/);
    assert.equal(missing.json.code, 'not-found');
    assert.equal(missing.json.status, 404);
    const method = await broker.request('DELETE', '/healthz');
    assert.equal(method.status, 405);
    assert.equal(method.headers.get('allow'), 'GET');
    for (const authorization of [
      'Bearer ohk_testadmin_wrong',
      'Bearer ohk_nobody_x',
      'Digest x',
      'Basic !!!',
      `Bearer ohk_${'x'.repeat(20_000)}`,
    ]) {
      const refused = await broker.request('GET', '/api/v1/me', { headers: { authorization } });
      // uWebSockets.js itself refuses a head that is too large.
      assert.ok(refused.status === 401 || refused.status === 431, `${authorization.slice(0, 30)}: ${refused.status}`);
      if (refused.status === 401) assert.equal(refused.headers.get('www-authenticate'), 'Bearer realm="onehop"');
    }
  });

  test('a key counts from when it is made until it is removed or ends', async (t) => {
    const broker = await startHttpBroker(t);
    const again = (): Promise<unknown> => broker.line(({ msg, count }) => msg === 'the file of API keys was read again' && count === 5);
    const token = addApiKey(broker.keyFile, { id: 'later', role: 'viewer', username: 'ann', expiresAt: 0, remark: '' });
    const headers = { authorization: `Bearer ${token}` };
    await again();
    assert.equal((await broker.request('GET', '/api/v1/me', { headers })).json.clientId, 'http-ann');
    removeApiKey(broker.keyFile, 'later');
    await broker.line(({ msg, count }) => msg === 'the file of API keys was read again' && count === 4);
    assert.equal((await broker.request('GET', '/api/v1/me', { headers })).status, 401);
  });

  test('a name and a password are those of CONNECT', async (t) => {
    const file = temporaryFile('users.json');
    const facts = { attributes: {}, isSuperuser: false, remark: '' };
    writeUserFile(file, [
      { ...facts, username: 'ann', password: await hashPassword(Buffer.from('secret')), attributes: { level: 'operator' } },
      { ...facts, username: 'root', password: await hashPassword(Buffer.from('hidden')), isSuperuser: true },
    ]);
    const broker = await startHttpBroker(t, {
      'auth.authenticators': [{ type: 'users', file }],
      'http.roleAttribute': 'level',
    });
    const as = (name: string, password: string): Promise<{ status: number; json: { role: string } }> =>
      broker.request('GET', '/api/v1/me', { headers: { authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` } });
    assert.equal((await as('ann', 'secret')).json.role, 'operator');
    assert.equal((await as('root', 'hidden')).json.role, 'admin');
    assert.equal((await as('ann', 'wrong')).status, 401);
    const many = await Promise.all(Array.from({ length: 20 }, () => as('root', 'hidden')));
    assert.deepEqual(new Set(many.map(({ status }) => status)), new Set([200]));
    assert.equal((await broker.request('GET', '/api/v1/me')).status, 401, 'nobody is anybody where there are authenticators');
  });

  test('who begins with many requests at once is judged once, and a login that nobody judges is no wrong one', async (t) => {
    const file = temporaryFile('few-users.json');
    const facts = { attributes: {}, isSuperuser: false, remark: '' };
    writeUserFile(file, [{ ...facts, username: 'ann', password: await hashPassword(Buffer.from('secret')) }]);
    const broker = await startHttpBroker(t, { 'auth.authenticators': [{ type: 'users', file }], 'auth.waiting': 1 });
    const as = (password: string): ReturnType<HttpBroker['request']> =>
      broker.request('GET', '/api/v1/me', { headers: { authorization: `Basic ${Buffer.from(`ann:${password}`).toString('base64')}` } });
    const same = await Promise.all(Array.from({ length: 20 }, () => as('secret')));
    assert.deepEqual(new Set(same.map(({ status }) => status)), new Set([200]));
    const others = await Promise.all(Array.from({ length: 20 }, (_, n) => as(`guess-${n}`)));
    const statuses = others.map(({ status }) => status);
    assert.ok(statuses.includes(401) && statuses.includes(503), String(statuses));
  });

  test('many requests with one wrong password are one check, and each is refused', async (t) => {
    // A service that answers when everybody waits.
    const checks: http.ServerResponse[] = [];
    const service = http.createServer((_, response) => checks.push(response)).listen(0, '127.0.0.1');
    await once(service, 'listening');
    t.after(() => service.close());
    const { port } = service.address() as net.AddressInfo;
    const broker = await startHttpBroker(t, {
      'auth.authenticators': [{ type: 'http', url: `http://127.0.0.1:${port}/`, readTimeout: '30s' }],
      'http.timeout': '60s',
    });
    const headers = { authorization: `Basic ${Buffer.from('ann:wrong').toString('base64')}` };
    const asked = Array.from({ length: 50 }, () => broker.request('GET', '/api/v1/me', { headers }));
    const end = Date.now() + 20_000;
    for (let isAll = false; !isAll; ) {
      const { text } = await broker.request('GET', '/metrics', { role: 'viewer' });
      isAll = Number(/^onehop_http_requests_waiting\S* (\d+)$/m.exec(text)![1]) > asked.length;
      assert.ok(Date.now() < end, 'all of them wait in time');
    }
    for (const response of checks) response.writeHead(401).end();
    assert.deepEqual(new Set((await Promise.all(asked)).map(({ status }) => status)), new Set([401]));
    assert.equal(checks.length, 1);
  });

  test('places in groups of quotas are given back when a caller is remembered no more', async (t) => {
    const broker = await startHttpBroker(t, { 'quotas.groups.by': 'username', 'quotas.groups.connections': 10 });
    const groups = async (): Promise<number> => {
      const { text } = await broker.request('GET', '/metrics', { role: 'viewer' });
      return Number(/^onehop_quota_groups\S* (\d+)$/m.exec(text)![1]);
    };
    assert.equal(await groups(), 1, 'who looks is one himself');
    // What is remembered ends with the key.
    const expiresAt = Date.now() + 3_000;
    const key = addApiKey(broker.keyFile, { id: 'short', role: 'service', username: 'short', expiresAt, remark: '' });
    const ask = async (): Promise<number> =>
      (await broker.request('POST', '/topics/t', { body: 'x', headers: { authorization: `Bearer ${key}` } })).status;
    while ((await ask()) !== 200) assert.ok(Date.now() < expiresAt, 'the key is known in time');
    assert.equal(await groups(), 2);
    const end = Date.now() + 30_000;
    while ((await groups()) !== 1) assert.ok(Date.now() < end, 'the place is given back');
    assert.equal(await ask(), 401);
  });

  test('pages of others may not ask, unless they are named', async (t) => {
    const broker = await startHttpBroker(t, { 'http.origins': ['https://friend.example'] });
    const from = (origin: string): ReturnType<HttpBroker['request']> => broker.request('GET', '/healthz', { headers: { origin } });
    assert.equal((await from('https://stranger.example')).status, 403);
    const friend = await from('https://friend.example');
    assert.equal(friend.status, 200);
    assert.equal(friend.headers.get('access-control-allow-origin'), 'https://friend.example');
    assert.deepEqual(friend.headers.get('access-control-expose-headers')!.split(', ').sort(), [
      'Allow',
      'Idempotency-Replayed',
      'Location',
      'Retry-After',
      'WWW-Authenticate',
      'X-Request-ID',
    ]);
    assert.equal((await from(broker.url)).status, 200, 'a page of the broker itself');
    const preflight = await broker.request('OPTIONS', '/api/v1/me', { headers: { origin: 'https://friend.example' } });
    assert.equal(preflight.status, 204);
    assert.equal(preflight.headers.get('content-length'), null);
    assert.match(preflight.headers.get('access-control-allow-headers')!, /Authorization/);
    assert.equal((await broker.request('OPTIONS', '/api/v1/me', { headers: { origin: 'https://stranger.example' } })).status, 403);
  });

  test('large answers are packed for who understands that, and HEAD has none', async (t) => {
    const broker = await startHttpBroker(t);
    const ask = async (method: string, headers: Record<string, string>): Promise<{ head: http.IncomingMessage; length: number }> => {
      const request = http.request(`${broker.url}/openapi.json`, { method, headers }).end();
      const [head] = (await once(request, 'response')) as [http.IncomingMessage];
      let length = 0;
      for await (const chunk of head) length += (chunk as Buffer).length;
      return { head, length };
    };
    const plain = await ask('GET', {});
    const packed = await ask('GET', { 'accept-encoding': 'br, gzip' });
    assert.equal(plain.head.headers['content-encoding'], undefined);
    assert.equal(packed.head.headers['content-encoding'], 'gzip');
    assert.ok(packed.length < plain.length / 2);
    const head = await ask('HEAD', {});
    assert.equal(head.length, 0);
    assert.equal(head.head.headers['content-length'], String(plain.length));
  });

  test('a request in pieces, over one connection with others', async (t) => {
    const broker = await startHttpBroker(t);
    const socket = net.connect(broker.ports[1]!, '127.0.0.1');
    await once(socket, 'connect');
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    const one = 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n';
    socket.write(one.slice(0, 30));
    await new Promise((resolve) => setImmediate(resolve));
    socket.write(one.slice(30));
    socket.write(one + one);
    while ((text.match(/"status":"ok"/g) ?? []).length < 3) await once(socket, 'data');
    assert.equal(text.match(/HTTP\/1\.1 200 OK/g)!.length, 3);
    socket.destroy();
  });

  test('HTTPS shows who has which certificate, and a listener that needs one refuses others', async (t) => {
    const authority = new Authority('fleet');
    const server = authority.issue('localhost');
    const client = authority.issue('console');
    const broker = await startHttpBroker(t, {
      listeners: [
        { type: 'tcp', bind: '127.0.0.1:0' },
        { type: 'http', bind: '127.0.0.1:0' },
        {
          type: 'https',
          bind: '127.0.0.1:0',
          tls: { certificates: [server], verifyClient: 'optional', ca: authority.root },
        },
        {
          type: 'https',
          bind: '127.0.0.1:0',
          tls: { certificates: [server], verifyClient: 'required', ca: authority.root },
        },
      ],
      'auth.authenticators': [{ type: 'certificate' }],
    });
    const ask = async (options: https.RequestOptions): Promise<{ status: number; text: string; headers: http.IncomingHttpHeaders }> => {
      const request = https
        .request({ host: '127.0.0.1', port: broker.ports[2], path: '/api/v1/me', rejectUnauthorized: false, agent: false, ...options })
        .end();
      const [reply] = (await once(request, 'response')) as [http.IncomingMessage];
      let text = '';
      for await (const chunk of reply) text += String(chunk);
      return { status: reply.statusCode!, text, headers: reply.headers };
    };
    assert.equal((await ask({})).status, 401);
    const known = await ask({ cert: pem(client.chain), key: pem(client.key) });
    assert.equal(known.status, 200, known.text);
    assert.match(JSON.parse(known.text).name, /^user console$/);
    const needed = { port: broker.ports[3] };
    assert.equal((await ask({ ...needed, cert: pem(client.chain), key: pem(client.key) })).status, 200);
    for (const path of ['/api/v1/me', '/healthz', '/nowhere']) {
      const { status, headers, text } = await ask({ ...needed, path, headers: { 'x-request-id': 'mine' } });
      assert.deepEqual([status, headers['content-type'], headers['x-request-id']], [403, 'application/problem+json', 'mine']);
      const { type, title, code, detail } = JSON.parse(text);
      assert.deepEqual(
        [type, title, code, detail],
        ['urn:onehop:problem:forbidden', 'Not allowed', 'forbidden', 'a client certificate is needed'],
      );
    }
  });

  test('a body in a million chunks costs its bytes, and nobody who may not send one', async (t) => {
    const broker = await startHttpBroker(t, { 'http.requestSize': '64KiB' });
    const send = async (head: string): Promise<{ text: string; written: number }> => {
      const socket = net.connect(broker.ports[1]!, '127.0.0.1');
      socket.on('error', () => {});
      let text = '';
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      const closed = new Promise((resolve) => socket.on('close', resolve));
      socket.write(`POST /topics/x HTTP/1.1\r\nHost: localhost\r\n${head}Transfer-Encoding: chunked\r\n\r\n`);
      const chunks = '1\r\nx\r\n'.repeat(10_000);
      let written = 0;
      while (!socket.destroyed && text === '' && written < 200_000) {
        written += 10_000;
        await new Promise((resolve) => socket.write(chunks, resolve));
      }
      if (text === '') await Promise.race([closed, once(socket, 'data')]);
      socket.destroy();
      return { text, written };
    };
    const known = await send(`Authorization: Bearer ${broker.keys.service}\r\n`);
    assert.match(known.text, /^HTTP\/1.1 413 /);
    const stranger = await send('Authorization: Bearer ohk_nobody_x\r\n');
    assert.match(stranger.text, /^HTTP\/1.1 401 /, 'before its body is there');
    assert.equal((await broker.request('GET', '/healthz')).status, 200);
  });

  test('a page that another name has brought here may not ask without credentials', async (t) => {
    const broker = await startHttpBroker(t, { 'http.origins': ['https://friend.example'] });
    const ask = async (host: string, authorization = ''): Promise<number> => {
      const headers = { host, ...(authorization !== '' && { authorization }) };
      const request = http.get(`${broker.url}/api/v1/me`, { headers });
      const [reply] = (await once(request, 'response')) as [http.IncomingMessage];
      reply.resume();
      return reply.statusCode!;
    };
    assert.equal(await ask('evil.test:8080'), 403);
    assert.equal(await ask('evil.test:8080', `Bearer ${broker.keys.viewer}`), 200, 'who shows something is no page by chance');
    for (const host of ['127.0.0.1:1', 'localhost:8080', '[::1]:8080', 'friend.example']) assert.equal(await ask(host), 200, host);
  });

  test('a change is in the audit log though nobody waits for its answer', async (t) => {
    const broker = await startHttpBroker(t);
    const body = JSON.stringify({ id: 'ghost', role: 'viewer' });
    const socket = net.connect(broker.ports[1]!, '127.0.0.1');
    await once(socket, 'connect');
    const head = `POST /api/v1/api-keys HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${broker.keys.admin}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
    await new Promise((resolve) => socket.write(head + body, resolve));
    const hasKey = async (): Promise<boolean> =>
      (await broker.request('GET', '/api/v1/api-keys', { role: 'admin' })).text.includes('ghost');
    socket.destroy();
    let isMade = false;
    for (let round = 0; round < 500 && !isMade; round++) isMade = await hasKey();
    assert.ok(isMade);
    const name = (await broker.request('GET', '/openapi.json')).json.paths['/api/v1/api-keys'].post.operationId as string;
    let found = false;
    for (let round = 0; round < 100 && !found; round++)
      found = (await broker.request('GET', '/api/v1/audit', { role: 'admin' })).text.includes(name);
    assert.ok(found);
  });

  test('who is not answered in time is told so, others are served meanwhile, and what was asked is done all the same', async (t) => {
    const file = join(storeDirectory(), 'blocked.json');
    const broker = await startHttpBroker(t, { 'auth.blocked': file, 'http.timeout': '1s', 'http.changeTimeout': '2s' });
    const rules = async (): Promise<number> => (await broker.request('GET', '/api/v1/block-rules', { role: 'viewer' })).json.data?.length;
    // Somebody else changes the file, and takes his time.
    const lock = openSync(`${file}.lock`, 'a');
    assert.equal(library()!.flock(lock, LOCK_EXCLUSIVE), 0);
    const body = { name: 'late', kind: 'client-id', include: 'x' };
    const begin = performance.now();
    const asked = broker.request('POST', '/api/v1/block-rules', { role: 'admin', body });
    assert.equal((await broker.request('GET', '/healthz')).status, 200);
    const { status, json } = await asked;
    assert.ok(performance.now() - begin > 1900, 'a change waits longer than other requests');
    assert.deepEqual([status, json.code, await rules()], [504, 'timeout', 0]);
    closeSync(lock);
    await until('the change', async () => (await rules()) === 1);
  });

  test('connections of a listener have a limit', async (t) => {
    const broker = await startHttpBroker(t, {
      listeners: [
        { type: 'tcp', bind: '127.0.0.1:0' },
        { type: 'http', bind: '127.0.0.1:0', connections: 2 },
      ],
    });
    const open = async (): Promise<net.Socket> => {
      const socket = net.connect(broker.ports[1]!, '127.0.0.1');
      socket.on('error', () => {});
      socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
      return socket;
    };
    const first = await open();
    await once(first, 'data');
    const second = await open();
    await once(second, 'data');
    const third = await open();
    await new Promise((resolve) => third.on('close', resolve));
    first.destroy();
    second.destroy();
    assert.equal(third.bytesRead, 0);
  });

  test('a broker that stops ends its connections', async (t) => {
    const broker = await startHttpBroker(t, { shards: 2 });
    const agent = new http.Agent({ keepAlive: true });
    const request = http.get(`${broker.url}/healthz`, { agent });
    const [reply] = (await once(request, 'response')) as [http.IncomingMessage];
    reply.resume();
    await once(reply, 'end');
    assert.equal(await broker.stop(), 0);
    agent.destroy();
  });
});
