/**
 * Goal: the HTTP API is what its document says, for good and for bad requests, for every role.
 * Method: every route of the table is called on a real broker with two shards: without credentials, as each role, with its example, with values made of its schemas, and with
 * requests that are wrong in one place. No status is 500, each is one that the document names, each body is as its schema says, and every shard goes on. SEED=n repeats a run.
 */
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, type TestContext, test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { mayAs, ROLES, type Role } from '../../src/http/role.ts';
import type { Route } from '../../src/http/route.ts';
import { allRoutes } from '../../src/http/routes.ts';
import { Random } from '../sim/random.ts';
import { ContractBroker, REQUEST_BYTES } from './contract-broker.ts';
import { CUT, type Got, looksAtQuery, mayWait, Requests, type Sent, send } from './contract-requests.ts';

const { SEED } = process.env;
const seed = SEED === undefined ? Date.now() % 0x7fffffff : Number(SEED);
process.stdout.write(`SEED=${seed}\n`);

/** Requests made of schemas, for each route. */
const BY_CHANCE = 5;
/** Requests of one route at a time. */
const AT_ONCE = 8;
/** What any request may be told whatever it asks: the path leads nowhere, its head is too large. */
const OF_ANY = [404, 431];

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
  readonly parameters: readonly { readonly name: string; readonly schema: object }[];
  readonly responses: Readonly<Record<string, { readonly content?: Readonly<Record<string, { readonly schema: object }>> }>>;
}

interface Document {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

const ajv = new Ajv2020({ strict: false, allErrors: true });
(addFormats as unknown as (to: Ajv2020) => void)(ajv);
const agent = new http.Agent({ keepAlive: true, maxSockets: AT_ONCE });
const validators = new Map<object, ValidateFunction>();
let document: Document;
let broker: ContractBroker;
let stop = async (): Promise<void> => {};

before(async () => {
  broker = await ContractBroker.start();
  stop = () => broker.stop();
  document = (await broker.json('GET', '/openapi.json', 'admin')) as Document;
  ajv.addSchema(document, 'document');
});
after(async () => {
  agent.destroy();
  await stop();
});

/** Changes come after what only looks, ends after all: each finds something. */
const rank: Readonly<Record<string, number>> = { GET: 0, POST: 1, PUT: 2, PATCH: 3, DELETE: 4 };
const routes = [...allRoutes()].sort((a, b) => rank[a.method]! - rank[b.method]!);

function operationOf(route: Route): Operation {
  const operation = document.paths[route.path.replace('...}', '}')]?.[route.method.toLowerCase()];
  assert.ok(operation, `${route.method} ${route.path} is not in the document`);
  return operation;
}

function validatorOf(schema: object): ValidateFunction {
  let validator = validators.get(schema);
  if (validator === undefined) {
    const { $ref } = schema as { readonly $ref?: string };
    validator = $ref === undefined ? ajv.compile(schema) : ajv.compile({ $ref: `document${$ref}` });
    validators.set(schema, validator);
  }
  return validator;
}

/** What is wrong with an answer by the document; null: nothing. */
function faultOf(route: Route, sent: Sent, got: Got): string | null {
  const { status, type, text } = got;
  if (status === CUT) return sent.statuses?.includes(413) === true ? null : 'the connection was ended';
  if (status === 0) return mayWait(route) ? null : 'there was no answer';
  if (status === 500) return `500: ${text} ${broker.failure(got.id)}`;
  if (sent.statuses !== null && !sent.statuses.includes(status) && status !== 431)
    return `${status} instead of ${sent.statuses.join(' or ')}: ${text.slice(0, 300)}`;
  if (sent.says !== undefined && status < 431 && !text.includes(sent.says)) return `it does not say “${sent.says}”: ${text.slice(0, 300)}`;
  const response = operationOf(route).responses[status];
  // uWebSockets.js itself refuses what is no HTTP request.
  if (status === 431 || (status === 400 && type.startsWith('text/html'))) return null;
  if (response === undefined) return OF_ANY.includes(status) ? null : `the document has no ${status}: ${text.slice(0, 300)}`;
  if (status === 204 && got.length !== '') return `204 with the length ${got.length}`;
  const content = response.content;
  if (content === undefined) return text === '' ? null : `the document says nothing of a body for ${status}: ${text.slice(0, 100)}`;
  const [documented, schema] = Object.entries(content)[0]!;
  if (!type.startsWith(documented)) return `${status} is ${type} instead of ${documented}`;
  if (!documented.endsWith('json')) return null;
  const validate = validatorOf(schema.schema);
  if (validate(JSON.parse(text))) return null;
  return `${status} is not as its schema says: ${ajv.errorsText(validate.errors)}: ${text.slice(0, 400)}`;
}

/** Sends all of them, a few at a time. @returns what is wrong */
async function faultsOf(route: Route, requests: Iterable<Sent>, role: Role): Promise<string[]> {
  const waiting = [...requests];
  const faults: string[] = [];
  const headers = { authorization: `Bearer ${broker.keys[role]}` };
  const next = async (): Promise<void> => {
    for (let sent = waiting.shift(); sent !== undefined; sent = waiting.shift()) {
      const got = await send(agent, broker.port, { ...sent, headers: { ...headers, ...sent.headers } }, route);
      const fault =
        faultOf(route, sent, got) ??
        (got.status === 401 || (got.status === 403 && role === 'admin' && route.role !== 'service') ? `${got.status} for ${role}` : null);
      if (fault !== null) faults.push(`${sent.method} ${sent.target.slice(0, 160)} (${sent.what}): ${fault}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, next));
  return faults;
}

/** As nobody and as each role: who is too low is refused, whoever is not is not. */
async function callerFaults(route: Route, good: Sent): Promise<string[]> {
  const faults: string[] = [];
  const nobody = await send(agent, broker.port, good, route);
  if (route.role === null) return [faultOf(route, good, nobody)].filter((fault) => fault !== null);
  if (nobody.status !== 401) faults.push(`${nobody.status} without credentials`);
  const wrong = await send(agent, broker.port, { ...good, headers: { ...good.headers, authorization: 'Bearer ohk_nobody_x' } }, route);
  if (wrong.status !== 401) faults.push(`${wrong.status} with a wrong key`);
  for (const role of ROLES) {
    const may = mayAs(role, route.role);
    const sent = { ...good, headers: { ...good.headers, authorization: `Bearer ${broker.keys[role]}` }, statuses: may ? null : [403] };
    const got = await send(agent, broker.port, sent, route);
    const fault = faultOf(route, sent, got) ?? (may && (got.status === 401 || got.status === 403) ? `${got.status}: ${got.text}` : null);
    if (fault !== null) faults.push(`as ${role}: ${fault}`);
    // An example that is wrong itself would show nothing. Certificates are too long to be shown whole, and then nothing else may be wrong.
    const isWhole = !JSON.stringify(route.example).includes('…');
    if (may && !isWhole && !(got.status === 422 && /this is no certificate in PEM/.test(got.text)))
      faults.push(`its example without a certificate: ${got.status} ${got.text}`);
    if (may && isWhole && route.example !== null && (got.status === 400 || got.status === 422 || got.status === 415))
      faults.push(`its example is refused: ${got.text}`);
  }
  return faults;
}

function none(faults: readonly string[]): void {
  assert.equal(
    faults.length,
    0,
    `\n${faults.slice(0, 12).join('\n')}${faults.length > 12 ? `\n… and ${faults.length - 12} more` : ''}\n(SEED=${seed})`,
  );
}

describe('the document', () => {
  test('is valid OpenAPI 3.1', async () => {
    assert.match(document.openapi, /^3\.1\./);
    const { valid, errors } = await new Validator().validate(structuredClone(document) as unknown as Record<string, unknown>);
    assert.ok(valid, JSON.stringify(errors, null, 1));
  });

  test('has every route once, under a name of its own, with what it asks and answers', () => {
    const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
    assert.equal(operations.length, routes.length);
    const faults: string[] = [];
    const names = new Set<string>();
    for (const route of routes) {
      const { operationId, responses, summary, tags, parameters } = operationOf(route);
      const say = (text: string): void => void faults.push(`${route.method} ${route.path}: ${text}`);
      if (names.has(operationId)) say(`its name ${operationId} is taken`);
      names.add(operationId);
      if (!/^[a-z][A-Za-z0-9]+$/.test(operationId)) say(`${operationId} is no name`);
      if (summary === '' || tags.length !== 1) say('no summary, or no group');
      if (route.description === undefined && !Object.keys(responses).some((status) => Number(status) < 400))
        say('no answer that is no problem');
      // A certificate fits into no example.
      const isJson = route.body !== null && route.body !== 'bytes' && !/PEM/.test(JSON.stringify(operationOf(route)));
      const needs = isJson || route.query?.safeParse({}).success === false;
      if (route.role !== null && needs && route.example === null) say('no example');
      for (const { name, schema } of parameters) if (Object.keys(schema).length === 0) say(`no type of ${name}`);
      for (const { content } of Object.values(responses))
        for (const { schema } of Object.values(content ?? {}))
          try {
            validatorOf(schema);
          } catch (error) {
            say((error as Error).message);
          }
    }
    none(faults);
  });
});

test('only what probes and browsers ask ignores parameters that it does not know', () => {
  const ignoring = routes.filter((route) => !looksAtQuery(route)).map(({ path }) => path);
  assert.deepEqual(ignoring.sort(), ['/', '/console', '/console/{file...}', '/healthz', '/metrics', '/openapi.json', '/readyz']);
});

describe('every route', () => {
  for (const [index, route] of routes.entries())
    test(`${route.method} ${route.path}`, async (t: TestContext) => {
      const random = new Random(seed + index);
      const requests = new Requests(route, random, REQUEST_BYTES);
      await broker.ready(t);
      const faults = await callerFaults(route, requests.good());
      await broker.ready(t);
      faults.push(...(await faultsOf(route, requests.goodByChance(BY_CHANCE), 'admin')));
      await broker.ready(t);
      faults.push(...(await faultsOf(route, requests.bad(), route.role ?? 'service')));
      await broker.ready(t);
      none([...faults, ...broker.takeFailures()]);
    });
});
