#!/usr/bin/env node
/**
 * The `onehop` command: command line in, exit code out.
 *
 * Which commands there are is in `program.ts`. Invariant: exit code 0 is success, 1 failure, 2 wrong usage or configuration; a person's mistake gives lines, never a stack trace.
 */
import { CommanderError } from 'commander';
import { program } from './program.ts';

/** Runs one command line. @returns exit code, or null for what still runs to its end by itself */
async function run(argv: readonly string[]): Promise<{ exitCode: number; isFinal: boolean }> {
  let result: number | null = null;
  try {
    const root = program((exitCode) => {
      result = exitCode;
    });
    await root.parseAsync([...argv], { from: 'user' });
    return { exitCode: result ?? 0, isFinal: result !== null };
  } catch (error) {
    if (error instanceof CommanderError) return { exitCode: error.exitCode === 0 ? 0 : 2, isFinal: false };
    const exitCode = (error as { exitCode?: unknown }).exitCode;
    if (!(error instanceof Error) || typeof exitCode !== 'number') throw error;
    for (const line of error.message.split('\n')) process.stderr.write(`onehop: ${line}\n`);
    return { exitCode, isFinal: true };
  }
}

const { exitCode, isFinal } = await run(process.argv.slice(2));
// A stopped broker may leave handles that are closing; everything else ends when its output is written.
if (isFinal) process.exit(exitCode);
process.exitCode = exitCode;
