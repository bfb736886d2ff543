/**
 * Events of traces as the API shows them: those of all shards, and those that the history has kept, in the order in which they happened.
 */
import { z } from 'zod';
import { compareTracePlaces, placeOfEvent, TRACE_BEGINNING, type TracePage, type TracePlace } from '../shard/trace-page.ts';
import type { TraceEvent } from '../shard/tracing.ts';
import { Problem } from './problem.ts';

export const traceEventSchema: z.ZodType = z.object({
  at: z.iso.datetime(),
  event: z.enum(['published', 'routed', 'queued', 'delivered', 'acknowledged', 'expired', 'dropped']),
  shard: z.int(),
  messageId: z.string().nullable(),
  topic: z.string(),
  qos: z.int(),
  clientId: z.string().optional(),
  reason: z.string().optional(),
  shards: z.array(z.int()).optional(),
  bytes: z.int().optional(),
  microseconds: z.int().describe('Since the first event of all.'),
});

/**
 * Merges events.
 * @param shards what each shard has answered; null: nothing
 * @param kept those of the history
 */
export function mergeEvents(shards: readonly unknown[], kept: readonly TraceEvent[]): TraceEvent[] {
  const all = new Map<number, TraceEvent>();
  for (const event of kept) all.set(event.number, event);
  for (const events of shards) for (const event of (events ?? []) as TraceEvent[]) all.set(event.number, event);
  return [...all.values()].sort((a, b) => compareTracePlaces(placeOfEvent(a), placeOfEvent(b)));
}

/** What is shown of a trace at once. */
export interface ShownPage {
  readonly data: readonly object[];
  readonly next: string | null;
  readonly last: string;
  readonly total: number;
}

/**
 * Merges the pages of all shards.
 * @param pages of the shards that know of it
 * @param after where the page begins
 */
export function mergeTracePages(known: readonly TracePage[], after: TracePlace, limit: number): ShownPage {
  let reached: TracePlace | null = null;
  let firstAt = Number.POSITIVE_INFINITY;
  for (const page of known) {
    if (reached === null || compareTracePlaces(page.reached, reached) < 0) reached = page.reached;
    if (page.firstAt !== 0) firstAt = Math.min(firstAt, page.firstAt);
  }
  const all = known.flatMap(({ events }) => events).sort((a, b) => compareTracePlaces(placeOfEvent(a), placeOfEvent(b)));
  // What one shard has not looked at may come before what another has shown.
  const shown = all.filter((event) => compareTracePlaces(placeOfEvent(event), reached!) <= 0).slice(0, limit);
  const last = shown.length === 0 ? after : placeOfEvent(shown.at(-1)!);
  const hasMore = shown.length < all.length || known.some((page) => page.hasMore);
  return {
    data: shown.map((event) => eventJson(event, firstAt)),
    next: hasMore ? traceCursor(last) : null,
    last: traceCursor(last),
    total: known.reduce((sum, { total }) => sum + total, 0),
  };
}

function traceCursor(place: TracePlace): string {
  return Buffer.from(JSON.stringify(place)).toString('base64url');
}

/** @throws Problem */
export function readTraceCursor(text: string | undefined): TracePlace {
  if (text === undefined) return TRACE_BEGINNING;
  let place: unknown;
  try {
    place = JSON.parse(Buffer.from(text, 'base64url').toString());
  } catch {
    place = null;
  }
  if (!Array.isArray(place) || place.length !== 3 || !place.every((part) => typeof part === 'number'))
    throw new Problem('bad-request', 'query.cursor: expected `next` or `last` of the page before');
  return place as unknown as TracePlace;
}

/** @param first wall milliseconds of the first event of all */
export function eventJson({ number: _, at, messageId, ...facts }: TraceEvent, first: number): object {
  return {
    at: new Date(at).toISOString(),
    ...facts,
    messageId: messageId === '' ? null : messageId,
    microseconds: Math.max(0, Math.round((at - first) * 1000)),
  };
}
