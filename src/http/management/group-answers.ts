/**
 * What a shard answers about Shared Subscription groups: those that have members here, these members, and what waits for them.
 */
import { orderOf } from '../../base/byte-map.ts';
import type { ShareGroup } from '../../routing/share-group.ts';
import type { MessageQueue } from '../../session/message-queue.ts';
import type { GiveAnswer } from '../../shard/asks.ts';
import type { ClientSession, Shard } from '../../shard/shard.ts';
import { answerWhole, type Chunk, type ListAsk } from './chunk.ts';
import { inSlices } from './slices.ts';
import { Smallest } from './smallest.ts';

export interface GroupQuery {
  /** Share name; absent: all. */
  readonly group?: string | undefined;
}

export interface MemberQuery {
  readonly group: string;
  readonly filter: string;
}

/** Of up to a page of groups at once. */
export interface LagQuery {
  readonly groups: readonly { readonly name: string; readonly filter: string }[];
}

/** What waits for the members of a group on one shard. */
export interface GroupLag {
  /** Messages of the group that wait in queues. */
  readonly lag: number;
  /** Messages that its members have been sent and have not acknowledged, of all their subscriptions. */
  readonly inflight: number;
}

/** A group on one shard; the shards' parts are added up. */
export interface GroupFacts {
  readonly name: string;
  readonly filter: string;
  readonly members: number;
  readonly online: number;
}

type Group = ShareGroup<ClientSession>;

export function answerAboutGroups(shard: Shard): void {
  shard.asks.handle('group-list', (value, answer) => listGroups(shard, value as ListAsk<GroupQuery>, answer));
  shard.asks.handle('group-members', (value, answer) => listMembers(shard, value as ListAsk<MemberQuery>, answer));
  shard.asks.handle('group-lags', (value, answer) => sumLags(shard, (value as LagQuery).groups, answer));
}

function listGroups(shard: Shard, { after, limit, query }: ListAsk<GroupQuery>, answer: GiveAnswer): void {
  const found = new Smallest<Group>(limit, after);
  const groups = shard.subscriptions.shareGroups;
  eachOf(
    shard,
    groups,
    (group) => {
      if (query.group === undefined || query.group === group.shareName) found.add([0, group.shareName, group.filter], group);
    },
    (isComplete) => answerWhole(shard, isComplete, found, groupFacts, answer),
  );
}

function groupFacts({ shareName, filter, memberCount, onlineCount }: Group): GroupFacts {
  return { name: shareName, filter, members: memberCount, online: onlineCount };
}

function listMembers(shard: Shard, { after, limit, query }: ListAsk<MemberQuery>, answer: GiveAnswer): void {
  const found = new Smallest<ClientSession>(limit, after);
  const group = shard.subscriptions.groupOf(query.group, query.filter);
  if (group === undefined) {
    answer({ items: [], places: [], upTo: null } satisfies Chunk);
    return;
  }
  eachOf(
    shard,
    group.members,
    (session) => found.add([orderOf(session.hash), session.clientId, ''], session),
    (isComplete) => answerWhole(shard, isComplete, found, (session) => memberFacts(group, session), answer),
  );
}

function memberFacts(group: Group, session: ClientSession): object {
  const subscription = group.get(session);
  return {
    clientId: session.clientId,
    state: group.isOnline(session) ? 'connected' : 'disconnected',
    qos: subscription?.qos ?? 0,
    lag: lagOf(session.queue, group.key),
    inflight: session.inflight?.count ?? 0,
  };
}

/** Answers with one GroupLag for each group, in their order. */
function sumLags(shard: Shard, groups: LagQuery['groups'], answer: GiveAnswer): void {
  const lags = groups.map(() => ({ lag: 0, inflight: 0 }));
  const visit = function* (): Generator<void, undefined> {
    for (const [index, { name, filter }] of groups.entries()) {
      const group = shard.subscriptions.groupOf(name, filter);
      if (group === undefined) continue;
      const sum = lags[index]!;
      for (const session of group.members) {
        sum.lag += lagOf(session.queue, group.key);
        sum.inflight += session.inflight?.count ?? 0;
        yield;
      }
    }
    return undefined;
  };
  eachOf(
    shard,
    visit(),
    () => {},
    (isComplete) => answer(isComplete ? (lags satisfies GroupLag[]) : null),
  );
}

/** Messages of the group in a queue: all of them are in memory, because they may go to another member. */
function lagOf(queue: MessageQueue | null, key: string): number {
  if (queue === null || queue.count === 0) return 0;
  let lag = 0;
  for (let i = 0; i < queue.frontCount; i++) if (queue.at(i)!.sharedFilter === key) lag++;
  if (queue.pinned !== null) for (const { sharedFilter } of queue.pinned.values()) if (sharedFilter === key) lag++;
  return lag;
}

/** Goes through something that may be long, and may change meanwhile. */
function eachOf<T>(shard: Shard, all: Iterator<T>, visit: (one: T) => void, done: (isComplete: boolean) => void): void {
  inSlices(
    shard,
    () => {
      const { value, done: isOver } = all.next();
      if (isOver === true) return false;
      visit(value);
      return true;
    },
    done,
  );
}
