/**
 * HistoryBlock: messages of one shard in the order in which they came, as bytes, and what can be asked for in them.
 *
 *   | u32 version | u32 count | record | record | …           (`journal/history-record.ts`)
 *
 * It is open while it is filled, and closed when it is large or old enough; then it is never changed again.
 */
import { HistoryReader, publisherIndexHash, targetIndexHash, topicIndexHash } from '../journal/history-record.ts';
import { HashList } from './hash-list.ts';

export const BLOCK_HEADER_BYTES = 8;
const VERSION = 1;
/** A block that is being filled is closed beyond this. */
export const BLOCK_BYTES: number = 256 * 1024;

const reader = new HistoryReader();

export class HistoryBlock {
  readonly shard: number;
  /** Place among the blocks of its shard. */
  readonly sequence: number;
  /** Wall milliseconds of its first message. */
  readonly firstMilliseconds: number;
  /** What is asked for by topic, publisher and target, each once. */
  readonly hashes: HashList;
  count: number;
  /** It has what is not on disk. */
  isDirty: boolean;
  /** Size with which it stands on disk; 0: it does not. */
  storedBytes: number;
  storedCount: number;
  private buffer: Buffer;
  private at: number;

  constructor(shard: number, sequence: number, firstMilliseconds: number) {
    this.shard = shard;
    this.sequence = sequence;
    this.firstMilliseconds = firstMilliseconds;
    this.hashes = new HashList();
    this.count = 0;
    this.isDirty = false;
    this.storedBytes = 0;
    this.storedCount = 0;
    this.buffer = Buffer.allocUnsafeSlow(4096);
    this.at = BLOCK_HEADER_BYTES;
  }

  /** Adds the record that `record` shows. */
  add(record: HistoryReader): void {
    const { bytes, at, end } = record;
    const length = end - at;
    if (this.at + length > this.buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(this.buffer.length * 2, this.at + length));
      this.buffer.copy(larger, 0, 0, this.at);
      this.buffer = larger;
    }
    this.buffer.set(bytes.subarray(at, end), this.at);
    addHashes(record, this.hashes);
    this.at += length;
    this.count++;
    this.isDirty = true;
  }

  get bytes(): number {
    return this.at;
  }

  /** As it goes to the disk. Valid until the next `add`. */
  image(): Buffer {
    this.buffer.writeUInt32LE(VERSION, 0);
    this.buffer.writeUInt32LE(this.count, 4);
    return this.buffer.subarray(0, this.at);
  }
}

function addHashes(reader: HistoryReader, hashes: HashList): void {
  hashes.add(topicIndexHash(reader.topicHash));
  hashes.add(publisherIndexHash(reader.publisherHash));
  if (reader.targetCount > 0) reader.forEachTarget((at, end) => hashes.add(targetIndexHash(reader.bytes, at, end)));
}

/** What can be asked for in the block that these bytes are. */
export function hashesOfBlock(bytes: Buffer): HashList {
  const hashes = new HashList();
  for (const at of recordsOfBlock(bytes)) if (reader.read(bytes, at)) addHashes(reader, hashes);
  return hashes;
}

/** Where the records of a block begin; none in one of another version, and none behind a damage. */
export function recordsOfBlock(bytes: Buffer): number[] {
  const places: number[] = [];
  if (bytes.length < BLOCK_HEADER_BYTES || bytes.readUInt32LE(0) !== VERSION) return places;
  const count = bytes.readUInt32LE(4);
  let at = BLOCK_HEADER_BYTES;
  for (let i = 0; i < count && reader.read(bytes, at); i++) {
    places.push(at);
    at = reader.end;
  }
  return places;
}
