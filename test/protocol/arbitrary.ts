/* Random packets for fast-check: only such as the standard allows. */

import fc from 'fast-check';
import { utf8Bytes } from '../../src/base/bytes.ts';
import type { ConnectPacket, WillPacket } from '../../src/protocol/connect.ts';
import type { ProtocolVersion } from '../../src/protocol/packet-type.ts';
import { BINARY, BYTE, FOUR_BYTE, PAIR, PROPERTIES, type Properties, TWO_BYTE, VARINT } from '../../src/protocol/property.ts';
import { PublishPacket } from '../../src/protocol/publish.ts';
import { mayCarry, REASON_CODES } from '../../src/protocol/reason-code.ts';

export const versions: fc.Arbitrary<ProtocolVersion> = fc.constantFrom<ProtocolVersion>(3, 4, 5);
export const packetIds: fc.Arbitrary<number> = fc.integer({ min: 1, max: 0xffff });
export const texts: fc.Arbitrary<string> = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((text) => !text.includes('\0'));
export const topics: fc.Arbitrary<string> = texts.filter((text) => text.length > 0 && !/[+#]/.test(text));
export const binaries: fc.Arbitrary<Uint8Array> = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes));

/** A copy that lacks one property. */
export function without(properties: Properties, name: keyof Properties): Properties {
  return Object.fromEntries(Object.entries(properties).filter(([key]) => key !== name));
}

/** Any reason code that the packet may carry. */
export function codesOf(packetType: number): fc.Arbitrary<number> {
  return fc.constantFrom(...REASON_CODES.filter((code) => mayCarry(packetType, code)));
}

function propertyValue(name: string, dataType: number, isRepeatable: boolean): fc.Arbitrary<unknown> {
  switch (dataType) {
    case BYTE:
      return fc.nat(1);
    case TWO_BYTE:
      return fc.integer({ min: 1, max: 0xffff });
    case FOUR_BYTE:
      return fc.integer({ min: 1, max: 0xffffffff });
    case VARINT:
      return fc.array(fc.integer({ min: 1, max: 268_435_455 }), { minLength: 1, maxLength: isRepeatable ? 4 : 1 });
    case BINARY:
      return binaries;
    case PAIR:
      return fc.array(fc.tuple(texts, texts), { minLength: 1, maxLength: 4 });
    default:
      return name === 'responseTopic' ? topics : texts;
  }
}

/** Any properties that the packet may carry. */
export function propertiesOf(packetType: number): fc.Arbitrary<Properties> {
  const model: Record<string, fc.Arbitrary<unknown>> = {};
  for (const row of PROPERTIES) {
    const bit = 1 << packetType;
    if ((row.packets & bit) !== 0) model[row.name] = propertyValue(row.name, row.dataType, (row.repeatable & bit) !== 0);
  }
  return fc.record(model, { requiredKeys: [] }).map((fields) => ({ ...fields }) as Properties);
}

/** Properties in MQTT 5, none before. */
export function propertiesIn(version: ProtocolVersion, packetType: number): fc.Arbitrary<Properties> {
  return version === 5 ? propertiesOf(packetType) : fc.constant({});
}

function wills(version: ProtocolVersion): fc.Arbitrary<WillPacket> {
  return fc
    .tuple(topics, binaries, fc.nat(2), fc.boolean(), propertiesIn(version, 16))
    .map(([topic, payload, qos, retain, properties]) => ({
      topic,
      topicBytes: utf8Bytes(topic),
      payload,
      qos,
      retain,
      properties,
    }));
}

export function connects(version: ProtocolVersion): fc.Arbitrary<ConnectPacket> {
  return fc
    .record({
      cleanStart: fc.boolean(),
      keepAliveSeconds: fc.nat(0xffff),
      clientId: version === 5 ? texts : texts.filter((text) => text.length > 0),
      will: fc.option(wills(version), { nil: undefined }),
      username: fc.option(texts, { nil: undefined }),
      password: fc.option(binaries, { nil: undefined }),
      properties: propertiesIn(version, 1),
    })
    .map((packet) => {
      const hasMethod = packet.properties.authenticationMethod !== undefined;
      const properties = hasMethod ? packet.properties : without(packet.properties, 'authenticationData');
      const password = version !== 5 && packet.username === undefined ? undefined : packet.password;
      return { ...packet, properties, password, version, clientIdBytes: utf8Bytes(packet.clientId) };
    });
}

/** A PUBLISH; from a client it carries no Subscription Identifiers. */
export function publishes(version: ProtocolVersion, from: 'client' | 'server'): fc.Arbitrary<PublishPacket> {
  return fc
    .tuple(topics, fc.nat(2), fc.boolean(), fc.boolean(), packetIds, propertiesIn(version, 3), binaries, fc.boolean())
    .map(([topic, qos, retain, dup, packetId, properties, payload, isShort]) => {
      const packet = new PublishPacket();
      packet.topic = isShort && properties.topicAlias !== undefined ? '' : topic;
      packet.qos = qos;
      packet.retain = retain;
      packet.dup = dup && qos > 0;
      packet.packetId = qos > 0 ? packetId : 0;
      packet.properties = from === 'client' ? without(properties, 'subscriptionIdentifiers') : properties;
      packet.payload = payload;
      return packet;
    });
}
