/*
 * Goal: the death of one shard is the problem of its own clients alone. Their connections close and they may come back; clients of other shards live on;
 * QoS 1 messages that the dead shard had not answered are answered by its successor; the successor knows the routes of the survivors; nothing leaks; and a
 * shard that dies again and again ends the broker.
 * Method: a broker in a child process is told which shard is to die, in the middle of traffic, connects and hand-offs.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { connect, payloadText, type TestClient } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { type CrashableBroker, stageCrashable } from './crashable.ts';
import { CounterWatch, descriptorsOf, drawSeed, isLong, Random, WATCHED } from './observe.ts';
import { connectBytes, RawConnection } from './raw-connection.ts';

const DEATHS = isLong ? 18 : 6;
const STORM_WIDTH = 24;

/** Every pair of shards exchanges messages by exact filter, wildcard, Shared Subscription, retained message and P2P. */
async function checkAllRoutes(broker: CrashableBroker, shards: number, label: string): Promise<void> {
  const clients: TestClient[] = [];
  for (let shard = 0; shard < shards; shard++) clients.push(await connect(broker.port, { clientId: clientIdOn(shard, shards, label) }));
  for (let to = 0; to < shards; to++) {
    await clients[to]!.subscribe([
      { filter: `${label}/exact/${to}`, qos: 1 },
      { filter: `${label}/wild/${to}/#`, qos: 1 },
      { filter: `$share/${label}/shared/${to}`, qos: 1 },
    ]);
  }
  await checkRoutes(clients, label);
  for (const client of clients) await client.disconnect();
}

async function checkRoutes(clients: readonly TestClient[], label: string): Promise<void> {
  for (const [from, publisher] of clients.entries()) {
    for (const [to, receiver] of clients.entries()) {
      const topics = [`${label}/exact/${to}`, `${label}/wild/${to}/x`, `shared/${to}`, `first/p2p/${receiver.clientId}`];
      for (const topic of topics) {
        const payload = `${from} to ${to}`;
        assert.equal((await publisher.publish(topic, payload, { qos: 1 })).code, 0, `${topic} from shard ${from}`);
        const message = await receiver.next();
        assert.deepEqual([message.topic, payloadText(message)], [topic, payload]);
      }
    }
  }
}

describe('a shard dies', { concurrency: true }, () => {
  test('its clients are closed and come back, others live on, and every route works again', async (t) => {
    const shards = 3;
    const broker = await stageCrashable(t, { shards });
    // Subscriptions of the survivors that the successor must learn, without any new SUBSCRIBE.
    for (let dead = 0; dead < shards; dead++) {
      const label = `round${dead}`;
      const clients: TestClient[] = [];
      for (let shard = 0; shard < shards; shard++) {
        const client = await connect(broker.port, { clientId: clientIdOn(shard, shards, 'member') });
        await client.subscribe([
          { filter: `${label}/exact/${shard}`, qos: 1 },
          { filter: `${label}/wild/${shard}/#`, qos: 1 },
          { filter: `$share/${label}/shared/${shard}`, qos: 1 },
        ]);
        clients.push(client);
      }
      await checkRoutes(clients, label);
      await broker.crashAndWait(dead);
      assert.deepEqual(await clients[dead]!.closed, {}, 'a connection of the dead shard is closed without a word');
      for (let shard = 0; shard < shards; shard++) if (shard !== dead) await clients[shard]!.ping();
      const back = await connect(broker.port, { clientId: clients[dead]!.clientId });
      assert.equal(back.connack.sessionPresent, false);
      await back.subscribe([
        { filter: `${label}/exact/${dead}`, qos: 1 },
        { filter: `${label}/wild/${dead}/#`, qos: 1 },
        { filter: `$share/${label}/shared/${dead}`, qos: 1 },
      ]);
      clients[dead] = back;
      await checkRoutes(clients, label);
      for (const client of clients) await client.disconnect();
      await checkAllRoutes(broker, shards, `fresh${dead}`);
    }
    assert.equal(await broker.stop(), 0);
  });

  for (const qos of [1, 2]) {
    test(`QoS ${qos}: messages under way to the dead shard are acknowledged; survivors get every message once and in order`, async (t) => {
      const shards = 3;
      const broker = await stageCrashable(t, {
        shards,
        'limits.ringBytes': 65_536,
        'limits.inflight': 10_000,
        'limits.queueMessages': 100_000,
      });
      const survivor = await connect(broker.port, { clientId: clientIdOn(2, shards, 'survivor') });
      const doomed = await connect(broker.port, { clientId: clientIdOn(1, shards, 'doomed') });
      for (const client of [survivor, doomed]) await client.subscribe('load', { qos });
      const publisher = await connect(broker.port, { clientId: clientIdOn(0, shards, 'publisher') });
      const order: number[] = [];
      const codes = new Set<number>();
      let count = 0;
      let isServed = false;
      const lane = async (): Promise<void> => {
        // Through the whole time that the shard is dead, so that its successor certainly finds messages that nobody has answered.
        while (!isServed || count < 1000) {
          const number = count++;
          if (number === 300) broker.crash(1);
          const topic = number % 2 === 0 ? 'load' : `first/p2p/${doomed.clientId}`;
          const { code } = await publisher.publish(topic, String(number), { qos, packetId: 1 + (number % 60_000), release: false });
          order.push(number);
          codes.add(code);
          if (qos === 2 && code < 0x80) await publisher.release(1 + (number % 60_000));
        }
      };
      const lanes = Array.from({ length: 400 }, lane);
      await doomed.closed;
      await broker.logged('a shard serves again', 1);
      isServed = true;
      await Promise.all(lanes);
      assert.deepEqual(
        order,
        Array.from({ length: count }, (_, i) => i),
        'every message is acknowledged, in order',
      );
      for (const code of codes) assert.ok(code === 0 || code === 0x10, `0x${code.toString(16)}`);
      const received = (await survivor.nextMany(Math.ceil(count / 2))).map((message) => Number(payloadText(message)));
      assert.deepEqual(
        received,
        Array.from({ length: Math.ceil(count / 2) }, (_, i) => i * 2),
      );
      await survivor.expectNone();
      assert.equal(await broker.stop(), 0);
    });
  }

  test(`${DEATHS} deaths under load, some at the same time: clients come back, no descriptor leaks`, async (t) => {
    const random = new Random(drawSeed('shard-crash'));
    const shards = 4;
    const broker = await stageCrashable(t, { shards, ...WATCHED });
    await checkAllRoutes(broker, shards, 'before');
    let watch = await CounterWatch.open(broker.port, clientIdOn(3, shards, 'watch'));
    await watch.round();
    const base = descriptorsOf(broker.pid);
    await watch.close();
    let isOver = false;
    let connected = 0;
    let number = 0;
    // Connects, hand-offs and messages go on all the time; who is cut off comes back.
    const storm = async (lane: number): Promise<void> => {
      while (!isOver) {
        const connection = new RawConnection(broker.port, `127.0.0.${2 + lane}`);
        connection.send(connectBytes(`storm-${number++}`));
        if (await connection.receive(5)) connected++;
        if (random.oneIn(2)) await connection.destroy();
        else await connection.reset();
      }
    };
    const talk = async (shard: number): Promise<void> => {
      while (!isOver) {
        try {
          const client = await connect(broker.port, { clientId: clientIdOn(shard, shards, 'talker') });
          await client.subscribe(`talk/${shard}`, { qos: 1 });
          while (!isOver) {
            const answers: Promise<unknown>[] = [];
            for (let to = 0; to < shards; to++)
              answers.push(client.publish(`talk/${to}`, 'x'.repeat(random.below(2000)), { qos: random.below(3) }));
            await Promise.all(answers);
          }
          await client.destroy();
        } catch {
          // The shard died: again.
        }
      }
    };
    const work: Promise<void>[] = [];
    for (let lane = 0; lane < STORM_WIDTH; lane++) work.push(storm(lane));
    for (let shard = 0; shard < shards; shard++) work.push(talk(shard));
    let served = broker.count('a shard serves again');
    for (let death = 0; death < DEATHS; ) {
      const seen = connected;
      const shard = death % shards;
      broker.crash(shard);
      death++;
      served++;
      if (death % 3 === 2 && death < DEATHS) {
        broker.crash((shard + 1) % shards);
        death++;
        served++;
      }
      await broker.logged('a shard serves again', served);
      while (connected < seen + 50) await new Promise((resolve) => setImmediate(resolve));
    }
    isOver = true;
    await Promise.all(work);
    await checkAllRoutes(broker, shards, 'after');
    watch = await CounterWatch.open(broker.port, clientIdOn(3, shards, 'watch'));
    await watch.until(
      'all descriptors are closed',
      () => descriptorsOf(broker.pid) === base,
      () => `${descriptorsOf(broker.pid)} open, ${base} before`,
    );
    await watch.reaches('clients/connected', (value) => value === 1);
    assert.equal(await watch.reaches('shard/restarts', (value) => value === DEATHS), DEATHS);
    const errors = broker.log.filter((line) => line['level'] === 'error').map((line) => line['msg']);
    assert.deepEqual([...new Set(errors)].sort(), ['a shard died: starting it anew', 'a shard failed']);
    assert.equal(await broker.stop(), 0);
  });

  test('the sixth death of one shard within a minute ends the broker with exit code 1', async (t) => {
    const broker = await stageCrashable(t, { shards: 2 });
    const other = await connect(broker.port, { clientId: clientIdOn(0, 2) });
    for (let death = 0; death < 5; death++) await broker.crashAndWait(1);
    await other.ping();
    broker.crash(1);
    assert.equal(await broker.ended, 1);
    assert.equal((await other.closed).code, 0x8b, 'clients of the living shard are told');
    assert.equal(broker.count('a shard dies again and again: giving up'), 1);
  });
});
