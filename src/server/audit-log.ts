/**
 * AuditLog: who has changed what through the API, or was not allowed to, as lines of JSON in a file, and the last of them in memory.
 *
 *   change → memory ─┬─▶ GET /api/v1/audit
 *                    └─▶ lines that wait → one write for all of them → audit.log ── at its size ──▶ audit.log.1 → audit.log.2 → …
 *
 * Refusals have bounds of their own, so that changes stay. Nobody waits for the disk. A file that cannot be written is said in the log, once in a while, and the memory goes on.
 */
import { readFileSync } from 'node:fs';
import { appendFile, rename, rm, stat } from 'node:fs/promises';
import type { Log } from '../base/log.ts';
import { RefusalRate } from '../http/refusal-rate.ts';

/** What is remembered. */
const ENTRIES_MAX = 1_000;
/** Refusals among them. */
const REFUSALS_REMEMBERED_MAX = 200;
const FORBIDDEN = 403;
/** Lines that wait for a disk that does not take them; further ones are in memory only. */
const WAITING_MAX = 10_000;
const TROUBLE_MILLISECONDS = 60_000;
const FILE_MODE = 0o600;
const TEXT_LENGTH_MAX = 512;

/** One change. */
export interface AuditEntry {
  /** Wall milliseconds. */
  readonly at: number;
  /** Request ID; '' where there was no request. */
  readonly id: string;
  /** Name of the route, such as `addUser`. */
  readonly action: string;
  readonly method: string;
  readonly path: string;
  readonly query: string;
  readonly address: string;
  readonly caller: string;
  readonly status: number;
  /** What a route has added: names, never secrets. */
  readonly facts?: Readonly<Record<string, unknown>> | undefined;
}

export interface AuditSettings {
  /** '': none. */
  readonly file: string;
  readonly bytesMax: number;
  readonly filesMax: number;
}

/** What is asked for: entries that match all that is given, the newest first. */
export interface AuditAsked {
  readonly limit: number;
  readonly cursor?: string | undefined;
  readonly caller?: string | undefined;
  readonly action?: string | undefined;
  /** Only what was refused, or only what was not. */
  readonly refused?: boolean | undefined;
  /** Wall milliseconds. */
  readonly from?: number | undefined;
  readonly to?: number | undefined;
}

interface Numbered extends AuditEntry {
  /** Counted from the start of the process. */
  readonly number: number;
}

export class AuditLog {
  /** Told of a line that is in memory only. */
  dropped: () => void;
  /** Told of a refusal too many. */
  suppressed: () => void;
  private readonly refusals: RefusalRate;
  private remembered: number;
  private readonly settings: AuditSettings;
  private readonly log: Log;
  private readonly entries: Numbered[];
  private next: number;
  private waiting: string[];
  private writing: Promise<void>;
  private isWriting: boolean;
  private troubledAt: number;

  constructor(settings: AuditSettings, log: Log) {
    this.dropped = () => {};
    this.suppressed = () => {};
    this.refusals = new RefusalRate();
    this.remembered = 0;
    this.settings = settings;
    this.log = log;
    this.entries = [];
    this.next = 1;
    this.waiting = [];
    this.writing = Promise.resolve();
    this.isWriting = false;
    this.troubledAt = Number.NEGATIVE_INFINITY;
    if (settings.file !== '') for (const entry of lastOf(settings.file)) this.remember(entry);
  }

  add(entry: AuditEntry): void {
    // Each shard has counted its own already.
    if (entry.status === FORBIDDEN && !this.refusals.take(entry.caller, performance.now())) {
      this.suppressed();
      return;
    }
    const { path, query, ...same } = entry;
    const kept = { ...same, path: path.slice(0, TEXT_LENGTH_MAX), query: query.slice(0, TEXT_LENGTH_MAX) };
    this.remember(kept);
    if (this.settings.file === '') return;
    if (this.waiting.length >= WAITING_MAX) {
      this.dropped();
      this.troubled('too many lines wait');
      return;
    }
    this.waiting.push(`${JSON.stringify({ ...kept, at: new Date(kept.at).toISOString() })}\n`);
    if (this.isWriting) return;
    this.isWriting = true;
    this.writing = this.write();
  }

  private remember(entry: AuditEntry): void {
    this.entries.push({ ...entry, number: this.next++ });
    if (isRefusal(entry) && ++this.remembered > REFUSALS_REMEMBERED_MAX) this.forget(this.entries.findIndex(isRefusal));
    if (this.entries.length > ENTRIES_MAX) this.forget(0);
  }

  private forget(at: number): void {
    const [entry] = this.entries.splice(at, 1);
    if (isRefusal(entry!)) this.remembered--;
  }

  private async write(): Promise<void> {
    const { file, bytesMax } = this.settings;
    while (this.waiting.length > 0) {
      const lines = this.waiting;
      this.waiting = [];
      try {
        const text = lines.join('');
        const { size } = await stat(file).catch(() => ({ size: 0 }));
        if (size > 0 && size + Buffer.byteLength(text) > bytesMax) await this.putAside();
        await appendFile(file, text, { mode: FILE_MODE });
      } catch (error) {
        for (const _ of lines) this.dropped();
        this.troubled((error as Error).message);
      }
    }
    this.isWriting = false;
  }

  private async putAside(): Promise<void> {
    const { file, filesMax } = this.settings;
    if (filesMax === 0) {
      await rm(file, { force: true });
      return;
    }
    for (let number = filesMax - 1; number >= 1; number--)
      await rename(`${file}.${number}`, `${file}.${number + 1}`).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error;
      });
    await rename(file, `${file}.1`);
  }

  private troubled(error: string): void {
    const now = performance.now();
    if (now - this.troubledAt < TROUBLE_MILLISECONDS) return;
    this.troubledAt = now;
    this.log.error({ file: this.settings.file, error }, 'the audit log cannot be written: changes are only remembered');
  }

  /** A page of what is remembered. */
  list({ limit, cursor, caller, action, refused, from, to }: AuditAsked): {
    readonly data: readonly object[];
    readonly next: string | null;
  } {
    const before = cursor === undefined ? Number.POSITIVE_INFINITY : Number(cursor);
    const data: object[] = [];
    let last = 0;
    for (let at = this.entries.length - 1; at >= 0; at--) {
      const { number, ...entry } = this.entries[at]!;
      if (number >= before || (caller !== undefined && entry.caller !== caller) || (action !== undefined && entry.action !== action))
        continue;
      if (refused !== undefined && refused !== isRefusal(entry)) continue;
      if ((from !== undefined && entry.at < from) || (to !== undefined && entry.at > to)) continue;
      if (data.length === limit) return { data, next: String(last) };
      data.push({ ...entry, at: new Date(entry.at).toISOString() });
      last = number;
    }
    return { data, next: null };
  }

  /** Resolves when everything is written. */
  async stop(): Promise<void> {
    await this.writing;
  }
}

function isRefusal({ status }: Pick<AuditEntry, 'status'>): boolean {
  return status === FORBIDDEN;
}

/** What the end of a file has told before this process; what cannot be read is none. */
function lastOf(file: string): AuditEntry[] {
  const entries: AuditEntry[] = [];
  let text = '';
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return entries;
  }
  for (const line of text.split('\n').slice(-ENTRIES_MAX - 1)) {
    try {
      const { at, ...entry } = JSON.parse(line) as Omit<AuditEntry, 'at'> & { at: string };
      const time = Date.parse(at);
      if (typeof entry.action === 'string' && !Number.isNaN(time)) entries.push({ ...entry, at: time });
    } catch {
      // The last line may have been cut off, and is empty otherwise.
    }
  }
  return entries;
}
