/*
 * The long fuzz: `npm run fuzz -- [--seconds N] [--seed S] [--from E] [--episodes N] [--logins]`. Prints what a repetition needs; exit code 1 when a property broke.
 * `--logins`: episodes of logins by an Authentication Method. `--seed S --from E --episodes 1` plays one episode alone.
 */
import { parseArgs } from 'node:util';
import { startBroker } from '../support/broker.ts';
import { FUZZED, FUZZED_LOGINS, runCampaign } from './campaign.ts';

const number = { type: 'string' } as const;
const { values } = parseArgs({ options: { seconds: number, seed: number, from: number, episodes: number, logins: { type: 'boolean' } } });
const withExchanges = values.logins === true;
const seed = Number(values.seed ?? Date.now() % 0x7fffffff);
process.stdout.write(`seed ${seed}\n`);
const broker = await startBroker(withExchanges ? FUZZED_LOGINS : FUZZED);
try {
  const result = await runCampaign(broker, {
    seed,
    from: Number(values.from ?? 0),
    seconds: Number(values.seconds ?? 60),
    episodes: Number(values.episodes ?? Number.POSITIVE_INFINITY),
    withExchanges,
  });
  process.stdout.write(`${JSON.stringify(result)}\n`);
  process.exitCode = await broker.stop();
} catch (error) {
  process.stderr.write(`${(error as Error).stack ?? String(error)}\n`);
  await broker.kill();
  process.exitCode = 1;
}
