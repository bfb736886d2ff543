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

/**
 * What counts of a client's subscriptions to one filter where there can be only one, in the journal and after the end of the connection: that of the session
 * itself, else the one with the highest QoS of its data streams.
 */
export function subscriptionOf(root: ClientSession, filter: string): ClientSubscription | undefined {
  let best = root.subscriptions?.get(filter);
  if (best !== undefined) return best;
  for (const part of partsOf(root)) {
    const subscription = part.subscriptions?.get(filter);
    if (subscription !== undefined && (best === undefined || subscription.qos > best.qos)) best = subscription;
  }
  return best;
}

/** The same for all filters. */
export function subscriptionsOf(root: ClientSession): ClientSubscription[] {
  const filters = new Set(root.subscriptions?.keys());
  for (const part of partsOf(root)) for (const filter of part.subscriptions?.keys() ?? []) filters.add(filter);
  return Array.from(filters, (filter) => subscriptionOf(root, filter)!);
}
