/**
 * Session access: what one client may do, for as long as it is connected. The statements that can concern it, with its identity in their variables.
 *
 * Statements are asked in their order, and the first that matches decides; where none does, the answer is no. A deny statement matches a subscription that
 * overlaps it, an allow statement only one that it covers: so a wider filter never gets around a deny, and never sees more than was allowed.
 *
 * Hot path.
 */
import { hash32 } from '../base/hash.ts';
import { DecisionCache, NOT_CACHED } from './decision-cache.ts';
import { type Pattern, patternMatches } from './pattern.ts';
import { covers, overlaps, type TopicPattern, topicMatches } from './topic-pattern.ts';

/** A statement for one client. */
export interface BoundStatement {
  /** Its place in the configuration. */
  readonly index: number;
  readonly isAllow: boolean;
  /** A bit for each QoS. */
  readonly qos: number;
  /** 1: messages that are not to be retained, 2: those that are. */
  readonly retain: number;
  /** Null: any topic. */
  readonly topics: readonly TopicPattern[] | null;
  /** Of P2P: Client Identifiers of targets; null: any. */
  readonly targets: readonly Pattern[] | null;
}

/** Statements about each action, in their order. */
export interface BoundStatements {
  readonly publish: readonly BoundStatement[];
  readonly subscribe: readonly BoundStatement[];
  readonly p2p: readonly BoundStatement[];
}

/** How often the cache knew. */
export interface CacheTally {
  readonly counters: Float64Array;
  /** Places in `counters`. */
  readonly hits: number;
  readonly misses: number;
}

/** No statement matched. */
export const UNDECIDED = -1;

/** One number for what was decided and by which statement: from 0 up it is allowed. */
export function decisionOf(statement: { readonly isAllow: boolean; readonly index: number }): number {
  return statement.isAllow ? statement.index : -2 - statement.index;
}

/** The statement that decided, or -1. */
export function statementOf(decision: number): number {
  return decision >= 0 ? decision : -2 - decision;
}

/** Bit of `kind` that tells a target from a topic. */
const P2P = 8;
const RETAIN = 4;

export class SessionAccess {
  private readonly statements: BoundStatements;
  private readonly tally: CacheTally;
  /** Made when the client first publishes. */
  private cache: DecisionCache | null;

  constructor(statements: BoundStatements, tally: CacheTally) {
    this.statements = statements;
    this.tally = tally;
    this.cache = null;
  }

  /** Judges a PUBLISH to the Topic Name `bytes[at, end)`. @returns the decision */
  publish(bytes: Uint8Array, at: number, end: number, qos: number, isRetained: boolean): number {
    return this.cached(bytes, at, end, isRetained ? qos | RETAIN : qos);
  }

  /** Judges a P2P message to the client `bytes[at, end)`. @returns the decision */
  publishTo(bytes: Uint8Array, at: number, end: number, qos: number): number {
    return this.cached(bytes, at, end, qos | P2P);
  }

  /** Judges a valid Topic Filter, without `$share/…/`. @returns the decision */
  subscribe(filter: string, qos: number): number {
    const list = this.statements.subscribe;
    for (let i = 0; i < list.length; i++) {
      const statement = list[i]!;
      if ((statement.qos & (1 << qos)) !== 0 && concerns(statement, filter)) return decisionOf(statement);
    }
    return UNDECIDED;
  }

  private cached(bytes: Uint8Array, at: number, end: number, kind: number): number {
    const { tally } = this;
    if (this.cache === null) this.cache = new DecisionCache();
    const hash = hash32(bytes, at, end);
    const known = this.cache.get(bytes, at, end, hash, kind);
    if (known !== NOT_CACHED) {
      tally.counters[tally.hits]!++;
      return known;
    }
    tally.counters[tally.misses]!++;
    const decision = (kind & P2P) !== 0 ? this.judgeTarget(bytes, at, end, kind & 3) : this.judgeTopic(bytes, at, end, kind);
    this.cache.set(bytes, at, end, hash, kind, decision);
    return decision;
  }

  private judgeTopic(bytes: Uint8Array, at: number, end: number, kind: number): number {
    const qos = 1 << (kind & 3);
    const retain = (kind & RETAIN) !== 0 ? 2 : 1;
    const list = this.statements.publish;
    for (let i = 0; i < list.length; i++) {
      const statement = list[i]!;
      if ((statement.qos & qos) === 0 || (statement.retain & retain) === 0) continue;
      const { topics } = statement;
      if (topics === null) return decisionOf(statement);
      for (let n = 0; n < topics.length; n++) if (topicMatches(topics[n]!, bytes, at, end)) return decisionOf(statement);
    }
    return UNDECIDED;
  }

  private judgeTarget(bytes: Uint8Array, at: number, end: number, qos: number): number {
    const list = this.statements.p2p;
    for (let i = 0; i < list.length; i++) {
      const statement = list[i]!;
      if ((statement.qos & (1 << qos)) === 0) continue;
      const { targets } = statement;
      if (targets === null) return decisionOf(statement);
      for (let n = 0; n < targets.length; n++) if (patternMatches(targets[n]!, bytes, at, end)) return decisionOf(statement);
    }
    return UNDECIDED;
  }
}

function concerns(statement: BoundStatement, filter: string): boolean {
  const { topics, isAllow } = statement;
  if (topics === null) return true;
  for (let n = 0; n < topics.length; n++) if (isAllow ? covers(topics[n]!, filter) : overlaps(topics[n]!, filter)) return true;
  return false;
}
