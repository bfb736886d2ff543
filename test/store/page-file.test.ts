/**
 * Goal: the file of a store is read without LMDB exactly as LMDB reads it, a sound file is never called damaged, and no damage ends the process: each is
 * found, or changes nothing, and a salvage keeps for each shard what is before it.
 * Method: random stores (seeds are printed), written with large and small records, removals, aborted transactions and reopening, compared at many moments; then
 * random damages to copies of a store, all in this process, which a fault in the protection would end by a signal.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { describe } from 'node:test';
import { open } from 'lmdb';
import { packObject } from '../../src/base/pack.ts';
import { Batch } from '../../src/journal/batch.ts';
import { ENTRY_SESSION } from '../../src/journal/entry.ts';
import { countOf, recordNumber, sealRecord, WRITERS_MAX } from '../../src/journal/record.ts';
import { LogReader } from '../../src/store/log-reader.ts';
import { LogStore } from '../../src/store/log-store.ts';
import { PageFile } from '../../src/store/page-file.ts';
import { isSound, salvage } from '../../src/store/salvage.ts';
import { StoreError } from '../../src/store/store-error.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { damageFile, damageKinds, Random, recordOf, seedOf } from './damage.ts';

const seed = seedOf('PAGE_FILE_SEED');
const rounds = Number(process.env['PAGE_FILE_ROUNDS'] ?? 60);
const WRITERS = 3;

/** `count:checksum` of each record, by shard. */
function throughLmdb(store: LogStore): string[][] {
  return Array.from({ length: WRITERS }, (_, writer) => {
    const found: string[] = [];
    for (let count = 1; ; ) {
      const records = store.read(writer, count, 1024 * 1024, true);
      if (records.length === 0) return found;
      for (const { record, bytes } of records) found.push(`${countOf(record)}:${bytes.readUInt32LE(4)}`);
      count = countOf(records.at(-1)!.record) + 1;
    }
  });
}

/** The same, by pages; also that nothing is wrong. */
function throughPages(directory: string, age = 0): string[][] {
  const pages = new PageFile(join(directory, 'data.mdb'));
  try {
    if (age === 0) assert.deepEqual([...pages.check()], []);
    const reader = new LogReader(directory, pages, null, age);
    assert.deepEqual(reader.problems, []);
    const found: string[][] = Array.from({ length: WRITERS }, () => []);
    for (const item of reader.items()) {
      assert.equal(item.kind, 'record', JSON.stringify(item));
      if (item.kind === 'record') found[item.writer]!.push(`${item.count}:${item.bytes.readUInt32LE(4)}`);
    }
    return found;
  } finally {
    pages.close();
  }
}

/** Writes and removes records at random; `look` is called at many moments. */
async function fill(directory: string, random: Random, commits: number, look: (store: LogStore) => void): Promise<LogStore> {
  let store = new LogStore(directory, 'none');
  store.writeMeta({ ...store.meta, shards: WRITERS, epoch: 1 });
  const next = new Array<number>(WRITERS).fill(1);
  const oldest = new Array<number>(WRITERS).fill(1);
  const small = 1 + random.below(2500);
  const large = random.below(2) === 0 ? 0 : 1 + random.below(150_000);
  const kept = 1 + random.below(300);
  for (let i = 0; i < commits; i++) {
    const writes = [];
    for (let writer = 0; writer < WRITERS; writer++) {
      if (random.below(3) === 0) continue;
      const record = recordNumber(next[writer]!++, writer);
      const size = large > 0 && random.below(15) === 0 ? random.below(large) : random.below(small);
      if (next[writer]! - oldest[writer]! > kept) oldest[writer] = Math.min(next[writer]! - 1, oldest[writer]! + 1 + random.below(kept));
      writes.push({ record, bytes: recordOf(record, size), keepFrom: oldest[writer]! > 1 ? recordNumber(oldest[writer]!, writer) : 0 });
    }
    store.commit(writes);
    if (random.below(100) === 0) {
      await store.close();
      store = new LogStore(directory, 'none');
    }
    if (random.below(20) === 0) look(store);
  }
  return store;
}

describe(`seed ${seed}`, () => {
  test('pages say what LMDB says, at every moment and also of the moment before', async () => {
    const random = new Random(seed);
    for (let round = 0; round < 6; round++) {
      const directory = storeDirectory();
      let looks = 0;
      let before: string[][] | null = null;
      const store = await fill(directory, random, 100 + random.below(400), (open) => {
        looks++;
        const now = throughLmdb(open);
        assert.deepEqual(throughPages(directory), now);
        before = now;
      });
      assert.ok(looks > 0 && before !== null);
      // One more commit: what was the newest moment is the older one now.
      const last = throughLmdb(store);
      store.commit([{ record: recordNumber(1_000_000, 0), bytes: recordOf(recordNumber(1_000_000, 0), 100), keepFrom: 0 }]);
      assert.deepEqual(throughPages(directory, 1), last);
      await store.close();
    }
  });

  test('a copy that LMDB has made reads the same, and so does what is written to it later', async () => {
    const random = new Random(seed + 1);
    const directory = storeDirectory();
    const store = await fill(directory, random, 200, () => undefined);
    const copy = storeDirectory();
    const whole = throughLmdb(store);
    await store.close();
    const root = open({ path: directory, encoding: 'binary', noSubdir: false, overlappingSync: false });
    await root.backup(copy, true);
    await root.close();
    assert.deepEqual(throughPages(copy), whole);
    const copied = new LogStore(copy, 'none');
    for (let count = 2_000_000; count < 2_000_020; count++) {
      copied.commit([{ record: recordNumber(count, 1), bytes: recordOf(recordNumber(count, 1), 500), keepFrom: 0 }]);
      assert.deepEqual(throughPages(copy), throughLmdb(copied));
    }
    await copied.close();
  });

  test(`of ${rounds} damages each is found or changes nothing, and a salvage keeps what is before it`, async () => {
    const random = new Random(seed + 2);
    const original = storeDirectory();
    const store = await fill(original, random, 300, () => undefined);
    const whole = throughLmdb(store);
    await store.close();
    const bytes = readFileSync(join(original, 'data.mdb'));
    const before = throughPages(original, 1);
    for (let round = 0; round < rounds; round++) {
      const kind = damageKinds[random.below(damageKinds.length)]!;
      const what = `${kind}, round ${round}, seed ${seed}`;
      const damaged = damageFile(bytes, kind, random);
      const directory = storeDirectory();
      writeFileSync(join(directory, 'data.mdb'), damaged);
      const read = await readThroughLmdb(directory);
      if (read !== null) assert.deepEqual(read, whole, what);
      const second = storeDirectory();
      writeFileSync(join(second, 'data.mdb'), damaged);
      assert.equal(isSound(second), read !== null, what);
      if (read !== null) continue;
      const report = await salvage(second);
      assert.deepEqual(readFileSync(report.aside), damaged, what);
      assert.ok(report.damages.length > 0, what);
      assert.ok(isSound(second), what);
      // Where something of the newest moment is destroyed, the one before it counts, with what the last commit has removed.
      const left = throughPages(second);
      for (let writer = 0; writer < WRITERS; writer++)
        assert.ok(isStartOf(left[writer]!, whole[writer]!) || isStartOf(left[writer]!, before[writer]!), `${what}, shard ${writer}`);
    }
  });
});

/** Whether the records are the first ones of `whole`. */
function isStartOf(records: readonly string[], whole: readonly string[]): boolean {
  return records.every((record, place) => record === whole[place]);
}

/** All records; null where LMDB, or a checksum, says that something is wrong. */
async function readThroughLmdb(directory: string): Promise<string[][] | null> {
  let store: LogStore;
  try {
    store = new LogStore(directory, 'none');
  } catch (error) {
    assert.ok(error instanceof StoreError);
    return null;
  }
  try {
    return throughLmdb(store);
  } catch (error) {
    assert.ok(error instanceof StoreError);
    return null;
  } finally {
    await store.close();
  }
}

describe('files that are not whole', () => {
  test('an empty file is damage, but not where a new store was being made', async () => {
    const directory = storeDirectory();
    writeFileSync(join(directory, 'data.mdb'), '');
    assert.throws(() => new LogStore(directory, 'none'), /data\.mdb: the file is empty/);
    writeFileSync(join(directory, 'data.mdb.new'), '');
    await new LogStore(directory, 'none').close();
    assert.deepEqual(throughPages(directory), [[], [], []]);
  });

  test('what is known of the whole store is lost: the records are kept, for any number of shards, and numbers of sessions are not used again', async () => {
    const directory = storeDirectory();
    const store = new LogStore(directory, 'none');
    store.writeMeta({ ...store.meta, shards: 2, epoch: 7 });
    const batch = new Batch();
    batch.reset(recordNumber(1, 1));
    batch.packed(ENTRY_SESSION, 6 * 2 ** 32 + 33, packObject({ kind: 'mailbox', clientId: Buffer.from('dev'), createdAt: 1 }));
    const bytes = Buffer.from(batch.bytes.subarray(0, batch.at));
    sealRecord(bytes, bytes.length, batch.record, 1);
    store.commit([{ record: batch.record, bytes, keepFrom: 0 }]);
    await store.close();
    const file = join(directory, 'data.mdb');
    const damaged = readFileSync(file);
    // Of both moments: the object is in the same page.
    const at = damaged.lastIndexOf('"slotMap"');
    assert.ok(at > 0);
    damaged.write('????', at);
    writeFileSync(file, damaged);
    assert.throws(() => new LogStore(directory, 'none'), /what is known of the whole store is not readable/);
    assert.equal(isSound(directory), false);
    const report = await salvage(directory);
    assert.equal(report.keptRecords, 1);
    const made = new LogStore(directory, 'none');
    assert.deepEqual([made.meta.shards, made.meta.epoch, made.meta.firstCount], [WRITERS_MAX, 6, 1]);
    assert.deepEqual(made.get(batch.record), bytes);
    await made.close();
  });
});
