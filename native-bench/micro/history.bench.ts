/*
 * What the history costs a shard for each message: a Message ID and a record in the ring. And what it costs the history's thread: the record taken out of the
 * ring and put into a block, for few topics and for many, alone, ten of a publisher in one go, and P2P, and the commits. Prints nanoseconds per message, best of five rounds.
 * Run: node native-bench/micro/history.bench.js
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { utf8Bytes, withView } from '../../src/base/bytes.ts';
import { hash32 } from '../../src/base/hash.ts';
import { RingConsumer, ringBufferBytes } from '../../src/base/ring.ts';
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
/** What the history's thread takes at once. */
const RUN_BYTES = 32 * 1024;
const ADDRESS_BYTES = 'first/p2p/'.length;

function measure(topics: number, inOneGo: number, isP2p: boolean, withStore: boolean): { shard: number; thread: number } {
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
  const names = Array.from({ length: topics }, (_, i) =>
    utf8Bytes(isP2p ? `first/p2p/client-0123456-${i}` : `site/device-${i}/temperature`),
  );
  const hashes = names.map((name) => hash32(name, 0, name.length));
  const publishers = names.map((_, i) => utf8Bytes(`client-0123456-${i}`));
  const routes = names.map(() => new Route(0, new TopicMatch(), 0, [], null));
  const view = new MessageView();
  const payload = withView(Buffer.alloc(PAYLOAD_BYTES));
  view.setPayload(payload, 0, PAYLOAD_BYTES);
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
        const publisher = publishers[next]!;
        view.topicBytes = name;
        view.topicEnd = name.length;
        if (!isP2p && history.keepFurther(view, publisher, routes[next]!, now)) continue;
        if (!history.wants(view)) continue;
        ids.next(now);
        const { fields } = history;
        fields.hash = hashes[next]!;
        fields.publisherBytes = publisher;
        fields.publisherEnd = publisher.length;
        fields.publisherHash = next;
        fields.propertiesEnd = 0;
        fields.isP2p = isP2p;
        fields.addressedBytes = isP2p ? name.length - ADDRESS_BYTES : 0;
        history.keep(view, publisher, isP2p ? null : routes[next]!);
      }
      history.endTurn();
      const middle = process.hrtime.bigint();
      for (let bytes = consumer.readable(RUN_BYTES); bytes > 0; bytes = consumer.readable(RUN_BYTES)) {
        const taken = store === null ? 0 : store.take(0, consumer.bytes, consumer.frameAt, consumer.frameAt + bytes);
        if (taken > 0) consumer.advance(taken);
        else consumer.next();
      }
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

const kinds = [
  { what: 'each alone', inOneGo: 1, isP2p: false },
  { what: 'ten in one go', inOneGo: 10, isP2p: false },
  { what: 'P2P', inOneGo: 1, isP2p: true },
];
for (const topics of [1, 1000, 100_000]) {
  for (const { what, inOneGo, isP2p } of kinds) {
    const { shard } = measure(topics, inOneGo, isP2p, false);
    const { thread } = measure(topics, inOneGo, isP2p, true);
    console.log(`${String(topics).padStart(7)} topics, ${what.padEnd(13)}: shard ${shard.toFixed(0)} ns, thread ${thread.toFixed(0)} ns`);
  }
}
