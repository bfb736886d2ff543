/**
 * What people are told about a message that the broker keeps.
 */
import { Reader, readText, Writer } from '../../base/bytes.ts';
import { PUBLISH } from '../../protocol/packet-type.ts';
import { type Properties, readProperties } from '../../protocol/property.ts';
import type { Delivery } from '../../session/delivery.ts';
import type { Message } from '../../session/message.ts';
import { timeOf } from './time-of.ts';

/** Messages of one queue that are shown, and bytes of them. */
export const MESSAGES_SHOWN_MAX = 100;
export const BYTES_SHOWN_MAX: number = 1024 * 1024;

export interface MessageFacts {
  readonly topic: string;
  readonly qos: number;
  readonly retain: boolean;
  /** Of the payload. */
  readonly bytes: number;
  readonly payloadBase64: string;
  readonly expiresAt: string | null;
  readonly properties: object;
}

/** What waits in a queue, without what could not be read. */
export function shownMessages(deliveries: readonly (Delivery | null)[]): object[] {
  const shown: object[] = [];
  for (const delivery of deliveries) if (delivery !== null) shown.push(messageFacts(delivery.message));
  return shown;
}

export function messageFacts(message: Message): MessageFacts {
  const { bytes, topicEnd, propertiesEnd, qos, isRetained, expiresAt } = message;
  return {
    topic: topicOf(message),
    qos,
    retain: isRetained,
    bytes: bytes.length - propertiesEnd,
    payloadBase64: Buffer.from(bytes.buffer, bytes.byteOffset + propertiesEnd, bytes.length - propertiesEnd).toString('base64'),
    expiresAt: timeOf(expiresAt),
    properties: propertyFacts(bytes, topicEnd, propertiesEnd),
  };
}

export function topicOf({ bytes, topicEnd }: Message): string {
  return readText(bytes, 0, topicEnd);
}

/** The properties in the raw block bytes[at, end); what is absent was not sent. */
export function propertyFacts(bytes: Uint8Array, at: number, end: number): object {
  const writer = new Writer(end - at + 4);
  writer.varint(end - at);
  writer.raw(bytes, at, end);
  const reader = new Reader();
  reader.reset(writer.bytes, 0, writer.at);
  const found: Properties = {};
  readProperties(reader, PUBLISH, found);
  const { payloadFormatIndicator, contentType, responseTopic, correlationData, userProperties } = found;
  return {
    ...(payloadFormatIndicator !== undefined && { payloadFormat: payloadFormatIndicator }),
    ...(contentType !== undefined && { contentType }),
    ...(responseTopic !== undefined && { responseTopic }),
    ...(correlationData !== undefined && { correlationData: Buffer.from(correlationData).toString('base64') }),
    ...(userProperties !== undefined && { userProperties }),
  };
}
