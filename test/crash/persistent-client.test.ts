/*
 * Goal: the clients of the crash campaign keep of a session what its two ends keep, no longer: else a sound broker is accused.
 * Method: a server that answers from a script, so that each connection ends exactly where the test wants; the checker judges.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import test, { type TestContext } from 'node:test';
import { writeAckDetail } from '../../src/protocol/ack.ts';
import { writeConnack } from '../../src/protocol/connect.ts';
import { PUBREL } from '../../src/protocol/packet-type.ts';
import { writePublishPacket } from '../../src/protocol/publish.ts';
import { Random } from '../scenario/observe.ts';
import { packetOf, publishOf } from '../support/packet-client.ts';
import { Checker, type Sent } from './checker.ts';
import { contentOf } from './content.ts';
import { type ClientEvent, PersistentClient } from './persistent-client.ts';

type Version = 4 | 5;

/** What a server does with a connection when its CONNECT is there. */
type Answer = (socket: Socket) => void;

/** A server that treats each connection by the next answer. @returns its port */
async function scripted(t: TestContext, answers: readonly Answer[]): Promise<number> {
  const left = [...answers];
  const server = createServer((socket) => {
    socket.on('error', () => {});
    const answer = left.shift();
    if (answer === undefined) socket.destroy();
    else socket.once('data', () => answer(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

class Scene {
  readonly checker = new Checker({ hasMailboxes: true, mayReorderResent: false });
  readonly client: PersistentClient;
  private readonly version: Version;
  private readonly waiting: { what: ClientEvent; resolve: () => void }[] = [];
  private sequence = 0;

  constructor(version: Version) {
    this.version = version;
    const onEvent = (_: PersistentClient, what: ClientEvent): void => {
      for (const one of this.waiting.splice(0)) {
        if (one.what === what) one.resolve();
        else this.waiting.push(one);
      }
    };
    const random = new Random(1);
    this.client = new PersistentClient({ clientId: 'c', version, receiveMaximum: 10, checker: this.checker, random, onEvent });
    this.client.isPrompt = true;
  }

  event(what: ClientEvent): Promise<void> {
    return new Promise((resolve) => this.waiting.push({ what, resolve }));
  }

  accept(socket: Socket, isPresent: boolean): void {
    socket.write(packetOf((writer) => writeConnack(writer, this.version, isPresent, 0, undefined)));
  }

  /** A message for the client, sent at QoS 2 and new to the checker. */
  publish(socket: Socket, packetId: number): void {
    const sequence = ++this.sequence;
    const sent: Sent = {
      id: `p/${sequence}`,
      publisher: 'p',
      sequence,
      qos: 2,
      topic: 'cmd/p2p/c',
      target: 'c',
      retain: false,
      payloadBytes: 30,
    };
    this.checker.publishing(sent, sequence);
    const packet = publishOf(sent.topic, '', 2, packetId, {}, false);
    packet.payload = contentOf(sent.id, sent.payloadBytes);
    socket.write(packetOf((writer) => writePublishPacket(writer, packet, this.version)));
  }

  release(socket: Socket, packetId: number): void {
    socket.write(packetOf((writer) => writeAckDetail(writer, PUBREL, this.version, packetId, 0, undefined)));
  }
}

for (const version of [4, 5] as const) {
  test(`version ${version}: what a session held that ended with its connection is not held in the next one, also when that one’s CONNACK is lost`, async (t) => {
    const scene = new Scene(version);
    const { client, checker } = scene;
    const port = await scripted(t, [
      (socket) => {
        scene.accept(socket, false);
        scene.publish(socket, 1);
      },
      // The broker has the new session on disk, and dies.
      (socket) => socket.destroy(),
      (socket) => {
        scene.accept(socket, true);
        scene.publish(socket, 1);
        socket.once('data', () => scene.release(socket, 1));
      },
    ]);
    const held = scene.event('message');
    assert.equal(await client.open(port, true, false), true);
    await held;
    assert.equal(client.held.size, 1);
    client.leave();
    assert.equal(client.held.size, 0);
    assert.equal(await client.open(port), false);
    const released = scene.event('release');
    assert.equal(await client.open(port), true);
    await released;
    assert.equal(client.held.size, 0);
    assert.ok(checker.hasArrived('p/2', 'c'));
    assert.deepEqual(checker.violations, []);
    client.lose();
  });

  test(`version ${version}: what is held in a session that lasts is held on its next connection`, async (t) => {
    const scene = new Scene(version);
    const { client, checker } = scene;
    const port = await scripted(t, [
      (socket) => {
        scene.accept(socket, false);
        scene.publish(socket, 1);
      },
      (socket) => {
        scene.accept(socket, true);
        scene.publish(socket, 1);
      },
    ]);
    for (const isPresent of [false, true]) {
      const came = scene.event('message');
      assert.equal(await client.open(port), true);
      await came;
      assert.equal(checker.violations.length, isPresent ? 1 : 0);
      client.lose();
      assert.deepEqual([...client.held], [[1, 'p/1']]);
    }
    assert.match(checker.violations[0]!, /Packet Identifier used twice: c holds 1 for p\/1 until PUBREL and got p\/2/);
  });
}
