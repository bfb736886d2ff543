/**
 * Users: who logs in by name and password. Changes hold at once; whoever has lost by one is disconnected.
 */
import { z } from 'zod';
import { askSupervisor, authenticatorQuery, done, pageOf, pageQuery } from '../desk.ts';
import { type Route, route } from '../route.ts';

const GROUP = 'Users';
const PROBLEMS = ['not-found', 'not-implemented', 'unprocessable', 'conflict'] as const;

const place = z.strictObject({ authenticator: authenticatorQuery });
const name = z.object({ username: z.string().min(1).max(128) });

const facts = {
  attributes: z.record(z.string(), z.string()).optional().describe('What statements may ask for.'),
  isSuperuser: z.boolean().optional().describe('Is not judged by statements, and is `admin` in the HTTP API.'),
  remark: z.string().max(128).optional(),
  scram: z.boolean().optional().describe('Whether the user may log in by SCRAM-SHA-256, too.'),
};

const password = z.string().min(1).max(1024).optional();

const user = z.object({
  username: z.string(),
  attributes: z.record(z.string(), z.string()),
  isSuperuser: z.boolean(),
  remark: z.string(),
  scram: z.boolean(),
});

const withPassword = user.extend({ password: z.string().optional().describe('The one that was made; nobody can be told it again.') });

/** All of them. */
export function userRoutes(): readonly Route[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/users',
      name: 'listUsers',
      group: GROUP,
      summary: 'Users, in the order of their names',
      role: 'viewer',
      query: place.extend({ prefix: z.string().max(128).default('').describe('Beginning of the names.'), ...pageQuery }),
      problems: ['not-found', 'not-implemented'],
      answers: { 200: { description: 'A page.', schema: pageOf(user) } },
      handle: (call, { query }) => askSupervisor(call, 'users/list', query),
    }),
    route({
      method: 'POST',
      path: '/api/v1/users',
      name: 'addUser',
      group: GROUP,
      summary: 'Add a user',
      description: 'Without `password` one is made, and told once.',
      role: 'admin',
      query: place,
      body: z.strictObject({ username: z.string().min(1).max(128), password, ...facts }),
      problems: PROBLEMS,
      answers: { 201: { description: 'Added; may log in.', schema: withPassword } },
      example: { body: { username: 'pump-7', attributes: { group: 'a' } } },
      handle: (call, { query, body }) => {
        const { username, password: text, ...change } = body;
        call.facts = { username, ...change };
        return askSupervisor(call, 'users/add', { ...query, username, password: text, change }, (added: z.output<typeof withPassword>) => ({
          status: 201,
          body: added,
          headers: [['Location', `/api/v1/users/${encodeURIComponent(username)}`]],
        }));
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/users/{username}',
      name: 'getUser',
      group: GROUP,
      summary: 'One user',
      role: 'viewer',
      params: name,
      query: place,
      problems: ['not-found', 'not-implemented'],
      answers: { 200: { description: 'The user.', schema: user } },
      example: { params: { username: 'ann' } },
      handle: (call, { params, query }) => askSupervisor(call, 'users/read', { ...query, ...params }),
    }),
    route({
      method: 'PUT',
      path: '/api/v1/users/{username}',
      name: 'changeUser',
      group: GROUP,
      summary: 'Change a user',
      description: 'What is not written stays. Another password, other attributes and other rights disconnect the clients of this user.',
      role: 'admin',
      params: name,
      query: place,
      body: z
        .strictObject({ password, generatePassword: z.boolean().optional().describe('Make a password, and tell it once.'), ...facts })
        .refine((body) => body.password === undefined || body.generatePassword !== true, { error: 'one of password and generatePassword' }),
      problems: PROBLEMS,
      answers: { 200: { description: 'The user as it is now.', schema: withPassword } },
      example: { params: { username: 'pump-7' }, body: { attributes: { group: 'b' } } },
      handle: (call, { params, query, body }) => {
        const { password: text, generatePassword, ...change } = body;
        call.facts = { ...change, password: text !== undefined || generatePassword === true ? 'another one' : undefined };
        return askSupervisor(call, 'users/change', { ...query, ...params, password: text, generatePassword, change });
      },
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/users/{username}',
      name: 'removeUser',
      group: GROUP,
      summary: 'Remove a user',
      description: 'Its clients are disconnected.',
      role: 'admin',
      params: name,
      query: place,
      problems: ['not-found', 'not-implemented'],
      answers: { 204: { description: 'Removed.' } },
      example: { params: { username: 'ann' } },
      handle: (call, { params, query }) => askSupervisor(call, 'users/remove', { ...query, ...params }, done),
    }),
  ];
}
