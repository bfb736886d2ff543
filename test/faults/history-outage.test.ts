/*
 * Goal: a history whose disk fails or is full costs no message and no publisher anything. Whoever asks meanwhile is answered, or told that there is no answer; what was
 * taken is written when the disk works again, and what is lost is counted. Where the disk is full, the oldest messages make room for the newest.
 * Method: the fault layer below the directory of the history alone, a publisher that goes on, questions all the time, and a count of everything in the end.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { describe, type TestContext } from 'node:test';
import { connect, type TestClient } from '../support/client.ts';
import { assertInOrder, HistoryReader, textOf } from '../support/history.ts';
import { type HttpBroker, startHttpBroker } from '../support/http.ts';
import { FaultLayer, type FaultMode } from './fault-layer.ts';
import { underLayer } from './faulty-broker.ts';

const MEGABYTE = 1024 * 1024;
/** Faults after which an outage may end: it is tried again once a second. */
const FAULTS_MIN = 3;
const OUTAGE_MILLISECONDS_MAX = 30_000;

interface Stage {
  readonly layer: FaultLayer;
  readonly broker: HttpBroker;
  readonly history: HistoryReader;
  readonly publisher: TestClient;
}

async function stage(t: TestContext, options: Record<string, unknown> = {}): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), 'onehop-faults-'));
  const layer = new FaultLayer(folder);
  const start = (): Promise<HttpBroker> =>
    startHttpBroker(t, { shards: 2, 'history.enabled': true, 'history.path': layer.directory, ...options });
  const broker = await underLayer(layer, start);
  t.after(async () => {
    await broker.kill();
    layer.close();
    rmSync(folder, { recursive: true });
  });
  const publisher = await connect(broker.port, { clientId: 'publisher' });
  return { layer, broker, history: new HistoryReader(broker.url, broker.keys.operator), publisher };
}

function count(broker: HttpBroker, text: RegExp): number {
  return broker.log.filter(({ msg }) => text.test(String(msg))).length;
}

/** Publishes `from`, `from` + 1, … with payloads of so many bytes. */
async function publish({ publisher }: Stage, from: number, to: number, bytes: number): Promise<void> {
  for (let i = from; i < to; i += 16) {
    const some = Array.from({ length: Math.min(16, to - i) }, (_, n) => i + n);
    const codes = await Promise.all(some.map((n) => publisher.publish(`outage/${n % 10}`, `${n} `.padEnd(bytes, 'x'), { qos: 1 })));
    for (const { code } of codes) assert.ok(code < 0x80, `publishing goes on: ${code}`);
  }
}

const MODES: Readonly<Record<Exclude<FaultMode, 'none' | 'no-room' | 'short-write' | 'death' | 'renamed-death'>, boolean>> = {
  'write-error': true,
  'no-space': true,
  // LMDB meets these itself.
  'sync-error': false,
  'header-error': false,
};

describe('while the disk of the history fails', () => {
  for (const [mode, waits] of Object.entries(MODES) as [keyof typeof MODES, boolean][]) {
    test(`${mode}: questions are answered or refused, messages go on, and are there in the end`, async (t) => {
      const scene = await stage(t);
      const { layer, broker, history } = scene;
      await publish(scene, 0, 100, 100);
      await history.until('all is written', ({ waitingBytes }) => waitingBytes === 0);
      const before = layer.injected;
      layer.arm(mode, 0, waits);
      const statuses = new Set<number>();
      const end = Date.now() + OUTAGE_MILLISECONDS_MAX;
      let published = 100;
      while (layer.injected < before + FAULTS_MIN) {
        assert.ok(Date.now() < end, `${layer.injected - before} faults`);
        await publish(scene, published, published + 8, 100);
        published += 8;
        for (const path of [
          '/api/v1/messages?topic=outage/1',
          '/api/v1/messages?filter=outage/%23&order=oldest',
          '/api/v1/message-history',
        ]) {
          const { status, code } = await history.status(path);
          statuses.add(status);
          if (status !== 200) assert.deepEqual([status, code], [503, 'unavailable'], path);
        }
      }
      // As long as LMDB itself has not failed, all that is there is found.
      assert.ok(waits ? statuses.size === 1 : statuses.has(200), `${[...statuses].join()}`);
      await broker.line(({ msg }) => /the history cannot be written/.test(String(msg)));
      layer.disarm();
      await broker.line(({ msg }) => /the history is written again/.test(String(msg)));
      await publish(scene, published, published + 50, 100);
      const { kept, dropped, lost } = await history.until('all is written', ({ waitingBytes }) => waitingBytes === 0);
      assert.deepEqual([kept, dropped, lost], [published + 50, 0, 0]);
      const found = await history.findAll();
      assertInOrder(found);
      assert.deepEqual(
        found.map((message) => Number.parseInt(textOf(message), 10)),
        Array.from({ length: published + 50 }, (_, n) => n),
      );
      assert.equal((await history.findAll('topic=outage/3')).length, Math.ceil((published + 50 - 3) / 10));
      assert.equal(count(broker, /the history cannot be written/), 1, 'it is told once');
      assert.equal(await broker.stop(), 0);
      // All is on disk, once.
      const again = await startHttpBroker(t, { 'history.enabled': true, 'history.path': layer.directory });
      assert.equal((await new HistoryReader(again.url, again.keys.operator).findAll()).length, published + 50);
    });
  }

  test('and more comes than memory is for: what is lost is counted', async (t) => {
    const scene = await stage(t, { shards: 1, 'history.buffer': '1MiB' });
    const { layer, history } = scene;
    await publish(scene, 0, 16, 1000);
    await history.until('all is written', ({ waitingBytes }) => waitingBytes === 0);
    layer.arm('write-error', 0, true);
    let published = 16;
    const end = Date.now() + OUTAGE_MILLISECONDS_MAX;
    for (let lost = 0; lost === 0; ) {
      assert.ok(Date.now() < end, 'something is lost in the end');
      await publish(scene, published, published + 64, 40_000);
      published += 64;
      ({ lost } = await history.facts());
    }
    layer.disarm();
    await scene.broker.line(({ msg }) => /the history is written again/.test(String(msg)));
    await publish(scene, published, published + 16, 1000);
    published += 16;
    const { kept, dropped, lost } = await history.until('all is written', ({ waitingBytes }) => waitingBytes === 0);
    assert.equal(kept + dropped, published);
    const metrics = await scene.broker.request('GET', '/metrics', { role: 'viewer' });
    assert.equal(/^onehop_history_lost_messages_total (\d+)$/m.exec(metrics.text)?.[1], String(lost));
    assert.match(metrics.text, /^onehop_history_waiting_messages 0$/m);
    const found = await history.findAll();
    assertInOrder(found);
    assert.equal(found.length, kept - lost);
    assert.ok(textOf(found.at(-1)!).startsWith(`${published - 1} `));
  });

  test('a stop is not held up, and the next start finds what was written', async (t) => {
    const scene = await stage(t);
    const { layer, broker, history } = scene;
    await publish(scene, 0, 50, 100);
    await history.until('all is written', ({ waitingBytes }) => waitingBytes === 0);
    layer.arm('write-error', 0, true);
    await publish(scene, 50, 60, 100);
    await broker.line(({ msg }) => /the history cannot be written/.test(String(msg)));
    await scene.publisher.disconnect();
    assert.equal(await broker.stop(), 0);
    const again = await startHttpBroker(t, { 'history.enabled': true, 'history.path': layer.directory });
    assert.equal(count(again, /damaged/), 0);
    assert.equal((await new HistoryReader(again.url, again.keys.operator).findAll()).length, 50);
  });
});

describe('a full disk', () => {
  test('takes the newest messages in the place of the oldest, and the file does not grow', async (t) => {
    const scene = await stage(t);
    const { layer, broker, history } = scene;
    // As a file system that others have filled: what was set aside can be written, and no more can be had.
    const PAYLOAD = 20_000;
    let published = 0;
    const more = async (): Promise<void> => {
      await publish(scene, published, published + 64, PAYLOAD);
      published += 64;
    };
    while (published * PAYLOAD < 20 * MEGABYTE) await more();
    await history.until('all is written', ({ waitingBytes }) => waitingBytes === 0);
    layer.arm('no-room');
    const file = join(layer.directory, 'data.mdb');
    const { blocks } = statSync(file);
    const end = Date.now() + 2 * OUTAGE_MILLISECONDS_MAX;
    for (let { evictedBytes } = await history.facts(); evictedBytes < 40 * MEGABYTE; { evictedBytes } = await history.facts()) {
      assert.ok(Date.now() < end, `${evictedBytes} bytes have made room`);
      await more();
    }
    const facts = await history.until('all is written', ({ waitingBytes }) => waitingBytes === 0);
    assert.ok(layer.injected > 0);
    assert.equal(layer.lmdbFaults, 0);
    assert.ok(statSync(file).size <= blocks * 512 && statSync(file).blocks === blocks, 'no page lies beyond what was set aside');
    assert.deepEqual([facts.lost, facts.failing], [0, false]);
    assert.equal(facts.kept + facts.dropped, published);
    const found = await history.findAll();
    assertInOrder(found);
    const numbers = found.map((message) => Number.parseInt(textOf(message), 10));
    assert.equal(numbers.at(-1), published - 1);
    assert.ok(numbers[0]! > 0 && numbers.length > 100, `${numbers.length} from ${numbers[0]} on`);
    if (facts.dropped === 0) assert.equal(numbers.length, published - numbers[0]!, 'none is missing between');
    assert.equal(count(broker, /the disk of the history is full/), 1);
    assert.equal(count(broker, /the history cannot be written/), 0);
    // And grows again when there is room.
    layer.disarm();
    const until = published * 2;
    while (published < until) await more();
    const later = await history.until('all is written', ({ waitingBytes }) => waitingBytes === 0);
    assert.equal(later.evictedBytes, facts.evictedBytes);
    assert.ok(statSync(file).blocks > blocks);
    assert.equal(await broker.stop(), 0);
  });

  test('from the start on leaves the broker without a history, until there is room', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'onehop-faults-'));
    const layer = new FaultLayer(folder);
    t.after(() => {
      layer.close();
      rmSync(folder, { recursive: true });
    });
    layer.arm('no-room');
    const start = (): Promise<HttpBroker> => startHttpBroker(t, { 'history.enabled': true, 'history.path': layer.directory });
    const broker = await underLayer(layer, start);
    const history = new HistoryReader(broker.url, broker.keys.operator);
    const publisher = await connect(broker.port, { clientId: 'publisher' });
    assert.ok((await publisher.publish('early', 'x', { qos: 1 })).code < 0x80);
    assert.deepEqual(await history.status('/api/v1/messages'), { status: 503, code: 'unavailable' });
    assert.equal(count(broker, /the history cannot be used/), 1);
    layer.disarm();
    await broker.line(({ msg }) => msg === 'the history was started anew');
    await publisher.publish('late', 'x', { qos: 1 });
    assert.deepEqual(
      (await history.findAll()).map(({ topic }) => topic),
      ['early', 'late'],
    );
    assert.equal(await broker.stop(), 0);
  });
});
