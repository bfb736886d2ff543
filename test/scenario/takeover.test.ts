/*
 * Goal: takeover. A second connection of a client ends the first one [MQTT-3.1.4-3]; the session, what waits in it and the Will follow the rules; a Client
 * Identifier never has two live connections, however many sockets fight for it.
 * Method: single takeovers with each combination that matters, then a storm of connections of one client over all shards, watched through `$events` and
 * through messages of which no two sockets may get the same.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { connect, payloadText, type TestClient } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { CounterWatch, descriptorsOf, isLong, stage, WATCHED } from './observe.ts';

const STORM_SOCKETS = isLong ? 5000 : 300;
const persistent = { cleanStart: false, properties: { sessionExpiryInterval: 3600 } } as const;

describe('takeover', { concurrency: 4 }, () => {
  for (const shards of [1, 2, 4]) {
    describe(`${shards} ${shards === 1 ? 'shard' : 'shards'}`, { concurrency: 4 }, () => {
      test('the older connection is told 0x8E, or closed before MQTT 5; the session goes on', async (t) => {
        const broker = await stage(t, { shards });
        for (const version of [3, 4, 5] as const) {
          const clientId = clientIdOn(shards - 1, shards, 'taken');
          const publisher = await connect(broker.port, { clientId: clientIdOn(0, shards) });
          const first = await connect(broker.port, { clientId, version, autoAck: false, ...persistent });
          await first.subscribe('news', { qos: 1 });
          await publisher.publish('news', 'one', { qos: 1 });
          assert.equal(payloadText(await first.next()), 'one');
          const second = await connect(broker.port, { clientId, version, ...persistent });
          assert.deepEqual((await first.closed).code, version === 5 ? 0x8e : undefined);
          assert.equal(second.connack.sessionPresent, version !== 3);
          const again = await second.next();
          assert.deepEqual([payloadText(again), again.dup], ['one', true], 'what the older connection had not acknowledged comes again');
          await publisher.publish('news', 'two', { qos: 1 });
          assert.equal(payloadText(await second.next()), 'two', 'the subscription is still there');
          const third = await connect(broker.port, { clientId, version });
          assert.deepEqual((await second.closed).code, version === 5 ? 0x8e : undefined);
          assert.equal(third.connack.sessionPresent, false);
          assert.equal((await publisher.publish('news', 'three', { qos: 1 })).code, 0x10, 'Clean Start has ended the subscription');
          await third.expectNone();
        }
        assert.equal(await broker.stop(), 0);
      });

      test('the Will of the older connection: published, unless its delay lasts and the session goes on', async (t) => {
        const broker = await stage(t, { shards });
        const watcher = await connect(broker.port, { clientId: clientIdOn(0, shards) });
        await watcher.subscribe('will/#', { qos: 1 });
        const cases = [
          { name: 'no delay', delay: 0, cleanStart: false, isDue: true },
          { name: 'delay, session resumed', delay: 3600, cleanStart: false, isDue: false },
          { name: 'delay, session ended by Clean Start', delay: 3600, cleanStart: true, isDue: true },
        ];
        for (const { name, delay, cleanStart, isDue } of cases) {
          const clientId = clientIdOn(shards - 1, shards, 'willing');
          const will = { topic: `will/${clientId}`, payload: name, qos: 1, properties: { willDelayInterval: delay } };
          const first = await connect(broker.port, { clientId, ...persistent, will });
          const second = await connect(broker.port, { clientId, ...persistent, cleanStart });
          assert.equal((await first.closed).code, 0x8e);
          // The same shard publishes this behind the Will.
          await second.publish(`will/${clientId}`, 'after', { qos: 1 });
          if (isDue) assert.equal(payloadText(await watcher.next()), name);
          assert.equal(payloadText(await watcher.next()), 'after', name);
          await second.disconnect();
        }
        await watcher.expectNone();
        assert.equal(await broker.stop(), 0);
      });

      test(`${STORM_SOCKETS} sockets fight for one Client Identifier: never two live ones, one is left`, async (t) => {
        const broker = await stage(t, { 'limits.takeoversPerMinute': 0, shards, ...WATCHED });
        const clientId = clientIdOn(shards - 1, shards, 'storm');
        const events = await connect(broker.port, { clientId: clientIdOn(shards - 1, shards, 'events') });
        await events.subscribe('$events/#');
        const publisher = await connect(broker.port, { clientId: clientIdOn(0, shards, 'publisher') });
        const sockets: TestClient[] = [];
        const opened: Promise<boolean>[] = [];
        let isOver = false;
        let published = 0;
        const flood = async (): Promise<void> => {
          while (!isOver) {
            await publisher.publish(`first/p2p/${clientId}`, String(published++));
            if (published % 20 === 0) await publisher.ping();
          }
        };
        const flooding = flood();
        for (let i = 0; i < STORM_SOCKETS; i++) {
          const socket = connect(broker.port, { clientId, localAddress: `127.0.0.${2 + (i % 100)}`, ...persistent });
          opened.push(
            socket.then(
              (client) => sockets.push(client) > 0,
              () => false,
            ),
          );
          if (i % 25 === 24) await publisher.ping();
        }
        await Promise.all(opened);
        isOver = true;
        await flooding;
        await publisher.publish(`first/p2p/${clientId}`, 'last', { qos: 1 });
        // Every connection but one is told that it was taken over; one that was taken over before CONNACK was read counts as well.
        const living = new Set(sockets);
        const goodbyes = new Set<number | undefined>();
        for (const socket of sockets) {
          void socket.closed.then((closing) => {
            living.delete(socket);
            goodbyes.add(closing.code);
          });
        }
        const answers = await Promise.allSettled(sockets.map((socket) => socket.ping()));
        assert.equal(answers.filter((answer) => answer.status === 'fulfilled').length, 1, 'one connection answers');
        assert.equal(living.size, 1);
        assert.deepEqual([...goodbyes], [0x8e]);
        const survivor = [...living][0]!;
        const receivers = new Map<string, number>();
        for (const socket of sockets) {
          for (const message of socket.messages) {
            if (message.qos === 0) receivers.set(payloadText(message), (receivers.get(payloadText(message)) ?? 0) + 1);
          }
        }
        for (const [number, count] of receivers) assert.equal(count, 1, `message ${number} reached ${count} connections`);
        assert.ok(survivor.messages.some((message) => payloadText(message) === 'last'));
        // The broker's own account: connected and disconnected take turns.
        let connected = 0;
        let disconnected = 0;
        await publisher.publish(`e/p2p/${events.clientId}`, 'end', { qos: 1 });
        for (;;) {
          const message = await events.next();
          if (!message.topic.startsWith('$events')) break;
          const event = JSON.parse(payloadText(message)) as { clientid: string; event: string; reason?: string };
          if (event.clientid !== clientId) continue;
          if (event.event === 'client.connected') connected++;
          else if (event.event === 'client.disconnected') disconnected++;
          assert.ok(connected - disconnected === 0 || connected - disconnected === 1, `${connected} connected, ${disconnected} ended`);
        }
        assert.equal(connected, STORM_SOCKETS);
        assert.equal(disconnected, STORM_SOCKETS - 1);
        const watch = await CounterWatch.open(broker.port);
        assert.equal(await watch.reaches('takeovers', (value) => value === STORM_SOCKETS - 1), STORM_SOCKETS - 1);
        await watch.reaches('clients/connected', (value) => value === 4);
        assert.equal(await broker.stop(), 0);
      });
    });
  }

  test('a client that takes nothing from the network is taken over all the same, and its socket is closed', async (t) => {
    const broker = await stage(t, { shards: 2, 'limits.outboundBytes': 65_536, ...WATCHED });
    const watch = await CounterWatch.open(broker.port);
    const publisher = await connect(broker.port, { clientId: clientIdOn(0, 2) });
    const base = descriptorsOf(broker.pid);
    const clientId = clientIdOn(1, 2, 'stuck');
    const stuck: TestClient[] = [];
    const block = Buffer.alloc(32 * 1024, 'x');
    for (let round = 0; round < 2; round++) {
      const client = await connect(broker.port, { clientId });
      client.pauseReading();
      stuck.push(client);
      const dropped = watch.value('publish/dropped/outbound-full');
      // Far more than the kernel buffers of both sides take.
      await watch.until(`client ${round} is stuck`, () => {
        for (let i = 0; i < 400; i++) void publisher.publish(`first/p2p/${clientId}`, block);
        return watch.value('publish/dropped/outbound-full') > (Number.isNaN(dropped) ? 0 : dropped);
      });
      await publisher.ping();
    }
    const last = await connect(broker.port, { clientId });
    await last.ping();
    // The stuck sockets never read, so they cannot be told; the broker must not keep them.
    await watch.until(
      'the descriptors of the stuck connections are closed',
      () => descriptorsOf(broker.pid) === base + 1,
      () => `${descriptorsOf(broker.pid)} open, ${base + 1} expected`,
    );
    for (const client of stuck) await client.destroy();
    assert.equal(await broker.stop(), 0);
  });
});
