/**
 * The thread of the store: the only one that touches the disk of the store. It gathers what all shards hand over, commits it at once, and answers each.
 *
 *   shard 0 ─┐
 *   shard 1 ─┼─ commits that came while the last one ran ──▶ one LMDB transaction ──▶ fsync ──▶ committed, to each
 *   shard 2 ─┘
 *
 * A commit that fails is tried again, whole, until it succeeds: nothing that a shard has handed over is ever dropped. No client's packet passes through here.
 */
import { type MessagePort, parentPort, receiveMessageOnPort } from 'node:worker_threads';
import { assert } from '../base/assert.ts';
import type { StoreSettings } from '../base/settings.ts';
import { cutPart } from '../journal/entry.ts';
import { countOf, recordProblem, sealRecord, WRITERS_MAX } from '../journal/record.ts';
import { Measures, storeRow } from '../shard/measures.ts';
import { Vitals } from '../shard/vitals.ts';
import { Compaction, CompactionError, removeFresh } from '../store/compaction.ts';
import type { SalvageReport } from '../store/damage.ts';
import { LogStore, type RecordWrite } from '../store/log-store.ts';
import { StoreError } from '../store/store-error.ts';
import type { StoreMeta } from '../store/store-meta.ts';
import { PinServer } from '../store/store-pin.ts';
import { startOf } from './early-thread.ts';
import { bundle, type FromStore, type ToStore } from './store-link.ts';

/** What the thread is started with. */
export interface StoreThreadStart {
  readonly settings: StoreSettings;
  readonly shards: number;
  /** Where the thread says how it is. */
  readonly measures: SharedArrayBuffer;
}

/** From the supervisor to the store's thread. */
export type ToStoreThread =
  | { readonly kind: 'attach'; readonly shard: number; readonly port: MessagePort }
  /** The shard's thread has ended: what it had handed over is committed, then it is forgotten. */
  | { readonly kind: 'detach'; readonly shard: number }
  /** The store belongs to this number of shards from now on. */
  | { readonly kind: 'adopt' }
  /** How it is. */
  | { readonly kind: 'state' }
  /** Writes its file anew, without free pages. @property pauseMillisecondsMax how long commits may wait */
  | { readonly kind: 'compact'; readonly pauseMillisecondsMax: number }
  | { readonly kind: 'close' };

/** From the store's thread to the supervisor. */
export type FromStoreThread =
  | { readonly kind: 'opened'; readonly epoch: number; readonly nextCounts: readonly number[]; readonly isRewrite: boolean }
  | { readonly kind: 'attached'; readonly shard: number; readonly epoch: number; readonly nextCount: number }
  | { readonly kind: 'detached'; readonly shard: number }
  | { readonly kind: 'adopted' }
  /**
   * @property usedBytes of the pages of the file that hold records
   * @property lastCommitAt wall milliseconds; 0: there was none since the start
   */
  | { readonly kind: 'state'; readonly records: number; readonly usedBytes: number; readonly lastCommitAt: number }
  /** How far a compaction is. */
  | { readonly kind: 'compacting'; readonly bytes: number; readonly of: number }
  | { readonly kind: 'compacted'; readonly result: CompactionResult }
  | { readonly kind: 'closed' }
  /** The store was damaged, and has been made anew of what is before the damage. */
  | { readonly kind: 'salvaged'; readonly report: SalvageReport }
  /** The file system cannot set room aside, so a full disk is not noticed before LMDB writes. */
  | { readonly kind: 'unreserved' }
  | { readonly kind: 'unusable'; readonly reason: string; readonly isDamage: boolean };

/** What has become of a compaction. */
export interface CompactionResult {
  /** Bytes of the file; 0 after a failure. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  readonly records: number;
  /** How long commits have waited. */
  readonly pauseMilliseconds: number;
  /** Why there was none; null: the file is the new one. */
  readonly error: string | null;
}

/** Records of one piece of a recovery, in bytes. */
const PIECE_BYTES = 4 * 1024 * 1024;
const RETRY_MILLISECONDS = 250;
/** Between two words about how far a compaction is. */
const PROGRESS_BYTES = 16 * 1024 * 1024;
const VITALS_MILLISECONDS = 1000;
/** Without `fsync` the system writes when it likes; so often it is asked to. */
const SYNC_MILLISECONDS = 1000;

assert(parentPort !== null, 'the store has a thread of its own');
const parent = parentPort;
const start = await startOf<StoreThreadStart>();

function tellParent(message: FromStoreThread): void {
  parent.postMessage(message);
}

/** A commit that a shard waits for. */
interface WaitingCommit extends RecordWrite {
  readonly shard: number;
}

/** Deliveries that a shard waits for. */
interface WaitingParts {
  readonly shard: number;
  readonly request: number;
  readonly places: Float64Array;
  readonly found: (Buffer | null)[];
}

/** What one shard reads back. */
class RecoveryReader {
  private readonly store: LogStore;
  private readonly writers: readonly number[];
  private writer: number;
  private count: number;
  private readonly total: number;
  private done: number;

  constructor(store: LogStore, writers: readonly number[]) {
    this.store = store;
    this.writers = writers;
    this.writer = 0;
    this.count = store.meta.firstCount;
    this.done = 0;
    this.total = writers.reduce((sum, writer) => sum + store.recordCount(writer, this.count), 0);
  }

  /** @throws StoreError at the first damaged record */
  next(): FromStore {
    const { store } = this;
    let found = this.writer < this.writers.length ? store.read(this.writers[this.writer]!, this.count, PIECE_BYTES, true) : [];
    const { pending } = store.meta;
    if (pending !== undefined) found = found.filter(({ record }) => countOf(record) < pending.firstCount);
    if (found.length > 0) this.count = countOf(found[found.length - 1]!.record) + 1;
    else {
      this.writer++;
      this.count = store.meta.firstCount;
    }
    this.done += found.length;
    const records = found.map(({ record }) => record);
    return {
      kind: 'recovered',
      bundle: bundle(
        records,
        found.map(({ bytes }) => bytes),
      ),
      isLast: this.writer >= this.writers.length,
      done: this.done,
      total: this.total,
    };
  }
}

class StoreThread {
  private readonly store: LogStore;
  private readonly ports: (MessagePort | null)[];
  private readonly recoveries: (RecoveryReader | null)[];
  private waiting: WaitingCommit[];
  private waitingParts: WaitingParts[];
  /** Those who wait for an epoch of their own; called when it is on disk. */
  private newEpochs: ((epoch: number) => void)[];
  private isScheduled: boolean;
  private isRewrite: boolean;
  /** The last commit failed. */
  private isFailing: boolean;
  /** Wall milliseconds; 0: there was none. */
  private lastCommitAt: number;
  private detaching: number[];
  /** Requests that came while the environment was closed. Bounded as the requests of the shards are: one load for each session, what each cleaner asks ahead. */
  private readonly deferred: { readonly shard: number; readonly message: ToStore }[];
  /** Other processes that read the store. */
  private readonly pins: PinServer;
  /** What the supervisor was told last. */
  private known: { readonly records: number; readonly usedBytes: number };
  /** What is handed over waits: the file is being replaced. */
  private isPaused: boolean;
  /** Resolves when the compaction that is under way has ended. */
  private compacting: Promise<void> | null;
  private isClosing: boolean;

  constructor(store: LogStore) {
    this.store = store;
    this.pins = new PinServer(store);
    this.ports = [];
    this.recoveries = [];
    this.waiting = [];
    this.waitingParts = [];
    this.newEpochs = [];
    this.isScheduled = false;
    this.isRewrite = false;
    this.isFailing = false;
    this.lastCommitAt = 0;
    this.detaching = [];
    this.deferred = [];
    this.known = { records: 0, usedBytes: 0 };
    this.isPaused = false;
    this.compacting = null;
    this.isClosing = false;
    if (start.settings.durability !== 'fsync') setInterval(() => this.syncLater(), SYNC_MILLISECONDS).unref();
  }

  /** Makes the store ready for this start. */
  open(): void {
    const { store } = this;
    store.removeLeftOver();
    const { meta } = store;
    const epoch = meta.epoch + 1;
    this.isRewrite = meta.shards !== 0 && meta.shards !== start.shards;
    const newest = Array.from({ length: WRITERS_MAX }, (_, writer) => store.newestCount(writer));
    const nextCounts: number[] = [];
    if (this.isRewrite) {
      const firstCount = Math.max(meta.firstCount, ...newest) + 1;
      for (let shard = 0; shard < start.shards; shard++) nextCounts.push(firstCount);
      store.writeMeta({ ...meta, epoch, pending: { shards: start.shards, firstCount } });
    } else {
      for (let shard = 0; shard < start.shards; shard++) nextCounts.push(Math.max(newest[shard]! + 1, meta.firstCount));
      store.writeMeta({ ...meta, shards: start.shards, epoch });
    }
    if (!store.canReserve) tellParent({ kind: 'unreserved' });
    tellParent({ kind: 'opened', epoch, nextCounts, isRewrite: this.isRewrite });
  }

  attach(shard: number, port: MessagePort): void {
    this.ports[shard] = port;
    const writers = this.isRewrite ? Array.from({ length: this.store.meta.shards }, (_, writer) => writer) : [shard];
    this.recoveries[shard] = new RecoveryReader(this.store, writers);
    port.on('message', (message: ToStore) => this.came(shard, message));
  }

  /** A shard is started anew: its sessions get numbers of a new epoch. */
  reattach(shard: number, port: MessagePort): void {
    this.beginEpoch((epoch) => {
      this.attach(shard, port);
      const nextCount = Math.max(this.store.newestCount(shard) + 1, this.store.meta.firstCount);
      tellParent({ kind: 'attached', shard, epoch, nextCount });
    });
  }

  /** Written with the next commit, and tried again as that is. */
  private beginEpoch(began: (epoch: number) => void): void {
    this.newEpochs.push(began);
    this.schedule();
  }

  private tell(shard: number, message: FromStore, transfer: ArrayBuffer[] = []): void {
    this.ports[shard]?.postMessage(message, transfer);
  }

  private came(shard: number, message: ToStore): void {
    // While the environment is opened anew nothing can be read, and that is not the same as not being there.
    if (message.kind !== 'commit' && !this.store.isOpen) {
      this.deferred.push({ shard, message });
      return;
    }
    switch (message.kind) {
      case 'commit': {
        // A copy: LMDB's binding does not read shared memory (it writes zeros).
        const bytes = Buffer.allocUnsafeSlow(message.length);
        Buffer.from(message.shared, 0, message.length).copy(bytes);
        sealRecord(bytes, message.length, message.record, Date.now());
        this.waiting.push({ shard, record: message.record, bytes, keepFrom: message.keepFrom });
        this.schedule();
        return;
      }
      case 'read': {
        const found = message.records.map((record) => this.find(record));
        const records = bundle(message.records, found);
        this.tell(shard, { kind: 'records', request: message.request, bundle: records }, [records.buffer]);
        return;
      }
      case 'read-parts':
        this.waitingParts.push({ shard, request: message.request, places: message.places, found: [] });
        this.schedule();
        return;
      case 'recover':
        this.recover(shard);
        return;
      case 'renew-epoch':
        // It has given out half of its numbers: there is time.
        this.beginEpoch((epoch) => this.tell(shard, { kind: 'epoch', epoch }));
    }
  }

  /** A record; null where it is not there, cannot be read, or is damaged, which the shard reports. */
  private find(record: number): Buffer | null {
    try {
      const bytes = this.store.get(record);
      return bytes === null || recordProblem(bytes, record) !== null ? null : bytes;
    } catch {
      return null;
    }
  }

  private glance(record: number): Buffer | null {
    try {
      return this.store.glance(record);
    } catch {
      return null;
    }
  }

  private recover(shard: number): void {
    try {
      const piece = this.recoveries[shard]!.next();
      this.tell(shard, piece, piece.kind === 'recovered' ? [piece.bundle.buffer] : []);
    } catch (error) {
      unusable(error as Error);
    }
  }

  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    // Whatever other shards have handed over meanwhile goes into the same transaction.
    setImmediate(() => this.commit());
  }

  /**
   * Answers all requests for single deliveries at once, record by record: a thousand sessions that are emptied together have their messages in the same
   * records, and reading each record for each of them costs more than all else (1,000 sessions of 500 messages: 5,000/s).
   */
  private answerParts(): void {
    const requests = this.waitingParts;
    if (requests.length === 0 || !this.store.isOpen) return;
    this.waitingParts = [];
    const byRecord = new Map<number, number[]>();
    for (let i = 0; i < requests.length; i++) {
      const { places, found } = requests[i]!;
      for (let at = 0; at < places.length; at += 3) {
        found.push(null);
        const wanted = byRecord.get(places[at]!);
        if (wanted === undefined) byRecord.set(places[at]!, [i, at]);
        else wanted.push(i, at);
      }
    }
    for (const [record, wanted] of byRecord) {
      const bytes = this.glance(record);
      if (bytes === null) continue;
      for (let i = 0; i < wanted.length; i += 2) {
        const { places, found } = requests[wanted[i]!]!;
        const at = wanted[i + 1]!;
        found[at / 3] = cutPart(bytes, places[at + 1]!, places[at + 2]!);
      }
    }
    for (const { shard, request, found } of requests) {
      const parts = bundle([], found);
      this.tell(shard, { kind: 'parts', request, bundle: parts }, [parts.buffer]);
    }
  }

  private commit(): void {
    this.isScheduled = false;
    if (this.isPaused) return;
    this.answerParts();
    const commits = this.waiting;
    const { newEpochs } = this;
    // After a failure shards hear that the disk works even where nothing waits.
    if (commits.length > 0 || newEpochs.length > 0 || this.isFailing) {
      const { meta } = this.store;
      try {
        this.store.commit(commits, newEpochs.length === 0 ? undefined : { ...meta, epoch: meta.epoch + newEpochs.length });
      } catch (error) {
        this.failed(error as Error);
        return;
      }
      this.waiting = [];
      this.newEpochs = [];
      this.lastCommitAt = Date.now();
      for (const { shard, record } of commits) this.tell(shard, { kind: 'committed', record });
      if (this.isFailing) for (let shard = 0; shard < this.ports.length; shard++) this.tell(shard, { kind: 'working' });
      this.isFailing = false;
      for (let i = 0; i < newEpochs.length; i++) newEpochs[i]!(meta.epoch + 1 + i);
    }
    for (const shard of this.detaching.splice(0)) {
      this.ports[shard]?.close();
      this.ports[shard] = null;
      tellParent({ kind: 'detached', shard });
    }
  }

  /** Everything stays as it was, and is tried again: the disk may have room later. */
  private failed(error: Error): void {
    this.isFailing = true;
    for (let shard = 0; shard < this.ports.length; shard++) this.tell(shard, { kind: 'failed', reason: error.message });
    this.isScheduled = true;
    setTimeout(() => {
      this.retry()
        // A fault of ours: the thread ends, and the supervisor with it.
        .catch((fault: Error) => {
          throw fault;
        });
    }, RETRY_MILLISECONDS);
  }

  private async retry(): Promise<void> {
    try {
      await this.store.mend();
    } catch (error) {
      this.failed(error as Error);
      return;
    }
    this.resume();
  }

  private syncLater(): void {
    // A disk that fails: the next commit finds out.
    this.store.syncInBackground(() => undefined);
  }

  /** Takes what the dead shard had still handed over, commits it, and says so. */
  detach(shard: number): void {
    const port = this.ports[shard];
    for (let left = port ? receiveMessageOnPort(port) : undefined; left !== undefined; left = receiveMessageOnPort(port!)) {
      const message = left.message as ToStore;
      if (message.kind === 'commit') this.came(shard, message);
    }
    this.detaching.push(shard);
    this.schedule();
  }

  /** All shards have written what is theirs: the old records go. */
  adopt(): void {
    const { store } = this;
    const { pending, ...meta } = store.meta;
    if (pending !== undefined) {
      const adopted: StoreMeta = { ...meta, shards: pending.shards, firstCount: pending.firstCount };
      store.writeMeta(adopted);
      this.isRewrite = false;
      store.removeLeftOver();
    }
    tellParent({ kind: 'adopted' });
  }

  tellState(): void {
    const { store, lastCommitAt } = this;
    // While the environment is opened anew, what it was before.
    if (store.isOpen) this.known = { records: store.records, usedBytes: store.usedBytes };
    tellParent({ kind: 'state', ...this.known, lastCommitAt });
  }

  /** Writes the file anew while commits go on. One at a time; the supervisor sees to that. */
  compact(pauseMillisecondsMax: number): void {
    const compacting = this.compaction(pauseMillisecondsMax).then((result) => {
      this.compacting = null;
      tellParent({ kind: 'compacted', result });
    });
    this.compacting = compacting;
    // A fault of ours: the thread ends, and the supervisor with it.
    compacting.catch((fault: Error) => {
      setImmediate(() => {
        throw fault;
      });
    });
  }

  private async compaction(pauseMillisecondsMax: number): Promise<CompactionResult> {
    let compaction: Compaction | null = null;
    try {
      this.refuseCompaction();
      compaction = new Compaction(this.store);
      const { bytesBefore, usedBytes } = compaction;
      let toldBytes = 0;
      await compaction.follow(() => {
        this.refuseCompaction();
        const bytes = compaction!.copiedBytes;
        if (bytes - toldBytes < PROGRESS_BYTES) return;
        toldBytes = bytes;
        tellParent({ kind: 'compacting', bytes, of: usedBytes });
      });
      const pauseMilliseconds = await this.replaceFile(compaction, pauseMillisecondsMax);
      const { bytesAfter, records } = compaction;
      return { bytesBefore, bytesAfter, records, pauseMilliseconds, error: null };
    } catch (error) {
      return { bytesBefore: 0, bytesAfter: 0, records: 0, pauseMilliseconds: 0, error: (error as Error).message };
    } finally {
      await compaction?.end();
    }
  }

  /** @throws CompactionError when there can be none now */
  private refuseCompaction(): void {
    if (this.isClosing) throw new CompactionError('the broker stops');
    if (this.isFailing || !this.store.isOpen) throw new CompactionError('the disk of the store takes nothing now');
    if (this.isRewrite) throw new CompactionError('the store is being written anew for another number of shards');
  }

  /** Nothing is committed meanwhile: what the shards hand over waits here, and what they ask for. @returns for how many milliseconds */
  private async replaceFile(compaction: Compaction, pauseMillisecondsMax: number): Promise<number> {
    const began = performance.now();
    this.isPaused = true;
    try {
      compaction.finish(began + pauseMillisecondsMax);
      await compaction.replace();
    } finally {
      this.isPaused = false;
      await this.store.mend().then(
        () => this.resume(),
        (error: Error) => this.failed(error),
      );
    }
    return Math.round(performance.now() - began);
  }

  /** Answers what came while nothing could be read, and commits what came. */
  private resume(): void {
    for (const { shard, message } of this.deferred.splice(0)) this.came(shard, message);
    this.commit();
  }

  async close(): Promise<void> {
    this.isClosing = true;
    await this.compacting;
    if (this.waiting.length > 0) this.store.commit(this.waiting);
    this.store.sync();
    this.pins.close();
    await this.store.close();
    tellParent({ kind: 'closed' });
  }
}

function unusable(error: Error): void {
  tellParent({ kind: 'unusable', reason: error.message, isDamage: error instanceof StoreError && error.kind === 'damaged' });
}

/** Opens the store; with `store.onCorruption: salvage` one that is damaged is made anew before. */
async function openStore(): Promise<LogStore> {
  const { path, durability, onCorruption } = start.settings;
  if (onCorruption === 'salvage') {
    const { isSound, salvage } = await import('../store/salvage.ts');
    if (!isSound(path)) tellParent({ kind: 'salvaged', report: await salvage(path) });
  }
  removeFresh(path);
  return new LogStore(path, durability);
}

/** The thread says how it is. */
function startVitals(): void {
  const vitals = new Vitals(new Measures(start.measures, storeRow(start.shards)), VITALS_MILLISECONDS);
  setInterval(() => vitals.beat(), VITALS_MILLISECONDS).unref();
}

let thread: StoreThread | null = null;
try {
  thread = new StoreThread(await openStore());
  thread.open();
} catch (error) {
  unusable(error as Error);
}
startVitals();
const attached = new Set<number>();
parent.on('message', (message: ToStoreThread) => {
  if (thread === null) return;
  switch (message.kind) {
    case 'attach':
      if (attached.has(message.shard)) thread.reattach(message.shard, message.port);
      else thread.attach(message.shard, message.port);
      attached.add(message.shard);
      return;
    case 'detach':
      thread.detach(message.shard);
      return;
    case 'adopt':
      thread.adopt();
      return;
    case 'state':
      thread.tellState();
      return;
    case 'compact':
      thread.compact(message.pauseMillisecondsMax);
      return;
    case 'close':
      thread.close().catch(unusable);
  }
});
