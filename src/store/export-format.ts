/**
 * ExportFormat: a store as lines of JSON that other programs can read and write. Version 1. `import-format.ts` reads it.
 *
 *   {"format":"onehop-export","version":1,"epoch":3}                                 the first line; behind it all sessions and mailboxes, then the rest
 *   {"type":"session","id":7,"clientId":"dev-1","version":5,"expirySeconds":3600,"closedAt":0,"nextSequence":9, …}
 *       username, attributes {name: value}, will {topic, qos, retain, delaySeconds, expirySeconds, properties, payload, asked}, received [Packet Identifier …],
 *       subscriptions [{filter, qos, noLocal, retainAsPublished, retainHandling, identifier}]                        where there is something to say
 *   {"type":"mailbox","id":8,"clientId":"dev-2","createdAt":1767225600000}
 *   {"type":"message","topic":"a/b","qos":1,"retain":false,"receipt":false,"expiresAt":0,"properties":"","payload":"aGVsbG8=","to":[
 *       {"id":7,"clientId":"dev-1","sequence":4,"qos":1,"state":"waiting"}, {…,"state":"sent","packetId":3} …]}       a message once, with all who wait for it
 *       retain, identifiers [Subscription Identifier …], sharedFilter "group/filter"                                  where there is something to say
 *   {"type":"retained","topic":"a/b","qos":1, …}                                      as a message, without `to`
 *   {"type":"own","id":9,"topic":"a/b", …,"publisherId":"","shareKey":""}             a publication of the broker that is not done
 *       asked [{target, question}]: what targets of a Will must be asked first                                        where there is something to say
 *   {"type":"origin","session":7,"publisher":5,"packetId":12,"content":9,"isStored":true}       the session has this QoS 2 message already; content: its hash
 *   {"type":"end","lines":123}                                                        lines between the first and this one
 *
 * Bytes are Base64. Properties are those of MQTT 5 as on the wire, without Message Expiry Interval. Times are wall milliseconds; 0 is never, and for `closedAt` that
 * the client was connected. `sequence` orders the queue of a session. States: `waiting`, `sent` (unacknowledged), `released` (QoS 2, PUBREC has come).
 */
import { readText } from '../base/bytes.ts';
import { EntryReader, FLAG_QOS, FLAG_RECEIPT, FLAG_RETAIN, MESSAGE_ENTRY_BYTES } from '../journal/entry.ts';
import { recordEnd } from '../journal/record.ts';
import { INFLIGHT_RELEASED } from '../session/inflight.ts';
import type { OwnObject, WillObject } from '../shard/stored-session.ts';
import type { Holder, LiveDelivery, LiveItem } from './store-contents.ts';
import type { StoreMeta } from './store-meta.ts';

export const EXPORT_FORMAT = 'onehop-export';
export const EXPORT_VERSION = 1;

/** Fields of a message. */
export interface MessageLine {
  readonly topic: string;
  readonly qos: number;
  readonly retain: boolean;
  readonly receipt: boolean;
  readonly expiresAt: number;
  readonly properties: string;
  readonly payload: string;
}

/** A message of a will, or of the broker, as it lies in an object: topic, properties, payload. */
interface PackedMessage {
  readonly bytes: Uint8Array;
  readonly topicEnd: number;
  readonly propertiesEnd: number;
}

function base64(bytes: Uint8Array, at: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + at, end - at).toString('base64');
}

function partsOf({ bytes, topicEnd, propertiesEnd }: PackedMessage): { topic: string; properties: string; payload: string } {
  return {
    topic: readText(bytes, 0, topicEnd),
    properties: base64(bytes, topicEnd, propertiesEnd),
    payload: base64(bytes, propertiesEnd, bytes.length),
  };
}

const reader = new EntryReader();

/** The message in the entry at `at` of a record. */
function messageLine(bytes: Buffer, at: number): MessageLine {
  reader.reset(bytes, at, recordEnd(bytes));
  reader.next();
  const from = at + MESSAGE_ENTRY_BYTES;
  const topicEnd = from + reader.topicLength;
  const propertiesEnd = topicEnd + reader.propertiesLength;
  return {
    topic: readText(bytes, from, topicEnd),
    qos: reader.flags & FLAG_QOS,
    retain: (reader.flags & FLAG_RETAIN) !== 0,
    receipt: (reader.flags & FLAG_RECEIPT) !== 0,
    expiresAt: reader.expiresAt,
    properties: base64(bytes, topicEnd, propertiesEnd),
    payload: base64(bytes, propertiesEnd, propertiesEnd + reader.payloadLength),
  };
}

/** Word for the state of a delivery. */
export function stateWord(state: number): 'waiting' | 'sent' | 'released' {
  return state === 0 ? 'waiting' : state === INFLIGHT_RELEASED ? 'released' : 'sent';
}

function deliveryLine(bytes: Buffer, { holder, sequence, state, packetId, at }: LiveDelivery): object {
  reader.reset(bytes, at, recordEnd(bytes));
  reader.next();
  const { identifiers, sharedFilter, flags } = reader;
  return {
    id: holder.id,
    clientId: holder.clientId,
    sequence,
    qos: flags & FLAG_QOS,
    state: stateWord(state),
    ...(state === 0 ? {} : { packetId }),
    ...((flags & FLAG_RETAIN) === 0 ? {} : { retain: true }),
    ...(identifiers === null ? {} : { identifiers: [...identifiers] }),
    ...(sharedFilter === null ? {} : { sharedFilter }),
  };
}

/** First line. */
export function headLine(meta: StoreMeta): object {
  return { format: EXPORT_FORMAT, version: EXPORT_VERSION, epoch: meta.epoch };
}

function askedLine({ asked }: WillObject | OwnObject): object {
  if (asked === undefined) return {};
  const text = (bytes: Uint8Array): string => base64(bytes, 0, bytes.length);
  return { asked: asked.map(({ target, question }) => ({ target: text(target), question: text(question) })) };
}

function willLine(will: WillObject): object {
  const { qos, retain, delaySeconds, expirySeconds } = will;
  return { ...partsOf(will), qos, retain, delaySeconds, expirySeconds, ...askedLine(will) };
}

/** A session or a mailbox. */
export function holderLine(holder: Holder): object {
  const { id, clientId, whole } = holder;
  if (whole === null || whole.kind === 'mailbox') return { type: 'mailbox', id, clientId, createdAt: whole?.createdAt ?? 0 };
  const { kind, clientId: _, will, ...rest } = whole;
  return { type: kind, id, clientId, ...rest, ...(will === undefined ? {} : { will: willLine(will) }) };
}

function ownLine(id: number, own: OwnObject): object {
  const { qos, retain, expiresAt, publisherId, shareKey } = own;
  return { type: 'own', id, ...partsOf(own), qos, retain, expiresAt, publisherId, shareKey, ...askedLine(own) };
}

/** What is still needed of the record `bytes`. */
export function itemLine(bytes: Buffer, item: LiveItem): object {
  switch (item.kind) {
    case 'message':
      return { type: 'message', ...messageLine(bytes, item.at), to: item.deliveries.map((delivery) => deliveryLine(bytes, delivery)) };
    case 'retained':
      return { type: 'retained', ...messageLine(bytes, item.at) };
    case 'own':
      return ownLine(item.id, item.object);
    case 'origin': {
      const { session, publisher, packetId, content, isStored } = item;
      return { type: 'origin', session, publisher, packetId, content, isStored };
    }
  }
}

/** Last line. */
export function endLine(lines: number): object {
  return { type: 'end', lines };
}
