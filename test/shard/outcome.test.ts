/*
 * Goal: the publisher is told success when anybody took the message, else the worst of what happened, and an acknowledgement is complete when the last
 * shard has answered.
 * Method: all pairs of results, noted in both orders, by the outcome and by the acknowledgement that waits.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { ReasonCode } from '../../src/protocol/reason-code.ts';
import type { Connection } from '../../src/shard/connection.ts';
import {
  DELIVERED,
  DENIED,
  DROPPED,
  FULL,
  MAILBOX,
  NO_SESSION,
  NO_SUBSCRIBER,
  Outcome,
  PendingAck,
  QUEUED,
  reasonOfResult,
  STATUS_WORDS,
  STORED,
  TOO_LARGE,
} from '../../src/shard/outcome.ts';
import { startShards } from '../support/shard-group.ts';

const TAKEN = [DELIVERED, QUEUED, MAILBOX];
const REFUSED = [NO_SUBSCRIBER, NO_SESSION, TOO_LARGE, DENIED, FULL];
const REASONS = new Map<number, ReasonCode>([
  [NO_SUBSCRIBER, ReasonCode.NoMatchingSubscribers],
  [NO_SESSION, ReasonCode.NoMatchingSubscribers],
  [TOO_LARGE, ReasonCode.ImplementationSpecificError],
  [DENIED, ReasonCode.NotAuthorized],
  [FULL, ReasonCode.QuotaExceeded],
]);

async function someConnection(): Promise<Connection> {
  const group = await startShards(1);
  const { connection } = group.connect();
  group.stop();
  return connection;
}

test('one taker is success, else the worst result counts, in any order', async () => {
  const connection = await someConnection();
  const outcome = new Outcome();
  for (const first of [...TAKEN, ...REFUSED, STORED]) {
    for (const second of [...TAKEN, ...REFUSED, STORED]) {
      outcome.begin(connection, 1, 1);
      outcome.note(first);
      outcome.note(second);
      const ack = new PendingAck(connection, null, 1, 1, false);
      ack.note(second);
      ack.note(first);
      const refusals = [first, second].filter((result) => result !== STORED);
      const isTaken = [first, second].some((result) => TAKEN.includes(result));
      const expected = isTaken || refusals.length === 0 ? ReasonCode.Success : REASONS.get(Math.max(...refusals));
      assert.equal(outcome.reason, expected, `${first}, ${second}`);
      assert.equal(ack.reason, expected, `${first}, ${second}`);
    }
  }
  for (const [result, reason] of REASONS) assert.equal(reasonOfResult(result), reason);
  assert.equal(reasonOfResult(DROPPED), ReasonCode.Success);
});

test('a new message begins with a clean outcome', async () => {
  const connection = await someConnection();
  const outcome = new Outcome();
  outcome.begin(connection, 7, 2);
  outcome.wantsStatus = true;
  outcome.noteTarget(FULL, 'one');
  outcome.noteTarget(DELIVERED, 'two');
  assert.deepEqual(outcome.statuses, ['one=full', 'two=delivered']);
  outcome.note(STORED);
  outcome.expectAnswer(1);
  outcome.begin(null, 0, 0);
  assert.deepEqual(outcome, new Outcome());
});

test('answers are awaited only where an acknowledgement is owed', async () => {
  const connection = await someConnection();
  const outcome = new Outcome();
  outcome.begin(null, 0, 1);
  assert.equal(outcome.expectAnswer(1), null);
  outcome.begin(connection, 0, 0);
  assert.equal(outcome.expectAnswer(1), null);
  outcome.begin(connection, 9, 2);
  outcome.wantsStatus = true;
  const ack = outcome.expectAnswer(1)!;
  assert.equal(outcome.expectAnswer(1), ack);
  assert.deepEqual([ack.remaining, ack.packetId, ack.qos, ack.statuses], [2, 9, 2, []]);
  ack.decided = ReasonCode.NotAuthorized;
  ack.note(DELIVERED);
  assert.equal(ack.reason, ReasonCode.NotAuthorized, 'what is decided is not decided again');
});

test('every result has its word', () => {
  for (const result of [...TAKEN, ...REFUSED, DROPPED, STORED]) assert.equal(typeof STATUS_WORDS[result], 'string');
});
