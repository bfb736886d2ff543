/*
 * What a broker may send on one connection, whatever came in: nothing before a whole CONNECT, CONNACK first and once, then only packets of a server, each
 * well-formed for the client's version and no larger than it allows, and nothing behind a refusal or a DISCONNECT. A cut at the end is allowed: connections break.
 */
import { AckView, readAck } from '../../src/protocol/ack.ts';
import { ConnackPacket, readConnack, readConnect } from '../../src/protocol/connect.ts';
import { ReasonPacket, readAuth, readDisconnect } from '../../src/protocol/disconnect.ts';
import { FRAME_INCOMPLETE, Frame, readFrame } from '../../src/protocol/framer.ts';
import * as types from '../../src/protocol/packet-type.ts';
import { PublishPacket, readPublishPacket } from '../../src/protocol/publish.ts';
import { readSuback, readUnsuback, SubackPacket } from '../../src/protocol/subscribe.ts';

const PACKET_BYTES_MAX = 268_435_460;

/** @returns what the broker must not have sent, or undefined when all is well */
export function wrongAnswer(sent: Uint8Array, received: Uint8Array, packetBytesMax: number): string | undefined {
  const frame = new Frame();
  if (received.length === 0) return undefined;
  const isWhole = readFrame(frame, sent, 0, sent.length, packetBytesMax) === 0 && frame.first === types.CONNECT << 4;
  const connect = isWhole ? readConnect(sent, frame.bodyAt, frame.bodyEnd) : undefined;
  if (connect === undefined || connect.version === 0) return 'bytes on a connection without a CONNECT';
  const { version } = connect;
  const allowedBytes = connect.packet?.properties.maximumPacketSize ?? PACKET_BYTES_MAX;
  const method = connect.packet?.properties.authenticationMethod;
  let hasConnack = false;
  let isLast = false;
  for (let at = 0, index = 0; at < received.length; index++) {
    if (isLast) return 'bytes behind the last packet';
    const code = readFrame(frame, received, at, received.length, PACKET_BYTES_MAX);
    if (code === FRAME_INCOMPLETE) return undefined;
    if (code !== 0) return `a fixed header that is wrong at ${at}`;
    const packetType = frame.first >>> 4;
    // To a client with an Authentication Method AUTH may come before, too.
    const isAuth = packetType === types.AUTH && method !== undefined;
    if ((packetType === types.CONNACK) === hasConnack && !isAuth) return `packet ${index} has type ${packetType}`;
    if (packetType === types.PUBLISH && frame.bodyEnd - at > allowedBytes)
      return `a PUBLISH of ${frame.bodyEnd - at} bytes, ${allowedBytes} allowed`;
    if (packetType !== types.PUBLISH && !types.hasValidFlags(frame.first)) return `flags of packet ${index}`;
    const problem = read(packetType, received, frame, version);
    if (problem !== 0) return `packet ${index} of type ${packetType} is wrong: 0x${problem.toString(16)}`;
    if (isAuth && (auth.properties.authenticationMethod !== method || auth.code === (hasConnack ? 0x19 : 0x00)))
      return `packet ${index} is an AUTH of another exchange`;
    if (isAuth && frame.bodyEnd - at > allowedBytes) return `an AUTH of ${frame.bodyEnd - at} bytes, ${allowedBytes} allowed`;
    hasConnack ||= packetType === types.CONNACK;
    if (packetType === types.CONNACK) isLast = connack.code !== 0;
    else if (packetType === types.DISCONNECT) isLast = true;
    at = frame.bodyEnd;
  }
  return undefined;
}

const connack = new ConnackPacket();
const auth = new ReasonPacket();

function read(packetType: number, bytes: Uint8Array, frame: Frame, version: types.ProtocolVersion): number {
  const { bodyAt, bodyEnd } = frame;
  switch (packetType) {
    case types.CONNACK:
      return readConnack(connack, bytes, bodyAt, bodyEnd, version);
    case types.PUBLISH:
      return readPublishPacket(new PublishPacket(), bytes, bodyAt, bodyEnd, frame.first, version);
    case types.PUBACK:
    case types.PUBREC:
    case types.PUBREL:
    case types.PUBCOMP:
      return readAck(new AckView(), packetType, bytes, bodyAt, bodyEnd, version);
    case types.SUBACK:
      return readSuback(new SubackPacket(), bytes, bodyAt, bodyEnd, version);
    case types.UNSUBACK:
      return readUnsuback(new SubackPacket(), bytes, bodyAt, bodyEnd, version);
    case types.AUTH:
      return readAuth(auth, bytes, bodyAt, bodyEnd, version);
    case types.PINGRESP:
      return bodyAt === bodyEnd ? 0 : 0x81;
    case types.DISCONNECT:
      return version === types.V5 ? readDisconnect(new ReasonPacket(), bytes, bodyAt, bodyEnd, version) : 0x82;
    default:
      return 0x82;
  }
}
