/*
 * Goal: tokens. A client with a token that one of the configured keys has signed is let in, under the name that the token says, until the token ends; every other
 * token is refused, whatever it claims about its own algorithm.
 * Method: tokens signed with keys made for the test; keys from files and from a real HTTP endpoint that changes them and fails.
 */
import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test, { describe, type TestContext } from 'node:test';
import { exportJWK, type JWTPayload, SignJWT } from 'jose';
import { type ConnectOptions, connackCode, connect, Refusal } from '../support/client.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { stage } from './observe.ts';

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ed = generateKeyPairSync('ed25519');
const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' });

function now(): number {
  return Math.floor(Date.now() / 1000);
}

function sign(key: KeyObject | Uint8Array, alg: string, payload: JWTPayload = {}, kid?: string): Promise<string> {
  return new SignJWT({ exp: now() + 600, ...payload }).setProtectedHeader({ alg, ...(kid !== undefined && { kid }) }).sign(key);
}

function fileOf(content: string | Buffer): string {
  const file = join(storeDirectory(), 'key');
  writeFileSync(file, content);
  return file;
}

function publicFile(key: KeyObject): string {
  return fileOf(key.export({ type: 'spki', format: 'pem' }));
}

async function brokerWith(t: TestContext, authenticator: object, more: object = {}): ReturnType<typeof stage> {
  return stage(t, { shards: 2, 'auth.authenticators': [{ type: 'jwt', ...authenticator }], 'auth.failures.perAddress': 0, ...more });
}

function attempt(port: number, password: string, options: ConnectOptions = {}): Promise<number> {
  return connackCode(port, { username: 'any', password, ...options });
}

describe('login by token', { concurrency: 4 }, () => {
  test('keys of every kind; a token of somebody else is refused', async (t) => {
    const secret = randomBytes(48).toString('base64');
    const kinds: readonly [string, object, KeyObject | Uint8Array][] = [
      ['ES256', { publicKey: publicFile(ec.publicKey) }, ec.privateKey],
      ['RS256', { publicKey: publicFile(rsa.publicKey) }, rsa.privateKey],
      ['EdDSA', { publicKey: publicFile(ed.publicKey) }, ed.privateKey],
      ['HS256', { secret: fileOf(`${secret}\n`) }, Buffer.from(secret)],
    ];
    for (const [algorithm, place, key] of kinds) {
      const broker = await brokerWith(t, { algorithms: [algorithm], ...place });
      assert.equal(await attempt(broker.port, await sign(key, algorithm)), 0, algorithm);
      assert.equal(await attempt(broker.port, await sign(stranger.privateKey, 'ES256')), 0x86, algorithm);
      assert.equal(await attempt(broker.port, await sign(randomBytes(32), 'HS256')), 0x86, algorithm);
      assert.equal(await attempt(broker.port, 'no token at all'), 0x86, algorithm);
      const [head, body] = (await sign(key, algorithm)).split('.');
      const none = Buffer.from('{"alg":"none"}').toString('base64url');
      for (const token of [`${none}.${body}.`, `${none}.${body}.AA`, `${head}.${body}.AAAA`])
        assert.equal(await attempt(broker.port, token), 0x86, token);
      await broker.kill();
    }
  });

  test('rules in the token are asked first, for the life of the connection', async (t) => {
    const place = { algorithms: ['ES256'], publicKey: publicFile(ec.publicKey), aclClaim: 'acl' };
    const acl = [
      { permission: 'deny', action: 'publish', topic: 'open/locked' },
      { permission: 'allow', action: 'publish', topic: 'own/${ClientId}' },
    ];
    const statements = [{ effect: 'allow', actions: ['publish'], topics: ['open/#'] }];
    // Without statements the rules are all there is, and a token without rules allows nothing.
    const expected: [object | null, object, number[]][] = [
      [null, { acl }, [0x87, 0x87, 0x10, 0x87]],
      [null, {}, [0x87, 0x87, 0x87, 0x87]],
      [statements, { acl }, [0x10, 0x87, 0x10, 0x87]],
      [statements, {}, [0x10, 0x10, 0x87, 0x87]],
      [statements, { acl: { pub: ['other'] } }, [0x87, 0x87, 0x87, 0x10]],
    ];
    for (const rules of [null, statements]) {
      const broker = await brokerWith(t, place, rules === null ? {} : { 'authorization.statements': rules });
      for (const [, claims, codes] of expected.filter(([one]) => one === rules)) {
        const password = await sign(ec.privateKey, 'ES256', { ...claims });
        const client = await connect(broker.port, { clientId: 'dev', password, username: 'any' });
        const found: number[] = [];
        for (const topic of ['open/a', 'open/locked', 'own/dev', 'other']) found.push((await client.publish(topic, '', { qos: 1 })).code);
        assert.deepEqual(found, codes);
        await client.disconnect();
      }
      assert.equal(await attempt(broker.port, await sign(ec.privateKey, 'ES256', { acl: [{ permission: 'deny' }] })), 0x86);
      const line = await broker.line(({ cause }) => typeof cause === 'string' && cause.includes('acl'));
      assert.equal(line['cause'], 'jwt: claim acl [0] has no action of publish, subscribe, all or observe');
      await broker.kill();
    }
  });

  test('a public key is never a shared secret', async (t) => {
    const file = publicFile(rsa.publicKey);
    const broker = await brokerWith(t, { algorithms: ['RS256'], publicKey: file });
    const pem = Buffer.from(rsa.publicKey.export({ type: 'spki', format: 'pem' }));
    assert.equal(await attempt(broker.port, await sign(pem, 'HS256')), 0x86);
  });

  test('times, issuer, audience, and claims that must fit what the client shows', async (t) => {
    const broker = await brokerWith(t, {
      algorithms: ['ES256'],
      publicKey: publicFile(ec.publicKey),
      issuer: 'https://id.example.com',
      audience: 'fleet',
      claims: { sub: '${ClientId}', tenant: 'acme' },
    });
    const right = { iss: 'https://id.example.com', aud: ['fleet', 'other'], sub: 'pump', tenant: 'acme' };
    const of = async (payload: JWTPayload): Promise<number> =>
      attempt(broker.port, await sign(ec.privateKey, 'ES256', { ...right, ...payload }), { clientId: 'pump' });
    assert.equal(await of({}), 0);
    const wrong: JWTPayload[] = [
      { exp: now() - 60 },
      { nbf: now() + 600 },
      { iat: now() + 600 },
      { iss: 'https://elsewhere.example.com' },
      { aud: 'other' },
      { sub: 'valve' },
      { tenant: 'b' },
    ];
    for (const payload of wrong) assert.equal(await of(payload), 0x86, JSON.stringify(payload));
    assert.equal(await of({ tenant: undefined }), 0x86, 'a claim that is missing');
    await broker.line(({ cause }) => cause === 'jwt: the token has expired');
    await broker.line(({ cause }) => cause === 'jwt: claim tenant does not fit');
  });

  test('the connection ends with its token, the session does not', async (t) => {
    const broker = await brokerWith(t, { algorithms: ['ES256'], publicKey: publicFile(ec.publicKey) });
    const kept = { clientId: 'pump', username: 'any', cleanStart: false, properties: { sessionExpiryInterval: 600 } };
    // Long enough that a busy machine lets it in before it ends.
    const short = await connect(broker.port, { ...kept, password: await sign(ec.privateKey, 'ES256', { exp: now() + 5 }) });
    assert.equal((await short.closed).code, 0xa0);
    const again = await connect(broker.port, { ...kept, password: await sign(ec.privateKey, 'ES256') });
    assert.equal(again.connack.sessionPresent, true);
  });

  test('a token in the username says who the client is', async (t) => {
    const broker = await brokerWith(t, {
      algorithms: ['ES256'],
      publicKey: publicFile(ec.publicKey),
      from: 'username',
      usernameClaim: 'sub',
    });
    const watch = await connect(broker.port, { username: await sign(ec.privateKey, 'ES256', { sub: 'watch' }) });
    await watch.subscribe('$events/client_connected', { qos: 1 });
    const pump = await connect(broker.port, { clientId: 'pump', username: await sign(ec.privateKey, 'ES256', { sub: 'pump-name' }) });
    const event = JSON.parse(Buffer.from((await watch.next()).payload).toString()) as Record<string, unknown>;
    assert.equal(event['clientid'], 'pump');
    assert.equal(event['username'], 'pump-name', 'and the token itself is not told');
    await pump.disconnect();
    await assert.rejects(
      connect(broker.port, { username: await sign(ec.privateKey, 'ES256') }),
      Refusal,
      'without the claim it would be anybody',
    );
    const bare = await brokerWith(t, { algorithms: ['ES256'], publicKey: publicFile(ec.publicKey), from: 'username' });
    const token = await sign(stranger.privateKey, 'ES256', { sub: 'x' });
    await assert.rejects(connect(bare.port, { username: token }), Refusal);
    await (await connect(bare.port, { username: await sign(ec.privateKey, 'ES256', { sub: 'x' }) })).disconnect();
    await bare.line(({ username }) => username === 'a token');
    assert.ok(!JSON.stringify(bare.log).includes(token.slice(0, 20)), 'no part of a token is logged');
  });

  test('keys from an endpoint: they change, and while it fails others are let in', async (t) => {
    let keys: object[] = [];
    let isDown = false;
    const server = createServer((_request, response) => {
      if (isDown) response.destroy();
      else response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys }));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => server.close());
    keys = [{ ...(await exportJWK(ec.publicKey)), kid: 'one', alg: 'ES256' }];
    const jwksUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`;
    const broker = await brokerWith(t, { algorithms: ['ES256'], jwksUrl, refresh: '1s' }, { 'auth.allowAnonymous': true });
    assert.equal(await attempt(broker.port, await sign(ec.privateKey, 'ES256', {}, 'one')), 0);
    assert.equal(
      await attempt(broker.port, await sign(stranger.privateKey, 'ES256', {}, 'two')),
      0x86,
      'a key that the endpoint does not have',
    );
    await broker.kill();
    isDown = true;
    const late = await brokerWith(t, { algorithms: ['ES256'], jwksUrl, refresh: '1s' }, { 'auth.allowAnonymous': true });
    assert.equal(await attempt(late.port, await sign(ec.privateKey, 'ES256', {}, 'one')), 0x88);
    await late.line(({ msg }) => msg === 'an authenticator fails: it is passed over');
    await (await connect(late.port)).disconnect();
  });

  test('what cannot be right stops the start', async () => {
    const { loadSettings } = await import('../../src/server/config.ts');
    const list = (authenticator: object): Promise<unknown> =>
      loadSettings({ set: [`auth.authenticators=${JSON.stringify([{ type: 'jwt', ...authenticator }])}`] });
    await assert.rejects(list({ algorithms: ['ES256'] }), /one of secret, publicKey, jwks and jwksUrl/);
    await assert.rejects(list({ algorithms: ['HS256'], publicKey: 'k.pem' }), /HS… needs secret/);
    await assert.rejects(list({ algorithms: ['none'], publicKey: 'k.pem' }), /algorithms/);
    await assert.rejects(list({ algorithms: ['ES256'], secret: 'k' }), /a shared secret goes with/);
  });
});
