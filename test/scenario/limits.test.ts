/*
 * Goal: every limit of the configuration holds, is told by the reason code meant for it, announced where CONNACK has a property, and counted.
 * Method: for each limit a broker with a small value, one step within it and one beyond, with an MQTT 5 client and, where the answer differs, an older one;
 * and the way back once there is room again.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { connect, payloadText, Refusal, type TestClient } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { CounterWatch, inParallel, stage, WATCHED } from './observe.ts';
import { connectBytes, RawConnection } from './raw-connection.ts';

const SHARDS = 2;
const persistent = { cleanStart: false, properties: { sessionExpiryInterval: 3600 } } as const;

function refusedWith(code: number): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof Refusal, String(error));
    assert.equal(error.connack.code, code);
    return true;
  };
}

/** A session that is away, with one subscription. */
async function absent(port: number, filter: string): Promise<string> {
  const client = await connect(port, { clientId: clientIdOn(1, SHARDS, 'absent'), ...persistent });
  await client.subscribe(filter, { qos: 1 });
  await client.disconnect();
  return client.clientId;
}

describe('limits', { concurrency: 5 }, () => {
  test('connections: one more is told 0x97 (return code 3 before MQTT 5), and one may come when one has gone', async (t) => {
    const broker = await stage(t, { shards: SHARDS, 'limits.connections': 4, ...WATCHED });
    const watch = await CounterWatch.open(broker.port);
    const clients: TestClient[] = [];
    for (let i = 0; i < 3; i++) clients.push(await connect(broker.port, { clientId: clientIdOn(i % SHARDS, SHARDS) }));
    for (let shard = 0; shard < SHARDS; shard++) {
      await assert.rejects(connect(broker.port, { clientId: clientIdOn(shard, SHARDS) }), refusedWith(0x97));
      await assert.rejects(connect(broker.port, { clientId: clientIdOn(shard, SHARDS), version: 4 }), refusedWith(3));
    }
    await watch.reaches('connections/refused', (value) => value === 4);
    await clients[0]!.disconnect();
    await watch.reaches('clients/connected', (value) => value === 3);
    await connect(broker.port, { clientId: clientIdOn(1, SHARDS) });
    assert.equal(await broker.stop(), 0);
  });

  test('sessions: one more is told 0x97; a client that has a session comes back all the same', async (t) => {
    const broker = await stage(t, { shards: SHARDS, 'limits.sessions': 3 });
    const ids: string[] = [];
    for (let i = 0; i < 3; i++) {
      const client = await connect(broker.port, { clientId: clientIdOn(i % SHARDS, SHARDS), ...persistent });
      ids.push(client.clientId);
      await client.disconnect();
    }
    await assert.rejects(connect(broker.port, { clientId: clientIdOn(0, SHARDS) }), refusedWith(0x97));
    await assert.rejects(connect(broker.port, { clientId: clientIdOn(1, SHARDS), version: 4 }), refusedWith(3));
    for (const clientId of ids) {
      const client = await connect(broker.port, { clientId, ...persistent });
      assert.equal(client.connack.sessionPresent, true);
      await client.disconnect();
    }
    const first = await connect(broker.port, { clientId: ids[0]!, cleanStart: true });
    await first.disconnect();
    await connect(broker.port, { clientId: clientIdOn(0, SHARDS) });
    assert.equal(await broker.stop(), 0);
  });

  test('connect timeout: who has not sent a whole CONNECT in time is closed', async (t) => {
    const broker = await stage(t, { shards: SHARDS, 'limits.connectTimeout': '2s', ...WATCHED });
    const watch = await CounterWatch.open(broker.port);
    const count = 200;
    const begun = performance.now();
    const connections: RawConnection[] = [];
    await inParallel(count, 100, async (index) => {
      const connection = new RawConnection(broker.port, `127.0.0.${2 + (index % 50)}`);
      connections.push(connection);
      if (index % 2 === 0) connection.send(connectBytes('half').subarray(0, 12));
      await connection.established();
    });
    await Promise.race(connections.map((connection) => connection.closed));
    const taken = performance.now() - begun;
    assert.ok(taken >= 1900, `closed after ${taken.toFixed(0)} ms`);
    await Promise.all(connections.map((connection) => connection.closed));
    assert.ok(connections.every((connection) => connection.receivedBytes === 0));
    await watch.reaches('connections/opening', (value) => value === 0);
    await watch.reaches('connections/refused', (value) => value === count);
    const late = broker.log.filter((line) => line['msg'] === 'connection closed: no CONNECT in time').length;
    // A second has so many lines; the others are counted.
    assert.ok(late > 0 && late <= count);
    assert.equal(late + (await watch.fresh('log/suppressed')), count);
    await connect(broker.port, { clientId: 'in-time' });
    assert.equal(await broker.stop(), 0);
  });

  test('half-open connections are bounded: one too many is closed at once', async (t) => {
    // None of them is closed by time, however long it takes to open them.
    const broker = await stage(t, { shards: SHARDS, 'limits.connectTimeout': '10m', 'limits.connections': 10, ...WATCHED });
    const watch = await CounterWatch.open(broker.port);
    const bound = 1024;
    const extra = 300;
    const connections: RawConnection[] = [];
    let closedCount = 0;
    await inParallel(bound + extra, 100, async (index) => {
      const connection = new RawConnection(broker.port, `127.0.0.${2 + (index % 50)}`);
      connections.push(connection);
      void connection.closed.then(() => closedCount++);
      await connection.established();
    });
    // Each shard may let in one that another has not counted yet.
    await watch.reaches('connections/refused', (value) => value <= extra && value >= extra - SHARDS);
    await watch.reaches('connections/opening', (value) => value >= bound && value <= bound + SHARDS);
    assert.ok(closedCount <= extra, `${closedCount} were closed`);
    await Promise.all(connections.map((connection) => connection.destroy()));
    await watch.reaches('connections/opening', (value) => value === 0);
    await connect(broker.port, { clientId: 'in-time' });
    assert.equal(await broker.stop(), 0);
  });

  test('packet size: announced; a larger packet is answered 0x95 or closed; a larger CONNECT is closed', async (t) => {
    const broker = await stage(t, { shards: SHARDS, 'limits.packetSize': 1024 });
    const client = await connect(broker.port, { clientId: 'five' });
    assert.equal(client.connack.properties.maximumPacketSize, 1024);
    // Fixed header 3, topic 3, packet identifier 2, property length 1.
    assert.equal((await client.publish('t', Buffer.alloc(1024 - 9), { qos: 1 })).code, 0x10);
    void client.publish('t', Buffer.alloc(1024 - 8), { qos: 1 });
    assert.equal((await client.closed).code, 0x95);
    const older = await connect(broker.port, { clientId: 'four', version: 4 });
    void older.publish('t', Buffer.alloc(2000));
    assert.deepEqual(await older.closed, {});
    const large = new RawConnection(broker.port);
    large.send(connectBytes('x', { username: 'u'.repeat(2000) }));
    await large.closed;
    // A header that promises more than the limit is enough.
    const liar = new RawConnection(broker.port);
    liar.send(Uint8Array.of(0x10, 0xff, 0xff, 0x7f, 0x00));
    await liar.closed;
    assert.equal(await broker.stop(), 0);
  });

  test('client identifier: too long is told 0x85 (return code 2)', async (t) => {
    const broker = await stage(t, { shards: SHARDS, 'limits.clientIdSize': 30 });
    await connect(broker.port, { clientId: 'a'.repeat(30) });
    await assert.rejects(connect(broker.port, { clientId: 'a'.repeat(31) }), refusedWith(0x85));
    await assert.rejects(connect(broker.port, { clientId: 'b'.repeat(31), version: 4 }), refusedWith(2));
    assert.equal(await broker.stop(), 0);
  });

  test('topic levels: PUBACK and PUBREC 0x90, SUBACK 0x8f (0x80), CONNACK 0x90 for a Will', async (t) => {
    const broker = await stage(t, { shards: SHARDS, 'limits.topicLevels': 3 });
    const client = await connect(broker.port, { clientId: 'five' });
    assert.deepEqual(
      (
        await client.subscribe([
          { filter: 'a/b/c', qos: 2 },
          { filter: 'a/b/c/d', qos: 2 },
          { filter: '+/+/+/#', qos: 2 },
        ])
      ).codes,
      [2, 0x8f, 0x8f],
    );
    for (const qos of [1, 2]) {
      assert.equal((await client.publish('a/b/c', '', { qos })).code, 0);
      assert.equal((await client.publish('a/b/c/d', '', { qos })).code, 0x90);
    }
    const older = await connect(broker.port, { clientId: 'four', version: 4 });
    assert.deepEqual((await older.subscribe('a/b/c/d')).codes, [0x80]);
    await assert.rejects(connect(broker.port, { clientId: 'willing', will: { topic: 'a/b/c/d' } }), refusedWith(0x90));
    assert.equal(await broker.stop(), 0);
  });

  test('subscriptions per client: 0x97 (0x80); replacing one counts once, and UNSUBSCRIBE makes room', async (t) => {
    const broker = await stage(t, { shards: SHARDS, 'limits.subscriptionsPerClient': 3, ...WATCHED });
    const watch = await CounterWatch.open(broker.port);
    for (const version of [4, 5] as const) {
      const client = await connect(broker.port, { clientId: `v${version}`, version });
      const { codes } = await client.subscribe(['a', 'b', '$share/g/c', 'd'].map((filter) => ({ filter, qos: 1 })));
      assert.deepEqual(codes, [1, 1, 1, version === 5 ? 0x97 : 0x80]);
      assert.deepEqual((await client.subscribe('a', { qos: 2 })).codes, [2]);
      await client.unsubscribe('b');
      assert.deepEqual((await client.subscribe('d', { qos: 1 })).codes, [1]);
    }
    await watch.reaches('subscriptions/count', (value) => value === 7);
    assert.equal(await broker.stop(), 0);
  });

  test('in-flight window: no more than the smaller of both sides is sent without acknowledgement', async (t) => {
    const broker = await stage(t, { shards: SHARDS, 'limits.inflight': 5 });
    const publisher = await connect(broker.port, { clientId: clientIdOn(0, SHARDS) });
    for (const [receiveMaximum, window] of [
      [2, 2],
      [100, 5],
    ] as const) {
      const receiver = await connect(broker.port, { clientId: clientIdOn(1, SHARDS), autoAck: false, properties: { receiveMaximum } });
      for (let i = 0; i < 20; i++) assert.equal((await publisher.publish(`first/p2p/${receiver.clientId}`, String(i), { qos: 1 })).code, 0);
      await receiver.ping();
      assert.equal(receiver.messages.length, window);
      for (let i = 0; i < 20; i++) {
        const message = await receiver.next();
        assert.equal(payloadText(message), String(i));
        receiver.ack(message);
      }
    }
    assert.equal(await broker.stop(), 0);
  });

  test('Receive Maximum of the broker: announced; one more QoS 2 message without PUBREL ends the connection with 0x93', async (t) => {
    const broker = await stage(t, { shards: SHARDS, 'mqtt.receiveMaximum': 5 });
    for (let shard = 0; shard < SHARDS; shard++) {
      const target = await connect(broker.port, { clientId: clientIdOn(1, SHARDS, 'target') });
      const client = await connect(broker.port, { clientId: clientIdOn(shard, SHARDS) });
      assert.equal(client.connack.properties.receiveMaximum, 5);
      const publish = (): Promise<unknown> => client.publish(`first/p2p/${target.clientId}`, 'x', { qos: 2, release: false });
      // Pipelined: none has its PUBREC when the last one is sent.
      await Promise.all([publish(), publish(), publish(), publish(), publish()]);
      await client.release(1);
      await publish();
      void publish();
      assert.equal((await client.closed).code, 0x93);
      assert.equal((await target.nextMany(6)).length, 6);
    }
    assert.equal(await broker.stop(), 0);
  });

  for (const [name, options, least, most] of [
    ['messages', { 'limits.queueMessages': 10 }, 10, 10],
    // What the broker needs to keep a message counts besides its topic and payload.
    ['bytes', { 'limits.queueBytes': 10_300 }, 7, 10],
  ] as const) {
    test(`queue ${name}: the next one is refused with 0x97 and counted; what was taken arrives`, async (t) => {
      const broker = await stage(t, { shards: SHARDS, ...options, ...WATCHED });
      const watch = await CounterWatch.open(broker.port);
      const clientId = await absent(broker.port, 'queue');
      const body = (i: number): string => String(i).padEnd(1000, '.');
      for (let shard = 0; shard < SHARDS; shard++) {
        const events = await connect(broker.port, { clientId: clientIdOn(1, SHARDS, 'events') });
        await events.subscribe('$events/message_dropped');
        const publisher = await connect(broker.port, { clientId: clientIdOn(shard, SHARDS) });
        const topic = (i: number): string => (i % 2 === 0 ? 'queue' : `q/p2p/${clientId}`);
        let count = 0;
        for (let code = 0; code === 0; ) {
          ({ code } = await publisher.publish(topic(count), body(count), { qos: 1 }));
          if (code === 0) count++;
          else assert.equal(code, 0x97);
        }
        assert.ok(count >= least && count <= most, `${count} were taken`);
        for (const qos of [1, 2]) {
          for (const i of [count, count + 1]) assert.equal((await publisher.publish(topic(i), body(i), { qos })).code, 0x97);
        }
        const older = await connect(broker.port, { clientId: clientIdOn(shard, SHARDS), version: 4 });
        await older.publish('queue', body(0), { qos: 1 });
        await watch.reaches('publish/dropped/queue-full', (value) => value === 6 * (shard + 1));
        assert.equal(watch.value('queued/messages'), count);
        for (let i = 0; i < 6; i++) {
          const event = JSON.parse(payloadText(await events.next())) as { clientid: string; reason: string };
          assert.deepEqual([event.clientid, event.reason], [clientId, 'queue_full']);
        }
        const back = await connect(broker.port, { clientId, ...persistent });
        assert.deepEqual(
          (await back.nextMany(count)).map((message) => payloadText(message)),
          Array.from({ length: count }, (_, i) => body(i)),
        );
        await back.expectNone();
        await back.disconnect();
        await events.disconnect();
      }
      assert.equal(await broker.stop(), 0);
    });
  }

  test('queue with drop-oldest: the newest stay, the sender is told success', async (t) => {
    const broker = await stage(t, { shards: SHARDS, 'limits.queueMessages': 10, 'queue.overflow': 'drop-oldest', ...WATCHED });
    const watch = await CounterWatch.open(broker.port);
    const clientId = await absent(broker.port, 'queue');
    const publisher = await connect(broker.port, { clientId: clientIdOn(0, SHARDS) });
    for (let i = 0; i < 25; i++) assert.equal((await publisher.publish('queue', String(i), { qos: 1 })).code, 0);
    await watch.reaches('publish/dropped/queue-full', (value) => value === 15);
    const back = await connect(broker.port, { clientId, ...persistent });
    assert.deepEqual(
      (await back.nextMany(10)).map((message) => payloadText(message)),
      Array.from({ length: 10 }, (_, i) => String(15 + i)),
    );
    await back.expectNone();
    assert.equal(await broker.stop(), 0);
  });

  test('queued bytes of the process: refused with 0x97 while full, whoever it is for, and taken again when there is room', async (t) => {
    // Memory is what is counted, so without a store; with one, messages that wait are references.
    const limits = { 'limits.queuedBytesTotal': '1MiB', 'limits.queueMessages': 100_000, 'store.enabled': false };
    const broker = await stage(t, { shards: SHARDS, ...limits, ...WATCHED });
    const watch = await CounterWatch.open(broker.port);
    const ids: string[] = [];
    for (let i = 0; i < 8; i++) ids.push(await absent(broker.port, `total/${i}`));
    const publisher = await connect(broker.port, { clientId: clientIdOn(0, SHARDS) });
    const body = Buffer.alloc(10_000);
    const taken = new Array<number>(ids.length).fill(0);
    let refused = 0;
    for (let i = 0; i < 400; i++) {
      const { code } = await publisher.publish(`first/p2p/${ids[i % ids.length]}`, body, { qos: 1 });
      if (code === 0) taken[i % ids.length]!++;
      else {
        assert.equal(code, 0x97);
        refused++;
      }
    }
    const bytes = taken.reduce((sum, count) => sum + count, 0) * body.length;
    assert.ok(
      refused > 250 && bytes > 2 ** 20 - body.length && bytes < 2 ** 20 + 20 * body.length,
      `${refused} refused, ${bytes} bytes taken`,
    );
    await watch.reaches('publish/dropped/process-full', (value) => value === refused);
    // Clients that are online are not harmed.
    const online = await connect(broker.port, { clientId: clientIdOn(1, SHARDS) });
    assert.equal((await publisher.publish(`first/p2p/${online.clientId}`, 'x', { qos: 1 })).code, 0);
    assert.equal(payloadText(await online.next()), 'x');
    for (const [i, clientId] of ids.entries()) {
      const back = await connect(broker.port, { clientId, ...persistent });
      assert.equal((await back.nextMany(taken[i]!)).length, taken[i]);
      await back.expectNone();
      await back.disconnect();
    }
    await watch.reaches('queued/bytes', (value) => value === 0);
    assert.equal((await publisher.publish(`first/p2p/${ids[0]}`, body, { qos: 1 })).code, 0);
    assert.equal(await broker.stop(), 0);
  });

  test('session expiry ceiling: told in CONNACK, applied to MQTT 3.1.1 too, and not raised by DISCONNECT', async (t) => {
    const broker = await stage(t, { shards: SHARDS, 'limits.sessionExpiry': '1s', ...WATCHED });
    const watch = await CounterWatch.open(broker.port);
    const five = await connect(broker.port, { clientId: clientIdOn(0, SHARDS), ...persistent });
    assert.equal(five.connack.properties.sessionExpiryInterval, 1);
    const four = await connect(broker.port, { clientId: clientIdOn(1, SHARDS), version: 4, cleanStart: false });
    const third = await connect(broker.port, { clientId: clientIdOn(1, SHARDS), ...persistent });
    await five.disconnect();
    await four.disconnect();
    await third.disconnect(0, { sessionExpiryInterval: 3600 });
    await watch.reaches('sessions/expired', (value) => value === 3);
    assert.equal(watch.value('clients/total'), 1);
    for (const { clientId, version } of [five, four, third]) {
      const back = await connect(broker.port, { clientId, version, cleanStart: false });
      assert.equal(back.connack.sessionPresent, false);
    }
    assert.equal(await broker.stop(), 0);
  });

  test('retained messages: one more topic is told 0x97 and not kept; a known topic may change', async (t) => {
    const broker = await stage(t, { shards: 1, 'limits.retainedMessages': 8, 'mqtt.sysInterval': 'never' });
    const client = await connect(broker.port, { clientId: 'keeper' });
    const retain = async (topic: string): Promise<number> => (await client.publish(topic, 'x', { qos: 1, retain: true })).code;
    for (let i = 0; i < 8; i++) assert.equal(await retain(`kept/${i}`), 0x10);
    assert.equal(await retain('kept/8'), 0x97);
    assert.equal(await retain('kept/0'), 0x10);
    await client.publish('kept/1', '', { qos: 1, retain: true });
    assert.equal(await retain('kept/8'), 0x10);
    await client.subscribe('kept/#');
    assert.deepEqual((await client.nextMany(8)).map((message) => message.topic).sort(), [
      'kept/0',
      ...[2, 3, 4, 5, 6, 7, 8].map((i) => `kept/${i}`),
    ]);
    assert.equal(await broker.stop(), 0);
  });
});
