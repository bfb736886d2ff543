/*
 * A disk in memory that forgets what was not synced: the store of the simulation. It does what the store's thread and LMDB do together, one record for each
 * commit, all or nothing; the simulation says when a commit reaches it, fails, or is lost in a crash.
 */
import assert from 'node:assert/strict';
import { cutPart } from '../../src/journal/entry.ts';
import { countOf, recordNumber, recordProblem, sealRecord, writerOf } from '../../src/journal/record.ts';
import type { StoreAnswers } from '../../src/journal/store-port.ts';
import type { RecoverableStore, RecoveredPiece } from '../../src/server/store-link.ts';

/** A commit that has been handed over and is not synced. */
interface Unsynced {
  readonly port: FakePort;
  readonly record: number;
  readonly bytes: Buffer;
  readonly keepFrom: number;
}

export class FakeDisk {
  /** What a crash leaves: by writer, records in order. */
  private readonly synced: Map<number, Map<number, Buffer>>;
  private unsynced: Unsynced[];
  private ports: FakePort[];
  private isFailing: boolean;
  /** Reads find nothing, as of a record whose pages are destroyed. */
  isUnreadable: boolean;
  /** Reads that are not answered yet. */
  private reads: (() => void)[];
  /** A crash takes the newest record that was synced as well: for the proof that the checks see it. */
  isLying: boolean;
  shards: number;
  private firstCount: number;
  private pendingFirstCount: number;
  epoch: number;
  /** Commits that have reached the disk. */
  commits: number;

  constructor() {
    this.synced = new Map();
    this.unsynced = [];
    this.ports = [];
    this.isFailing = false;
    this.isUnreadable = false;
    this.reads = [];
    this.isLying = false;
    this.shards = 0;
    this.firstCount = 1;
    this.pendingFirstCount = 0;
    this.epoch = 0;
    this.commits = 0;
  }

  /** Bytes of everything that is synced. */
  get bytes(): number {
    let sum = 0;
    for (const records of this.synced.values()) for (const bytes of records.values()) sum += bytes.length;
    return sum;
  }

  get hasUnsynced(): boolean {
    return this.unsynced.length > 0;
  }

  get hasReads(): boolean {
    return this.reads.length > 0;
  }

  /** Begins a start with this number of shards. @returns whether everything has to be written anew, and the place of the first record of each shard */
  open(shards: number): { isRewrite: boolean; nextCount: number } {
    this.epoch++;
    this.dropLeftOver();
    const isRewrite = this.shards !== 0 && this.shards !== shards;
    let newest = this.firstCount - 1;
    for (const records of this.synced.values()) for (const count of records.keys()) newest = Math.max(newest, count);
    if (isRewrite) this.pendingFirstCount = newest + 1;
    else this.shards = shards;
    return { isRewrite, nextCount: newest + 1 };
  }

  private dropLeftOver(): void {
    for (const records of this.synced.values()) {
      for (const count of [...records.keys()])
        if (count < this.firstCount || (this.pendingFirstCount > 0 && count >= this.pendingFirstCount)) records.delete(count);
    }
    this.pendingFirstCount = 0;
  }

  /** All shards have written what is theirs anew. */
  adopt(shards: number): void {
    this.shards = shards;
    if (this.pendingFirstCount > 0) this.firstCount = this.pendingFirstCount;
    this.pendingFirstCount = 0;
    this.dropLeftOver();
  }

  port(shard: number, isRewrite: boolean, answers: StoreAnswers): FakePort {
    const port = new FakePort(this, isRewrite ? Array.from({ length: this.shards }, (_, writer) => writer) : [shard], answers);
    this.ports.push(port);
    return port;
  }

  put(commit: Unsynced): void {
    this.unsynced.push(commit);
  }

  later(read: () => void): void {
    this.reads.push(read);
  }

  /** Brings everything that was handed over to the disk, as one transaction does. */
  sync(): void {
    const commits = this.unsynced;
    this.unsynced = [];
    for (const commit of commits) this.write(commit);
    for (const { port, record } of commits) port.answers.committed(record);
    if (this.isFailing) for (const { answers } of this.ports) answers.recovered();
    this.isFailing = false;
  }

  /** Brings only the commits of one shard there. */
  syncOnly(shard: number): void {
    const isOfShard = ({ record }: Unsynced): boolean => writerOf(record) === shard;
    const commits = this.unsynced.filter(isOfShard);
    this.unsynced = this.unsynced.filter((commit) => !isOfShard(commit));
    for (const commit of commits) this.write(commit);
    for (const { port, record } of commits) port.answers.committed(record);
  }

  private write({ record, bytes, keepFrom }: Unsynced): void {
    const writer = writerOf(record);
    const records = this.synced.get(writer) ?? new Map<number, Buffer>();
    assert.ok(!records.has(countOf(record)), 'no place is written twice');
    records.set(countOf(record), bytes);
    this.synced.set(writer, records);
    for (const count of [...records.keys()]) if (keepFrom > 0 && count < countOf(keepFrom)) records.delete(count);
    this.commits++;
  }

  /** The disk refuses; everything waits for the next `sync`. */
  fail(): void {
    if (this.unsynced.length === 0) return;
    this.isFailing = true;
    for (const { answers } of this.ports) answers.failed('the simulation says so');
  }

  answerReads(): void {
    const reads = this.reads;
    this.reads = [];
    for (const read of reads) read();
  }

  /** Everything that the shards of this process hand over from now on goes nowhere. */
  private cut(): void {
    for (const port of this.ports) port.isCut = true;
    this.ports = [];
    this.isFailing = false;
  }

  /** The power goes. @param isLucky whether what was under way had just reached the disk */
  crash(isLucky: boolean): void {
    this.cut();
    if (isLucky) for (const commit of this.unsynced) this.write(commit);
    this.unsynced = [];
    this.reads = [];
    if (this.isLying) for (const records of this.synced.values()) records.delete(Math.max(...records.keys()));
  }

  get(record: number): Buffer | null {
    const bytes = this.synced.get(writerOf(record))?.get(countOf(record));
    return bytes === undefined ? null : Buffer.from(bytes);
  }

  /** Records that count, of one writer. */
  recordsOf(writer: number): number[] {
    const counts = [...(this.synced.get(writer)?.keys() ?? [])].sort((a, b) => a - b);
    return counts
      .filter((count) => count >= this.firstCount && (this.pendingFirstCount === 0 || count < this.pendingFirstCount))
      .map((count) => recordNumber(count, writer));
  }
}

/** One shard's end. */
export class FakePort implements RecoverableStore {
  readonly answers: StoreAnswers;
  isCut: boolean;
  private readonly disk: FakeDisk;
  private readonly writers: readonly number[];

  constructor(disk: FakeDisk, writers: readonly number[], answers: StoreAnswers) {
    this.disk = disk;
    this.writers = writers;
    this.answers = answers;
    this.isCut = false;
  }

  commit(record: number, shared: SharedArrayBuffer, length: number, keepFrom: number): void {
    if (this.isCut) return;
    const bytes = Buffer.from(Buffer.from(shared, 0, length));
    sealRecord(bytes, length, record, 0);
    this.disk.put({ port: this, record, bytes, keepFrom });
  }

  read(request: number, records: readonly number[]): void {
    if (this.isCut) return;
    this.disk.later(() =>
      this.answers.records(
        request,
        records.map((record) => (this.disk.isUnreadable ? null : this.disk.get(record))),
      ),
    );
  }

  readParts(request: number, places: readonly number[]): void {
    if (this.isCut) return;
    this.disk.later(() => {
      const parts: (Buffer | null)[] = [];
      for (let at = 0; at < places.length; at += 3) {
        const bytes = this.disk.get(places[at]!);
        parts.push(bytes === null ? null : cutPart(bytes, places[at + 1]!, places[at + 2]!));
      }
      this.answers.parts(request, parts);
    });
  }

  renewEpoch(): void {
    this.disk.later(() => {
      this.disk.epoch++;
      this.answers.epochBegan(this.disk.epoch);
    });
  }

  recover(took: RecoveredPiece): void {
    const records = this.writers.flatMap((writer) => this.disk.recordsOf(writer));
    const bytes = records.map((record) => this.disk.get(record)!);
    for (let i = 0; i < records.length; i++) assert.equal(recordProblem(bytes[i]!, records[i]!), null);
    took(records, bytes, true, records.length, records.length);
  }
}
