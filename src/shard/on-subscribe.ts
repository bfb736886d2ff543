/**
 * SUBSCRIBE and UNSUBSCRIBE: the subscription tree, the routes that the peers must know, the Retained Messages.
 *
 *   SUBSCRIBE → subscriptions here → route changes to the peers → (all have installed them) → SUBACK → retained messages
 *
 * Each Topic Filter of a packet has its own answer; one bad filter harms no other.
 */
import type { Writer } from '../base/bytes.ts';
import { V5, V311 } from '../protocol/packet-type.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import {
  readSubscribe,
  readUnsubscribe,
  type SubscribeEntry,
  SubscribePacket,
  UnsubscribePacket,
  writeSuback,
  writeUnsuback,
} from '../protocol/subscribe.ts';
import { filterError, hasWildcard, parseShared } from '../protocol/topic.ts';
import { filterOfObserver, observedFilter } from '../routing/observed-filter.ts';
import { classifyP2pFilter } from '../routing/p2p-address.ts';
import { CONNECTED, type Connection } from './connection.ts';
import { counter } from './counters.ts';
import { mayExplain } from './deliver.ts';
import { noteSubscription } from './durable.ts';
import { explainSubscribe } from './explain.ts';
import { beginFilters, FilterWork } from './filter-work.ts';
import { hasObservers } from './observe.ts';
import { partsOf } from './parts.ts';
import { admitSubscribe, HELD_BACK, holdSubscribe } from './quota-check.ts';
import { queryRetained } from './retained-query.ts';
import { install, routesKnownByAll, withdraw } from './routes.ts';
import { endConnection } from './sessions.ts';
import type { ClientSession, ClientSubscription, Shard } from './shard.ts';

const NO_ENTRIES: readonly SubscribeEntry[] = [];
const NO_FILTERS: readonly string[] = [];

/** Reading that many takes some milliseconds. */
const FILTERS_MAX = 10_000;

const ROUTES_WAITING = counter('routes/waiting');

const subscribePacket = new SubscribePacket();
const unsubscribePacket = new UnsubscribePacket();

/** A SUBACK, or an answer to somebody who has subscribed for a client, that waits until every shard knows the routes. */
export class WaitingSuback {
  /** Null: `done` is called instead. */
  readonly connection: Connection | null;
  /** Route change that all peers must have installed. */
  readonly sequence: number;
  readonly packetId: number;
  readonly codes: readonly number[];
  /** Subscriptions that get Retained Messages afterwards. */
  readonly retained: readonly ClientSubscription[];
  /** Record of the journal that must be committed; 0: none. */
  readonly record: number;
  readonly done: (() => void) | null;

  constructor(
    connection: Connection | null,
    sequence: number,
    packetId: number,
    codes: readonly number[],
    retained: readonly ClientSubscription[],
    record: number,
    done: (() => void) | null,
  ) {
    this.connection = connection;
    this.sequence = sequence;
    this.packetId = packetId;
    this.codes = codes;
    this.retained = retained;
    this.record = record;
    this.done = done;
  }
}

/** Filters that one packet may hold: as many as a client may have, and some more, which are refused one by one. */
function filtersMax(shard: Shard): number {
  return Math.max(FILTERS_MAX, shard.settings.limits.subscriptionsPerClient);
}

export function onSubscribe(connection: Connection, bytes: Uint8Array, at: number, end: number): ReasonCode {
  const shard = connection.shard;
  if (connection.quota !== null && holdSubscribe(connection, connection.quota)) return HELD_BACK;
  const packet = subscribePacket;
  const code = readSubscribe(packet, bytes, at, end, connection.version, filtersMax(shard));
  if (code !== ReasonCode.Success) return code;
  const identifier = packet.properties.subscriptionIdentifiers?.[0] ?? 0;
  if (identifier !== 0 && !shard.settings.mqtt.subscriptionIdentifierAvailable) return ReasonCode.SubscriptionIdentifiersNotSupported;
  beginFilters(shard, new FilterWork(connection, packet.packetId, identifier, packet.entries, NO_FILTERS), advanceFilters);
  return ReasonCode.Success;
}

/** Handles `count` further filters of a packet, and answers it when all are done. */
export function advanceFilters(work: FilterWork, count: number): void {
  const { connection, entries, filters, codes } = work;
  const { shard } = connection;
  const session = connection.session!;
  const position = shard.journal.position;
  for (let left = count; left > 0 && !work.isDone; left--) {
    const at = codes.length;
    if (filters.length > 0)
      codes.push(unsubscribe(shard, session, filters[at]!)); // [MQTT-3.10.4-1] [MQTT-3.10.4-6]
    else codes.push(subscribe(shard, session, entries[at]!, work.identifier, work.retained)); // [MQTT-3.8.4-5] [MQTT-3.8.4-6]
  }
  if (shard.journal.position !== position) work.record = shard.journal.open.record;
  if (!work.isDone) return;
  if (filters.length > 0) unsubscribed(work);
  else subscribed(work);
}

/** All filters are subscribed: SUBACK, as soon as every shard knows. */
function subscribed({ connection, packetId, codes, retained, record }: FilterWork): void {
  const { shard } = connection;
  if (connection.version !== V5 && connection.version !== V311) {
    // MQTT 3.1 has no failure code in SUBACK: it grants QoS 0 where nothing will come.
    for (let i = 0; i < codes.length; i++) if (codes[i]! >= 0x80) codes[i] = 0;
  }
  awaitRoutes(shard, new WaitingSuback(connection, shard.routeSequence, packetId, codes, retained, record, null));
}

/** Calls `done` when every shard knows the routes that there are now. */
export function whenRoutesAreInstalled(shard: Shard, done: () => void): void {
  awaitRoutes(shard, new WaitingSuback(null, shard.routeSequence, 0, [], [], 0, done));
}

function awaitRoutes(shard: Shard, waiting: WaitingSuback): void {
  // Earlier SUBACKs wait for less or the same, so the order of the list is the order of the routes.
  if (shard.waitingSubacks.count === 0 && routesKnownByAll(shard) >= waiting.sequence) confirm(shard, waiting);
  else {
    shard.waitingSubacks.push(waiting);
    shard.counters[ROUTES_WAITING]!++;
  }
}

/** Peers have installed more routes: the SUBACKs that waited for them leave. */
export function confirmSubacks(shard: Shard): void {
  const known = routesKnownByAll(shard);
  for (let next = shard.waitingSubacks.peek(); next !== undefined && next.sequence <= known; next = shard.waitingSubacks.peek()) {
    shard.waitingSubacks.shift();
    shard.counters[ROUTES_WAITING]!--;
    confirm(shard, next);
  }
}

function confirm(shard: Shard, waiting: WaitingSuback): void {
  const connection = waiting.connection;
  if (connection === null) {
    waiting.done!();
    return;
  }
  if (connection.state !== CONNECTED) return;
  shard.journal.holdUntil(connection, waiting.record);
  const writer = shard.packetScratch;
  writer.reset();
  const details = mayExplain(connection) ? explainSubscribe(waiting.codes) : undefined;
  writeSuback(writer, connection.version, waiting.packetId, waiting.codes, details); // [MQTT-3.8.4-1] [MQTT-3.8.4-2]
  if (writer.at > connection.packetBytesMax && details !== undefined) {
    writer.reset();
    writeSuback(writer, connection.version, waiting.packetId, waiting.codes, undefined); // [MQTT-3.9.2-1]
  }
  if (!sendWithin(connection, writer)) return;
  for (const subscription of waiting.retained) queryRetained(shard, connection, subscription);
}

/** Sends a packet that must be sent whole. A client that cannot take it asked for more than it can hear: the connection ends [MQTT-3.1.2-24]. */
function sendWithin(connection: Connection, writer: Writer): boolean {
  if (writer.at > connection.packetBytesMax) {
    endConnection(connection, ReasonCode.PacketTooLarge, 'packet_too_large', true);
    return false;
  }
  connection.send(writer.bytes, 0, writer.at);
  return true;
}

/** One Topic Filter of a client. @returns its reason code in SUBACK */
function subscribe(
  shard: Shard,
  session: ClientSession,
  entry: SubscribeEntry,
  identifier: number,
  retained: ClientSubscription[],
): number {
  const connection = session.connection!;
  if (connection.quota !== null && !admitSubscribe(connection, connection.quota)) return ReasonCode.QuotaExceeded;
  return addSubscription(shard, session, entry, identifier, retained, connection);
}

/**
 * Subscribes a session to one Topic Filter.
 * @param retained takes the subscription where Retained Messages must follow
 * @param judged the connection whose statements decide; null: somebody else has decided, who may do everything but let a client observe others' P2P messages
 * @returns its reason code in SUBACK
 */
export function addSubscription(
  shard: Shard,
  session: ClientSession,
  entry: SubscribeEntry,
  identifier: number,
  retained: ClientSubscription[],
  judged: Connection | null,
): number {
  const { mqtt, limits, p2p } = shard.settings;
  const shared = parseShared(entry.filter);
  if (shared === null) return ReasonCode.TopicFilterInvalid; // [MQTT-4.8.2-1] [MQTT-4.8.2-2]
  if (shared !== undefined && !mqtt.sharedSubscriptionAvailable) return ReasonCode.SharedSubscriptionsNotSupported;
  const filter = shared === undefined ? entry.filter : shared.filter;
  const wrong = filterError(filter, limits.topicLevels);
  if (wrong !== ReasonCode.Success) return wrong;
  if (!mqtt.wildcardSubscriptionAvailable && hasWildcard(filter)) return ReasonCode.WildcardSubscriptionsNotSupported;
  const granted = Math.min(entry.qos, mqtt.maximumQos); // [MQTT-3.8.4-7]
  let isObserver = false;
  if (p2p.enabled) {
    const kind = classifyP2pFilter(filter, session.clientId, shard.p2pParentSet);
    // The own address needs no subscription; libraries ask for it to register their callback.
    if (kind === 'own') return granted;
    isObserver = kind === 'other';
  }
  const shareName = shared === undefined ? '' : shared.shareName;
  if (isObserver) {
    // An audit that only one of several sees is none.
    if (shared !== undefined || judged === null || !shard.authorization.mayObserve(judged, session.clientId, filter, entry.qos))
      return ReasonCode.NotAuthorized;
  } else if (
    judged !== null &&
    judged.access !== null &&
    !shard.authorization.maySubscribe(judged, session.clientId, filter, entry.qos, shareName)
  )
    return ReasonCode.NotAuthorized;
  const { root } = session;
  if (root.isStored && shard.journal.isDegraded) return ReasonCode.QuotaExceeded;
  if (session.subscriptions === null) session.subscriptions = new Map();
  const known = session.subscriptions.get(entry.filter);
  if (known === undefined && subscriptionCount(root) >= limits.subscriptionsPerClient) return ReasonCode.QuotaExceeded;
  const subscription: ClientSubscription = {
    subscriber: session,
    filter: isObserver ? observedFilter(filter) : filter,
    shareName,
    qos: granted,
    noLocal: entry.noLocal,
    retainAsPublished: entry.retainAsPublished,
    retainHandling: entry.retainHandling,
    identifier,
  };
  session.subscriptions.set(entry.filter, subscription); // [MQTT-3.8.4-3]
  install(shard, subscription, session.connection !== null);
  noteSubscription(shard, root, entry.filter);
  shard.events.sessionSubscribed(session, entry.filter, granted);
  const wantsRetained = entry.retainHandling === 0 || (entry.retainHandling === 1 && known === undefined); // [MQTT-3.3.1-9..11]
  if (wantsRetained && shared === undefined && !isObserver && mqtt.retainAvailable) retained.push(subscription);
  return granted;
}

/**
 * Ends the subscriptions of a resumed session that its client may not have, or not any more: the rules may be others than when it subscribed, and so may be the client.
 * What waits in the queue was allowed when it came.
 */
export function endForbidden(shard: Shard, session: ClientSession, connection: Connection): void {
  if (connection.access === null && !hasObservers(shard)) return;
  const { authorization } = shard;
  for (const [name, subscription] of [...(session.subscriptions ?? [])]) {
    const { filter, qos, shareName } = subscription;
    const observed = filterOfObserver(filter);
    const isAllowed =
      observed === undefined
        ? connection.access === null || authorization.maySubscribe(connection, session.clientId, filter, qos, shareName)
        : authorization.mayObserve(connection, session.clientId, observed, qos);
    if (!isAllowed) removeSubscription(shard, session, name, subscription);
  }
}

/** Subscriptions of a client, on all its streams. */
function subscriptionCount(root: ClientSession): number {
  let count = root.subscriptions === null ? 0 : root.subscriptions.size;
  for (const part of partsOf(root)) count += part.subscriptions === null ? 0 : part.subscriptions.size;
  return count;
}

export function onUnsubscribe(connection: Connection, bytes: Uint8Array, at: number, end: number): ReasonCode {
  const shard = connection.shard;
  const packet = unsubscribePacket;
  const code = readUnsubscribe(packet, bytes, at, end, connection.version, filtersMax(shard));
  if (code !== ReasonCode.Success) return code;
  beginFilters(shard, new FilterWork(connection, packet.packetId, 0, NO_ENTRIES, packet.filters), advanceFilters);
  return ReasonCode.Success;
}

function unsubscribed({ connection, packetId, codes }: FilterWork): void {
  const { shard } = connection;
  // Also where there was nothing to remove: an earlier UNSUBSCRIBE may not be on disk yet.
  if (connection.session!.root.isStored) shard.journal.hold(connection);
  const writer = shard.packetScratch;
  writer.reset();
  writeUnsuback(writer, connection.version, packetId, codes, undefined); // [MQTT-3.10.4-4] [MQTT-3.10.4-5]
  sendWithin(connection, writer);
}

function unsubscribe(shard: Shard, session: ClientSession, filter: string): number {
  const shared = parseShared(filter);
  if (shared === null) return ReasonCode.TopicFilterInvalid;
  const inner = shared === undefined ? filter : shared.filter;
  const wrong = filterError(inner, shard.settings.limits.topicLevels);
  if (wrong !== ReasonCode.Success) return wrong;
  const subscription = session.subscriptions?.get(filter);
  if (subscription === undefined) {
    const isOwn = shard.settings.p2p.enabled && classifyP2pFilter(inner, session.clientId, shard.p2pParentSet) === 'own';
    return isOwn ? ReasonCode.Success : ReasonCode.NoSubscriptionExisted;
  }
  removeSubscription(shard, session, filter, subscription);
  return ReasonCode.Success;
}

/** Ends a subscription, also one that could not be made any more. @param name the filter as the client wrote it */
export function removeSubscription(shard: Shard, session: ClientSession, name: string, subscription: ClientSubscription): void {
  session.subscriptions!.delete(name);
  if (session.subscriptions!.size === 0) session.subscriptions = null;
  withdraw(shard, subscription);
  noteSubscription(shard, session.root, name);
  shard.events.sessionUnsubscribed(session, name);
}
