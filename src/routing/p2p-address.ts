/*
 * The point-to-point address `{first}/p2p/{clientId}`: reads it from the bytes of a topic name, and says what a SUBSCRIBE to such a
 * filter means. It knows no sessions and no shards.
 * Invariant: what is no address here is an ordinary topic everywhere; both functions agree on what an address is.
 *
 * Hot path.
 */

/** An ordinary topic. */
export const NOT_P2P = 0;
/** An address with a client identifier. */
export const P2P_TARGET = 1;
/** `first/p2p` or `first/p2p/`: the targets stand elsewhere in the PUBLISH. */
export const P2P_EMPTY_TARGET = 2;

const SLASH = 0x2f;
const DOLLAR = 0x24;
const LETTER_P = 0x70;
const DIGIT_2 = 0x32;

/** Offsets of an address in the bytes it was read from. One object per shard, filled anew by each `parseP2pTopic`. */
export class P2pAddress {
  /** The first level: `[firstAt, firstEnd)`. */
  firstAt = 0;
  firstEnd = 0;
  /** The target's client identifier: `[clientIdAt, clientIdEnd)`; empty for P2P_EMPTY_TARGET. */
  clientIdAt = 0;
  clientIdEnd = 0;
}

/**
 * Reads the topic name `bytes[at, end)`. Returns NOT_P2P, P2P_TARGET or P2P_EMPTY_TARGET; the latter two fill `address`.
 * Whether the first level is one that counts is asked of `P2pParents`.
 */
export function parseP2pTopic(address: P2pAddress, bytes: Uint8Array, at: number, end: number): number {
  let slash = at;
  while (slash < end && bytes[slash] !== SLASH) slash++;
  const after = slash + 4;
  if (after > end || slash === at || bytes[at] === DOLLAR) return NOT_P2P;
  if (bytes[slash + 1] !== LETTER_P || bytes[slash + 2] !== DIGIT_2 || bytes[slash + 3] !== LETTER_P) return NOT_P2P;
  if (after < end && bytes[after] !== SLASH) return NOT_P2P;
  address.firstAt = at;
  address.firstEnd = slash;
  address.clientIdAt = after < end ? after + 1 : end;
  address.clientIdEnd = end;
  return address.clientIdAt < end ? P2P_TARGET : P2P_EMPTY_TARGET;
}

/** The first levels that count as parents of addresses: all of them, or a list. */
export class P2pParents {
  private readonly list: Uint8Array[] | null;

  constructor(parents: '*' | Iterable<string>) {
    if (parents === '*') {
      this.list = null;
      return;
    }
    this.list = [];
    const encoder = new TextEncoder();
    for (const parent of parents) this.list.push(encoder.encode(parent));
  }

  /** True where the first level `bytes[at, end)` counts. */
  accepts(bytes: Uint8Array, at: number, end: number): boolean {
    const list = this.list;
    if (list === null) return true;
    for (let i = 0; i < list.length; i++) {
      const parent = list[i]!;
      if (parent.length !== end - at) continue;
      let same = 0;
      while (same < parent.length && parent[same] === bytes[at + same]) same++;
      if (same === parent.length) return true;
    }
    return false;
  }
}

/** What a SUBSCRIBE to a filter means for P2P: nothing, the subscriber's own address, or other clients' addresses. */
export type P2pFilterClass = 'ordinary' | 'own' | 'other';

/**
 * Classifies a valid topic filter (without a `$share` prefix) of the client `clientId`. Not a per-message function.
 * - `own`: the own address, also with `+` as the first level; and `{first}/p2p` without a target, which carries messages by `p2p-target`.
 * - `other`: every other filter whose second level is `p2p` and whose first level counts. A target with a wildcard is never `own`, even if
 *   the client's own identifier reads the same: as a filter it stands for other clients.
 * - `ordinary`: all else. With a list of parents a leading `+` is ordinary as well, since it then also names ordinary topics.
 */
export function classifyP2pFilter(filter: string, clientId: string, parents: '*' | ReadonlySet<string>): P2pFilterClass {
  const slash = filter.indexOf('/');
  if (slash <= 0 || filter.charCodeAt(0) === DOLLAR) return 'ordinary';
  const after = slash + 4;
  if (!filter.startsWith('p2p', slash + 1) || (after < filter.length && filter.charCodeAt(after) !== SLASH)) return 'ordinary';
  if (parents !== '*' && !parents.has(filter.substring(0, slash))) return 'ordinary';
  const target = filter.substring(after + 1);
  const isWild = target.includes('+') || target.includes('#');
  return (target === '' || target === clientId) && !isWild ? 'own' : 'other';
}
