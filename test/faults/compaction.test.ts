/*
 * Goal: a compaction that is cut short leaves a whole store, the old one or the new one, wherever it is cut; and one that the disk fails leaves a broker that goes on.
 * Method: a broker under the fault layer that does nothing but compact. It is killed before the first call that leaves a trace on the disk, before the second, and so on
 * over all of them, and started again each time; then syncs fail, or no room is given, one call at a time. What clients find is compared.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { FRESH_DIRECTORY } from '../../src/store/log-store.ts';
import { isLong } from '../scenario/observe.ts';
import { connect } from '../support/client.ts';
import { type HttpBroker, startHttpBroker } from '../support/http.ts';
import { FaultLayer } from './fault-layer.ts';
import { underLayer } from './faulty-broker.ts';

const RETAINED = 20;
const QUEUED = 20;
/** Moments at which the broker is killed; with SCENARIO_LONG=1 all that there are. */
const DEATHS = 14;
/** Calls that are tried each alone. */
const CALLS_MAX = 40;
const PAYLOAD = 'x'.repeat(20_000);
const properties = { sessionExpiryInterval: 3600 };

function layerOf(t: TestContext): FaultLayer {
  const folder = mkdtempSync(join(tmpdir(), 'onehop-faults-'));
  const layer = new FaultLayer(folder);
  t.after(() => {
    layer.close();
    rmSync(folder, { recursive: true });
  });
  return layer;
}

/** A broker over the directory of the layer. It writes nothing by itself but what it is asked to. */
function start(t: TestContext, layer: FaultLayer): Promise<HttpBroker> {
  return underLayer(layer, () => startHttpBroker(t, { shards: 2, 'store.path': layer.directory, 'store.durability': 'fsync' }));
}

async function compact(broker: HttpBroker): Promise<{ status: number; code: string }> {
  const { status, json } = await broker.request('POST', '/api/v1/store/compact', { role: 'admin', body: {} });
  return { status, code: String(json.code) };
}

async function fill(port: number): Promise<void> {
  const away = await connect(port, { clientId: 'away', cleanStart: false, properties });
  await away.subscribe('queued', { qos: 1 });
  await away.disconnect();
  const writer = await connect(port, { clientId: 'writer' });
  for (let n = 0; n < RETAINED; n++) await writer.publish(`kept/${n}`, PAYLOAD, { qos: 1, retain: true });
  for (let n = 0; n < QUEUED; n++) await writer.publish('queued', `${n}${PAYLOAD}`, { qos: 1 });
  await writer.disconnect();
}

/** The retained messages are there. Whoever asks has no session that is stored. */
async function judgeRetained(port: number): Promise<void> {
  const reader = await connect(port, { clientId: 'reader' });
  await reader.subscribe('kept/#');
  const topics = new Set<string>();
  while (topics.size < RETAINED) {
    const { topic, payload } = await reader.next();
    assert.equal(Buffer.from(payload).toString(), PAYLOAD, topic);
    topics.add(topic);
  }
  await reader.disconnect();
}

/** All that was put into the store is there. The queue is not taken: nothing is acknowledged. */
async function judge(port: number): Promise<void> {
  await judgeRetained(port);
  const away = await connect(port, { clientId: 'away', cleanStart: false, autoAck: false, properties });
  assert.equal(away.connack.sessionPresent, true);
  for (let n = 0; n < QUEUED; n++) assert.equal(Buffer.from((await away.next()).payload).toString(), `${n}${PAYLOAD}`);
  await away.destroy();
}

test('killed at any moment of a compaction, the broker starts over the old store or the new one, whole', async (t) => {
  const layer = layerOf(t);
  let broker = await start(t, layer);
  await fill(broker.port);
  // One that is not killed counts the calls.
  layer.arm('death', Number.MAX_SAFE_INTEGER);
  assert.equal((await compact(broker)).status, 200);
  const calls = layer.matched;
  layer.disarm();
  await judge(broker.port);
  assert.ok(calls > 10, `${calls}`);
  t.diagnostic(`${calls} calls`);
  let deaths = 0;
  let halves = 0;
  // The last ones are those around the rename.
  const moments = Array.from({ length: calls }, (_, call) => call + 1).filter(
    (call) => isLong || call > calls - DEATHS / 2 || call % Math.ceil(calls / (DEATHS / 2)) === 1,
  );
  let isOver = false;
  for (let at = 0; !isOver; at++) {
    // A later compaction may need more calls than the one that was counted: it goes on to its end.
    const call = moments[at] ?? calls + 1 + at - moments.length;
    assert.ok(call < calls + CALLS_MAX, 'there is an end to the calls');
    layer.arm('death', call);
    const answer = await compact(broker).catch(() => null);
    if (answer !== null) {
      // It needed fewer calls than that.
      assert.equal(answer.status, 200);
      layer.disarm();
      isOver = call > calls;
      continue;
    }
    layer.disarm();
    deaths++;
    if (existsSync(join(layer.directory, FRESH_DIRECTORY, 'data.mdb'))) halves++;
    broker = await start(t, layer);
    assert.ok(!existsSync(join(layer.directory, FRESH_DIRECTORY)), `call ${call}: what was left over is taken away`);
    await judge(broker.port);
  }
  t.diagnostic(`${deaths} deaths, ${halves} of them left half of a new file`);
  assert.ok(deaths > moments.length / 2 && halves > 0, `${deaths} deaths, ${halves} halves of ${moments.length}`);
  assert.equal((await compact(broker)).status, 200);
  await judge(broker.port);
});

test('killed at the moment in which the new file has its name, the broker starts over the new one, whole', async (t) => {
  const layer = layerOf(t);
  const file = join(layer.directory, 'data.mdb');
  let broker = await start(t, layer);
  await fill(broker.port);
  const { ino } = statSync(file);
  layer.arm('renamed-death');
  await assert.rejects(compact(broker));
  layer.disarm();
  assert.notEqual(statSync(file).ino, ino);
  broker = await start(t, layer);
  assert.ok(!existsSync(join(layer.directory, FRESH_DIRECTORY)), 'what was left over is taken away');
  await judge(broker.port);
  assert.equal((await compact(broker)).status, 200);
  await judge(broker.port);
});

for (const mode of ['sync-error', 'no-room'] as const) {
  test(`${mode} in a compaction, one call at a time: the broker says so, and goes on with a whole store`, async (t) => {
    const layer = layerOf(t);
    const broker = await start(t, layer);
    await fill(broker.port);
    let failures = 0;
    let isOver = false;
    for (let call = 1; !isOver; call++) {
      assert.ok(call < CALLS_MAX, 'there is an end to the calls');
      const { ino } = statSync(join(layer.directory, 'data.mdb'));
      layer.arm(mode, call);
      const faults = layer.injected;
      const { status, code } = await compact(broker);
      layer.disarm();
      isOver = layer.injected === faults;
      const isReplaced = statSync(join(layer.directory, 'data.mdb')).ino !== ino;
      if (status === 503) {
        failures++;
        assert.equal(code, 'unavailable');
        assert.ok(!isReplaced, `call ${call}: the old file stays`);
      } else assert.deepEqual([status, isReplaced], [200, true], `call ${call}`);
      assert.ok(!existsSync(join(layer.directory, FRESH_DIRECTORY)), `call ${call}`);
      // Which writes nothing, so the next fault comes in the compaction.
      await judgeRetained(broker.port);
    }
    assert.ok(failures > 0);
    t.diagnostic(`${failures} failures`);
    const state = (await broker.request('GET', '/api/v1/store', { role: 'viewer' })).json;
    assert.deepEqual([state.isDegraded, state.compaction.state], [false, 'done']);
    const { text } = await broker.request('GET', '/metrics', { role: 'viewer' });
    assert.match(text, new RegExp(`onehop_store_compactions_total\\{[^}]*result="failed"[^}]*\\} ${failures}\\n`));
    await broker.kill();
    await judge((await start(t, layer)).port);
  });
}
