/**
 * Delivery: one Message on its way to one session, with what the subscription adds to it. It is made only when the message must be kept:
 * queued, or in flight to a session that may need it again.
 */
import type { Timer } from '../base/timers.ts';
import type { Message } from './message.ts';

/** Something that was promised to a publisher and rests on entries of the journal. */
export interface Promised {
  /** One of the entries is not needed any more. */
  entryGone(): void;
}

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
  /** `Shard.turnMilliseconds` when it was put into a queue in memory; -1: it was not. */
  queuedAt: number;
  /** Number of the delivery within its session, in the journal; 0: the journal does not know it. */
  sequence: number;
  /** Record whose entry says so, and where; of use only while that record is being collected. */
  record: number;
  entryAt: number;
  /** That record holds a copy: the entry stands in an older one as well, until that is removed. */
  isCopied: boolean;
  /** Told when the receiver has acknowledged before the entry was written: then nobody needs the entry. */
  promise: Promised | null;

  constructor(message: Message, qos: number, retain: boolean, identifiers: Uint32Array | null, sharedFilter: string | null) {
    this.message = message;
    this.qos = qos;
    this.retain = retain;
    this.identifiers = identifiers;
    this.sharedFilter = sharedFilter;
    this.expiryTimer = null;
    this.hasExpired = false;
    this.queuedAt = -1;
    this.sequence = 0;
    this.record = 0;
    this.entryAt = 0;
    this.isCopied = false;
    this.promise = null;
  }
}
