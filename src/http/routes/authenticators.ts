/**
 * Authenticators: who judges logins, in their order. Those of the configuration are shown; those of `auth.file` can be changed.
 */
import { z } from 'zod';
import type { Call } from '../call.ts';
import { askSupervisor } from '../desk.ts';
import { type LATER, type Route, route } from '../route.ts';

const GROUP = 'Logins';
const PROBLEMS = ['not-implemented', 'unprocessable', 'conflict'] as const;

const shown = z.object({
  place: z.int().describe('Among all, from 0: the first that says yes or no decides.'),
  name: z.string().nullable().describe('Null: one of the configuration, which cannot be changed here.'),
  of: z.enum(['configuration', 'file']),
  isActive: z.boolean().describe('False: it is not asked.'),
  remark: z.string(),
  type: z.enum(['users', 'scram', 'devices', 'jwt', 'http', 'certificate']),
  source: z.string().nullable().describe('File or address; null: it has its key itself, or needs none.'),
  accepted: z.int(),
  refused: z.int(),
  ignored: z.int().describe('Logins that it left to the next.'),
  failed: z.int().describe('Logins that it could not judge.'),
  breaker: z.enum(['closed', 'open', 'trying']).nullable().describe('Of services: `open`, it is given up for a while.'),
  waiting: z.int().nullable().describe('Of services: logins that wait for their turn.'),
});

const list = z.object({
  allowAnonymous: z.boolean(),
  file: z.string().nullable().describe('`auth.file`; null: nothing can be changed here.'),
  revision: z.string().nullable().describe('Another one for each other content of the file.'),
  data: z.array(shown),
  next: z.null(),
  total: z.int(),
});

/** What an authenticator holds is checked where it is read, by the schema of the configuration. */
const facts = z.record(z.string(), z.unknown());

/** For the descriptions of the routes. */
const FACTS =
  'Its keys are those of the configuration for the type `jwt` or `http` (docs/authentication.md); instead of files, `secretText`, `publicKeyText` or `jwksText` hold the key itself. `isActive` and `remark` may stand beside them.';

const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, { error: 'a name has 1 to 64 of A-Z a-z 0-9 . _ -' });

const query = z.strictObject({
  revision: z
    .string()
    .max(64)
    .optional()
    .describe('The one that you have seen: a change that somebody else has made meanwhile is not overwritten, but answered with 409.'),
});

const place = z.coerce
  .number()
  .int()
  .min(0)
  .optional()
  .describe('The place that it gets among those of the file, from 0; what stood there and behind moves on.');

/** Values that may be secrets stay out of the audit log. */
const PUBLIC_KEYS: readonly string[] = [
  'name',
  'type',
  'isActive',
  'remark',
  'from',
  'algorithms',
  'issuer',
  'audience',
  'method',
  'concurrency',
];

function change(call: Call, revision: string | undefined, edit: object, status = 200): typeof LATER {
  return askSupervisor(call, 'authenticators/change', { revision: revision ?? null, edit }, (body: object) => ({ status, body }));
}

function factsToLog(written: Readonly<Record<string, unknown>>): object {
  return Object.fromEntries(Object.entries(written).map(([key, value]) => [key, loggedAs(key, value)]));
}

function loggedAs(key: string, value: unknown): unknown {
  if (value === null || PUBLIC_KEYS.includes(key)) return value;
  // To whom passwords are sent must be found later; the rest of an address may be a secret.
  const isAddress = (key === 'url' || key === 'jwksUrl') && typeof value === 'string' && URL.canParse(value);
  return isAddress ? `${new URL(value).origin}/***` : '***';
}

/** All of them. */
export function authenticatorRoutes(): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/authenticators',
      name: 'listAuthenticators',
      group: GROUP,
      summary: 'Who judges logins, in their order, and what they have said since they were made',
      role: 'viewer',
      answers: { 200: { description: 'Those of the configuration, then those of the file.', schema: list } },
      handle: (call) => askSupervisor(call, 'authenticators/list', {}),
    }),
    route({
      method: 'POST',
      path: '/api/v1/authenticators',
      name: 'addAuthenticator',
      group: GROUP,
      summary: 'Add an authenticator of tokens, or a service that is asked',
      description: `It judges logins from now on. Clients that are connected stay. ${FACTS}`,
      role: 'admin',
      query: query.extend({ place }),
      body: z.object({ name }).catchall(z.unknown()),
      problems: PROBLEMS,
      answers: { 201: { description: 'It judges.', schema: list } },
      example: { body: { name: 'tokens', type: 'jwt', algorithms: ['ES256'], jwksUrl: 'http://127.0.0.1:9/keys' } },
      handle: (call, { query: { revision, place: at }, body }) => {
        call.facts = { name: body.name, authenticator: factsToLog(body) };
        return change(call, revision, { kind: 'insert', at: at ?? null, authenticator: body }, 201);
      },
    }),
    route({
      method: 'PATCH',
      path: '/api/v1/authenticators/{name}',
      name: 'changeAuthenticator',
      group: GROUP,
      summary: 'Change an authenticator of the file, or switch it off or on',
      description: `What is not written stays, keys among it, and null takes a key away. \`isActive: false\` switches it off. Clients that are connected stay. Headers and body are not sent to another address: write them anew with it. ${FACTS}`,
      role: 'admin',
      params: z.object({ name }),
      query: query.extend({ place }),
      body: facts,
      problems: [...PROBLEMS, 'not-found'],
      answers: { 200: { description: 'It holds.', schema: list } },
      example: { params: { name: 'tokens' }, body: { isActive: false } },
      handle: (call, { params, query: { revision, place: to }, body }) => {
        call.facts = { name: params.name, patch: factsToLog(body) };
        return change(call, revision, { kind: 'change', name: params.name, patch: body, to: to ?? null });
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/authenticators/{name}',
      name: 'removeAuthenticator',
      group: GROUP,
      summary: 'Remove an authenticator of the file',
      description: 'Clients that it has let in stay connected; kick them, if they are not to.',
      role: 'admin',
      params: z.object({ name }),
      query,
      problems: [...PROBLEMS, 'not-found'],
      answers: { 200: { description: 'It judges no more.', schema: list } },
      example: { params: { name: 'tokens' } },
      handle: (call, { params, query: { revision } }) => {
        call.facts = { name: params.name };
        return change(call, revision, { kind: 'remove', name: params.name });
      },
    }),
  ];
}
