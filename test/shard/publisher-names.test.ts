/**
 * Goal: a publisher's name is read where it was put, whoever has come and gone since, and what has no room is refused. Method: random sessions that come and end, compared
 * with their own names.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { utf8Bytes } from '../../src/base/bytes.ts';
import { hash32 } from '../../src/base/hash.ts';
import { V311 } from '../../src/protocol/packet-type.ts';
import { Session } from '../../src/session/session.ts';
import { COUNTERS, counter } from '../../src/shard/counters.ts';
import { NAMES_MAX, NOWHERE, PublisherNames } from '../../src/shard/publisher-names.ts';
import type { ClientSession } from '../../src/shard/shard.ts';
import { Random } from '../routing/random-topics.ts';

const HELD = counter('history/names');
const REFUSED = counter('history/names/refused');

function session(name: string): ClientSession {
  const bytes = utf8Bytes(name);
  return new Session(name, bytes, hash32(bytes, 0, bytes.length), V311, 1) as ClientSession;
}

function nameOf({ bytes }: PublisherNames, { nameAt }: ClientSession): string {
  return Buffer.from(bytes.subarray(nameAt + 1, nameAt + 1 + bytes[nameAt]!)).toString();
}

test('names are read where they were put', () => {
  const random = new Random('publisher-names');
  const counters = new Float64Array(COUNTERS.length);
  const names = new PublisherNames(counters);
  const here = new Set<ClientSession>();
  const left: ClientSession[] = [];
  for (let i = 0; i < 6000; i++) {
    const one = session(`${i}-${'é'.repeat(random.next(25))}`);
    assert.equal(one.nameAt, 0);
    assert.ok(names.place(one) > 0);
    here.add(one);
    if (random.next(3) === 0) {
      const gone = [...here][random.next(here.size)]!;
      here.delete(gone);
      gone.hasEnded = true;
      names.forget(gone);
      left.push(gone);
    }
  }
  assert.ok(here.size > 2000 && left.length > 1000);
  for (const one of here) assert.equal(nameOf(names, one), one.clientId);
  for (const one of left) assert.equal(one.nameAt, NOWHERE);
  assert.deepEqual([counters[HELD], counters[REFUSED]], [here.size, 0]);
  // Whoever has ended gets no place any more, which nobody would give back.
  assert.equal(names.place(left[0]!), NOWHERE);
  names.forget(left[0]!);
  assert.deepEqual([counters[HELD], counters[REFUSED]], [here.size, 0]);
});

test('there is room for so many, and for names of 63 bytes', () => {
  const counters = new Float64Array(COUNTERS.length);
  const names = new PublisherNames(counters);
  const longest = session('n'.repeat(63));
  assert.ok(names.place(longest) > 0);
  assert.equal(nameOf(names, longest), longest.clientId);
  assert.equal(names.place(session('n'.repeat(64))), NOWHERE);
  assert.equal(counters[REFUSED], 1);
  const others: ClientSession[] = [];
  for (let i = 1; i < NAMES_MAX; i++) others.push(session(String(i)));
  for (const one of others) assert.ok(names.place(one) > 0);
  const late = session('late');
  assert.equal(names.place(late), NOWHERE);
  assert.equal(counters[REFUSED], 2);
  names.forget(others[5]!);
  assert.ok(names.place(late) > 0);
  assert.deepEqual([nameOf(names, late), nameOf(names, others[6]!), nameOf(names, longest)], ['late', '7', longest.clientId]);
});
