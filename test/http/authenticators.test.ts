/*
 * Goal: authenticators through the API. One that is added judges from then on, behind those of the configuration; one that is switched off, or removed, judges nobody, and
 * whoever is connected stays. What is wrong changes nothing, and no key is told to anybody.
 * Method: real brokers with a file of authenticators, tokens signed by the test, a real HTTP service, MQTT clients that try to log in.
 */
import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { exportJWK, SignJWT } from 'jose';
import { hashPassword } from '../../src/server/user-commands.ts';
import { writeUserFile } from '../../src/server/user-file.ts';
import { type BrokerOptions, startBroker } from '../support/broker.ts';
import { connackCode, connect } from '../support/client.ts';
import { type HttpBroker, type HttpReply, startHttpBroker } from '../support/http.ts';
import { clientIdOn } from '../support/placement.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { until } from '../support/until.ts';

const PATH = '/api/v1/authenticators';
const WRONG = 0x86;
const UNAVAILABLE = 0x88;
const secret = randomBytes(32).toString('hex');
const TOKENS = { name: 'tokens', type: 'jwt', algorithms: ['HS256'], secretText: secret };

function token(key: string, claims: Record<string, string> = {}): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).setExpirationTime('1h').sign(Buffer.from(key));
}

interface Stage {
  readonly broker: HttpBroker;
  readonly file: string;
  as(method: string, path?: string, body?: unknown): Promise<HttpReply>;
  /** Tries to log in on each shard. */
  attempt(password: string, username?: string): Promise<number[]>;
}

async function stage(t: TestContext, options: BrokerOptions = {}): Promise<Stage> {
  const file = join(storeDirectory(), 'authenticators.json');
  const broker = await startHttpBroker(t, {
    shards: 2,
    'auth.file': file,
    'auth.failures.perAddress': 0,
    'auth.failures.perName': 0,
    ...options,
  });
  return {
    broker,
    file,
    as: (method, path = '', body) => broker.request(method, `${PATH}${path}`, { role: 'admin', ...(body !== undefined && { body }) }),
    attempt: (password, username = 'any') =>
      Promise.all([0, 1].map((shard) => connackCode(broker.port, { clientId: clientIdOn(shard, 2, 'try'), username, password }))),
  };
}

const names = ({ json }: HttpReply): unknown[] => json.data.map(({ name }: { name: string | null }) => name);

/** A service that says the same to everybody. */
async function service(t: TestContext, result: string, more: object = {}): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(String(request.headers['x-key']));
    request.resume();
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ result, ...more }));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/auth`, asked };
}

describe('authenticators through the API', { concurrency: 3 }, () => {
  test('one of tokens judges from the moment it is added until it is switched off or removed; who is connected stays', async (t) => {
    const { broker, file, as, attempt } = await stage(t);
    assert.equal(await connackCode(broker.port, { clientId: 'nobody' }), 0x87, 'a file that is named lets nobody in while it is empty');
    assert.deepEqual(await attempt(await token(secret)), [WRONG, WRONG]);
    assert.ok(!existsSync(file));

    const added = await as('POST', '', TOKENS);
    assert.deepEqual([added.status, names(added)], [201, ['tokens']], added.text);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.deepEqual(await attempt(await token(secret)), [0, 0]);
    assert.deepEqual(await attempt(await token(`${secret}x`)), [WRONG, WRONG]);
    const client = await connect(broker.port, { clientId: 'stays', username: 'any', password: await token(secret) });

    assert.equal((await as('PATCH', '/tokens', { issuer: 'us' })).status, 200);
    assert.deepEqual(await attempt(await token(secret)), [WRONG, WRONG]);
    assert.deepEqual(await attempt(await token(secret, { iss: 'us' })), [0, 0], 'its key is the one of before');
    assert.equal((await as('PATCH', '/tokens', { issuer: null })).status, 200);
    assert.deepEqual(await attempt(await token(secret)), [0, 0]);

    const off = await as('PATCH', '/tokens', { isActive: false });
    assert.deepEqual([off.status, off.json.data[0].isActive], [200, false]);
    assert.deepEqual(await attempt(await token(secret)), [WRONG, WRONG]);
    assert.equal((await as('PATCH', '/tokens', { isActive: true })).status, 200);
    const [{ accepted, refused }] = (await as('GET')).json.data;
    assert.deepEqual([accepted, refused], [2, 0], 'what it has said since it was changed; switching it off forgets nothing');
    assert.deepEqual(await attempt(await token(secret)), [0, 0]);

    assert.equal((await as('DELETE', '/tokens')).status, 200);
    assert.deepEqual(await attempt(await token(secret)), [WRONG, WRONG]);
    assert.equal((await as('DELETE', '/tokens')).status, 404);
    assert.equal((await client.publish('still/here', '', { qos: 1 })).code & 0x80, 0);
  });

  test('they outlive the broker, and a file that is changed by hand is read again, or not at all', async (t) => {
    const { broker, file, as } = await stage(t);
    assert.equal((await as('POST', '', TOKENS)).status, 201);
    await broker.stop();
    const again = await startBroker({ 'auth.file': file, 'auth.failures.perAddress': 0, 'auth.failures.perName': 0 });
    t.after(() => again.stop());
    const attempt = async (key: string): Promise<number> => connackCode(again.port, { username: 'any', password: await token(key) });
    assert.equal(await attempt(secret), 0);
    writeFileSync(file, '{ "version": 1, "authenticators": [{ "name": "tokens" }] }');
    await again.line(({ error }) => /authenticators\.json: authenticators\.0/.test(String(error)));
    assert.equal(await attempt(secret), 0);
    const other = randomBytes(32).toString('hex');
    writeFileSync(file, JSON.stringify({ version: 1, authenticators: [{ ...TOKENS, secretText: other }] }));
    await until('the new key', async () => (await attempt(other)) === 0);
    assert.equal(await attempt(secret), WRONG);
    const broken = join(storeDirectory(), 'broken.json');
    writeFileSync(broken, '{ "version": 1, "authenticators": [{ "name": "x", "type": "users", "file": "y" }] }');
    await assert.rejects(startBroker({ 'auth.file': broken }), /auth\.file: .*broken\.json: authenticators\.0.*jwt/);
  });

  test('they are asked in their order, behind those of the configuration', async (t) => {
    const users = join(storeDirectory(), 'users.json');
    const password = await hashPassword(Buffer.from('right'));
    writeUserFile(users, [{ username: 'any', password, attributes: {}, isSuperuser: false, remark: '' }]);
    const { as, attempt } = await stage(t, { 'auth.authenticators': [{ type: 'users', file: users }] });
    const yes = await service(t, 'allow');
    const no = await service(t, 'deny');
    assert.equal((await as('POST', '', { name: 'no', type: 'http', url: no.url, headers: { 'x-key': 'of-no' } })).status, 201);
    const both = await as('POST', '?place=0', { name: 'yes', type: 'http', url: yes.url, remark: 'for a while' });
    assert.deepEqual(
      both.json.data.map(({ place, of, type, name }: Record<string, unknown>) => [place, of, type, name]),
      [
        [0, 'configuration', 'users', null],
        [1, 'file', 'http', 'yes'],
        [2, 'file', 'http', 'no'],
      ],
      both.text,
    );
    assert.deepEqual([await attempt('right'), await attempt('wrong')].flat(), [0, 0, WRONG, WRONG]);
    assert.deepEqual([yes.asked.length, no.asked.length], [0, 0], 'the configuration has decided');
    assert.deepEqual(await attempt('x', 'else'), [0, 0]);
    assert.deepEqual([yes.asked.length, no.asked.length], [2, 0]);
    assert.deepEqual(names(await as('PATCH', '/yes?place=1', {})), [null, 'no', 'yes']);
    assert.deepEqual(await attempt('x', 'else'), [WRONG, WRONG]);
    assert.deepEqual([yes.asked.length, no.asked], [2, ['of-no', 'of-no']]);

    // A service's address is another one: what was written for the old one does not go there.
    const moved = await as('PATCH', '/no', { url: yes.url });
    assert.deepEqual([moved.status, moved.json.code], [422, 'unprocessable'], moved.text);
    assert.match(moved.json.detail, /^headers: written for another address/);
    assert.equal((await as('PATCH', '/no', { url: `${no.url}/other` })).status, 200, 'the same service');
    assert.equal((await as('PATCH', '/no', { url: yes.url, headers: null })).status, 200);
    assert.deepEqual(await attempt('x', 'else'), [0, 0]);
    assert.deepEqual(yes.asked.slice(2), ['undefined', 'undefined']);
  });

  test('what is wrong is named and changes nothing, and a change that somebody else has made is not overwritten', async (t) => {
    const { broker, file, as, attempt } = await stage(t);
    const { revision } = (await as('POST', '', TOKENS)).json;
    const before = readFileSync(file, 'utf8');
    const pem = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'pem' }) as string;
    const cases: [object, RegExp][] = [
      [{ name: 'x', type: 'users', file: './users.json' }, /authenticators\.1.*expected \{ name, type: jwt/],
      [{ name: 'x', type: 'jwt', algorithms: ['HS256'], secret: '/etc/passwd' }, /authenticators\.1.*unknown key secret/],
      [{ name: 'x', type: 'jwt', algorithms: ['HS256'], secretText: 'too-short' }, /authenticators\.1\.secretText.*a secret of 9 bytes/],
      [{ name: 'x', type: 'jwt', algorithms: ['HS256'], publicKeyText: pem }, /authenticators\.1\.algorithms: HS… needs secretText/],
      [{ name: 'x', type: 'jwt', algorithms: ['ES256'], publicKeyText: 'no PEM' }, /authenticators\.1\.publicKeyText.*no public key/],
      [{ name: 'x', type: 'jwt', algorithms: ['ES256'], jwksText: '{}' }, /authenticators\.1\.jwksText.*no set of keys/],
      [{ name: 'x', type: 'jwt', algorithms: ['ES256'] }, /expected one of secretText, publicKeyText, jwksText and jwksUrl/],
      [{ name: 'x', type: 'http', url: 'file:///etc/passwd' }, /authenticators\.1\.url: expected an address/],
      [{ name: 'x', type: 'http', url: 'http://127.0.0.1:9', isActive: 'yes' }, /authenticators\.1\.isActive: expected true or false/],
    ];
    for (const [body, expected] of cases) {
      const { status, json, text } = await as('POST', '', body);
      assert.equal(status, 422, text);
      assert.match(json.detail, expected);
      assert.ok(json.errors.length > 0, text);
      assert.ok(!text.includes('too-short'), 'no key is told');
    }
    assert.equal((await as('POST', '', TOKENS)).json.code, 'conflict');
    assert.equal((await as('PATCH', '/none', { isActive: false })).status, 404);
    assert.equal((await as('PATCH', `/tokens?revision=${'0'.repeat(16)}`, { isActive: false })).json.code, 'conflict');
    assert.equal(readFileSync(file, 'utf8'), before);
    assert.deepEqual(await attempt(await token(secret)), [0, 0]);
    assert.equal((await as('PATCH', `/tokens?revision=${revision}`, { isActive: false })).status, 200);
    for (const role of ['viewer', 'operator'] as const)
      for (const [method, path] of [
        ['POST', ''],
        ['PATCH', '/tokens'],
        ['DELETE', '/tokens'],
      ] as const)
        assert.equal((await broker.request(method, PATH + path, { role, ...(method !== 'DELETE' && { body: TOKENS }) })).status, 403);
    const listed = await broker.request('GET', PATH, { role: 'viewer' });
    const audit = await broker.request('GET', '/api/v1/audit', { role: 'admin' });
    assert.equal(audit.status, 200);
    assert.match(audit.text, /addAuthenticator/);
    for (const { text } of [listed, audit]) assert.ok(!text.includes(secret));
    assert.ok(!broker.log.some((line) => JSON.stringify(line).includes(secret)));
  });

  test('whoever it has let in over HTTP is asked anew when it is changed or removed, though callers are remembered', async (t) => {
    const { broker, as } = await stage(t);
    const yes = await service(t, 'allow', { is_superuser: true });
    const facts = { name: 'svc', type: 'http', url: yes.url };
    const me = async (): Promise<unknown> => {
      const authorization = `Basic ${Buffer.from('boss:x').toString('base64')}`;
      const { status, json } = await broker.request('GET', '/api/v1/me', { headers: { authorization } });
      return status === 200 ? json.role : status;
    };
    // Requests land on both shards.
    const all = async (): Promise<unknown[]> => [...new Set(await Promise.all(Array.from({ length: 8 }, me)))];
    assert.deepEqual(await all(), [401]);
    assert.equal((await as('POST', '', facts)).status, 201);
    assert.deepEqual(await all(), ['admin']);
    assert.equal((await as('PATCH', '/svc', { isActive: false })).status, 200);
    assert.deepEqual(await all(), [401]);
    assert.equal((await as('PATCH', '/svc', { isActive: true })).status, 200);
    assert.deepEqual(await all(), ['admin']);
    assert.equal((await as('DELETE', '/svc')).status, 200);
    assert.deepEqual(await all(), [401]);
  });

  test('what a service says after it was taken away counts for nothing', async (t) => {
    const { broker, as } = await stage(t);
    const answers: (() => void)[] = [];
    const server = createServer((request, response) => {
      request.resume();
      answers.push(() => response.writeHead(200, { 'content-type': 'application/json' }).end('{"result":"allow"}'));
      server.emit('asked');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    assert.equal((await as('POST', '', { name: 'svc', type: 'http', url })).status, 201);
    const asked = once(server, 'asked');
    const code = connackCode(broker.port, { username: 'any', password: 'x' });
    await asked;
    assert.equal((await as('DELETE', '/svc')).status, 200);
    answers[0]!();
    assert.equal(await code, UNAVAILABLE);
  });

  test('no key is told, in whatever answer, and a file that others could read is theirs no longer', async (t) => {
    const { broker, file, as, attempt } = await stage(t);
    writeFileSync(file, '{ "version": 1, "authenticators": [] }', { mode: 0o644 });
    const told: string[] = [];
    const tell = async (method: string, path: string, body: unknown): Promise<number> => {
      const { status, text } = await as(method, path, body);
      told.push(text);
      return status;
    };
    assert.equal(await tell('POST', '', TOKENS), 201);
    assert.equal(statSync(file).mode & 0o777, 0o640);
    const http = { name: 'svc', type: 'http', url: `http://u:${secret}@127.0.0.1:9/?k=${secret}`, headers: { authorization: secret } };
    assert.equal(await tell('POST', '', http), 201);
    assert.equal(await tell('PATCH', '/svc', { body: { x: secret } }), 200);
    for (const [path, body] of [
      ['/tokens', { secretText: [secret] }],
      ['/tokens', { secretText: { a: secret } }],
      ['/svc', { headers: { authorization: [secret] } }],
      ['/svc', { url: `htp://u:${secret}@x/`, headers: null, body: null }],
      ['/tokens', { secretText: null, algorithms: ['ES256'], jwksUrl: `http://u:${secret}@127.0.0.1:9/` }],
    ] as const)
      assert.equal(await tell('PATCH', path, body), 422, JSON.stringify(body));
    for (const [path, role] of [
      [PATH, 'viewer'],
      ['/api/v1/audit', 'admin'],
      ['/api/v1/config', 'admin'],
    ] as const)
      told.push((await broker.request('GET', path, { role })).text);
    for (const text of told) assert.ok(!text.includes(secret), text);
    assert.match(told.at(-2)!, /http:\/\/127\.0\.0\.1:9\/\*\*\*/, 'the audit log says where passwords go');
    // A file that goes takes its authenticators with it.
    assert.deepEqual(await attempt(await token(secret)), [0, 0]);
    rmSync(file);
    await until('nobody is let in', async () => (await attempt(await token(secret))).every((code) => code !== 0));
    assert.deepEqual((await as('GET')).json.data, []);
    assert.ok(!broker.log.some((line) => JSON.stringify(line).includes(secret)));
  });

  test('keys that stand in the request: a public key, and a set of them', async (t) => {
    const { as, attempt } = await stage(t);
    const [one, two] = [0, 1].map(() => generateKeyPairSync('ec', { namedCurve: 'P-256' }));
    const sign = (key: typeof one): Promise<string> =>
      new SignJWT({}).setProtectedHeader({ alg: 'ES256' }).setExpirationTime('1h').sign(key!.privateKey);
    const publicKeyText = one!.publicKey.export({ type: 'spki', format: 'pem' });
    assert.equal((await as('POST', '', { name: 'pem', type: 'jwt', algorithms: ['ES256'], publicKeyText })).status, 201);
    assert.deepEqual([await attempt(await sign(one)), await attempt(await sign(two))].flat(), [0, 0, WRONG, WRONG]);
    const jwksText = JSON.stringify({ keys: [await exportJWK(two!.publicKey)] });
    assert.equal((await as('POST', '', { name: 'set', type: 'jwt', algorithms: ['ES256'], jwksText })).status, 201);
    assert.deepEqual([await attempt(await sign(one)), await attempt(await sign(two))].flat(), [0, 0, 0, 0]);
  });

  test('without a file they are shown, and the answer to a change says what to configure', async (t) => {
    const broker = await startHttpBroker(t);
    const { json } = await broker.request('GET', PATH, { role: 'viewer' });
    assert.deepEqual([json.allowAnonymous, json.file, json.revision, json.data], [true, null, null, []]);
    const { status, json: problem } = await broker.request('POST', PATH, { role: 'admin', body: TOKENS });
    assert.equal(status, 501);
    assert.match(problem.detail, /auth\.file: \.\/authenticators\.json/);
  });
});
