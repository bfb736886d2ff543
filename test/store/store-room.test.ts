/**
 * Goal: whatever a commit adds to the file, room was taken for it before. What was not needed is given back, and blocks beyond the end disturb no reader. Where room
 * cannot be had LMDB is not touched, and the store goes on when it can.
 * Method: commits of random sizes with removals, moments held by readers, large and small; after each the end of the file's pages is compared with what was taken.
 * Failures are those of the fault layer (`test/faults`).
 */
import assert from 'node:assert/strict';
import { closeSync, copyFileSync, openSync, readdirSync, statSync, truncateSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import test, { describe } from 'node:test';
import { library } from '../../src/base/c-library.ts';
import { recordNumber } from '../../src/journal/record.ts';
import { LogReader, openForReading } from '../../src/store/log-reader.ts';
import { LogStore, type RecordWrite } from '../../src/store/log-store.ts';
import { PageFile } from '../../src/store/page-file.ts';
import { StoreRoom } from '../../src/store/store-room.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { Random, recordOf, seedOf } from './damage.ts';

const seed = seedOf('STORE_ROOM_SEED');
const WRITERS = 4;
const COMMITS = 600;
const PAGE_BYTES = 4096;
const MEGABYTE = 1024 * 1024;

function onDisk(directory: string): { size: number; taken: number } {
  const { size, blocks } = statSync(join(directory, 'data.mdb'));
  return { size, taken: blocks * 512 };
}

/** Byte at which the pages of the newest moment end. */
function endOf(directory: string): number {
  const pages = new PageFile(join(directory, 'data.mdb'));
  pages.close();
  return (pages.moments[0]!.lastPage + 1) * PAGE_BYTES;
}

/** Commits as shards make them: mostly small, now and then large, and removals in step or all at once. */
class Traffic {
  private readonly counts = new Array<number>(WRITERS).fill(0);
  private readonly kept = new Array<number>(WRITERS).fill(1);
  private readonly random: Random;
  private readonly largest: number;

  constructor(random: Random, largest: number) {
    this.random = random;
    this.largest = largest;
  }

  next(): RecordWrite[] {
    const writes: RecordWrite[] = [];
    for (let writer = 0; writer < WRITERS; writer++) {
      if (this.random.below(3) === 0) continue;
      const count = ++this.counts[writer]!;
      const size = this.random.below(8) === 0 ? this.random.below(this.largest) : this.random.below(3000);
      if (this.random.below(40) === 0) this.kept[writer] = Math.max(this.kept[writer]!, count - this.random.below(5));
      const record = recordNumber(count, writer);
      writes.push({ record, bytes: recordOf(record, size), keepFrom: recordNumber(this.kept[writer]!, writer) });
    }
    return writes;
  }
}

describe(`room is taken before LMDB writes, seed ${seed}`, () => {
  for (const largest of [10_000, 3 * MEGABYTE]) {
    test(`records up to ${largest} bytes: no commit adds more than was reckoned with`, async (t) => {
      // To which byte there was room before each transaction.
      const room: number[] = [];
      const { take } = StoreRoom.prototype;
      t.mock.method(
        StoreRoom.prototype,
        'take',
        function (this: StoreRoom, puts: number, bytes: number, removals: number, lookUp: () => number) {
          take.call(this, puts, bytes, removals, lookUp);
          room.push(this.reservedBytes);
        },
      );
      const random = new Random(seed);
      const directory = storeDirectory();
      const store = new LogStore(directory, 'none');
      const traffic = new Traffic(random, largest);
      const releases: (() => void)[] = [];
      let worst = 0;
      for (let i = 0; i < COMMITS; i++) {
        if (random.below(30) === 0) releases.push(store.hold(() => undefined).release);
        if (random.below(60) === 0) for (const release of releases.splice(0)) release();
        const before = endOf(directory);
        const writes = traffic.next();
        store.commit(writes);
        const end = endOf(directory);
        const bytes = writes.reduce((sum, write) => sum + write.bytes.length, 0);
        assert.ok(end <= room.at(-1)!, `commit ${i}: ${end} of ${room.at(-1)}`);
        worst = Math.max(worst, end - before - bytes);
      }
      for (const release of releases) release();
      // Half of what is added without looking at the file.
      assert.ok(worst < MEGABYTE / 2, `${worst} bytes more than the records`);
      await store.close();
    });
  }

  test('what is beyond the end is given back, is nothing to readers, and is not there twice', async () => {
    const directory = storeDirectory();
    let store = new LogStore(directory, 'none');
    store.commit([{ record: recordNumber(1, 0), bytes: recordOf(recordNumber(1, 0), 100_000), keepFrom: 0 }]);
    const open = onDisk(directory);
    assert.ok(open.taken > open.size + MEGABYTE, `${open.taken} of ${open.size}`);
    const reader = await openForReading(directory);
    assert.deepEqual([...reader.check()], []);
    assert.equal([...reader.items()].length, 1);
    reader.close();
    await store.reopen();
    assert.ok(onDisk(directory).taken <= open.taken + MEGABYTE);
    await store.close();
    const closed = onDisk(directory);
    assert.equal(closed.size, open.size);
    assert.ok(closed.taken < closed.size + MEGABYTE / 4, `${closed.taken} of ${closed.size}`);
    assert.deepEqual(
      readdirSync(directory).filter((name) => !name.endsWith('.mdb')),
      [],
    );
    store = new LogStore(directory, 'none');
    assert.equal(store.newestCount(0), 1);
    await store.close();
  });

  test('the system takes the advice to forget what is on disk, and knows bad advice', () => {
    const room = new StoreRoom(storeDirectory());
    room.open();
    assert.equal(room.forgetCached(), room.canReserve);
    const file = openSync(join(storeDirectory(), 'any'), 'w');
    if (room.canReserve) assert.equal(library()!.posix_fadvise!(file, 0, 0, 99), constants.errno.EINVAL);
    closeSync(file);
    room.release();
    assert.equal(room.forgetCached(), false, 'it is closed');
  });

  test('a file with holes, as copies may be, gets all its blocks', async () => {
    const directory = storeDirectory();
    const store = new LogStore(directory, 'none');
    for (let count = 1; count < 200; count++)
      store.commit([{ record: recordNumber(count, 0), bytes: recordOf(recordNumber(count, 0), 50_000), keepFrom: recordNumber(count, 0) }]);
    await store.close();
    const copy = storeDirectory();
    copyFileSync(join(directory, 'data.mdb'), join(copy, 'data.mdb'));
    const { size } = onDisk(copy);
    // As LMDB leaves it where it has used pages and freed them in one transaction.
    const file = join(copy, 'data.mdb');
    truncateSync(file, size + 4 * MEGABYTE);
    const handle = openSync(file, 'r+');
    writeSync(handle, Buffer.alloc(1), 0, 1, size + 4 * MEGABYTE - 1);
    closeSync(handle);
    assert.ok(onDisk(copy).taken < size + 2 * MEGABYTE);
    const copied = new LogStore(copy, 'none');
    assert.ok(onDisk(copy).taken >= size + 4 * MEGABYTE);
    await copied.close();
    const reader = new LogReader(copy, new PageFile(file), null);
    assert.deepEqual([...reader.check()], []);
    reader.close();
  });
});
