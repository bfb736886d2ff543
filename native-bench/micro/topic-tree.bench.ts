/*
 * What a match costs in trees of the usual shapes, and what a filter costs in memory. Each case runs in a child process of its own, so that
 * the type feedback of one does not slow another. Prints nanoseconds per match, best of five rounds, or bytes per filter.
 * Run: node native-bench/micro/topic-tree.bench.js [case]
 */

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { readText } from '../../src/base/bytes.ts';
import { InterestTree } from '../../src/routing/interest.ts';
import { SubscriptionTree } from '../../src/routing/subscriptions.ts';
import { TopicTree } from '../../src/routing/topic-tree.ts';

const OPERATIONS = 200_000;
const ROUNDS = 5;
const DEVICES = 100_000;

function best(body: (i: number) => number): number {
  let bestNanoseconds = Number.POSITIVE_INFINITY;
  let sum = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const begin = process.hrtime.bigint();
    for (let i = 0; i < OPERATIONS; i++) sum += body(i);
    bestNanoseconds = Math.min(bestNanoseconds, Number(process.hrtime.bigint() - begin) / OPERATIONS);
  }
  // Using the sum keeps the compiler from dropping the work.
  if (Number.isNaN(sum)) throw new Error('a result was not a number');
  return bestNanoseconds;
}

function heapBytes(): number {
  const collect = (globalThis as unknown as { gc: () => void }).gc;
  collect();
  collect();
  return process.memoryUsage().heapUsed;
}

function flat(text: string): string {
  const bytes = Buffer.from(text);
  return readText(bytes, 0, bytes.length);
}

/** Topics as packets bring them: each a new flat string, not one whose hash the engine already knows. */
function topicOf(i: number): string {
  return flat(`site/device-${(i * 7919) % DEVICES}/state/temperature`);
}

function treeOf(wildcards: boolean): TopicTree<number> {
  const tree = new TopicTree<number>();
  for (let i = 0; i < DEVICES; i++) tree.set(`site/device-${i}/state/temperature`, i);
  if (wildcards) for (const filter of ['#', 'site/+/state/#', '+/+/+/temperature', 'site/#']) tree.set(filter, 1);
  return tree;
}

function matchCase(wildcards: boolean): number {
  const tree = treeOf(wildcards);
  const into: number[] = [];
  return best((i) => {
    into.length = 0;
    tree.match(topicOf(i), into);
    return into.length;
  });
}

function memoryCase(children: number): number {
  const filters = Array.from({ length: DEVICES }, (_, i) => flat(`site/device-${Math.floor(i / children)}/command-${i % children}`));
  const before = heapBytes();
  const tree = new TopicTree<number>();
  for (let i = 0; i < DEVICES; i++) tree.set(filters[i]!, i);
  return (heapBytes() - before) / tree.size;
}

function subscriptionCase(): number {
  const tree = new SubscriptionTree<object>();
  const options = { shareName: '', qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0, identifier: 0 };
  for (let i = 0; i < DEVICES; i++) tree.subscribe({ subscriber: {}, filter: `site/device-${i}/state/temperature`, ...options });
  tree.subscribe({ subscriber: {}, filter: 'site/#', ...options });
  return best((i) => tree.match(topicOf(i)).matches.length);
}

function interestCase(): number {
  const tree = new InterestTree();
  for (let i = 0; i < DEVICES; i++) tree.add(`site/device-${i}/state/temperature`, i & 1);
  tree.add('site/#', 0);
  return best((i) => tree.match(topicOf(i)).shardMask);
}

const CASES: Record<string, () => number> = {
  'make the topic string alone, ns': () => best((i) => topicOf(i).length),
  'match, 100,000 filters, ns': () => matchCase(false),
  'match, 100,000 filters and 4 wildcards, ns': () => matchCase(true),
  'subscriptions, match of 2, ns': subscriptionCase,
  'interest, match of 2, ns': interestCase,
  'memory, 1 filter below each device, bytes': () => memoryCase(1),
  'memory, 3 filters below each device, bytes': () => memoryCase(3),
  'memory, 10 filters below each device, bytes': () => memoryCase(10),
};

const chosen = process.argv[2];
if (chosen !== undefined) {
  console.log(`${chosen.padEnd(48)} ${CASES[chosen]!().toFixed(0).padStart(8)}`);
} else {
  for (const name of Object.keys(CASES)) {
    spawnSync(process.execPath, ['--expose-gc', fileURLToPath(import.meta.url), name], { stdio: 'inherit' });
  }
}
