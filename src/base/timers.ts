/**
 * A coarse timer wheel: slots of a quarter of a second, intrusive entries, one native timer for all of them. It owns "now": nothing else reads the clock on the hot path.
 *
 * Keep Alive, session expiry, will delay and connect timeouts need no milliseconds, and there may be a million of them; arming and disarming is a list
 * operation. Entries further away than one turn of the wheel stay in their slot until their deadline has come.
 * Invariant: an armed entry is in exactly one slot list; `advance` fires no entry before its deadline.
 */
import { assert } from './assert.ts';

const SLOTS = 4096;
/** How often `advance` is to be called; a timer fires at most this much (and the wait for the call) after its deadline. */
export const SLOT_MILLISECONDS = 250;

/** Ends of connections, which are the dearest, take 30 µs each. */
const FIRED_AT_ONCE = 100;

/** Milliseconds of wall time, with their fractions; a test passes its own. */
export type Clock = () => number;

/** One entry of the wheel. Who made it keeps it and may arm it again. */
export class Timer {
  deadline: number;
  previous: Timer | null;
  next: Timer | null;
  slot: number;
  private readonly act: (owner: unknown) => void;
  private readonly owner: unknown;

  constructor(act: (owner: unknown) => void, owner: unknown = null) {
    this.deadline = 0;
    this.previous = null;
    this.next = null;
    this.slot = -1;
    this.act = act;
    this.owner = owner;
  }

  /** For each of very many: they share one function, where closures would take some 100 bytes each. */
  static of<Owner>(owner: Owner, act: (owner: Owner) => void): Timer {
    return new Timer(act as (owner: unknown) => void, owner);
  }

  fire(): void {
    this.act(this.owner);
  }

  get isArmed(): boolean {
    return this.slot >= 0;
  }
}

/**
 * A clock that starts at wall time and then only runs forward, whatever happens to the wall clock, and reads the same in every thread of the process, to the microsecond.
 * @param origin made once for the process by `clockOrigin`
 */
export function steadyClock(origin: ClockOrigin): Clock {
  const offset = origin.wallMilliseconds + monotonicMilliseconds() - origin.monotonicMilliseconds - performance.now();
  return () => performance.now() + offset;
}

/** The same moment on the wall clock and on the machine's monotonic clock, in milliseconds. */
export interface ClockOrigin {
  readonly wallMilliseconds: number;
  readonly monotonicMilliseconds: number;
}

export function clockOrigin(): ClockOrigin {
  return { wallMilliseconds: Date.now(), monotonicMilliseconds: monotonicMilliseconds() };
}

function monotonicMilliseconds(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}

export class TimerWheel {
  /** Wall time in whole milliseconds, as of the last `tick`. */
  now: number;
  /** The same with its fraction. */
  exact: number;
  /** The same in microseconds modulo 2^30, for differences: a small integer, so that storing it allocates nothing. */
  microseconds: number;
  armedCount: number;
  /** The last `advance` has left something that is due. */
  isBehind: boolean;
  private readonly clock: Clock;
  private readonly slots: (Timer | null)[];
  private lastSlot: number;

  constructor(clock: Clock = Date.now) {
    this.clock = clock;
    this.now = 0;
    this.exact = 0;
    this.microseconds = 0;
    this.tick();
    this.lastSlot = Math.floor(this.now / SLOT_MILLISECONDS);
    this.slots = new Array<Timer | null>(SLOTS).fill(null);
    this.armedCount = 0;
    this.isBehind = false;
  }

  /** Reads the clock. Called once per loop turn. */
  tick(): number {
    const exact = this.clock();
    this.exact = exact;
    this.now = Math.floor(exact);
    this.microseconds = (exact * 1000) & 0x3fffffff;
    return this.now;
  }

  /** Microseconds from `microseconds`, as `this.microseconds` was then, to this very moment: reads the clock, and leaves `now` as it is. */
  since(microseconds: number): number {
    return (((this.clock() * 1000) & 0x3fffffff) - microseconds) & 0x3fffffff;
  }

  /** Wall time at this very moment, with its fraction; leaves `now` as it is. */
  read(): number {
    return this.clock();
  }

  /** This very moment, for `since` in any thread of the process. */
  moment(): number {
    return (this.clock() * 1000) & 0x3fffffff;
  }

  /** Arms `timer` to fire `milliseconds` from now (rounded up to a whole slot); an armed one is moved. */
  arm(timer: Timer, milliseconds: number): void {
    if (timer.slot >= 0) this.disarm(timer);
    timer.deadline = this.now + Math.max(0, milliseconds);
    // The wall clock may have been set back since the last `advance`: the timer must not wait until the old time has come again.
    this.lastSlot = Math.min(this.lastSlot, Math.floor(this.now / SLOT_MILLISECONDS));
    const due = Math.max(Math.ceil(timer.deadline / SLOT_MILLISECONDS), this.lastSlot + 1);
    const slot = due % SLOTS;
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

  /**
   * Fires what is due, so many at once; `isBehind` says that there is more, for the next call, which should come soon. Called about once in SLOT_MILLISECONDS. A clock
   * that jumped forward fires all that was passed, one that jumped back fires later.
   */
  advance(): void {
    let left = FIRED_AT_ONCE;
    this.isBehind = false;
    const now = this.tick();
    const current = Math.floor(now / SLOT_MILLISECONDS);
    if (current < this.lastSlot) {
      // The wall clock was set back: entries keep their slots and fire when their deadline comes again.
      this.lastSlot = current;
      return;
    }
    const from = Math.max(this.lastSlot + 1, current - SLOTS + 1);
    this.lastSlot = current;
    for (let s = from; s <= current; s++) {
      let timer = this.slots[s % SLOTS] ?? null;
      while (timer !== null) {
        const next: Timer | null = timer.next;
        if (timer.deadline <= now) {
          if (left-- === 0) {
            // This slot again.
            this.lastSlot = s - 1;
            this.isBehind = true;
            return;
          }
          this.disarm(timer);
          timer.fire();
        }
        // `fire` may disarm or arm others of this list: start over when the remembered one has moved.
        timer = next !== null && next.slot !== s % SLOTS ? (this.slots[s % SLOTS] ?? null) : next;
      }
    }
  }
}
