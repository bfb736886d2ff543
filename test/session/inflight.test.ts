/*
 * Goal: the in-flight table gives out Packet Identifiers that are free, from 1 to 65,535 and around again, finds each entry, and knows the order of sending.
 * Method: the rules by hand, the full window, and random adds, releases and removes against a Map in order of insertion.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { Delivery } from '../../src/session/delivery.ts';
import { INFLIGHT_FREE, INFLIGHT_QOS1, INFLIGHT_QOS2, INFLIGHT_RELEASED, Inflight } from '../../src/session/inflight.ts';
import { Message } from '../../src/session/message.ts';
import { Random } from '../routing/random-topics.ts';

const message = new Message(new Uint8Array(3), 1, 1, 1, false, 0, 0);
const delivery = (qos: number): Delivery => new Delivery(message, qos, false, null, null);

test('identifiers are given out in turn, wrap behind 65,535 and never are 0', () => {
  const inflight = new Inflight();
  for (let round = 0; round < 2; round++) {
    for (let expected = 1; expected <= 65_535; expected++) {
      const packetId = inflight.add(1, null);
      if (packetId !== expected) assert.equal(packetId, expected);
      inflight.remove(packetId);
    }
  }
  assert.equal(inflight.count, 0);
  assert.deepEqual(inflight.inOrder(), []);
});

test('an identifier in flight is skipped, and comes again once it is free', () => {
  const inflight = new Inflight();
  const held = inflight.add(2, null);
  assert.equal(held, 1);
  for (let i = 2; i <= 65_535; i++) inflight.remove(inflight.add(1, null));
  const next = inflight.add(1, null);
  assert.notEqual(next, held);
  assert.equal(inflight.state(held), INFLIGHT_QOS2);
  assert.deepEqual(inflight.inOrder(), [held, next]);
  inflight.remove(held);
  assert.equal(inflight.state(held), INFLIGHT_FREE);
});

test('states and deliveries by identifier', () => {
  const inflight = new Inflight();
  const one = delivery(1);
  const two = delivery(2);
  const a = inflight.add(1, one);
  const b = inflight.add(2, two);
  assert.equal(inflight.state(a), INFLIGHT_QOS1);
  assert.equal(inflight.state(b), INFLIGHT_QOS2);
  assert.equal(inflight.delivery(a), one);
  assert.equal(inflight.delivery(b), two);
  inflight.release(b);
  assert.equal(inflight.state(b), INFLIGHT_RELEASED);
  inflight.release(b);
  assert.equal(inflight.state(b), INFLIGHT_RELEASED, 'a second PUBREC changes nothing');
  inflight.remove(a);
  assert.equal(inflight.state(a), INFLIGHT_FREE);
  assert.equal(inflight.delivery(a), null);
  assert.equal(inflight.count, 1);
  // Another identifier of the same slot is not this one, and 0 is none.
  assert.equal(inflight.state(b + 8), INFLIGHT_FREE);
  assert.equal(inflight.delivery(b + 8), null);
  assert.equal(inflight.state(0), INFLIGHT_FREE);
  assert.equal(inflight.delivery(0), null);
  assert.throws(() => inflight.remove(a));
  assert.throws(() => inflight.release(a));
});

test('the largest window: all 65,535 identifiers, each once', () => {
  const inflight = new Inflight();
  const seen = new Uint8Array(65_536);
  for (let i = 0; i < 65_535; i++) seen[inflight.add(1, null)]!++;
  assert.equal(seen[0], 0);
  assert.ok(seen.subarray(1).every((times) => times === 1));
  assert.throws(() => inflight.add(1, null));
  inflight.remove(40_000);
  assert.equal(inflight.add(2, null), 40_000);
  assert.equal(inflight.inOrder().at(-1), 40_000);
  assert.equal(inflight.inOrder().length, 65_535);
});

test('against a Map in order of insertion', () => {
  const random = new Random('Inflight');
  const inflight = new Inflight();
  const model = new Map<number, { state: number; delivery: Delivery }>();
  for (let step = 0; step < 100_000; step++) {
    const grows = Math.floor(step / 3000) % 2 === 0;
    const ids = model.size;
    if (ids < 700 && random.next(100) < (grows ? 60 : 40)) {
      const qos = 1 + random.next(2);
      const made = delivery(qos);
      const packetId = inflight.add(qos, made);
      assert.ok(packetId >= 1 && packetId <= 65_535 && !model.has(packetId));
      model.set(packetId, { state: qos === 1 ? INFLIGHT_QOS1 : INFLIGHT_QOS2, delivery: made });
    } else if (ids > 0) {
      // Mostly the oldest, as clients acknowledge in order; sometimes any.
      const skip = random.next(4) === 0 ? random.next(Math.min(ids, 20)) : 0;
      let packetId = 0;
      let at = 0;
      for (const id of model.keys()) {
        packetId = id;
        if (at++ === skip) break;
      }
      const entry = model.get(packetId)!;
      assert.equal(inflight.state(packetId), entry.state);
      assert.equal(inflight.delivery(packetId), entry.delivery);
      if (entry.state === INFLIGHT_QOS2 && random.next(2) === 0) {
        inflight.release(packetId);
        entry.state = INFLIGHT_RELEASED;
      } else {
        inflight.remove(packetId);
        model.delete(packetId);
        assert.equal(inflight.state(packetId), INFLIGHT_FREE);
      }
    }
    assert.equal(inflight.count, model.size);
    if (step % 1000 === 0) assert.deepEqual(inflight.inOrder(), [...model.keys()]);
  }
});
