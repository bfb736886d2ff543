/*
 * What the hash, the cache of topics, the map by bytes and the reading of an address cost on the way of one PUBLISH. Each case runs in a child
 * process of its own, so that the type feedback of one does not slow another. Prints nanoseconds per operation, best of five rounds.
 * Run: node native-bench/micro/topic-cache.bench.js [case]
 */

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { ByteMap } from '../../src/base/byte-map.ts';
import { hash32 } from '../../src/base/hash.ts';
import { P2pAddress, parseP2pTopic } from '../../src/routing/p2p-address.ts';
import { TopicCache } from '../../src/routing/topic-cache.ts';

const OPERATIONS = 1_000_000;
const ROUNDS = 5;

interface Entry {
  readonly version: number;
}

function best(body: (i: number) => number): number {
  let bestNanoseconds = Number.POSITIVE_INFINITY;
  let sum = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const begin = process.hrtime.bigint();
    for (let i = 0; i < OPERATIONS; i++) sum += body(i + round * OPERATIONS);
    bestNanoseconds = Math.min(bestNanoseconds, Number(process.hrtime.bigint() - begin) / OPERATIONS);
  }
  // Using the sum keeps the compiler from dropping the work.
  if (Number.isNaN(sum)) throw new Error('a result was not a number');
  return bestNanoseconds;
}

/** `count` texts one after the other in one array, as they lie in a receive buffer. */
class Texts {
  readonly bytes: Buffer;
  readonly at: Int32Array;
  readonly count: number;

  constructor(count: number, textOf: (i: number) => string) {
    const parts = Array.from({ length: count }, (_, i) => Buffer.from(textOf(i)));
    this.bytes = Buffer.concat(parts);
    this.count = count;
    this.at = new Int32Array(count + 1);
    for (let i = 0; i < count; i++) this.at[i + 1] = this.at[i]! + parts[i]!.length;
  }
}

function cacheCase(count: number, entriesMax: number): number {
  const texts = new Texts(count, (i) => `site/device-${i}/temperature`);
  const cache = new TopicCache<Entry>(entriesMax, 1 << 26);
  const entry = { version: 1 };
  const { bytes, at } = texts;
  let next = 0;
  return best(() => {
    next = next + 1 === count ? 0 : next + 1;
    const from = at[next]!;
    const to = at[next + 1]!;
    const hash = hash32(bytes, from, to);
    if (cache.get(bytes, from, to, hash, 1) !== undefined) return 1;
    cache.put(bytes, from, to, hash, entry, 100);
    return 0;
  });
}

function byteMapCase(count: number): number {
  const { bytes, at } = new Texts(count, (i) => `client-${i}`);
  const map = new ByteMap<Entry>();
  for (let i = 0; i < count; i++) {
    const key = Uint8Array.prototype.slice.call(bytes, at[i]!, at[i + 1]!);
    map.set(key, hash32(key, 0, key.length), { version: i });
  }
  let next = 0;
  return best(() => {
    next = (next + 7919) % count;
    const from = at[next]!;
    const to = at[next + 1]!;
    return map.get(bytes, from, to, hash32(bytes, from, to))!.version;
  });
}

function hashCase(length: number): number {
  const { bytes, at } = new Texts(1024, (i) => `${i}-abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz`.substring(0, length));
  return best((i) => hash32(bytes, at[i & 1023]!, at[(i & 1023) + 1]!));
}

function addressCase(textOf: (i: number) => string): number {
  const { bytes, at } = new Texts(1024, textOf);
  const address = new P2pAddress();
  return best((i) => parseP2pTopic(address, bytes, at[i & 1023]!, at[(i & 1023) + 1]!) + address.clientIdAt);
}

const CASES: Record<string, () => number> = {
  'hash, 12 bytes': () => hashCase(12),
  'hash, 24 bytes': () => hashCase(24),
  'hash, 48 bytes': () => hashCase(48),
  'cache hit with hash, 100 topics': () => cacheCase(100, 16_384),
  'cache hit with hash, 10,000 topics': () => cacheCase(10_000, 65_536),
  'cache miss with hash and put, 500,000 topics': () => cacheCase(500_000, 16_384),
  'map by bytes with hash, 1,000 clients': () => byteMapCase(1000),
  'map by bytes with hash, 100,000 clients': () => byteMapCase(100_000),
  'address, point-to-point topic': () => addressCase((i) => `devices/p2p/client-${i}`),
  'address, ordinary topic': () => addressCase((i) => `site/device-${i}/temperature`),
};

const chosen = process.argv[2];
if (chosen !== undefined) {
  console.log(`${chosen.padEnd(48)} ${CASES[chosen]!().toFixed(1).padStart(8)} ns`);
} else {
  for (const name of Object.keys(CASES)) spawnSync(process.execPath, [fileURLToPath(import.meta.url), name], { stdio: 'inherit' });
}
