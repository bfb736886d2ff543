/**
 * StoreMeta: what is known of a store as a whole, kept in the table `meta` as one JSON object. A store that a later version wrote, or one that spreads clients in
 * another way, is refused with one clear line, not guessed at.
 */
import { join } from 'node:path';
import { RECORD_FORMAT } from '../journal/record.ts';
import { SLOT_COUNT } from '../routing/slot.ts';
import { StoreError } from './store-error.ts';

/** How clients are spread over slots; a store of another kind cannot be read shard by shard. */
export const SLOT_MAP: string = `hash32/${SLOT_COUNT}`;

/** Key of the object in its table. */
export const META_KEY = 'store';

/** Numbers of sessions that one epoch has, as `shard/shard.ts` gives them out. */
export const EPOCH_IDS: number = 2 ** 32;

export interface StoreMeta {
  /** Format of the records and of this object. */
  readonly format: number;
  readonly slotMap: string;
  /** Shards that wrote the records from `firstCount` on. */
  readonly shards: number;
  /** Records of a smaller count are left over and not read. */
  readonly firstCount: number;
  /** Starts over this store so far, of the process or of one shard. */
  readonly epoch: number;
  /** The records are being written anew for another number of shards: those from `firstCount` on do not count before that is done. */
  readonly pending?: { readonly shards: number; readonly firstCount: number } | undefined;
}

/** A store in which nothing has been written. */
export const NEW_META: StoreMeta = { format: RECORD_FORMAT, slotMap: SLOT_MAP, shards: 0, firstCount: 1, epoch: 0 };

/** @throws StoreError when the bytes are no such object, or one of a store that this version cannot read */
export function readMeta(path: string, bytes: Buffer): StoreMeta {
  let meta: StoreMeta;
  try {
    meta = JSON.parse(bytes.toString()) as StoreMeta;
  } catch {
    throw unreadable(path);
  }
  if (typeof meta !== 'object' || meta === null) throw unreadable(path);
  if (meta.format > RECORD_FORMAT)
    throw new StoreError(
      'version',
      `store: ${path} was written by a newer version of onehop (format ${meta.format}, this one reads ${RECORD_FORMAT}); use that version`,
      0,
    );
  if (typeof meta.slotMap === 'string' && meta.slotMap !== SLOT_MAP)
    throw new StoreError(
      'version',
      `store: ${path} spreads clients in another way (${meta.slotMap}, this version uses ${SLOT_MAP}); export it with the version that wrote it`,
      0,
    );
  const isWhole =
    typeof meta.slotMap === 'string' &&
    [meta.format, meta.shards, meta.firstCount, meta.epoch].every((one) => Number.isSafeInteger(one) && one >= 0);
  if (!isWhole) throw unreadable(path);
  return meta;
}

function unreadable(path: string): StoreError {
  return new StoreError('damaged', `store: ${join(path, 'data.mdb')}: what is known of the whole store is not readable`, 0);
}
