/**
 * The OpenAPI 3.1 document of the table of routes.
 */
import { z } from 'zod';
import { PROBLEM_TYPE, PROBLEMS, type ProblemCode } from './problem.ts';
import { mayLackBody } from './read-asked.ts';
import type { Route } from './route.ts';

/** Problems that every route with a role may answer with. */
const OF_CALLERS: readonly ProblemCode[] = ['unauthorized', 'forbidden'];
/** Those of every route. */
const OF_ALL: readonly ProblemCode[] = ['bad-request', 'internal', 'unavailable'];

const problemSchema = {
  type: 'object',
  description: 'Problem details (RFC 9457).',
  required: ['type', 'title', 'status', 'code', 'detail'],
  properties: {
    type: { type: 'string', description: '`urn:onehop:problem:` and the code.' },
    title: { type: 'string' },
    status: { type: 'integer' },
    code: { type: 'string', enum: Object.keys(PROBLEMS), description: 'For programs.' },
    detail: { type: 'string', description: 'For people: what is wrong and what to do.' },
    errors: {
      type: 'array',
      description: 'Each value that is wrong.',
      items: { type: 'object', properties: { at: { type: 'string' }, message: { type: 'string' } }, required: ['at', 'message'] },
    },
  },
};

/** The document. @param version of the broker */
export function openApiDocument(routes: readonly Route[], version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const one of routes) {
    const path = one.path.replace('...}', '}');
    paths[path] ??= {};
    paths[path][one.method.toLowerCase()] = operationOf(one);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'onehop',
      version,
      summary: 'HTTP API of the onehop MQTT broker',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    tags: [...new Set(routes.map(({ group }) => group))].map((name) => ({ name })),
    paths,
    components: {
      schemas: { Problem: problemSchema },
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'An API key (`ohk_…`), or a token that the authenticators take.' },
        basic: { type: 'http', scheme: 'basic', description: 'A username and its password, as for CONNECT.' },
        mutualTls: { type: 'mutualTLS', description: 'A client certificate, judged as for CONNECT: `https` with `verifyClient`.' },
      },
    },
  };
}

/** Every problem that a route may answer with: its own, and what all have that are like it. */
export function problemsOf({ problems, role, body }: Route): readonly ProblemCode[] {
  const codes = new Set<ProblemCode>([...problems, ...(role === null ? [] : OF_CALLERS), ...OF_ALL]);
  if (body !== null) codes.add('too-large');
  if (body !== null && body !== 'bytes') for (const code of ['unprocessable', 'unsupported-media-type'] as const) codes.add(code);
  return [...codes];
}

function operationOf(one: Route): object {
  const { role, body, params, query, example } = one;
  const responses: Record<string, object> = {};
  for (const [status, { description, schema, type }] of Object.entries(one.answers)) {
    const content =
      schema !== undefined
        ? { 'application/json': { schema: jsonSchema(schema, 'output') } }
        : type === undefined
          ? undefined
          : { [type]: { schema: { type: 'string' } } };
    responses[status] = { description, ...(content !== undefined && { content }) };
  }
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of problemsOf(one)) {
    const [status] = PROBLEMS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  for (const [status, codes] of byStatus)
    responses[status] = {
      description: codes.map((code) => `\`${code}\`: ${PROBLEMS[code][1]}.`).join(' '),
      content: { [PROBLEM_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } } },
    };
  return {
    operationId: one.name,
    tags: [one.group],
    summary: one.summary,
    ...(one.description !== undefined && { description: one.description }),
    ...(role === null ? { security: [] } : { security: [{ bearer: [] }, { basic: [] }, { mutualTls: [] }], 'x-role': role }),
    parameters: [
      ...[...one.path.matchAll(/\{(\w+)(?:\.\.\.)?\}/g)].map(([, name]) => pathParameter(name!, params, example?.params)),
      ...queryParameters(query, example?.query),
      ...Object.entries(one.headerFacts).map(([name, description]) => ({
        name,
        in: 'header',
        required: false,
        description,
        schema: { type: 'string' },
      })),
    ],
    ...(body !== null && {
      requestBody:
        body === 'bytes'
          ? { required: false, content: { '*/*': { schema: {} } } }
          : { required: !mayLackBody(one), content: { 'application/json': { schema: jsonSchema(body, 'input') } } },
    }),
    responses,
  };
}

function pathParameter(name: string, params: z.ZodType | null, example: object | undefined): object {
  const schema = params === null ? { type: 'string' } : (propertiesOf(params)[name] ?? { type: 'string' });
  return { name, in: 'path', required: true, ...described(schema), ...shownBy(memberOf(example, name)) };
}

function queryParameters(query: z.ZodType | null, example: object | undefined): object[] {
  if (query === null) return [];
  const schema = jsonSchema(query, 'input') as { readonly required?: readonly string[] };
  const required = new Set(schema.required ?? []);
  return Object.entries(propertiesOf(query)).map(([name, one]) => ({
    name,
    in: 'query',
    required: required.has(name),
    ...described(one),
    ...shownBy(memberOf(example, name)),
  }));
}

function memberOf(example: object | undefined, name: string): unknown {
  return (example as Readonly<Record<string, unknown>> | undefined)?.[name];
}

function shownBy(example: unknown): object {
  return example === undefined ? {} : { example };
}

/** OpenAPI has the description of a parameter beside its schema. */
function described(schema: Readonly<Record<string, unknown>>): object {
  const { description, ...rest } = schema;
  return { ...(description !== undefined && { description }), schema: rest };
}

function propertiesOf(schema: z.ZodType): Record<string, Record<string, unknown>> {
  return ((jsonSchema(schema, 'input') as { properties?: object }).properties ?? {}) as Record<string, Record<string, unknown>>;
}

function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): object {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Record<string, unknown>;
  return rest;
}
