/**
 * UserFile: the users of a broker, as JSON. `onehop user` writes it, the broker reads it.
 *
 *   { "version": 1, "users": [{ "username": "pump-7", "password": "$argon2id$…", "attributes": { "group": "a" }, "isSuperuser": false, "remark": "" }] }
 *
 * A user who may log in by SCRAM has `"scramSha256": { "salt": "…", "iterations": 50000, "storedKey": "…", "serverKey": "…" }` besides.
 */
import { z } from 'zod';
import { hashProblem } from '../auth/password-hash.ts';
import { verifierProblem } from '../auth/scram.ts';
import type { User } from '../auth/user.ts';
import { readJsonFile, replaceFile } from './record-file.ts';

const USERNAME_LENGTH_MAX = 128;
const REMARK_LENGTH_MAX = 128;
const ATTRIBUTES_MAX = 32;

/** What is wrong with a username, as a sentence; null: nothing. */
export function usernameProblem(username: string): string | null {
  if (username === '' || username.length > USERNAME_LENGTH_MAX) return `a username has 1 to ${USERNAME_LENGTH_MAX} characters`;
  return /\p{Cc}|\p{Cs}/u.test(username) ? 'a username has no control characters' : null;
}

const user = z.strictObject({
  username: z.string().check(({ value, issues }) => {
    const message = usernameProblem(value);
    if (message !== null) issues.push({ code: 'custom', message, input: value });
  }),
  password: z.string().check(({ value, issues }) => {
    const problem = hashProblem(value);
    // The value itself may be a password that somebody has put here.
    if (problem !== null) issues.push({ code: 'custom', message: `the password ${problem}; write it with: onehop user passwd`, input: '' });
  }),
  scramSha256: z
    .strictObject({ salt: z.string(), iterations: z.number(), storedKey: z.string(), serverKey: z.string() })
    .check(({ value, issues }) => {
      const problem = verifierProblem(value);
      if (problem !== null)
        issues.push({ code: 'custom', message: `the verifier ${problem}; write it with: onehop user passwd NAME --scram`, input: '' });
    })
    .optional(),
  attributes: z
    .record(z.string().max(128), z.string().max(1024))
    .refine((attributes) => Object.keys(attributes).length <= ATTRIBUTES_MAX, { error: `at most ${ATTRIBUTES_MAX} attributes` })
    .default({}),
  isSuperuser: z.boolean().default(false),
  remark: z.string().max(REMARK_LENGTH_MAX).default(''),
});

const shape = z.strictObject({ version: z.literal(1), users: z.array(user) });

/**
 * Reads a file of users.
 * @returns by username
 * @throws with one line: the file, what is wrong, what to do
 */
export function readUserFile(file: string): ReadonlyMap<string, User> {
  const result = shape.safeParse(readJsonFile(file, 'onehop user add NAME'));
  if (!result.success) {
    const { path, message } = result.error.issues[0]!;
    throw new Error(`${file}: ${path.length === 0 ? '' : `${path.join('.')}: `}${message}`);
  }
  const users = new Map<string, User>();
  for (const one of result.data.users) {
    if (users.has(one.username))
      throw new Error(`${file}: the username ${JSON.stringify(one.username)} is there twice; remove one of them`);
    users.set(one.username, one);
  }
  return users;
}

/** One user, checked. @throws with half a sentence, without any secret */
export function userOf(json: unknown): User {
  const result = user.safeParse(json);
  if (result.success) return result.data;
  const { path, message } = result.error.issues[0]!;
  throw new Error(`${path.length === 0 ? '' : `${path.join('.')}: `}${message}`);
}

/** Writes a file of users, whole. */
export function writeUserFile(file: string, users: Iterable<User>): void {
  replaceFile(file, `${JSON.stringify({ version: 1, users: [...users] }, null, 2)}\n`);
}
