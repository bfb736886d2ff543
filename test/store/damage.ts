/*
 * Damages to the file of a store, and random numbers that can be had again: a failed test prints the seed, and the variable that takes it.
 */
import { sealRecord } from '../../src/journal/record.ts';

/** Numbers from a seed. */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 0x100000000) * limit);
  }
}

/** The seed that a variable of the environment gives, or a new one. */
export function seedOf(variable: string): number {
  return Number(process.env[variable] ?? Math.floor(Math.random() * 1_000_000));
}

/** A record that holds one message of `size` bytes without a receiver. */
export function recordOf(record: number, size: number): Buffer {
  const length = 32 + 32 + size;
  const bytes = Buffer.alloc((length + 7) & ~7, record & 0xff);
  bytes.fill(0, 32, 64);
  bytes.writeUInt32LE(1, 32);
  bytes.writeUInt32LE(32 + size, 36);
  bytes.writeUInt32LE(size, 56);
  sealRecord(bytes, bytes.length, record, 1);
  return bytes;
}

export const damageKinds = [
  'cut',
  'zeroes',
  'page head',
  'page table',
  'bytes',
  'meta page',
  'meta bit',
  'noise',
  'swapped pages',
  'bit',
] as const;
export type DamageKind = (typeof damageKinds)[number];

const PAGE_BYTES = 4096;

/** The file after a damage of this kind. */
export function damageFile(original: Buffer, kind: DamageKind, random: Random): Buffer {
  const bytes = Buffer.from(original);
  const pages = Math.floor(bytes.length / PAGE_BYTES);
  const scramble = (from: number, to: number): void => {
    for (let at = from; at < to && at < bytes.length; at++) bytes[at] = random.below(256);
  };
  switch (kind) {
    case 'cut':
      return bytes.subarray(0, 1 + random.below(bytes.length - 1));
    case 'zeroes': {
      const page = random.below(pages);
      return bytes.fill(0, page * PAGE_BYTES, Math.min(bytes.length, (page + 1 + random.below(4)) * PAGE_BYTES));
    }
    case 'page head': {
      const page = random.below(pages);
      scramble(page * PAGE_BYTES, page * PAGE_BYTES + 24);
      return bytes;
    }
    case 'page table': {
      const page = random.below(pages);
      scramble(page * PAGE_BYTES + 20, page * PAGE_BYTES + 20 + random.below(40));
      return bytes;
    }
    case 'bytes':
      for (let i = random.below(16); i >= 0; i--) bytes[random.below(bytes.length)] = random.below(256);
      return bytes;
    case 'meta page': {
      const page = random.below(2);
      scramble(page * PAGE_BYTES + 24, page * PAGE_BYTES + 160);
      return bytes;
    }
    case 'meta bit':
      bytes[random.below(2) * PAGE_BYTES + random.below(168)]! ^= 1 << random.below(8);
      return bytes;
    case 'noise': {
      const from = random.below(bytes.length);
      scramble(from, from + random.below(100_000));
      return bytes;
    }
    case 'swapped pages': {
      const one = 2 + random.below(pages - 2);
      const other = 2 + random.below(pages - 2);
      const held = Buffer.from(bytes.subarray(one * PAGE_BYTES, (one + 1) * PAGE_BYTES));
      bytes.copy(bytes, one * PAGE_BYTES, other * PAGE_BYTES, (other + 1) * PAGE_BYTES);
      held.copy(bytes, other * PAGE_BYTES);
      return bytes;
    }
    case 'bit':
      bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
      return bytes;
  }
}
