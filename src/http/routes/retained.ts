/**
 * Retained Messages and mailboxes: what lies in the broker for those who come.
 */
import { z } from 'zod';
import { ReasonCode } from '../../protocol/reason-code.ts';
import { filterError, isTopicText } from '../../protocol/topic.ts';
import { counter } from '../../shard/counters.ts';
import { askEach, listPage, PAGE_QUERY, pageAnswer, pageOf } from '../management/pages.ts';
import { askOwner } from '../management/reply.ts';
import { type Route, route } from '../route.ts';
import { clientPath, message, time } from './schemas.ts';

const RETAINED = 'Retained Messages';
const MAILBOXES = 'Mailboxes';
const BOXES = counter('mailboxes/count');
/** Whatever the configuration allows, a topic has at most so many. */
const LEVELS_MAX = 65_535;

const retainedQuery = z.strictObject({
  filter: z
    .string()
    .refine((filter) => filterError(filter, LEVELS_MAX) === ReasonCode.Success, 'no valid Topic Filter')
    .default('#')
    .describe('Topics of `$SYS` need a filter that begins so.'),
  ...PAGE_QUERY,
});

const topicPath = z.object({
  topic: z.string().refine((topic) => isTopicText(topic, LEVELS_MAX), 'no valid topic'),
});

const mailbox = {
  clientId: z.string(),
  messages: z.int(),
  bytes: z.int(),
  createdAt: time,
  expiresAt: time,
  shard: z.int(),
};

export function retainedRoutes(): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/retained',
      name: 'listRetained',
      group: RETAINED,
      summary: 'Topics with a Retained Message, page by page',
      description: 'In the order of their topics, level by level.',
      role: 'viewer',
      query: retainedQuery,
      answers: {
        200: {
          description: 'A page.',
          schema: pageOf(z.object({ topic: z.string(), qos: z.int(), bytes: z.int(), expiresAt: time.nullable() })),
        },
      },
      example: { query: { filter: 'site/#' } },
      handle: async (call, { query }) => {
        const { filter, ...page } = query as z.output<typeof retainedQuery>;
        const [list, counts] = await Promise.all([
          listPage(call, 'retained-list', { filter }, page),
          filter === '#' ? askEach<{ readonly count: number }>(call, 'retained-count', {}) : null,
        ]);
        return pageAnswer(
          list,
          counts?.reduce((sum, { count }) => sum + count, 0),
        );
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/retained/{topic...}',
      name: 'getRetained',
      group: RETAINED,
      summary: 'The Retained Message of a topic',
      role: 'viewer',
      params: topicPath,
      problems: ['not-found'],
      answers: { 200: { description: 'The message.', schema: message } },
      example: { params: { topic: 'site/1/state' } },
      handle: (call, { params }) => askOwner(call, topicOf(params), 'retained-get', { topic: topicOf(params) }),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/retained/{topic...}',
      name: 'deleteRetained',
      group: RETAINED,
      summary: 'Clears the Retained Message of a topic',
      description: 'As an empty retained PUBLISH does, but subscribers are told nothing.',
      role: 'operator',
      params: topicPath,
      problems: ['not-found', 'store-degraded'],
      answers: { 200: { description: 'It is cleared, also on disk.', schema: z.object({ deleted: z.literal(true) }) } },
      example: { params: { topic: 'site/1/state' } },
      handle: (call, { params }) => askOwner(call, topicOf(params), 'retained-delete', { topic: topicOf(params) }),
    }),
    ...mailboxRoutes(),
  ];
}

function mailboxRoutes(): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/mailboxes',
      name: 'listMailboxes',
      group: MAILBOXES,
      summary: 'Client Identifiers without a session for whom P2P messages wait, page by page',
      role: 'viewer',
      query: z.strictObject({ prefix: z.string().optional().describe('Beginning of the Client Identifier.'), ...PAGE_QUERY }),
      answers: { 200: { description: 'A page.', schema: pageOf(z.object(mailbox)) } },
      handle: async (call, { query }) => {
        const { prefix, ...page } = query as { limit: number; cursor?: string; prefix?: string };
        const list = await listPage(call, 'mailbox-list', { prefix }, page);
        return pageAnswer(list, prefix === undefined ? call.shard.sumOfAll(BOXES) : undefined);
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/mailboxes/{clientId}',
      name: 'getMailbox',
      group: MAILBOXES,
      summary: 'One mailbox, with its first messages',
      role: 'viewer',
      params: clientPath,
      problems: ['not-found'],
      answers: {
        200: {
          description: 'The mailbox.',
          schema: z.object({ ...mailbox, messageList: z.array(message).describe('The oldest 100, or 1 MB of them.') }),
        },
      },
      example: { params: { clientId: 'device-1' } },
      handle: (call, { params }) => askOwner(call, clientIdOf(params), 'mailbox-get', params as object),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/mailboxes/{clientId}',
      name: 'deleteMailbox',
      group: MAILBOXES,
      summary: 'Ends a mailbox with all that is in it',
      description: 'Senders that have asked for a receipt are told `dropped`.',
      role: 'operator',
      params: clientPath,
      problems: ['not-found'],
      answers: { 200: { description: 'It is gone.', schema: z.object({ deleted: z.literal(true), messages: z.int() }) } },
      example: { params: { clientId: 'device-1' } },
      handle: (call, { params }) => askOwner(call, clientIdOf(params), 'mailbox-delete', params as object),
    }),
  ];
}

function topicOf(params: unknown): string {
  return (params as { readonly topic: string }).topic;
}

function clientIdOf(params: unknown): string {
  return (params as { readonly clientId: string }).clientId;
}
