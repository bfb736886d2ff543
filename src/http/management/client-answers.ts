/**
 * What a shard answers about its clients: the list, one of them, and what an operator does to one.
 */
import { BlockList } from 'node:net';
import { addNetwork } from '../../base/network.ts';
import { ReasonCode } from '../../protocol/reason-code.ts';
import type { GiveAnswer } from '../../shard/asks.ts';
import { peekQueue } from '../../shard/peek-queue.ts';
import { RecentEvents } from '../../shard/recent-events.ts';
import { endConnection, endSession } from '../../shard/sessions.ts';
import type { ClientSession, Shard } from '../../shard/shard.ts';
import { subscribeFor, unsubscribeFor } from '../../shard/subscribe-for.ts';
import { answerFromMap, type ListAsk } from './chunk.ts';
import { addressOfClient, clientDetails, clientFacts } from './client-facts.ts';
import { BYTES_SHOWN_MAX, MESSAGES_SHOWN_MAX, shownMessages } from './message-facts.ts';
import { NO_SESSION, type Reply, refusal, sessionOf } from './reply.ts';

/** Which clients are wanted; what is absent is any. */
export interface ClientQuery {
  /** Beginning of the Client Identifier. */
  readonly prefix?: string | undefined;
  /** Any part of it. */
  readonly contains?: string | undefined;
  readonly state?: 'connected' | 'disconnected' | undefined;
  readonly username?: string | undefined;
  /** Address or network. */
  readonly address?: string | undefined;
}

export interface KickAsk {
  readonly clientId: string;
  /** The session ends as well. */
  readonly session: boolean;
  /** The Will Message is published. */
  readonly will: boolean;
}

export interface SubscribeAsk {
  readonly clientId: string;
  readonly filter: string;
  readonly qos: number;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly retainHandling: number;
  /** 0: none. */
  readonly identifier: number;
}

export interface EventsAsk {
  readonly clientId: string;
  readonly limit: number;
}

export function answerAboutClients(shard: Shard): void {
  const { asks } = shard;
  shard.recentEvents = new RecentEvents();
  asks.handle('client-events', (value, answer) => {
    const { clientId, limit } = value as EventsAsk;
    answer(shard.recentEvents!.of(clientId, limit));
  });
  asks.handle('client-list', (value, answer) => listClients(shard, value as ListAsk<ClientQuery>, answer));
  const handle = <T extends { readonly clientId: string }>(
    name: string,
    handler: (session: ClientSession, ask: T, answer: (reply: Reply) => void) => void,
  ): void =>
    asks.handle(name, (value, answer) => {
      const session = sessionOf(shard, (value as T).clientId);
      if (session === undefined) answer(NO_SESSION);
      else handler(session, value as T, answer);
    });
  handle('client-get', (session, _ask, answer) => answer({ body: clientDetails(shard, session) }));
  handle('client-queue', (session, _ask, answer) => showQueue(shard, session, answer));
  handle<KickAsk>('client-kick', (session, ask, answer) => kick(shard, session, ask, answer));
  handle<SubscribeAsk>('client-subscribe', (session, ask, answer) => subscribe(shard, session, ask, answer));
  handle<SubscribeAsk>('client-unsubscribe', (session, ask, answer) => unsubscribe(shard, session, ask, answer));
}

function listClients(shard: Shard, ask: ListAsk<ClientQuery>, answer: GiveAnswer): void {
  const { prefix, contains, state, username, address } = ask.query;
  const network = address === undefined ? null : new BlockList();
  if (network !== null) addNetwork(network, address!);
  answerFromMap<ClientSession, ClientSession>(
    shard,
    shard.sessions,
    ask,
    (session, order, found) => {
      if (state !== undefined && (session.connection !== null) !== (state === 'connected')) return;
      if (prefix !== undefined && !session.clientId.startsWith(prefix)) return;
      if (contains !== undefined && !session.clientId.includes(contains)) return;
      if (username !== undefined && session.username !== username) return;
      if (network !== null && !isIn(network, addressOfClient(session))) return;
      found.add([order, session.clientId, ''], session);
    },
    (session) => JSON.stringify(clientFacts(shard, session)),
    answer,
  );
}

function isIn(network: BlockList, address: string): boolean {
  return address !== '' && network.check(address, address.includes(':') ? 'ipv6' : 'ipv4');
}

/** The oldest messages that wait for the client; those of its QUIC streams are not among them. */
function showQueue(shard: Shard, session: ClientSession, answer: (reply: Reply) => void): void {
  const { queue } = session;
  const reply = (messageList: object[]): void =>
    answer({ body: { clientId: session.clientId, queued: queue?.count ?? 0, queuedBytes: queue?.bytes ?? 0, messageList } });
  if (queue === null) reply([]);
  else peekQueue(shard, queue, MESSAGES_SHOWN_MAX, BYTES_SHOWN_MAX, (deliveries) => reply(shownMessages(deliveries)));
}

/** Ends the connection of a client, and its session where that is wanted. */
function kick(shard: Shard, session: ClientSession, ask: KickAsk, answer: (reply: Reply) => void): void {
  const { connection } = session;
  if (connection !== null) endConnection(connection, ReasonCode.AdministrativeAction, 'kicked', ask.will);
  // A session that ended with its connection is no more there.
  if (ask.session && !session.hasEnded) {
    if (!ask.will) session.will = null;
    endSession(shard, session, 'kicked');
  }
  shard.log.info({ client: session.clientId, session: session.hasEnded }, 'a client was ended by an operator');
  shard.journal.whenCommitted(() => answer({ body: { disconnected: connection !== null, sessionEnded: session.hasEnded } }));
}

function subscribe(shard: Shard, session: ClientSession, ask: SubscribeAsk, answer: (reply: Reply) => void): void {
  const { clientId, filter, qos, noLocal, retainAsPublished, retainHandling, identifier } = ask;
  subscribeFor(shard, session, { filter, qos, noLocal, retainAsPublished, retainHandling }, identifier, (code) => {
    if (code <= 2) answer({ body: { clientId, filter, qos: code } });
    else answer(refusedSubscription(shard, session, code));
  });
}

function refusedSubscription(shard: Shard, session: ClientSession, code: number): Reply {
  switch (code) {
    case ReasonCode.NotAuthorized:
      return refusal('forbidden', 'P2P messages of others are for clients that the statements let observe, and that subscribe themselves');
    case ReasonCode.QuotaExceeded:
      return session.isStored && shard.journal.isDegraded
        ? refusal('store-degraded', 'the session is stored, and the store takes nothing now')
        : refusal('quota-exceeded', `a client may have ${shard.settings.limits.subscriptionsPerClient} subscriptions`);
    case ReasonCode.TopicFilterInvalid:
      return refusal('bad-request', 'path.filter: this is no valid Topic Filter');
    default:
      return refusal('conflict', 'the configuration of this broker does not allow such subscriptions');
  }
}

function unsubscribe(shard: Shard, session: ClientSession, { filter }: SubscribeAsk, answer: (reply: Reply) => void): void {
  unsubscribeFor(shard, session, filter, (existed) =>
    answer(existed ? { body: { unsubscribed: true } } : refusal('not-found', 'the client has no such subscription')),
  );
}
