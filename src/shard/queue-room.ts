/**
 * QueueRoom: what the limits of a session leave for one of its queues. All streams of a client share them.
 *
 * Hot path.
 */
import type { LimitSettings } from '../base/settings.ts';
import type { MessageQueue } from '../session/message-queue.ts';
import type { ClientSession } from './shard.ts';

export class QueueRoom {
  messages: number;
  bytes: number;

  constructor() {
    this.messages = 0;
    this.bytes = 0;
  }

  /** Fills both: how many messages, and bytes of them, may stand in `own`, a queue of this session, with what stands in the others of the same client. */
  measure(limits: LimitSettings, session: ClientSession, own: MessageQueue): void {
    this.messages = limits.queueMessages;
    this.bytes = limits.queueBytes;
    const { root } = session;
    const streams = root.connection === null ? null : root.connection.streams;
    if (streams === null) return;
    this.take(root.queue, own);
    for (let i = 0; i < streams.length; i++) {
      const part = streams[i]!.session;
      if (part !== null) this.take(part.queue, own);
    }
  }

  private take(queue: MessageQueue | null, own: MessageQueue): void {
    if (queue === null || queue === own) return;
    this.messages -= queue.count;
    this.bytes -= queue.bytes;
  }
}
