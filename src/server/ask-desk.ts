/**
 * AskDesk: what the supervisor answers when a shard asks (`shard/asks.ts`): what it alone knows or may change. A handler returns its answer, or a promise of it.
 */
import type { Log } from '../base/log.ts';
import type { Fault, ProblemCode } from '../http/problem.ts';

/** What a handler throws when the answer is a no that a person can understand. */
export class Refusal extends Error {
  readonly problem: ProblemCode;
  /** What is wrong, value by value. */
  readonly faults: readonly Fault[];

  constructor(problem: ProblemCode, detail: string, faults: readonly Fault[] = []) {
    super(detail);
    this.name = 'Refusal';
    this.problem = problem;
    this.faults = faults;
  }
}

export type DeskHandler = (value: never) => unknown;

export class AskDesk {
  private readonly log: Log;
  private readonly handlers: Map<string, DeskHandler>;

  constructor(log: Log) {
    this.log = log;
    this.handlers = new Map();
  }

  /** Names a handler. @throws when the name is taken */
  handle(name: string, handler: DeskHandler): void {
    if (this.handlers.has(name)) throw new Error(`two handlers are called ${name}`);
    this.handlers.set(name, handler);
  }

  /** @param answer called once; with null when there is no answer */
  asked(name: string, value: unknown, answer: (value: unknown) => void): void {
    const handler = this.handlers.get(name);
    if (handler === undefined) {
      this.log.error({ name }, 'nothing here answers such a question');
      answer(null);
      return;
    }
    const failed = (error: unknown): void => {
      if (error instanceof Refusal) {
        answer({ problem: error.problem, detail: error.message, faults: error.faults });
        return;
      }
      this.log.error({ name, error: String(error), stack: (error as Error).stack }, 'a question could not be answered');
      answer(null);
    };
    try {
      Promise.resolve(handler(value as never)).then(answer, failed);
    } catch (error) {
      failed(error);
    }
  }
}
