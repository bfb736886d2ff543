/**
 * What a shard answers about subscriptions of its clients.
 */

import { orderOf } from '../../base/byte-map.ts';
import { filterMatches, parseShared } from '../../protocol/topic.ts';
import { filterOfObserver } from '../../routing/observed-filter.ts';
import type { GiveAnswer } from '../../shard/asks.ts';
import { partsOf } from '../../shard/parts.ts';
import type { ClientSession, ClientSubscription, Shard } from '../../shard/shard.ts';
import { answerFound, answerFromMap, type ListAsk } from './chunk.ts';
import { subscriptionOptions } from './client-facts.ts';
import { sessionOf } from './reply.ts';
import { Smallest } from './smallest.ts';

/** Which subscriptions are wanted; what is absent is any. */
export interface SubscriptionQuery {
  /** As the client wrote it, `$share/…` included. */
  readonly filter?: string | undefined;
  /** A topic that must match. */
  readonly topic?: string | undefined;
  readonly clientId?: string | undefined;
  /** Share name. */
  readonly group?: string | undefined;
}

interface Found {
  readonly clientId: string;
  readonly name: string;
  readonly subscription: ClientSubscription;
}

export function answerAboutSubscriptions(shard: Shard): void {
  shard.asks.handle('subscription-list', (value, answer) => listSubscriptions(shard, value as ListAsk<SubscriptionQuery>, answer));
}

function listSubscriptions(shard: Shard, ask: ListAsk<SubscriptionQuery>, answer: GiveAnswer): void {
  const { query } = ask;
  const find = (session: ClientSession, order: number, found: Smallest<Found>): void => {
    addSubscriptions(session, order, query, session, found);
    if (session.connection?.streams) for (const part of partsOf(session)) addSubscriptions(session, order, query, part, found);
  };
  const { clientId } = query;
  if (clientId === undefined) {
    answerFromMap<ClientSession, Found>(shard, shard.sessions, ask, find, described, answer);
    return;
  }
  const found = new Smallest<Found>(ask.limit, ask.after);
  const session = sessionOf(shard, clientId);
  if (session !== undefined) find(session, orderOf(session.hash), found);
  answerFound(shard, found, found.isFull ? found.last : null, described, answer);
}

/** @param holder the session, or the part of it that one stream has */
function addSubscriptions(
  session: ClientSession,
  order: number,
  query: SubscriptionQuery,
  holder: ClientSession,
  found: Smallest<Found>,
): void {
  const { subscriptions } = holder;
  if (subscriptions === null) return;
  const { clientId } = session;
  if (query.filter !== undefined) {
    const subscription = subscriptions.get(query.filter);
    if (subscription !== undefined && isWanted(subscription, query))
      found.add([order, clientId, query.filter], { clientId, name: query.filter, subscription });
    return;
  }
  for (const [name, subscription] of subscriptions)
    if (isWanted(subscription, query)) found.add([order, clientId, name], { clientId, name, subscription });
}

function isWanted({ filter, shareName }: ClientSubscription, { group, topic }: SubscriptionQuery): boolean {
  if (group !== undefined && shareName !== group) return false;
  return topic === undefined || (filterOfObserver(filter) === undefined && filterMatches(filter, topic));
}

function described({ clientId, name, subscription }: Found): string {
  const shared = parseShared(name);
  return JSON.stringify({ clientId, ...subscriptionOptions(name, subscription), topicFilter: shared ? shared.filter : name });
}
