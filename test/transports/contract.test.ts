/*
 * Goal: every transport keeps the same contract: bytes in any pieces, large messages both ways, a client that does not read costs itself, a client that is not read
 * loses nothing, a close has its reason, the peer has its address, limits and addresses hold, a flood of strangers is turned away.
 * Method: one broker of two shards with a listener of each transport, and one that has to do with Node's TLS; the same tests over each, with clients whose owner is the
 * shard that accepts and the other.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import test, { after, before, describe } from 'node:test';
import { connectBytes } from '../scenario/raw-connection.ts';
import { startBroker, type TestBroker, WITHOUT_OPEN_SSL } from '../support/broker.ts';
import { connect, payloadText, Refusal } from '../support/client.ts';
import { type DialPlace, dial, dialWebSocket, type Transport } from '../support/dial.ts';
import { TestDoors } from '../support/doors.ts';
import { clientIdOn } from '../support/placement.ts';

const SHARDS = 2;
const TRANSPORTS: readonly Transport[] = ['tcp', 'tls', 'ws', 'wss', 'unix', 'quic'];
const BY_NODE = "OpenSSL cannot be called: TLS by Node's own classes";

const doors = new TestDoors();
let brokers: TestBroker[] = [];
/** In the order of `TRANSPORTS`, and behind them TLS by Node. */
let places: DialPlace[] = [];
/** TCP of the same brokers. */
let plainPlaces: DialPlace[] = [];

before(async () => {
  const limits = { shards: SHARDS, 'limits.packetSize': '4MiB', 'limits.outboundBytes': '64KiB' };
  const broker = await startBroker({ ...limits, listeners: doors.listeners });
  const byNode = await startBroker({ ...limits, listeners: doors.listeners.slice(0, 2), node: WITHOUT_OPEN_SSL });
  brokers = [broker, byNode];
  const placesByNode = doors.places(byNode.ports);
  places = [...doors.places(broker.ports), placesByNode[1]!];
  plainPlaces = places.map((_, index) => (index < TRANSPORTS.length ? places[0]! : placesByNode[0]!));
});
after(async () => {
  for (const broker of brokers) {
    assert.equal(await broker.stop(), 0);
    const dead = broker.log.filter(({ msg }) => msg === 'a shard died: starting it anew' || msg === 'a shard failed');
    assert.deepEqual(dead, []);
  }
  assert.deepEqual(
    brokers.map(({ log }) => log.filter(({ msg }) => msg === BY_NODE).length),
    [0, SHARDS],
  );
});

/** The first bytes that come, or '' when the connection ends without any. */
async function answerOf(stream: ReturnType<typeof dial>): Promise<string> {
  return new Promise((resolve) => {
    stream.once('data', (chunk: Buffer) => resolve(chunk.toString('hex')));
    stream.once('end', () => resolve(''));
    stream.once('close', () => resolve(''));
  });
}

for (const [index, transport] of [...TRANSPORTS, 'tls by Node'].entries()) {
  describe(`over ${transport}`, () => {
    for (const owner of [0, 1]) {
      test(`messages of every size, both ways (owner ${owner})`, async () => {
        const place = places[index]!;
        const client = await connect(place, { clientId: clientIdOn(owner, SHARDS) });
        await client.subscribe(`own/${client.clientId}`, { qos: 1 });
        const sizes = [0, 1, 125, 126, 65_535, 65_536, 300_000, 1_500_000, 3_900_000];
        for (const size of sizes) {
          const payload = Buffer.alloc(size, size % 251);
          await client.publish(`own/${client.clientId}`, payload, { qos: 1 });
          const message = await client.next();
          assert.ok(Buffer.from(message.payload).equals(payload), `${size} bytes`);
        }
        await client.disconnect();
      });

      test(`a packet may come in any pieces, and several in one (owner ${owner})`, async () => {
        const clientId = clientIdOn(owner, SHARDS);
        const stream = dial(places[index]!);
        stream.on('error', () => {});
        const bytes = Buffer.concat([connectBytes(clientId, { version: 4 }), Buffer.from('c000c000c000', 'hex')]);
        for (const byte of bytes.subarray(0, 12)) stream.write(Uint8Array.of(byte));
        stream.write(bytes.subarray(12));
        let answer = '';
        const done = new Promise<void>((resolve) => {
          stream.on('data', (chunk: Buffer) => {
            answer += chunk.toString('hex');
            if (answer.length >= 20) resolve();
          });
        });
        await done;
        assert.equal(answer, '20020000d000d000d000');
        stream.destroy();
      });

      test(`a client that does not read holds up nobody, and gets everything later (owner ${owner})`, async () => {
        const place = places[index]!;
        const slow = await connect(place, { clientId: clientIdOn(owner, SHARDS), properties: { receiveMaximum: 65_535 } });
        const quick = await connect(place, { clientId: clientIdOn(1 - owner, SHARDS) });
        const topic = `flow/${slow.clientId}`;
        await slow.subscribe(topic, { qos: 1 });
        await quick.subscribe(topic, { qos: 1 });
        slow.pauseReading();
        const payload = Buffer.alloc(100_000, 7);
        const count = 150;
        for (let i = 0; i < count; i++) await quick.publish(topic, payload, { qos: 1 });
        assert.equal((await quick.nextMany(count)).length, count);
        slow.resumeReading();
        assert.equal((await slow.nextMany(count)).length, count);
        await slow.disconnect();
        await quick.disconnect();
      });

      test(`a client that sends on and on is read as its messages are taken (owner ${owner})`, async () => {
        const place = places[index]!;
        const sender = await connect(place, { clientId: clientIdOn(owner, SHARDS) });
        const taker = await connect(place, { clientId: clientIdOn(1 - owner, SHARDS) });
        await taker.subscribe(`stream/${sender.clientId}`, { qos: 1 });
        const count = 400;
        const window = 40;
        const all: Promise<unknown>[] = [];
        for (let i = 0; i < count; i++) {
          if (i >= window) await all[i - window];
          all.push(sender.publish(`stream/${sender.clientId}`, Buffer.alloc(30_000, i), { qos: 1 }));
        }
        const messages = await taker.nextMany(count);
        for (const [i, message] of messages.entries()) assert.equal(message.payload[0], i & 0xff);
        await Promise.all(all);
        await sender.disconnect();
        await taker.disconnect();
      });

      test(`a close has its reason: takeover, keep alive, malformed packet (owner ${owner})`, async () => {
        const place = places[index]!;
        const clientId = clientIdOn(owner, SHARDS);
        const first = await connect(place, { clientId });
        const second = await connect(place, { clientId, keepAlive: 1 });
        assert.equal((await first.closed).code, 0x8e);
        assert.equal((await second.closed).code, 0x8d);
        const third = await connect(place, { clientId });
        third.sendRaw(Buffer.from('f0000000', 'hex'));
        assert.ok((await third.closed).code! >= 0x81);
      });

      test(`a Will is published when the network fails, and not after DISCONNECT (owner ${owner})`, async () => {
        const place = places[index]!;
        const heir = await connect(place, { clientId: clientIdOn(1 - owner, SHARDS) });
        const topic = `will/${heir.clientId}`;
        await heir.subscribe(topic, { qos: 1 });
        const will = { topic, payload: 'gone', qos: 1 };
        const polite = await connect(place, { clientId: clientIdOn(owner, SHARDS), will });
        await polite.disconnect();
        const lost = await connect(place, { clientId: clientIdOn(owner, SHARDS), will: { ...will, payload: 'lost' } });
        await lost.destroy();
        assert.equal(payloadText(await heir.next()), 'lost');
        await heir.expectNone();
        await heir.disconnect();
      });
    }

    test('the peer has its address', async () => {
      const watcher = await connect(plainPlaces[index]!, {});
      await watcher.subscribe('$events/client_connected');
      const client = await connect(places[index]!, { clientId: clientIdOn(0, SHARDS) });
      let facts: Record<string, unknown> = {};
      while (facts['clientid'] !== client.clientId) facts = JSON.parse(payloadText(await watcher.next())) as Record<string, unknown>;
      assert.match(String(facts['peername']), transport === 'unix' ? /^unix:\// : /^127\.0\.0\.1:\d+$/);
      await client.disconnect();
      await watcher.disconnect();
    });

    test('what is no CONNECT is closed without an answer, and a refusal is said', async () => {
      const stranger = dial(places[index]!);
      stranger.on('error', () => {});
      stranger.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
      assert.equal(await answerOf(stranger), '');
      stranger.destroy();
      await assert.rejects(
        connect(places[index]!, { clientId: 'x'.repeat(2000) }),
        (error) => error instanceof Refusal && error.connack.code === 0x85,
      );
    });
  });
}

/** Each owner's clients on both transports, and all of one shard: the other has nobody of its own and still has to pass the goodbyes on. */
for (const owners of [[0, 1], [0], [1]]) {
  test(`at a stop every client is told, whichever shard holds its connection (owners ${owners})`, async () => {
    const own = await startBroker({ shards: SHARDS, listeners: [doors.listeners[1], doors.listeners[2], doors.listeners[5]] });
    const ca = places[1]!.ca!;
    const transports = ['tls', 'ws', 'quic'] as const;
    const at = (i: number): DialPlace => ({ transport: transports[i % 3]!, host: '127.0.0.1', port: own.ports[i % 3]!, ca });
    const clients = await Promise.all(
      Array.from({ length: 24 }, (_, i) => connect(at(i), { clientId: clientIdOn(owners[i % owners.length]!, SHARDS) })),
    );
    assert.equal(await own.stop(), 0);
    for (const client of clients) assert.equal((await client.closed).code, 0x8b);
  });
}

test('a client that does not answer the goodbye does not keep the broker from ending in order', async () => {
  const own = await startBroker({ shards: SHARDS, listeners: [doors.listeners[2]] });
  const sockets = await Promise.all(
    [0, 1].map(async (owner) => {
      const socket = dialWebSocket({ transport: 'ws', host: '127.0.0.1', port: own.ports[0]! });
      await once(socket, 'open');
      socket.send(connectBytes(clientIdOn(owner, SHARDS), { version: 4 }));
      await once(socket, 'message');
      // From here on it reads nothing: neither DISCONNECT nor the close frame, so that it answers neither.
      socket.pause();
      return socket;
    }),
  );
  assert.equal(await own.stop(), 0);
  assert.ok(own.log.some(({ msg }) => msg === 'stopped'));
  for (const socket of sockets) {
    assert.equal(socket.readyState, socket.OPEN, 'it has heard nothing of the close');
    socket.terminate();
  }
});
