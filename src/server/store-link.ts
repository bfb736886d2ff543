/**
 * StoreLink: the words between a shard and the thread that owns the store, and the shard's end of them.
 *
 *   shard ── commit, read, recover ──▶ store's thread          batches go as shared memory, records come back as one buffer that is handed over
 *         ◀── committed, failed, records ──
 */
import type { MessagePort } from 'node:worker_threads';
import type { StoreAnswers, StorePort } from '../journal/store-port.ts';

/** From a shard to the store's thread. */
export type ToStore =
  | {
      readonly kind: 'commit';
      readonly record: number;
      readonly shared: SharedArrayBuffer;
      readonly length: number;
      readonly keepFrom: number;
    }
  | { readonly kind: 'read'; readonly request: number; readonly records: readonly number[] }
  | { readonly kind: 'read-parts'; readonly request: number; readonly places: Float64Array }
  /** The next piece of what this shard has to recover. */
  | { readonly kind: 'recover' }
  | { readonly kind: 'renew-epoch' };

/** Records in one buffer: number and length of each; -1: it is not there. */
export interface RecordBundle {
  readonly buffer: ArrayBuffer;
  readonly records: readonly number[];
  readonly lengths: readonly number[];
}

/** From the store's thread to a shard. */
export type FromStore =
  | { readonly kind: 'committed'; readonly record: number }
  | { readonly kind: 'failed'; readonly reason: string }
  | { readonly kind: 'working' }
  | { readonly kind: 'epoch'; readonly epoch: number }
  | { readonly kind: 'records'; readonly request: number; readonly bundle: RecordBundle }
  | { readonly kind: 'parts'; readonly request: number; readonly bundle: RecordBundle }
  /** `done` and `total` count records, for the progress that people see. */
  | { readonly kind: 'recovered'; readonly bundle: RecordBundle; readonly isLast: boolean; readonly done: number; readonly total: number };

/** What a shard is told of the store when it starts. */
export interface StoreStart {
  readonly port: MessagePort;
  /** Part of the numbers of its sessions. */
  readonly epoch: number;
  /** Place of its first record. */
  readonly nextCount: number;
  /** The store was written by another number of shards: everything is read by everyone, and written anew. */
  readonly isRewrite: boolean;
  /** False when only this shard is started anew. */
  readonly isProcessStart: boolean;
}

/** Puts records into one buffer, which is to be transferred. */
export function bundle(records: readonly number[], bytes: readonly (Buffer | null)[]): RecordBundle {
  let total = 0;
  for (const one of bytes) total += one === null ? 0 : one.length;
  const buffer = new ArrayBuffer(total);
  const target = Buffer.from(buffer);
  const lengths: number[] = [];
  let at = 0;
  for (const one of bytes) {
    lengths.push(one === null ? -1 : one.length);
    if (one === null) continue;
    one.copy(target, at);
    at += one.length;
  }
  return { buffer, records, lengths };
}

/** The records of a bundle, as views of its buffer; null for one that is not there. */
export function unbundle({ buffer, lengths }: RecordBundle): (Buffer | null)[] {
  let at = 0;
  return lengths.map((length) => {
    if (length < 0) return null;
    const bytes = Buffer.from(buffer, at, length);
    at += length;
    return bytes;
  });
}

/** Called for each piece of a recovery. */
export type RecoveredPiece = (
  records: readonly number[],
  bytes: readonly (Buffer | null)[],
  isLast: boolean,
  done: number,
  total: number,
) => void;

/** A store that a shard can be recovered from. */
export interface RecoverableStore extends StorePort {
  /** Asks for everything that this shard recovers; `took` is called for each piece, in order. */
  recover(took: RecoveredPiece): void;
}

/** The shard's end. */
export class StoreLink implements RecoverableStore {
  private readonly port: MessagePort;
  private onRecovered: (
    records: readonly number[],
    bytes: readonly (Buffer | null)[],
    isLast: boolean,
    done: number,
    total: number,
  ) => void;

  constructor(port: MessagePort, answers: StoreAnswers) {
    this.port = port;
    this.onRecovered = () => {};
    port.on('message', (message: FromStore) => {
      switch (message.kind) {
        case 'committed':
          answers.committed(message.record);
          return;
        case 'failed':
          answers.failed(message.reason);
          return;
        case 'working':
          answers.recovered();
          return;
        case 'epoch':
          answers.epochBegan(message.epoch);
          return;
        case 'records':
          answers.records(message.request, unbundle(message.bundle));
          return;
        case 'parts':
          answers.parts(message.request, unbundle(message.bundle));
          return;
        case 'recovered':
          this.onRecovered(message.bundle.records, unbundle(message.bundle), message.isLast, message.done, message.total);
          return;
      }
    });
  }

  commit(record: number, shared: SharedArrayBuffer, length: number, keepFrom: number): void {
    this.tell({ kind: 'commit', record, shared, length, keepFrom });
  }

  read(request: number, records: readonly number[]): void {
    this.tell({ kind: 'read', request, records });
  }

  readParts(request: number, places: readonly number[]): void {
    this.tell({ kind: 'read-parts', request, places: Float64Array.from(places) });
  }

  renewEpoch(): void {
    this.tell({ kind: 'renew-epoch' });
  }

  /** Asks for everything that this shard recovers; `took` is called for each piece, in order, and asks for the next by returning. */
  recover(
    took: (records: readonly number[], bytes: readonly (Buffer | null)[], isLast: boolean, done: number, total: number) => void,
  ): void {
    this.onRecovered = (records, bytes, isLast, done, total) => {
      // The next piece is read while this one is taken.
      if (!isLast) this.tell({ kind: 'recover' });
      took(records, bytes, isLast, done, total);
    };
    this.tell({ kind: 'recover' });
  }

  private tell(message: ToStore): void {
    this.port.postMessage(message);
  }
}
