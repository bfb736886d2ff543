/*
 * What it costs to measure: one time in a histogram, one reading of the clock, the question whether a message is to be looked at, one look, the whole text for Prometheus. Each case
 * runs in a child process of its own, so that the type feedback of one does not slow another. Prints nanoseconds of CPU time, best of five rounds.
 * Run: node native-bench/micro/measures.bench.js [case]
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { utf8Bytes } from '../../src/base/bytes.ts';
import { clockOrigin, steadyClock, TimerWheel } from '../../src/base/timers.ts';
import { MessageView } from '../../src/protocol/publish.ts';
import { Measures, measuresBytes } from '../../src/shard/measures.ts';
import { SlowRoutes } from '../../src/shard/slow-routes.ts';

const ROUNDS = 5;

function best(count: number, run: (i: number) => number): number {
  let nanoseconds = Number.POSITIVE_INFINITY;
  let sum = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const begin = process.cpuUsage();
    for (let i = 0; i < count; i++) sum += run(i);
    const { user, system } = process.cpuUsage(begin);
    nanoseconds = Math.min(nanoseconds, ((user + system) * 1000) / count);
  }
  if (sum < 0) throw new Error('unreachable');
  return nanoseconds;
}

function views(): MessageView[] {
  return Array.from({ length: 1000 }, (_, i) => {
    const view = new MessageView();
    view.topicBytes = utf8Bytes(`plants/${i % 10}/machines/${i}/temperature`);
    view.topicAt = 0;
    view.topicEnd = view.topicBytes.length;
    return view;
  });
}

const CASES: Record<string, () => number> = {
  'a time in a histogram': () => {
    const { turn } = new Measures(new SharedArrayBuffer(measuresBytes(1)), 0);
    return best(20_000_000, (i) => {
      turn.add((i * 7919) & 0xfffff);
      return 1;
    });
  },
  'a turn: two readings of the clock, one time': () => {
    const measures = new Measures(new SharedArrayBuffer(measuresBytes(1)), 0);
    const timers = new TimerWheel(steadyClock(clockOrigin()));
    return best(3_000_000, () => {
      timers.tick();
      measures.turnEnded(timers.since(timers.microseconds));
      return 1;
    });
  },
  'a turn before: one reading of the clock': () => {
    const timers = new TimerWheel(steadyClock(clockOrigin()));
    return best(3_000_000, () => timers.tick() & 1);
  },
  'a message that is not looked at': () => {
    const routes = new SlowRoutes(2 ** 30);
    return best(50_000_000, () => (routes.isDue() ? 1 : 0));
  },
  'a message that is looked at, of 1,000 topics': () => {
    const routes = new SlowRoutes(1);
    const all = views();
    return best(500_000, (i) => {
      routes.add(all[(i * 7919) % 1000]!, 1 + (i % 10), 5);
      return 1;
    });
  },
};

const chosen = process.argv[2];
if (chosen !== undefined) {
  console.log(`${chosen.padEnd(48)} ${CASES[chosen]!().toFixed(1).padStart(8)} ns`);
} else {
  for (const name of Object.keys(CASES)) spawnSync(process.execPath, [fileURLToPath(import.meta.url), name], { stdio: 'inherit' });
}
