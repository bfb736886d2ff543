/*
 * The checker: what a broker with a durable store owes its clients, judged from nothing but what the clients sent and saw. It keeps no opinion on how the
 * broker works, does no I/O and never throws: what is wrong becomes a line in `violations` that names the message, the clients, and when.
 *
 *   promised   the publisher got PUBACK or PUBREC below 0x80, and the target was there from before the first sending until then: a session with a confirmed
 *              subscription, or the session (or mailbox) that a P2P message names
 *   owed       promised and not arrived yet; `drained` says that nothing more can come, and what is owed then is lost
 *   possible   not promised, not excluded either: a subscription without SUBACK, a message without answer. It may come, and counts for no loss
 *   excluded   nobody asked for it, or whoever did has ended since: it must not come
 *
 * At QoS 2 a message comes once to a session, promised or not. At QoS 1 it may come again. First arrivals of one publisher's messages at one session keep their
 * order at each QoS. Time is a count of events, so that "before" and "after" are facts and no measurement.
 */
import { filterMatches } from '../../src/protocol/topic.ts';
import { contentOf, nameIn } from './content.ts';

/** A message as its publisher knows it. */
export interface Sent {
  /** `publisher/sequence`; the payload begins with it. */
  readonly id: string;
  readonly publisher: string;
  /** Grows with each message of the publisher. */
  readonly sequence: number;
  readonly qos: 1 | 2;
  readonly topic: string;
  /** Client Identifier that a P2P topic names. */
  readonly target: string | undefined;
  readonly retain: boolean;
  readonly payloadBytes: number;
}

/** A PUBLISH as the receiving application gets it: at QoS 2 the first of its Packet Identifier, at QoS 1 each. */
export interface Arrival {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: number;
  readonly packetId: number;
  readonly isDup: boolean;
  readonly identifiers: readonly number[];
}

export interface Judgement {
  /** Mailboxes are switched on: a P2P message is kept for a client that has never connected. */
  readonly hasMailboxes: boolean;
  /**
   * Order is not judged for a message that was sent again. For brokers that refuse by closing the connection: what was refused so is processed when it comes
   * again, behind what was not.
   */
  readonly mayReorderResent: boolean;
}

interface ArrivalNote {
  readonly at: number;
  readonly round: number;
  readonly qos: number;
  readonly packetId: number;
  readonly isDup: boolean;
  readonly generation: number;
}

class MessageRecord {
  readonly sent: Sent;
  readonly packetId: number;
  readonly startedAt: number;
  readonly startedRound: number;
  readonly resentRounds: number[] = [];
  answeredAt = Number.POSITIVE_INFINITY;
  answeredRound = -1;
  code = -1;
  readonly arrivals = new Map<string, ArrivalNote[]>();
  /** By client: generation of the session that it was promised to. */
  readonly promisedTo = new Map<string, number>();

  constructor(sent: Sent, packetId: number, startedAt: number, startedRound: number) {
    this.sent = sent;
    this.packetId = packetId;
    this.startedAt = startedAt;
    this.startedRound = startedRound;
  }
}

/** One stretch of time in which a session has a subscription. */
interface SubscriptionRecord {
  readonly filter: string;
  readonly identifier: number;
  readonly askedAt: number;
  granted: number;
  confirmedAt: number;
  /** UNSUBSCRIBE, or a CONNECT that ends the session, has been sent. */
  endAskedAt: number;
  endedAt: number;
}

class SessionRecord {
  readonly clientId: string;
  /** `temporary`: the session ends with its connection. */
  state: 'none' | 'perhaps' | 'there' | 'temporary' = 'none';
  /** The CONNECT that has no answer yet. */
  asking: { readonly isClean: boolean; readonly isDurable: boolean; readonly wasAbsent: boolean } | undefined;
  /** Has had a session that was ended on purpose, or may have: what waited in a mailbox may have gone to that one. */
  hasBeenEnded = false;
  bornAt = Number.POSITIVE_INFINITY;
  isEnding = false;
  generation = 0;
  subscriptions: SubscriptionRecord[] = [];
  readonly owed = new Map<string, MessageRecord>();
  /** By publisher and QoS: the message with the highest sequence that has arrived. */
  readonly latest = new Map<string, MessageRecord>();

  constructor(clientId: string) {
    this.clientId = clientId;
  }
}

/** Most lost messages of one client that are reported one by one. */
const LOST_REPORTED_MAX = 5;

export class Checker {
  readonly violations: string[] = [];
  /** For the facts of a violation. */
  round = 0;
  acknowledged = 0;
  refused = 0;
  arrived = 0;
  /** QoS 1 messages that came again, as they may. */
  repeated = 0;
  private readonly judgement: Judgement;
  private time = 0;
  private readonly messages = new Map<string, MessageRecord>();
  private readonly sessions = new Map<string, SessionRecord>();
  /** Retained topics: values in the order of publishing, from the last acknowledged one on. */
  private readonly retained = new Map<string, MessageRecord[]>();

  constructor(judgement: Judgement) {
    this.judgement = judgement;
  }

  /** Something is wrong that the caller has seen. */
  violate(text: string): void {
    this.violations.push(`round ${this.round}: ${text}`);
  }

  // Sessions

  /** A CONNECT leaves. `isDurable`: the session is to outlive its connection. */
  connecting(clientId: string, isClean: boolean, isDurable: boolean): void {
    this.time++;
    const session = this.session(clientId);
    session.asking = { isClean, isDurable, wasAbsent: session.state === 'none' };
    if (!isDurable) session.hasBeenEnded = true;
    if (session.state === 'none') {
      if (isDurable) session.state = 'perhaps';
      return;
    }
    if (!isClean) return;
    // From now on the old session is there or not.
    session.isEnding = true;
    session.hasBeenEnded = true;
    session.owed.clear();
    for (const subscription of session.subscriptions) subscription.endAskedAt = Math.min(subscription.endAskedAt, this.time);
  }

  /** CONNACK accepts. */
  connected(clientId: string, isPresent: boolean): void {
    this.time++;
    const session = this.session(clientId);
    const { isClean, isDurable, wasAbsent } = session.asking!;
    session.asking = undefined;
    if (isClean) {
      if (isPresent) this.violate(`${clientId} asked for a clean start and is told Session Present 1 [MQTT-3.2.2-2]`);
      this.begin(session, isDurable);
      return;
    }
    const isSure = session.state === 'there' && !session.isEnding;
    if (isSure && !isPresent) this.violate(`missing session: ${clientId} had a session and is told Session Present 0`);
    if (wasAbsent && isPresent)
      this.violate(`${clientId} has no session${session.hasBeenEnded ? ' any more' : ''} and is told Session Present 1`);
    if (!isPresent) this.begin(session, isDurable);
    else {
      if (!isSure) session.bornAt = this.time;
      session.state = 'there';
      session.isEnding = false;
    }
  }

  /** The connection has ended, from either side. */
  disconnected(clientId: string): void {
    this.time++;
    const session = this.session(clientId);
    if (session.state === 'temporary') this.end(session);
  }

  /** Whether the client may have a session that outlives connections. */
  mayHaveSession(clientId: string): boolean {
    const { state } = this.session(clientId);
    return state === 'there' || state === 'perhaps';
  }

  private begin(session: SessionRecord, isDurable: boolean): void {
    // What is in a mailbox now comes to the new session; what was promised to an old session does not.
    if (session.state === 'there' || session.state === 'temporary') this.end(session);
    session.state = isDurable ? 'there' : 'temporary';
    session.bornAt = this.time;
    session.isEnding = false;
  }

  private end(session: SessionRecord): void {
    session.state = 'none';
    session.hasBeenEnded = true;
    session.generation++;
    session.bornAt = Number.POSITIVE_INFINITY;
    session.isEnding = false;
    session.owed.clear();
    session.subscriptions = [];
  }

  // Subscriptions

  subscribing(clientId: string, filter: string, identifier: number): void {
    this.time++;
    const session = this.session(clientId);
    if (currentOf(session, filter) !== undefined) return;
    session.subscriptions.push({
      filter,
      identifier,
      askedAt: this.time,
      granted: 0,
      confirmedAt: Number.POSITIVE_INFINITY,
      endAskedAt: Number.POSITIVE_INFINITY,
      endedAt: Number.POSITIVE_INFINITY,
    });
  }

  /** SUBACK. */
  subscribed(clientId: string, filter: string, code: number): void {
    this.time++;
    const subscription = currentOf(this.session(clientId), filter);
    if (subscription === undefined || code >= 0x80) return;
    subscription.granted = code;
    subscription.confirmedAt = Math.min(subscription.confirmedAt, this.time);
  }

  unsubscribing(clientId: string, filter: string): void {
    this.time++;
    const subscription = currentOf(this.session(clientId), filter);
    if (subscription !== undefined) subscription.endAskedAt = this.time;
  }

  /** UNSUBACK. */
  unsubscribed(clientId: string, filter: string): void {
    this.time++;
    for (const subscription of this.session(clientId).subscriptions) {
      if (subscription.filter === filter && subscription.endAskedAt !== Number.POSITIVE_INFINITY)
        subscription.endedAt = Math.min(subscription.endedAt, this.time);
    }
  }

  /** Filters that are confirmed and not being ended. */
  filtersOf(clientId: string): string[] {
    return this.session(clientId)
      .subscriptions.filter(({ confirmedAt, endAskedAt }) => confirmedAt < endAskedAt && endAskedAt === Number.POSITIVE_INFINITY)
      .map(({ filter }) => filter);
  }

  // Messages

  /** A PUBLISH leaves for the first time. */
  publishing(sent: Sent, packetId: number): void {
    this.time++;
    const message = new MessageRecord(sent, packetId, this.time, this.round);
    this.messages.set(sent.id, message);
    if (!sent.retain) return;
    const values = this.retained.get(sent.topic);
    if (values === undefined) this.retained.set(sent.topic, [message]);
    else values.push(message);
  }

  /** A PUBLISH leaves again, with DUP, on another connection. */
  publishingAgain(id: string): void {
    this.time++;
    this.messages.get(id)?.resentRounds.push(this.round);
  }

  /** PUBACK or PUBREC. */
  answered(id: string, code: number): void {
    this.time++;
    const message = this.messages.get(id);
    if (message === undefined || message.code >= 0) return;
    message.code = code;
    message.answeredAt = this.time;
    message.answeredRound = this.round;
    if (code >= 0x80) {
      this.refused++;
      return;
    }
    this.acknowledged++;
    const { sent } = message;
    if (sent.retain) {
      const values = this.retained.get(sent.topic)!;
      values.splice(0, values.indexOf(message));
    }
    // An empty payload does not say which message it is, so it is judged by what is retained afterwards alone.
    if (sent.payloadBytes === 0) return;
    if (sent.target !== undefined) {
      const session = this.session(sent.target);
      const isWaitedFor = session.state === 'there' || session.state === 'perhaps' || session.state === 'none';
      const wasThere = session.bornAt < message.startedAt;
      const isKept = wasThere ? session.state === 'there' : this.judgement.hasMailboxes && !session.hasBeenEnded && isWaitedFor;
      if (isKept && !session.isEnding) this.promise(message, session);
      return;
    }
    for (const session of this.sessions.values()) if (this.isCovered(message, session)) this.promise(message, session);
  }

  /** A message reaches an application. */
  received(clientId: string, arrival: Arrival): void {
    this.time++;
    if (arrival.payload.length === 0) return;
    const session = this.session(clientId);
    const id = nameIn(arrival.payload);
    const message = this.messages.get(id);
    if (message === undefined) {
      this.violate(`a message that nobody sent: ${clientId} got "${id}" on ${arrival.topic}`);
      return;
    }
    this.arrived++;
    const { sent } = message;
    const notes = message.arrivals.get(clientId) ?? [];
    message.arrivals.set(clientId, notes);
    const isFirst = notes.length === 0;
    notes.push({
      at: this.time,
      round: this.round,
      qos: arrival.qos,
      packetId: arrival.packetId,
      isDup: arrival.isDup,
      generation: session.generation,
    });
    session.owed.delete(id);
    if (arrival.topic !== sent.topic)
      this.violate(`another topic: ${clientId} got ${this.describe(message, clientId)} on ${arrival.topic}`);
    if (!contentOf(id, sent.payloadBytes).equals(arrival.payload))
      this.violate(
        `another content: ${clientId} got ${arrival.payload.length} bytes that were not sent as ${this.describe(message, clientId)}`,
      );
    this.judgeTarget(message, session);
    this.judgeQos(message, session, arrival);
    if (!isFirst) {
      // A client that has begun anew has thrown away what it had: an unanswered message that is sent again then is new to it. And what came at QoS 1 may come again.
      const copies = notes.filter(({ qos, generation }) => qos === 2 && generation === session.generation);
      if (arrival.qos === 2 && copies.length > 1)
        this.violate(`doubled: ${clientId} got twice at QoS 2 ${this.describe(message, clientId)}`);
      this.repeated++;
      return;
    }
    this.judgeOrder(message, session);
  }

  /** A PUBLISH at QoS 2 with a Packet Identifier that the client has not been told to release. */
  receivedHeld(clientId: string, heldId: string, packetId: number, payload: Uint8Array, isDup: boolean): void {
    this.time++;
    const id = nameIn(payload);
    if (id !== heldId)
      this.violate(
        `Packet Identifier used twice: ${clientId} holds ${packetId} for ${heldId} until PUBREL and got ${id} under it, which it must take for a copy`,
      );
    else if (!isDup) this.violate(`${clientId} got ${id} again under Packet Identifier ${packetId} without DUP [MQTT-3.3.1-1]`);
  }

  /** A new subscriber was given this payload as the Retained Message of the topic; undefined: none. No publisher of the topic is at work. */
  foundRetained(topic: string, payload: Uint8Array | undefined): void {
    this.time++;
    const values = this.retained.get(topic) ?? [];
    const id = payload === undefined ? undefined : nameIn(payload);
    // From the last acknowledged value on, each may be there; before any was acknowledged there may be none.
    const allowed = values.map(({ sent }) => (sent.payloadBytes === 0 ? undefined : sent.id));
    const isSure = values.length > 0 && values[0]!.code >= 0 && values[0]!.code < 0x80;
    if (allowed.includes(id) || (id === undefined && !isSure)) {
      if (payload !== undefined && !contentOf(id!, this.messages.get(id!)!.sent.payloadBytes).equals(payload))
        this.violate(`another content: the Retained Message of ${topic} is ${payload.length} bytes that were not sent as ${id}`);
      return;
    }
    const shown = allowed.map((one) => one ?? 'none (cleared)').join(' or ');
    const known = id === undefined ? undefined : this.messages.get(id);
    const found = known === undefined ? (id ?? 'none') : this.describe(known, undefined);
    this.violate(
      `stale retained value: ${topic} has ${found}; it must have ${shown || 'none'}; ${values.map((value) => this.describe(value, undefined)).join('; ')}`,
    );
  }

  /** Everything that can come to these clients has come: what is owed to them is lost. */
  drained(clientIds: Iterable<string>): void {
    this.time++;
    for (const clientId of clientIds) {
      const owed = [...this.session(clientId).owed.values()];
      for (const message of owed.slice(0, LOST_REPORTED_MAX))
        this.violate(`lost: ${clientId} did not get ${this.describe(message, clientId)}`);
      if (owed.length > LOST_REPORTED_MAX) this.violate(`lost: ${clientId} did not get ${owed.length - LOST_REPORTED_MAX} more messages`);
      this.session(clientId).owed.clear();
    }
  }

  hasArrived(id: string, clientId: string): boolean {
    return this.messages.get(id)?.arrivals.has(clientId) === true;
  }

  /** Number of messages that are promised to this client and have not come. */
  owedTo(clientId: string): number {
    return this.session(clientId).owed.size;
  }

  private promise(message: MessageRecord, session: SessionRecord): void {
    message.promisedTo.set(session.clientId, session.generation);
    if (!message.arrivals.has(session.clientId)) session.owed.set(message.sent.id, message);
  }

  /** A subscription has been in force since before the message was sent first, and still is. */
  private isCovered(message: MessageRecord, session: SessionRecord): boolean {
    if (session.state === 'temporary' || session.isEnding) return false;
    return covering(message, session).length > 0;
  }

  private judgeTarget(message: MessageRecord, session: SessionRecord): void {
    const { sent } = message;
    const { clientId } = session;
    if (sent.target !== undefined) {
      if (sent.target !== clientId) this.violate(`${clientId} got a P2P message for another client: ${this.describe(message, clientId)}`);
    } else if (
      !session.subscriptions.some(
        ({ filter, askedAt, endedAt }) => askedAt < message.answeredAt && endedAt > message.startedAt && filterMatches(filter, sent.topic),
      )
    ) {
      this.violate(`nobody asked for it: ${clientId} had no subscription for ${this.describe(message, clientId)}`);
    }
    const generation = message.promisedTo.get(clientId);
    if (generation !== undefined && generation < session.generation)
      this.violate(`out of an ended session: ${clientId} has begun anew since it was promised ${this.describe(message, clientId)}`);
  }

  private judgeQos(message: MessageRecord, session: SessionRecord, arrival: Arrival): void {
    const { sent } = message;
    let least = sent.qos as number;
    if (sent.target === undefined) {
      const subscriptions = covering(message, session);
      if (subscriptions.length === 0) return;
      least = Math.min(sent.qos, Math.max(...subscriptions.map(({ granted }) => granted)));
      for (const { identifier, filter } of subscriptions) {
        if (identifier !== 0 && !arrival.identifiers.includes(identifier))
          this.violate(
            `${session.clientId} subscribed to ${filter} with Subscription Identifier ${identifier} and got [${arrival.identifiers.join(' ')}] with ${this.describe(message, session.clientId)}`,
          );
      }
    }
    if (arrival.qos < least || arrival.qos > sent.qos)
      this.violate(
        `another QoS: ${session.clientId} got at QoS ${arrival.qos} what is due at ${least}: ${this.describe(message, session.clientId)}`,
      );
  }

  private judgeOrder(message: MessageRecord, session: SessionRecord): void {
    const { sent } = message;
    const key = `${sent.publisher} ${sent.qos}`;
    const latest = session.latest.get(key);
    if (latest === undefined || sent.sequence > latest.sent.sequence) {
      session.latest.set(key, message);
      return;
    }
    if (this.judgement.mayReorderResent && message.resentRounds.length > 0) return;
    // Who was no target when the message was sent first may become one when it is sent again, behind later ones.
    const hadMailbox = this.judgement.hasMailboxes && !session.hasBeenEnded;
    const wasTarget = sent.target === undefined ? covering(message, session).length > 0 : session.bornAt < message.startedAt || hadMailbox;
    if (!wasTarget) return;
    this.violate(
      `reordered: ${session.clientId} got ${this.describe(message, session.clientId)} behind ${this.describe(latest, session.clientId)}`,
    );
  }

  private describe(message: MessageRecord, clientId: string | undefined): string {
    const { sent } = message;
    const again = message.resentRounds.length === 0 ? '' : `, again in rounds ${message.resentRounds.join(' ')}`;
    const answer =
      message.code < 0
        ? 'never answered'
        : `answered 0x${message.code.toString(16).padStart(2, '0')} in round ${message.answeredRound} (event ${message.answeredAt})`;
    const notes = clientId === undefined ? [] : (message.arrivals.get(clientId) ?? []);
    const arrivals = notes.map(
      ({ round, at, qos, packetId, isDup }) => `round ${round} event ${at} QoS ${qos} id ${packetId}${isDup ? ' DUP' : ''}`,
    );
    const came = arrivals.length === 0 ? '' : `, arrived ${arrivals.join(' and ')}`;
    const kind = `QoS ${sent.qos}${sent.retain ? ', retained' : ''}, ${sent.topic}`;
    return `${sent.id} (${kind}; sent as id ${message.packetId} in round ${message.startedRound} (event ${message.startedAt})${again}, ${answer}${came})`;
  }

  private session(clientId: string): SessionRecord {
    let session = this.sessions.get(clientId);
    if (session === undefined) {
      session = new SessionRecord(clientId);
      this.sessions.set(clientId, session);
    }
    return session;
  }
}

/** The subscription that SUBACK or UNSUBSCRIBE speaks of: not being ended. */
function currentOf(session: SessionRecord, filter: string): SubscriptionRecord | undefined {
  return session.subscriptions.find((one) => one.filter === filter && one.endAskedAt === Number.POSITIVE_INFINITY);
}

/** Subscriptions that have been in force since before the message was sent first, until it was answered or until now. */
function covering(message: MessageRecord, session: SessionRecord): SubscriptionRecord[] {
  return session.subscriptions.filter(
    ({ filter, confirmedAt, endAskedAt }) =>
      confirmedAt < message.startedAt &&
      (endAskedAt === Number.POSITIVE_INFINITY || endAskedAt > message.answeredAt) &&
      filterMatches(filter, message.sent.topic),
  );
}
