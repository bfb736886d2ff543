/**
 * Quotas: the scopes of one shard, who belongs to which, and the connections that wait for one.
 *
 *   CONNECT ── admitConnect ── joinGroup ── begin ──▶ Connection.quota ── asked for each PUBLISH (`quota-check.ts`)
 *   used up ── hold ──▶ waiting ── every quarter of a second: has it room? ──▶ read again, each a fair part of what is there
 *
 * A limit of one client is a bucket of its own; all others are pools that the shards share (`bucket.ts`). What is asked for each message is in `quota-check.ts`; nothing here is.
 * Invariant: a connection waits at most once, and `Scope.waiting` is how many of this shard wait for that scope.
 */
import { LineRate } from '../base/line-rate.ts';
import type { InboundQuotaSettings, QuotaSettings, RateSettings } from '../base/settings.ts';
import { SLOT_MILLISECONDS, Timer } from '../base/timers.ts';
import { Bucket, Limit, Pool } from './bucket.ts';
import { CONNECTED, type Connection } from './connection.ts';
import { counter } from './counters.ts';
import { maySend } from './quota-check.ts';
import { GroupTable } from './quota-groups.ts';
import { BYTES, CONNECTS, LISTENERS, MESSAGES, POOLS, SUBSCRIBES } from './quota-memory.ts';
import { ClientQuota, ConnectionQuota, type Group, Hold, Scope } from './quota-scope.ts';
import { resumeReading } from './receive.ts';
import type { Shard } from './shard.ts';

const THROTTLED = counter('quota/throttled');
const THROTTLED_NOW = counter('quota/throttled/connections');
const GROUPS = counter('quota/groups/count');
const GROUPS_REFUSED = counter('quota/groups/refused');
const GROUPS_OVERFLOW = counter('quota/groups/overflow');
const FORGOTTEN = counter('quota/forgotten');
const LOG_SUPPRESSED = counter('quota/log/suppressed');
const CONNECTS_REFUSED = counter('connections/refused/rate');

/** Clients that have gone and whose buckets are not full again; of more the oldest are forgotten. */
const DEPARTED_MAX = 16_384;
/** How often one client's excess of one scope is in the log. */
const LOG_MILLISECONDS = 60_000;
/** Lines of one shard in a second. */
const LINES_PER_SECOND = 10;

export class Quotas {
  private readonly shard: Shard;
  private readonly words: BigInt64Array;
  private readonly table: GroupTable;
  private settings: QuotaSettings;
  private client: Record<'messagesIn' | 'bytesIn' | 'messagesOut' | 'bytesOut' | 'subscribes', Limit | null>;
  private connects: Bucket | null;
  private broker: Scope | null;
  private subscribes: Scope | null;
  /** By place of the listener. */
  private listeners: (Scope | null)[];
  /** What clients without a group share, by the place of their listener. */
  private withoutGroup: (readonly Scope[] | undefined)[];
  /** Those that have connections on this shard. */
  private readonly groups: Map<string, Group>;
  /** By Client Identifier, oldest first. */
  private readonly departed: Map<string, ClientQuota>;
  /** Connections that are not read, in the order of their turns. */
  private readonly waiting: Set<Connection>;
  /** Connections whose queue waits until more may go out. */
  private readonly waitingOut: Set<Connection>;
  private readonly timer: Timer;
  /** Counts how often those who wait have been looked at. */
  private round: number;
  private readonly rate: LineRate;

  constructor(shard: Shard, shared: SharedArrayBuffer) {
    this.shard = shard;
    this.words = new BigInt64Array(shared, 0, POOLS);
    this.table = new GroupTable(shared, POOLS * 8, shard.index, shard.shards);
    this.connects = null;
    this.broker = null;
    this.subscribes = null;
    this.listeners = [];
    this.withoutGroup = [];
    this.groups = new Map();
    this.departed = new Map();
    this.waiting = new Set();
    this.waitingOut = new Set();
    this.round = 0;
    this.timer = new Timer(() => this.look());
    this.rate = new LineRate(LINES_PER_SECOND);
    this.settings = shard.settings.quotas;
    this.client = { messagesIn: null, bytesIn: null, messagesOut: null, bytesOut: null, subscribes: null };
    this.build();
  }

  /** Other limits hold from now on, for those who are connected too. What was used up of a shared limit stays used up. */
  replace(settings: QuotaSettings): void {
    const { shard } = this;
    shard.startTurn();
    const clients = [...shard.connections].filter((one) => one.state === CONNECTED && one.control === null && one.session !== null);
    const held = [...this.waiting];
    for (const connection of held) this.release(connection);
    for (const client of clients) this.leaveGroup(client.quota);
    for (const scope of [this.broker, this.subscribes, ...this.listeners]) scope?.close(shard.timers.now);
    this.connects?.close(shard.timers.now);
    this.departed.clear();
    this.settings = settings;
    this.build();
    for (const client of clients) {
      const session = client.session!;
      // Who is connected stays, even where its group may have fewer connections now.
      const group = this.enterGroup(session.username, client.identity?.attributes ?? {});
      this.begin(client, session.clientId, group);
      for (const stream of client.streams ?? []) stream.quota = client.quota;
    }
    for (const connection of shard.connections) connection.hold = null;
    for (const connection of held) shard.paused.add(connection);
  }

  /** Whether one more CONNECT may be handled now. One that may not is counted. */
  admitConnect(): boolean {
    const { connects, shard } = this;
    if (connects === null) return true;
    if (!connects.has(shard.timers.now, false)) {
      shard.counters[CONNECTS_REFUSED]!++;
      return false;
    }
    connects.spend(1);
    return true;
  }

  /**
   * The client joins its group. @param before the connection that it takes over, if there is one
   * @returns the group, null where it has none, or undefined: the group is full
   */
  joinGroup(
    username: string | undefined,
    attributes: Readonly<Record<string, string>>,
    before: Connection | null,
  ): Group | null | undefined {
    const group = this.enterGroup(username, attributes);
    const { connections } = this.settings.groups;
    if (group === null || connections === 0) return group;
    const { shards } = this.shard;
    const count = group.slot < 0 ? group.connections : this.table.count(group.slot);
    const max = group.slot < 0 ? Math.ceil(connections / shards) : connections;
    // A takeover adds no connection.
    if (count - (before?.quota?.group === group ? 1 : 0) <= max) return group;
    this.exitGroup(group);
    this.shard.counters[GROUPS_REFUSED]!++;
    return undefined;
  }

  /** A client is connected: its limits begin. */
  begin(connection: Connection, clientId: string, group: Group | null): void {
    const client = this.departed.get(clientId) ?? this.newClient();
    this.departed.delete(clientId);
    const shared = this.sharedBy(group, connection.peer.listener);
    const subscribes = [client?.subscribes, this.subscribes].filter(isThere);
    const isFree = client === null && group === null && shared.length === 0 && subscribes.length === 0;
    connection.quota = isFree ? null : new ConnectionQuota(client, group, shared, subscribes);
  }

  /** The connection of a client ends. */
  leave(connection: Connection, clientId: string): void {
    const { quota } = connection;
    if (quota === null) return;
    this.leaveGroup(quota);
    const { client } = quota;
    const { now } = this.shard.timers;
    this.forgetFull(now);
    if (client === null || client.isFull(now)) return;
    if (this.departed.size >= DEPARTED_MAX) {
      const [oldest] = this.departed.keys();
      this.departed.delete(oldest!);
      this.shard.counters[FORGOTTEN]!++;
    }
    this.departed.set(clientId, client);
  }

  /** Reading stops until `scope` has room. */
  hold(connection: Connection, scope: Scope): void {
    const { counters } = this.shard;
    const hold = connection.hold ?? new Hold(scope);
    connection.hold = hold;
    hold.scope = scope;
    hold.isWaiting = true;
    scope.waiting++;
    counters[THROTTLED]!++;
    counters[THROTTLED_NOW]!++;
    this.waiting.add(connection);
    connection.stopReading();
    this.watch();
  }

  /** The queue of the session waits until more may go out. */
  awaitSending(connection: Connection): void {
    this.waitingOut.add(connection);
    this.watch();
  }

  /** The connection is not read any more at all. */
  forget(connection: Connection): void {
    this.waitingOut.delete(connection);
    this.release(connection);
  }

  /** A line in the log, now and then. @param scope which limit is used up */
  report(connection: Connection, scope: string): void {
    const quota = connection.quota!;
    const { now } = this.shard.timers;
    const last = quota.logged?.get(scope);
    if (last !== undefined && now - last < LOG_MILLISECONDS) return;
    quota.logged ??= new Map();
    quota.logged.set(scope, now);
    if (!this.mayLog()) return;
    this.shard.log.info({ client: connection.session?.clientId, peer: connection.peer.name, scope }, 'over quota');
  }

  /** Whether there is room for one more line in this second. One for which there is none is counted. */
  mayLog(): boolean {
    if (this.rate.take(this.shard.timers.now)) return true;
    this.shard.counters[LOG_SUPPRESSED]!++;
    return false;
  }

  private build(): void {
    const { client, listeners, broker } = this.settings;
    this.client = {
      messagesIn: this.limit(client.messagesIn, null),
      bytesIn: this.limit(client.bytesIn, null),
      messagesOut: this.limit(client.messagesOut, null),
      bytesOut: this.limit(client.bytesOut, null),
      subscribes: this.limit(client.subscribeRate, null),
    };
    this.withoutGroup = [];
    this.connects = this.shared(broker.connectRate, CONNECTS);
    this.broker = this.scope('broker', broker, this.shared(broker.messagesIn, MESSAGES), this.shared(broker.bytesIn, BYTES));
    this.subscribes = subscribing('broker-subscribe', client, this.shared(broker.subscribeRate, SUBSCRIBES));
    this.listeners = listeners.map((one, index) => {
      const at = LISTENERS + 2 * index;
      return this.scope('listener', one, this.shared(one.messagesIn, at + MESSAGES), this.shared(one.bytesIn, at + BYTES));
    });
  }

  /** The same list for all clients of a group, or of none, on one listener. */
  private sharedBy(group: Group | null, listener: number): readonly Scope[] {
    const lists = group === null ? this.withoutGroup : group.shared;
    lists[listener] ??= [group?.scope, this.listeners[listener], this.broker].filter(isThere);
    return lists[listener];
  }

  private shared(rate: RateSettings | null, index: number): Bucket | null {
    return this.bucket(this.limit(rate, new Pool(this.words, index)));
  }

  private limit(rate: RateSettings | null, pool: Pool | null): Limit | null {
    return rate === null ? null : new Limit(rate, pool, this.shard.shards);
  }

  private bucket(limit: Limit | null): Bucket | null {
    return limit === null ? null : new Bucket(limit, this.shard.timers.now);
  }

  private scope(name: string, settings: InboundQuotaSettings, messages: Bucket | null, bytes: Bucket | null): Scope | null {
    return messages === null && bytes === null ? null : new Scope(name, settings, messages, bytes);
  }

  private newClient(): ClientQuota | null {
    const { client } = this.settings;
    const { messagesIn, bytesIn, messagesOut, bytesOut, subscribes } = this.client;
    if (Object.values(this.client).every((limit) => limit === null)) return null;
    return new ClientQuota(
      this.scope('client', client, this.bucket(messagesIn), this.bucket(bytesIn)),
      this.bucket(messagesOut),
      this.bucket(bytesOut),
      subscribing('client-subscribe', client, this.bucket(subscribes)),
    );
  }

  private groupName(username: string | undefined, attributes: Readonly<Record<string, string>>): string | undefined {
    const { by, messagesIn, bytesIn, connections } = this.settings.groups;
    if (by === null || (messagesIn === null && bytesIn === null && connections === 0)) return undefined;
    if (by.kind === 'username') return username;
    return Object.hasOwn(attributes, by.name) ? attributes[by.name] : undefined;
  }

  /** Counts one more connection of a group, which begins with its first. @returns null: the client belongs to none */
  private enterGroup(username: string | undefined, attributes: Readonly<Record<string, string>>): Group | null {
    const name = this.groupName(username, attributes);
    if (name === undefined) return null;
    const known = this.groups.get(name);
    if (known !== undefined) {
      known.connections++;
      if (known.slot >= 0) this.table.enter(known.slot);
      return known;
    }
    const { table, shard } = this;
    const { groups } = this.settings;
    const slot = table.join(name, shard.timers.now);
    if (slot < 0) shard.counters[GROUPS_OVERFLOW]!++;
    // Where the table is full each shard lets an equal part pass, which is less than the group may have but never more.
    const messages = slot < 0 ? this.limit(this.part(groups.messagesIn), null) : this.limit(groups.messagesIn, table.messages(slot));
    const bytes = slot < 0 ? this.limit(this.part(groups.bytesIn), null) : this.limit(groups.bytesIn, table.bytes(slot));
    const scope = this.scope('group', groups, this.bucket(messages), this.bucket(bytes));
    const group: Group = { name, slot, scope, connections: 1, shared: [] };
    this.groups.set(name, group);
    shard.counters[GROUPS]!++;
    return group;
  }

  private part(rate: RateSettings | null): RateSettings | null {
    const { shards } = this.shard;
    return rate === null ? null : { perSecond: rate.perSecond / shards, burst: rate.burst / shards };
  }

  private leaveGroup(quota: ConnectionQuota | null): void {
    if (quota !== null && quota.group !== null) this.exitGroup(quota.group);
  }

  /** One connection of a group less. */
  private exitGroup(group: Group): void {
    const { shard } = this;
    group.connections--;
    // The debt first: a place without connections and with full pools may be given to another name.
    if (group.connections === 0) {
      group.scope?.close(shard.timers.now);
      this.groups.delete(group.name);
      shard.counters[GROUPS]!--;
    }
    if (group.slot >= 0) this.table.leave(group.slot);
  }

  /** Of those who have gone, the oldest are looked at: who has all back need not be known. */
  private forgetFull(now: number): void {
    let looks = 2;
    for (const [clientId, client] of this.departed) {
      if (looks-- === 0 || !client.isFull(now)) return;
      this.departed.delete(clientId);
    }
  }

  private release(connection: Connection): void {
    const { hold } = connection;
    if (hold === null || !hold.isWaiting) return;
    hold.isWaiting = false;
    hold.scope.waiting--;
    this.waiting.delete(connection);
    this.shard.counters[THROTTLED_NOW]!--;
  }

  private watch(): void {
    // The next slot of the wheel, whatever is left of it.
    if (!this.timer.isArmed) this.shard.timers.arm(this.timer, 1);
  }

  /** Time has passed: whoever waits and has room goes on. Those who get nothing keep their places, the others go to the end. */
  private look(): void {
    const { shard } = this;
    const { now } = shard.timers;
    shard.startTurn();
    this.round++;
    for (const connection of [...this.waiting]) {
      const hold = connection.hold!;
      const { scope } = hold;
      if (!hold.isWaiting || !scope.has(now, false)) continue;
      if (scope.round !== this.round) {
        scope.round = this.round;
        divide(scope, !connection.quota!.subscribes.includes(scope), now);
      }
      hold.messages = scope.messagesEach;
      hold.bytes = scope.bytesEach;
      hold.until = now + SLOT_MILLISECONDS;
      this.release(connection);
      if (shard.isCongested || shard.isStopping || !shard.isServing) shard.paused.add(connection);
      else resumeReading(connection);
    }
    for (const connection of [...this.waitingOut]) {
      const { quota } = connection;
      if (quota !== null && !maySend(connection, quota, false)) continue;
      this.waitingOut.delete(connection);
      if (connection.state === CONNECTED) shard.connectionDrained(connection);
    }
    if (this.waiting.size > 0 || this.waitingOut.size > 0) this.watch();
  }
}

/** What each of those who wait for a scope may have of it in this round; one that waits alone may have all. */
function divide(scope: Scope, isAboutMessages: boolean, now: number): void {
  const { messages, bytes, waiting } = scope;
  const isShared = isAboutMessages && waiting > 1;
  scope.messagesEach = isShared && messages !== null ? Math.max(1, messages.available(now) / waiting) : Number.POSITIVE_INFINITY;
  scope.bytesEach = isShared && bytes !== null ? Math.max(1, bytes.available(now) / waiting) : Number.POSITIVE_INFINITY;
}

function subscribing(name: string, settings: InboundQuotaSettings, bucket: Bucket | null): Scope | null {
  return bucket === null ? null : new Scope(name, settings, bucket, null);
}

function isThere(scope: Scope | null | undefined): scope is Scope {
  return scope !== null && scope !== undefined;
}
