/**
 * Goal: whatever crashes and failing disks do, and whenever, nothing that was acknowledged is lost, doubled or disordered.
 * Method: small worlds (`world.ts`), each drawn from a seed, always the same ones, run by the program that also draws new ones (`npm run sim -- --seeds N`).
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const WORLDS = 60;
const FIRST = 9000;

test(`${WORLDS} worlds from seed ${FIRST} on keep what they promise`, () => {
  const main = fileURLToPath(new URL('./main.js', import.meta.url));
  const run = spawnSync(process.execPath, [main, '--from', String(FIRST), '--seeds', String(WORLDS)], { encoding: 'utf8' });
  assert.equal(run.status, 0, run.stdout);
});
