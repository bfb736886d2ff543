/**
 * Patterns: what a statement writes for a Client Identifier, a User Name, an attribute or a level of a topic, compiled to tokens and compared with bytes. A token
 * is a byte of UTF-8, or a wildcard, for which bytes stand that UTF-8 never has: `*` for any characters, `?` for one.
 *
 * A pattern is made of pieces: tokens, and variables that stand for what is known of the client at hand. The value of a variable goes in as plain bytes, so a
 * `*` in a Client Identifier is no wildcard.
 *
 * Hot path.
 */
import { utf8Bytes } from '../base/bytes.ts';

/** Tokens. As bytes, a pattern can be sent to another shard. */
export type Pattern = Uint8Array;

/** `ClientId`, `Username`, `Attribute.…` or `Certificate.Subject.…`. */
export type VariableName = string;

/** Part of a pattern: fixed, or known when the client is. */
export type Piece = Pattern | VariableName;

/** What the variables stand for; one that must not be used stands for any characters. */
export interface Variables {
  valueOf(name: VariableName): Pattern;
}

export const STAR = 0xff;
export const QUESTION_MARK = 0xfe;
/** In what is compared: any characters, which nothing but a `*` covers. */
export const HOLE = 0xfd;
const STAR_BYTE = 0x2a;
const QUESTION_MARK_BYTE = 0x3f;

/** Any characters. */
export const ANY: Pattern = Uint8Array.of(STAR);

/** Finds the variables of a text. */
export const VARIABLE: RegExp =
  /\$\{(ClientId|Username|Attribute\.[\w.-]+|Certificate\.Subject\.(?:Country|Organization|OrganizationalUnit|State|CommonName|SerialNumber))\}/;

/** Tokens of a text. @param withQuestionMark whether `?` stands for one character, as in identities; in topics it is a character like others */
export function readPattern(text: string, withQuestionMark: boolean): Pattern {
  const bytes = utf8Bytes(text);
  const pattern = new Uint8Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    pattern[i] = byte === STAR_BYTE ? STAR : withQuestionMark && byte === QUESTION_MARK_BYTE ? QUESTION_MARK : byte;
  }
  return pattern;
}

/** Tokens that match these very bytes. */
export function literalPattern(text: string): Pattern {
  return utf8Bytes(text);
}

/** A text with variables, taken apart. */
export function readPieces(text: string, withQuestionMark: boolean): Piece[] {
  const pieces: Piece[] = [];
  const parts = text.split(VARIABLE);
  // Texts stand at even places, the names between them at odd ones.
  for (let i = 0; i < parts.length; i++) {
    if (i % 2 === 1) pieces.push(parts[i]!);
    else if (parts[i] !== '') pieces.push(readPattern(parts[i]!, withQuestionMark));
  }
  return pieces;
}

/** Puts pieces together. A single one is taken as it is: most levels are, and all clients share them. */
export function bindPieces(pieces: readonly Piece[], variables: Variables): Pattern {
  const only = pieces.length === 1 ? pieces[0]! : null;
  if (only !== null) return typeof only === 'string' ? variables.valueOf(only) : only;
  const tokens: number[] = [];
  for (const piece of pieces) tokens.push(...(typeof piece === 'string' ? variables.valueOf(piece) : piece));
  return Uint8Array.from(tokens);
}

/** Whether a pattern matches every text. */
export function isAny(pattern: Pattern): boolean {
  for (let i = 0; i < pattern.length; i++) if (pattern[i] !== STAR) return false;
  return pattern.length > 0;
}

/** Whether the first character may be any. */
export function beginsWithStar(pattern: Pattern): boolean {
  return pattern.length > 0 && pattern[0] === STAR;
}

/** Whether `bytes[at, end)`, which is UTF-8, matches as a whole. */
export function patternMatches(pattern: Pattern, bytes: Uint8Array, at: number, end: number): boolean {
  return rangeMatches(pattern, 0, pattern.length, bytes, at, end);
}

/** The same for a pattern that is `tokens[from, to)`. */
export function rangeMatches(tokens: Uint8Array, from: number, to: number, bytes: Uint8Array, at: number, end: number): boolean {
  let token = from;
  let i = at;
  // The last `*`, and where the characters end that it has taken.
  let star = -1;
  let taken = 0;
  while (i < end) {
    const wanted = token < to ? tokens[token]! : -1;
    // Wildcards first: bytes that are no UTF-8 must not pass for one.
    if (wanted === STAR) {
      star = token++;
      taken = i;
    } else if (wanted === QUESTION_MARK && bytes[i] !== HOLE) {
      i = nextCharacter(bytes, i, end);
      token++;
    } else if (wanted === bytes[i]) {
      i++;
      token++;
    } else if (star >= 0) {
      // The `*` takes one character more.
      taken = nextCharacter(bytes, taken, end);
      i = taken;
      token = star + 1;
    } else return false;
  }
  while (token < to && tokens[token] === STAR) token++;
  return token === to;
}

/** Where the character ends that begins at `at`. */
export function nextCharacter(bytes: Uint8Array, at: number, end: number): number {
  let i = at + 1;
  while (i < end && (bytes[i]! & 0xc0) === 0x80) i++;
  return i;
}
