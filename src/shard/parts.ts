/**
 * Parts: where the journal looks for what a session holds. It knows a client by one session; what its data streams hold lies in parts of that (`streams.ts`).
 */
import { Session, type StoredHolder } from '../session/session.ts';
import type { ClientSession, ClientSubscription } from './shard.ts';

const NONE: readonly ClientSession[] = [];

/** The parts of a holder, one for each of its data streams. */
export function partsOf(holder: StoredHolder): readonly ClientSession[] {
  if (!(holder instanceof Session)) return NONE;
  const streams = (holder as ClientSession).connection?.streams;
  if (!streams) return NONE;
  const parts: ClientSession[] = [];
  for (const { session } of streams) if (session !== null) parts.push(session); // cold: few clients have streams
  return parts;
}

/** The subscription to a filter that the session has, or one of its data streams. */
export function subscriptionOf(root: ClientSession, filter: string): ClientSubscription | undefined {
  const own = root.subscriptions?.get(filter);
  if (own !== undefined) return own;
  for (const part of partsOf(root)) {
    const subscription = part.subscriptions?.get(filter);
    if (subscription !== undefined) return subscription;
  }
  return undefined;
}

/** Subscriptions of a client on all its streams, one for each filter. */
export function subscriptionsOf(root: ClientSession): ClientSubscription[] {
  const byFilter = new Map(root.subscriptions);
  for (const part of partsOf(root))
    for (const [filter, subscription] of part.subscriptions ?? []) if (!byFilter.has(filter)) byFilter.set(filter, subscription);
  return [...byFilter.values()];
}
