/**
 * AddressFilter: the Topic Filter of an observer of P2P messages, `first/p2p/…`, against the patterns for Client Identifiers that statements write. What stands
 * behind `p2p` names clients, whose identifiers may hold `/`.
 *
 * An allow statement must cover the filter, and a deny statement takes effect where it overlaps. A `?` is never taken for what a wildcard of the filter stands for,
 * so that a pattern too clever for this file errs to the side of no.
 */
import { utf8Bytes } from '../base/bytes.ts';
import { HOLE, nextCharacter, type Pattern, patternMatches, QUESTION_MARK, STAR } from './pattern.ts';

const SLASH = 0x2f;
/** A hole that holds no `/`. */
const LEVEL = 0xfc;

/** The identifiers that a filter names: bytes, and holes for its wildcards. Of two forms where it ends with `#`, because `a/#` is also `a`. */
export function addressFilter(filter: string): readonly Uint8Array[] {
  const levels = filter.split('/').slice(2);
  const hasHash = levels.at(-1) === '#';
  if (hasHash) levels.pop();
  const parts: number[] = [];
  for (const [index, level] of levels.entries()) {
    if (index > 0) parts.push(SLASH);
    if (level === '+') parts.push(LEVEL);
    else parts.push(...utf8Bytes(level));
  }
  if (!hasHash) return [Uint8Array.from(parts)];
  return levels.length === 0 ? [Uint8Array.of(HOLE)] : [Uint8Array.from(parts), Uint8Array.from([...parts, SLASH, HOLE])];
}

/** Whether every identifier of the filter matches the pattern. */
export function coversAddresses(pattern: Pattern, filter: readonly Uint8Array[]): boolean {
  return filter.every((form) => {
    const holes = form.map((byte) => (byte === LEVEL ? HOLE : byte));
    return patternMatches(pattern, holes, 0, holes.length);
  });
}

/** Whether some identifier of the filter matches the pattern. */
export function overlapsAddresses(pattern: Pattern, filter: readonly Uint8Array[]): boolean {
  return filter.some((form) => meets(pattern, form));
}

/** Whether one text is of both. */
function meets(pattern: Pattern, form: Uint8Array): boolean {
  // reach[j]: what is before token i of the pattern and token j of the form has met.
  let reach = spread(new Uint8Array(form.length + 1).fill(1, 0, 1), form);
  for (const token of pattern) {
    const next = new Uint8Array(form.length + 1);
    for (let j = 0; j <= form.length; j++) {
      if (reach[j] === 0) continue;
      if (token === STAR) next.fill(1, j);
      else {
        const other = form[j];
        if (other === HOLE || (other === LEVEL && token !== SLASH)) next[j] = 1;
        else if (token === QUESTION_MARK && j < form.length) next[nextCharacter(form, j, form.length)] = 1;
        else if (other === token) next[j + 1] = 1;
      }
    }
    reach = spread(next, form);
  }
  return reach[form.length] === 1;
}

/** Holes may be empty. */
function spread(reach: Uint8Array, form: Uint8Array): Uint8Array {
  for (let j = 0; j < form.length; j++) if (reach[j] === 1 && (form[j] === HOLE || form[j] === LEVEL)) reach[j + 1] = 1;
  return reach;
}
