/**
 * Observe: copies of P2P messages for those who may look on. Their filters lie in the trees of ordinary subscriptions, below a level that no client can write, so
 * that neither `#` finds a P2P message nor an observer an ordinary one; peers learn of them as of any filter.
 *
 *   P2P message, taken by its target here → is anybody observing? → address below the hidden level → route → at the end of the turn: deliver, and to other shards
 *
 * The target's shard makes the copies, because it alone knows that the message was allowed and taken. They are messages of the broker itself: what becomes of them
 * changes nothing for the sender.
 *
 * Hot path.
 */
import { utf8Bytes, Writer } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import { type MessageView, RECEIPT_NONE } from '../protocol/publish.ts';
import { OBSERVED_LEVEL, observedFilter } from '../routing/observed-filter.ts';
import { NOT_P2P, P2pAddress, parseP2pTopic } from '../routing/p2p-address.ts';
import { keepMessage } from '../session/message.ts';
import { counter } from './counters.ts';
import { OwnPublication } from './own.ts';
import { RECORD_OBSERVED } from './record.ts';
import { deliverLocal, routeOf } from './route.ts';
import type { Shard } from './shard.ts';

const OBSERVED = counter('p2p/observed');
const DROPPED = counter('p2p/observed/dropped');

/** Copies that wait for the end of the turn, of one shard: a message to many targets is copied for each. */
const COPIES_BYTES_MAX = 32 * 1024 * 1024;

/** Stands for what a filter cannot name, only match by a wildcard: U+0000 is in no filter of a client [MQTT-1.5.4-2]. */
const UNNAMED = 0x00;
const PLUS = 0x2b;
const HASH = 0x23;
const TOPIC_BYTES_MAX = 65_535;

const prefixBytes = Buffer.from(observedFilter(''));
const middleBytes = Buffer.from('/p2p/');
/** User Property `p2p-observed: 1`, as on the wire. */
const markBytes = utf8Bytes('&\u0000\u000cp2p-observed\u0000\u00011');

const address = new P2pAddress();
const key = new Writer(256);
const topic = new Writer(256);
const properties = new Writer(1024);

/** Whether anybody observes, on any shard. */
export function hasObservers(shard: Shard): boolean {
  const version = shard.subscriptions.version + shard.interest.version;
  if (version !== shard.observersAsOf) {
    shard.observersAsOf = version;
    shard.isObserved = shard.subscriptions.hasBelow(OBSERVED_LEVEL) || shard.interest.hasBelow(OBSERVED_LEVEL);
  }
  return shard.isObserved;
}

/** Copies the message that the client id[at, end) has been given, for those who observe it. They get it at the end of the turn. */
export function copyForObservers(shard: Shard, view: MessageView, id: Uint8Array, at: number, end: number): void {
  const { topicBytes, topicAt, topicEnd } = view;
  // With a topic template the first level may be lost.
  const hasFirst =
    parseP2pTopic(address, topicBytes, topicAt, topicEnd) !== NOT_P2P &&
    shard.p2pParents.accepts(topicBytes, address.firstAt, address.firstEnd);
  let isTopic = hasFirst;
  key.reset();
  topic.reset();
  key.raw(prefixBytes, 0, prefixBytes.length);
  if (hasFirst) topic.raw(topicBytes, address.firstAt, address.firstEnd);
  else topic.u8(UNNAMED);
  topic.raw(middleBytes, 0, middleBytes.length);
  topic.raw(id, at, end);
  key.raw(topic.bytes, 0, topic.at);
  for (let i = key.at - (end - at); i < key.at; i++) {
    if (key.bytes[i] !== PLUS && key.bytes[i] !== HASH) continue;
    key.bytes[i] = UNNAMED;
    isTopic = false;
  }
  const route = routeOf(shard, key.bytes, 0, key.at, hash32(key.bytes, 0, key.at));
  if (route.local.matches.length === 0 && route.peerMask === 0) return;
  if (shard.observedBytes >= COPIES_BYTES_MAX) {
    shard.counters[DROPPED]!++;
    return;
  }
  shard.counters[OBSERVED]!++;
  properties.reset();
  properties.raw(view.propertyBytes, view.propertiesAt, view.propertiesEnd);
  properties.raw(markBytes, 0, markBytes.length);
  const copy = shard.keptView;
  copy.qos = view.qos;
  copy.isRetained = false;
  copy.receipt = RECEIPT_NONE;
  copy.trace = null;
  copy.expiresAt = view.expiresAt;
  copy.propertyBytes = properties.bytes;
  copy.propertiesAt = 0;
  copy.propertiesEnd = properties.at;
  copy.setPayload(view.payloadBytes, view.payloadAt, view.payloadEnd);
  isTopic &&= topic.at <= TOPIC_BYTES_MAX;
  copy.topicBytes = isTopic ? topic.bytes : topicBytes;
  copy.topicAt = isTopic ? 0 : topicAt;
  copy.topicEnd = isTopic ? topic.at : topicEnd;
  const own = new OwnPublication(shard, keepMessage(copy), '', '', NOTHING_ASKED);
  own.observed = Uint8Array.prototype.slice.call(key.bytes, 0, key.at); // cold: somebody observes
  shard.observedBytes += own.message.sizeBytes;
  shard.outbox.push(own);
}

const NOTHING_ASKED: readonly never[] = [];

/** Gives the copy that `view` shows to the observers of this shard and to the other shards that have some. */
export function routeToObservers(shard: Shard, view: MessageView, own: OwnPublication): void {
  const observed = own.observed!;
  shard.observedBytes -= own.message.sizeBytes;
  const hash = hash32(observed, 0, observed.length);
  const route = routeOf(shard, observed, 0, observed.length, hash);
  shard.newMessage();
  shard.kept = own.message;
  deliverLocal(shard, view, route, null);
  const fields = shard.recordFields;
  fields.topicHash = hash;
  fields.publisherHash = 0;
  fields.number = 0;
  fields.extraBytes = observed;
  fields.extraAt = 0;
  fields.extraEnd = observed.length;
  fields.originId = 0;
  fields.originPacketId = 0;
  for (let mask = route.peerMask; mask !== 0; mask &= mask - 1)
    shard.mesh.sendMessage(31 - Math.clz32(mask & -mask), RECORD_OBSERVED, view, fields, false, null, view.qos > 0);
  shard.newMessage();
}
