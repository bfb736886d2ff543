/**
 * BlockRules: who may not connect, whatever they can prove. A rule names clients by their Client Identifier, their username or their address; some may be excepted, and the
 * rule may end by itself.
 *
 * Names without wildcards are looked up, so that thousands of them cost one client nothing; the others are tried one after the other, and are few. It knows no connection.
 */
import { BlockList, SocketAddress } from 'node:net';
import { utf8Bytes } from '../base/bytes.ts';
import { addNetwork, plainAddress } from '../base/network.ts';
import { patternMatches, readPattern } from './pattern.ts';

export type BlockKind = 'client-id' | 'username' | 'address';

export interface BlockRule {
  readonly name: string;
  readonly kind: BlockKind;
  /** Pattern with `*` and `?`; of addresses also a network (`address/bits`). */
  readonly include: string;
  /** The same, for those who may connect all the same. */
  readonly excludes: readonly string[];
  /** Wall time in milliseconds at which it ends; 0: never. */
  readonly expiresAt: number;
  readonly remark: string;
}

/** Whether a pattern is more than the one text that it spells. */
export function hasWildcard(pattern: string): boolean {
  return /[*?]/.test(pattern);
}

type Matches = (text: string, bytes: Uint8Array) => boolean;

interface Compiled {
  readonly rule: BlockRule;
  /** Null where `include` is what it was looked up by. */
  readonly include: Matches | null;
  readonly excludes: readonly Matches[];
}

/** Rules of one kind. */
class RulesOfKind {
  private readonly byName: Map<string, Compiled[]>;
  private readonly others: Compiled[];

  constructor(rules: readonly BlockRule[]) {
    this.byName = new Map();
    this.others = [];
    for (const rule of rules) {
      const { kind, include } = rule;
      const excludes = rule.excludes.map((pattern) => matcherOf(kind, pattern));
      if (hasWildcard(include) || (kind === 'address' && include.includes('/')))
        this.others.push({ rule, include: matcherOf(kind, include), excludes });
      else {
        const name = kind === 'address' ? canonicalAddress(include) : include;
        this.byName.set(name, [...(this.byName.get(name) ?? []), { rule, include: null, excludes }]);
      }
    }
  }

  get isEmpty(): boolean {
    return this.byName.size === 0 && this.others.length === 0;
  }

  /** The first rule that holds for this text. @param now wall time in milliseconds */
  find(text: string, now: number): BlockRule | null {
    if (this.isEmpty) return null;
    const bytes = utf8Bytes(text);
    for (const one of this.byName.get(text) ?? []) if (holds(one, text, bytes, now)) return one.rule;
    for (const one of this.others) if (holds(one, text, bytes, now)) return one.rule;
    return null;
  }
}

function holds({ rule, include, excludes }: Compiled, text: string, bytes: Uint8Array, now: number): boolean {
  if (rule.expiresAt !== 0 && rule.expiresAt <= now) return false;
  return (include === null || include(text, bytes)) && !excludes.some((matches) => matches(text, bytes));
}

function matcherOf(kind: BlockKind, pattern: string): Matches {
  if (kind !== 'address' || hasWildcard(pattern)) {
    const tokens = readPattern(pattern, true);
    return (_text, bytes) => patternMatches(tokens, bytes, 0, bytes.length);
  }
  const list = new BlockList();
  addNetwork(list, pattern);
  return (text) => list.check(text, text.includes(':') ? 'ipv6' : 'ipv4');
}

/** As the system writes it for a connection. */
function canonicalAddress(address: string): string {
  return address.includes(':') ? plainAddress(new SocketAddress({ address, family: 'ipv6' }).address) : address;
}

export class BlockRules {
  private readonly clientIds: RulesOfKind;
  private readonly usernames: RulesOfKind;
  private readonly addresses: RulesOfKind;
  readonly isEmpty: boolean;

  constructor(rules: readonly BlockRule[]) {
    const ofKind = (kind: BlockKind): RulesOfKind => new RulesOfKind(rules.filter((rule) => rule.kind === kind));
    this.clientIds = ofKind('client-id');
    this.usernames = ofKind('username');
    this.addresses = ofKind('address');
    this.isEmpty = rules.length === 0;
  }

  /** The rule that blocks this client, or null. @param address '' where there is none, as on a Unix socket; @param now wall time in milliseconds */
  find(clientId: string, username: string | undefined, address: string, now: number): BlockRule | null {
    if (this.isEmpty) return null;
    return (
      this.clientIds.find(clientId, now) ??
      (username === undefined ? null : this.usernames.find(username, now)) ??
      this.findAddress(address, now)
    );
  }

  /** The rule that blocks this address, or null. */
  findAddress(address: string, now: number): BlockRule | null {
    return address === '' ? null : this.addresses.find(address, now);
  }
}
