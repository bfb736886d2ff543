/**
 * Traces: following messages while they pass, by client, topic, Message ID or sample. Every shard notes what it does; here they are begun, looked at and ended.
 */
import { randomInt } from 'node:crypto';
import { z } from 'zod';
import { filterError } from '../../protocol/topic.ts';
import { SUPERVISOR } from '../../shard/asks.ts';
import type { TracePage, TracePageAsked } from '../../shard/trace-page.ts';
import { TRACES_MAX, type TraceDefinition, type TraceState } from '../../shard/tracing.ts';
import type { Call } from '../call.ts';
import { problem } from '../problem.ts';
import { LATER, type Route, route } from '../route.ts';
import { mergeTracePages, readTraceCursor, traceEventSchema } from '../trace-events.ts';

const GROUP = 'Traces';
const SECONDS_MAX = 3600;
const EVENTS_MAX = 10_000;

const traceSchema = z.object({
  id: z.string(),
  state: z.enum(['running', 'ended']),
  clientId: z.string().nullable(),
  filter: z.string().nullable(),
  messageId: z.string().nullable(),
  sample: z.int(),
  events: z.int().describe('Events that each shard may hold.'),
  eventCount: z.int(),
  lost: z.int().describe('Events that did not fit.'),
  beginsAt: z.iso.datetime(),
  endsAt: z.iso.datetime().describe('When it ends, or would have.'),
  by: z.string().describe('Who has begun it.'),
  keep: z.boolean(),
});

const definition = z
  .strictObject({
    clientId: z.string().min(1).max(65_535).optional().describe('Messages that this client publishes or gets.'),
    filter: z
      .string()
      .min(1)
      .max(65_535)
      .refine((text) => filterError(text, 128) === 0, 'expected a Topic Filter')
      .optional()
      .describe('Messages to topics that it matches.'),
    messageId: z
      .string()
      .regex(/^[0-9a-fA-F]{32}$/, 'expected 32 hexadecimal digits')
      .optional()
      .describe('One message that waits somewhere. It must carry its ID: see `history.messageId`.'),
    sample: z.int().min(1).max(1_000_000).optional().describe('One message in so many; 1, and nothing where more is asked: every one.'),
    seconds: z.int().min(1).max(SECONDS_MAX).default(60),
    events: z.int().min(1).max(EVENTS_MAX).default(1000).describe('Events that each shard keeps.'),
    keep: z.boolean().default(true).describe('Write the events to the history too, where there is one.'),
  })
  .refine(
    ({ clientId, filter, messageId, sample }) =>
      clientId !== undefined || filter !== undefined || messageId !== undefined || sample !== undefined,
    'say what to trace: clientId, filter, messageId or sample (1: every message)',
  );

const idParams = z.object({ id: z.string().regex(/^[0-9a-f]{1,8}$/, 'expected the ID of a trace') });

function traceJson(states: readonly TraceState[]): object {
  const [{ definition: facts }] = states as readonly [TraceState];
  const text = (value: string): string | null => (value === '' ? null : value);
  let eventCount = 0;
  let lost = 0;
  for (const state of states) {
    eventCount += state.events;
    lost += state.lost;
  }
  return {
    id: facts.number.toString(16),
    state: states.some(({ isRunning }) => isRunning) ? 'running' : 'ended',
    clientId: text(facts.clientId),
    filter: text(facts.filter),
    messageId: text(facts.messageId),
    sample: facts.sample,
    events: facts.events,
    eventCount,
    lost,
    beginsAt: new Date(facts.beginsAt).toISOString(),
    endsAt: new Date(facts.endsAt).toISOString(),
    by: facts.by,
    keep: facts.keep,
  };
}

/** All traces: what each shard says of each. */
function listTraces(call: Call, done: (traces: ReadonlyMap<number, TraceState[]>) => void): void {
  call.shard.asks.askAll('trace-list', null, (answers) => {
    const traces = new Map<number, TraceState[]>();
    for (const states of answers)
      for (const state of (states ?? []) as TraceState[]) {
        const known = traces.get(state.definition.number);
        if (known === undefined) traces.set(state.definition.number, [state]);
        else known.push(state);
      }
    done(traces);
  });
}

const noTrace = (id: string): ReturnType<typeof problem> => problem('not-found', `there is no trace ${id}`);

/** Asks all shards to do something with a trace; those that know it say true. */
function change(call: Call, name: string, id: string, done: (isKnown: boolean) => void): void {
  const { asks } = call.shard;
  const number = Number.parseInt(id, 16);
  asks.ask(SUPERVISOR, 'trace-forget', number, () => asks.askAll(name, number, (answers) => done(answers.includes(true))));
}

export const traceRoutes: readonly Route[] = [
  route({
    method: 'GET',
    path: '/api/v1/traces',
    name: 'listTraces',
    group: GROUP,
    summary: 'Traces that run, and the last that have ended',
    role: 'viewer',
    answers: {
      200: { description: 'The newest first.', schema: z.object({ data: z.array(traceSchema), next: z.null(), total: z.int() }) },
    },
    handle: (call) => {
      listTraces(call, (traces) => {
        const newestFirst = [...traces.values()].sort((a, b) => b[0]!.definition.beginsAt - a[0]!.definition.beginsAt);
        call.answer({ status: 200, body: { data: newestFirst.map(traceJson), next: null, total: newestFirst.length } });
      });
      return LATER;
    },
  }),
  route({
    method: 'POST',
    path: '/api/v1/traces',
    name: 'beginTrace',
    group: GROUP,
    summary: 'Follow messages for a while',
    description: `All that is asked must hold for a message. Up to ${TRACES_MAX} traces run at a time.`,
    role: 'operator',
    body: definition,
    problems: ['too-many-requests', 'unavailable'],
    answers: { 201: { description: 'It runs on every shard.', schema: traceSchema } },
    example: { body: { filter: 'plant/#', seconds: 60 } },
    handle: (call, { body }) => {
      call.facts = body;
      const { shard, caller } = call;
      const { seconds, clientId = '', filter = '', messageId = '', sample = 1, ...same } = body;
      const beginsAt = shard.timers.now;
      const begun: TraceDefinition = {
        number: randomInt(1, 2 ** 32),
        clientId,
        filter,
        messageId: messageId.toLowerCase(),
        sample,
        ...same,
        beginsAt,
        endsAt: beginsAt + seconds * 1000,
        by: caller!.name,
      };
      shard.asks.askAll('trace-begin', begun, (answers) => {
        if (answers.every((isBegun) => isBegun === true || isBegun === null)) {
          const body = traceJson([{ definition: begun, isRunning: true, events: 0, lost: 0 }]);
          const headers: [string, string][] = [['Location', `/api/v1/traces/${begun.number.toString(16)}`]];
          // A shard that is started anew hears of it there.
          shard.asks.ask(SUPERVISOR, 'trace-note', begun, () => call.answer({ status: 201, body, headers }));
          return;
        }
        shard.asks.askAll('trace-remove', begun.number, () =>
          call.answer(
            problem(
              'too-many-requests',
              `${TRACES_MAX} traces run already: "onehop trace list" names them, "onehop trace end ID" ends one (POST /api/v1/traces/ID/end)`,
            ),
          ),
        );
      });
      return LATER;
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/traces/{id}',
    name: 'getTrace',
    group: GROUP,
    summary: 'One trace',
    role: 'viewer',
    params: idParams,
    problems: ['not-found'],
    answers: { 200: { description: 'The trace.', schema: traceSchema } },
    example: { params: { id: '5f3a9c01' } },
    handle: (call, { params }) => {
      listTraces(call, (traces) => {
        const states = traces.get(Number.parseInt(params.id, 16));
        call.answer(states === undefined ? noTrace(params.id) : { status: 200, body: traceJson(states) });
      });
      return LATER;
    },
  }),
  route({
    method: 'GET',
    path: '/api/v1/traces/{id}/events',
    name: 'listTraceEvents',
    group: GROUP,
    summary: 'What a trace has seen',
    description: 'In the order in which it happened, on whatever shard. A page may be shorter than `limit` where there is more.',
    role: 'viewer',
    params: idParams,
    query: z.strictObject({
      messageId: z
        .string()
        .regex(/^[0-9a-fA-F]{32}$/, 'expected 32 hexadecimal digits')
        .optional(),
      limit: z.coerce.number().int().min(1).max(1000).default(100),
      cursor: z.string().max(256).optional().describe('`next` or `last` of the page before; absent: the beginning.'),
    }),
    problems: ['not-found'],
    answers: {
      200: {
        description: 'A page of events.',
        schema: z.object({
          data: z.array(traceEventSchema),
          next: z.string().nullable().describe('`cursor` of the next page; null: there is no more for now.'),
          last: z.string().describe('The same, and there always: what happens later comes behind it.'),
          total: z.int(),
          missing: z
            .array(z.int())
            .describe('Shards that have not answered: then the page is empty, and comes again with the same cursor.'),
        }),
      },
    },
    example: { params: { id: '5f3a9c01' } },
    handle: (call, { params, query }) => {
      const after = readTraceCursor(query.cursor);
      const { limit } = query;
      const asked: TracePageAsked = {
        number: Number.parseInt(params.id, 16),
        after,
        limit,
        messageId: query.messageId?.toLowerCase() ?? '',
      };
      call.shard.asks.askAll('trace-page', asked, (answers) => {
        const missing = answers.flatMap((answer, shard) => (answer === null ? [shard] : []));
        const pages = (answers as readonly (TracePage | false | null)[]).filter((page) => page !== false);
        if (pages.length === 0) call.answer(noTrace(params.id));
        // Its events would be behind the cursor when it answers again.
        else if (missing.length > 0) call.answer({ status: 200, body: { ...mergeTracePages([], after, limit), missing } });
        else call.answer({ status: 200, body: { ...mergeTracePages(pages as readonly TracePage[], after, limit), missing } });
      });
      return LATER;
    },
  }),
  route({
    method: 'POST',
    path: '/api/v1/traces/{id}/end',
    name: 'endTrace',
    group: GROUP,
    summary: 'End a trace before its time, and keep what it has seen',
    role: 'operator',
    params: idParams,
    problems: ['not-found'],
    answers: { 200: { description: 'It has ended.', schema: z.object({ ended: z.boolean() }) } },
    example: { params: { id: '5f3a9c01' } },
    handle: (call, { params }) => {
      change(call, 'trace-end', params.id, (isKnown) =>
        call.answer(isKnown ? { status: 200, body: { ended: true } } : problem('not-found', `no trace ${params.id} runs`)),
      );
      return LATER;
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/v1/traces/{id}',
    name: 'deleteTrace',
    group: GROUP,
    summary: 'End a trace and forget what it has seen',
    description: 'What the history has kept of it stays.',
    role: 'operator',
    params: idParams,
    problems: ['not-found'],
    answers: { 204: { description: 'It is gone.' } },
    example: { params: { id: '5f3a9c01' } },
    handle: (call, { params }) => {
      change(call, 'trace-remove', params.id, (isKnown) => call.answer(isKnown ? { status: 204 } : noTrace(params.id)));
      return LATER;
    },
  }),
];
