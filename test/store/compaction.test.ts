/*
 * Goal: the file of a store is written anew while the store is written to: afterwards it is smaller, holds what the old one held, to the byte, and goes on. Whoever
 * reads a moment of the old file reads on. What cannot be completed leaves the old file as it was.
 * Method: a store whose log grows and is cleaned while it is copied, by a random plan (the seed is printed), against a map of what it must hold.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { describe } from 'node:test';
import { recordNumber } from '../../src/journal/record.ts';
import { Compaction, CompactionError, removeFresh } from '../../src/store/compaction.ts';
import { type LogReader, openForReading } from '../../src/store/log-reader.ts';
import { FRESH_DIRECTORY, LogStore } from '../../src/store/log-store.ts';
import { PageFile } from '../../src/store/page-file.ts';
import { PinServer } from '../../src/store/store-pin.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { Random, recordOf, seedOf } from './damage.ts';

const WRITERS = 3;
const SECONDS = 60_000;

/** A store, and what it must hold. */
class Model {
  readonly directory: string;
  readonly store: LogStore;
  readonly records: Map<number, Buffer>;
  private readonly random: Random;
  private readonly newest: number[];
  private readonly oldest: number[];

  constructor(seed: number) {
    this.directory = storeDirectory();
    this.store = new LogStore(this.directory, 'none');
    this.store.writeMeta({ ...this.store.meta, shards: WRITERS, epoch: 7 });
    this.records = new Map();
    this.random = new Random(seed);
    this.newest = new Array<number>(WRITERS).fill(0);
    this.oldest = new Array<number>(WRITERS).fill(1);
  }

  /** One record more of some shard, and now and then the oldest of its records go. @param keep so many stay at least */
  commit(keep: number): void {
    const { random } = this;
    const writer = random.below(WRITERS);
    const count = ++this.newest[writer]!;
    const record = recordNumber(count, writer);
    const bytes = recordOf(record, random.below(3) === 0 ? random.below(60_000) : random.below(300));
    let keepFrom = 0;
    if (count - this.oldest[writer]! > keep) {
      for (let gone = this.oldest[writer]!; gone <= count - keep; gone++) this.records.delete(recordNumber(gone, writer));
      this.oldest[writer] = count - keep + 1;
      keepFrom = recordNumber(this.oldest[writer]!, writer);
    }
    this.store.commit([{ record, bytes, keepFrom }]);
    this.records.set(record, bytes);
  }

  commits(count: number, keep: number): void {
    for (let i = 0; i < count; i++) this.commit(keep);
  }

  /** The store holds what it must, by LMDB and by its file. */
  async judge(): Promise<void> {
    this.store.look();
    assert.equal(this.store.records, this.records.size);
    for (const [record, bytes] of this.records) assert.deepEqual(this.store.get(record), bytes, `record ${record}`);
    const reader = await openForReading(this.directory);
    assert.deepEqual(
      recordsOf(reader),
      [...this.records.keys()].sort((a, b) => a - b),
    );
    assert.equal(reader.meta?.epoch, this.store.meta.epoch);
    reader.close();
  }

  get fileBytes(): number {
    return statSync(join(this.directory, 'data.mdb')).size;
  }
}

function recordsOf(reader: LogReader): number[] {
  assert.deepEqual([...reader.check()], []);
  const found = [...reader.items()].map((item) => {
    assert.equal(item.kind, 'record', JSON.stringify(item));
    return item.record;
  });
  return found.sort((a, b) => a - b);
}

async function compact(store: LogStore, goOn: () => void): Promise<Compaction> {
  const compaction = new Compaction(store);
  await compaction.follow(goOn);
  compaction.finish(performance.now() + SECONDS);
  await compaction.replace();
  await compaction.end();
  return compaction;
}

describe('a compaction', () => {
  test('follows a store that is written to and cleaned', async (t) => {
    const seed = seedOf('COMPACTION_SEED');
    t.diagnostic(`COMPACTION_SEED=${seed}`);
    const model = new Model(seed);
    model.commits(4000, 2000);
    model.commits(600, 150);
    const before = model.fileBytes;
    let steps = 0;
    const { bytesBefore, bytesAfter, records } = await compact(model.store, () => {
      if (steps++ < 200) model.commits(5, 150);
      if (steps === 3) model.store.writeMeta({ ...model.store.meta, epoch: 8 });
    });
    assert.ok(steps > 2);
    assert.deepEqual([bytesBefore, bytesAfter, records], [before, model.fileBytes, model.records.size]);
    assert.ok(bytesAfter < before / 2, `${bytesAfter} of ${before}`);
    assert.ok(!existsSync(join(model.directory, FRESH_DIRECTORY)));
    await model.judge();
    model.commits(500, 100);
    await model.judge();
    await compact(model.store, () => undefined);
    model.store.writeMeta({ ...model.store.meta, epoch: 9 });
    await model.store.close();
    const again = new LogStore(model.directory, 'fsync');
    assert.deepEqual([again.records, again.meta.epoch], [model.records.size, 9]);
    await again.close();
  });

  test('of an empty store', async () => {
    const model = new Model(1);
    await compact(model.store, () => undefined);
    await model.judge();
    model.commits(10, 100);
    await model.judge();
    await model.store.close();
  });

  test('leaves a held moment to whoever reads it', async () => {
    const model = new Model(2);
    const pins = new PinServer(model.store);
    model.commits(500, 100);
    const reader = await openForReading(model.directory);
    const then = [...model.records.keys()].sort((a, b) => a - b);
    await compact(model.store, () => model.commits(3, 100));
    model.commits(500, 100);
    assert.deepEqual(recordsOf(reader), then);
    await reader.confirm();
    await model.judge();
    reader.close();
    pins.close();
    await model.store.close();
  });

  test('a file that was replaced is noticed', async () => {
    const model = new Model(3);
    model.commits(10, 100);
    const pages = new PageFile(join(model.directory, 'data.mdb'));
    assert.equal(pages.isReplaced, false);
    await compact(model.store, () => undefined);
    assert.equal(pages.isReplaced, true);
    pages.close();
    await model.store.close();
  });

  test('that would let commits wait too long leaves the old file', async () => {
    const model = new Model(4);
    model.commits(300, 50);
    const { ino } = statSync(join(model.directory, 'data.mdb'));
    const compaction = new Compaction(model.store);
    await compaction.follow(() => undefined);
    assert.throws(() => compaction.finish(performance.now() - 1), CompactionError);
    await compaction.end();
    assert.equal(statSync(join(model.directory, 'data.mdb')).ino, ino);
    assert.ok(!existsSync(join(model.directory, FRESH_DIRECTORY)));
    model.commits(100, 50);
    await model.judge();
    await model.store.close();
  });

  test('whose new file lacks something is given up', async () => {
    const model = new Model(5);
    model.commits(300, 50);
    const compaction = new Compaction(model.store);
    await compaction.follow(() => undefined);
    // A record where none comes any more: it is not copied.
    model.store.commit([{ record: recordNumber(1, 0), bytes: recordOf(recordNumber(1, 0), 10), keepFrom: 0 }]);
    assert.throws(() => compaction.finish(performance.now() + SECONDS), /records and not the/);
    await compaction.end();
    await model.store.close();
  });

  test('that finds a damaged record says which, and leaves it where it is', async () => {
    const model = new Model(6);
    model.commits(50, 100);
    const record = recordNumber(1000, 1);
    const bytes = recordOf(record, 100);
    bytes[80]! ^= 1;
    model.store.commit([{ record, bytes, keepFrom: 0 }]);
    const compaction = new Compaction(model.store);
    await assert.rejects(
      compaction.follow(() => undefined),
      /record 1000 of shard 1: /,
    );
    await compaction.end();
    assert.ok(model.store.get(record) !== null);
    await model.store.close();
  });

  test('left over by a process that was killed is taken away', () => {
    const directory = storeDirectory();
    mkdirSync(join(directory, FRESH_DIRECTORY));
    writeFileSync(join(directory, FRESH_DIRECTORY, 'data.mdb'), 'half');
    removeFresh(directory);
    assert.ok(!existsSync(join(directory, FRESH_DIRECTORY)));
    removeFresh(directory);
  });
});
