/**
 * Who may come at all: block rules and API keys.
 */
import { z } from 'zod';
import { askSupervisor, done, isoTime } from '../desk.ts';
import { Problem } from '../problem.ts';
import { ROLES } from '../role.ts';
import { type Route, route } from '../route.ts';

/** Ten years. */
const SECONDS_MAX = 315_360_000;

const until = {
  expiresAt: isoTime.nullish().describe('Until when it counts; null or absent: it has no end.'),
  seconds: z.int().min(1).max(SECONDS_MAX).optional().describe('How long it counts, instead.'),
};

interface End {
  readonly expiresAt?: string | null | undefined;
  readonly seconds?: number | undefined;
}

/** When something ends, in wall milliseconds; 0: never. @throws Problem */
function endOf({ expiresAt = null, seconds }: End): number {
  if (expiresAt !== null && seconds !== undefined) throw new Problem('unprocessable', 'body.seconds: give one of seconds and expiresAt');
  if (seconds !== undefined) return Date.now() + seconds * 1000;
  if (expiresAt === null) return 0;
  const end = Date.parse(expiresAt);
  if (end <= Date.now()) throw new Problem('unprocessable', 'body.expiresAt: this time has passed');
  return end;
}

/** All of them. */
export function accessRoutes(): readonly Route[] {
  return [...blockRoutes(), ...apiKeyRoutes()];
}

function blockRoutes(): readonly Route[] {
  const group = 'Block rules';
  const name = z.string().regex(/^[A-Za-z0-9-]{1,64}$/, { error: 'a name has 1 to 64 of A-Z a-z 0-9 and -' });
  const facts = {
    kind: z.enum(['client-id', 'username', 'address']),
    include: z.string().min(1).max(1024).describe('Pattern with * and ?, or a network such as 10.0.0.0/8.'),
    excludes: z.array(z.string().max(1024)).max(16).default([]).describe('Who may connect all the same.'),
    remark: z.string().max(128).default(''),
  };
  const shown = z.object({ name, ...facts, expiresAt: isoTime.nullable().describe('Null: never.'), hasEnded: z.boolean() });
  const ruleOf = ({ expiresAt, seconds, ...rest }: End): Record<string, unknown> => {
    const end = endOf({ expiresAt, seconds });
    return { ...rest, expiresAt: end === 0 ? null : new Date(end).toISOString() };
  };
  return [
    route({
      method: 'GET',
      path: '/api/v1/block-rules',
      name: 'listBlockRules',
      group,
      summary: 'Rules about who may not connect',
      role: 'viewer',
      problems: ['not-implemented'],
      answers: { 200: { description: 'All of them.', schema: z.object({ data: z.array(shown) }) } },
      handle: (call) => askSupervisor(call, 'block-rules/list', {}),
    }),
    route({
      method: 'POST',
      path: '/api/v1/block-rules',
      name: 'addBlockRule',
      group,
      summary: 'Block clients',
      description: 'Those that are connected are disconnected.',
      role: 'admin',
      body: z.strictObject({ name, ...facts, ...until }),
      problems: ['not-implemented', 'conflict', 'unprocessable'],
      answers: { 201: { description: 'It holds.', schema: shown } },
      example: { body: { name: 'stolen', kind: 'client-id', include: 'pump-*', excludes: ['pump-1'], seconds: 7200 } },
      handle: (call, { body }) => {
        const rule = ruleOf(body);
        call.facts = rule;
        return askSupervisor(call, 'block-rules/add', { rule }, (result: object) => ({ status: 201, body: result }));
      },
    }),
    route({
      method: 'PUT',
      path: '/api/v1/block-rules/{name}',
      name: 'changeBlockRule',
      group,
      summary: 'Another rule in place of one',
      description: 'Without a moment in which neither holds. Those whom it blocks now are disconnected.',
      role: 'admin',
      params: z.object({ name: z.string().min(1).max(64) }),
      body: z.strictObject({ ...facts, ...until }),
      problems: ['not-found', 'not-implemented', 'unprocessable'],
      answers: { 200: { description: 'It holds.', schema: shown } },
      example: { params: { name: 'stolen' }, body: { kind: 'client-id', include: 'pump-*', excludes: ['pump-1', 'pump-2'] } },
      handle: (call, { params, body }) => {
        const rule = { name: params.name, ...ruleOf(body) };
        call.facts = rule;
        return askSupervisor(call, 'block-rules/change', { rule });
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/block-rules/{name}',
      name: 'removeBlockRule',
      group,
      summary: 'Take a rule away',
      role: 'admin',
      params: z.object({ name: z.string().min(1).max(64) }),
      problems: ['not-found', 'not-implemented'],
      answers: { 204: { description: 'It holds no more.' } },
      example: { params: { name: 'stolen' } },
      handle: (call, { params }) => askSupervisor(call, 'block-rules/remove', params, done),
    }),
  ];
}

function apiKeyRoutes(): readonly Route[] {
  const group = 'API keys';
  const shown = z.object({
    id: z.string(),
    role: z.enum(ROLES),
    username: z.string().describe('By which statements judge what it publishes.'),
    expiresAt: isoTime.nullable(),
    createdAt: isoTime,
    hasEnded: z.boolean(),
    remark: z.string(),
  });
  return [
    route({
      method: 'GET',
      path: '/api/v1/api-keys',
      name: 'listApiKeys',
      group,
      summary: 'API keys, without their secrets',
      role: 'viewer',
      problems: ['not-implemented'],
      answers: { 200: { description: 'All of them.', schema: z.object({ data: z.array(shown) }) } },
      handle: (call) => askSupervisor(call, 'api-keys/list', {}),
    }),
    route({
      method: 'POST',
      path: '/api/v1/api-keys',
      name: 'addApiKey',
      group,
      summary: 'Make an API key',
      description: 'The answer has the key. Nobody can be told it again.',
      role: 'admin',
      body: z.strictObject({
        id: z.string().min(1).max(32).optional().describe('Small letters and digits; absent: one is made.'),
        role: z.enum(ROLES),
        username: z.string().max(128).default('').describe('By which statements judge what it publishes; empty: `api-key-` and its ID.'),
        remark: z.string().max(128).default(''),
        ...until,
      }),
      problems: ['not-implemented', 'conflict', 'unprocessable'],
      answers: { 201: { description: 'It counts.', schema: shown.extend({ token: z.string() }) } },
      example: { body: { id: 'backup', role: 'viewer', remark: 'nightly' } },
      handle: (call, { body }) => {
        const { expiresAt, seconds, ...facts } = body;
        const end = endOf({ expiresAt, seconds });
        return askSupervisor(call, 'api-keys/add', { ...facts, expiresAt: end }, (added: z.output<typeof shown>) => {
          call.facts = { id: added.id, role: added.role, username: added.username };
          return { status: 201, body: added };
        });
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/api-keys/{id}',
      name: 'removeApiKey',
      group,
      summary: 'Remove an API key',
      description: 'It is refused from then on.',
      role: 'admin',
      params: z.object({ id: z.string().min(1).max(32) }),
      problems: ['not-found', 'not-implemented'],
      answers: { 204: { description: 'Removed.' } },
      example: { params: { id: 'backup' } },
      handle: (call, { params }) => askSupervisor(call, 'api-keys/remove', params, done),
    }),
  ];
}
