/**
 * Breaker: stops asking a service that fails, so that nobody waits for what will not come.
 *
 *   closed ── `failuresMax` failures in a row ──▶ open ── after a pause ──▶ one request tries ── success ──▶ closed
 *                                                   ▲──────── failure ────────────┘
 */
export class Breaker {
  private readonly failuresMax: number;
  private readonly pauseMilliseconds: number;
  private failures: number;
  private openUntil: number;
  private isTrying: boolean;

  constructor(failuresMax: number, pauseMilliseconds: number) {
    this.failuresMax = failuresMax;
    this.pauseMilliseconds = pauseMilliseconds;
    this.failures = 0;
    this.openUntil = 0;
    this.isTrying = false;
  }

  /** Whether to ask now. After true, `succeeded` or `failed` is called once. @param now milliseconds on a clock that does not go back */
  mayAsk(now: number): boolean {
    if (this.failures < this.failuresMax) return true;
    if (now < this.openUntil || this.isTrying) return false;
    this.isTrying = true;
    return true;
  }

  /** For people. @param now milliseconds on the same clock */
  stateAt(now: number): 'closed' | 'open' | 'trying' {
    if (this.failures < this.failuresMax) return 'closed';
    return this.isTrying || now >= this.openUntil ? 'trying' : 'open';
  }

  succeeded(): void {
    this.failures = 0;
    this.isTrying = false;
  }

  /** @returns whether the service is given up for a while, just now */
  failed(now: number): boolean {
    this.isTrying = false;
    this.failures++;
    if (this.failures < this.failuresMax) return false;
    this.openUntil = now + this.pauseMilliseconds;
    return true;
  }
}
