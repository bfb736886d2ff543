/** Goal: whoever waits again and again leaves nothing behind, and an end is heard at once. Method: the wait itself, and the listeners of its signal. */
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import test from 'node:test';
import { pause } from '../../src/cli/live-screen.ts';

test('a wait leaves no listener, and ends with the command', async () => {
  const stopped = new AbortController();
  for (let i = 0; i < 20; i++) await pause(0, stopped);
  assert.equal(getEventListeners(stopped.signal, 'abort').length, 0);
  const long = pause(3_600_000, stopped);
  stopped.abort();
  await long;
  await pause(3_600_000, stopped);
});
