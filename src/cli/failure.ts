/**
 * A command that ends without success for a reason that a person can understand: one line and an exit code, never a stack trace.
 *
 * Errors of the broker and of the configuration carry the same `exitCode`, so `main.ts` treats them alike. Invariant: an error without an exit code
 * is a fault of this program, and keeps its stack trace.
 */

/** 0 ok, 1 failure, 2 usage. */
export class Failure extends Error {
  readonly exitCode: 1 | 2;

  constructor(message: string, exitCode: 1 | 2 = 1) {
    super(message);
    this.name = 'Failure';
    this.exitCode = exitCode;
  }
}
