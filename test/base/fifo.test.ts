/*
 * Goal: Fifo is a first-in first-out list that holds on to nothing it has given back.
 * Method: random pushes and shifts against an array, in phases of growth and decline; its array is looked into after a burst.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { Fifo } from '../../src/base/fifo.ts';
import { Random } from '../routing/random-topics.ts';

interface Item {
  readonly number: number;
}

/** Reads a member that tests must otherwise leave alone. */
function slotsOf(fifo: Fifo<Item>): (Item | undefined)[] {
  return (fifo as unknown as { items: (Item | undefined)[] }).items;
}

test('against an array', () => {
  const random = new Random('Fifo');
  const fifo = new Fifo<Item>();
  const model: Item[] = [];
  for (let step = 0; step < 60_000; step++) {
    const grows = Math.floor(step / 4000) % 2 === 0;
    if (random.next(100) < (grows ? 60 : 40)) {
      const item = { number: step };
      fifo.push(item);
      model.push(item);
    } else {
      assert.equal(fifo.peek(), model[0]);
      assert.equal(fifo.shift(), model.shift());
    }
    assert.equal(fifo.count, model.length);
    const index = random.next(model.length + 2);
    assert.equal(fifo.at(index), model[index]);
  }
  for (let item = model.shift(); item !== undefined; item = model.shift()) assert.equal(fifo.shift(), item);
  assert.equal(fifo.shift(), undefined);
  assert.equal(fifo.peek(), undefined);
  assert.equal(fifo.at(0), undefined);
});

test('what was given back is not kept alive, and a burst leaves no large array', () => {
  const fifo = new Fifo<Item>();
  for (let i = 0; i < 5; i++) fifo.push({ number: i });
  fifo.shift();
  fifo.shift();
  assert.equal(slotsOf(fifo).filter((slot) => slot !== undefined).length, 3);
  for (let i = 0; i < 5000; i++) fifo.push({ number: i });
  assert.ok(slotsOf(fifo).length >= 5000);
  while (fifo.count > 0) fifo.shift();
  assert.equal(slotsOf(fifo).length, 0);
  fifo.push({ number: 1 });
  assert.equal(fifo.shift()!.number, 1);
});
