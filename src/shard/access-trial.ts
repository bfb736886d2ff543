/**
 * AccessTrial: what the statements would say to something that nobody has done, judged by the same code as what clients do. For people who write statements.
 *
 * A P2P message may depend on what its target is, which the target's shard knows: that one is asked, unless whoever tries says it himself.
 */
import { packAttributes, unpackAttributes } from '../access/attribute-bytes.ts';
import { asksTarget, statementOf, UNDECIDED } from '../access/session-access.ts';
import type { Statements, Subject } from '../access/statement.ts';
import { answerOf } from '../access/target-question.ts';
import { utf8Bytes } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import { filterError, isTopicText, parseShared } from '../protocol/topic.ts';
import { classifyP2pFilter, NOT_P2P, P2P_TARGET, P2pAddress, parseP2pTopic } from '../routing/p2p-address.ts';
import { shardOfSlot, slotOf } from '../routing/slot.ts';
import type { Shard } from './shard.ts';

/** What is tried. */
export interface TriedAction {
  readonly subject: Subject;
  readonly isSuperuser: boolean;
  readonly action: 'connect' | 'publish' | 'subscribe' | 'p2p' | 'observe';
  /** Topic of `publish`, filter of `subscribe` and `observe`, Client Identifier of `p2p`; '' for `connect`. */
  readonly object: string;
  readonly qos: number;
  readonly retain: boolean;
  /** What the target of a P2P message is; null: what its session says. */
  readonly targetAttributes: Readonly<Record<string, string>> | null;
}

/** Who or what has decided. */
export type DecidedBy = 'statement' | 'default' | 'no-statements' | 'superuser' | 'broker';

export interface TrialResult {
  readonly isAllowed: boolean;
  readonly by: DecidedBy;
  /** Place of the statement; null: none has decided. */
  readonly statement: number | null;
  /** The statement as JSON, or why, where it was none. */
  readonly text: string;
}

/** Where the attributes of a session are asked for. */
const TARGET_ATTRIBUTES = 'access/target-attributes';

/** Lets other shards ask for the attributes of sessions of this one. */
export function answerTrials(shard: Shard): void {
  shard.asks.handle(TARGET_ATTRIBUTES, (clientId, answer) => {
    const bytes = utf8Bytes(String(clientId));
    const session = shard.sessions.get(bytes, 0, bytes.length, hash32(bytes, 0, bytes.length));
    answer({ attributes: session === undefined ? null : unpackAttributes(session.attributes ?? new Uint8Array(0)) });
  });
}

/** Tries an action. @param done called once, at once or later; with null where the target's shard does not answer */
export function tryAction(shard: Shard, tried: TriedAction, done: (result: TrialResult | null) => void): void {
  const { action, subject, object } = tried;
  const wrong = problemOf(shard, tried);
  if (wrong !== null) {
    done(broker(false, wrong));
    return;
  }
  const { statements } = shard.authorization;
  if (action === 'connect') {
    if (tried.isSuperuser) done(superuser());
    else if (statements === null) done(open());
    else if (!statements.restrictsConnect) done(broker(true, 'no statement is about connect, so everyone may'));
    else done(decided(statements, statements.connect(subject)));
    return;
  }
  const target = action === 'publish' ? targetOf(shard, object) : action === 'p2p' ? object : null;
  if (target === '') {
    done(broker(true, 'the targets of this message stand in its p2p-target User Properties: try each of them'));
    return;
  }
  const kind = action === 'subscribe' || action === 'observe' ? classOf(shard, object, subject.clientId) : 'ordinary';
  if (kind === 'own') done(broker(true, 'messages to its own address come without a subscription'));
  else if (tried.isSuperuser) done(superuser());
  else if (statements === null)
    done(kind === 'other' ? broker(false, 'nobody observes other clients unless a statement grants it') : open());
  else if (target !== null) tryTarget(shard, tried, statements, target, done);
  else done(decided(statements, judged(statements, tried, kind === 'other')));
}

function judged(statements: Statements, { subject, action, object, qos, retain }: TriedAction, isObserver: boolean): number {
  const access = statements.accessOf(subject);
  if (action === 'publish') {
    const bytes = utf8Bytes(object);
    return access.publish(bytes, 0, bytes.length, qos, retain);
  }
  const shared = parseShared(object);
  if (isObserver) return access.observe(object, qos);
  return shared === undefined || shared === null ? access.subscribe(object, qos) : access.subscribe(shared.filter, qos, shared.shareName);
}

function tryTarget(
  shard: Shard,
  { subject, qos, targetAttributes }: TriedAction,
  statements: Statements,
  target: string,
  done: (result: TrialResult | null) => void,
): void {
  const bytes = utf8Bytes(target);
  const access = statements.accessOf(subject);
  const decision = access.publishTo(bytes, 0, bytes.length, qos);
  if (!asksTarget(decision)) {
    done(decided(statements, decision));
    return;
  }
  const question = access.questionOf(decision);
  const answer = (attributes: Readonly<Record<string, string>> | null): void => {
    // A target with a session has attributes, if none.
    const packed = attributes === null ? null : (packAttributes(attributes) ?? new Uint8Array(0));
    done(decided(statements, answerOf(question, 0, question.length, packed)));
  };
  if (targetAttributes !== null) {
    answer(targetAttributes);
    return;
  }
  const owner = shardOfSlot(slotOf(hash32(bytes, 0, bytes.length)), shard.shards);
  shard.asks.ask(owner, TARGET_ATTRIBUTES, target, (told) => {
    if (told === null) done(null);
    else answer((told as { readonly attributes: Readonly<Record<string, string>> | null }).attributes);
  });
}

/** What makes it impossible, whatever the statements say; null: nothing. */
function problemOf(shard: Shard, { action, object, subject }: TriedAction): string | null {
  const { settings } = shard;
  const { topicLevels } = settings.limits;
  if (action === 'publish') {
    if (!isTopicText(object, topicLevels)) return 'this is no Topic Name';
    return object.startsWith('$') ? 'nobody publishes to topics that begin with $' : null;
  }
  if (action === 'p2p') return settings.p2p.enabled ? null : 'p2p.enabled is false';
  if (action === 'connect') return null;
  const shared = parseShared(object);
  if (shared === null || filterError(shared?.filter ?? object, topicLevels) !== 0) return 'this is no Topic Filter';
  const kind = classOf(shard, object, subject.clientId);
  if (action === 'observe' && kind === 'ordinary') return 'this filter is no address of clients, such as cmd/p2p/+';
  return kind === 'other' && shared !== undefined ? 'observers share nothing: an audit that only one of several sees is none' : null;
}

function classOf(shard: Shard, filter: string, clientId: string): 'ordinary' | 'own' | 'other' {
  return shard.settings.p2p.enabled ? classifyP2pFilter(parseShared(filter)?.filter ?? filter, clientId, shard.p2pParentSet) : 'ordinary';
}

/** The client that a topic addresses; '': clients named elsewhere; null: it is an ordinary topic. */
function targetOf(shard: Shard, topic: string): string | null {
  if (!shard.settings.p2p.enabled) return null;
  const bytes = utf8Bytes(topic);
  const address = new P2pAddress();
  const kind = parseP2pTopic(address, bytes, 0, bytes.length);
  if (kind === NOT_P2P || !shard.p2pParents.accepts(bytes, address.firstAt, address.firstEnd)) return null;
  return kind === P2P_TARGET ? Buffer.from(bytes.subarray(address.clientIdAt, address.clientIdEnd)).toString() : '';
}

function decided(statements: Statements, decision: number): TrialResult {
  if (decision === UNDECIDED)
    return { isAllowed: false, by: 'default', statement: null, text: 'no statement matches, so the answer is no' };
  const statement = statementOf(decision);
  return { isAllowed: decision >= 0, by: 'statement', statement, text: statements.textOf(statement) };
}

function open(): TrialResult {
  return { isAllowed: true, by: 'no-statements', statement: null, text: 'there are no statements: everyone may do everything' };
}

function superuser(): TrialResult {
  return { isAllowed: true, by: 'superuser', statement: null, text: 'superusers are not judged' };
}

function broker(isAllowed: boolean, text: string): TrialResult {
  return { isAllowed, by: 'broker', statement: null, text };
}
