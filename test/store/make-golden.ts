/*
 * Makes the golden store of this version: `node dist/test/store/make-golden.js DIR`, where DIR is new. It is run by hand, once for each format of the store, and what
 * it has made is committed as test/store/golden/format-N and never touched again: later versions must read it as it is.
 *
 * Real clients of a real broker with three shards leave `golden-traffic.ts` behind, and the broker is killed. Three things that only a broker leaves which dies at
 * one certain moment are written as that one would: two publications of its own that were not taken yet, and a QoS 2 message of which only the
 * receiver's shard knew. The test finds it a minute later at the earliest.
 */
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { hash32 } from '../../src/base/hash.ts';
import { packObject } from '../../src/base/pack.ts';
import { Batch } from '../../src/journal/batch.ts';
import { ENTRY_MESSAGE, ENTRY_ORIGIN, ENTRY_OWN, ENTRY_OWN_DONE, FLAG_STORED_PUBLISHER } from '../../src/journal/entry.ts';
import { recordNumber, sealRecord } from '../../src/journal/record.ts';
import { MessageView } from '../../src/protocol/publish.ts';
import { readContents, verifyStore, withReader } from '../../src/server/store-commands.ts';
import { Message, viewMessage } from '../../src/session/message.ts';
import { LogStore } from '../../src/store/log-store.ts';
import { EPOCH_IDS } from '../../src/store/store-meta.ts';
import { startBroker } from '../support/broker.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { BACK, DUE, GOLDEN_OPTIONS, GOLDEN_SHARDS, KNOWN, leaveGolden } from './golden-traffic.ts';

/** A record more in the log of a shard. */
function append(store: LogStore, shard: number, fill: (batch: Batch) => void): void {
  const batch = new Batch();
  batch.reset(recordNumber(store.newestCount(shard) + 1, shard));
  fill(batch);
  const bytes = Buffer.from(batch.bytes.subarray(0, batch.at));
  sealRecord(bytes, bytes.length, batch.record, Date.now());
  store.commit([{ record: batch.record, bytes, keepFrom: 0 }]);
}

function own({ topic, payload }: { readonly topic: string; readonly payload: string }, shareKey: string): Uint8Array {
  const topicEnd = Buffer.byteLength(topic);
  const message = { bytes: Buffer.from(topic + payload), topicEnd, propertiesEnd: topicEnd, qos: 1, retain: false, expiresAt: 0 };
  return packObject({ ...message, publisherId: '', shareKey });
}

/** What a broker leaves that dies at a certain moment. */
async function addUnfinished(directory: string): Promise<void> {
  const contents = await withReader(directory, (reader) =>
    readContents(
      reader,
      () => undefined,
      () => assert.fail('the store is damaged'),
    ),
  );
  const holderOf = (clientId: string): { id: number; writer: number; lastSequence: number } => {
    const holder = [...contents.holders.values()].find((one) => one.clientId === clientId);
    assert.ok(holder !== undefined);
    return holder;
  };
  const store = new LogStore(directory, 'fsync');
  const numbers = store.meta.epoch * EPOCH_IDS;
  // Not on the shard of those who want them.
  append(store, 1, (batch) => batch.packed(ENTRY_OWN, numbers + 32_001, own(DUE, '')));
  append(store, 0, (batch) => {
    batch.packed(ENTRY_OWN, numbers + 32_032, own(BACK, BACK.shareKey));
    batch.packed(ENTRY_OWN, numbers + 32_064, own({ ...DUE, payload: 'one that was taken' }, ''));
  });
  append(store, 0, (batch) => {
    batch.one(ENTRY_OWN_DONE, 0, 0, numbers + 32_064);
  });
  const { id, writer, lastSequence } = holderOf(KNOWN.clientId);
  const publisher = holderOf(KNOWN.publisher);
  append(store, writer, (batch) => {
    const topic = Buffer.from(KNOWN.topic);
    const payload = Buffer.from(KNOWN.payload);
    const view = new MessageView();
    viewMessage(view, new Message(Buffer.concat([topic, payload]), topic.length, topic.length, 2, false, 0, 0));
    batch.message(ENTRY_MESSAGE, view, 0);
    batch.delivery(id, lastSequence + 1, 2, false, 0, 0, null, 0, null);
    const content = hash32(payload, 0, payload.length) * 2 ** 22 + (hash32(topic, 0, topic.length) >>> 9);
    batch.three(ENTRY_ORIGIN, FLAG_STORED_PUBLISHER, KNOWN.packetId, id, publisher.id, content);
  });
  await store.close();
}

const [target] = process.argv.slice(2);
assert.ok(target !== undefined, 'name a new directory');
mkdirSync(resolve(target), { recursive: true });
const directory = storeDirectory();
const broker = await startBroker({ shards: GOLDEN_SHARDS, 'store.path': directory, ...GOLDEN_OPTIONS });
await leaveGolden(broker.port);
await broker.kill();
await addUnfinished(directory);
const { damages, records } = await verifyStore(
  directory,
  (line) => process.stdout.write(`${line}\n`),
  () => undefined,
);
assert.equal(damages, 0);
// The locks belong to this machine.
const file = join(resolve(target), 'data.mdb');
rmSync(file, { force: true });
copyFileSync(join(directory, 'data.mdb'), file);
process.stdout.write(`${file}: ${records} records, ${statSync(file).size} bytes\n`);
process.exit(0);
