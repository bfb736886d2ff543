/**
 * Clients: who is connected or has a session, what each one does, and what an operator does to one.
 */
import { BlockList, isIP } from 'node:net';
import { z } from 'zod';
import { addNetwork } from '../../base/network.ts';
import { counter } from '../../shard/counters.ts';
import { newest, type RecentEvent } from '../../shard/recent-events.ts';
import type { ClientQuery, EventsAsk, KickAsk, SubscribeAsk } from '../management/client-answers.ts';
import { listPage, PAGE_QUERY, pageAnswer, pageOf } from '../management/pages.ts';
import { askOwner } from '../management/reply.ts';
import { LATER, type Route, route } from '../route.ts';
import { client, clientDetails, clientPath, message, subscriptionOptions, time } from './schemas.ts';

const GROUP = 'Clients';
const SESSIONS = counter('clients/total');
const CONNECTED = counter('clients/connected');

const flag = (otherwise: boolean): z.ZodType<boolean> =>
  z
    .enum(['true', 'false'])
    .default(otherwise ? 'true' : 'false')
    .transform((value) => value === 'true');

const listQuery = z.strictObject({
  prefix: z.string().optional().describe('Beginning of the Client Identifier.'),
  contains: z.string().optional().describe('Any part of the Client Identifier.'),
  state: z.enum(['connected', 'disconnected']).optional(),
  username: z.string().optional(),
  address: z
    .string()
    .refine(isNetwork, 'an address, or a network such as 10.0.0.0/8')
    .optional()
    .describe('Address or network of the client.'),
  ...PAGE_QUERY,
});

const filterPath = z.object({
  clientId: z.string(),
  filter: z.string().min(1).describe('Topic Filter, `$share/…` included; encode `#` as `%23`.'),
});

const subscribeBody = z.strictObject({
  qos: z.int().min(0).max(2).default(1),
  noLocal: z.boolean().default(false),
  retainAsPublished: z.boolean().default(false),
  retainHandling: z.int().min(0).max(2).default(0).describe('0: Retained Messages come, 1: only for a new subscription, 2: none.'),
  identifier: z.int().min(1).max(268_435_455).optional().describe('Subscription Identifier.'),
});

const clientEvent = z.object({
  at: time,
  event: z.enum(['connected', 'disconnected', 'subscribed', 'unsubscribed', 'refused']),
  address: z.string().nullable(),
  detail: z.string().nullable().describe('Why a connection has ended or was refused; the Topic Filter of a subscription.'),
});

export function clientRoutes(): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/clients',
      name: 'listClients',
      group: GROUP,
      summary: 'Clients with a session, page by page',
      description:
        'In an order of its own that does not change: who has a session during the whole list is on exactly one page. A page of a search that finds little may have fewer ' +
        'items than `limit`, or none, and yet a `next`.',
      role: 'viewer',
      query: listQuery,
      answers: { 200: { description: 'A page.', schema: pageOf(client) } },
      example: { query: { state: 'connected', limit: 10 } },
      handle: async (call, { query }) => {
        const { limit, cursor, ...search } = query as z.output<typeof listQuery>;
        const page = await listPage(call, 'client-list', search satisfies ClientQuery, { limit, cursor });
        const { prefix, contains, username, address, state } = search;
        const isCounted = prefix === undefined && contains === undefined && username === undefined && address === undefined;
        if (!isCounted) return pageAnswer(page);
        const connected = call.shard.sumOfAll(CONNECTED);
        const all = call.shard.sumOfAll(SESSIONS);
        const total = state === undefined ? all : state === 'connected' ? connected : Math.max(0, all - connected);
        return pageAnswer(page, total);
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/clients/{clientId}',
      name: 'getClient',
      group: GROUP,
      summary: 'Everything about one client',
      role: 'viewer',
      params: clientPath,
      problems: ['no-session'],
      answers: { 200: { description: 'The client.', schema: clientDetails } },
      example: { params: { clientId: 'device-1' } },
      handle: (call, { params }) => askOwner(call, nameOf(params), 'client-get', params as object),
    }),
    route({
      method: 'GET',
      path: '/api/v1/clients/{clientId}/queue',
      name: 'getClientQueue',
      group: GROUP,
      summary: 'What waits for a client',
      role: 'viewer',
      params: clientPath,
      problems: ['no-session'],
      answers: {
        200: {
          description: 'The queue. What waits for a data stream of a QUIC client is counted with the client and not shown here.',
          schema: z.object({
            clientId: z.string(),
            queued: z.int(),
            queuedBytes: z.int(),
            messageList: z.array(message).describe('The oldest 100, or 1 MB of them.'),
          }),
        },
      },
      example: { params: { clientId: 'device-1' } },
      handle: (call, { params }) => askOwner(call, nameOf(params), 'client-queue', params as object),
    }),
    route({
      method: 'GET',
      path: '/api/v1/clients/{clientId}/events',
      name: 'getClientEvents',
      group: GROUP,
      summary: 'What has happened to a client lately',
      description:
        'Connections and their ends, subscriptions, refusals, with or without a session. Kept in memory: the newest 8,192 connections and ends of each shard, 4,096 subscriptions, 1,024 refusals, ' +
        'since the shard has started.',
      role: 'viewer',
      params: clientPath,
      query: z.strictObject({ limit: z.coerce.number().int().min(1).max(1000).default(100) }),
      answers: {
        200: {
          description: 'Newest first. `missing`: shards that have not answered.',
          schema: z.object({ data: z.array(clientEvent), missing: z.array(z.int()) }),
        },
      },
      example: { params: { clientId: 'device-1' }, query: { limit: 20 } },
      handle: (call, { params, query }) => {
        const { limit } = query as { limit: number };
        // Who was refused may have come to any shard.
        call.shard.asks.askAll('client-events', { clientId: nameOf(params), limit } satisfies EventsAsk, (answers) => {
          const found = (answers as readonly (RecentEvent[] | null)[]).flatMap((events) => events ?? []);
          const data = newest(found, limit).map(({ at, event, address, detail }) => ({
            at: new Date(at).toISOString(),
            event,
            address: address || null,
            detail: detail || null,
          }));
          call.answer({ status: 200, body: { data, missing: answers.flatMap((answer, shard) => (answer === null ? [shard] : [])) } });
        });
        return LATER;
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/clients/{clientId}',
      name: 'endClient',
      group: GROUP,
      summary: 'Ends the connection of a client',
      description:
        'A v5 client is told 0x98 (administrative action). Nothing keeps it from coming back: a block rule does. For a client that is away nothing happens, unless its session ' +
        'is to end.',
      role: 'operator',
      params: clientPath,
      query: z.strictObject({
        session: flag(false).describe('The session ends as well, with its subscriptions and all that waits.'),
        will: flag(true).describe('Whether its Will Message is published.'),
      }),
      problems: ['no-session'],
      answers: { 200: { description: 'What was ended.', schema: z.object({ disconnected: z.boolean(), sessionEnded: z.boolean() }) } },
      example: { params: { clientId: 'device-1' } },
      handle: (call, { params, query }) => {
        const { session, will } = query as { readonly session: boolean; readonly will: boolean };
        return askOwner(call, nameOf(params), 'client-kick', { clientId: nameOf(params), session, will } satisfies KickAsk);
      },
    }),
    ...subscriptionRoutes(),
  ];
}

function subscriptionRoutes(): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/clients/{clientId}/subscriptions',
      name: 'listClientSubscriptions',
      group: GROUP,
      summary: 'Subscriptions of one client, page by page',
      role: 'viewer',
      params: clientPath,
      query: z.strictObject({ ...PAGE_QUERY }),
      problems: ['no-session'],
      answers: {
        200: { description: 'A page.', schema: pageOf(subscriptionOptions.extend({ clientId: z.string(), topicFilter: z.string() })) },
      },
      example: { params: { clientId: 'device-1' } },
      handle: async (call, { params, query }) => {
        const clientId = nameOf(params);
        const { body } = await askOwner(call, clientId, 'client-get', { clientId });
        const page = await listPage(call, 'subscription-list', { clientId }, query as { limit: number; cursor?: string });
        return pageAnswer(page, (body as { readonly subscriptions: number }).subscriptions);
      },
    }),
    route({
      method: 'PUT',
      path: '/api/v1/clients/{clientId}/subscriptions/{filter...}',
      name: 'subscribeClient',
      group: GROUP,
      summary: 'Subscribes a client',
      description:
        'At once, also while the client is away, as if it had subscribed itself; a subscription to the same filter is replaced. The statements are not asked: the operator decides. ' +
        'But a session whose client comes back keeps only what its statements allow. A client that is away gets no Retained Messages for it.',
      role: 'operator',
      params: filterPath,
      body: subscribeBody,
      problems: ['no-session', 'forbidden', 'quota-exceeded', 'store-degraded', 'conflict'],
      answers: {
        200: {
          description: 'It is subscribed, on every shard.',
          schema: z.object({ clientId: z.string(), filter: z.string(), qos: z.int().describe('As granted.') }),
        },
      },
      example: { params: { clientId: 'device-1', filter: 'site/1/#' }, body: { qos: 1 } },
      handle: (call, { params, body }) => {
        const { clientId, filter } = params as z.output<typeof filterPath>;
        call.facts = body as z.output<typeof subscribeBody>;
        const { identifier = 0, ...options } = body as z.output<typeof subscribeBody>;
        return askOwner(call, clientId, 'client-subscribe', { clientId, filter, identifier, ...options } satisfies SubscribeAsk);
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/clients/{clientId}/subscriptions/{filter...}',
      name: 'unsubscribeClient',
      group: GROUP,
      summary: 'Ends a subscription of a client',
      role: 'operator',
      params: filterPath,
      problems: ['no-session', 'not-found'],
      answers: { 200: { description: 'It has ended.', schema: z.object({ unsubscribed: z.literal(true) }) } },
      example: { params: { clientId: 'device-1', filter: 'site/1/#' } },
      handle: (call, { params }) => askOwner(call, nameOf(params), 'client-unsubscribe', params as object),
    }),
  ];
}

function nameOf(params: unknown): string {
  return (params as { readonly clientId: string }).clientId;
}

function isNetwork(text: string): boolean {
  if (isIP(text) !== 0) return true;
  try {
    addNetwork(new BlockList(), text);
    return true;
  } catch {
    return false;
  }
}
