/**
 * Will: the Will Message of a session and its Will Delay Interval. The shard publishes it when the connection ends without a DISCONNECT that
 * removes it, after the delay or at the session's end, whichever comes first [MQTT-3.1.3-9].
 */
import type { Message } from './message.ts';

/** A target of the Will, and what must be asked of it before it gets the Will (`access/target-question.ts`). */
export interface AskedTarget {
  /** UTF-8 of its Client Identifier. */
  readonly target: Uint8Array;
  readonly question: Uint8Array;
}

export class Will {
  /** Its `expiresAt` is 0: the Message Expiry Interval of a will starts when it is published. */
  readonly message: Message;
  readonly delaySeconds: number;
  /** Message Expiry Interval in seconds, -1: none. */
  readonly expirySeconds: number;
  readonly asked: readonly AskedTarget[];

  constructor(message: Message, delaySeconds: number, expirySeconds: number, asked: readonly AskedTarget[]) {
    this.message = message;
    this.delaySeconds = delaySeconds;
    this.expirySeconds = expirySeconds;
    this.asked = asked;
  }
}
