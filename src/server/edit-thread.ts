/**
 * The thread that changes files for the API: one after the other, each under the lock of its file. A command that keeps a lock makes this thread wait, and nobody else.
 */
import { parentPort } from 'node:worker_threads';
import { assert } from '../base/assert.ts';
import type { Fault, ProblemCode } from '../http/problem.ts';
import { AuthenticatorProblem } from './authenticator-file.ts';
import { EDITS, type EditName } from './edits.ts';
import { StartError } from './start-error.ts';
import { StatementProblem } from './statement-file.ts';

/** To the thread. */
export interface ToEditThread {
  readonly id: number;
  readonly name: EditName;
  readonly asked: unknown;
}

/** From the thread: what was made, or why not. */
export type FromEditThread =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly problem: ProblemCode; readonly detail: string; readonly faults: readonly Fault[] };

const PROBLEMS: Readonly<Record<StartError['kind'], ProblemCode>> = {
  missing: 'not-found',
  conflict: 'conflict',
  invalid: 'unprocessable',
  failed: 'unavailable',
};

assert(parentPort !== null, 'files are changed on a thread');
const port = parentPort;

/** Settles when the change before is done. */
let before: Promise<void> = Promise.resolve();
port.on('message', (message: ToEditThread) => {
  before = before.then(() => edit(message));
});

async function edit({ id, name, asked }: ToEditThread): Promise<void> {
  const tell = (message: FromEditThread): void => port.postMessage(message);
  try {
    tell({ id, result: await EDITS[name](asked as never) });
  } catch (error) {
    if (error instanceof StatementProblem || error instanceof AuthenticatorProblem) {
      const list = error instanceof StatementProblem ? 'statements' : 'authenticators';
      const faults = error.issues.map(({ path, message }) => ({ at: [list, ...path].join('.'), message }));
      tell({ id, problem: 'unprocessable', detail: error.message, faults });
    } else if (error instanceof StartError) tell({ id, problem: PROBLEMS[error.kind], detail: error.message, faults: [] });
    else tell({ id, problem: 'internal', detail: `${name}: ${(error as Error).message}`, faults: [] });
  }
}
