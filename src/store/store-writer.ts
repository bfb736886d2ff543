/**
 * StoreWriter: records for a new store, made of what the old one, or an export, says. It writes nothing that has ended, and only to a store that nobody uses.
 *
 *   begin(writer) → entries: a whole session, a message and its deliveries … → a record when there is enough → finish
 *
 * Invariant: a delivery stands in the record of its message, because `begin` is the only place where a record ends.
 */

import { packObject } from '../base/pack.ts';
import { Batch } from '../journal/batch.ts';
import { ENTRY_SESSION } from '../journal/entry.ts';
import { RECORD_HEAD_BYTES, recordNumber, sealRecord } from '../journal/record.ts';
import type { LogStore } from './log-store.ts';

const RECORD_BYTES = 512 * 1024;

export class StoreWriter {
  private readonly store: LogStore;
  private readonly batches: (Batch | undefined)[];
  private readonly firstCounts: readonly number[];
  records: number;

  /** @param firstCounts place of the first record of each shard; 1 where it is not given */
  constructor(store: LogStore, firstCounts: readonly number[]) {
    this.store = store;
    this.batches = [];
    this.firstCounts = firstCounts;
    this.records = 0;
  }

  /** The batch of a shard, for entries that belong together. */
  begin(writer: number): Batch {
    let batch = this.batches[writer];
    if (batch === undefined) {
      batch = new Batch();
      batch.reset(recordNumber(this.firstCounts[writer] ?? 1, writer));
      this.batches[writer] = batch;
    } else if (batch.at >= RECORD_BYTES) this.seal(batch);
    return batch;
  }

  /** A session or a mailbox. */
  whole(writer: number, id: number, object: object): void {
    this.begin(writer).packed(ENTRY_SESSION, id, packObject(object));
  }

  private seal(batch: Batch): void {
    if (batch.at === RECORD_HEAD_BYTES) return;
    // A copy: LMDB's binding does not read shared memory.
    const bytes = Buffer.from(batch.bytes.subarray(0, batch.at));
    sealRecord(bytes, bytes.length, batch.record, Date.now());
    this.store.commit([{ record: batch.record, bytes, keepFrom: 0 }]);
    this.records++;
    batch.reset(batch.record + recordNumber(1, 0));
  }

  /** Writes what is left and brings everything to disk. */
  finish(): void {
    for (const batch of this.batches) if (batch !== undefined) this.seal(batch);
    this.store.sync();
  }
}
