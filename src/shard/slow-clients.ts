/**
 * SlowClients: the sessions of this shard that are furthest behind, found when somebody asks: a walk over all sessions, a few milliseconds in a turn, whose result
 * counts for a short time and for all who ask meanwhile.
 */
import type { ClientSession, Shard } from './shard.ts';

/** How long one turn goes on with the walk. */
const SLICE_MILLISECONDS = 2;
const SLICE_SESSIONS = 500;
const REMEMBERED_MILLISECONDS = 2000;

/** What a list is ordered by. */
export const SLOW_ORDERS = ['queuedMessages', 'queuedBytes', 'blockedMilliseconds', 'unacknowledgedMilliseconds'] as const;

export type SlowOrder = (typeof SLOW_ORDERS)[number];

export interface SlowClient {
  readonly clientId: string;
  readonly username: string | null;
  readonly shard: number;
  readonly state: 'connected' | 'disconnected';
  readonly address: string | null;
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  /** Since when its network takes nothing; 0: it does. */
  readonly blockedMilliseconds: number;
  /** Written to its connection and not taken yet. */
  readonly bufferedBytes: number;
  readonly inflight: number;
  /** Since its last acknowledgement, while messages wait for one; 0: none does. */
  readonly unacknowledgedMilliseconds: number;
}

/** What somebody asks for. */
export interface SlowAsked {
  readonly order: SlowOrder;
  readonly limit: number;
}

interface Walk {
  readonly asked: SlowAsked;
  readonly waiting: ((found: readonly SlowClient[]) => void)[];
  found: SlowClient[];
  /** Least value that gets into the list, once that is full. */
  least: number;
}

export class SlowClients {
  private readonly shard: Shard;
  /** By order and limit, those under way. */
  private readonly walks: Map<string, Walk>;
  private readonly known: Map<string, { readonly at: number; readonly found: readonly SlowClient[] }>;

  constructor(shard: Shard) {
    this.shard = shard;
    this.walks = new Map();
    this.known = new Map();
  }

  /** @param done called once, with those that are furthest behind, most first */
  find(asked: SlowAsked, done: (found: readonly SlowClient[]) => void): void {
    const key = `${asked.order} ${asked.limit}`;
    const known = this.known.get(key);
    if (known !== undefined && performance.now() - known.at < REMEMBERED_MILLISECONDS) {
      done(known.found);
      return;
    }
    const walk = this.walks.get(key);
    if (walk !== undefined) {
      walk.waiting.push(done);
      return;
    }
    this.begin(key, { asked, waiting: [done], found: [], least: 0 });
  }

  private begin(key: string, walk: Walk): void {
    const { shard } = this;
    this.walks.set(key, walk);
    // The first slice has the cursor 0; behind the last one it is negative.
    let next = 0;
    const step = (): void => {
      shard.startTurn();
      const end = performance.now() + SLICE_MILLISECONDS;
      while (next >= 0 && performance.now() < end)
        next = shard.sessions.scan(next, SLICE_SESSIONS, (session) => look(shard, walk, session));
      if (next >= 0 && !shard.isStopping) {
        setImmediate(step);
        return;
      }
      this.walks.delete(key);
      const found = sorted(walk);
      // Whoever asks for many different lists gets each of them new.
      if (this.known.size > 32) this.known.clear();
      this.known.set(key, { at: performance.now(), found });
      for (const done of walk.waiting) done(found);
    };
    step();
  }
}

function sorted({ asked, found }: Walk): readonly SlowClient[] {
  // A walk may come to a session twice.
  const once = new Map(found.map((one) => [one.clientId, one]));
  return [...once.values()].sort((a, b) => b[asked.order] - a[asked.order]).slice(0, asked.limit);
}

function look(shard: Shard, walk: Walk, session: ClientSession): void {
  const { queue, inflight, connection } = session;
  if (queue === null && inflight === null && connection?.isBlocked !== true) return;
  const now = shard.turnMilliseconds;
  const count = inflight?.count ?? 0;
  const one: SlowClient = {
    clientId: session.clientId,
    username: session.username ?? null,
    shard: shard.index,
    state: connection === null ? 'disconnected' : 'connected',
    address: connection?.peer.name ?? null,
    queuedMessages: queue?.count ?? 0,
    queuedBytes: queue?.bytes ?? 0,
    blockedMilliseconds: connection?.isBlocked === true ? Math.max(1, (now - connection.blockedAt) & 0x3fffffff) : 0,
    bufferedBytes: connection?.bufferedBytes ?? 0,
    inflight: count,
    unacknowledgedMilliseconds: connection !== null && count > 0 ? Math.max(1, (now - connection.acknowledgedAt) & 0x3fffffff) : 0,
  };
  const value = one[walk.asked.order];
  if (value <= walk.least) return;
  walk.found.push(one);
  // Sorted when there are twice as many as wanted, not for each.
  if (walk.found.length < walk.asked.limit * 2) return;
  walk.found = [...sorted(walk)];
  walk.least = walk.found.at(-1)![walk.asked.order];
}
