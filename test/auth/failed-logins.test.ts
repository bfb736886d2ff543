/*
 * Goal: failed logins are counted by address and by name, in windows that end, however many come at a time; the tables are bounded; who has logged in before keeps
 * his way in.
 * Method: a clock in the test's hand.
 */
import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import test, { describe } from 'node:test';
import { FailedLogins } from '../../src/auth/failed-logins.ts';
import { Gone } from '../../src/auth/turns.ts';

const LIMITS = { windowMilliseconds: 1000, perAddress: 3, perName: 5 };
const { signal } = new AbortController();
setMaxListeners(0, signal);

/** One login. @returns why it was not judged; null: it was */
async function attempt(failed: FailedLogins, address: string, name: string | null, now: number, isRight = false): Promise<string | null> {
  const entered = await failed.enter(address, name, () => now, signal);
  if (typeof entered === 'string') return entered;
  failed.leave(entered, !isRight, now);
  if (isRight) failed.succeeded(entered);
  return null;
}

describe('failed logins', () => {
  test('an address is refused from the limit on until its window ends', async () => {
    const failed = new FailedLogins(LIMITS);
    for (let n = 0; n < 3; n++) assert.equal(await attempt(failed, '10.0.0.1', `name${n}`, n), null);
    assert.match((await attempt(failed, '10.0.0.1', null, 999)) ?? '', /address/);
    assert.equal(await attempt(failed, '10.0.0.2', null, 999, true), null);
    assert.equal(await attempt(failed, '10.0.0.1', null, 1000), null, 'the window began with the first failure');
    assert.equal(await attempt(failed, '10.0.0.1', null, 1001), null, 'a new window counts from the beginning');
  });

  test('right logins count for nothing', async () => {
    const failed = new FailedLogins(LIMITS);
    for (let n = 0; n < 50; n++) assert.equal(await attempt(failed, '10.0.0.1', 'pump', 0, true), null);
  });

  test('a name is refused to all but those who have used it', async () => {
    const failed = new FailedLogins(LIMITS);
    await attempt(failed, '10.0.0.9', 'pump', 0, true);
    for (let n = 0; n < 5; n++) assert.equal(await attempt(failed, `10.0.1.${n}`, 'pump', 0), null);
    assert.match((await attempt(failed, '10.0.2.1', 'pump', 1, true)) ?? '', /name/);
    assert.equal(await attempt(failed, '10.0.0.9', 'pump', 1, true), null);
    assert.equal(await attempt(failed, '10.0.2.1', 'valve', 1, true), null);
    assert.equal(await attempt(failed, '10.0.2.1', 'pump', 1000, true), null);
  });

  test('those under way count as failed until it is known', async () => {
    const failed = new FailedLogins(LIMITS);
    const first = await Promise.all([0, 1, 2].map(() => failed.enter('10.0.0.1', null, () => 0, signal)));
    const order: number[] = [];
    const later = [3, 4, 5].map(async (n) => {
      const entered = await failed.enter('10.0.0.1', null, () => 0, signal);
      order.push(n);
      return entered;
    });
    const controller = new AbortController();
    const gone = failed.enter('10.0.0.1', null, () => 0, controller.signal);
    controller.abort();
    await assert.rejects(gone, Gone);
    assert.deepEqual(order, []);
    for (const [n, entered] of first.entries()) if (typeof entered !== 'string') failed.leave(entered, n > 0, 0);
    const third = await later[0]!;
    assert.ok(typeof third !== 'string', 'the place of the one that was right');
    failed.leave(third, true, 0);
    assert.deepEqual(
      (await Promise.all(later.slice(1))).map((one) => typeof one),
      ['string', 'string'],
    );
    assert.deepEqual(order, [3, 4, 5]);
  });

  test('addresses of IPv6 count by their network', async () => {
    const failed = new FailedLogins(LIMITS);
    for (const address of ['2001:db8:0:7::1', '2001:db8:0:7:aaaa::2', '2001:db8:0:7:1:2:3:4']) await attempt(failed, address, null, 0);
    assert.notEqual(await attempt(failed, '2001:db8:0:7:ffff::', null, 1), null);
    assert.equal(await attempt(failed, '2001:db8:0:8::1', null, 1), null);
    for (const address of ['::1', '::1', '0:0:0:0::1']) await attempt(failed, address, null, 0);
    assert.notEqual(await attempt(failed, '::1', null, 1), null);
    assert.equal(await attempt(failed, '1::', null, 1), null);
  });

  test('no limit, and no address', async () => {
    const open = new FailedLogins({ windowMilliseconds: 1000, perAddress: 0, perName: 0 });
    const failed = new FailedLogins(LIMITS);
    for (let n = 0; n < 50; n++) {
      assert.equal(await attempt(open, '10.0.0.1', 'pump', n), null);
      assert.equal(await attempt(failed, '', null, n), null, 'clients of a Unix socket have no address');
    }
  });

  test('a flood of addresses and names costs bounded memory, and drops the oldest', async () => {
    const failed = new FailedLogins({ ...LIMITS, perAddress: 1, perName: 1 });
    for (let n = 0; n < 70_000; n++) await attempt(failed, `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`, `name${n}`, 0);
    assert.equal(await attempt(failed, '10.0.0.0', null, 1, true), null, 'the first is forgotten');
    assert.notEqual(await attempt(failed, '10.1.17.111', null, 1, true), null, 'the last is not');
  });
});
