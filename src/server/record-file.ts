/**
 * RecordFile: a file that commands write and the broker reads while it runs. It is written whole beside the old one and then renamed, so that a reader, or a crash,
 * sees the old one or the new one; commands at the same time wait for each other.
 */
import { closeSync, fchownSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, type Stats, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { library } from '../base/c-library.ts';
import { StartError } from './start-error.ts';

const NEW_FILE_MODE = 0o600;
const LOCK_EXCLUSIVE = 2;

/**
 * What a file of JSON holds.
 * @param make the command that makes such a file
 * @throws with one line: the file, what is wrong, what to do
 */
export function readJsonFile(file: string, make: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new Error(`${file}: no such file; make it with: ${make} --file ${file}`);
    throw new Error(`${file}: cannot read this file: ${code === 'EACCES' ? 'permission denied' : message}`);
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${file}: this is no JSON; correct it, or begin anew with: ${make}`);
  }
}

/**
 * Writes a file: after a crash it is the old one or the new one. It keeps its permissions; a new one is for its owner only.
 * @param modeMask permissions that it may keep
 */
export function replaceFile(file: string, text: string, modeMask: number = 0o777): void {
  const temporary = `${file}.${process.pid}.tmp`;
  const before = statSync(file, { throwIfNoEntry: false });
  const mode = before?.mode ?? NEW_FILE_MODE;
  try {
    // Left by a process that was killed and had the same number, as in containers.
    rmSync(temporary, { force: true });
    const fd = openSync(temporary, 'wx', mode & modeMask);
    try {
      writeFileSync(fd, text); // all of it, or an error: a disk may take a part
      if (before !== undefined) keepOwner(fd, before);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  const directory = openSync(dirname(file), 'r');
  fsyncSync(directory);
  closeSync(directory);
}

/** The file stays with its owner, who may be the broker's user, also where root has changed it. */
function keepOwner(fd: number, { uid, gid }: Stats): void {
  try {
    fchownSync(fd, uid, gid);
  } catch {
    // Only root may give a file away; anybody else writes his own.
  }
}

/** Does something to a file while no other command does. The lock ends with the process. @throws StartError with one line, and what `edit` throws */
export function whileLocked(file: string, edit: () => void): void {
  try {
    const fd = openSync(`${file}.lock`, 'a', NEW_FILE_MODE);
    try {
      // Where the C library cannot be called (Windows) nobody waits.
      library()?.flock(fd, LOCK_EXCLUSIVE);
      edit();
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw code === undefined
      ? error
      : new StartError(`${file}: cannot write this file: ${code === 'EACCES' ? 'permission denied' : message}`, 1);
  }
}

/** What `read` answers. @throws StartError of this kind with the one line that `read` throws */
export function forCommand<T>(read: () => T, kind: StartError['kind'] = 'failed'): T {
  try {
    return read();
  } catch (error) {
    throw new StartError((error as Error).message, 1, kind);
  }
}

/** What a file was known by before a change, and after it. */
export interface FileStamps {
  readonly before: string;
  readonly after: string;
}

/** What a file is known by, as long as it stays the same; '': it is not there. */
export function stampOf(file: string): string {
  const stats = statSync(file, { throwIfNoEntry: false });
  return stats === undefined ? '' : `${stats.ino} ${stats.size} ${stats.mtimeMs}`;
}
