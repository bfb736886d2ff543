/**
 * Vitals: how this thread is (heap, load of its loop, collections of garbage), written to its row of the measures once a second.
 */
import { PerformanceObserver, performance } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';
import type { Measures } from './measures.ts';

/** Writes the vitals of the thread in which it was made. */
export class Vitals {
  private readonly measures: Measures;
  private before: ReturnType<typeof performance.eventLoopUtilization>;
  private beatenAt: number;
  private takenAt: number;
  private longestDelay: number;
  private readonly beatMilliseconds: number;

  /** @param beatMilliseconds how often `beat` is called */
  constructor(measures: Measures, beatMilliseconds: number) {
    this.measures = measures;
    this.before = performance.eventLoopUtilization();
    this.beatenAt = performance.now();
    this.takenAt = this.beatenAt;
    this.longestDelay = 0;
    this.beatMilliseconds = beatMilliseconds;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) measures.gc.add(duration * 1000);
    }).observe({ entryTypes: ['gc'] });
    this.take();
  }

  /** A timer has fired: how late it comes is how long the loop was held up. @returns whether a second has passed */
  beat(): boolean {
    const now = performance.now();
    this.longestDelay = Math.max(this.longestDelay, now - this.beatenAt - this.beatMilliseconds);
    this.beatenAt = now;
    if (now - this.takenAt < 1000 - this.beatMilliseconds / 2) return false;
    this.takenAt = now;
    this.take();
    return true;
  }

  private take(): void {
    const { measures } = this;
    const { vitals } = measures;
    const { used_heap_size, total_heap_size, heap_size_limit, external_memory } = getHeapStatistics();
    const now = performance.eventLoopUtilization();
    vitals[0] = used_heap_size;
    vitals[1] = total_heap_size;
    vitals[2] = heap_size_limit;
    vitals[3] = external_memory;
    vitals[4] = performance.eventLoopUtilization(now, this.before).utilization;
    vitals[5] = Math.max(this.longestDelay / 1000, measures.longestTurn / 1e6);
    this.before = now;
    this.longestDelay = 0;
    measures.longestTurn = 0;
  }
}
