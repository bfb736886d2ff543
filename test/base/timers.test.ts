/*
 * Goal: a timer fires once, not before its deadline and within two slots after it, also beyond one turn of the wheel and when the clock jumps.
 * Method: a clock that the test moves; each rule by hand, then random arming, disarming and clock steps against a list that is searched.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { clockOrigin, steadyClock, Timer, TimerWheel, SLOT_MILLISECONDS as UNIT } from '../../src/base/timers.ts';
import { Random } from '../routing/random-topics.ts';

/** A quarter of a slot behind its beginning. */
const START = 1_700_000_000_000 + UNIT / 4;
/** Slots of one turn of the wheel. */
const TURN = 4096;

class FakeClock {
  now: number = START;
  readonly wheel: TimerWheel = new TimerWheel(() => this.now);

  /** Lets time pass slot by slot, as the shard does. */
  run(slots: number): void {
    for (let i = 0; i < slots; i++) {
      this.now += UNIT;
      this.wheel.advance();
    }
  }

  /** Sets the clock. */
  jump(seconds: number): void {
    this.now += seconds * UNIT;
    this.wheel.advance();
  }
}

/** A timer that notes when it fired, in milliseconds since the start. */
function noting(clock: FakeClock, fired: number[]): Timer {
  return new Timer(() => fired.push(clock.now - START));
}

test('fires once, not before its deadline and less than two slots after it', () => {
  for (const milliseconds of [0, 1, 186, 187, 188, UNIT, 1.5 * UNIT, 60 * UNIT - 1, 60 * UNIT]) {
    const clock = new FakeClock();
    const fired: number[] = [];
    const timer = noting(clock, fired);
    clock.wheel.arm(timer, milliseconds);
    assert.equal(timer.isArmed, true);
    clock.run(70);
    assert.equal(fired.length, 1, `${milliseconds} ms`);
    assert.ok(fired[0]! >= milliseconds && fired[0]! < milliseconds + 2 * UNIT, `${milliseconds} ms fired after ${fired[0]}`);
    assert.equal(timer.isArmed, false);
    assert.equal(clock.wheel.armedCount, 0);
  }
});

test('deadlines beyond one turn of the wheel wait in their slot', () => {
  const clock = new FakeClock();
  const fired: number[] = [];
  for (const seconds of [TURN - 1, TURN, TURN + 1, 2 * TURN, 3 * TURN + 5]) clock.wheel.arm(noting(clock, fired), seconds * UNIT);
  clock.run(3 * TURN + 10);
  assert.deepEqual(
    fired.map((at) => Math.floor(at / UNIT) - 1),
    [TURN - 1, TURN, TURN + 1, 2 * TURN, 3 * TURN + 5],
  );
});

test('the longest interval of the standard is armed and disarmed', () => {
  const clock = new FakeClock();
  const timer = new Timer(() => assert.fail('too early'));
  clock.wheel.arm(timer, 0xfffffffe * UNIT);
  clock.run(2 * TURN);
  assert.equal(timer.isArmed, true);
  clock.wheel.disarm(timer);
  assert.equal(clock.wheel.armedCount, 0);
});

test('arming again moves the deadline, disarming twice is nothing', () => {
  const clock = new FakeClock();
  const fired: number[] = [];
  const timer = noting(clock, fired);
  clock.wheel.arm(timer, 2 * UNIT);
  clock.run(1);
  clock.wheel.arm(timer, 5 * UNIT);
  assert.equal(clock.wheel.armedCount, 1);
  clock.run(5);
  assert.deepEqual(fired, []);
  clock.run(1);
  assert.equal(fired.length, 1);
  clock.wheel.disarm(timer);
  clock.wheel.arm(timer, UNIT);
  clock.wheel.disarm(timer);
  clock.wheel.disarm(timer);
  clock.run(5);
  assert.equal(fired.length, 1);
  assert.equal(clock.wheel.armedCount, 0);
});

describe('inside fire', () => {
  test('a timer arms itself again', () => {
    const clock = new FakeClock();
    let count = 0;
    const timer = new Timer(() => {
      count++;
      clock.wheel.arm(timer, 0);
    });
    clock.wheel.arm(timer, 0);
    clock.run(10);
    assert.equal(count, 10, 'once for each slot, never twice in one');
  });

  test('others of the same slot are disarmed, moved and armed', () => {
    for (let order = 0; order < 2; order++) {
      const clock = new FakeClock();
      const fired: string[] = [];
      const dropped = new Timer(() => fired.push('dropped'));
      const moved = new Timer(() => fired.push('moved'));
      const late = new Timer(() => fired.push('late'));
      const stays = new Timer(() => fired.push('stays'));
      const chief = new Timer(() => {
        fired.push('chief');
        clock.wheel.disarm(dropped);
        clock.wheel.arm(moved, 5 * UNIT);
        clock.wheel.arm(late, UNIT);
      });
      // The newest of a slot fires first: once the chief is the first, once behind some of the others.
      const all = [stays, dropped, moved, chief];
      if (order === 1) all.splice(0, all.length, dropped, moved, stays, chief, new Timer(() => fired.push('first')));
      for (const timer of all) clock.wheel.arm(timer, 2 * UNIT);
      clock.run(3);
      assert.deepEqual([...fired].sort(), order === 0 ? ['chief', 'stays'] : ['chief', 'first', 'stays']);
      clock.run(2);
      assert.equal(fired.at(-1), 'late');
      clock.run(5);
      assert.equal(fired.at(-1), 'moved');
      assert.equal(clock.wheel.armedCount, 0);
    }
  });

  test('after a jump of many turns, a timer that arms itself for at once fires once', () => {
    const clock = new FakeClock();
    let count = 0;
    const timers = Array.from({ length: 3 }, () => {
      const timer: Timer = new Timer(() => {
        count++;
        clock.wheel.arm(timer, 0);
      });
      return timer;
    });
    for (const timer of timers) clock.wheel.arm(timer, 0);
    for (const seconds of [TURN - 1, TURN, TURN + 1, 5 * TURN]) {
      count = 0;
      clock.jump(seconds);
      assert.equal(count, 3, `${seconds} s`);
    }
  });
});

test('a clock that jumps forward fires what was passed, and nothing else', () => {
  for (const seconds of [2, 100, TURN - 1, TURN, TURN + 1, 10 * TURN]) {
    const clock = new FakeClock();
    const fired: number[] = [];
    let expected = 0;
    for (const deadline of [1, 50, 99, 101, TURN - 2, TURN, TURN + 3, 9 * TURN, 11 * TURN]) {
      clock.wheel.arm(noting(clock, fired), deadline * UNIT);
      if (deadline < seconds) expected++;
    }
    clock.jump(seconds);
    assert.ok(fired.length === expected || fired.length === expected + 1, `${seconds}: ${fired.length} of ${expected}`);
    clock.jump(12 * TURN);
    assert.equal(fired.length, 9);
  }
});

test('a clock that jumps back fires when the deadline comes again', () => {
  const clock = new FakeClock();
  const fired: number[] = [];
  clock.wheel.arm(noting(clock, fired), 10 * UNIT);
  clock.run(5);
  clock.jump(-3600);
  clock.run(3600 + 4);
  assert.deepEqual(fired, []);
  clock.run(2);
  assert.equal(fired.length, 1);
  // What is armed after the jump counts from the clock as it is.
  clock.jump(-3600);
  clock.wheel.arm(noting(clock, fired), 2 * UNIT);
  clock.run(3);
  assert.equal(fired.length, 2);
});

test('what is armed between a jump back and the next advance does not wait for the old time', () => {
  const clock = new FakeClock();
  const fired: number[] = [];
  clock.run(5);
  clock.now -= 600_000;
  clock.wheel.tick();
  clock.wheel.arm(noting(clock, fired), 2 * UNIT);
  clock.run(5);
  assert.equal(fired.length, 1);
});

test('against a list that is searched', () => {
  const random = new Random('TimerWheel');
  const clock = new FakeClock();
  const due = new Map<Timer, number>();
  const timers: Timer[] = [];
  for (let i = 0; i < 300; i++) {
    const timer: Timer = new Timer(() => {
      const deadline = due.get(timer);
      assert.ok(deadline !== undefined && deadline <= clock.now, 'armed and due');
      due.delete(timer);
      if (random.next(4) === 0) arm(timer);
      if (random.next(4) === 0) disarm(random.pick(timers));
    });
    timers.push(timer);
  }
  function arm(timer: Timer): void {
    const milliseconds = random.next(3) === 0 ? random.next(3 * TURN * UNIT) : random.next(20_000);
    clock.wheel.arm(timer, milliseconds);
    due.set(timer, clock.wheel.now + milliseconds);
  }
  function disarm(timer: Timer): void {
    clock.wheel.disarm(timer);
    due.delete(timer);
  }
  for (let step = 0; step < 5 * UNIT; step++) {
    for (let i = random.next(5); i > 0; i--) arm(random.pick(timers));
    if (random.next(3) === 0) disarm(random.pick(timers));
    clock.now += random.next(50) === 0 ? random.next(2 * TURN * UNIT) : 300 + random.next(1500);
    clock.wheel.advance();
    assert.equal(clock.wheel.armedCount, due.size);
    const whole = Math.floor(clock.now / UNIT) * UNIT;
    for (const [timer, deadline] of due) assert.ok(timer.isArmed && deadline > whole - UNIT, 'what is due a second ago has fired');
  }
});

test('many that are due at once fire call by call, each once, and none waits for the next slot', () => {
  const clock = new FakeClock();
  const fired: number[] = [];
  for (let i = 0; i < 1000; i++) clock.wheel.arm(new Timer(() => fired.push(i)), i < 500 ? UNIT : 2 * UNIT);
  clock.now += 4 * UNIT;
  let calls = 0;
  do {
    const before = fired.length;
    clock.wheel.advance();
    assert.ok(fired.length - before <= 100, `${fired.length - before} at once`);
    calls++;
  } while (clock.wheel.isBehind);
  assert.equal(new Set(fired).size, 1000);
  assert.equal(fired.length, 1000);
  assert.equal(calls, 10);
  assert.ok(
    fired.slice(0, 500).every((i) => i < 500),
    'those that were due first come first',
  );
});

test('the steady clock agrees with the wall clock and between origins read twice', () => {
  const origin = clockOrigin();
  const clock = steadyClock(origin);
  const before = clock();
  assert.ok(Math.abs(before - Date.now()) < 1000, 'starts at wall time');
  const wheel = new TimerWheel(clock);
  assert.ok(
    Number.isInteger(wheel.now) && wheel.now <= wheel.exact && wheel.exact < wheel.now + 1,
    'whole milliseconds, and their fraction',
  );
  const moment = wheel.moment();
  assert.ok(wheel.since(moment) < 1_000_000, 'a difference of moments');
  assert.ok(clock() >= before, 'never runs back');
  assert.ok(Math.abs(steadyClock(origin)() - clock()) <= 50, 'the same origin gives the same time');
});
