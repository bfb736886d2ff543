/**
 * Session access: what one client may do, for as long as it is connected. The statements that can concern it, with its identity in their variables.
 *
 * Statements are asked in their order, and the first that matches decides; where none does, the answer is no. A deny statement matches a subscription that
 * overlaps it, an allow statement only one that it covers: so a wider filter never gets around a deny, and never sees more than was allowed.
 *
 * Where it depends on attributes of a P2P message's target, which other shards know, the decision is a question (`target-question.ts`).
 *
 * Hot path.
 */
import { equalBytes, utf8Bytes } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import { addressFilter, coversAddresses, overlapsAddresses } from './address-filter.ts';
import { DecisionCache, NOT_CACHED } from './decision-cache.ts';
import { type Pattern, patternMatches } from './pattern.ts';
import { QUESTION_BYTES_MAX, questionOf, type TargetQuestion } from './target-question.ts';
import { type AskedFilter, covers, overlaps, readFilter, type TopicPattern, topicMatches } from './topic-pattern.ts';

/** A statement for one client. */
export interface BoundStatement {
  /** Its place in the configuration. */
  readonly index: number;
  readonly isAllow: boolean;
  /** A bit for each QoS. */
  readonly qos: number;
  /** 1: messages that are not to be retained, 2: those that are. */
  readonly retain: number;
  /** Names of Shared Subscriptions; null: those and ordinary ones. */
  readonly groups: readonly Pattern[] | null;
  /** Null: any topic. */
  readonly topics: readonly TopicPattern[] | null;
  /** Of P2P: Client Identifiers of targets; null: any. */
  readonly targets: readonly Pattern[] | null;
  /** Of P2P: what must be asked of the target; null: nothing. */
  readonly question: Uint8Array | null;
}

/** Statements about each action, in their order. */
export interface BoundStatements {
  readonly publish: readonly BoundStatement[];
  readonly subscribe: readonly BoundStatement[];
  readonly p2p: readonly BoundStatement[];
  readonly observe: readonly BoundStatement[];
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

/** Decisions from here down to NOT_CACHED are questions, by their place in the client's list. */
const ASKED = -0x20000000;
/** Questions that one client has ready; more differ by so many targets and statements that they are made anew each time. */
const QUESTIONS_MAX = 16;

/** Whether the decision is a question to the target. */
export function asksTarget(decision: number): boolean {
  return decision <= ASKED;
}

/** Bit of `kind` that tells a target from a topic. */
const P2P = 8;
const RETAIN = 4;

export class SessionAccess {
  private readonly statements: BoundStatements;
  private readonly clientIdBytes: Uint8Array;
  private readonly tally: CacheTally;
  /** QoS, a bit each, with which one statement decides for all targets, and what it decides; here, so that a message to a client reads nothing else of this. */
  private readonly anyTargetQos: number;
  private readonly anyTargetDecision: number;
  /** Made when the client first publishes. */
  private cache: DecisionCache | null;
  /** What the last topic that was allowed is known by, with the QoS and the flag that it was allowed for; null: nothing. */
  private allowedKey: object | null;
  private allowedKind: number;
  /** Made when the first question is asked. */
  private questions: TargetQuestion[] | null;
  /** A question that did not find a place among them. */
  private lastQuestion: TargetQuestion | null;

  constructor(statements: BoundStatements, clientIdBytes: Uint8Array, tally: CacheTally) {
    this.statements = statements;
    this.clientIdBytes = clientIdBytes;
    this.tally = tally;
    const first = statements.p2p[0];
    const isForAll = first !== undefined && first.targets === null && first.question === null;
    this.anyTargetQos = isForAll ? first.qos : 0;
    this.anyTargetDecision = isForAll ? decisionOf(first) : UNDECIDED;
    this.cache = null;
    this.allowedKey = null;
    this.allowedKind = 0;
    this.questions = null;
    this.lastQuestion = null;
  }

  /** Judges a PUBLISH to the Topic Name `bytes[at, end)`. @returns the decision */
  publish(bytes: Uint8Array, at: number, end: number, qos: number, isRetained: boolean): number {
    return this.cached(bytes, at, end, isRetained ? qos | RETAIN : qos);
  }

  /** Whether the last PUBLISH that was allowed was to the same topic, in the same way. @param key an object that stands for one topic as long as it lives */
  hasAllowed(key: object, qos: number, isRetained: boolean): boolean {
    return this.allowedKey === key && this.allowedKind === (isRetained ? qos | RETAIN : qos);
  }

  /** This PUBLISH is allowed. */
  allowed(key: object, qos: number, isRetained: boolean): void {
    this.allowedKey = key;
    this.allowedKind = isRetained ? qos | RETAIN : qos;
  }

  /** Judges a P2P message to the client `bytes[at, end)`. @returns the decision, which may be a question */
  publishTo(bytes: Uint8Array, at: number, end: number, qos: number): number {
    // A first statement about all targets needs nothing to be remembered for each, and a client that writes to many would find none of
    // them again: random targets cost 1.12 (QoS 0) and 1.04 (QoS 1) of an open broker, with the cache 1.33 and 1.28 (medians of three noisy rounds).
    if ((this.anyTargetQos & (1 << qos)) !== 0) return this.anyTargetDecision;
    return this.cached(bytes, at, end, qos | P2P);
  }

  /** Judges a valid Topic Filter, without `$share/…/`. @param shareName of a Shared Subscription, else ''. @returns the decision */
  subscribe(filter: string, qos: number, shareName: string = ''): number {
    const list = this.statements.subscribe;
    const asked = readFilter(filter);
    for (let i = 0; i < list.length; i++) {
      const statement = list[i]!;
      if ((statement.qos & (1 << qos)) !== 0 && isOfGroup(statement, shareName) && concerns(statement, asked)) return decisionOf(statement);
    }
    return UNDECIDED;
  }

  /** The question behind a decision; valid until the next is asked for. */
  questionOf(decision: number): TargetQuestion {
    return this.questions?.[ASKED - decision] ?? this.lastQuestion!;
  }

  /** Judges an observer of P2P messages, by the filter `first/p2p/…` of other clients. @returns the decision */
  observe(filter: string, qos: number): number {
    const list = this.statements.observe;
    const asked = addressFilter(filter);
    for (let i = 0; i < list.length; i++) {
      const { isAllow, targets, qos: mask } = list[i]!;
      if ((mask & (1 << qos)) === 0) continue;
      let matches = targets === null;
      for (let n = 0; targets !== null && n < targets.length && !matches; n++)
        matches = isAllow ? coversAddresses(targets[n]!, asked) : overlapsAddresses(targets[n]!, asked);
      if (matches) return decisionOf(list[i]!);
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
    if (decision > ASKED - QUESTIONS_MAX) this.cache.set(bytes, at, end, hash, kind, decision);
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
    // Statements before the one that decides, which would have decided if the target is as they say.
    let asked: BoundStatement[] | null = null;
    let decision = UNDECIDED;
    for (let i = 0; i < list.length; i++) {
      const statement = list[i]!;
      if ((statement.qos & (1 << qos)) === 0 || !isTarget(statement, bytes, at, end)) continue;
      if (statement.question === null) {
        decision = decisionOf(statement);
        break;
      }
      asked ??= [];
      asked.push(statement);
    }
    return asked === null ? decision : this.ask(asked, decision);
  }

  /** Cold: once for each target, and then out of the cache. */
  private ask(asked: BoundStatement[], otherwise: number): number {
    // What says the same as what is behind it need not be asked.
    while (asked.length > 0 && asked.at(-1)!.isAllow === otherwise >= 0) asked.pop();
    if (asked.length === 0) return otherwise;
    const entries: Uint8Array[] = [];
    for (let i = 0; i < asked.length; i++) entries.push(asked[i]!.question!);
    const question = questionOf(this.clientIdBytes, entries, otherwise);
    // Whatever the target is, it must not be reached by way of a question that is too long.
    if (question.length > QUESTION_BYTES_MAX) return UNDECIDED;
    this.questions ??= [];
    const { questions } = this;
    for (let i = 0; i < questions.length; i++) if (sameBytes(questions[i]!, question)) return ASKED - i;
    if (questions.length < QUESTIONS_MAX) return ASKED + 1 - questions.push(question);
    this.lastQuestion = question;
    return ASKED - QUESTIONS_MAX;
  }
}

function isTarget({ targets }: BoundStatement, bytes: Uint8Array, at: number, end: number): boolean {
  if (targets === null) return true;
  for (let n = 0; n < targets.length; n++) if (patternMatches(targets[n]!, bytes, at, end)) return true;
  return false;
}

function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return equalBytes(one, 0, one.length, other, 0, other.length);
}

function isOfGroup({ groups }: BoundStatement, shareName: string): boolean {
  if (groups === null) return true;
  if (shareName === '') return false;
  const bytes = utf8Bytes(shareName);
  return groups.some((pattern) => patternMatches(pattern, bytes, 0, bytes.length));
}

function concerns(statement: BoundStatement, asked: AskedFilter): boolean {
  const { topics, isAllow } = statement;
  if (topics === null) return true;
  for (let n = 0; n < topics.length; n++) if (isAllow ? covers(topics[n]!, asked) : overlaps(topics[n]!, asked)) return true;
  return false;
}
