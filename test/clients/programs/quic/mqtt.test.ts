/*
 * Goal: MQTT over a QUIC stack that others wrote, aioquic: on one stream and on several, over a network that loses and reorders datagrams, while the client moves, and
 * when it comes back with a ticket.
 * Method: a real broker of two shards, a client of each, and for the bad network a proxy between them that follows a seed.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  CONNACK,
  PINGREQ,
  PINGRESP,
  PUBACK,
  PUBCOMP,
  PUBLISH,
  PUBREC,
  PUBREL,
  SUBACK,
  V5,
  V311,
} from '../../../../src/protocol/packet-type.ts';
import { startBroker, type TestBroker } from '../../../support/broker.ts';
import { connect as connectMqtt, payloadText, type TestClient } from '../../../support/client.ts';
import { TestDoors } from '../../../support/doors.ts';
import { clientIdOn } from '../../../support/placement.ts';
import { openNetwork } from '../../../transports/quic/bad-network.ts';
import { PacketStream } from '../../../transports/quic/packet-stream.ts';
import { Aioquic } from './aioquic.ts';

const SHARDS = 2;
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000_000);
const doors = new TestDoors();
let broker: TestBroker;
let watcher: TestClient;

before(async () => {
  const find = (wanted: string): Record<string, unknown> => doors.listeners.find(({ type }) => type === wanted)!;
  broker = await startBroker({ shards: SHARDS, listeners: [find('tcp'), find('quic')] });
  watcher = await connectMqtt(broker.port, { clientId: 'watcher' });
});
after(async () => {
  await watcher.disconnect();
  assert.equal(await broker.stop(), 0);
});

/** A connection, also when the test fails. */
async function withConnection(run: (client: Aioquic) => Promise<void>, port = broker.ports[1]!): Promise<void> {
  const client = new Aioquic(port, doors.authority.root);
  try {
    client.tell('connect');
    await client.event('connected');
    await run(client);
  } finally {
    await client.end();
  }
}

function onBothOwners(name: string, run: (client: Aioquic, clientId: string) => Promise<void>): void {
  for (const owner of [0, 1]) test(`${name} (owner ${owner})`, () => withConnection((client) => run(client, clientIdOn(owner, SHARDS))));
}

/** Answers whatever the broker has sent and is not answered, for as long as it is called. */
class Answers {
  private readonly stream: PacketStream;
  private next: number;

  constructor(stream: PacketStream) {
    this.stream = stream;
    this.next = 0;
  }

  give(): void {
    const { stream } = this;
    const packets = stream.packets();
    const messages = stream.messages();
    let message = packets.slice(0, this.next).filter(({ type }) => type === PUBLISH).length;
    for (const { type, body } of packets.slice(this.next)) {
      if (type === PUBLISH) {
        const { qos, packetId } = messages[message++]!;
        if (qos > 0) stream.ack(qos === 1 ? PUBACK : PUBREC, packetId);
      } else if (type === PUBREL) stream.ack(PUBCOMP, body.readUInt16BE(0));
      else if (type === PUBREC) stream.ack(PUBREL, body.readUInt16BE(0));
    }
    this.next = packets.length;
  }
}

describe('MQTT over aioquic', () => {
  for (const version of [V311, V5] as const)
    onBothOwners(`one stream: CONNECT, P2P to itself, ping (version ${version})`, async (client, clientId) => {
      const control = new PacketStream(client, 0, clientId, version);
      control.connect({});
      control.publish(`cmd/p2p/${clientId}`, 'hello', 1, 1);
      client.write(0, Buffer.from([PINGREQ << 4, 0]));
      await Promise.all([control.has(CONNACK), control.has(PUBLISH), control.has(PUBACK), control.has(PINGRESP)]);
      assert.deepEqual(control.payloads(), ['hello']);
    });

  onBothOwners('several streams: order, identifiers and subscriptions of each, also when the client moves', async (client, clientId) => {
    const control = new PacketStream(client, 0, clientId);
    const streams = [4, 8, 12].map((id) => new PacketStream(client, id, clientId));
    control.connect({ properties: { userProperties: [['p2p-stream', 'last']] } });
    await control.has(CONNACK);
    for (const stream of streams) {
      stream.subscribe(`to/${clientId}`, 1);
      await stream.has(SUBACK);
    }
    const answers = streams.map((stream) => new Answers(stream));
    for (let round = 1; round <= 6; round++) {
      client.tell('move', { host: round % 2 === 0 ? '127.0.0.1' : '127.0.0.2' });
      // All with the same identifier.
      for (const stream of streams) stream.publish(`to/${clientId}`, `${stream.id}:${round}`, 1, 7);
      for (const stream of streams) {
        await stream.has(PUBACK, round);
        await stream.has(PUBLISH, 3 * round);
      }
      for (const answer of answers) answer.give();
    }
    for (const from of streams)
      for (const stream of streams)
        assert.deepEqual(
          stream.payloads().filter((text) => text.startsWith(`${from.id}:`)),
          [1, 2, 3, 4, 5, 6].map((round) => `${from.id}:${round}`),
        );
    await watcher.publish(`cmd/p2p/${clientId}`, 'to the newest', { qos: 1 });
    await streams[2]!.has(PUBLISH, 19);
    assert.deepEqual([control.payloads(), streams[2]!.payloads().at(-1)], [[], 'to the newest']);
  });

  for (const owner of [0, 1])
    test(`a network that loses and reorders: each stream in order, QoS 2 once (owner ${owner}, SEED=${seed})`, async () => {
      const network = await openNetwork(broker.ports[1]!, seed + owner, { loss: 0.05, delayMilliseconds: 15 });
      const clientId = clientIdOn(owner, SHARDS);
      await withConnection(async (client) => {
        const control = new PacketStream(client, 0, clientId);
        const streams = [4, 8, 12].map((id) => new PacketStream(client, id, clientId));
        control.connect({});
        for (const stream of streams) stream.subscribe(`to/${clientId}/${stream.id}`, 2);
        await Promise.all(streams.map((stream) => stream.has(SUBACK)));
        const answers = streams.map((stream) => new Answers(stream));
        const count = 120;
        const payload = '.'.repeat(300);
        for (let i = 1; i <= count; i++)
          for (const stream of streams) stream.publish(`to/${clientId}/${stream.id}`, `${i} ${payload}`, 1 + (i % 2), i);
        await client.until(() => {
          for (const answer of answers) answer.give();
          return streams.every((stream) => stream.packetsOf(PUBLISH).length >= count && stream.packetsOf(PUBCOMP).length >= count / 2);
        });
        for (const stream of streams)
          assert.deepEqual(
            stream.payloads().map((text) => Number.parseInt(text, 10)),
            Array.from({ length: count }, (_, i) => i + 1),
          );
        assert.ok(network.lostCount > 0 && network.passedCount > 100);
      }, network.port);
      network.close();
    });

  onBothOwners('a ticket: CONNECT comes with the first datagram, other streams wait for the handshake', async (client, clientId) => {
    await watcher.subscribe(`from/${clientId}`);
    const ticket = (await client.event('ticket')).hex!;
    const again = new Aioquic(broker.ports[1]!, doors.authority.root);
    try {
      const control = new PacketStream(again, 0, clientId);
      again.tell('connect', { ticket, early: packetBytes(clientId).toString('hex') });
      const connected = await again.event('connected');
      assert.deepEqual([connected.resumed, connected.early], [true, true]);
      await control.has(CONNACK);
      const data = new PacketStream(again, 4, clientId);
      data.publish(`from/${clientId}`, 'after', 1, 1);
      await data.has(PUBACK);
      assert.equal(payloadText(await watcher.next()), 'after');
    } finally {
      await again.end();
    }
  });
});

/** A CONNECT that may ride in early data. */
function packetBytes(clientId: string): Buffer {
  let bytes = Buffer.alloc(0);
  const carrier = {
    received: new Map<number, Buffer>(),
    write: (_: number, more: Buffer) => {
      bytes = Buffer.concat([bytes, more]);
    },
    until: () => Promise.resolve(),
  };
  new PacketStream(carrier, 0, clientId).connect({ cleanStart: false });
  return bytes;
}
