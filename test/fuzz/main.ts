/*
 * The long fuzz: `npm run fuzz -- [--seconds N] [--seed S] [--from E] [--episodes N]`. Prints what a repetition needs; exit code 1 when a property broke.
 * `--seed S --from E --episodes 1` plays one episode alone.
 */
import { parseArgs } from 'node:util';
import { startBroker } from '../support/broker.ts';
import { FUZZED, runCampaign } from './campaign.ts';

const number = { type: 'string' } as const;
const { values } = parseArgs({ options: { seconds: number, seed: number, from: number, episodes: number } });
const seed = Number(values.seed ?? Date.now() % 0x7fffffff);
process.stdout.write(`seed ${seed}\n`);
const broker = await startBroker(FUZZED);
try {
  const result = await runCampaign(broker, {
    seed,
    from: Number(values.from ?? 0),
    seconds: Number(values.seconds ?? 60),
    episodes: Number(values.episodes ?? Number.POSITIVE_INFINITY),
  });
  process.stdout.write(`${JSON.stringify(result)}\n`);
  process.exitCode = await broker.stop();
} catch (error) {
  process.stderr.write(`${(error as Error).stack ?? String(error)}\n`);
  await broker.kill();
  process.exitCode = 1;
}
