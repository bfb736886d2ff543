/**
 * Desk: questions of a route to the supervisor, which alone knows and changes what the whole broker has, and its answers as answers to the request.
 */
import { z } from 'zod';
import { SUPERVISOR } from '../shard/asks.ts';
import type { Call } from './call.ts';
import { type Fault, type ProblemCode, problem } from './problem.ts';
import { type Answer, LATER } from './route.ts';

/** What the supervisor says instead of what was asked for. */
interface RefusalValue {
  readonly problem: ProblemCode;
  readonly detail: string;
  readonly faults: readonly Fault[];
}

const OK = (body: object): Answer => ({ status: 200, body });

/**
 * Asks the supervisor.
 * @param answer makes the answer of what it says; absent: that is the body
 */
export function askSupervisor<T extends object>(call: Call, name: string, value: object, answer: (result: T) => Answer = OK): typeof LATER {
  const took = (result: unknown): void => {
    if (result === null) call.answer(problem('unavailable', 'the broker cannot answer this now; try again'));
    else if (isRefusal(result)) call.answer(problemOf(result));
    else call.answer(answer(result as T));
  };
  const { asks } = call.shard;
  const { http } = call.shard.settings;
  const isChange = call.route?.isChange === true;
  const milliseconds = isChange ? http.changeTimeoutMilliseconds : http.timeoutMilliseconds;
  asks.ask(SUPERVISOR, name, value, took, milliseconds);
  // Its time begins when the handler has said that the answer comes later.
  if (isChange) queueMicrotask(() => call.mayTake(milliseconds));
  return LATER;
}

function isRefusal(result: unknown): result is RefusalValue {
  return typeof result === 'object' && result !== null && 'problem' in result && 'detail' in result;
}

function problemOf({ problem: code, detail, faults }: RefusalValue): Answer {
  return problem(code, detail, faults.length === 0 ? {} : { errors: faults });
}

/** 204, whatever the supervisor says. */
export function done(): Answer {
  return { status: 204 };
}

export const PAGE_MAX = 1000;

/** What a list is asked for. */
export const pageQuery: { readonly limit: z.ZodDefault<z.ZodCoercedNumber>; readonly cursor: z.ZodOptional<z.ZodString> } = {
  limit: z.coerce.number().int().min(1).max(PAGE_MAX).default(100).describe('Entries of one page.'),
  cursor: z.string().max(4096).optional().describe('`next` of the page before; absent: the beginning.'),
};

/** A page of a list. */
export function pageOf<T extends z.ZodType>(
  item: T,
): z.ZodObject<{ data: z.ZodArray<T>; next: z.ZodNullable<z.ZodString>; total: z.ZodOptional<z.ZodInt> }> {
  return z.object({
    data: z.array(item),
    next: z.string().nullable().describe('`cursor` of the next page; null: this was the last.'),
    total: z.int().optional(),
  });
}

/** A switch in a query: `?keys=true`. */
export const flagQuery: z.ZodPipe<z.ZodDefault<z.ZodEnum<{ true: 'true'; false: 'false' }>>, z.ZodTransform<boolean, 'true' | 'false'>> = z
  .enum(['true', 'false'])
  .default('false')
  .transform((word) => word === 'true');

/** A time as ISO 8601. */
export const isoTime: z.ZodISODateTime = z.iso.datetime({ offset: true });

/** The place of an authenticator, from 0. */
export const authenticatorQuery: z.ZodOptional<z.ZodCoercedNumber> = z.coerce
  .number()
  .int()
  .min(0)
  .max(63)
  .optional()
  .describe('Place of the authenticator in `auth.authenticators`, from 0; absent: the first of this kind.');
