/**
 * QuotaMemory: where the pools of the quotas lie in the memory that all shards share. A file of its own, because the supervisor makes that memory and needs nothing else of quotas.
 */
import { LISTENERS_MAX } from './counters.ts';
import { groupTableBytes } from './quota-groups.ts';

/** Places of the pools; a listener has two, at `LISTENERS`. */
export const MESSAGES = 0;
export const BYTES = 1;
export const CONNECTS = 2;
export const SUBSCRIBES = 3;
export const LISTENERS = 4;
export const POOLS: number = LISTENERS + 2 * LISTENERS_MAX;

/** Bytes of SharedArrayBuffer. */
export function quotaBytes(shards: number): number {
  return POOLS * 8 + groupTableBytes(shards);
}
