/*
 * Goal: many devices at once through the API. What has become of each row is said; nothing is half done; what commands have written meanwhile is not lost; the list may be
 * large, and nobody waits for it.
 * Method: real brokers, devices that log in by tokens of their keys, and the command line on the same file.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { deviceToken } from '../../src/auth/device-token.ts';
import { readDevices } from '../../src/server/device-commands.ts';
import { writeDeviceFile } from '../../src/server/device-file.ts';
import { runCommand } from '../cli/run-command.ts';
import { connackCode, connect } from '../support/client.ts';
import { type HttpBroker, type HttpReply, startHttpBroker } from '../support/http.ts';
import { storeDirectory } from '../support/store-directory.ts';

const WRONG = 0x86;
const MANY = 10_000;
const KEY = Buffer.alloc(32, 1).toString('base64');

interface Row {
  readonly line: number;
  readonly deviceId: string;
  readonly outcome: string;
  readonly problem?: string;
  readonly primaryKey?: string;
  readonly secondaryKey?: string;
}

function login(broker: HttpBroker, deviceId: string, key: string): Promise<number> {
  const password = deviceToken(deviceId, key, Math.floor(Date.now() / 1000) + 600);
  return connackCode(broker.port, { clientId: deviceId, username: 'x', password });
}

async function brokerWithFile(t: TestContext): Promise<[HttpBroker, string]> {
  const file = join(storeDirectory(), 'devices.json');
  writeDeviceFile(file, new Map());
  return [await startHttpBroker(t, { shards: 2, 'auth.authenticators': [{ type: 'devices', file }] }), file];
}

function send(broker: HttpBroker, body: string, query = ''): Promise<HttpReply> {
  return broker.request('POST', `/api/v1/device-imports${query}`, { role: 'admin', body, headers: { 'content-type': 'text/csv' } });
}

describe('devices imported through the API', { concurrency: 2 }, () => {
  test('CSV, lines of JSON and a list: a result for each row, all or none, or those that are right', async (t) => {
    const [broker, file] = await brokerWithFile(t);
    const first = await send(
      broker,
      `\ufeffdeviceId,primaryKey,isEnabled,property.site,attribute.group\r\na,${KEY},,"hall ""2""",x\r\nb,,false,,\r\n`,
    );
    assert.equal(first.status, 200, first.text);
    const [a, b] = first.json.rows as Row[];
    assert.deepEqual([first.json.added, first.json.replaced, first.json.refused], [2, 0, 0]);
    assert.deepEqual(
      [a!.line, a!.deviceId, a!.outcome, a!.primaryKey],
      [2, 'a', 'added', undefined],
      'a key that was sent is not told again',
    );
    assert.equal(Buffer.from(b!.primaryKey!, 'base64').length, 32);
    assert.deepEqual(
      [await login(broker, 'a', KEY), await login(broker, 'a', a!.secondaryKey!), await login(broker, 'b', b!.primaryKey!)],
      [0, 0, WRONG],
    );

    const before = readFileSync(file, 'utf8');
    const mixed = '{"deviceId":"c"}\n{"deviceId":"a"}\n{"deviceId":\n7\n{"deviceId":"c"}\n{"deviceId":"d","primaryKey":"short"}\n';
    const refused = await send(broker, mixed);
    assert.equal(refused.status, 422, refused.text);
    assert.match(refused.json.detail, /nothing was changed: of the rows 5 are wrong/);
    assert.deepEqual(
      refused.json.errors.map(({ at }: { at: string }) => at),
      ['line 2', 'line 3', 'line 4', 'line 5', 'line 6'],
    );
    assert.equal(readFileSync(file, 'utf8'), before);
    assert.ok(!refused.text.includes('short'), 'no key is told');

    const rest = await send(broker, mixed, '?skipWrong=true');
    assert.equal(rest.status, 200, rest.text);
    assert.deepEqual([rest.json.added, rest.json.refused], [1, 5]);
    const told = (rest.json.rows as Row[]).map(({ line, outcome, problem = '' }) => `${line} ${outcome} ${problem}`);
    for (const [index, expected] of [
      /^1 added $/,
      /^2 refused there is a device a already$/,
      /^3 refused this is no JSON/,
      /^4 refused expected/,
      /^5 refused the device c is in line 1 already$/,
      /^6 refused primaryKey: expected 32/,
    ].entries())
      assert.match(told[index]!, expected);

    const client = await connect(broker.port, {
      clientId: 'a',
      username: 'x',
      password: deviceToken('a', KEY, Math.floor(Date.now() / 1000) + 600),
    });
    const other = Buffer.alloc(32, 2).toString('base64');
    const replaced = await send(broker, JSON.stringify([{ deviceId: 'a', primaryKey: other }, { deviceId: 'e' }]), '?replace=true');
    assert.deepEqual([replaced.json.added, replaced.json.replaced], [1, 1], replaced.text);
    await client.closed;
    assert.deepEqual(
      [await login(broker, 'a', KEY), await login(broker, 'a', other), await login(broker, 'a', a!.secondaryKey!)],
      [WRONG, 0, 0],
    );

    for (const [body, detail] of [
      ['', /there is no device in it/],
      ['deviceId\n', /there is no device in it/],
      ['deviceId\n"c\n', /neither CSV nor lines of JSON/],
      ['[{]', /no JSON/],
      [`deviceId\n${'x\n'.repeat(20_001)}`, /at most 20000 rows/],
      [`deviceId,${'y'.repeat(300_000)}\n`, /neither CSV/],
    ] as const) {
      const answer = await send(broker, body);
      assert.equal(answer.status, 422, answer.text.slice(0, 300));
      assert.match(answer.json.detail, detail);
    }
    assert.equal((await broker.request('POST', '/api/v1/device-imports', { role: 'operator', body: 'deviceId\nz\n' })).status, 403);
    const { json } = await broker.request('GET', '/api/v1/audit?action=importDevices', { role: 'viewer' });
    assert.deepEqual(
      json.data.filter(({ status }: { status: number }) => status === 200).map(({ facts }: { facts: object }) => facts),
      [
        { added: 1, replaced: 1, refused: 0 },
        { added: 1, replaced: 0, refused: 5 },
        { added: 2, replaced: 0, refused: 0 },
      ],
    );
  });

  test('null in a row changes no key, and a list that is too long is refused before it is looked at', async (t) => {
    const [broker] = await brokerWithFile(t);
    assert.equal((await send(broker, JSON.stringify([{ deviceId: 'a', primaryKey: KEY }]))).status, 200);
    const row = { deviceId: 'a', primaryKey: null, secondaryKey: null, createdAt: null, isEnabled: true };
    const replaced = await send(broker, JSON.stringify([row]), '?replace=true');
    assert.equal(replaced.status, 200, replaced.text);
    assert.deepEqual(replaced.json.rows, [{ line: 1, deviceId: 'a', outcome: 'replaced' }]);
    assert.equal(await login(broker, 'a', KEY), 0);
    const long = await send(broker, `[${'1,'.repeat(30_000)}1]`);
    assert.equal(long.status, 422, long.text);
    assert.match(long.json.detail, /at most 20000 rows/);
  });

  test('what a command writes beside the API is in the list, too, whoever is first', async (t) => {
    const [broker, file] = await brokerWithFile(t);
    const ids = async (): Promise<string[]> =>
      (await broker.request('GET', '/api/v1/devices', { role: 'viewer' })).json.data.map(({ deviceId }: { deviceId: string }) => deviceId);
    assert.equal((await runCommand(['device', 'add', 'cli-1', '--file', file])).exit, 0);
    assert.equal((await send(broker, 'deviceId\napi-1\n')).status, 200);
    assert.deepEqual(await ids(), ['api-1', 'cli-1'], 'the command came between what was read and what was changed');
    const outcomes = await Promise.all([
      send(broker, 'deviceId\napi-2\napi-3\n').then(({ status }) => status),
      runCommand(['device', 'add', 'cli-2', '--file', file]).then(({ exit }) => exit),
      broker.request('DELETE', '/api/v1/devices/api-1', { role: 'admin' }).then(({ status }) => status),
      broker.request('POST', '/api/v1/devices', { role: 'admin', body: { deviceId: 'import' } }).then(({ status }) => status),
    ]);
    assert.deepEqual(outcomes, [200, 0, 204, 201]);
    // One more change of the API's own, after which everything that was written is known.
    assert.equal((await broker.request('DELETE', '/api/v1/devices/cli-1', { role: 'admin' })).status, 204);
    assert.deepEqual(await ids(), ['api-2', 'api-3', 'cli-2', 'import']);
    assert.deepEqual([...readDevices(file).keys()].sort(), ['api-2', 'api-3', 'cli-2', 'import']);
  });

  test(`${MANY} rows: all may log in, and others are answered meanwhile`, async (t) => {
    const [broker, file] = await brokerWithFile(t);
    const rows = Array.from({ length: MANY }, (_, n) => `fleet-${n},hall-${n % 7},g${n % 3}`);
    let isOver = false;
    const importing = send(broker, `deviceId,property.site,attribute.group\n${rows.join('\n')}\n`).finally(() => {
      isOver = true;
    });
    let answered = 0;
    while (!isOver) {
      assert.equal((await broker.request('GET', '/api/v1/devices?limit=1', { role: 'viewer' })).status, 200);
      if (!isOver) answered++;
    }
    const { status, json, text } = await importing;
    assert.equal(status, 200, text.slice(0, 300));
    assert.ok(answered > 0, 'somebody was answered while the list was taken');
    assert.deepEqual([json.added, json.rows.length], [MANY, MANY]);
    for (const n of [0, MANY / 2, MANY - 1]) assert.equal(await login(broker, `fleet-${n}`, json.rows[n].primaryKey), 0);
    assert.equal((await broker.request('GET', '/api/v1/devices?limit=1', { role: 'viewer' })).json.total, MANY);
    assert.equal(readDevices(file).size, MANY);
  });
});
