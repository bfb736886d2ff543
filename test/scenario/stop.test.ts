/*
 * Goal: a graceful stop. SIGTERM ends the broker with exit code 0 within `shutdown.timeout`; MQTT 5 clients are told 0x8B, older ones see a close; what was
 * acknowledged before has been delivered to receivers that are online; a client that takes nothing holds nothing up; a second signal ends it at once.
 * Method: SIGTERM in the middle of traffic between shards, with clients of every kind connected.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { connect, payloadText, type TestClient } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { CounterWatch, stage, WATCHED } from './observe.ts';
import { connectBytes, RawConnection } from './raw-connection.ts';

describe('stop', { concurrency: true }, () => {
  for (const shards of [1, 2, 4]) {
    test(`${shards} shards: clients are told, what was acknowledged was delivered, exit code 0`, async (t) => {
      const broker = await stage(t, { shards, 'limits.inflight': 10_000 });
      const clients: TestClient[] = [];
      for (let shard = 0; shard < shards; shard++) {
        for (const version of [3, 4, 5] as const) {
          const will = { topic: 'will', payload: String(version) };
          clients.push(await connect(broker.port, { clientId: clientIdOn(shard, shards), version, will }));
        }
      }
      const halfOpen = new RawConnection(broker.port);
      halfOpen.send(connectBytes('half').subarray(0, 9));
      await halfOpen.established();
      const receivers: TestClient[] = [];
      for (let shard = 0; shard < shards; shard++) {
        const receiver = await connect(broker.port, { clientId: clientIdOn(shard, shards, 'receiver') });
        await receiver.subscribe('load', { qos: 1 });
        receivers.push(receiver);
      }
      const publisher = await connect(broker.port, { clientId: clientIdOn(0, shards, 'publisher') });
      const acknowledged: string[] = [];
      const under: Promise<void>[] = [];
      for (let number = 0; number < 900; number++) {
        const payload = String(number);
        const answer = publisher.publish('load', payload, { qos: 1 });
        under.push(
          answer.then(
            ({ code }) => {
              assert.equal(code, 0);
              acknowledged.push(payload);
            },
            () => {},
          ),
        );
      }
      // The stop comes while messages and acknowledgements are under way.
      await under[200];
      const code = await broker.stop();
      assert.equal(code, 0);
      await Promise.all(under);
      for (const client of clients) {
        assert.equal((await client.closed).code, client.version === 5 ? 0x8b : undefined);
      }
      assert.equal((await publisher.closed).code, 0x8b);
      await halfOpen.closed;
      assert.ok(acknowledged.length > 200);
      for (const receiver of receivers) {
        await receiver.closed;
        const got = receiver.messages.map((message) => payloadText(message));
        assert.ok(got.length >= acknowledged.length, `${got.length} delivered, ${acknowledged.length} acknowledged`);
        assert.deepEqual(got.slice(0, acknowledged.length), acknowledged);
      }
      assert.ok(!broker.log.some((line) => line['level'] === 'error'));
    });
  }

  test('a client that takes nothing does not hold up the stop beyond shutdown.timeout', async (t) => {
    const timeoutMilliseconds = 1500;
    const broker = await stage(t, {
      shards: 2,
      'limits.outboundBytes': 65_536,
      'shutdown.timeout': `${timeoutMilliseconds}ms`,
      ...WATCHED,
    });
    const watch = await CounterWatch.open(broker.port);
    const stuck = await connect(broker.port, { clientId: clientIdOn(1, 2, 'stuck') });
    stuck.pauseReading();
    const publisher = await connect(broker.port, { clientId: clientIdOn(0, 2) });
    const block = Buffer.alloc(32 * 1024);
    await watch.until('the client is stuck', () => {
      for (let i = 0; i < 400; i++) void publisher.publish(`first/p2p/${stuck.clientId}`, block);
      return watch.value('publish/dropped/outbound-full') > 0;
    });
    await publisher.ping();
    const begun = performance.now();
    assert.equal(await broker.stop(), 0);
    const taken = performance.now() - begun;
    assert.ok(taken < timeoutMilliseconds + 1500, `the stop took ${taken.toFixed(0)} ms`);
    assert.equal((await publisher.closed).code, 0x8b, 'others are told all the same');
    await stuck.destroy();
  });

  test('a second SIGTERM ends a stop that takes long at once, with exit code 1', async (t) => {
    const broker = await stage(t, { shards: 2, 'limits.outboundBytes': 65_536, 'shutdown.timeout': '600s', ...WATCHED });
    const watch = await CounterWatch.open(broker.port);
    const stuck = await connect(broker.port, { clientId: clientIdOn(1, 2, 'stuck'), properties: { sessionExpiryInterval: 60 } });
    stuck.pauseReading();
    const publisher = await connect(broker.port, { clientId: clientIdOn(0, 2) });
    const block = Buffer.alloc(32 * 1024);
    await watch.until('the client is stuck', () => {
      for (let i = 0; i < 400; i++) void publisher.publish(`first/p2p/${stuck.clientId}`, block);
      return watch.value('publish/dropped/outbound-full') > 0;
    });
    const ended = broker.stop();
    // The first signal has been taken when clients are told; a second one within 150 ms would count as the same key press.
    await publisher.closed;
    const begun = performance.now();
    while (performance.now() - begun < 200) await new Promise((resolve) => setImmediate(resolve));
    process.kill(broker.pid, 'SIGTERM');
    assert.equal(await ended, 1);
    await stuck.destroy();
  });

  test('nobody is accepted after SIGTERM', async (t) => {
    const broker = await stage(t, { shards: 2 });
    const client = await connect(broker.port, { clientId: 'present' });
    const stopped = broker.stop();
    await client.closed;
    await assert.rejects(connect(broker.port, { clientId: 'late' }));
    assert.equal(await stopped, 0);
  });
});
