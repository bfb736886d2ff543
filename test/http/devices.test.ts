/*
 * Goal: devices and certificates through the API. Changes hold at once; keys are told to who makes them and to admins who ask; a registry of 100,000 is listed in pages.
 * Method: real brokers, devices that log in by tokens of their keys, certificates made by openssl.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { deviceToken } from '../../src/auth/device-token.ts';
import { newDevice, readDevices } from '../../src/server/device-commands.ts';
import { writeDeviceFile } from '../../src/server/device-file.ts';
import { runCommand } from '../cli/run-command.ts';
import { Authority, pem } from '../support/certificates.ts';
import { connackCode, connect } from '../support/client.ts';
import { type HttpBroker, startHttpBroker } from '../support/http.ts';
import { storeDirectory } from '../support/store-directory.ts';

const WRONG = 0x86;
const LISTED = 100_000;

function tokenOf(deviceId: string, key: string): string {
  return deviceToken(deviceId, key, Math.floor(Date.now() / 1000) + 600);
}

async function brokerWithDevices(t: Parameters<typeof startHttpBroker>[0]): Promise<[HttpBroker, string]> {
  const file = join(storeDirectory(), 'devices.json');
  writeDeviceFile(file, new Map());
  return [await startHttpBroker(t, { shards: 2, 'auth.authenticators': [{ type: 'devices', file }] }), file];
}

describe('devices through the API', { concurrency: 2 }, () => {
  test('added, changed, rotated, disabled and removed: each holds at once', async (t) => {
    const [broker, file] = await brokerWithDevices(t);
    const as = (method: string, path: string, body?: object, role: 'admin' | 'viewer' = 'admin'): ReturnType<HttpBroker['request']> =>
      broker.request(method, `/api/v1/devices${path}`, { role, ...(body && { body }) });
    const added = await as('POST', '', { deviceId: 'pump 7', attributes: { group: 'a' } });
    assert.equal(added.status, 201, added.text);
    const { primaryKey, secondaryKey } = added.json;
    assert.equal(Buffer.from(primaryKey, 'base64').length, 32);
    const login = (key: string): Promise<number> =>
      connackCode(broker.port, { clientId: 'pump 7', username: 'x', password: tokenOf('pump 7', key) });
    assert.deepEqual([await login(primaryKey), await login(secondaryKey)], [0, 0]);

    const shown = await as('GET', '/pump%207', undefined, 'viewer');
    assert.deepEqual([shown.json.primaryKey, shown.json.attributes], [undefined, { group: 'a' }]);
    assert.equal((await as('GET', '/pump%207?keys=true', undefined, 'viewer')).status, 403);
    assert.equal((await as('GET', '?keys=true', undefined, 'viewer')).status, 403);
    assert.equal((await as('GET', '/pump%207?keys=true')).json.primaryKey, primaryKey);

    const client = await connect(broker.port, { clientId: 'pump 7', username: 'x', password: tokenOf('pump 7', primaryKey) });
    const rotated = await as('POST', '/pump%207/rotate', { key: 'primary' });
    await client.closed;
    assert.deepEqual([rotated.json.secondaryKey, await login(primaryKey), await login(rotated.json.primaryKey)], [undefined, WRONG, 0]);
    assert.equal(await login(secondaryKey), 0, 'the other key goes on');

    const properties = [{ key: 'site', value: 'hall 2' }];
    const changed = await as('PUT', '/pump%207', { propagatingProperties: properties });
    assert.deepEqual([changed.json.propagatingProperties, changed.json.attributes], [properties, { group: 'a' }]);
    const again = await connect(broker.port, { clientId: 'pump 7', username: 'x', password: tokenOf('pump 7', secondaryKey) });
    assert.equal((await as('PUT', '/pump%207', { isEnabled: false })).json.isEnabled, false);
    await again.closed;
    assert.equal(await login(secondaryKey), WRONG);
    assert.equal((await as('PUT', '/pump%207', { isEnabled: true })).status, 200);
    assert.equal(await login(secondaryKey), 0);
    assert.equal((await as('DELETE', '/pump%207')).status, 204);
    assert.equal(await login(secondaryKey), WRONG);
    assert.equal((await as('GET', '/pump%207')).status, 404);

    const outcomes = await Promise.all([
      ...[1, 2, 3].map(async (n) => (await as('POST', '', { deviceId: `api-${n}` })).status),
      ...[1, 2].map(async (n) => (await runCommand(['device', 'add', `cli-${n}`, '--file', file])).exit),
    ]);
    assert.deepEqual(outcomes, [201, 201, 201, 0, 0]);
    assert.deepEqual([...readDevices(file).keys()].sort(), ['api-1', 'api-2', 'api-3', 'cli-1', 'cli-2']);
    for (const [body, status, detail] of [
      [{ deviceId: 'api-1' }, 409, /already/],
      [{ deviceId: '' }, 422, /deviceId/],
      [{ deviceId: 'a\u0001' }, 422, /control characters/],
      [{ deviceId: 'a', primaryKey: 'c2hvcnQ=' }, 422, /primaryKey: expected 32 to 128 bytes/],
      [{ deviceId: 'a', propagatingProperties: [{ key: 'p2p-target', value: 'x' }] }, 422, /broker’s own/],
      [{ deviceId: 'a', isEnabled: 'yes' }, 422, /isEnabled/],
    ] as const) {
      const answer = await as('POST', '', body);
      assert.equal(answer.status, status, answer.text);
      assert.match(answer.json.detail, detail);
      assert.ok(!answer.text.includes('c2hvcnQ='), 'no key is told');
    }
  });

  test(`${LISTED} devices are listed in pages, and one of them is changed`, async (t) => {
    const file = join(storeDirectory(), 'devices.json');
    const { primaryKey, secondaryKey, ...facts } = newDevice({ deviceId: 'x' });
    const line = (n: number): string => JSON.stringify({ ...facts, deviceId: `d${n}`, primaryKey, secondaryKey });
    writeFileSync(file, `{ "version": 1, "devices": [\n${Array.from({ length: LISTED }, (_, n) => line(n)).join(',\n')}\n] }\n`);
    const broker = await startHttpBroker(t, { 'auth.authenticators': [{ type: 'devices', file }] });
    const page = (query: string): ReturnType<HttpBroker['request']> =>
      broker.request('GET', `/api/v1/devices?${query}`, { role: 'viewer' });
    let seen = 0;
    let last = '';
    let cursor = '';
    do {
      const { json } = await page(`prefix=d99&limit=1000${cursor}`);
      assert.equal(json.total, 1111);
      for (const { deviceId } of json.data as { deviceId: string }[]) {
        assert.ok(deviceId > last && deviceId.startsWith('d99'));
        last = deviceId;
        seen++;
      }
      cursor = json.next === null ? '' : `&cursor=${json.next}`;
    } while (cursor !== '');
    assert.equal(seen, 1111);
    assert.equal((await page('limit=1')).json.total, LISTED);
    const changed = await broker.request('PUT', '/api/v1/devices/d500', { role: 'admin', body: { isEnabled: false } });
    assert.equal(changed.status, 200, changed.text);
    assert.equal((await page('prefix=d500&limit=1')).json.data[0].isEnabled, false);
  });
});

describe('certificates through the API', () => {
  test('an authority by its code, certificates by hand, and what happens to their clients', async (t) => {
    const fleet = new Authority('api-fleet');
    const server = fleet.issue('localhost', ['DNS:localhost', 'IP:127.0.0.1']);
    const device = fleet.issueAs('device-1', '/OU=pumps/CN=device-1');
    const registry = join(storeDirectory(), 'certificates.jsonl');
    writeFileSync(registry, '{"version":1}\n');
    const tls = { certificates: [server], verifyClient: 'required', ca: fleet.root };
    const broker = await startHttpBroker(t, {
      listeners: [
        { type: 'tcp', bind: '127.0.0.1:0' },
        { type: 'http', bind: '127.0.0.1:0' },
        { type: 'tls', bind: '127.0.0.1:0', tls },
      ],
      'auth.authenticators': [{ type: 'certificate', registry }],
    });
    const as = (method: string, path: string, body?: object): ReturnType<HttpBroker['request']> =>
      broker.request(method, `/api/v1/certificates${path}`, { role: 'admin', ...(body && { body }) });
    const place = {
      transport: 'tls',
      host: '127.0.0.1',
      port: broker.ports[2]!,
      ca: pem(fleet.root),
      cert: pem(device.chain),
      key: pem(device.key),
    } as const;
    const login = (): Promise<number> => connackCode(place, { clientId: 'pump-1' });

    const early = await as('POST', '/authorities', { ca: pem(fleet.root), verification: pem(device.chain) });
    assert.deepEqual([early.status, early.json.code], [409, 'conflict'], early.text);
    const { code } = (await as('POST', '/authorities/code')).json;
    const ca = pem(fleet.root);
    const wrong = await as('POST', '/authorities', { ca, verification: pem(device.chain) });
    assert.deepEqual([wrong.status, wrong.json.code], [422, 'unprocessable'], wrong.text);
    const proof = pem(fleet.issueAs('proof', `/CN=${code}`).chain);
    const registered = await as('POST', '/authorities', { ca, verification: proof });
    assert.equal(registered.status, 201, registered.text);
    assert.deepEqual([registered.json.status, registered.json.autoRegister], ['ACTIVE', false]);
    assert.notEqual(await login(), 0);

    const added = await as('POST', '', { certificate: pem(device.chain), clientId: 'pump-1' });
    assert.equal(added.status, 201, added.text);
    const id = added.json.fingerprint as string;
    const client = await connect(place, { clientId: 'pump-1' });
    assert.deepEqual((await as('GET', `/${added.json.serial}`)).json, added.json);
    const listed = await as('GET', '?commonName=device-1&status=ACTIVE');
    assert.deepEqual([listed.json.total, listed.json.data[0].clientId], [1, 'pump-1']);
    assert.equal((await as('GET', '?status=REVOKED')).json.total, 0);
    assert.equal((await as('PUT', `/${id}`, { status: 'INACTIVE' })).status, 200);
    await client.closed;
    assert.notEqual(await login(), 0);
    assert.equal((await as('PUT', `/${id}`, { status: 'ACTIVE' })).status, 200);
    assert.equal(await login(), 0);
    const caId = registered.json.fingerprint as string;
    assert.equal((await as('PUT', `/authorities/${caId}`, { status: 'INACTIVE' })).json.status, 'INACTIVE');
    assert.notEqual(await login(), 0);
    assert.equal((await as('PUT', `/${id}`, { status: 'REVOKED' })).status, 200);
    assert.equal((await as('PUT', `/${id}`, { status: 'ACTIVE' })).json.code, 'conflict', 'revoked is final');
    assert.equal((await as('DELETE', `/authorities/${caId}`)).json.code, 'conflict', 'it has certificates');
    assert.deepEqual((await as('DELETE', `/${id}`)).json, { comesAgain: false });
    assert.equal((await as('DELETE', `/authorities/${caId}`)).status, 204);
    assert.deepEqual((await as('GET', '/authorities')).json, { data: [] });
    assert.equal((await as('GET', '/nobody')).status, 404);
    assert.equal((await as('POST', '', { certificate: 'no PEM' })).status, 422);
    assert.equal((await as('PUT', '/1/x', {})).status, 404);
    const { json } = await broker.request('GET', '/api/v1/authenticators', { role: 'viewer' });
    const { type, accepted, refused, breaker } = json.data[0];
    assert.deepEqual([type, breaker], ['certificate', null]);
    assert.ok(accepted >= 2 && refused >= 3);
  });
});
