/**
 * Subscribing on a client's behalf: what an operator decides for a client takes the same way as its own SUBSCRIBE, also while the client is away. Its statements are not asked
 * now; they are when it comes back (`endForbidden`).
 */
import { ReasonCode } from '../protocol/reason-code.ts';
import type { SubscribeEntry } from '../protocol/subscribe.ts';
import { addSubscription, removeSubscription, whenRoutesAreInstalled } from './on-subscribe.ts';
import { partsOf } from './parts.ts';
import { queryRetained } from './retained-query.ts';
import type { ClientSession, ClientSubscription, Shard } from './shard.ts';

/**
 * Subscribes a client of this shard. A client that is connected gets Retained Messages as the entry says; one that is away gets none.
 * @param identifier Subscription Identifier; 0: none
 * @param done called with the reason code that SUBACK would have: when all shards know, and it is as durable as was asked for
 */
export function subscribeFor(
  shard: Shard,
  session: ClientSession,
  entry: SubscribeEntry,
  identifier: number,
  done: (code: number) => void,
): void {
  const retained: ClientSubscription[] = [];
  const code = addSubscription(shard, session, entry, identifier, retained, null);
  if (code >= ReasonCode.UnspecifiedError) {
    done(code);
    return;
  }
  whenRoutesAreInstalled(shard, () => {
    const { connection } = session;
    if (connection !== null) for (const subscription of retained) queryRetained(shard, connection, subscription);
    shard.journal.whenCommitted(() => done(code));
  });
}

/** Ends a subscription of a client of this shard, on all its streams. @param done called with whether there was one, when that is as durable as was asked for */
export function unsubscribeFor(shard: Shard, session: ClientSession, filter: string, done: (existed: boolean) => void): void {
  let existed = false;
  for (const one of [session, ...partsOf(session)]) {
    const subscription = one.subscriptions?.get(filter);
    if (subscription === undefined) continue;
    existed = true;
    removeSubscription(shard, one, filter, subscription);
  }
  shard.journal.whenCommitted(() => done(existed));
}
