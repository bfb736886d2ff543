/**
 * The broker as a whole, and its shards.
 */
import { z } from 'zod';
import { RATED } from '../management/load.ts';
import { BROKER_COUNTERS, brokerState, SHARD_COUNTERS } from '../management/state-answers.ts';
import { type Route, route } from '../route.ts';

const GROUP = 'Broker';

const numbers = (names: object): Record<string, z.ZodType> => Object.fromEntries(Object.keys(names).map((name) => [name, z.number()]));

export function stateRoutes(): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/broker',
      name: 'getBroker',
      group: GROUP,
      summary: 'The broker in numbers',
      description: 'Sums over all shards. What says how many there are now goes up and down; the rest counts since the start.',
      role: 'viewer',
      answers: {
        200: {
          description: 'The numbers.',
          schema: z.object({
            node: z.string(),
            version: z.string(),
            uptimeSeconds: z.int(),
            shards: z.int(),
            rssBytes: z.int().describe('Memory of the process.'),
            ...numbers(BROKER_COUNTERS),
            publishDropped: z.int().describe('Messages that did not come to somebody who wanted them, for whatever reason.'),
            rates: z.object({ ...numbers(RATED), publishDropped: z.number() }).describe('Per second, over the last ten seconds.'),
          }),
        },
      },
      handle: ({ shard }) => ({ status: 200, body: brokerState(shard) }),
    }),
    route({
      method: 'GET',
      path: '/api/v1/shards',
      name: 'listShards',
      group: GROUP,
      summary: 'What each shard has and does',
      role: 'viewer',
      answers: {
        200: {
          description: 'A row for each.',
          schema: z.object({
            data: z.array(
              z.object({
                shard: z.int(),
                state: z.enum(['serving', 'starting', 'down']).describe('`down`: it has not answered; nothing more is known of it.'),
                uptimeSeconds: z.int().optional(),
                loadPercent: z.number().optional().describe('How much of the last second its event loop was busy.'),
                heapBytes: z.int().optional(),
                heapBytesMax: z.int().optional(),
                externalBytes: z.int().optional().describe('Buffers outside the heap.'),
                storeDegraded: z.boolean().optional(),
                ...Object.fromEntries(Object.keys(SHARD_COUNTERS).map((name) => [name, z.number().optional()])),
              }),
            ),
            next: z.null(),
            total: z.int(),
          }),
        },
      },
      handle: async ({ shard }) => {
        const answers = await new Promise<readonly unknown[]>((resolve) => shard.asks.askAll('shard-state', {}, resolve));
        const data = answers.map((answer, index) => answer ?? { shard: index, state: 'down' });
        return { status: 200, body: { data, next: null, total: data.length } };
      },
    }),
  ];
}
