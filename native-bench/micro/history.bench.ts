/*
 * What the history costs a shard for each message: a Message ID and a record in the ring. And what it costs the history's thread: the record taken out of the
 * ring and put into a block, for few topics and for many, alone and ten of a publisher in one go, and the commits. Prints nanoseconds per message, best of five rounds.
 * Run: node native-bench/micro/history.bench.js
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { utf8Bytes, withView } from '../../src/base/bytes.ts';
import { hash32 } from '../../src/base/hash.ts';
import { RING_FRAME_HEADER_BYTES, RingConsumer, ringBufferBytes, ringFrameBytes } from '../../src/base/ring.ts';
import { MessageIds } from '../../src/journal/message-id.ts';
import { MessageView } from '../../src/protocol/publish.ts';
import { TopicMatch } from '../../src/routing/subscriptions.ts';
import { COUNTERS } from '../../src/shard/counters.ts';
import { History } from '../../src/shard/history.ts';
import { Route } from '../../src/shard/route.ts';
import { HistoryStore } from '../../src/store/history-store.ts';

const MESSAGES = 400_000;
const ROUNDS = 5;
const BATCH = 256;
const PAYLOAD_BYTES = 128;

function measure(topics: number, inOneGo: number, withStore: boolean): { shard: number; thread: number } {
  const path = mkdtempSync(join(tmpdir(), 'onehop-history-'));
  const bufferBytes = 8 * 1024 * 1024;
  const settings = {
    enabled: true,
    path,
    retentionSeconds: 3600,
    bytesMax: 2 ** 34,
    filters: ['#'],
    messageId: false,
    payloadBytes: 65_536,
    bufferBytes,
  };
  const ring = new SharedArrayBuffer(ringBufferBytes(bufferBytes));
  const ids = new MessageIds(0);
  const wiring = { ring, wake: new SharedArrayBuffer(64), newest: new SharedArrayBuffer(8), tally: new SharedArrayBuffer(24) };
  const history = new History(settings, wiring, 0, ids, new Float64Array(COUNTERS.length));
  const consumer = new RingConsumer(ring);
  const store = withStore ? new HistoryStore(path, 3600) : null;
  const names = Array.from({ length: topics }, (_, i) => utf8Bytes(`site/device-${i}/temperature`));
  const hashes = names.map((name) => hash32(name, 0, name.length));
  const publisher = utf8Bytes('client-0123456789');
  const routes = names.map(() => new Route(0, new TopicMatch(), 0, [], null));
  const view = new MessageView();
  view.setPayload(withView(Buffer.alloc(PAYLOAD_BYTES)), 0, PAYLOAD_BYTES);
  let bestShard = Number.POSITIVE_INFINITY;
  let bestThread = Number.POSITIVE_INFINITY;
  let next = 0;
  let now = Date.now();
  for (let round = 0; round < ROUNDS; round++) {
    let shard = 0n;
    let thread = 0n;
    for (let sent = 0; sent < MESSAGES; sent += BATCH) {
      const begin = process.hrtime.bigint();
      now += 1;
      for (let i = 0; i < BATCH; i++) {
        if (i % inOneGo === 0) next = next + 1 === topics ? 0 : next + 1;
        const name = names[next]!;
        view.topicBytes = name;
        view.topicEnd = name.length;
        if (history.keepFurther(view, publisher, routes[next]!, now)) continue;
        if (!history.wants(view)) continue;
        ids.next(now);
        const { fields } = history;
        fields.topicHash = hashes[next]!;
        fields.publisherBytes = publisher;
        fields.publisherHash = 1;
        fields.propertiesEnd = 0;
        history.keep(view, routes[next]!);
      }
      history.endTurn();
      const middle = process.hrtime.bigint();
      let from = -1;
      let end = -1;
      while (consumer.next()) {
        const at = consumer.frameAt - RING_FRAME_HEADER_BYTES;
        if (at !== end) {
          if (from >= 0) store?.add(0, consumer.bytes, from, end);
          from = at;
        }
        end = at + ringFrameBytes(consumer.frameEnd - consumer.frameAt);
      }
      if (from >= 0) store?.add(0, consumer.bytes, from, end);
      consumer.release();
      if (store !== null && store.pendingBytes > 4 * 1024 * 1024) store.commit(now);
      shard += middle - begin;
      thread += process.hrtime.bigint() - middle;
    }
    bestShard = Math.min(bestShard, Number(shard) / MESSAGES);
    bestThread = Math.min(bestThread, Number(thread) / MESSAGES);
  }
  rmSync(path, { recursive: true });
  return { shard: bestShard, thread: bestThread };
}

for (const topics of [1, 1000, 100_000]) {
  for (const inOneGo of [1, 10]) {
    const { shard } = measure(topics, inOneGo, false);
    const { thread } = measure(topics, inOneGo, true);
    const what = `${String(topics).padStart(7)} topics, ${String(inOneGo).padStart(2)} messages in one go`;
    console.log(`${what}: shard ${shard.toFixed(0)} ns, thread ${thread.toFixed(0)} ns`);
  }
}
