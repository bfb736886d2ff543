/*
 * The pairs of one segment of the history's index, put into order: by the radix sort, and by comparing, each pair as one number. Prints milliseconds for 250,000
 * pairs, best of ten rounds.
 * Run: node native-bench/micro/history-index.bench.js
 */
import { PairSorter } from '../../src/store/history-index.ts';

const PAIRS = 250_000;
const BLOCKS = 64;
const ROUNDS = 10;

const hashes = Uint32Array.from({ length: PAIRS }, () => Math.random() * 2 ** 32);
const places = Uint32Array.from({ length: PAIRS }, (_, i) => Math.floor((i * BLOCKS) / PAIRS));

function best(run: () => void): string {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const begin = performance.now();
    run();
    least = Math.min(least, performance.now() - begin);
  }
  return least.toFixed(1);
}

const sorter = new PairSorter();
const radix = best(() => sorter.sort(hashes, places, PAIRS));
const comparing = best(() => {
  const pairs = new Float64Array(PAIRS);
  for (let i = 0; i < PAIRS; i++) pairs[i] = hashes[i]! * 65_536 + places[i]!;
  pairs.sort();
});
console.log(`radix ${radix} ms, comparing ${comparing} ms`);
