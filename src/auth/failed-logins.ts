/**
 * FailedLogins: how often logins have failed, by address and by name, and who is refused without being judged for it.
 *
 * A window begins with the first failure and ends a fixed time later; with the limit reached, further logins of the address or name are refused until then. So an
 * address can try `perAddress` passwords in a window, and all addresses together `perName` for one name. An address that has logged in under a name before
 * is not kept out by what others try with that name: otherwise anybody could lock a client out.
 *
 * Tables are bounded; the oldest entry goes first. Who floods them with names pays with the limit of his address.
 */
export interface FailureLimits {
  readonly windowMilliseconds: number;
  /** 0: no limit. */
  readonly perAddress: number;
  /** 0: no limit. */
  readonly perName: number;
}

const ENTRIES_MAX = 65_536;
/** A network of this size is one attacker's: providers give each customer a /64 of IPv6. */
const IPV6_GROUPS = 4;

interface Window {
  readonly endsAt: number;
  count: number;
}

export class FailedLogins {
  private readonly limits: FailureLimits;
  private readonly addresses: Map<string, Window>;
  private readonly names: Map<string, Window>;
  /** `name`, NUL, `address` of logins that succeeded. */
  private readonly known: Set<string>;

  constructor(limits: FailureLimits) {
    this.limits = limits;
    this.addresses = new Map();
    this.names = new Map();
    this.known = new Set();
  }

  /** @param address '' where there is none, as on a Unix socket: it has no limit @returns why this login is not judged; null: it is */
  blocks(address: string, name: string | null, now: number): string | null {
    const network = networkOf(address);
    if (network !== '' && isSpent(this.addresses.get(network), this.limits.perAddress, now))
      return 'too many failed logins of this address';
    if (name === null || !isSpent(this.names.get(name), this.limits.perName, now)) return null;
    return this.known.has(knownKey(network, name)) ? null : 'too many failed logins for this name';
  }

  failed(address: string, name: string | null, now: number): void {
    const network = networkOf(address);
    if (network !== '' && this.limits.perAddress > 0) this.count(this.addresses, network, now);
    if (name !== null && this.limits.perName > 0) this.count(this.names, name, now);
  }

  succeeded(address: string, name: string | null): void {
    if (name === null) return;
    const key = knownKey(networkOf(address), name);
    // Again at the end: who comes often is forgotten last.
    this.known.delete(key);
    this.known.add(key);
    if (this.known.size > ENTRIES_MAX) this.known.delete(this.known.values().next().value!);
  }

  private count(windows: Map<string, Window>, key: string, now: number): void {
    const window = windows.get(key);
    if (window !== undefined && window.endsAt > now) {
      window.count++;
      return;
    }
    windows.delete(key);
    windows.set(key, { endsAt: now + this.limits.windowMilliseconds, count: 1 });
    if (windows.size > ENTRIES_MAX) windows.delete(windows.keys().next().value!);
  }
}

function isSpent(window: Window | undefined, limit: number, now: number): boolean {
  return limit > 0 && window !== undefined && window.count >= limit && window.endsAt > now;
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
