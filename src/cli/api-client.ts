/**
 * A client of the HTTP API for the commands that use it: where the broker is, who asks, and what an answer that is no success means, in a sentence for a person.
 *
 * It knows no route. Invariant: whatever goes wrong on the way is a Failure that says what to do; a key is never printed.
 */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { Failure } from './failure.ts';

/** Options that every command on the API has. */
export interface ApiOptions {
  readonly url?: string;
  readonly key?: string;
  readonly json?: boolean;
}

/** Values of a query; what is undefined is left out, a list comes several times. */
export type Query = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

export interface Request {
  readonly query?: Query;
  /** An object is sent as JSON. */
  readonly body?: object | string | Uint8Array<ArrayBuffer>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Longest wait for the answer. */
  readonly seconds?: number;
  readonly signal?: AbortSignal;
}

/** A problem document, as far as commands read it. */
export interface ProblemBody {
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly errors?: readonly { readonly at: string; readonly message: string }[];
}

/** One page of a list. */
export interface Page<T> {
  readonly data: readonly T[];
  readonly next: string | null;
  readonly total?: number;
}

/** One event of a stream. */
export interface StreamEvent {
  readonly event: string;
  readonly data: string;
}

const STANDARD_URL = 'http://127.0.0.1:8080';
const STANDARD_SECONDS = 30;
/** Most items that a page has. */
const PAGE_MAX = 1000;
/** A key file is a line. */
const KEY_BYTES_MAX = 64 * 1024;
/** Bytes of one event that are kept while it has not ended. */
const EVENT_LENGTH_MAX = 512 * 1024 * 1024;

/** Codes of certificates that nobody vouches for. */
const UNTRUSTED = /SELF_SIGNED_CERT|UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT|CERT_UNTRUSTED/;
/** Codes where the other side means something else than HTTP, or HTTPS. */
const STRANGE =
  /^(HPE_.*|ECONNRESET|EPROTO|UND_ERR_SOCKET|ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|.*NO_APPLICATION_PROTOCOL))$/;

/** The answer is a problem. */
export class ApiFailure extends Failure {
  readonly problem: ProblemBody;

  constructor(message: string, problem: ProblemBody) {
    super(message);
    this.name = 'ApiFailure';
    this.problem = problem;
  }
}

/** A path whose values are encoded: route`/api/v1/clients/${id}`. @throws Failure for what a URL cannot hold */
export function route(texts: TemplateStringsArray, ...values: readonly string[]): string {
  let path = texts[0]!;
  for (const [index, value] of values.entries()) {
    // Whoever reads a URL takes these for a way up, encoded or not.
    if (value === '' || value === '.' || value === '..') throw new Failure(`"${value}" cannot be named in a URL`, 2);
    path += encodeURIComponent(value.toWellFormed()) + texts[index + 1]!;
  }
  return path;
}

/** Where the key is kept that no option and no variable names. */
export function keyFile(): string {
  const config = process.env['XDG_CONFIG_HOME'];
  return join(config === undefined || config === '' ? join(homedir(), '.config') : config, 'onehop', 'key');
}

export class Api {
  /** Without a slash at its end. */
  readonly url: string;
  private readonly authorization: string | null;

  /** @throws Failure when the address is none, or the key's file may be read by others */
  constructor(options: ApiOptions) {
    const given = options.url ?? (process.env['ONEHOP_URL'] || STANDARD_URL);
    const url = URL.canParse(given) ? new URL(given) : null;
    if (url === null || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '')
      throw new Failure(`--url: expected an address such as ${STANDARD_URL}, not ${given}`, 2);
    const { username, password } = url;
    url.username = '';
    url.password = '';
    this.url = url.href.replace(/\/$/, '');
    const key = options.key ?? (process.env['ONEHOP_API_KEY'] || null) ?? (username === '' ? keyOfFile() : null);
    if (key !== null && !/^[\x21-\x7e]+$/.test(key)) throw new Failure('the API key has characters that no key has', 2);
    const basic = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64');
    this.authorization = key !== null ? `Bearer ${key}` : username === '' ? null : `Basic ${basic}`;
  }

  /** Asks, and takes whatever is answered. @throws Failure when there is no answer */
  async send(method: string, path: string, request: Request = {}): Promise<Response> {
    const { query = {}, body, seconds = STANDARD_SECONDS, signal } = request;
    const isJson = body !== undefined && typeof body === 'object' && !(body instanceof Uint8Array);
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), seconds * 1000);
    try {
      return await fetch(this.url + path + queryText(query), {
        method,
        redirect: 'error',
        signal: signal === undefined ? timeout.signal : AbortSignal.any([signal, timeout.signal]),
        headers: {
          ...(isJson && { 'content-type': 'application/json' }),
          ...request.headers,
          ...(this.authorization !== null && { authorization: this.authorization }),
        },
        ...(body !== undefined && { body: isJson ? JSON.stringify(body) : body }),
      });
    } catch (error) {
      if (signal?.aborted === true) throw error;
      throw timeout.signal.aborted ? new Failure(`${this.url} has not answered within ${seconds} s`) : unreachable(this.url, error);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Asks for JSON. @throws ApiFailure when the answer is a problem, Failure when there is none */
  async ask<T>(method: string, path: string, request: Request = {}): Promise<T> {
    const response = await this.send(method, path, request);
    const text = await this.textOf(response);
    if (!response.ok) throw failureOf(this.url, response, text);
    try {
      return (text === '' ? null : JSON.parse(text)) as T;
    } catch {
      throw new Failure(`what answers at ${this.url} is no onehop: ${path} is no JSON`);
    }
  }

  get<T>(path: string, query: Query = {}): Promise<T> {
    return this.ask('GET', path, { query });
  }

  /** Items of a list over all its pages, at most `limit`. @param onPage is told of each page before its items come */
  async *list<T>(path: string, query: Query, limit: number, onPage: (page: Page<T>) => void = () => {}): AsyncGenerator<T> {
    let cursor: string | undefined;
    for (let left = limit; left > 0; ) {
      const page: Page<T> = await this.get(path, { ...query, limit: Math.min(left, PAGE_MAX), cursor });
      onPage(page);
      yield* page.data.slice(0, left);
      left -= page.data.length;
      if (page.next === null || page.next === undefined) return;
      cursor = page.next;
    }
  }

  /** Server-Sent Events until the broker or `signal` ends them. @throws Failure when the connection breaks */
  async *events(path: string, query: Query, signal: AbortSignal): AsyncGenerator<StreamEvent> {
    const response = await this.send('GET', path, { query, signal, headers: { accept: 'text/event-stream' } });
    if (!response.ok) throw failureOf(this.url, response, await this.textOf(response));
    const decoder = new TextDecoder();
    let text = '';
    try {
      for await (const chunk of response.body ?? []) {
        text += decoder.decode(chunk, { stream: true });
        const parts = text.split(/\r?\n\r?\n/);
        text = parts.pop()!;
        if (text.length > EVENT_LENGTH_MAX) throw new Failure('an event is too long');
        for (const part of parts) {
          const event = eventOf(part);
          if (event !== null) yield event;
        }
      }
    } catch (error) {
      if (!signal.aborted) throw error instanceof Failure ? error : new Failure(`the connection to ${this.url} broke`);
    }
  }

  private async textOf(response: Response): Promise<string> {
    try {
      return await response.text();
    } catch {
      throw new Failure(`the connection to ${this.url} broke in the middle of an answer`);
    }
  }
}

/** What an answer without success means. */
export function failureOf(url: string, { status }: Response, text: string): Failure {
  const problem = problemOf(text);
  if (problem === null) return new Failure(`what answers at ${url} is no onehop: status ${status}`);
  const lines = [problem.detail];
  for (const { at, message } of problem.errors?.slice(1) ?? []) lines.push(`${at}: ${message}`);
  if (status === 401) {
    lines[0] = 'the broker does not take these credentials, or there are none';
    lines.push(keyHint());
  } else if (needsRole(problem)) lines.push(keyHint());
  return new ApiFailure(lines.join('\n'), problem);
}

/** Whether a key of another role would do. */
export function needsRole(problem: ProblemBody | null): boolean {
  return problem?.code === 'forbidden' && problem.detail.startsWith('this needs the role ');
}

/** How to come by a key. */
export function keyHint(): string {
  return `"onehop apikey add NAME --role ROLE --file FILE" on the machine of the broker makes a key, where FILE is the one of its http.apiKeys; give it as --key, in ONEHOP_API_KEY or in ${keyFile()} (mode 600)`;
}

/** The problem document in a text, or null. */
export function problemOf(text: string): ProblemBody | null {
  try {
    const value = JSON.parse(text) as Partial<ProblemBody> | null;
    return typeof value?.code === 'string' && typeof value.detail === 'string' ? (value as ProblemBody) : null;
  } catch {
    return null;
  }
}

function unreachable(url: string, error: unknown): Failure {
  const cause = (error as { cause?: { code?: unknown; message?: string } }).cause ?? {};
  const code = String(cause.code ?? (error as Error).message);
  const place = 'say where the HTTP listener is: --url, ONEHOP_URL';
  if (code === 'ECONNREFUSED')
    return new Failure(
      `nothing listens at ${url}\ngive the broker an HTTP listener ("onehop start --set 'listeners=[{ type: tcp, bind: 127.0.0.1:1883 }, { type: http, bind: 127.0.0.1:8080 }]'"), or say where it is: --url, ONEHOP_URL`,
    );
  if (UNTRUSTED.test(code))
    return new Failure(
      `the certificate of ${url} is not trusted (${cause.message}): give the file of its authority, or its own where nobody has signed it, as NODE_EXTRA_CA_CERTS=FILE`,
    );
  if (STRANGE.test(code)) {
    const [spoken, other] = url.startsWith('https:') ? ['HTTPS', 'http://'] : ['HTTP', 'https://'];
    return new Failure(`what answers at ${url} does not speak ${spoken}, or has ended the connection: try ${other}, or ${place}`);
  }
  // OpenSSL says more than a person wants to read; the code is its reason in words.
  const text = code.startsWith('ERR_SSL_') ? code.slice(8).toLowerCase().replaceAll('_', ' ') : cause.message || code;
  return new Failure(`cannot reach ${url}: ${text}`);
}

/** The key that is kept for this user, or null. */
function keyOfFile(): string | null {
  const file = keyFile();
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new Failure(`${file}: cannot read this file: ${(error as Error).message}`);
  }
  try {
    const facts = fstatSync(fd);
    if (process.platform !== 'win32' && (facts.mode & 0o077) !== 0)
      throw new Failure(`${file}: others can read this key; run "chmod 600 ${file}"`);
    if (!facts.isFile() || facts.size > KEY_BYTES_MAX) throw new Failure(`${file}: this is no file with a key`);
    return readFileSync(fd, 'utf8').trim() || null;
  } finally {
    closeSync(fd);
  }
}

function queryText(query: Query): string {
  const text = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined) text.append(name, String(one));
  return text.size === 0 ? '' : `?${text}`;
}

/** Null for what is no event: a comment that keeps the connection open. */
function eventOf(part: string): StreamEvent | null {
  let event = 'message';
  const data: string[] = [];
  for (const line of part.split(/\r?\n/)) {
    const at = line.indexOf(':');
    const name = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? '' : line.slice(at + 1).replace(/^ /, '');
    if (name === 'event') event = value;
    else if (name === 'data') data.push(value);
  }
  return data.length === 0 ? null : { event, data: data.join('\n') };
}
