/**
 * Goal: libraries that others wrote, in other languages, work with the broker as their users expect, P2P included.
 * Method: one suite for all, with one, two and four shards. Each library runs in a process of its own and is told what to do. Several clients at a time make sure
 * that publisher and receiver sit on the same shard and on different ones.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { after, before, describe } from 'node:test';
import { startBroker, type TestBroker } from '../../support/broker.ts';
import { type Client, ClientProcess, type Library, preparedFolder, programsFolder } from './client-process.ts';

const python = { command: join(preparedFolder, 'python/bin/python'), args: [join(programsFolder, 'python/client.py')] };
const goV3 = { command: join(preparedFolder, 'client-v3'), args: [] };
const goV5 = { command: join(preparedFolder, 'client-v5'), args: [] };
const javaFolder = join(preparedFolder, 'java');
// A short life needs no optimising compiler.
const javaArgs = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-cp', `${javaFolder}:${javaFolder}/*`];

const libraries: readonly Library[] = [
  { name: 'Paho Java, MQTT 5', version: 5, command: 'java', args: [...javaArgs, 'ClientV5'] },
  { name: 'Paho Java, MQTT 3.1.1', version: 4, command: 'java', args: [...javaArgs, 'ClientV3'] },
  { name: 'Paho Python, MQTT 5', version: 5, ...python },
  { name: 'Paho Python, MQTT 3.1.1', version: 4, ...python },
  { name: 'Paho Python, MQTT 3.1', version: 3, ...python },
  { name: 'Paho Go, MQTT 5', version: 5, ...goV5 },
  { name: 'Paho Go, MQTT 3.1.1', version: 4, ...goV3 },
  { name: 'Paho Go, MQTT 3.1', version: 3, ...goV3 },
];

/** Enough clients that some share a shard and some do not. */
const targetNumbers = [1, 2, 3, 4];
const orderedCount = 200;

function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}

// Some libraries sleep while they connect, so several runs at once take little longer than one.
describe('libraries', { concurrency: 6 }, () => {
  for (const library of libraries) {
    for (const shards of [1, 2, 4]) {
      describe(`${library.name}, ${shards} ${shards === 1 ? 'shard' : 'shards'}`, { concurrency: 1 }, () => testWith(library, shards));
    }
  }
});

function testWith(library: Library, shards: number): void {
  let broker: TestBroker;
  let clients: ClientProcess;
  let publisher: Client;
  before(async () => {
    broker = await startBroker({ shards });
    clients = new ClientProcess(library, broker.port);
    publisher = await clients.connect({ clientId: 'publisher' });
  });
  after(async () => {
    await clients.kill();
    await broker.stop();
  });

  for (const qos of [0, 1, 2] as const) {
    test(`QoS ${qos}: every message once and in order`, async () => {
      const subscriber = await clients.connect({ clientId: `ordered-${qos}` });
      assert.equal(await subscriber.subscribe(`ordered/${qos}/+`, qos), qos);
      await publisher.publish(`ordered/${qos}/é ☀`, numbers(orderedCount), { qos });
      const first = await subscriber.next();
      assert.deepEqual([first.topic, first.payload, first.qos, first.retain], [`ordered/${qos}/é ☀`, '0', qos, false]);
      assert.deepEqual(await subscriber.payloads(orderedCount - 1), numbers(orderedCount).slice(1));
      await subscriber.disconnect();
    });
  }

  test('a retained message greets a later subscriber, until an empty one removes it', async () => {
    const topic = 'retained';
    await publisher.publish(topic, 'kept', { qos: 1, retain: true });
    const subscriber = await clients.connect({ clientId: 'retained' });
    await subscriber.subscribe(topic, 1);
    const { payload, retain } = await subscriber.next();
    assert.deepEqual([payload, retain], ['kept', true]);
    await publisher.publish(topic, '', { qos: 1, retain: true });
    assert.equal((await subscriber.next()).payload, '');
    await subscriber.disconnect();
    const late = await clients.connect({ clientId: 'late' });
    await late.subscribe(topic, 1);
    await publisher.publish(topic, 'new', { qos: 1 });
    assert.equal((await late.next()).retain, false);
    await late.disconnect();
  });

  test('a broken connection publishes its will, also as P2P', async () => {
    const watcher = await clients.connect({ clientId: 'watcher' });
    await watcher.subscribe('will', 1);
    for (const topic of ['will', 'alarm/p2p/watcher']) {
      const other = new ClientProcess(library, broker.port);
      await other.connect({ clientId: 'dying', will: { topic, payload: 'gone', qos: 1, retain: false } });
      await other.kill();
      const message = await watcher.next();
      assert.deepEqual([message.topic, message.payload, message.qos], [topic, 'gone', 1]);
    }
    await watcher.disconnect();
  });

  test('a session keeps subscription, messages and P2P messages while its client is away', async () => {
    const options = { clientId: 'session', sessionSeconds: 60 };
    const before = await clients.connect(options);
    assert.equal(before.sessionPresent, false);
    await before.subscribe('away', 2);
    await before.disconnect();
    await publisher.publish('away', numbers(20), { qos: 2 });
    await publisher.publish(`cmd/p2p/${options.clientId}`, 'p2p', { qos: 2 });
    const back = await clients.connect(options);
    // MQTT 3.1 has no Session Present flag.
    if (library.version > 3) assert.equal(back.sessionPresent, true);
    assert.deepEqual(await back.payloads(21), [...numbers(20), 'p2p']);
    await back.disconnect();
    await (await clients.connect({ clientId: options.clientId })).disconnect();
  });

  test('members of a shared subscription divide the messages', async () => {
    const members = await Promise.all([1, 2].map((number) => clients.connect({ clientId: `member-${number}` })));
    for (const member of members) await member.subscribe('$share/group/shared', 1);
    await publisher.publish('shared', numbers(20), { qos: 1 });
    // Round-robin: each of two members gets every second message.
    const shares = await Promise.all(members.map((member) => member.payloads(10)));
    assert.deepEqual(
      shares.flat().sort((a, b) => Number(a) - Number(b)),
      numbers(20),
    );
    for (const member of members) await member.disconnect();
  });

  test('P2P reaches connected clients that subscribe to nothing, and no subscriber', async () => {
    const tap = await clients.connect({ clientId: 'tap' });
    await tap.subscribe('#', 0);
    const targets = await Promise.all(targetNumbers.map((number) => clients.connect({ clientId: `target-${number}` })));
    for (const [index, target] of targets.entries()) {
      const topic = `cmd/p2p/target-${targetNumbers[index]}`;
      for (const qos of [0, 1, 2] as const) {
        await publisher.publish(topic, numbers(50), { qos });
        const first = await target.next();
        assert.deepEqual([first.topic, first.payload, first.qos, first.retain], [topic, '0', qos, false]);
        assert.deepEqual(await target.payloads(49), numbers(50).slice(1));
      }
    }
    await publisher.publish('end', 'end', { qos: 0 });
    // Retained messages of other libraries may greet the tap; no P2P topic may.
    for (let topic = ''; topic !== 'end'; ) {
      ({ topic } = await tap.next());
      assert.doesNotMatch(topic, /\/p2p\//);
    }
    for (const client of [tap, ...targets]) await client.disconnect();
  });

  test("subscribing to one's own address changes nothing; to another's is refused", async () => {
    const own = 'own';
    const client = await clients.connect({ clientId: own });
    assert.equal(await client.subscribe(`cmd/p2p/${own}`, 1), 1);
    await publisher.publish(`cmd/p2p/${own}`, ['once', 'then'], { qos: 1 });
    assert.deepEqual(await client.payloads(2), ['once', 'then']);
    const refused = await client.subscribe('cmd/p2p/publisher', 1);
    // MQTT 3.1 has no way to refuse a subscription: its SUBACK grants what leads to nothing.
    if (library.version > 3) assert.equal(refused, library.version === 5 ? 0x87 : 0x80);
    await publisher.publish('cmd/p2p/publisher', 'to itself', { qos: 1 });
    assert.equal((await publisher.next()).payload, 'to itself');
    await publisher.publish(`cmd/p2p/${own}`, 'last', { qos: 1 });
    assert.equal((await client.next()).payload, 'last');
    assert.equal(client.waitingCount, 0);
    await client.disconnect();
  });

  if (library.version === 5) {
    test('P2P: report, properties and receipt', async () => {
      const targetId = 'told';
      const target = await clients.connect({ clientId: targetId });
      await publisher.subscribe('receipts', 1);
      const answer = await publisher.publish(`cmd/p2p/${targetId}`, 'reboot', {
        qos: 1,
        userProperties: [
          ['p2p-report', '1'],
          ['p2p-receipt', '1'],
          ['colour', 'red'],
          ['colour', 'blue'],
        ],
        responseTopic: 'receipts',
        correlationData: 'order-7',
      });
      assert.equal(answer.code, 0);
      assert.deepEqual(answer.userProperties, [['p2p-status', `${targetId}=delivered`]]);
      const message = await target.next();
      assert.equal(message.correlationData, 'order-7');
      assert.deepEqual(message.userProperties, [
        ['colour', 'red'],
        ['colour', 'blue'],
      ]);
      const receipt = await publisher.next();
      assert.deepEqual([receipt.topic, receipt.correlationData], ['receipts', 'order-7']);
      const { target: acknowledgedBy, status } = JSON.parse(receipt.payload) as Record<string, unknown>;
      assert.deepEqual([acknowledgedBy, status], [targetId, 'acknowledged']);
      await target.disconnect();
    });

    test('P2P: the sender learns that there is no such client', async () => {
      const answer = await publisher.publish('cmd/p2p/nobody', 'x', { qos: 1, userProperties: [['p2p-report', '1']] });
      assert.equal(answer.code, 0x10);
      assert.deepEqual(answer.userProperties, [['p2p-status', 'nobody=no-session']]);
    });
  }
}
