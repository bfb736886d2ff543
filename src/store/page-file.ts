/**
 * PageFile: the file of an LMDB environment, read page by page without LMDB.
 *
 *   | meta 0 | meta 1 | branch, leaf, overflow and free pages … |
 *   page: | u64 number | u64 transaction | u16 | u16 flags | u16 lower, u16 upper; or u32 pages of a large value | … |
 *
 * LMDB maps its file into memory and trusts every number in it: one that is cut off or broken ends the process by a signal. Here each number is checked before
 * it is used, so a broken file gives problems with their places. It never writes, and it holds no lock: who reads the file of a running broker has
 * it hold the moment first (`store-pin.ts`). Knows data format 2 of LMDB, which the `lmdb` package writes; a test compares both.
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { StoreError } from './store-error.ts';

const PAGE_HEAD_BYTES = 24;
const NODE_HEAD_BYTES = 8;
const META_BYTES = 136;
const LMDB_MAGIC = 0xbeefc0de;
const DATA_FORMAT = 2;
const SMALLEST_PAGE = 512;
const LARGEST_PAGE = 65536;

const BRANCH = 1;
const LEAF = 2;
const OVERFLOW = 4;
const META = 8;
/** Bits that LMDB leaves in written pages for its own bookkeeping. */
const BOOKKEEPING = 0xe000;

/** The value lies in pages of its own. */
const LARGE = 1;
/** The value describes a table. */
const TABLE = 2;

/** A table of which nothing has been written. */
const NO_PAGE: number = Number.MAX_SAFE_INTEGER;
const DEPTH_MAX = 32;
/** Transaction of all pages of a file that LMDB has made as a copy. */
const COPIED = 1;

/** One B+ tree. */
export interface Tree {
  readonly name: string;
  readonly root: number;
  readonly depth: number;
  readonly branchPages: number;
  readonly leafPages: number;
  readonly overflowPages: number;
  readonly entries: number;
}

/** One moment of the file: what a transaction has left. */
export interface Moment {
  readonly transaction: number;
  readonly lastPage: number;
  readonly free: Tree;
  readonly main: Tree;
}

/** What is wrong at a place of the file. */
export interface PageProblem {
  readonly kind: 'problem';
  readonly page: number;
  /** Byte of the file. */
  readonly offset: number;
  readonly text: string;
  /** Entries may be missing between the one before and the one after. */
  readonly isGap: boolean;
}

/** A key, and where its value lies. */
export interface PageEntry {
  readonly kind: 'entry';
  readonly key: Buffer;
  /** Page that has the key. */
  readonly page: number;
  /** Byte of the file at which the value begins. */
  readonly offset: number;
  readonly length: number;
  readonly isTable: boolean;
}

/** Pages that have been seen, each once. */
class PageSet {
  private readonly bits: Uint8Array;

  constructor(pages: number) {
    this.bits = new Uint8Array((pages >>> 3) + 1);
  }

  has(page: number): boolean {
    return (this.bits[Math.floor(page / 8)]! & (1 << (page & 7))) !== 0;
  }

  /** @returns false when it was there */
  add(page: number): boolean {
    if (this.has(page)) return false;
    this.bits[Math.floor(page / 8)]! |= 1 << (page & 7);
    return true;
  }
}

/** What a walk over a tree has counted. */
interface TreeCount {
  branchPages: number;
  leafPages: number;
  overflowPages: number;
  entries: number;
  depth: number;
}

interface Frame {
  readonly bytes: Buffer;
  readonly page: number;
  readonly count: number;
  next: number;
}

type Compare = (a: Buffer, b: Buffer) => number;

function compareNumbers(a: Buffer, b: Buffer): number {
  return readNumber(a, 0) - readNumber(b, 0);
}

/** An unsigned number of 64 bits; one that no page or count can have becomes `NO_PAGE`. */
function readNumber(bytes: Buffer, at: number): number {
  const high = bytes.readUInt32LE(at + 4);
  return high >= 0x100000 ? NO_PAGE : high * 0x100000000 + bytes.readUInt32LE(at);
}

function readTree(name: string, bytes: Buffer, at: number): Tree {
  return {
    name,
    depth: bytes.readUInt16LE(at + 6),
    branchPages: readNumber(bytes, at + 8),
    leafPages: readNumber(bytes, at + 16),
    overflowPages: readNumber(bytes, at + 24),
    entries: readNumber(bytes, at + 32),
    root: readNumber(bytes, at + 40),
  };
}

const TREE_BYTES = 48;
/** Keys that are numbers, and several values for one key: LMDB opens no table of tables that says so of itself. */
const INCOMPATIBLE_FLAGS = 0x0c;

export class PageFile {
  readonly path: string;
  readonly pageBytes: number;
  /** Bytes of the file when it was last looked at. */
  size: number;
  /** The newest first; the older one is what the last transaction but one has left, and nothing has written over it yet. */
  moments: readonly Moment[];
  /** What is wrong with the meta pages. */
  problems: readonly PageProblem[];
  private readonly fd: number;

  /** @throws StoreError when there is nothing to read at all */
  constructor(path: string) {
    this.path = path;
    this.moments = [];
    this.problems = [];
    try {
      this.fd = openSync(path, 'r');
    } catch (error) {
      throw openError(path, error as NodeJS.ErrnoException);
    }
    try {
      this.size = fstatSync(this.fd).size;
      if (this.size === 0) throw new StoreError('damaged', `store: ${path}: the file is empty`, 0);
      this.pageBytes = this.findPageBytes();
      if (this.pageBytes === 0)
        throw new StoreError('damaged', `store: ${path}: offset 0: not a store, or its first pages are destroyed`, 0);
      this.look();
    } catch (error) {
      closeSync(this.fd);
      throw error;
    }
  }

  /** Reads the meta pages anew: a broker may have committed. */
  look(): void {
    this.size = fstatSync(this.fd).size;
    const problems: PageProblem[] = [];
    const moments: Moment[] = [];
    for (const page of [0, 1]) {
      const meta = this.readMoment(page);
      if ('kind' in meta) problems.push(meta);
      else moments.push(meta);
    }
    this.problems = problems;
    this.moments = moments.sort((a, b) => b.transaction - a.transaction);
  }

  /** Whether another file has its name by now. */
  get isReplaced(): boolean {
    const named = statSync(this.path, { throwIfNoEntry: false });
    const { dev, ino } = fstatSync(this.fd);
    return named === undefined || named.ino !== ino || named.dev !== dev;
  }

  close(): void {
    closeSync(this.fd);
  }

  /** Size of a page as the first meta page says, or as the place of the second one tells; 0: neither is there. */
  private findPageBytes(): number {
    const head = this.read(0, PAGE_HEAD_BYTES + META_BYTES);
    if (head !== null && head.readUInt32LE(PAGE_HEAD_BYTES) === LMDB_MAGIC) {
      const bytes = head.readUInt32LE(PAGE_HEAD_BYTES + 24);
      if (isPageSize(bytes)) return bytes;
    }
    for (let bytes = SMALLEST_PAGE; bytes <= LARGEST_PAGE; bytes *= 2) {
      const meta = this.read(bytes, PAGE_HEAD_BYTES + META_BYTES);
      if (meta?.readUInt32LE(PAGE_HEAD_BYTES) === LMDB_MAGIC && meta.readUInt32LE(PAGE_HEAD_BYTES + 24) === bytes) return bytes;
    }
    return 0;
  }

  private readMoment(page: number): Moment | PageProblem {
    const bytes = this.read(page * this.pageBytes, PAGE_HEAD_BYTES + META_BYTES);
    if (bytes === null) return this.problem(page, 0, 'the file ends before this meta page', false);
    if (readNumber(bytes, 0) !== page || bytes.readUInt16LE(18) !== META || bytes.readUInt32LE(PAGE_HEAD_BYTES) !== LMDB_MAGIC)
      return this.problem(page, 0, 'the meta page is destroyed', false);
    const format = bytes.readUInt32LE(PAGE_HEAD_BYTES + 4) & 0xffff;
    if (format !== DATA_FORMAT) return this.problem(page, PAGE_HEAD_BYTES + 4, `data format ${format} is not known`, false);
    const free = readTree('free pages', bytes, PAGE_HEAD_BYTES + 24);
    const main = readTree('tables', bytes, PAGE_HEAD_BYTES + 24 + TREE_BYTES);
    const lastPage = readNumber(bytes, PAGE_HEAD_BYTES + 120);
    const transaction = readNumber(bytes, PAGE_HEAD_BYTES + 128);
    const isSane =
      bytes.readUInt32LE(PAGE_HEAD_BYTES + 24) === this.pageBytes &&
      bytes.readUInt16LE(PAGE_HEAD_BYTES + 28) === 8 &&
      (bytes.readUInt16LE(PAGE_HEAD_BYTES + 28 + TREE_BYTES) & INCOMPATIBLE_FLAGS) === 0 &&
      lastPage >= 1 &&
      lastPage !== NO_PAGE &&
      transaction !== NO_PAGE &&
      // LMDB maps so many bytes: all pages lie within, also those behind the end of the file that were never written.
      (lastPage + 1) * this.pageBytes <= readNumber(bytes, PAGE_HEAD_BYTES + 16);
    if (!isSane) return this.problem(page, PAGE_HEAD_BYTES, 'the meta page makes no sense', false);
    return { transaction, lastPage, free, main };
  }

  /** Bytes of the file; null when it ends before, or the disk does not give them. */
  read(offset: number, length: number): Buffer | null {
    if (offset + length > this.size) return null;
    const bytes = Buffer.allocUnsafe(length);
    try {
      for (let at = 0; at < length; ) {
        const count = readSync(this.fd, bytes, at, length - at, offset + at);
        if (count === 0) return null;
        at += count;
      }
    } catch {
      return null;
    }
    return bytes;
  }

  private problem(page: number, at: number, text: string, isGap: boolean): PageProblem {
    return { kind: 'problem', page, offset: page * this.pageBytes + at, text, isGap };
  }

  /** Tables of a moment by name, and what is wrong on the way to them. */
  tables(moment: Moment): { readonly tables: ReadonlyMap<string, Tree>; readonly problems: readonly PageProblem[] } {
    const tables = new Map<string, Tree>();
    const problems: PageProblem[] = [];
    for (const found of this.walk(moment, moment.main)) {
      if (found.kind === 'problem') problems.push(found);
      else if (found.isTable) {
        const name = found.key.toString('latin1').replace(/\0$/, '');
        const bytes = found.length === TREE_BYTES ? this.read(found.offset, TREE_BYTES) : null;
        if (bytes === null)
          problems.push({ kind: 'problem', page: found.page, offset: found.offset, text: `table ${name} has no root`, isGap: true });
        else tables.set(name, readTree(name, bytes, 0));
      }
    }
    return { tables, problems };
  }

  /** Entries of a tree in the order of their keys, and what is wrong between them. What is unreadable is left out. */
  walk(moment: Moment, tree: Tree): Generator<PageEntry | PageProblem> {
    return this.steps(moment, tree, this.newPageSet(moment), { branchPages: 0, leafPages: 0, overflowPages: 0, entries: 0, depth: 0 });
  }

  private newPageSet(moment: Moment): PageSet {
    return new PageSet(Math.min(moment.lastPage + 1, Math.ceil(this.size / this.pageBytes)));
  }

  /** Reads a branch or a leaf page. */
  private open(moment: Moment, tree: Tree, page: number, seen: PageSet): Frame | PageProblem {
    const { pageBytes } = this;
    if (page < 2 || page > moment.lastPage) return this.problem(0, 0, `${tree.name}: page ${page} is referred to and cannot be`, true);
    const bytes = this.read(page * pageBytes, pageBytes);
    if (bytes === null) return this.problem(page, 0, `${tree.name}: the file ends before page ${page}, or the disk does not give it`, true);
    if (!seen.add(page)) return this.problem(page, 0, `${tree.name}: page ${page} is referred to twice`, true);
    const flags = bytes.readUInt16LE(18) & ~BOOKKEEPING;
    if (readNumber(bytes, 0) !== page || readNumber(bytes, 8) > moment.transaction || (flags !== BRANCH && flags !== LEAF))
      return this.problem(page, 0, `${tree.name}: page ${page} is destroyed`, true);
    const lower = bytes.readUInt16LE(20);
    const upper = bytes.readUInt16LE(22);
    const room = pageBytes - PAGE_HEAD_BYTES;
    if (lower > upper || upper > room || (lower & 1) !== 0 || (flags === BRANCH && lower < 4))
      return this.problem(page, 20, `${tree.name}: the head of page ${page} makes no sense`, true);
    return { bytes, page, count: lower >>> 1, next: 0 };
  }

  private *steps(moment: Moment, tree: Tree, seen: PageSet, count: TreeCount): Generator<PageEntry | PageProblem> {
    if (tree.root === NO_PAGE) return;
    const compare: Compare = tree === moment.free ? compareNumbers : Buffer.compare;
    const stack: Frame[] = [];
    let lastKey: Buffer | null = null;
    /** No key that follows may be smaller. */
    let least: Buffer | null = null;
    const first = this.open(moment, tree, tree.root, seen);
    if ('kind' in first) yield first;
    else stack.push(first);
    while (stack.length > 0) {
      const frame = stack[stack.length - 1]!;
      const isBranch = (frame.bytes.readUInt16LE(18) & BRANCH) !== 0;
      if (frame.next === 0) {
        if (isBranch) count.branchPages++;
        else count.leafPages++;
        count.depth = Math.max(count.depth, stack.length);
      }
      if (frame.next === frame.count) {
        stack.pop();
        continue;
      }
      const index = frame.next++;
      const at = frame.bytes.readUInt16LE(PAGE_HEAD_BYTES + index * 2) + PAGE_HEAD_BYTES;
      const keyEnd = this.keyEnd(frame, at);
      if (keyEnd < 0) {
        yield this.problem(frame.page, at, `${tree.name}: entry ${index} of page ${frame.page} makes no sense`, true);
        continue;
      }
      const key = frame.bytes.subarray(at + NODE_HEAD_BYTES, keyEnd);
      if (isBranch) {
        if (index > 0) {
          if (lastKey !== null && compare(lastKey, key) >= 0)
            yield this.problem(frame.page, at, `${tree.name}: entry ${index} of page ${frame.page} is out of order`, false);
          least = key;
        }
        const child = frame.bytes.readUInt32LE(at) + frame.bytes.readUInt16LE(at + 4) * 0x100000000;
        const below =
          stack.length < DEPTH_MAX ? this.open(moment, tree, child, seen) : this.problem(frame.page, at, `${tree.name}: no end`, true);
        if ('kind' in below) yield below;
        else stack.push(below);
        continue;
      }
      if (tree === moment.free && key.length !== 8) {
        yield this.problem(frame.page, at, `${tree.name}: entry ${index} of page ${frame.page} makes no sense`, true);
        continue;
      }
      if ((lastKey !== null && compare(lastKey, key) >= 0) || (least !== null && compare(key, least) < 0)) {
        yield this.problem(frame.page, at, `${tree.name}: entry ${index} of page ${frame.page} is out of order`, true);
        continue;
      }
      least = null;
      lastKey = key;
      count.entries++;
      yield this.entry(moment, tree, frame, at, keyEnd, key, seen, count);
    }
  }

  /** End of the key of a node at `at` of a page; -1: it cannot be one. */
  private keyEnd(frame: Frame, at: number): number {
    const { bytes, count } = frame;
    if ((at & 1) !== 0 || at < PAGE_HEAD_BYTES + count * 2 || at + NODE_HEAD_BYTES > bytes.length) return -1;
    const keyEnd = at + NODE_HEAD_BYTES + bytes.readUInt16LE(at + 6);
    return keyEnd > bytes.length ? -1 : keyEnd;
  }

  private entry(
    moment: Moment,
    tree: Tree,
    frame: Frame,
    at: number,
    keyEnd: number,
    key: Buffer,
    seen: PageSet,
    count: TreeCount,
  ): PageEntry | PageProblem {
    const { bytes, page } = frame;
    const { pageBytes } = this;
    const length = bytes.readUInt32LE(at);
    const flags = bytes.readUInt16LE(at + 4);
    if ((flags & LARGE) === 0) {
      if (keyEnd + length > pageBytes || (flags & ~TABLE) !== 0)
        return this.problem(page, at, `${tree.name}: an entry of page ${page} makes no sense`, true);
      return { kind: 'entry', key, page, offset: page * pageBytes + keyEnd, length, isTable: flags === TABLE };
    }
    if (flags !== LARGE || keyEnd + PAGE_HEAD_BYTES > pageBytes)
      return this.problem(page, at, `${tree.name}: an entry of page ${page} makes no sense`, true);
    const start = readNumber(bytes, keyEnd);
    if (start < 2 || start > moment.lastPage)
      return this.problem(page, keyEnd, `${tree.name}: page ${start} is referred to and cannot be`, true);
    const head = this.read(start * pageBytes, PAGE_HEAD_BYTES);
    const pages = head === null ? 0 : head.readUInt32LE(20);
    const end = start + pages;
    if (head === null || end - 1 > moment.lastPage || start * pageBytes + PAGE_HEAD_BYTES + length > this.size)
      return this.problem(page, keyEnd, `${tree.name}: the value in page ${start} is cut off`, true);
    if (
      readNumber(head, 0) !== start ||
      readNumber(head, 8) > moment.transaction ||
      (head.readUInt16LE(18) & ~BOOKKEEPING) !== OVERFLOW ||
      pages * pageBytes < PAGE_HEAD_BYTES + length
    )
      return this.problem(start, 0, `${tree.name}: page ${start} is destroyed`, true);
    for (let one = start; one < end && one * pageBytes < this.size; one++)
      if (!seen.add(one)) return this.problem(one, 0, `${tree.name}: page ${one} is referred to twice`, true);
    count.overflowPages += pages;
    return { kind: 'entry', key, page, offset: start * pageBytes + PAGE_HEAD_BYTES, length, isTable: false };
  }

  /** The value of an entry; null when the disk does not give it. */
  value(entry: PageEntry): Buffer | null {
    return this.read(entry.offset, entry.length);
  }

  /** Everything that is wrong with the structure of a moment: what LMDB would stumble over, or read wrongly. Values of the tables are not looked at. */
  *check(moment: Moment | undefined = this.moments[0], withMetaPages = true): Generator<PageProblem> {
    if (withMetaPages) yield* this.problems;
    if (moment === undefined || (withMetaPages && this.problems.length > 0)) return;
    const seen = this.newPageSet(moment);
    const counts: { tree: Tree; count: TreeCount }[] = [];
    const tables: Tree[] = [];
    let hasProblem = false;
    const lists: PageEntry[] = [];
    const walked = function* (file: PageFile, tree: Tree): Generator<PageProblem> {
      const count: TreeCount = { branchPages: 0, leafPages: 0, overflowPages: 0, entries: 0, depth: 0 };
      counts.push({ tree, count });
      for (const found of file.steps(moment, tree, seen, count)) {
        if (found.kind === 'problem') {
          hasProblem = true;
          yield found;
        } else if (tree === moment.free) lists.push(found);
        else if (tree === moment.main && found.isTable) {
          const bytes = found.length === TREE_BYTES ? file.read(found.offset, TREE_BYTES) : null;
          if (bytes !== null) tables.push(readTree(found.key.toString('latin1').replace(/\0$/, ''), bytes, 0));
        }
      }
    };
    yield* walked(this, moment.free);
    yield* walked(this, moment.main);
    for (const table of tables) yield* walked(this, table);
    if (hasProblem) return;
    for (const { tree, count } of counts) {
      const isSame =
        tree.branchPages === count.branchPages &&
        tree.leafPages === count.leafPages &&
        tree.overflowPages === count.overflowPages &&
        tree.entries === count.entries &&
        tree.depth === count.depth;
      if (!isSame)
        yield this.problem(
          tree.root === NO_PAGE ? 0 : tree.root,
          0,
          `${tree.name}: ${count.entries} entries where ${tree.entries} should be`,
          false,
        );
    }
    for (const list of lists) yield* this.checkFreeList(moment, list, seen);
    // Each commit writes the list of tables anew; a copy (1) has it from elsewhere.
    const root = moment.main.root === NO_PAGE ? null : this.read(moment.main.root * this.pageBytes, PAGE_HEAD_BYTES);
    if (root !== null && readNumber(root, 8) !== moment.transaction && readNumber(root, 8) !== COPIED)
      yield this.problem(moment.main.root, 8, 'an older state stands where the newest should be', false);
  }

  /** LMDB writes to what is listed as free: that must not be in use. */
  private *checkFreeList(moment: Moment, list: PageEntry, seen: PageSet): Generator<PageProblem> {
    const bytes = this.value(list);
    const wrong = (text: string): PageProblem => ({
      kind: 'problem',
      page: list.page,
      offset: list.offset,
      text: `free pages: ${text}`,
      isGap: false,
    });
    const count = bytes === null || bytes.length < 8 ? NO_PAGE : readNumber(bytes, 0);
    if (bytes === null || (count + 1) * 8 > bytes.length) {
      yield wrong('a list is cut off');
      return;
    }
    for (let i = 1; i <= count; i++) {
      // A block of pages is its length, as a negative number, and its first page.
      const number = bytes.readBigInt64LE(i * 8);
      if (number === 0n) continue;
      let first = Number(number);
      let pages = 1;
      if (first < 0) {
        pages = -first;
        if (i === count) continue;
        i++;
        first = Number(bytes.readBigInt64LE(i * 8));
        if (first === 0) continue;
      }
      if (first < 2 || first + pages - 1 > moment.lastPage) {
        yield wrong(`page ${first} is listed and cannot be`);
        return;
      }
      for (let page = first; page < first + pages && page * this.pageBytes < this.size; page++) {
        if (!seen.has(page)) continue;
        yield wrong(`page ${page} is in use`);
        return;
      }
    }
  }
}

function openError(path: string, { code, message }: NodeJS.ErrnoException): StoreError {
  if (code === 'ENOENT' || code === 'ENOTDIR') return new StoreError('absent', `store: there is no store in ${dirname(path)}`, 0);
  if (code === 'EACCES' || code === 'EPERM')
    return new StoreError('permission', `store: no permission to use ${path}; give its directory to the user that runs onehop`, 0);
  return new StoreError('disk', `store: cannot read ${path}: ${message}`, 0);
}

function isPageSize(bytes: number): boolean {
  return bytes >= SMALLEST_PAGE && bytes <= LARGEST_PAGE && (bytes & (bytes - 1)) === 0;
}
