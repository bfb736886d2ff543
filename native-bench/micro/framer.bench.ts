/*
 * What it costs to find one packet in a receive buffer. Each case runs in a child process of its own, so that the type feedback of one does
 * not slow another. Prints nanoseconds per packet, best of five rounds.
 * Run: node native-bench/micro/framer.bench.js [case]
 */

import { spawnSync } from 'node:child_process';
import { writeVarint } from '../../src/base/bytes.ts';
import { Frame, readFrame } from '../../src/protocol/framer.ts';

const PACKETS = 500;
const PASSES = 4_000;
const ROUNDS = 5;

/** A buffer full of packets with bodies of the given size; returns the nanoseconds that one takes in the best round. */
function findPackets(bodyBytes: number): number {
  const bytes = Buffer.alloc(PACKETS * (bodyBytes + 5));
  let end = 0;
  for (let i = 0; i < PACKETS; i++) {
    bytes[end] = 0x30;
    end = writeVarint(bytes, end + 1, bodyBytes) + bodyBytes;
  }
  const frame = new Frame();
  let bestNanoseconds = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const begin = process.hrtime.bigint();
    let found = 0;
    for (let pass = 0; pass < PASSES; pass++) {
      let at = 0;
      while (readFrame(frame, bytes, at, end, 1_048_576) === 0) {
        at = frame.bodyEnd;
        found++;
      }
    }
    bestNanoseconds = Math.min(bestNanoseconds, Number(process.hrtime.bigint() - begin) / found);
    if (found !== PACKETS * PASSES) throw new Error(`found ${found} packets`);
  }
  return bestNanoseconds;
}

const cases = new Map<string, () => number>([
  ['frame of 2 bytes', () => findPackets(0)],
  ['frame of 100 bytes', () => findPackets(98)],
  ['frame of 1000 bytes', () => findPackets(997)],
]);

const wanted = process.argv[2];
if (wanted !== undefined && cases.has(wanted)) {
  console.log(`${wanted}: ${cases.get(wanted)!().toFixed(1)} ns`);
} else {
  for (const name of cases.keys()) {
    if (wanted !== undefined && !name.includes(wanted)) continue;
    spawnSync(process.execPath, [process.argv[1]!, name], { stdio: 'inherit' });
  }
}
