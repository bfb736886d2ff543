/*
 * Slots: which shard owns a client. The slot of a client never changes; the shard of a slot changes only with the number of shards,
 * so what is stored is keyed by the slot.
 *
 * Hot path.
 */

/** Number of slots; a power of two. */
export const SLOT_COUNT = 1024;

/** The slot, 0 … SLOT_COUNT - 1, of a client whose identifier has this hash (`hash32` of its UTF-8 bytes). */
export function slotOf(hash: number): number {
  return hash & (SLOT_COUNT - 1);
}

/** The shard, 0 … `shards` - 1, that owns a slot. */
export function shardOfSlot(slot: number, shards: number): number {
  return slot % shards;
}
