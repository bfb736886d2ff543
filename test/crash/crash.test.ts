/*
 * Goal: what the broker has acknowledged survives SIGKILL at any moment, and a stop: messages to sessions that are online or away, to mailboxes and to
 * subscribers, at QoS 1 at least once, at QoS 2 exactly once, in order; sessions, subscriptions and retained messages as they were confirmed.
 * Method: a short campaign over one data directory (campaign.ts says what a round is; checker.ts what is owed). SEED=n repeats its plan;
 * `node dist/test/crash/main.js --rounds 200 --seed n` runs a long one, with a line for each round.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { drawSeed, isLong } from '../scenario/observe.ts';
import { Campaign } from './campaign.ts';
import { Compactor } from './compactor.ts';

const ROUNDS = isLong ? 200 : 12;

async function survive(t: TestContext, durability: string, isCompacting: boolean): Promise<void> {
  const seed = drawSeed(`crash, ${durability}`);
  const directory = mkdtempSync(join(tmpdir(), 'onehop-crash-'));
  const compactor = isCompacting ? new Compactor(directory) : undefined;
  const lines: string[] = [];
  const log = (line: string): void => void lines.push(line);
  const campaign = new Campaign({ seed, rounds: ROUNDS, directory, durability, isKilling: true, compactor, log });
  t.after(async () => {
    await campaign.abandon();
    rmSync(directory, { recursive: true });
  });
  const result = await campaign.run().catch((error: Error) => {
    throw new Error(`seed ${seed}\n${lines.join('\n')}\n${error.message}`);
  });
  t.diagnostic(JSON.stringify(result));
  // Two more rounds end the campaign.
  assert.equal(result.kills + result.stops, ROUNDS + 2);
  assert.ok(result.acknowledged > 10 * ROUNDS && result.arrived > result.acknowledged, 'there was traffic');
  if (compactor === undefined) return;
  t.diagnostic(`${compactor.done} compactions, ${compactor.halves} cut short`);
  assert.deepEqual(compactor.problems, []);
  assert.ok(compactor.done > ROUNDS && compactor.halves > 0, `${compactor.done} compactions, ${compactor.halves} cut short`);
}

// Both outlive the death of the process: with `os` the kernel has what was acknowledged.
for (const durability of ['fsync', 'os']) {
  test(`${durability}: nothing that was acknowledged is lost, doubled or reordered through crashes and stops`, (t) =>
    survive(t, durability, false));
  test(`${durability}: nor is it where the store is compacted all the time`, (t) => survive(t, durability, true));
}
