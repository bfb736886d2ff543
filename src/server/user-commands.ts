/**
 * What `onehop user` does to a file of users.
 */
import { randomInt } from 'node:crypto';
import { existsSync } from 'node:fs';
import { PasswordPool } from '../auth/password-pool.ts';
import { prepared, type ScramVerifier, verifierOf } from '../auth/scram.ts';
import type { User } from '../auth/user.ts';
import { forCommand, whileLocked } from './record-file.ts';
import { readUserFile, writeUserFile } from './user-file.ts';

export type { ScramVerifier };

/** Reads the file, changes the list, writes it: no other `onehop user` comes between. @throws StartError with one line, and what `edit` throws */
export function changeUsers(file: string, edit: (users: Map<string, User>) => void): void {
  whileLocked(file, () => {
    const users = new Map(existsSync(file) ? readUsers(file) : []);
    edit(users);
    writeUserFile(file, users.values());
  });
}

/** The users of a file. @throws StartError with one line */
export function readUsers(file: string): ReadonlyMap<string, User> {
  return forCommand(() => readUserFile(file));
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

const GENERATED_LENGTH = 24;
/** Without those that look alike. */
const GENERATED_FROM = 'ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789';

/** A password by chance. */
export function generatedPassword(): string {
  return Array.from({ length: GENERATED_LENGTH }, () => GENERATED_FROM[randomInt(GENERATED_FROM.length)]).join('');
}

/** Whether SCRAM can express a username. */
export function isScramName(username: string): boolean {
  return prepared(username) !== null;
}

/** The verifier to keep of a password. @returns null: SCRAM cannot express it */
export function scramVerifier(password: string): ScramVerifier | null {
  return verifierOf(password);
}
