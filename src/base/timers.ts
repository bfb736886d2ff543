/**
 * A coarse timer wheel: one-second slots, intrusive entries, one native timer for all of them. It owns "now": nothing else reads the clock on the hot path.
 *
 * Keep Alive, session expiry, will delay and connect timeouts need seconds, not milliseconds, and there may be a million of them; arming and
 * disarming is a list operation. Entries further away than one turn of the wheel stay in their slot until their deadline has come.
 * Invariant: an armed entry is in exactly one slot list; `advance` fires no entry before its deadline.
 */
import { assert } from './assert.ts';

const SLOTS = 4096;

/** Milliseconds of wall time; a test passes its own. */
export type Clock = () => number;

/** One entry of the wheel. Its owner keeps it and may arm it again. */
export class Timer {
  deadline: number;
  previous: Timer | null;
  next: Timer | null;
  slot: number;
  readonly fire: () => void;

  constructor(fire: () => void) {
    this.deadline = 0;
    this.previous = null;
    this.next = null;
    this.slot = -1;
    this.fire = fire;
  }

  get isArmed(): boolean {
    return this.slot >= 0;
  }
}

export class TimerWheel {
  /** Wall time in milliseconds, as of the last `tick`. */
  now: number;
  armedCount: number;
  private readonly clock: Clock;
  private readonly slots: (Timer | null)[];
  private lastSecond: number;

  constructor(clock: Clock = Date.now) {
    this.clock = clock;
    this.now = clock();
    this.lastSecond = Math.floor(this.now / 1000);
    this.slots = new Array<Timer | null>(SLOTS).fill(null);
    this.armedCount = 0;
  }

  /** Reads the clock. Called once per loop turn. */
  tick(): number {
    this.now = this.clock();
    return this.now;
  }

  /** Arms `timer` to fire `milliseconds` from now (rounded up to a whole second); an armed one is moved. */
  arm(timer: Timer, milliseconds: number): void {
    if (timer.slot >= 0) this.disarm(timer);
    timer.deadline = this.now + Math.max(0, milliseconds);
    // The wall clock may have been set back since the last `advance`: the timer must not wait until the old time has come again.
    this.lastSecond = Math.min(this.lastSecond, Math.floor(this.now / 1000));
    const second = Math.max(Math.ceil(timer.deadline / 1000), this.lastSecond + 1);
    const slot = second % SLOTS;
    const head = this.slots[slot] ?? null;
    timer.slot = slot;
    timer.previous = null;
    timer.next = head;
    if (head !== null) head.previous = timer;
    this.slots[slot] = timer;
    this.armedCount++;
  }

  disarm(timer: Timer): void {
    if (timer.slot < 0) return;
    if (timer.previous !== null) timer.previous.next = timer.next;
    else this.slots[timer.slot] = timer.next;
    if (timer.next !== null) timer.next.previous = timer.previous;
    timer.slot = -1;
    timer.previous = null;
    timer.next = null;
    this.armedCount--;
    assert(this.armedCount >= 0, 'a timer is disarmed once');
  }

  /** Fires what is due. Called about once a second; a clock that jumped forward fires all that was passed, one that jumped back fires later. */
  advance(): void {
    const now = this.tick();
    const second = Math.floor(now / 1000);
    if (second < this.lastSecond) {
      // The wall clock was set back: entries keep their slots and fire when their deadline comes again.
      this.lastSecond = second;
      return;
    }
    const from = Math.max(this.lastSecond + 1, second - SLOTS + 1);
    this.lastSecond = second;
    for (let s = from; s <= second; s++) {
      let timer = this.slots[s % SLOTS] ?? null;
      while (timer !== null) {
        const next: Timer | null = timer.next;
        if (timer.deadline <= now) {
          this.disarm(timer);
          timer.fire();
        }
        // `fire` may disarm or arm others of this list: start over when the remembered one has moved.
        timer = next !== null && next.slot !== s % SLOTS ? (this.slots[s % SLOTS] ?? null) : next;
      }
    }
  }
}
