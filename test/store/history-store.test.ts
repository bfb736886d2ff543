/**
 * Goal: the history finds exactly the messages that it has, by whatever is asked, in order and in pages, over blocks, segments of the index and restarts; the oldest
 * leave it; and a damaged file does not keep the broker from starting. Method: random messages of several shards, compared with a plain list.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { utf8Bytes } from '../../src/base/bytes.ts';
import { hash32 } from '../../src/base/hash.ts';
import { RING_FRAME_HEADER_BYTES, ringFrameBytes } from '../../src/base/ring.ts';
import {
  FRAME_MESSAGE,
  FRAME_TRACE,
  furtherBytes,
  HistoryFields,
  setFurther,
  writeFurther,
  writeHistoryRecord,
} from '../../src/journal/history-record.ts';
import { idText, MessageIds } from '../../src/journal/message-id.ts';
import { MessageView } from '../../src/protocol/publish.ts';
import { filterMatches } from '../../src/protocol/topic.ts';
import { findMessage, HistoryQuery, type HistoryQuestion } from '../../src/store/history-query.ts';
import { HistoryStore } from '../../src/store/history-store.ts';
import { StoreRoom, type SystemError } from '../../src/store/store-room.ts';
import { Random } from '../routing/random-topics.ts';

const BEGIN = 1_790_000_000_000;
const RETENTION_SECONDS = 86_400;

interface Kept {
  readonly id: string;
  readonly at: number;
  readonly topic: string;
  readonly publisher: string;
  readonly targets: readonly string[];
}

/** Puts messages into a store as shards do. */
class Writer {
  now = BEGIN;
  readonly all: Kept[] = [];
  private readonly ids: MessageIds[];
  private readonly words = new Uint32Array(16 * 1024);
  private readonly buffer = Buffer.from(this.words.buffer);

  constructor(shards: number) {
    this.ids = Array.from({ length: shards }, (_, shard) => new MessageIds(shard));
  }

  /** The frame that was added last. */
  lastFrame(): Buffer {
    return Buffer.from(this.buffer.subarray(0, ringFrameBytes(this.words[0]!)));
  }

  /** @param further messages that stand behind the first in its record */
  add(
    store: HistoryStore,
    shard: number,
    topic: string,
    publisher: string,
    targets: readonly string[],
    payloadBytes: number,
    further = 0,
  ): void {
    const ids = this.ids[shard]!;
    ids.next(this.now);
    const view = new MessageView();
    view.topicBytes = utf8Bytes(topic);
    view.topicEnd = view.topicBytes.length;
    view.setPayload(new Uint8Array(payloadBytes), 0, payloadBytes);
    const fields = new HistoryFields();
    fields.hash = hash32(view.topicBytes, 0, view.topicEnd);
    fields.publisherBytes = utf8Bytes(publisher);
    fields.publisherEnd = fields.publisherBytes.length;
    fields.publisherHash = hash32(fields.publisherBytes, 0, fields.publisherBytes.length);
    fields.isP2p = targets.length > 0;
    fields.targetBytes = utf8Bytes(targets.join(''));
    if (targets.length === 1 && topic.endsWith(`/p2p/${targets[0]!}`)) {
      fields.addressedBytes = fields.targetBytes.length;
      fields.hash = hash32(fields.targetBytes, 0, fields.targetBytes.length);
    } else {
      let at = 0;
      for (const target of targets) {
        fields.addTarget(at, at + target.length);
        at += target.length;
      }
    }
    const place = RING_FRAME_HEADER_BYTES;
    const kept = (): Kept => ({ id: idText(ids.bytes, 0), at: ids.milliseconds, topic, publisher, targets });
    let length = writeHistoryRecord(this.buffer, undefined, this.words, place, ids.words, view, fields, true, payloadBytes);
    this.all.push(kept());
    for (let i = 0; i < further; i++) {
      assert.ok(ids.advanceBehind(this.now));
      ids.show();
      length = (length + 3) & ~3;
      writeFurther(this.buffer, undefined, this.words, place + length, view);
      length += furtherBytes(payloadBytes);
      this.all.push(kept());
    }
    setFurther(this.words, place, further);
    this.words[0] = length;
    this.words[1] = FRAME_MESSAGE;
    assert.equal(store.take(shard, this.buffer, 0, ringFrameBytes(length)), ringFrameBytes(length));
  }
}

const ANYTHING: HistoryQuestion = {
  topic: '',
  filter: '',
  publisher: '',
  target: '',
  from: 0,
  to: 2 ** 47,
  isNewestFirst: false,
  limit: 100,
  cursor: '',
  isWhole: false,
};

function ask(store: HistoryStore, question: Partial<HistoryQuestion>): string[] {
  const found: string[] = [];
  let cursor = '';
  for (;;) {
    const query = new HistoryQuery(store, { ...ANYTHING, ...question, cursor });
    while (!query.run(300_000));
    const { items, next } = query.page;
    assert.ok(items.length <= (question.limit ?? 100));
    found.push(...items.map(({ id }) => id));
    if (next === null) return found;
    cursor = next;
  }
}

function fill(store: HistoryStore, writer: Writer, random: Random, count: number, shards: number, payloadMax: number): void {
  for (let i = 0; i < count; i++) {
    writer.now += random.next(3);
    const targets = random.next(3) === 0 ? Array.from({ length: 1 + random.next(3) }, () => `device-${random.next(20)}`) : [];
    let topic = `site/${random.next(10)}/t${random.next(random.next(2) === 0 ? 3 : 500)}`;
    // Some to one target, some to their publisher's own list, with the same topic.
    if (targets.length > 0 && random.next(3) > 0) topic = `site/p2p/${targets[0]!}`;
    const further = targets.length === 0 && payloadMax < 8000 && random.next(4) === 0 ? random.next(5) : 0;
    writer.add(store, random.next(shards), topic, `client-${random.next(50)}`, targets, random.next(payloadMax), further);
    if (random.next(200) === 0) store.commit(writer.now);
  }
  store.commit(writer.now);
}

function compare(store: HistoryStore, all: readonly Kept[], random: Random, rounds: number): void {
  const sorted = all.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  for (let round = 0; round < rounds; round++) {
    const question: { -readonly [K in keyof HistoryQuestion]?: HistoryQuestion[K] } = {
      limit: 1 + random.next(1000),
      isNewestFirst: random.next(2) === 0,
    };
    const some = all[random.next(all.length)]!;
    const kind = random.next(4);
    if (kind < 2) question.topic = some.topic;
    if (kind === 2) question.filter = `site/+/${some.topic.split('/')[2]}`;
    if (random.next(3) === 0) question.publisher = some.publisher;
    if (random.next(3) === 0) question.target = some.targets[0] ?? 'device-1';
    if (random.next(2) === 0) question.from = all[random.next(all.length)]!.at;
    if (random.next(2) === 0) question.to = all[random.next(all.length)]!.at;
    const { topic = '', filter = '', publisher = '', target = '', from = 0, to = 2 ** 47, isNewestFirst } = question;
    const expected = sorted
      .filter(
        (kept) =>
          (topic === '' || kept.topic === topic) &&
          (filter === '' || filterMatches(filter, kept.topic)) &&
          (publisher === '' || kept.publisher === publisher) &&
          (target === '' || kept.targets.includes(target)) &&
          kept.at >= from &&
          kept.at <= to,
      )
      .map(({ id }) => id);
    assert.deepEqual(ask(store, question), isNewestFirst ? expected.reverse() : expected, JSON.stringify(question));
  }
  for (let round = 0; round < 50; round++) {
    const { id, topic } = all[random.next(all.length)]!;
    assert.equal(findMessage(store, id, true)?.topic, topic);
  }
}

test('what is there is found, over blocks, segments and restarts', async () => {
  const random = new Random('history-store');
  const path = mkdtempSync(join(tmpdir(), 'onehop-history-'));
  const writer = new Writer(3);
  let store = new HistoryStore(path, RETENTION_SECONDS);
  fill(store, writer, random, 400, 3, 100);
  compare(store, writer.all, random, 20);
  // Beyond what one segment of the index is over.
  fill(store, writer, random, 9000, 3, 8000);
  assert.ok(store.segmentCount >= 1);
  fill(store, writer, random, 300, 3, 100);
  compare(store, writer.all, random, 20);
  // Not committed yet.
  writer.add(store, 1, 'site/1/t1', 'client-1', [], 10);
  compare(store, writer.all, random, 10);
  store.commit(writer.now);
  await store.close();

  store = new HistoryStore(path, RETENTION_SECONDS);
  assert.equal(store.damage, '');
  assert.equal(store.newestMilliseconds(1), writer.all.filter(({ id }) => id.slice(12, 14) === '01').at(-1)!.at);
  compare(store, writer.all, random, 20);
  fill(store, writer, random, 300, 3, 100);
  compare(store, writer.all, random, 20);

  // The oldest leave, by bytes and by age, and the index with them.
  const { bytes } = store;
  while (store.clean(0, bytes / 2));
  assert.ok(store.bytes <= bytes / 2 && store.bytes > bytes / 3);
  const left = new Set(ask(store, { limit: 1000 }));
  const gone = writer.all.filter(({ id }) => !left.has(id));
  const here = writer.all.filter(({ id }) => left.has(id));
  assert.ok(here.length > 1000 && gone.length > 1000);
  // A block of a shard that says little reaches further back than those of others.
  assert.ok(gone.every(({ at }) => at <= here.at(-1)!.at));
  compare(store, here, random, 20);
  while (store.clean(writer.now + RETENTION_SECONDS * 1000, Number.MAX_SAFE_INTEGER));
  store.closeIdle(writer.now + RETENTION_SECONDS * 1000);
  while (store.clean(writer.now + RETENTION_SECONDS * 1000, Number.MAX_SAFE_INTEGER));
  assert.deepEqual(ask(store, {}), []);
  assert.deepEqual([store.segmentCount, store.bytes], [0, 0]);
  await store.close();

  // Places go on where they were.
  store = new HistoryStore(path, RETENTION_SECONDS);
  writer.all.length = 0;
  fill(store, writer, random, 100, 3, 100);
  compare(store, writer.all, random, 5);
  await store.close();
});

test('where the disk is full the oldest make room, for as long as that lasts, and what is left is found', async (t) => {
  const random = new Random('history-full');
  const path = mkdtempSync(join(tmpdir(), 'onehop-history-'));
  let isFull = false;
  const room = StoreRoom.prototype as unknown as { allocate(file: number, at: number, length: number): void };
  const { allocate } = room;
  t.mock.method(room, 'allocate', function (this: StoreRoom, file: number, at: number, length: number): void {
    const error: SystemError = Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', errno: -28 });
    if (isFull) throw error;
    allocate.call(this, file, at, length);
  });
  const store = new HistoryStore(path, RETENTION_SECONDS);
  const writer = new Writer(3);
  fill(store, writer, random, 6000, 3, 8000);
  isFull = true;
  const { blocks } = statSync(join(path, 'data.mdb'));
  // Several times what there is: gaps of all sizes come and go.
  for (let round = 0; round < 8; round++) {
    fill(store, writer, random, 3000, 3, [8000, 200, 60_000][round % 3]!);
    for (let i = 0; i < 40; i++) store.addTrace(writer.all.at(-1 - random.next(100))!.id, Buffer.alloc(300, 120));
    store.commit(writer.now);
    assert.equal(store.pendingMessages, 0);
    const file = statSync(join(path, 'data.mdb'));
    assert.ok(file.blocks === blocks && file.size <= blocks * 512, `round ${round}: ${file.size} of ${blocks * 512}`);
  }
  const left = new Set(ask(store, { limit: 1000 }));
  const gone = writer.all.filter(({ id }) => !left.has(id));
  const here = writer.all.filter(({ id }) => left.has(id));
  assert.ok(gone.length > 6000 && store.evictedBytes > 0, `${gone.length} are gone`);
  assert.ok(here.length > 100 && here.at(-1)!.id === writer.all.at(-1)!.id);
  compare(store, here, random, 10);
  isFull = false;
  const { evictedBytes } = store;
  fill(store, writer, random, 3000, 3, 8000);
  assert.deepEqual([store.isShort, store.evictedBytes], [false, evictedBytes]);
  compare(store, [...here, ...writer.all.slice(-3000)], random, 10);
  await store.close();
  const again = new HistoryStore(path, RETENTION_SECONDS);
  compare(again, [...here, ...writer.all.slice(-3000)], random, 5);
  await again.close();
});

test('what a disk does not take is forgotten, and what was on disk stays', async () => {
  const random = new Random('history-abandon');
  const store = new HistoryStore(mkdtempSync(join(tmpdir(), 'onehop-history-')), RETENTION_SECONDS);
  const writer = new Writer(2);
  fill(store, writer, random, 50, 2, 10);
  const before = writer.all.length;
  for (let i = 0; i < 7; i++) writer.add(store, 0, 'lost', 'client-1', [], 10);
  assert.equal(store.abandon(), 7);
  writer.all.length = before;
  compare(store, writer.all, random, 5);
  fill(store, writer, random, 50, 2, 10);
  compare(store, writer.all, random, 5);
  await store.close();
});

test('what is not on disk yet is not removed, and nothing is left behind', async () => {
  const random = new Random('history-unwritten');
  const path = mkdtempSync(join(tmpdir(), 'onehop-history-'));
  const store = new HistoryStore(path, RETENTION_SECONDS);
  const writer = new Writer(1);
  fill(store, writer, random, 20, 1, 10);
  store.commit(writer.now);
  // The block grows beyond its bound, and is closed before it is written again.
  for (let i = 0; i < 40; i++) writer.add(store, 0, 'large', 'client-1', [], 8000);
  store.clean(0, 0);
  store.commit(writer.now);
  assert.equal(store.pendingMessages, 0);
  compare(store, writer.all, random, 5);
  while (store.clean(0, 0));
  await store.close();
  const again = new HistoryStore(path, RETENTION_SECONDS);
  assert.ok(again.bytes < 300_000, `${again.bytes} bytes`);
  await again.close();
});

test('a commit that failed and is on disk all the same is there once', async (t) => {
  const random = new Random('history-uncertain');
  const path = mkdtempSync(join(tmpdir(), 'onehop-history-'));
  const store = new HistoryStore(path, RETENTION_SECONDS);
  const writer = new Writer(2);
  fill(store, writer, random, 50, 2, 10);
  const { blocks } = (store as unknown as { file: { blocks: { transactionSync(run: () => void): unknown } } }).file;
  const { transactionSync } = blocks;
  t.mock.method(blocks, 'transactionSync', (run: () => void) => {
    transactionSync.call(blocks, run);
    throw new Error('the disk has not said that it is written');
  });
  for (let i = 0; i < 7; i++) writer.add(store, i % 2, 'site/1/t1', 'client-1', [], 10);
  assert.throws(() => store.commit(writer.now), /has not said/);
  assert.ok(store.isUncertain);
  writer.add(store, 0, 'site/1/t1', 'client-1', [], 10);
  await store.mend();
  assert.ok(!store.isUncertain);
  assert.equal(store.pendingMessages, 1);
  fill(store, writer, random, 50, 2, 10);
  compare(store, writer.all, random, 5);
  await store.close();
  const again = new HistoryStore(path, RETENTION_SECONDS);
  compare(again, writer.all, random, 5);
  assert.equal(again.bytes, store.bytes);
  await again.close();
});

test('an answer has a largest size, in which topics count', async () => {
  const store = new HistoryStore(mkdtempSync(join(tmpdir(), 'onehop-history-')), RETENTION_SECONDS);
  const writer = new Writer(1);
  for (let i = 0; i < 200; i++) writer.add(store, 0, `${i}/${'t'.repeat(60_000)}`, 'client-1', [], 0);
  const query = new HistoryQuery(store, { ...ANYTHING, limit: 1000 });
  while (!query.run(300_000));
  const { items, next } = query.page;
  assert.ok(items.length >= 60 && items.length <= (4 * 1024 * 1024) / 60_000 + 1, `${items.length} items`);
  assert.notEqual(next, null);
  assert.equal(ask(store, { limit: 1000 }).length, 200);
  await store.close();
});

test('what is no message neither begins a block nor waits for the disk', async () => {
  const store = new HistoryStore(mkdtempSync(join(tmpdir(), 'onehop-history-')), RETENTION_SECONDS);
  const writer = new Writer(1);
  const trace = Buffer.alloc(64);
  trace.writeUInt32LE(56, 0);
  trace.writeUInt32LE(FRAME_TRACE, 4);
  assert.equal(store.take(0, trace, 0, trace.length), 0);
  assert.deepEqual([store.directory.of(0).end, store.pendingBytes], [store.directory.of(0).begin, 0]);
  writer.add(store, 0, 'a', 'client-1', [], 10);
  const alone = store.pendingBytes;
  // The same frame, and a trace behind it.
  const { at } = writer.all[0]!;
  assert.equal(store.take(0, Buffer.concat([writer.lastFrame(), trace]), 0, alone + trace.length), alone);
  assert.deepEqual([store.pendingBytes, store.pendingMessages], [2 * alone, 2]);
  assert.equal(store.directory.of(0).firstMilliseconds(store.directory.of(0).begin), at);
  await store.close();
});

test('a question looks at few messages at once, however small they are', async () => {
  const store = new HistoryStore(mkdtempSync(join(tmpdir(), 'onehop-history-')), RETENTION_SECONDS);
  const writer = new Writer(1);
  for (let i = 0; i < 1000; i++) writer.add(store, 0, 'a', 'client-1', [], 0, 255);
  store.commit(writer.now);
  const query = new HistoryQuery(store, {
    topic: '',
    filter: 'b/#',
    publisher: '',
    target: '',
    from: 0,
    to: 2 ** 47,
    isNewestFirst: true,
    limit: 100,
    cursor: '',
    isWhole: false,
  });
  let slices = 1;
  while (!query.run(1_000_000)) slices++;
  // A block has some 50,000 of them.
  assert.ok(slices >= writer.all.length / 60_000, `${slices} slices for ${writer.all.length} messages`);
  await store.close();
});

test('a newest block that cannot be read says all the same from when on it is', async () => {
  const path = mkdtempSync(join(tmpdir(), 'onehop-history-'));
  const store = new HistoryStore(path, RETENTION_SECONDS);
  const writer = new Writer(1);
  writer.add(store, 0, 'a', 'client-1', [], 10);
  store.commit(writer.now);
  const { blocks } = (
    store as unknown as {
      file: { blocks: { getKeys(): Iterable<number[]>; get(key: number[]): Buffer; putSync(key: number[], image: Buffer): void } };
    }
  ).file;
  const [key] = [...blocks.getKeys()];
  const image = Buffer.from(blocks.get(key!));
  // Of an older version.
  image.writeUInt32LE(1, 0);
  blocks.putSync(key!, image);
  await store.close();
  const again = new HistoryStore(path, RETENTION_SECONDS);
  assert.equal(findMessage(again, writer.all[0]!.id, true), null);
  assert.equal(again.newestMilliseconds(0), writer.now);
  assert.equal(again.newestMilliseconds(1), 0);
  await again.close();
});

test('events of traces are kept by message, and leave with it', async () => {
  const store = new HistoryStore(mkdtempSync(join(tmpdir(), 'onehop-history-')), RETENTION_SECONDS);
  const writer = new Writer(1);
  for (let i = 0; i < 3; i++) {
    writer.now += 10;
    writer.add(store, 0, 'a', 'client-1', [], 10);
  }
  const [first, second] = writer.all as [Kept, Kept];
  for (const name of ['published', 'delivered']) store.addTrace(first.id, Buffer.from(`"${name}"`));
  store.addTrace(second.id, Buffer.from('"other"'));
  store.commit(writer.now);
  assert.deepEqual(store.readTraces(first.id, 10).map(String), ['"published"', '"delivered"']);
  assert.deepEqual(store.readTraces(first.id, 1).map(String), ['"published"']);
  assert.deepEqual(store.readTraces('0'.repeat(32), 10), []);
  const later = writer.now + 2 * RETENTION_SECONDS * 1000;
  store.closeIdle(later);
  writer.now = later;
  writer.add(store, 0, 'a', 'client-1', [], 10);
  store.commit(later);
  while (store.clean(later - RETENTION_SECONDS * 1000, Number.MAX_SAFE_INTEGER));
  assert.deepEqual(ask(store, {}), [writer.all.at(-1)!.id]);
  await store.close();
});

test('a file that a crash has left broken is put aside', async () => {
  const path = mkdtempSync(join(tmpdir(), 'onehop-history-'));
  writeFileSync(join(path, 'data.mdb'), Buffer.alloc(65_536, 7));
  writeFileSync(join(path, 'onehop.open'), '');
  const store = new HistoryStore(path, RETENTION_SECONDS);
  assert.notEqual(store.damage, '');
  assert.ok(existsSync(join(path, 'data.mdb.damaged')));
  assert.deepEqual(ask(store, {}), []);
  await store.close();
  assert.ok(!existsSync(join(path, 'onehop.open')));
});
