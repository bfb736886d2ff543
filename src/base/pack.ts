/**
 * Pack: objects to bytes and back, for what is rare and has structure (control records, sessions in the journal). Messages do not pass through it.
 * The only file that knows the encoding.
 */
// The entry without native code, which is for long texts and took a shard's thread 20 ms to find and load.
import { Packr } from 'msgpackr/pack';

// Plain maps with their keys: what is stored today must be readable by a later version that knows nothing of this process.
const packr = new Packr({ useRecords: false, variableMapSize: true });

/** Bytes of `value`; they belong to the caller. */
export function packObject(value: object): Uint8Array {
  return packr.pack(value);
}

/** The object in bytes[at, end). Throws where they hold none. */
export function unpackObject(bytes: Uint8Array, at: number, end: number): unknown {
  // A copy: byte strings of the result are views of what is unpacked.
  return packr.unpack(Uint8Array.prototype.slice.call(bytes, at, end));
}
