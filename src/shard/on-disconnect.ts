/**
 * DISCONNECT from a client: it may change the Session Expiry Interval and decides whether the Will is sent.
 */

import { ReasonPacket, readDisconnect } from '../protocol/disconnect.ts';
import { V5 } from '../protocol/packet-type.ts';
import { ReasonCode, reasonName } from '../protocol/reason-code.ts';
import type { Connection } from './connection.ts';
import { endConnection } from './sessions.ts';

const packet = new ReasonPacket();

export function onDisconnect(connection: Connection, bytes: Uint8Array, at: number, end: number): ReasonCode {
  const code = readDisconnect(packet, bytes, at, end, connection.version);
  if (code !== ReasonCode.Success) return code;
  const session = connection.session!;
  const expiry = packet.properties.sessionExpiryInterval;
  if (connection.version === V5 && expiry !== undefined) {
    // A session that was to end with its connection cannot be prolonged any more (section 3.14.2.2.2).
    if (session.expirySeconds === 0 && expiry !== 0) return ReasonCode.ProtocolError;
    session.expirySeconds = Math.min(expiry, connection.shard.settings.limits.sessionExpirySeconds);
  }
  // Only a normal disconnection takes the Will back [MQTT-3.14.4-3].
  endConnection(connection, -1, packet.code === 0 ? 'normal' : reasonName(packet.code), packet.code !== ReasonCode.NormalDisconnection);
  return ReasonCode.Success;
}
