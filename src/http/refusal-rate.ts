/**
 * RefusalRate: how many refused changes go to the audit log. Whoever tries again and again is in it, and does not push out what others have done, or fill the disk.
 */
const WINDOW_MILLISECONDS = 10 * 60_000;
/** Of one caller in that time, and of all of them. */
export const REFUSALS_OF_CALLER_MAX = 20;
export const REFUSALS_MAX = 60;

export class RefusalRate {
  private window: number;
  private taken: number;
  private readonly byCaller: Map<string, number>;

  constructor() {
    this.window = Number.NEGATIVE_INFINITY;
    this.taken = 0;
    this.byCaller = new Map();
  }

  /** Whether there is room for one more of this caller. @param now milliseconds of any clock */
  take(caller: string, now: number): boolean {
    const window = Math.floor(now / WINDOW_MILLISECONDS);
    if (window !== this.window) {
      this.window = window;
      this.taken = 0;
      this.byCaller.clear();
    }
    const before = this.byCaller.get(caller) ?? 0;
    if (this.taken >= REFUSALS_MAX || before >= REFUSALS_OF_CALLER_MAX) return false;
    this.taken++;
    this.byCaller.set(caller, before + 1);
    return true;
  }
}
