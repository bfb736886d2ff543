/*
 * Goal: further streams of a QUIC connection are streams of the same client, on whichever shard it lives: read only after the CONNACK, each with its own
 * flow control and its own end.
 * Method: a real broker of two shards; a client of each shard whose streams the test writes, stops reading and resets.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { CONNACK, PUBACK, PUBLISH, SUBACK } from '../../../src/protocol/packet-type.ts';
import { startBroker, type TestBroker } from '../../support/broker.ts';
import { connect as connectMqtt, payloadText, type TestClient } from '../../support/client.ts';
import { TestDoors } from '../../support/doors.ts';
import { clientIdOn } from '../../support/placement.ts';
import { connect, type NativeClient, withClient } from './native-client.ts';
import { PacketStream } from './packet-stream.ts';

const SHARDS = 2;
const STREAMS = 4;
const doors = new TestDoors();
const quic = doors.listeners.find(({ type }) => type === 'quic')!;
const tcp = doors.listeners.find(({ type }) => type === 'tcp')!;

let broker: TestBroker;
let watcher: TestClient;

before(async () => {
  const single = { ...quic, quic: { streams: 1 } };
  broker = await startBroker({
    shards: SHARDS,
    listeners: [tcp, { ...quic, quic: { streams: STREAMS } }, single],
    'mqtt.sysInterval': '1s',
  });
  watcher = await connectMqtt(broker.port, { clientId: 'watcher' });
  await watcher.subscribe('from/#');
});
after(async () => {
  await watcher.disconnect();
  assert.equal(await broker.stop(), 0);
});

/** A connection whose datagrams come to one shard, and a client of each shard over it: so one of both is relayed. */
function onBothOwners(name: string, run: (client: NativeClient, clientId: string) => Promise<void>): void {
  for (const owner of [0, 1])
    test(`${name} (owner ${owner})`, async () => {
      // The kernel chooses the shard of the connection by its ports; a few connections meet both.
      for (let round = 0; round < 3; round++) {
        const client = await connect({ port: broker.ports[1]! });
        await withClient(client, () => run(client, clientIdOn(owner, SHARDS)));
      }
    });
}

describe('streams', () => {
  onBothOwners('one that comes before the CONNECT waits for the CONNACK', async (client, clientId) => {
    const [control, early, other] = [0, 4, 8].map((id) => new PacketStream(client, id, clientId));
    early!.subscribe(`to/${clientId}`, 0);
    other!.publish(`from/${clientId}`, 'early', 1, 9);
    control!.connect({});
    await early!.has(SUBACK);
    await other!.has(PUBACK);
    assert.equal(control!.packets()[0]!.type, CONNACK);
    assert.equal(payloadText(await watcher.next()), 'early');
    await watcher.publish(`to/${clientId}`, 'answer');
    await early!.has(PUBLISH);
    assert.deepEqual([control!.payloads(), early!.payloads(), other!.payloads()], [[], ['answer'], []]);
  });

  onBothOwners('a client that does not read one of them hears the others', async (client, clientId) => {
    const [control, slow, quick] = [0, 4, 8].map((id) => new PacketStream(client, id, clientId));
    control!.connect({});
    slow!.subscribe(`to/${clientId}/slow`, 0);
    quick!.subscribe(`to/${clientId}/quick`, 0);
    await Promise.all([slow!.has(SUBACK), quick!.has(SUBACK)]);
    client.unread.add(4);
    const large = 'x'.repeat(100_000);
    // Far more than the stream's window: it stands.
    for (let i = 0; i < 30; i++) await watcher.publish(`to/${clientId}/slow`, large);
    for (let i = 0; i < 30; i++) await watcher.publish(`to/${clientId}/quick`, `${i}`);
    await quick!.has(PUBLISH, 30);
    control!.publish(`to/${clientId}/quick`, 'own');
    await quick!.has(PUBLISH, 31);
    // And the other way: its own packets on the stream that it does not read are taken.
    slow!.publish(`from/${clientId}`, 'from the slow one');
    assert.equal(payloadText(await watcher.next()), 'from the slow one');
  });

  onBothOwners('the reset of one ends that one', async (client, clientId) => {
    const [control, one, two] = [0, 4, 8].map((id) => new PacketStream(client, id, clientId));
    control!.connect({});
    one!.subscribe(`to/${clientId}`, 0);
    two!.subscribe(`to/${clientId}`, 0);
    await Promise.all([one!.has(SUBACK), two!.has(SUBACK)]);
    client.reset(4);
    client.stop(4);
    // A protocol error on another: only that one is reset by the broker.
    const three = new PacketStream(client, 12, clientId);
    three.disconnect();
    await client.until(() => client.broken.has(12));
    await watcher.publish(`to/${clientId}`, 'to one');
    await two!.has(PUBLISH);
    control!.publish(`from/${clientId}`, 'alive');
    assert.equal(payloadText(await watcher.next()), 'alive');
    assert.deepEqual(two!.payloads(), ['to one']);
    // Its place is free again.
    const four = new PacketStream(client, 16, clientId);
    four.publish(`from/${clientId}`, 'next', 1, 1);
    await four.has(PUBACK);
    assert.equal(payloadText(await watcher.next()), 'next');
  });

  onBothOwners('a session that lives on has the subscriptions of its streams', async (client, clientId) => {
    const kept = { cleanStart: false, properties: { sessionExpiryInterval: 600 } };
    const [control, data] = [0, 4].map((id) => new PacketStream(client, id, clientId));
    control!.connect(kept);
    data!.subscribe(`to/${clientId}`, 1);
    await data!.has(SUBACK);
    client.close();
    const gone = await connectMqtt(broker.port, { clientId: 'events' });
    await gone.disconnect();
    const again = await connect({ port: broker.ports[1]! });
    await withClient(again, async () => {
      const back = new PacketStream(again, 0, clientId);
      back.connect(kept);
      await back.has(CONNACK);
      assert.equal(back.connack().sessionPresent, true);
      await watcher.publish(`to/${clientId}`, 'kept', { qos: 1 });
      await back.has(PUBLISH);
      assert.deepEqual(back.payloads(), ['kept']);
      // Nothing is left for the next round.
      back.disconnect(0, { sessionExpiryInterval: 0 });
      await again.until(() => again.native.isDraining() || again.native.isClosed());
    });
  });
});

test('more streams than the listener allows cannot be opened', async () => {
  for (const [port, allowed] of [
    [broker.ports[1]!, STREAMS],
    [broker.ports[2]!, 1],
  ] as const) {
    const client = await connect({ port });
    await withClient(client, async () => {
      await client.connected();
      const native = client.native as unknown as { peerStreamsLeftBidi(): number };
      assert.equal(native.peerStreamsLeftBidi(), allowed);
    });
  }
});

test('streams that a client has reset while their datagrams were lost cost the others nothing', async () => {
  const client = await connect({ port: broker.ports[1]! });
  await withClient(client, async () => {
    const clientId = clientIdOn(0, SHARDS);
    const control = new PacketStream(client, 0, clientId);
    control.connect({});
    await control.has(CONNACK);
    const buffer = Buffer.alloc(1350);
    let lost = 0;
    // More than all streams together may have under way.
    for (let round = 1; lost < 1.3 * STREAMS * 128 * 1024; round++) {
      const id = 4 * round;
      const data = new PacketStream(client, id, clientId);
      data.publish('nobody', 'first', 1, 1);
      await data.has(PUBACK);
      // The client gives an upload up; the network has lost what was on its way.
      client.native.streamSend(id, Buffer.concat([Buffer.from([0x30, 0xff, 0xff, 0x03]), Buffer.alloc(60_000)]), false);
      for (let sent = client.native.send(buffer); sent !== null; sent = client.native.send(buffer)) lost += sent[0];
      client.reset(id);
      client.stop(id);
      control.publish('nobody', 'on', 1, round);
      await control.has(PUBACK, round);
    }
  });
});

test('early data on further streams waits for the handshake', async () => {
  const first = await connect({ port: broker.ports[1]! });
  await first.until(() => first.native.isEstablished() && first.native.session() !== null);
  const session = first.native.session()!;
  first.close();
  await watcher.subscribe('$events/client_connected');
  const clientId = clientIdOn(0, SHARDS);
  const client = await connect({ port: broker.ports[1]!, session });
  client.isDeaf = true;
  const [control, data] = [0, 4].map((id) => new PacketStream(client, id, clientId));
  control!.connect({ cleanStart: false });
  data!.publish(`from/${clientId}`, 'replayed');
  // The CONNECT is acted on, and what has come with it has been seen.
  const event = JSON.parse(payloadText(await watcher.next())) as { clientid: string };
  assert.equal(event.clientid, clientId);
  await watcher.expectNone();
  client.vanish();
  await watcher.unsubscribe('$events/client_connected');
});
