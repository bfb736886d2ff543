/*
 * Goal: a descriptor on its way from one shard to another is taken exactly once, by its owner or by whoever cleans up after it; duplicates are descriptors of
 * their own.
 * Method: the table by hand, two threads that claim the same descriptors, and a real file that is duplicated and closed.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync } from 'node:fs';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { canHandOff, closeDescriptor, DESCRIPTORS_MAX, duplicate, TRANSIT_BYTES, Transit } from '../../src/transports/descriptor.ts';

test('a mark is claimed once, by its owner only', () => {
  const shared = new SharedArrayBuffer(TRANSIT_BYTES);
  const sender = new Transit(shared);
  const owner = new Transit(shared);
  assert.equal(owner.claim(20, 0), false);
  assert.equal(sender.mark(20, 0, 1), true);
  assert.equal(owner.claim(20, 1), false);
  assert.equal(owner.claim(20, 0), true);
  assert.equal(owner.claim(20, 0), false);
  assert.equal(sender.mark(20, 30, 0), true, 'the number is used again for another socket');
  assert.equal(owner.claim(20, 30), true);
});

test('a number beyond the table is refused', () => {
  const transit = new Transit(new SharedArrayBuffer(TRANSIT_BYTES));
  assert.equal(transit.mark(DESCRIPTORS_MAX, 0, 1), false);
  assert.equal(transit.claim(DESCRIPTORS_MAX, 0), false);
  assert.equal(transit.mark(DESCRIPTORS_MAX - 1, 0, 1), true);
  assert.equal(transit.claim(DESCRIPTORS_MAX - 1, 0), true);
});

test('what was on its way to or from a dead shard is found, and nothing else', () => {
  const transit = new Transit(new SharedArrayBuffer(TRANSIT_BYTES));
  // From shard fd / 3 to the next one or the one behind it.
  const senderOf = (fd: number): number => Math.floor(fd / 3) % 3;
  const ownerOf = (fd: number): number => (senderOf(fd) + 1 + (fd % 2)) % 3;
  const numbers = Array.from({ length: 1000 }, (_, fd) => fd);
  for (const fd of numbers) transit.mark(fd, ownerOf(fd), senderOf(fd));
  const taken = numbers.filter((fd) => fd % 5 === 0);
  for (const fd of taken) assert.equal(transit.claim(fd, ownerOf(fd)), true);
  const left = numbers.filter((fd) => !taken.includes(fd));
  assert.deepEqual(
    transit.claimAllOf(1),
    left.filter((fd) => senderOf(fd) === 1 || ownerOf(fd) === 1),
  );
  assert.deepEqual(transit.claimAllOf(1), []);
  for (const fd of left) assert.equal(transit.claim(fd, ownerOf(fd)), senderOf(fd) !== 1 && ownerOf(fd) !== 1);
});

test('two threads that claim the same descriptors get each of them once', async () => {
  const shared = new SharedArrayBuffer(TRANSIT_BYTES);
  const transit = new Transit(shared);
  const start = new Int32Array(new SharedArrayBuffer(8));
  const to = 200_000;
  for (let fd = 0; fd < to; fd++) transit.mark(fd, 5, 0);
  const workers = [0, 1].map(
    () => new Worker(new URL('./descriptor-peer.js', import.meta.url), { workerData: { shared, start, owner: 5, from: 0, to } }),
  );
  const answers = workers.map((worker) => once(worker, 'message'));
  const exits = workers.map((worker) => once(worker, 'exit'));
  for (let ready = Atomics.load(start, 1); ready < 2; ready = Atomics.load(start, 1)) {
    const wait = Atomics.waitAsync(start, 1, ready, 10_000);
    if (wait.async) await wait.value;
  }
  Atomics.store(start, 0, 1);
  Atomics.notify(start, 0);
  const claimed = (await Promise.all(answers)).map(([count]) => count as number);
  await Promise.all(exits);
  assert.equal(claimed[0]! + claimed[1]!, to);
  assert.deepEqual(transit.claimAllOf(5), []);
});

test('a duplicate is a descriptor of its own', () => {
  if (!canHandOff()) {
    assert.equal(duplicate(0), -1, 'without a C library there are no duplicates');
    return;
  }
  const fd = openSync(fileURLToPath(import.meta.url), 'r');
  const copy = duplicate(fd);
  assert.ok(copy >= 0 && copy !== fd);
  assert.equal(fstatSync(copy).ino, fstatSync(fd).ino);
  closeSync(fd);
  assert.ok(fstatSync(copy).size > 0);
  closeDescriptor(copy);
  assert.throws(() => fstatSync(copy), { code: 'EBADF' });
  assert.equal(duplicate(-1), -1);
});
