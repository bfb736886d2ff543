/*
 * Shared Subscriptions: the members of one group in this shard and the choice of the one that gets a message, and before that, in the
 * publisher's shard, the choice of the shard by how many members each has.
 * An online member is always preferred to an offline one. Everything here takes the same time for one member as for a million.
 * Invariant: a member stands in exactly one of the lists `online` and `offline`, at the place that `places` names.
 */

import type { SharedStrategy } from '../base/settings.ts';
import type { Subscription } from './subscriptions.ts';

/** The members of the Shared Subscription `$share/{shareName}/{filter}` in one shard. */
export class ShareGroup<S extends object> {
  readonly shareName: string;
  readonly filter: string;
  /** `{shareName}/{filter}`, the group's name among shards. */
  readonly key: string;
  private readonly online: Subscription<S>[] = [];
  private readonly offline: Subscription<S>[] = [];
  /** Place of each member: n in `online` is n, n in `offline` is -1 - n. */
  private readonly places: Map<S, number> = new Map<S, number>();
  private turn = 0;
  private stuckTo: S | null = null;

  constructor(shareName: string, filter: string) {
    this.shareName = shareName;
    this.filter = filter;
    this.key = `${shareName}/${filter}`;
  }

  /** Number of members that are online. */
  get onlineCount(): number {
    return this.online.length;
  }

  /** Number of all members. */
  get memberCount(): number {
    return this.places.size;
  }

  /** The subscription of a member, or undefined. */
  get(subscriber: S): Subscription<S> | undefined {
    const place = this.places.get(subscriber);
    if (place === undefined) return undefined;
    return place < 0 ? this.offline[-1 - place] : this.online[place];
  }

  /** All members. The group may change while they are gone through: whoever stays is met, and whoever comes or goes online or offline perhaps twice. */
  get members(): IterableIterator<S> {
    return this.places.keys();
  }

  /** Whether this member is online. */
  isOnline(subscriber: S): boolean {
    return (this.places.get(subscriber) ?? -1) >= 0;
  }

  /** Adds a member or replaces its subscription. Returns true for a new member. */
  add(subscription: Subscription<S>, isOnline: boolean): boolean {
    const isNew = !this.take(subscription.subscriber);
    this.put(subscription, isOnline);
    return isNew;
  }

  /** Removes a member. Returns false when there is none. */
  remove(subscriber: S): boolean {
    if (this.stuckTo === subscriber) this.stuckTo = null;
    return this.take(subscriber) !== null;
  }

  /** Notes that a member came or went. Returns true where that changes the counts. */
  setOnline(subscriber: S, isOnline: boolean): boolean {
    const place = this.places.get(subscriber);
    if (place === undefined || place >= 0 === isOnline) return false;
    this.put(this.take(subscriber)!, isOnline);
    return true;
  }

  /** Visits the subscription of every member. The group must not change meanwhile. */
  visitAll(visit: (subscription: Subscription<S>) => void): void {
    for (let i = 0; i < this.online.length; i++) visit(this.online[i]!);
    for (let i = 0; i < this.offline.length; i++) visit(this.offline[i]!);
  }

  /**
   * The member that gets the next message, or undefined in an empty group. The hashes (those of `hash32`) are read by the strategies
   * that name them, and choose the same member as long as the group does not change.
   */
  pick(strategy: SharedStrategy, publisherHash: number, topicHash: number): Subscription<S> | undefined {
    const members = this.online.length > 0 ? this.online : this.offline;
    const count = members.length;
    if (count <= 1) return members[0];
    switch (strategy) {
      case 'round-robin':
        this.turn = this.turn + 1 < count ? this.turn + 1 : 0;
        return members[this.turn];
      case 'random':
        return members[Math.floor(Math.random() * count)];
      case 'hash-client-id':
        return members[publisherHash % count];
      case 'hash-topic':
        return members[topicHash % count];
      case 'sticky':
        return this.pickSticky(members);
    }
  }

  private pickSticky(members: Subscription<S>[]): Subscription<S> {
    const place = this.stuckTo === null ? undefined : this.places.get(this.stuckTo);
    if (place !== undefined && (place >= 0 || members === this.offline)) return place < 0 ? this.offline[-1 - place]! : this.online[place]!;
    const chosen = members[0]!;
    this.stuckTo = chosen.subscriber;
    return chosen;
  }

  private put(subscription: Subscription<S>, isOnline: boolean): void {
    const list = isOnline ? this.online : this.offline;
    this.places.set(subscription.subscriber, isOnline ? list.length : -1 - list.length);
    list.push(subscription);
  }

  /** Takes a member out of its list; the last of the list moves to its place. */
  private take(subscriber: S): Subscription<S> | null {
    const place = this.places.get(subscriber);
    if (place === undefined) return null;
    const list = place < 0 ? this.offline : this.online;
    const at = place < 0 ? -1 - place : place;
    const taken = list[at]!;
    const last = list.pop()!;
    if (last !== taken) {
      list[at] = last;
      this.places.set(last.subscriber, place);
    }
    this.places.delete(subscriber);
    return taken;
  }
}

/** What the publisher's shard remembers of one group between two messages. */
export class ShareState {
  /** Number of the next message in a round over all members. */
  turn = 0;
  /** Shard that `sticky` stays with, -1 before the first message. */
  shard = -1;
  /** Chooses the first shard of `sticky`: the same in every publishing shard, another one for another group. */
  readonly seed: number;

  constructor(seed: number) {
    this.seed = seed;
  }
}

/**
 * The shard whose member gets the next message, or -1 where no shard has any. `onlineCounts` and `memberCounts` hold one number for each
 * shard; online members count, and all members where none is online. Weights are exact: one round over all members visits each
 * shard as often as it has members (round-robin), and hashes are spread by the same weights.
 */
export function pickShard(
  onlineCounts: Int32Array,
  memberCounts: Int32Array,
  strategy: SharedStrategy,
  state: ShareState,
  publisherHash: number,
  topicHash: number,
): number {
  let counts = onlineCounts;
  let total = sum(counts);
  if (total === 0) {
    counts = memberCounts;
    total = sum(counts);
    if (total === 0) return -1;
  }
  switch (strategy) {
    case 'round-robin':
      state.turn = state.turn + 1 < total ? state.turn + 1 : 0;
      return shardOfMember(counts, state.turn);
    case 'random':
      return shardOfMember(counts, Math.floor(Math.random() * total));
    case 'hash-client-id':
      return shardOfMember(counts, publisherHash % total);
    case 'hash-topic':
      return shardOfMember(counts, topicHash % total);
    case 'sticky':
      if (state.shard < 0 || counts[state.shard]! === 0) state.shard = shardOfMember(counts, state.seed % total);
      return state.shard;
  }
}

function sum(counts: Int32Array): number {
  let total = 0;
  for (let shard = 0; shard < counts.length; shard++) total += counts[shard]!;
  return total;
}

/** The shard of member number `member` when members are numbered shard by shard. */
function shardOfMember(counts: Int32Array, member: number): number {
  let shard = 0;
  for (let left = member; left >= counts[shard]!; shard++) left -= counts[shard]!;
  return shard;
}
