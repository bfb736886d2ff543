/**
 * Records: what travels between shards in ring frames, hand-laid for the kinds that run per message.
 *
 *   type word:   | kind (8 bits) | qos (2) | retained | wants receipt | wants status | may be known | asks the target | has a waiter | only if connected | … | traced (bit 30) |
 *   message:     | f64 expiresAt | u32 sequence | u32 topicHash | u32 publisherHash | u32 topic | u32 properties | u32 payload | u32 extra | u32 number |
 *                | f64 origin | u32 Packet Identifier |
 *                | topic | properties | payload | extra | u32 number of the waiter, if any | question | trace |    (lengths; little endian; 52 bytes of header)
 *   trace:       | u32 number | … | Message ID (16 bytes) | u32 length of all this |
 *   acks:        | u32 sequence |                      every message up to this one has been taken, except where a result said otherwise
 *   result:      | u32 sequence | u32 result | client ID |
 *   origin done: | f64 publisher | u32 Packet Identifier | …                             as many as one turn has brought
 *   handoff:     | u32 fd | u32 peer length | peer | bytes read so far |
 *   relay open:  | u32 id | u32 peer length | peer (msgpackr) | bytes read so far |
 *   relay bytes: | u32 id | bytes |                    to the session or to the client; signals: | u32 id | u32 number |, the signal in the type word
 *   datagram:    | u16 listener | u16 port | u32 host length | host | bytes |
 *   control:     msgpackr
 *   probe:       | u32 moment |
 *   jumbo:       | u32 kind word |                     the body waits on the MessagePort of the same pair of shards
 *
 * `extra` is the target's Client Identifier (p2p), the group (shared), an address (observed) or nothing; `number` is the query (retained answer) or the offset of the Client
 * Identifier in the topic (p2p, when `extra` is empty). `origin` is the number of the publisher's session for QoS 2, negative when it is not stored, else 0.
 *
 * Hot path.
 */
import { NO_QUESTION } from '../access/target-question.ts';
import { cloneBytes, copyBytes, copyViewed } from '../base/bytes.ts';
import { MESSAGE_ID_BYTES } from '../journal/message-id.ts';
import { type MessageView, RECEIPT_NONE, RECEIPT_TO_TOPIC, RECEIPT_TO_WAITER } from '../protocol/publish.ts';
import { TraceTag } from '../protocol/trace-tag.ts';

/** An ordinary message for the subscriptions of the receiving shard. */
export const RECORD_PUBLISH = 1;
/** A message to one Client Identifier. */
export const RECORD_P2P = 2;
/** A message to one member of a Shared Subscription. */
export const RECORD_SHARED = 3;
/** A Retained Message to store (or, with no payload, to clear). */
export const RECORD_RETAIN = 4;
/** A Retained Message that answers a query. */
export const RECORD_RETAINED = 5;
export const RECORD_ACKS = 6;
export const RECORD_RESULT = 7;
export const RECORD_HANDOFF = 8;
export const RECORD_CONTROL = 9;
export const RECORD_JUMBO = 10;
/** The publisher's shard has noted a QoS 2 message. */
export const RECORD_ORIGIN_DONE = 11;

/** A client of another shard's edge. */
export const RECORD_RELAY_OPEN = 12;
export const RECORD_RELAY_TO_SESSION = 13;
export const RECORD_RELAY_TO_CLIENT = 14;
export const RECORD_RELAY_TO_EDGE = 15;
export const RECORD_RELAY_TO_OWNER = 16;

/** A UDP datagram of a connection that the receiving shard holds. */
export const RECORD_DATAGRAM = 17;

/** A copy of a P2P message for observers on the receiving shard; `extra` is where they are looked for. */
export const RECORD_OBSERVED = 18;

/** The moment at which it was put on the ring, behind a message: how long the hop takes. */
export const RECORD_PROBE = 20;

/** Where a signal of a relay stands in the type word. */
const SIGNAL_SHIFT = 8;
const QOS_SHIFT = 8;
const RETAINED_BIT = 1 << 10;
const RECEIPT_BIT = 1 << 11;
const STATUS_BIT = 1 << 12;
/** The message may have come before: the client or the peer sends it again. */
export const KNOWN_BIT: number = 1 << 13;
/** A question to the target stands at the end of the body. */
export const ASKS_BIT: number = 1 << 14;
/** Somebody in the sending shard waits for what becomes of the message in the end (`MessageView.receipt`). */
const WAITER_BIT = 1 << 15;
/** A client that is not connected must not get it. */
export const CONNECTED_BIT: number = 1 << 16;
/** The message is traced: its ID and the numbers of the traces stand behind all else. */
const TRACE_BIT = 1 << 30;
export const MESSAGE_HEADER_BYTES = 52;

/** The type word of a message record. */
export function messageWord(kind: number, view: MessageView, wantsStatus: boolean, fields: RecordFields): number {
  return (
    kind |
    (view.qos << QOS_SHIFT) |
    (view.isRetained ? RETAINED_BIT : 0) |
    (view.receipt === RECEIPT_NONE ? 0 : view.receipt === RECEIPT_TO_TOPIC ? RECEIPT_BIT : WAITER_BIT) |
    (wantsStatus ? STATUS_BIT : 0) |
    (view.isDup ? KNOWN_BIT : 0) |
    (fields.question.length > 0 ? ASKS_BIT : 0) |
    (fields.onlyConnected ? CONNECTED_BIT : 0) |
    (view.trace === null ? 0 : TRACE_BIT)
  );
}

export function recordKind(word: number): number {
  return word & 0xff;
}

/** The type word of a relay's signal. */
export function signalWord(kind: number, signal: number): number {
  return kind | (signal << SIGNAL_SHIFT);
}

export function recordSignal(word: number): number {
  return word >>> SIGNAL_SHIFT;
}

export function recordWantsStatus(word: number): boolean {
  return (word & STATUS_BIT) !== 0;
}

function traceBytes({ traces }: TraceTag): number {
  return traces.length * 4 + MESSAGE_ID_BYTES + 4;
}

/** Bytes at the end of a message record that say who traces it. */
export function traceLength(bytes: Buffer, end: number, word: number): number {
  return (word & TRACE_BIT) === 0 ? 0 : bytes.readUInt32LE(end - 4);
}

function writeTrace(target: Buffer, at: number, tag: TraceTag): void {
  let to = at;
  for (let i = 0; i < tag.traces.length; i++, to += 4) target.writeUInt32LE(tag.traces[i]!, to);
  copyBytes(target, to, tag.id, 0, MESSAGE_ID_BYTES);
  target.writeUInt32LE(traceBytes(tag), to + MESSAGE_ID_BYTES);
}

/** The tag of the message record that ends at `end`; null: nobody traces it. */
export function readTrace(bytes: Buffer, end: number, word: number): TraceTag | null {
  if ((word & TRACE_BIT) === 0) return null;
  const idAt = end - 4 - MESSAGE_ID_BYTES;
  const traces: number[] = [];
  for (let at = end - traceLength(bytes, end, word); at < idAt; at += 4) traces.push(bytes.readUInt32LE(at));
  return new TraceTag(cloneBytes(bytes, idAt, idAt + MESSAGE_ID_BYTES), traces);
}

/** Body bytes of a message record. */
export function messageRecordBytes(view: MessageView, fields: RecordFields): number {
  return (
    MESSAGE_HEADER_BYTES +
    (view.topicEnd - view.topicAt) +
    (view.propertiesEnd - view.propertiesAt) +
    (view.payloadEnd - view.payloadAt) +
    (fields.extraEnd - fields.extraAt) +
    (view.receipt >= RECEIPT_TO_WAITER ? 4 : 0) +
    fields.question.length +
    (view.trace === null ? 0 : traceBytes(view.trace))
  );
}

/** What a message record carries beside the message; one reused object for each direction. */
export class RecordFields {
  /** 0: nobody waits for an answer. */
  sequence: number;
  topicHash: number;
  publisherHash: number;
  number: number;
  extraBytes: Uint8Array;
  extraAt: number;
  extraEnd: number;
  /** Publisher of a QoS 2 message, as `Shard.originId`. */
  originId: number;
  originPacketId: number;
  /** What the target of a P2P message must be asked before it gets it (`access/target-question.ts`); empty: nothing. */
  question: Uint8Array;
  /** Where it stands in a record that was read, up to its end. */
  questionAt: number;
  /** A P2P message that a client gets only if it is connected. */
  onlyConnected: boolean;

  constructor() {
    this.question = NO_QUESTION;
    this.questionAt = 0;
    this.onlyConnected = false;
    this.originId = 0;
    this.originPacketId = 0;
    this.sequence = 0;
    this.topicHash = 0;
    this.publisherHash = 0;
    this.number = 0;
    this.extraBytes = new Uint8Array(0);
    this.extraAt = 0;
    this.extraEnd = 0;
  }
}

const double = new Float64Array(1);
const doubleWords = new Uint32Array(double.buffer);

/** Writes the body at `at`; the target has room for `messageRecordBytes`. @param targetView see `viewOf` */
export function writeMessageRecord(
  target: Buffer,
  targetView: DataView | undefined,
  at: number,
  view: MessageView,
  fields: RecordFields,
): void {
  const topic = view.topicEnd - view.topicAt;
  const properties = view.propertiesEnd - view.propertiesAt;
  const payload = view.payloadEnd - view.payloadAt;
  double[0] = view.expiresAt;
  target.writeUInt32LE(doubleWords[0]!, at);
  target.writeUInt32LE(doubleWords[1]!, at + 4);
  target.writeUInt32LE(fields.sequence, at + 8);
  target.writeUInt32LE(fields.topicHash, at + 12);
  target.writeUInt32LE(fields.publisherHash, at + 16);
  target.writeUInt32LE(topic, at + 20);
  target.writeUInt32LE(properties, at + 24);
  target.writeUInt32LE(payload, at + 28);
  target.writeUInt32LE(fields.extraEnd - fields.extraAt, at + 32);
  target.writeUInt32LE(fields.number, at + 36);
  double[0] = fields.originId;
  target.writeUInt32LE(doubleWords[0]!, at + 40);
  target.writeUInt32LE(doubleWords[1]!, at + 44);
  target.writeUInt32LE(fields.originPacketId, at + 48);
  let to = at + MESSAGE_HEADER_BYTES;
  copyBytes(target, to, view.topicBytes, view.topicAt, view.topicEnd);
  to += topic;
  copyBytes(target, to, view.propertyBytes, view.propertiesAt, view.propertiesEnd);
  to += properties;
  copyViewed(target, targetView, to, view.payloadBytes, view.payloadView, view.payloadAt, view.payloadEnd);
  to += payload;
  copyBytes(target, to, fields.extraBytes, fields.extraAt, fields.extraEnd);
  to += fields.extraEnd - fields.extraAt;
  if (view.receipt >= RECEIPT_TO_WAITER) to = target.writeUInt32LE(view.receipt, to);
  copyBytes(target, to, fields.question, 0, fields.question.length);
  if (view.trace !== null) writeTrace(target, to + fields.question.length, view.trace);
}

/** Lets `view` and `fields` show a message record; both are valid until the frame is released. */
export function readMessageRecord(bytes: Buffer, at: number, word: number, view: MessageView, fields: RecordFields): void {
  doubleWords[0] = bytes.readUInt32LE(at);
  doubleWords[1] = bytes.readUInt32LE(at + 4);
  view.expiresAt = double[0]!;
  fields.sequence = bytes.readUInt32LE(at + 8);
  fields.topicHash = bytes.readUInt32LE(at + 12);
  fields.publisherHash = bytes.readUInt32LE(at + 16);
  const topic = bytes.readUInt32LE(at + 20);
  const properties = bytes.readUInt32LE(at + 24);
  const payload = bytes.readUInt32LE(at + 28);
  const extra = bytes.readUInt32LE(at + 32);
  fields.number = bytes.readUInt32LE(at + 36);
  doubleWords[0] = bytes.readUInt32LE(at + 40);
  doubleWords[1] = bytes.readUInt32LE(at + 44);
  fields.originId = double[0]!;
  fields.originPacketId = bytes.readUInt32LE(at + 48);
  let from = at + MESSAGE_HEADER_BYTES;
  view.topicBytes = bytes;
  view.topicAt = from;
  from += topic;
  view.topicEnd = from;
  view.propertyBytes = bytes;
  view.propertiesAt = from;
  from += properties;
  view.propertiesEnd = from;
  view.setPayload(bytes, from, from + payload);
  from += payload;
  fields.extraBytes = bytes;
  fields.extraAt = from;
  from += extra;
  fields.extraEnd = from;
  view.qos = (word >>> QOS_SHIFT) & 3;
  view.isRetained = (word & RETAINED_BIT) !== 0;
  view.receipt = (word & RECEIPT_BIT) !== 0 ? RECEIPT_TO_TOPIC : RECEIPT_NONE;
  if ((word & WAITER_BIT) !== 0) {
    view.receipt = bytes.readUInt32LE(from);
    from += 4;
  }
  fields.questionAt = from;
  view.isDup = false;
  view.packetId = 0;
  view.topicAlias = 0;
  view.messageExpirySeconds = -1;
}
