/**
 * The thread of the history: it takes messages out of the rings of all shards, gathers them in blocks, commits those twice a second, removes what is too old or too
 * much, and answers questions. No shard ever waits for it.
 *
 *   ring of shard 0 ─┐                                     ┌─ questions, in slices
 *   ring of shard 1 ─┼─ every 20 ms while there is some ──▶│ blocks ─ twice a second, or 4 MB ─▶ LMDB
 *   ring of shard 2 ─┘   asleep while there is none        └─ the oldest go
 *
 * What a disk refuses is tried again for a while and then forgotten, and counted: messages themselves are not touched. Where the disk is full, the oldest make room for
 * the newest.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../base/assert.ts';
import { RING_FRAME_HEADER_BYTES, RingConsumer, ringFrameBytes } from '../base/ring.ts';
import type { HistorySettings } from '../base/settings.ts';
import { FRAME_MESSAGE, FRAME_TRACE, messagesOfRecord } from '../journal/history-record.ts';
import { HistoryTally } from '../journal/history-tally.ts';
import { idText, MESSAGE_ID_BYTES } from '../journal/message-id.ts';
import { findMessage, HistoryQuery, type HistoryQuestion } from '../store/history-query.ts';
import { HistoryStore } from '../store/history-store.ts';
import { isFull } from '../store/store-room.ts';

export interface HistoryThreadStart {
  readonly settings: HistorySettings;
  readonly rings: readonly SharedArrayBuffer[];
  readonly wake: SharedArrayBuffer;
  readonly newest: SharedArrayBuffer;
  /** Of `HistoryTally`. */
  readonly tally: SharedArrayBuffer;
  /** What lies in the rings is left out: threads before this one have ended with it. */
  readonly skipsRings: boolean;
}

/** What a shard may ask. */
export type HistoryAsk =
  | { readonly kind: 'find'; readonly question: HistoryQuestion }
  | { readonly kind: 'get'; readonly id: string; readonly isWhole: boolean }
  | { readonly kind: 'trace'; readonly id: string }
  | { readonly kind: 'state' };

export interface HistoryState {
  readonly bytes: number;
  readonly fileBytes: number;
  /** Not on disk yet. */
  readonly waitingBytes: number;
  /** Wall milliseconds; 0: there is no message. */
  readonly oldest: number;
  /** Messages that the disk did not take since the start. */
  readonly lost: number;
  /** Bytes of messages that were removed before their time since the start, because the disk was full. */
  readonly evictedBytes: number;
  readonly isFailing: boolean;
}

export type ToHistoryThread =
  | { readonly kind: 'ask'; readonly request: number; readonly ask: HistoryAsk }
  | { readonly kind: 'close' }
  /** Ends as by a fault. For tests. */
  | { readonly kind: 'crash' };

export type FromHistoryThread =
  | { readonly kind: 'opened'; readonly damage: string }
  /** @property isFull a disk without room is all that is wrong */
  | { readonly kind: 'unusable'; readonly reason: string; readonly isFull: boolean }
  | { readonly kind: 'failing'; readonly reason: string }
  | { readonly kind: 'working'; readonly lost: number }
  /** The disk has no room: the oldest go. */
  | { readonly kind: 'short' }
  | { readonly kind: 'roomy'; readonly evictedBytes: number }
  /** A question met a fault. */
  | { readonly kind: 'unanswered'; readonly reason: string }
  | { readonly kind: 'answer'; readonly request: number; readonly value: unknown }
  | { readonly kind: 'closed' };

const DRAIN_MILLISECONDS = 20;
const COMMIT_MILLISECONDS = 500;
const COMMIT_BYTES = 4 * 1024 * 1024;
/** Beyond this nothing more is taken in while the disk refuses. */
const PENDING_BYTES_MAX = 32 * 1024 * 1024;
/** Taken in at once. */
const DRAIN_BYTES_MAX = 2 * COMMIT_BYTES;
/** Copied at once from a ring, as long as it lies in the cache of a processor. */
const RUN_BYTES = 32 * 1024;
const RETRY_MILLISECONDS = 1000;
const CLOSING_COMMITS_MAX = 64;
const CLEAN_MILLISECONDS = 1000;
/** A disk that had room for so long is not full any more. */
const ROOMY_MILLISECONDS = 60_000;
/** Bytes that a question looks at before others have their turn. */
const SLICE_BYTES = 2 * 1024 * 1024;
const TRACE_EVENTS_MAX = 1000;

assert(parentPort !== null, 'the history has a thread of its own');
const parent = parentPort;
const start = workerData as HistoryThreadStart;

function tell(message: FromHistoryThread): void {
  parent.postMessage(message);
}

class HistoryThread {
  private readonly store: HistoryStore;
  private readonly consumers: RingConsumer[];
  private readonly wakeWord: Int32Array;
  private readonly tally: HistoryTally;
  private lastCommit: number;
  private failingSince: number;
  /** When the disk had no room, for the last time; 0: it has. */
  private shortAt: number;
  /** A fault of a question was told, and none was answered since. */
  private hasToldFault: boolean;
  private isMending: boolean;
  private isClosing: boolean;

  constructor(store: HistoryStore) {
    this.store = store;
    this.consumers = start.rings.map((ring) => new RingConsumer(ring));
    this.wakeWord = new Int32Array(start.wake);
    this.lastCommit = 0;
    this.tally = new HistoryTally(start.tally);
    // What the thread before this one had taken and not written.
    this.tally.lost += this.tally.waiting;
    this.tally.waiting = 0;
    if (start.skipsRings) for (const consumer of this.consumers) this.skip(consumer);
    this.failingSince = 0;
    this.shortAt = 0;
    this.hasToldFault = false;
    this.isMending = false;
    this.isClosing = false;
    const newest = new Float64Array(start.newest);
    for (let shard = 0; shard < start.rings.length; shard++) newest[shard] = Math.max(newest[shard]!, store.newestMilliseconds(shard));
    // Age counts while nothing comes, too, and a disk works again while nothing comes.
    setInterval(() => this.look(), CLEAN_MILLISECONDS).unref();
  }

  private skip(consumer: RingConsumer): void {
    while (consumer.next()) if (consumer.frameType === FRAME_MESSAGE) this.tally.lost += messagesOfRecord(consumer.bytes, consumer.frameAt);
    consumer.release();
  }

  /** Takes what is there, commits when it is time, and sees to it that it is called again. */
  readonly turn = (): void => {
    if (this.isClosing) return;
    const isMore = this.drain();
    const now = Date.now();
    if (this.store.pendingBytes >= COMMIT_BYTES || (this.store.pendingBytes > 0 && now - this.lastCommit >= COMMIT_MILLISECONDS))
      this.commit();
    if (isMore) setImmediate(this.turn);
    else if (this.store.pendingBytes > 0) setTimeout(this.turn, DRAIN_MILLISECONDS);
    else this.sleep();
  };

  /** @returns whether there is more than could be taken now */
  private drain(): boolean {
    let isMore = false;
    const pendingMax = this.failingSince > 0 ? PENDING_BYTES_MAX : DRAIN_BYTES_MAX;
    for (let shard = 0; shard < this.consumers.length; shard++) {
      const consumer = this.consumers[shard]!;
      while (this.store.pendingBytes < pendingMax && this.takeRun(shard, consumer));
      consumer.release();
      if (this.failingSince === 0 && consumer.hasFrames()) isMore = true;
    }
    this.tally.waiting = this.store.pendingMessages;
    return isMore;
  }

  /**
   * Takes what stands next in the ring: messages that stand behind each other, at once, or a trace.
   * @returns false: there is nothing more
   */
  private takeRun(shard: number, consumer: RingConsumer): boolean {
    const { store } = this;
    const { bytes } = consumer;
    const readable = consumer.readable(RUN_BYTES);
    if (readable === 0) return false;
    const taken = store.take(shard, bytes, consumer.frameAt, consumer.frameAt + readable);
    if (taken > 0) {
      consumer.advance(taken);
      return true;
    }
    // A trace, a message that is longer than a run, or the ring begins anew.
    if (!consumer.next()) return false;
    const { frameAt, frameEnd } = consumer;
    if (consumer.frameType === FRAME_TRACE) this.takeTrace(consumer);
    else {
      const at = frameAt - RING_FRAME_HEADER_BYTES;
      assert(store.take(shard, bytes, at, at + ringFrameBytes(frameEnd - frameAt)) > 0, 'what is no trace in the ring is a message');
    }
    return true;
  }

  private takeTrace({ bytes, frameAt, frameEnd }: RingConsumer): void {
    // A copy: LMDB's binding does not read shared memory.
    this.store.addTrace(idText(bytes, frameAt), Buffer.from(bytes.subarray(frameAt + MESSAGE_ID_BYTES, frameEnd)));
  }

  private commit(): void {
    const now = Date.now();
    this.lastCommit = now;
    if (this.isMending || now - this.failingSince < RETRY_MILLISECONDS) return;
    const { store } = this;
    if (store.isBroken) {
      this.mend();
      return;
    }
    const { evictedBytes } = store;
    try {
      // That there is nothing to write does not say that the disk works.
      if (this.failingSince > 0 && store.pendingBytes === 0) store.probe();
      store.commit(now);
    } catch (error) {
      this.failed(error as Error, now);
      return;
    } finally {
      this.tally.evictedBytes += store.evictedBytes - evictedBytes;
      this.tally.waiting = store.pendingMessages;
    }
    if (this.failingSince > 0) tell({ kind: 'working', lost: this.tally.lost });
    this.failingSince = 0;
    this.noteRoom(now);
  }

  /** Tells once that the disk is full, and once that it has had room for a while. */
  private noteRoom(now: number): void {
    if (this.store.isShort) {
      if (this.shortAt === 0) tell({ kind: 'short' });
      this.shortAt = now;
    } else if (this.shortAt > 0 && now - this.shortAt >= ROOMY_MILLISECONDS) {
      this.shortAt = 0;
      tell({ kind: 'roomy', evictedBytes: this.tally.evictedBytes });
    }
  }

  /** It is tried again; what does not fit meanwhile is lost. */
  private failed(error: Error, now: number): void {
    if (this.failingSince === 0) tell({ kind: 'failing', reason: error.message });
    this.failingSince = now;
    // What may be on disk is not given up before that is known.
    if (this.store.pendingBytes >= PENDING_BYTES_MAX / 2 && !this.store.isUncertain) this.tally.lost += this.store.abandon();
    this.tally.waiting = this.store.pendingMessages;
  }

  /** Opens the environment anew, and goes on. */
  private mend(): void {
    this.isMending = true;
    this.store
      .mend()
      .then(
        () => {
          this.isMending = false;
          this.commit();
        },
        (error: Error) => {
          this.isMending = false;
          this.failed(error, Date.now());
        },
      )
      // A fault of ours: the thread ends, and is started anew.
      .catch((fault: Error) => {
        throw fault;
      });
  }

  /** Once a second: what is old goes, and what has failed is tried again although nothing comes. */
  private look(): void {
    if (this.isClosing || this.isMending) return;
    if (this.failingSince > 0) this.commit();
    this.noteRoom(Date.now());
    this.clean();
  }

  private clean(): void {
    if (this.isClosing || this.isMending || this.store.isBroken) return;
    const { retentionSeconds, bytesMax } = start.settings;
    try {
      this.store.closeIdle(Date.now());
      if (this.store.clean(Date.now() - retentionSeconds * 1000, bytesMax)) setImmediate(() => this.clean());
    } catch (error) {
      this.failed(error as Error, Date.now());
    }
  }

  private sleep(): void {
    const word = this.wakeWord;
    Atomics.store(word, 0, 1);
    if (this.consumers.some((consumer) => consumer.hasFrames())) {
      Atomics.store(word, 0, 0);
      setImmediate(this.turn);
      return;
    }
    const wait = Atomics.waitAsync(word, 0, 1);
    if (!wait.async) {
      setImmediate(this.turn);
      return;
    }
    // Not at once: a burst goes into one block.
    void wait.value.then(() => setTimeout(this.turn, DRAIN_MILLISECONDS));
  }

  asked(request: number, ask: HistoryAsk): void {
    const answer = (value: unknown): void => tell({ kind: 'answer', request, value });
    const { store } = this;
    if (this.isMending || !store.isOpen) {
      answer(null);
      return;
    }
    // Whoever has published something and asks then finds it.
    this.drain();
    try {
      this.answer(ask, answer);
    } catch (error) {
      this.unanswered(error as Error, answer);
    }
  }

  /** The disk fails, or what is on it makes no sense: the question has no answer, and that is told once. */
  private unanswered(error: Error, answer: (value: unknown) => void): void {
    if (!this.hasToldFault) tell({ kind: 'unanswered', reason: error.message });
    this.hasToldFault = true;
    answer(null);
  }

  private answer(ask: HistoryAsk, given: (value: unknown) => void): void {
    const { store } = this;
    const answer = (value: unknown): void => {
      this.hasToldFault = false;
      given(value);
    };
    switch (ask.kind) {
      case 'find': {
        const query = new HistoryQuery(store, ask.question);
        const step = (): void => {
          try {
            // The disk has failed between two slices: a later question finds it mended.
            if (this.isMending || !store.isOpen) given(null);
            else if (query.run(SLICE_BYTES)) answer(query.page);
            else setImmediate(step);
          } catch (error) {
            this.unanswered(error as Error, given);
          }
        };
        step();
        return;
      }
      case 'get':
        answer({ item: findMessage(store, ask.id, ask.isWhole) });
        return;
      case 'trace':
        // Those that wait are few, and are to be found too.
        this.commit();
        answer(store.readTraces(ask.id, TRACE_EVENTS_MAX).map((json) => JSON.parse(json.toString()) as unknown));
        return;
      case 'state': {
        const state: HistoryState = {
          bytes: store.bytes,
          fileBytes: store.fileBytes,
          waitingBytes: store.pendingBytes,
          oldest: store.directory.oldestMilliseconds,
          lost: this.tally.lost,
          evictedBytes: this.tally.evictedBytes,
          isFailing: this.failingSince > 0,
        };
        answer(state);
      }
    }
  }

  async close(): Promise<void> {
    this.isClosing = true;
    let isMore = this.drain();
    if (!this.isMending) {
      try {
        // No shard writes any more: what is left in the rings is some commits.
        for (let commits = 0; isMore && commits < CLOSING_COMMITS_MAX; commits++) {
          this.store.commit(Date.now());
          isMore = this.drain();
        }
        this.store.commit(Date.now());
      } catch (error) {
        if (this.failingSince === 0) tell({ kind: 'failing', reason: (error as Error).message });
        this.tally.lost += this.store.abandon();
      }
      this.tally.waiting = this.store.pendingMessages;
      await this.store.close();
    }
    tell({ kind: 'closed' });
  }
}

/**
 * Lets the C library keep the memory of what LMDB has written. Each commit asks for memory for all its pages and gives it back, some 4 MB; what is free beyond twice the
 * largest piece that was ever given back, it hands to the system, which has to find and clear it anew each time: 0.007 page faults for each message of 64 bytes, and
 * 0.0007 afterwards, 0.03 of what a message costs in all where ten come in a packet (medians of 25 paired rounds, twice). It holds for all threads of the process: each may
 * keep twice this piece of what it has given back. The piece itself is never touched.
 */
function keepFreedMemory(): void {
  const { port1, port2 } = new MessageChannel();
  const piece = new ArrayBuffer(COMMIT_BYTES);
  // A message that nobody will take: its memory is given back when the ports close.
  port1.postMessage(null, [piece]);
  port1.close();
  port2.close();
}

keepFreedMemory();
let thread: HistoryThread | null = null;
try {
  const store = new HistoryStore(start.settings.path, start.settings.retentionSeconds);
  thread = new HistoryThread(store);
  tell({ kind: 'opened', damage: store.damage });
  thread.turn();
} catch (error) {
  tell({ kind: 'unusable', reason: (error as Error).message, isFull: isFull(error) });
}
parent.on('message', (message: ToHistoryThread) => {
  if (message.kind === 'crash') throw new Error('the history was told to crash');
  if (thread === null) return;
  if (message.kind === 'ask') thread.asked(message.request, message.ask);
  else thread.close().catch((error: Error) => tell({ kind: 'unusable', reason: error.message, isFull: false }));
});
