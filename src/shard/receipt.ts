/**
 * Receipts: what became of a P2P message in the end, published to the Response Topic that its sender named (`p2p-receipt: 1`), or told to who waits for it in the
 * broker (`confirmations.ts`).
 *
 * The payload is JSON: `{"target":"…","status":"acknowledged|expired|dropped|session-ended","at":<ms>}`, QoS 1, with the sender's Correlation Data.
 * Runs once for each message that asked, never on the path of others.
 */
import { Writer } from '../base/bytes.ts';
import { findCorrelationData, findResponseTopic, PropertyRange, writeProperties } from '../protocol/property.ts';
import { RECEIPT_NONE, RECEIPT_TO_WAITER } from '../protocol/publish.ts';
import { topicLevels } from '../protocol/topic.ts';
import { Message } from '../session/message.ts';
import { counter } from './counters.ts';
import type { Shard } from './shard.ts';

const RECEIPTS = counter('p2p/receipts');
const DOLLAR = 0x24;

const range = new PropertyRange();

/**
 * Queues the receipt for the end of the turn. None goes where the sender itself may not publish: no topic at all, a `$` topic, too many levels.
 * @param isStored whether the receipt must come even after a crash: where the message itself would have
 */
export function receiptOf(shard: Shard, message: Message, target: string, status: string, isStored: boolean): void {
  if (message.receipt >= RECEIPT_TO_WAITER) {
    shard.confirmations.tell(message.receipt, target, status);
    return;
  }
  if (!findResponseTopic(message.bytes, message.topicEnd, message.propertiesEnd, range)) return;
  if (range.at === range.end || message.bytes[range.at] === DOLLAR) return;
  if (topicLevels(message.bytes, range.at, range.end) > shard.settings.limits.topicLevels) return;
  const topic = message.bytes.subarray(range.at, range.end);
  const correlationData = findCorrelationData(message.bytes, message.topicEnd, message.propertiesEnd, range)
    ? message.bytes.subarray(range.at, range.end)
    : undefined;
  const properties = new Writer(256);
  writeProperties(properties, { payloadFormatIndicator: 1, contentType: 'application/json', correlationData });
  const payload = Buffer.from(JSON.stringify({ target, status, at: shard.timers.now }));
  shard.counters[RECEIPTS]!++;
  shard.publishLater(ownMessage(topic, withoutLength(properties), payload, 1, false), '', isStored);
}

/** The raw property block without the length in front of it. */
function withoutLength(properties: Writer): Uint8Array {
  let at = 0;
  while (properties.bytes[at]! >= 0x80) at++;
  return properties.bytes.subarray(at + 1, properties.at);
}

/** A message that the broker itself publishes. */
export function ownMessage(topic: Uint8Array, properties: Uint8Array, payload: Uint8Array, qos: number, isRetained: boolean): Message {
  const bytes = Buffer.concat([topic, properties, payload]);
  return new Message(bytes, topic.length, topic.length + properties.length, qos, isRetained, 0, RECEIPT_NONE);
}
