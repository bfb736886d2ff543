/*
 * Goal: quotas hold between threads and over real connections: what is acknowledged arrives, exactly; whoever is not read goes on later; all shards together stay within a
 * limit, also when one dies; each refusal is counted.
 * Method: brokers of two and four shards with limits that are used up at once; messages are counted, and where time matters for the bound it is measured, not waited for.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { connackCode, connect, payloadText, type TestClient } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { stageCrashable } from './crashable.ts';
import { CounterWatch, stage, WATCHED } from './observe.ts';

/** `count` messages of QoS 1, all at once. @returns payloads of those that were taken */
async function flood(client: TestClient, count: number, qos = 1): Promise<string[]> {
  const payloads = Array.from({ length: count }, (_, i) => `${client.clientId} ${i}`);
  const answers = await Promise.all(payloads.map((payload) => client.publish('flood', payload, { qos })));
  return payloads.filter((_, i) => answers[i]!.code < 0x80);
}

/** What a limit allows from a moment on. */
function bound(perSecond: number, burst: number, shards: number): () => number {
  const begin = Date.now();
  return () => burst + ((Date.now() - begin) / 1000) * perSecond + shards;
}

describe('quotas', { concurrency: 5 }, () => {
  for (const shards of [2, 4]) {
    test(`broker, ${shards} shards: nearly all for one shard, no more than all together, and what is taken arrives exactly`, async (t) => {
      const broker = await stage(t, { shards, 'quotas.broker.messagesIn': { perSecond: 10, burst: 300 }, ...WATCHED });
      const receiver = await connect(broker.port, { clientId: clientIdOn(0, shards) });
      await receiver.subscribe('flood', { qos: 1 });
      const watch = await CounterWatch.open(broker.port);
      const most = bound(10, 300, shards);
      const busy = await connect(broker.port, { clientId: clientIdOn(1, shards) });
      const taken = await flood(busy, 600);
      assert.ok(taken.length >= 270, `${taken.length} of one shard`);
      for (let shard = 0; shard < shards; shard++) {
        const client = await connect(broker.port, { clientId: clientIdOn(shard, shards) });
        taken.push(...(await flood(client, 300)));
      }
      assert.ok(taken.length <= most(), `${taken.length} taken, the bound is ${most()}`);
      const came = (await receiver.nextMany(taken.length)).map(payloadText);
      assert.deepEqual(came.sort(), taken.sort());
      await watch.reaches('quota/rejected', (value) => value === 600 + 300 * shards - taken.length);
      assert.equal(await broker.stop(), 0);
    });
  }

  test('QoS 0 in a flood is dropped, and QoS 1 of the same client and of others passes', async (t) => {
    const broker = await stage(t, { shards: 2, 'quotas.client.messagesIn': { perSecond: 1, burst: 200 }, ...WATCHED });
    const receiver = await connect(broker.port, { clientId: clientIdOn(0, 2) });
    await receiver.subscribe('#', { qos: 1 });
    const client = await connect(broker.port, { clientId: clientIdOn(1, 2) });
    const other = await connect(broker.port, { clientId: clientIdOn(1, 2) });
    const watch = await CounterWatch.open(broker.port);
    await flood(client, 1000, 0);
    const taken = [...(await flood(client, 40)), ...(await flood(other, 100))];
    assert.equal(taken.length, 140);
    await watch.reaches('publish/dropped/quota', (value) => value >= 800 && value <= 850);
    const dropped = watch.value('publish/dropped/quota');
    const came = (await receiver.nextMany(1000 - dropped + 140)).map(payloadText);
    assert.deepEqual(new Set(taken), new Set(came.filter((text) => taken.includes(text)).slice(-140)));
    assert.equal(await broker.stop(), 0);
  });

  test('MQTT 3.1.1 is not read for a while: all messages arrive, in order, and the connection stays', async (t) => {
    const broker = await stage(t, { shards: 2, 'quotas.client.messagesIn': { perSecond: 400, burst: 100 }, ...WATCHED });
    const receiver = await connect(broker.port, { clientId: clientIdOn(0, 2) });
    await receiver.subscribe('flood', { qos: 1 });
    const client = await connect(broker.port, { clientId: clientIdOn(1, 2), version: 4, keepAlive: 1 });
    const watch = await CounterWatch.open(broker.port);
    const taken = await flood(client, 500);
    const came = (await receiver.nextMany(500)).map(payloadText);
    assert.deepEqual(came, taken);
    await client.ping();
    await watch.reaches('quota/throttled', (value) => value > 0);
    await watch.reaches('quota/throttled/connections', (value) => value === 0);
    assert.equal(await broker.stop(), 0);
  });

  test('groups by username: messages and connections, in all shards', async (t) => {
    const broker = await stage(t, {
      shards: 2,
      'quotas.groups.by': 'username',
      'quotas.groups.messagesIn': { perSecond: 10, burst: 100 },
      'quotas.groups.connections': 2,
    });
    const most = bound(10, 100, 2);
    const red = [];
    for (const shard of [0, 1]) red.push(await connect(broker.port, { clientId: clientIdOn(shard, 2), username: 'red' }));
    assert.equal(await connackCode(broker.port, { clientId: clientIdOn(0, 2), username: 'red' }), 0x97);
    assert.equal(await connackCode(broker.port, { clientId: clientIdOn(1, 2), username: 'red', version: 4 }), 3);
    const taken = [...(await flood(red[0]!, 200)), ...(await flood(red[1]!, 200))];
    assert.ok(taken.length >= 90 && taken.length <= most(), `${taken.length}`);
    const blue = await connect(broker.port, { clientId: clientIdOn(0, 2), username: 'blue' });
    assert.equal((await flood(blue, 80)).length, 80);
    await red[0]!.disconnect();
    assert.equal(await connackCode(broker.port, { clientId: clientIdOn(1, 2), username: 'red' }), 0);
    assert.equal(await broker.stop(), 0);
  });

  test('a shard that dies takes nothing of a limit along', async (t) => {
    const shards = 2;
    const broker = await stageCrashable(t, { shards, 'quotas.broker.messagesIn': { perSecond: 1000, burst: 300 } });
    const most = bound(1000, 300, shards * 2);
    const before = await connect(broker.port, { clientId: clientIdOn(1, shards) });
    let taken = (await flood(before, 300)).length;
    await broker.crashAndWait(1);
    const after = await connect(broker.port, { clientId: clientIdOn(1, shards) });
    let passed = 0;
    // As many as the burst: with a part lost for good it would never come to that.
    while (passed < 300) passed += (await flood(after, 50)).length;
    taken += passed;
    assert.ok(taken <= most(), `${taken} taken, the bound is ${most()}`);
    assert.equal(await broker.stop(), 0);
  });

  test('connect rate: refused with 0x9F, 3 before MQTT 5', async (t) => {
    const broker = await stage(t, { shards: 2, 'quotas.broker.connectRate': { perSecond: 1, burst: 30 } });
    const codes: number[] = [];
    for (let i = 0; i < 60; i++) codes.push(await connackCode(broker.port, { clientId: clientIdOn(i % 2, 2), version: i < 50 ? 5 : 4 }));
    assert.deepEqual(new Set(codes), new Set([0, 0x9f, 3]));
    assert.equal(await broker.stop(), 0);
  });
});
