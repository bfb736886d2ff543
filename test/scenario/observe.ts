/*
 * What scenario tests see of a broker from outside: its counters in `$SYS`, its descriptors and its memory in /proc. And the seeded random numbers of the
 * scenarios. Nothing here sleeps: a condition is looked at again whenever the broker has published its counters, once a second.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { type BrokerOptions, startBroker, type TestBroker } from '../support/broker.ts';
import { connect, payloadText, type TestClient } from '../support/client.ts';

const { SCENARIO_LONG, ATTACKS_LONG, SEED } = process.env;

/** SCENARIO_LONG=1 asks for the long form of the heavy scenarios. */
export const isLong: boolean = SCENARIO_LONG === '1';

/** Longest life of a broker on a stage. */
export const STAGE_MILLISECONDS_MAX: number = isLong || ATTACKS_LONG === '1' ? 900_000 : 90_000;

/** How many counter rounds a condition may take. */
const ROUNDS_MAX = 30;

/** Starts a broker that does not outlive its test, so that a failed one cannot hold up the file. */
export async function stage(t: TestContext, options: BrokerOptions = {}): Promise<TestBroker> {
  const broker = await startBroker(options);
  // A scenario that waits for what will not come ends with its broker.
  const late = setTimeout(() => void broker.kill(), STAGE_MILLISECONDS_MAX);
  t.after(async () => {
    clearTimeout(late);
    await broker.kill();
  });
  return broker;
}

/** Broker options that `CounterWatch` needs. */
export const WATCHED: { readonly 'mqtt.sysInterval': number } = { 'mqtt.sysInterval': 1 };

/** A client that follows `$SYS/broker/#`. The counters are sums over all shards. */
export class CounterWatch {
  private readonly client: TestClient;
  private readonly values = new Map<string, string>();
  private readonly waiters = new Set<() => void>();
  private failure: Error | undefined;

  private constructor(client: TestClient) {
    this.client = client;
  }

  static async open(
    port: number,
    clientId = `watch-${process.pid}`,
    login: { readonly username?: string; readonly password?: string } = {},
  ): Promise<CounterWatch> {
    const client = await connect(port, { clientId, ...login });
    const watch = new CounterWatch(client);
    await client.subscribe('$SYS/broker/#');
    void watch.follow();
    return watch;
  }

  private async follow(): Promise<void> {
    try {
      for (;;) {
        const message = await this.client.next();
        const name = message.topic.slice('$SYS/broker/'.length);
        this.values.set(name, payloadText(message));
        // The last counter of a round: everything of this round is known.
        if (name === LAST_OF_ROUND && !message.retain) this.wake();
      }
    } catch (error) {
      this.failure = error as Error;
      this.wake();
    }
  }

  private wake(): void {
    const waiters = [...this.waiters];
    this.waiters.clear();
    for (const waiter of waiters) waiter();
  }

  /** Waits for the next round of counters. */
  async round(): Promise<void> {
    await new Promise<void>((resolve) => {
      if (this.failure === undefined) this.waiters.add(resolve);
      else resolve();
    });
    if (this.failure !== undefined) throw this.failure;
  }

  /** The counter as of the last round. */
  value(name: string): number {
    return Number(this.values.get(name) ?? Number.NaN);
  }

  /** A value that was published after this call. */
  async fresh(name: string): Promise<number> {
    // The round under way may have been counted before the call.
    await this.round();
    await this.round();
    return this.value(name);
  }

  /** Waits until the condition holds, looking again after every round of counters. */
  async until(what: string, holds: () => boolean, show: () => unknown = () => ''): Promise<void> {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      if (holds()) return;
      await this.round();
    }
    assert.ok(holds(), `${what}: not within ${ROUNDS_MAX} rounds of counters (${String(show())})`);
  }

  /** Waits until the counter has a value that `accepts` likes. */
  async reaches(name: string, accepts: (value: number) => boolean): Promise<number> {
    await this.until(
      name,
      () => accepts(this.value(name)),
      () => this.value(name),
    );
    return this.value(name);
  }

  async close(): Promise<void> {
    await this.client.destroy();
  }
}

const LAST_OF_ROUND = 'retained/queries/refused';

/** Open file descriptors of a process. */
export function descriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Resident bytes of a process. */
export function residentBytesOf(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
  return Number(line?.[1]) * 1024;
}

/** SEED from the environment, else a new one; printed either way, so that a run can be repeated. */
export function drawSeed(name: string): number {
  const seed = SEED === undefined ? Date.now() % 0x7fffffff : Number(SEED);
  process.stdout.write(`${name}: SEED=${seed}\n`);
  return seed;
}

/** Random numbers that a seed repeats. */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed | 0;
  }

  /** A whole number from 0 to `count` - 1. */
  below(count: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let word = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    word = (word + Math.imul(word ^ (word >>> 7), 61 | word)) ^ word;
    return ((word ^ (word >>> 14)) >>> 0) % count;
  }

  /** True once in `count` times. */
  oneIn(count: number): boolean {
    return this.below(count) === 0;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

/** Runs `count` jobs, at most `width` at a time. */
export async function inParallel(count: number, width: number, job: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await job(next++);
  };
  await Promise.all(Array.from({ length: Math.min(width, count) }, lane));
}
