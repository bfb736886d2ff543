/*
 * Goal: the keys of a listener become settings with units and whole paths, and every mistake is one clear line that names file, line, listener and key.
 * Method: real files in a temporary folder; the settings and the exact lines are compared.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { after, describe } from 'node:test';
import type { ListenerSettings } from '../../src/base/settings.ts';
import { ConfigError, loadSettings } from '../../src/server/config.ts';

const folder = mkdtempSync(join(tmpdir(), 'onehop-listeners-'));
after(() => rmSync(folder, { recursive: true }));

let fileCount = 0;

/** A configuration file with these listeners, one for each line from the second on. */
function file(...listeners: string[]): string {
  const path = join(folder, `l${fileCount++}.yaml`);
  writeFileSync(path, `listeners:\n${listeners.map((one) => `  - ${one}\n`).join('')}`);
  return path;
}

async function settingsOf(listener: string, more: readonly string[] = []): Promise<ListenerSettings> {
  return (await loadSettings({ file: file(listener), set: more })).listeners[0]!;
}

/** Lines of the error, without the file's name. */
async function problems(...listeners: string[]): Promise<string[]> {
  try {
    await loadSettings({ file: file(...listeners) });
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    assert.equal(error.exitCode, 2);
    return error.lines.map((line) => line.replace(/^.*\/l\d+\.yaml:/, ''));
  }
  throw new assert.AssertionError({ message: 'no problem was found' });
}

const bind = 'bind: 127.0.0.1:0';
const certificates = 'certificates: [{ chain: a.pem, key: a.key }]';

describe('settings', () => {
  test('a listener that says nothing more has the limits of the process', async () => {
    const plain = await settingsOf(`{ type: tcp, ${bind} }`, [
      'limits.connections=77',
      'limits.packetSize=2MiB',
      'limits.connectTimeout=3s',
    ]);
    assert.deepEqual(plain, {
      type: 'tcp',
      host: '127.0.0.1',
      port: 0,
      path: '',
      connections: 77,
      connectRate: 0,
      handshakeTimeoutMilliseconds: 3000,
      packetBytes: 2_097_152,
      allow: [],
      deny: [],
      proxyProtocol: 'none',
      trustedProxies: ['127.0.0.0/8', '::1'],
      tls: null,
      webSocket: null,
      quic: null,
    });
  });

  test('what it says itself counts', async () => {
    const limits = 'connections: 5, connectRate: 6, handshakeTimeout: 700ms, packetSize: 8KiB';
    const networks = 'allow: [10.0.0.0/8, 192.0.2.1], deny: [fd00::/8], proxy: { protocol: v2, trusted: [10.0.0.1] }';
    const one = await settingsOf(`{ type: tcp, ${bind}, ${limits}, ${networks} }`);
    assert.deepEqual([one.connections, one.connectRate, one.handshakeTimeoutMilliseconds, one.packetBytes], [5, 6, 700, 8192]);
    assert.deepEqual([one.allow, one.deny], [['10.0.0.0/8', '192.0.2.1'], ['fd00::/8']]);
    assert.deepEqual([one.proxyProtocol, one.trustedProxies], ['v2', ['10.0.0.1']]);
  });

  test('paths start at the file', async () => {
    const { tls } = await settingsOf(
      `{ type: tls, ${bind}, tls: { ${certificates}, verifyClient: optional, ca: /roots.pem, crl: crl.pem } }`,
    );
    assert.deepEqual(tls, {
      certificates: [{ chain: join(folder, 'a.pem'), key: join(folder, 'a.key') }],
      verifyClient: 'optional',
      ca: '/roots.pem',
      crl: join(folder, 'crl.pem'),
      minVersion: '1.2',
      ciphers: '',
    });
    const unix = await settingsOf('{ type: unix, bind: ./run/mqtt.sock }');
    assert.deepEqual([unix.host, unix.port, unix.path], ['', 0, join(folder, 'run/mqtt.sock')]);
  });

  test('WebSocket', async () => {
    assert.deepEqual((await settingsOf(`{ type: ws, ${bind} }`)).webSocket, { path: '/mqtt', origins: '*', compression: false });
    const own = await settingsOf(`{ type: ws, ${bind}, webSocket: { path: /a/b, origins: ["https://a.test"], compression: true } }`);
    assert.deepEqual(own.webSocket, { path: '/a/b', origins: ['https://a.test'], compression: true });
  });
});

describe('problems', () => {
  test('what belongs to another type', async () => {
    const lines = await problems(
      `{ type: tls, ${bind} }`,
      `{ type: wss, ${bind} }`,
      `{ type: tcp, ${bind}, tls: { ${certificates} } }`,
      `{ type: ws, ${bind}, tls: { ${certificates} } }`,
      '{ type: tcp, bind: /run/mqtt.sock }',
      `{ type: unix, ${bind} }`,
      `{ type: tls, ${bind}, tls: { ${certificates}, verifyClient: required } }`,
      `{ type: tls, ${bind}, tls: { ${certificates}, crl: crl.pem } }`,
    );
    assert.deepEqual(lines, [
      '2: listeners[0].tls: a tls listener needs tls: { certificates: [{ chain: server.pem, key: server-key.pem }] }',
      '3: listeners[1].tls: a wss listener needs tls: { certificates: [{ chain: server.pem, key: server-key.pem }] }',
      '4: listeners[2].tls: a tcp listener has no TLS; did you mean type: tls?',
      '5: listeners[3].tls: a ws listener has no TLS; did you mean type: wss?',
      '6: listeners[4].bind: expected address:port such as 127.0.0.1:1883',
      '7: listeners[5].bind: expected the path of a socket such as /run/onehop.sock',
      '8: listeners[6].tls.ca: expected the file of roots that client certificates must lead to',
      '9: listeners[7].tls.crl: a list of revoked certificates needs ca and verifyClient',
    ]);
  });

  test('values', async () => {
    const wrong = (key: string): string => `{ type: wss, ${bind}, tls: { ${certificates} }, ${key} }`;
    const tls = (key: string): string => `{ type: tls, ${bind}, tls: { ${key} } }`;
    const lines = await problems(
      wrong('connections: 0'),
      wrong('connectRate: -1'),
      wrong('handshakeTimeout: 1ms'),
      wrong('packetSize: 10'),
      wrong('allow: 10.0.0.0/8'),
      wrong('allow: [10.0.0.0/33]'),
      wrong('deny: [everyone]'),
      wrong('deny: ["fd00::/129"]'),
      wrong('proxy: { protocol: v3 }'),
      wrong('proxy: { trusted: [10.0.0.0/] }'),
      wrong('webSocket: { path: mqtt }'),
      wrong('webSocket: { origins: [example.com] }'),
      wrong('webSocket: { compression: maybe }'),
      tls('certificates: []'),
      tls('certificates: a.pem'),
      tls('certificates: [{ chain: a.pem }]'),
      tls(`${certificates}, minVersion: "1.1"`),
      tls(`${certificates}, verifyClient: yes`),
      tls(`${certificates}, ciphers: "a b"`),
    );
    assert.deepEqual(lines, [
      '2: listeners[0].connections: expected a whole number from 1 to 100000000, not 0',
      '3: listeners[1].connectRate: expected a whole number from 0 to 1000000, not -1',
      '4: listeners[2].handshakeTimeout: expected a duration from 100ms to 600000ms, not "1ms"',
      '5: listeners[3].packetSize: expected a size from 128 to 268435460 bytes, not 10',
      '6: listeners[4].allow: expected a list of networks such as [10.0.0.0/8], not "10.0.0.0/8"',
      '7: listeners[5].allow: expected addresses or networks such as 10.0.0.0/8 or fd00::/8, not "10.0.0.0/33"',
      '8: listeners[6].deny: expected addresses or networks such as 10.0.0.0/8 or fd00::/8, not "everyone"',
      '9: listeners[7].deny: expected addresses or networks such as 10.0.0.0/8 or fd00::/8, not "fd00::/129"',
      '10: listeners[8].proxy.protocol: expected one of none, v1, v2, any, not "v3"',
      '11: listeners[9].proxy.trusted: expected addresses or networks such as 10.0.0.0/8 or fd00::/8, not "10.0.0.0/"',
      '12: listeners[10].webSocket.path: expected a path such as /mqtt, not "mqtt"',
      '13: listeners[11].webSocket.origins: expected origins such as https://console.example.com, not "example.com"',
      '14: listeners[12].webSocket.compression: expected true or false, not "maybe"',
      '15: listeners[13].tls.certificates: expected at least one certificate',
      '16: listeners[14].tls.certificates: expected a list such as [{ chain: server.pem, key: server-key.pem }], not "a.pem"',
      '17: listeners[15].tls.certificates[0].key: expected a text, not nothing (quotes make it one)',
      '18: listeners[16].tls.minVersion: expected one of 1.2, 1.3, not "1.1"',
      '19: listeners[17].tls.verifyClient: expected one of none, optional, required, not "yes"',
      '20: listeners[18].tls.ciphers: expected names of ciphers as OpenSSL writes them, not "a b"',
    ]);
  });

  test('unknown keys, with the nearest one of a listener', async () => {
    const lines = await problems(
      `{ type: tcp, ${bind}, packetsize: 1KiB }`,
      `{ type: ws, ${bind}, websocket: { path: / } }`,
      `{ type: ws, ${bind}, webSocket: { origin: "*" } }`,
      `{ type: tls, ${bind}, tls: { ${certificates}, minversion: "1.3" } }`,
      `{ type: tls, ${bind}, tls: { certificates: [{ chain: a.pem, key: a.key, password: x }] } }`,
      `{ type: tcp, ${bind}, verifyClient: none }`,
    );
    assert.deepEqual(lines, [
      '2: listeners[0].packetsize: unknown key; did you mean listeners[0].packetSize?',
      '3: listeners[1].websocket: unknown key; did you mean listeners[1].webSocket?',
      '4: listeners[2].webSocket.origin: unknown key; did you mean listeners[2].webSocket.origins?',
      '5: listeners[3].tls.minversion: unknown key; did you mean listeners[3].tls.minVersion?',
      '6: listeners[4].tls.certificates[0].password: unknown key',
      '7: listeners[5].verifyClient: unknown key; did you mean listeners[5].tls.verifyClient?',
    ]);
  });

  test('a list from an option says which key of which listener', async () => {
    const set = [`listeners=[{ type: tcp, ${bind} }, { type: tcp, ${bind}, deny: [x] }]`];
    await assert.rejects(loadSettings({ set }), {
      message: '--set listeners: listeners[1].deny: expected addresses or networks such as 10.0.0.0/8 or fd00::/8, not "x"',
    });
  });
});
