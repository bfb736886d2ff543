/**
 * Goal: MQTT.js, the client library of this language, works with the broker in both of its versions: reconnecting with a session, exactly once, shared
 * subscriptions, topic aliases, P2P with report and receipt.
 * Method: the library itself against brokers with one, two and four shards. Several clients at a time make sure that publisher and receiver sit on the same
 * shard and on different ones.
 */
import assert from 'node:assert/strict';
import test, { after, before, describe } from 'node:test';
import { connectAsync, type IClientOptions, type IConnackPacket, type IPublishPacket, type MqttClient, type Packet } from 'mqtt';
import { startBroker, type TestBroker } from '../support/broker.ts';

/** A client that keeps what it receives. */
class Recorder {
  readonly client: MqttClient;
  private readonly packets: IPublishPacket[];
  private waiting: (() => void) | null;

  constructor(client: MqttClient) {
    this.client = client;
    this.packets = [];
    this.waiting = null;
    client.on('message', (topic, _payload, packet) => {
      // Where the broker sends an alias alone, the packet has no name; the library still tells it.
      this.packets.push({ ...packet, topic });
      this.waiting?.();
    });
  }

  /** The next message. */
  async next(): Promise<IPublishPacket> {
    while (this.packets.length === 0) {
      await new Promise<void>((resolve) => {
        this.waiting = resolve;
      });
    }
    return this.packets.shift()!;
  }

  /** The payloads of the next messages. */
  async payloads(count: number): Promise<string[]> {
    const result: string[] = [];
    while (result.length < count) result.push(String((await this.next()).payload));
    return result;
  }
}

/** What PUBACK or PUBREC carries in MQTT 5. */
interface Acknowledgement {
  readonly reasonCode?: number;
  readonly properties?: { readonly userProperties?: Readonly<Record<string, string | readonly string[]>> };
}

const orderedCount = 200;
const targetIds = ['dev-1', 'dev-2', 'dev/3', 'dev 4 ☀'];

function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}

for (const shards of [1, 2, 4]) {
  describe(`MQTT.js, ${shards} ${shards === 1 ? 'shard' : 'shards'}`, () => {
    for (const version of [4, 5] as const) describe(version === 4 ? 'MQTT 3.1.1' : 'MQTT 5', () => testWith(shards, version));
  });
}

function testWith(shards: number, version: 4 | 5): void {
  let broker: TestBroker;
  let publisher: Recorder;
  const clients: MqttClient[] = [];
  before(async () => {
    broker = await startBroker({ shards });
    publisher = await connect('publisher');
  });
  after(async () => {
    for (const client of clients) await client.endAsync(true);
    await broker.stop();
  });

  function options(clientId: string, more: IClientOptions = {}): IClientOptions {
    return { host: '127.0.0.1', port: broker.port, clientId, protocolVersion: version, ...more };
  }

  async function connect(clientId: string, more: IClientOptions = {}): Promise<Recorder> {
    const client = await connectAsync(options(clientId, more));
    clients.push(client);
    return new Recorder(client);
  }

  /** Options for a session that outlives its connection. */
  const persistent: IClientOptions = { clean: false, ...(version === 5 ? { properties: { sessionExpiryInterval: 60 } } : {}) };

  for (const qos of [0, 1, 2] as const) {
    test(`QoS ${qos}: every message once and in order`, async () => {
      const subscriber = await connect(`ordered-${qos}`);
      await subscriber.client.subscribeAsync(`ordered/${qos}/#`, { qos });
      await Promise.all(numbers(orderedCount).map((text) => publisher.client.publishAsync(`ordered/${qos}/é ☀`, text, { qos })));
      assert.deepEqual(await subscriber.payloads(orderedCount), numbers(orderedCount));
    });
  }

  test('a broken connection comes back to its session, and QoS 2 stays exactly once', async () => {
    const subscriber = await connect('broken', { ...persistent, reconnectPeriod: 1, resubscribe: false });
    await subscriber.client.subscribeAsync('broken/+', { qos: 2 });
    const sent: Promise<unknown>[] = [];
    const received: string[] = [];
    for (const part of ['a', 'b', 'c']) {
      const reconnected = new Promise<IConnackPacket>((resolve) => subscriber.client.once('connect', resolve));
      for (const text of numbers(20)) sent.push(publisher.client.publishAsync('broken/x', part + text, { qos: 2 }));
      // The connection breaks with deliveries under way.
      received.push(...(await subscriber.payloads(3)));
      subscriber.client.stream.destroy();
      assert.equal((await reconnected).sessionPresent, true);
    }
    await Promise.all(sent);
    received.push(...(await subscriber.payloads(60 - received.length)));
    assert.deepEqual(
      received,
      ['a', 'b', 'c'].flatMap((part) => numbers(20).map((text) => part + text)),
    );
  });

  test('a publisher whose connection breaks sends again, and QoS 2 stays exactly once', async () => {
    const subscriber = await connect('steady');
    await subscriber.client.subscribeAsync('again', { qos: 2 });
    const sender = await connect('sender', { ...persistent, reconnectPeriod: 1 });
    const sent = numbers(100).map((text) => sender.client.publishAsync('again', text, { qos: 2 }));
    await sent[0];
    sender.client.stream.destroy();
    const outcomes = await Promise.allSettled(sent);
    for (const outcome of outcomes) {
      // A PUBREL that is sent again may find its exchange complete: PUBCOMP 0x92, no error during recovery (MQTT 5, 3.7.2.1). MQTT.js calls it one.
      if (outcome.status === 'rejected') assert.equal((outcome.reason as { code?: unknown }).code, 0x92);
    }
    const received = await subscriber.payloads(100);
    await publisher.client.publishAsync('again', 'end', { qos: 2 });
    assert.deepEqual(await subscriber.payloads(1), ['end']);
    assert.deepEqual(
      received.toSorted((a, b) => Number(a) - Number(b)),
      numbers(100),
    );
  });

  test('members of a shared subscription divide the messages', async () => {
    const members = await Promise.all(['m-1', 'm-2', 'm-3', 'm-4'].map((id) => connect(id)));
    for (const { client } of members) await client.subscribeAsync('$share/group/shared/+', { qos: 1 });
    for (const text of numbers(40)) await publisher.client.publishAsync('shared/x', text, { qos: 1 });
    // Round-robin: each of four members gets every fourth message.
    const shares = await Promise.all(members.map((member) => member.payloads(10)));
    assert.deepEqual(
      shares.flat().sort((a, b) => Number(a) - Number(b)),
      numbers(40),
    );
  });

  test('retained messages and a will', async () => {
    await publisher.client.publishAsync('kept', 'here', { qos: 1, retain: true });
    const subscriber = await connect('watcher');
    await subscriber.client.subscribeAsync(['kept', 'will'], { qos: 1 });
    const kept = await subscriber.next();
    assert.deepEqual([String(kept.payload), kept.retain], ['here', true]);
    const dying = await connect('dying', {
      reconnectPeriod: 0,
      will: { topic: 'will', payload: Buffer.from('gone'), qos: 1, retain: false },
    });
    dying.client.stream.destroy();
    assert.deepEqual(await subscriber.payloads(1), ['gone']);
    const owed = await connect('owed', {
      reconnectPeriod: 0,
      will: { topic: 'alarm/p2p/watcher', payload: Buffer.from('gone too'), qos: 1, retain: false },
    });
    owed.client.stream.destroy();
    assert.equal((await subscriber.next()).topic, 'alarm/p2p/watcher');
  });

  test('P2P reaches connected clients that subscribe to nothing, and no subscriber', async () => {
    const tap = await connect('tap');
    await tap.client.subscribeAsync('#');
    for (const id of targetIds) {
      const target = await connect(id);
      for (const qos of [0, 1, 2] as const) {
        for (const text of numbers(20)) publisher.client.publish(`cmd/p2p/${id}`, text, { qos, retain: true });
        const first = await target.next();
        assert.deepEqual([first.topic, String(first.payload), first.qos, first.retain], [`cmd/p2p/${id}`, '0', qos, false]);
        assert.deepEqual(await target.payloads(19), numbers(20).slice(1));
      }
    }
    await publisher.client.publishAsync('end', 'end', { qos: 1 });
    // The retained message of another test may greet the tap.
    for (let topic = ''; topic !== 'end'; ) {
      ({ topic } = await tap.next());
      assert.ok(topic === 'end' || topic === 'kept', topic);
    }
  });

  test('P2P waits in the session of a client that is away', async () => {
    const away = await connect('away', persistent);
    await away.client.endAsync();
    for (const text of numbers(5)) await publisher.client.publishAsync('cmd/p2p/away', text, { qos: 1 });
    // Messages may follow CONNACK at once, so the listener must be there before.
    const { default: mqtt } = await import('mqtt');
    const client = mqtt.connect(options('away', persistent));
    clients.push(client);
    assert.deepEqual(await new Recorder(client).payloads(5), numbers(5));
  });

  if (version === 4) return;

  test('topic aliases in both directions', async () => {
    const subscriber = await connect('alias-in', { properties: { topicAliasMaximum: 2 } });
    const sender = await connect('alias-out', { autoAssignTopicAlias: true });
    await subscriber.client.subscribeAsync('alias/#', { qos: 1 });
    const sentTopics: string[] = [];
    sender.client.on('packetsend', (packet: Packet) => {
      if (packet.cmd === 'publish') sentTopics.push(packet.topic);
    });
    const topics = ['alias/a', 'alias/b', 'cmd/p2p/alias-in', 'alias/a', 'alias/b', 'cmd/p2p/alias-in'];
    for (const topic of topics) await sender.client.publishAsync(topic, topic, { qos: 1 });
    // The library sends a name once, then its alias alone.
    assert.deepEqual(sentTopics, ['alias/a', 'alias/b', 'cmd/p2p/alias-in', '', '', '']);
    const received: [string, string][] = [];
    for (const _ of topics) {
      const { topic, payload } = await subscriber.next();
      received.push([topic, String(payload)]);
    }
    assert.deepEqual(
      received,
      topics.map((topic) => [topic, topic]),
    );
  });

  test('P2P: report, receipt, properties', async () => {
    const target = await connect('told');
    await publisher.client.subscribeAsync('receipts', { qos: 1 });
    for (const qos of [1, 2] as const) {
      const answers: Acknowledgement[] = [];
      const watch = (packet: Packet): void => {
        if (packet.cmd === 'puback' || packet.cmd === 'pubrec') answers.push(packet);
      };
      publisher.client.on('packetreceive', watch);
      await publisher.client.publishAsync('cmd/p2p/told', 'reboot', {
        qos,
        properties: {
          responseTopic: 'receipts',
          correlationData: Buffer.from('order-7'),
          contentType: 'text/plain',
          userProperties: { 'p2p-report': '1', 'p2p-receipt': '1', colour: ['red', 'blue'] },
        },
      });
      publisher.client.off('packetreceive', watch);
      assert.equal(answers.length, 1);
      assert.equal(answers[0]!.reasonCode ?? 0, 0);
      assert.deepEqual({ ...answers[0]!.properties?.userProperties }, { 'p2p-status': 'told=delivered' });
      const message = await target.next();
      assert.deepEqual({ ...message.properties?.userProperties }, { colour: ['red', 'blue'] });
      assert.equal(message.properties?.contentType, 'text/plain');
      const receipt = await publisher.next();
      assert.equal(String(receipt.properties?.correlationData), 'order-7');
      assert.equal(receipt.properties?.contentType, 'application/json');
      const { target: acknowledgedBy, status, at } = JSON.parse(String(receipt.payload)) as Record<string, unknown>;
      assert.deepEqual([acknowledgedBy, status, typeof at], ['told', 'acknowledged', 'number']);
    }
  });

  test('P2P: several targets, and one that is not there', async () => {
    const strange = await connect('a+b#=c');
    const answers: Acknowledgement[] = [];
    publisher.client.on('packetreceive', (packet: Packet) => {
      if (packet.cmd === 'puback') answers.push(packet);
    });
    await publisher.client.publishAsync('cmd/p2p/', 'all', {
      qos: 1,
      properties: { userProperties: { 'p2p-target': ['a+b#=c', 'nobody'], 'p2p-report': '1' } },
    });
    assert.deepEqual({ ...answers[0]!.properties?.userProperties }, { 'p2p-status': ['a+b#=c=delivered', 'nobody=no-session'] });
    assert.deepEqual(await strange.payloads(1), ['all']);
    await publisher.client.publishAsync('cmd/p2p/nobody', 'x', { qos: 1 });
    assert.equal(answers[1]!.reasonCode, 0x10);
    await assert.rejects(publisher.client.publishAsync('cmd/p2p/', 'x', { qos: 1 }), /Topic Name invalid/);
  });

  test("another client's address is refused", async () => {
    const spy = await connect('spy');
    await assert.rejects(spy.client.subscribeAsync('cmd/p2p/dev-1', { qos: 1 }), /Not authorized/);
    const own = await spy.client.subscribeAsync('+/p2p/spy', { qos: 1 });
    assert.equal(own[0]?.qos, 1);
    await publisher.client.publishAsync('rpc/p2p/spy', 'once', { qos: 1 });
    await publisher.client.publishAsync('rpc/p2p/spy', 'then', { qos: 1 });
    assert.deepEqual(await spy.payloads(2), ['once', 'then']);
  });
}
