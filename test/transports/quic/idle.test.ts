/*
 * Goal: 2,000 clients that do nothing cost little, and each can be written to at any time.
 * Method: a broker of two shards, 2,000 QUIC connections of this process, each with its own socket. When all are there a P2P message goes
 * to each, one after the other.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { utf8Bytes, Writer } from '../../../src/base/bytes.ts';
import { writeConnect } from '../../../src/protocol/connect.ts';
import { residentBytesOf } from '../../scenario/observe.ts';
import { startBroker } from '../../support/broker.ts';
import { connect as connectMqtt } from '../../support/client.ts';
import { TestDoors } from '../../support/doors.ts';
import { connect, type NativeClient } from './native-client.ts';

const CLIENTS = 2000;
const AT_ONCE = 50;
const CONNACK_BYTES = 4;
/** A bound against leaks, not a benchmark: that is measured elsewhere. */
const BYTES_PER_CONNECTION_MAX = 120 * 1024;

function connectPacket(clientId: string): Buffer {
  const writer = new Writer(256);
  const none = { will: undefined, username: undefined, password: undefined };
  writeConnect(writer, {
    version: 4,
    cleanStart: true,
    keepAliveSeconds: 0,
    clientId,
    clientIdBytes: utf8Bytes(clientId),
    ...none,
    properties: {},
  });
  return Buffer.from(writer.copy());
}

test('2,000 idle connections', async (t) => {
  const doors = new TestDoors();
  const listeners = ['tcp', 'quic'].map((wanted) => doors.listeners.find(({ type }) => type === wanted)!);
  const broker = await startBroker({ shards: 2, listeners });
  const before = residentBytesOf(broker.pid);
  const clients: { readonly client: NativeClient; bytes: number }[] = [];
  for (let begun = 0; begun < CLIENTS; begun += AT_ONCE) {
    const batch = await Promise.all(
      Array.from({ length: AT_ONCE }, async (_, i) => {
        const one = { client: await connect({ port: broker.ports[1]!, isFrugal: true, idleTimeoutMilliseconds: 120_000 }), bytes: 0 };
        one.client.onBytes = (_id, bytes) => {
          one.bytes += bytes.length;
        };
        one.client.write(0, connectPacket(`idle-${begun + i}`));
        await one.client.until(() => one.bytes === CONNACK_BYTES);
        return one;
      }),
    );
    clients.push(...batch);
  }
  const perConnection = (residentBytesOf(broker.pid) - before) / CLIENTS;
  t.diagnostic(`${(perConnection / 1024).toFixed(2)} KiB resident per connection`);
  assert.ok(perConnection < BYTES_PER_CONNECTION_MAX, `${perConnection} bytes for each connection`);
  const sender = await connectMqtt(broker.port, { clientId: 'sender' });
  for (let i = 0; i < CLIENTS; i++) {
    const sent = sender.publish(`cmd/p2p/idle-${i}`, 'wake up', { qos: 1 });
    const { client } = clients[i]!;
    await client.until(() => clients[i]!.bytes > CONNACK_BYTES);
    await sent;
  }
  const size = clients[0]!.bytes;
  // Topics differ by the digits of the number.
  assert.ok(clients.every(({ bytes }) => bytes >= size && bytes <= size + 3));
  await sender.disconnect();
  for (const { client } of clients) client.vanish();
  assert.equal(await broker.stop(), 0);
});
