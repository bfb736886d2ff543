/**
 * Goal: what shards have handed over before a stop is found after it, however much it is and however it lies in the ring. Method: a ring that holds several times what one
 * turn of the thread takes, rings that begin anew between messages of all sizes and traces, and a thread that is told to close as soon as it has begun.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import { utf8Bytes } from '../../src/base/bytes.ts';
import { hash32 } from '../../src/base/hash.ts';
import { RING_FRAME_HEADER_BYTES, RingConsumer, ringBufferBytes } from '../../src/base/ring.ts';
import type { HistorySettings } from '../../src/base/settings.ts';
import { HistoryReader } from '../../src/journal/history-record.ts';
import { HistoryTally } from '../../src/journal/history-tally.ts';
import { idMilliseconds, idText, MessageIds } from '../../src/journal/message-id.ts';
import { MessageView } from '../../src/protocol/publish.ts';
import type { FromHistoryThread, HistoryThreadStart } from '../../src/server/history-thread.ts';
import { COUNTERS, counter } from '../../src/shard/counters.ts';
import { History } from '../../src/shard/history.ts';
import { BLOCK_HEADER_BYTES, messagesOfBlock } from '../../src/store/history-block.ts';
import { HistoryStore } from '../../src/store/history-store.ts';
import { Random } from '../routing/random-topics.ts';
import { storeDirectory } from '../support/store-directory.ts';

const DROPPED = counter('history/dropped');

/** A shard's end of a history, and what is told to its thread. */
class Handed {
  readonly settings: HistorySettings;
  readonly history: History;
  readonly ids = new MessageIds(0);
  readonly tally = new HistoryTally();
  readonly counters = new Float64Array(COUNTERS.length);
  readonly start: HistoryThreadStart;
  readonly view = new MessageView();

  constructor(bufferBytes: number) {
    this.settings = {
      enabled: true,
      path: join(storeDirectory(), 'history'),
      retentionSeconds: 3600,
      bytesMax: 2 ** 30,
      filters: ['#'],
      messageId: false,
      payloadBytes: 65_536,
      bufferBytes,
    };
    const ring = new SharedArrayBuffer(ringBufferBytes(bufferBytes));
    const [wake, newest] = [new SharedArrayBuffer(64), new SharedArrayBuffer(8)];
    const tally = this.tally.shared;
    this.history = new History(this.settings, { ring, wake, newest, tally }, 0, this.ids, this.counters);
    this.start = { settings: this.settings, rings: [ring], wake, newest, tally, skipsRings: false };
    const { view } = this;
    view.topicBytes = utf8Bytes('plant/1');
    view.topicEnd = view.topicBytes.length;
    const { fields } = this.history;
    fields.hash = hash32(view.topicBytes, 0, view.topicEnd);
    fields.publisherBytes = utf8Bytes('sensor-1');
    fields.publisherEnd = fields.publisherBytes.length;
  }

  /** @returns its ID, and the size of its payload; '': there was no room */
  keep(payload: Buffer): string {
    this.ids.next(Date.now());
    this.view.setPayload(payload, 0, payload.length);
    const before = this.counters[DROPPED]!;
    this.history.keep(this.view, this.history.fields.publisherBytes, null);
    return this.counters[DROPPED] === before ? `${idText(this.ids.bytes, 0)} ${payload.length}` : '';
  }

  /** Runs a thread that takes what is there and ends. */
  async takeAll(): Promise<void> {
    this.history.endTurn();
    const worker = new Worker(new URL('../../src/server/history-thread.js', import.meta.url), { workerData: this.start });
    worker.postMessage({ kind: 'close' });
    const said: string[] = [];
    await new Promise<void>((resolve, reject) => {
      worker.once('error', reject);
      worker.on('message', ({ kind }: FromHistoryThread) => {
        said.push(kind);
        if (kind === 'closed') resolve();
      });
    });
    await worker.terminate();
    assert.deepEqual(said, ['opened', 'closed']);
    assert.deepEqual([this.tally.lost, this.tally.waiting], [0, 0]);
  }

  /** What is on disk: IDs and sizes, and what traces there are of the last ID. */
  async found(): Promise<{ readonly messages: string[]; readonly traces: number }> {
    const store = new HistoryStore(this.settings.path, this.settings.retentionSeconds);
    const messages: string[] = [];
    const reader = new HistoryReader();
    for (const { shard, directory } of store.directory.shards()) {
      for (let sequence = directory.begin; sequence < directory.end; sequence++) {
        const block = Buffer.from(store.read({ shard, sequence })!);
        const before = messages.length;
        for (const place of messagesOfBlock(block)) {
          reader.show(block, place);
          messages.push(`${idText(reader.id, 0)} ${reader.payloadEnd - reader.payloadAt}`);
        }
        assert.ok(messages.length > before, 'a block has messages');
        assert.equal(directory.firstMilliseconds(sequence), idMilliseconds(block, BLOCK_HEADER_BYTES + RING_FRAME_HEADER_BYTES));
      }
    }
    const traces = store.readTraces('00'.repeat(16), 1000).length;
    await store.close();
    return { messages, traces };
  }
}

test('a stop takes what is left in the rings, in several commits', async () => {
  const handed = new Handed(64 * 1024 * 1024);
  const payload = Buffer.alloc(12_000);
  const kept = Array.from({ length: 3000 }, () => handed.keep(payload));
  await handed.takeAll();
  assert.deepEqual(await handed.found(), { messages: kept, traces: 0 });
});

test('messages of all sizes are taken wherever the ring begins anew, and traces between them', async () => {
  const random = new Random('history-thread');
  const handed = new Handed(512 * 1024);
  const consumer = new RingConsumer(handed.start.rings[0]!);
  for (let round = 0; round < 4; round++) {
    // The next lap begins somewhere else.
    for (let i = 0; i < 3 + random.next(100); i++) handed.keep(Buffer.alloc(random.next(5000)));
    handed.history.endTurn();
    while (consumer.next());
    consumer.release();
    const before = await handed.found();
    const kept: string[] = [];
    let traces = 0;
    for (;;) {
      const size = [random.next(100), random.next(3000), 31_000 + random.next(4000), random.next(65_536)][random.next(4)]!;
      const one = handed.keep(Buffer.alloc(size));
      if (one === '') break;
      kept.push(one);
      if (random.next(5) === 0 && handed.history.keepTrace(new Uint8Array(16), utf8Bytes(`{"n":${traces}}`))) traces++;
    }
    assert.ok(kept.length > 10 && traces > 0, `${kept.length} messages and ${traces} traces`);
    await handed.takeAll();
    const after = await handed.found();
    assert.deepEqual(after.messages, [...before.messages, ...kept]);
    assert.equal(after.traces, before.traces + traces);
  }
});
