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
import type { Delivery } from '../session/delivery.ts';
import { INFLIGHT_RELEASED } from '../session/inflight.ts';
import { MessageQueue } from '../session/message-queue.ts';
import { Session } from '../session/session.ts';
import { abandonAcks, abandonAll } from './abandon.ts';
import type { Channel } from './channel.ts';
import { CLOSED, CLOSING, CONNECTED, Connection } from './connection.ts';
import { counter } from './counters.ts';
import { pump, pushQueued, removeInflight, takeQueued, watchExpiry } from './deliver.ts';
import { noteSubscribed, noteUnsubscribed } from './durable.ts';
import { receiptOf } from './receipt.ts';
import { cancelRetained } from './retained-query.ts';
import { install, withdraw } from './routes.ts';
import type { ClientSession, Shard } from './shard.ts';

const STREAMS = counter('streams/count');

/**
 * A client has opened one more stream. What comes on it waits until the client is connected.
 * @param control connection on the client's first stream, which is not closing; @param channel it is paused
 */
export function openStream(control: Connection, channel: Channel): Connection {
  assert(control.state < CLOSING, 'a client that goes opens no stream');
  const { shard } = control;
  const connection = new Connection(shard, channel, control.peer);
  connection.control = control;
  control.streams ??= [];
  control.streams.push(connection);
  shard.connections.add(connection);
  shard.counters[STREAMS]!++;
  if (control.state === CONNECTED) {
    beginStream(connection);
    channel.resume();
  } else connection.pauseReading();
  return connection;
}

/** The client is connected: its stream begins. */
export function beginStream(connection: Connection): void {
  const { shard } = connection;
  const control = connection.control!;
  const root = control.session!;
  const part: ClientSession = new Session(root.clientId, root.clientIdBytes, root.hash, root.version, shard.nextSessionId());
  part.root = root;
  part.username = root.username;
  part.connection = connection;
  connection.session = part;
  connection.version = control.version;
  connection.packetBytesMax = control.packetBytesMax;
  connection.receiveMaximum = control.receiveMaximum;
  connection.sendQuota = control.receiveMaximum;
  connection.wantsProblemInformation = control.wantsProblemInformation;
  // Nothing is said on a stream before the CONNACK, which may wait for the disk.
  connection.holdUntil = control.holdUntil;
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
    noteUnsubscribed(shard, root, filter);
    shard.events.sessionUnsubscribed(root, filter);
  }
  if (control.sendsP2pOnStreams) moveMessages(shard, part);
  abandonAll(shard, part, 'stream-ended');
  if (root.queue !== null && control.state === CONNECTED) pump(shard, root, control);
}

/** The connection of a client ends, and so do its streams. Called before its session is detached. */
export function endStreams(control: Connection): void {
  const { shard, streams } = control;
  if (streams === null) return;
  for (const connection of streams) {
    const part = leave(shard, connection);
    if (part !== null) endPart(shard, part);
    if (control.state === CLOSED) {
      connection.markClosed();
      shard.connections.delete(connection);
    } else connection.closeAfterFlush();
  }
  control.streams = null;
}

/** Separates a part from its stream. @returns it; null: the stream had not begun */
function leave(shard: Shard, connection: Connection): ClientSession | null {
  shard.counters[STREAMS]!--;
  const part = connection.session;
  if (part === null) return null;
  part.hasEnded = true;
  abandonAcks(connection, part);
  cancelRetained(shard, connection);
  return part;
}

/** The client's connection is over: what lives on goes to the root session. */
function endPart(shard: Shard, part: ClientSession): void {
  const { root, subscriptions } = part;
  const isKept = root.expirySeconds > 0;
  part.subscriptions = null;
  for (const [filter, subscription] of subscriptions ?? []) {
    if (isKept && root.subscriptions?.get(filter) === undefined) {
      const moved = { ...subscription, subscriber: root };
      root.subscriptions ??= new Map();
      root.subscriptions.set(filter, moved);
      install(shard, moved);
      // Another stream may have had other options for the same filter.
      noteSubscribed(shard, root, moved);
    }
    // Only now, so that the filter has a subscriber all the time.
    withdraw(shard, subscription);
  }
  if (isKept) moveMessages(shard, part);
  abandonAll(shard, part, 'connection-ended');
}

/** What the client has not acknowledged goes to the root's queue: in memory it comes before what is only referred to. The journal has it as the root's already. */
function moveMessages(shard: Shard, part: ClientSession): void {
  const { root, inflight, queue } = part;
  if (inflight === null && queue === null) return;
  root.queue ??= new MessageQueue();
  for (const packetId of inflight?.inOrder() ?? []) {
    const isReleased = inflight!.state(packetId) === INFLIGHT_RELEASED;
    const delivery = removeInflight(shard, inflight!, packetId);
    if (delivery === null) continue;
    if (!isReleased) moveDelivery(shard, root, delivery);
    else if (delivery.message.wantsReceipt) receiptOf(shard, delivery.message, root.clientId, 'acknowledged', root.isStored);
  }
  part.inflight = null;
  if (queue === null) return;
  for (let delivery = takeQueued(shard, queue); delivery !== undefined; delivery = takeQueued(shard, queue))
    moveDelivery(shard, root, delivery);
  root.queue.adoptRefs(queue);
  part.queue = null;
}

function moveDelivery(shard: Shard, root: ClientSession, delivery: Delivery): void {
  pushQueued(shard, root.queue!, delivery);
  if (delivery.message.wantsReceipt && delivery.message.expiresAt !== 0 && !delivery.hasExpired) watchExpiry(shard, root, delivery);
}
