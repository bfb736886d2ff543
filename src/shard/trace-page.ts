/**
 * TracePage: a part of what one shard has noted of a trace, from a place on. Places are in the order of time, on whatever shard; so a page of all shards is merged of the
 * parts up to the place that each of them has reached.
 */
import type { TraceEvent } from './tracing.ts';

/** Where an event stands among all of a trace: its time, its kind, its number. */
export type TracePlace = readonly [at: number, kind: number, number: number];

export const TRACE_BEGINNING: TracePlace = [0, 0, 0];

export interface TracePageAsked {
  /** Number of the trace. */
  readonly number: number;
  /** Only those behind this place. */
  readonly after: TracePlace;
  readonly limit: number;
  /** '': of all messages. */
  readonly messageId: string;
}

export interface TracePage {
  readonly events: readonly TraceEvent[];
  /** Whatever is not among `events`, and is behind `after`, comes behind this place: what is left out, and what is still to happen. */
  readonly reached: TracePlace;
  /** Something is left out. */
  readonly hasMore: boolean;
  /** Of all pages, as it is now. */
  readonly total: number;
  /** Time of the first of all pages; 0: there is none. */
  readonly firstAt: number;
}

/** Events of one answer: more hold up the shard for milliseconds. */
const EVENTS_MAX = 250;

/** In which order events of one moment are shown. */
const KINDS: readonly string[] = ['published', 'routed', 'queued', 'delivered', 'acknowledged', 'expired', 'dropped'];

export function placeOfEvent({ at, event, number }: TraceEvent): TracePlace {
  return [at, KINDS.indexOf(event), number];
}

export function compareTracePlaces(a: TracePlace, b: TracePlace): number {
  return a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
}

/**
 * A page of one shard's events.
 * @param all in the order of time
 * @param now nothing is noted at an earlier time any more
 */
export function pageOfTrace(all: readonly TraceEvent[], { after, limit, messageId }: TracePageAsked, now: number): TracePage {
  const wanted = messageId === '' ? all : all.filter((event) => event.messageId === messageId);
  const most = Math.min(limit, EVENTS_MAX);
  const events: TraceEvent[] = [];
  let index = firstSince(wanted, after[0]);
  // Those of one moment are in the order in which they were noted, and are shown in that of their kinds: none of them may be left behind.
  for (; index < wanted.length; index++) {
    const event = wanted[index]!;
    if (events.length > most && event.at !== events.at(-1)!.at) break;
    if (compareTracePlaces(placeOfEvent(event), after) > 0) events.push(event);
  }
  events.sort((a, b) => compareTracePlaces(placeOfEvent(a), placeOfEvent(b)));
  const hasMore = events.length > most || index < wanted.length;
  if (hasMore) events.length = Math.min(events.length, most);
  return {
    events,
    reached: hasMore ? placeOfEvent(events.at(-1)!) : [now, 0, 0],
    hasMore,
    total: wanted.length,
    firstAt: wanted[0]?.at ?? 0,
  };
}

/** Index of the first event that is not before a time. */
function firstSince(events: readonly TraceEvent[], at: number): number {
  let low = 0;
  let high = events.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (events[middle]!.at < at) low = middle + 1;
    else high = middle;
  }
  return low;
}
