/*
 * Waiting for what must happen: a condition is looked at again after each event, and never because time has passed. A wait that takes too long is a violation
 * that shows who still waits for what; a violation of another kind ends every wait, because nothing follows from what has not come yet.
 */
import type { Checker } from './checker.ts';
import type { PersistentClient } from './persistent-client.ts';

const MILLISECONDS_MAX = 60_000;

export class Conditions {
  private readonly checker: Checker;
  private readonly waiting = new Set<() => void>();

  constructor(checker: Checker) {
    this.checker = checker;
  }

  /** Something has happened. */
  look(): void {
    for (const look of [...this.waiting]) look();
  }

  /** Resolves with whether the wait was cut short by a violation. */
  until(what: string, clients: readonly PersistentClient[], holds: () => boolean): Promise<boolean> {
    const isCut = (): boolean => this.checker.violations.length > 0;
    if (holds() || isCut()) return Promise.resolve(isCut());
    return new Promise((resolve) => {
      const finish = (wasCut: boolean): void => {
        clearTimeout(late);
        this.waiting.delete(look);
        resolve(wasCut);
      };
      const look = (): void => {
        if (holds() || isCut()) finish(isCut());
      };
      const late = setTimeout(() => {
        const states = clients.map((client) => `  ${client.describe()}`);
        this.checker.violate(`not within ${MILLISECONDS_MAX} ms: ${what}\n${states.join('\n')}`);
        finish(false);
      }, MILLISECONDS_MAX);
      this.waiting.add(look);
    });
  }
}
