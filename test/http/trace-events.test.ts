/*
 * Goal: the events of a trace in pages: each event once, in the order of time, however large the pages are and whatever is noted meanwhile; no shard gives more than was asked for.
 * Method: shards made of lists, with events of the same moment; notes come between the pages. SEED repeats a run.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { mergeEvents, mergeTracePages, readTraceCursor } from '../../src/http/trace-events.ts';
import { compareTracePlaces, pageOfTrace, placeOfEvent } from '../../src/shard/trace-page.ts';
import type { TraceEvent, TraceEventName } from '../../src/shard/tracing.ts';
import { Random } from '../sim/random.ts';

const { SEED } = process.env;
const seed = SEED === undefined ? Date.now() % 0x7fffffff : Number(SEED);
process.stdout.write(`SEED=${seed}\n`);

const NAMES: readonly TraceEventName[] = ['published', 'routed', 'queued', 'delivered', 'acknowledged', 'expired', 'dropped'];
const RUNS = 200;
const PAGES_MAX = 10_000;
const BUSY_PAGES = 50;

class Shards {
  readonly lists: TraceEvent[][];
  /** Something happens while they are asked. */
  isBusy: boolean;
  private readonly random: Random;
  private readonly numbers: number[];
  private now: number;

  constructor(random: Random, count: number) {
    this.isBusy = true;
    this.random = random;
    this.lists = Array.from({ length: count }, () => []);
    this.numbers = this.lists.map((_, shard) => shard * 1_000_000 + random.below(1000));
    this.now = 1000;
  }

  /** Some things happen, several of them in the same moment. */
  note(count: number): void {
    for (let n = 0; n < count; n++) {
      const shard = this.random.below(this.lists.length);
      if (this.random.below(2) === 0) this.now += this.random.below(3) / 8;
      const event = NAMES[this.random.below(NAMES.length)]!;
      const messageId = String(this.random.below(3));
      this.lists[shard]!.push({ number: this.numbers[shard]!++, at: this.now, event, shard, messageId, topic: 't', qos: 0 });
    }
  }

  page(cursor: string | undefined, limit: number, messageId: string): ReturnType<typeof mergeTracePages> {
    const after = readTraceCursor(cursor);
    const pages = this.lists.map((events, shard) => {
      // One after the other: more happens between their answers.
      if (shard > 0 && this.isBusy) this.note(this.random.below(3));
      this.now += 0.01;
      const page = pageOfTrace(events, { number: 1, after, limit, messageId }, this.now);
      assert.ok(page.events.length <= limit);
      return structuredClone(page);
    });
    return mergeTracePages(pages, after, limit);
  }

  all(messageId: string): TraceEvent[] {
    return this.lists
      .flat()
      .filter((event) => messageId === '' || event.messageId === messageId)
      .sort((a, b) => compareTracePlaces(placeOfEvent(a), placeOfEvent(b)));
  }
}

describe('events of a trace', () => {
  test('those that the history has kept and those that shards still know stand in one order, each once, at the time that was noted', () => {
    const random = new Random(seed);
    for (let run = 0; run < RUNS; run++) {
      const shards = new Shards(random, 1 + random.below(4));
      shards.note(random.below(100));
      const all = shards.all('1');
      // A shard that has died knows nothing any more; what it had kept is there.
      const kept = all.filter(() => random.below(2) === 0).map((event) => JSON.parse(JSON.stringify(event)) as TraceEvent);
      const keptNumbers = new Set(kept.map(({ number }) => number));
      const known = shards.lists.map((events) =>
        structuredClone(events.filter(({ messageId, number }) => messageId === '1' && (!keptNumbers.has(number) || random.below(2) === 0))),
      );
      assert.deepEqual(mergeEvents([...known, null], kept), all, `run ${run}`);
    }
  });

  test('come each once and in their order, whatever is noted between the pages', () => {
    const random = new Random(seed);
    for (let run = 0; run < RUNS; run++) {
      const shards = new Shards(random, 1 + random.below(4));
      shards.note(random.below(300));
      const messageId = random.below(3) === 0 ? '1' : '';
      const limit = 1 + random.below(random.below(2) === 0 ? 3 : 400);
      const seen: object[] = [];
      let cursor: string | undefined;
      let isDone = false;
      for (let pages = 0; !isDone; pages++) {
        assert.ok(pages < PAGES_MAX, `SEED=${seed}: there is an end`);
        shards.isBusy = pages < BUSY_PAGES;
        if (shards.isBusy) shards.note(random.below(10));
        const page = shards.page(cursor, limit, messageId);
        assert.ok(page.data.length <= limit);
        seen.push(...page.data);
        cursor = page.last;
        isDone = page.next === null && seen.length === shards.all(messageId).length;
        if (page.next !== null) assert.equal(page.next, page.last);
      }
      const words = (list: readonly object[]): string[] =>
        list.map((event) => {
          const { event: name, shard, topic, messageId: id } = event as TraceEvent;
          return `${name} ${shard} ${topic} ${id}`;
        });
      assert.deepEqual(words(seen), words(shards.all(messageId)), `SEED=${seed} run ${run}`);
    }
  });

  test('are found from a place on, and no cursor breaks it', () => {
    const random = new Random(seed);
    const shards = new Shards(random, 2);
    assert.deepEqual(shards.page(undefined, 10, '').data, []);
    shards.note(50);
    for (const text of ['', 'x', '%', Buffer.from('[1,2]').toString('base64url'), Buffer.from('["a",0,0]').toString('base64url'), 'bnVsbA'])
      assert.throws(() => readTraceCursor(text), /query\.cursor/);
    assert.deepEqual(shards.page(Buffer.from('[1e300,0,0]').toString('base64url'), 10, '').data, []);
    assert.equal(shards.page(undefined, 1, '').data.length, 1);
  });
});
