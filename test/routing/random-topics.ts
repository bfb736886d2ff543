/*
 * Random numbers from a seed, and random topics and filters over a small alphabet, so that filters and topics of a test often meet.
 * The seed comes from SEED in the environment, or from the clock; every test that draws prints it.
 */

/** A repeatable generator: `next(n)` gives 0 … n-1. */
export class Random {
  readonly seed: number;
  private state: number;

  constructor(name: string) {
    const { SEED } = process.env;
    this.seed = Number(SEED ?? Date.now() % 1_000_000_007);
    this.state = this.seed;
    process.stdout.write(`${name}: SEED=${this.seed}\n`);
  }

  next(n: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.next(list.length)]!;
  }
}

const LEVELS = ['a', 'b', 'c', '', '$x', 'long-level-name', 'ü'];

/** A random topic name of one to four levels; never the empty string. */
export function randomTopic(random: Random): string {
  const levels: string[] = [];
  for (let n = 1 + random.next(4); n > 0; n--) levels.push(random.pick(LEVELS));
  return levels.join('/') || 'a';
}

/** A random valid topic filter. */
export function randomFilter(random: Random): string {
  const levels: string[] = [];
  for (let n = 1 + random.next(4); n > 0; n--) levels.push(random.next(3) === 0 ? '+' : random.pick(LEVELS));
  if (random.next(3) === 0) levels[levels.length - 1] = '#';
  return levels.join('/') || '+';
}

/** The plain definition of 4.7: does the filter match the topic name? */
export function matches(filter: string, topic: string): boolean {
  const want = filter.split('/');
  const have = topic.split('/');
  if (topic.startsWith('$') && (want[0] === '+' || want[0] === '#')) return false;
  for (let i = 0; i < want.length; i++) {
    if (want[i] === '#') return true;
    if (i >= have.length || (want[i] !== '+' && want[i] !== have[i])) return false;
  }
  return want.length === have.length;
}
