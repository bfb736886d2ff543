/**
 * GroupTable: where all shards find the pools of a group, without asking each other: a table in shared memory, by a hash of the group's name.
 *
 *   sha256(name) ──▶ place, or one of the next few ── key · pool of messages · pool of bytes · connections of each shard
 *
 * A place belongs to its name while a shard has connections of it, or a pool is not full yet; then another name may have it. No place is cleaned when a shard dies: its successor
 * begins with no connections. Two names that get hold of one place in the same moment share its limits, which lets nobody pass too much.
 */
import { createHash } from 'node:crypto';
import { Pool } from './bucket.ts';

/** Groups that are known at a time, of all shards. */
export const GROUPS_MAX = 16_384;
/** Places that one name may have. */
const PROBES = 16;
const WORD = 8;
const POOLS = 2;

/** Bytes of SharedArrayBuffer. */
export function groupTableBytes(shards: number): number {
  return GROUPS_MAX * (WORD + POOLS * WORD + shards * 4);
}

export class GroupTable {
  private readonly keys: BigInt64Array;
  private readonly words: BigInt64Array;
  /** A row of all shards for each place. */
  private readonly connections: Int32Array;
  private readonly shards: number;
  private readonly index: number;

  /** @param at where the table begins; @param index of this shard, whose predecessor's connections are forgotten */
  constructor(shared: SharedArrayBuffer, at: number, index: number, shards: number) {
    this.keys = new BigInt64Array(shared, at, GROUPS_MAX);
    this.words = new BigInt64Array(shared, at + GROUPS_MAX * WORD, GROUPS_MAX * POOLS);
    this.connections = new Int32Array(shared, at + GROUPS_MAX * WORD * (1 + POOLS), GROUPS_MAX * shards);
    this.shards = shards;
    this.index = index;
    for (let slot = 0; slot < GROUPS_MAX; slot++) Atomics.store(this.connections, slot * shards + index, 0);
  }

  /** Finds the place of a group, and counts one connection of this shard there. @returns -1 when there is none */
  join(name: string, now: number): number {
    const key = keyOf(name);
    for (let attempt = 0; attempt < PROBES; attempt++) {
      const slot = this.find(key) ?? this.take(key, now);
      if (slot === undefined) return -1;
      this.enter(slot);
      // Another shard may have found an earlier place meanwhile, or another name this one.
      if (this.find(key) === slot) return slot;
      this.leave(slot);
    }
    return -1;
  }

  enter(slot: number): void {
    Atomics.add(this.connections, slot * this.shards + this.index, 1);
  }

  leave(slot: number): void {
    Atomics.sub(this.connections, slot * this.shards + this.index, 1);
  }

  /** Connections of the group, in all shards. */
  count(slot: number): number {
    let sum = 0;
    for (let shard = 0; shard < this.shards; shard++) sum += Atomics.load(this.connections, slot * this.shards + shard);
    return sum;
  }

  messages(slot: number): Pool {
    return new Pool(this.words, slot * POOLS);
  }

  bytes(slot: number): Pool {
    return new Pool(this.words, slot * POOLS + 1);
  }

  private find(key: bigint): number | undefined {
    for (let probe = 0; probe < PROBES; probe++) {
      const slot = place(key, probe);
      if (Atomics.load(this.keys, slot) === key) return slot;
    }
    return undefined;
  }

  private take(key: bigint, now: number): number | undefined {
    for (let probe = 0; probe < PROBES; probe++) {
      const slot = place(key, probe);
      const was = Atomics.load(this.keys, slot);
      const isFree = was === 0n || (this.count(slot) === 0 && this.messages(slot).isFull(now) && this.bytes(slot).isFull(now));
      if (isFree && Atomics.compareExchange(this.keys, slot, was, key) === was) return slot;
    }
    return undefined;
  }
}

/** Never 0, which is a place without a name. */
function keyOf(name: string): bigint {
  return createHash('sha256').update(name).digest().readBigInt64LE() | 1n;
}

function place(key: bigint, probe: number): number {
  return (Number((key >> 1n) & BigInt(GROUPS_MAX - 1)) + probe) % GROUPS_MAX;
}
