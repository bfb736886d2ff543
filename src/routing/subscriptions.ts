/*
 * The subscriptions of one shard: who subscribes to what, and who gets a message on a topic. One subscriber appears once in a match,
 * however many of its filters match. Shared Subscriptions are kept here by group and never appear in a match.
 * A match is a snapshot: it holds as long as `version` stays the same, so that it can be cached by topic.
 */

import { ByteMap } from '../base/byte-map.ts';
import { utf8Bytes } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import { ShareGroup } from './share-group.ts';
import { TopicTree } from './topic-tree.ts';

/** One subscription of one subscriber, with the options of the SUBSCRIBE packet (3.8.3.1). Not changed after it was handed in. */
export interface Subscription<S> {
  readonly subscriber: S;
  /** Topic Filter, without `$share/{shareName}/`. */
  readonly filter: string;
  /** ShareName of a Shared Subscription, else ''. */
  readonly shareName: string;
  /** Maximum QoS, 0 … 2. */
  qos: number;
  noLocal: boolean;
  retainAsPublished: boolean;
  /** 0 … 2. */
  retainHandling: number;
  /** Subscription Identifier; 0: none. */
  identifier: number;
}

/** `unsubscribe` found nothing. */
export const NO_SUBSCRIPTION = 0;
/** `unsubscribe` removed a subscription; others of the same (shareName, filter) are left. */
export const UNSUBSCRIBED = 1;
/** `unsubscribe` removed the last subscription of its (shareName, filter) in this shard. */
export const UNSUBSCRIBED_LAST = 2;

/** What one subscriber gets of a message: once for the case that someone else published it, once for the case that it did so itself. */
export class Match<S> {
  readonly subscriber: S;
  /** Highest QoS of the matching subscriptions [MQTT-3.3.4-2]. */
  qos = -1;
  /** Retain As Published of any of them. */
  retainAsPublished = false;
  /** All Subscription Identifiers, the first `identifierCount` places [MQTT-3.3.4-3..5]. */
  identifiers: Uint32Array | null = null;
  identifierCount = 0;
  /** The same without the subscriptions that have No Local [MQTT-3.8.3-3]; -1 when nothing is left. */
  selfQos = -1;
  selfRetainAsPublished = false;
  selfIdentifiers: Uint32Array | null = null;
  selfIdentifierCount = 0;

  constructor(subscriber: S) {
    this.subscriber = subscriber;
  }

  /** Takes one more matching subscription of the subscriber in. */
  merge(subscription: Subscription<S>): void {
    const { qos, identifier } = subscription;
    if (qos > this.qos) this.qos = qos;
    if (subscription.retainAsPublished) this.retainAsPublished = true;
    if (identifier !== 0) this.identifiers = append(this.identifiers, this.identifierCount++, identifier);
    if (subscription.noLocal) return;
    if (qos > this.selfQos) this.selfQos = qos;
    if (subscription.retainAsPublished) this.selfRetainAsPublished = true;
    if (identifier !== 0) this.selfIdentifiers = append(this.selfIdentifiers, this.selfIdentifierCount++, identifier);
  }
}

/** Everybody in this shard who gets a message on one topic. */
export class TopicMatch<S> {
  readonly matches: Match<S>[] = [];
}

/** All subscribers of one filter: one on its own, a Map from the second on. */
class FilterEntry<S> {
  only: Subscription<S> | null = null;
  many: Map<S, Subscription<S>> | null = null;
}

/** The subscriptions of one shard. */
export class SubscriptionTree<S extends object> {
  /** Changes whenever a match may come out differently. */
  version = 0;
  /** Number of subscriptions, Shared Subscriptions included. */
  count = 0;
  private readonly tree: TopicTree<FilterEntry<S>> = new TopicTree<FilterEntry<S>>();
  /** Groups by `{shareName}/{filter}`; a ShareName holds no slash [MQTT-4.8.2-1]. */
  private readonly groups: Map<string, ShareGroup<S>> = new Map<string, ShareGroup<S>>();
  /** The same groups by the bytes of that name, for messages that come from another shard. */
  private readonly groupsByKey: ByteMap<ShareGroup<S>> = new ByteMap<ShareGroup<S>>();
  private readonly found: FilterEntry<S>[] = [];

  /**
   * Adds a subscription or replaces the one of the same subscriber, filter and share name [MQTT-3.8.4-3]. `isOnline` matters to Shared
   * Subscriptions. Returns true for the first subscription of this (shareName, filter) in the shard.
   */
  subscribe(subscription: Subscription<S>, isOnline = true): boolean {
    if (subscription.shareName !== '') return this.join(subscription, isOnline);
    this.version++;
    let entry = this.tree.get(subscription.filter);
    if (entry === undefined) {
      entry = new FilterEntry<S>();
      entry.only = subscription;
      this.tree.set(subscription.filter, entry);
      this.count++;
      return true;
    }
    if (entry.only !== null && entry.only.subscriber === subscription.subscriber) {
      entry.only = subscription;
      return false;
    }
    if (entry.many === null) {
      entry.many = new Map();
      entry.many.set(entry.only!.subscriber, entry.only!);
      entry.only = null;
    }
    if (!entry.many.has(subscription.subscriber)) this.count++;
    entry.many.set(subscription.subscriber, subscription);
    return false;
  }

  /** Removes a subscription. Returns NO_SUBSCRIPTION, UNSUBSCRIBED or UNSUBSCRIBED_LAST. */
  unsubscribe(subscriber: S, filter: string, shareName: string): number {
    if (shareName !== '') return this.leave(subscriber, filter, shareName);
    const entry = this.tree.get(filter);
    if (entry === undefined) return NO_SUBSCRIPTION;
    if (entry.many !== null) {
      if (!entry.many.delete(subscriber)) return NO_SUBSCRIPTION;
      if (entry.many.size === 1) {
        for (const left of entry.many.values()) entry.only = left;
        entry.many = null;
      }
      this.count--;
      this.version++;
      return UNSUBSCRIBED;
    }
    if (entry.only!.subscriber !== subscriber) return NO_SUBSCRIPTION;
    this.tree.delete(filter);
    this.count--;
    this.version++;
    return UNSUBSCRIBED_LAST;
  }

  /** Whether there is a filter below this first level. */
  hasBelow(level: string): boolean {
    return this.tree.hasBelow(level);
  }

  /** The subscription of a subscriber to exactly this (shareName, filter), or undefined. */
  get(subscriber: S, filter: string, shareName: string): Subscription<S> | undefined {
    if (shareName !== '') return this.groupOf(shareName, filter)?.get(subscriber);
    const entry = this.tree.get(filter);
    if (entry === undefined) return undefined;
    if (entry.many !== null) return entry.many.get(subscriber);
    return entry.only!.subscriber === subscriber ? entry.only! : undefined;
  }

  /** The group of a Shared Subscription in this shard, or undefined where it has no member here. */
  groupOf(shareName: string, filter: string): ShareGroup<S> | undefined {
    return this.groups.get(`${shareName}/${filter}`);
  }

  /** The group whose UTF-8 `{shareName}/{filter}` is `key[at, end)`, or undefined; makes no string. */
  groupOfKey(key: Uint8Array, at: number, end: number): ShareGroup<S> | undefined {
    return this.groupsByKey.get(key, at, end, hash32(key, at, end));
  }

  /** All groups with members in this shard. They may change while they are gone through. */
  get shareGroups(): IterableIterator<ShareGroup<S>> {
    return this.groups.values();
  }

  /** Everybody who gets a message on this topic by an ordinary subscription. Valid as long as `version` stays the same. */
  match(topic: string): TopicMatch<S> {
    const result = new TopicMatch<S>();
    const found = this.found;
    this.tree.match(topic, found);
    if (found.length === 1) {
      addAll(found[0]!, result.matches);
    } else if (found.length > 1) {
      const bySubscriber = new Map<S, Match<S>>();
      for (const entry of found) mergeAll(entry, bySubscriber, result.matches);
    }
    found.length = 0;
    return result;
  }

  /** Visits every (shareName, filter) of this shard; onlineCount and memberCount are 0 for ordinary filters. For a snapshot. */
  forEachFilter(visit: (filter: string, shareName: string, onlineCount: number, memberCount: number) => void): void {
    this.tree.visitAll((entry) => {
      const any = entry.only ?? entry.many!.values().next().value!;
      visit(any.filter, '', 0, 0);
    });
    for (const group of this.groups.values()) visit(group.filter, group.shareName, group.onlineCount, group.memberCount);
  }

  private join(subscription: Subscription<S>, isOnline: boolean): boolean {
    const key = `${subscription.shareName}/${subscription.filter}`;
    let group = this.groups.get(key);
    const isFirst = group === undefined;
    if (group === undefined) {
      group = new ShareGroup<S>(subscription.shareName, subscription.filter);
      this.groups.set(key, group);
      const keyBytes = utf8Bytes(key);
      this.groupsByKey.set(keyBytes, hash32(keyBytes, 0, keyBytes.length), group);
    }
    if (group.add(subscription, isOnline)) this.count++;
    return isFirst;
  }

  private leave(subscriber: S, filter: string, shareName: string): number {
    const group = this.groupOf(shareName, filter);
    if (group === undefined || !group.remove(subscriber)) return NO_SUBSCRIPTION;
    this.count--;
    if (group.memberCount > 0) return UNSUBSCRIBED;
    this.groups.delete(group.key);
    const keyBytes = utf8Bytes(group.key);
    this.groupsByKey.delete(keyBytes, 0, keyBytes.length, hash32(keyBytes, 0, keyBytes.length));
    return UNSUBSCRIBED_LAST;
  }
}

function addAll<S>(entry: FilterEntry<S>, matches: Match<S>[]): void {
  if (entry.only !== null) matches.push(matchOf(entry.only));
  else for (const subscription of entry.many!.values()) matches.push(matchOf(subscription));
}

function matchOf<S>(subscription: Subscription<S>): Match<S> {
  const match = new Match<S>(subscription.subscriber);
  match.merge(subscription);
  return match;
}

function mergeAll<S>(entry: FilterEntry<S>, bySubscriber: Map<S, Match<S>>, matches: Match<S>[]): void {
  if (entry.only !== null) mergeOne(entry.only, bySubscriber, matches);
  else for (const subscription of entry.many!.values()) mergeOne(subscription, bySubscriber, matches);
}

function mergeOne<S>(subscription: Subscription<S>, bySubscriber: Map<S, Match<S>>, matches: Match<S>[]): void {
  let match = bySubscriber.get(subscription.subscriber);
  if (match === undefined) {
    match = new Match<S>(subscription.subscriber);
    bySubscriber.set(subscription.subscriber, match);
    matches.push(match);
  }
  match.merge(subscription);
}

/** Writes `identifier` to place `count`, in a longer array where the old one is full. */
function append(identifiers: Uint32Array | null, count: number, identifier: number): Uint32Array {
  let list = identifiers;
  if (list === null) {
    list = new Uint32Array(1);
  } else if (count === list.length) {
    const longer = new Uint32Array(count * 2);
    longer.set(list);
    list = longer;
  }
  list[count] = identifier;
  return list;
}
