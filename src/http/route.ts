/**
 * Routes: what the HTTP door serves, as data. One table (`routes.ts`) drives the server, `/openapi.json`, the page in the manual and the tests.
 */
import { z } from 'zod';
import type { Call } from './call.ts';
import type { ProblemCode } from './problem.ts';
import type { Role } from './role.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

/** What is said to a request. */
export interface Answer {
  readonly status: number;
  /** An object is sent as JSON, a text or bytes as they are; absent: nothing. */
  readonly body?: object | string | Uint8Array;
  /** The same body in gzip, where it is kept: for who understands that. */
  readonly packed?: Uint8Array;
  /** Content type; absent: JSON for an object. */
  readonly type?: string;
  readonly headers?: readonly (readonly [name: string, value: string])[];
}

/** The handler answers by and by: through `Call.answer`, or a stream. */
export const LATER = null;

export type Handled = Answer | typeof LATER | Promise<Answer | typeof LATER>;

/** An answer that is no problem, for the documents. */
export interface AnswerFacts {
  readonly description: string;
  /** Of a JSON body. */
  readonly schema?: z.ZodType;
  /** Where it is not JSON. */
  readonly type?: string;
}

/** What a handler gets, read and checked. */
export interface Asked<P, Q, B> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
}

export interface Route {
  readonly method: Method;
  /** `/api/v1/clients/{clientId}`; a last `{topic...}` takes the rest of the path, slashes and all. */
  readonly path: string;
  /** Name in OpenAPI, in the audit log and in tests: `getClient`. */
  readonly name: string;
  /** Heading in the documents. */
  readonly group: string;
  readonly summary: string;
  readonly description?: string;
  /** Least role; null: anybody, without credentials. */
  readonly role: Role | null;
  readonly params: z.ZodType | null;
  /** Takes no name that it does not know; null: the query is not looked at. */
  readonly query: z.ZodType | null;
  /** What the query says where there is none; null: it must say something. Most requests have none, and a check by schema would take longer than the rest of some. */
  readonly emptyQuery: unknown;
  /** Reads the text behind the question mark instead of `query`, which then is for the documents only. @throws Problem */
  readonly readQuery: ((text: string) => unknown) | null;
  /** Names of headers that the handler reads, small letters; `*`: all. */
  readonly headers: readonly string[];
  /** For the documents: what those headers mean. */
  readonly headerFacts: Readonly<Record<string, string>>;
  /** Of JSON; `bytes`: as they are; null: the request has no body. */
  readonly body: z.ZodType | 'bytes' | null;
  /** Reads the parsed JSON instead of `body`, which then is for the documents; the handler checks what this has left. @throws Problem */
  readonly readBody: ((value: unknown) => unknown) | null;
  /** Longest body; 0: `http.requestSize`. */
  readonly bodyBytesMax: number;
  readonly answers: Readonly<Record<number, AnswerFacts>>;
  readonly problems: readonly ProblemCode[];
  /** Whether a success, and a refusal of the caller, is written to the audit log. */
  readonly isChange: boolean;
  /** Values for the contract test and the documents. */
  readonly example: { readonly params?: object; readonly query?: object; readonly body?: unknown } | null;
  readonly handle: (call: Call, asked: Asked<never, never, never>) => Handled;
}

/** A route as it is written down: what is left out is what most have. */
export interface RouteDefinition<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType | 'bytes'> {
  readonly method: Method;
  readonly path: string;
  readonly name: string;
  readonly group: string;
  readonly summary: string;
  readonly description?: string;
  readonly role: Role | null;
  readonly params?: P;
  /** Absent: the route has no parameters, and refuses those that are sent. */
  readonly query?: Q;
  /** For what programs of others ask, which add parameters of their own: the query is not looked at. */
  readonly ignoresQuery?: true;
  /** For routes that are called very often: a check by schema takes longer than the rest of a request. */
  readonly readQuery?: (text: string) => z.output<Q>;
  readonly headers?: readonly string[];
  readonly headerFacts?: Readonly<Record<string, string>>;
  readonly body?: B;
  /** For routes whose bodies are so large that their check must be spread over several turns. */
  readonly readBody?: (value: unknown) => B extends z.ZodType ? z.output<B> : never;
  readonly bodyBytesMax?: number;
  readonly answers: Readonly<Record<number, AnswerFacts>>;
  readonly problems?: readonly ProblemCode[];
  /** Default: every method but GET. */
  readonly isChange?: boolean;
  readonly example?: Route['example'];
  readonly handle: (call: Call, asked: Asked<z.output<P>, z.output<Q>, B extends z.ZodType ? z.output<B> : Uint8Array>) => Handled;
}

/** Whoever logs in may say as which client he asks; see `callers.ts`. */
const callerQuery = {
  client_id: z.string().optional().describe('Client Identifier that the statements see, of whoever logs in; an API key has its own.'),
  clientId: z.string().optional().describe('The same.'),
};

/** What every query has in common: what a route does not know is a mistake of its caller, and never passed over. */
function strictQuery<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType | 'bytes'>(
  definition: RouteDefinition<P, Q, B>,
): z.ZodType | null {
  const { query = z.object({}), readQuery, ignoresQuery, role, name } = definition;
  if (ignoresQuery === true) return null;
  if (!(query instanceof z.ZodObject)) throw new Error(`${name}: its query is no object`);
  return role === 'service' && readQuery === undefined ? query.extend(callerQuery).strict() : query.strict();
}

/** Makes a route whose handler knows the types of what it gets. */
export function route<
  P extends z.ZodType = z.ZodType<Record<string, string>>,
  Q extends z.ZodType = z.ZodType<Record<string, never>>,
  B extends z.ZodType | 'bytes' = 'bytes',
>(definition: RouteDefinition<P, Q, B>): Route {
  const { ignoresQuery: _, ...facts } = definition;
  const query = strictQuery(definition);
  const nothing = query?.safeParse({});
  return {
    params: null,
    readQuery: null,
    headers: [],
    headerFacts: {},
    body: null,
    readBody: null,
    bodyBytesMax: 0,
    problems: [],
    isChange: definition.method !== 'GET',
    example: null,
    ...facts,
    query,
    emptyQuery: nothing?.success === true ? Object.freeze(nothing.data) : null,
  } as Route;
}
