/*
 * Goal: MQTT over QUIC keeps its session while the client moves, acts on nothing that may be replayed but a CONNECT, refuses what single-stream mode does not have, and
 * asks for certificates as TLS does.
 * Method: a real broker of two shards; clients whose datagrams the test sends, from addresses of its choice.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { copyFileSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { utf8Bytes, Writer } from '../../../src/base/bytes.ts';
import { writeConnect } from '../../../src/protocol/connect.ts';
import { PublishPacket, writePublishPacket } from '../../../src/protocol/publish.ts';
import { writeSubscribe } from '../../../src/protocol/subscribe.ts';
import { startBroker, type TestBroker } from '../../support/broker.ts';
import { temporaryFile } from '../../support/certificates.ts';
import { connect as connectMqtt, payloadText, type TestClient } from '../../support/client.ts';
import { TestDoors } from '../../support/doors.ts';
import { clientIdOn } from '../../support/placement.ts';
import { connect, type NativeClient, withClient } from './native-client.ts';

const SHARDS = 2;
const doors = new TestDoors();
const quic = doors.listeners.find(({ type }) => type === 'quic')!;
const tcp = doors.listeners.find(({ type }) => type === 'tcp')!;

let broker: TestBroker;
let watcher: TestClient;

before(async () => {
  const early = { ...quic, quic: { earlyPublish: true } };
  broker = await startBroker({ shards: SHARDS, listeners: [tcp, quic, early], 'mqtt.sysInterval': '1s' });
  watcher = await connectMqtt(broker.port, { clientId: 'watcher' });
  await watcher.subscribe('from-quic/#');
});
after(async () => {
  await watcher.disconnect();
  assert.equal(await broker.stop(), 0);
});

function bytesOf(write: (writer: Writer) => void): Buffer {
  const writer = new Writer(256);
  write(writer);
  return Buffer.from(writer.copy());
}

/** @param isClean throws a session away, which early data must not */
function connectPacket(clientId: string, isClean = true): Buffer {
  const clientIdBytes = utf8Bytes(clientId);
  const none = { will: undefined, username: undefined, password: undefined };
  return bytesOf((writer) =>
    writeConnect(writer, { version: 4, cleanStart: isClean, keepAliveSeconds: 0, clientId, clientIdBytes, ...none, properties: {} }),
  );
}

function publishPacket(topic: string, payload: string): Buffer {
  const packet = new PublishPacket();
  packet.topic = topic;
  packet.payload = utf8Bytes(payload);
  return bytesOf((writer) => writePublishPacket(writer, packet, 4));
}

const received = (client: NativeClient): string => client.received.get(0)?.toString('latin1') ?? '';

/** A ticket of the broker, and what it had to be asked for. */
async function ticketOf(port: number): Promise<Uint8Array> {
  const client = await connect({ port });
  await client.until(() => client.native.isEstablished() && client.native.session() !== null);
  const session = client.native.session()!;
  client.close();
  return session;
}

for (const owner of [0, 1]) {
  test(`a client that moves to other ports and addresses keeps its session (owner ${owner})`, async () => {
    const clientId = clientIdOn(owner, SHARDS);
    const client = await connect({ port: broker.ports[1]! });
    await withClient(client, async () => {
      client.write(0, connectPacket(clientId));
      const entry = { filter: 'to-quic', qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 };
      client.write(
        0,
        bytesOf((writer) => writeSubscribe(writer, { packetId: 1, properties: {}, entries: [entry] }, 4)),
      );
      await client.until(() => received(client).length >= 9);
      // Often enough that the kernel gives some of them to the other shard's socket.
      for (let move = 0; move < 10; move++) {
        await client.moveSilently(move % 2 === 0 ? '127.0.0.2' : '127.0.0.1');
        client.write(0, publishPacket(`from-quic/${clientId}`, `move ${move}`));
        assert.equal(payloadText(await watcher.next()), `move ${move}`);
        await watcher.publish('to-quic', `answer ${move}`);
        await client.until(() => received(client).includes(`answer ${move}`));
      }
    });
    const takeovers = broker.log.filter(({ msg }) => /closed|refused/.test(String(msg)));
    assert.deepEqual(takeovers, []);
  });
}

test('of early data only the CONNECT is acted on before the handshake is confirmed', async () => {
  const session = await ticketOf(broker.ports[1]!);
  await watcher.subscribe('$events/client_connected');
  const clientId = clientIdOn(0, SHARDS);
  const early = Buffer.concat([connectPacket(clientId, false), publishPacket(`from-quic/${clientId}`, 'replayed')]);
  const client = await connect({ port: broker.ports[1]!, session });
  // Whoever replays a recording hears nothing, and so confirms nothing.
  client.isDeaf = true;
  client.write(0, early);
  const event = JSON.parse(payloadText(await watcher.next())) as { clientid: string };
  assert.equal(event.clientid, clientId);
  await watcher.expectNone();
  client.vanish();
  // A replay must not throw a session away.
  const clean = await connect({ port: broker.ports[1]!, session });
  clean.isDeaf = true;
  clean.write(0, connectPacket(clientIdOn(0, SHARDS), true));
  await watcher.expectNone();
  clean.vanish();
  await watcher.unsubscribe('$events/client_connected');

  // The client itself goes on, and everything it had sent is acted on.
  const honestId = clientIdOn(1, SHARDS);
  const honest = await connect({
    port: broker.ports[1]!,
    session,
    early: Buffer.concat([connectPacket(honestId, false), publishPacket(`from-quic/${honestId}`, 'honest')]),
  });
  await withClient(honest, async () => {
    assert.equal(payloadText(await watcher.next()), 'honest');
    assert.ok(honest.native.isResumed());
  });
});

test('with earlyPublish all of it is', async () => {
  const session = await ticketOf(broker.ports[2]!);
  const clientId = clientIdOn(0, SHARDS);
  const client = await connect({ port: broker.ports[2]!, session });
  client.isDeaf = true;
  client.write(0, Buffer.concat([connectPacket(clientId), publishPacket(`from-quic/${clientId}`, 'early')]));
  assert.equal(payloadText(await watcher.next()), 'early');
  client.vanish();
});

test('a ticket of one shard is good at every other', async () => {
  for (let round = 0; round < 6; round++) {
    const session = await ticketOf(broker.ports[1]!);
    const client = await connect({ port: broker.ports[1]!, session });
    await withClient(client, async () => {
      await client.connected();
      assert.ok(client.native.isResumed());
    });
  }
});

test('the end of the first stream ends the connection', async () => {
  const client = await connect({ port: broker.ports[1]! });
  client.write(0, connectPacket(clientIdOn(0, SHARDS)));
  await client.until(() => received(client).length === 4);
  client.write(0, '', true);
  await client.until(() => client.native.isDraining() || client.native.isClosed());
  assert.deepEqual({ ...client.native.peerError(), reason: '' }, { isApp: true, errorCode: 1, reason: '' });
  client.vanish();
});

test('client certificates are asked for as the listener says', async () => {
  const pair = doors.authority.issue('device-1');
  const other = new TestDoors();
  const stranger = other.authority.issue('device-1');
  const tls = { ...(quic['tls'] as object), verifyClient: 'required', ca: doors.authority.root };
  const strict = await startBroker({ shards: 1, listeners: [{ ...quic, tls }] });
  const read = async (file: string): Promise<Uint8Array> => (await import('node:fs')).readFileSync(file);
  for (const [certificate, isGood] of [
    [pair, true],
    [stranger, false],
    [null, false],
  ] as const) {
    const files = certificate === null ? {} : { certificate: await read(certificate.chain), key: await read(certificate.key) };
    const client = await connect({ port: strict.port, ...files });
    client.write(0, connectPacket('device-1'));
    await client.until(() => received(client).length === 4 || client.native.isClosed() || client.native.isDraining());
    assert.equal(received(client).length === 4, isGood);
    client.vanish();
  }
  assert.equal(await strict.stop(), 0);
});

test('a client whose certificate is revoked is refused, also when it comes back with a ticket', async () => {
  const { authority } = new TestDoors();
  const files = ['good', 'bad'].map((name) => authority.issue(name));
  const keep = temporaryFile('quic.crl');
  copyFileSync(authority.revoked(), keep);
  const tls = { certificates: [authority.issue('localhost', ['DNS:localhost'])], verifyClient: 'optional', ca: authority.root, crl: keep };
  const strict = await startBroker({ shards: 1, listeners: [{ ...quic, tls }] });
  const visit = async (place: number, session?: Uint8Array): Promise<{ isIn: boolean; ticket: Uint8Array | null; code: number }> => {
    const { chain, key } = files[place]!;
    const client = await connect({
      port: strict.port,
      certificate: readFileSync(chain),
      key: readFileSync(key),
      ...(session === undefined ? {} : { session }),
    });
    client.write(0, connectPacket(`client-${place}`));
    await client.until(() => received(client).length === 4 || client.native.isClosed() || client.native.isDraining());
    const isIn = received(client).length === 4;
    if (isIn) await client.until(() => client.native.session() !== null);
    const result = { isIn, ticket: client.native.session(), code: client.native.peerError()?.errorCode ?? 0 };
    client.vanish();
    return result;
  };
  const good = await visit(0);
  const bad = await visit(1);
  assert.deepEqual([good.isIn, bad.isIn], [true, true]);
  copyFileSync(authority.revoke(files[1]!), keep);
  process.kill(strict.pid, 'SIGHUP');
  await strict.line(({ msg }) => msg === 'certificates were read again: new connections get them');
  // The shard hears of it a moment later.
  while ((await visit(1)).isIn);
  // certificate_revoked, as TLS says it.
  assert.deepEqual(
    [await visit(1), await visit(1, bad.ticket!)].map(({ isIn, code }) => [isIn, code]),
    [
      [false, 0x12c],
      [false, 0x12c],
    ],
  );
  assert.equal((await visit(0, good.ticket!)).isIn, true);
  assert.equal(await strict.stop(), 0);
});

test('a listener with several certificates shows the one that the client asks for', async () => {
  const { authority } = doors;
  const certificates = ['one.example', 'two.example', 'three.example'].map((name) => authority.issue(name, [`DNS:${name}`]));
  const named = await startBroker({ shards: 2, listeners: [{ ...quic, tls: { certificates } }] });
  // A ClientHello with this many protocols does not fit one datagram.
  const many = ['mqtt', ...Array.from({ length: 100 }, (_, i) => `filler-${i}-${'x'.repeat(10)}`)];
  for (const protocols of [['mqtt'], many]) {
    for (const [serverName, expected] of [
      ['two.example', 'two.example'],
      ['THREE.example', 'three.example'],
      ['one.example', 'one.example'],
      ['other.example', 'one.example'],
    ] as const) {
      const client = await connect({ port: named.port, serverName, protocols });
      await withClient(client, async () => {
        await client.connected();
        const shown = new X509Certificate(client.native.peerCertChain()![0]!);
        assert.equal(shown.subject, `CN=${expected}`);
      });
    }
  }
  assert.equal(await named.stop(), 0);
});

test('an address that the listener does not allow is not answered, and who moves there is cut off', async () => {
  const strict = await startBroker({ shards: 2, listeners: [{ ...quic, bind: '127.0.0.1:0', deny: ['127.0.0.2'] }] });
  const stranger = await connect({ port: strict.port, localHost: '127.0.0.2' });
  const client = await connect({ port: strict.port });
  client.write(0, connectPacket('mover'));
  await client.until(() => received(client).length === 4);
  assert.equal(stranger.datagramsIn.length, 0);
  stranger.vanish();
  await client.moveSilently('127.0.0.2');
  client.write(0, publishPacket('t', 'from elsewhere'));
  await client.until(() => client.native.isDraining() || client.native.isClosed());
  assert.equal(client.native.peerError()?.errorCode, 2);
  client.vanish();
  assert.equal(await strict.stop(), 0);
});
