/**
 * MessageQueue: deliveries that wait in one session, for its in-flight window or for its client to return.
 *
 *   publisher → [ refs, newest … oldest: in the store only ] → [ front: in memory ] → [ in flight ] → client
 *
 * 1. First in, first out. 2. Bound by count and bytes; who adds decides what happens at the bound. 3. The bytes are known at any time.
 * Without a store everything is in front. With one, what is beyond the front is a reference, and comes to the front when its turn is near.
 * Expired messages are dropped when they come to the front, not by a scan.
 *
 * Hot path.
 */
import { Fifo } from '../base/fifo.ts';
import type { Delivery } from './delivery.ts';
import { MessageRefs } from './message-refs.ts';

/** Memory that a reference costs, for the limit on queued bytes of the process. */
export const REF_BYTES = 48;

export class MessageQueue {
  /** What the queue counts for in the limits of one session. */
  bytes: number;
  refs: MessageRefs | null;
  /** References under way to the front: the store has been asked. */
  isLoading: boolean;
  /** Deliveries that are referred to and kept in memory as well, because someone must hear of them at any time (a receipt, a group). By sequence. */
  pinned: Map<number, Delivery> | null;
  private readonly deliveries: Fifo<Delivery>;

  constructor() {
    this.bytes = 0;
    this.refs = null;
    this.isLoading = false;
    this.pinned = null;
    this.deliveries = new Fifo();
  }

  get count(): number {
    return this.deliveries.count + (this.refs === null ? 0 : this.refs.count);
  }

  get frontCount(): number {
    return this.deliveries.count;
  }

  get refCount(): number {
    return this.refs === null ? 0 : this.refs.count;
  }

  /** Adds behind what is in memory, and before what is only referred to. */
  push(delivery: Delivery): void {
    this.deliveries.push(delivery);
    this.bytes += delivery.message.sizeBytes;
  }

  /** Takes all references of other queues in, in the order of all, and what is kept in memory of them. The others, whose front is empty, are of no use afterwards. */
  adoptRefs(others: readonly MessageQueue[]): void {
    const lists: MessageRefs[] = this.refs === null ? [] : [this.refs];
    for (const { refs, pinned, bytes } of others) {
      if (refs === null) continue;
      lists.push(refs);
      this.bytes += bytes;
      if (pinned === null) continue;
      this.pinned ??= new Map();
      for (const [sequence, delivery] of pinned) this.pinned.set(sequence, delivery);
    }
    this.refs = MessageRefs.merge(lists);
  }

  /** Adds a message that lies in the store. */
  pushRef(sequence: number, record: number, messageAt: number, deliveryAt: number, sizeBytes: number): void {
    if (this.refs === null) this.refs = new MessageRefs();
    this.refs.push(sequence, record, messageAt, deliveryAt, sizeBytes);
    this.bytes += sizeBytes;
  }

  /** The oldest reference becomes `delivery`, at the end of the front. */
  toFront(delivery: Delivery): void {
    const refs = this.refs!;
    this.bytes -= refs.shift();
    this.bytes += delivery.message.sizeBytes;
    this.deliveries.push(delivery);
    if (refs.count === 0) this.refs = null;
  }

  /** Removes the oldest reference unread. */
  dropRef(): void {
    const refs = this.refs!;
    this.bytes -= refs.shift();
    if (refs.count === 0) this.refs = null;
  }

  /** The oldest in memory; undefined also when what is next has not come from the store yet. */
  peek(): Delivery | undefined {
    return this.deliveries.peek();
  }

  /** The delivery `index` places behind the oldest, of those in memory. */
  at(index: number): Delivery | undefined {
    return this.deliveries.at(index);
  }

  shift(): Delivery | undefined {
    const delivery = this.deliveries.shift();
    if (delivery !== undefined) this.bytes -= delivery.message.sizeBytes;
    return delivery;
  }
}
