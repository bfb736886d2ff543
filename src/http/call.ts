/**
 * Call: one HTTP request from its first line to the end of its answer, as handlers see it.
 */
import type { Timer } from '../base/timers.ts';
import type { Shard } from '../shard/shard.ts';
import type { HttpWay } from '../transports/http-door.ts';
import type { Response } from '../transports/u-web-sockets.ts';
import type { Caller } from './caller.ts';
import type { Answer, Route } from './route.ts';

/** What sends answers: the server. */
export interface AnswerSender {
  send(call: Call, answer: Answer): void;
  beginStream(call: Call, type: string): HttpStream;
}

const nothing = (): void => {};

export class Call {
  readonly shard: Shard;
  readonly response: Response;
  readonly way: HttpWay;
  /** Request ID: what the client has given, or one of ours. */
  readonly id: string;
  readonly method: string;
  /** As it was sent, without the query. */
  readonly path: string;
  /** Behind the question mark, as it was sent. */
  readonly queryText: string;
  /** IP address of the client; '' over a Unix socket. */
  readonly address: string;
  /** Of those that the route names, and a few more; small letters. */
  readonly headers: ReadonlyMap<string, string>;
  readonly route: Route | null;
  /** Null until it is known; routes without a role have none. */
  caller: Caller | null;
  /** What the audit log is told of a change beside the request: names, never secrets. */
  facts: Readonly<Record<string, unknown>> | null;
  /** What has come of the body, and its length; the server's. */
  body: Buffer | null;
  bodyLength: number;
  /** Set by the server: called when the caller is known. */
  judged: () => void;
  /** The audit log has it. */
  isAudited: boolean;
  /** The answer is given, or the client has gone. */
  isOver: boolean;
  /** Set by a handler that answers later: called when the client goes before. */
  gone: () => void;
  /** Ends the waiting for a later answer; the server's. */
  timer: Timer | null;
  /** How long a later answer may take; 0: `http.timeout`. */
  milliseconds: number;
  /** It is among those under way; the server's. */
  isCounted: boolean;
  /** `performance.now()`. */
  readonly begunAt: number;
  /** The connection ends with its answer. */
  isLast: boolean;
  /** Nothing of the answer is sent beside its head. */
  readonly isHead: boolean;
  private readonly sender: AnswerSender;

  constructor(
    shard: Shard,
    sender: AnswerSender,
    response: Response,
    way: HttpWay,
    id: string,
    method: string,
    path: string,
    queryText: string,
    address: string,
    headers: ReadonlyMap<string, string>,
    route: Route | null,
  ) {
    this.shard = shard;
    this.sender = sender;
    this.response = response;
    this.way = way;
    this.id = id;
    this.method = method;
    this.path = path;
    this.queryText = queryText;
    this.address = address;
    this.headers = headers;
    this.route = route;
    this.caller = null;
    this.body = null;
    this.bodyLength = 0;
    this.judged = nothing;
    this.isAudited = false;
    this.facts = null;
    this.isOver = false;
    this.gone = () => {};
    this.timer = null;
    this.milliseconds = 0;
    this.isCounted = false;
    this.begunAt = performance.now();
    this.isLast = false;
    this.isHead = method === 'HEAD';
  }

  /** '' when the client has not sent it, or no route reads it. */
  header(lowerCaseName: string): string {
    return this.headers.get(lowerCaseName) ?? '';
  }

  /** Answers, for a handler that has said LATER. What comes after the first answer, or after the client has gone, is nobody's. */
  answer(answer: Answer): void {
    this.sender.send(this, answer);
  }

  /** The answer may take so long, counted from now, instead of `http.timeout`. For a handler that says LATER, or has said so. */
  mayTake(milliseconds: number): void {
    this.milliseconds = milliseconds;
    if (this.timer !== null) this.shard.timers.arm(this.timer, milliseconds);
  }

  /** Answers with a stream instead. */
  stream(type: string): HttpStream {
    return this.sender.beginStream(this, type);
  }
}

/** An answer without an end: Server-Sent Events, or a long list. */
export interface HttpStream {
  readonly isOpen: boolean;
  /** Bytes that the network has not taken are kept: whoever writes stops until `drained`. @returns false when it should stop */
  write(text: string | Uint8Array): boolean;
  /** There is room again. */
  drained: () => void;
  /** The client has gone. */
  gone: () => void;
  end(): void;
}
