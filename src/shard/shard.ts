/**
 * Shard: everything that one thread owns. Sessions whose Client Identifier hashes here, their connections, subscriptions, retained topics, timers, and this
 * shard's ends of the rings. Nothing in it is locked, because no other thread ever touches it.
 *
 *   turn:  sockets are read (packets handled, output collected) → rings are drained → own messages are published → the journal's batch leaves →
 *          frames become visible to the peers → one write per connection → sleep, or the next turn
 *
 * The turn is the unit of batching: whatever was caused in it leaves at its end. It knows no transport; those add a `Connection` and call `receive`.
 */

import { assert } from '../base/assert.ts';
import { ByteMap } from '../base/byte-map.ts';
import { Writer } from '../base/bytes.ts';
import { Fifo } from '../base/fifo.ts';
import type { Log } from '../base/log.ts';
import type { MetricsSettings, Settings, TracingSettings } from '../base/settings.ts';
import { type Clock, SLOT_MILLISECONDS, TimerWheel } from '../base/timers.ts';
import { MessageIds } from '../journal/message-id.ts';
import { WRITERS_MAX } from '../journal/record.ts';
import { AckView } from '../protocol/ack.ts';
import { Frame } from '../protocol/framer.ts';
import { MessageView } from '../protocol/publish.ts';
import { InterestTree } from '../routing/interest.ts';
import { P2pAddress, P2pParents } from '../routing/p2p-address.ts';
import { RetainedStore } from '../routing/retained.ts';
import { type Subscription, SubscriptionTree } from '../routing/subscriptions.ts';
import { TopicCache } from '../routing/topic-cache.ts';
import { keepMessage, type Message } from '../session/message.ts';
import type { Session } from '../session/session.ts';
import type { AskedTarget } from '../session/will.ts';
import { AccessRenewal } from './access-renewal.ts';
import { flushAcks } from './acks.ts';
import { Asks } from './asks.ts';
import { Authorization } from './authorization.ts';
import { Blocked } from './blocked.ts';
import type { Peer } from './channel.ts';
import { ClientLog } from './client-log.ts';
import { Confirmations } from './confirmations.ts';
import type { Connection } from './connection.ts';
import { COUNTERS, counter, countersRow, LISTENERS_MAX, listenerCounter } from './counters.ts';
import { pump } from './deliver.ts';
import { Events } from './events.ts';
import { continueFilters, FILTERS_PER_TURN, type FilterWork } from './filter-work.ts';
import type { History } from './history.ts';
import { Images } from './images.ts';
import { handleRecord } from './inbound.ts';
import { Journal } from './journal.ts';
import type { LinkWiring } from './link.ts';
import { Logins } from './login.ts';
import { Mailboxes } from './mailbox.ts';
import { Measures } from './measures.ts';
import { Mesh } from './mesh.ts';
import { advanceFilters, type WaitingSuback } from './on-subscribe.ts';
import { Origins } from './origins.ts';
import { OtlpSpans } from './otlp-spans.ts';
import { Outcome } from './outcome.ts';
import { OutputBlocks } from './output-blocks.ts';
import { beginOwn, OwnPublication } from './own.ts';
import { publishOwn } from './publish-own.ts';
import { Quotas } from './quotas.ts';
import { resumeReading } from './receive.ts';
import type { RecentEvents } from './recent-events.ts';
import { RecordFields } from './record.ts';
import { Relays } from './relay.ts';
import type { RetainedMessage } from './retain.ts';
import { continueRetained, RetainedQueries } from './retained-query.ts';
import type { Route } from './route.ts';
import { routesKnownByAll } from './routes.ts';
import { SlowRoutes } from './slow-routes.ts';
import { Takeovers } from './suspicion.ts';
import { type MeteredPrefix, TopicMeters } from './topic-meters.ts';
import { Traces } from './tracing.ts';

/** A session as the shard knows it. */
export type ClientSession = Session<Connection, ClientSubscription>;
export type ClientSubscription = Subscription<ClientSession>;

const QUEUED_BYTES = counter('queued/bytes');
const INFLIGHT_BYTES = counter('inflight/bytes');
const OPENING = counter('connections/opening');
const CONNECTED = counter('clients/connected');
const BLOCKED = counter('connections/blocked');

/** Own messages (wills, events, receipts) published in one turn, at least; of many a quarter, so that a steady stream cannot pile them up. */
const OUTBOX_PER_TURN = 512;
/** Empty turns before a shard sleeps: a round trip between two sleeping threads takes 65 µs (native-bench/micro/ring.bench.ts). 0, 1, 2 and 4 cost alike under load. */
const IDLE_TURNS = 1;
/** How long a producer waits for room in a full ring before it looks again. */
const OVERFLOW_RETRY_MILLISECONDS = 1;
/** Numbers that one epoch has; 134 million for each shard. */
const EPOCH_IDS = 2 ** 32;
const EPOCH_COUNT_MAX = EPOCH_IDS / WRITERS_MAX - 1;
/** A new epoch is asked for when half of them are given out: at 2,000 numbers a second there are nine hours for the answer. */
const EPOCH_RENEWAL = EPOCH_COUNT_MAX >>> 1;
const CACHE_ENTRIES = 65_536;
const CACHE_BYTES = 32 * 1024 * 1024;

/** What a transport offers to the shard: taking over a socket that another shard has accepted. */
export type AdoptSocket = (fd: number, peer: Peer, read: Uint8Array) => void;

/** What the supervisor gives a shard. */
export interface ShardWiring {
  readonly index: number;
  readonly links: readonly (LinkWiring | null)[];
  /** One word for each shard: whether it sleeps. */
  readonly wake: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
  /** What all shards share of the quotas. */
  readonly quotas: SharedArrayBuffer;
  readonly measures: SharedArrayBuffer;
}

export class Shard {
  readonly index: number;
  readonly shards: number;
  readonly settings: Settings;
  readonly log: Log;
  readonly timers: TimerWheel;
  readonly counters: Float64Array;
  /** How long things take here. */
  readonly measures: Measures;
  /** Those of all threads, for whoever reads them. */
  readonly sharedMeasures: SharedArrayBuffer;
  readonly mesh: Mesh;
  readonly blocks: OutputBlocks;
  readonly startedAt: number;

  /** By UTF-8 of the Client Identifier. */
  readonly sessions: ByteMap<ClientSession>;
  readonly subscriptions: SubscriptionTree<ClientSession>;
  readonly interest: InterestTree;
  readonly routes: TopicCache<Route>;
  /** Null: nothing is measured. */
  topicMeters: TopicMeters | null;
  readonly retained: RetainedStore<RetainedMessage>;
  readonly retainedQueries: RetainedQueries;
  readonly mailboxes: Mailboxes;
  readonly relays: Relays;
  readonly events: Events;
  /** Questions of people to other shards and to the supervisor. */
  readonly asks: Asks;
  /** Who waits here for the acknowledgement of a client. */
  readonly confirmations: Confirmations;
  /** Topics whose messages cost most; null: they are not looked for. */
  slowRoutes: SlowRoutes | null;
  /** Spans of messages for a collector; null: nothing is traced. */
  otlp: OtlpSpans | null;
  readonly messageIds: MessageIds;
  /** Where messages are kept; null: nowhere. */
  history: History | null;
  /** What has happened to clients lately; null where nobody can ask. */
  recentEvents: RecentEvents | null;
  readonly traces: Traces;
  /** The same while a trace runs, else null. */
  tracing: Traces | null;
  /** There is a history, or a trace. */
  isWatched: boolean;
  readonly clientLog: ClientLog;
  readonly takeovers: Takeovers;
  readonly logins: Logins;
  readonly authorization: Authorization;
  readonly accessRenewal: AccessRenewal;
  readonly quotas: Quotas;
  /** Who may not connect. */
  readonly blocked: Blocked;
  readonly journal: Journal;
  readonly origins: Origins;
  /** Publications of the broker itself that other shards have not taken yet, by their number in the journal. */
  readonly pendingOwn: Map<number, OwnPublication>;
  readonly p2pParents: P2pParents;
  readonly p2pParentSet: '*' | ReadonlySet<string>;

  /** Route changes that this shard has told its peers. */
  routeSequence: number;
  readonly waitingSubacks: Fifo<WaitingSuback>;
  /** SUBSCRIBE and UNSUBSCRIBE packets that are not done; one for each connection at most. */
  readonly filterWorks: Fifo<FilterWork>;
  /** Subscriptions of sessions that have ended, as many as they had; they are removed turn by turn. */
  readonly withdrawals: ClientSubscription[][];
  /** Filters that this turn may still handle. */
  filterBudget: number;
  /** Messages that the broker itself publishes at the end of the turn: wills, events, receipts. */
  readonly outbox: Fifo<OwnPublication>;
  /** All live connections. */
  readonly connections: Set<Connection>;
  readonly dirty: Connection[];
  /** Connections whose retained queries wait for their next batch. */
  readonly dirtyQueries: Connection[];
  /** Connections that stopped reading. */
  readonly paused: Set<Connection>;
  isOverloaded: boolean;
  /** Whether anybody observes P2P messages, as of this version of the subscriptions. */
  isObserved: boolean;
  observersAsOf: number;
  /** Of copies for observers that wait for the end of the turn. */
  observedBytes: number;
  /** Bytes of first packets that are not whole yet. */
  admissionBytes: number;
  /** Milliseconds since the shard started, as of this turn, modulo 2^30: a small integer, so that storing it allocates nothing. */
  turnMilliseconds: number;
  /** PUBACK and PUBREC packets that this turn has written for PUBLISH packets of its own: they leave at its end, all at once. */
  acknowledged1: number;
  acknowledged2: number;
  /** P2P messages that went to other shards; one of many is timed. */
  hopCount: number;
  /** Called four times a second. */
  onBeat: () => void;
  isStopping: boolean;
  private hasStopped: boolean;
  /** Number of this start over the store; part of every session's number. */
  epoch: number;
  private sessionCount: number;
  adoptSocket: AdoptSocket;
  /** Set by the transport that has datagrams: takes one that another shard has received for a connection of this one; the bytes may be written over. */
  takeDatagram: (listener: number, bytes: Uint8Array, host: string, port: number) => void;
  /** The store has not given back everything yet. */
  isRecovering: boolean;
  /** The peers run already, and what they want must be known before this shard serves. */
  awaitsSnapshots: boolean;
  /** The peers take up what the store has for them: until their routes have come, what this shard publishes by itself would not be heard. */
  awaitsRoutes: boolean;
  /** What a recovery has left to do until then. */
  readonly whenRoutesAreKnown: (() => void)[];
  /** The shard takes clients. */
  isServing: boolean;
  /** Called when the shard may serve; may be called more than once. */
  onReady: () => void;

  // Reused objects of the hot path: one of each, because a shard does one thing at a time.
  readonly frame: Frame;
  readonly ackView: AckView;
  /** The message being routed. */
  readonly view: MessageView;
  /** A message that comes out of a queue, the retained store or the outbox. */
  readonly keptView: MessageView;
  readonly recordFields: RecordFields;
  readonly outcome: Outcome;
  readonly images: Images;
  readonly p2pAddress: P2pAddress;
  /** Properties of the message being routed, where some were removed. */
  readonly propertyScratch: Writer;
  /** Topic and properties of a P2P message, where the broker rewrites them. */
  readonly p2pScratch: Writer;
  /** The Subscription Identifier of one shared delivery. */
  readonly oneIdentifier: Uint32Array;
  /** Packets that are not PUBLISH. */
  readonly packetScratch: Writer;
  /** The Message made of the view being routed, if one was needed. */
  kept: Message | null;
  /** Where its entry begins in the open batch of the journal; -1: it has none. */
  keptEntryAt: number;
  /** Publisher's session of the QoS 2 message being routed, where it must be remembered (`origins.ts`): its number, negative when it is not stored; else 0. */
  originId: number;
  originPacketId: number;
  /** That message may have come before. */
  mayBeKnown: boolean;
  /** Then: holders that have been given it just now, which is no reason not to give it to another stream or group of theirs. */
  readonly givenNow: Set<number>;

  /** Rows of all shards. */
  readonly allCounters: Float64Array;
  private readonly rowWords: number;
  /** `timers.microseconds` at the beginning of the turn. */
  private turnBeganAt: number;
  private isTurnScheduled: boolean;
  private idleTurns: number;
  private readonly endTurnCallback: () => void;
  private readonly wakeCallback: () => void;
  private readonly heartbeat: NodeJS.Timeout;

  constructor(settings: Settings, wiring: ShardWiring, log: Log, clock: Clock = Date.now) {
    this.index = wiring.index;
    this.shards = wiring.links.length;
    this.settings = settings;
    this.log = log;
    this.timers = new TimerWheel(clock);
    this.startedAt = this.timers.now;
    this.counters = countersRow(wiring.counters, wiring.index);
    // What a predecessor of this shard had open is gone with its thread.
    for (const gauge of [QUEUED_BYTES, OPENING, CONNECTED, BLOCKED, ...GAUGES]) this.counters[gauge] = 0;
    this.measures = new Measures(wiring.measures, wiring.index);
    this.sharedMeasures = wiring.measures;
    this.allCounters = new Float64Array(wiring.counters);
    this.rowWords = this.allCounters.length / this.shards;
    this.mesh = new Mesh(wiring.index, wiring.links, wiring.wake, settings.limits.ringBytes, this.counters, (link, word, bytes, at, end) =>
      handleRecord(this, link, word, bytes, at, end),
    );
    this.blocks = new OutputBlocks();
    this.sessions = new ByteMap();
    this.subscriptions = new SubscriptionTree();
    this.interest = new InterestTree();
    this.routes = new TopicCache(CACHE_ENTRIES, CACHE_BYTES);
    this.topicMeters = null;
    this.retained = new RetainedStore();
    this.retainedQueries = new RetainedQueries();
    this.mailboxes = new Mailboxes(this);
    this.relays = new Relays(this);
    this.events = new Events(this);
    this.asks = new Asks(this);
    this.confirmations = new Confirmations(this);
    this.slowRoutes = slowRoutesOf(settings.metrics);
    this.otlp = otlpOf(this, settings.tracing);
    this.messageIds = new MessageIds(this.index);
    this.history = null;
    this.recentEvents = null;
    this.traces = new Traces(this);
    this.tracing = null;
    this.isWatched = false;
    this.clientLog = new ClientLog(this);
    this.takeovers = new Takeovers(this);
    this.logins = new Logins(this);
    this.journal = new Journal(this, settings.store, flushAcks);
    this.origins = new Origins(this.counters);
    this.pendingOwn = new Map();
    this.p2pParents = new P2pParents(settings.p2p.parents);
    this.p2pParentSet = settings.p2p.parents === '*' ? '*' : new Set(settings.p2p.parents);
    this.authorization = new Authorization(this, settings.authorization);
    this.accessRenewal = new AccessRenewal(this);
    this.quotas = new Quotas(this, wiring.quotas);
    this.blocked = new Blocked(this);
    this.routeSequence = 0;
    this.waitingSubacks = new Fifo();
    this.filterWorks = new Fifo();
    this.withdrawals = [];
    this.filterBudget = FILTERS_PER_TURN;
    this.outbox = new Fifo();
    this.connections = new Set();
    this.dirty = [];
    this.dirtyQueries = [];
    this.paused = new Set();
    this.isOverloaded = false;
    this.isObserved = false;
    this.observersAsOf = -1;
    this.observedBytes = 0;
    this.admissionBytes = 0;
    this.turnMilliseconds = 0;
    this.acknowledged1 = 0;
    this.acknowledged2 = 0;
    this.hopCount = 0;
    this.onBeat = () => {};
    this.turnBeganAt = 0;
    this.isStopping = false;
    this.hasStopped = false;
    this.epoch = 0;
    this.sessionCount = 0;
    this.adoptSocket = () => {
      throw new Error('no transport of this shard adopts sockets');
    };
    this.takeDatagram = () => {};
    this.isRecovering = false;
    this.awaitsSnapshots = false;
    this.awaitsRoutes = false;
    this.whenRoutesAreKnown = [];
    this.isServing = false;
    this.onReady = () => {};
    this.frame = new Frame();
    this.ackView = new AckView();
    this.view = new MessageView();
    this.keptView = new MessageView();
    this.recordFields = new RecordFields();
    this.outcome = new Outcome();
    this.images = new Images();
    this.p2pAddress = new P2pAddress();
    this.propertyScratch = new Writer(1024);
    this.p2pScratch = new Writer(1024);
    this.oneIdentifier = new Uint32Array(1);
    this.packetScratch = new Writer(1024);
    this.kept = null;
    this.keptEntryAt = -1;
    this.originId = 0;
    this.originPacketId = 0;
    this.mayBeKnown = false;
    this.givenNow = new Set();
    this.isTurnScheduled = false;
    this.idleTurns = 0;
    this.endTurnCallback = () => {
      this.isTurnScheduled = false;
      this.endTurn();
    };
    this.wakeCallback = () => {
      this.timers.tick();
      this.turnBeganAt = this.timers.microseconds;
      this.mesh.stayAwake();
      if (!this.isTurnScheduled) this.endTurn();
    };
    this.heartbeat = setInterval(() => {
      this.startTurn();
      // A Will, or the end of a session that shares: others must hear of it.
      if (this.knowsRoutes()) this.timers.advance();
      this.journal.cleaner?.tick(SLOT_MILLISECONDS);
      this.onBeat();
    }, SLOT_MILLISECONDS);
    this.heartbeat.unref();
  }

  /** Something happened: a turn runs, and its end is due. Every entry from outside calls this first. */
  startTurn(): void {
    if (this.isTurnScheduled) return;
    this.isTurnScheduled = true;
    this.turnMilliseconds = (this.timers.tick() - this.startedAt) & 0x3fffffff;
    this.turnBeganAt = this.timers.microseconds;
    this.mesh.stayAwake();
    setImmediate(this.endTurnCallback);
  }

  /**
   * Publishes a message of the broker's own at the end of the turn.
   * @param publisherId Client Identifier in whose name it speaks (a Will), '' for the broker
   * @param isStored whether it must come even after a crash
   * @param asked what its P2P targets must be asked
   */
  publishLater(message: Message, publisherId = '', isStored = false, asked: readonly AskedTarget[] = []): void {
    const mustLast = isStored && message.qos > 0 && this.journal.isOn;
    this.outbox.push(
      mustLast ? beginOwn(this, message, publisherId, '', asked) : new OwnPublication(this, message, publisherId, '', asked),
    );
  }

  /** A number for a session, a mailbox or a publication that no other has or had, also over restarts. */
  nextSessionId(): number {
    this.sessionCount++;
    if (this.sessionCount === EPOCH_RENEWAL) this.journal.renewEpoch();
    assert(this.sessionCount < EPOCH_COUNT_MAX, 'a new epoch begins before the numbers of this one run out');
    return this.epoch * EPOCH_IDS + this.sessionCount * WRITERS_MAX + this.index;
  }

  beginEpoch(epoch: number): void {
    this.epoch = epoch;
    this.sessionCount = 0;
  }

  /** Measures these topic prefixes from now on, and no others. */
  meter(prefixes: readonly MeteredPrefix[]): void {
    this.topicMeters = prefixes.length === 0 ? null : new TopicMeters(prefixes, this.topicMeters);
    // Routes know their meters.
    this.routes.clear();
  }

  /** Looks at messages in another way from now on; what was seen so far begins anew. */
  measureAnew(metrics: MetricsSettings | undefined, tracing: TracingSettings | undefined): void {
    if (metrics !== undefined) this.slowRoutes = slowRoutesOf(metrics);
    if (tracing === undefined) return;
    this.otlp?.flush();
    this.otlp = otlpOf(this, tracing);
  }

  /** Messages are kept from now on. */
  remember(history: History): void {
    this.history = history;
    this.isWatched = true;
  }

  /** @param tracing null: the last trace has ended */
  watch(tracing: Traces | null): void {
    this.tracing = tracing;
    this.isWatched = tracing !== null || this.history !== null;
    if (tracing === null) this.view.trace = null;
  }

  /** Another message begins: nothing of the last one is reused. */
  newMessage(): void {
    this.kept = null;
    this.keptEntryAt = -1;
  }

  /** The message being routed stays on this shard, so nothing of it need be remembered; but one that is sent again may be known from before. */
  forgetOrigin(): void {
    if (!this.mayBeKnown || this.origins.count === 0) this.originId = 0;
  }

  /** Connections stop reading while this is true. */
  get isCongested(): boolean {
    return this.mesh.isCongested || this.journal.isCongested;
  }

  /** The Message of the view being routed; made once, shared by all who keep it. */
  keep(view: MessageView): Message {
    if (this.kept === null) this.kept = keepMessage(view);
    return this.kept;
  }

  private endTurn(): void {
    // What comes from peers was sent after this turn began: by its clock a message would expire later than its publisher has said.
    if (this.shards > 1) this.timers.tick();
    const isMore = this.mesh.drain();
    this.publishOutbox();
    if (this.timers.isBehind && this.knowsRoutes()) this.timers.advance();
    this.continueQueries();
    continueFilters(this, advanceFilters);
    this.journal.endTurn();
    if (this.history !== null) this.history.endTurn();
    this.mesh.publish();
    this.flushDirty();
    this.measureTurn();
    this.isOverloaded = this.queuedBytesOfAll() > this.settings.limits.queuedBytesTotal;
    if (!this.isCongested && !this.isStopping && this.isServing) this.resumePaused();
    if (this.isTurnScheduled) return;
    if (
      isMore ||
      this.timers.isBehind ||
      this.dirty.length > 0 ||
      (this.outbox.count > 0 && this.knowsRoutes()) ||
      this.dirtyQueries.length > 0 ||
      this.filterWorks.count > 0 ||
      this.withdrawals.length > 0
    ) {
      this.idleTurns = 0;
      this.startTurn();
    } else if (this.shards > 1 && !this.hasStopped) {
      this.rest();
    }
  }

  /** One more reading of the clock for each turn is what the measures cost: 70 ns (native-bench/micro/measures.bench.ts). */
  private measureTurn(): void {
    const microseconds = this.timers.since(this.turnBeganAt);
    this.measures.turnEnded(microseconds);
    if (this.acknowledged1 > 0) this.measures.acknowledge1.add(microseconds, this.acknowledged1);
    if (this.acknowledged2 > 0) this.measures.acknowledge2.add(microseconds, this.acknowledged2);
    this.acknowledged1 = 0;
    this.acknowledged2 = 0;
  }

  /** Nothing is left to do: look a few times more, then sleep until a peer or a socket wakes the shard. */
  private rest(): void {
    if (this.mesh.hasWork) {
      this.idleTurns = 0;
      this.startTurn();
      return;
    }
    if (this.mesh.hasOverflow) {
      setTimeout(() => this.startTurn(), OVERFLOW_RETRY_MILLISECONDS);
    } else if (++this.idleTurns <= IDLE_TURNS) {
      this.startTurn();
      return;
    }
    this.idleTurns = 0;
    if (!this.mesh.sleep(this.wakeCallback)) this.startTurn();
  }

  /** Whether this shard knows what its peers want; while they take it up from the store, it waits with all that it does by itself. */
  private knowsRoutes(): boolean {
    if (!this.awaitsRoutes) return true;
    if (this.isRecovering) return false;
    for (const link of this.mesh.links) if (link?.isLive && !link.hasRecovered && !link.hasSnapshot) return false;
    this.awaitsRoutes = false;
    for (const todo of this.whenRoutesAreKnown.splice(0)) todo();
    return true;
  }

  private publishOutbox(): void {
    if (!this.knowsRoutes()) return;
    const count = Math.max(OUTBOX_PER_TURN, this.outbox.count >>> 2);
    for (let i = 0; i < count; i++) {
      const own = this.outbox.shift();
      if (own === undefined) return;
      publishOwn(this, own);
    }
  }

  private continueQueries(): void {
    const waiting = this.dirtyQueries.length;
    // Those that are asked in this pass may come back for the next turn.
    for (let i = 0; i < waiting; i++) continueRetained(this, this.dirtyQueries[i]!);
    if (waiting > 0) this.dirtyQueries.splice(0, waiting);
  }

  private flushDirty(): void {
    const dirty = this.dirty;
    // A flush may make another connection dirty only by closing, which flushes itself: the list is walked by index.
    for (let i = 0; i < dirty.length; i++) dirty[i]!.flush();
    dirty.length = 0;
  }

  private resumePaused(): void {
    this.relays.readOn();
    if (this.paused.size === 0) return;
    const paused = [...this.paused];
    this.paused.clear();
    for (const connection of paused) resumeReading(connection);
  }

  /** Calls `onReady` when this shard has its sessions and the routes of its peers, and they have its own. */
  checkReady(): void {
    if (this.isRecovering) return;
    if (this.awaitsSnapshots) {
      for (const link of this.mesh.links) if (link?.isLive && !link.hasSnapshot) return;
    }
    if (routesKnownByAll(this) >= this.routeSequence) this.onReady();
  }

  /** A connection that was blocked can take more. */
  connectionDrained(connection: Connection): void {
    const session = connection.session;
    if (session === null) return;
    pump(this, session, connection);
    continueRetained(this, connection);
  }

  private queuedBytesOfAll(): number {
    let sum = 0;
    for (let row = 0; row < this.allCounters.length; row += this.rowWords) {
      sum += this.allCounters[row + QUEUED_BYTES]! + this.allCounters[row + INFLIGHT_BYTES]!;
    }
    return sum;
  }

  /** Sum of one counter over all shards. */
  sumOfAll(index: number): number {
    let sum = 0;
    for (let at = index; at < this.allCounters.length; at += this.rowWords) sum += this.allCounters[at]!;
    return sum;
  }

  /** Stops the clock of the shard, which sleeps no more; the thread may end when its sockets are closed. */
  stopTimers(): void {
    this.hasStopped = true;
    this.journal.detach();
    clearInterval(this.heartbeat);
  }
}

/** Counters that go up and down, and therefore start at zero in a restarted shard. */
const GAUGES: readonly number[] = COUNTERS.map((name, index) => ({ name, index }))
  .filter(
    ({ name }) =>
      name === 'clients/total' ||
      name.endsWith('/count') ||
      name === 'retained/bytes' ||
      name.startsWith('queued/') ||
      name === 'inflight/bytes' ||
      name === 'routes/waiting' ||
      name === 'logins/waiting' ||
      name === 'asks/waiting' ||
      name === 'p2p/confirmations/waiting' ||
      name === 'http/waiting' ||
      name === 'quota/throttled/connections',
  )
  .map(({ index }) => index)
  .concat(Array.from({ length: LISTENERS_MAX }, (_, listener) => listenerCounter(listener)));

function slowRoutesOf({ routeSample }: MetricsSettings): SlowRoutes | null {
  return routeSample === 0 ? null : new SlowRoutes(routeSample);
}

function otlpOf(shard: Shard, tracing: TracingSettings): OtlpSpans | null {
  return tracing.otlp === '' ? null : new OtlpSpans(shard, tracing);
}
