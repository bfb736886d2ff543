/*
 * Goal: a listener listens where it is told, and what cannot be bound stops the start with one clear line and exit code 1.
 * Method: brokers of their own on addresses that are taken, foreign, files, or stale; clients from IPv4 and IPv6.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Ended, runProgram } from '../clients/child-program.ts';
import { startBroker } from '../support/broker.ts';
import { Authority, temporaryFile } from '../support/certificates.ts';
import { connect, payloadText } from '../support/client.ts';
import type { DialPlace } from '../support/dial.ts';
import { clientIdOn } from '../support/placement.ts';

const program = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

/** The end of a broker that cannot start. */
async function failedStart(listeners: readonly object[]): Promise<Ended> {
  const list = `listeners=${JSON.stringify(listeners)}`;
  const ended = await runProgram(process.execPath, [program, 'start', '--shards', '2', '--set', list, '--set', 'store.enabled=false']);
  assert.equal(ended.exit, 1, ended.stderr + ended.stdout);
  return ended;
}

/** Its one line. */
async function problem(...listeners: readonly object[]): Promise<string> {
  return (await failedStart(listeners)).stderr.trim();
}

async function occupied(where: object): Promise<Server> {
  const server = createServer().listen(where);
  await once(server, 'listening');
  return server;
}

test('a port in use, an address of another machine, a privileged place', async () => {
  const server = await occupied({ host: '127.0.0.1', port: 0 });
  const { port } = server.address() as { port: number };
  assert.equal(
    await problem({ type: 'tcp', bind: `127.0.0.1:${port}` }),
    `onehop: listeners: 127.0.0.1:${port} is in use by another process; stop it or choose another port`,
  );
  server.close();
  const list = [{ type: 'tcp', bind: '192.0.2.1:0' }];
  const args = ['start', '--set', `listeners=${JSON.stringify(list)}`, '--set', 'auth.allowAnonymous=true'];
  const { exit, stderr } = await runProgram(process.execPath, [program, ...args]);
  assert.deepEqual([exit, stderr.trim()], [1, 'onehop: listeners: 192.0.2.1:0 is not an address of this machine']);
});

test('a Unix socket: a file that is none, a folder that is missing, a path that is too long, one that is in use', async () => {
  const file = temporaryFile('no-socket');
  writeFileSync(file, 'mine');
  assert.equal(await problem({ type: 'unix', bind: file }), `onehop: listeners: ${file} is there and is no socket; choose another path`);
  assert.equal(readFileSync(file, 'utf8'), 'mine');
  const missing = temporaryFile('missing/socket');
  assert.equal(await problem({ type: 'unix', bind: missing }), `onehop: listeners: the folder of ${missing} does not exist`);
  const long = temporaryFile('s'.repeat(120));
  assert.equal(await problem({ type: 'unix', bind: long }), `onehop: listeners: ${long} is too long for the path of a socket`);
  const taken = temporaryFile('taken');
  const server = await occupied({ path: taken });
  assert.equal(
    await problem({ type: 'unix', bind: taken }),
    `onehop: listeners: ${taken} is in use by another process; stop it or choose another path`,
  );
  server.close();
});

test('a start that fails leaves no socket behind', async () => {
  const path = temporaryFile('left');
  const server = await occupied({ host: '127.0.0.1', port: 0 });
  const { port } = server.address() as { port: number };
  await problem({ type: 'unix', bind: path }, { type: 'tcp', bind: `127.0.0.1:${port}` });
  assert.ok(!existsSync(path));
  server.close();
  const tls = { certificates: [{ chain: temporaryFile('nowhere.pem'), key: temporaryFile('nowhere.key') }] };
  const line = await problem({ type: 'unix', bind: path }, { type: 'tls', bind: '127.0.0.1:0', tls });
  assert.match(line, /^onehop: listeners\[1\]\.tls: .*nowhere\.pem: cannot read this file: no such file$/);
  assert.ok(!existsSync(path));
});

test('a socket that a killed broker left behind is taken over; a regular stop removes it', async () => {
  const path = temporaryFile('stale');
  const listeners = [{ type: 'unix', bind: path }];
  const place: DialPlace = { transport: 'unix', host: '', port: 0, path };
  const first = await startBroker({ listeners });
  await first.kill();
  assert.ok(lstatSync(path).isSocket());
  const second = await startBroker({ listeners });
  const client = await connect(place, {});
  await client.ping();
  assert.equal(await second.stop(), 0);
  assert.ok(!existsSync(path));
});

test('certificates that cannot be used stop the start with one line', async () => {
  const authority = new Authority('bind');
  const good = authority.issue('localhost', ['DNS:localhost']);
  const other = authority.issue('other', ['DNS:other']);
  const empty = temporaryFile('empty.pem');
  writeFileSync(empty, 'nothing\n');
  const broken = temporaryFile('broken.pem');
  writeFileSync(broken, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
  mkdirSync(temporaryFile('folder'));
  const cases: [object, RegExp][] = [
    [{ certificates: [{ chain: good.chain, key: other.key }] }, /localhost\.pem with .*other\.key: cannot be used: .*key values mismatch$/],
    [{ certificates: [{ chain: empty, key: good.key }] }, /empty\.pem: there is no PEM in this file \(-----BEGIN …-----\)$/],
    [{ certificates: [{ chain: broken, key: good.key }] }, /broken\.pem with .*: cannot be used: /],
    [{ certificates: [{ chain: temporaryFile('folder'), key: good.key }] }, /folder: cannot read this file: it is a directory$/],
    [{ certificates: [good], verifyClient: 'required', ca: good.key }, /localhost\.key: there is no certificate in PEM in this file$/],
    [
      { certificates: [good], verifyClient: 'required', ca: authority.root, crl: good.chain },
      /localhost\.pem: there is no list of revoked /,
    ],
    [{ certificates: [good], ciphers: 'NO-SUCH-CIPHER' }, /^onehop: listeners\[0\]\.tls: ciphers: cannot be used: .*no cipher match$/],
  ];
  for (const [tls, expected] of cases) {
    const line = await problem({ type: 'tls', bind: '127.0.0.1:0', tls });
    assert.match(line, expected);
    assert.match(line, /^onehop: listeners\[0\]\.tls: [^\n]+$/);
  }
});

test('ciphers that only one of the two libraries knows', async () => {
  const certificates = [new Authority('ciphers').issue('localhost', ['DNS:localhost'])];
  const line = await problem({ type: 'wss', bind: '127.0.0.1:0', tls: { certificates, ciphers: 'DHE-RSA-AES128-GCM-SHA256' } });
  assert.match(
    line,
    /^onehop: listeners\[0\]\.tls: these certificates cannot be used: uWebSockets\.js takes .*localhost\.pem not, or not these ciphers; its TLS is BoringSSL$/,
  );
});

test('IPv6, and both families on one socket; an IPv4 client keeps its plain address', async () => {
  const listeners = [
    { type: 'tcp', bind: '[::1]:0' },
    { type: 'tcp', bind: '[::]:0' },
    { type: 'ws', bind: '[::]:0' },
    { type: 'tcp', bind: '127.0.0.1:0' },
  ];
  const broker = await startBroker({ shards: 2, listeners, 'auth.allowAnonymous': true });
  const watcher = await connect(broker.ports[3]!, {});
  await watcher.subscribe('$events/client_connected');
  const peerOf = async (place: DialPlace, owner: number): Promise<string> => {
    const client = await connect(place, { clientId: clientIdOn(owner, 2) });
    const facts = JSON.parse(payloadText(await watcher.next())) as { clientid: string; peername: string };
    assert.equal(facts.clientid, client.clientId);
    await client.disconnect();
    return facts.peername.replace(/:\d+$/, '');
  };
  for (const owner of [0, 1]) {
    assert.equal(await peerOf({ transport: 'tcp', host: '::1', port: broker.ports[0]! }, owner), '[::1]');
    assert.equal(await peerOf({ transport: 'tcp', host: '::1', port: broker.ports[1]! }, owner), '[::1]');
    assert.equal(await peerOf({ transport: 'tcp', host: '127.0.0.1', port: broker.ports[1]! }, owner), '127.0.0.1');
    assert.equal(await peerOf({ transport: 'ws', host: '::1', port: broker.ports[2]! }, owner), '[::1]');
    assert.equal(await peerOf({ transport: 'ws', host: '127.0.0.1', port: broker.ports[2]! }, owner), '127.0.0.1');
  }
  assert.equal(await broker.stop(), 0);
});
