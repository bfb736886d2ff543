/**
 * LineRate: how many lines of one kind may be written to the log in a second. A client that is refused all the time must not fill the disk.
 */
export class LineRate {
  private readonly perSecond: number;
  private second: number;
  private lines: number;

  constructor(perSecond: number) {
    this.perSecond = perSecond;
    this.second = 0;
    this.lines = 0;
  }

  /** Whether there is room for one more line. @param now milliseconds */
  take(now: number): boolean {
    const second = Math.floor(now / 1000);
    if (second !== this.second) {
      this.second = second;
      this.lines = 0;
    }
    if (this.lines >= this.perSecond) return false;
    this.lines++;
    return true;
  }
}
