/**
 * `onehop start`: settings in, a running broker out, until a signal or the broker itself ends it.
 *
 * Standard output belongs to the log (JSON lines); the one line for a person goes to standard error. Invariant: that line is printed only after every
 * listener accepts connections, so a script may wait for it.
 */
import { basename, relative } from 'node:path';
import { addressName } from '../base/network.ts';
import type { Broker } from '../server/broker.ts';
import type { LoadedConfig } from '../server/config.ts';
import { EarlyThreads } from '../server/early-threads.ts';
import { StopRequest } from './stop-request.ts';
import { programVersion } from './version.ts';

/** Options of the command line. */
export interface StartOptions {
  readonly config?: string;
  readonly shards?: string;
  readonly set?: readonly string[];
}

/**
 * Runs a broker to its end.
 * @returns exit code
 * @throws ConfigError when the configuration is wrong, StartError when the broker cannot start
 */
export async function start(options: StartOptions): Promise<number> {
  const early = new EarlyThreads();
  const [{ loadConfig }, { startBroker }] = await Promise.all([import('../server/config.ts'), import('../server/broker.ts')]);
  const read = (): Promise<LoadedConfig> =>
    loadConfig({ file: options.config, env: process.env, set: options.set, shards: options.shards });
  const config = await read();
  // From here on a signal is a request: one that comes while the broker starts stops it as soon as it runs.
  let stop = (): void => {};
  const isAskedToStop = new Promise<void>((resolve) => {
    stop = resolve;
  });
  const request = new StopRequest(stop, () => process.exit(1));
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => request.signal(performance.now()));
  const broker = await startBroker(config, read, early);
  process.on('SIGHUP', () => broker.reload());
  process.stderr.write(`${greeting(broker, config.settings.shards, commandName())}\n`);
  const stopped = isAskedToStop.then(() => broker.stop());
  return await Promise.race([broker.done, stopped.then(() => broker.done)]);
}

/** How a person calls this program where it runs now. */
function commandName(): string {
  const script = process.argv[1] ?? 'onehop';
  return basename(script) === 'onehop' ? 'onehop' : `node ${relative(process.cwd(), script)}`;
}

/** The line that says where the broker listens and how to try it. */
function greeting(broker: Broker, shards: number, command: string): string {
  const places = broker.addresses.map(
    ({ type, host, port }) => `${type === 'tcp' ? '' : `${type} `}${port === 0 ? host : addressName(host, port)}`,
  );
  const port = broker.addresses.find(({ type }) => type === 'tcp')?.port;
  const option = port === 1883 ? '' : ` --port ${port}`;
  const listens = `onehop ${programVersion()} listens on ${places.join(', ')} (${shards} ${shards === 1 ? 'shard' : 'shards'}).`;
  // Its client commands speak plain TCP.
  return port === undefined
    ? listens
    : `${listens} Try it: "${command} sub${option} --client-id dev-1", and in another terminal "${command} p2p${option} -c dev-1 -m hello".`;
}
