/**
 * LogReader: the records of a store at one moment, in the order of writing, read from the file itself (`PageFile`). Commands and the salvage use it; the broker
 * reads through LMDB. It never writes. What is damaged comes as a problem with its place, and the rest goes on.
 *
 *   writer 0: record, record, problem, record …   writer 1: record …
 */
import { join } from 'node:path';
import { recordNumber, recordProblem, WRITERS_MAX } from '../journal/record.ts';
import { type Moment, PageFile, type PageProblem, type Tree } from './page-file.ts';
import { StoreError } from './store-error.ts';
import { META_KEY, readMeta, type StoreMeta } from './store-meta.ts';
import { type Pin, requestPin } from './store-pin.ts';

/** One record, its checksum right. */
export interface LogRecord {
  readonly kind: 'record';
  readonly record: number;
  readonly writer: number;
  readonly count: number;
  readonly bytes: Buffer;
  /** Byte of the file at which it begins. */
  readonly offset: number;
}

/** Something that is not what was written. */
export interface LogProblem {
  readonly kind: 'problem';
  /** The record, where it is one; -1: a page that holds several, or none. */
  readonly record: number;
  readonly writer: number;
  readonly count: number;
  readonly offset: number;
  readonly text: string;
  /** Records may be missing between the one before and the one after. */
  readonly isGap: boolean;
}

export type LogItem = LogRecord | LogProblem;

const KEY_BYTES = 19;

/** Shard and count of a key as the `lmdb` package orders two numbers; null: it is none. */
export function readKey(key: Buffer): { readonly writer: number; readonly count: number } | null {
  if (key.length !== KEY_BYTES || key[9] !== 0) return null;
  const writer = readKeyNumber(key, 0);
  const count = readKeyNumber(key, 10);
  return Number.isInteger(writer) && writer < WRITERS_MAX && Number.isSafeInteger(count) ? { writer, count } : null;
}

const number = new DataView(new ArrayBuffer(8));

/** A positive number: its 64 bits, moved right by 4, behind a mark in the first 4. */
function readKeyNumber(key: Buffer, at: number): number {
  if (key[at]! >>> 4 !== 1) return Number.NaN;
  const high = key.readUInt32BE(at);
  const low = key.readUInt32BE(at + 4);
  number.setUint32(0, (high << 4) | (low >>> 28));
  number.setUint32(4, (low << 4) | (key[at + 8]! >>> 4));
  return number.getFloat64(0);
}

function place(problem: PageProblem): LogProblem {
  return { kind: 'problem', record: -1, writer: -1, count: -1, offset: problem.offset, text: problem.text, isGap: problem.isGap };
}

export class LogReader {
  /** File that is read. */
  readonly file: string;
  private readonly directory: string;
  private readonly pages: PageFile;
  readonly moment: Moment;
  /** What is known of the whole store; null: it is damaged, or nothing has been written. */
  readonly meta: StoreMeta | null;
  /** What is wrong outside of the log. */
  readonly problems: readonly LogProblem[];
  private readonly log: Tree | null;
  private readonly pin: Pin | null;

  /**
   * @param pin the moment that a broker holds; released by `close`. Null: nobody writes, which is looked at
   * @param age without a pin: 0 the newest moment of the file, 1 the one before
   */
  constructor(directory: string, pages: PageFile, pin: Pin | null, age = 0) {
    this.directory = directory;
    this.file = join(directory, 'data.mdb');
    this.pages = pages;
    this.pin = pin;
    const moment = pin === null ? pages.moments[age] : pin.moment;
    if (moment === undefined) throw new StoreError('damaged', `store: ${this.file}: offset 0: both meta pages are destroyed`, 0);
    this.moment = moment;
    const { tables, problems } = pages.tables(moment);
    // Meta pages that a broker is writing say nothing.
    const found = [...(pin === null ? pages.problems : []), ...problems].map(place);
    this.log = tables.get('log') ?? null;
    let meta: StoreMeta | null = null;
    for (const item of pages.walk(moment, tables.get('meta') ?? emptyTree)) {
      if (item.kind === 'problem') found.push(place(item));
      else if (item.key.toString('latin1').replace(/\0$/, '') === META_KEY) {
        const bytes = pages.value(item);
        try {
          meta = bytes === null ? null : readMeta(directory, bytes);
        } catch (error) {
          if (!(error instanceof StoreError) || error.kind !== 'damaged') throw error;
        }
        if (meta === null) {
          const text = 'what is known of the whole store is not readable';
          found.push({ kind: 'problem', record: -1, writer: -1, count: -1, offset: item.offset, text, isGap: false });
        }
      }
    }
    this.meta = meta;
    this.problems = found;
    if (found.length > 0) this.refuseChange();
  }

  /** What was read is of one moment only while that is held, or nobody writes. @throws StoreError when it is not */
  private refuseChange(): void {
    const { pin, pages, moment } = this;
    if (pin !== null) {
      if (pin.isHeld) return;
      throw new StoreError('in-use', `store: the broker that uses ${this.directory} has ended meanwhile; try again`, 0);
    }
    pages.look();
    if (pages.moments.some((one) => one.transaction === moment.transaction)) return;
    throw new StoreError('in-use', `store: ${this.directory} was written to meanwhile; try again`, 0);
  }

  /** What is wrong with the structure of the file. @throws StoreError when it has changed meanwhile */
  *check(): Generator<PageProblem> {
    for (const problem of this.pages.check(this.moment, this.pin === null)) {
      this.refuseChange();
      yield problem;
    }
    this.refuseChange();
  }

  /**
   * Records of all shards, each shard's in the order of writing; what is damaged comes as a problem at its place.
   * @throws StoreError when the store has changed meanwhile, before it would tell of a problem that is none
   */
  *items(): Generator<LogItem> {
    for (const item of this.found()) {
      if (item.kind === 'problem') this.refuseChange();
      yield item;
    }
    this.refuseChange();
  }

  private *found(): Generator<LogItem> {
    if (this.log === null) return;
    for (const item of this.pages.walk(this.moment, this.log)) {
      if (item.kind === 'problem') {
        yield place(item);
        continue;
      }
      const key = readKey(item.key);
      if (key === null) {
        yield { kind: 'problem', record: -1, writer: -1, count: -1, offset: item.offset, text: 'an entry that is no record', isGap: true };
        continue;
      }
      const { writer, count } = key;
      const record = recordNumber(count, writer);
      const bytes = this.pages.value(item);
      const text = bytes === null ? 'the disk does not give it' : recordProblem(bytes, record);
      if (bytes === null || text !== null)
        yield { kind: 'problem', record, writer, count, offset: item.offset, text: text ?? '', isGap: false };
      else yield { kind: 'record', record, writer, count, bytes, offset: item.offset };
    }
  }

  /** Records that count: not what a change of the number of shards has left over. */
  counts(count: number): boolean {
    const { meta } = this;
    if (meta === null) return true;
    return count >= meta.firstCount && (meta.pending === undefined || count < meta.pending.firstCount);
  }

  get entries(): number {
    return this.log === null ? 0 : this.log.entries;
  }

  /** What was read is what the store was. @throws StoreError when it has changed meanwhile */
  async confirm(): Promise<void> {
    // All was read in one go: the end of the broker may not have been heard yet.
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
    this.refuseChange();
  }

  close(): void {
    this.pages.close();
    this.pin?.release();
  }
}

const emptyTree: Tree = {
  name: 'meta',
  root: Number.MAX_SAFE_INTEGER,
  depth: 0,
  branchPages: 0,
  leafPages: 0,
  overflowPages: 0,
  entries: 0,
};

/** A broker puts another file in the place of a store in one instant, and not often. */
const OPENINGS_MAX = 5;

/**
 * Opens a store for reading. Where a broker uses it, that holds the newest moment meanwhile; everything is read as it was at one moment.
 * @throws StoreError when there is none, or nothing of it can be read
 */
export async function openForReading(directory: string): Promise<LogReader> {
  for (let opening = 1; ; opening++) {
    const pages = new PageFile(join(directory, 'data.mdb'));
    let pin: Pin | null = null;
    try {
      pin = await requestPin(directory);
      // What is held is a moment of the file that has the name now, which may not be the one that was opened.
      if (!pages.isReplaced || opening === OPENINGS_MAX) {
        pages.look();
        return new LogReader(directory, pages, pin);
      }
    } catch (error) {
      pages.close();
      throw error;
    }
    pages.close();
    pin?.release();
  }
}
