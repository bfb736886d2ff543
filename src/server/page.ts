/**
 * Pages of lists that the supervisor holds: in the order of names, so that a list that changes meanwhile loses and repeats nothing else.
 */

export interface PageAsked {
  readonly limit: number;
  /** From the page before; absent: the beginning. */
  readonly cursor?: string | undefined;
}

export interface Page<T> {
  readonly data: readonly T[];
  /** Null: that was all. */
  readonly next: string | null;
  readonly total: number;
}

/** Names in order, made once for each map, until somebody says that it has others. */
const ordered: WeakMap<ReadonlyMap<string, unknown>, readonly string[]> = new WeakMap();

/** The names of a map, in order. */
export function orderedNames(map: ReadonlyMap<string, unknown>): readonly string[] {
  let names = ordered.get(map);
  if (names === undefined) {
    names = [...map.keys()].sort();
    ordered.set(map, names);
  }
  return names;
}

/** The names of a map are others now. */
export function namesChanged(map: ReadonlyMap<string, unknown>): void {
  ordered.delete(map);
}

/** A page of names in order. @param prefix '' for all */
export function pageOf(names: readonly string[], prefix: string, { limit, cursor }: PageAsked): Page<string> {
  const first = place(names, prefix, false);
  const end = prefix === '' ? names.length : endOf(names, prefix, first);
  const from = cursor === undefined ? first : Math.max(first, place(names, Buffer.from(cursor, 'base64url').toString(), true));
  const data = names.slice(from, Math.min(end, from + limit));
  const next = from + limit < end && data.length > 0 ? Buffer.from(data.at(-1)!).toString('base64url') : null;
  return { data, next, total: end - first };
}

/** Place of the first name that is not before `name`; with `isBehind` of the first that comes after it. */
function place(names: readonly string[], name: string, isBehind: boolean): number {
  let low = 0;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (isBehind ? names[middle]! <= name : names[middle]! < name) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Names with a prefix stand together. */
function endOf(names: readonly string[], prefix: string, first: number): number {
  let low = first;
  let high = names.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (names[middle]!.startsWith(prefix)) low = middle + 1;
    else high = middle;
  }
  return low;
}
