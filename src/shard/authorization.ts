/**
 * Authorization: asks the statements whether a client may do what it asks for, counts the refusals and writes them to the log, a few lines a second at most.
 *
 *   CONNECT → `admit` → SessionAccess of the connection ─┬─ PUBLISH → `mayPublish`, or `mayPublishTo` for each P2P target
 *                                                        └─ SUBSCRIBE → `maySubscribe`, `mayObserve`
 *
 * A connection that is not judged has no SessionAccess: there are no statements, or its client is a superuser. What a P2P target is may be known to another
 * shard only: then `question` goes along with the message, and `answer` is asked over there.
 *
 * Statements may be replaced at any time. Each connection then has the access `stale`, and gets its own anew when it is next asked for.
 *
 * Hot path.
 */

import { asksTarget, SessionAccess, statementOf, UNDECIDED } from '../access/session-access.ts';
import { OWN_RULES, Statements, type Subject } from '../access/statement.ts';
import { answerOf, NO_QUESTION, senderAt, senderEnd, type TargetQuestion } from '../access/target-question.ts';
import { cloneBytes, readText } from '../base/bytes.ts';
import { LineRate } from '../base/line-rate.ts';
import type { AuthorizationSettings } from '../base/settings.ts';
import { findResponseTopic, PropertyRange, UserPropertyReader } from '../protocol/property.ts';
import type { MessageView } from '../protocol/publish.ts';
import { NOT_P2P, P2P_TARGET, P2pAddress, parseP2pTopic } from '../routing/p2p-address.ts';
import type { AskedTarget } from '../session/will.ts';
import type { Connection } from './connection.ts';
import { counter } from './counters.ts';
import { addressOf, type Identity } from './login.ts';
import { isReceiptKey, isTargetKey } from './p2p-request.ts';
import type { ClientSession, Shard } from './shard.ts';

const DENIED_CONNECT = counter('authorization/denied/connect');
const DENIED_PUBLISH = counter('authorization/denied/publish');
const DENIED_SUBSCRIBE = counter('authorization/denied/subscribe');
const CACHE_HITS = counter('authorization/cache/hits');
const CACHE_MISSES = counter('authorization/cache/misses');
const SUPPRESSED = counter('authorization/log/suppressed');
const NOT_AUTHORIZED = counter('publish/dropped/not-authorized');

/** Lines about refusals in one second. */
const LINES_PER_SECOND = 10;

const RECEIPT_QOS = 1;

const userProperties = new UserPropertyReader();

export class Authorization {
  /** MQTT 3.1 and 3.1.1: a refused PUBLISH of QoS 1 or 2 ends the connection, instead of an acknowledgement. */
  closesV3: boolean;
  /** After `mayPublishTo` said yes: what is left to ask the target; NO_QUESTION: nothing. */
  question: TargetQuestion;
  /** Access of connections that must get theirs anew. */
  readonly stale: SessionAccess;
  private readonly shard: Shard;
  /** Null: everyone may do everything. */
  statements: Statements | null;
  /** For clients that bring rules along where there are no statements. */
  private readonly noStatements: Statements;
  private readonly address: P2pAddress;
  private readonly range: PropertyRange;
  private readonly rate: LineRate;

  constructor(shard: Shard, settings: AuthorizationSettings) {
    this.shard = shard;
    this.closesV3 = false;
    this.question = NO_QUESTION;
    this.statements = null;
    const tally = { counters: shard.counters, hits: CACHE_HITS, misses: CACHE_MISSES };
    this.noStatements = new Statements([], tally);
    this.stale = new SessionAccess({ publish: [], subscribe: [], p2p: [], observe: [] }, NO_QUESTION, tally);
    this.address = new P2pAddress();
    this.range = new PropertyRange();
    this.rate = new LineRate(LINES_PER_SECOND);
    this.replace(settings);
  }

  /** Judges by other statements from now on. The caller sees to the connections. */
  replace({ statements, deniedV3 }: AuthorizationSettings): void {
    const tally = { counters: this.shard.counters, hits: CACHE_HITS, misses: CACHE_MISSES };
    this.statements = statements === null ? null : new Statements(statements, tally);
    this.closesV3 = deniedV3 === 'close';
  }

  /** Whether this client's actions are judged at all. */
  judges({ isSuperuser, rules }: Identity): boolean {
    return !isSuperuser && (this.statements !== null || rules !== null);
  }

  /**
   * Judges a CONNECT and its Will, and sets the access of the connection.
   * @param will as the message that it will be; null: none
   * @returns whether the client may connect
   */
  admit(connection: Connection, clientId: string, username: string | undefined, identity: Identity, will: MessageView | null): boolean {
    if (!this.judges(identity)) return true;
    const subject: Subject = { clientId, username, address: addressOf(connection.peer.name), attributes: identity.attributes };
    const isAllowed = this.mayConnect(subject);
    if (isAllowed) {
      connection.access = (this.statements ?? this.noStatements).accessOf(subject, identity.rules);
      if (will === null || this.mayLeave(connection.access, clientId, will, null)) return true;
    }
    this.shard.counters[DENIED_CONNECT]!++;
    return false;
  }

  /** Judges the CONNECT of a client that is connected, which the statements may not allow any more. */
  mayStay(connection: Connection): boolean {
    if (this.mayConnect(subjectOf(connection))) return true;
    this.shard.counters[DENIED_CONNECT]!++;
    return false;
  }

  private mayConnect(subject: Subject): boolean {
    const decision = this.statements === null ? 0 : this.statements.connect(subject);
    if (decision >= 0) return true;
    if (this.mayLog()) this.log(subject.clientId, 'connect', undefined, decision);
    return false;
  }

  /** What the client may do. Only for connections that are judged. */
  accessOf(connection: Connection): SessionAccess {
    const access = connection.access!;
    if (access !== this.stale) return access;
    const { control } = connection;
    connection.access =
      control === null
        ? (this.statements ?? this.noStatements).accessOf(subjectOf(connection), connection.identity!.rules)
        : this.accessOf(control);
    return connection.access;
  }

  /** Judges an ordinary PUBLISH. */
  mayPublish(connection: Connection, view: MessageView): boolean {
    const { topicBytes, topicAt, topicEnd } = view;
    const decision = this.accessOf(connection).publish(topicBytes, topicAt, topicEnd, view.qos, view.isRetained);
    if (decision >= 0) return true;
    this.shard.counters[NOT_AUTHORIZED]!++;
    return this.refusePublish(connection.session!.clientId, 'publish', topicBytes, topicAt, topicEnd, decision);
  }

  /** Judges a P2P message to one target, the client `bytes[at, end)`. Sets `question`. */
  mayPublishTo(connection: Connection, bytes: Uint8Array, at: number, end: number, qos: number): boolean {
    if (this.mayReachClient(this.accessOf(connection), connection.session!.clientId, bytes, at, end, qos)) return true;
    this.shard.counters[NOT_AUTHORIZED]!++;
    return false;
  }

  /**
   * Answers `question[at, end)` of a P2P message to the client `id[idAt, idEnd)`, which this shard owns.
   * @param attributes of the target; null: it has none, or no session
   */
  answer(
    question: Uint8Array,
    at: number,
    end: number,
    attributes: Uint8Array | null,
    id: Uint8Array,
    idAt: number,
    idEnd: number,
  ): boolean {
    const decision = answerOf(question, at, end, attributes);
    if (decision >= 0) return true;
    this.shard.counters[NOT_AUTHORIZED]!++;
    this.shard.counters[DENIED_PUBLISH]!++;
    if (this.mayLog())
      this.log(readText(question, senderAt(at), senderEnd(question, at)), 'publish to client', readText(id, idAt, idEnd), decision);
    return false;
  }

  /** Judges a valid Topic Filter without `$share/…/`. @param shareName of a Shared Subscription, else '' */
  maySubscribe(connection: Connection, clientId: string, filter: string, qos: number, shareName: string): boolean {
    return this.hears(clientId, 'subscribe', filter, this.accessOf(connection).subscribe(filter, qos, shareName));
  }

  /** Judges a filter for P2P messages of other clients. Nobody may unless it is granted. */
  mayObserve(connection: Connection, clientId: string, filter: string, qos: number): boolean {
    if (connection.access === null) return (connection.control ?? connection).identity?.isSuperuser ?? false;
    return this.hears(clientId, 'observe', filter, this.accessOf(connection).observe(filter, qos));
  }

  private hears(clientId: string, action: string, filter: string, decision: number): boolean {
    if (decision >= 0) return true;
    this.shard.counters[DENIED_SUBSCRIBE]!++;
    if (this.mayLog()) this.log(clientId, action, filter, decision);
    return false;
  }

  /** Whether the receipt that a P2P message asks for may go to its Response Topic: the broker must not say there what the client itself may not. */
  mayHaveReceipt(connection: Connection, view: MessageView): boolean {
    return this.mayAnswerTo(this.accessOf(connection), connection.session!.clientId, view);
  }

  private mayAnswerTo(access: SessionAccess, clientId: string, view: MessageView): boolean {
    const { range } = this;
    if (!findResponseTopic(view.propertyBytes, view.propertiesAt, view.propertiesEnd, range)) return false;
    return this.mayReach(access, clientId, view.propertyBytes, range.at, range.end);
  }

  private mayReachClient(access: SessionAccess, clientId: string, bytes: Uint8Array, at: number, end: number, qos: number): boolean {
    const decision = access.publishTo(bytes, at, end, qos);
    this.question = NO_QUESTION;
    if (decision >= 0) return true;
    if (!asksTarget(decision)) return this.refusePublish(clientId, 'publish to client', bytes, at, end, decision);
    this.question = access.questionOf(decision);
    return true;
  }

  private mayReach(access: SessionAccess, clientId: string, bytes: Uint8Array, at: number, end: number): boolean {
    const { address } = this;
    const kind = this.kindOf(bytes, at, end);
    if (kind === NOT_P2P) {
      const decision = access.publish(bytes, at, end, RECEIPT_QOS, false);
      return decision >= 0 || this.refusePublish(clientId, 'receipt', bytes, at, end, decision);
    }
    // A client is told on its own address what became of its message.
    if (kind !== P2P_TARGET || readText(bytes, address.clientIdAt, address.clientIdEnd) === clientId) return kind === P2P_TARGET;
    // A receipt is sent long after the question could be asked: only who may write to the client whatever it is has one there.
    return (
      this.mayReachClient(access, clientId, bytes, address.clientIdAt, address.clientIdEnd, RECEIPT_QOS) && this.question === NO_QUESTION
    );
  }

  /**
   * Judges a Will as the PUBLISH that it will be, with all that it asks for: it is not judged again, but for questions that only its targets can answer.
   * @param asked gets those; null: they are not wanted
   */
  private mayLeave(access: SessionAccess, clientId: string, view: MessageView, asked: AskedTarget[] | null): boolean {
    const { topicBytes, topicAt, topicEnd, qos } = view;
    const kind = this.kindOf(topicBytes, topicAt, topicEnd);
    if (kind === NOT_P2P) {
      const decision = access.publish(topicBytes, topicAt, topicEnd, qos, view.isRetained);
      return decision >= 0 || this.refusePublish(clientId, 'will', topicBytes, topicAt, topicEnd, decision);
    }
    const { clientIdAt, clientIdEnd } = this.address;
    if (kind === P2P_TARGET && !this.mayWrite(access, clientId, topicBytes, clientIdAt, clientIdEnd, qos, asked)) return false;
    let wantsReceipt = false;
    let targets = 0;
    const { propertyBytes } = view;
    userProperties.reset(propertyBytes, view.propertiesAt, view.propertiesEnd);
    while (userProperties.next()) {
      wantsReceipt ||= qos > 0 && isReceiptKey(propertyBytes, userProperties);
      if (kind === P2P_TARGET || !isTargetKey(propertyBytes, userProperties)) continue;
      // It could never be published, and a question is kept for each target.
      if (++targets > this.shard.settings.p2p.maxTargets)
        return this.refusePublish(clientId, 'will', topicBytes, topicAt, topicEnd, UNDECIDED);
      if (!this.mayWrite(access, clientId, propertyBytes, userProperties.valueAt, userProperties.valueEnd, qos, asked)) return false;
    }
    const range = this.range;
    if (!wantsReceipt || !findResponseTopic(propertyBytes, view.propertiesAt, view.propertiesEnd, range)) return true;
    return this.mayReach(access, clientId, propertyBytes, range.at, range.end);
  }

  private mayWrite(
    access: SessionAccess,
    clientId: string,
    bytes: Uint8Array,
    at: number,
    end: number,
    qos: number,
    asked: AskedTarget[] | null,
  ): boolean {
    if (!this.mayReachClient(access, clientId, bytes, at, end, qos)) return false;
    if (this.question !== NO_QUESTION && asked !== null) asked.push({ target: cloneBytes(bytes, at, end), question: this.question });
    return true;
  }

  /**
   * Judges the Will of a connected client.
   * @returns what its targets must be asked when it is published; null: it may not be left
   */
  judgeWill(connection: Connection, clientId: string, will: MessageView): readonly AskedTarget[] | null {
    if (connection.access === null) return NOTHING_ASKED;
    const asked: AskedTarget[] = [];
    if (!this.mayLeave(this.accessOf(connection), clientId, will, asked)) return null;
    return asked.length === 0 ? NOTHING_ASKED : asked;
  }

  /** What `p2pKind` would say, with an address of its own. */
  private kindOf(bytes: Uint8Array, at: number, end: number): number {
    const { shard, address } = this;
    if (!shard.settings.p2p.enabled) return NOT_P2P;
    const kind = parseP2pTopic(address, bytes, at, end);
    return kind !== NOT_P2P && shard.p2pParents.accepts(bytes, address.firstAt, address.firstEnd) ? kind : NOT_P2P;
  }

  private refusePublish(clientId: string, action: string, bytes: Uint8Array, at: number, end: number, decision: number): false {
    this.shard.counters[DENIED_PUBLISH]!++;
    // The text is made for the line only: most of a flood has none.
    if (this.mayLog()) this.log(clientId, action, readText(bytes, at, end), decision);
    return false;
  }

  private mayLog(): boolean {
    if (this.rate.take(this.shard.timers.now)) return true;
    this.shard.counters[SUPPRESSED]!++;
    return false;
  }

  private log(client: string, action: string, topic: string | undefined, decision: number): void {
    const index = statementOf(decision);
    const statement = index < 0 ? 'none' : index < OWN_RULES ? index : 'token '.concat(String(index - OWN_RULES));
    this.shard.log.info({ client, action, topic, statement }, 'not authorized');
  }
}

const NOTHING_ASKED: readonly AskedTarget[] = [];

function subjectOf(connection: Connection): Subject {
  const { clientId, username } = connection.session as ClientSession;
  const { judgedAs, attributes } = connection.identity!;
  return { clientId: judgedAs ?? clientId, username, address: addressOf(connection.peer.name), attributes };
}
