/**
 * Delivery: one Message on its way to one session, with what the subscription adds to it. It is made only when the message must be kept:
 * queued, or in flight to a session that may need it again.
 */
import type { Timer } from '../base/timers.ts';
import type { Message } from './message.ts';

export class Delivery {
  readonly message: Message;
  /** Effective QoS of this delivery. */
  readonly qos: number;
  /** RETAIN flag as this receiver sees it. */
  readonly retain: boolean;
  /** Subscription Identifiers, or null. */
  readonly identifiers: Uint32Array | null;
  /** `{shareName}/{filter}` of the Shared Subscription that brought the message, or null. */
  readonly sharedFilter: string | null;
  /** Armed while a message waits whose sender wants to hear of its expiry. */
  expiryTimer: Timer | null;
  /** It has expired in the queue and its sender knows; it is passed over when its turn comes. */
  hasExpired: boolean;

  constructor(message: Message, qos: number, retain: boolean, identifiers: Uint32Array | null, sharedFilter: string | null) {
    this.message = message;
    this.qos = qos;
    this.retain = retain;
    this.identifiers = identifiers;
    this.sharedFilter = sharedFilter;
    this.expiryTimer = null;
    this.hasExpired = false;
  }
}
