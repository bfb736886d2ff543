/**
 * LoginDesk: where the shards' questions about logins come together, on the supervisor's thread, and where what the authenticators read is read again.
 *
 * No message of a client passes through here, only its CONNECT; and nothing here computes for long: passwords are checked on threads of their own.
 */
import { unwatchFile, watchFile } from 'node:fs';
import type { Authenticator } from '../auth/authenticator.ts';
import { Chain } from '../auth/chain.ts';
import { FailedLogins } from '../auth/failed-logins.ts';
import { PasswordPool } from '../auth/password-pool.ts';
import { readUserFile } from '../auth/user-file.ts';
import { UsersAuthenticator } from '../auth/users-authenticator.ts';
import type { Log } from '../base/log.ts';
import type { AuthSettings } from '../base/settings.ts';
import type { Login, LoginVerdict } from '../shard/login.ts';
import { StartError } from './start-error.ts';

/** A poll sees every kind of replacement, links included. */
const POLL_MILLISECONDS = 2000;
/** An authenticator that fails for each login says so once in this time. */
const TROUBLE_MILLISECONDS = 10_000;

export class LoginDesk {
  private readonly log: Log;
  private readonly chain: Chain;
  private readonly pool: PasswordPool;
  private readonly files: { readonly file: string; readonly users: UsersAuthenticator }[];
  private troubledAt: number;
  /** Told of names that may be used no more. */
  revoked: (authenticator: string, usernames: readonly string[]) => void;

  /** @throws StartError with one clear line when a file cannot be read */
  constructor(settings: AuthSettings, log: Log) {
    this.log = log;
    this.files = [];
    this.troubledAt = Number.NEGATIVE_INFINITY;
    this.revoked = () => {};
    const lists = settings.authenticators.map(({ file }, index) => {
      try {
        return readUserFile(file);
      } catch (error) {
        throw new StartError(`auth.authenticators[${index}]: ${(error as Error).message}`, 1);
      }
    });
    this.pool = new PasswordPool({ threads: settings.passwordThreads, queueMax: settings.waitingMax });
    const authenticators: Authenticator[] = [];
    for (const [index, { file }] of settings.authenticators.entries()) {
      const users = new UsersAuthenticator(lists[index]!, this.pool);
      authenticators.push(users);
      this.files.push({ file, users });
      watchFile(file, { interval: POLL_MILLISECONDS, persistent: false }, this.reload);
    }
    this.chain = new Chain(authenticators, settings, new FailedLogins(settings.failures), (authenticator, error) =>
      this.troubled(authenticator, error),
    );
  }

  /** @param answer called once, in any case */
  judge(login: Login, answer: (verdict: LoginVerdict) => void): void {
    // The chain catches what its authenticators throw.
    void this.chain.judge(login, performance.now()).then(answer);
  }

  /** Reads the files again: what cannot be used is said, and the old list stays. */
  readonly reload = (): void => {
    for (const { file, users } of this.files) {
      try {
        const list = readUserFile(file);
        const revoked = users.replace(list);
        if (revoked.length > 0) this.revoked(users.name, revoked);
        this.log.info({ file, users: list.size, changed: revoked.length }, 'the file of users was read again');
      } catch (error) {
        this.log.warn({ error: (error as Error).message }, 'the file of users was not read again: the old list stays');
      }
    }
  };

  private troubled(authenticator: string, error: Error): void {
    const now = performance.now();
    if (now - this.troubledAt < TROUBLE_MILLISECONDS) return;
    this.troubledAt = now;
    this.log.error({ authenticator, error: error.message }, 'an authenticator fails: it is passed over');
  }

  async stop(): Promise<void> {
    for (const { file } of this.files) unwatchFile(file, this.reload);
    await this.pool.close();
  }
}
