/**
 * MessageQueue: deliveries that wait in one session, for its in-flight window or for its client to return.
 *
 *   publisher → [ queue, oldest … newest ] → [ in flight ] → client
 *
 * 1. First in, first out. 2. Bound by count and bytes; who adds decides what happens at the bound. 3. The bytes are known at any time.
 * Expired messages are dropped when they come to the front, not by a scan.
 *
 * Hot path.
 */
import { Fifo } from '../base/fifo.ts';
import type { Delivery } from './delivery.ts';

export class MessageQueue {
  bytes: number;
  private readonly deliveries: Fifo<Delivery>;

  constructor() {
    this.bytes = 0;
    this.deliveries = new Fifo();
  }

  get count(): number {
    return this.deliveries.count;
  }

  push(delivery: Delivery): void {
    this.deliveries.push(delivery);
    this.bytes += delivery.message.sizeBytes;
  }

  peek(): Delivery | undefined {
    return this.deliveries.peek();
  }

  shift(): Delivery | undefined {
    const delivery = this.deliveries.shift();
    if (delivery !== undefined) this.bytes -= delivery.message.sizeBytes;
    return delivery;
  }
}
