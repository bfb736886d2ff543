/**
 * Suspicion: what one client may do by accident a few times, and does many times only by mistake or on purpose. It is counted in windows of a minute, slowed at a
 * limit, and reported once in each window: a line of the log and `$events/client_suspected`.
 *
 *   two clients with one Client Identifier   → each takes over from the other for ever: the newcomer is refused
 *   messages to clients that nobody knows    → somebody tries which Client Identifiers there are: further P2P messages of the connection are refused
 */
import type { Connection } from './connection.ts';
import { counter } from './counters.ts';
import type { ClientSession, Shard } from './shard.ts';

const WINDOW_MILLISECONDS = 60_000;
/** Contested Client Identifiers that one shard remembers; at the limit the one that began first is forgotten. */
const CONTESTED_MAX = 10_000;
/** Characters of a name in a line of the log. */
const LOGGED_LENGTH = 128;

const CONTESTED = counter('takeovers/contested');
const TAKEOVERS_REFUSED = counter('takeovers/refused');
const SCANS = counter('p2p/scans');

/** What a report says beside the client: `count` is how often a minute it may do that. */
export interface SuspicionFacts {
  readonly suspicion: 'contested_client_id' | 'p2p_scan';
  readonly peername: string;
  /** Address of the connection that stays. */
  readonly holder?: string;
  readonly count: number;
}

/** How often something was done in the window that began at `since`. */
class Tally {
  since: number;
  count: number;

  constructor(since: number) {
    this.since = since;
    this.count = 0;
  }

  /** Begins anew when the window is over. @param now in milliseconds */
  look(now: number): void {
    // The clock may have been set back.
    if (now - this.since < WINDOW_MILLISECONDS && now >= this.since) return;
    this.since = now;
    this.count = 0;
  }
}

/** Takeovers of the last minute, by session identity. */
export class Takeovers {
  private readonly shard: Shard;
  private readonly tallies: Map<string, Tally>;

  constructor(shard: Shard) {
    this.shard = shard;
    this.tallies = new Map();
  }

  /**
   * Asked before the session gets another connection.
   * @param connection of the newcomer
   * @returns whether it is one too many: whoever holds the Client Identifier keeps it until the window is over
   */
  refuses(session: ClientSession, connection: Connection): boolean {
    const { shard, tallies } = this;
    const max = shard.settings.limits.takeoversPerMinute;
    const holder = session.connection;
    if (max === 0 || holder === null) return false;
    let tally = tallies.get(session.clientId);
    if (tally === undefined) {
      tally = new Tally(shard.timers.now);
      tallies.set(session.clientId, tally);
      if (tallies.size > CONTESTED_MAX) tallies.delete(tallies.keys().next().value!);
    }
    tally.look(shard.timers.now);
    tally.count++;
    if (tally.count <= max) return false;
    shard.counters[TAKEOVERS_REFUSED]!++;
    if (tally.count === max + 1) {
      shard.counters[CONTESTED]!++;
      const peer = connection.peer.name;
      suspect(shard, session, { suspicion: 'contested_client_id', peername: peer, holder: holder.peer.name, count: max });
    }
    return true;
  }
}

/** P2P messages of one connection that found nobody. */
export class Misses {
  private readonly tally: Tally;

  constructor(now: number) {
    this.tally = new Tally(now);
  }

  /** @returns whether there were too many in this window. @param max 0: there cannot be too many */
  isOver(now: number, max: number): boolean {
    this.tally.look(now);
    return max > 0 && this.tally.count > max;
  }

  /** One more. @returns whether it is the first that is too many */
  add(now: number, max: number): boolean {
    this.tally.look(now);
    this.tally.count++;
    return max > 0 && this.tally.count === max + 1;
  }
}

/** A P2P message of this connection went to a client that nobody knows, and its sender will learn it. */
export function noteMiss(from: Connection): void {
  // Data streams count as their client.
  const connection = from.control ?? from;
  const { shard, session } = connection;
  const { missesPerMinute } = shard.settings.p2p;
  if (connection.misses === null) connection.misses = new Misses(shard.timers.now);
  if (!connection.misses.add(shard.timers.now, missesPerMinute) || session === null) return;
  shard.counters[SCANS]!++;
  suspect(shard, session, { suspicion: 'p2p_scan', peername: connection.peer.name, count: missesPerMinute });
}

function suspect(shard: Shard, session: ClientSession, facts: SuspicionFacts): void {
  const name = session.clientId.slice(0, LOGGED_LENGTH);
  shard.clientLog.warn({ client: name, ...facts }, 'a client does too often what is rarely right');
  shard.events.clientSuspected(session, facts);
}
