/*
 * Goal: failed logins are counted by address and by name, in windows that end; the tables are bounded; who has logged in before keeps his way in.
 * Method: a clock in the test's hand.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { FailedLogins } from '../../src/auth/failed-logins.ts';

const LIMITS = { windowMilliseconds: 1000, perAddress: 3, perName: 5 };

describe('failed logins', () => {
  test('an address is refused from the limit on until its window ends', () => {
    const failed = new FailedLogins(LIMITS);
    for (let n = 0; n < 3; n++) {
      assert.equal(failed.blocks('10.0.0.1', `name${n}`, n), null);
      failed.failed('10.0.0.1', `name${n}`, n);
    }
    assert.match(failed.blocks('10.0.0.1', null, 999) ?? '', /address/);
    assert.equal(failed.blocks('10.0.0.2', null, 999), null);
    assert.equal(failed.blocks('10.0.0.1', null, 1000), null, 'the window began with the first failure');
    failed.failed('10.0.0.1', null, 1000);
    assert.equal(failed.blocks('10.0.0.1', null, 1001), null, 'a new window counts from the beginning');
  });

  test('a name is refused to all but those who have used it', () => {
    const failed = new FailedLogins(LIMITS);
    failed.succeeded('10.0.0.9', 'pump');
    for (let n = 0; n < 5; n++) failed.failed(`10.0.1.${n}`, 'pump', 0);
    assert.match(failed.blocks('10.0.2.1', 'pump', 1) ?? '', /name/);
    assert.equal(failed.blocks('10.0.0.9', 'pump', 1), null);
    assert.equal(failed.blocks('10.0.2.1', 'valve', 1), null);
    assert.equal(failed.blocks('10.0.2.1', 'pump', 1000), null);
  });

  test('addresses of IPv6 count by their network', () => {
    const failed = new FailedLogins(LIMITS);
    for (const address of ['2001:db8:0:7::1', '2001:db8:0:7:aaaa::2', '2001:db8:0:7:1:2:3:4']) failed.failed(address, null, 0);
    assert.notEqual(failed.blocks('2001:db8:0:7:ffff::', null, 1), null);
    assert.equal(failed.blocks('2001:db8:0:8::1', null, 1), null);
    for (const address of ['::1', '::1', '0:0:0:0::1']) failed.failed(address, null, 0);
    assert.notEqual(failed.blocks('::1', null, 1), null);
    assert.equal(failed.blocks('1::', null, 1), null);
  });

  test('no limit, and no address', () => {
    const open = new FailedLogins({ windowMilliseconds: 1000, perAddress: 0, perName: 0 });
    const failed = new FailedLogins(LIMITS);
    for (let n = 0; n < 50; n++) {
      open.failed('10.0.0.1', 'pump', n);
      failed.failed('', null, n);
    }
    assert.equal(open.blocks('10.0.0.1', 'pump', 50), null);
    assert.equal(failed.blocks('', null, 50), null, 'clients of a Unix socket have no address');
  });

  test('a flood of addresses and names costs bounded memory, and drops the oldest', () => {
    const failed = new FailedLogins({ ...LIMITS, perAddress: 1, perName: 1 });
    for (let n = 0; n < 70_000; n++) failed.failed(`10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`, `name${n}`, 0);
    assert.equal(failed.blocks('10.0.0.0', null, 1), null, 'the first is forgotten');
    assert.notEqual(failed.blocks('10.1.17.111', null, 1), null, 'the last is not');
  });
});
