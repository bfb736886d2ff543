/**
 * Refuse: the only place where a reason code of a connected client's fault becomes a DISCONNECT, a refusing CONNACK or a close.
 */
import { ReasonCode, reasonName } from '../protocol/reason-code.ts';
import { type Connection, OPENING } from './connection.ts';
import { counter } from './counters.ts';
import { endConnection } from './sessions.ts';

const MALFORMED = counter('packets/malformed');

/** Ends the connection for the client's fault: v5 is told by DISCONNECT, v3 by the close alone. */
export function refuse(connection: Connection, code: ReasonCode): void {
  const shard = connection.shard;
  if (code === ReasonCode.NotAuthorized) {
    // The protocol is not broken, and the refusal has been counted.
    endConnection(connection, code, reasonName(code), true);
    return;
  }
  shard.counters[MALFORMED]!++;
  if (connection.login !== 0 && connection.state === OPENING) {
    // Who breaks off its own login is told so by CONNACK, which only a connected client is not [MQTT-4.12.0-4].
    shard.logins.end(connection.login, { code, cause: 'the client broke the protocol', identity: null });
    return;
  }
  shard.clientLog.info(
    { client: connection.session?.clientId, peer: connection.peer.name, reason: code, name: reasonName(code) },
    'connection refused: the client broke the protocol',
  );
  endConnection(connection, code, reasonName(code), true); // [MQTT-4.13.1-1]
}
