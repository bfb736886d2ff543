/**
 * TargetQuestion: what is left to ask about a P2P message when all is judged that the sender's shard knows, and the first statement that matches depends on
 * attributes of the target. Only the shard that owns the target knows those, so the question travels with the message, and whoever has the target answers it.
 *
 *   | decision if no entry matches 32 | length 8, sender's Client Identifier, for the log | entries, the first that matches decides
 *   entry:     | length 16 | decision 32 | conditions, all must hold
 *   condition: | length 16, name | length 16 of the rest | patterns, one must match: length 16, pattern | …
 *
 * It holds all that it needs: the shard that answers may have other statements already. A target without the attribute, and one without a session, matches nothing.
 *
 * Hot path.
 */
import { type AttributeBytes, AttributeRange, findAttribute, joined } from './attribute-bytes.ts';
import { type Pattern, rangeMatches } from './pattern.ts';

export type TargetQuestion = Uint8Array;

/** No question: nothing is left to ask. */
export const NO_QUESTION: TargetQuestion = new Uint8Array(0);

/** Longer ones are not asked; the answer is no. */
export const QUESTION_BYTES_MAX = 8192;

/** Of the sender's name, as much as a line of the log can bear. */
const SENDER_BYTES_MAX = 128;
const ENTRIES_AT = 5;

/** What an attribute of the target must be: one of the patterns. */
export interface TargetCondition {
  readonly name: Uint8Array;
  readonly patterns: readonly Pattern[];
}

/** The part of a question that stands for one statement. */
export function questionEntry(decision: number, conditions: readonly TargetCondition[]): Uint8Array {
  const parts: Uint8Array[] = [word(decision)];
  for (let i = 0; i < conditions.length; i++) {
    const { name, patterns } = conditions[i]!;
    const rest: Uint8Array[] = [];
    for (let n = 0; n < patterns.length; n++) rest.push(half(patterns[n]!.length), patterns[n]!);
    const body = joined(rest);
    parts.push(half(name.length), name, half(body.length), body);
  }
  const body = joined(parts);
  return joined([half(body.length), body]);
}

/** @param sender UTF-8 of its Client Identifier; @param otherwise the decision where no entry matches */
export function questionOf(sender: Uint8Array, entries: readonly Uint8Array[], otherwise: number): TargetQuestion {
  const length = Math.min(sender.length, SENDER_BYTES_MAX);
  return joined([word(otherwise), Uint8Array.of(length), sender.subarray(0, length), joined(entries)]);
}

/** Where the sender's name ends, which begins at `senderAt(at)`. */
export function senderEnd(question: Uint8Array, at: number): number {
  return senderAt(at) + question[at + 4]!;
}

export function senderAt(at: number): number {
  return at + ENTRIES_AT;
}

const found: AttributeRange = new AttributeRange();

/** Answers question[at, end) for a target with these attributes; null: it has none, or is not there. @returns the decision */
export function answerOf(question: Uint8Array, at: number, end: number, attributes: AttributeBytes | null): number {
  let entry = attributes === null ? end : senderEnd(question, at);
  while (entry < end) {
    const next = entry + 2 + readHalf(question, entry);
    if (holds(question, entry + 6, next, attributes!)) return readWord(question, entry + 2);
    entry = next;
  }
  return readWord(question, at);
}

/** Whether all conditions in question[at, end) hold. */
function holds(question: Uint8Array, at: number, end: number, attributes: AttributeBytes): boolean {
  let condition = at;
  while (condition < end) {
    const nameAt = condition + 2;
    const nameEnd = nameAt + readHalf(question, condition);
    const next = nameEnd + 2 + readHalf(question, nameEnd);
    if (!findAttribute(attributes, question, nameAt, nameEnd, found)) return false;
    if (!matchesOne(question, nameEnd + 2, next, attributes)) return false;
    condition = next;
  }
  return true;
}

function matchesOne(question: Uint8Array, at: number, end: number, attributes: AttributeBytes): boolean {
  let pattern = at;
  while (pattern < end) {
    const next = pattern + 2 + readHalf(question, pattern);
    if (rangeMatches(question, pattern + 2, next, attributes, found.at, found.end)) return true;
    pattern = next;
  }
  return false;
}

function half(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value & 0xff);
}

function word(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

function readHalf(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

function readWord(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}
