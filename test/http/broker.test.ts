/*
 * Goal: the broker itself through the API: API keys, block rules, listeners, configuration, log level and store. What is changed holds at once; secrets are not shown; each route takes
 * the roles that it names, and no other.
 * Method: real brokers, and clients that feel the change.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { mayAs, ROLES } from '../../src/http/role.ts';
import { accessRoutes } from '../../src/http/routes/access.ts';
import { brokerRoutes } from '../../src/http/routes/broker.ts';
import { certificateRoutes } from '../../src/http/routes/certificates.ts';
import { deviceRoutes } from '../../src/http/routes/devices.ts';
import { policyRoutes } from '../../src/http/routes/policies.ts';
import { userRoutes } from '../../src/http/routes/users.ts';
import { readApiKeys } from '../../src/server/api-key-commands.ts';
import { runCommand } from '../cli/run-command.ts';
import { startBroker } from '../support/broker.ts';
import { Authority, pem } from '../support/certificates.ts';
import { connackCode, connect } from '../support/client.ts';
import { type HttpBroker, startHttpBroker } from '../support/http.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { until } from '../support/until.ts';

function row(reply: { json: { data: { key: string }[] } }, key: string): Record<string, unknown> {
  return reply.json.data.find((one) => one.key === key)! as Record<string, unknown>;
}

/** What is no matter of who may do what. */
const LESS_THAN_ADMIN: Readonly<Record<string, string>> = {
  testPolicies: 'viewer',
  changeLogLevel: 'operator',
  reloadCertificates: 'operator',
};

describe('the broker through the API', { concurrency: 3 }, () => {
  test('every route takes the roles that it names, and no other', async (t) => {
    const broker = await startHttpBroker(t, { shards: 2 });
    const routes = [...userRoutes(), ...policyRoutes(), ...deviceRoutes(), ...certificateRoutes(), ...accessRoutes(), ...brokerRoutes()];
    const problems: string[] = [];
    await Promise.all(
      routes.map(async ({ method, path, name, role, example, body }) => {
        const place = path.replace(/\{\w+\}/g, 'x');
        const needed = method === 'GET' ? 'viewer' : (LESS_THAN_ADMIN[name] ?? 'admin');
        if (role !== needed) problems.push(`${method} ${path} needs ${role}, not ${needed}`);
        for (const one of [undefined, ...ROLES] as const) {
          const asked = body === null ? {} : { body: example?.body ?? {} };
          const { status, text } = await broker.request(method, place, { ...(one && { role: one }), ...asked });
          const isAllowed = one !== undefined && mayAs(one, role!);
          const isRight = isAllowed ? ![401, 403, 500].includes(status) : status === 403;
          if (!isRight) problems.push(`${method} ${path} as ${one}: ${status} ${text}`);
        }
      }),
    );
    assert.deepEqual(problems, []);
  });

  test('an API key counts from its making until it is removed or ends', async (t) => {
    const broker = await startHttpBroker(t, { shards: 2 });
    const as = (method: string, path: string, body?: object): ReturnType<HttpBroker['request']> =>
      broker.request(method, `/api/v1/api-keys${path}`, { role: 'admin', ...(body && { body }) });
    const made = await as('POST', '', { id: 'night', role: 'operator', username: 'backup', seconds: 3600, remark: 'nightly' });
    assert.equal(made.status, 201, made.text);
    assert.match(made.json.token, /^ohk_night_/);
    const headers = { authorization: `Bearer ${made.json.token}` };
    assert.equal((await broker.request('GET', '/api/v1/me', { headers })).json.role, 'operator');
    const { json, text } = await as('GET', '');
    assert.equal(json.data.length, 5);
    assert.ok(!text.includes(readApiKeys(broker.keyFile).get('night')!.hash));
    const key = json.data.find(({ id }: { id: string }) => id === 'night');
    assert.deepEqual([key.role, key.username, key.remark, key.hasEnded], ['operator', 'backup', 'nightly', false]);
    const [again, cli] = await Promise.all([
      as('POST', '', { role: 'viewer' }),
      runCommand(['apikey', 'add', 'bycommand', '--file', broker.keyFile]),
    ]);
    assert.deepEqual([again.status, cli.exit], [201, 0]);
    assert.deepEqual(
      [...readApiKeys(broker.keyFile).keys()].filter((id) => !id.startsWith('test')).sort(),
      ['bycommand', again.json.id, 'night'].sort(),
    );
    assert.equal((await as('POST', '', { id: 'night', role: 'viewer' })).status, 409);
    assert.equal((await as('DELETE', '/night')).status, 204);
    assert.equal((await broker.request('GET', '/api/v1/me', { headers })).status, 401);
    assert.equal((await as('DELETE', '/night')).status, 404);
    for (const body of [
      { id: 'No-Good', role: 'viewer' },
      { role: 'king' },
      { role: 'viewer', seconds: 5, expiresAt: '2126-01-01T00:00:00Z' },
      { role: 'viewer', expiresAt: '2020-01-01T00:00:00Z' },
    ])
      assert.equal((await as('POST', '', body)).status, 422, JSON.stringify(body));
  });

  test('a block rule disconnects at once, and lets in again when it goes', async (t) => {
    const file = join(storeDirectory(), 'blocked.json');
    const broker = await startHttpBroker(t, { shards: 2, 'auth.blocked': file });
    const as = (method: string, path: string, body?: object): ReturnType<HttpBroker['request']> =>
      broker.request(method, `/api/v1/block-rules${path}`, { role: 'admin', ...(body && { body }) });
    assert.deepEqual((await as('GET', '')).json, { data: [] });
    const client = await connect(broker.port, { clientId: 'pump-2' });
    const rule = { name: 'stolen', kind: 'client-id', include: 'pump-*', excludes: ['pump-1'] };
    const added = await as('POST', '', { ...rule, seconds: 3600 });
    assert.equal(added.status, 201, added.text);
    await client.closed;
    assert.equal(await connackCode(broker.port, { clientId: 'pump-2' }), 0x8a);
    assert.equal(await connackCode(broker.port, { clientId: 'pump-1' }), 0);
    assert.equal((await as('GET', '')).json.data[0].expiresAt, added.json.expiresAt);
    assert.equal((await as('POST', '', rule)).status, 409);
    assert.equal((await as('POST', '', { ...rule, name: 'net', kind: 'address', include: '10.0.0.0/99' })).status, 422);
    const other = { kind: 'client-id', include: 'pump-*', excludes: ['pump-2'], remark: 'one is back' };
    const changed = await as('PUT', '/stolen', other);
    assert.deepEqual([changed.status, changed.json.remark, changed.json.expiresAt], [200, 'one is back', null]);
    assert.equal(await connackCode(broker.port, { clientId: 'pump-1' }), 0x8a);
    assert.equal(await connackCode(broker.port, { clientId: 'pump-2' }), 0);
    assert.equal((await as('PUT', '/other', other)).status, 404);
    assert.equal((await as('PUT', '/stolen', { ...other, kind: 'address' })).status, 422);
    assert.equal((await as('DELETE', '/stolen')).status, 204);
    assert.equal(await connackCode(broker.port, { clientId: 'pump-2' }), 0);
    assert.equal((await as('DELETE', '/stolen')).status, 404);
  });

  test('listeners show connections and certificates, which are read again when asked', async (t) => {
    const authority = new Authority('listeners');
    const [first, second] = [authority.issue('one.example', ['DNS:one.example']), authority.issue('two.example')];
    const files = mkdtempSync(join(tmpdir(), 'onehop-tls-'));
    const [chain, key] = [join(files, 'chain.pem'), join(files, 'key.pem')];
    const use = (pair: typeof first): void => {
      writeFileSync(chain, pem(pair.chain));
      writeFileSync(key, pem(pair.key));
    };
    use(first);
    const broker = await startHttpBroker(t, {
      shards: 2,
      listeners: [
        { type: 'tcp', bind: '127.0.0.1:0', connections: 77 },
        { type: 'http', bind: '127.0.0.1:0' },
        { type: 'tls', bind: '127.0.0.1:0', tls: { certificates: [{ chain, key }] } },
      ],
    });
    await connect(broker.port, { clientId: 'a' });
    await connect(broker.port, { clientId: 'b' });
    const { data } = (await broker.request('GET', '/api/v1/listeners', { role: 'viewer' })).json;
    assert.deepEqual([data[0].type, data[0].port, data[0].connections, data[0].connectionsMax], ['tcp', broker.port, 2, 77]);
    const shown = data[2].certificates[0];
    assert.deepEqual([shown.subject, shown.names, shown.fingerprint.length], ['CN=one.example', ['DNS:one.example'], 64]);
    assert.ok(Date.parse(shown.endsAt) > Date.now());
    const reload = async (): Promise<unknown> =>
      (await broker.request('POST', '/api/v1/listeners/reload-certificates', { role: 'operator' })).json.data;
    use(second);
    const [reading] = (await reload()) as { place: number; error: string | null }[];
    // Whether it is another one now depends on whether the broker has looked by itself before.
    assert.deepEqual([reading!.place, reading!.error], [2, null]);
    const after = (await broker.request('GET', '/api/v1/listeners', { role: 'viewer' })).json.data[2].certificates[0];
    assert.equal(after.subject, 'CN=two.example');
    writeFileSync(key, pem(first.key));
    const failed = (await reload()) as { isChanged: boolean; error: string }[];
    assert.equal(failed[0]!.isChanged, false);
    assert.match(failed[0]!.error, /cannot be used/);
  });

  test('the configuration is shown without secrets, and its live keys change at once and until the restart', async (t) => {
    const folder = storeDirectory();
    const config = join(folder, 'onehop.yaml');
    writeFileSync(
      config,
      `limits: { inflight: 7 }
auth:
  authenticators:
    - { type: http, url: 'https://me:hunter2@id.example/login?key=hunter2', headers: { X-Key: hunter2 }, body: { password: '\${Password}', key: hunter2 } }
  allowAnonymous: true
alarms: { webhook: { url: 'https://hooks.example/services/hunter2' } }
`,
    );
    const broker = await startHttpBroker(t, { shards: 2, config, 'log.level': 'info' });
    const get = await broker.request('GET', '/api/v1/config', { role: 'viewer' });
    assert.equal(get.status, 200);
    assert.ok(!get.text.includes('hunter2'), get.text);
    assert.equal(get.json.file, config);
    assert.deepEqual([row(get, 'limits.inflight')['value'], row(get, 'limits.inflight')['source']], [7, 'file']);
    assert.equal(row(get, 'log.level')['source'], '--set log.level');
    assert.equal(row(get, 'alarms.webhook.url')['value'], 'https://hooks.example/***');
    assert.equal(row(get, 'limits.packetSize')['value'], '1MiB');
    assert.equal(row(get, 'limits.packetSize')['source'], 'default');
    assert.deepEqual(row(get, 'auth.authenticators')['value'], [
      { type: 'http', url: 'https://***@id.example/login?***', headers: { 'X-Key': '***' }, body: { password: '${Password}', key: '***' } },
    ]);

    const form = (key: string): unknown[] => {
      const { isLive, needsRestart, input, values, default: standard } = row(get, key) as Record<string, unknown>;
      return [isLive, needsRestart, input, values, standard];
    };
    assert.deepEqual(form('authorization.deniedV3'), [true, false, 'choice', ['acknowledge', 'close'], 'acknowledge']);
    assert.deepEqual(form('quotas.client.messagesIn'), [true, false, 'rate', ['off'], 'off']);
    assert.deepEqual(form('quotas.client.bytesIn'), [true, false, 'byte-rate', ['off'], 'off']);
    assert.deepEqual(form('quotas.broker.connectRate'), [true, false, 'rate', ['auto', 'off'], 'auto']);
    assert.deepEqual(form('quotas.groups.by'), [true, false, 'text', [], 'none']);
    assert.deepEqual(form('quotas.groups.connections'), [true, false, 'number', [], '0']);
    assert.deepEqual(form('tracing.sample'), [true, false, 'number', [], '0.001']);
    assert.deepEqual(form('tracing.headers'), [true, false, 'pairs', [], '{}']);
    assert.deepEqual(
      ['alarms.webhook.url', 'auth.authenticators', 'limits.inflight', 'log.level'].map((key) => row(get, key)['isHidden']),
      [true, true, false, false],
    );
    assert.deepEqual(form('authorization.file'), [false, false, 'text', [], 'none']);
    assert.deepEqual(form('limits.inflight').slice(0, 2), [false, true]);
    assert.deepEqual(form('mqtt.retainAvailable'), [false, true, 'choice', [true, false], 'true']);

    const patch = (body: object): ReturnType<HttpBroker['request']> => broker.request('PATCH', '/api/v1/config', { role: 'admin', body });
    const client = await connect(broker.port, { clientId: 'c' });
    const publish = async (): Promise<number> => (await client.publish('t', '', { qos: 1 })).code;
    assert.ok((await publish()) < 0x80);
    const slow = await patch({ quotas: { client: { messagesIn: { perSecond: 1, burst: 1 }, overLimit: 'reject' } } });
    assert.equal(slow.status, 200, slow.text);
    assert.equal(row(slow, 'quotas.client.messagesIn')['source'], 'api');
    const codes = [await publish(), await publish(), await publish()];
    assert.ok(codes.includes(0x97), codes.join());
    const wrong = await patch({ quotas: { client: { messagesIn: 'many' } } });
    assert.deepEqual([wrong.status, wrong.json.errors[0].at], [422, 'quotas.client.messagesIn'], wrong.text);
    assert.equal((await patch({ limits: { inflight: 9 } })).status, 422, 'this needs a restart');
    assert.equal((await patch({ authorization: { statements: [] } })).status, 422, 'these have a way of their own');
    process.kill(broker.pid, 'SIGHUP');
    await broker.line(({ action, msg }) => action === undefined && msg === 'the file of API keys was read again');
    assert.equal(row(await broker.request('GET', '/api/v1/config', { role: 'viewer' }), 'quotas.client.messagesIn')['source'], 'api');
    const quiet = await patch({ log: { level: 'warn' } });
    assert.deepEqual([row(quiet, 'log.level')['value'], row(quiet, 'log.level')['source']], ['warn', 'api']);
    const back = await patch({ log: { level: null } });
    assert.deepEqual([row(back, 'log.level')['value'], row(back, 'log.level')['source']], ['info', '--set log.level'], 'what is written');
    const free = await broker.request('DELETE', '/api/v1/config', { role: 'admin' });
    assert.equal(row(free, 'quotas.client.messagesIn')['value'], 'off');
    assert.ok((await publish()) < 0x80 && (await publish()) < 0x80);
  });

  test('the log level changes in all threads', async (t) => {
    const broker = await startHttpBroker(t, { shards: 2, 'http.accessLog': 'all' });
    const level = (body: object): ReturnType<HttpBroker['request']> =>
      broker.request('PUT', '/api/v1/log-level', { role: 'operator', body });
    const lines = (): number => broker.log.filter(({ msg }) => msg === 'HTTP request').length;
    assert.deepEqual((await broker.request('GET', '/api/v1/log-level', { role: 'viewer' })).json, { level: 'info' });
    await broker.line(({ msg, path }) => msg === 'HTTP request' && path === '/api/v1/log-level');
    assert.deepEqual((await level({ level: 'error' })).json, { level: 'error' });
    const before = lines();
    for (let n = 0; n < 20; n++) await broker.request('GET', '/healthz');
    assert.equal((await level({ level: 'info' })).status, 200);
    await broker.request('GET', '/readyz');
    await broker.line(({ msg, path }) => msg === 'HTTP request' && path === '/readyz');
    assert.ok(!broker.log.some(({ path }) => path === '/healthz'));
    assert.ok(lines() > before);
    assert.equal((await level({ level: 'loud' })).status, 422);
  });

  test('the store is copied while clients go on, and the copy is a store', async (t) => {
    const backups = join(storeDirectory(), 'copies');
    const broker = await startHttpBroker(t, { shards: 2, 'store.backups': backups });
    const as = (method: string, path: string, body?: object): ReturnType<HttpBroker['request']> =>
      broker.request(method, `/api/v1/store${path}`, { role: 'admin', ...(body && { body }) });
    const client = await connect(broker.port, { clientId: 'keeper' });
    await client.publish('kept/topic', 'precious', { qos: 1, retain: true });
    const state = (await as('GET', '')).json;
    assert.deepEqual([state.isEnabled, state.durability, state.isDegraded, state.backup], [true, 'fsync', false, null]);
    assert.ok(state.records > 0 && state.bytes > 0 && Date.parse(state.lastCommitAt) > 0);
    const [made, busy] = await Promise.all([as('POST', '/backup', { path: 'monday' }), as('POST', '/backup', { path: 'tuesday' })]);
    let copy = made.status === 409 ? busy : made;
    assert.deepEqual([made.status, busy.status].sort().at(-1), 409);
    await until('the copy is made', async () => {
      if (copy.json.state === 'running') copy = { ...copy, json: (await as('GET', '')).json.backup };
      return copy.json.state !== 'running';
    });
    assert.equal(copy.json.state, 'done', copy.text);
    const again = await as('POST', '/backup', { path: copy.json.path.split('/').at(-1) });
    assert.deepEqual([again.status, again.json.code], [409, 'conflict']);
    for (const path of ['../x', '/tmp/x', 'a/b', '.', '']) assert.equal((await as('POST', '/backup', { path })).status, 422, path);
    assert.equal(readdirSync(backups).length, 1);
    const restored = await startBroker({ 'store.path': copy.json.path });
    t.after(() => restored.stop());
    const reader = await connect(restored.port);
    await reader.subscribe('kept/#');
    assert.equal(Buffer.from((await reader.next()).payload).toString(), 'precious');
    const off = await startHttpBroker(t, { 'store.backups': '' });
    assert.equal((await off.request('POST', '/api/v1/store/backup', { role: 'admin', body: {} })).json.code, 'not-implemented');
  });

  test('the store is compacted while clients go on', async (t) => {
    const path = storeDirectory();
    const broker = await startHttpBroker(t, { shards: 2, 'store.path': path });
    const as = (method: string, place: string, body?: object): ReturnType<HttpBroker['request']> =>
      broker.request(method, `/api/v1/store${place}`, { role: 'admin', ...(body && { body }) });
    assert.equal((await as('GET', '')).json.compaction, null);
    const properties = { sessionExpiryInterval: 3600 };
    const away = await connect(broker.port, { clientId: 'away', cleanStart: false, properties });
    await away.subscribe('news', { qos: 1 });
    await away.disconnect();
    const writer = await connect(broker.port, { clientId: 'writer', keepAlive: 1 });
    const large = 'x'.repeat(100_000);
    // A log that is longer than 64 MB is cleaned: then most of the file is free.
    for (let n = 0; n < 110; n++)
      await Promise.all(Array.from({ length: 8 }, () => writer.publish('large/0', large, { qos: 1, retain: true })));
    const before = (await as('GET', '')).json;
    let isOver = false;
    const sent: string[] = [];
    const publishing = (async () => {
      for (let n = 0; !isOver; n++) {
        assert.ok((await writer.publish('news', String(n), { qos: 1 })).code < 0x80);
        sent.push(String(n));
      }
    })();
    const [one, other] = await Promise.all([as('POST', '/compact', {}), as('POST', '/compact', {})]);
    const [made, busy] = one.status === 409 ? [other, one] : [one, other];
    assert.deepEqual([busy.status, busy.json.code], [409, 'conflict']);
    let compaction = made.json;
    for (let looks = 0; compaction.state === 'running'; looks++) {
      assert.ok(looks < 100_000, 'it ends');
      compaction = (await as('GET', '')).json.compaction;
    }
    assert.equal(compaction.state, 'done', made.text);
    assert.ok(compaction.bytesAfter < compaction.bytesBefore && compaction.pauseMilliseconds < 5000, made.text);
    isOver = true;
    await publishing;
    const after = (await as('GET', '')).json;
    assert.deepEqual(after.compaction, compaction);
    assert.ok(after.bytes < before.bytes && after.isDegraded === false && after.failures === 0, JSON.stringify(after));
    const line = await broker.line(({ msg }) => msg === 'the file of the store was written anew');
    assert.deepEqual([line['bytesBefore'], line['bytesAfter']], [compaction.bytesBefore, compaction.bytesAfter]);
    const { text } = await broker.request('GET', '/metrics', { role: 'viewer' });
    assert.match(text, /onehop_store_compactions_total\{[^}]*result="done"[^}]*\} 1\n/);
    const audit = (await broker.request('GET', '/api/v1/audit?action=compactStore', { role: 'viewer' })).json.data;
    assert.deepEqual([audit.length, audit[0].facts], [1, { pauseMillisecondsMax: 5000 }]);
    for (const pauseMillisecondsMax of [0, 9, 60_001, '5s', 50.5])
      assert.equal((await as('POST', '/compact', { pauseMillisecondsMax })).status, 422, String(pauseMillisecondsMax));
    await writer.ping();
    await broker.kill();
    const again = await startBroker({ shards: 2, 'store.path': path });
    t.after(() => again.stop());
    const back = await connect(again.port, { clientId: 'away', cleanStart: false, properties });
    const got: string[] = [];
    while (got.length < sent.length) got.push(Buffer.from((await back.next()).payload).toString());
    assert.deepEqual(got, sent);
    const reader = await connect(again.port);
    await reader.subscribe('large/#');
    assert.equal(Buffer.from((await reader.next()).payload).toString(), large);
    const none = await startHttpBroker(t, { 'store.enabled': false });
    assert.equal((await none.request('POST', '/api/v1/store/compact', { role: 'admin', body: {} })).json.code, 'not-implemented');
  });

  test('a broker without any API key says how to make one', async (t) => {
    const apiKeys = join(storeDirectory(), 'none.json');
    const broker = await startHttpBroker(t, { 'http.apiKeys': apiKeys });
    const { run } = await broker.line(({ msg }) => String(msg).startsWith('there is no API key'));
    const made = await runCommand(String(run).replace('onehop ', '').replace('NAME', 'first').split(' '));
    assert.equal(made.exit, 0, made.stderr);
    await broker.line(({ msg }) => msg === 'the file of API keys was read again');
    const headers = { authorization: `Bearer ${made.stdout.trim()}` };
    assert.equal((await broker.request('GET', '/api/v1/me', { headers })).json.role, 'admin');
    assert.ok(!readFileSync(apiKeys, 'utf8').includes(made.stdout.trim().split('_')[2]!));
  });
});
