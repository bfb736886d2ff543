/* The other thread of ring.test.ts: writes frames whose sizes and bytes follow from SEED, as fast as there is room. */
import { workerData } from 'node:worker_threads';
import { RingProducer } from '../../src/base/ring.ts';
import { Random } from '../routing/random-topics.ts';

const { shared, frames, bodyBytesMax } = workerData as { shared: SharedArrayBuffer; frames: number; bodyBytesMax: number };
const producer = new RingProducer(shared);
const random = new Random('ring producer');
const idle = new Int32Array(new SharedArrayBuffer(4));
let unpublished = 0;
for (let i = 0; i < frames; i++) {
  const length = random.next(bodyBytesMax + 1);
  let at = producer.reserve(length);
  while (at < 0) {
    producer.publish();
    Atomics.wait(idle, 0, 0, 0.05);
    at = producer.reserve(length);
  }
  for (let byte = 0; byte < length; byte++) producer.bytes[at + byte] = (i + byte) & 0xff;
  producer.commit(i, length);
  unpublished++;
  if (unpublished > random.next(20)) {
    producer.publish();
    unpublished = 0;
  }
}
producer.publish();
