/**
 * Subscriptions and Shared Subscription groups: who wants what.
 */
import { z } from 'zod';
import { counter } from '../../shard/counters.ts';
import type { GroupFacts, GroupLag, MemberQuery } from '../management/group-answers.ts';
import { askEach, listPage, PAGE_QUERY, pageAnswer, pageOf } from '../management/pages.ts';
import type { SubscriptionQuery } from '../management/subscription-answers.ts';
import { Problem } from '../problem.ts';
import { type Route, route } from '../route.ts';
import { subscriptionOptions } from './schemas.ts';

const GROUP = 'Subscriptions';
const SUBSCRIPTIONS = counter('subscriptions/count');

const listQuery = z.strictObject({
  filter: z.string().min(1).optional().describe('Exactly this Topic Filter, `$share/…` included.'),
  topic: z.string().min(1).optional().describe('Those that match this topic.'),
  clientId: z.string().optional(),
  group: z.string().min(1).optional().describe('Share name.'),
  ...PAGE_QUERY,
});

const groupFields = {
  name: z.string().describe('Share name.'),
  filter: z.string(),
  members: z.int(),
  online: z.int(),
  lag: z.int().describe('Messages of the group that wait in the queues of its members.'),
  inflight: z.int().describe('Messages that its members have been sent and have not acknowledged, of all their subscriptions.'),
};

const groupPath = z.object({ name: z.string().min(1).describe('Share name.'), filter: z.string().min(1) });

export function subscriptionRoutes(): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/subscriptions',
      name: 'listSubscriptions',
      group: GROUP,
      summary: 'Subscriptions of all clients, page by page',
      role: 'viewer',
      query: listQuery,
      answers: {
        200: { description: 'A page.', schema: pageOf(subscriptionOptions.extend({ clientId: z.string(), topicFilter: z.string() })) },
      },
      example: { query: { topic: 'site/1/temperature' } },
      handle: async (call, { query }) => {
        const { limit, cursor, ...search } = query as z.output<typeof listQuery>;
        const page = await listPage(call, 'subscription-list', search satisfies SubscriptionQuery, { limit, cursor });
        const isCounted = Object.values(search).every((value) => value === undefined);
        return pageAnswer(page, isCounted ? call.shard.sumOfAll(SUBSCRIPTIONS) : undefined);
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/groups',
      name: 'listGroups',
      group: GROUP,
      summary: 'Shared Subscription groups, page by page',
      role: 'viewer',
      query: z.strictObject({ name: z.string().min(1).optional().describe('Share name.'), ...PAGE_QUERY }),
      answers: { 200: { description: 'A page.', schema: pageOf(z.object(groupFields)) } },
      handle: async (call, { query }) => {
        const { limit, cursor, name } = query as { limit: number; cursor?: string; name?: string };
        const page = await listPage<GroupFacts>(call, 'group-list', { group: name }, { limit, cursor }, addUp);
        const lags = await askEach<readonly GroupLag[]>(call, 'group-lags', { groups: page.data });
        const data = page.data.map((group, index) => ({ ...group, ...lagOfAll(lags.map((each) => each[index]!)) }));
        return { status: 200, body: { data, next: page.next } };
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/groups/{name}/{filter...}',
      name: 'getGroup',
      group: GROUP,
      summary: 'One group, and its members page by page',
      role: 'viewer',
      params: groupPath,
      query: z.strictObject({ ...PAGE_QUERY }),
      problems: ['not-found'],
      answers: {
        200: {
          description: 'The group; `data` has its members.',
          schema: z.object({
            ...groupFields,
            strategy: z.string().describe('How the member is chosen that gets a message.'),
            data: z.array(
              z.object({
                clientId: z.string(),
                state: z.enum(['connected', 'disconnected']),
                qos: z.int(),
                lag: z.int(),
                inflight: z.int(),
              }),
            ),
            next: z.string().nullable(),
            total: z.int(),
          }),
        },
      },
      example: { params: { name: 'workers', filter: 'jobs/#' } },
      handle: async (call, { params, query }) => {
        const { name, filter } = params as z.output<typeof groupPath>;
        const share = call.shard.interest.shareOf(name, filter);
        if (share === undefined) throw new Problem('not-found', 'no client has such a Shared Subscription');
        const sum = (counts: Int32Array): number => counts.reduce((all, one) => all + one, 0);
        const member: MemberQuery = { group: name, filter };
        const page = await listPage<object>(call, 'group-members', member, query as { limit: number; cursor?: string });
        const lags = await askEach<readonly GroupLag[]>(call, 'group-lags', { groups: [{ name, filter }] });
        const members = sum(share.memberCounts);
        return {
          status: 200,
          body: {
            name,
            filter,
            strategy: call.shard.settings.mqtt.sharedStrategy,
            members,
            online: sum(share.onlineCounts),
            ...lagOfAll(lags.map((each) => each[0]!)),
            data: page.data,
            next: page.next,
            total: members,
          },
        };
      },
    }),
  ];
}

/** The parts that two shards have of one group. */
function addUp(one: GroupFacts, other: GroupFacts): GroupFacts {
  return { ...one, members: one.members + other.members, online: one.online + other.online };
}

function lagOfAll(parts: readonly GroupLag[]): GroupLag {
  return parts.reduce((all, one) => ({ lag: all.lag + one.lag, inflight: all.inflight + one.inflight }), { lag: 0, inflight: 0 });
}
