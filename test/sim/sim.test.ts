/**
 * Goal: whatever crashes and failing disks do, and whenever, nothing that was acknowledged is lost, doubled or disordered.
 * Method: many small worlds (`world.ts`), each drawn from a seed, always the same ones, run by the program that also draws new ones (`npm run sim -- --seeds N`);
 * one that fails is printed with the command that repeats it. And the simulation itself: a disk that loses what it has called safe is found out.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import test, { describe } from 'node:test';
import { fileURLToPath } from 'node:url';

const WORLDS = 2000;
const FIRST = 9000;
const PROCESSES = 2;
/** Worlds with a lying disk. One alone may be lucky: what was lost had arrived before. */
const LIES = 40;

interface Ended {
  readonly code: number | null;
  readonly output: string;
}

function run(args: readonly string[]): Promise<Ended> {
  const main = fileURLToPath(new URL('./main.js', import.meta.url));
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}

describe('simulation', () => {
  test(`${WORLDS} worlds from seed ${FIRST} on keep what they promise`, async () => {
    const share = WORLDS / PROCESSES;
    const all = await Promise.all(
      Array.from({ length: PROCESSES }, (_, i) => run(['--from', `${FIRST + i * share}`, '--seeds', `${share}`])),
    );
    for (const { code, output } of all) assert.equal(code, 0, output);
  });

  test('a disk that loses a commit that it has called safe is found out', async () => {
    const { code, output } = await run(['--from', '1', '--seeds', `${LIES}`, '--lying']);
    const found = Number(/found out: (\d+)/.exec(output)?.[1]);
    assert.equal(code, 0, output);
    assert.ok(found > LIES / 4, `${found} of ${LIES}`);
  });
});
