/**
 * What signals mean to a running broker: the first asks for a graceful stop, the second ends the process at once.
 *
 * It never looks at a clock or a process itself, so that a test can. Invariant: one key press is one request, even when it arrives twice.
 */

/**
 * npm passes a signal on to its child, which has also had it from the terminal: both copies of one Ctrl-C arrive within a few milliseconds. A person
 * needs longer than this to press it again.
 */
const samePressMilliseconds = 150;

export class StopRequest {
  private readonly stop: () => void;
  private readonly exit: () => void;
  private firstAt: number | null = null;

  /**
   * @param stop begins a graceful stop
   * @param exit ends the process at once
   */
  constructor(stop: () => void, exit: () => void) {
    this.stop = stop;
    this.exit = exit;
  }

  /** A signal has come. @param now milliseconds of any steady clock */
  signal(now: number): void {
    if (this.firstAt === null) {
      this.firstAt = now;
      this.stop();
    } else if (now - this.firstAt > samePressMilliseconds) this.exit();
  }
}
