/**
 * HttpServer: the HTTP door of one shard. A request is served on the shard where it lands; what it asks of other shards goes over the same rings as a message.
 *
 *   request → route → (body) → caller → role → values checked → handler → answer │ problem (RFC 9457)
 *
 * A handler that answers at once costs no promise. Whatever is under way has a time limit, and the number of them a bound.
 */

import { randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import { gzip } from 'node:zlib';
import { readU32 } from '../base/bytes.ts';
import { LineRate } from '../base/line-rate.ts';
import { Timer } from '../base/timers.ts';
import { SUPERVISOR } from '../shard/asks.ts';
import { counter } from '../shard/counters.ts';
import type { Shard } from '../shard/shard.ts';
import type { HttpWay } from '../transports/http-door.ts';
import type { Request, Response } from '../transports/u-web-sockets.ts';
import { addressOfBytes } from './address.ts';
import type { ApiKey } from './api-key.ts';
import { Call, type HttpStream } from './call.ts';
import type { Caller } from './caller.ts';
import { Callers, type Shown } from './callers.ts';
import { HeadCheck } from './head-check.ts';
import { PROBLEM_TYPE, Problem, problem, retryAfter } from './problem.ts';
import { mayLackBody, readAsked } from './read-asked.ts';
import { RefusalRate } from './refusal-rate.ts';
import { mayAs } from './role.ts';
import type { Answer, Handled, Method, Route } from './route.ts';
import type { Entry, Found, Router } from './router.ts';
import { STATUS_LINES } from './status-lines.ts';
import { UnreadAnswers } from './unread-answers.ts';

const REQUESTS = counter('http/requests');
const REFUSED = counter('http/refused');
const FAILED = counter('http/failed');
const ABORTED = counter('http/aborted');
const WAITING = counter('http/waiting');
const STREAMS = counter('http/streams/count');
const BYTES_RECEIVED = counter('http/bytes/received');
const BYTES_SENT = counter('http/bytes/sent');
const SUPPRESSED = counter('http/log/suppressed');

const UNRECORDED = counter('audit/refusals/suppressed');

const FORBIDDEN = 403;
const JSON_TYPE = 'application/json';
/** Smaller answers are not worth the work. */
const GZIP_BYTES_MIN = 4096;
const REQUEST_ID = /^[\w.:-]{1,128}$/;
/** Lines of the access log in a second. */
const LOG_LINES_PER_SECOND = 1000;
/** Streams of one shard that are open at a time. */
const STREAMS_MAX = 5000;

const BUSY = retryAfter(1, problem('unavailable', 'too many requests are under way; try again'));
const STOPPING = problem('unavailable', 'the broker stops');
/** Those of ours that pages of other origins may read, beside what they always may. */
const EXPOSED_HEADERS = 'X-Request-ID, Location, Retry-After, Idempotency-Replayed, Allow, WWW-Authenticate';
const NO_HEADERS: ReadonlyMap<string, string> = new Map();
const NO_NAMES: readonly string[] = [];
/** Memory of bodies under way, of one shard, and of one at least. */
const BODY_BYTES_MAX = 64 * 1024 * 1024;
const BODY_BYTES_MIN = 4096;
const NO_BODY = new Uint8Array(0);
/** Part of `http.requests` that messages may use. */
const SERVICE_SHARE = 7 / 8;

export class HttpServer {
  readonly shard: Shard;
  readonly callers: Callers;
  private readonly routerOf: (isMetricsPublic: boolean) => Router;
  private router: Router;
  private readonly origins: '*' | ReadonlySet<string>;
  /** First part of the request IDs of this shard. */
  private readonly idPrefix: string;
  private idCount: number;
  private readonly logRate: LineRate;
  private readonly refusals: RefusalRate;
  /** Requests that have no answer yet. */
  private waiting: number;
  private streams: number;
  private readonly unread: UnreadAnswers;
  private readonly headCheck: HeadCheck;
  /** Memory of bodies that are not answered yet. */
  private bodyBytes: number;
  /** The IPv4 address of the last request, and its text. */
  private lastWord: number;
  private lastAddress: string;
  /** The request in whose call back the library is: what is written to it then leaves in one write anyway. */
  private current: Call | null;

  /** @param routerOf finds routes; they depend on whether `/metrics` needs credentials */
  constructor(shard: Shard, routerOf: (isMetricsPublic: boolean) => Router, keys: readonly ApiKey[]) {
    this.shard = shard;
    this.routerOf = routerOf;
    this.router = routerOf(shard.settings.metrics.public);
    this.callers = new Callers(shard, keys);
    const { origins } = shard.settings.http;
    this.origins = origins === '*' ? '*' : new Set(origins);
    this.idPrefix = `${shard.index}-${randomBytes(4).toString('hex')}-`;
    this.idCount = 0;
    this.logRate = new LineRate(LOG_LINES_PER_SECOND);
    this.refusals = new RefusalRate();
    this.waiting = 0;
    this.streams = 0;
    this.unread = new UnreadAnswers(shard.counters);
    this.headCheck = new HeadCheck();
    this.bodyBytes = 0;
    this.lastWord = -1;
    this.lastAddress = '';
    this.current = null;
  }

  /** Goes on with other routes; requests under way keep theirs. */
  replaceRoutes(isMetricsPublic: boolean): void {
    this.router = this.routerOf(isMetricsPublic);
  }

  /** Serves one request. */
  readonly serve = (response: Response, request: Request, way: HttpWay): void => {
    const { shard } = this;
    shard.startTurn();
    shard.counters[REQUESTS]!++;
    const method = request.getCaseSensitiveMethod();
    const path = request.getUrl();
    const found = this.router.find(method === 'HEAD' ? 'GET' : method, path);
    const entry = found !== null && 'entry' in found ? found.entry : null;
    const call = this.callOf(response, request, way, method, path, entry);
    response.onAborted(() => this.aborted(call));
    this.current = call;
    try {
      this.dispatch(call, request, found);
    } catch (error) {
      // A fault in here costs one request, not the shard.
      this.thrown(call, error);
    }
    this.current = null;
  };

  private dispatch(call: Call, request: Request, found: Found | readonly Method[] | null): void {
    const { method, path } = call;
    const unclear = this.headCheck.problemOf(request);
    if (unclear !== '') {
      // Nobody knows where the next request would begin. Where the library believes that it has one already it closes the connection, because this one is not answered yet.
      call.isLast = true;
      setImmediate(() => this.send(call, problem('bad-request', unclear)));
    } else if (this.shard.isStopping) this.send(call, STOPPING);
    else if (call.way.objection !== null) this.send(call, problem('forbidden', call.way.objection));
    else if (!this.hasRoom(call.route)) this.send(call, BUSY);
    else if (method === 'OPTIONS') this.preflight(call, found);
    else if (found === null) this.send(call, problem('not-found', `nothing is served at ${path.slice(0, 256)}`));
    else if (!('entry' in found)) this.send(call, methodNotAllowed(method, found));
    else if (this.isForeign(call, request))
      this.send(call, problem('forbidden', 'pages of this origin may not use the API: see http.origins'));
    else this.begin(call, request, found);
  }

  /**
   * Whether one more request may be under way. Services get seven eighths of the room: requests of theirs may wait minutes for a client, and who looks after the broker must get in
   * then, too. What anybody may ask, such as its health, is answered at once and needs no room.
   */
  private hasRoom(route: Route | null): boolean {
    if (route === null || route.role === null) return true;
    const { shards, settings } = this.shard;
    const max = settings.http.requestsMax / shards;
    return this.waiting < (route.role === 'service' ? max * SERVICE_SHARE : max);
  }

  private callOf(response: Response, request: Request, way: HttpWay, method: string, path: string, entry: Entry | null): Call {
    const given = request.getHeader('x-request-id');
    const id = given !== '' && REQUEST_ID.test(given) ? given : this.idPrefix + (this.idCount++).toString(36);
    return new Call(
      this.shard,
      this,
      response,
      way,
      id,
      method,
      path,
      request.getQuery() ?? '',
      this.addressOf(response),
      headersOf(request, method, entry?.route.headers ?? NO_NAMES),
      entry?.route ?? null,
    );
  }

  /** Programs send many requests from one address: its text is made once. */
  private addressOf(response: Response): string {
    const bytes = new Uint8Array(response.getRemoteAddress());
    if (bytes.length !== 4) return addressOfBytes(bytes);
    const word = readU32(bytes, 0);
    if (word !== this.lastWord) {
      this.lastWord = word;
      this.lastAddress = addressOfBytes(bytes);
    }
    return this.lastAddress;
  }

  /** Whether a page of somebody else asks, which a browser sends along with the address of the person who looks at it. */
  private isForeign(call: Call, request: Request): boolean {
    const origin = call.header('origin');
    if (origin === '' || this.allows(origin)) return false;
    const host = request.getHeader('host');
    return host === '' || origin.slice(origin.indexOf('//') + 2) !== host;
  }

  private allows(origin: string): boolean {
    return this.origins === '*' || this.origins.has(origin);
  }

  private preflight(call: Call, found: Found | readonly Method[] | null): void {
    if (!this.allows(call.header('origin'))) {
      this.send(call, problem('forbidden', 'pages of this origin may not use the API: see http.origins'));
      return;
    }
    const methods = found === null || 'entry' in found ? 'GET, POST, PUT, PATCH, DELETE' : found.join(', ');
    this.send(call, {
      status: 204,
      headers: [
        ['Access-Control-Allow-Methods', methods],
        ['Access-Control-Allow-Headers', 'Authorization, Content-Type, Idempotency-Key, X-Request-ID, *'],
        ['Access-Control-Max-Age', '600'],
      ],
    });
  }

  /** Reads what else the request has, as long as the library holds it. Who asks is judged by the head: a body of somebody who may not send one is not kept. */
  private begin(call: Call, request: Request, { entry, params }: Found): void {
    const { route } = entry;
    const authorization = request.getHeader('authorization');
    // Elsewhere it is what is asked for, not who asks.
    const clientId = route.role === 'service' ? clientIdOf(call.queryText) : '';
    if (clientId.includes('\0')) {
      this.send(call, problem('bad-request', 'query.client_id: a Client Identifier has no U+0000'));
      return;
    }
    call.isCounted = true;
    this.waiting++;
    this.shard.counters[WAITING]!++;
    if (route.role !== null && authorization === '' && call.way.certificate === null && !this.isOwnHost(request.getHeader('host'))) {
      this.send(call, problem('forbidden', 'without credentials the broker is asked by its address, or by a host of http.origins'));
      return;
    }
    const bytesMax = route.bodyBytesMax === 0 ? this.shard.settings.http.requestBytes : route.bodyBytesMax;
    if (route.body !== null) {
      if (Number(request.getHeader('content-length') || 0) > bytesMax) {
        this.tooLarge(call, bytesMax);
        return;
      }
      if (route.body !== 'bytes' && !isJson(request.getHeader('content-type')) && !(isWithoutBody(request) && mayLackBody(route))) {
        this.send(call, problem('unsupported-media-type', 'send application/json'));
        return;
      }
    }
    const isKnown = route.role === null || this.identify(call, route, { authorization, clientId, address: call.address, way: call.way });
    if (call.isOver) return;
    if (route.body === null) {
      if (isKnown) this.handle(call, route, params, NO_BODY);
      else call.judged = () => this.handle(call, route, params, NO_BODY);
    } else this.readBody(call, route, params, bytesMax, isKnown);
  }

  /** @param isKnown the caller has been judged; else `call.judged` is called when it has */
  private readBody(call: Call, route: Route, params: Readonly<Record<string, string>>, bytesMax: number, isKnown: boolean): void {
    let hasCaller = isKnown;
    let whole: Uint8Array | null = null;
    call.judged = () => {
      hasCaller = true;
      const body = whole;
      whole = null;
      if (body !== null) this.handle(call, route, params, body);
    };
    call.response.onData((chunk, isLast) => {
      if (call.isOver) return;
      this.shard.startTurn();
      this.shard.counters[BYTES_RECEIVED]! += chunk.byteLength;
      const bytes = new Uint8Array(chunk);
      this.current = call;
      // In place while the handler runs: what is kept of it is copied by whoever keeps it.
      if (isLast && hasCaller && call.bodyLength === 0 && bytes.length <= bytesMax) this.handle(call, route, params, bytes);
      else if (this.keep(call, bytes, bytesMax) && isLast) {
        const body = call.body === null ? NO_BODY : call.body.subarray(0, call.bodyLength);
        // Not kept where it is not needed: the request may live for minutes.
        if (hasCaller) this.handle(call, route, params, body);
        else whole = body;
      }
      this.current = null;
    });
  }

  /** Adds to the body of a request, in one piece of memory however small its chunks are. @returns false when there is no room: the request has its answer then */
  private keep(call: Call, chunk: Uint8Array, bytesMax: number): boolean {
    const length = call.bodyLength + chunk.length;
    if (chunk.length === 0) return true;
    if (length > bytesMax) {
      this.tooLarge(call, bytesMax);
      return false;
    }
    const before = call.body ?? NO_BODY;
    if (length > before.length) {
      const size = Math.min(bytesMax, Math.max(length, before.length * 2, BODY_BYTES_MIN));
      if (this.bodyBytes + size - before.length > BODY_BYTES_MAX) {
        this.send(call, BUSY);
        return false;
      }
      this.bodyBytes += size - before.length;
      const grown = Buffer.allocUnsafeSlow(size);
      grown.set(before.subarray(0, call.bodyLength));
      call.body = grown;
    }
    call.body!.set(chunk, call.bodyLength);
    call.bodyLength = length;
    return true;
  }

  /** Whether a page that was brought here by a name of somebody else's (DNS rebinding) cannot have asked. */
  private isOwnHost(host: string): boolean {
    if (host === '' || this.origins === '*') return true;
    const name = host.replace(/:\d+$/, '');
    if (name === 'localhost' || name.startsWith('[') || isIP(name) !== 0) return true;
    for (const origin of this.origins) if (origin.slice(origin.indexOf('//') + 2) === host) return true;
    return false;
  }

  private tooLarge(call: Call, bytesMax: number): void {
    this.send(call, problem('too-large', `the body may have ${bytesMax} bytes`));
  }

  /** Finds out who asks. @returns whether that is known now; else `call.judged` is called, or the refusal is sent */
  private identify(call: Call, route: Route, shown: Shown): boolean {
    const caller = this.callers.find(shown);
    if (caller !== null) return this.admits(call, route, caller);
    let isSync = true;
    let isKnown = false;
    this.callers.identify(shown, (found, refusal) => {
      if (call.isOver) return;
      if (found === null) this.send(call, refusal);
      else if (this.admits(call, route, found)) {
        if (isSync) isKnown = true;
        else call.judged();
      }
    });
    isSync = false;
    return isKnown;
  }

  /** @returns whether the caller may use the route; else the refusal is sent */
  private admits(call: Call, route: Route, caller: Caller): boolean {
    call.caller = caller;
    if (mayAs(caller.role, route.role!)) return true;
    this.send(call, problem('forbidden', `this needs the role ${route.role}; yours is ${caller.role}`));
    return false;
  }

  private handle(call: Call, route: Route, params: Readonly<Record<string, string>>, body: Uint8Array): void {
    let handled: Handled;
    try {
      handled = route.handle(call, readAsked(call, route, params, body) as never);
    } catch (error) {
      this.thrown(call, error);
      return;
    }
    // What is needed of it longer has been copied: the answer may be minutes away.
    this.dropBody(call);
    if (handled === null || handled instanceof Promise) this.await(call, handled);
    else this.send(call, handled);
  }

  /** The answer comes later, or there is none in time. */
  private await(call: Call, handled: Promise<Answer | null> | null): void {
    if (call.isOver) return;
    const { shard } = this;
    const timer = new Timer(() => this.send(call, problem('timeout', 'the broker has not answered in time')));
    shard.timers.arm(timer, call.milliseconds || shard.settings.http.timeoutMilliseconds);
    call.timer = timer;
    if (handled === null) return;
    handled.then(
      (answer) => {
        if (answer !== null) this.send(call, answer);
      },
      (error: unknown) => this.thrown(call, error),
    );
  }

  private thrown(call: Call, error: unknown): void {
    if (error instanceof Problem) {
      this.send(call, error.answer);
      return;
    }
    this.shard.counters[FAILED]!++;
    this.shard.log.error(
      { id: call.id, route: call.route?.name, error: String(error), stack: (error as Error).stack },
      'an HTTP handler failed',
    );
    this.send(call, problem('internal', `the log has more under the request ID ${call.id}`));
  }

  private aborted(call: Call): void {
    this.shard.startTurn();
    const isUnread = this.unread.remove(call);
    if (isUnread || !call.isOver) this.shard.counters[ABORTED]!++;
    if (call.isOver) return;
    this.over(call);
    call.gone();
  }

  private over(call: Call): void {
    call.isOver = true;
    this.dropBody(call);
    if (call.timer !== null) this.shard.timers.disarm(call.timer);
    call.timer = null;
    if (call.isCounted) {
      call.isCounted = false;
      this.waiting--;
      this.shard.counters[WAITING]!--;
    }
  }

  private dropBody(call: Call): void {
    if (call.body === null) return;
    this.bodyBytes -= call.body.length;
    call.body = null;
  }

  /** Sends an answer; the first one counts. */
  send(call: Call, answer: Answer): void {
    // Also where nobody is there any more to hear of it.
    const { route } = call;
    if (route?.isChange === true && route.role !== 'service')
      if (answer.status < 400 && call.caller !== null) this.audit(call, route, answer.status);
      else if (answer.status === FORBIDDEN) this.auditRefusal(call, route);
    if (call.isOver) return;
    const { body } = answer;
    const isObject = typeof body === 'object' && !(body instanceof Uint8Array);
    const content = isObject ? JSON.stringify(body) : (body ?? '');
    if (content.length >= GZIP_BYTES_MIN && takesGzip(call.header('accept-encoding'))) {
      if (answer.packed !== undefined) {
        this.write(call, answer, answer.packed, true);
        return;
      }
      const type = answer.type ?? (isObject ? JSON_TYPE : '');
      gzip(content, (error, packed) => {
        if (error === null) this.write(call, { ...answer, type }, packed, true);
        else this.write(call, answer, content, false);
      });
      return;
    }
    this.write(call, answer, content, false);
  }

  private write(call: Call, answer: Answer, content: string | Uint8Array, isPacked: boolean): void {
    if (call.isOver) return;
    const { shard } = this;
    const { status } = answer;
    const { response } = call;
    this.over(call);
    if (status >= 400) shard.counters[REFUSED]!++;
    shard.counters[BYTES_SENT]! += content.length;
    if (this.current === call) this.writeNow(call, answer, content, isPacked);
    else response.cork(() => this.writeNow(call, answer, content, isPacked));
    this.measure(call);
    this.log(call, status, content.length);
  }

  private writeNow(call: Call, { status, headers, body, type: given }: Answer, content: string | Uint8Array, isPacked: boolean): void {
    const { response } = call;
    const { isStopping } = this.shard;
    // 200 is what the library says by itself.
    if (status !== 200) response.writeStatus(STATUS_LINES.get(status) ?? String(status));
    response.writeHeader('X-Request-ID', call.id);
    const type = given ?? (typeof body === 'object' && !(body instanceof Uint8Array) ? JSON_TYPE : '');
    if (type !== '') response.writeHeader('Content-Type', type);
    // Nobody keeps the answer to a POST, or shows it as a page.
    if (call.method !== 'POST') {
      if (type === JSON_TYPE || type === PROBLEM_TYPE) response.writeHeader('Cache-Control', 'no-store');
      response.writeHeader('X-Content-Type-Options', 'nosniff');
    }
    if (isPacked) response.writeHeader('Content-Encoding', 'gzip').writeHeader('Vary', 'Accept-Encoding');
    if (call.headers !== NO_HEADERS) this.writeOrigin(call);
    if (headers !== undefined) for (const [name, value] of headers) response.writeHeader(name, value);
    // After a body that was too large the rest of it is still on its way.
    const isLast = isStopping || status === 413 || call.isLast || call.way.objection !== null;
    if (call.isHead && isLast) response.end('', true);
    else if (call.isHead || status === 204 || status === 304) {
      if (isLast) response.writeHeader('Connection', 'close');
      // With a length the library waits for so many bytes. 204 and 304 have none at all.
      if (call.isHead && status !== 204 && status !== 304) response.writeHeader('Content-Length', String(Buffer.byteLength(content)));
      response.endWithoutBody();
    } else if (isLast) response.end(content, true);
    else this.writeContent(call, content);
  }

  /** Writes the body as fast as it is read. `end` would keep a copy of whatever is not read, for each of the requests that a connection sends one behind the other. */
  private writeContent(call: Call, content: string | Uint8Array): void {
    const { response } = call;
    const length = Buffer.byteLength(content);
    if (length === 0) {
      response.end();
      return;
    }
    if (response.tryEnd(content, length)[1]) return;
    const bytes = typeof content === 'string' ? Buffer.from(content) : content;
    this.unread.add(call, length);
    response.onWritable((offset) => {
      const [isTaken, isWhole] = response.tryEnd(bytes.subarray(offset), length);
      if (isWhole) this.unread.remove(call);
      return isTaken;
    });
  }

  private measure({ route, begunAt }: Call): void {
    const { measures } = this.shard;
    const histogram =
      route === null || route.role === null ? measures.httpOpen : route.role === 'service' ? measures.httpData : measures.httpManagement;
    histogram.add((performance.now() - begunAt) * 1000);
  }

  private writeOrigin(call: Call): void {
    const origin = call.header('origin');
    if (origin === '' || !this.allows(origin)) return;
    call.response.writeHeader('Access-Control-Allow-Origin', this.origins === '*' ? '*' : origin);
    call.response.writeHeader('Access-Control-Expose-Headers', EXPOSED_HEADERS);
    if (this.origins !== '*') call.response.writeHeader('Vary', 'Origin');
  }

  beginStream(call: Call, type: string): HttpStream {
    if (call.isHead) throw new Problem('method-not-allowed', 'a stream has no head of its own: ask with GET');
    if (this.streams >= STREAMS_MAX) throw new Problem('unavailable', `there are ${STREAMS_MAX} streams already`);
    const { shard } = this;
    const { response } = call;
    if (call.timer !== null) shard.timers.disarm(call.timer);
    call.timer = null;
    this.over(call);
    call.isOver = false;
    this.streams++;
    shard.counters[STREAMS]!++;
    const stream = {
      isOpen: true,
      drained: () => {},
      gone: () => {},
      write(text: string | Uint8Array): boolean {
        if (!stream.isOpen) return true;
        shard.counters[BYTES_SENT]! += text.length;
        let isTaken = true;
        response.cork(() => {
          isTaken = response.write(text);
        });
        return isTaken;
      },
      end(): void {
        if (!stream.isOpen) return;
        close();
        response.cork(() => void response.end());
      },
    };
    const close = (): void => {
      stream.isOpen = false;
      call.isOver = true;
      this.streams--;
      shard.counters[STREAMS]!--;
    };
    call.gone = () => {
      close();
      stream.gone();
    };
    response.onWritable(() => {
      shard.startTurn();
      stream.drained();
      return true;
    });
    response.cork(() => {
      response.writeStatus('200 OK').writeHeader('X-Request-ID', call.id).writeHeader('Content-Type', type);
      response.writeHeader('Cache-Control', 'no-store').writeHeader('X-Accel-Buffering', 'no');
      this.writeOrigin(call);
    });
    this.log(call, 200, 0);
    return stream;
  }

  private log(call: Call, status: number, bytes: number): void {
    const { http } = this.shard.settings;
    const { accessLog } = http;
    if (accessLog === 'none' || (accessLog === 'failed' && status < 400)) return;
    if (status < 400 && http.accessLogSample < 1 && Math.random() >= http.accessLogSample) return;
    if (!this.logRate.take(this.shard.timers.now)) {
      this.shard.counters[SUPPRESSED]!++;
      return;
    }
    const { id, method, path, address, caller } = call;
    const milliseconds = Math.round((performance.now() - call.begunAt) * 10) / 10;
    this.shard.log.info(
      { id, method, path: path.slice(0, 512), address, caller: caller?.name, status, bytes, milliseconds },
      'HTTP request',
    );
  }

  /** Whoever is refused may try without end: only the first of these are told. */
  private auditRefusal(call: Call, route: Route): void {
    // Nobody knows who it was: strangers write nothing here.
    if (call.isOver || call.isAudited || call.caller === null) return;
    if (this.refusals.take(call.caller.name, performance.now())) this.audit(call, route, FORBIDDEN);
    else this.shard.counters[UNRECORDED]!++;
  }

  private audit(call: Call, { name }: Route, status: number): void {
    if (call.isAudited) return;
    call.isAudited = true;
    const { id, method, path, queryText, address, caller, facts } = call;
    const entry = {
      at: Date.now(),
      id,
      action: name,
      method,
      path,
      query: queryText,
      address,
      caller: caller?.name ?? '',
      status,
      ...(facts !== null && { facts }),
    };
    this.shard.asks.ask(SUPERVISOR, 'audit', entry, (answer) => {
      if (answer === null) this.shard.log.warn(entry, 'the audit log has not answered: this may not be in it');
    });
  }
}

/** Those of the request that its route reads, and a few more; without those that it does not have. */
function headersOf(request: Request, method: string, wanted: readonly string[]): ReadonlyMap<string, string> {
  let headers: Map<string, string> | null = null;
  const take = (name: string, value: string): void => {
    if (value === '') return;
    headers ??= new Map();
    headers.set(name, value);
  };
  for (let i = 0; i < wanted.length; i++) {
    const name = wanted[i]!;
    if (name === '*') request.forEach(take);
    else take(name, request.getHeader(name));
  }
  take('origin', request.getHeader('origin'));
  if (method === 'GET') take('accept-encoding', request.getHeader('accept-encoding'));
  return headers ?? NO_HEADERS;
}

/** Whether `Accept-Encoding` names gzip, and not with the weight 0 (RFC 9110, section 12.5.3). */
function takesGzip(header: string): boolean {
  return /(?:^|,)\s*gzip\s*(?:$|,|;\s*q=(?!0(?:\.0*)?\s*(?:,|$)))/i.test(header);
}

function methodNotAllowed(method: string, methods: readonly Method[]): Answer {
  return {
    ...problem('method-not-allowed', `${method} is not served here, but ${methods.join(', ')}`),
    headers: [['Allow', methods.join(', ')]],
  };
}

function isWithoutBody(request: Request): boolean {
  return Number(request.getHeader('content-length') || 0) === 0 && request.getHeader('transfer-encoding') === '';
}

function isJson(contentType: string): boolean {
  return /^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i.test(contentType);
}

/** The caller's Client Identifier, which the hosted product takes from the query. */
function clientIdOf(query: string): string {
  // Its name may be written with percent signs.
  if (query === '' || !(query.includes('client') || query.includes('%'))) return '';
  const values = new URLSearchParams(query);
  return values.get('client_id') ?? values.get('clientId') ?? '';
}
