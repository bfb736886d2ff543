/**
 * Goal: another process reads a store as it was at one moment while the broker goes on committing, costs it no commit, and is told when that is not so any more.
 * Method: a store with its pin server, and readers of its file; thousands of commits and removals between the hold and the reading. What is read is
 * compared with what was there when the moment was held.
 */
import assert from 'node:assert/strict';
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import test, { describe } from 'node:test';
import { recordNumber } from '../../src/journal/record.ts';
import { LogReader, openForReading } from '../../src/store/log-reader.ts';
import { LogStore } from '../../src/store/log-store.ts';
import { PageFile } from '../../src/store/page-file.ts';
import { StoreError } from '../../src/store/store-error.ts';
import { PinServer, requestPin } from '../../src/store/store-pin.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { recordOf } from './damage.ts';

/** Records that are kept; the older ones are removed as new ones come. */
const KEPT = 50;

/** A store that is written to. */
class Written {
  readonly store: LogStore;
  readonly pins: PinServer;
  readonly directory: string;
  count: number;

  constructor(directory: string) {
    this.directory = directory;
    this.store = new LogStore(directory, 'none');
    this.pins = new PinServer(this.store);
    this.store.writeMeta({ ...this.store.meta, shards: 1, epoch: 1 });
    this.count = 0;
  }

  commit(commits: number): void {
    for (let i = 0; i < commits; i++) {
      const record = recordNumber(++this.count, 0);
      const keepFrom = this.count > KEPT ? recordNumber(this.count - KEPT + 1, 0) : 0;
      this.store.commit([{ record, bytes: recordOf(record, (this.count * 131) % 9000), keepFrom }]);
    }
  }

  /** Counts of the records that are there now. */
  get counts(): number[] {
    return Array.from({ length: Math.min(KEPT, this.count) }, (_, i) => this.count - Math.min(KEPT, this.count) + 1 + i);
  }

  async close(): Promise<void> {
    this.pins.close();
    await this.store.close();
  }
}

function countsOf(reader: LogReader): number[] {
  assert.deepEqual([...reader.check()], []);
  return [...reader.items()].map((item) => {
    assert.equal(item.kind, 'record', JSON.stringify(item));
    return item.count;
  });
}

function isChanged(error: unknown): boolean {
  return error instanceof StoreError && error.kind === 'in-use' && /; try again$/.test(error.message);
}

describe('a held moment', () => {
  test('stays as it was, two of them each for itself, and its pages are used again when it is released', async () => {
    const written = new Written(storeDirectory());
    written.commit(120);
    const first = await openForReading(written.directory);
    const atFirst = written.counts;
    written.commit(1000);
    const second = await openForReading(written.directory);
    const atSecond = written.counts;
    written.commit(2000);
    assert.deepEqual(countsOf(first), atFirst);
    assert.deepEqual(countsOf(second), atSecond);
    await first.confirm();
    first.close();
    written.commit(500);
    assert.deepEqual(countsOf(second), atSecond);
    await second.confirm();
    second.close();
    const now = await openForReading(written.directory);
    assert.deepEqual(countsOf(now), written.counts);
    now.close();
    const size = statSync(join(written.directory, 'data.mdb')).size;
    // The server hears of the end of the last reader before it answers the next.
    (await requestPin(written.directory))!.release();
    written.commit(2000);
    assert.ok(statSync(join(written.directory, 'data.mdb')).size < size * 2, 'the file does not grow any more');
    await written.close();
  });

  test('is lost when the store is opened anew, or its broker ends, and the reader is told', async () => {
    const written = new Written(storeDirectory());
    written.commit(60);
    const reader = await openForReading(written.directory);
    await written.store.reopen();
    await assert.rejects(reader.confirm(), isChanged);
    assert.throws(() => [...reader.items()], isChanged);
    reader.close();
    const other = await openForReading(written.directory);
    await written.close();
    await assert.rejects(other.confirm(), isChanged);
    other.close();
  });

  test('in a directory whose name is longer than that of a socket may be', async () => {
    const directory = join(storeDirectory(), 'x'.repeat(60), 'y'.repeat(60));
    mkdirSync(directory, { recursive: true });
    const written = new Written(directory);
    written.commit(10);
    const pin = await requestPin(directory);
    assert.ok(pin?.isHeld);
    pin.release();
    await written.close();
  });
});

describe('without a broker that answers', () => {
  test('a store that nobody writes is read all the same', async () => {
    const written = new Written(storeDirectory());
    written.commit(20);
    await written.close();
    assert.equal(await requestPin(written.directory), null);
    const reader = await openForReading(written.directory);
    assert.deepEqual(countsOf(reader), written.counts);
    await reader.confirm();
    reader.close();
  });

  test('one that is written to is never taken for damaged', async () => {
    const written = new Written(storeDirectory());
    written.commit(200);
    const pages = new PageFile(join(written.directory, 'data.mdb'));
    const reader = new LogReader(written.directory, pages, null);
    written.commit(500);
    assert.throws(() => [...reader.items()], isChanged);
    assert.throws(() => [...reader.check()], isChanged);
    await assert.rejects(reader.confirm(), isChanged);
    reader.close();
    await written.close();
  });
});
