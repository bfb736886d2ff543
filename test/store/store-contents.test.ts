/**
 * Goal: the commands read the entries of a log as a broker does, wherever the cleaner has moved them, and a record that no shard can have written is told from one
 * that is damaged on disk.
 * Method: records made by hand, entry by entry; what they say is compared with what was meant.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test, { describe } from 'node:test';
import { packObject } from '../../src/base/pack.ts';
import { Batch } from '../../src/journal/batch.ts';
import * as kinds from '../../src/journal/entry.ts';
import { RECORD_HEAD_BYTES, recordNumber, sealRecord } from '../../src/journal/record.ts';
import { MessageView } from '../../src/protocol/publish.ts';
import { verifyStore } from '../../src/server/store-commands.ts';
import { compactStore } from '../../src/server/store-commands-copy.ts';
import { exportStore, importStore } from '../../src/server/store-commands-transfer.ts';
import { Message, viewMessage } from '../../src/session/message.ts';
import { entryProblem } from '../../src/store/entry-check.ts';
import type { LogRecord } from '../../src/store/log-reader.ts';
import { LogStore } from '../../src/store/log-store.ts';
import { StoreContents } from '../../src/store/store-contents.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { foldQueues } from './stored-traffic.ts';

function sealed(batch: Batch, writer: number, count: number): LogRecord {
  const bytes = Buffer.from(batch.bytes.subarray(0, batch.at));
  const record = recordNumber(count, writer);
  sealRecord(bytes, bytes.length, record, 1);
  return { kind: 'record', record, writer, count, bytes, offset: 0 };
}

/** Records of one shard, each filled by a function. */
function logOf(writer: number, ...fills: ((batch: Batch) => void)[]): LogRecord[] {
  return fills.map((fill, index) => {
    const batch = new Batch();
    batch.reset(recordNumber(index + 1, writer));
    fill(batch);
    return sealed(batch, writer, index + 1);
  });
}

function message(batch: Batch, payload: string, kind: number = kinds.ENTRY_MESSAGE): void {
  const view = new MessageView();
  viewMessage(view, new Message(Buffer.from(`t${payload}`), 1, 1, 1, kind === kinds.ENTRY_RETAINED, 0, 0));
  batch.message(kind, view, 0);
}

function delivery(batch: Batch, id: number, sequence: number, state = 0, packetId = 0): void {
  batch.delivery(id, sequence, 1, false, state, packetId, null, 0, null);
}

function session(batch: Batch, id: number, clientId: string, more: object = {}): void {
  const object = { kind: 'session', clientId: Buffer.from(clientId), version: 5, expirySeconds: 60, closedAt: 0, nextSequence: 1, ...more };
  batch.packed(kinds.ENTRY_SESSION, id, packObject(object));
}

function contentsOf(records: readonly LogRecord[]): StoreContents {
  const contents = new StoreContents();
  for (const record of records) {
    assert.equal(entryProblem(record.bytes), null);
    contents.take(record);
  }
  contents.finish();
  return contents;
}

describe('what a log says', () => {
  test('deliveries stand before their session, are moved, sent, settled; the last entry counts', () => {
    const log = logOf(
      0,
      (batch) => {
        message(batch, 'one');
        delivery(batch, 64, 1);
        delivery(batch, 96, 1);
        message(batch, 'two');
        delivery(batch, 64, 2);
        message(batch, 'three');
        delivery(batch, 64, 3);
      },
      (batch) => {
        session(batch, 64, 'a', { closedAt: 5 });
        batch.two(kinds.ENTRY_SENT, 1, 9, 64, 1);
        batch.two(kinds.ENTRY_SETTLED, 0, 0, 64, 2);
      },
      (batch) => {
        // Moved by the cleaner, which is in flight by now.
        message(batch, 'one');
        delivery(batch, 64, 1, 1, 9);
      },
    );
    const contents = contentsOf(log);
    assert.deepEqual(Object.fromEntries(foldQueues(log)), { a: ['one', 'three'] });
    const holder = contents.holders.get(64)!;
    assert.deepEqual([...holder.states], [[1, { state: 1, packetId: 9 }]]);
    assert.deepEqual([holder.messages, holder.lastSequence, contents.holders.has(96)], [2, 3, false]);
    const { waiting, inflight, away } = contents.counts;
    assert.deepEqual([waiting, inflight, away], [1, 1, 1]);
    const live = log.map((record) => [...contents.liveItems(record)].map((item) => item.kind));
    assert.deepEqual(live, [['message'], [], ['message']]);
  });

  test('what a session is told later counts, and a whole entry replaces what was before it', () => {
    const subscribed = (batch: Batch, filter: string): number => batch.packed(kinds.ENTRY_SUBSCRIBED, 64, packObject({ filter, qos: 1 }));
    const will = { bytes: Buffer.from('wx'), topicEnd: 1, propertiesEnd: 1, qos: 0, retain: false, delaySeconds: 5, expirySeconds: -1 };
    const log = logOf(
      0,
      (batch) => {
        subscribed(batch, 'before its session');
        session(batch, 64, 'a', { received: [1, 2], subscriptions: [{ filter: 'kept', qos: 0 }] });
        batch.one(kinds.ENTRY_RECEIVED, 0, 3, 64);
        batch.one(kinds.ENTRY_RECEIVED_END, 0, 1, 64);
        subscribed(batch, 'added');
        subscribed(batch, 'removed');
      },
      (batch) => {
        batch.packed(kinds.ENTRY_UNSUBSCRIBED, 64, packObject({ filter: 'removed' }));
        batch.packed(kinds.ENTRY_CONNECTED, 64, packObject({ version: 4, expirySeconds: 10, will }));
        batch.three(kinds.ENTRY_CLOSED, kinds.FLAG_WILL, 0, 64, 1000, 20);
      },
      (batch) => batch.one(kinds.ENTRY_WILL_DONE, 0, 0, 64),
    );
    const before = contentsOf(log.slice(0, 2)).holders.get(64)!;
    assert.deepEqual(before.session?.will, will);
    const { session: last, received, subscriptions, whole } = contentsOf(log).holders.get(64)!;
    assert.deepEqual([last?.version, last?.closedAt, last?.expirySeconds, last?.will], [4, 1000, 20, undefined]);
    assert.deepEqual([...received], [2, 3]);
    assert.deepEqual([...subscriptions.keys()], ['kept', 'added']);
    assert.ok(whole !== null && !('will' in whole));
  });

  test('shards are independent: what one has done does not end what another remembers', () => {
    const origin = (batch: Batch, id: number): number => batch.three(kinds.ENTRY_ORIGIN, kinds.FLAG_STORED_PUBLISHER, 5, id, 7, 1234);
    const contents = contentsOf([
      ...logOf(0, (batch) => {
        session(batch, 64, 'a');
        origin(batch, 64);
        message(batch, 'gone', kinds.ENTRY_RETAINED);
      }),
      ...logOf(1, (batch) => {
        session(batch, 65, 'b');
        origin(batch, 65);
        batch.one(kinds.ENTRY_ORIGIN_DONE, 0, 5, 7);
        message(batch, '', kinds.ENTRY_RETAINED);
        batch.one(kinds.ENTRY_SESSION_END, 0, 0, 65);
      }),
    ]);
    assert.deepEqual([contents.counts.origins, contents.counts.retained, contents.counts.sessions], [1, 0, 1]);
  });
});

describe('every kind of entry', () => {
  /** Lines of an export, in any order. */
  async function linesOf(directory: string): Promise<string[]> {
    let text = '';
    await exportStore(
      directory,
      async (chunk) => {
        text += chunk;
      },
      () => undefined,
    );
    return text.trimEnd().split('\n').sort();
  }

  test('comes through export, import and compact', async () => {
    const directory = storeDirectory();
    const store = new LogStore(directory, 'none');
    store.writeMeta({ ...store.meta, shards: 2, epoch: 3 });
    const bytes = Buffer.from('topic-payload');
    const records = [
      ...logOf(
        0,
        (batch) => {
          session(batch, 64, 'a', { username: 'alice', received: [7] });
          session(batch, 96, 'b\u2603', { closedAt: 5 });
          message(batch, 'to both');
          batch.delivery(64, 1, 2, false, 3, 11, null, 0, null);
          batch.delivery(96, 1, 2, true, 0, 0, Uint32Array.from([1, 268_435_455]), 2, 'group/filter/#');
          message(batch, 'kept', kinds.ENTRY_RETAINED);
          batch.three(kinds.ENTRY_ORIGIN, 0, 5, 64, 4321, 0xffffffff);
        },
        (batch) => {
          batch.two(kinds.ENTRY_SENT, 2, 12, 96, 1);
          const own = { bytes, topicEnd: 5, propertiesEnd: 6, qos: 1, retain: true, expiresAt: 99, publisherId: 'a', shareKey: 'g/f' };
          batch.packed(kinds.ENTRY_OWN, 128, packObject(own));
          batch.packed(kinds.ENTRY_OWN, 160, packObject(own));
          batch.one(kinds.ENTRY_OWN_DONE, 0, 0, 160);
        },
      ),
      ...logOf(1, (batch) =>
        batch.packed(kinds.ENTRY_SESSION, 65, packObject({ kind: 'mailbox', clientId: Buffer.from('c'), createdAt: 77 })),
      ),
    ];
    for (const { record, bytes: content } of records) store.commit([{ record, bytes: content, keepFrom: 0 }]);
    await store.close();
    const lines = await linesOf(directory);
    const kindsOf = lines.map((line) => (JSON.parse(line) as { type?: string }).type ?? 'head');
    assert.deepEqual(kindsOf.sort(), ['end', 'head', 'mailbox', 'message', 'origin', 'own', 'retained', 'session', 'session']);
    const imported = join(storeDirectory(), 'imported');
    const counts = await importStore(imported, 'lines', Readable.from([...lines].sort(byKind)));
    assert.deepEqual(counts, { sessions: 2, mailboxes: 1, messages: 1, deliveries: 2, retained: 1, own: 1, origins: 1 });
    assert.deepEqual(await linesOf(imported), lines);
    await compactStore(directory, () => undefined);
    assert.deepEqual(await linesOf(directory), lines);
    assert.equal((await verifyStore(directory, assert.fail, () => undefined)).damages, 0);
  });

  /** The order that the format asks for. */
  function byKind(a: string, b: string): number {
    const rank = (line: string): number =>
      ['"format"', '"session","id"', '"mailbox"', '"type":"end"'].findIndex((mark) => line.includes(mark));
    const place = (line: string): number => [2, 0, 1, 1, 3][rank(line) + 1]!;
    return place(a) - place(b);
  }
});

describe('records that no shard can have written', () => {
  const cases: [string, (batch: Batch) => void, number, RegExp][] = [
    ['a delivery without its message', (batch) => delivery(batch, 64, 1), RECORD_HEAD_BYTES, /^a delivery without its message$/],
    ['an unknown kind', (batch) => batch.one(99, 0, 0, 1), RECORD_HEAD_BYTES, /kind that is not known \(99\)/],
    [
      'a message that is shorter than its parts',
      (batch) => {
        batch.one(kinds.ENTRY_OWN_DONE, 0, 0, 1);
        message(batch, 'payload');
        batch.bytes.writeUInt32LE(1000, RECORD_HEAD_BYTES + 16 + 24);
      },
      RECORD_HEAD_BYTES + 16,
      /length makes no sense/,
    ],
    [
      'a shared filter that is longer than its entry',
      (batch) => {
        message(batch, 'x');
        batch.bytes.writeUInt32LE(500, batch.delivery(64, 1, 1, false, 0, 0, null, 0, 'group/filter') + kinds.DELIVERY_ENTRY_BYTES + 4);
      },
      RECORD_HEAD_BYTES + 40,
      /length makes no sense/,
    ],
    [
      'a shared filter that is shorter than its entry',
      (batch) => {
        message(batch, 'x');
        batch.bytes.writeUInt32LE(2, batch.delivery(64, 1, 1, false, 0, 0, null, 0, 'group/filter') + kinds.DELIVERY_ENTRY_BYTES + 4);
      },
      RECORD_HEAD_BYTES + 40,
      /^an entry "delivery" whose parts are not as long as it is$/,
    ],
    [
      'a session that is no object',
      (batch) => batch.packed(kinds.ENTRY_SESSION, 1, Buffer.from([0xc1, 0xff])),
      RECORD_HEAD_BYTES,
      /^an entry "session" that /,
    ],
    [
      'a session without a client',
      (batch) => batch.packed(kinds.ENTRY_SESSION, 1, packObject({ a: 1 })),
      RECORD_HEAD_BYTES,
      /neither a session nor/,
    ],
    [
      'an entry that ends behind the record',
      (batch) => batch.bytes.writeUInt32LE(400, batch.one(5, 0, 0, 1) + 4),
      RECORD_HEAD_BYTES,
      /length/,
    ],
  ];
  for (const [name, fill, at, text] of cases) {
    test(name, () => {
      const [record] = logOf(0, fill);
      const problem = entryProblem(record!.bytes);
      assert.equal(problem?.at, at);
      assert.match(problem!.text, text);
      // Reading leaves out what makes no sense, and goes on.
      const contents = new StoreContents();
      contents.take(record!);
      contents.finish();
    });
  }
});
