/**
 * Inner client: an MQTT 5 client inside the broker, on the shard where it begins: a connection and a session like any other, with a channel that is no network. So subscriptions,
 * queues, limits, events and lists need not know of it. Its session ends with its connection.
 */
import { randomBytes } from 'node:crypto';
import { packAttributes } from '../access/attribute-bytes.ts';
import { cloneKey, utf8Bytes } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import { V5 } from '../protocol/packet-type.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import type { SubscribeEntry } from '../protocol/subscribe.ts';
import { shardOfSlot, slotOf } from '../routing/slot.ts';
import type { Channel, Peer } from './channel.ts';
import { CONNECTED, Connection } from './connection.ts';
import { counter, listenerCounter } from './counters.ts';
import { beginFilters, FilterWork } from './filter-work.ts';
import type { Identity } from './login.ts';
import { endWithProof } from './on-connect.ts';
import { advanceFilters } from './on-subscribe.ts';
import { openSession } from './sessions.ts';
import type { Shard } from './shard.ts';

const CLIENTS = counter('clients/connected');
const SESSIONS = counter('clients/total');

/** Characters of the name that a Client Identifier begins with. */
const NAME_LENGTH_MAX = 64;
const NO_FILTERS: readonly string[] = [];

/** Who an inner client is. */
export interface InnerClientFacts {
  /** Client Identifier that the statements see; its own begins with it. */
  readonly judgedAs: string;
  readonly username: string | undefined;
  readonly identity: Identity;
  readonly peer: Peer;
}

/** Connects. @returns its connection, or the reason code that refuses it */
export function connectInner(
  shard: Shard,
  channel: Channel,
  { judgedAs, username, identity, peer }: InnerClientFacts,
): Connection | ReasonCode {
  const { limits } = shard.settings;
  if (shard.isStopping || !shard.isServing) return ReasonCode.ServerUnavailable;
  if (shard.sumOfAll(CLIENTS) >= limits.connections || shard.sumOfAll(SESSIONS) >= limits.sessions) return ReasonCode.QuotaExceeded;
  const connection = new Connection(shard, channel, peer);
  if (!shard.authorization.admit(connection, judgedAs, username, identity, null)) return ReasonCode.NotAuthorized;
  const clientId = assignClientId(shard, judgedAs.slice(0, NAME_LENGTH_MAX).toWellFormed());
  const group = shard.quotas.joinGroup(username, identity.attributes, null);
  if (group === undefined) return ReasonCode.QuotaExceeded;
  const bytes = utf8Bytes(clientId);
  const { session } = openSession(shard, clientId, cloneKey(bytes, 0, bytes.length), V5, true);
  session.username = username;
  session.attributes = packAttributes(identity.attributes);
  connection.identity = { ...identity, judgedAs };
  endWithProof(shard, connection, identity.expiresAt);
  connection.version = V5;
  connection.receiveMaximum = limits.inflight;
  connection.sendQuota = limits.inflight;
  session.connection = connection;
  connection.session = session;
  connection.state = CONNECTED;
  connection.connectedAt = shard.timers.now;
  shard.connections.add(connection);
  shard.quotas.begin(connection, clientId, group);
  shard.counters[CLIENTS]!++;
  shard.counters[listenerCounter(peer.listener)]!++;
  shard.events.clientConnected(session, connection, true);
  return connection;
}

/** Subscribes; the SUBACK comes through the channel. @param packetId of that SUBACK */
export function subscribeInner(connection: Connection, packetId: number, entries: readonly SubscribeEntry[]): void {
  beginFilters(connection.shard, new FilterWork(connection, packetId, 0, entries, NO_FILTERS), advanceFilters);
}

/** A Client Identifier that this shard owns. */
function assignClientId(shard: Shard, name: string): string {
  for (;;) {
    const clientId = `${name}-${randomBytes(8).toString('hex')}`;
    const bytes = utf8Bytes(clientId);
    if (shardOfSlot(slotOf(hash32(bytes, 0, bytes.length)), shard.shards) === shard.index) return clientId;
  }
}
