/**
 * Requests to the broker's HTTP API. Every failure is an `ApiError` with a sentence for people.
 */
import { authorization, logOut } from './session.ts';

export type Query = Readonly<Record<string, string | number | boolean | readonly string[] | null | undefined>>;

export interface AskOptions {
  readonly query?: Query;
  /** Sent as JSON; a text or bytes as they are. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** Instead of the credentials of the session. */
  readonly authorization?: string;
}

/** A list as the API answers it. */
export interface Page<T> {
  readonly data: readonly T[];
  /** Null or absent: this is all. */
  readonly next?: string | null;
  readonly total?: number;
}

/** One thing that is wrong with what was sent. */
export interface Fault {
  /** Where: `body.clientId`, `statements.3.topics`. */
  readonly at: string;
  readonly message: string;
}

/** What the broker, or the way to it, has said instead of a success. */
export class ApiError extends Error {
  /** 0: there was no answer. */
  readonly status: number;
  /** For programs: `no-session`; '' where there is none. */
  readonly code: string;
  readonly requestId: string;
  readonly faults: readonly Fault[];
  /** What had become of a message when there was no answer in time; '' where that is not known. */
  readonly state: string;

  constructor(status: number, code: string, detail: string, requestId: string, faults: readonly Fault[] = [], state: string = '') {
    super(detail);
    this.name = 'ApiError';
    this.status = status;
    this.code = code;
    this.requestId = requestId;
    this.faults = faults;
    this.state = state;
  }
}

/** A problem as the broker tells it. */
interface ToldProblem {
  readonly code?: string;
  readonly detail?: string;
  readonly title?: string;
  readonly errors?: readonly Fault[];
  readonly state?: string;
}

/** A path with values in it, each encoded: slashes in a value are part of it. */
export function at(texts: TemplateStringsArray, ...values: readonly string[]): string {
  return texts.reduce((path, text, index) => path + encodeURIComponent(values[index - 1] ?? '') + text);
}

export function withQuery(path: string, query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value === undefined || value === null || value === '') continue;
    for (const one of Array.isArray(value) ? value : [value]) parameters.append(name, String(one));
  }
  return parameters.size === 0 ? path : `${path}?${parameters}`;
}

/** Browsers take these levels out of a path, however they are written: the request would be about something else. */
const DOTS = /\/\.{1,2}(?:[/?]|$)/;
export const UNSENDABLE = 'unsendable';

/**
 * @returns the parsed answer; null for an empty one
 * @throws ApiError
 */
export async function ask<T>(method: string, path: string, options: AskOptions = {}): Promise<T> {
  const { query, body, signal } = options;
  const shown = options.authorization ?? authorization.value;
  const isPlain = typeof body === 'string' || body instanceof Uint8Array;
  const headers: Record<string, string> = { ...options.headers };
  if (shown !== null) headers['Authorization'] = shown;
  if (body !== undefined && !isPlain) headers['Content-Type'] = 'application/json';
  if (DOTS.test(path))
    throw new ApiError(
      0,
      UNSENDABLE,
      'A browser cannot send a name that is . or .. alone, so nothing was asked or done. Other HTTP clients can: curl --path-as-is.',
      '',
    );
  let response: Response;
  let text: string;
  try {
    response = await fetch(withQuery(path, query), {
      method,
      headers,
      credentials: 'omit',
      cache: 'no-store',
      ...(signal !== undefined && { signal }),
      ...(body !== undefined && { body: isPlain ? (body as BodyInit) : JSON.stringify(body) }),
    });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted === true) throw error;
    throw new ApiError(0, 'unreachable', 'The broker does not answer. Does it run, and is the way to it open?', '');
  }
  if (response.ok) return (text === '' ? null : parsed(text)) as T;
  const { code = '', detail = '', title = '', errors, state } = (parsed(text) ?? {}) as ToldProblem;
  const failure = new ApiError(
    response.status,
    code,
    detail || title || `The broker answers ${response.status}.`,
    response.headers.get('X-Request-ID') ?? '',
    errors,
    state,
  );
  if (response.status === 401 && options.authorization === undefined) logOut('These credentials count no longer. Log in again.');
  throw failure;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
