/**
 * EntryCheck: whether the entries of a record are what some shard can have written. The checksum of the record is right already; what is wrong here was written so.
 */
import {
  aligned,
  DELIVERY_ENTRY_BYTES,
  DELIVERY_EXTRA_BYTES,
  ENTRY_CONNECTED,
  ENTRY_DELIVERY,
  ENTRY_MESSAGE,
  ENTRY_NAMES,
  ENTRY_OWN,
  ENTRY_RETAINED,
  ENTRY_SENT,
  ENTRY_SESSION,
  ENTRY_SUBSCRIBED,
  ENTRY_UNSUBSCRIBED,
  EntryReader,
  FLAG_EXTRA,
  FLAG_QOS,
  FLAG_STATE_SHIFT,
  MESSAGE_ENTRY_BYTES,
} from '../journal/entry.ts';
import { RECORD_HEAD_BYTES, recordEnd } from '../journal/record.ts';
import { unpackEntry } from '../shard/stored-session.ts';

export interface EntryProblem {
  /** Byte of the record at which the entry begins. */
  readonly at: number;
  readonly text: string;
}

/** The first entry of a record that makes no sense; null: all do. */
export function entryProblem(bytes: Buffer): EntryProblem | null {
  const reader = new EntryReader();
  const recordEndsAt = recordEnd(bytes);
  reader.reset(bytes, RECORD_HEAD_BYTES, recordEndsAt);
  let hasMessage = false;
  for (let at = RECORD_HEAD_BYTES; reader.next(); at = aligned(reader.end)) {
    const name = ENTRY_NAMES[reader.kind];
    if (name === undefined) return { at, text: `an entry of a kind that is not known (${reader.kind})` };
    if (reader.kind === ENTRY_MESSAGE) hasMessage = true;
    if (reader.kind === ENTRY_DELIVERY && !hasMessage) return { at, text: 'a delivery without its message' };
    const text = problemOf(reader, bytes);
    if (text !== null) return { at, text: `an entry "${name}" ${text}` };
  }
  if (!reader.isDamaged) return null;
  return { at: endOf(bytes, recordEndsAt), text: 'an entry whose length makes no sense' };
}

/** Where the entries end that can be read. */
function endOf(bytes: Buffer, end: number): number {
  const reader = new EntryReader();
  reader.reset(bytes, RECORD_HEAD_BYTES, end);
  let at = RECORD_HEAD_BYTES;
  while (reader.next()) at = aligned(reader.end);
  return at;
}

function problemOf(reader: EntryReader, bytes: Buffer): string | null {
  const { kind, flags, at, end } = reader;
  switch (kind) {
    case ENTRY_MESSAGE:
    case ENTRY_RETAINED:
      if ((flags & FLAG_QOS) === 3) return 'with QoS 3';
      if (at + MESSAGE_ENTRY_BYTES + reader.topicLength + reader.propertiesLength + reader.payloadLength !== end)
        return 'whose parts are not as long as it is';
      return null;
    case ENTRY_DELIVERY:
      return deliveryProblem(reader, bytes);
    case ENTRY_SENT:
      return flags < 1 || flags > 3 ? 'with a state that is not known' : null;
    case ENTRY_SESSION:
    case ENTRY_CONNECTED:
    case ENTRY_SUBSCRIBED:
    case ENTRY_UNSUBSCRIBED:
    case ENTRY_OWN:
      return objectProblem(kind, reader, bytes);
    default:
      return null;
  }
}

function deliveryProblem({ flags, number, at, end, second }: EntryReader, bytes: Buffer): string | null {
  if ((flags & FLAG_QOS) === 3) return 'with QoS 3';
  if (((flags >>> FLAG_STATE_SHIFT) & 3) !== 0 && number === 0) return 'in flight without a Packet Identifier';
  if (!Number.isSafeInteger(second) || second < 1) return 'without a number';
  if ((flags & FLAG_EXTRA) === 0) return null;
  const extra = at + DELIVERY_ENTRY_BYTES;
  const length = DELIVERY_EXTRA_BYTES + bytes.readUInt32LE(extra) * 4 + bytes.readUInt32LE(extra + 4);
  return extra + length === end ? null : 'whose parts are not as long as it is';
}

function objectProblem(kind: number, { packedAt, end }: EntryReader, bytes: Buffer): string | null {
  let object: Record<string, unknown>;
  try {
    object = unpackEntry<Record<string, unknown>>(bytes, packedAt, end);
  } catch (error) {
    return `that cannot be unpacked: ${(error as Error).message}`;
  }
  if (typeof object !== 'object' || object === null) return 'that holds no object';
  const { clientId, filter, bytes: content } = object;
  if (kind === ENTRY_SESSION && !(clientId instanceof Uint8Array && (object['kind'] === 'session' || object['kind'] === 'mailbox')))
    return 'that is neither a session nor a mailbox';
  if ((kind === ENTRY_SUBSCRIBED || kind === ENTRY_UNSUBSCRIBED) && typeof filter !== 'string') return 'without a filter';
  if (kind === ENTRY_OWN && !(content instanceof Uint8Array)) return 'without a message';
  return null;
}
