/**
 * Record: everything that one commit of one shard holds, as one value in the store.
 *
 *   | u32 magic | u32 CRC-32 of all behind it | u32 bytes of the record | u32 format | f64 number | f64 wall milliseconds | entries … |
 *
 * The number says which shard wrote it and in which order: `count × 32 + shard`. Numbers are never used again, so one of them names a record for ever.
 * Format 1. A store that was written by a later format is refused, not guessed at.
 */
import { crc32 } from 'node:zlib';

export const RECORD_HEAD_BYTES = 32;
export const RECORD_FORMAT = 1;
const MAGIC = 0x314a484f; // "OHJ1"

/** Writers that record numbers have room for; more than the shards that there can be. */
export const WRITERS_MAX = 32;

/** The shard that wrote a record. */
export function writerOf(record: number): number {
  return record % WRITERS_MAX;
}

/** The place of a record among those of its writer. */
export function countOf(record: number): number {
  return Math.floor(record / WRITERS_MAX);
}

export function recordNumber(count: number, writer: number): number {
  return count * WRITERS_MAX + writer;
}

/** Fills the head of the record bytes[0, length), the checksum last. */
export function sealRecord(bytes: Buffer, length: number, record: number, wallMilliseconds: number): void {
  bytes.writeUInt32LE(MAGIC, 0);
  bytes.writeUInt32LE(length, 8);
  bytes.writeUInt32LE(RECORD_FORMAT, 12);
  bytes.writeDoubleLE(record, 16);
  bytes.writeDoubleLE(wallMilliseconds, 24);
  bytes.writeUInt32LE(crc32(bytes.subarray(8, length)), 4);
}

/** Why bytes are not the record that they should be, or null when they are. */
export function recordProblem(bytes: Buffer, record: number): string | null {
  if (bytes.length < RECORD_HEAD_BYTES) return `cut off: ${bytes.length} bytes`;
  if (bytes.readUInt32LE(0) !== MAGIC) return 'not a record';
  const length = bytes.readUInt32LE(8);
  if (length < RECORD_HEAD_BYTES || length > bytes.length) return `cut off: ${bytes.length} of ${length} bytes`;
  const format = bytes.readUInt32LE(12);
  if (format !== RECORD_FORMAT) return `format ${format}, this version reads ${RECORD_FORMAT}`;
  if (crc32(bytes.subarray(8, length)) !== bytes.readUInt32LE(4)) return 'wrong checksum';
  if (bytes.readDoubleLE(16) !== record) return `the record of another place (${bytes.readDoubleLE(16)})`;
  return null;
}

/** Wall time of the commit. */
export function recordTime(bytes: Buffer): number {
  return bytes.readDoubleLE(24);
}

/** End of the entries. */
export function recordEnd(bytes: Buffer): number {
  return bytes.readUInt32LE(8);
}
