/* One of the claiming threads of descriptor.test.ts: claims every descriptor that it can and counts them. */
import { parentPort, workerData } from 'node:worker_threads';
import { Transit } from '../../src/transports/descriptor.ts';

const { shared, start, owner, from, to } = workerData as {
  shared: SharedArrayBuffer;
  start: Int32Array;
  owner: number;
  from: number;
  to: number;
};
const transit = new Transit(shared);
Atomics.add(start, 1, 1);
Atomics.notify(start, 1);
Atomics.wait(start, 0, 0);
let claimed = 0;
for (let fd = from; fd < to; fd++) if (transit.claim(fd, owner)) claimed++;
parentPort!.postMessage(claimed);
