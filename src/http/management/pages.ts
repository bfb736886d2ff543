/**
 * Pages: a list that all shards have a part of, page by page. The shard that is asked merges the chunks of all; what some shard has not looked at yet comes on no page, so
 * nothing is listed twice and nothing is missed, whatever comes and goes.
 *
 *   page ◀── in order ── chunks of shard 0 │ chunks of shard 1 │ …      up to the place that every shard has reached
 */
import { setTimeout } from 'node:timers/promises';
import { z } from 'zod';
import type { Shard } from '../../shard/shard.ts';
import type { Call } from '../call.ts';
import { Problem } from '../problem.ts';
import type { Answer } from '../route.ts';
import type { Chunk, ListAsk } from './chunk.ts';
import { comparePlaces, cursorOf, type Place, readCursor } from './place.ts';
import { PAUSE_MILLISECONDS } from './slices.ts';

const LIMIT_MAX = 1000;
const LIMIT_DEFAULT = 100;
/** More items are a long page. */
const SHORT_ITEMS_MAX = 200;
/** Beside its share a shard answers a few more: the shares of a page are not all alike. */
const CHUNK_ITEMS_MORE = 8;
/** After this time a page ends where the search has come to; its cursor goes on from there. */
const PAGE_MILLISECONDS = 3000;

/** The part of a query that every list has. */
export const PAGE_QUERY: { limit: z.ZodDefault<z.ZodCoercedNumber>; cursor: z.ZodOptional<z.ZodString> } = {
  limit: z.coerce.number().int().min(1).max(LIMIT_MAX).default(LIMIT_DEFAULT).describe('Items of a page.'),
  cursor: z.string().max(200_000).optional().describe('`next` of the page before; without one the list begins.'),
};

/** What a list looks like. @param item of its schema */
export function pageOf(item: z.ZodType): z.ZodType {
  return z.object({
    data: z.array(item),
    next: z.string().nullable().describe('Cursor of the next page; null: this is the last one.'),
    total: z.int().optional().describe('Of all pages, where that is known without counting.'),
  });
}

/** @template I an item: its JSON, or an object where the route does more with it */
export interface Page<I = string> {
  readonly data: I[];
  readonly next: string | null;
}

/** The answer with a page of items that are JSON already: a thousand at once would take a millisecond. @param total of all pages, where it is known */
export function pageAnswer({ data, next }: Page, total?: number): Answer {
  const end = total === undefined ? '' : `,"total":${total}`;
  return { status: 200, type: 'application/json', body: `{"data":[${data.join(',')}],"next":${JSON.stringify(next)}${end}}` };
}

interface OpenPage<I> {
  readonly data: I[];
  /** Place of the last item. */
  last: Place | null;
  readonly limit: number;
}

/** What one shard has answered so far. */
interface Source<I> {
  readonly items: I[];
  readonly places: Place[];
  /** Items that are on the page. */
  taken: number;
  upTo: Place | null;
  hasEnded: boolean;
}

/**
 * Asks all shards for a page of the list `name`.
 * @param combine makes one item of two that stand in the same place; without it a place belongs to one shard
 * @throws Problem for a cursor that is none, and when a shard does not answer
 */
export async function listPage<I = string>(
  call: Call,
  name: string,
  query: object,
  { limit, cursor }: { readonly limit: number; readonly cursor?: string | undefined },
  combine?: (a: I, b: I) => I,
): Promise<Page<I>> {
  const { shard } = call;
  const after = cursor === undefined ? null : readCursor(cursor);
  const end = performance.now() + PAGE_MILLISECONDS;
  const chunkLimit = Math.ceil(limit / shard.shards) + CHUNK_ITEMS_MORE;
  const sources: Source<I>[] = Array.from({ length: shard.shards }, () => ({
    items: [],
    places: [],
    taken: 0,
    upTo: after,
    hasEnded: false,
  }));
  const page: OpenPage<I> = { data: [], last: null, limit };
  const { data } = page;
  for (;;) {
    await Promise.all(
      sources.map(async (source, index) => {
        if (source.hasEnded || source.taken < source.items.length) return;
        take(
          source,
          await askShard<Chunk<I>>(call, index, name, { after: source.upTo, limit: chunkLimit, query } satisfies ListAsk<object>),
        );
      }),
    );
    fill(page, sources, combine);
    // A long page is work of its own to put together.
    if (data.length > SHORT_ITEMS_MAX) await pause(shard);
    const isOver = sources.every(({ hasEnded, taken, items }) => hasEnded && taken === items.length);
    if (isOver || call.isOver) return { data, next: null };
    if (data.length === limit) return { data, next: cursorOf(page.last!) };
    const frontier = frontierOf(sources);
    if (performance.now() > end && frontier !== null) return { data, next: cursorOf(frontier) };
  }
}

/** As between two slices. */
async function pause(shard: Shard): Promise<void> {
  await setTimeout(PAUSE_MILLISECONDS);
  shard.startTurn();
}

function take<I>(source: Source<I>, { items, places, upTo }: Chunk<I>): void {
  source.items.splice(0, source.items.length, ...items);
  source.places.splice(0, source.places.length, ...places);
  source.taken = 0;
  source.upTo = upTo;
  source.hasEnded = upTo === null;
}

/** The place that every shard has reached; null: all have ended. */
function frontierOf(sources: readonly Source<unknown>[]): Place | null {
  let frontier: Place | null = null;
  for (const { hasEnded, upTo } of sources)
    if (!hasEnded && upTo !== null && (frontier === null || comparePlaces(upTo, frontier) < 0)) frontier = upTo;
  return frontier;
}

/** Moves items to the page, in order, up to the frontier. */
function fill<I>(page: OpenPage<I>, sources: readonly Source<I>[], combine?: (a: I, b: I) => I): void {
  const { data, limit } = page;
  const frontier = frontierOf(sources);
  for (;;) {
    let first: Source<I> | null = null;
    for (const source of sources) {
      if (source.taken === source.items.length) continue;
      if (first === null || comparePlaces(source.places[source.taken]!, first.places[first.taken]!) < 0) first = source;
    }
    if (first === null) return;
    const place = first.places[first.taken]!;
    if (frontier !== null && comparePlaces(place, frontier) > 0) return;
    const item = first.items[first.taken]!;
    if (combine !== undefined && page.last !== null && comparePlaces(place, page.last) === 0) data.push(combine(data.pop()!, item));
    else if (data.length === limit) return;
    else data.push(item);
    first.taken++;
    page.last = place;
  }
}

/** Asks one shard. @throws Problem when it does not answer */
export function askShard<T>(call: Call, target: number, name: string, value: object): Promise<T> {
  return new Promise((resolve, reject) => {
    call.shard.asks.ask(target, name, value, (answer) => {
      if (answer === null) reject(new Problem('unavailable', `shard ${target} does not answer now; try again`));
      else resolve(answer as T);
    });
  });
}

/** Asks every shard. @throws Problem when one does not answer */
export function askEach<T>(call: Call, name: string, value: object): Promise<T[]> {
  return Promise.all(Array.from({ length: call.shard.shards }, (_, target) => askShard<T>(call, target, name, value)));
}
