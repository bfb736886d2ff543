/*
 * A broker that dies while it starts: killed when it has opened its data directory and before anyone can connect, so that recovery itself is cut short. The
 * moment is a number of looks at the process, not of milliseconds.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { setImmediate } from 'node:timers';
import { fileURLToPath } from 'node:url';
import type { BrokerOptions } from '../support/broker.ts';

const program = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

/**
 * Starts a broker over `directory` and kills it.
 * @param looks after the directory has been opened
 * @returns whether it was killed before it listened
 */
export async function killWhileStarting(options: BrokerOptions, directory: string, looks: number): Promise<boolean> {
  const args = [program, 'start', '--shards', String(options.shards ?? 1), '--set', 'listeners=[{"type":"tcp","bind":"127.0.0.1:0"}]'];
  for (const [key, value] of Object.entries(options)) if (key !== 'shards') args.push('--set', `${key}=${value}`);
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const isListening = (): boolean => output.includes('"listening"');
  let left = looks;
  while (left > 0 && !isListening() && child.exitCode === null) {
    if (hasOpened(child.pid!, directory)) left--;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  const isEarly = !isListening();
  const isAlive = child.exitCode === null;
  child.kill('SIGKILL');
  await ended;
  if (!isAlive) throw new Error(`the broker ended by itself: ${output.slice(-2000)}`);
  return isEarly;
}

function hasOpened(pid: number, directory: string): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith(directory));
  } catch {
    // A descriptor that was closed between the two calls.
    return false;
  }
}
