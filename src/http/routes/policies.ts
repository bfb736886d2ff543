/**
 * Policies: the statements that hold, in their order, and what they would say.
 */
import { z } from 'zod';
import { type TrialResult, type TriedAction, tryAction } from '../../shard/access-trial.ts';
import type { Call } from '../call.ts';
import { askSupervisor } from '../desk.ts';
import { Problem, problem } from '../problem.ts';
import { type Answer, LATER, type Route, route } from '../route.ts';

const GROUP = 'Policies';
const PROBLEMS = ['not-implemented', 'unprocessable', 'conflict'] as const;
/** Beyond this a list is no list that people write. */
const BODY_BYTES_MAX = 4 * 1024 * 1024;

/** What a statement holds is checked where it is read, by the schema of the configuration. */
const written = z.record(z.string(), z.unknown()).describe('A statement as in the configuration: effect, actions, topics, …');

const shown = z
  .object({
    index: z.int().describe('Its place among all, from 0: the first that matches decides.'),
    source: z.enum(['configuration', 'file']).describe('Those of the configuration cannot be changed here.'),
    name: z.string().optional(),
    effect: z.enum(['allow', 'deny']),
    actions: z.array(z.string()),
  })
  .loose();

const list = z.object({
  isOpen: z.boolean().describe('There are no statements, and everyone may do everything.'),
  deniedV3: z.enum(['acknowledge', 'close']),
  file: z.string().nullable().describe('`authorization.file`; null: nothing can be changed here.'),
  revision: z.string().nullable().describe('Another one for each other content of the file.'),
  data: z.array(shown),
  next: z.null(),
  total: z.int(),
});

const changed = list.extend({ index: z.int().nullable().describe('Where the statement stands that this was about.') });

const seen = z.strictObject({
  revision: z
    .string()
    .max(64)
    .optional()
    .describe('The one that you have seen: a change that somebody else has made meanwhile is not overwritten, but answered with 409.'),
});
const place = z.object({ statement: z.string().min(1).max(64).describe('Name of a statement, or its index.') });

function change(call: Call, query: { readonly revision?: string | undefined }, edit: object, status = 200): typeof LATER {
  return askSupervisor(call, 'policies/change', { revision: query.revision ?? null, edit }, (body: object) => ({ status, body }));
}

/** All of them. */
export function policyRoutes(): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/policies',
      name: 'listPolicies',
      group: GROUP,
      summary: 'All statements, in the order in which they are asked',
      role: 'viewer',
      answers: { 200: { description: 'Those of the configuration, then those of the file.', schema: list } },
      handle: (call) => askSupervisor(call, 'policies/list', {}),
    }),
    route({
      method: 'PUT',
      path: '/api/v1/policies',
      name: 'replacePolicies',
      group: GROUP,
      summary: 'Write all statements of the file anew',
      description: 'They hold for all clients at once, connected ones too. An empty list allows nothing.',
      role: 'admin',
      query: seen,
      body: z.strictObject({ statements: z.array(written).max(1000) }),
      bodyBytesMax: BODY_BYTES_MAX,
      problems: PROBLEMS,
      answers: { 200: { description: 'They hold.', schema: changed } },
      example: { body: { statements: [{ effect: 'allow', actions: ['publish', 'subscribe'], topics: ['fleet/${ClientId}/#'] }] } },
      handle: (call, { query, body }) => {
        call.facts = { statements: body.statements.length };
        return change(call, query, { kind: 'replace', statements: body.statements });
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/policies',
      name: 'addPolicy',
      group: GROUP,
      summary: 'Add one statement',
      role: 'admin',
      query: seen,
      body: z.strictObject({
        statement: written,
        index: z
          .int()
          .min(0)
          .nullable()
          .default(null)
          .describe('The place that it gets; what stood there and behind moves on. Null: the end.'),
      }),
      problems: PROBLEMS,
      answers: { 201: { description: 'It holds.', schema: changed } },
      example: { body: { statement: { name: 'no-secrets', effect: 'deny', actions: ['subscribe'], topics: ['secret/#'] }, index: 0 } },
      handle: (call, { query, body }) => {
        call.facts = { statement: body.statement, index: body.index };
        return change(call, query, { kind: 'insert', at: body.index, statement: body.statement }, 201);
      },
    }),
    route({
      method: 'PATCH',
      path: '/api/v1/policies/{statement}',
      name: 'changePolicy',
      group: GROUP,
      summary: 'Change one statement',
      description: 'What is not written stays, and null takes a key away.',
      role: 'admin',
      params: place,
      query: seen.extend({
        index: z.coerce.number().int().min(0).optional().describe('The place that it gets at the same time; absent: it stays where it is.'),
      }),
      body: written,
      problems: [...PROBLEMS, 'not-found'],
      answers: { 200: { description: 'It holds.', schema: changed } },
      example: { params: { statement: 'no-secrets' }, body: { topics: ['secret/#', 'private/#'] } },
      handle: (call, { params, query, body }) => {
        const to = query.index ?? null;
        call.facts = to === null ? { patch: body } : { patch: body, index: to };
        return change(call, query, { kind: 'change', at: params.statement, patch: body, to });
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/policies/{statement}/move',
      name: 'movePolicy',
      group: GROUP,
      summary: 'Give one statement another place',
      role: 'admin',
      params: place,
      query: seen,
      body: z.strictObject({ index: z.int().min(0).describe('Its place from then on.') }),
      problems: [...PROBLEMS, 'not-found'],
      answers: { 200: { description: 'It stands there.', schema: changed } },
      example: { params: { statement: 'no-secrets' }, body: { index: 0 } },
      handle: (call, { params, query, body }) => {
        call.facts = body;
        return change(call, query, { kind: 'move', at: params.statement, to: body.index });
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/policies/{statement}',
      name: 'removePolicy',
      group: GROUP,
      summary: 'Remove one statement',
      role: 'admin',
      params: place,
      query: seen,
      problems: [...PROBLEMS, 'not-found'],
      answers: { 200: { description: 'It holds no more.', schema: changed } },
      example: { params: { statement: 'no-secrets' } },
      handle: (call, { params, query }) => change(call, query, { kind: 'remove', at: params.statement }),
    }),
    testRoute(),
  ];
}

const trial = z
  .strictObject({
    clientId: z.string().max(65_535).default(''),
    username: z.string().max(65_535).nullable().default(null),
    attributes: z.record(z.string(), z.string()).default({}).describe('What its login says of it.'),
    isSuperuser: z.boolean().default(false),
    address: z
      .union([z.ipv4(), z.ipv6(), z.literal('')])
      .default('')
      .describe('IP address; empty: a Unix socket.'),
    action: z.enum(['connect', 'publish', 'subscribe', 'p2p', 'observe']),
    topic: z.string().max(65_535).optional().describe('Of `publish`. An address of a client is judged as `p2p`.'),
    filter: z.string().max(65_535).optional().describe('Of `subscribe` and `observe`; also `$share/group/filter`.'),
    target: z.string().max(65_535).optional().describe('Client ID that `p2p` goes to.'),
    targetAttributes: z
      .record(z.string(), z.string())
      .optional()
      .describe('What the target is; absent: what its session says, and where it has none, nothing.'),
    qos: z.literal([0, 1, 2]).default(0),
    retain: z.boolean().default(false),
  })
  .describe('Whoever would do it, and what.');

const OBJECTS = { publish: 'topic', subscribe: 'filter', observe: 'filter', p2p: 'target' } as const;

const verdict = z.object({
  allowed: z.boolean(),
  by: z.enum(['statement', 'default', 'no-statements', 'superuser', 'broker']).describe('Who or what has decided.'),
  statement: z.int().nullable().describe('Index of the statement that decided; null: none did.'),
  text: z.string().describe('The statement as JSON, or why.'),
});

function testRoute(): Route {
  return route({
    method: 'POST',
    path: '/api/v1/policies/test',
    name: 'testPolicies',
    group: GROUP,
    summary: 'Who may do what',
    description: 'Judged by the statements that hold now, by the same code as what clients do. Nothing is done.',
    role: 'viewer',
    isChange: false,
    body: trial,
    problems: ['unavailable'],
    answers: { 200: { description: 'What the statements say.', schema: verdict } },
    example: { body: { clientId: 'pump-7', action: 'publish', topic: 'fleet/pump-7/up', qos: 1 } },
    handle: (call, { body }) => {
      const { action, clientId, username, address, attributes } = body;
      const needed = action === 'connect' ? null : OBJECTS[action];
      const object = needed === null ? '' : body[needed];
      if (object === undefined || (needed !== null && object === ''))
        throw new Problem('unprocessable', `body.${needed}: ${action} needs it`, { errors: [{ at: `body.${needed}`, message: 'needed' }] });
      const tried: TriedAction = {
        subject: { clientId, username: username ?? undefined, address, attributes },
        isSuperuser: body.isSuperuser,
        action,
        object,
        qos: body.qos,
        retain: body.retain,
        targetAttributes: body.targetAttributes ?? null,
      };
      tryAction(call.shard, tried, (result) => {
        if (result === null) call.answer(problem('unavailable', 'the shard of the target does not answer; try again'));
        else call.answer(verdictOf(result));
      });
      return LATER;
    },
  });
}

function verdictOf({ isAllowed, by, statement, text }: TrialResult): Answer {
  return { status: 200, body: { allowed: isAllowed, by, statement, text } };
}
