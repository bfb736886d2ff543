/*
 * Goal: the fault layer makes the disk below LMDB fail as it says, when it says, and nothing else. What the tests of the broker find rests on that.
 * Method: a small process that writes with LMDB under the layer; each kind of fault for a while, and one call alone; then SIGKILL, and a look at the directory
 * without the layer.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { FaultLayer, type FaultMode } from './fault-layer.ts';
import { Writer } from './writer.ts';

function stageLayer(t: TestContext): { layer: FaultLayer; folder: string } {
  const folder = mkdtempSync(join(tmpdir(), 'onehop-faults-'));
  const layer = new FaultLayer(folder);
  t.after(() => {
    layer.close();
    rmSync(folder, { recursive: true });
  });
  return { layer, folder };
}

/** What is in the directory, for a process that nothing stands in the way of. */
async function keysIn(t: TestContext, directory: string): Promise<readonly string[]> {
  const writer = new Writer(t, directory, {});
  const { keys, error } = await writer.ask('keys');
  assert.equal(error, undefined);
  await writer.kill();
  return keys!;
}

test('without a fault the layer counts and changes nothing', async (t) => {
  const { layer } = stageLayer(t);
  const writer = new Writer(t, layer.directory, layer.environment);
  assert.deepEqual(await writer.ask('put', 'first'), {});
  const [writes, syncs] = [layer.writes, layer.syncs];
  assert.deepEqual(await writer.ask('put', 'second'), {});
  assert.ok(layer.writes > writes && layer.syncs > syncs && layer.resizes > 0, `${layer.writes} ${layer.syncs} ${layer.resizes}`);
  assert.equal(layer.injected, 0);
  await writer.kill();
  assert.deepEqual(await keysIn(t, layer.directory), ['first', 'second']);
});

/** LMDB takes no room; what does is tried in `outage.test.ts`. */
type LmdbMode = Exclude<FaultMode, 'none' | 'no-room' | 'death' | 'renamed-death'>;

const errors: Readonly<Record<LmdbMode, RegExp>> = {
  'write-error': /Input\/output error/,
  'short-write': /Input\/output error/,
  'sync-error': /Input\/output error/,
  'no-space': /No space left/,
  'header-error': /Input\/output error/,
};

for (const mode of Object.keys(errors) as LmdbMode[]) {
  test(`${mode}: commits fail while it lasts, other files do not, and what was committed stays`, async (t) => {
    const { layer, folder } = stageLayer(t);
    const writer = new Writer(t, layer.directory, layer.environment);
    assert.deepEqual(await writer.ask('put', 'before'), {});
    layer.arm(mode);
    assert.match((await writer.ask('put', 'during')).error ?? '', errors[mode]);
    assert.ok(layer.injected > 0);
    const elsewhere = join(folder, 'elsewhere');
    assert.deepEqual(await writer.ask('write-elsewhere', elsewhere), {});
    assert.equal(readFileSync(elsewhere).length, 10_000);
    layer.disarm();
    const { injected } = layer;
    // After a fault in the page that says which commit is the last, LMDB does nothing more until it is opened again.
    assert.deepEqual(await writer.ask('reopen'), {});
    assert.deepEqual(await writer.ask('put', 'later'), {});
    assert.equal(layer.injected, injected);
    await writer.kill();
    const keys = await keysIn(t, layer.directory);
    assert.ok(keys.includes('before') && keys.includes('later'), keys.join());
  });

  test(`${mode}: one call alone`, async (t) => {
    const { layer } = stageLayer(t);
    const writer = new Writer(t, layer.directory, layer.environment);
    assert.deepEqual(await writer.ask('put', 'before'), {});
    layer.arm(mode, 1);
    assert.match((await writer.ask('put', 'during')).error ?? '', errors[mode]);
    await writer.ask('reopen');
    assert.deepEqual(await writer.ask('put', 'later'), {});
    assert.equal(layer.injected, 1);
    await writer.kill();
    const keys = await keysIn(t, layer.directory);
    assert.ok(keys.includes('before') && keys.includes('later'), keys.join());
  });
}

test('only the call with the number that was said fails', async (t) => {
  const { layer } = stageLayer(t);
  const writer = new Writer(t, layer.directory, layer.environment);
  assert.deepEqual(await writer.ask('put', 'first'), {});
  layer.arm('sync-error', 5);
  const failed: string[] = [];
  for (const key of ['a', 'b', 'c', 'd', 'e', 'f']) {
    if ((await writer.ask('put', key)).error !== undefined) failed.push(key);
    if (failed.length > 0) await writer.ask('reopen');
  }
  assert.equal(failed.length, 1);
  assert.equal(layer.injected, 1);
  assert.notEqual(failed[0], 'a');
});
