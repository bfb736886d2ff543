/**
 * Problems: what an answer says that is no success, as RFC 9457 has it. `code` is for programs, `detail` for people.
 */
import type { Answer } from './route.ts';

export type ProblemCode =
  | 'bad-request'
  | 'unauthorized'
  | 'forbidden'
  | 'not-found'
  | 'no-session'
  | 'method-not-allowed'
  | 'not-acceptable'
  | 'conflict'
  | 'offline'
  | 'dropped'
  | 'expired'
  | 'session-ended'
  | 'too-large'
  | 'unsupported-media-type'
  | 'unprocessable'
  | 'too-many-requests'
  | 'quota-exceeded'
  | 'internal'
  | 'not-implemented'
  | 'unavailable'
  | 'store-degraded'
  | 'timeout';

/** Every kind of problem, with its status and its title. */
export const PROBLEMS: Readonly<Record<ProblemCode, readonly [status: number, title: string]>> = {
  'bad-request': [400, 'The request is not valid'],
  unauthorized: [401, 'Credentials are missing or wrong'],
  forbidden: [403, 'Not allowed'],
  'not-found': [404, 'There is no such thing'],
  'no-session': [404, 'The client has no session'],
  'method-not-allowed': [405, 'This method is not served here'],
  'not-acceptable': [406, 'None of the wanted representations is there'],
  conflict: [409, 'This contradicts what is there'],
  offline: [409, 'The client is not connected'],
  dropped: [409, 'The client does not take the message'],
  expired: [409, 'The message has expired'],
  'session-ended': [409, 'The session of the client has ended'],
  'too-large': [413, 'The request is too large'],
  'unsupported-media-type': [415, 'This kind of content is not understood'],
  unprocessable: [422, 'The content is not valid'],
  'too-many-requests': [429, 'Too many requests'],
  'quota-exceeded': [429, 'A quota is used up'],
  internal: [500, 'The broker has failed'],
  'not-implemented': [501, 'This is switched off'],
  unavailable: [503, 'The broker cannot do this now'],
  'store-degraded': [503, 'The store takes nothing now'],
  timeout: [504, 'There was no answer in time'],
};

export const PROBLEM_TYPE = 'application/problem+json';

/** One thing that is wrong with a value of a request. */
export interface Fault {
  /** Where: `body.messages.3.topic`, `query.qos`. */
  readonly at: string;
  readonly message: string;
}

/**
 * An answer that tells a problem.
 * @param detail a sentence for whoever has asked: what is wrong, and what to do
 * @param more further members of the answer, such as `errors` or `retryAfter`
 */
export function problem(code: ProblemCode, detail: string, more: Readonly<Record<string, unknown>> = {}): Answer {
  const [status, title] = PROBLEMS[code];
  return { status, type: PROBLEM_TYPE, body: { type: `urn:onehop:problem:${code}`, title, status, code, detail, ...more } };
}

/** The same for what is soon over: whoever asks again waits so long before. */
export function retryAfter(seconds: number, answer: Answer): Answer {
  return { ...answer, headers: [...(answer.headers ?? []), ['Retry-After', String(seconds)]] };
}

/** Thrown by what reads a request outside of the packet path; it becomes the answer. */
export class Problem extends Error {
  readonly answer: Answer;

  constructor(code: ProblemCode, detail: string, more: Readonly<Record<string, unknown>> = {}) {
    super(detail);
    this.name = 'Problem';
    this.answer = problem(code, detail, more);
  }
}
