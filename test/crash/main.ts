/*
 * The long crash campaign: `node dist/test/crash/main.js [--rounds N] [--seed S] [--durability fsync|os] [--shards N] [--no-kill] [--directory D]`.
 * Prints a line for each round and what a repetition needs; exit code 1 when the broker broke a promise. Then its data directory stays for a look at it.
 * `--shards` is the same number in every round, where it is drawn otherwise. With `--no-kill` the broker lives, and only its clients lose their connections:
 * that asks nothing of a store, and shows that the harness itself is right.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Campaign } from './campaign.ts';

const text = { type: 'string' } as const;
const { values } = parseArgs({
  options: { rounds: text, seed: text, durability: text, shards: text, directory: text, 'no-kill': { type: 'boolean' } },
});
const seed = Number(values.seed ?? Date.now() % 0x7fffffff);
const directory = values.directory ?? mkdtempSync(join(tmpdir(), 'onehop-crash-'));
process.stdout.write(`seed ${seed}, directory ${directory}\n`);
const campaign = new Campaign({
  seed,
  rounds: Number(values.rounds ?? 200),
  directory,
  durability: values.durability ?? 'fsync',
  shards: values.shards === undefined ? undefined : Number(values.shards),
  isKilling: values['no-kill'] !== true,
  log: (line) => process.stdout.write(`${line}\n`),
});
try {
  const result = await campaign.run();
  process.stdout.write(`${JSON.stringify(result)}\n`);
  if (values.directory === undefined) rmSync(directory, { recursive: true });
} catch (error) {
  process.stderr.write(`seed ${seed}, directory ${directory}\n${(error as Error).message}\n`);
  process.exitCode = 1;
} finally {
  await campaign.abandon();
}
