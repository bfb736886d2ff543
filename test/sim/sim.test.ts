/**
 * Goal: whatever crashes and failing disks do, and whenever, nothing that was acknowledged is lost, doubled or disordered.
 * Method: many small worlds (`world.ts`), each drawn from a seed; one that fails is printed with the command that repeats it. And the simulation itself: a world whose disk loses what it has called safe is found out.
 */
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import test, { describe } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { FakeDisk } from './fake-disk.ts';
import { World } from './world.ts';

/** Worlds of one run, always the same ones; `npm run sim -- --seeds N` draws new ones. */
const WORLDS = 300;
const FIRST = 9000;
/** Worlds with a lying disk. One alone may be lucky: what was lost had arrived before. */
const LIES = 40;

/** Runs `count` worlds from `seed` on in a thread of their own. @returns the report of the first that fails, '' when all are well */
function runWorlds(seed: number, count: number): Promise<string> {
  const main = fileURLToPath(new URL('./main.js', import.meta.url));
  return new Promise((resolve, reject) => {
    const worker = new Worker(main, { argv: ['--from', String(seed), '--seeds', String(count)], stdout: true });
    let text = '';
    worker.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    worker.on('error', reject);
    worker.on('exit', (code) => resolve(code === 0 ? '' : text));
  });
}

describe('simulation', () => {
  const first = FIRST;
  const threads = Math.max(1, Math.min(2, availableParallelism()));
  test(`${WORLDS} worlds from seed ${first} on keep what they promise`, async () => {
    const share = WORLDS / threads;
    const reports = await Promise.all(Array.from({ length: threads }, (_, i) => runWorlds(first + i * share, share)));
    assert.equal(reports.join('\n').trim(), '');
  });

  test('a disk that loses a commit that it has called safe is found out', async () => {
    let found = 0;
    for (let seed = 1; seed <= LIES; seed++) {
      const disk = new FakeDisk();
      disk.isLying = true;
      await new World(seed, disk).run().catch(() => {
        found++;
      });
    }
    assert.ok(found > LIES / 4, `${found} of ${LIES}`);
  });
});
