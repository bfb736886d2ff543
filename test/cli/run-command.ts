/**
 * Runs the compiled `onehop` command as a child process, for tests.
 *
 * A test waits for what a command prints or for its end, never for time to pass. Invariant: `stopCommands` leaves no child behind.
 */
import { type ChildProcess, type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { storeDirectory } from '../support/store-directory.ts';

export interface Ended {
  /** Exit code, or the name of the signal that ended it. */
  readonly exit: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Running {
  /** The first match of the pattern in what it prints to standard error; rejects when it ends first. */
  says(pattern: RegExp): Promise<RegExpExecArray>;
  readonly ended: Promise<Ended>;
  kill(signal: NodeJS.Signals): void;
}

const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const children = new Set<ChildProcess>();

/**
 * Starts a command.
 * @param env variables beside those of this process
 */
export function beginCommand(args: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
  return watch(args, spawnCommand(args, env));
}

function spawnCommand(args: readonly string[], env: Readonly<Record<string, string>>): ChildProcessByStdio<null, Readable, Readable> {
  const child = spawn(process.execPath, [main, ...args], {
    env: { ...process.env, ONEHOP_STORE__PATH: storeDirectory(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.add(child);
  return child;
}

function watch(args: readonly string[], child: ChildProcessByStdio<null, Readable, Readable>): Running {
  let stdout = '';
  let stderr = '';
  const watchers = new Set<() => void>();
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
    for (const look of watchers) look();
  });
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code, signal) => {
      children.delete(child);
      resolve({ exit: code ?? signal ?? 'unknown', stdout, stderr });
    });
  });
  const says = (pattern: RegExp): Promise<RegExpExecArray> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const match = pattern.exec(stderr);
        if (match !== null) resolve(match);
      };
      watchers.add(look);
      look();
      ended.then(
        ({ exit }) => reject(new Error(`"onehop ${args.join(' ')}" ended with ${exit} before it said ${pattern}:\n${stderr}`)),
        reject,
      );
    });
  return { says, ended, kill: (signal) => child.kill(signal) };
}

/** Runs a command to its end. */
export function runCommand(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  return beginCommand(args, env).ended;
}

/** Runs a command to its end whose output nobody reads any more, as behind `| head`. */
export function runUnread(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  const child = spawnCommand(args, env);
  child.stdout.destroy();
  return watch(args, child).ended;
}

/** Starts a broker on a free port. @returns the running command and its port */
export async function beginBroker(shards: number): Promise<{ broker: Running; port: string }> {
  const broker = beginCommand([
    'start',
    '--shards',
    String(shards),
    '--set',
    'listeners=[{ type: tcp, bind: 127.0.0.1:0 }]',
    '--set',
    'log.level=warn',
  ]);
  const match = await broker.says(/listens on 127\.0\.0\.1:(\d+)/);
  return { broker, port: match[1]! };
}

/** Ends every child that still runs. */
export function stopCommands(): void {
  for (const child of children) child.kill('SIGKILL');
}
