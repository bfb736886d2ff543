/*
 * Requests of the contract test: good ones from a route's example and schemas, and bad ones made of good ones. All chance comes from one seed.
 */
import http from 'node:http';
import { createGeneratorSync, type JsonSchema } from 'json-schema-faker';
import { z } from 'zod';
import { mayLackBody } from '../../src/http/read-asked.ts';
import type { Route } from '../../src/http/route.ts';
import type { Random } from '../sim/random.ts';

type Values = Readonly<Record<string, unknown>>;

/** What a test sends. */
export interface Sent {
  /** Says in a failure what is special about it. */
  readonly what: string;
  readonly method: string;
  /** With the query, as it goes over the wire. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array | null;
  /** Sent in chunks, without a length. */
  readonly isChunked?: boolean;
  /** Statuses that it must have, where that is known; else any that the document names. */
  readonly statuses: readonly number[] | null;
  /** Stands in the answer. */
  readonly says?: string;
}

export interface Got {
  /** 0: no answer within the time that was given. */
  readonly status: number;
  readonly type: string;
  readonly id: string;
  /** The header, '' for none. */
  readonly length: string;
  readonly text: string;
}

/** For `Got.status`: the broker has ended the connection while a body was still sent. After a refusal it takes no more of it. */
export const CUT = -1;

/** Longest wait for an answer of a route that may wait itself: such a request is ended by its client. */
const IMPATIENT_MILLISECONDS = 300;
const PATIENT_MILLISECONDS = 20_000;

/** Of what is made of schemas. */
const TEXT_MAX = 40;
const ITEMS_MAX = 5;

/** Values that most parameters do not take, and none may break over. */
const ODD_TEXTS = ['', 'x', '-1', '1.5', '1e400', '99999999999999999999', 'null', '[]', '../..', '+/#', '\u0000', 'é😀', 'x'.repeat(3_000)];
/** The same, as bytes of a URL that mean no text. */
const ODD_ENCODINGS = ['%', '%zz', '%FF%FE', '%00', '%C0%AF', '%ED%A0%80', '%2F%2e%2e%2F'];
const ODD_VALUES: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e308,
  '',
  '\u0000',
  '\ud800',
  'x'.repeat(20_000),
  [],
  [null],
  {},
  { a: { b: [] } },
];

/** Whether a route answers when something has happened, or with a stream, and may so take longer than a test. */
export function mayWait(route: Route): boolean {
  return route.problems.includes('timeout') || Object.values(route.answers).some(({ type }) => type === 'text/event-stream');
}

/** Whether the route refuses parameters that it does not know. */
export function looksAtQuery({ query, readQuery }: Route): boolean {
  return query !== null || readQuery !== null;
}

/** Sends, and reads the whole answer; of a stream only its head. */
export function send(agent: http.Agent, port: number, sent: Sent, route: Route | null): Promise<Got> {
  const { method, target, headers, body, isChunked } = sent;
  return new Promise((resolve, reject) => {
    const length = body === null || isChunked === true ? {} : { 'content-length': String(Buffer.byteLength(body)) };
    const request = http.request({ agent, host: '127.0.0.1', port, method, path: target, headers: { ...headers, ...length } });
    const timer = setTimeout(
      () => {
        request.destroy();
        resolve({ status: 0, type: '', id: '', length: '', text: '' });
      },
      route !== null && mayWait(route) ? IMPATIENT_MILLISECONDS : PATIENT_MILLISECONDS,
    );
    let isAnswered = false;
    request.on('error', (error) => {
      clearTimeout(timer);
      if (isAnswered) return;
      const { code } = error as NodeJS.ErrnoException;
      if (body !== null && (code === 'EPIPE' || code === 'ECONNRESET')) resolve({ status: CUT, type: '', id: '', length: '', text: '' });
      else reject(new Error(`${method} ${target.slice(0, 200)} (${sent.what}): ${error.message}`));
    });
    request.on('response', (answer) => {
      isAnswered = true;
      const type = answer.headers['content-type'] ?? '';
      const head = {
        status: answer.statusCode!,
        type,
        id: String(answer.headers['x-request-id'] ?? ''),
        length: answer.headers['content-length'] ?? '',
      };
      if (type.startsWith('text/event-stream')) {
        clearTimeout(timer);
        request.destroy();
        resolve({ ...head, text: '' });
        return;
      }
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      answer.on('close', () => {
        clearTimeout(timer);
        resolve({ ...head, text });
      });
    });
    if (body === null) request.end();
    else request.end(body);
  });
}

/** Makes requests to one route. */
export class Requests {
  private readonly route: Route;
  private readonly random: Random;
  private readonly bodyBytesMax: number;
  private readonly generator: { generate(schema: JsonSchema): unknown };

  /** @param bodyBytesMax `http.requestSize` of the broker */
  constructor(route: Route, random: Random, bodyBytesMax: number) {
    this.route = route;
    this.random = random;
    this.bodyBytesMax = route.bodyBytesMax === 0 ? bodyBytesMax : route.bodyBytesMax;
    this.generator = createGeneratorSync({ seed: random.below(0x7fffffff), maxDefaultItems: 3, optionalsProbability: 0.5 });
  }

  /** The example, or what the schemas say where there is none. */
  good(): Sent {
    const { example } = this.route;
    const params = (example?.params ?? this.generated(this.route.params) ?? {}) as Values;
    const query = (example?.query ?? {}) as Values;
    const body = example?.body ?? (this.route.body === 'bytes' ? 'hello' : this.generated(this.route.body));
    return this.request('the example', params, query, body, null);
  }

  /** Values that the schemas allow, by chance; what the schemas cannot say in JSON may be wrong with them. */
  *goodByChance(count: number): Generator<Sent> {
    const { params, query, body, example } = this.route;
    for (let n = 0; n < count; n++) {
      const values = {
        params: (example?.params ?? this.generated(params) ?? {}) as Values,
        query: (this.generated(query) ?? {}) as Values,
        body: body === 'bytes' ? this.bytes() : this.generated(body),
      };
      yield this.request('made of its schemas', values.params, values.query, values.body, null);
    }
  }

  /** Wrong in one place each. */
  *bad(): Generator<Sent> {
    yield* this.badPaths();
    yield* this.badQueries();
    if (this.route.body === null) return;
    yield* this.badSizes();
    if (this.route.body !== 'bytes') {
      yield* this.badTypes();
      yield* this.badValues();
    }
  }

  private *badPaths(): Generator<Sent> {
    const good = this.good();
    const [, query = ''] = good.target.split('?');
    for (const name of this.names())
      for (const odd of [...ODD_TEXTS.filter((text) => text !== '').map(encodeURIComponent), ...ODD_ENCODINGS]) {
        const path = this.path({ ...(this.route.example?.params ?? {}) }, { [name]: odd });
        yield { ...good, what: `{${name}} is ${odd.slice(0, 40)}`, target: query === '' ? path : `${path}?${query}` };
      }
  }

  private *badQueries(): Generator<Sent> {
    const { route } = this;
    const good = this.good();
    const [path] = good.target.split('?');
    const before = (route.example?.query ?? {}) as Values;
    for (const name of this.queryNames()) {
      const { [name]: _, ...others } = before;
      const rest = queryText(others);
      const lead = rest === '' ? '' : `${rest}&`;
      for (const odd of ODD_TEXTS)
        yield {
          ...good,
          what: `${name} is ${odd.slice(0, 40)}`,
          target: `${path}?${lead}${name}=${encodeURIComponent(odd)}`,
          statuses: this.refusedQuery({ ...texts(others), [name]: odd }),
        };
      for (const odd of ODD_ENCODINGS) yield { ...good, what: `${name} is ${odd}`, target: `${path}?${lead}${name}=${odd}` };
      yield { ...good, what: `${name} is missing`, target: `${path}?${rest}`, statuses: this.refusedQuery(texts(others)) };
      yield {
        ...good,
        what: `${name} comes twice`,
        target: `${path}?${lead}${name}=1&${name}=x`,
        statuses: this.refusedQuery({ ...texts(others), [name]: ['1', 'x'] }),
      };
    }
    const unknown = { ...good, what: 'an unknown parameter', target: `${path}?${queryText({ ...before, nonsense: '1' })}` };
    yield looksAtQuery(route) ? { ...unknown, statuses: [400], says: 'query.nonsense: is not known here' } : unknown;
    yield { ...good, what: 'unknown parameters', target: `${path}?${queryText(before)}&__proto__=x&nonsense=1&=&&&%FF=%FF` };
    yield { ...good, what: 'a long query', target: `${path}?x=${'y'.repeat(100_000)}`, statuses: [400, 414, 431] };
  }

  private *badSizes(): Generator<Sent> {
    const good = this.good();
    const large = Buffer.alloc(this.bodyBytesMax + 1, 0x20);
    yield { ...good, what: 'a large body', body: large, statuses: [413] };
    yield { ...good, what: 'a large body in chunks', body: large, isChunked: true, statuses: [413] };
    if (this.route.body === 'bytes') yield { ...good, what: 'no body', body: null };
  }

  private *badTypes(): Generator<Sent> {
    const good = this.good();
    const { 'content-type': _, ...bare } = good.headers;
    yield { ...good, what: 'no content type', headers: bare, statuses: [415] };
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx', ''])
      yield { ...good, what: `content type ${type}`, headers: { ...bare, 'content-type': type }, statuses: [415] };
    const whole = String(good.body);
    const isNeeded = !mayLackBody(this.route);
    if (!isNeeded) for (const headers of [bare, good.headers]) yield { ...good, what: 'no body', headers, body: null };
    for (const body of [
      ...(isNeeded ? [''] : []),
      '{',
      whole.slice(0, -1),
      `${whole}x`,
      '\ufeff',
      '[1,]',
      '{"a":1,}',
      'NaN',
      "{'a':1}",
      '['.repeat(30_000),
    ])
      yield { ...good, what: `no JSON: ${body.slice(0, 40)}`, body, statuses: [400] };
    yield {
      ...good,
      what: 'bytes that are no text',
      body: new Uint8Array([0x22, 0xff, 0xfe, 0xc0, 0x22]),
      statuses: this.refusedBody('\ufffd'),
    };
  }

  private *badValues(): Generator<Sent> {
    const good = this.good();
    const value = JSON.parse(String(good.body)) as unknown;
    for (const odd of ODD_VALUES) yield this.withBody(good, `the body is ${shown(odd)}`, odd);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return;
    const names = new Set([...Object.keys(value), ...propertiesOf(this.route.body as z.ZodType)]);
    for (const name of names) {
      const { [name]: before, ...rest } = value as Record<string, unknown>;
      yield this.withBody(good, `${name} is missing`, rest);
      for (const odd of ODD_VALUES) yield this.withBody(good, `${name} is ${shown(odd)}`, { ...rest, [name]: odd });
      const [inner] = Array.isArray(before) ? before : [];
      if (typeof inner !== 'object' || inner === null) continue;
      for (const below of Object.keys(inner))
        for (const odd of ODD_VALUES)
          yield this.withBody(good, `${name}.0.${below} is ${shown(odd)}`, { ...rest, [name]: [{ ...inner, [below]: odd }] });
    }
    yield this.withBody(good, 'an unknown member', { ...(value as object), nonsense: 1 });
    yield { ...good, what: '__proto__ in the body', body: String(good.body).replace('{', '{"__proto__":{"isAdmin":true},') };
  }

  private withBody(good: Sent, what: string, value: unknown): Sent {
    return { ...good, what, body: JSON.stringify(value), statuses: this.refusedBody(value) };
  }

  /** What is wrong by the schema must be refused as that. */
  private refusedBody(value: unknown): readonly number[] | null {
    const { body } = this.route;
    if (body === null || body === 'bytes' || this.hasQueryFault()) return null;
    return body.safeParse(JSON.parse(JSON.stringify(value))).success ? null : [422];
  }

  private refusedQuery(query: Values): readonly number[] | null {
    return this.route.query?.safeParse(query).success === false ? [400] : null;
  }

  /** Where the route has no example its query may be wrong already. */
  private hasQueryFault(): boolean {
    return this.refusedQuery(texts((this.route.example?.query ?? {}) as Values)) !== null;
  }

  private request(what: string, params: Values, query: Values, body: unknown, statuses: readonly number[] | null): Sent {
    const { route } = this;
    const asked = queryText(query);
    const path = this.path(params, {});
    const isJson = route.body !== null && route.body !== 'bytes';
    return {
      what,
      method: route.method,
      target: asked === '' ? path : `${path}?${asked}`,
      headers: isJson ? { 'content-type': 'application/json' } : {},
      body: route.body === null ? null : isJson ? JSON.stringify(body ?? null) : ((body ?? '') as string),
      statuses,
    };
  }

  /** @param encoded values that go in as they are */
  private path(params: Values, encoded: Values): string {
    return this.route.path.replace(/\{(\w+)(\.\.\.)?\}/g, (_, name: string, rest: string | undefined) => {
      if (name in encoded) return String(encoded[name]);
      const text = encodeURIComponent(String(params[name] ?? 'x'));
      return rest === undefined ? text : text.replaceAll('%2F', '/');
    });
  }

  private names(): string[] {
    return [...this.route.path.matchAll(/\{(\w+)(?:\.\.\.)?\}/g)].map(([, name]) => name!);
  }

  private queryNames(): string[] {
    return this.route.query === null ? [] : propertiesOf(this.route.query);
  }

  private generated(schema: z.ZodType | 'bytes' | null): unknown {
    if (schema === null || schema === 'bytes') return undefined;
    return this.generator.generate(small(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })) as JsonSchema);
  }

  private bytes(): Uint8Array {
    return Uint8Array.from({ length: this.random.below(300) }, () => this.random.below(256));
  }
}

/** The schema with limits that are soon reached: a text of the greatest length that is allowed shows no more, and takes minutes to make. */
function small(schema: unknown): unknown {
  if (typeof schema !== 'object' || schema === null) return schema;
  if (Array.isArray(schema)) return schema.map(small);
  const { maxLength, maxItems, contentEncoding, pattern, ...rest } = schema as Record<string, unknown>;
  const result = Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, small(value)]));
  if (typeof maxLength === 'number') result['maxLength'] = Math.min(maxLength, TEXT_MAX);
  if (typeof maxItems === 'number') result['maxItems'] = Math.min(maxItems, ITEMS_MAX);
  if (contentEncoding === 'base64') result['enum'] = ['', 'aGVsbG8=', '/w=='];
  else if (pattern !== undefined) result['pattern'] = pattern;
  return result;
}

function propertiesOf(schema: z.ZodType): string[] {
  const { properties } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as { readonly properties?: object };
  return Object.keys(properties ?? {});
}

function queryText(query: Values): string {
  const text = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    for (const one of Array.isArray(value) ? value : [value]) text.append(name, String(one));
  return text.toString();
}

/** As the server reads them. */
function texts(query: Values): Values {
  return Object.fromEntries(
    Object.entries(query).map(([name, value]) => [name, Array.isArray(value) && value.length !== 1 ? value.map(String) : String(value)]),
  );
}

function shown(value: unknown): string {
  return JSON.stringify(value).slice(0, 40);
}
