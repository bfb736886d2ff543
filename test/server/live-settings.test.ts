/*
 * Goal: however often somebody asks for the configuration to be read again, it is read once at a time, and once more for all who asked meanwhile.
 * Method: a reader that waits until the test lets it go on.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { createLog } from '../../src/base/log.ts';
import { loadConfig } from '../../src/server/config.ts';
import { LiveSettings } from '../../src/server/live-settings.ts';

test('many who ask while it is read get one more reading', async () => {
  const before = await loadConfig({ set: [] });
  const after = await loadConfig({ set: ['authorization.statements=[]'] });
  const readings: (() => void)[] = [];
  const changes: object[] = [];
  const read = (): Promise<typeof before> => new Promise((resolve) => readings.push(() => resolve(after)));
  const live = new LiveSettings(before, read, createLog('silent', {}));
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  live.changed = (change) => changes.push(change);
  live.reload();
  await turn();
  for (let i = 0; i < 1000; i++) live.reload();
  await turn();
  assert.equal(readings.length, 1);
  readings[0]!();
  await turn();
  assert.equal(readings.length, 2);
  readings[1]!();
  await turn();
  assert.equal(readings.length, 2);
  assert.deepEqual(changes, [{ authorization: after.settings.authorization }]);
  live.reload();
  await turn();
  assert.equal(readings.length, 3);
});
