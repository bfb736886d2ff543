/**
 * StoredSession: how a session looks as an object in the journal. Nothing here runs per message.
 *
 * The keys are words, because a later version must read them. What is absent is the usual: no Will, no subscriptions. Messages are not part of it; they have
 * entries of their own.
 */
import { unpackAttributes } from '../access/attribute-bytes.ts';
import { packObject, unpackObject } from '../base/pack.ts';
import type { ProtocolVersion } from '../protocol/packet-type.ts';
import { RECEIPT_NONE } from '../protocol/publish.ts';
import { parseShared } from '../protocol/topic.ts';
import { filterOfObserver, observedFilter } from '../routing/observed-filter.ts';
import { classifyP2pFilter } from '../routing/p2p-address.ts';
import { Message } from '../session/message.ts';
import { Session, type StoredHolder } from '../session/session.ts';
import { type AskedTarget, Will } from '../session/will.ts';
import type { OwnPublication } from './own.ts';
import { subscriptionsOf } from './parts.ts';
import type { ClientSession, ClientSubscription } from './shard.ts';

/** `kind` tells a session from a mailbox. */
export interface SessionObject {
  readonly kind: 'session';
  readonly clientId: Uint8Array;
  readonly version: ProtocolVersion;
  readonly expirySeconds: number;
  readonly username?: string | undefined;
  readonly attributes?: Readonly<Record<string, string>> | undefined;
  /** Wall milliseconds; absent: not known. */
  readonly createdAt?: number | undefined;
  /** Wall milliseconds; 0: connected when this was written. */
  readonly closedAt: number;
  readonly will?: WillObject | undefined;
  /** Packet Identifiers of QoS 2 messages that were routed and not yet released. */
  readonly received?: readonly number[];
  readonly subscriptions?: readonly SubscriptionObject[];
  readonly nextSequence: number;
}

export interface MailboxObject {
  readonly kind: 'mailbox';
  readonly clientId: Uint8Array;
  readonly createdAt: number;
}

export interface ConnectedObject {
  readonly version: ProtocolVersion;
  readonly expirySeconds: number;
  readonly username?: string | undefined;
  readonly attributes?: Readonly<Record<string, string>> | undefined;
  readonly will?: WillObject | undefined;
}

export interface WillObject {
  /** Topic, properties and payload, one behind the other. */
  readonly bytes: Uint8Array;
  readonly topicEnd: number;
  readonly propertiesEnd: number;
  readonly qos: number;
  readonly retain: boolean;
  readonly delaySeconds: number;
  readonly expirySeconds: number;
  /** What its P2P targets must be asked; absent: nothing. */
  readonly asked?: readonly AskedTarget[] | undefined;
}

/** `filter` as the client wrote it, `$share/…` included. */
export interface SubscriptionObject {
  readonly filter: string;
  readonly qos: number;
  readonly noLocal?: boolean;
  readonly retainAsPublished?: boolean;
  readonly retainHandling?: number;
  readonly identifier?: number;
}

function willObject(will: Will | null): WillObject | undefined {
  if (will === null) return undefined;
  const { bytes, topicEnd, propertiesEnd, qos, isRetained } = will.message;
  const { delaySeconds, expirySeconds, asked } = will;
  const object: WillObject = { bytes, topicEnd, propertiesEnd, qos, retain: isRetained, delaySeconds, expirySeconds };
  return asked.length === 0 ? object : { ...object, asked };
}

export function willOfObject(will: WillObject | undefined): Will | null {
  if (will === undefined) return null;
  const message = new Message(will.bytes, will.topicEnd, will.propertiesEnd, will.qos, will.retain, 0, RECEIPT_NONE);
  return new Will(message, will.delaySeconds, will.expirySeconds, will.asked ?? []);
}

function subscriptionObject(subscription: ClientSubscription): SubscriptionObject {
  const { shareName, qos, noLocal, retainAsPublished, retainHandling, identifier } = subscription;
  const filter = filterOfObserver(subscription.filter) ?? subscription.filter;
  return {
    filter: shareName === '' ? filter : `$share/${shareName}/${filter}`,
    qos,
    ...(noLocal ? { noLocal } : {}),
    ...(retainAsPublished ? { retainAsPublished } : {}),
    ...(retainHandling === 0 ? {} : { retainHandling }),
    ...(identifier === 0 ? {} : { identifier }),
  };
}

/** @param parents of P2P addresses: a filter for those of other clients is an observer's; null: there are none */
export function subscriptionOfObject(
  session: ClientSession,
  object: SubscriptionObject,
  parents: '*' | ReadonlySet<string> | null,
): ClientSubscription {
  const shared = parseShared(object.filter);
  const isObserver = !shared && parents !== null && classifyP2pFilter(object.filter, session.clientId, parents) === 'other';
  return {
    subscriber: session,
    filter: isObserver ? observedFilter(object.filter) : shared ? shared.filter : object.filter,
    shareName: shared ? shared.shareName : '',
    qos: object.qos,
    noLocal: object.noLocal ?? false,
    retainAsPublished: object.retainAsPublished ?? false,
    retainHandling: object.retainHandling ?? 0,
    identifier: object.identifier ?? 0,
  };
}

/** A whole session but its messages. */
export function packSession(session: ClientSession): Uint8Array {
  const object: Record<string, unknown> = {
    kind: 'session',
    clientId: session.clientIdBytes,
    version: session.version,
    expirySeconds: session.expirySeconds,
    closedAt: session.closedAt,
    nextSequence: session.nextSequence,
  };
  if (session.createdAt !== 0) object['createdAt'] = session.createdAt;
  if (session.username !== undefined) object['username'] = session.username;
  if (session.attributes !== null) object['attributes'] = unpackAttributes(session.attributes);
  const will = willObject(session.will);
  if (will !== undefined) object['will'] = will;
  const received = session.received === null ? [] : session.received.stored();
  if (received.length > 0) object['received'] = received;
  const subscriptions = subscriptionsOf(session);
  if (subscriptions.length > 0) object['subscriptions'] = subscriptions.map(subscriptionObject);
  return packObject(object);
}

/** A session or a mailbox. A session that has taken over a mailbox and ends with its connection stays that mailbox, in case the broker ends first. */
export function packHolder(holder: StoredHolder, now: number): Uint8Array {
  if (holder instanceof Session) {
    const session = holder as ClientSession;
    return session.isMailbox ? packMailbox(session.clientIdBytes, now) : packSession(session);
  }
  const box = holder as unknown as { clientId: Uint8Array; createdAt: number };
  return packMailbox(box.clientId, box.createdAt);
}

export function packConnected(session: ClientSession): Uint8Array {
  const object: Record<string, unknown> = { version: session.version, expirySeconds: session.expirySeconds };
  if (session.username !== undefined) object['username'] = session.username;
  if (session.attributes !== null) object['attributes'] = unpackAttributes(session.attributes);
  const will = willObject(session.will);
  if (will !== undefined) object['will'] = will;
  return packObject(object);
}

export function packMailbox(clientId: Uint8Array, createdAt: number): Uint8Array {
  return packObject({ kind: 'mailbox', clientId, createdAt });
}

export function packSubscription(subscription: ClientSubscription): Uint8Array {
  return packObject(subscriptionObject(subscription));
}

export function packText(filter: string): Uint8Array {
  return packObject({ filter });
}

/** A publication of the broker itself. */
export interface OwnObject {
  readonly bytes: Uint8Array;
  readonly topicEnd: number;
  readonly propertiesEnd: number;
  readonly qos: number;
  readonly retain: boolean;
  readonly expiresAt: number;
  readonly publisherId: string;
  readonly shareKey: string;
  /** What its P2P targets must be asked; absent: nothing. */
  readonly asked?: readonly AskedTarget[] | undefined;
}

export function packOwn(own: OwnPublication): Uint8Array {
  const { bytes, topicEnd, propertiesEnd, qos, isRetained, expiresAt } = own.message;
  const { publisherId, shareKey, asked } = own;
  const object: OwnObject = { bytes, topicEnd, propertiesEnd, qos, retain: isRetained, expiresAt, publisherId, shareKey };
  return packObject(asked.length === 0 ? object : { ...object, asked });
}

/** The object behind an entry's numbers. Throws where the bytes hold none. */
export function unpackEntry<T>(bytes: Uint8Array, at: number, end: number): T {
  return unpackObject(bytes, at, end) as T;
}
