/*
 * What it costs to ask whether a message may pass: a bucket of one client, one that shards share, and all scopes of a PUBLISH. Each case runs in a child process of its own,
 * so that the type feedback of one does not slow another. Prints nanoseconds of CPU time per message, best of five rounds.
 * Run: node native-bench/micro/bucket.bench.js [case]
 */

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Bucket, Limit, Pool } from '../../src/shard/bucket.ts';
import { Scope } from '../../src/shard/quota-scope.ts';

const MESSAGES = 2_000_000;
const ROUNDS = 5;
/** Messages that are handled in one millisecond of the clock. */
const PER_MILLISECOND = 200;

function best(ask: (now: number) => number): number {
  let nanoseconds = Number.POSITIVE_INFINITY;
  let now = 1_700_000_000_000;
  let passed = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const begin = process.cpuUsage();
    for (let i = 0; i < MESSAGES; i++) {
      if (i % PER_MILLISECOND === 0) now++;
      passed += ask(now);
    }
    const { user, system } = process.cpuUsage(begin);
    nanoseconds = Math.min(nanoseconds, ((user + system) * 1000) / MESSAGES);
  }
  if (passed < 0) throw new Error('unreachable');
  return nanoseconds;
}

function bucket(perSecond: number, isShared: boolean): Bucket {
  const pool = isShared ? new Pool(new BigInt64Array(new SharedArrayBuffer(8)), 0) : null;
  return new Bucket(new Limit({ perSecond, burst: perSecond }, pool, 2), 1_700_000_000_000);
}

function oneCase(perSecond: number, isShared: boolean, isLow: boolean): number {
  const one = bucket(perSecond, isShared);
  return best((now) => {
    if (!one.has(now, isLow)) return 0;
    one.spend(1);
    return 1;
  });
}

/** Client, group, listener and broker, each with messages and bytes. */
function scopesCase(perSecond: number): number {
  const inbound = { messagesIn: null, bytesIn: null, overLimit: 'reject' } as const;
  const scopes = [false, true, true, true].map(
    (isShared) => new Scope('scope', inbound, bucket(perSecond, isShared), bucket(perSecond * 100, isShared)),
  );
  return best((now) => {
    for (let i = 0; i < scopes.length; i++) if (!scopes[i]!.has(now, false)) return 0;
    for (let i = 0; i < scopes.length; i++) scopes[i]!.spend(64);
    return 1;
  });
}

const CASES: Record<string, () => number> = {
  'a client’s bucket, room': () => oneCase(1_000_000, false, false),
  'a client’s bucket, used up': () => oneCase(1000, false, false),
  'a shared bucket, room': () => oneCase(1_000_000, true, false),
  'a shared bucket, used up': () => oneCase(1000, true, false),
  'a shared bucket, QoS 0, used up': () => oneCase(1000, true, true),
  'four scopes of messages and bytes, room': () => scopesCase(1_000_000),
  'four scopes of messages and bytes, used up': () => scopesCase(1000),
};

const chosen = process.argv[2];
if (chosen !== undefined) {
  console.log(`${chosen.padEnd(48)} ${CASES[chosen]!().toFixed(1).padStart(8)} ns`);
} else {
  for (const name of Object.keys(CASES)) spawnSync(process.execPath, [fileURLToPath(import.meta.url), name], { stdio: 'inherit' });
}
