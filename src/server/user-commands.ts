/**
 * What `onehop user` does to a file of users.
 */
import { closeSync, existsSync, openSync } from 'node:fs';
import { PasswordPool } from '../auth/password-pool.ts';
import type { User } from '../auth/user.ts';
import { library } from '../base/c-library.ts';
import { StartError } from './start-error.ts';
import { readUserFile, writeUserFile } from './user-file.ts';

const LOCK_EXCLUSIVE = 2;

/** Reads the file, changes the list, writes it: no other `onehop user` comes between. The lock ends with the process. @throws StartError with one line, and what `edit` throws */
export function changeUsers(file: string, edit: (users: Map<string, User>) => void): void {
  const fd = openSync(`${file}.lock`, 'a', 0o600);
  // Where the C library cannot be called (Windows) nobody waits.
  library()?.flock(fd, LOCK_EXCLUSIVE);
  try {
    const users = new Map(existsSync(file) ? readUsers(file) : []);
    edit(users);
    writeUserFile(file, users.values());
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw code === undefined
      ? error
      : new StartError(`${file}: cannot write this file: ${code === 'EACCES' ? 'permission denied' : message}`, 1);
  } finally {
    closeSync(fd);
  }
}

/** The users of a file. @throws StartError with one line */
export function readUsers(file: string): ReadonlyMap<string, User> {
  try {
    return readUserFile(file);
  } catch (error) {
    throw new StartError((error as Error).message, 1);
  }
}

/** Whether there is such a file. */
export function hasUsers(file: string): boolean {
  return existsSync(file);
}

/** The hash to keep of a password, made on a thread of its own. */
export async function hashPassword(password: Uint8Array): Promise<string> {
  const pool = new PasswordPool({ threads: 1, queueMax: 1 });
  try {
    return await pool.hash(password);
  } finally {
    await pool.close();
  }
}
