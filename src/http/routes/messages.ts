/**
 * Messages that were published: found by topic, publisher, target and time, read by their ID, and what became of one. They come from the history, which is off unless
 * `history.enabled` says otherwise.
 */
import { z } from 'zod';
import { filterError, hasWildcard } from '../../protocol/topic.ts';
import { SUPERVISOR } from '../../shard/asks.ts';
import { counter } from '../../shard/counters.ts';
import type { TraceEvent } from '../../shard/tracing.ts';
import type { HistoryItem, HistoryPage } from '../../store/history-query.ts';
import type { Call } from '../call.ts';
import { Problem, problem } from '../problem.ts';
import { mayAs } from '../role.ts';
import { LATER, type Route, route } from '../route.ts';
import { eventJson, mergeEvents, traceEventSchema } from '../trace-events.ts';
import { messageProperties } from './schemas.ts';

const GROUP = 'Messages';
const KEPT = counter('history/kept');
const DROPPED = counter('history/dropped');
/** Behind all times that a Message ID can have. */
const END_OF_TIME = 2 ** 48 - 2;
const ASK_MILLISECONDS = 30_000;

const messageSchema = z.object({
  id: z.string().describe('Message ID: 32 hexadecimal digits, in the order of time.'),
  at: z.iso.datetime(),
  topic: z.string(),
  qos: z.int(),
  retain: z.boolean(),
  publisher: z.string().describe('Client Identifier; empty: the broker itself.'),
  targets: z.array(z.string()).nullable().describe('Client Identifiers that a P2P message went to; null: it was none.'),
  bytes: z.int().describe('Of the whole payload.'),
  expirySeconds: z.int().nullable(),
  payloadBase64: z.string().nullable().describe('Null for a viewer.'),
  payloadCut: z.boolean().describe('Only the beginning of the payload was kept.'),
  properties: messageProperties.nullable().describe('Null for a viewer, and where they were too long to be kept.'),
});

const idSchema = z.string().regex(/^[0-9a-fA-F]{32}$/, 'expected 32 hexadecimal digits');

/** `Date.parse` takes much else, too: `-1` is the year 2001. */
const ISO_TIME = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)?)?$/;

/** A moment: ISO 8601, or milliseconds since 1970. */
const moment = z.string().transform((text, context) => {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : ISO_TIME.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(value) && value >= 0) return Math.min(value, END_OF_TIME);
  context.addIssue({ code: 'custom', message: 'expected a time such as 2026-11-29T17:00:00Z, or milliseconds since 1970' });
  return z.NEVER;
});

const name = z.string().min(1).max(65_535);

const question = z
  .strictObject({
    topic: name
      .refine((text) => !hasWildcard(text), 'a topic has no wildcards: use filter=…')
      .optional()
      .describe('Messages to this topic.'),
    filter: name
      .refine((text) => filterError(text, 128) === 0, 'expected a Topic Filter')
      .optional()
      .describe('Messages to topics that this Topic Filter matches.'),
    publisher: name.optional().describe('Client Identifier of the publisher.'),
    target: name.optional().describe('Client Identifier that P2P messages went to.'),
    id: idSchema.optional().describe('The one message with this ID.'),
    from: moment.optional().describe('ISO 8601, or milliseconds since 1970.'),
    to: moment.optional(),
    order: z.enum(['newest', 'oldest']).default('newest').describe('Which messages come first.'),
    limit: z.coerce.number().int().min(1).max(1000).default(100),
    cursor: idSchema.optional().describe('`next` of the page before; all else is to be the same.'),
  })
  .refine(({ from = 0, to = END_OF_TIME }) => from <= to, { path: ['from'], message: 'is later than to: nothing can be in between' });

/** Asks the history. @param done not called when the answer is a problem */
function askHistory<T>(call: Call, ask: object, done: (value: T) => void): void {
  const { shard } = call;
  if (!shard.settings.history.enabled)
    throw new Problem('not-implemented', 'the broker keeps no messages: see history.enabled in its configuration');
  shard.asks.ask(
    SUPERVISOR,
    'history',
    ask,
    (value) => {
      if (value === null) call.answer(problem('unavailable', 'the history cannot answer now; try again'));
      else done(value as T);
    },
    ASK_MILLISECONDS,
  );
}

function seesAll(call: Call): boolean {
  return mayAs(call.caller!.role, 'operator');
}

function messageJson({ at, payload, isPayloadCut, properties, ...same }: HistoryItem): object {
  return {
    ...same,
    at: new Date(at).toISOString(),
    payloadBase64: payload,
    payloadCut: isPayloadCut,
    properties: properties && {
      payloadFormat: properties.payloadFormatIndicator,
      contentType: properties.contentType,
      responseTopic: properties.responseTopic,
      correlationData: properties.correlationData && Buffer.from(properties.correlationData).toString('base64'),
      userProperties: properties.userProperties,
    },
  };
}

const noMessage = (id: string): ReturnType<typeof problem> => problem('not-found', `no message with the ID ${id} is kept`);

export const messageRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/messages',
    name: 'listMessages',
    group: GROUP,
    summary: 'Messages by topic, filter, publisher, target and time',
    description:
      'What is asked must all hold. One request looks at a bounded part of the history, so a page may be short, or empty, although `next` says that there is more. The payload and the properties need the role operator.',
    role: 'viewer',
    query: question,
    problems: ['not-implemented', 'unavailable'],
    answers: {
      200: { description: 'A page of messages.', schema: z.object({ data: z.array(messageSchema), next: z.string().nullable() }) },
    },
    example: { query: { filter: 'plant/#', limit: '10' } },
    handle: (call, { query }) => {
      const isWhole = seesAll(call);
      if (query.id !== undefined) {
        askHistory<{ item: HistoryItem | null }>(call, { kind: 'get', id: query.id, isWhole }, ({ item }) =>
          call.answer({ status: 200, body: { data: item === null ? [] : [messageJson(item)], next: null } }),
        );
        return LATER;
      }
      const asked = {
        topic: query.topic ?? '',
        filter: query.filter ?? '',
        publisher: query.publisher ?? '',
        target: query.target ?? '',
        from: query.from ?? 0,
        to: query.to ?? END_OF_TIME,
        isNewestFirst: query.order === 'newest',
        limit: query.limit,
        cursor: query.cursor ?? '',
        isWhole,
      };
      askHistory<HistoryPage>(call, { kind: 'find', question: asked }, ({ items, next }) =>
        call.answer({ status: 200, body: { data: items.map(messageJson), next } }),
      );
      return LATER;
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/messages/{id}',
    name: 'getMessage',
    group: GROUP,
    summary: 'One message',
    role: 'viewer',
    params: z.object({ id: idSchema }),
    problems: ['not-found', 'not-implemented', 'unavailable'],
    answers: { 200: { description: 'The message.', schema: messageSchema } },
    example: { params: { id: '0193752d8c00000000000000000000a1' } },
    handle: (call, { params }) => {
      askHistory<{ item: HistoryItem | null }>(call, { kind: 'get', id: params.id, isWhole: seesAll(call) }, ({ item }) =>
        call.answer(item === null ? noMessage(params.id) : { status: 200, body: messageJson(item) }),
      );
      return LATER;
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/messages/{id}/trace',
    name: 'getMessageTrace',
    group: GROUP,
    summary: 'What became of one message',
    description:
      'Everything that traces have noted about it: those that run or have ended lately, and those that the history keeps. A message that nobody traced has no more than its publication. Each shard tells at most 1,000 of its events.',
    role: 'viewer',
    params: z.object({ id: idSchema }),
    problems: ['not-found'],
    answers: {
      200: { description: 'Its events, in their order.', schema: z.object({ id: z.string(), events: z.array(traceEventSchema) }) },
    },
    example: { params: { id: '0193752d8c00000000000000000000a1' } },
    handle: (call, { params }) => {
      const id = params.id.toLowerCase();
      call.shard.asks.askAll('trace-of-message', id, (shards) => {
        if (!call.shard.settings.history.enabled) {
          answerTrace(call, id, mergeEvents(shards, []), null);
          return;
        }
        askHistory<readonly TraceEvent[]>(call, { kind: 'trace', id }, (kept) =>
          askHistory<{ item: HistoryItem | null }>(call, { kind: 'get', id, isWhole: false }, ({ item }) =>
            answerTrace(call, id, mergeEvents(shards, kept), item),
          ),
        );
      });
      return LATER;
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/message-history',
    name: 'getMessageHistory',
    group: GROUP,
    summary: 'Whether messages are kept, and how much of them there is',
    role: 'viewer',
    problems: ['unavailable'],
    answers: {
      200: {
        description: 'Its state.',
        schema: z.object({
          enabled: z.boolean(),
          retentionSeconds: z.int(),
          bytesMax: z.int(),
          filters: z.array(z.string()),
          bytes: z.int(),
          fileBytes: z.int(),
          waitingBytes: z.int().describe('Not on disk yet; a crash loses them.'),
          oldestAt: z.iso.datetime().nullable(),
          kept: z.int().describe('Messages since the start.'),
          dropped: z.int().describe('Messages since the start that were not kept, because their shard had no room for them.'),
          lost: z
            .int()
            .describe('Messages since the start that the disk did not take, or that were on their way to it when the history failed.'),
          evictedBytes: z.int().describe('Bytes of the oldest messages that were removed since the start because the disk was full.'),
          failing: z.boolean(),
        }),
      },
    },
    handle: (call) => {
      const { shard } = call;
      const { enabled, retentionSeconds, bytesMax, filters } = shard.settings.history;
      const facts = { enabled, retentionSeconds, bytesMax, filters, kept: shard.sumOfAll(KEPT), dropped: shard.sumOfAll(DROPPED) };
      if (!enabled)
        return {
          status: 200,
          body: { ...facts, bytes: 0, fileBytes: 0, waitingBytes: 0, oldestAt: null, lost: 0, evictedBytes: 0, failing: false },
        };
      askHistory<{
        bytes: number;
        fileBytes: number;
        waitingBytes: number;
        oldest: number;
        lost: number;
        evictedBytes: number;
        isFailing: boolean;
      }>(call, { kind: 'state' }, ({ oldest, isFailing, ...state }) =>
        call.answer({
          status: 200,
          body: { ...facts, ...state, oldestAt: oldest === 0 ? null : new Date(oldest).toISOString(), failing: isFailing },
        }),
      );
      return LATER;
    },
  }),
];

function answerTrace(call: Call, id: string, events: readonly TraceEvent[], item: HistoryItem | null): void {
  if (events.length === 0 && item === null) {
    call.answer(noMessage(id));
    return;
  }
  const all = [...events];
  // Nobody traced it when it was published, but it was kept.
  if (item !== null && !all.some(({ event }) => event === 'published'))
    all.unshift({
      number: 0,
      at: item.at,
      event: 'published',
      shard: Number.parseInt(id.slice(12, 14), 16),
      messageId: id,
      topic: item.topic,
      qos: item.qos,
      clientId: item.publisher,
      bytes: item.bytes,
    });
  const first = all[0]!.at;
  call.answer({ status: 200, body: { id, events: all.map((event) => eventJson(event, first)) } });
}
