/**
 * What is measured: metrics for Prometheus, counters, the last hour for charts, and who or what is slow.
 */
import { z } from 'zod';
import { SUPERVISOR } from '../../shard/asks.ts';
import { COUNTERS } from '../../shard/counters.ts';
import type { Shard } from '../../shard/shard.ts';
import { SLOW_ORDERS, type SlowClient, SlowClients } from '../../shard/slow-clients.ts';
import type { SlowRoute } from '../../shard/slow-routes.ts';
import type { Call } from '../call.ts';
import { METRICS_TYPE, metricsText } from '../metrics-text.ts';
import { problem } from '../problem.ts';
import { LATER, type Route, route } from '../route.ts';

const GROUP = 'Metrics';

const limit = z.coerce.number().int().min(1).max(1000).default(100);

const slowClient = z.object({
  clientId: z.string(),
  username: z.string().nullable(),
  shard: z.int(),
  state: z.enum(['connected', 'disconnected']),
  address: z.string().nullable(),
  queuedMessages: z.int(),
  queuedBytes: z.int(),
  blockedMilliseconds: z.int(),
  bufferedBytes: z.int(),
  inflight: z.int(),
  unacknowledgedMilliseconds: z.int(),
});

const slowRoute = z.object({ topic: z.string(), messages: z.int(), deliveries: z.int(), milliseconds: z.number() });

const samples = z.object({
  intervalSeconds: z.number(),
  /** When the last sample was taken. */
  until: z.iso.datetime(),
  series: z.record(z.string(), z.array(z.number().nullable())),
});

/** What the shards answer when one of them is asked about all. */
export function handleMetricsAsks(shard: Shard): void {
  const clients = new SlowClients(shard);
  shard.asks.handle('slow-clients', (asked, answer) => clients.find(asked as Parameters<SlowClients['find']>[0], answer));
  shard.asks.handle('slow-routes', (count, answer) => answer(shard.slowRoutes?.top(count as number) ?? []));
}

/** @param isPublic whether `/metrics` needs no credentials */
export function metricsRoutes(isPublic: boolean): readonly Route[] {
  const text = {
    method: 'GET',
    group: GROUP,
    answers: { 200: { description: 'In the text format of Prometheus.', type: METRICS_TYPE } },
    handle: ({ shard }: Call) => ({ status: 200, body: metricsText(shard), type: METRICS_TYPE }),
  } as const;
  return [
    route({
      ...text,
      path: '/metrics',
      name: 'getMetrics',
      summary: 'All metrics of all shards, for Prometheus',
      description: 'Needs no credentials where `metrics.public` is `true`.',
      role: isPublic ? null : 'viewer',
      ignoresQuery: true,
    }),
    route({ ...text, path: '/api/v1/metrics', name: 'getApiMetrics', summary: 'The same as `/metrics`', role: 'viewer' }),
    route({
      method: 'GET',
      path: '/api/v1/counters',
      name: 'getCounters',
      group: GROUP,
      summary: 'All counters, summed over all shards, by their names under `$SYS/broker/`',
      role: 'viewer',
      answers: { 200: { description: 'Values by name.', schema: z.record(z.string(), z.number()) } },
      handle: ({ shard }) => ({
        status: 200,
        body: Object.fromEntries(COUNTERS.map((name, index) => [name, shard.sumOfAll(index)])),
      }),
    }),
    samplesRoute(),
    slowClientsRoute(),
    slowRoutesRoute(),
  ];
}

function samplesRoute(): Route {
  return route({
    method: 'GET',
    path: '/api/v1/samples',
    name: 'getSamples',
    group: GROUP,
    summary: 'The last hour of the important values, for charts',
    description: 'One value for each interval, oldest first; null where there is none. Rates are per second.',
    role: 'viewer',
    query: z.strictObject({ seconds: z.coerce.number().int().min(1).max(3600).default(3600) }),
    problems: ['unavailable'],
    answers: { 200: { description: 'The series.', schema: samples } },
    example: { query: { seconds: 300 } },
    handle: (call, { query }) => {
      call.shard.asks.ask(SUPERVISOR, 'samples', query.seconds, (answer) =>
        call.answer(answer === null ? problem('unavailable', 'the supervisor has not answered') : { status: 200, body: answer as object }),
      );
      return LATER;
    },
  });
}

function slowClientsRoute(): Route {
  return route({
    method: 'GET',
    path: '/api/v1/slow/clients',
    name: 'getSlowClients',
    group: GROUP,
    summary: 'The clients that are furthest behind',
    role: 'viewer',
    query: z.strictObject({ by: z.enum(SLOW_ORDERS).default('queuedMessages'), limit }),
    answers: {
      200: {
        description: 'Most first. `missing`: shards that have not answered.',
        schema: z.object({ data: z.array(slowClient), missing: z.array(z.int()) }),
      },
    },
    example: { query: { by: 'queuedBytes', limit: 10 } },
    handle: (call, { query }) => {
      const { by } = query;
      call.shard.asks.askAll('slow-clients', { order: by, limit: query.limit }, (answers) => {
        const all = (answers as readonly (readonly SlowClient[] | null)[]).flatMap((found) => found ?? []);
        const data = all.sort((a, b) => b[by] - a[by]).slice(0, query.limit);
        call.answer({ status: 200, body: { data, missing: missingOf(answers) } });
      });
      return LATER;
    },
  });
}

function slowRoutesRoute(): Route {
  return route({
    method: 'GET',
    path: '/api/v1/slow/routes',
    name: 'getSlowRoutes',
    group: GROUP,
    summary: 'The topics whose messages cost most time',
    description:
      'Estimates for about the last two minutes, by looking at one message of `metrics.routeSample`. P2P messages are not among them.',
    role: 'viewer',
    query: z.strictObject({ limit }),
    answers: {
      200: {
        description: 'Most first. `missing`: shards that have not answered.',
        schema: z.object({ data: z.array(slowRoute), missing: z.array(z.int()) }),
      },
    },
    example: { query: { limit: 10 } },
    handle: (call, { query }) => {
      call.shard.asks.askAll('slow-routes', query.limit, (answers) => {
        const data = merged(answers as readonly (readonly SlowRoute[] | null)[]).slice(0, query.limit);
        call.answer({ status: 200, body: { data, missing: missingOf(answers) } });
      });
      return LATER;
    },
  });
}

function missingOf(answers: readonly unknown[]): number[] {
  return answers.flatMap((answer, shard) => (answer === null ? [shard] : []));
}

/** One topic costs each shard that has subscribers; a message is counted by each of them, so the largest count is the nearest. */
function merged(answers: readonly (readonly SlowRoute[] | null)[]): SlowRoute[] {
  const byTopic = new Map<string, SlowRoute>();
  for (const one of answers.flatMap((found) => found ?? [])) {
    const before = byTopic.get(one.topic);
    byTopic.set(
      one.topic,
      before === undefined
        ? one
        : {
            topic: one.topic,
            messages: Math.max(before.messages, one.messages),
            deliveries: before.deliveries + one.deliveries,
            milliseconds: Math.round((before.milliseconds + one.milliseconds) * 1000) / 1000,
          },
    );
  }
  return [...byTopic.values()].sort((a, b) => b.milliseconds - a.milliseconds);
}
