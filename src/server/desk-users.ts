/**
 * What the API does with users: those in the file of a `users` or `scram` authenticator. Nobody is ever told a hash.
 */
import type { User } from '../auth/user.ts';
import { type AskDesk, Refusal } from './ask-desk.ts';
import type { NewPassword, UserChange } from './edits.ts';
import type { LoginDesk } from './login-desk.ts';
import { orderedNames, type Page, type PageAsked, pageOf } from './page.ts';
import type { SupervisorParts } from './supervisor-asks.ts';
import { generatedPassword } from './user-commands.ts';
import { usernameProblem } from './user-file.ts';

const PASSWORD_BYTES_MAX = 1024;

/** A user as people see it. */
interface ShownUser extends Omit<User, 'password' | 'scramSha256'> {
  readonly scram: boolean;
}

interface Place {
  /** Of the authenticator; absent: the first that has users. */
  readonly authenticator?: number | undefined;
}

interface UserAsked extends Place {
  readonly username: string;
  /** Absent: it stays, or one is made for a new user. */
  readonly password?: string | undefined;
  readonly generatePassword?: boolean | undefined;
  readonly change: UserChange;
}

/** Names what is answered. */
export function userAsks(desk: AskDesk, parts: SupervisorParts): void {
  desk.handle('users/list', ({ prefix, ...asked }: Place & PageAsked & { prefix: string }): Page<ShownUser> => {
    const { logins, file } = fileOf(parts, asked);
    const users = logins.usersOf(file);
    const page = pageOf(orderedNames(users), prefix, asked);
    return { ...page, data: page.data.map((name) => shown(users.get(name)!)) };
  });
  desk.handle('users/read', ({ username, ...asked }: Place & { username: string }): ShownUser => {
    const { logins, file } = fileOf(parts, asked);
    return shown(known(logins, file, username));
  });
  desk.handle('users/add', async ({ username, change, ...asked }: UserAsked): Promise<object> => {
    const { logins, file } = fileOf(parts, asked);
    const problem = usernameProblem(username);
    if (problem !== null) throw new Refusal('unprocessable', problem);
    const made = asked.password === undefined ? generatedPassword() : null;
    const password = await hashed(logins, made ?? asked.password!);
    await parts.editor.run('user/add', { file, username, password, change });
    logins.readFile(file);
    await parts.settled();
    return { ...shown(known(logins, file, username)), ...(made !== null && { password: made }) };
  });
  desk.handle('users/change', async ({ username, change, generatePassword, ...asked }: UserAsked): Promise<object> => {
    const { logins, file } = fileOf(parts, asked);
    known(logins, file, username);
    const made = generatePassword === true ? generatedPassword() : null;
    const text = made ?? asked.password;
    const password = text === undefined ? null : await hashed(logins, text);
    await parts.editor.run('user/change', { file, username, password, change });
    logins.readFile(file);
    await parts.settled();
    return { ...shown(known(logins, file, username)), ...(made !== null && { password: made }) };
  });
  desk.handle('users/remove', async ({ username, ...asked }: Place & { username: string }): Promise<object> => {
    const { logins, file } = fileOf(parts, asked);
    await parts.editor.run('user/remove', { file, username });
    logins.readFile(file);
    await parts.settled();
    return {};
  });
}

/** The file that is meant. @throws Refusal */
function fileOf({ settings, logins }: SupervisorParts, { authenticator }: Place): { readonly logins: LoginDesk; readonly file: string } {
  const { authenticators } = settings.auth;
  const isOfUsers = (place: number): boolean => ['users', 'scram'].includes(authenticators[place]?.type ?? '');
  const place = authenticator ?? authenticators.findIndex((_, index) => isOfUsers(index));
  const one = authenticators[place];
  if (logins !== null && (one?.type === 'users' || one?.type === 'scram')) return { logins, file: one.file };
  if (authenticator !== undefined) throw new Refusal('not-found', `authenticator ${authenticator} has no users`);
  throw new Refusal('not-implemented', 'there is no file of users: configure auth.authenticators: [{ type: users, file: ./users.json }]');
}

function known(logins: LoginDesk, file: string, username: string): User {
  const user = logins.usersOf(file).get(username);
  if (user === undefined) throw new Refusal('not-found', `there is no user ${JSON.stringify(username)}`);
  return user;
}

function shown({ username, attributes, isSuperuser, remark, scramSha256 }: User): ShownUser {
  return { username, attributes, isSuperuser, remark, scram: scramSha256 !== undefined };
}

async function hashed(logins: LoginDesk, text: string): Promise<NewPassword> {
  const bytes = Buffer.from(text);
  if (bytes.length === 0 || bytes.length > PASSWORD_BYTES_MAX)
    throw new Refusal('unprocessable', `a password has 1 to ${PASSWORD_BYTES_MAX} bytes`);
  try {
    return { text, hash: await logins.hash(bytes) };
  } catch (error) {
    throw new Refusal('unavailable', `the password cannot be hashed now: ${(error as Error).message}`);
  }
}
