/**
 * Goal: a thread that loads early goes on with what it is given, and ends by itself where it is not needed; nothing that it is told meanwhile is lost.
 * Method: threads that echo, started as the broker starts its own.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { EarlyThread } from '../../src/server/early-thread.ts';
import type { EchoStart } from './echo-thread.ts';

function load(): EarlyThread<EchoStart> {
  return new EarlyThread(new URL('./echo-thread.js', import.meta.url), { name: 'echo' });
}

async function answered(port: MessagePort): Promise<unknown> {
  const [answer] = (await once(port, 'message')) as [unknown];
  port.close();
  return answer;
}

test('a thread goes on with what it is given, ports included', async () => {
  const thread = load();
  const { port1, port2 } = new MessageChannel();
  const worker = thread.begin({ word: 'ready', port: port2 }, [port2]);
  assert.equal(await answered(port1), 'ready');
  // It has begun: this is too late.
  thread.discard();
  worker.postMessage('end');
  assert.deepEqual(await once(worker, 'exit'), [0]);
});

test('what a thread is told before it listens waits for it', async () => {
  const thread = load();
  const { port1, port2 } = new MessageChannel();
  const worker = thread.begin({ word: 'late', port: port2 }, [port2]);
  const ended = once(worker, 'exit');
  worker.postMessage('end');
  assert.equal(await answered(port1), 'late');
  assert.deepEqual(await ended, [0]);
});

test('a thread that is not needed ends, while it loads and when it has loaded', async () => {
  const early = load();
  early.discard();
  assert.deepEqual(await once(early.worker, 'exit'), [0]);
  const loaded = load();
  await once(loaded.worker, 'online');
  loaded.discard();
  loaded.discard();
  assert.deepEqual(await once(loaded.worker, 'exit'), [0]);
});
