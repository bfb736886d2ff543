/**
 * StorePort: how a shard reaches its store, and what the store answers. The shard never waits: it hands over a batch and goes on; one call back tells it that the
 * batch is on disk. Implemented by a message port to the thread that owns the disk, and in tests by a disk in memory.
 */

/** From the shard to the store. */
export interface StorePort {
  /**
   * Writes one record and removes the shard's own records before `keepFrom`, in one commit.
   * @param shared holds the record in its first `length` bytes; the store only writes its head. It is the store's until `committed`.
   * @param keepFrom number of the oldest record that is still needed; 0: remove none
   */
  commit(record: number, shared: SharedArrayBuffer, length: number, keepFrom: number): void;
  /** Asks for records by number; answered by `records` with the same request. */
  read(request: number, records: readonly number[]): void;
  /**
   * Asks for single deliveries, each with its message; answered by `parts` with the same request.
   * @param places three numbers each: record, where the message's entry begins, where the delivery's does
   */
  readParts(request: number, places: readonly number[]): void;
  /** Asks for a new epoch, because the numbers of this one run out; answered by `epochBegan`. */
  renewEpoch(): void;
}

/** From the store to the shard. */
export interface StoreAnswers {
  /** The record is as durable as `store.durability` says, and so is every earlier one. */
  committed(record: number): void;
  /** The disk refuses what some shard has handed over; the store keeps trying, and all shards are told, because all have the same disk. */
  failed(reason: string): void;
  /** The disk takes records again. */
  recovered(): void;
  /** The records that were asked for, in that order; null for one that is not there. */
  records(request: number, bytes: readonly (Buffer | null)[]): void;
  /** The deliveries that were asked for, in that order: the entry of the message and behind it that of the delivery; null for one that is not there. */
  parts(request: number, bytes: readonly (Buffer | null)[]): void;
  /** Numbers of this epoch are new to everyone. */
  epochBegan(epoch: number): void;
}
