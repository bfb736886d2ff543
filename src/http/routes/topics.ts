/**
 * Topics: how much is published below chosen topic prefixes.
 */
import { z } from 'zod';
import { SUPERVISOR } from '../../shard/asks.ts';
import { METER_LEVELS_MAX, prefixProblem, TOPIC_METERS_MAX } from '../../shard/topic-meters.ts';
import type { Call } from '../call.ts';
import { METER_LIST, type MeterAsk, type MeterCount, type MeterReply } from '../management/meter-answers.ts';
import { askEach, askShard } from '../management/pages.ts';
import { timeOf } from '../management/time-of.ts';
import { Problem } from '../problem.ts';
import { type Route, route } from '../route.ts';
import { time } from './schemas.ts';

const GROUP = 'Topics';

const counts = z.object({
  prefix: z.string(),
  since: time,
  publishIn: z.int().describe('Messages published.'),
  publishInByQos: z.array(z.int()).describe('The same at QoS 0, 1 and 2.'),
  bytesIn: z.int().describe('Of their payloads.'),
  publishOut: z.int().describe('Messages sent or queued, once for each receiver.'),
  bytesOut: z.int(),
  dropped: z.int().describe('Messages that a receiver wanted and could not take.'),
});

const list = z.object({ data: z.array(counts), next: z.null(), total: z.int() });

const prefixPath = z.object({
  prefix: z.string().superRefine((prefix, context) => {
    const wrong = prefixProblem(prefix);
    if (wrong !== null) context.addIssue({ code: 'custom', message: wrong });
  }),
});

type Counts = z.output<typeof counts>;

export function topicRoutes(): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/topics',
      name: 'listTopics',
      group: GROUP,
      summary: 'Measured topic prefixes, narrowed',
      role: 'viewer',
      query: z.strictObject({
        prefix: z.string().optional().describe('Only this one and those below it.'),
        depth: z.coerce.number().int().min(1).max(METER_LEVELS_MAX).optional().describe('Most levels that a prefix may have.'),
      }),
      answers: { 200: { description: 'What was counted.', schema: list } },
      example: { query: { prefix: 'site', depth: 2 } },
      handle: async (call, { query }) => {
        const { prefix, depth } = query as { readonly prefix?: string; readonly depth?: number };
        const isWanted = (one: Counts): boolean =>
          (prefix === undefined || one.prefix === prefix || one.prefix.startsWith(`${prefix}/`)) &&
          (depth === undefined || one.prefix.split('/').length <= depth);
        return { status: 200, body: listOf((await countsOfAll(call)).filter(isWanted)) };
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/topics/metrics',
      name: 'listTopicMetrics',
      group: GROUP,
      summary: 'All measured topic prefixes',
      role: 'viewer',
      answers: { 200: { description: 'What was counted.', schema: list } },
      handle: async (call) => ({ status: 200, body: listOf(await countsOfAll(call)) }),
    }),
    route({
      method: 'GET',
      path: '/api/v1/topics/metrics/{prefix...}',
      name: 'getTopicMetrics',
      group: GROUP,
      summary: 'One measured topic prefix',
      role: 'viewer',
      params: prefixPath,
      problems: ['not-found'],
      answers: { 200: { description: 'What was counted.', schema: counts } },
      example: { params: { prefix: 'site/1' } },
      handle: async (call, { params }) => ({ status: 200, body: await countsOf(call, prefixOf(params)) }),
    }),
    route({
      method: 'PUT',
      path: '/api/v1/topics/metrics/{prefix...}',
      name: 'beginTopicMetrics',
      group: GROUP,
      summary: 'Begins to measure a topic prefix',
      description:
        `\`a/b\` counts \`a/b\` and all below it. Up to ${TOPIC_METERS_MAX} prefixes of up to ${METER_LEVELS_MAX} levels. The list is kept until the broker ends; a shard that ` +
        'is started anew begins with zero.',
      role: 'operator',
      params: prefixPath,
      problems: ['quota-exceeded'],
      answers: { 200: { description: 'It is measured, now or already.', schema: counts } },
      example: { params: { prefix: 'site/1' } },
      handle: async (call, { params }) => {
        const prefix = prefixOf(params);
        if ((await change(call, { begin: prefix })) === 'full')
          throw new Problem('quota-exceeded', `${TOPIC_METERS_MAX} prefixes are measured already`);
        return { status: 200, body: await countsOf(call, prefix) };
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/topics/metrics/{prefix...}',
      name: 'endTopicMetrics',
      group: GROUP,
      summary: 'Ends the measuring of a topic prefix',
      role: 'operator',
      params: prefixPath,
      problems: ['not-found'],
      answers: { 200: { description: 'It is measured no more.', schema: z.object({ deleted: z.literal(true) }) } },
      example: { params: { prefix: 'site/1' } },
      handle: async (call, { params }) => {
        if ((await change(call, { end: prefixOf(params) })) === 'missing') throw new Problem('not-found', 'this prefix is not measured');
        return { status: 200, body: { deleted: true } };
      },
    }),
  ];
}

function prefixOf(params: unknown): string {
  return (params as { readonly prefix: string }).prefix;
}

function listOf(data: readonly Counts[]): object {
  return { data, next: null, total: data.length };
}

/** Changes the list, and tells it to all shards. */
async function change(call: Call, ask: MeterAsk): Promise<MeterReply['refused']> {
  const reply = await askShard<MeterReply>(call, SUPERVISOR, METER_LIST, ask);
  await askEach(call, 'meters-set', reply);
  return reply.refused;
}

async function countsOf(call: Call, prefix: string): Promise<Counts> {
  const found = (await countsOfAll(call)).find((one) => one.prefix === prefix);
  if (found === undefined) throw new Problem('not-found', 'this prefix is not measured');
  return found;
}

/** By prefix, in the order of their texts. */
async function countsOfAll(call: Call): Promise<Counts[]> {
  const sums = new Map<string, Counts>();
  for (const parts of await askEach<readonly MeterCount[]>(call, 'meters-get', {}))
    for (const { prefix, since, publishIn, bytesIn, publishOut, bytesOut, dropped } of parts) {
      let sum = sums.get(prefix);
      if (sum === undefined) {
        const nothing = { publishIn: 0, publishInByQos: [0, 0, 0], bytesIn: 0, publishOut: 0, bytesOut: 0, dropped: 0 };
        sum = { prefix, since: timeOf(since)!, ...nothing };
        sums.set(prefix, sum);
      }
      for (const [qos, count] of publishIn.entries()) {
        sum.publishInByQos[qos]! += count;
        sum.publishIn += count;
      }
      sum.bytesIn += bytesIn;
      sum.publishOut += publishOut;
      sum.bytesOut += bytesOut;
      sum.dropped += dropped;
    }
  return [...sums.values()].sort((a, b) => (a.prefix < b.prefix ? -1 : 1));
}
