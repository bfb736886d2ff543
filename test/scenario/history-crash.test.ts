/*
 * Goal: the history over crashes. A shard that dies takes no message from it that was acknowledged before, and none twice; its successor goes on, and so do traces. The
 * history's own thread may die: the broker goes on without it, says so, and starts it anew. The whole process may die at any moment: what is older than a second is found.
 * Method: brokers whose threads are told to die, and SIGKILL under load, several times over one directory.
 */
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { describe, type TestContext } from 'node:test';
import { addApiKey } from '../../src/server/api-key-commands.ts';
import { connect } from '../support/client.ts';
import { assertInOrder, HistoryReader, textOf } from '../support/history.ts';
import { clientIdOn } from '../support/placement.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { type CrashableBroker, stageCrashable } from './crashable.ts';
import { drawSeed, Random } from './observe.ts';

interface Stage {
  readonly broker: CrashableBroker;
  readonly history: HistoryReader;
}

async function stage(t: TestContext, shards: number, options: Record<string, unknown> = {}): Promise<Stage> {
  const keyFile = join(mkdtempSync(join(tmpdir(), 'onehop-keys-')), 'api-keys.json');
  const key = addApiKey(keyFile, { id: 'test', role: 'operator', username: '', expiresAt: 0, remark: '' });
  const broker = await stageCrashable(t, {
    shards,
    'http.apiKeys': keyFile,
    'http.auditLog': '',
    'history.enabled': true,
    'history.path': storeDirectory(),
    listeners: [
      { type: 'tcp', bind: '127.0.0.1:0' },
      { type: 'http', bind: '127.0.0.1:0' },
    ],
    ...options,
  });
  return { broker, history: new HistoryReader(`http://127.0.0.1:${broker.ports[1]}`, key) };
}

/** Publishes these texts through a client on that shard, each acknowledged before the next. */
async function publish({ broker }: Stage, shards: number, shard: number, texts: readonly string[]): Promise<void> {
  const client = await connect(broker.port, { clientId: clientIdOn(shard, shards, 'pub') });
  for (const text of texts) await client.publish(`crash/${shard}`, text, { qos: 1 });
  await client.disconnect();
}

function numbered(name: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${name}-${i}`);
}

async function textsOf({ history }: Stage, topic: string): Promise<string[]> {
  return (await history.findAll(`topic=${topic}`)).map(textOf);
}

for (const shards of [1, 3]) {
  describe(`a shard dies, of ${shards}`, () => {
    test('and the history has what was before and what comes after, in order', async (t) => {
      const scene = await stage(t, shards);
      const expected = new Map<number, string[]>();
      const dead = shards - 1;
      for (const round of ['first', 'second', 'third']) {
        for (let shard = 0; shard < shards; shard++) {
          const texts = numbered(round, 20);
          await publish(scene, shards, shard, texts);
          expected.set(shard, [...(expected.get(shard) ?? []), ...texts]);
        }
        await scene.broker.crashAndWait(dead);
      }
      for (let shard = 0; shard < shards; shard++) assert.deepEqual(await textsOf(scene, `crash/${shard}`), expected.get(shard));
      const all = await scene.history.findAll();
      assert.equal(all.length, shards * 60);
      assertInOrder(all);
      // Also after everything has been read back from the disk.
      assert.equal((await scene.history.until('all is written', ({ waitingBytes }) => waitingBytes === 0)).lost, 0);
      assertInOrder(await scene.history.findAll());
      assert.equal(await scene.broker.stop(), 0);
    });

    test('and a trace goes on', async (t) => {
      const scene = await stage(t, shards);
      const { history, broker } = scene;
      const begun = await history.request('POST', '/api/v1/traces', { filter: 'crash/#', seconds: 600 });
      assert.equal(begun.status, 201);
      const { id } = (await begun.json()) as { id: string };
      for (let shard = 0; shard < shards; shard++) await publish(scene, shards, shard, ['before']);
      await history.until('all is written', ({ waitingBytes }) => waitingBytes === 0);
      const dead = shards - 1;
      await broker.crashAndWait(dead);
      for (let shard = 0; shard < shards; shard++) await publish(scene, shards, shard, ['after']);
      const trace = (await (await history.request('GET', `/api/v1/traces/${id}`)).json()) as { state: string };
      assert.equal(trace.state, 'running');
      // What the dead shard had noted is in the history; what comes later is in the trace, too.
      for (const message of await history.findAll()) {
        const reply = await history.request('GET', `/api/v1/messages/${message.id}/trace`);
        const { events } = (await reply.json()) as { events: { event: string }[] };
        assert.deepEqual(
          events.map(({ event }) => event),
          ['published', 'routed', 'dropped'],
          textOf(message),
        );
      }
      const events = (await (await history.request('GET', `/api/v1/traces/${id}/events?limit=1000`)).json()) as {
        data: { event: string; topic: string }[];
      };
      const published = events.data.filter(({ event, topic }) => event === 'published' && topic === `crash/${dead}`);
      assert.equal(published.length, 1, 'without what the dead shard had noted');
      assert.equal((await history.request('POST', `/api/v1/traces/${id}/end`)).status, 200);
      await broker.crashAndWait(dead);
      assert.notEqual(((await (await history.request('GET', `/api/v1/traces/${id}`)).json()) as { state: string }).state, 'running');
      assert.equal(await broker.stop(), 0);
    });
  });
}

describe("the history's thread dies", () => {
  test('and the broker goes on, says so, and starts it anew', async (t) => {
    const shards = 2;
    const scene = await stage(t, shards);
    const { broker, history } = scene;
    await publish(scene, shards, 0, numbered('before', 30));
    await history.until('all is written', ({ waitingBytes }) => waitingBytes === 0);
    const failures = /^the history failed/;
    for (let round = 0; round < 2; round++) {
      broker.crash('history');
      await broker.line(({ msg }) => failures.test(String(msg)), round + 1);
      // It is started anew after a second at the earliest.
      assert.deepEqual(await history.status('/api/v1/messages'), { status: 503, code: 'unavailable' });
      await publish(scene, shards, 1, numbered(`during-${round}`, 30));
      await broker.logged('the history was started anew', round + 1);
    }
    await publish(scene, shards, 0, numbered('after', 30));
    assert.deepEqual(await textsOf(scene, 'crash/0'), [...numbered('before', 30), ...numbered('after', 30)]);
    const during = await textsOf(scene, 'crash/1');
    const { kept, lost, dropped } = await history.until('all is written', ({ waitingBytes }) => waitingBytes === 0);
    assert.equal(dropped, 0);
    assert.equal(kept, 120);
    // The second time it does not take up what the first may have died of.
    assert.deepEqual(during, numbered('during-0', 30));
    assert.equal(lost, 30);
    assertInOrder(await history.findAll());
    assert.equal(broker.log.filter(({ msg }) => failures.test(String(msg))).length, 2);
    assert.equal(broker.log.filter(({ msg }) => /damaged/.test(String(msg))).length, 0);
    assert.equal(await broker.stop(), 0);
  });

  test('and what it had not written is counted', async (t) => {
    const scene = await stage(t, 1);
    const { broker, history } = scene;
    const client = await connect(broker.port, { clientId: 'publisher' });
    let isOver = false;
    let sent = 0;
    const load = (async () => {
      while (!isOver) {
        await Promise.all(Array.from({ length: 20 }, () => client.publish('crash/load', String(sent++), { qos: 1 })));
      }
    })();
    await history.until('some are kept', ({ kept }) => kept > 500);
    broker.crash('history');
    await broker.logged('the history was started anew', 1);
    await history.until('more are kept', ({ kept }) => kept > 1000);
    isOver = true;
    await load;
    const { kept, lost, dropped } = await history.until('all is written', ({ waitingBytes }) => waitingBytes === 0);
    assert.deepEqual([kept, dropped], [sent, 0]);
    const found = await history.findAll();
    assertInOrder(found);
    assert.equal(found.length, kept - lost);
    await client.disconnect();
    assert.equal(await broker.stop(), 0);
  });
});

test('SIGKILL under load: what is older than a second is found, once, and the file is whole', async (t) => {
  const random = new Random(drawSeed('history-kill'));
  const shards = 2;
  const path = storeDirectory();
  const store = storeDirectory();
  /** Texts that must be found, and those that may be. */
  const old = new Set<string>();
  const all = new Set<string>();
  for (let round = 0; round < 4; round++) {
    const scene = await stage(t, shards, { 'history.path': path, 'store.path': store });
    const { broker, history } = scene;
    assert.equal(broker.log.filter(({ msg }) => /damaged/.test(String(msg))).length, 0);
    const found = await history.findAll();
    assertInOrder(found);
    const texts = found.map((message) => textOf(message).trimEnd());
    assert.equal(new Set(texts).size, texts.length, 'each once');
    for (const text of texts) assert.ok(all.has(text), text);
    const there = new Set(texts);
    for (const text of old) assert.ok(there.has(text), `${text} is missing`);
    // What a crash has taken is gone for good.
    all.clear();
    for (const text of texts) {
      all.add(text);
      old.add(text);
    }
    const acknowledged: { readonly text: string; readonly at: number }[] = [];
    const end = performance.now() + 2500 + random.below(1500);
    const clients = await Promise.all(
      Array.from({ length: 4 }, (_, n) => connect(broker.port, { clientId: clientIdOn(n % shards, shards, 'load') })),
    );
    let number = 0;
    const load = clients.map(async (client, n) => {
      for (;;) {
        const text = `${round}-${number++}`;
        all.add(text);
        try {
          await client.publish(`kill/${n}`, text.padEnd(10 + random.below(3000)), { qos: 1 });
        } catch {
          return;
        }
        acknowledged.push({ text, at: performance.now() });
      }
    });
    // The answers to a client that asks say when it is time.
    const watch = await connect(broker.port, { clientId: 'watch' });
    while (performance.now() < end) await watch.ping();
    const killedAt = performance.now();
    await broker.kill();
    await Promise.all(load);
    let oldCount = 0;
    for (const { text, at } of acknowledged) {
      if (killedAt - at <= 1000) continue;
      old.add(text);
      oldCount++;
    }
    assert.ok(oldCount > 50, `${oldCount} are old`);
  }
});
