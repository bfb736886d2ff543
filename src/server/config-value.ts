/**
 * The kinds of values that a configuration key takes: durations, sizes, counts, choices, texts, addresses. Each is a zod schema that knows how to say
 * what it expects.
 *
 * This file knows no key. A value comes in as YAML gives it (number, string, boolean, list) and goes out in the unit of `Settings`. Invariant: every
 * message is a half sentence that can follow `key: `, such as `expected a size such as 64KiB or 1MiB, not "big"`.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { z } from 'zod';

/** What the manual and the overrides need to know about a key, beside its schema. */
export interface KeyFacts {
  /** The kind of value, in words, for the manual. */
  readonly type: string;
  /** Default as a person writes it in the file. */
  readonly default: string;
  /** Meaning, one or more sentences. */
  readonly text: string;
  /** A text takes an override as it stands; anything else is read as YAML. */
  readonly verbatim: boolean;
  readonly input?: ValueInput | undefined;
}

/** How a form asks for a value. Absent: as a text. */
export interface ValueInput {
  /** `choice`: one of the values. `number`: a number. `pairs`: names with texts. `rate` and `byte-rate`: one of the values, or so much in a second, with a burst. */
  readonly kind: 'choice' | 'number' | 'pairs' | 'rate' | 'byte-rate';
  readonly values: readonly (string | number | boolean)[];
}

/** A schema for one kind of value, with the words for it. */
export interface Kind<T> {
  readonly schema: z.ZodType<T, unknown>;
  readonly type: string;
  readonly verbatim: boolean;
  readonly input?: ValueInput;
}

/** Session Expiry Interval 0xFFFFFFFF: the session does not expire. */
export const never = 4_294_967_295;

const durationUnits: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

const sizeUnits: Record<string, number> = {
  b: 1,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
};

/** The value as a reader of an error message recognises it. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** Number and unit of a text such as `1.5MiB`, in the base unit; NaN when it is not one. A bare number counts `bare` base units. */
function measure(value: unknown, units: Record<string, number>, bare: number): number {
  if (typeof value === 'number') return value * bare;
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(value.trim()) : null;
  if (match === null) return Number.NaN;
  const unit = match[2] === '' ? bare : units[match[2]!.toLowerCase()];
  return unit === undefined ? Number.NaN : Math.round(Number(match[1]) * unit);
}

/**
 * A schema made of one function: it returns the value, or the half sentence that says what was expected.
 * It is nothing but a transformation: with `z.unknown()` before it there were 1,110 schemas instead of 750, which took 10 ms more of a start.
 */
function parsed<T>(read: (value: unknown) => { value: T } | string): z.ZodType<T, unknown> {
  return z.transform((value: unknown, context): T => {
    const result = read(value);
    if (typeof result !== 'string') return result.value;
    context.addIssue({ code: 'custom', message: result, input: value });
    return z.NEVER;
  });
}

export interface DurationOptions {
  readonly unit: 'seconds' | 'milliseconds';
  readonly min: number;
  readonly max?: number;
  /** What `never` stands for; without it `never` is refused. */
  readonly never?: number;
}

/** A span of time; bounds and result in the unit of the options. */
export function duration(options: DurationOptions): Kind<number> {
  const scale = options.unit === 'seconds' ? 1_000 : 1;
  const max = options.max ?? never;
  const words = options.never === undefined ? '10s, 500ms, 3m or 2h' : '10s, 3m, 2h, 7d or never';
  const name = (value: number): string => (options.unit === 'seconds' ? `${value}s` : `${value}ms`);
  const schema = parsed((value) => {
    if (value === 'never' && options.never !== undefined) return { value: options.never };
    const milliseconds = measure(value, durationUnits, 1_000);
    if (Number.isNaN(milliseconds)) return `expected a duration such as ${words}, not ${show(value)}`;
    const result = milliseconds / scale;
    if (!Number.isInteger(result)) return `expected whole ${options.unit}, not ${show(value)}`;
    if (result < options.min || result > max) return `expected a duration from ${name(options.min)} to ${name(max)}, not ${show(value)}`;
    return { value: result };
  });
  return { schema, type: options.never === undefined ? 'duration' : 'duration or `never`', verbatim: false };
}

/** A number of bytes. `powerOfTwo` for what is masked. */
export function size(min: number, max: number, powerOfTwo: boolean = false): Kind<number> {
  const schema = parsed((value) => {
    const bytes = measure(value, sizeUnits, 1);
    if (!Number.isInteger(bytes)) return `expected a size such as 64KiB, 1MiB or 10MB, not ${show(value)}`;
    if (bytes < min || bytes > max) return `expected a size from ${min} to ${max} bytes, not ${show(value)}`;
    if (powerOfTwo && 2 ** Math.round(Math.log2(bytes)) !== bytes)
      return `expected a power of two such as 512KiB or 1MiB, not ${show(value)}`;
    return { value: bytes };
  });
  return { schema, type: powerOfTwo ? 'size, a power of two' : 'size', verbatim: false };
}

/** A number of bytes, or `auto`, which stands for `resolve()`. */
export function sizeOrAuto(min: number, resolve: () => number): Kind<number> {
  const plain = size(min, Number.MAX_SAFE_INTEGER);
  const schema = z.union([z.literal('auto').transform(resolve), plain.schema], {
    error: (issue) => `expected auto or a size of at least ${min} bytes such as 512MiB, not ${show(issue.input)}`,
  });
  return { schema, type: '`auto` or size', verbatim: false };
}

/** A whole number. */
export function count(min: number, max: number): Kind<number> {
  const schema = parsed((value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max
      ? { value }
      : `expected a whole number from ${min} to ${max}, not ${show(value)}`,
  );
  return { schema, type: `number, ${min} to ${max}`, verbatim: false, input: { kind: 'number', values: [] } };
}

/** A whole number, or `auto`, which stands for `resolve()`. */
export function countOrAuto(min: number, max: number, resolve: () => number): Kind<number> {
  const schema = z.union([z.literal('auto').transform(resolve), count(min, max).schema], {
    error: (issue) => `expected auto or a whole number from ${min} to ${max}, not ${show(issue.input)}`,
  });
  return { schema, type: `\`auto\` or number, ${min} to ${max}`, verbatim: false };
}

/** A number from 0 to 1. */
export function fraction(): Kind<number> {
  const schema = z.custom<number>((value) => typeof value === 'number' && value >= 0 && value <= 1, {
    error: (issue) => `expected a number from 0 to 1, not ${show(issue.input)}`,
  });
  return { schema, type: 'number from 0 to 1', verbatim: false, input: { kind: 'number', values: [] } };
}

/** true or false. */
export function flag(): Kind<boolean> {
  const schema = z.boolean({ error: (issue) => `expected true or false, not ${show(issue.input)}` });
  return { schema, type: 'true or false', verbatim: false, input: { kind: 'choice', values: [true, false] } };
}

/** One of several words or numbers. */
export function choice<const T extends string | number>(...values: readonly T[]): Kind<T> {
  const schema = z.literal([...values], { error: (issue) => `expected one of ${values.join(', ')}, not ${show(issue.input)}` });
  return { schema, type: values.map((value) => `\`${value}\``).join(', '), verbatim: false, input: { kind: 'choice', values } };
}

/** A text that `check` accepts; it returns the half sentence against it, or undefined. */
export function text(check: (value: string) => string | undefined): Kind<string> {
  const schema = parsed((value) => {
    if (typeof value !== 'string') return `expected a text, not ${show(value)} (quotes make it one)`;
    return check(value) ?? { value };
  });
  return { schema, type: 'text', verbatim: true };
}

/** `*`, or a list of texts that `check` accepts. */
export function anyOrList(check: (value: string) => string | undefined): Kind<'*' | readonly string[]> {
  const schema = parsed<'*' | readonly string[]>((value) => {
    if (value === '*') return { value };
    if (!Array.isArray(value) || value.length === 0) return `expected '*' or a list such as [cmd, rpc], not ${show(value)}`;
    const list: string[] = [];
    for (const entry of value) {
      if (typeof entry !== 'string') return `expected texts in the list, not ${show(entry)} (quotes make it one)`;
      const problem = check(entry);
      if (problem !== undefined) return problem;
      list.push(entry);
    }
    return { value: list };
  });
  return { schema, type: "`'*'` or list of texts", verbatim: false };
}

/** A list of texts that `check` accepts, in words `such`. */
export function textList(
  check: (value: string) => string | undefined,
  such: string,
  max: number = Number.POSITIVE_INFINITY,
): Kind<readonly string[]> {
  const schema = parsed<readonly string[]>((value) => {
    if (!Array.isArray(value)) return `expected a list of ${such}, not ${show(value)}`;
    if (value.length > max) return `expected at most ${max} entries, not ${value.length}`;
    for (const entry of value) {
      if (typeof entry !== 'string') return `expected texts in the list, not ${show(entry)} (quotes make it one)`;
      const problem = check(entry);
      if (problem !== undefined) return problem;
    }
    return { value: value as string[] };
  });
  return { schema, type: 'list of texts', verbatim: false };
}

/** Where to listen, taken apart: host and port, or the path of a socket in the file system ('' for the others). */
export interface Bind {
  readonly host: string;
  readonly port: number;
  readonly path: string;
}

/** `host:port`; an IPv6 address stands in brackets. What begins with `/` or `.` is a path. */
export function bind(): z.ZodType<Bind, unknown> {
  return parsed<Bind>((value) => {
    if (typeof value === 'string' && /^\.{0,2}\/[^\0]+$/.test(value)) return { value: { host: '', port: 0, path: value } };
    const match = typeof value === 'string' ? /^(?:\[([^[\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(value) : null;
    const port = match === null ? Number.NaN : Number(match[3]);
    const isHost = match !== null && (match[1] === undefined ? isHostName(match[2]!) : isIPv6(match[1]));
    if (!isHost || port > 65_535) return `expected address:port such as 127.0.0.1:1883 or [::1]:1883, not ${show(value)}`;
    return { value: { host: match[1] ?? match[2]!, port, path: '' } };
  });
}

function isHostName(host: string): boolean {
  // Digits and dots alone are meant as an IPv4 address, and must be a whole one.
  return /^[\d.]+$/.test(host) ? isIPv4(host) : /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i.test(host);
}

/** Whether only this machine can reach the address: 127.0.0.0/8, ::1, localhost. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}
