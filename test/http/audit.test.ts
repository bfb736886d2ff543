/*
 * Goal: the audit log. Each change is there once, with who made it and without secrets; what was only read is not; files are put aside at their size; what was written is known after a
 * restart; a disk that takes nothing stops nobody.
 * Method: real brokers and their files.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { createLog } from '../../src/base/log.ts';
import { REFUSALS_MAX, REFUSALS_OF_CALLER_MAX } from '../../src/http/refusal-rate.ts';
import { AuditLog } from '../../src/server/audit-log.ts';
import { writeUserFile } from '../../src/server/user-file.ts';
import { connect } from '../support/client.ts';
import { type HttpBroker, startHttpBroker } from '../support/http.ts';
import { storeDirectory } from '../support/store-directory.ts';

const ASKED_MAX = 10_000;

interface Entry {
  readonly action: string;
  readonly caller: string;
  readonly status: number;
  readonly facts?: Record<string, unknown>;
}

async function audit(broker: HttpBroker, query = ''): Promise<{ data: Entry[]; next: string | null }> {
  const { status, json, text } = await broker.request('GET', `/api/v1/audit${query}`, { role: 'viewer' });
  assert.equal(status, 200, text);
  return json;
}

/** Waits until the supervisor has heard of so many changes. */
async function entries(broker: HttpBroker, count: number): Promise<Entry[]> {
  for (let asked = 0; asked < ASKED_MAX; asked++) {
    const { data } = await audit(broker);
    if (data.length >= count) return data;
  }
  throw new Error(`there are fewer than ${count} entries`);
}

function entry(n: number): Parameters<AuditLog['add']>[0] {
  return {
    at: 1_700_000_000_000 + n,
    id: `r${n}`,
    action: `a${n % 2}`,
    method: 'PUT',
    path: '/x',
    query: '',
    address: '::1',
    caller: 'c',
    status: 200,
  };
}

describe('the audit log', { concurrency: 3 }, () => {
  test('changes are in the file and in the API, and are there after a restart', async (t) => {
    const file = join(storeDirectory(), 'audit.log');
    const options = { shards: 2, 'http.auditLog': file };
    const broker = await startHttpBroker(t, options);
    await broker.request('PUT', '/api/v1/log-level', { role: 'operator', body: { level: 'info' } });
    const made = await broker.request('POST', '/api/v1/api-keys', { role: 'admin', body: { id: 'k1', role: 'viewer' } });
    await broker.request('PUT', '/api/v1/log-level', { role: 'viewer', body: { level: 'error' } });
    await broker.request('DELETE', '/api/v1/api-keys/nobody', { role: 'admin' });
    await broker.request('DELETE', '/api/v1/api-keys/k1', { role: 'admin' });
    process.kill(broker.pid, 'SIGHUP');
    const all = await entries(broker, 5);
    assert.equal((await audit(broker, '?refused=false')).data.length, 4);
    assert.deepEqual(
      (await audit(broker, '?refused=true')).data.map(({ action, caller, status }) => [action, caller, status]),
      [['changeLogLevel', 'api key testviewer', 403]],
    );
    assert.deepEqual(
      all
        .map(({ action, caller, status, facts }) => [action, caller, status, facts])
        .reverse()
        .sort(),
      [
        ['addApiKey', 'api key testadmin', 201, { id: 'k1', role: 'viewer', username: 'api-key-k1' }],
        ['changeLogLevel', 'api key testoperator', 200, { level: 'info' }],
        ['changeLogLevel', 'api key testviewer', 403, undefined],
        ['reload', 'signal', 0, undefined],
        ['removeApiKey', 'api key testadmin', 204, undefined],
      ],
    );
    assert.deepEqual((await audit(broker, '?caller=api%20key%20testadmin&action=removeApiKey')).data.length, 1);
    assert.equal((await audit(broker, '?from=2126-01-01T00:00:00Z')).data.length, 0);
    assert.equal((await broker.request('GET', '/api/v1/audit?cursor=x', { role: 'viewer' })).status, 400);
    assert.equal((await broker.request('GET', '/api/v1/audit', { role: 'service' })).status, 403);
    assert.equal(await broker.stop(), 0);
    const text = readFileSync(file, 'utf8');
    const lines = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Entry);
    assert.equal(lines.length, 5);
    assert.ok(!text.includes(made.json.token));
    const again = await startHttpBroker(t, options);
    assert.equal((await entries(again, 5)).length, 5);
  });

  test('what was asked for is there', async (t) => {
    const file = join(storeDirectory(), 'users.json');
    writeUserFile(file, []);
    const broker = await startHttpBroker(t, { 'auth.authenticators': [{ type: 'users', file }], 'auth.allowAnonymous': true });
    const client = await connect(broker.port, { clientId: 'c' });
    const asked: [method: string, path: string, body: object][] = [
      ['POST', '/api/v1/users', { username: 'ann', password: 'secret', remark: 'new' }],
      ['PUT', '/api/v1/users/ann', { remark: 'old' }],
      ['PUT', '/api/v1/clients/c/subscriptions/a%2F%23', { qos: 2, retainHandling: 2 }],
      ['POST', '/api/v1/traces', { clientId: 'c', seconds: 30 }],
    ];
    for (const [method, path, body] of asked) {
      const answer = await broker.request(method, path, { role: 'admin', body });
      assert.ok(answer.status < 300, answer.text);
    }
    const facts = (await entries(broker, asked.length)).reverse().map((entry) => entry.facts);
    assert.deepEqual(facts[0], { username: 'ann', remark: 'new' });
    assert.deepEqual(facts[1], { remark: 'old' });
    assert.deepEqual([facts[2]!['qos'], facts[2]!['retainHandling']], [2, 2]);
    assert.deepEqual([facts[3]!['clientId'], facts[3]!['seconds']], ['c', 30]);
    await client.disconnect();
  });

  test('pages, bounds, and files that are put aside', async () => {
    const file = join(storeDirectory(), 'audit.log');
    const settings = { file, bytesMax: 20_000, filesMax: 2 };
    const log = new AuditLog(settings, createLog('silent', {}));
    for (let n = 0; n < 1500; n++) {
      log.add(entry(n));
      if (n % 50 === 0) await log.stop();
    }
    await log.stop();
    assert.deepEqual(
      readdirSync(dirname(file))
        .filter((name) => name.startsWith('audit'))
        .sort(),
      ['audit.log', 'audit.log.1', 'audit.log.2'],
    );
    assert.match(readFileSync(file, 'utf8'), /"id":"r1499"/);
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const page: ReturnType<AuditLog['list']> = log.list({ limit: 300, ...(cursor !== null && { cursor }) });
      seen.push(...page.data.map((one) => (one as { id: string }).id));
      cursor = page.next;
    } while (cursor !== null);
    assert.deepEqual(
      seen,
      Array.from({ length: 1000 }, (_, n) => `r${1499 - n}`),
      'the last thousand, the newest first',
    );
    assert.equal(log.list({ limit: 1000, action: 'a1' }).data.length, 500);
    const none = new AuditLog({ file: '', bytesMax: 1, filesMax: 1 }, createLog('silent', {}));
    none.add(entry(1));
    assert.equal(none.list({ limit: 10 }).data.length, 1);
  });

  test('a flood of refused changes fills neither the file nor the list, and whoever else is refused is in it', async (t) => {
    const file = join(storeDirectory(), 'audit.log');
    const broker = await startHttpBroker(t, { shards: 2, 'http.auditLog': file });
    const change = (role: 'viewer' | 'service' | 'operator'): Promise<{ status: number }> =>
      broker.request('PUT', '/api/v1/log-level', { role, body: { level: 'info' } });
    assert.equal((await change('operator')).status, 200);
    const statuses = await Promise.all(Array.from({ length: 300 }, () => change('viewer')));
    assert.ok(statuses.every(({ status }) => status === 403));
    assert.equal((await change('service')).status, 403);
    const known = await entries(broker, 1 + REFUSALS_OF_CALLER_MAX + 1);
    const count = (name: string): number => known.filter(({ caller }) => caller === `api key test${name}`).length;
    assert.deepEqual([count('operator'), count('viewer'), count('service')], [1, REFUSALS_OF_CALLER_MAX, 1]);
    const { text } = await broker.request('GET', '/metrics', { role: 'viewer' });
    const suppressed = [...text.matchAll(/^onehop_audit_refusals_(?:suppressed|unwritten)_total\S* (\d+)$/gm)].reduce(
      (sum, [, n]) => sum + Number(n),
      0,
    );
    assert.equal(suppressed, 300 - REFUSALS_OF_CALLER_MAX);
    assert.equal(await broker.stop(), 0);
    assert.equal(readFileSync(file, 'utf8').trim().split('\n').length, 1 + REFUSALS_OF_CALLER_MAX + 1);
  });

  test('refusals that are remembered leave room for changes', () => {
    const log = new AuditLog({ file: '', bytesMax: 1, filesMax: 1 }, createLog('silent', {}));
    for (let n = 0; n < 900; n++) log.add(entry(n));
    for (let n = 0; n < 900; n++) log.add({ ...entry(n), caller: `c${n}`, status: 403 });
    assert.equal(log.list({ limit: 1000, refused: false }).data.length, 900);
    assert.equal(log.list({ limit: 1000, refused: true }).data.length, REFUSALS_MAX);
  });

  test('a file that cannot be written stops nobody', async (t) => {
    const file = join(storeDirectory(), 'audit.log');
    mkdirSync(file);
    const broker = await startHttpBroker(t, { 'http.auditLog': file });
    const answer = await broker.request('PUT', '/api/v1/log-level', { role: 'operator', body: { level: 'info' } });
    assert.equal(answer.status, 200);
    await broker.line(({ msg }) => msg === 'the audit log cannot be written: changes are only remembered');
    assert.equal((await entries(broker, 1))[0]!.action, 'changeLogLevel');
  });
});
