/*
 * Which shards want what: the same in every shard, kept up to date by what the shards tell each other on the first and last subscriber of
 * a filter. A publisher's shard asks it once for each message (or once for each topic, with a cache).
 * Adding twice and removing what is not there change nothing, so a shard may repeat itself, for instance after another one's restart.
 * A match is a snapshot that holds as long as `version` stays the same; the counts in its groups are live.
 */

import { utf8Bytes } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import { ShareState } from './share-group.ts';
import { TopicTree } from './topic-tree.ts';

/** Shards that fit into the mask of an InterestMatch. */
export const SHARDS_MAX = 31;

/** One Shared Subscription group over all shards. */
export class ShareInterest {
  readonly shareName: string;
  readonly filter: string;
  /** Members that are online, by shard. */
  readonly onlineCounts: Int32Array = new Int32Array(SHARDS_MAX);
  /** All members, by shard. */
  readonly memberCounts: Int32Array = new Int32Array(SHARDS_MAX);
  /** What `pickShard` keeps between messages. */
  readonly state: ShareState;
  /** UTF-8 of `{shareName}/{filter}`, which names the group to other shards. */
  readonly keyBytes: Uint8Array;

  constructor(shareName: string, filter: string) {
    this.shareName = shareName;
    this.filter = filter;
    this.keyBytes = utf8Bytes(`${shareName}/${filter}`);
    this.state = new ShareState(hash32(this.keyBytes, 0, this.keyBytes.length));
  }
}

/** Who wants a message on one topic. */
export class InterestMatch {
  /** Bit n is set when shard n has an ordinary subscription that matches. */
  shardMask = 0;
  /** Every group whose filter matches. */
  shares: ShareInterest[] = [];
}

/** What is wanted of one filter. */
class FilterInterest {
  readonly filter: string;
  shardMask = 0;
  shares: ShareInterest[] | null = null;

  constructor(filter: string) {
    this.filter = filter;
  }
}

/** The interest of all shards. */
export class InterestTree {
  /** Changes whenever a match may come out differently. */
  version = 0;
  private readonly tree: TopicTree<FilterInterest> = new TopicTree<FilterInterest>();
  private readonly found: FilterInterest[] = [];

  /** Number of filters that any shard wants. */
  get size(): number {
    return this.tree.size;
  }

  /** Whether any shard wants a filter below this first level. */
  hasBelow(level: string): boolean {
    return this.tree.hasBelow(level);
  }

  /** Shard `shard` wants messages that match `filter` for ordinary subscriptions. */
  add(filter: string, shard: number): void {
    const entry = this.entryOf(filter);
    const mask = entry.shardMask | (1 << shard);
    if (mask !== entry.shardMask) this.version++;
    entry.shardMask = mask;
  }

  /** Shard `shard` wants them no longer. */
  remove(filter: string, shard: number): void {
    const entry = this.tree.get(filter);
    if (entry === undefined || (entry.shardMask & (1 << shard)) === 0) return;
    entry.shardMask &= ~(1 << shard);
    this.version++;
    this.prune(entry);
  }

  /** Shard `shard` has so many members of a Shared Subscription group; `memberCount` 0 takes it out. */
  setShare(shareName: string, filter: string, shard: number, onlineCount: number, memberCount: number): void {
    let share = this.shareOf(shareName, filter);
    if (share === undefined) {
      if (memberCount === 0) return;
      share = new ShareInterest(shareName, filter);
      const entry = this.entryOf(filter);
      // A new array, because a match that was handed out may hold the old one.
      entry.shares = entry.shares === null ? [share] : [...entry.shares, share];
      this.version++;
    }
    share.onlineCounts[shard] = memberCount === 0 ? 0 : onlineCount;
    share.memberCounts[shard] = memberCount;
    if (memberCount === 0 && isEmpty(share.memberCounts)) this.removeShare(share);
  }

  /** The group over all shards, or undefined where it has no member. */
  shareOf(shareName: string, filter: string): ShareInterest | undefined {
    const shares = this.tree.get(filter)?.shares;
    if (shares === undefined || shares === null) return undefined;
    for (const share of shares) if (share.shareName === shareName) return share;
    return undefined;
  }

  /** Forgets everything of a shard that is gone. */
  clearShard(shard: number): void {
    const entries: FilterInterest[] = [];
    this.tree.visitAll((entry) => void entries.push(entry));
    for (const entry of entries) {
      if (entry.shares !== null) for (const share of entry.shares) this.setShare(share.shareName, share.filter, shard, 0, 0);
      this.remove(entry.filter, shard);
    }
  }

  /** Who wants a message on this topic. Valid as long as `version` stays the same. */
  match(topic: string): InterestMatch {
    const result = new InterestMatch();
    const found = this.found;
    this.tree.match(topic, found);
    for (const entry of found) {
      result.shardMask |= entry.shardMask;
      if (entry.shares !== null) result.shares = result.shares.length === 0 ? entry.shares : [...result.shares, ...entry.shares];
    }
    found.length = 0;
    return result;
  }

  /** Visits what one shard wants: ordinary filters with shareName '' and counts 0, groups with their counts in that shard. */
  forEachOf(shard: number, visit: (filter: string, shareName: string, onlineCount: number, memberCount: number) => void): void {
    this.tree.visitAll((entry) => {
      if ((entry.shardMask & (1 << shard)) !== 0) visit(entry.filter, '', 0, 0);
      if (entry.shares === null) return;
      for (const share of entry.shares) {
        const memberCount = share.memberCounts[shard]!;
        if (memberCount > 0) visit(entry.filter, share.shareName, share.onlineCounts[shard]!, memberCount);
      }
    });
  }

  private entryOf(filter: string): FilterInterest {
    let entry = this.tree.get(filter);
    if (entry === undefined) {
      entry = new FilterInterest(filter);
      this.tree.set(filter, entry);
    }
    return entry;
  }

  private removeShare(share: ShareInterest): void {
    const entry = this.tree.get(share.filter)!;
    const left = entry.shares!.filter((other) => other !== share);
    entry.shares = left.length === 0 ? null : left;
    this.version++;
    this.prune(entry);
  }

  private prune(entry: FilterInterest): void {
    if (entry.shardMask === 0 && entry.shares === null) this.tree.delete(entry.filter);
  }
}

function isEmpty(counts: Int32Array): boolean {
  for (let shard = 0; shard < counts.length; shard++) if (counts[shard] !== 0) return false;
  return true;
}
