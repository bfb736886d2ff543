/**
 * ScramAuthenticator: SCRAM-SHA-256 over the file of users.
 *
 * A step costs a few HMACs, so it is taken at once. A name that is unknown, or has no verifier, goes through the same exchange, with a salt that is made of the name
 * and of a secret of this process: who asks for names learns of none.
 */
import { randomBytes } from 'node:crypto';
import type { Login } from '../shard/login.ts';
import { type Exchange, type ExchangeStep, type Finding, ignore, type MethodAuthenticator } from './authenticator.ts';
import {
  type ClientFirst,
  checkProof,
  hmac,
  ITERATIONS,
  nonceWith,
  prepared,
  readClientFinal,
  readClientFirst,
  SALT_BYTES,
  SCRAM_SHA_256,
  type ScramVerifier,
  writeServerFirst,
} from './scram.ts';
import type { User } from './user.ts';
import { hasSameRights } from './users-authenticator.ts';

type ScramUser = User & { readonly scramSha256: ScramVerifier };

/** Characters of a name in a cause. */
const LOGGED_LENGTH = 128;

export class ScramAuthenticator implements MethodAuthenticator {
  readonly name = 'scram';
  readonly method: string = SCRAM_SHA_256;
  /** Those with a verifier, by name as SASLprep writes it. */
  private users: ReadonlyMap<string, ScramUser>;
  /** Of users that do not exist: as most of those who do. */
  private iterations: number;
  private readonly secret: Buffer;

  /** @throws with one line when two names are the same to SCRAM */
  constructor(users: ReadonlyMap<string, User>) {
    this.users = withVerifier(users);
    this.iterations = commonIterations(this.users);
    this.secret = randomBytes(32);
  }

  judge(_login: Login): Promise<Finding> {
    return Promise.resolve(ignore('no Authentication Method'));
  }

  open(): Exchange {
    return new ScramExchange(this);
  }

  /** The user of a name as SASLprep writes it; undefined: nobody who could log in. */
  find(username: string): ScramUser | undefined {
    return this.users.get(username);
  }

  /** What a name is asked that nobody has: the same each time, until the process ends. */
  madeUp(username: string): ScramVerifier {
    const made = (what: string): Buffer => hmac(this.secret, `${what}\0${username}`);
    return {
      salt: made('salt').subarray(0, SALT_BYTES).toString('base64'),
      iterations: this.iterations,
      storedKey: made('stored key').toString('base64'),
      serverKey: made('server key').toString('base64'),
    };
  }

  /** Goes on with another list. @returns names that are gone or have another password or other rights; @throws as the constructor, and nothing has changed */
  replace(list: ReadonlyMap<string, User>): string[] {
    const before = this.users;
    this.users = withVerifier(list);
    this.iterations = commonIterations(this.users);
    const revoked: string[] = [];
    for (const [name, user] of before) {
      const now = this.users.get(name);
      if (now?.username === user.username && hasSameVerifier(now, user) && hasSameRights(now, user)) continue;
      revoked.push(user.username);
    }
    return revoked;
  }
}

class ScramExchange implements Exchange {
  readonly authenticator = 'scram';
  private readonly owner: ScramAuthenticator;
  private first: ClientFirst | null;
  private user: ScramUser | undefined;
  private verifier: ScramVerifier | null;
  private nonce: string;
  private serverFirst: string;

  constructor(owner: ScramAuthenticator) {
    this.owner = owner;
    this.first = null;
    this.user = undefined;
    this.verifier = null;
    this.nonce = '';
    this.serverFirst = '';
  }

  get username(): string | null {
    return this.first?.username ?? null;
  }

  step(data: Uint8Array | null): ExchangeStep {
    if (data === null) return deny('the client has said nothing');
    return this.first === null ? this.begin(data) : this.finish(data, this.first);
  }

  private begin(data: Uint8Array): ExchangeStep {
    const first = readClientFirst(data);
    if (typeof first === 'string') return deny(`the first message ${first}`);
    if (first.authorizationName !== '' && first.authorizationName !== first.username)
      return deny('the client wants to speak for somebody else');
    // Made in any case: the time must not say which names there are.
    const madeUp = this.owner.madeUp(first.username);
    this.first = first;
    this.user = this.owner.find(first.username);
    this.verifier = this.user?.scramSha256 ?? madeUp;
    this.nonce = nonceWith(first.nonce);
    this.serverFirst = writeServerFirst(this.nonce, this.verifier);
    return { effect: 'continue', data: Buffer.from(this.serverFirst) };
  }

  private finish(data: Uint8Array, first: ClientFirst): ExchangeStep {
    const verifier = this.verifier!;
    const final = readClientFinal(data);
    if (typeof final === 'string') return deny(`the last message ${final}`);
    if (final.header !== first.header || final.nonce !== this.nonce) return deny('the last message is not of this exchange');
    const signature = checkProof(verifier, `${first.bare},${this.serverFirst},${final.withoutProof}`, final.proof);
    // What the file says now counts: it may have been read anew meanwhile.
    const user = this.owner.find(first.username);
    if (signature === null || this.user === undefined || user === undefined || !hasSameVerifier(user, this.user)) {
      const name = JSON.stringify(first.username.slice(0, LOGGED_LENGTH));
      return deny(this.user === undefined ? `${name} is no user with a SCRAM verifier` : `wrong password of ${name}`);
    }
    const { username, attributes, isSuperuser } = user;
    return {
      effect: 'allow',
      identity: { authenticator: this.authenticator, username, attributes, isSuperuser, rules: null, expiresAt: 0 },
      data: signature,
    };
  }
}

function deny(cause: string): ExchangeStep {
  return { effect: 'deny', cause };
}

/** Those who can log in, by name as SASLprep writes it. @throws with one line */
function withVerifier(list: ReadonlyMap<string, User>): Map<string, ScramUser> {
  const users = new Map<string, ScramUser>();
  for (const user of list.values()) {
    if (user.scramSha256 === undefined) continue;
    const name = prepared(user.username);
    if (name === null) throw new Error(`the username ${JSON.stringify(user.username)} cannot be used with SCRAM; take its verifier away`);
    const other = users.get(name);
    if (other !== undefined)
      throw new Error(`the usernames ${JSON.stringify(other.username)} and ${JSON.stringify(user.username)} are the same to SCRAM`);
    users.set(name, user as ScramUser);
  }
  return users;
}

function hasSameVerifier({ scramSha256: a }: ScramUser, { scramSha256: b }: ScramUser): boolean {
  return a.salt === b.salt && a.iterations === b.iterations && a.storedKey === b.storedKey && a.serverKey === b.serverKey;
}

/** The count that most users have: a made-up one must not stand out. */
function commonIterations(users: ReadonlyMap<string, ScramUser>): number {
  const counts = new Map<number, number>();
  for (const { scramSha256 } of users.values()) counts.set(scramSha256.iterations, (counts.get(scramSha256.iterations) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? ITERATIONS;
}
