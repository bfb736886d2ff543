/*
 * Goal: a service that fails is left alone, then tried by one request at a time. Method: a clock in the test's hand.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { Breaker } from '../../src/auth/breaker.ts';

test('a breaker opens after failures in a row, lets one try, and closes when that succeeds', () => {
  const breaker = new Breaker(3, 1000);
  breaker.failed(0);
  breaker.failed(0);
  breaker.succeeded();
  assert.deepEqual([breaker.failed(1), breaker.failed(2), breaker.failed(3)], [false, false, true], 'a success begins the count anew');
  assert.equal(breaker.mayAsk(1002), false);
  assert.equal(breaker.mayAsk(1003), true);
  assert.equal(breaker.mayAsk(1003), false, 'one at a time');
  assert.equal(breaker.failed(1100), true);
  assert.equal(breaker.mayAsk(2099), false);
  assert.equal(breaker.mayAsk(2100), true);
  breaker.succeeded();
  assert.ok(breaker.mayAsk(2100) && breaker.mayAsk(2100));
});
