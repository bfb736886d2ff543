/**
 * Routes: how shards learn of each other's subscriptions. A shard tells its peers when the first subscriber of a filter comes and when the last one goes,
 * and every change in the members of a Shared Subscription. Each change has a number; peers answer with the highest one that they have installed.
 *
 * SUBACK waits for that answer, so that a message published anywhere after a SUBACK is seen by the new subscription.
 */
import { UNSUBSCRIBED_LAST } from '../routing/subscriptions.ts';
import { counter } from './counters.ts';
import type { ClientSubscription, Shard } from './shard.ts';

const SUBSCRIPTIONS = counter('subscriptions/count');
const SHARED = counter('subscriptions/shared/count');

/** Adds a subscription and tells the peers if the filter is new here. @param isOnline whether its client is connected */
export function install(shard: Shard, subscription: ClientSubscription, isOnline = true): void {
  const before = shard.subscriptions.count;
  const isFirst = shard.subscriptions.subscribe(subscription, isOnline);
  const added = shard.subscriptions.count - before;
  shard.counters[SUBSCRIPTIONS]! += added;
  if (subscription.shareName !== '') {
    shard.counters[SHARED]! += added;
    announceShare(shard, subscription.shareName, subscription.filter);
  } else if (isFirst) {
    announceFilter(shard, subscription.filter, true);
  }
}

/** Removes a subscription and tells the peers if it was the last of its filter here. */
export function withdraw(shard: Shard, subscription: ClientSubscription): void {
  const { shareName, filter } = subscription;
  const before = shard.subscriptions.count;
  const left = shard.subscriptions.unsubscribe(subscription.subscriber, filter, shareName);
  const removed = before - shard.subscriptions.count;
  shard.counters[SUBSCRIPTIONS]! -= removed;
  if (shareName !== '') {
    shard.counters[SHARED]! -= removed;
    announceShare(shard, shareName, filter);
  } else if (left === UNSUBSCRIBED_LAST) {
    announceFilter(shard, filter, false);
  }
}

function announceFilter(shard: Shard, filter: string, isWanted: boolean): void {
  if (shard.shards === 1) return;
  shard.routeSequence++;
  shard.mesh.broadcast({ kind: 'route', sequence: shard.routeSequence, filter, isWanted });
}

/** Tells everyone, this shard included, how many members a group has here. */
export function announceShare(shard: Shard, shareName: string, filter: string): void {
  const group = shard.subscriptions.groupOf(shareName, filter);
  const onlineCount = group === undefined ? 0 : group.onlineCount;
  const memberCount = group === undefined ? 0 : group.memberCount;
  shard.interest.setShare(shareName, filter, shard.index, onlineCount, memberCount);
  if (shard.shards === 1) return;
  shard.routeSequence++;
  shard.mesh.broadcast({ kind: 'share', sequence: shard.routeSequence, shareName, filter, onlineCount, memberCount });
}

/** Sends all routes of this shard to a peer that starts with none. Only the end bears the number: before that the peer has not installed them all. */
export function sendSnapshot(shard: Shard, peer: number): void {
  shard.subscriptions.forEachFilter((filter, shareName, onlineCount, memberCount) => {
    if (shareName === '') shard.mesh.sendControl(peer, { kind: 'route', sequence: 0, filter, isWanted: true });
    else shard.mesh.sendControl(peer, { kind: 'share', sequence: 0, shareName, filter, onlineCount, memberCount });
  });
  shard.mesh.sendControl(peer, { kind: 'snapshot-end', sequence: shard.routeSequence });
}

/** The highest route change that every live peer has installed. */
export function routesKnownByAll(shard: Shard): number {
  let known = shard.routeSequence;
  for (const link of shard.mesh.links) if (link?.isLive && link.routesKnownByPeer < known) known = link.routesKnownByPeer;
  return known;
}
