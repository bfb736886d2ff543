/**
 * Topic patterns: the Topic Filters of statements. They are filters of MQTT (`+`, `#`) whose levels may also hold `*` for any characters, and variables.
 *
 * Three questions are asked of one: whether it matches a Topic Name (per message, on bytes), whether it covers a Topic Filter (every topic of the filter is also
 * one of the pattern), and whether it overlaps one (some topic is of both). As in MQTT, a wildcard at the very beginning does not stand for topics that begin
 * with `$` [MQTT-4.7.2-1].
 *
 * Hot path.
 */
import { utf8Bytes } from '../base/bytes.ts';
import {
  ANY,
  beginsWithStar,
  bindPieces,
  isAny,
  literalPattern,
  type Pattern,
  type Piece,
  patternMatches,
  readPieces,
  type Variables,
} from './pattern.ts';

const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;
const DOLLAR = 0x24;

/** Before a text whose wildcards and variables are plain characters. No topic of a configuration holds it. */
export const LITERAL = '\u0000';

/** A topic pattern of a statement, before the client is known. */
export interface TopicTemplate {
  readonly levels: readonly (readonly Piece[])[];
  readonly hasHash: boolean;
  /** Of a literal text with wildcards: the only filter that it is about; else null. */
  readonly literal: string | null;
  /** The pattern, where it is the same for all clients; else null. */
  readonly shared: TopicPattern | null;
}

/** A topic pattern for one client. */
export interface TopicPattern {
  /** Without a last level `#`. */
  readonly levels: readonly Pattern[];
  /** The last level is `#`: the topic above it, and everything below. */
  readonly hasHash: boolean;
  /** It begins with a wildcard. */
  readonly skipsDollar: boolean;
  readonly literal: string | null;
}

/** Takes a valid pattern apart. */
export function readTopic(text: string): TopicTemplate {
  if (text.startsWith(LITERAL)) return readLiteral(text.substring(LITERAL.length));
  const levels: Piece[][] = [];
  const parts = text.split('/');
  const hasHash = parts.at(-1) === '#';
  if (hasHash) parts.pop();
  for (const part of parts) levels.push(part === '+' ? [ANY] : readPieces(part, false));
  const template = { levels, hasHash, literal: null, shared: null };
  const hasVariables = levels.some((pieces) => pieces.some((piece) => typeof piece === 'string'));
  return hasVariables ? template : { ...template, shared: bindTopic(template, NO_VARIABLES) };
}

function readLiteral(text: string): TopicTemplate {
  const levels: Piece[][] = [];
  for (const part of text.split('/')) levels.push([literalPattern(part)]);
  const literal = text.includes('+') || text.includes('#') ? text : null;
  const template: TopicTemplate = { levels, hasHash: false, literal, shared: null };
  return { ...template, shared: bindTopic(template, NO_VARIABLES) };
}

/** For what has none. */
export const NO_VARIABLES: Variables = { valueOf: () => ANY };

/** The pattern for one client. */
export function bindTopic(template: TopicTemplate, variables: Variables): TopicPattern {
  if (template.shared !== null) return template.shared;
  const { hasHash, literal } = template;
  // Every client keeps one: an array that grows by push has room for 17.
  const levels = new Array<Pattern>(template.levels.length);
  for (let i = 0; i < levels.length; i++) levels[i] = bindPieces(template.levels[i]!, variables);
  const first = template.levels[0]?.[0];
  // What stands for a value that cannot be used denies `$` topics as well.
  const skipsDollar = template.levels.length === 0 || (typeof first === 'object' && beginsWithStar(first));
  return { levels, hasHash, skipsDollar, literal };
}

/** Whether it matches the Topic Name `bytes[at, end)`. */
export function topicMatches(pattern: TopicPattern, bytes: Uint8Array, at: number, end: number): boolean {
  if (pattern.skipsDollar && bytes[at] === DOLLAR) return false; // [MQTT-4.7.2-1]
  const { levels } = pattern;
  // Beginning of the next level; behind `end` when there is none.
  let from = at;
  for (let i = 0; i < levels.length; i++) {
    if (from > end) return false;
    let to = from;
    while (to < end && bytes[to] !== SLASH) to++;
    if (!patternMatches(levels[i]!, bytes, from, to)) return false;
    from = to + 1;
  }
  return pattern.hasHash || from > end; // [MQTT-4.7.1-1]
}

/** A Topic Filter of a SUBSCRIBE, taken apart once for all patterns: a deep one would cost each of them tens of microseconds. */
export interface AskedFilter {
  readonly text: string;
  readonly bytes: Uint8Array;
  /** Where its levels begin, without a last level `#`; each ends before the `/` of the next. */
  readonly starts: readonly number[];
  /** End of the last of them. */
  readonly end: number;
  readonly hasHash: boolean;
}

/** @param text a valid Topic Filter without `$share/…/` */
export function readFilter(text: string): AskedFilter {
  const bytes = utf8Bytes(text);
  const starts = [0];
  for (let i = 0; i < bytes.length; i++) if (bytes[i] === SLASH) starts.push(i + 1);
  const hasHash = bytes.at(-1) === HASH && starts.at(-1) === bytes.length - 1;
  const end = hasHash ? starts.pop()! - 1 : bytes.length;
  return { text, bytes, starts, end, hasHash };
}

function levelEnd({ starts, end }: AskedFilter, level: number): number {
  return level + 1 < starts.length ? starts[level + 1]! - 1 : end;
}

function isPlus(asked: AskedFilter, level: number): boolean {
  const at = asked.starts[level]!;
  return asked.bytes[at] === PLUS && levelEnd(asked, level) === at + 1;
}

function levelMatches(pattern: Pattern, asked: AskedFilter, level: number): boolean {
  return patternMatches(pattern, asked.bytes, asked.starts[level]!, levelEnd(asked, level));
}

/** Whether every topic that the filter matches is one of the pattern. */
export function covers(pattern: TopicPattern, asked: AskedFilter): boolean {
  if (pattern.literal !== null) return pattern.literal === asked.text;
  const { levels, hasHash } = pattern;
  const count = asked.starts.length;
  if (pattern.skipsDollar && asked.bytes[0] === DOLLAR) return false;
  if (asked.hasHash) {
    // There is no topic without a level, so `+/#` is all that `#` is.
    const isAll = count === 0 && levels.length === 1 && isAny(levels[0]!);
    if (!hasHash || (levels.length > count && !isAll)) return false;
    if (isAll) return true;
  } else if (levels.length > count || (levels.length < count && !hasHash)) return false;
  for (let i = 0; i < levels.length; i++) if (isPlus(asked, i) ? !isAny(levels[i]!) : !levelMatches(levels[i]!, asked, i)) return false;
  return true;
}

/** Whether some topic is one of the pattern and matches the filter. */
export function overlaps(pattern: TopicPattern, asked: AskedFilter): boolean {
  if (pattern.literal !== null) return pattern.literal === asked.text;
  const { levels } = pattern;
  const count = asked.starts.length;
  if (pattern.skipsDollar && asked.bytes[0] === DOLLAR) return false;
  // The filter begins with a wildcard, and what the pattern matches with `$`.
  if ((count === 0 || isPlus(asked, 0)) && levels.length > 0 && levels[0]![0] === DOLLAR) return false;
  const both = Math.min(levels.length, count);
  for (let i = 0; i < both; i++) if (!isPlus(asked, i) && !levelMatches(levels[i]!, asked, i)) return false;
  // The longer one goes on below the end of the other.
  if (levels.length > both) return asked.hasHash;
  return count === both || pattern.hasHash;
}
