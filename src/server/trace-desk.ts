/**
 * TraceDesk: which traces run, for shards that are started anew. Kept in memory: it begins empty with the process, and outlives the shards.
 */
import { TRACES_MAX, type TraceDefinition } from '../shard/tracing.ts';
import type { AskDesk } from './ask-desk.ts';

/** Notes what shards say of traces. @returns what says which run */
export function keepTraces(desk: AskDesk): () => readonly TraceDefinition[] {
  /** By number, in the order in which they began. */
  const traces = new Map<number, TraceDefinition>();
  const forgetEnded = (): void => {
    const now = Date.now();
    for (const { number, endsAt } of [...traces.values()]) if (endsAt <= now) traces.delete(number);
  };
  desk.handle('trace-note', (definition: TraceDefinition): true => {
    forgetEnded();
    traces.set(definition.number, definition);
    // Shards let no more run: what is more has ended, and nobody could say so.
    for (const number of [...traces.keys()]) if (traces.size > TRACES_MAX) traces.delete(number);
    return true;
  });
  desk.handle('trace-forget', (number: number) => traces.delete(number));
  return () => {
    forgetEnded();
    return [...traces.values()];
  };
}
