/*
 * Reads any whole packet with the reader of its type, for tests that run over all of them. The answer is the reason code and what was read,
 * as plain data that can be compared.
 */

import { readText, Writer } from '../../src/base/bytes.ts';
import { AckView, readAck } from '../../src/protocol/ack.ts';
import { ConnackPacket, readConnack, readConnect } from '../../src/protocol/connect.ts';
import { ReasonPacket, readAuth, readDisconnect } from '../../src/protocol/disconnect.ts';
import { FRAME_INCOMPLETE, Frame, readFrame } from '../../src/protocol/framer.ts';
import * as types from '../../src/protocol/packet-type.ts';
import { MessageView, PublishPacket, readPublish, readPublishPacket } from '../../src/protocol/publish.ts';
import { ReasonCode } from '../../src/protocol/reason-code.ts';
import {
  readSuback,
  readSubscribe,
  readUnsuback,
  readUnsubscribe,
  SubackPacket,
  SubscribePacket,
  UnsubscribePacket,
} from '../../src/protocol/subscribe.ts';

export interface Outcome {
  code: number;
  packetType: number;
  value: unknown;
}

/** What a view shows, as data of its own. */
export function viewData(view: MessageView): Record<string, unknown> {
  return {
    qos: view.qos,
    isRetained: view.isRetained,
    isDup: view.isDup,
    packetId: view.packetId,
    topic: readText(view.topicBytes, view.topicAt, view.topicEnd),
    topicLevels: view.topicLevels,
    properties: Buffer.from(view.propertyBytes.subarray(view.propertiesAt, view.propertiesEnd)).toString('hex'),
    payload: Buffer.from(view.payloadBytes.subarray(view.payloadAt, view.payloadEnd)).toString('hex'),
    payloadFormat: view.payloadFormat,
    messageExpirySeconds: view.messageExpirySeconds,
    topicAlias: view.topicAlias,
    hasReservedUserProperties: view.hasReservedUserProperties,
  };
}

/** Reads the body of one packet. A PUBLISH from a client goes through the broker's reader, one from a server through the client's. */
export function readBody(
  bytes: Uint8Array,
  first: number,
  at: number,
  end: number,
  version: types.ProtocolVersion,
  from: 'client' | 'server',
): Outcome {
  const packetType = first >> 4;
  const answer = (code: number, value: unknown): Outcome => ({ code, packetType, value: code === 0 ? value : undefined });
  if (!types.hasValidFlags(first, version)) return answer(ReasonCode.MalformedPacket, undefined);
  switch (packetType) {
    case types.CONNECT: {
      const result = readConnect(bytes, at, end);
      return answer(result.code, result.packet);
    }
    case types.CONNACK: {
      const packet = new ConnackPacket();
      return answer(readConnack(packet, bytes, at, end, version), packet);
    }
    case types.PUBLISH: {
      if (from === 'client') {
        const view = new MessageView();
        const code = readPublish(view, bytes, at, end, first, version, new Writer(16));
        return answer(code, code === 0 ? viewData(view) : undefined);
      }
      const packet = new PublishPacket();
      return answer(readPublishPacket(packet, bytes, at, end, first, version), packet);
    }
    case types.PUBACK:
    case types.PUBREC:
    case types.PUBREL:
    case types.PUBCOMP: {
      const view = new AckView();
      return answer(readAck(view, packetType, bytes, at, end, version), view);
    }
    case types.SUBSCRIBE: {
      const packet = new SubscribePacket();
      return answer(readSubscribe(packet, bytes, at, end, version), packet);
    }
    case types.SUBACK: {
      const packet = new SubackPacket();
      return answer(readSuback(packet, bytes, at, end, version), packet);
    }
    case types.UNSUBSCRIBE: {
      const packet = new UnsubscribePacket();
      return answer(readUnsubscribe(packet, bytes, at, end, version), packet);
    }
    case types.UNSUBACK: {
      const packet = new SubackPacket();
      return answer(readUnsuback(packet, bytes, at, end, version), packet);
    }
    case types.DISCONNECT: {
      const packet = new ReasonPacket();
      return answer(readDisconnect(packet, bytes, at, end, version), packet);
    }
    case types.AUTH: {
      const packet = new ReasonPacket();
      return answer(readAuth(packet, bytes, at, end, version), packet);
    }
    default:
      return answer(at === end ? ReasonCode.Success : ReasonCode.MalformedPacket, {});
  }
}

/** Reads the packet that begins at 0 and must end with the bytes. */
export function readWhole(bytes: Uint8Array, version: types.ProtocolVersion, from: 'client' | 'server'): Outcome {
  const frame = new Frame();
  const code = readFrame(frame, bytes, 0, bytes.length, 1_048_576);
  if (code === FRAME_INCOMPLETE) throw new Error('the packet is not whole');
  if (code !== ReasonCode.Success) return { code, packetType: bytes[0]! >> 4, value: undefined };
  if (frame.bodyEnd !== bytes.length) throw new Error('bytes follow the packet');
  return readBody(bytes, frame.first, frame.bodyAt, frame.bodyEnd, version, from);
}
