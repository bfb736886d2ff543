/**
 * Filter work: SUBSCRIBE and UNSUBSCRIBE packets with many Topic Filters, and the subscriptions of sessions that have ended, a few filters in each turn.
 *
 * A deep filter costs tens of microseconds, and one packet may hold thousands: all in one turn they would hold up every other client of the shard. So a turn has a
 * budget of filters. What is left of a packet waits, its connection is not read meanwhile, and those who wait take turns.
 */
import type { SubscribeEntry } from '../protocol/subscribe.ts';
import { CONNECTED, type Connection } from './connection.ts';
import { withdraw } from './routes.ts';
import type { ClientSubscription, Shard } from './shard.ts';

/** Filters handled in one turn, of all clients. The deepest ones take 20 µs each. */
export const FILTERS_PER_TURN = 48;
/** Of these for one packet that waits. */
const FILTERS_PER_STEP = 16;

/** One packet that has begun. Either `entries` or `filters` holds what was asked for. */
export class FilterWork {
  readonly connection: Connection;
  readonly packetId: number;
  /** Subscription Identifier of a SUBSCRIBE; 0: none. */
  readonly identifier: number;
  /** Of a SUBSCRIBE. */
  readonly entries: readonly SubscribeEntry[];
  /** Of an UNSUBSCRIBE. */
  readonly filters: readonly string[];
  /** A code for each filter that is done. */
  readonly codes: number[];
  /** Subscriptions that get Retained Messages afterwards. */
  readonly retained: ClientSubscription[];
  /** Record of the journal that must be committed; 0: none. */
  record: number;

  constructor(
    connection: Connection,
    packetId: number,
    identifier: number,
    entries: readonly SubscribeEntry[],
    filters: readonly string[],
  ) {
    this.connection = connection;
    this.packetId = packetId;
    this.identifier = identifier;
    this.entries = entries;
    this.filters = filters;
    this.codes = [];
    this.retained = [];
    this.record = 0;
  }

  get isDone(): boolean {
    return this.codes.length === this.entries.length + this.filters.length;
  }
}

/** Does as much as the turn has room for. @param advance handles that many filters of a packet, and answers it when it is done. */
export function beginFilters(shard: Shard, work: FilterWork, advance: (work: FilterWork, count: number) => void): void {
  take(shard, work, shard.filterBudget, advance);
  if (work.isDone) return;
  work.connection.waitForTurn();
  shard.filterWorks.push(work);
}

/** One turn of what waits. Called at the end of each turn. */
export function continueFilters(shard: Shard, advance: (work: FilterWork, count: number) => void): void {
  shard.filterBudget = FILTERS_PER_TURN;
  // First, and as many as others may then add: who subscribes and goes, again and again, must not leave more behind than is removed.
  withdrawSome(shard, FILTERS_PER_TURN / 2);
  for (let left = shard.filterWorks.count; left > 0 && shard.filterBudget > 0; left--) {
    const work = shard.filterWorks.shift()!;
    const { connection } = work;
    // What was subscribed stays with the session; nobody is left to hear of it.
    if (connection.state !== CONNECTED) continue;
    take(shard, work, FILTERS_PER_STEP, advance);
    if (work.isDone) connection.readOn();
    else shard.filterWorks.push(work);
  }
  withdrawSome(shard, shard.filterBudget);
}

function withdrawSome(shard: Shard, most: number): void {
  for (let left = most; left > 0; left--) {
    const last = shard.withdrawals.at(-1);
    if (last === undefined) return;
    shard.filterBudget--;
    withdraw(shard, last.pop()!);
    if (last.length === 0) shard.withdrawals.pop();
  }
}

function take(shard: Shard, work: FilterWork, most: number, advance: (work: FilterWork, count: number) => void): void {
  const before = work.codes.length;
  advance(work, Math.min(most, shard.filterBudget));
  shard.filterBudget -= work.codes.length - before;
}

/** Ends the subscriptions of a session that has ended: few at once, many turn by turn. It gets no message meanwhile. */
export function withdrawAll(shard: Shard, subscriptions: Iterable<ClientSubscription>): void {
  const later: ClientSubscription[] = [];
  for (const subscription of subscriptions) {
    // A group must not pick who has gone.
    if (subscription.shareName !== '') withdraw(shard, subscription);
    else later.push(subscription);
  }
  if (later.length <= FILTERS_PER_STEP) {
    for (const subscription of later) withdraw(shard, subscription);
    return;
  }
  shard.withdrawals.push(later);
  shard.startTurn();
}
