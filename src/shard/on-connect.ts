/**
 * CONNECT on the shard that owns the client: validate, take over, open or resume the session, CONNACK, then what waited for the client.
 *
 * A refusal is a CONNACK with the code that the standard names (in v3 its return code), then a close.
 */

import { randomBytes } from 'node:crypto';
import { packAttributes } from '../access/attribute-bytes.ts';
import { cloneKey, RANGE16_BYTES_MAX, utf8Bytes, utf8Length } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import { Timer } from '../base/timers.ts';
import { type ConnectPacket, readConnect, viewWill, writeConnack } from '../protocol/connect.ts';
import { type ProtocolVersion, V5 } from '../protocol/packet-type.ts';
import { encodeUserProperties, type Properties } from '../protocol/property.ts';
import { appendProperties, isPayloadUtf8, MessageView, RECEIPT_NONE } from '../protocol/publish.ts';
import { ReasonCode, reasonName } from '../protocol/reason-code.ts';
import { topicLevels } from '../protocol/topic.ts';
import { shardOfSlot, slotOf } from '../routing/slot.ts';
import { INFLIGHT_QOS2 } from '../session/inflight.ts';
import { keepMessage } from '../session/message.ts';
import { NEVER_EXPIRES } from '../session/session.ts';
import { OutboundAliases } from '../session/topic-alias.ts';
import { Will } from '../session/will.ts';
import { hasAnswer } from './admission.ts';
import { CONNECTED, type Connection } from './connection.ts';
import { counter, listenerCounter } from './counters.ts';
import { pump, resumeInflight } from './deliver.ts';
import { noteConnected, noteSession } from './durable.ts';
import { watchKeepAlive } from './keep-alive.ts';
import { ANYBODY, type Identity, type LoginVerdict } from './login.ts';
import { endForbidden } from './on-subscribe.ts';
import { endConnection, markGroups, openSession } from './sessions.ts';
import type { ClientSession, Shard } from './shard.ts';

const CLIENTS = counter('clients/connected');
const SESSIONS = counter('clients/total');
const REFUSED = counter('connections/refused');
const PROOFS_ENDED = counter('logins/ended');

/** User Property of CONNECT: `last` asks for P2P messages on the newest data stream of QUIC. */
const P2P_STREAM = 'p2p-stream';

/** How often a proof is looked at whether it has ended by the wall clock. */
const PROOF_LOOK_MILLISECONDS = 60_000;

/** Characters of a name in a line of the log. */
const LOGGED_LENGTH = 128;

/** A username that may be a token, which is a secret. */
const TOKEN = /^[\w-]{10,}\.[\w-]*\.[\w-]*$/;

const willView = new MessageView();

/** Handles a CONNECT. @returns 0, or the reason code of a connection that ends without CONNACK */
export function onConnect(connection: Connection, bytes: Uint8Array, first: number, at: number, end: number): ReasonCode {
  if ((first & 0x0f) !== 0) return ReasonCode.MalformedPacket; // [MQTT-2.1.3-1]
  const result = readConnect(bytes, at, end);
  const packet = result.packet;
  if (packet === undefined) {
    if (!hasAnswer(result.version, result.code)) return result.code;
    refuseConnect(connection, result.version as ProtocolVersion, result.code);
    return ReasonCode.Success;
  }
  connection.version = packet.version;
  if (isBlocked(connection, packet, packet.clientId, packet.username)) return ReasonCode.Success;
  const code = connectError(connection, packet);
  if (code !== ReasonCode.Success) refuseConnect(connection, packet.version, code, refusedClient(packet));
  else if (!connection.shard.quotas.admitConnect()) {
    // Nobody has been asked yet who the client is: that is what this protects.
    refuseConnect(connection, packet.version, ReasonCode.ConnectionRateExceeded, undefined, !connection.shard.quotas.mayLog());
  } else if (connection.shard.logins.port === null) accept(connection, packet, ANYBODY, undefined);
  else connection.shard.logins.begin(connection, packet, end - at, judged);
  return ReasonCode.Success;
}

/** The client has proved who it is, or has not. Meanwhile the place that it was to have may be another's. */
function judged(connection: Connection, packet: ConnectPacket, verdict: LoginVerdict): void {
  const { identity } = verdict;
  const { isStopping } = connection.shard;
  const code = identity === null ? (isStopping ? ReasonCode.ServerUnavailable : verdict.code) : connectError(connection, packet);
  if (code !== ReasonCode.Success) refuseConnect(connection, packet.version, code, { ...refusedClient(packet), cause: verdict.cause });
  else accept(connection, packet, identity!, verdict.data);
}

/** Whether a rule keeps this client out. It is then refused. */
function isBlocked(connection: Connection, packet: ConnectPacket, clientId: string, username: string | undefined): boolean {
  const { blocked } = connection.shard;
  const rule = blocked.find(connection, clientId, username);
  if (rule === null) return false;
  const details = { ...refusedClient(packet), cause: `blocked by the rule ${rule.name}` };
  refuseConnect(connection, packet.version, ReasonCode.Banned, details, !blocked.refused());
  return true;
}

/** Who was refused, for the log: as much as a line can bear. */
function refusedClient(packet: ConnectPacket): { clientId: string; username: string | undefined } {
  const { clientId, username } = packet;
  const shown = username !== undefined && TOKEN.test(username) ? 'a token' : username?.slice(0, LOGGED_LENGTH);
  return { clientId: clientId.slice(0, LOGGED_LENGTH), username: shown };
}

/** CONNACK with a refusal, then the close [MQTT-3.2.2-7]. @param isQuiet without a line in the log */
export function refuseConnect(
  connection: Connection,
  version: ProtocolVersion,
  code: ReasonCode,
  details?: { readonly clientId: string; readonly cause?: string },
  isQuiet: boolean = false,
): void {
  const shard = connection.shard;
  shard.counters[REFUSED]!++;
  if (details !== undefined)
    shard.recentEvents?.refusal(shard.timers.now, details.clientId, connection.peer.name, details.cause ?? reasonName(code));
  if (!isQuiet)
    shard.clientLog.info({ peer: connection.peer.name, reason: code, name: reasonName(code), ...details }, 'connection refused at CONNECT');
  const writer = shard.packetScratch;
  writer.reset();
  writeConnack(writer, version, false, code, undefined);
  connection.send(writer.bytes, 0, writer.at);
  endConnection(connection, -1, reasonName(code), false);
}

/** What forbids this CONNECT, or 0. */
function connectError(connection: Connection, packet: ConnectPacket): ReasonCode {
  const { shard, peer } = connection;
  const { mqtt, limits, listeners } = shard.settings;
  const hasMethod = packet.properties.authenticationMethod !== undefined;
  if (hasMethod && shard.logins.port === null) return ReasonCode.BadAuthenticationMethod; // [MQTT-4.12.0-1]
  if (packet.clientIdBytes.length > limits.clientIdBytes) return ReasonCode.ClientIdentifierNotValid;
  if (shard.isStopping) return ReasonCode.ServerUnavailable; // CONNACK does not know 0x8B (section 3.2.2.2).
  if (shard.logins.port === null && !shard.settings.auth.allowAnonymous) return ReasonCode.NotAuthorized;
  // At a limit, whoever has a place keeps it: a takeover adds no connection, and a session that is resumed or replaced adds none.
  const id = packet.clientIdBytes;
  const existing = shard.sessions.get(id, 0, id.length, hash32(id, 0, id.length));
  const before = existing?.connection ?? null;
  if (before === null && shard.sumOfAll(CLIENTS) >= limits.connections) return ReasonCode.QuotaExceeded;
  const { listener } = peer;
  if (before?.peer.listener !== listener && shard.sumOfAll(listenerCounter(listener)) >= listeners[listener]!.connections)
    return ReasonCode.QuotaExceeded;
  if (existing === undefined && shard.sumOfAll(SESSIONS) >= limits.sessions) return ReasonCode.QuotaExceeded;
  // A session that must be kept cannot begin, or be forgotten, while the disk takes nothing; one that is there may be taken up.
  if (shard.journal.isDegraded && (existing?.isStored ? packet.cleanStart : outlivesConnection(packet))) return ReasonCode.QuotaExceeded;
  const will = packet.will;
  if (will === undefined) return ReasonCode.Success;
  if (will.qos > mqtt.maximumQos) return ReasonCode.QosNotSupported; // [MQTT-3.2.2-12]
  if (will.retain && !mqtt.retainAvailable) return ReasonCode.RetainNotSupported; // [MQTT-3.2.2-13]
  if (topicLevels(will.topicBytes, 0, will.topicBytes.length) > limits.topicLevels) return ReasonCode.TopicNameInvalid;
  // `$SYS` and `$events` are the broker's own voice.
  if (will.topic.startsWith('$')) return ReasonCode.NotAuthorized;
  viewWill(willView, will);
  return isPayloadUtf8(willView) ? ReasonCode.Success : ReasonCode.PayloadFormatInvalid;
}

function outlivesConnection(packet: ConnectPacket): boolean {
  return packet.version === V5 ? (packet.properties.sessionExpiryInterval ?? 0) > 0 : !packet.cleanStart;
}

/** @param data the last that the client is told in an exchange */
function accept(connection: Connection, packet: ConnectPacket, identity: Identity, data: Uint8Array | undefined): void {
  const shard = connection.shard;
  const { mqtt, limits } = shard.settings;
  const isV5 = packet.version === V5;
  const properties = packet.properties;
  const answer: Properties = {};
  let clientId = packet.clientId;
  let clientIdBytes = packet.clientIdBytes;
  if (clientId === '') {
    clientId = assignClientId(shard);
    clientIdBytes = utf8Bytes(clientId);
    answer.assignedClientIdentifier = clientId; // [MQTT-3.2.2-16]
  }
  const key = cloneKey(clientIdBytes, 0, clientIdBytes.length);
  const username = identity.username ?? packet.username;
  // Again, with the names that count from now on, and by the rules of now: the verdict may have taken its time.
  if (isBlocked(connection, packet, clientId, username)) return;
  const { authorization } = shard;
  const will = willViewOf(packet);
  if (!authorization.admit(connection, clientId, username, identity, will)) {
    refuseConnect(connection, packet.version, ReasonCode.NotAuthorized, refusedClient(packet));
    return;
  }
  const before = shard.sessions.get(key, 0, key.length, hash32(key, 0, key.length));
  if (before !== undefined && shard.takeovers.refuses(before, connection)) {
    refuseConnect(connection, packet.version, ReasonCode.ConnectionRateExceeded, refusedClient(packet));
    return;
  }
  const group = shard.quotas.joinGroup(username, identity.attributes, before?.connection ?? null);
  if (group === undefined) {
    refuseConnect(connection, packet.version, ReasonCode.QuotaExceeded, refusedClient(packet));
    return;
  }
  const position = shard.journal.position;
  const { session, isPresent } = openSession(shard, clientId, key, packet.version, packet.cleanStart);
  const asked = isV5 ? (properties.sessionExpiryInterval ?? 0) : packet.cleanStart ? 0 : NEVER_EXPIRES;
  session.expirySeconds = Math.min(asked, limits.sessionExpirySeconds);
  if (isV5 && session.expirySeconds !== asked) answer.sessionExpiryInterval = session.expirySeconds;
  session.version = packet.version;
  session.username = username;
  session.attributes = packAttributes(identity.attributes);
  connection.identity = identity;
  if (isPresent) endForbidden(shard, session, connection);
  endWithProof(shard, connection, identity.expiresAt);
  connection.userProperties = encodeUserProperties(identity.userProperties ?? []);
  session.will = willOf(connection, clientId, packet, will);
  session.closedAt = 0;
  if (!isPresent) openMailbox(shard, session);
  store(shard, session);
  // Whatever has changed must be on disk before the client hears of it: a session that began, ended, or has another Will.
  if (shard.journal.position !== position || (shard.journal.isDegraded && hasExchanges(session))) shard.journal.hold(connection);
  // It may have begun a moment ago, for a connection that was lost before its CONNACK.
  if (session.isStored) shard.journal.holdUntil(connection, session.snapshotRecord);
  session.connection = connection;
  connection.session = session;
  connection.state = CONNECTED;
  connection.connectedAt = shard.timers.now;
  connection.cleanStart = packet.cleanStart;
  shard.quotas.begin(connection, clientId, group);
  shard.counters[CLIENTS]!++;
  shard.counters[listenerCounter(connection.peer.listener)]!++;
  agree(shard, connection, packet, answer);
  answer.authenticationMethod = connection.authenticationMethod ?? undefined; // [MQTT-4.12.0-5] [MQTT-4.12.0-6]
  answer.authenticationData = data;
  answer.receiveMaximum = mqtt.receiveMaximum < 65535 ? mqtt.receiveMaximum : undefined;
  answer.maximumQos = mqtt.maximumQos < 2 ? mqtt.maximumQos : undefined; // [MQTT-3.2.2-9]
  answer.retainAvailable = mqtt.retainAvailable ? undefined : 0;
  answer.maximumPacketSize = connection.inboundPacketBytesMax;
  answer.topicAliasMaximum = mqtt.topicAliasMaximum > 0 ? mqtt.topicAliasMaximum : undefined;
  answer.wildcardSubscriptionAvailable = mqtt.wildcardSubscriptionAvailable ? undefined : 0;
  answer.subscriptionIdentifierAvailable = mqtt.subscriptionIdentifierAvailable ? undefined : 0;
  answer.sharedSubscriptionAvailable = mqtt.sharedSubscriptionAvailable ? undefined : 0;
  if (properties.requestResponseInformation === 1 && mqtt.responseInformation !== '') {
    const information = mqtt.responseInformation.replaceAll('{clientId}', () => clientId); // [MQTT-3.1.2-28]
    if (utf8Length(information) <= RANGE16_BYTES_MAX) answer.responseInformation = information;
  }
  const writer = shard.packetScratch;
  writer.reset();
  writeConnack(writer, packet.version, isPresent, ReasonCode.Success, answer); // [MQTT-3.2.2-2] [MQTT-3.2.2-3]
  connection.send(writer.bytes, 0, writer.at); // [MQTT-3.2.0-1]
  shard.measures.connect.add(shard.timers.since(connection.begunAt));
  shard.events.clientConnected(session, connection, packet.cleanStart);
  if (isPresent) {
    markGroups(shard, session, true);
    resumeInflight(shard, session, connection); // [MQTT-4.4.0-1]
  }
  if (session.queue !== null) pump(shard, session, connection);
}

/** A proof that ends takes the connection with it. The session stays, for a client that shows a new one. @param expiresAt 0: it never ends */
export function endWithProof(shard: Shard, connection: Connection, expiresAt: number): void {
  if (connection.proofTimer !== null) shard.timers.disarm(connection.proofTimer);
  connection.proofTimer = null;
  if (expiresAt === 0) return;
  // Whoever wrote the end has a clock on the wall, which may be set; the shard's own only runs on. So it is looked at again and again.
  const left = (): number => Math.min(PROOF_LOOK_MILLISECONDS, Math.max(0, expiresAt - Date.now()));
  const timer = new Timer(() => {
    if (left() > 0) {
      shard.timers.arm(timer, left());
      return;
    }
    shard.counters[PROOFS_ENDED]!++;
    endConnection(connection, ReasonCode.MaximumConnectTime, 'proof_expired', true);
  });
  connection.proofTimer = timer;
  shard.timers.arm(timer, left());
}

/** Fixes what the connection's two ends have agreed on: quotas, sizes, aliases, Keep Alive. */
function agree(shard: Shard, connection: Connection, packet: ConnectPacket, answer: Properties): void {
  const { mqtt, limits } = shard.settings;
  const properties = packet.properties;
  connection.receiveMaximum = Math.min(properties.receiveMaximum ?? 65535, limits.inflight);
  connection.sendQuota = connection.receiveMaximum; // [MQTT-3.3.4-9]
  connection.sendsP2pOnStreams = properties.userProperties?.some(([key, value]) => key === P2P_STREAM && value === 'last') ?? false;
  if (properties.maximumPacketSize !== undefined) connection.packetBytesMax = properties.maximumPacketSize; // [MQTT-3.1.2-24]
  connection.wantsProblemInformation = properties.requestProblemInformation !== 0;
  const aliases = Math.min(properties.topicAliasMaximum ?? 0, mqtt.outboundTopicAliasMaximum); // [MQTT-3.1.2-26]
  if (aliases > 0) connection.outboundAliases = new OutboundAliases(aliases, mqtt.topicAliasBytes);
  let keepAlive = packet.keepAliveSeconds;
  if (packet.version === V5 && mqtt.serverKeepAliveSeconds > 0 && (keepAlive === 0 || keepAlive > mqtt.serverKeepAliveSeconds)) {
    keepAlive = mqtt.serverKeepAliveSeconds;
    answer.serverKeepAlive = keepAlive; // [MQTT-3.2.2-21]
  }
  watchKeepAlive(shard, connection, keepAlive);
}

/** The Will as the message that it will be; null: none. */
function willViewOf({ will }: ConnectPacket): MessageView | null {
  if (will === undefined) return null;
  viewWill(willView, will);
  willView.expiresAt = 0;
  willView.receipt = RECEIPT_NONE;
  willView.trace = null;
  return willView;
}

function willOf(connection: Connection, clientId: string, packet: ConnectPacket, view: MessageView | null): Will | null {
  if (view === null) return null;
  const { willDelayInterval, messageExpiryInterval } = packet.will!.properties;
  const { shard, userProperties } = connection;
  const asked = shard.authorization.judgeWill(connection, clientId, view)!;
  if (userProperties !== null) appendProperties(view, userProperties, shard.propertyScratch);
  return new Will(keepMessage(view), willDelayInterval ?? 0, messageExpiryInterval ?? -1, asked);
}

/** A Client Identifier of our own that this shard owns; 16 random bytes cannot be guessed and do not repeat. */
function assignClientId(shard: Shard): string {
  for (;;) {
    const clientId = `onehop-${randomBytes(16).toString('hex')}`;
    const bytes = utf8Bytes(clientId);
    const hash = hash32(bytes, 0, bytes.length);
    if (shardOfSlot(slotOf(hash), shard.shards) === shard.index && shard.sessions.get(bytes, 0, bytes.length, hash) === undefined)
      return clientId;
  }
}

/** Whether QoS 2 exchanges are under way that the disk may not know of: what is sent again for them must not leave before it does. */
function hasExchanges(session: ClientSession): boolean {
  const { inflight } = session;
  if (inflight === null) return false;
  return inflight.inOrder().some((packetId) => inflight.state(packetId) >= INFLIGHT_QOS2);
}

/** Notes a session that outlives its connection in the journal. One that ends with it costs the store nothing. */
function store(shard: Shard, session: ClientSession): void {
  if (!shard.journal.isOn) return;
  if (session.isStored && session.snapshotRecord > 0 && !session.isMailbox) noteConnected(shard, session);
  else if (session.expirySeconds > 0) noteSession(shard, session);
}

/** P2P messages that came before the client's first connection. They stay what the store knows them as until the client has taken them. */
function openMailbox(shard: Shard, session: ClientSession): void {
  if (!shard.settings.p2p.mailbox.enabled) return;
  const box = shard.mailboxes.takeOver(session.clientIdBytes, session.hash);
  if (box === undefined) return;
  session.queue = box.queue;
  if (!shard.journal.isOn) return;
  session.id = box.id;
  session.nextSequence = box.nextSequence;
  session.snapshotRecord = box.snapshotRecord;
  session.isStored = true;
  session.isMailbox = true;
  shard.journal.holders.set(session.id, session);
}
