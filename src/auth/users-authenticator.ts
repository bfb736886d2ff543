/**
 * UsersAuthenticator: name and password, against the file of users.
 *
 * Checking a password is made to be slow. So a password that was right is remembered for the life of the process, as a keyed digest: a fleet that reconnects pays
 * once. The key is random and never leaves memory.
 */
import { createHmac, randomBytes } from 'node:crypto';
import type { Login } from '../shard/login.ts';
import { type Authenticator, deny, type Finding, ignore } from './authenticator.ts';
import type { PasswordPool } from './password-pool.ts';
import type { User } from './user.ts';

const REMEMBERED_MAX = 131_072;

export class UsersAuthenticator implements Authenticator {
  readonly name = 'users';
  private users: ReadonlyMap<string, User>;
  private readonly pool: PasswordPool;
  /** Digest of the password that was right, by username. */
  private readonly remembered: Map<string, string>;
  private readonly key: Buffer;

  constructor(users: ReadonlyMap<string, User>, pool: PasswordPool) {
    this.users = users;
    this.pool = pool;
    this.remembered = new Map();
    this.key = randomBytes(32);
  }

  async judge({ username, password }: Login, signal: AbortSignal): Promise<Finding> {
    if (username === null || password === null) return ignore('no name and password');
    const user = this.users.get(username);
    if (user === undefined) {
      // As slow as a wrong password: the time must not say which names there are.
      await this.pool.verifyNobody(password, signal);
      return ignore('unknown user');
    }
    if (!(await this.isRight(user, password, signal))) return deny('wrong password');
    // The file may have been read anew meanwhile: what it says now counts.
    const current = this.users.get(username);
    if (current?.password !== user.password) return deny('wrong password');
    const { attributes, isSuperuser } = current;
    return { effect: 'allow', identity: { authenticator: this.name, username: null, attributes, isSuperuser, rules: null, expiresAt: 0 } };
  }

  private async isRight(user: User, password: Uint8Array, signal: AbortSignal): Promise<boolean> {
    const digest = createHmac('sha256', this.key).update(`${user.username}\0${user.password}\0`).update(password).digest('base64');
    if (this.remembered.get(user.username) === digest) return true;
    if (!(await this.pool.verify(user.password, password, signal))) return false;
    this.remembered.delete(user.username);
    this.remembered.set(user.username, digest);
    if (this.remembered.size > REMEMBERED_MAX) this.remembered.delete(this.remembered.keys().next().value!);
    return true;
  }

  /** Goes on with another list. @returns names that are gone or have another password or other rights */
  replace(users: ReadonlyMap<string, User>): string[] {
    const before = this.users;
    this.users = users;
    const revoked: string[] = [];
    for (const [name, user] of before) {
      const now = users.get(name);
      if (now !== undefined && now.password === user.password && hasSameRights(now, user)) continue;
      revoked.push(name);
      this.remembered.delete(name);
    }
    return revoked;
  }
}

/** Whether two users may do the same. */
export function hasSameRights(a: User, b: User): boolean {
  if (a.isSuperuser !== b.isSuperuser) return false;
  const names = Object.keys(a.attributes);
  return names.length === Object.keys(b.attributes).length && names.every((name) => a.attributes[name] === b.attributes[name]);
}
