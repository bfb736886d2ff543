/**
 * Peeking into a queue: what waits, for people who look at it. Nothing is taken out; what lies in the store is read from there.
 */
import { deliveryInPart } from '../journal/entry.ts';
import type { Delivery } from '../session/delivery.ts';
import type { MessageQueue } from '../session/message-queue.ts';
import { MessageRef } from '../session/message-refs.ts';
import type { Shard } from './shard.ts';
import { deliveryAt } from './waiting.ts';

/** Reads of all shards' people that one shard asks its store for at a time. */
const READS_MAX = 256;

const ref = new MessageRef();

/**
 * The oldest messages of a queue.
 * @param bytesMax beyond this no more are read
 * @param done called with up to `countMax` of them, in their order; null for one that could not be read, because it has gone meanwhile or the store has too much to do
 */
export function peekQueue(
  shard: Shard,
  queue: MessageQueue,
  countMax: number,
  bytesMax: number,
  done: (deliveries: readonly (Delivery | null)[]) => void,
): void {
  const deliveries: (Delivery | null)[] = [];
  const places: number[] = [];
  /** Where in `deliveries` what is read belongs. */
  const missing: number[] = [];
  let bytes = 0;
  for (let i = 0; i < queue.frontCount && deliveries.length < countMax && bytes < bytesMax; i++) {
    const delivery = queue.at(i)!;
    if (delivery.hasExpired) continue;
    bytes += delivery.message.sizeBytes;
    deliveries.push(delivery);
  }
  for (let i = 0; i < queue.refCount && deliveries.length < countMax && bytes < bytesMax; i++) {
    queue.refs!.read(i, ref);
    bytes += ref.sizeBytes;
    const pinned = queue.pinned?.get(ref.sequence);
    const memory = pinned === undefined ? shard.journal.recordInMemory(ref.record) : null;
    if (pinned !== undefined) {
      if (!pinned.hasExpired) deliveries.push(pinned);
    } else if (memory !== null) deliveries.push(deliveryAt(memory, ref.record, ref.messageAt, ref.deliveryAt));
    else {
      missing.push(deliveries.length);
      deliveries.push(null);
      places.push(ref.record, ref.messageAt, ref.deliveryAt);
    }
  }
  if (missing.length === 0 || shard.journal.readCount >= READS_MAX) {
    done(deliveries);
    return;
  }
  shard.journal.readParts(places, (parts) => {
    for (const [i, at] of missing.entries()) {
      const part = parts[i]!;
      if (part !== null) deliveries[at] = deliveryAt(part, places[i * 3]!, 0, deliveryInPart(part));
    }
    done(deliveries);
  });
}
