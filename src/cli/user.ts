/**
 * `onehop user …`: the file of users that the authenticator `users` reads.
 *
 * Passwords come from the terminal, from standard input or from chance, never from the command line, where other people of the machine could read them.
 */
import { createInterface } from 'node:readline';
import {
  changeUsers,
  generatedPassword,
  hashPassword,
  hasUsers,
  isScramName,
  readUsers,
  type ScramVerifier,
  scramVerifier,
} from '../server/user-commands.ts';
import { usernameProblem } from '../server/user-file.ts';
import { Failure } from './failure.ts';
import { print } from './output.ts';

const PASSWORD_BYTES_MAX = 1024;

export interface UserOptions {
  readonly file?: string;
  readonly generate?: boolean;
  /** Whether there is to be a verifier for SCRAM; undefined: as before. */
  readonly scram?: boolean;
  readonly attribute?: readonly string[];
  readonly superuser?: boolean;
  readonly remark?: string;
  readonly json?: boolean;
}

function fileOf(options: UserOptions): string {
  return options.file ?? process.env['ONEHOP_USERS_FILE'] ?? './users.json';
}

function attributesOf(pairs: readonly string[]): Record<string, string> {
  const attributes: Record<string, string> = {};
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    if (at < 1) throw new Failure(`--attribute ${pair}: expected name=value`, 2);
    attributes[pair.slice(0, at)] = pair.slice(at + 1);
  }
  return attributes;
}

/** `onehop user add`. */
export async function addUser(username: string, options: UserOptions): Promise<void> {
  const problem = usernameProblem(username);
  if (problem !== null) throw new Failure(problem, 2);
  const attributes = attributesOf(options.attribute ?? []);
  const file = fileOf(options);
  const taken = new Failure(`there is a user ${username} in ${file} already; change the password with: onehop user passwd ${username}`);
  if (hasUsers(file) && readUsers(file).has(username)) throw taken;
  const { made, ...secrets } = await newPassword(options, options.scram === true, username);
  changeUsers(file, (users) => {
    if (users.has(username)) throw taken;
    users.set(username, { username, ...secrets, attributes, isSuperuser: options.superuser === true, remark: options.remark ?? '' });
  });
  print(`added ${username} to ${file}`);
  if (made !== null) print(`password: ${made}`);
}

/** `onehop user passwd`. */
export async function changePassword(username: string, options: UserOptions): Promise<void> {
  const file = fileOf(options);
  const missing = new Failure(`there is no user ${username} in ${file}; onehop user list shows who is there`);
  const before = readUsers(file).get(username);
  if (before === undefined) throw missing;
  const { made, ...secrets } = await newPassword(options, options.scram ?? before.scramSha256 !== undefined, username);
  changeUsers(file, (users) => {
    const user = users.get(username);
    if (user === undefined) throw missing;
    users.set(username, { ...user, ...secrets });
  });
  print(`changed the password of ${username}`);
  if (made !== null) print(`password: ${made}`);
}

/** `onehop user remove`. */
export function removeUser(username: string, options: UserOptions): void {
  const file = fileOf(options);
  changeUsers(file, (users) => {
    if (!users.delete(username)) throw new Failure(`there is no user ${username} in ${file}; onehop user list shows who is there`);
  });
  print(`removed ${username}`);
}

/** `onehop user list`: everything but the hashes. */
export function listUsers(options: UserOptions): void {
  const users = [...readUsers(fileOf(options)).values()].sort((a, b) => (a.username < b.username ? -1 : 1));
  if (options.json === true) {
    print(
      JSON.stringify(
        users.map(({ password: _hidden, scramSha256, ...shown }) => ({ ...shown, scram: scramSha256 !== undefined })),
        null,
        2,
      ),
    );
    return;
  }
  for (const { username, attributes, isSuperuser, remark, scramSha256 } of users) {
    const facts = Object.entries(attributes).map(([name, value]) => `${name}=${value}`);
    print(
      [
        username,
        ...(isSuperuser ? ['superuser'] : []),
        ...(scramSha256 === undefined ? [] : ['scram']),
        ...facts,
        ...(remark === '' ? [] : [`(${remark})`]),
      ].join(' '),
    );
  }
}

/** What is kept of a password, and the password where it was made by chance and nobody knows it yet. */
interface NewPassword {
  readonly password: string;
  readonly scramSha256: ScramVerifier | undefined;
  readonly made: string | null;
}

async function newPassword(options: UserOptions, hasScram: boolean, username: string): Promise<NewPassword> {
  if (hasScram && !isScramName(username)) throw new Failure('SCRAM cannot express this username (RFC 4013)', 2);
  const password = options.generate === true ? generatedPassword() : await askedFor();
  const bytes = Buffer.from(password);
  if (bytes.length === 0 || bytes.length > PASSWORD_BYTES_MAX) throw new Failure(`a password has 1 to ${PASSWORD_BYTES_MAX} bytes`, 2);
  const scramSha256 = hasScram ? scramVerifier(password) : null;
  if (scramSha256 === null && hasScram) throw new Failure('SCRAM cannot express this password (RFC 4013)', 2);
  const made = options.generate === true ? password : null;
  return { password: await hashPassword(bytes), scramSha256: scramSha256 ?? undefined, made };
}

/** Twice from a terminal, without echo; else the first line of standard input. */
async function askedFor(): Promise<string> {
  if (!process.stdin.isTTY) return firstLine();
  const first = await typed('Password: ');
  if ((await typed('Again: ')) !== first) throw new Failure('the two passwords are not the same; nothing was changed', 2);
  return first;
}

async function firstLine(): Promise<string> {
  for await (const line of createInterface({ input: process.stdin })) return line;
  throw new Failure('no password: write it to standard input, or use --generate', 2);
}

/** A line from the terminal that is not shown. */
function typed(prompt: string): Promise<string> {
  process.stderr.write(prompt);
  const { stdin } = process;
  stdin.setRawMode(true);
  stdin.setEncoding('utf8');
  stdin.resume();
  return new Promise((resolve, reject) => {
    let text = '';
    const finish = (): void => {
      stdin.off('data', take);
      stdin.setRawMode(false);
      stdin.pause();
      process.stderr.write('\n');
    };
    const take = (chunk: string): void => {
      for (const character of chunk) {
        if (character === '\r' || character === '\n') {
          finish();
          resolve(text);
          return;
        }
        if (character === '\u0003' || character === '\u0004') {
          finish();
          reject(new Failure('nothing was changed'));
          return;
        }
        text = character === '\u007f' || character === '\b' ? [...text].slice(0, -1).join('') : text + character;
      }
    };
    stdin.on('data', take);
  });
}
