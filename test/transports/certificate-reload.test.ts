/*
 * Goal: certificates are replaced while the broker runs, by SIGHUP and by the change of a file; nobody who is connected notices, and what cannot be used changes nothing.
 * Method: brokers of two shards over files that the test replaces; the certificate that a new connection sees, and clients that stay connected all the time.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { copyFileSync, rmSync, writeFileSync } from 'node:fs';
import test, { describe } from 'node:test';
import { startBroker, type TestBroker } from '../support/broker.ts';
import { Authority, type CertificatePair, pem, temporaryFile } from '../support/certificates.ts';
import { connect, type TestClient } from '../support/client.ts';
import { type DialPlace, dialTls } from '../support/dial.ts';
import { clientIdOn } from '../support/placement.ts';

const SHARDS = 2;
const HOST = '127.0.0.1';
const KINDS = ['tls', 'wss'] as const;
const READ = 'certificates were read again: new connections get them';
const NOT_READ = 'certificates were not read again: the old ones stay';
const authority = new Authority('reload');
const first = authority.issue('first', ['DNS:localhost']);
const second = authority.issue('second', ['DNS:localhost']);

let stages = 0;

/** Files that a broker reads, and how to replace them. */
class Files {
  readonly chain: string;
  readonly key: string;
  readonly crl: string;

  constructor(pair: CertificatePair) {
    const name = `live-${stages++}`;
    this.chain = temporaryFile(`${name}.pem`);
    this.key = temporaryFile(`${name}.key`);
    this.crl = temporaryFile(`${name}.crl`);
    this.put(pair);
  }

  put({ chain, key }: CertificatePair): void {
    copyFileSync(chain, this.chain);
    copyFileSync(key, this.key);
  }
}

function placeOf(broker: TestBroker, index: number, own?: CertificatePair, secure: DialPlace['secure'] = {}): DialPlace {
  const place = { transport: KINDS[index]!, host: HOST, port: broker.ports[index]!, ca: pem(authority.root), secure };
  return own === undefined ? place : { ...place, cert: pem(own.chain), key: pem(own.key) };
}

/** Names of the certificates that so many new connections at once see. */
async function namesSeen(place: DialPlace, count = 1): Promise<string[]> {
  const names = Array.from({ length: count }, async () => {
    const socket = dialTls(place);
    await once(socket, 'secureConnect', { signal: AbortSignal.timeout(10_000) });
    const name = String(socket.getPeerCertificate().subject.CN);
    socket.destroy();
    return name;
  });
  return [...new Set(await Promise.all(names))];
}

/** Resolves when the broker has said it so often. */
async function said(broker: TestBroker, text: string, times: number): Promise<void> {
  await broker.line(() => broker.log.filter(({ msg }) => msg === text).length >= times);
}

async function stage(tls: object): Promise<{ broker: TestBroker; clients: TestClient[] }> {
  const listeners = KINDS.map((type) => ({ type, bind: `${HOST}:0`, tls }));
  const broker = await startBroker({ shards: SHARDS, listeners });
  const clients: TestClient[] = [];
  for (const [index] of KINDS.entries())
    for (let i = 0; i < 6; i++) clients.push(await connect(placeOf(broker, index), { clientId: clientIdOn(i % SHARDS, SHARDS) }));
  return { broker, clients };
}

/** Those who were there are still served, both ways. */
async function allServed(clients: readonly TestClient[]): Promise<void> {
  for (const client of clients) {
    await client.subscribe(`own/${client.clientId}`, { qos: 1 });
    await client.publish(`own/${client.clientId}`, Buffer.alloc(100_000), { qos: 1 });
    assert.equal((await client.next()).payload.length, 100_000);
  }
}

describe('new certificates', () => {
  test('by SIGHUP', async () => {
    const files = new Files(first);
    const { broker, clients } = await stage({ certificates: [{ chain: files.chain, key: files.key }] });
    for (const [index] of KINDS.entries()) assert.deepEqual(await namesSeen(placeOf(broker, index), 20), ['first']);
    files.put(second);
    process.kill(broker.pid, 'SIGHUP');
    await said(broker, READ, KINDS.length);
    for (const [index] of KINDS.entries()) {
      // The shards hear of it one after the other.
      while ((await namesSeen(placeOf(broker, index), 20)).includes('first'));
      await (await connect(placeOf(broker, index), {})).disconnect();
    }
    await allServed(clients);
    process.kill(broker.pid, 'SIGHUP');
    assert.equal(await broker.stop(), 0);
    assert.equal(broker.log.filter(({ msg }) => msg === READ).length, KINDS.length, 'what has not changed is not read again');
  });

  test('by the change of a file; a broken one in between, and one that is missing, change nothing', async () => {
    const files = new Files(first);
    const { broker, clients } = await stage({ certificates: [{ chain: files.chain, key: files.key }] });
    writeFileSync(files.chain, pem(second.chain).slice(0, 200));
    await said(broker, NOT_READ, KINDS.length);
    const line = await broker.line(({ msg }) => msg === NOT_READ);
    assert.match(String(line['error']), /live-\d+\.pem.*: cannot be used: /);
    // Many at once need more than was there before.
    for (const [index] of KINDS.entries()) assert.deepEqual(await namesSeen(placeOf(broker, index), 60), ['first']);
    rmSync(files.key);
    process.kill(broker.pid, 'SIGHUP');
    await said(broker, NOT_READ, 2 * KINDS.length);
    for (const [index] of KINDS.entries()) assert.deepEqual(await namesSeen(placeOf(broker, index), 60), ['first']);
    files.put(second);
    await said(broker, READ, KINDS.length);
    for (const [index] of KINDS.entries()) while ((await namesSeen(placeOf(broker, index), 20)).includes('first'));
    await allServed(clients);
    assert.equal(await broker.stop(), 0);
    assert.deepEqual(
      broker.log.filter(({ msg }) => msg === 'a shard failed'),
      [],
    );
  });
});

test('a certificate that is revoked while the broker runs ends who is there and lets nobody in, not even by a ticket', async () => {
  const files = new Files(first);
  const good = authority.issue('good-client');
  const bad = authority.issue('bad-client');
  copyFileSync(authority.revoked(), files.crl);
  const { chain, key, crl } = files;
  const tls = { certificates: [{ chain, key }], verifyClient: 'required', ca: authority.root, crl };
  const listeners = KINDS.map((type) => ({ type, bind: `${HOST}:0`, tls }));
  const broker = await startBroker({ shards: SHARDS, listeners });
  const there: TestClient[] = [];
  const untouched: TestClient[] = [];
  const sessions: Buffer[] = [];
  for (const [index, kind] of KINDS.entries()) {
    for (const shard of [0, 1]) {
      there.push(await connect(placeOf(broker, index, bad), { clientId: clientIdOn(shard, SHARDS) }));
      untouched.push(await connect(placeOf(broker, index, good), { clientId: clientIdOn(shard, SHARDS) }));
    }
    const socket = dialTls(placeOf(broker, index, bad));
    socket.resume();
    if (kind === 'wss') socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    sessions.push(((await once(socket, 'session', { signal: AbortSignal.timeout(10_000) })) as [Buffer])[0]);
    socket.destroy();
    const back = await connect(placeOf(broker, index, bad, { session: sessions[index]! }), {});
    await back.disconnect();
  }
  copyFileSync(authority.revoke(bad), files.crl);
  process.kill(broker.pid, 'SIGHUP');
  await said(broker, READ, KINDS.length);
  for (const [index] of KINDS.entries()) {
    // Both shards must have heard of it: as many in a row as cannot all have met the slower one.
    let refusals = 0;
    while (refusals < 20) {
      const secure = refusals % 2 === 0 ? { session: sessions[index]! } : {};
      const isIn = await connect(placeOf(broker, index, bad, secure), {}).then(
        (client) => client.disconnect().then(() => true),
        () => false,
      );
      refusals = isIn ? 0 : refusals + 1;
    }
    await (await connect(placeOf(broker, index, good), {})).disconnect();
  }
  for (const client of there) assert.equal((await client.closed).code, 0x87);
  for (const client of untouched) await client.ping();
  assert.equal(await broker.stop(), 0);
});
