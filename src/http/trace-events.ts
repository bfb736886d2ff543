/**
 * Events of traces as the API shows them: those of all shards, and those that the history has kept, in the order in which they happened.
 */
import { z } from 'zod';
import { type TraceEvent, wallOffset } from '../shard/tracing.ts';

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
  /** Since the first event of the answer. */
  microseconds: z.int(),
});

/** In which order events of one microsecond are shown. */
const ORDER = ['published', 'routed', 'queued', 'delivered', 'acknowledged', 'expired', 'dropped'];

/**
 * Merges events.
 * @param shards what each shard has answered; null: nothing
 * @param kept those of the history, in wall time
 */
export function mergeEvents(shards: readonly unknown[], kept: readonly TraceEvent[]): TraceEvent[] {
  const offset = wallOffset();
  const all = new Map<number, TraceEvent>();
  for (const event of kept) all.set(event.number, event);
  for (const events of shards)
    for (const event of (events ?? []) as TraceEvent[]) all.set(event.number, { ...event, at: event.at + offset });
  return [...all.values()].sort((a, b) => a.at - b.at || ORDER.indexOf(a.event) - ORDER.indexOf(b.event));
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
