/**
 * AUTH from a client (MQTT 5, sections 3.15 and 4.12), and every other packet while its login is not judged yet.
 *
 *   CONNECT with a method → challenge → AUTH 0x18 → … → CONNACK           nothing but AUTH and DISCONNECT may come meanwhile
 *   connected: AUTH 0x19  → challenge → AUTH 0x18 → … → AUTH 0x00         everything else goes on, as who the client was before
 *
 * What is in the data only the judge knows, who is asked through `login.ts`.
 */
import { packAttributes } from '../access/attribute-bytes.ts';
import { ReasonPacket, readAuth, readDisconnect, writeAuth } from '../protocol/disconnect.ts';
import { AUTH, DISCONNECT, hasValidFlags, V5 } from '../protocol/packet-type.ts';
import { encodeUserProperties } from '../protocol/property.ts';
import { mayCarry, ReasonCode, reasonName } from '../protocol/reason-code.ts';
import { renewAccess } from './access-renewal.ts';
import { CONNECTED, type Connection } from './connection.ts';
import { counter } from './counters.ts';
import { noteConnected } from './durable.ts';
import type { Identity, LoginVerdict } from './login.ts';
import { endWithProof } from './on-connect.ts';
import { endConnection } from './sessions.ts';

const RENEWED = counter('logins/renewed');

/** Data of one AUTH packet. During a login the whole packet has that bound (`receive.ts`). */
const DATA_BYTES_MAX = 16 * 1024;

const packet = new ReasonPacket();

/** A packet from a client that has sent its CONNECT and has not been judged. @returns 0, or the code that refuses the client */
export function onLoginPacket(connection: Connection, bytes: Uint8Array, first: number, at: number, end: number): ReasonCode {
  if (!hasValidFlags(first)) return ReasonCode.MalformedPacket; // [MQTT-3.15.1-1]
  const type = first >>> 4;
  if (type === DISCONNECT) {
    const code = readDisconnect(packet, bytes, at, end, connection.version);
    if (code === ReasonCode.Success) endConnection(connection, -1, 'normal', false);
    return code;
  }
  if (type !== AUTH) return ReasonCode.ProtocolError; // [MQTT-3.1.2-30]
  const code = readOwn(connection, bytes, at, end);
  if (code !== ReasonCode.Success) return code;
  if (packet.code !== ReasonCode.ContinueAuthentication) return ReasonCode.ProtocolError; // [MQTT-4.12.0-3]
  return connection.shard.logins.proceed(connection, packet.properties.authenticationData ?? null);
}

/** AUTH from a connected client. @returns 0, or the code that ends the connection */
export function onAuth(connection: Connection, bytes: Uint8Array, at: number, end: number): ReasonCode {
  if (connection.version !== V5) return ReasonCode.MalformedPacket;
  const code = readOwn(connection, bytes, at, end);
  if (code !== ReasonCode.Success) return code;
  const { logins } = connection.shard;
  const data = packet.properties.authenticationData ?? null;
  if (packet.code === ReasonCode.ContinueAuthentication) return logins.proceed(connection, data);
  // Success is the server's word, and one proof is enough at a time.
  if (packet.code !== ReasonCode.ReAuthenticate || connection.login !== 0) return ReasonCode.ProtocolError;
  logins.renew(connection, data, renewed);
  return ReasonCode.Success;
}

/** Reads an AUTH into `packet`. @returns 0, or what is wrong; ProtocolError, too, for a method that is not the one of CONNECT */
function readOwn(connection: Connection, bytes: Uint8Array, at: number, end: number): ReasonCode {
  const code = readAuth(packet, bytes, at, end, connection.version);
  if (code !== ReasonCode.Success) return code;
  const { authenticationMethod, authenticationData } = packet.properties;
  // [MQTT-4.12.0-5] [MQTT-4.12.0-7] [MQTT-4.12.1-1]
  if (connection.authenticationMethod === null || authenticationMethod !== connection.authenticationMethod) return ReasonCode.ProtocolError;
  return (authenticationData?.length ?? 0) > DATA_BYTES_MAX ? ReasonCode.PacketTooLarge : ReasonCode.Success;
}

/** A connected client has proved itself anew, or has not. */
function renewed(connection: Connection, verdict: LoginVerdict): void {
  const { shard } = connection;
  const { identity } = verdict;
  const cause = identity === null ? verdict.cause : takeIdentity(connection, identity);
  if (cause !== '') {
    const code = identity === null ? disconnectCode(verdict.code) : ReasonCode.NotAuthorized;
    shard.clientLog.info(
      { client: connection.session!.clientId, peer: connection.peer.name, reason: code, name: reasonName(code), cause },
      'connection ended at its re-authentication',
    );
    endConnection(connection, code, 'not_authorized', true); // [MQTT-4.12.1-2]
    return;
  }
  // By the new proof the client may not be connected any more.
  if (connection.state !== CONNECTED) return;
  shard.counters[RENEWED]!++;
  const writer = shard.packetScratch;
  writer.reset();
  writeAuth(writer, ReasonCode.Success, { authenticationMethod: connection.authenticationMethod!, authenticationData: verdict.data });
  if (writer.at <= connection.packetBytesMax) connection.send(writer.bytes, 0, writer.at);
  else endConnection(connection, ReasonCode.PacketTooLarge, reasonName(ReasonCode.PacketTooLarge), true);
}

/** The client goes on with a new proof. @returns why it cannot; '' when it does */
function takeIdentity(connection: Connection, identity: Identity): string {
  const { shard } = connection;
  const session = connection.session!;
  if (identity.username !== session.username || identity.authenticator !== connection.identity?.authenticator)
    return 'this is the proof of another client';
  connection.identity = identity;
  session.attributes = packAttributes(identity.attributes);
  if (session.isStored) noteConnected(shard, session);
  endWithProof(shard, connection, identity.expiresAt);
  connection.userProperties = encodeUserProperties(identity.userProperties ?? []);
  for (const stream of connection.streams ?? []) stream.userProperties = connection.userProperties;
  renewAccess(connection);
  return '';
}

/** What a DISCONNECT may say in place of a code that only CONNACK knows. */
function disconnectCode(code: ReasonCode): ReasonCode {
  if (mayCarry(DISCONNECT, code)) return code;
  return code === ReasonCode.ServerUnavailable ? ReasonCode.ServerBusy : ReasonCode.NotAuthorized;
}
