/**
 * Idempotency keys: a request that a client repeats with the same `Idempotency-Key`, because it does not know what became of the first, is done once and answered alike.
 *
 *   request with a key → shard that owns hash(caller, key) → new: done here, and what came of it is told to the owner │ known: the answer again │ under way: 409
 *
 * It is remembered in memory: until a day has passed, the owner has no room, or its thread ends. What was refused, and so not done, is forgotten: it may be tried again.
 */
import { createHash, randomBytes } from 'node:crypto';
import { utf8Bytes } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import { shardOfSlot, slotOf } from '../routing/slot.ts';
import { counter } from '../shard/counters.ts';
import type { Shard } from '../shard/shard.ts';
import type { Call } from './call.ts';
import { Problem, problem } from './problem.ts';
import type { Answer } from './route.ts';

const COUNT = counter('http/idempotency/count');
const REPEATED = counter('http/idempotency/repeated');
const FORGOTTEN = counter('http/idempotency/forgotten');

const REMEMBERED_MILLISECONDS = 24 * 3600 * 1000;
/** A request that is under way so long has lost its shard. */
const UNDER_WAY_MILLISECONDS = 15 * 60 * 1000;
/** What one shard remembers; of more the oldest is forgotten. */
const KEYS_MAX = 50_000;
const BYTES_MAX = 32 * 1024 * 1024;
/** What a key costs beside its texts. */
const KEY_BYTES = 300;

const NO_BODY = new Uint8Array(0);
const KEY = /^[\x21-\x7e]{1,255}$/;
const BEGIN = 'idempotency/begin';
const END = 'idempotency/end';

/** Whoever a handler answers to. */
export interface Replier {
  /** The first answer counts. */
  answer(answer: Answer): void;
}

/** A question to the owner of a key, and what it is told in the end. */
interface KeyFacts {
  readonly key: string;
  /** Of all that the request asks. */
  readonly print: string;
  /** Of this one attempt: the end of another says nothing about it. */
  readonly attempt: string;
}

/** What is said to a request; null in `answer`: forget it. */
interface EndFacts extends KeyFacts {
  readonly answer: Answer | null;
}

type BeginAnswer = { readonly state: 'new' | 'under-way' | 'other' } | { readonly state: 'done'; readonly answer: Answer };

interface Remembered {
  readonly print: string;
  readonly attempt: string;
  /** Null: under way. */
  answer: Answer | null;
  until: number;
  bytes: number;
}

/** The keys that one shard owns. */
class Keys {
  private readonly shard: Shard;
  /** Oldest first. */
  private readonly known: Map<string, Remembered>;
  private bytes: number;

  constructor(shard: Shard) {
    this.shard = shard;
    this.known = new Map();
    this.bytes = 0;
  }

  begin({ key, print, attempt }: KeyFacts): BeginAnswer {
    const { now } = this.shard.timers;
    const before = this.known.get(key);
    if (before !== undefined && before.until > now) {
      if (before.print !== print) return { state: 'other' };
      if (before.answer === null) return { state: 'under-way' };
      this.shard.counters[REPEATED]!++;
      return { state: 'done', answer: before.answer };
    }
    this.forget(key);
    this.put(key, { print, attempt, answer: null, until: now + UNDER_WAY_MILLISECONDS, bytes: KEY_BYTES + key.length + print.length });
    return { state: 'new' };
  }

  end({ key, attempt, answer }: EndFacts): void {
    const one = this.known.get(key);
    if (one === undefined || one.attempt !== attempt || one.answer !== null) return;
    this.forget(key);
    if (answer === null) return;
    one.answer = answer;
    one.until = this.shard.timers.now + REMEMBERED_MILLISECONDS;
    one.bytes += typeof answer.body === 'string' ? answer.body.length : 0;
    this.put(key, one);
  }

  private put(key: string, one: Remembered): void {
    const { shard, known } = this;
    const { now } = shard.timers;
    this.bytes += one.bytes;
    known.set(key, one);
    for (const [oldest, { until }] of known) {
      const isOver = until <= now;
      if (!isOver && known.size <= KEYS_MAX && this.bytes <= BYTES_MAX) break;
      if (!isOver) shard.counters[FORGOTTEN]!++;
      this.forget(oldest);
    }
    shard.counters[COUNT] = known.size;
  }

  private forget(key: string): void {
    const one = this.known.get(key);
    if (one === undefined) return;
    this.known.delete(key);
    this.bytes -= one.bytes;
    this.shard.counters[COUNT] = this.known.size;
  }
}

/** Lets this shard own keys. */
export function handleIdempotency(shard: Shard): void {
  const keys = new Keys(shard);
  shard.asks.handle(BEGIN, (value, answer) => answer(keys.begin(value as KeyFacts)));
  shard.asks.handle(END, (value, answer) => {
    keys.end(value as EndFacts);
    answer(null);
  });
}

/** Tells the owner of the key before it answers. */
class KeyedReplier implements Replier {
  private readonly call: Call;
  private readonly owner: number;
  private readonly facts: KeyFacts;
  private isOver: boolean;

  constructor(call: Call, owner: number, facts: KeyFacts) {
    this.call = call;
    this.owner = owner;
    this.facts = facts;
    this.isOver = false;
  }

  answer(answer: Answer): void {
    if (this.isOver) return;
    this.isOver = true;
    const whole = withText(answer);
    // The caller may repeat the request at once, on another shard: its owner hears of the end first.
    this.call.shard.asks.ask(this.owner, END, { ...this.facts, answer: wasDone(answer) ? whole : null }, () => this.call.answer(whole));
  }

  /** It was not even tried. */
  giveUp(): void {
    this.isOver = true;
    this.call.shard.asks.ask(this.owner, END, { ...this.facts, answer: null }, () => {});
  }
}

/** Problems of messages that were sent all the same. */
const DONE: readonly unknown[] = ['timeout', 'expired', 'dropped', 'session-ended'];

function wasDone({ status, body }: Answer): boolean {
  if (status >= 400) return hasDone(body);
  // Of a batch one is enough: it must not be published twice.
  const results = (body as { readonly results?: unknown } | undefined)?.results;
  if (!Array.isArray(results)) return true;
  return results.some(({ problem: refusal }: { readonly problem?: object }) => refusal === undefined || hasDone(refusal));
}

function hasDone(told: unknown): boolean {
  return DONE.includes((told as { readonly code?: unknown } | undefined)?.code);
}

/** The body as text, for the way to another shard. */
function withText(answer: Answer): Answer {
  const { body } = answer;
  if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) return answer;
  return { ...answer, body: JSON.stringify(body), type: answer.type ?? 'application/json' };
}

/**
 * Does what a request asks, once for each key. For a handler, whose answer this is.
 * @param body it is in place; `run` gets it, or a copy
 * @param run answers at once, or later (null) through the Replier
 */
export function once(
  call: Call,
  body: Uint8Array | (() => Uint8Array),
  run: (reply: Replier, body: Uint8Array) => Answer | null,
): Answer | null {
  const key = call.header('idempotency-key');
  if (key === '') return run(call, typeof body === 'function' ? NO_BODY : body);
  if (!KEY.test(key)) throw new Problem('bad-request', 'Idempotency-Key: expected 1 to 255 characters of visible ASCII');
  const { shard } = call;
  const kept = typeof body === 'function' ? body() : body.slice();
  const print = createHash('sha256')
    .update(`${call.method} ${call.path}?${call.queryText}\n${call.header('x-mqtt-user-property')}\n`)
    .update(kept)
    .digest('base64');
  const facts = { key: `${call.caller!.owner}\n${key}`, print, attempt: randomBytes(8).toString('base64') };
  const bytes = utf8Bytes(facts.key);
  const owner = shardOfSlot(slotOf(hash32(bytes, 0, bytes.length)), shard.shards);
  const reply = new KeyedReplier(call, owner, facts);
  shard.asks.ask(owner, BEGIN, facts, (value) => {
    if (call.isOver) {
      if ((value as BeginAnswer | null)?.state === 'new') reply.giveUp();
      return;
    }
    begun(call, reply, value as BeginAnswer | null, () => run(reply, kept));
  });
  return null;
}

function begun(call: Call, reply: KeyedReplier, value: BeginAnswer | null, run: () => Answer | null): void {
  if (value === null) {
    // It may have noted the key all the same.
    reply.giveUp();
    call.answer(problem('unavailable', 'the shard that knows the idempotency key does not answer; try again'));
  } else if (value.state === 'done') call.answer({ ...value.answer, headers: [['Idempotency-Replayed', 'true']] });
  else if (value.state === 'other') call.answer(problem('unprocessable', 'this idempotency key was used for another request'));
  else if (value.state === 'under-way') call.answer(problem('conflict', 'the request with this idempotency key is still under way'));
  else {
    try {
      const answer = run();
      if (answer !== null) reply.answer(answer);
    } catch (error) {
      // In an answer of another shard nobody else would catch it.
      const isProblem = error instanceof Problem;
      if (!isProblem) call.shard.log.error({ id: call.id, error: String(error) }, 'an HTTP handler failed');
      reply.answer(isProblem ? error.answer : problem('internal', `the log has more under the request ID ${call.id}`));
    }
  }
}
