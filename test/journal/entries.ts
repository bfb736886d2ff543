/*
 * Random entries of the journal for fast-check: whatever a shard may write into a batch. `writeEntry` writes one as the shard does, `readEntry` makes one of what a
 * reader says, so that a test compares whole entries.
 */
import fc from 'fast-check';
import type { Batch } from '../../src/journal/batch.ts';
import type { EntryReader } from '../../src/journal/entry.ts';
import * as kinds from '../../src/journal/entry.ts';
import { MessageView } from '../../src/protocol/publish.ts';

export interface MessageEntry {
  readonly form: 'message';
  readonly kind: number;
  readonly qos: number;
  readonly retain: boolean;
  readonly receipt: boolean;
  readonly expiresAt: number;
  readonly hash: number;
  readonly topic: Uint8Array;
  readonly properties: Uint8Array;
  readonly payload: Uint8Array;
}

export interface DeliveryEntry {
  readonly form: 'delivery';
  readonly kind: number;
  readonly session: number;
  readonly sequence: number;
  readonly qos: number;
  readonly retain: boolean;
  readonly state: number;
  readonly packetId: number;
  readonly identifiers: readonly number[];
  readonly sharedFilter: string | null;
}

/** A head and one to three numbers. */
export interface NumbersEntry {
  readonly form: 'numbers';
  readonly kind: number;
  readonly flags: number;
  readonly number: number;
  readonly numbers: readonly number[];
}

export interface PackedEntry {
  readonly form: 'packed';
  readonly kind: number;
  readonly id: number;
  readonly object: Uint8Array;
}

export type Entry = MessageEntry | DeliveryEntry | NumbersEntry | PackedEntry;

const MESSAGES = [kinds.ENTRY_MESSAGE, kinds.ENTRY_RETAINED];
const ONE = [
  kinds.ENTRY_RECEIVED,
  kinds.ENTRY_RECEIVED_END,
  kinds.ENTRY_ORIGIN_DONE,
  kinds.ENTRY_WILL_DONE,
  kinds.ENTRY_SESSION_END,
  kinds.ENTRY_OWN_DONE,
];
const TWO = [kinds.ENTRY_SENT, kinds.ENTRY_RELEASED, kinds.ENTRY_SETTLED];
const THREE = [kinds.ENTRY_ORIGIN, kinds.ENTRY_CLOSED];
const PACKED = [kinds.ENTRY_SESSION, kinds.ENTRY_CONNECTED, kinds.ENTRY_SUBSCRIBED, kinds.ENTRY_UNSUBSCRIBED, kinds.ENTRY_OWN];

/** Kinds that the random entries have. */
export const drawnKinds: readonly number[] = [...MESSAGES, kinds.ENTRY_DELIVERY, ...ONE, ...TWO, ...THREE, ...PACKED];

const PLAIN = { noNullPrototype: true } as const;
const u16 = fc.oneof(fc.constantFrom(0, 1, 0xffff), fc.nat(0xffff));
const u32 = fc.oneof(fc.constantFrom(0, 1, 0x80000000, 0xffffffff), fc.nat(0xffffffff));
const ids = fc.oneof(fc.constantFrom(1, 2 ** 32, Number.MAX_SAFE_INTEGER), fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }));
const doubles = fc.oneof(ids, fc.constantFrom(0, 0xffffffff, 1767225600000.5), fc.double({ noNaN: true }));

/** Mostly short: what matters is where the next entry begins. Seldom as long as a Topic Name may be. */
const bytes: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 8, arbitrary: fc.uint8Array({ maxLength: 17, size: 'max' }) },
  { weight: 4, arbitrary: fc.uint8Array({ maxLength: 300, size: 'max' }) },
  { weight: 1, arbitrary: fc.integer({ min: 65_520, max: 65_535 }).map((length) => new Uint8Array(length).fill(length & 0xff)) },
);

const messages: fc.Arbitrary<MessageEntry> = fc.record(
  {
    form: fc.constant('message' as const),
    kind: fc.constantFrom(...MESSAGES),
    qos: fc.nat(2),
    retain: fc.boolean(),
    receipt: fc.boolean(),
    expiresAt: doubles,
    hash: u32,
    topic: bytes,
    properties: bytes,
    payload: bytes,
  },
  PLAIN,
);

const deliveries: fc.Arbitrary<DeliveryEntry> = fc.record(
  {
    form: fc.constant('delivery' as const),
    kind: fc.constant(kinds.ENTRY_DELIVERY),
    session: ids,
    sequence: ids,
    qos: fc.nat(2),
    retain: fc.boolean(),
    state: fc.nat(3),
    packetId: u16,
    identifiers: fc.oneof(fc.constant([]), fc.array(u32, { maxLength: 40, size: 'max' })),
    sharedFilter: fc.option(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40, size: 'max' })),
  },
  PLAIN,
);

function numbers(of: readonly number[], count: number): fc.Arbitrary<NumbersEntry> {
  return fc.record(
    {
      form: fc.constant('numbers' as const),
      kind: fc.constantFrom(...of),
      flags: fc.nat(0xff),
      number: u16,
      numbers: fc.array(doubles, { minLength: count, maxLength: count }),
    },
    PLAIN,
  );
}

const packed: fc.Arbitrary<PackedEntry> = fc.record(
  {
    form: fc.constant('packed' as const),
    kind: fc.constantFrom(...PACKED),
    id: ids,
    object: bytes,
  },
  PLAIN,
);

/** Entries of one batch: a delivery has a message somewhere before it, and a number of its own. */
export const batches: fc.Arbitrary<Entry[]> = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: messages },
      { weight: 5, arbitrary: deliveries },
      { weight: 1, arbitrary: numbers(ONE, 1) },
      { weight: 1, arbitrary: numbers(TWO, 2) },
      { weight: 1, arbitrary: numbers(THREE, 3) },
      { weight: 1, arbitrary: packed },
    ),
    { maxLength: 40, size: 'max' },
  )
  .map((entries) => {
    const first = entries.findIndex(({ kind }) => kind === kinds.ENTRY_MESSAGE);
    const seen = new Set<string>();
    return entries.filter((entry, index) => {
      if (entry.form !== 'delivery') return true;
      const name = `${entry.session} ${entry.sequence}`;
      const isFirst = !seen.has(name);
      seen.add(name);
      return first >= 0 && index > first && isFirst;
    });
  });

/** Writes an entry as the shard does. @returns where it begins */
export function writeEntry(batch: Batch, entry: Entry): number {
  switch (entry.form) {
    case 'message':
      return batch.message(entry.kind, viewOf(entry), entry.hash);
    case 'delivery': {
      const { session, sequence, qos, retain, state, packetId, identifiers, sharedFilter } = entry;
      // The list may be longer than what is used of it.
      const list = identifiers.length === 0 ? null : Uint32Array.from([...identifiers, 4, 5, 6]);
      return batch.delivery(session, sequence, qos, retain, state, packetId, list, identifiers.length, sharedFilter);
    }
    case 'numbers': {
      const { kind, flags, number } = entry;
      const [first, second, third] = entry.numbers;
      if (third !== undefined) return batch.three(kind, flags, number, first!, second!, third);
      if (second !== undefined) return batch.two(kind, flags, number, first!, second);
      return batch.one(kind, flags, number, first!);
    }
    case 'packed':
      return batch.packed(entry.kind, entry.id, entry.object);
  }
}

/** A view of the message, its three parts in other bytes, not at their beginning. */
function viewOf({ qos, retain, receipt, expiresAt, topic, properties, payload }: MessageEntry): MessageView {
  const view = new MessageView();
  const packet = Buffer.concat([Buffer.from('?'), topic, Buffer.from('!'), payload, Buffer.from('?')]);
  view.qos = qos;
  view.isRetained = retain;
  view.receipt = receipt ? 1 : 0;
  view.expiresAt = expiresAt;
  view.topicBytes = packet;
  view.topicAt = 1;
  view.topicEnd = 1 + topic.length;
  view.propertyBytes = Buffer.concat([Buffer.from('???'), properties, Buffer.from('?')]);
  view.propertiesAt = 3;
  view.propertiesEnd = 3 + properties.length;
  view.setPayload(packet, view.topicEnd + 1, view.topicEnd + 1 + payload.length);
  return view;
}

/** What the reader says of its current entry. */
export function readEntry(reader: EntryReader): Entry {
  const { kind, flags, number, at, end } = reader;
  const part = (from: number, to: number): Uint8Array => Uint8Array.from(reader.bytes.subarray(from, to));
  if (MESSAGES.includes(kind)) {
    const topicEnd = at + kinds.MESSAGE_ENTRY_BYTES + reader.topicLength;
    const propertiesEnd = topicEnd + reader.propertiesLength;
    return {
      form: 'message',
      kind,
      qos: flags & kinds.FLAG_QOS,
      retain: (flags & kinds.FLAG_RETAIN) !== 0,
      receipt: (flags & kinds.FLAG_RECEIPT) !== 0,
      expiresAt: reader.expiresAt,
      hash: reader.hash,
      topic: part(at + kinds.MESSAGE_ENTRY_BYTES, topicEnd),
      properties: part(topicEnd, propertiesEnd),
      // To the end of the entry: no byte more or less.
      payload: reader.payloadLength === end - propertiesEnd ? part(propertiesEnd, end) : part(propertiesEnd, propertiesEnd),
    };
  }
  if (kind === kinds.ENTRY_DELIVERY)
    return {
      form: 'delivery',
      kind,
      session: reader.id,
      sequence: reader.second,
      qos: flags & kinds.FLAG_QOS,
      retain: (flags & kinds.FLAG_RETAIN) !== 0,
      state: (flags >>> kinds.FLAG_STATE_SHIFT) & 3,
      packetId: number,
      identifiers: [...(reader.identifiers ?? [])],
      sharedFilter: reader.sharedFilter,
    };
  if (PACKED.includes(kind)) return { form: 'packed', kind, id: reader.id, object: part(reader.packedAt, end) };
  const all = [reader.id, ...(ONE.includes(kind) ? [] : [reader.second]), ...(THREE.includes(kind) ? [reader.third] : [])];
  return { form: 'numbers', kind, flags, number, numbers: all };
}
