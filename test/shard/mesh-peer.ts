/* The other shard of mesh.test.ts, on a thread of its own: it sleeps, answers each control record with the same one, and ends at the negative one. */
import { workerData } from 'node:worker_threads';
import { COUNTERS } from '../../src/shard/counters.ts';
import type { LinkWiring } from '../../src/shard/link.ts';
import { Mesh, readControl } from '../../src/shard/mesh.ts';

const { link, wake, ringBytes } = workerData as { link: LinkWiring; wake: SharedArrayBuffer; ringBytes: number };
let isDone = false;
const mesh: Mesh = new Mesh(1, [link, null], wake, ringBytes, new Float64Array(COUNTERS.length), (_link, _word, bytes, at, end) => {
  const control = readControl(bytes, at, end);
  if (control.kind === 'installed' && control.sequence === 0) isDone = true;
  mesh.sendControl(0, control);
});
// A sleeper that waits for a wake-up alone does not keep its thread alive.
const alive = setInterval(() => {}, 1000);

function turn(): void {
  mesh.stayAwake();
  mesh.drain();
  mesh.publish();
  if (isDone) {
    clearInterval(alive);
    link.port.close();
  } else if (!mesh.sleep(turn)) setImmediate(turn);
}
turn();
