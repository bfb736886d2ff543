/**
 * What people are told about a client: facts of its session and of its connection, as the shard that owns them knows them.
 */
import { unpackAttributes } from '../../access/attribute-bytes.ts';
import { filterOfObserver } from '../../routing/observed-filter.ts';
import { addressOf } from '../../shard/login.ts';
import { partsOf } from '../../shard/parts.ts';
import type { ClientSession, ClientSubscription, Shard } from '../../shard/shard.ts';
import { messageFacts } from './message-facts.ts';
import { timeOf } from './time-of.ts';

/** Subscriptions that the details of a client have; there is a list for more. */
export const SUBSCRIPTIONS_SHOWN_MAX = 1000;

export interface ClientFacts {
  readonly clientId: string;
  readonly username: string | null;
  readonly state: 'connected' | 'disconnected';
  /** `address:port`. */
  readonly address: string | null;
  readonly listener: number | null;
  readonly transport: string | null;
  readonly protocol: number;
  readonly keepAliveSeconds: number | null;
  readonly createdAt: string | null;
  readonly connectedAt: string | null;
  readonly disconnectedAt: string | null;
  readonly sessionExpirySeconds: number;
  readonly subscriptions: number;
  readonly inflight: number;
  readonly queued: number;
  readonly queuedBytes: number;
  readonly shard: number;
}

/** One line of the list of clients. */
export function clientFacts(shard: Shard, session: ClientSession): ClientFacts {
  const { connection } = session;
  let subscriptions = 0;
  let inflight = 0;
  let queued = 0;
  let queuedBytes = 0;
  const count = (one: ClientSession): void => {
    subscriptions += one.subscriptions?.size ?? 0;
    inflight += one.inflight?.count ?? 0;
    queued += one.queue?.count ?? 0;
    queuedBytes += one.queue?.bytes ?? 0;
  };
  count(session);
  if (connection?.streams) for (const part of partsOf(session)) count(part);
  const listener = connection?.peer.listener ?? null;
  return {
    clientId: session.clientId,
    username: session.username ?? null,
    state: connection === null ? 'disconnected' : 'connected',
    address: connection?.peer.name ?? null,
    listener,
    transport: listener === null ? null : (shard.settings.listeners[listener]?.type ?? null),
    protocol: session.version,
    keepAliveSeconds: connection?.keepAliveSeconds ?? null,
    createdAt: timeOf(session.createdAt),
    connectedAt: connection === null ? null : timeOf(connection.connectedAt),
    disconnectedAt: connection === null ? timeOf(session.closedAt) : null,
    sessionExpirySeconds: session.expirySeconds,
    subscriptions,
    inflight,
    queued,
    queuedBytes,
    shard: shard.index,
  };
}

/** Everything about one client. */
export function clientDetails(shard: Shard, session: ClientSession): object {
  const { connection, will } = session;
  const subscriptionList: object[] = [];
  for (const one of [session, ...partsOf(session)])
    for (const [name, subscription] of one.subscriptions ?? []) {
      if (subscriptionList.length >= SUBSCRIPTIONS_SHOWN_MAX) break;
      subscriptionList.push(subscriptionOptions(name, subscription));
    }
  return {
    ...clientFacts(shard, session),
    isPersistent: session.expirySeconds > 0,
    isStored: session.isStored,
    cleanStart: connection?.cleanStart ?? null,
    receiveMaximum: connection?.receiveMaximum ?? null,
    packetBytesMax: connection?.packetBytesMax ?? null,
    outboundBytes: connection?.bufferedBytes ?? null,
    isThrottled: connection?.isThrottled ?? null,
    streams: connection?.streams?.length ?? 0,
    authenticator: connection?.identity?.authenticator ?? null,
    isSuperuser: connection?.identity?.isSuperuser ?? null,
    attributes: session.attributes === null ? {} : unpackAttributes(session.attributes),
    incomingQos2: session.received?.count ?? 0,
    subscriptionList,
    will:
      will === null
        ? null
        : {
            ...messageFacts(will.message),
            delaySeconds: will.delaySeconds,
            expirySeconds: will.expirySeconds < 0 ? null : will.expirySeconds,
          },
  };
}

/** A subscription as SUBSCRIBE has asked for it. @param name the filter as the client wrote it */
export function subscriptionOptions(name: string, subscription: ClientSubscription): object {
  const { qos, noLocal, retainAsPublished, retainHandling, identifier, filter, shareName } = subscription;
  return {
    filter: name,
    qos,
    noLocal,
    retainAsPublished,
    retainHandling,
    identifier: identifier === 0 ? null : identifier,
    group: shareName === '' ? null : shareName,
    observesP2p: filterOfObserver(filter) !== undefined,
  };
}

/** IP address of a session's connection; '' for none. */
export function addressOfClient({ connection }: ClientSession): string {
  return connection === null ? '' : addressOf(connection.peer.name);
}
