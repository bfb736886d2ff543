/*
 * A real broker for tests: the compiled command line program as a child process, on a free port of 127.0.0.1. It never shares a process with the test, so a
 * test may kill it. Every broker is stopped by the test that started it; what a failed test leaves behind dies with the test process.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { storeDirectory } from './store-directory.ts';

/** Keys of the configuration as `--set` takes them, values in YAML. */
export interface BrokerOptions {
  readonly shards?: number;
  /** File of the configuration. */
  readonly config?: string;
  /** Options of Node itself. */
  readonly node?: readonly string[];
  readonly [key: string]: unknown;
}

export interface TestBroker {
  readonly port: number;
  /** Of all listeners, in their order; 0 for a Unix socket. */
  readonly ports: readonly number[];
  readonly pid: number;
  /** JSON log lines so far. */
  readonly log: readonly Record<string, unknown>[];
  /** Resolves with the first log line, past or future, that `accepts` likes. */
  line(accepts: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>;
  /** SIGTERM, then the exit code. */
  stop(): Promise<number>;
  /** SIGKILL. */
  kill(): Promise<void>;
}

/** For `BrokerOptions.node`: a Node that does not show its OpenSSL. */
export const WITHOUT_OPEN_SSL: readonly string[] = ['--import', new URL('./without-open-ssl.js', import.meta.url).href];

const program = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

// A test that is ended by a signal takes its brokers with it.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(1));

/** Starts a broker with one TCP listener. Options other than `shards` are configuration keys, such as `'limits.inflight': 2`; its store is empty unless they name one. */
export async function startBroker(options: BrokerOptions = {}): Promise<TestBroker> {
  const args = [...(options.node ?? []), program, 'start', '--shards', String(options.shards ?? 1)];
  if (options.config !== undefined) args.push('--config', options.config);
  const settings: Record<string, unknown> = {
    listeners: [{ type: 'tcp', bind: '127.0.0.1:0' }],
    'log.level': 'info',
    'store.path': storeDirectory(),
    ...options,
  };
  for (const [key, value] of Object.entries(settings))
    if (key !== 'shards' && key !== 'node' && key !== 'config')
      args.push('--set', `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  const log: Record<string, unknown>[] = [];
  const waiters = new Set<(line: Record<string, unknown>) => void>();
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : { msg: text };
    log.push(line);
    for (const waiter of [...waiters]) waiter(line);
  });
  const ended = once(child, 'exit').then(([code]) => {
    running.delete(child);
    return (code as number | null) ?? -1;
  });
  const line = (accepts: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>> => {
    const past = log.find(accepts);
    if (past !== undefined) return Promise.resolve(past);
    return new Promise((resolve, reject) => {
      const waiter = (next: Record<string, unknown>): void => {
        if (!accepts(next)) return;
        waiters.delete(waiter);
        resolve(next);
      };
      waiters.add(waiter);
      void ended.then((code) => reject(new Error(`the broker ended with ${code} before the awaited line: ${errors}`)));
    });
  };
  const count = (settings['listeners'] as readonly unknown[]).length;
  await line((entry) => entry['msg'] === 'listening' && log.filter(({ msg }) => msg === 'listening').length === count);
  const ports = log.filter(({ msg }) => msg === 'listening').map(({ port }) => Number(port));
  return {
    port: ports[0]!,
    ports,
    pid: child.pid!,
    log,
    line,
    stop: () => {
      child.kill('SIGTERM');
      return ended;
    },
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
