/**
 * LoginDesk: where the shards' questions about logins come together, on the supervisor's thread, and where what the authenticators read is read again.
 *
 * No message of a client passes through here, only its CONNECT; and nothing here computes for long: passwords are checked on threads of their own.
 */
import { existsSync, unwatchFile, watchFile } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import type { Authenticator } from '../auth/authenticator.ts';
import { CertificateAuthenticator } from '../auth/certificate-authenticator.ts';
import type { CertificateRegistry } from '../auth/certificate-registry.ts';
import { Chain, type ChainEntry, chainEntry, type LoginStep, type LoginTally } from '../auth/chain.ts';
import type { Device } from '../auth/device.ts';
import { type DeviceChange, type DeviceChanges, DevicesAuthenticator } from '../auth/devices-authenticator.ts';
import { FailedLogins } from '../auth/failed-logins.ts';
import { HttpAuthenticator } from '../auth/http-authenticator.ts';
import { JwtAuthenticator } from '../auth/jwt-authenticator.ts';
import { PasswordPool } from '../auth/password-pool.ts';
import { ScramAuthenticator } from '../auth/scram-authenticator.ts';
import { Gone } from '../auth/turns.ts';
import type { User } from '../auth/user.ts';
import { UsersAuthenticator } from '../auth/users-authenticator.ts';
import type { Log } from '../base/log.ts';
import type {
  AuthenticatorSettings,
  AuthSettings,
  CertificateSettings,
  DevicesSettings,
  JwtSettings,
  ScramSettings,
  UsersSettings,
} from '../base/settings.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import type { Login, LoginVerdict } from '../shard/login.ts';
import type { UserPropertyChange } from '../shard/shard-life.ts';
import type { NamedAuthenticator } from './auth-schema.ts';
import { type AuthenticatorList, readAuthenticatorFile } from './authenticator-file.ts';
import { CertificateDesk, type CertificateEars } from './certificate-desk.ts';
import { isOpenToOthers, readDeviceFile } from './device-file.ts';
import { namesChanged } from './page.ts';
import { type FileStamps, stampOf } from './record-file.ts';
import { StartError } from './start-error.ts';
import { readUserFile } from './user-file.ts';

/** A poll sees every kind of replacement, links included. */
const POLL_MILLISECONDS = 2000;
/** An authenticator that fails for each login says so once in this time. */
const TROUBLE_MILLISECONDS = 10_000;

/** Who hears of what changes for clients that are connected. */
export interface LoginEars extends CertificateEars {
  /** Logins are judged in another way from now on: what is remembered of them does not hold. */
  judgesChanged(): void;
  /** Messages of these clients carry other User Properties from now on. */
  propertiesChanged(authenticator: string, changes: readonly UserPropertyChange[]): void;
}

/** Who has asked for a verdict. */
export interface LoginListener {
  /** Called once, at the end. */
  verdict(verdict: LoginVerdict): void;
  /** The client is to be asked this, before there can be a verdict. */
  challenge(data: Uint8Array): void;
}

/** A login that has no verdict yet. */
export interface OpenLogin {
  /** What the client has said to the challenge. */
  proceed(data: Uint8Array | null): void;
  /** Nobody waits for the verdict any more. */
  leave(): void;
}

/** What an authenticator has said since it was made, and, of a service, how it is. */
export interface AuthenticatorState extends LoginTally {
  readonly breaker: string | null;
  /** Logins that wait for their turn. */
  readonly waiting: number | null;
}

/** An authenticator of `auth.file`. */
interface NamedEntry {
  readonly facts: NamedAuthenticator;
  readonly entry: ChainEntry;
}

/** A file that is read again when it changes. */
interface Watched {
  readonly file: string;
  /** What it was known by when it was last read. */
  seen: string;
  readonly poll: () => void;
  readonly readNow: () => void;
  /** Takes devices that are others now, without reading the file; null for files of another kind. */
  takeDevices: ((changed: DeviceChange) => void) | null;
}

export class LoginDesk {
  private readonly log: Log;
  private readonly chain: Chain;
  private readonly pool: PasswordPool;
  private readonly watched: Watched[];
  /** Those of the configuration. */
  private readonly entries: readonly ChainEntry[];
  /** Those of `auth.file`, with those that are not active. */
  private named: readonly NamedEntry[];
  /** `auth.file` as it was last read. */
  private list: AuthenticatorList;
  private readonly timeoutMilliseconds: number;
  /** By file. */
  private readonly users: Map<string, ReadonlyMap<string, User>>;
  private readonly deviceLists: Map<string, Map<string, Device>>;
  private readonly readers: (() => void)[];
  private troubledAt: number;
  private readonly registries: CertificateDesk[];
  /** Told of names, or what else `Identity.proof` says, that may be used no more. */
  private revoked: (authenticator: string, proofs: readonly string[]) => void;
  /** Told of clients whose messages carry other User Properties from now on. */
  private propertiesChanged: LoginEars['propertiesChanged'];
  private judgesChanged: () => void;

  /** @throws StartError with one clear line when a file cannot be read */
  constructor(settings: AuthSettings, log: Log) {
    this.log = log;
    this.timeoutMilliseconds = settings.timeoutMilliseconds;
    this.watched = [];
    this.readers = [];
    this.registries = [];
    this.troubledAt = Number.NEGATIVE_INFINITY;
    this.revoked = () => {};
    this.propertiesChanged = () => {};
    this.judgesChanged = () => {};
    this.pool = new PasswordPool({ threads: settings.passwordThreads, queueMax: settings.waitingMax });
    this.users = new Map();
    this.deviceLists = new Map();
    const entries: ChainEntry[] = [];
    this.entries = entries;
    this.named = [];
    for (const [index, one] of settings.authenticators.entries()) {
      try {
        entries.push(chainEntry(this.authenticator(one)));
      } catch (error) {
        void this.stop();
        throw new StartError(`auth.authenticators[${index}]: ${(error as Error).message}`, 1);
      }
    }
    this.chain = new Chain(entries, settings, new FailedLogins(settings.failures), (authenticator, error) =>
      this.troubled(authenticator, error),
    );
    try {
      this.list = readAuthenticatorFile(settings.file);
    } catch (error) {
      void this.stop();
      throw new StartError(`auth.file: ${(error as Error).message}`, 1);
    }
    this.takeNamed(this.list);
    if (settings.file !== '') this.watchNamed(settings.file);
  }

  /** The file of authenticators is read again when it changes. One that is as before goes on, with what it remembers. */
  private watchNamed(file: string): void {
    const look = (): void => {
      if (existsSync(file) && isOpenToOthers(file))
        this.log.warn({ file }, 'other people of this machine may read the keys of the authenticators: chmod 600');
    };
    if (!existsSync(file)) this.log.warn({ file }, 'there is no file of authenticators yet: it is read when there is one');
    look();
    this.watch([file], () => {
      // Where it was taken away, nobody is let in who was not let in by it.
      this.takeNamed(readAuthenticatorFile(file));
      this.log.info({ file, authenticators: this.named.length }, 'the file of authenticators was read again');
      look();
    });
  }

  private takeNamed(list: AuthenticatorList): void {
    const before = this.named;
    this.named = list.authenticators.map((one): NamedEntry => {
      const same = before.find(({ facts }) => facts.name === one.name && isDeepStrictEqual(facts.settings, one.settings));
      const { settings } = one;
      const made = (): Authenticator => (settings.type === 'http' ? new HttpAuthenticator(settings) : new JwtAuthenticator(settings));
      return { facts: one, entry: same?.entry ?? chainEntry(made()) };
    });
    this.list = list;
    this.chain.replace([...this.entries, ...this.named.filter(({ facts }) => facts.isActive).map(({ entry }) => entry)]);
    this.judgesChanged();
    // Logins that it is judging go on until they are too late.
    for (const { entry } of before)
      if (entry.authenticator instanceof HttpAuthenticator && !this.named.some((one) => one.entry === entry))
        setTimeout(() => (entry.authenticator as HttpAuthenticator).close(), this.timeoutMilliseconds).unref();
  }

  /** @throws with one clear line */
  private authenticator(settings: AuthenticatorSettings): Authenticator {
    if (settings.type === 'users') return this.byPassword(settings);
    if (settings.type === 'devices') return this.devices(settings);
    if (settings.type === 'scram') return this.scram(settings);
    if (settings.type === 'jwt') return this.jwt(settings);
    if (settings.type === 'certificate') return this.certificate(settings);
    return new HttpAuthenticator(settings);
  }

  private byPassword({ file }: UsersSettings): Authenticator {
    return this.overUsers(file, new UsersAuthenticator(this.readUsers(file), this.pool));
  }

  private scram({ file }: ScramSettings): Authenticator {
    return this.overUsers(file, new ScramAuthenticator(this.readUsers(file)));
  }

  private readUsers(file: string): ReadonlyMap<string, User> {
    const list = readUserFile(file);
    this.users.set(file, list);
    return list;
  }

  private readDevices(file: string): Map<string, Device> {
    const list = readDeviceFile(file);
    this.deviceLists.set(file, list);
    return list;
  }

  /** The file is read again when it changes, and who has lost by that is told. */
  private overUsers(file: string, users: UsersAuthenticator | ScramAuthenticator): Authenticator {
    this.watch([file], () => {
      const list = this.readUsers(file);
      const revoked = users.replace(list);
      if (revoked.length > 0) this.revoked(users.name, revoked);
      this.log.info({ authenticator: users.name, file, users: list.size, changed: revoked.length }, 'the file of users was read again');
    });
    return users;
  }

  private certificate(settings: CertificateSettings): CertificateAuthenticator {
    if (settings.registry === '') return new CertificateAuthenticator(settings);
    const registry = new CertificateDesk(settings, this.log);
    this.registries.push(registry);
    this.watch([registry.path], () => registry.reload());
    return new CertificateAuthenticator(settings, registry);
  }

  private devices({ file, maxTokenAgeMilliseconds }: DevicesSettings): DevicesAuthenticator {
    const look = (): void => {
      if (isOpenToOthers(file)) this.log.warn({ file }, 'other people of this machine may read the keys of the devices: chmod 600');
    };
    const devices = new DevicesAuthenticator(this.readDevices(file), maxTokenAgeMilliseconds);
    look();
    const tell = ({ revoked, properties }: DeviceChanges): void => {
      if (revoked.length > 0) this.revoked(devices.name, revoked);
      if (properties.length > 0) this.propertiesChanged(devices.name, properties);
    };
    const watched = this.watch([file], () => {
      const began = performance.now();
      const list = this.readDevices(file);
      const changes = devices.replace(list);
      tell(changes);
      const milliseconds = Math.round(performance.now() - began);
      this.log.info({ file, devices: list.size, revoked: changes.revoked.length, milliseconds }, 'the file of devices was read again');
      look();
    });
    for (const one of watched) one.takeDevices = (changed) => tell(devices.change(changed));
    return devices;
  }

  private jwt(settings: JwtSettings): JwtAuthenticator {
    const { secret, publicKey, jwks } = settings;
    const authenticator = new JwtAuthenticator(settings);
    const files = [secret, publicKey, jwks].filter((file) => file !== '');
    this.watch(files, () => {
      if (files.length === 0) return;
      authenticator.reload();
      this.judgesChanged();
      this.log.info({ file: files[0] }, 'the keys of tokens were read again');
    });
    return authenticator;
  }

  /** The shards are there, and are told from now on. */
  attach(ears: LoginEars): void {
    this.revoked = ears.revoked;
    this.propertiesChanged = ears.propertiesChanged;
    this.judgesChanged = ears.judgesChanged;
    for (const registry of this.registries) registry.attach(ears);
  }

  /** @param read reads the files again, or throws what is wrong with them */
  private watch(files: readonly string[], read: () => void): Watched[] {
    // The broker itself adds to some of them, which is no reason to read the others.
    this.readers.push(() => this.attempt(read));
    const added = files.map((file): Watched => {
      const options = { interval: POLL_MILLISECONDS, persistent: false };
      const readNow = (): void => {
        const before = watched.seen;
        watched.seen = stampOf(file);
        // A poll that has not seen it would not see it go, either.
        if (before === '' && watched.seen !== '') {
          unwatchFile(file, poll);
          watchFile(file, options, poll);
        }
        read();
      };
      // What was read when the broker itself changed it need not be read again.
      const poll = (): void => {
        if (stampOf(file) !== watched.seen) this.attempt(readNow);
      };
      const watched: Watched = { file, seen: stampOf(file), poll, readNow, takeDevices: null };
      watchFile(file, options, poll);
      return watched;
    });
    this.watched.push(...added);
    return added;
  }

  /** Judges a login; nothing is told before this returns, and nothing after its `leave`. */
  judge(login: Login, listener: LoginListener): OpenLogin {
    const controller = new AbortController();
    const { signal } = controller;
    const clock = (): number => performance.now();
    const failed = (error: Error): LoginVerdict => {
      if (!(error instanceof Gone)) this.troubled('chain', error);
      return { code: ReasonCode.ServerUnavailable, cause: 'the login could not be judged', identity: null };
    };
    const tell = (step: Promise<LoginStep>): void => {
      void step.catch(failed).then((said) => {
        if (signal.aborted) return;
        if (said instanceof Uint8Array) listener.challenge(said);
        else listener.verdict(said);
      });
    };
    const exchange = login.exchange === undefined ? null : this.chain.open(login.exchange.method);
    const step = (data: Uint8Array | null): Promise<LoginStep> => this.chain.step(exchange, data, login.address, clock, signal);
    tell(login.exchange === undefined ? this.chain.judge(login, clock, signal) : step(login.exchange.data));
    return { proceed: (data) => tell(step(data)), leave: () => controller.abort() };
  }

  /** Reads the files again: what cannot be used is said, and the old list stays. */
  readonly reload = (): void => {
    for (const read of this.readers) read();
  };

  /** Reads one file again, now. @throws with one line; then what was read before holds */
  readFile(file: string): void {
    for (const watched of this.watched) if (watched.file === file) watched.readNow();
  }

  /**
   * Takes what the broker itself has changed in a file of devices; the whole file is read only where somebody else has changed it, too.
   * @throws with one line; then what was read before holds
   */
  takeDevices(file: string, changed: DeviceChange, { before, after }: FileStamps): void {
    const of = this.watched.filter((one) => one.file === file);
    // A file that was not there may stand for a list that still holds.
    if (before === '' || of.some(({ seen, takeDevices }) => seen !== before || takeDevices === null)) {
      this.readFile(file);
      return;
    }
    // Each authenticator has the list that it has read, and the last of these is the one that is shown.
    for (const one of of) {
      one.takeDevices!(changed);
      one.seen = after;
    }
    namesChanged(this.devicesOf(file));
  }

  /** The users of a file, as they were last read. */
  usersOf(file: string): ReadonlyMap<string, User> {
    return this.users.get(file)!;
  }

  /** The devices of a file, as they were last read. */
  devicesOf(file: string): ReadonlyMap<string, Device> {
    return this.deviceLists.get(file)!;
  }

  /** The registry of certificates in a file. */
  registryOf(file: string): CertificateRegistry {
    return this.registries.find(({ path }) => path === file)!.registry;
  }

  /** The hash to keep of a password. @throws TooMany */
  hash(password: Uint8Array): Promise<string> {
    return this.pool.hash(password);
  }

  /** What each authenticator of the configuration has said, in their order, and how it is with services. */
  tallies(): readonly AuthenticatorState[] {
    return this.entries.map(stateOf);
  }

  /** Those of `auth.file`, and what they have said. */
  namedAuthenticators(): readonly { readonly facts: NamedAuthenticator; readonly state: AuthenticatorState }[] {
    return this.named.map(({ facts, entry }) => ({ facts, state: stateOf(entry) }));
  }

  /** Of `auth.file`: another one for each other content. */
  get revision(): string {
    return this.list.revision;
  }

  private attempt(read: () => void): void {
    try {
      read();
    } catch (error) {
      this.log.warn({ error: (error as Error).message }, 'a file of an authenticator was not read again: what it said before holds');
    }
  }

  private troubled(authenticator: string, error: Error): void {
    const now = performance.now();
    if (now - this.troubledAt < TROUBLE_MILLISECONDS) return;
    this.troubledAt = now;
    this.log.error({ authenticator, error: error.message }, 'an authenticator fails: it is passed over');
  }

  async stop(): Promise<void> {
    for (const { file, poll } of this.watched) unwatchFile(file, poll);
    for (const { authenticator } of [...this.entries, ...this.named.map(({ entry }) => entry)])
      if (authenticator instanceof HttpAuthenticator) authenticator.close();
    for (const registry of this.registries) registry.close();
    await this.pool.close();
  }
}

function stateOf({ authenticator, tally }: ChainEntry): AuthenticatorState {
  const isService = authenticator instanceof HttpAuthenticator;
  return { ...tally, breaker: isService ? authenticator.breakerState : null, waiting: isService ? authenticator.waiting : null };
}
