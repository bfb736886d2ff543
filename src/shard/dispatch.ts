/**
 * Dispatch: one switch on the packet type, PUBLISH first.
 *
 * Handlers return 0 or the reason code that ends the connection, which `refuse.ts` puts into words. Refusals inside a packet (PUBACK, SUBACK …) are theirs.
 *
 * Hot path.
 */

import { PINGRESP_IMAGE } from '../protocol/disconnect.ts';
import type { Frame } from '../protocol/framer.ts';
import {
  AUTH,
  CONNECT,
  DISCONNECT,
  hasValidFlags,
  PINGREQ,
  PUBACK,
  PUBCOMP,
  PUBLISH,
  PUBREC,
  PUBREL,
  SUBSCRIBE,
  UNSUBSCRIBE,
} from '../protocol/packet-type.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import { CONNECTED, type Connection, OPENING } from './connection.ts';
import { onPuback, onPubcomp, onPubrec, onPubrel } from './on-ack.ts';
import { onAuth, onLoginPacket } from './on-auth.ts';
import { onConnect } from './on-connect.ts';
import { onDisconnect } from './on-disconnect.ts';
import { onPublish } from './on-publish.ts';
import { onSubscribe, onUnsubscribe } from './on-subscribe.ts';

/** Handles one packet. @returns 0, or the reason code that ends the connection */
export function dispatch(connection: Connection, bytes: Uint8Array, frame: Frame): ReasonCode {
  const first = frame.first;
  const type = first >>> 4;
  const at = frame.bodyAt;
  const end = frame.bodyEnd;
  if (connection.state !== CONNECTED) {
    if (connection.login !== 0) return onLoginPacket(connection, bytes, first, at, end);
    // [MQTT-3.1.0-1]: anything before CONNECT closes the connection without an answer.
    return type === CONNECT && connection.state === OPENING ? onConnect(connection, bytes, first, at, end) : ReasonCode.ProtocolError;
  }
  if (type === PUBLISH) return onPublish(connection, bytes, first, at, end);
  if (!hasValidFlags(first, connection.version)) return ReasonCode.MalformedPacket; // [MQTT-2.1.3-1]
  switch (type) {
    case PUBACK:
      return onPuback(connection, bytes, at, end);
    case PUBREC:
      return onPubrec(connection, bytes, at, end);
    case PUBREL:
      return onPubrel(connection, bytes, at, end);
    case PUBCOMP:
      return onPubcomp(connection, bytes, at, end);
    case PINGREQ:
      if (connection.control !== null) return ReasonCode.ProtocolError;
      if (at !== end) return ReasonCode.MalformedPacket;
      connection.send(PINGRESP_IMAGE, 0, PINGRESP_IMAGE.length); // [MQTT-3.12.4-1]
      return ReasonCode.Success;
    case SUBSCRIBE:
      return onSubscribe(connection, bytes, at, end);
    case UNSUBSCRIBE:
      return onUnsubscribe(connection, bytes, at, end);
    // These speak for the client, and so do they on its control stream only.
    case DISCONNECT:
      if (connection.control !== null) return ReasonCode.ProtocolError;
      return onDisconnect(connection, bytes, at, end);
    case AUTH:
      if (connection.control !== null) return ReasonCode.ProtocolError;
      return onAuth(connection, bytes, at, end);
    default:
      // A second CONNECT [MQTT-3.1.0-2], or a packet that only a server sends.
      return type === 0 ? ReasonCode.MalformedPacket : ReasonCode.ProtocolError;
  }
}
