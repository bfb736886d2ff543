/**
 * FailedLogins: how often logins have failed, by address and by name, and who is refused without being judged for it.
 *
 * A window begins with the first failure and ends a fixed time later; with the limit reached, further logins of the address or name are refused until then. Logins
 * under way count as if they had failed: a further one waits until it is known. So an address can try `perAddress` passwords in a window, however many at a time,
 * and all addresses together `perName` for one name. An address that has logged in under a name before is not kept out by what others try with that name:
 * otherwise anybody could lock a client out.
 *
 * Tables are bounded, in number and in the length of what they hold; the oldest entry goes first. Who floods them with names pays with the limit of his address.
 */
import { createHash } from 'node:crypto';
import { waitIn } from './turns.ts';

export interface FailureLimits {
  readonly windowMilliseconds: number;
  /** 0: no limit. */
  readonly perAddress: number;
  /** 0: no limit. */
  readonly perName: number;
}

const ENTRIES_MAX = 65_536;
/** Longer names are held as a digest. */
const NAME_LENGTH_MAX = 64;
/** A network of this size is one attacker's: providers give each customer a /64 of IPv6. */
const IPV6_GROUPS = 4;

/** A login that has been let through; `leave` ends it. */
export interface Attempt {
  readonly network: string;
  readonly name: string;
  /** Places that it holds. */
  readonly keys: readonly [Tally, string][];
}

interface Window {
  endsAt: number;
  failures: number;
  underWay: number;
  readonly waiters: Set<() => void>;
}

/** Windows of one kind, by key. */
class Tally {
  private readonly limit: number;
  private readonly windowMilliseconds: number;
  private readonly windows: Map<string, Window>;

  constructor(limit: number, windowMilliseconds: number) {
    this.limit = limit;
    this.windowMilliseconds = windowMilliseconds;
    this.windows = new Map();
  }

  /** @returns whether it was let through; false: the limit is reached. @throws Gone */
  async enter(key: string, clock: () => number, signal: AbortSignal): Promise<boolean> {
    for (;;) {
      const now = clock();
      const window = this.windowOf(key, now);
      if (window.failures >= this.limit) return false;
      if (window.failures + window.underWay < this.limit) {
        window.underWay++;
        return true;
      }
      await waitIn(window.waiters, signal);
    }
  }

  leave(key: string, hasFailed: boolean, now: number): void {
    const window = this.windows.get(key);
    if (window === undefined) return;
    window.underWay = Math.max(0, window.underWay - 1);
    if (hasFailed) {
      if (window.failures === 0) window.endsAt = now + this.windowMilliseconds;
      window.failures++;
    }
    // With the limit reached all are told; else one has a place.
    const isSpent = window.failures >= this.limit;
    for (const wake of [...window.waiters]) {
      wake();
      if (!isSpent) break;
    }
    if (window.failures === 0 && window.underWay === 0 && window.waiters.size === 0) this.windows.delete(key);
  }

  private windowOf(key: string, now: number): Window {
    let window = this.windows.get(key);
    if (window === undefined) {
      window = { endsAt: 0, failures: 0, underWay: 0, waiters: new Set() };
      this.windows.set(key, window);
      if (this.windows.size > ENTRIES_MAX) this.forgetOldest();
    }
    if (window.failures > 0 && window.endsAt <= now) window.failures = 0;
    return window;
  }

  private forgetOldest(): void {
    // Those whose logins are under way stay: there are no more of them than may wait.
    for (const [key, { underWay, waiters }] of this.windows) {
      if (underWay > 0 || waiters.size > 0) continue;
      this.windows.delete(key);
      return;
    }
  }
}

export class FailedLogins {
  private readonly limits: FailureLimits;
  private readonly addresses: Tally;
  private readonly names: Tally;
  /** `name`, NUL, `address` of logins that succeeded. */
  private readonly known: Set<string>;

  constructor(limits: FailureLimits) {
    this.limits = limits;
    this.addresses = new Tally(limits.perAddress, limits.windowMilliseconds);
    this.names = new Tally(limits.perName, limits.windowMilliseconds);
    this.known = new Set();
  }

  /**
   * Lets a login through, at once or when others of its address and name are done.
   * @param address '' where there is none, as on a Unix socket: it has no limit; @param name null: it shows none
   * @returns the attempt, or why this login is not judged
   * @throws Gone when the signal comes first
   */
  async enter(address: string, name: string | null, clock: () => number, signal: AbortSignal): Promise<Attempt | string> {
    const network = networkOf(address);
    const short = name === null ? '' : shortName(name);
    const keys: [Tally, string][] = [];
    const attempt: Attempt = { network, name: short, keys };
    try {
      if (network !== '' && this.limits.perAddress > 0) {
        if (!(await this.addresses.enter(network, clock, signal))) return 'too many failed logins of this address';
        keys.push([this.addresses, network]);
      }
      if (name === null || this.limits.perName === 0) return attempt;
      // One that is known is counted with the others, but not kept out.
      if (this.known.has(knownKey(network, short))) return attempt;
      if (await this.names.enter(short, clock, signal)) {
        keys.push([this.names, short]);
        return attempt;
      }
    } catch (error) {
      this.leave(attempt, false, clock());
      throw error;
    }
    this.leave(attempt, false, clock());
    return 'too many failed logins for this name';
  }

  /** The attempt is over. @param hasFailed a wrong proof was shown */
  leave({ keys }: Attempt, hasFailed: boolean, now: number): void {
    for (const [tally, key] of keys) tally.leave(key, hasFailed, now);
  }

  /** The name has been proved from this address. */
  succeeded({ network, name }: Attempt): void {
    if (name === '') return;
    const key = knownKey(network, name);
    // Again at the end: who comes often is forgotten last.
    this.known.delete(key);
    this.known.add(key);
    if (this.known.size > ENTRIES_MAX) this.known.delete(this.known.values().next().value!);
  }
}

function shortName(name: string): string {
  return name.length <= NAME_LENGTH_MAX ? name : createHash('sha256').update(name).digest('base64');
}

function knownKey(network: string, name: string): string {
  return `${name}\0${network}`;
}

/** An IPv4 address as it is, of IPv6 the first 64 bits. */
function networkOf(address: string): string {
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  // Zeros that `::` stands for; where they reach into the first 64 bits, what follows them may, too.
  if (tail !== undefined) {
    const behind = tail === '' ? [] : tail.split(':');
    while (groups.length + behind.length < 8) groups.push('0');
    groups.push(...behind);
  }
  return groups.slice(0, IPV6_GROUPS).join(':');
}
