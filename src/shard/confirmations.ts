/**
 * Confirmations: who waits in this shard until a client has acknowledged a P2P message, or can no longer get it. The number of a waiter travels with the message, in memory and
 * on the rings, in the place of a receipt; whoever makes receipts tells it instead.
 *
 *   number = 2 + shard + 32 × serial        a small integer; never persisted
 *
 * A number may come again after 2^25 others, and a message may wait longer than that: so the target is compared as well. How many wait is bounded.
 */
import { utf8Bytes } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import { Timer } from '../base/timers.ts';
import { WRITERS_MAX } from '../journal/record.ts';
import { RECEIPT_TO_WAITER } from '../protocol/publish.ts';
import { shardOfSlot, slotOf } from '../routing/slot.ts';
import { counter } from './counters.ts';
import type { Shard } from './shard.ts';

const WAITING = counter('p2p/confirmations/waiting');
const REFUSED = counter('p2p/confirmations/refused');
const TIMED_OUT = counter('p2p/confirmations/timed-out');

/** Waiters of one shard. */
const WAITING_MAX = 20_000;
const SERIALS = 2 ** 25;

/**
 * What became of the message: `acknowledged`, `expired`, `dropped`, `session-ended`; `shard-failed`, the target's shard took it and has died, so that nobody can tell;
 * null: nothing in time.
 */
export type Confirmed = (status: string | null) => void;

interface Waiter {
  readonly target: string;
  /** Shard of the target. */
  readonly owner: number;
  /** That shard has answered for the message. Before that, a successor is sent the message again, number and all. */
  isTaken: boolean;
  readonly done: Confirmed;
  readonly timer: Timer;
}

export class Confirmations {
  private readonly shard: Shard;
  private readonly waiters: Map<number, Waiter>;
  private serial: number;

  constructor(shard: Shard) {
    this.shard = shard;
    this.waiters = new Map();
    // Not from 0: a message for which somebody waited in a predecessor of this shard must not meet one of ours.
    this.serial = Math.floor(Math.random() * SERIALS);
  }

  /**
   * Waits for the acknowledgement of `target`.
   * @param done called once, in a turn, unless it is forgotten before
   * @returns the number that the message must bear, for `MessageView.receipt`; 0: too many wait already
   */
  begin(target: string, milliseconds: number, done: Confirmed): number {
    const { shard, waiters } = this;
    if (waiters.size >= WAITING_MAX) {
      shard.counters[REFUSED]!++;
      return 0;
    }
    let waiter = 0;
    do {
      this.serial = (this.serial + 1) % SERIALS;
      waiter = RECEIPT_TO_WAITER + shard.index + this.serial * WRITERS_MAX;
    } while (waiters.has(waiter));
    const timer = new Timer(() => {
      shard.counters[TIMED_OUT]!++;
      shard.startTurn();
      this.end(waiter)?.done(null);
    });
    const id = utf8Bytes(target);
    const owner = shardOfSlot(slotOf(hash32(id, 0, id.length)), shard.shards);
    waiters.set(waiter, { target, owner, isTaken: false, done, timer });
    shard.counters[WAITING] = waiters.size;
    shard.timers.arm(timer, milliseconds);
    return waiter;
  }

  /** The shard of the target has the message. */
  taken(waiter: number): void {
    const found = this.waiters.get(waiter);
    if (found !== undefined) found.isTaken = true;
  }

  /** A shard has died: the number of a waiter is not stored, so what it took is acknowledged to nobody. */
  peerDied(peer: number): void {
    for (const [waiter, { owner, isTaken }] of [...this.waiters]) if (owner === peer && isTaken) this.end(waiter)?.done('shard-failed');
  }

  /** Tells the waiter, on whichever shard it is. */
  tell(waiter: number, target: string, status: string): void {
    const { shard } = this;
    const owner = (waiter - RECEIPT_TO_WAITER) % WRITERS_MAX;
    if (owner === shard.index) this.settle(waiter, target, status);
    else if (owner < shard.shards) shard.mesh.sendControl(owner, { kind: 'confirmed', waiter, target, status });
  }

  /** The message to `target` has come to its end. One that nobody waits for any more is no matter. */
  settle(waiter: number, target: string, status: string): void {
    if (this.waiters.get(waiter)?.target === target) this.end(waiter)!.done(status);
  }

  /** Nobody waits any more. */
  forget(waiter: number): void {
    this.end(waiter);
  }

  private end(waiter: number): Waiter | undefined {
    const found = this.waiters.get(waiter);
    if (found === undefined) return undefined;
    this.waiters.delete(waiter);
    this.shard.counters[WAITING] = this.waiters.size;
    this.shard.timers.disarm(found.timer);
    return found;
  }
}
