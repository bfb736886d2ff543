/*
 * Goal: MQTT over WebSocket as chapter 6 of the standard and RFC 6455 say it: what is refused at the upgrade, how frames carry packets, how a connection closes, and that
 * no client can make the broker hold more than its share.
 * Method: the package `ws` as client, and bytes by hand where it is too polite; a broker of two shards.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get } from 'node:http';
import test, { after, before, describe } from 'node:test';
import type { RawData, WebSocket } from 'ws';
import { CounterWatch, descriptorsOf, residentBytesOf, WATCHED } from '../scenario/observe.ts';
import { connectBytes } from '../scenario/raw-connection.ts';
import { startBroker, type TestBroker } from '../support/broker.ts';
import { Authority, pem } from '../support/certificates.ts';
import { connect } from '../support/client.ts';
import { type DialPlace, dialSocket, dialWebSocket } from '../support/dial.ts';
import { clientIdOn } from '../support/placement.ts';

const SHARDS = 2;
const HOST = '127.0.0.1';
const KINDS = ['ws', 'wss'] as const;
type Kind = (typeof KINDS)[number];
const authority = new Authority('web-socket');
const certificate = authority.issue('localhost', ['DNS:localhost']);
const MANY_BYTES = 64 * 1024 * 1024;

let broker: TestBroker;
let watch: CounterWatch;

before(async () => {
  const bind = `${HOST}:0`;
  const origins = ['https://console.example.test', 'http://localhost:8080'];
  const listeners = [
    { type: 'tcp', bind },
    ...KINDS.flatMap((type) => {
      const secure = type === 'wss' ? { tls: { certificates: [certificate] } } : {};
      return [
        { type, bind, ...secure },
        { type, bind, ...secure, webSocket: { path: '/some/where', origins, compression: true } },
      ];
    }),
  ];
  broker = await startBroker({ shards: SHARDS, listeners, 'limits.outboundBytes': '64KiB', ...WATCHED });
  watch = await CounterWatch.open(broker.port);
});
after(async () => {
  assert.equal(await broker.stop(), 0);
});

function at(kind: Kind, isOwn = false): DialPlace {
  return { transport: kind, host: HOST, port: broker.ports[1 + KINDS.indexOf(kind) * 2 + (isOwn ? 1 : 0)]!, ca: pem(authority.root) };
}

/** How the upgrade is answered: the status, or the subprotocol that was chosen. */
function answerOf(socket: WebSocket): Promise<number | string> {
  return new Promise((resolve, reject) => {
    socket.on('unexpected-response', (_request, response) => {
      resolve(response.statusCode!);
      response.resume();
    });
    socket.on('open', () => {
      resolve(socket.protocol);
      socket.terminate();
    });
    socket.on('error', reject);
  });
}

/** An open WebSocket, and what comes on it as hex. */
class Frames {
  readonly socket: WebSocket;
  received = '';
  receivedBytes = 0;
  readonly closed: Promise<{ code: number; reason: string }>;
  private readonly waiters = new Set<() => void>();

  constructor(place: DialPlace, path?: string) {
    this.socket = dialWebSocket(place, 'mqtt', path);
    this.socket.on('error', () => {});
    this.socket.on('message', (data: RawData) => {
      this.received += (data as Buffer).toString('hex');
      this.receivedBytes += (data as Buffer).length;
      for (const waiter of this.waiters) waiter();
    });
    this.closed = new Promise((resolve) => {
      this.socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() }));
    });
  }

  static async open(place: DialPlace, path?: string): Promise<Frames> {
    const frames = new Frames(place, path);
    await once(frames.socket, 'open');
    return frames;
  }

  /** Waits until this has come, and nothing else. */
  async expect(hex: string): Promise<void> {
    await this.expectBytes(hex.length / 2);
    assert.equal(this.received, hex);
  }

  /** Waits until so much has come. */
  async expectBytes(count: number): Promise<void> {
    while (this.receivedBytes < count) {
      await new Promise<void>((resolve, reject) => {
        const waiter = (): void => {
          this.waiters.delete(waiter);
          resolve();
        };
        this.waiters.add(waiter);
        void this.closed.then(({ code }) => reject(new Error(`closed with ${code} after ${this.received}`)));
      });
    }
  }
}

const CONNACK = '20020000';
const PINGREQ = 'c000';
const PINGRESP = 'd000';

function packets(owner: number, ...more: string[]): Buffer {
  return Buffer.concat([connectBytes(clientIdOn(owner, SHARDS), { version: 4 }), Buffer.from(more.join(''), 'hex')]);
}

for (const kind of KINDS) {
  describe(`over ${kind}`, () => {
    describe('the upgrade', () => {
      test('the subprotocol must be mqtt, or mqttv3.1 of old; it is said back [MQTT-6.0.0-4]', async () => {
        const cases: [string | string[], number | string][] = [
          ['mqtt', 'mqtt'],
          ['mqttv3.1', 'mqttv3.1'],
          [['mqttv3.1', 'mqtt'], 'mqtt'],
          [['chat', 'mqtt'], 'mqtt'],
          [[], 400],
          ['chat', 400],
          ['mqtt5', 400],
        ];
        for (const [offered, answer] of cases) assert.equal(await answerOf(dialWebSocket(at(kind), offered)), answer, String(offered));
      });

      test('another path is 404, and so is a page that is no WebSocket', async () => {
        for (const path of ['/', '/mqtt/', '/mqttx', '/some/where', '/MQTT'])
          assert.equal(await answerOf(dialWebSocket(at(kind), 'mqtt', path)), 404, path);
        assert.equal(await answerOf(dialWebSocket(at(kind), 'mqtt', '/mqtt?token=1')), 'mqtt');
        assert.equal(await answerOf(dialWebSocket(at(kind, true), 'mqtt', '/some/where')), 'mqtt');
        assert.equal(await answerOf(dialWebSocket(at(kind, true), 'mqtt', '/mqtt')), 404);
        if (kind === 'wss') return;
        for (const path of ['/', '/mqtt']) {
          const status = await new Promise((resolve, reject) => {
            get({ host: HOST, port: at(kind).port, path }, (response) => {
              response.resume();
              resolve(response.statusCode);
            }).on('error', reject);
          });
          assert.equal(status, 404);
        }
      });

      test('pages of other origins are 403; a client without Origin is no page', async () => {
        const from = (origin: string | undefined, isOwn: boolean): Promise<number | string> => {
          const headers = origin === undefined ? {} : { headers: { Origin: origin } };
          return answerOf(dialWebSocket({ ...at(kind, isOwn), webSocket: headers }, 'mqtt', isOwn ? '/some/where' : '/mqtt'));
        };
        for (const origin of [undefined, 'https://console.example.test', 'http://localhost:8080'])
          assert.equal(await from(origin, true), 'mqtt', origin);
        for (const origin of ['https://evil.test', 'http://console.example.test', 'https://console.example.test.evil.test', 'null'])
          assert.equal(await from(origin, true), 403, origin);
        assert.equal(await from('https://evil.test', false), 'mqtt');
      });

      test('the next connection is served after each refusal, and none is left', async () => {
        const socket = dialWebSocket(at(kind), 'chat');
        assert.equal(await answerOf(socket), 400);
        const frames = await Frames.open(at(kind));
        frames.socket.send(packets(0, PINGREQ));
        await frames.expect(CONNACK + PINGRESP);
        frames.socket.terminate();
        await watch.reaches('connections/opening', (value) => value === 0);
      });
    });

    for (const owner of [0, 1]) {
      describe(`frames (owner ${owner})`, () => {
        test('a packet may span frames, a frame may hold packets, in fragments or not [MQTT-6.0.0-2]', async () => {
          const all = packets(owner, PINGREQ, PINGREQ, PINGREQ);
          const sends: ((socket: WebSocket) => void)[] = [
            (socket) => socket.send(all),
            (socket) => {
              for (const byte of all) socket.send(Uint8Array.of(byte));
            },
            (socket) => {
              socket.send(all.subarray(0, all.length - 3));
              socket.send(all.subarray(all.length - 3));
            },
            (socket) => {
              for (const [index, byte] of all.entries()) socket.send(Uint8Array.of(byte), { fin: index === all.length - 1 });
            },
            (socket) => {
              socket.send(all.subarray(0, 7), { fin: false });
              socket.ping('between');
              socket.send(new Uint8Array(0), { fin: false });
              socket.send(all.subarray(7), { fin: true });
            },
            (socket) => {
              socket.send(new Uint8Array(0));
              socket.send(all);
              socket.send(new Uint8Array(0));
            },
          ];
          for (const send of sends) {
            const frames = await Frames.open(at(kind));
            send(frames.socket);
            await frames.expect(CONNACK + PINGRESP.repeat(3));
            frames.socket.terminate();
            await frames.closed;
          }
        });

        test('a ping is answered with what it holds', async () => {
          const frames = await Frames.open(at(kind));
          frames.socket.send(packets(owner));
          await frames.expect(CONNACK);
          const pong = once(frames.socket, 'pong');
          frames.socket.ping('are you there');
          assert.equal(String((await pong)[0]), 'are you there');
          frames.socket.terminate();
        });

        test('a text frame closes with 1003, before CONNECT and after it [MQTT-6.0.0-1]', async () => {
          for (const isClient of [false, true]) {
            const frames = await Frames.open(at(kind));
            if (isClient) {
              frames.socket.send(packets(owner));
              await frames.expect(CONNACK);
            }
            frames.socket.send('text');
            assert.equal((await frames.closed).code, 1003);
          }
        });

        test('a frame that is too large ends the connection', async () => {
          const large = await Frames.open(at(kind));
          large.socket.send(packets(owner));
          await large.expect(CONNACK);
          large.socket.send(Buffer.alloc(3 * 1024 * 1024));
          assert.equal((await large.closed).code, 1006);
        });

        test('a polite end closes with 1000, whoever begins', async () => {
          const client = await Frames.open(at(kind));
          client.socket.send(packets(owner, 'e000'));
          assert.equal((await client.closed).code, 1000);
          const taken = await Frames.open(at(kind));
          const clientId = clientIdOn(owner, SHARDS);
          taken.socket.send(connectBytes(clientId));
          await once(taken.socket, 'message');
          const message = once(taken.socket, 'message');
          const taker = await connect(at(kind), { clientId });
          assert.equal(((await message)[0] as Buffer).toString('hex', 0, 3), 'e0018e');
          assert.equal((await taken.closed).code, 1000);
          const closing = await Frames.open(at(kind));
          closing.socket.send(packets(owner));
          await closing.expect(CONNACK);
          closing.socket.close(1001, 'going away');
          assert.equal((await closing.closed).code, 1001);
          await taker.disconnect();
        });

        test('with compression, if the client offers it, and without', async () => {
          for (const perMessageDeflate of [true, false]) {
            const frames = await Frames.open({ ...at(kind, true), webSocket: { perMessageDeflate } }, '/some/where');
            assert.equal(frames.socket.extensions !== '', perMessageDeflate);
            const topic = `squeeze/${kind}/${owner}`;
            const filter = Buffer.from(topic);
            const subscribe = Buffer.concat([Buffer.from([0x82, 5 + filter.length, 0, 1, 0, filter.length]), filter, Buffer.from([0])]);
            frames.socket.send(Buffer.concat([packets(owner), subscribe]));
            await frames.expect(`${CONNACK}9003000100`);
            const publisher = await connect(broker.port, {});
            const payload = Buffer.alloc(500_000, 'a long text that says the same again and again ');
            await publisher.publish(topic, payload, { qos: 1 });
            await frames.expectBytes(9 + 4 + 2 + filter.length + payload.length);
            assert.ok(frames.received.endsWith(payload.toString('hex')));
            frames.socket.terminate();
            await publisher.disconnect();
          }
        });
      });

      test(`who does not read is closed all the same, and leaves nothing behind (owner ${owner})`, async () => {
        const before = descriptorsOf(broker.pid);
        const clientId = clientIdOn(owner, SHARDS);
        const slow = await connect(at(kind), { clientId, properties: { receiveMaximum: 65_535 } });
        await slow.subscribe(`slow/${clientId}`, { qos: 1 });
        slow.pauseReading();
        const publisher = await connect(broker.port, {});
        for (let i = 0; i < 100; i++) await publisher.publish(`slow/${clientId}`, Buffer.alloc(100_000), { qos: 1 });
        const taker = await connect(at(kind), { clientId });
        await taker.disconnect();
        await publisher.disconnect();
        await watch.until(
          'no descriptor is left',
          () => descriptorsOf(broker.pid) <= before,
          () => descriptorsOf(broker.pid) - before,
        );
        await slow.destroy();
      });
    }
  });
}

describe('floods', () => {
  /** Asks and asks and reads no answer, until so much is written or the connection ends. */
  async function flood(place: DialPlace, owner: number): Promise<void> {
    const frames = await Frames.open(place);
    frames.socket.send(packets(owner));
    await frames.expect(CONNACK);
    frames.socket.pause();
    const requests = Buffer.from(PINGREQ.repeat(30_000), 'hex');
    let written = 0;
    let isOpen = true;
    while (isOpen && written < MANY_BYTES) {
      await new Promise<void>((resolve) => {
        frames.socket.send(requests, (error) => {
          isOpen = error === undefined || error === null;
          resolve();
        });
      });
      written += requests.length;
    }
    // What comes after the close is read and thrown away, so the client's end may not have come yet.
    frames.socket.terminate();
    await frames.closed;
  }

  for (const owner of [0, 1]) {
    test(`a client that sends while the broker does not read it is closed, and the broker holds no more than its share (owner ${owner})`, async () => {
      const overrun = await watch.fresh('websocket/overrun');
      const before = residentBytesOf(broker.pid);
      const floods = 4;
      await Promise.all(Array.from({ length: floods }, () => flood(at('ws'), owner)));
      assert.equal((await watch.fresh('websocket/overrun')) - overrun, floods);
      const grown = residentBytesOf(broker.pid) - before;
      assert.ok(grown < 2 * MANY_BYTES, `${grown} bytes more`);
      const client = await connect(at('ws'), {});
      await client.ping();
      await client.disconnect();
    });
  }

  test('half upgrades keep nobody out', async () => {
    const sockets = Array.from({ length: 300 }, () => {
      const socket = dialSocket(at('ws'));
      socket.on('error', () => {});
      socket.write('GET /mqtt HTTP/1.1\r\nHost: localhost\r\n');
      return socket;
    });
    await watch.reaches('connections/opening', (value) => value >= 300);
    const client = await connect(at('ws'), {});
    await client.ping();
    await client.disconnect();
    for (const socket of sockets) socket.destroy();
    await watch.reaches('connections/opening', (value) => value === 0);
  });
});
