/*
 * Goal: order. What one publisher sends on one topic at one QoS arrives in that order at every subscriber, whichever shards are involved; acknowledgements
 * leave in the order of the PUBLISH packets [MQTT-4.6.0-2] [MQTT-4.6.0-3]; a publish that starts after SUBACK is always seen.
 * Method: numbered messages of many pipelining publishers to a subscriber on every shard; targets that alternate between here, elsewhere and nowhere;
 * and a publish from every shard right behind each of 1,000 SUBACKs.
 */
import assert from 'node:assert/strict';
import test, { after, before, describe } from 'node:test';
import { startBroker, type TestBroker } from '../support/broker.ts';
import { type ConnectOptions, connect, payloadText, type TestClient } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { stage } from './observe.ts';

const PUBLISHERS = 8;
const MESSAGES_PER_TOPIC = 300;
const SUBACKS = 1000;

function connectOn(port: number, shard: number, shards: number, options: ConnectOptions = {}): Promise<TestClient> {
  return connect(port, { clientId: clientIdOn(shard, shards), ...options });
}

/** Numbers per publisher and topic count up from 0 without a gap. */
function checkOrder(messages: readonly { topic: string; payload: Uint8Array }[], streams: number, perStream: number): void {
  const next = new Map<string, number>();
  for (const message of messages) {
    const number = Number(Buffer.from(message.payload).toString());
    const expected = next.get(message.topic) ?? 0;
    assert.equal(number, expected, `${message.topic}: ${number} came where ${expected} was due`);
    next.set(message.topic, expected + 1);
  }
  assert.equal(next.size, streams);
  for (const [topic, count] of next) assert.equal(count, perStream, topic);
}

for (const shards of [1, 2, 4]) {
  describe(`${shards} ${shards === 1 ? 'shard' : 'shards'}`, () => {
    let broker: TestBroker;
    before(async () => {
      broker = await startBroker({ shards, 'limits.queueMessages': 100_000 });
    });
    after(async () => {
      assert.equal(await broker.stop(), 0);
    });

    for (const qos of [0, 1, 2]) {
      test(`QoS ${qos}: each publisher's messages on a topic arrive in order, at a subscriber on every shard`, async () => {
        const subscribers: TestClient[] = [];
        for (let shard = 0; shard < shards; shard++) {
          const subscriber = await connectOn(broker.port, shard, shards, { version: shard % 2 === 0 ? 5 : 4 });
          await subscriber.subscribe(`order${qos}/#`, { qos });
          subscribers.push(subscriber);
        }
        const publishers: TestClient[] = [];
        for (let i = 0; i < PUBLISHERS; i++) {
          publishers.push(await connectOn(broker.port, i % shards, shards, { version: i % 3 === 0 ? 4 : 5 }));
        }
        const answers: Promise<{ code: number }>[] = [];
        publishers.forEach((publisher, i) => {
          for (let number = 0; number < MESSAGES_PER_TOPIC; number++) {
            for (const topic of [`order${qos}/${i}/a`, `order${qos}/${i}/b`])
              answers.push(publisher.publish(topic, String(number), { qos }));
          }
        });
        for (const answer of await Promise.all(answers)) assert.equal(answer.code, 0);
        for (const subscriber of subscribers) {
          checkOrder(await subscriber.nextMany(PUBLISHERS * 2 * MESSAGES_PER_TOPIC), PUBLISHERS * 2, MESSAGES_PER_TOPIC);
          await subscriber.expectNone();
        }
      });
    }

    test('point to point: messages of one publisher to one client keep their order at each QoS', async () => {
      const receivers: TestClient[] = [];
      for (let shard = 0; shard < shards; shard++) receivers.push(await connectOn(broker.port, shard, shards));
      const publisher = await connectOn(broker.port, 0, shards);
      const answers: Promise<unknown>[] = [];
      for (let number = 0; number < MESSAGES_PER_TOPIC; number++) {
        for (const receiver of receivers) {
          for (const qos of [0, 1, 2]) answers.push(publisher.publish(`q${qos}/p2p/${receiver.clientId}`, String(number), { qos }));
        }
        // The window towards the broker holds 1,000 messages.
        if (number % 50 === 49) await Promise.all(answers.splice(0));
      }
      for (const receiver of receivers) checkOrder(await receiver.nextMany(3 * MESSAGES_PER_TOPIC), 3, MESSAGES_PER_TOPIC);
    });

    for (const qos of [1, 2]) {
      test(`${qos === 1 ? 'PUBACK' : 'PUBREC'} packets leave in the order of the PUBLISH packets, whoever answers first`, async () => {
        const targets: TestClient[] = [];
        for (let shard = 0; shard < shards; shard++) {
          const target = await connectOn(broker.port, shard, shards);
          await target.subscribe([
            { filter: `on/${shard}`, qos: 2 },
            { filter: `$share/g/shared/${shard}`, qos: 2 },
          ]);
          targets.push(target);
        }
        const publisher = await connectOn(broker.port, 0, shards);
        const topics = ['nobody', 'first/p2p/no-such-client', '$not/allowed'];
        targets.forEach((target, shard) => {
          topics.push(`on${qos}/${shard}`, `shared${qos}/${shard}`, `first/p2p/${target.clientId}`);
        });
        const count = topics.length * Math.floor(900 / topics.length);
        const order: number[] = [];
        const codes = new Set<number>();
        const answers: Promise<void>[] = [];
        for (let i = 0; i < count; i++) {
          // Local and remote targets take turns, the fast answer behind the slow one.
          const topic = topics[(i * 7) % topics.length]!;
          answers.push(
            publisher.publish(topic, String(i), { qos, release: false }).then((answer) => {
              order.push(i);
              codes.add(answer.code);
            }),
          );
        }
        await Promise.all(answers);
        assert.deepEqual(
          order,
          Array.from({ length: count }, (_, i) => i),
        );
        assert.deepEqual(
          [...codes].sort((a, b) => a - b),
          [0, 0x10, 0x87],
        );
      });
    }
  });
}

test(`a publish from any shard right behind a SUBACK is seen, ${SUBACKS} times`, async (t) => {
  const shards = 4;
  const broker = await stage(t, { shards });
  const publishers: TestClient[] = [];
  for (let shard = 0; shard < shards; shard++) publishers.push(await connectOn(broker.port, shard, shards));
  const subscribers: TestClient[] = [];
  for (let shard = 0; shard < shards; shard++) subscribers.push(await connectOn(broker.port, shard, shards));
  for (let round = 0; round < SUBACKS; round++) {
    const subscriber = subscribers[round % shards]!;
    const kind = Math.floor(round / shards) % 3;
    const filter = kind === 0 ? `fresh/${round}` : kind === 1 ? `fresh/${round}/+/#` : `$share/group/fresh/${round}`;
    const topic = kind === 1 ? `fresh/${round}/x/y` : `fresh/${round}`;
    await subscriber.subscribe(filter, { qos: 1 });
    for (const publisher of publishers) void publisher.publish(topic, publisher.clientId);
    const from = (await subscriber.nextMany(shards)).map((message) => payloadText(message));
    assert.deepEqual(from.sort(), publishers.map((publisher) => publisher.clientId).sort(), `${filter} after SUBACK ${round}`);
    if (round % 5 === 0) await subscriber.unsubscribe(filter);
  }
  assert.equal(await broker.stop(), 0);
});
