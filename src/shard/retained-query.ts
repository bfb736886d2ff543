/**
 * RetainedQuery: the Retained Messages that a new subscription gets. An exact filter asks the one shard that owns the topic, a wildcard asks all.
 *
 *   subscriber's shard ── query ──▶ owner: collects the matches once
 *                      ◀─ batch ──  at most BATCH messages, then "more" or "last"
 *                      ── more ──▶  only when the client has taken what it got
 *
 * So a `#` over a million retained topics costs the owner one list of references, and neither ring, queue nor client is flooded. Queries end with the
 * connection that asked. This shard asks itself in the same way, without the ring.
 */
import { utf8Bytes } from '../base/bytes.ts';
import type { MessageView } from '../protocol/publish.ts';
import { hasWildcard } from '../protocol/topic.ts';
import { type Message, viewMessage } from '../session/message.ts';
import { CONNECTED, type Connection } from './connection.ts';
import { counter } from './counters.ts';
import { deliver, enqueue } from './deliver.ts';
import { maySend } from './quota-check.ts';
import { RECORD_RETAINED } from './record.ts';
import { type RetainedMessage, retainedOwner } from './retain.ts';
import type { ClientSubscription, Shard } from './shard.ts';

const REFUSED = counter('retained/queries/refused');

/** Messages that all shards together send in one batch, and one shard of few. Below the shortest queue that is of use, so that a batch is not dropped. */
const BATCH_OF_ALL = 512;
const BATCH = 64;
/** References that all lists of one shard hold before new queries are refused; the last one may exceed it by its own length. */
const REFERENCES_MAX = 4_000_000;
/** Queries that one shard answers at a time for one asking shard; each holds a list of references. */
const SCANS_MAX = 10_000;

/** A query of a client of this shard. */
class Query {
  readonly connection: Connection;
  readonly subscription: ClientSubscription;
  /** Shards that have more to send, a bit each. */
  openMask: number;
  /** Shards that wait to be asked for the next batch. */
  readyMask: number;
  /** Shards that have been asked for their first. */
  begunMask: number;

  constructor(connection: Connection, subscription: ClientSubscription) {
    this.connection = connection;
    this.subscription = subscription;
    this.openMask = 0;
    this.readyMask = 0;
    this.begunMask = 0;
  }
}

/** A query that this shard answers. */
class Scan {
  readonly asker: number;
  readonly query: number;
  readonly matches: RetainedMessage[];
  next: number;

  constructor(asker: number, query: number, matches: RetainedMessage[]) {
    this.asker = asker;
    this.query = query;
    this.matches = matches;
    this.next = 0;
  }
}

export class RetainedQueries {
  readonly asked: Map<number, Query>;
  /** By asking shard. */
  readonly scans: Map<number, Scan>[];
  nextQuery: number;
  /** Entries of all lists in `scans`. */
  references: number;

  constructor() {
    this.asked = new Map();
    this.scans = [];
    this.references = 0;
    // Not from 1: an answer to a query of a predecessor of this shard must not meet one of ours.
    this.nextQuery = 1 + Math.floor(Math.random() * 0x7fffffff);
  }

  endScan(asker: number, query: number): void {
    const scan = this.scans[asker]?.get(query);
    if (scan === undefined) return;
    this.scans[asker]!.delete(query);
    this.references -= scan.matches.length;
  }

  /** A shard died: what it asked is void. */
  forgetAsker(shard: number): void {
    for (const query of [...(this.scans[shard]?.keys() ?? [])]) this.endScan(shard, query);
  }
}

/** Begins to send the Retained Messages that match `subscription`. */
export function queryRetained(shard: Shard, connection: Connection, subscription: ClientSubscription): void {
  const queries = shard.retainedQueries;
  const id = queries.nextQuery;
  queries.nextQuery = id === 0xffffffff ? 1 : id + 1;
  const query = new Query(connection, subscription);
  queries.asked.set(id, query);
  if (connection.retainedQueries === null) connection.retainedQueries = new Set();
  connection.retainedQueries.add(id);
  if (hasWildcard(subscription.filter)) {
    query.openMask = (1 << shard.shards) - 1;
  } else {
    query.openMask = 1 << retainedOwner(shard, utf8Bytes(subscription.filter));
  }
  query.readyMask = query.openMask;
  // Begun at the end of the turn, one query of a connection after the other: a SUBSCRIBE with many filters floods nobody.
  shard.dirtyQueries.push(connection);
}

/** Answers a query of `asker` with its first batch. */
export function beginScan(shard: Shard, asker: number, query: number, filter: string): void {
  let scans = shard.retainedQueries.scans[asker];
  if (scans === undefined) {
    scans = new Map();
    shard.retainedQueries.scans[asker] = scans;
  }
  const matches: RetainedMessage[] = [];
  const queries = shard.retainedQueries;
  if (scans.size >= SCANS_MAX || queries.references >= REFERENCES_MAX) {
    shard.counters[REFUSED]!++;
    shard.log.warn({ filter }, 'too many retained queries at once: a new subscription gets no retained messages');
  } else {
    shard.retained.match(filter, matches);
  }
  queries.references += matches.length;
  const scan = new Scan(asker, query, matches);
  scans.set(query, scan);
  sendBatch(shard, scan);
}

/** The asker has room for more. */
export function continueScan(shard: Shard, asker: number, query: number): void {
  const scan = shard.retainedQueries.scans[asker]?.get(query);
  if (scan !== undefined) sendBatch(shard, scan);
}

export function cancelScan(shard: Shard, asker: number, query: number): void {
  shard.retainedQueries.endScan(asker, query);
}

function sendBatch(shard: Shard, scan: Scan): void {
  const end = Math.min(scan.next + Math.min(BATCH, Math.ceil(BATCH_OF_ALL / shard.shards)), scan.matches.length);
  const isLast = end === scan.matches.length;
  for (; scan.next < end; scan.next++) {
    const entry = scan.matches[scan.next]!;
    // What was cleared or replaced since the list was made is not sent: the live message has been or will be.
    if (shard.retained.get(entry.topic) !== entry) continue;
    if (entry.message.expiresAt !== 0 && entry.message.expiresAt <= shard.timers.now) continue;
    viewMessage(shard.keptView, entry.message);
    if (scan.asker === shard.index) {
      takeRetained(shard, shard.keptView, scan.query, entry.message);
    } else {
      const fields = shard.recordFields;
      fields.topicHash = 0;
      fields.publisherHash = 0;
      fields.number = scan.query;
      fields.extraAt = 0;
      fields.extraEnd = 0;
      fields.originId = 0;
      // A batch is small, so it always finds room behind a full ring; QoS 1 and 2 survive the asker's restart like any other message.
      shard.mesh.sendMessage(scan.asker, RECORD_RETAINED, shard.keptView, fields, false, null, shard.keptView.qos > 0);
    }
  }
  if (isLast) shard.retainedQueries.endScan(scan.asker, scan.query);
  if (scan.asker === shard.index) endBatch(shard, shard.index, scan.query, isLast);
  else shard.mesh.sendControl(scan.asker, { kind: 'retained-end', query: scan.query, isLast });
}

/** One Retained Message for the client that asked. */
export function takeRetained(shard: Shard, view: MessageView, id: number, message: Message | null): void {
  const query = shard.retainedQueries.asked.get(id);
  if (query === undefined) return;
  const session = query.connection.session;
  if (session === null || query.connection.state !== CONNECTED || !isSubscribed(query)) return;
  const subscription = query.subscription;
  const qos = Math.min(view.qos, subscription.qos); // [MQTT-3.8.4-8]
  const identifiers = shard.oneIdentifier;
  identifiers[0] = subscription.identifier;
  shard.newMessage();
  shard.kept = message;
  // RETAIN 1: this is the answer to a subscription, not a new publication [MQTT-3.3.1-8].
  const count = subscription.identifier === 0 ? 0 : 1;
  // A live message at QoS 0 may be dropped, for a newer one follows; the state that a subscription asks for comes once, so it waits for the network.
  const { connection } = query;
  const isOverQuota = connection.quota !== null && !maySend(connection, connection.quota, true);
  if (qos === 0 && isOverQuota) shard.quotas.awaitSending(connection);
  if (qos === 0 && (isOverQuota || connection.isOverfull)) enqueue(shard, session, view, 0, true, identifiers, count, null);
  else deliver(shard, session, view, qos, true, identifiers, count, null);
  shard.newMessage();
}

/** Whether the client has not unsubscribed since it asked: nothing is added for it afterwards [MQTT-3.10.4-2]. */
function isSubscribed(query: Query): boolean {
  // Retained Messages come for ordinary subscriptions only, whose filter is their key.
  return query.connection.session?.subscriptions?.has(query.subscription.filter) === true;
}

/** A batch of `peer` is complete. */
export function endBatch(shard: Shard, peer: number, id: number, isLast: boolean): void {
  const query = shard.retainedQueries.asked.get(id);
  if (query === undefined) {
    if (!isLast) cancel(shard, peer, id);
    return;
  }
  if (isLast) {
    query.openMask &= ~(1 << peer);
    if (query.openMask !== 0) return;
    shard.retainedQueries.asked.delete(id);
    query.connection.retainedQueries?.delete(id);
    if (query.connection.retainedQueries?.size) shard.dirtyQueries.push(query.connection);
    return;
  }
  query.readyMask |= 1 << peer;
  // Asked again at the end of the turn or when the client has drained; never from here, or a local scan would recurse.
  shard.dirtyQueries.push(query.connection);
}

/** Asks for the next batches of a connection's queries if the client has taken what it got. */
export function continueRetained(shard: Shard, connection: Connection): void {
  const ids = connection.retainedQueries;
  if (ids === null || ids.size === 0) return;
  // The oldest query only; the next one begins when it is complete.
  const [id] = ids;
  const query = shard.retainedQueries.asked.get(id!);
  if (query === undefined || query.readyMask === 0) return;
  if (!isSubscribed(query)) {
    cancelQuery(shard, id!, query);
    ids.delete(id!);
    if (ids.size > 0) shard.dirtyQueries.push(connection);
    return;
  }
  if (!hasRoom(shard, connection)) return;
  const ready = query.readyMask;
  query.readyMask = 0;
  for (let peer = 0; peer < shard.shards; peer++) if ((ready & (1 << peer)) !== 0) askForBatch(shard, query, id!, peer);
}

function askForBatch(shard: Shard, query: Query, id: number, peer: number): void {
  const isFirst = (query.begunMask & (1 << peer)) === 0;
  query.begunMask |= 1 << peer;
  const filter = query.subscription.filter;
  if (peer === shard.index) {
    if (isFirst) beginScan(shard, peer, id, filter);
    else continueScan(shard, peer, id);
  } else if (!shard.mesh.links[peer]!.isLive) {
    endBatch(shard, peer, id, true);
  } else if (isFirst) {
    shard.mesh.sendControl(peer, { kind: 'retained-query', query: id, filter });
  } else {
    shard.mesh.sendControl(peer, { kind: 'retained-more', query: id });
  }
}

/** Whether the client has taken what it got. Where it has not, whatever makes room (the network, an acknowledgement, the end of the turn) asks again. */
function hasRoom(shard: Shard, connection: Connection): boolean {
  const session = connection.session;
  if (session === null || connection.isBlocked) return false;
  if (session.queue !== null && session.queue.count > 0) return false;
  if (connection.bufferedBytes <= shard.settings.limits.outboundBytes / 2) return true;
  // The output leaves at the end of this turn, and nobody reports that where the network takes it at once.
  shard.dirtyQueries.push(connection);
  return false;
}

/** The connection ends: its queries are void. */
export function cancelRetained(shard: Shard, connection: Connection): void {
  if (connection.retainedQueries === null) return;
  for (const id of connection.retainedQueries) {
    const query = shard.retainedQueries.asked.get(id);
    if (query !== undefined) cancelQuery(shard, id, query);
  }
  connection.retainedQueries = null;
}

/** Forgets a query, here and where it waits to be continued; a shard that is sending a batch is told when that batch ends. */
function cancelQuery(shard: Shard, id: number, query: Query): void {
  shard.retainedQueries.asked.delete(id);
  const waiting = query.readyMask & query.begunMask;
  for (let peer = 0; peer < shard.shards; peer++) if ((waiting & (1 << peer)) !== 0) cancel(shard, peer, id);
}

function cancel(shard: Shard, peer: number, id: number): void {
  if (peer === shard.index) cancelScan(shard, peer, id);
  else if (shard.mesh.links[peer]!.isLive) shard.mesh.sendControl(peer, { kind: 'retained-cancel', query: id });
}

/** A peer died: it will not answer any more. */
export function peerAnswersNoMore(shard: Shard, peer: number): void {
  for (const [id, query] of [...shard.retainedQueries.asked]) if ((query.openMask & (1 << peer)) !== 0) endBatch(shard, peer, id, true);
}
