/**
 * Route: one message to everyone who wants it. Local subscribers, other shards, one member of each Shared Subscription group, and the retained store.
 *
 *   topic → cache → { local matches, mask of other shards, groups }     one lookup for a hot topic
 *
 * A cached route is void when any subscription here or any interest elsewhere has changed. What became of the message is gathered in `shard.outcome`.
 *
 * Hot path.
 */
import { readText } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import type { MessageView } from '../protocol/publish.ts';
import type { ShareInterest } from '../routing/interest.ts';
import { pickShard } from '../routing/share-group.ts';
import type { TopicMatch } from '../routing/subscriptions.ts';
import { counter } from './counters.ts';
import { deliver } from './deliver.ts';
import { hasMemberTaken } from './durable.ts';
import { DELIVERED, NO_SUBSCRIBER, QUEUED, TOO_LARGE } from './outcome.ts';
import { notePublish } from './passing.ts';
import { RECORD_PUBLISH, RECORD_SHARED } from './record.ts';
import { retain } from './retain.ts';
import type { ClientSession, Shard } from './shard.ts';
import { meterIn, meterOut, type TopicMeter } from './topic-meters.ts';

const NO_SUBSCRIBERS = counter('publish/dropped/no-subscriber');
const SENT = counter('publish/sent');
const QUEUED_COUNT = counter('publish/queued');
const DOLLAR = 0x24;

/** Where messages of one topic go; valid for one version of the subscriptions. */
export class Route {
  readonly version: number;
  readonly local: TopicMatch<ClientSession>;
  /** Other shards with ordinary subscriptions, a bit each. */
  readonly peerMask: number;
  readonly shares: readonly ShareInterest[];
  /** Of measured prefixes of the topic; null: none. */
  readonly meters: readonly TopicMeter[] | null;

  constructor(
    version: number,
    local: TopicMatch<ClientSession>,
    peerMask: number,
    shares: readonly ShareInterest[],
    meters: readonly TopicMeter[] | null,
  ) {
    this.version = version;
    this.local = local;
    this.peerMask = peerMask;
    this.shares = shares;
    this.meters = meters;
  }
}

/** The route of the topic bytes[at, end). */
export function routeOf(shard: Shard, bytes: Uint8Array, at: number, end: number, hash: number): Route {
  const version = shard.subscriptions.version + shard.interest.version;
  const known = shard.routes.get(bytes, at, end, hash, version);
  if (known !== undefined) return known;
  const topic = readText(bytes, at, end);
  const local = shard.subscriptions.match(topic);
  const interest = shard.interest.match(topic);
  const meters = shard.topicMeters === null ? null : shard.topicMeters.of(bytes, at, end);
  const route = new Route(version, local, interest.shardMask & ~(1 << shard.index), interest.shares, meters);
  shard.routes.put(bytes, at, end, hash, route, 96 + (end - at) + local.matches.length * 64);
  return route;
}

/**
 * Routes an ordinary message (not P2P).
 * @param publisher its session, for No Local; null when the broker publishes
 * The outcome has been begun by the caller.
 */
export function routeMessage(shard: Shard, view: MessageView, publisher: ClientSession | null): void {
  const hash = hash32(view.topicBytes, view.topicAt, view.topicEnd);
  routeBy(shard, view, publisher, hash, routeOf(shard, view.topicBytes, view.topicAt, view.topicEnd, hash));
}

/** The route of a topic that came lately, or undefined. Unlike `routeOf` it makes none: whoever asks may not be allowed to publish there. */
export function knownRoute(shard: Shard, view: MessageView, hash: number): Route | undefined {
  const version = shard.subscriptions.version + shard.interest.version;
  return shard.routes.get(view.topicBytes, view.topicAt, view.topicEnd, hash, version);
}

/** The same by the route of its topic. @param hash of the topic */
export function routeBy(shard: Shard, view: MessageView, publisher: ClientSession | null, hash: number, route: Route): void {
  shard.newMessage();
  if (route.meters !== null) meterIn(route.meters, view);
  if (shard.isWatched) notePublish(shard, view, publisher, hash, route);
  if (view.trace !== null) noteRoute(shard, view, route);
  // Only where other shards answer too can a part of the message be stored before its publisher's shard has noted it.
  if (route.peerMask === 0 && route.shares.length === 0 && !view.isRetained) shard.forgetOrigin();
  if (view.isRetained) retain(shard, view, hash);
  deliverLocal(shard, view, route, publisher);
  const outcome = shard.outcome;
  const publisherHash = publisher === null ? 0 : publisher.hash;
  if (route.peerMask !== 0) {
    const fields = shard.recordFields;
    fields.topicHash = hash;
    fields.publisherHash = publisherHash;
    fields.number = 0;
    fields.extraAt = 0;
    fields.extraEnd = 0;
    fields.originId = shard.originId;
    fields.originPacketId = shard.originPacketId;
    for (let mask = route.peerMask; mask !== 0; mask &= mask - 1) {
      const peer = 31 - Math.clz32(mask & -mask);
      const isTracked = view.qos > 0;
      const ack = isTracked ? outcome.expectAnswer(peer) : null;
      shard.mesh.sendMessage(peer, RECORD_PUBLISH, view, fields, false, ack, isTracked);
    }
  }
  for (let i = 0; i < route.shares.length; i++) routeToGroup(shard, view, route.shares[i]!, publisherHash, hash);
  if (route.peerMask === 0 && route.shares.length === 0 && !outcome.wasTaken && outcome.worst === 0) {
    outcome.note(NO_SUBSCRIBER);
    // Statistics and events that nobody reads are no loss.
    if (view.topicBytes[view.topicAt] !== DOLLAR) shard.counters[NO_SUBSCRIBERS]!++;
    if (view.trace !== null) shard.tracing?.received(view, 'dropped', '', view.qos, 'no_subscriber');
  }
  shard.newMessage();
}

/** Tells the traces of a message where it goes; the member of a group is picked later, on one of the shards that have some. */
function noteRoute(shard: Shard, view: MessageView, route: Route): void {
  let mask = route.peerMask;
  if (route.local.matches.length > 0) mask |= 1 << shard.index;
  for (let i = 0; i < route.shares.length; i++) {
    const counts = route.shares[i]!.memberCounts;
    for (let peer = 0; peer < counts.length; peer++) if (counts[peer]! > 0) mask |= 1 << peer;
  }
  shard.tracing?.routed(view, mask, '');
}

/** A subscriber that cannot take a packet of this size counts as served [MQTT-3.1.2-25]. */
function settled(result: number): number {
  return result === TOO_LARGE ? DELIVERED : result;
}

/** Delivers to the ordinary subscriptions of this shard. */
export function deliverLocal(shard: Shard, view: MessageView, route: Route, publisher: ClientSession | null): void {
  const matches = route.local.matches;
  const count = matches.length;
  if (count === 0) return;
  const outcome = shard.outcome;
  const { counters } = shard;
  let wanted = count;
  const takenBefore = route.meters === null ? 0 : counters[SENT]! + counters[QUEUED_COUNT]!;
  const isSampled = shard.slowRoutes?.isDue() === true;
  const begunAt = isSampled ? shard.timers.moment() : 0;
  if (count > 1) shard.images.begin();
  for (let i = 0; i < count; i++) {
    const match = matches[i]!;
    const session = match.subscriber;
    if (session.root.hasEnded) {
      // Its many subscriptions are still being removed.
      outcome.note(NO_SUBSCRIBER);
      wanted--;
      continue;
    }
    if (session.root === publisher) {
      // [MQTT-3.8.3-3]: No Local subscriptions do not count for their own client's messages.
      if (match.selfQos < 0) {
        wanted--;
        continue;
      }
      const qos = Math.min(view.qos, match.selfQos);
      const flag = view.isRetained && match.selfRetainAsPublished;
      outcome.note(settled(deliver(shard, session, view, qos, flag, match.selfIdentifiers, match.selfIdentifierCount, null)));
    } else {
      const qos = Math.min(view.qos, match.qos); // [MQTT-3.8.4-8]
      const flag = view.isRetained && match.retainAsPublished; // [MQTT-3.3.1-12] [MQTT-3.3.1-13]
      outcome.note(settled(deliver(shard, session, view, qos, flag, match.identifiers, match.identifierCount, null)));
    }
  }
  if (count > 1) shard.images.stop();
  if (route.meters !== null) meterOut(route.meters, view, counters[SENT]! + counters[QUEUED_COUNT]! - takenBefore, wanted);
  if (isSampled) shard.slowRoutes!.add(view, count, shard.timers.since(begunAt));
}

/** Sends the message to one member of a Shared Subscription: this shard picks the shard, that shard picks the member [MQTT-4.8.2-4]. */
export function routeToGroup(shard: Shard, view: MessageView, share: ShareInterest, publisherHash: number, topicHash: number): void {
  const outcome = shard.outcome;
  const strategy = shard.settings.mqtt.sharedStrategy;
  const owner = pickShard(share.onlineCounts, share.memberCounts, strategy, share.state, publisherHash, topicHash);
  if (owner < 0) return;
  if (owner === shard.index) {
    outcome.note(deliverToMember(shard, view, share.keyBytes, 0, share.keyBytes.length, publisherHash, topicHash));
    return;
  }
  const fields = shard.recordFields;
  fields.topicHash = topicHash;
  fields.publisherHash = publisherHash;
  fields.number = 0;
  fields.extraBytes = share.keyBytes;
  fields.extraAt = 0;
  fields.extraEnd = share.keyBytes.length;
  fields.originId = shard.originId;
  fields.originPacketId = shard.originPacketId;
  const isTracked = view.qos > 0;
  const ack = isTracked ? outcome.expectAnswer(owner) : null;
  shard.mesh.sendMessage(owner, RECORD_SHARED, view, fields, false, ack, isTracked);
  // Told to a redistribution, which does not wait; a publisher's acknowledgement waits for the other shard's answer.
  if (ack === null || ack.own !== null) outcome.wasTaken = true;
}

/** Delivers to one member of the group key[at, end) of this shard. @returns the result, NO_SUBSCRIBER when the group has none here */
export function deliverToMember(
  shard: Shard,
  view: MessageView,
  key: Uint8Array,
  at: number,
  end: number,
  publisherHash: number,
  topicHash: number,
): number {
  const group = shard.subscriptions.groupOfKey(key, at, end);
  if (group !== undefined && hasMemberTaken(shard, group)) return DELIVERED;
  const member = group === undefined ? undefined : group.pick(shard.settings.mqtt.sharedStrategy, publisherHash, topicHash);
  if (member === undefined) return NO_SUBSCRIBER;
  const qos = Math.min(view.qos, member.qos);
  const flag = view.isRetained && member.retainAsPublished;
  const identifiers = shard.oneIdentifier;
  identifiers[0] = member.identifier;
  const result = deliver(shard, member.subscriber, view, qos, flag, identifiers, member.identifier === 0 ? 0 : 1, group!.key);
  if (shard.topicMeters !== null) shard.topicMeters.given(view, result <= QUEUED);
  return settled(result);
}
