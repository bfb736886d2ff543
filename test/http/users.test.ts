/*
 * Goal: users through the API. What is changed holds at once for MQTT and for HTTP, in the file too; changes by the command line at the same time lose nothing; nobody is told a hash.
 * Method: real brokers over files of users, MQTT logins before and after each change, commands as child processes.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { changeUsers, hashPassword, readUsers } from '../../src/server/user-commands.ts';
import { runCommand } from '../cli/run-command.ts';
import { connackCode, connect } from '../support/client.ts';
import { type HttpBroker, startHttpBroker } from '../support/http.ts';
import { ScramClient } from '../support/scram-client.ts';
import { storeDirectory } from '../support/store-directory.ts';

const WRONG = 0x86;

async function brokerWithUsers(
  t: Parameters<typeof startHttpBroker>[0],
  more: Record<string, unknown> = {},
): Promise<[HttpBroker, string]> {
  const file = join(storeDirectory(), 'users.json');
  const password = await hashPassword(Buffer.from('first secret'));
  changeUsers(file, (users) =>
    users.set('first', { username: 'first', password, attributes: { group: 'a' }, isSuperuser: false, remark: 'hall 1' }),
  );
  return [
    await startHttpBroker(t, {
      shards: 2,
      'auth.authenticators': [
        { type: 'users', file },
        { type: 'scram', file },
      ],
      ...more,
    }),
    file,
  ];
}

describe('users through the API', { concurrency: 3 }, () => {
  test('one that is added logs in at once, and one that is removed is disconnected', async (t) => {
    const [broker, file] = await brokerWithUsers(t);
    const added = await broker.request('POST', '/api/v1/users', {
      role: 'admin',
      body: { username: 'pump/7', password: 'a good one', attributes: { group: 'b' }, remark: 'new' },
    });
    assert.equal(added.status, 201, added.text);
    assert.equal(added.headers.get('location'), '/api/v1/users/pump%2F7');
    const facts = { username: 'pump/7', attributes: { group: 'b' }, isSuperuser: false, remark: 'new', scram: false };
    assert.deepEqual(added.json, facts, 'a password that was given is not told');
    const client = await connect(broker.port, { username: 'pump/7', password: 'a good one' });
    const one = await broker.request('GET', '/api/v1/users/pump%2F7', { role: 'viewer' });
    assert.deepEqual(one.json, facts);
    assert.ok(readUsers(file).has('pump/7'));
    const removed = await broker.request('DELETE', '/api/v1/users/pump%2F7', { role: 'admin' });
    assert.equal(removed.status, 204);
    await client.closed;
    assert.equal(await connackCode(broker.port, { username: 'pump/7', password: 'a good one' }), WRONG);
    assert.equal((await broker.request('GET', '/api/v1/users/pump%2F7', { role: 'viewer' })).status, 404);
    assert.equal((await broker.request('DELETE', '/api/v1/users/pump%2F7', { role: 'admin' })).status, 404);
    for (const { text } of [added, one]) assert.ok(!text.includes('argon2') && !text.includes('a good one'));
  });

  test('a password, attributes and rights change at once; a made password is told once', async (t) => {
    const [broker] = await brokerWithUsers(t);
    const as = (password: string): Promise<number> => connackCode(broker.port, { username: 'first', password });
    const change = (body: object): ReturnType<HttpBroker['request']> =>
      broker.request('PUT', '/api/v1/users/first', { role: 'admin', body });
    const old = await connect(broker.port, { username: 'first', password: 'first secret' });
    const made = await change({ generatePassword: true, scram: true });
    assert.equal(made.status, 200, made.text);
    await old.closed;
    assert.equal(await as('first secret'), WRONG);
    assert.equal(await as(made.json.password), 0);
    assert.deepEqual([made.json.scram, made.json.remark, made.json.attributes], [true, 'hall 1', { group: 'a' }]);
    const byScram = await connect(broker.port, { scram: new ScramClient('first', made.json.password) });
    const promoted = await change({ isSuperuser: true, remark: '' });
    assert.deepEqual([promoted.json.isSuperuser, promoted.json.remark, promoted.json.password], [true, '', undefined]);
    await byScram.closed;
    const basic = { authorization: `Basic ${Buffer.from(`first:${made.json.password}`).toString('base64')}` };
    assert.equal((await broker.request('GET', '/api/v1/me', { headers: basic })).json.role, 'admin');
    await change({ isSuperuser: false, scram: false });
    assert.equal((await broker.request('GET', '/api/v1/me', { headers: basic })).json.role, 'service');
    assert.equal((await change({ scram: true })).json.code, 'unprocessable', 'a verifier needs the password');
  });

  test('pages in the order of names, with a prefix', async (t) => {
    const [broker, file] = await brokerWithUsers(t);
    const hash = readUsers(file).get('first')!.password;
    changeUsers(file, (users) => {
      for (let n = 0; n < 25; n++)
        users.set(`u${n}`, { username: `u${n}`, password: hash, attributes: {}, isSuperuser: false, remark: '' });
    });
    await broker.line(({ msg, users }) => msg === 'the file of users was read again' && users === 26);
    const seen: string[] = [];
    let cursor = '';
    do {
      const page = await broker.request('GET', `/api/v1/users?prefix=u&limit=10${cursor}`, { role: 'viewer' });
      assert.equal(page.json.total, 25);
      seen.push(...page.json.data.map(({ username }: { username: string }) => username));
      cursor = page.json.next === null ? '' : `&cursor=${page.json.next}`;
    } while (cursor !== '');
    assert.deepEqual(seen, Array.from({ length: 25 }, (_, n) => `u${n}`).sort());
    assert.equal((await broker.request('GET', '/api/v1/users?limit=0', { role: 'viewer' })).status, 400);
    assert.equal((await broker.request('GET', '/api/v1/users?cursor=%00%ff', { role: 'viewer' })).status, 200);
    assert.deepEqual((await broker.request('GET', '/api/v1/users?prefix=x', { role: 'viewer' })).json, { data: [], next: null, total: 0 });
  });

  test('the command line and the API at the same time lose nothing', async (t) => {
    const [broker, file] = await brokerWithUsers(t);
    const names = Array.from({ length: 6 }, (_, n) => `at-once-${n}`);
    const outcomes = await Promise.all([
      ...names.map(async (username) => (await broker.request('POST', '/api/v1/users', { role: 'admin', body: { username } })).status),
      ...names.slice(0, 3).map(async (name) => (await runCommand(['user', 'add', `cli-${name}`, '--generate', '--file', file])).exit),
    ]);
    assert.deepEqual(outcomes, [201, 201, 201, 201, 201, 201, 0, 0, 0]);
    const expected = ['first', ...names, ...names.slice(0, 3).map((name) => `cli-${name}`)];
    assert.deepEqual([...readUsers(file).keys()].sort(), expected.sort());
    const twice = await Promise.all(
      [1, 2].map(() => broker.request('POST', '/api/v1/users', { role: 'admin', body: { username: 'twice', password: 'x' } })),
    );
    assert.deepEqual(twice.map(({ status }) => status).sort(), [201, 409]);
  });

  test('bad input is named and changes nothing', async (t) => {
    const [broker, file] = await brokerWithUsers(t);
    const before = readFileSync(file, 'utf8');
    const cases: [string, string, object, number, RegExp][] = [
      ['POST', '', { username: '' }, 422, /username/],
      ['POST', '', { username: 'a\u0000b' }, 422, /control characters/],
      ['POST', '', { username: 'a', isAdmin: true }, 422, /isAdmin/],
      ['POST', '', { username: 'a', password: '☀'.repeat(1000) }, 422, /1 to 1024 bytes/],
      ['POST', '', { username: 'a', attributes: { a: 'x'.repeat(2000) } }, 422, /attributes/],
      [
        'POST',
        '',
        { username: 'a', attributes: Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`a${n}`, ''])) },
        422,
        /at most 32/,
      ],
      ['POST', '', { username: 'a\u200d\u0627b', scram: true }, 422, /SCRAM cannot/],
      ['POST', '', { username: 'first' }, 409, /already/],
      ['POST', '?authenticator=7', { username: 'a' }, 404, /authenticator 7/],
      ['PUT', '/nobody', { remark: '' }, 404, /no user "nobody"/],
      ['PUT', '/first', { password: 'x', generatePassword: true }, 422, /one of/],
    ];
    for (const [method, path, body, status, detail] of cases) {
      const answer = await broker.request(method, `/api/v1/users${path}`, { role: 'admin', body });
      assert.deepEqual([answer.status, answer.json.status], [status, status], `${JSON.stringify(body).slice(0, 80)}: ${answer.text}`);
      assert.match(answer.json.detail, detail);
    }
    assert.equal(readFileSync(file, 'utf8'), before);
  });

  test('without a file of users the answer says what to configure', async (t) => {
    const broker = await startHttpBroker(t);
    const answer = await broker.request('GET', '/api/v1/users', { role: 'viewer' });
    assert.deepEqual([answer.status, answer.json.code], [501, 'not-implemented']);
    assert.match(answer.json.detail, /auth\.authenticators/);
  });
});
