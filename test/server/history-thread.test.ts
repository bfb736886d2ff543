/**
 * Goal: what shards have handed over before a stop is found after it, however much it is. Method: a ring that holds several times what one turn of the thread takes, and
 * a thread that is told to close as soon as it has begun.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';
import { Worker } from 'node:worker_threads';
import { utf8Bytes } from '../../src/base/bytes.ts';
import { hash32 } from '../../src/base/hash.ts';
import { ringBufferBytes } from '../../src/base/ring.ts';
import type { HistorySettings } from '../../src/base/settings.ts';
import { HistoryTally } from '../../src/journal/history-tally.ts';
import { MessageIds } from '../../src/journal/message-id.ts';
import { MessageView } from '../../src/protocol/publish.ts';
import type { FromHistoryThread, HistoryThreadStart } from '../../src/server/history-thread.ts';
import { COUNTERS, counter } from '../../src/shard/counters.ts';
import { History } from '../../src/shard/history.ts';
import { messagesOfBlock } from '../../src/store/history-block.ts';
import { HistoryStore } from '../../src/store/history-store.ts';
import { storeDirectory } from '../support/store-directory.ts';

const MESSAGES = 3000;
const PAYLOAD_BYTES = 12_000;

test('a stop takes what is left in the rings, in several commits', async () => {
  const settings: HistorySettings = {
    enabled: true,
    path: join(storeDirectory(), 'history'),
    retentionSeconds: 3600,
    bytesMax: 2 ** 30,
    filters: ['#'],
    messageId: false,
    payloadBytes: 65_536,
    bufferBytes: 64 * 1024 * 1024,
  };
  const rings = [new SharedArrayBuffer(ringBufferBytes(settings.bufferBytes))];
  const [wake, newest] = [new SharedArrayBuffer(64), new SharedArrayBuffer(8)];
  const tally = new HistoryTally();
  const ids = new MessageIds(0);
  const counters = new Float64Array(COUNTERS.length);
  const history = new History(settings, { ring: rings[0]!, wake, newest, tally: tally.shared }, 0, ids, counters);
  const view = new MessageView();
  view.topicBytes = utf8Bytes('plant/1');
  view.topicEnd = view.topicBytes.length;
  view.setPayload(Buffer.alloc(PAYLOAD_BYTES), 0, PAYLOAD_BYTES);
  history.fields.topicHash = hash32(view.topicBytes, 0, view.topicEnd);
  history.fields.publisherBytes = utf8Bytes('sensor-1');
  for (let i = 0; i < MESSAGES; i++) {
    ids.next(Date.now());
    history.keep(view, null);
  }
  history.endTurn();
  assert.equal(counters[counter('history/kept')], MESSAGES);

  const workerData: HistoryThreadStart = { settings, rings, wake, newest, tally: tally.shared, skipsRings: false };
  const worker = new Worker(new URL('../../src/server/history-thread.js', import.meta.url), { workerData });
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
  assert.deepEqual([tally.lost, tally.waiting], [0, 0]);

  const store = new HistoryStore(settings.path, settings.retentionSeconds);
  let found = 0;
  for (const { shard, directory } of store.directory.shards())
    for (let sequence = directory.begin; sequence < directory.end; sequence++)
      found += messagesOfBlock(store.read({ shard, sequence })!).length;
  await store.close();
  assert.equal(found, MESSAGES);
});
