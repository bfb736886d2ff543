/**
 * Callers: who uses the HTTP door. To the shard each is a publisher like any client: a connection that has no network and is in no table, so that statements, quotas and
 * receipts are those of MQTT.
 */

import { packAttributes } from '../access/attribute-bytes.ts';
import { utf8Bytes } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import { V5 } from '../protocol/packet-type.ts';
import { encodeUserProperties } from '../protocol/property.ts';
import { Session } from '../session/session.ts';
import type { Channel } from '../shard/channel.ts';
import { CONNECTED, Connection } from '../shard/connection.ts';
import type { Identity } from '../shard/login.ts';
import { NOWHERE } from '../shard/publisher-names.ts';
import type { Shard } from '../shard/shard.ts';
import type { Role } from './role.ts';

/** Nothing is ever written to a caller as MQTT. */
const NO_CHANNEL: Channel = { write: () => true, pause: () => {}, resume: () => {}, end: () => {}, destroy: () => {} };

export interface Caller {
  /** For the logs: `api key backup`, `user ann`, `anybody`. */
  readonly name: string;
  readonly role: Role;
  /** Whom its idempotency keys belong to: more exact than the name, which two may share. */
  readonly owner: string;
  /** What it publishes by. Its `session` is in no table and takes no messages. */
  readonly connection: Connection;
}

/**
 * A caller with the rights of its identity.
 * @param owner of its idempotency keys
 * @param clientId that the statements and topic templates see
 * @param address IP address, '' over a Unix socket
 * @returns null when the statements do not let it connect, or its group is full
 */
export function createCaller(
  shard: Shard,
  name: string,
  role: Role,
  owner: string,
  clientId: string,
  username: string | undefined,
  identity: Identity,
  peer: { readonly name: string; readonly listener: number; readonly certificate: Uint8Array | null },
): Caller | null {
  const connection = new Connection(shard, NO_CHANNEL, peer);
  const bytes = utf8Bytes(clientId);
  const session: Session<Connection, never> = new Session(clientId, bytes, hash32(bytes, 0, bytes.length), V5, 0);
  // It is in no table, and is forgotten without an end.
  session.nameAt = NOWHERE;
  session.username = username;
  session.attributes = packAttributes(identity.attributes);
  if (!shard.authorization.admit(connection, clientId, username, identity, null)) return null;
  connection.identity = identity;
  connection.userProperties = encodeUserProperties(identity.userProperties ?? []);
  session.connection = connection;
  connection.session = session as unknown as NonNullable<Connection['session']>;
  connection.state = CONNECTED;
  const group = shard.quotas.joinGroup(username, identity.attributes, null);
  if (group === undefined) return null;
  shard.quotas.begin(connection, clientId, group);
  return { name, role, owner, connection };
}

/** The caller is not remembered any more. */
export function forgetCaller(shard: Shard, { connection }: Caller): void {
  shard.quotas.leave(connection, connection.session!.clientId);
}
