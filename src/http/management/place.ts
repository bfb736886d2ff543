/**
 * Places: where something stands in a list that comes page by page. Every shard lists in the same order, and the order of two things never changes, so a cursor is nothing but
 * the last place that has been listed: no list is kept for anybody between two pages.
 *
 *   clients, mailboxes   hash of the Client Identifier, then the identifier        subscriptions   the same, then the Topic Filter
 *   Retained Messages    topic, level by level                                     groups          share name, then Topic Filter
 */
import { Problem } from '../problem.ts';

export type Place = readonly [order: number, name: string, part: string];

/** Below 0: `a` comes first. Texts are compared by UTF-16 units: an order for machines. */
export function comparePlaces(a: Place, b: Place): number {
  if (a[0] !== b[0]) return a[0] - b[0];
  if (a[1] !== b[1]) return a[1] < b[1] ? -1 : 1;
  if (a[2] !== b[2]) return a[2] < b[2] ? -1 : 1;
  return 0;
}

/** The cursor of whatever comes behind a place. */
export function cursorOf(place: Place): string {
  return Buffer.from(JSON.stringify(place)).toString('base64url');
}

/** @throws Problem when the text is no cursor of ours */
export function readCursor(text: string): Place {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(text, 'base64url').toString());
  } catch {
    value = null;
  }
  const [order, name, part] = Array.isArray(value) && value.length === 3 ? (value as unknown[]) : [];
  const isRight =
    typeof order === 'number' && Number.isInteger(order) && order >= 0 && typeof name === 'string' && typeof part === 'string';
  if (!isRight) throw new Problem('bad-request', 'query.cursor: take the value of `next` from the page before, as it is');
  return [order as number, name as string, part as string];
}
