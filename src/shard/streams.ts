/**
 * Streams: the data streams of a client that has more than one over QUIC. Each is a connection of its own with a part of the client's session: subscriptions, Packet
 * Identifiers of both directions, order, window and queue.
 *
 *   control stream: Connection ── session ─▶ root session: identity, Will, expiry
 *        │ streams                             ▲ root
 *        └────▶ data stream: Connection ── session ─▶ part
 *
 *   a stream ends                → what it had is dropped; where P2P messages go out on streams it goes to the control stream, because they are among it
 *   the client's connection ends → subscriptions and what was not acknowledged go to the root session, if that lives on
 *
 * The journal knows the root only, so a crash is the same as the end of the connection. Invariant: a part has a connection as long as it lives, and is found
 * through `Connection.streams` of its root. Owned by one shard; nothing here runs per message.
 */
import { assert } from '../base/assert.ts';
import { RECEIPT_NONE } from '../protocol/publish.ts';
import { filterOfObserver } from '../routing/observed-filter.ts';
import type { Delivery } from '../session/delivery.ts';
import { INFLIGHT_RELEASED, type Inflight } from '../session/inflight.ts';
import { MessageQueue } from '../session/message-queue.ts';
import { Session } from '../session/session.ts';
import { OutboundAliases } from '../session/topic-alias.ts';
import { abandonAcks, abandonAll } from './abandon.ts';
import type { Channel } from './channel.ts';
import { CLOSED, CLOSING, CONNECTED, Connection } from './connection.ts';
import { counter } from './counters.ts';
import { dropDelivery, pump, pushQueued, removeInflight, takeQueued, watchExpiry } from './deliver.ts';
import { noteSettled, noteSubscription } from './durable.ts';
import { subscriptionsOf } from './parts.ts';
import { receiptOf } from './receipt.ts';
import { cancelRetained } from './retained-query.ts';
import { install, withdraw } from './routes.ts';
import type { ClientSession, ClientSubscription, Shard } from './shard.ts';

const STREAMS = counter('streams/count');
const DROPPED_FULL = counter('publish/dropped/queue-full');

/** Whether the client whose control stream this is may open one more. */
export function mayOpenStream(control: Connection): boolean {
  return control.state < CLOSING && !control.shard.isStopping;
}

/** Whether it has its CONNACK, which may wait for the disk. */
export function mayBeginStream(control: Connection): boolean {
  return control.state === CONNECTED && control.holdUntil <= control.shard.journal.committedRecord;
}

/**
 * A client has opened one more stream. What comes on it waits until the client has its CONNACK.
 * @param control connection on the client's first stream, which may open one; @param channel it is paused
 */
export function openStream(control: Connection, channel: Channel): Connection {
  assert(mayOpenStream(control), 'a client that goes opens no stream');
  const { shard } = control;
  const connection = new Connection(shard, channel, control.peer);
  connection.control = control;
  control.streams ??= [];
  control.streams.push(connection);
  shard.connections.add(connection);
  shard.counters[STREAMS]!++;
  if (mayBeginStream(control)) {
    beginStream(connection);
    channel.resume();
  } else connection.pauseReading();
  return connection;
}

/** The client is connected: its stream begins. */
export function beginStream(connection: Connection): void {
  const control = connection.control!;
  const root = control.session!;
  // A number it gets when it needs one, as a publisher of QoS 2: streams cost a client too little to have one each.
  const part: ClientSession = new Session(root.clientId, root.clientIdBytes, root.hash, root.version, 0);
  part.root = root;
  part.username = root.username;
  part.connection = connection;
  connection.session = part;
  connection.version = control.version;
  connection.access = control.access;
  connection.quota = control.quota;
  connection.userProperties = control.userProperties;
  connection.packetBytesMax = control.packetBytesMax;
  connection.receiveMaximum = control.receiveMaximum;
  connection.sendQuota = control.receiveMaximum;
  connection.wantsProblemInformation = control.wantsProblemInformation;
  if (control.outboundAliases !== null)
    connection.outboundAliases = new OutboundAliases(control.outboundAliases.maximum, connection.shard.settings.mqtt.topicAliasBytes);
  connection.state = CONNECTED;
}

/** A stream has ended, and its client goes on. */
export function endStream(connection: Connection): void {
  const { shard } = connection;
  const control = connection.control!;
  const streams = control.streams;
  if (streams === null) return;
  streams.splice(streams.indexOf(connection), 1);
  if (streams.length === 0) control.streams = null;
  const part = leave(shard, connection);
  if (part === null) return;
  const { root, subscriptions } = part;
  part.subscriptions = null;
  for (const [filter, subscription] of subscriptions ?? []) {
    withdraw(shard, subscription);
    noteSubscription(shard, root, filter);
    shard.events.sessionUnsubscribed(root, filter);
  }
  if (control.sendsP2pOnStreams) moveMessages(shard, root, [part]);
  abandonAll(shard, part, 'stream-ended');
  if (root.queue !== null && control.state === CONNECTED) pump(shard, root, control);
}

/** The connection of a client ends, and so do its streams. Called before its session is detached. */
export function endStreams(control: Connection): void {
  const { shard, streams, session: root } = control;
  if (streams === null) return;
  const subscriptions = root === null ? [] : subscriptionsOf(root);
  const parts: ClientSession[] = [];
  for (const connection of streams) {
    const part = leave(shard, connection);
    if (part !== null) parts.push(part);
    if (control.state === CLOSED) {
      connection.markClosed();
      shard.connections.delete(connection);
    } else connection.closeAfterFlush();
  }
  control.streams = null;
  if (root === null) return;
  // Of all parts before the next step: what one gives away must not come to another that ends as well.
  if (root.expirySeconds > 0) keepSubscriptions(shard, root, subscriptions);
  for (const part of parts) {
    for (const subscription of part.subscriptions?.values() ?? []) withdraw(shard, subscription);
    part.subscriptions = null;
  }
  if (root.expirySeconds > 0) moveMessages(shard, root, parts);
  for (const part of parts) abandonAll(shard, part, 'connection-ended');
}

/** Separates a part from its stream. @returns it; null: the stream had not begun */
function leave(shard: Shard, connection: Connection): ClientSession | null {
  shard.counters[STREAMS]!--;
  const part = connection.session;
  if (part === null) return null;
  part.hasEnded = true;
  abandonAcks(connection, part);
  cancelRetained(shard, connection);
  // Routes that are cached may hold the part for long.
  part.connection = null;
  return part;
}

/** The session lives on with one subscription for each filter. Those of its parts are still there, so that a filter has a subscriber all the time. */
function keepSubscriptions(shard: Shard, root: ClientSession, subscriptions: readonly ClientSubscription[]): void {
  for (const subscription of subscriptions) {
    if (subscription.subscriber === root) continue;
    const moved = { ...subscription, subscriber: root };
    root.subscriptions ??= new Map();
    root.subscriptions.set(keyOf(moved), moved);
    install(shard, moved);
  }
}

/** What the client has not acknowledged goes to the root's queue: in memory it comes before what is only referred to. The journal has it as the root's already. */
function moveMessages(shard: Shard, root: ClientSession, parts: readonly ClientSession[]): void {
  const queues: MessageQueue[] = [];
  for (const part of parts) {
    const { inflight, queue } = part;
    part.inflight = null;
    part.queue = null;
    if (inflight !== null) moveInflight(shard, root, inflight);
    if (queue === null) continue;
    queues.push(queue);
    for (let delivery = takeQueued(shard, queue); delivery !== undefined; delivery = takeQueued(shard, queue))
      moveDelivery(shard, root, delivery);
  }
  if (queues.some(({ refCount }) => refCount > 0)) {
    root.queue ??= new MessageQueue();
    root.queue.adoptRefs(queues);
  }
}

function moveInflight(shard: Shard, root: ClientSession, inflight: Inflight): void {
  const { limits } = shard.settings;
  for (const packetId of inflight.inOrder()) {
    const isReleased = inflight.state(packetId) === INFLIGHT_RELEASED;
    const delivery = removeInflight(shard, inflight, packetId);
    if (delivery === null) continue;
    if (isReleased) {
      if (delivery.message.receipt !== RECEIPT_NONE) receiptOf(shard, delivery.message, root.clientId, 'acknowledged', root.isStored);
    } else if (root.queue !== null && root.queue.count >= limits.queueMessages + limits.inflight) {
      // Stream after stream that takes its window and ends would make the queue grow without end.
      shard.counters[DROPPED_FULL]!++;
      noteSettled(shard, root, delivery);
      dropDelivery(shard, root, delivery, 'queue_full', 'dropped');
    } else moveDelivery(shard, root, delivery);
  }
}

function moveDelivery(shard: Shard, root: ClientSession, delivery: Delivery): void {
  root.queue ??= new MessageQueue();
  pushQueued(shard, root.queue, delivery);
  if (delivery.message.receipt !== RECEIPT_NONE && delivery.message.expiresAt !== 0 && !delivery.hasExpired)
    watchExpiry(shard, root, delivery);
}

/** As the client has written the filter. */
function keyOf({ filter, shareName }: ClientSubscription): string {
  return shareName === '' ? (filterOfObserver(filter) ?? filter) : `$share/${shareName}/${filter}`;
}
