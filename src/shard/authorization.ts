/**
 * Authorization: asks the statements whether a client may do what it asks for, counts the refusals and writes them to the log, a few lines a second at most.
 *
 *   CONNECT → `admit` → SessionAccess of the connection ─┬─ PUBLISH → `mayPublish`, or `mayPublishTo` for each P2P target
 *                                                        └─ SUBSCRIBE → `maySubscribe`
 *
 * A shard has one where the configuration has statements, and null where everyone may do everything.
 *
 * Hot path.
 */

import { type SessionAccess, statementOf } from '../access/session-access.ts';
import { type Identity, Statements } from '../access/statement.ts';
import { readText, utf8Bytes } from '../base/bytes.ts';
import { LineRate } from '../base/line-rate.ts';
import type { AuthorizationSettings, StatementSettings } from '../base/settings.ts';
import type { WillPacket } from '../protocol/connect.ts';
import { findResponseTopic, PropertyRange } from '../protocol/property.ts';
import type { MessageView } from '../protocol/publish.ts';
import { NOT_P2P, P2P_TARGET, P2pAddress, parseP2pTopic } from '../routing/p2p-address.ts';
import type { Connection } from './connection.ts';
import { counter } from './counters.ts';
import { addressOf } from './login.ts';
import type { Shard } from './shard.ts';

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

export class Authorization {
  /** MQTT 3.1 and 3.1.1: a refused PUBLISH of QoS 1 or 2 ends the connection, instead of an acknowledgement. */
  readonly closesV3: boolean;
  private readonly shard: Shard;
  private readonly statements: Statements;
  private readonly address: P2pAddress;
  private readonly range: PropertyRange;
  private readonly rate: LineRate;

  constructor(shard: Shard, statements: readonly StatementSettings[], deniedV3: AuthorizationSettings['deniedV3']) {
    this.closesV3 = deniedV3 === 'close';
    this.shard = shard;
    this.statements = new Statements(statements, { counters: shard.counters, hits: CACHE_HITS, misses: CACHE_MISSES });
    this.address = new P2pAddress();
    this.range = new PropertyRange();
    this.rate = new LineRate(LINES_PER_SECOND);
  }

  /** Judges a CONNECT and its Will. @returns what the client may do; null: it may not connect */
  admit(connection: Connection, clientId: string, username: string | undefined, will: WillPacket | undefined): SessionAccess | null {
    const identity: Identity = { clientId, username, address: addressOf(connection.peer.name) };
    const decision = this.statements.connect(identity);
    if (decision < 0) {
      this.shard.counters[DENIED_CONNECT]!++;
      if (this.mayLog()) this.log(clientId, 'connect', undefined, decision);
      return null;
    }
    const access = this.statements.accessOf(identity);
    if (will === undefined || this.mayLeave(access, clientId, will)) return access;
    this.shard.counters[DENIED_CONNECT]!++;
    return null;
  }

  /** Judges an ordinary PUBLISH. */
  mayPublish(access: SessionAccess, clientId: string, view: MessageView): boolean {
    const { topicBytes, topicAt, topicEnd } = view;
    const decision = access.publish(topicBytes, topicAt, topicEnd, view.qos, view.isRetained);
    if (decision >= 0) return true;
    this.shard.counters[NOT_AUTHORIZED]!++;
    return this.refusePublish(clientId, 'publish', topicBytes, topicAt, topicEnd, decision);
  }

  /** Judges a P2P message to one target, the client `bytes[at, end)`. */
  mayPublishTo(access: SessionAccess, clientId: string, bytes: Uint8Array, at: number, end: number, qos: number): boolean {
    if (this.mayReachClient(access, clientId, bytes, at, end, qos)) return true;
    this.shard.counters[NOT_AUTHORIZED]!++;
    return false;
  }

  /** Judges a valid Topic Filter without `$share/…/`. */
  maySubscribe(access: SessionAccess, clientId: string, filter: string, qos: number): boolean {
    const decision = access.subscribe(filter, qos);
    if (decision >= 0) return true;
    this.shard.counters[DENIED_SUBSCRIBE]!++;
    if (this.mayLog()) this.log(clientId, 'subscribe', filter, decision);
    return false;
  }

  /** Whether the receipt that a P2P message asks for may go to its Response Topic: the broker must not say there what the client itself may not. */
  mayHaveReceipt(access: SessionAccess, clientId: string, view: MessageView): boolean {
    const { range } = this;
    if (!findResponseTopic(view.propertyBytes, view.propertiesAt, view.propertiesEnd, range)) return false;
    return this.mayReach(access, clientId, view.propertyBytes, range.at, range.end);
  }

  private mayReachClient(access: SessionAccess, clientId: string, bytes: Uint8Array, at: number, end: number, qos: number): boolean {
    const decision = access.publishTo(bytes, at, end, qos);
    return decision >= 0 || this.refusePublish(clientId, 'publish to client', bytes, at, end, decision);
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
    return this.mayReachClient(access, clientId, bytes, address.clientIdAt, address.clientIdEnd, RECEIPT_QOS);
  }

  /** Judges a Will as the PUBLISH that it will be, with all that it asks for: it is not judged again. */
  private mayLeave(access: SessionAccess, clientId: string, will: WillPacket): boolean {
    const { topicBytes, qos, retain, properties } = will;
    const kind = this.kindOf(topicBytes, 0, topicBytes.length);
    if (kind === NOT_P2P) {
      const decision = access.publish(topicBytes, 0, topicBytes.length, qos, retain);
      return decision >= 0 || this.refusePublish(clientId, 'will', topicBytes, 0, topicBytes.length, decision);
    }
    const { clientIdAt, clientIdEnd } = this.address;
    if (kind === P2P_TARGET && !this.mayReachClient(access, clientId, topicBytes, clientIdAt, clientIdEnd, qos)) return false;
    let wantsReceipt = false;
    for (const [key, value] of properties.userProperties ?? []) {
      if (key === 'p2p-receipt') wantsReceipt ||= value === '1' && qos > 0;
      if (key !== 'p2p-target' || kind === P2P_TARGET) continue;
      const target = utf8Bytes(value);
      if (!this.mayReachClient(access, clientId, target, 0, target.length, qos)) return false;
    }
    if (!wantsReceipt || properties.responseTopic === undefined) return true;
    const topic = utf8Bytes(properties.responseTopic);
    return this.mayReach(access, clientId, topic, 0, topic.length);
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
    this.shard.log.info({ client, action, topic, statement: index < 0 ? 'none' : index }, 'not authorized');
  }
}

/** What a shard asks; null where the configuration has no statements. */
export function authorizationOf(shard: Shard): Authorization | null {
  const { statements, deniedV3 } = shard.settings.authorization;
  return statements === null ? null : new Authorization(shard, statements, deniedV3);
}
