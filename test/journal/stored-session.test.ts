/*
 * Goal: sessions, mailboxes, subscriptions, Wills and publications of the broker come out of the journal as they went in: every field, every length.
 * Method: random objects of each kind (the seed is printed), packed, put into an entry between others, read back from bytes that are then overwritten, and
 * made into a Session, Will and Subscription again.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import fc from 'fast-check';
import { packAttributes } from '../../src/access/attribute-bytes.ts';
import { hash32 } from '../../src/base/hash.ts';
import { Batch } from '../../src/journal/batch.ts';
import * as kinds from '../../src/journal/entry.ts';
import { RECORD_HEAD_BYTES, recordNumber, sealRecord } from '../../src/journal/record.ts';
import { Message } from '../../src/session/message.ts';
import { MessageQueue } from '../../src/session/message-queue.ts';
import { ReceiveWindow } from '../../src/session/receive-window.ts';
import { NEVER_EXPIRES, Session } from '../../src/session/session.ts';
import { type AskedTarget, Will } from '../../src/session/will.ts';
import { OwnPublication } from '../../src/shard/own.ts';
import type { ClientSession, ClientSubscription, Shard } from '../../src/shard/shard.ts';
import {
  type ConnectedObject,
  type MailboxObject,
  type OwnObject,
  packConnected,
  packHolder,
  packMailbox,
  packOwn,
  packSession,
  packSubscription,
  packText,
  type SessionObject,
  type SubscriptionObject,
  subscriptionOfObject,
  unpackEntry,
  willOfObject,
} from '../../src/shard/stored-session.ts';
import { entryProblem } from '../../src/store/entry-check.ts';
import { packetIds, versions } from '../protocol/arbitrary.ts';
import '../protocol/seed.ts';

/** Writes the object as an entry behind others, and reads it from a copy of the record that is overwritten afterwards. */
function throughJournal<T>(kind: number, id: number, object: Uint8Array, shift: number): T {
  const batch = new Batch();
  batch.reset(recordNumber(1, 0));
  batch.one(kinds.ENTRY_WILL_DONE, 0, 0, 1);
  const at = batch.packed(kind, id, object);
  batch.one(kinds.ENTRY_SESSION_END, 0, 0, 2);
  const bytes = Buffer.concat([Buffer.alloc(shift), batch.bytes.subarray(0, batch.at)]).subarray(shift);
  sealRecord(bytes, bytes.length, batch.record, 1);
  assert.equal(entryProblem(bytes), null);
  const reader = new kinds.EntryReader();
  reader.reset(bytes, at, bytes.length);
  assert.ok(reader.next() && at > RECORD_HEAD_BYTES);
  assert.deepEqual([reader.kind, reader.id], [kind, id]);
  const found = unpackEntry<T>(bytes, reader.packedAt, reader.end);
  bytes.fill(0xee);
  return found;
}

const ids = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
const shifts = fc.nat(7);
const times = fc.oneof(
  fc.constant(0),
  fc.integer({ min: 1, max: 4_102_444_800_000 }),
  fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
);
const seconds = fc.oneof(fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, NEVER_EXPIRES), fc.nat(NEVER_EXPIRES));
const qos = fc.nat(2);
/** Lengths around the steps of the encoding, and any text. */
const texts: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 80, size: 'max' }),
  fc.string({ unit: 'binary', maxLength: 40, size: 'max' }).filter((text) => text.isWellFormed()),
  fc.constantFrom(31, 32, 255, 256, 65_535).map((length) => 'x'.repeat(length)),
  fc.constantFrom('', '\u0000', '\ufeff', '\u{1f600}', '__proto__', 'constructor', '64', 'ü'.repeat(32_767)),
);
const bytes: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.uint8Array({ maxLength: 40, size: 'max' }),
  fc.constantFrom(0, 1, 255, 256, 65_535, 65_536).map((length) => new Uint8Array(length).fill(length & 0xff)),
);
/** The same bytes, as a part of a larger buffer, as Node's pool gives them out. */
const views = fc.tuple(bytes, fc.nat(9)).map(([content, at]): Uint8Array => {
  const pool = Buffer.concat([Buffer.alloc(at, 0x55), content, Buffer.alloc(3, 0x55)]);
  return pool.subarray(at, at + content.length);
});

function messages(expiry: fc.Arbitrary<number>): fc.Arbitrary<Message> {
  return fc
    .record({ content: views, ends: fc.tuple(fc.nat(), fc.nat()), qos, retain: fc.boolean(), expiresAt: expiry })
    .map(({ content, ends, qos: level, retain, expiresAt }) => {
      const [topicEnd, propertiesEnd] = ends.map((end) => end % (content.length + 1)).sort((a, b) => a - b);
      return new Message(content, topicEnd!, propertiesEnd!, level, retain, expiresAt, 0);
    });
}

/** Names of attributes; `__proto__` cannot be one. */
const shortTexts = fc.string({ unit: 'grapheme', maxLength: 12 }).filter((text) => text !== '__proto__');
const asked = fc.array(fc.record({ target: bytes, question: bytes }, { noNullPrototype: true }), { maxLength: 3 });

const wills: fc.Arbitrary<Will> = fc
  .tuple(messages(fc.constant(0)), seconds, fc.oneof(fc.constant(-1), seconds), asked)
  .map(([message, delay, expiry, questions]) => new Will(message, delay, expiry, questions));

const levels = fc.string({ unit: fc.constantFrom('a', 'b', 'ü', '$', '+', '#', ' ', '\u{1f600}'), minLength: 1, maxLength: 8 });
const subscriptions = fc.record(
  {
    filter: fc.array(levels, { minLength: 1, maxLength: 5 }).map((list) => list.join('/')),
    shareName: fc.oneof(fc.constant(''), fc.string({ unit: fc.constantFrom('g', '$', 'ü'), minLength: 1, maxLength: 8 })),
    qos,
    noLocal: fc.boolean(),
    retainAsPublished: fc.boolean(),
    retainHandling: fc.nat(2),
    identifier: fc.oneof(fc.constantFrom(0, 1, 268_435_455), fc.nat(268_435_455)),
  },
  { noNullPrototype: true },
);

const sessions: fc.Arbitrary<ClientSession> = fc
  .record({
    clientId: texts,
    version: versions,
    id: ids,
    expirySeconds: seconds,
    username: fc.option(texts, { nil: undefined }),
    attributes: fc.dictionary(shortTexts, shortTexts, { maxKeys: 4, noNullPrototype: true }).map(packAttributes),
    createdAt: times,
    closedAt: times,
    nextSequence: ids,
    will: fc.option(wills),
    received: fc.option(
      fc.uniqueArray(fc.tuple(packetIds, fc.boolean()), { selector: ([packetId]) => packetId, maxLength: 40, size: 'max' }),
    ),
    subscriptions: fc.option(fc.array(subscriptions, { maxLength: 8, size: 'max' })),
  })
  .map((fields) => {
    const clientIdBytes = Buffer.from(fields.clientId);
    const session: ClientSession = new Session(
      fields.clientId,
      clientIdBytes,
      hash32(clientIdBytes, 0, clientIdBytes.length),
      fields.version,
      fields.id,
    );
    const { expirySeconds, username, attributes, createdAt, closedAt, nextSequence, will } = fields;
    Object.assign(session, { expirySeconds, username, attributes, createdAt, closedAt, nextSequence, will });
    if (fields.received !== null) {
      session.received = new ReceiveWindow();
      for (const [packetId, isStored] of fields.received) {
        session.received.add(packetId);
        if (isStored) session.received.markStored(packetId);
      }
    }
    if (fields.subscriptions !== null) {
      session.subscriptions = new Map();
      for (const options of fields.subscriptions) {
        const subscription: ClientSubscription = { subscriber: session, ...options };
        session.subscriptions.set(nameOf(subscription), subscription);
      }
    }
    return session;
  });

function nameOf({ shareName, filter }: ClientSubscription): string {
  return shareName === '' ? filter : `$share/${shareName}/${filter}`;
}

function plain(content: Uint8Array): number[] {
  return [...content];
}

function checkMessage(found: Message, expected: Message): void {
  assert.deepEqual(plain(found.bytes), plain(expected.bytes));
  const marks = ({ topicEnd, propertiesEnd, qos: level, isRetained, expiresAt, receipt, sizeBytes }: Message): unknown => {
    return { topicEnd, propertiesEnd, level, isRetained, expiresAt, receipt, sizeBytes };
  };
  assert.deepEqual(marks(found), marks(expected));
}

function checkAsked(found: readonly AskedTarget[], expected: readonly AskedTarget[]): void {
  const shown = ({ target, question }: AskedTarget): unknown => [plain(target), plain(question)];
  assert.deepEqual(found.map(shown), expected.map(shown));
}

function checkWill(found: Will | null, expected: Will | null): void {
  assert.equal(found === null, expected === null);
  if (found === null || expected === null) return;
  checkMessage(found.message, expected.message);
  assert.deepEqual([found.delaySeconds, found.expirySeconds], [expected.delaySeconds, expected.expirySeconds]);
  checkAsked(found.asked, expected.asked);
}

function checkSession(found: SessionObject, session: ClientSession): void {
  assert.equal(found.kind, 'session');
  assert.deepEqual(plain(found.clientId), plain(session.clientIdBytes));
  const fields = ['version', 'expirySeconds', 'username', 'closedAt', 'nextSequence'] as const;
  for (const name of fields) assert.equal(found[name], session[name], name);
  assert.deepEqual(packAttributes(found.attributes ?? {}), session.attributes);
  checkWill(willOfObject(found.will), session.will);
  assert.deepEqual(found.received ?? [], session.received?.stored() ?? []);
  const restored = (found.subscriptions ?? []).map((one) => subscriptionOfObject(session, one, null));
  const expected = [...(session.subscriptions?.values() ?? [])];
  assert.equal(restored.length, expected.length);
  // Not the subscriber, whose subscriptions they are.
  for (const [index, subscription] of restored.entries()) checkSubscription(subscription, expected[index]!);
}

function checkSubscription(found: ClientSubscription, expected: ClientSubscription): void {
  assert.equal(found.subscriber, expected.subscriber);
  assert.deepEqual({ ...found, subscriber: null }, { ...expected, subscriber: null });
}

test('a session, whole, also as what its holder is', () => {
  fc.assert(
    fc.property(sessions, shifts, (session, shift) => {
      checkSession(throughJournal(kinds.ENTRY_SESSION, session.id, packSession(session), shift), session);
      checkSession(throughJournal(kinds.ENTRY_SESSION, session.id, packHolder(session, 5), shift), session);
    }),
    { numRuns: 300 },
  );
});

test('a session that is attached to a connection', () => {
  fc.assert(
    fc.property(sessions, shifts, (session, shift) => {
      const found = throughJournal<ConnectedObject>(kinds.ENTRY_CONNECTED, session.id, packConnected(session), shift);
      assert.deepEqual([found.version, found.expirySeconds, found.username], [session.version, session.expirySeconds, session.username]);
      assert.deepEqual(packAttributes(found.attributes ?? {}), session.attributes);
      checkWill(willOfObject(found.will), session.will);
    }),
    { numRuns: 300 },
  );
});

describe('mailboxes', () => {
  test('one by itself', () => {
    fc.assert(
      fc.property(ids, views, times, shifts, (id, clientId, createdAt, shift) => {
        const holder = { id, clientId, createdAt, nextSequence: 1, snapshotRecord: 0, queue: new MessageQueue(), inflight: null };
        for (const packed of [packMailbox(clientId, createdAt), packHolder(holder, 5)]) {
          const found = throughJournal<MailboxObject>(kinds.ENTRY_SESSION, id, packed, shift);
          assert.deepEqual([found.kind, plain(found.clientId), found.createdAt], ['mailbox', plain(clientId), createdAt]);
        }
      }),
    );
  });

  test('one that a session has taken over which ends with its connection', () => {
    fc.assert(
      fc.property(sessions, times, shifts, (session, now, shift) => {
        session.isMailbox = true;
        const found = throughJournal<MailboxObject>(kinds.ENTRY_SESSION, session.id, packHolder(session, now), shift);
        assert.deepEqual([found.kind, plain(found.clientId), found.createdAt], ['mailbox', plain(session.clientIdBytes), now]);
      }),
    );
  });
});

describe('subscriptions', () => {
  test('one with its options', () => {
    fc.assert(
      fc.property(sessions, subscriptions, shifts, (session, options, shift) => {
        const subscription: ClientSubscription = { subscriber: session, ...options };
        const found = throughJournal<SubscriptionObject>(kinds.ENTRY_SUBSCRIBED, session.id, packSubscription(subscription), shift);
        // The key under which the session has it.
        assert.equal(found.filter, nameOf(subscription));
        checkSubscription(subscriptionOfObject(session, found, null), subscription);
      }),
      { numRuns: 300 },
    );
  });

  test('all options, each with each', () => {
    const session: ClientSession = new Session('a', Buffer.from('a'), 1, 5, 1);
    for (const shareName of ['', 'group'])
      for (const level of [0, 1, 2])
        for (const noLocal of [false, true])
          for (const retainAsPublished of [false, true])
            for (const retainHandling of [0, 1, 2])
              for (const identifier of [0, 1, 268_435_455]) {
                const subscription: ClientSubscription = {
                  subscriber: session,
                  filter: '+/#',
                  shareName,
                  qos: level,
                  noLocal,
                  retainAsPublished,
                  retainHandling,
                  identifier,
                };
                const found = throughJournal<SubscriptionObject>(kinds.ENTRY_SUBSCRIBED, 1, packSubscription(subscription), 0);
                checkSubscription(subscriptionOfObject(session, found, null), subscription);
              }
  });

  test('the filter of one that is given up', () => {
    fc.assert(
      fc.property(texts, shifts, (filter, shift) => {
        assert.deepEqual(throughJournal(kinds.ENTRY_UNSUBSCRIBED, 1, packText(filter), shift), { filter });
      }),
    );
  });
});

test('a publication of the broker', () => {
  fc.assert(
    fc.property(messages(times), texts, texts, asked, ids, shifts, (message, publisherId, shareKey, questions, id, shift) => {
      const own = new OwnPublication({} as Shard, message, publisherId, shareKey, questions);
      const found = throughJournal<OwnObject>(kinds.ENTRY_OWN, id, packOwn(own), shift);
      const { bytes: content, topicEnd, propertiesEnd, qos: level, retain, expiresAt } = found;
      checkMessage(new Message(content, topicEnd, propertiesEnd, level, retain, expiresAt, 0), message);
      assert.deepEqual([found.publisherId, found.shareKey], [publisherId, shareKey]);
      checkAsked(found.asked ?? [], questions);
    }),
    { numRuns: 300 },
  );
});
