/**
 * Broker: the supervisor on the main thread. It binds the listeners, starts the shards, wires them, restarts one that died, and stops all in order.
 * No client's message passes through it.
 *
 *   bind → start N threads → all ready → serve          a thread dies → detach it everywhere → new rings → new thread → snapshots → serve
 */
import { randomBytes } from 'node:crypto';
import type { Worker } from 'node:worker_threads';
import type { BlockRule } from '../access/block-rules.ts';
import { changeLogLevel, createLog, type Log, openLog } from '../base/log.ts';
import type { AuthSettings, Settings } from '../base/settings.ts';
import { type ClockOrigin, clockOrigin } from '../base/timers.ts';
import type { ApiKey } from '../http/api-key.ts';
import { counter } from '../shard/counters.ts';
import type { SupervisorEvent } from '../shard/events.ts';
import type { LinkWiring } from '../shard/link.ts';
import type { Login } from '../shard/login.ts';
import type { TraceDefinition } from '../shard/tracing.ts';
import { canHandOff, closeDescriptor, Transit } from '../transports/descriptor.ts';
import { limitHeads, loadWebSockets } from '../transports/u-web-sockets.ts';
import { AskDesk } from './ask-desk.ts';
import { AuditLog } from './audit-log.ts';
import { bindListeners, unbindListeners } from './bind-listener.ts';
import { CertificateWatch } from './certificate-watch.ts';
import type { LoadedConfig } from './config.ts';
import type { EarlyThread } from './early-thread.ts';
import { EarlyThreads, loadShard } from './early-threads.ts';
import { Editor } from './editor.ts';
import type { HistoryOwner } from './history-owner.ts';
import { LiveSettings, liveSections } from './live-settings.ts';
import type { LoginDesk, OpenLogin } from './login-desk.ts';
import { Observatory } from './observatory.ts';
import { ShardWorker } from './shard-worker.ts';
import { StartError } from './start-error.ts';
import type { StoreStart } from './store-link.ts';
import { openStore, type StoreOwner } from './store-owner.ts';
import { checkTransports, isHttp } from './transport-check.ts';
import { type WatchedFile, watchApiKeys, watchBlockRules } from './watched-file.ts';
import { type BoundListener, createLink, type FromShard, portsOf, type ShardStart, SharedMemory, type ToShard } from './wiring.ts';

const RESTARTS = counter('shard/restarts');
const AUDIT_DROPPED = counter('audit/dropped');
const AUDIT_SUPPRESSED = counter('audit/refusals/unwritten');
/** A shard that dies this often within the window has a fault that a restart does not mend. */
const RESTARTS_MAX = 5;
const RESTART_WINDOW_MILLISECONDS = 60_000;

/** A listener as it runs. */
export interface BrokerAddress {
  readonly type: string;
  readonly host: string;
  readonly port: number;
}

export interface Broker {
  readonly addresses: readonly BrokerAddress[];
  /** Stops accepting, tells v5 clients 0x8B, closes everything. Resolves when all is closed or `shutdown.timeout` has passed. */
  stop(): Promise<void>;
  /** Resolves with the exit code when the broker stops, also by itself. */
  readonly done: Promise<number>;
  /** Reads the configuration again, the certificates of all listeners, and what the authenticators read. */
  reload(): void;
  /** Ends one shard's thread as a fault would. For tests of the restart. */
  crashShard(index: number): void;
  /** Ends the history's thread as a fault would. For tests of the restart. */
  crashHistory(): void;
}

/**
 * Starts the broker.
 * @param readAgain reads the configuration again for `reload`; without it, its sections stay as they are
 * @param early threads that load already
 * @returns when every listener accepts connections
 * @throws StartError with one clear line when an address cannot be bound
 */
export async function startBroker(
  config: LoadedConfig,
  readAgain: () => Promise<LoadedConfig> = () => Promise.resolve(config),
  early: EarlyThreads = new EarlyThreads(),
): Promise<Broker> {
  try {
    return await startWith(early, config, readAgain);
  } finally {
    early.discard();
  }
}

async function startWith(early: EarlyThreads, config: LoadedConfig, readAgain: () => Promise<LoadedConfig>): Promise<Broker> {
  const { settings } = config;
  const log = createLog(settings.log.level, { shard: 'main' });
  let resolved = settings;
  if (!canHandOff() && settings.shards > 1) {
    log.warn({ shards: settings.shards }, 'this platform cannot hand sockets between threads: running with one shard');
    resolved = { ...settings, shards: 1 };
  }
  early.loadShards(resolved.shards);
  limitHeads();
  await checkTransports(resolved);
  const certificates = new CertificateWatch(resolved.listeners, log);
  for (const [index, listener] of resolved.listeners.entries()) {
    if (listener.type === 'quic') {
      const { judgeForQuic } = await import('../transports/quic-door.ts');
      certificates.judges.set(index, (files) => judgeForQuic(listener, files));
    }
    if (listener.type === 'wss' || listener.type === 'https') {
      const [{ tryLanes }, webSockets] = await Promise.all([import('../transports/secure-lanes.ts'), loadWebSockets()]);
      certificates.judges.set(index, (files) => tryLanes(webSockets, listener.tls!, files));
    }
  }
  await certificates.start();
  const blocks = watchBlockRules(resolved.auth.blocked, log);
  const hasHttp = resolved.listeners.some(isHttp);
  const apiKeys = hasHttp ? await watchApiKeys(resolved.http.apiKeys, log) : null;
  const { auditLog, auditLogBytes, auditLogFiles } = resolved.http;
  const audit = new AuditLog({ file: hasHttp ? auditLog : '', bytesMax: auditLogBytes, filesMax: auditLogFiles }, log);
  const live = new LiveSettings(config, readAgain, log);
  const bound = await bindListeners(resolved.listeners);
  const memory = new SharedMemory(resolved.shards);
  let desk: LoginDesk | null = null;
  let history: HistoryOwner | null = null;
  let supervisor: Supervisor;
  try {
    if (resolved.auth.hasJudges) desk = await openDesk(resolved.auth, log);
    const opening = resolved.store.enabled ? openStore(early.store, resolved.store, resolved.shards, memory.measures, log) : null;
    // The supervisor would wait for the store now, and will say that it listens.
    if (resolved.log.level !== 'silent') openLog(log);
    const store = await opening;
    if (resolved.history.enabled) {
      const { openHistory } = await import('./history-owner.ts');
      history = await openHistory(resolved.history, resolved.shards, log);
    }
    supervisor = new Supervisor(resolved, live, bound, memory, log, store, history, certificates, blocks, apiKeys, audit, desk);
    await supervisor.start(early);
  } catch (error) {
    unbindListeners(resolved.listeners, bound);
    await desk?.stop();
    await history?.close(resolved.shutdown.timeoutMilliseconds);
    throw error;
  }
  for (const address of supervisor.addresses) log.info(address, 'listening');
  if (apiKeys !== null && apiKeys.file !== '' && apiKeys.current.length === 0)
    log.info(
      { run: `onehop apikey add NAME --role admin --file ${apiKeys.file}` },
      'there is no API key: nobody can use the HTTP API by one',
    );
  return supervisor;
}

/** What judges logins is loaded only where there is something to judge them by. @throws StartError with one clear line */
async function openDesk(settings: AuthSettings, log: Log): Promise<LoginDesk> {
  const { LoginDesk: Desk } = await import('./login-desk.ts');
  return new Desk(settings, log);
}

class Supervisor implements Broker {
  addresses: readonly BrokerAddress[];
  readonly done: Promise<number>;
  private readonly store: StoreOwner | null;
  private readonly history: HistoryOwner | null;
  private readonly certificates: CertificateWatch;
  private readonly blocks: WatchedFile<BlockRule>;
  /** Null: nothing speaks HTTP. */
  private readonly apiKeys: WatchedFile<ApiKey> | null;
  private readonly asks: AskDesk;
  /** Traces that a shard is told of when it is started anew. */
  private runningTraces: () => readonly TraceDefinition[];
  private readonly editor: Editor;
  private readonly audit: AuditLog;
  private readonly observatory: Observatory;
  private readonly desk: LoginDesk | null;
  private readonly ticketSecret: Uint8Array;
  private readonly quicSecret: Uint8Array;
  /** As the broker has started; `live` has what has changed since. */
  private readonly settings: Settings;
  private readonly live: LiveSettings;
  private readonly bound: BoundListener[];
  private readonly log: Log;
  private readonly memory: SharedMemory;
  private readonly transit: Transit;
  private readonly clock: ClockOrigin;
  private readonly threads: ShardWorker[];
  /** Called for every message of a shard, and with null for its end; removes itself by returning true. */
  private readonly waiters: Set<(index: number, message: FromShard | null) => boolean>;
  /** Restarts run one after the other. */
  private restarts: Promise<void>;
  private settlements: number;
  private finish: (code: number) => void;
  private isStopping: boolean;
  private hasStarted: boolean;

  constructor(
    settings: Settings,
    live: LiveSettings,
    bound: BoundListener[],
    memory: SharedMemory,
    log: Log,
    store: StoreOwner | null,
    history: HistoryOwner | null,
    certificates: CertificateWatch,
    blocks: WatchedFile<BlockRule>,
    apiKeys: WatchedFile<ApiKey> | null,
    audit: AuditLog,
    desk: LoginDesk | null,
  ) {
    this.store = store;
    this.history = history;
    this.settings = settings;
    this.bound = bound;
    this.log = log;
    this.addresses = settings.listeners.map(({ type, host, path }, index) => ({
      type,
      host: host === '' ? path : host,
      port: bound[index]!.port,
    }));
    this.certificates = certificates;
    certificates.changed = (listener, files) => {
      for (const thread of this.threads) if (thread.isRunning) thread.tell({ kind: 'certificates', listener, files });
    };
    this.blocks = blocks;
    blocks.changed = (rules) => this.tellAll({ kind: 'block-rules', rules });
    this.apiKeys = apiKeys;
    if (apiKeys !== null) apiKeys.changed = (keys) => this.tellAll({ kind: 'api-keys', keys });
    this.asks = new AskDesk(log);
    this.runningTraces = () => [];
    this.audit = audit;
    this.desk = desk;
    this.live = live;
    live.changed = (change) => {
      if (change.log !== undefined) changeLogLevel(log, change.log.level);
      this.observatory.replace(change);
      this.tellAll({ kind: 'settings', change });
    };
    this.ticketSecret = randomBytes(48);
    this.quicSecret = randomBytes(32);
    this.memory = memory;
    const counters = new Float64Array(this.memory.counters);
    this.editor = new Editor(log, counters);
    audit.dropped = () => {
      counters[AUDIT_DROPPED]!++;
    };
    audit.suppressed = () => {
      counters[AUDIT_SUPPRESSED]!++;
    };
    desk?.attach({
      revoked: (authenticator, proofs) => this.tellAll({ kind: 'revoked', authenticator, proofs }),
      judgesChanged: () => this.tellAll({ kind: 'judges' }),
      propertiesChanged: (authenticator, changes) => this.tellAll({ kind: 'user-properties', authenticator, changes }),
      event: (name, facts) => this.publish(name, facts),
      counters,
    });
    this.observatory = new Observatory(settings, this.memory, log, this.asks, {
      certificates: () => certificates.current,
      event: (name, facts) => this.publish(name, facts),
    });
    live.check = this.observatory.check;
    this.transit = new Transit(this.memory.transit);
    this.clock = clockOrigin();
    this.threads = [];
    this.waiters = new Set();
    this.restarts = Promise.resolve();
    this.settlements = 0;
    this.finish = () => {};
    this.done = new Promise((resolve) => {
      this.finish = resolve;
    });
    this.isStopping = false;
    this.hasStarted = false;
  }

  /** One shard publishes the event. */
  private publish(name: SupervisorEvent, facts: object): void {
    this.threads.find(({ isServing }) => isServing)?.tell({ kind: 'event', name, facts });
  }

  private tellAll(message: ToShard): void {
    for (const thread of this.threads) if (thread.isRunning) thread.tell(message);
  }

  /** Resolves when every shard has taken what it was told before. */
  private settled(): Promise<void> {
    const number = this.settlements++;
    const missing = this.runningOthers(-1);
    if (missing.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.waiters.add((index, message) => {
        // A shard that has ended begins anew with what holds now.
        if (message !== null && (message.kind !== 'settled' || message.number !== number)) return false;
        missing.delete(index);
        if (missing.size > 0) return false;
        resolve();
        return true;
      });
      for (const index of missing) this.threads[index]!.tell({ kind: 'settle', number });
    });
  }

  /** Names who answers what HTTP routes ask. Without HTTP none of it is loaded. */
  private async openDesks(): Promise<void> {
    const { settings, live, memory, log, certificates, blocks, apiKeys, store, editor, audit, history } = this;
    if (apiKeys === null) return;
    const { answerShards } = await import('./supervisor-asks.ts');
    const { keepTraces } = await import('./trace-desk.ts');
    this.runningTraces = keepTraces(this.asks);
    answerShards(this.asks, {
      log,
      settings,
      live,
      certificates,
      blocks,
      apiKeys,
      logins: this.desk,
      store,
      history,
      editor,
      audit,
      counters: memory.counters,
      settled: () => this.settled(),
      ports: () => this.addresses.map(({ port }) => port),
    });
  }

  async start(early: EarlyThreads): Promise<void> {
    await this.openDesks();
    const { shards } = this.settings;
    const links: (LinkWiring | null)[][] = [];
    for (let i = 0; i < shards; i++) links.push(new Array<LinkWiring | null>(shards).fill(null));
    for (let a = 0; a < shards; a++) {
      for (let b = a + 1; b < shards; b++) {
        const link = createLink(this.settings.limits.ringBytes);
        links[a]![b] = link.a;
        links[b]![a] = link.b;
      }
    }
    const ready = this.waitForAll('ready');
    const recovered = this.waitForAll('recovered');
    const { store } = this;
    for (let index = 0; index < shards; index++)
      this.threads.push(
        new ShardWorker(this.begin(early.shard(index), index, links[index]!, false, store === null ? null : store.attach(index))),
      );
    await (store === null ? ready : Promise.race([ready, store.failure]));
    if (this.threads.some((thread) => !thread.isRunning)) throw new StartError('a shard could not start; the log above says why', 1);
    if (store !== null) {
      await store.adopt();
      this.log.info(sumOf(await recovered), 'store recovered');
    }
    await this.serve();
    // A record that a restarted shard finds damaged, or a fault of the store's thread: nothing could be promised any more.
    store?.failure.catch((error: Error) => {
      this.log.error({ error: error.message }, 'the store cannot be used any more: the broker ends');
      this.fail();
    });
  }

  private async serve(): Promise<void> {
    const serving = this.waitForAll('serving');
    for (const thread of this.threads) thread.tell({ kind: 'serve' });
    const first = (await serving)[0];
    if (first?.kind === 'serving')
      this.addresses = this.addresses.map((address, i) => ({ ...address, port: first.ports[i] || address.port }));
    for (const thread of this.threads) thread.isServing = true;
    this.hasStarted = true;
    this.observatory.start();
  }

  private begin(
    thread: EarlyThread<ShardStart>,
    index: number,
    links: readonly (LinkWiring | null)[],
    awaitsSnapshots: boolean,
    store: StoreStart | null,
  ): Worker {
    const start: ShardStart = {
      settings: { ...this.settings, ...liveSections(this.live.current) },
      index,
      links,
      wake: this.memory.wake,
      counters: this.memory.counters,
      quotas: this.memory.quotas,
      measures: this.memory.measures,
      transit: this.memory.transit,
      rates: this.memory.rates,
      store,
      history: this.history === null ? null : this.history.wiring(index),
      clock: this.clock,
      listeners: this.bound,
      certificates: this.certificates.current,
      blockRules: this.blocks.current,
      traces: this.runningTraces(),
      apiKeys: this.apiKeys?.current ?? [],
      ticketSecret: this.ticketSecret,
      quicSecret: this.quicSecret,
      awaitsSnapshots,
    };
    const worker = thread.begin(start, store === null ? portsOf(links) : [...portsOf(links), store.port]);
    // By its number; a successor of this thread has the same ones.
    const logins = new Map<number, OpenLogin>();
    worker.on('message', (message: FromShard) => {
      if (message.kind === 'login') this.judge(worker, logins, message.login, message.asked);
      else if (message.kind === 'ask')
        this.asks.asked(message.name, message.value, (value) => worker.postMessage({ kind: 'answer', ask: message.ask, value }));
      else if (message.kind === 'login-data') logins.get(message.login)?.proceed(message.data);
      else if (message.kind === 'login-gone') end(logins, message.login);
      else this.came(index, message);
    });
    worker.on('error', (error: Error) => this.log.error({ dead: index, error: error.message, stack: error.stack }, 'a shard failed'));
    worker.on('exit', (code) => {
      for (const login of [...logins.keys()]) end(logins, login);
      this.exited(index, code);
    });
    return worker;
  }

  private judge(worker: Worker, logins: Map<number, OpenLogin>, login: number, asked: Login): void {
    const tell = (message: ToShard): void => worker.postMessage(message);
    const open = this.desk?.judge(asked, {
      verdict: (verdict) => {
        logins.delete(login);
        tell({ kind: 'verdict', login, verdict });
      },
      challenge: (data) => tell({ kind: 'challenge', login, data }),
    });
    if (open !== undefined) logins.set(login, open);
  }

  /** Resolves with one message of this kind from every shard in `from`. */
  private waitForAll<K extends FromShard['kind']>(kind: K, from?: ReadonlySet<number>): Promise<FromShard[]> {
    const missing = new Set<number>(from ?? Array.from({ length: this.settings.shards }, (_, index) => index));
    const came: FromShard[] = [];
    if (missing.size === 0) return Promise.resolve(came);
    return new Promise((resolve) => {
      this.waiters.add((index, message) => {
        // A shard that ended answers nothing more; what it would have said is not waited for.
        if ((message !== null && message.kind !== kind) || !missing.delete(index)) return false;
        if (message !== null) came[index] = message;
        if (missing.size > 0) return false;
        resolve(came);
        return true;
      });
    });
  }

  private came(index: number, message: FromShard | null): void {
    for (const waiter of [...this.waiters]) if (waiter(index, message)) this.waiters.delete(waiter);
  }

  private exited(index: number, code: number): void {
    this.came(index, null);
    const thread = this.threads[index];
    if (this.isStopping) {
      if (thread !== undefined) thread.isRunning = false;
      return;
    }
    const now = Date.now();
    // At the start of the broker a shard that fails is a fault of the configuration or the machine, not an accident.
    if (thread !== undefined) {
      thread.isServing = false;
      thread.isRunning = false;
    }
    if (thread === undefined || !this.hasStarted) {
      this.log.error({ dead: index, code }, 'a shard could not start');
      this.fail();
      return;
    }
    thread.deaths.push(now);
    while (thread.deaths[0]! < now - RESTART_WINDOW_MILLISECONDS) thread.deaths.shift();
    if (thread.deaths.length > RESTARTS_MAX) {
      this.log.error({ dead: index, deaths: thread.deaths.length }, 'a shard dies again and again: giving up');
      this.fail();
      return;
    }
    this.log.error({ dead: index, code }, 'a shard died: starting it anew');
    const detached = this.detach(index);
    this.restarts = this.restarts
      .then(() => detached)
      .then(() => this.restart(index))
      .catch((error: Error) => {
        this.log.error({ dead: index, error: error.message }, 'a shard could not be restarted');
        this.fail();
      });
  }

  /** Tells every other shard that this one is dead; afterwards nobody writes to its rings. */
  private async detach(index: number): Promise<void> {
    const others = this.runningOthers(index);
    const forgotten = this.store === null ? undefined : this.store.detach(index);
    const detached = this.waitForAll('peer-detached', others);
    for (const other of others) this.threads[other]!.tell({ kind: 'peer-died', peer: index });
    await detached;
    await forgotten;
    // Sockets that were on their way to it or from it: nobody else knows their descriptors any more.
    for (const fd of this.transit.claimAllOf(index)) closeDescriptor(fd);
  }

  private runningOthers(index: number): Set<number> {
    const others = new Set<number>();
    this.threads.forEach((thread, other) => {
      if (other !== index && thread.isRunning) others.add(other);
    });
    return others;
  }

  /** Starts the successor of a dead shard on the same slots. */
  private async restart(index: number): Promise<void> {
    if (this.isStopping) return;
    const others = this.runningOthers(index);
    const links: (LinkWiring | null)[] = [];
    const ends: { other: number; link: LinkWiring }[] = [];
    for (let other = 0; other < this.settings.shards; other++) {
      const link = other === index ? null : createLink(this.settings.limits.ringBytes, others.has(other));
      links.push(link === null ? null : link.a);
      if (link !== null && others.has(other)) ends.push({ other, link: link.b });
    }
    const thread = this.threads[index]!;
    const own = new Set([index]);
    const ready = this.waitForAll('ready', own);
    const serving = this.waitForAll('serving', own);
    const store = this.store === null ? null : await this.store.reattach(index);
    thread.worker = this.begin(loadShard(index), index, links, others.size > 0, store);
    thread.isRunning = true;
    for (const { other, link } of ends) this.threads[other]!.tell({ kind: 'peer-restarted', peer: index, link }, [link.port]);
    await ready;
    if (!thread.isRunning) return;
    thread.tell({ kind: 'serve' });
    await serving;
    if (!thread.isRunning) return;
    thread.isServing = true;
    new Float64Array(this.memory.counters)[RESTARTS]!++;
    this.log.info({ shard: index }, 'a shard serves again');
  }

  private fail(): void {
    void this.stop(1);
  }

  async stop(exitCode = 0): Promise<void> {
    if (this.isStopping) return;
    this.isStopping = true;
    this.certificates.stop();
    this.blocks.stop();
    this.apiKeys?.stop();
    this.live.stop();
    const live = new Set<number>();
    this.threads.forEach((thread, index) => {
      if (thread.isServing) live.add(index);
    });
    const timeout = new Promise<void>((resolve) => {
      setTimeout(resolve, this.settings.shutdown.timeoutMilliseconds).unref();
    });
    await Promise.race([this.stopShards(live), timeout]);
    await Promise.all(this.threads.map((thread) => thread.end()));
    if (this.store !== null) await this.store.close(this.settings.shutdown.timeoutMilliseconds);
    await this.history?.close(this.settings.shutdown.timeoutMilliseconds);
    await this.desk?.stop();
    await this.editor.stop();
    await this.audit.stop();
    await this.observatory.stop();
    unbindListeners(this.settings.listeners, this.bound);
    this.log.info({}, 'stopped');
    this.finish(exitCode);
  }

  /** Two rounds of quiet, so that what one shard had on its way to another has arrived, then the goodbye. */
  private async stopShards(live: ReadonlySet<number>): Promise<void> {
    for (let round = 0; round < 2; round++) {
      const quiet = this.waitForAll('quiesced', live);
      for (const index of live) this.threads[index]!.tell({ kind: 'quiesce', round });
      await quiet;
    }
    const stopped = this.waitForAll('stopped', live);
    for (const index of live) this.threads[index]!.tell({ kind: 'stop' });
    await stopped;
  }

  reload(): void {
    const nobody = { id: '', method: '', path: '', query: '', address: '', status: 0 };
    this.audit.add({ at: Date.now(), action: 'reload', caller: 'signal', ...nobody });
    this.live.reload();
    this.certificates.reload();
    this.desk?.reload();
    this.blocks.reload();
    this.apiKeys?.reload();
  }

  crashShard(index: number): void {
    this.threads[index]?.tell({ kind: 'crash' });
  }

  crashHistory(): void {
    this.history?.crash();
  }
}

/** Nobody waits for this verdict any more. */
function end(logins: Map<number, OpenLogin>, login: number): void {
  logins.get(login)?.leave();
  logins.delete(login);
}

/** What all shards have recovered, for the log. */
function sumOf(messages: readonly FromShard[]): { sessions: number; messages: number; retained: number; mailboxes: number } {
  const sum = { sessions: 0, messages: 0, retained: 0, mailboxes: 0 };
  for (const message of messages) {
    if (message.kind !== 'recovered') continue;
    sum.sessions += message.sessions;
    sum.messages += message.messages;
    sum.retained += message.retained;
    sum.mailboxes += message.mailboxes;
  }
  return sum;
}
