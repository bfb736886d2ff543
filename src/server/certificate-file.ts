/**
 * CertificateFile: the registry of certificates on disk, as lines of JSON. `onehop certificate` and the broker both add to it, each under a lock of the file; the last
 * line about a certificate counts.
 *
 *   { "version": 1 }
 *   { "ca": { "fingerprint": "…", "status": "ACTIVE", "autoRegister": true, … } }
 *   { "device": { "fingerprint": "…", "clientId": "pump-7", "status": "ACTIVE", … } }
 *   { "removed": "…" }
 *
 * So a first connect costs one line and not a file, and whoever has read the file once reads only what was added. A crash may leave a part of the last line, which is none.
 */
import { X509Certificate } from 'node:crypto';
import {
  closeSync,
  fchownSync,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { CertificateRegistry, DEVICE_STATUSES, type RegistryEntry } from '../auth/certificate-registry.ts';
import { library } from '../base/c-library.ts';

const datasync = promisify(fdatasync);

const NEW_FILE_MODE = 0o600;
const LOCK_EXCLUSIVE = 2;
const LOCK_AT_ONCE = 4;
const LINE_FEED = 0x0a;
const HEADER = '{"version":1}\n';
/** Lines that count no more may be as many as those that do, and so many besides. */
const SPARE_LINES_MAX = 1_000;

const fingerprint = z.string().regex(/^[0-9a-f]{64}$/, { error: 'expected a SHA-256 fingerprint' });
const serial = z.string().regex(/^[0-9A-F]{1,128}$/, { error: 'expected a serial number in upper case hexadecimal digits' });
const time = z.number().int();
const times = { createdAt: time, updatedAt: time, notBefore: time, notAfter: time };

const ca = z.strictObject({
  fingerprint,
  serial,
  commonName: z.string(),
  issuerCommonName: z.string(),
  pem: z.string(),
  status: z.enum(['ACTIVE', 'INACTIVE']),
  autoRegister: z.boolean(),
  autoActivate: z.boolean(),
  ...times,
});

const device = z.strictObject({
  fingerprint,
  serial,
  issuerKey: fingerprint,
  issuerCommonName: z.string(),
  commonName: z.string(),
  organizationalUnit: z.string(),
  clientId: z.string().min(1).nullable(),
  sharesClientId: z.boolean(),
  status: z.enum(DEVICE_STATUSES),
  source: z.enum(['JITP', 'API']),
  ...times,
});

/** By the one key that a line has. */
const LINES: Readonly<Record<string, z.ZodType<RegistryEntry | { readonly version: 1 }, unknown>>> = {
  version: z.strictObject({ version: z.literal(1) }),
  ca: z.strictObject({ ca }),
  device: z.strictObject({ device }),
  removed: z.strictObject({ removed: fingerprint }),
  code: z.strictObject({ code: z.strictObject({ code: z.string().min(1), expiresAt: time }).nullable() }),
};

/** An open file that nobody else writes to. */
export interface LockedFile {
  readonly fd: number;
}

export class CertificateFile {
  readonly path: string;
  registry: CertificateRegistry;
  /** Which file was read, how far, and as what its system knew it. */
  private inode: number;
  private readTo: number;
  private changedAt: number;
  /** Line feeds so far, for messages, and to know when to write the file anew. */
  private lines: number;
  /** The end of what was read: still there where only something was added. */
  private tail: Buffer;

  constructor(path: string) {
    this.path = path;
    this.registry = new CertificateRegistry();
    this.inode = -1;
    this.readTo = 0;
    this.changedAt = -1;
    this.lines = 0;
    this.tail = Buffer.alloc(0);
  }

  /**
   * Reads what is new, or everything where the file is another one.
   * @returns fingerprints of certificates that are good no more, or for another Client Identifier; null: the file is as it was
   * @throws with one line: the file, what is wrong, what to do; then what was read before holds
   */
  read(): string[] | null {
    const fd = this.open('r');
    try {
      return this.readFrom(fd);
    } catch (error) {
      throw this.readable(error as Error);
    } finally {
      closeSync(fd);
    }
  }

  /** The file, for nobody else; null: somebody else has it. @param mayWait for whoever has it @throws as `read` does */
  lock(mayWait: boolean): LockedFile | null {
    for (;;) {
      const fd = this.open('a+');
      // Where the C library cannot be called (Windows) nobody waits.
      if ((library()?.flock(fd, mayWait ? LOCK_EXCLUSIVE : LOCK_EXCLUSIVE | LOCK_AT_ONCE) ?? 0) !== 0) {
        closeSync(fd);
        return null;
      }
      // Whoever had it may have put another file in its place.
      if (statSync(this.path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino) return { fd };
      closeSync(fd);
    }
  }

  unlock({ fd }: LockedFile): void {
    closeSync(fd);
  }

  /** What has come since the last reading; the registry is as the file then. */
  catchUp({ fd }: LockedFile): string[] | null {
    try {
      return this.readFrom(fd);
    } catch (error) {
      throw this.readable(error as Error);
    }
  }

  /** Adds entries, on disk when it returns. The registry must be caught up, and is told by `apply`. @throws when the disk does not take them; then none is there */
  append(locked: LockedFile, entries: readonly RegistryEntry[]): void {
    const before = this.write(locked, entries);
    try {
      fdatasyncSync(locked.fd);
    } catch (error) {
      this.undo(locked, before);
      throw error;
    }
  }

  /** The same for whoever must not wait for the disk. The lock is kept until then. */
  async appendLater(locked: LockedFile, entries: readonly RegistryEntry[]): Promise<void> {
    const before = this.write(locked, entries);
    try {
      await datasync(locked.fd);
    } catch (error) {
      this.undo(locked, before);
      throw error;
    }
  }

  /** @returns the size of the file before */
  private write({ fd }: LockedFile, entries: readonly RegistryEntry[]): number {
    const { size } = fstatSync(fd);
    let text = size === 0 ? HEADER : '';
    // A crash has left a part of a line; a whole one that nobody has ended counts.
    if (size > this.readTo) {
      if (parsed(this.bytesOf(fd, this.readTo, size)) === null) ftruncateSync(fd, this.readTo);
      else text = '\n';
    }
    for (const entry of entries) text += `${JSON.stringify(entry)}\n`;
    const before = fstatSync(fd).size;
    try {
      writeFileSync(fd, text); // all of it, or an error: a disk may take a part
    } catch (error) {
      this.undo({ fd }, before);
      throw error;
    }
    const bytes = Buffer.from(text);
    this.lines += text.split('\n').length - 1;
    this.remember(fstatSync(fd), before + bytes.length, bytes);
    return before;
  }

  private undo({ fd }: LockedFile, size: number): void {
    ftruncateSync(fd, size);
    // Everything is read again.
    this.inode = -1;
  }

  /** Writes the file anew where most of its lines count no more: after a crash it is the old one or the new one. */
  compact({ fd }: LockedFile): void {
    if (this.lines <= 2 * this.registry.size + SPARE_LINES_MAX) return;
    const temporary = `${this.path}.${process.pid}.tmp`;
    const before = fstatSync(fd);
    try {
      // A process of the same number may have left one when it crashed; under the lock nobody writes to it.
      rmSync(temporary, { force: true });
      const target = openSync(temporary, 'wx', before.mode & 0o777);
      try {
        const lines = [...this.registry.entries()].map((entry) => `${JSON.stringify(entry)}\n`);
        writeFileSync(target, HEADER + lines.join(''));
        keepOwner(target, before);
        fsyncSync(target);
      } finally {
        closeSync(target);
      }
      renameSync(temporary, this.path);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
    syncFolderOf(this.path);
  }

  /** Makes an empty file where there is none. */
  make(): void {
    const fd = openSync(this.path, 'a', NEW_FILE_MODE);
    closeSync(fd);
    syncFolderOf(this.path);
  }

  private open(flags: 'r' | 'a+'): number {
    try {
      // Only commands make one: a broker that is told a wrong name must not begin an empty registry.
      if (flags === 'a+') statSync(this.path);
      return openSync(this.path, flags);
    } catch (error) {
      throw this.readable(error as Error);
    }
  }

  private readable(error: Error): Error {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined) return error;
    if (code === 'ENOENT') return new Error(`${this.path}: no such file; make it with: onehop certificate ca-code --file ${this.path}`);
    return new Error(`${this.path}: cannot use this file: ${code === 'EACCES' ? 'permission denied' : message}`);
  }

  private readFrom(fd: number): string[] | null {
    const stats = fstatSync(fd);
    if (stats.ino === this.inode && stats.size === this.readTo && stats.mtimeMs === this.changedAt) return null;
    const isLonger = stats.ino === this.inode && stats.size > this.readTo;
    if (isLonger && this.bytesOf(fd, this.readTo - this.tail.length, this.readTo).equals(this.tail)) return this.readMore(fd, stats);
    const before = { registry: this.registry, readTo: this.readTo, lines: this.lines, tail: this.tail };
    this.registry = new CertificateRegistry();
    this.readTo = 0;
    this.lines = 0;
    try {
      this.readMore(fd, stats);
    } catch (error) {
      Object.assign(this, before);
      throw error;
    }
    return before.registry.endedIn(this.registry);
  }

  private readMore(fd: number, stats: Stats): string[] {
    const bytes = this.bytesOf(fd, this.readTo, stats.size);
    const entries: RegistryEntry[] = [];
    let at = 0;
    let line = this.lines;
    for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, at)) {
      const text = bytes.subarray(at, end);
      at = end + 1;
      line++;
      if (text.length === 0) continue;
      const entry = this.entryOf(text, line);
      if (!('version' in entry)) entries.push(entry);
    }
    // The last line may lack its end: a part of one that a crash has left, or one that an editor has left so.
    const rest = bytes.subarray(at);
    if (parsed(rest) !== null) {
      const entry = this.entryOf(rest, line + 1);
      if (!('version' in entry)) entries.push(entry);
    }
    // What is wrong with any of them is known now: all or none.
    const ended = entries.flatMap((entry) => this.registry.apply(entry));
    this.lines = line;
    this.remember(stats, this.readTo + at, bytes.subarray(0, at));
    return ended;
  }

  private remember(stats: Stats, readTo: number, bytes: Buffer): void {
    this.inode = stats.ino;
    this.changedAt = stats.mtimeMs;
    this.readTo = readTo;
    if (bytes.length > 0) this.tail = Buffer.from(bytes.subarray(-256));
  }

  private entryOf(bytes: Buffer, line: number): RegistryEntry | { readonly version: 1 } {
    const json = parsed(bytes);
    const kind = Object.keys(json ?? {})[0] ?? '';
    const shape = LINES[kind];
    if (json === null || shape === undefined)
      throw new Error(`${this.path}:${line}: this is no entry of a registry of certificates; take the line out`);
    const result = shape.safeParse(json);
    if (!result.success) {
      const { path, message } = result.error.issues[0]!;
      throw new Error(`${this.path}:${line}: ${path.length === 0 ? '' : `${path.join('.')}: `}${message}`);
    }
    const entry = result.data;
    if ('ca' in entry && !isCertificate(entry.ca.pem, entry.ca.fingerprint))
      throw new Error(`${this.path}:${line}: ca.pem: expected the certificate with this fingerprint`);
    return entry;
  }

  private bytesOf(fd: number, from: number, to: number): Buffer {
    const bytes = Buffer.alloc(Math.max(0, to - from));
    let at = 0;
    while (at < bytes.length) {
      const count = readSync(fd, bytes, at, bytes.length - at, from + at);
      if (count === 0) break;
      at += count;
    }
    return bytes.subarray(0, at);
  }
}

/** An object of JSON; null: it is none, or not whole. */
function parsed(bytes: Buffer): object | null {
  try {
    const json: unknown = JSON.parse(bytes.toString());
    return typeof json === 'object' && json !== null ? json : null;
  } catch {
    return null;
  }
}

function isCertificate(pem: string, fingerprint: string): boolean {
  try {
    return new X509Certificate(pem).fingerprint256.replaceAll(':', '').toLowerCase() === fingerprint;
  } catch {
    return false;
  }
}

/** The file stays with its owner, who may be the broker's user, also where root has changed it. */
function keepOwner(fd: number, { uid, gid }: Stats): void {
  try {
    fchownSync(fd, uid, gid);
  } catch {
    // Only root may give a file away; anybody else writes his own.
  }
}

function syncFolderOf(file: string): void {
  const folder = openSync(dirname(file), 'r');
  fsyncSync(folder);
  closeSync(folder);
}
