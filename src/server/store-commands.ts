/**
 * StoreCommands: what `onehop store inspect` and `onehop store verify` find out, and what all commands on stores share.
 *
 * They read the file of the store themselves, at one moment, so a broker may use it meanwhile and a damaged file ends nothing. Nothing here prints.
 * `store-commands-transfer.ts` has export and import, `store-commands-copy.ts` backup and compact.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { readText } from '../base/bytes.ts';
import { packObject } from '../base/pack.ts';
import { aligned, ENTRY_NAMES } from '../journal/entry.ts';
import { recordTime } from '../journal/record.ts';
import { type Damage, damageText } from '../store/damage.ts';
import { holderLine, itemLine } from '../store/export-format.ts';
import { type LogReader, openForReading } from '../store/log-reader.ts';
import { damageOf } from '../store/salvage.ts';
import { type ContentCounts, type Holder, StoreContents } from '../store/store-contents.ts';
import { StoreError } from '../store/store-error.ts';
import type { StoreMeta } from '../store/store-meta.ts';

/** A command that ends without success for a reason that a person can understand. */
export class StoreCommandError extends Error {
  /** 1: the world; 2: what the user asked for. */
  readonly exitCode: 1 | 2;

  constructor(message: string, exitCode: 1 | 2 = 1) {
    super(message);
    this.name = 'StoreCommandError';
    this.exitCode = exitCode;
  }
}

const DAMAGE_ADVICE = 'restore a backup, or start the broker once with store.onCorruption: salvage to keep what is before the damage';

/** Told how many records of how many have been read. */
export type Progress = (records: number, of: number) => void;

/**
 * Runs a command; what is wrong with the store, or the disk, becomes one clear line.
 * @param target where the command writes, for the words
 */
export async function explained<T>(run: () => Promise<T>, target?: string): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof StoreError)
      throw new StoreCommandError(error.kind === 'damaged' ? `${error.message}; ${DAMAGE_ADVICE}` : error.message);
    // Errors of the system have a code, and so have those of LMDB.
    const { code, message } = error as NodeJS.ErrnoException;
    if (target !== undefined && code !== undefined) throw new StoreCommandError(`cannot write to ${target}: ${message}`);
    throw error;
  }
}

/** Reads a store at one moment. @throws StoreError when there is none, or when it was not one moment after all */
export async function withReader<T>(directory: string, run: (reader: LogReader) => T | Promise<T>): Promise<T> {
  const reader = await openForReading(directory);
  try {
    const result = await run(reader);
    await reader.confirm();
    return result;
  } catch (error) {
    // What looked like damage may have been written over.
    await reader.confirm();
    throw error;
  } finally {
    reader.close();
  }
}

/** Refuses what cannot be read as a whole: half of a store must not look like all of it. */
export function refuseDamage(reader: LogReader, damage: Damage): never {
  throw new StoreError('damaged', `store: ${damageText(reader.file, damage)}`, 0);
}

/** What the records say. @param onDamage what to do with a damage; it may throw */
export function readContents(reader: LogReader, progress: Progress, onDamage: (damage: Damage) => void): StoreContents {
  const contents = new StoreContents();
  for (const { offset, text } of reader.problems) onDamage({ offset, shard: -1, count: -1, at: -1, text });
  let items = 0;
  for (const item of reader.items()) {
    progress(++items, reader.entries);
    const damage = damageOf(item);
    if (damage !== null) onDamage(damage);
    if (item.kind !== 'record') continue;
    contents.records++;
    contents.bytes += item.bytes.length;
    if (reader.counts(item.count)) contents.take(item);
  }
  contents.finish();
  return contents;
}

/** Records of one shard. */
export interface ShardSummary {
  readonly shard: number;
  records: number;
  bytes: number;
}

/** What is in a store. */
export interface StoreSummary {
  readonly path: string;
  readonly format: number;
  readonly slotMap: string;
  readonly shards: number;
  readonly epoch: number;
  /** A change of the number of shards has not been completed. */
  readonly isBeingRewritten: boolean;
  readonly fileBytes: number;
  readonly records: number;
  readonly recordBytes: number;
  /** Bytes of what is still needed; the rest goes in time, or by `compact`. */
  readonly liveBytes: number;
  /** Records that do not count, left over from a change of the number of shards. */
  readonly leftOver: number;
  /** Wall time, ISO; null: there are no records. */
  readonly oldest: string | null;
  readonly newest: string | null;
  readonly perShard: readonly ShardSummary[];
  readonly entries: Readonly<Record<string, number>>;
  readonly contents: ContentCounts;
  readonly damages: number;
}

function metaOf(reader: LogReader): StoreMeta {
  if (reader.meta !== null) return reader.meta;
  const problem = reader.problems[0];
  const text = problem === undefined ? 'what is known of the whole store is missing' : problem.text;
  throw new StoreError('damaged', `store: ${reader.file}: offset ${problem?.offset ?? 0}: ${text}`, 0);
}

/** What is in the store of a directory. @throws StoreCommandError */
export function inspectStore(directory: string, progress: Progress): Promise<StoreSummary> {
  return explained(() => withReader(directory, (reader) => summary(directory, reader, progress)));
}

function summary(directory: string, reader: LogReader, progress: Progress): StoreSummary {
  const meta = metaOf(reader);
  let damages = 0;
  const contents = readContents(reader, progress, () => damages++);
  const shards: (ShardSummary | undefined)[] = [];
  let leftOver = 0;
  let oldest = Number.POSITIVE_INFINITY;
  let newest = 0;
  let liveBytes = 0;
  for (const item of reader.items()) {
    if (item.kind !== 'record') continue;
    const { writer, count, bytes } = item;
    if (!reader.counts(count)) {
      leftOver++;
      continue;
    }
    shards[writer] ??= { shard: writer, records: 0, bytes: 0 };
    shards[writer].records++;
    shards[writer].bytes += bytes.length;
    oldest = Math.min(oldest, recordTime(bytes));
    newest = Math.max(newest, recordTime(bytes));
    for (const live of contents.liveItems(item)) {
      liveBytes += aligned(live.end - live.at);
      if (live.kind === 'message') for (const { at, end } of live.deliveries) liveBytes += aligned(end - at);
    }
  }
  for (const { whole } of contents.holders.values()) if (whole !== null) liveBytes += aligned(16 + packObject(whole).length);
  const perShard = shards.filter((one) => one !== undefined);
  const entries: Record<string, number> = {};
  contents.entries.forEach((count, kind) => {
    entries[ENTRY_NAMES[kind] ?? String(kind)] = count;
  });
  return {
    path: directory,
    format: meta.format,
    slotMap: meta.slotMap,
    shards: meta.shards,
    epoch: meta.epoch,
    isBeingRewritten: meta.pending !== undefined,
    fileBytes: statSync(join(directory, 'data.mdb')).size,
    records: perShard.reduce((sum, { records }) => sum + records, 0),
    recordBytes: perShard.reduce((sum, { bytes }) => sum + bytes, 0),
    liveBytes,
    leftOver,
    oldest: newest === 0 ? null : new Date(oldest).toISOString(),
    newest: newest === 0 ? null : new Date(newest).toISOString(),
    perShard,
    entries,
    contents: contents.counts,
    damages,
  };
}

/** One session or mailbox. `holder` and `messages` are as the lines of an export. */
export interface SessionSummary {
  readonly kind: 'session' | 'mailbox';
  readonly clientId: string;
  readonly shard: number;
  readonly waiting: number;
  readonly inflight: number;
  readonly hasWill: boolean;
  readonly holder: Readonly<Record<string, unknown>>;
  /** Only where payloads were asked for, in the order of the queue. */
  readonly messages?: readonly MessageSummary[];
}

/** One message of a session. */
export interface MessageSummary {
  readonly sequence: number;
  readonly state: string;
  readonly packetId?: number;
  readonly topic: string;
  readonly qos: number;
  readonly expiresAt: number;
  /** Base64. */
  readonly payload: string;
}

/** One session. @throws StoreCommandError when there is none of this Client Identifier */
export function inspectSession(directory: string, clientId: string, withPayloads: boolean, progress: Progress): Promise<SessionSummary> {
  return explained(() => withReader(directory, (reader) => sessionOf(reader, directory, clientId, withPayloads, progress)));
}

function sessionOf(reader: LogReader, directory: string, clientId: string, withPayloads: boolean, progress: Progress): SessionSummary {
  metaOf(reader);
  const contents = readContents(reader, progress, () => undefined);
  const holder = [...contents.holders.values()].find((one) => one.clientId === clientId);
  if (holder === undefined) throw new StoreCommandError(`${directory}: there is no session of client "${clientId}"`);
  const line = holderLine(holder) as Record<string, unknown>;
  if (!withPayloads && line['will'] !== undefined) line['will'] = { ...(line['will'] as object), payload: undefined };
  return {
    kind: holder.session === null ? 'mailbox' : 'session',
    clientId,
    shard: holder.writer,
    waiting: holder.messages - holder.states.size,
    inflight: holder.states.size,
    hasWill: holder.session?.will !== undefined,
    holder: line,
    ...(withPayloads ? { messages: messagesOf(reader, contents, holder) } : {}),
  };
}

interface MessageLineTo extends MessageSummary {
  readonly to: readonly {
    readonly id: number;
    readonly sequence: number;
    readonly state: string;
    readonly qos: number;
    readonly packetId?: number;
  }[];
}

function messagesOf(reader: LogReader, contents: StoreContents, holder: Holder): MessageSummary[] {
  const messages: MessageSummary[] = [];
  for (const item of reader.items()) {
    if (item.kind !== 'record' || !reader.counts(item.count)) continue;
    for (const live of contents.liveItems(item)) {
      if (live.kind !== 'message') continue;
      const deliveries = live.deliveries.filter((delivery) => delivery.holder === holder);
      if (deliveries.length === 0) continue;
      const { to, topic, expiresAt, payload } = itemLine(item.bytes, { ...live, deliveries }) as MessageLineTo;
      for (const { sequence, state, qos, packetId } of to)
        messages.push({ sequence, state, ...(packetId === undefined ? {} : { packetId }), topic, qos, expiresAt, payload });
    }
  }
  return messages.sort((a, b) => a.sequence - b.sequence);
}

/** What a verification has read. */
export interface Verification {
  readonly records: number;
  readonly bytes: number;
  readonly damages: number;
}

/**
 * Reads every page, record and entry of a store.
 * @param found called at the end for each damage, with a line that names file and place
 * @throws StoreCommandError when there is no store, or one of another version
 */
export function verifyStore(directory: string, found: (line: string) => void, progress: Progress): Promise<Verification> {
  return explained(async () => {
    const lines: string[] = [];
    let counts = { records: 0, bytes: 0 };
    try {
      counts = await withReader(directory, (reader) => verifyAll(reader, (line) => lines.push(line), progress));
    } catch (error) {
      // Nothing of it can be read.
      if (!(error instanceof StoreError) || error.kind !== 'damaged') throw error;
      lines.push(error.message);
    }
    for (const line of lines) found(line);
    return { ...counts, damages: lines.length };
  });
}

function verifyAll(reader: LogReader, report: (line: string) => void, progress: Progress): { records: number; bytes: number } {
  const told = new Set<number>();
  for (const { offset, text } of reader.check()) {
    told.add(offset);
    report(damageText(reader.file, { offset, shard: -1, count: -1, at: -1, text }));
  }
  if (reader.meta === null && reader.problems.length === 0 && reader.entries > 0)
    report(damageText(reader.file, { offset: 0, shard: -1, count: -1, at: -1, text: 'what is known of the whole store is missing' }));
  // A page was told already; a record has its own place.
  const reportOnce = (damage: Damage): void => {
    if (damage.shard >= 0 || !told.has(damage.offset)) report(damageText(reader.file, damage));
  };
  const contents = readContents(reader, progress, reportOnce);
  for (const line of contradictions(contents)) report(`${reader.file}: ${line}`);
  return { records: contents.records, bytes: contents.bytes };
}

/** What cannot be although every record is right. */
function* contradictions(contents: StoreContents): Generator<string> {
  const owners = new Map<string, number>();
  for (const holder of contents.holders.values()) {
    const bytes = (holder.session ?? holder.mailbox)!.clientId;
    const clientId = readText(bytes, 0, bytes.length);
    const other = owners.get(clientId);
    if (other !== undefined) yield `client "${clientId}" has two sessions, ${other} and ${holder.id}`;
    owners.set(clientId, holder.id);
    const packetIds = new Set<number>();
    for (const { packetId } of holder.states.values()) {
      if (packetIds.has(packetId)) yield `client "${clientId}" has two messages in flight under Packet Identifier ${packetId}`;
      packetIds.add(packetId);
    }
  }
}
