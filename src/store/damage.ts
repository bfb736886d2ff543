/**
 * Damage: what is broken in a store, and what a salvage has made of it, in words for people. It reads no store.
 */

/** One damage, in words. */
export interface Damage {
  /** Byte of the file. */
  readonly offset: number;
  /** Shard and count of the record; -1: it is not one in particular. */
  readonly shard: number;
  readonly count: number;
  /** Byte of the record; -1: the record as a whole. */
  readonly at: number;
  readonly text: string;
}

/** What a salvage has done. */
export interface SalvageReport {
  /** Where the damaged file is now. */
  readonly aside: string;
  /** The first of them. */
  readonly damages: readonly Damage[];
  readonly damageCount: number;
  readonly keptRecords: number;
  /** Records that can be read and were left out, because they stand behind a damage. */
  readonly droppedRecords: number;
}

/** A damage as a person reads it. */
export function damageText(file: string, { offset, shard, count, at, text }: Damage): string {
  const record = shard < 0 ? '' : `record ${count} of shard ${shard}${at < 0 ? '' : `, byte ${at}`}: `;
  return `${file}: offset ${offset}: ${record}${text}`;
}
