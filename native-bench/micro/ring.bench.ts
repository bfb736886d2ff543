/*
 * What a frame costs on its way through a ring: written, shown and read by one thread, and between two threads; what a batch saves; and how long a sleeping
 * shard takes to wake. Frames have 96 bytes, the size of a small message record. Prints nanoseconds per frame and microseconds per round trip, best of
 * five rounds.
 * Run: node native-bench/micro/ring.bench.js
 */

import { fileURLToPath } from 'node:url';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { RingConsumer, RingProducer, ringBufferBytes } from '../../src/base/ring.ts';

const CAPACITY = 1 << 20;
const FRAME_BYTES = 96;
const FRAMES = 2_000_000;
const ROUNDS = 5;
const WAKE_ROUNDS = 2000;
const BATCHES = [1, 8, 64, 512];
/** Words of the shared control array: which job the other thread runs, and who is awake. */
const JOB = 0;
const DONE = 1;
const MAIN_AWAKE = 16;
const OTHER_AWAKE = 32;
const CONTROL_BYTES = 256;

interface Shared {
  readonly there: SharedArrayBuffer;
  readonly back: SharedArrayBuffer;
  readonly control: SharedArrayBuffer;
}

/** Writes `frames` frames, `batch` of them for each publish. */
function produce(producer: RingProducer, frames: number, batch: number): void {
  for (let sent = 0; sent < frames; ) {
    const end = Math.min(sent + batch, frames);
    while (sent < end) {
      const at = producer.reserve(FRAME_BYTES);
      if (at < 0) {
        producer.publish();
        continue;
      }
      producer.bytes[at] = sent;
      producer.commit(1, FRAME_BYTES);
      sent++;
    }
    producer.publish();
  }
}

/** Reads `frames` frames; gives the room back after as many as were there. */
function consume(consumer: RingConsumer, frames: number): number {
  let sum = 0;
  for (let seen = 0; seen < frames; ) {
    while (consumer.next()) {
      sum += consumer.bytes[consumer.frameAt]!;
      seen++;
    }
    consumer.release();
  }
  return sum;
}

/** Nanoseconds per frame of the best round. */
async function best(body: () => number | Promise<number>): Promise<number> {
  let bestNanoseconds = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const begin = process.hrtime.bigint();
    const sum = await body();
    bestNanoseconds = Math.min(bestNanoseconds, Number(process.hrtime.bigint() - begin) / FRAMES);
    // Using the sum keeps the compiler from dropping the work.
    if (Number.isNaN(sum)) throw new Error('a result was not a number');
  }
  return bestNanoseconds;
}

function alone(batch: number): number {
  const shared = new SharedArrayBuffer(ringBufferBytes(CAPACITY));
  const producer = new RingProducer(shared);
  const consumer = new RingConsumer(shared);
  let sum = 0;
  for (let sent = 0; sent < FRAMES; sent += batch) {
    produce(producer, batch, batch);
    sum += consume(consumer, batch);
  }
  return sum;
}

/** Sleeps until a frame comes, as a shard does, then handles it. */
function onFrame(control: Int32Array, word: number, consumer: RingConsumer, handle: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const turn = (): void => {
      Atomics.store(control, word, 0);
      while (consumer.next()) {
        consumer.release();
        if (handle()) {
          resolve();
          return;
        }
      }
      Atomics.store(control, word, 1);
      if (consumer.hasFrames()) {
        turn();
        return;
      }
      const wait = Atomics.waitAsync(control, word, 1);
      if (wait.async) void wait.value.then(turn);
      else setImmediate(turn);
    };
    turn();
  });
}

function sendOne(producer: RingProducer, control: Int32Array, sleeper: number): void {
  producer.reserve(FRAME_BYTES);
  producer.commit(1, FRAME_BYTES);
  producer.publish();
  if (Atomics.compareExchange(control, sleeper, 1, 0) === 1) Atomics.notify(control, sleeper);
}

/** The other thread: for each job a batch size to write with, or -1 for the round trips, or -2 for the end. */
async function serve({ there, back, control: shared }: Shared): Promise<void> {
  const control = new Int32Array(shared);
  const producer = new RingProducer(back);
  for (;;) {
    Atomics.wait(control, JOB, 0);
    const job = Atomics.exchange(control, JOB, 0);
    if (job > 0) {
      produce(producer, FRAMES, job);
    } else if (job === -1) {
      const alive = setInterval(() => {}, 1000);
      let left = WAKE_ROUNDS * ROUNDS;
      await onFrame(control, OTHER_AWAKE, new RingConsumer(there), () => {
        sendOne(producer, control, MAIN_AWAKE);
        return --left === 0;
      });
      clearInterval(alive);
    } else return;
    Atomics.add(control, DONE, 1);
  }
}

async function main(): Promise<void> {
  const shared: Shared = {
    there: new SharedArrayBuffer(ringBufferBytes(CAPACITY)),
    back: new SharedArrayBuffer(ringBufferBytes(CAPACITY)),
    control: new SharedArrayBuffer(CONTROL_BYTES),
  };
  const control = new Int32Array(shared.control);
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: shared });
  const start = (job: number): void => {
    Atomics.store(control, JOB, job);
    Atomics.notify(control, JOB);
  };
  for (const batch of BATCHES) console.log(`one thread, batches of ${batch}: ${(await best(() => alone(batch))).toFixed(1)} ns per frame`);
  const consumer = new RingConsumer(shared.back);
  for (const batch of BATCHES) {
    const nanoseconds = await best(() => {
      start(batch);
      return consume(consumer, FRAMES);
    });
    console.log(`two threads, batches of ${batch}: ${nanoseconds.toFixed(1)} ns per frame`);
  }
  // The other thread has shown its last frame a moment before it says so.
  while (Atomics.load(control, DONE) < BATCHES.length * ROUNDS);
  start(-1);
  const producer = new RingProducer(shared.there);
  let bestMicroseconds = Number.POSITIVE_INFINITY;
  const alive = setInterval(() => {}, 1000);
  for (let round = 0; round < ROUNDS; round++) {
    const begin = process.hrtime.bigint();
    let left = WAKE_ROUNDS;
    sendOne(producer, control, OTHER_AWAKE);
    await onFrame(control, MAIN_AWAKE, consumer, () => {
      if (--left === 0) return true;
      sendOne(producer, control, OTHER_AWAKE);
      return false;
    });
    bestMicroseconds = Math.min(bestMicroseconds, Number(process.hrtime.bigint() - begin) / 1000 / WAKE_ROUNDS);
  }
  clearInterval(alive);
  console.log(`round trip between two sleepers: ${bestMicroseconds.toFixed(1)} µs`);
  start(-2);
  await new Promise((resolve) => {
    worker.once('exit', resolve);
  });
}

await (isMainThread ? main() : serve(workerData as Shared));
