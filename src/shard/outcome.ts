/**
 * Outcome: what became of one message, gathered over all its targets, and the acknowledgement that tells the publisher.
 *
 * `Outcome` is one reused object for each shard and is filled while a message is routed. Where another shard must answer first (QoS 1 and 2 only), a
 * `PendingAck` takes over and completes when the last shard has answered. Acknowledgements leave in the order in which the PUBLISH packets came
 * [MQTT-4.6.0-2] [MQTT-4.6.0-3]: `Connection.acks` is that order.
 *
 * Hot path.
 */
import { ReasonCode } from '../protocol/reason-code.ts';
import type { Promised } from '../session/delivery.ts';
import type { Connection } from './connection.ts';
import type { Journal } from './journal.ts';
import type { OwnPublication } from './own.ts';
import type { ClientSession } from './shard.ts';
import { noteMiss } from './suspicion.ts';

/** What one session (or mailbox) did with a message. */
export const DELIVERED = 0;
export const QUEUED = 1;
export const MAILBOX = 2;
export const NO_SUBSCRIBER = 3;
export const NO_SESSION = 4;
export const TOO_LARGE = 5;
export const DENIED = 6;
export const FULL = 7;
/** QoS 0 only: nothing is promised and nothing told. */
export const DROPPED = 8;
/** A Retained Message was stored or cleared: says nothing about receivers. */
export const STORED = 9;
/** The message needs the store, and the store takes nothing now. Counts also where others took it: a success would promise what cannot be kept. */
export const UNSTORABLE = 10;
/** The message was for a connected client only. */
export const OFFLINE = 11;

/** Words of `p2p-status`, by result. */
export const STATUS_WORDS: readonly string[] = [
  'delivered',
  'queued',
  'mailbox',
  'no-session',
  'no-session',
  'too-large',
  'denied',
  'full',
  'dropped',
  'stored',
  'store-degraded',
  'offline',
];

/** Reason code of PUBACK and PUBREC when no target took the message, by its worst result. */
export function reasonOfResult(result: number): ReasonCode {
  switch (result) {
    case NO_SUBSCRIBER:
    case NO_SESSION:
    case OFFLINE:
      return ReasonCode.NoMatchingSubscribers;
    case FULL:
    case UNSTORABLE:
      return ReasonCode.QuotaExceeded;
    case DENIED:
      return ReasonCode.NotAuthorized;
    // The target cannot take a packet of this size; `p2p-report` says so in words. PUBACK has no code 0x95.
    case TOO_LARGE:
      return ReasonCode.ImplementationSpecificError;
    default:
      return ReasonCode.Success;
  }
}

/** Somebody in the broker who has published for a caller, and waits for what becomes of the message. */
export interface Told {
  /** Every shard and the store have answered. Called once, in a turn. @param ack what they have said; valid until this returns */
  complete(ack: PendingAck): void;
}

/** An acknowledgement that waits for other shards, for the store, or for an earlier one that does. */
export class PendingAck implements Promised {
  /** The publisher's connection; null when the broker itself publishes. */
  readonly connection: Connection | null;
  /** The publisher's session, which may outlive the connection. */
  readonly session: ClientSession | null;
  /** What the broker itself publishes and must not forget before all shards have it. */
  readonly own: OwnPublication | null;
  /** Who is told instead of a client's network; set when the message has been routed, null again when it was told. */
  told: Told | null;
  readonly packetId: number;
  readonly qos: number;
  /** `timers.microseconds` when it took its place in the order. */
  begunAt: number;
  /** Shards that have not answered, and one for the store. */
  remaining: number;
  /** Record that must be committed; 0: none. */
  storeRecord: number;
  /** Entries of that record on which the acknowledgement rests. */
  private entryCount: number;
  private journal: Journal | null;
  /** Other shards that were asked, a bit each. */
  peerMask: number;
  /** The journal knows that this QoS 2 message has been routed. */
  isReceiptNoted: boolean;
  isGivenUp: boolean;
  wasTaken: boolean;
  /** DELIVERED, QUEUED or MAILBOX of the last target that took it, as far as it was asked for. */
  taken: number;
  /** Worst result so far; counts only when nobody took the message. */
  worst: number;
  /** `clientId=status` of each target, when the publisher asked. */
  statuses: string[] | null;
  /** The reason code where it is known already and only the order is waited for; -1 otherwise. */
  decided: number;
  /** The same message, sent again over a later connection before this was complete. */
  follower: PendingAck | null;
  /** It is such a one: it has nothing of its own to note. */
  isFollower: boolean;

  constructor(connection: Connection | null, own: OwnPublication | null, packetId: number, qos: number, wantsStatus: boolean) {
    this.connection = connection;
    this.session = connection === null ? null : connection.session;
    this.own = own;
    this.told = null;
    this.packetId = packetId;
    this.qos = qos;
    this.begunAt = 0;
    this.remaining = 0;
    this.storeRecord = 0;
    this.entryCount = 0;
    this.journal = null;
    this.peerMask = 0;
    this.isReceiptNoted = false;
    this.isGivenUp = false;
    this.wasTaken = false;
    this.taken = DELIVERED;
    this.worst = 0;
    this.statuses = wantsStatus ? [] : null;
    this.decided = -1;
    this.follower = null;
    this.isFollower = false;
  }

  /** What has become of the message, for the one who has sent it again. */
  tellFollower(follower: PendingAck): void {
    follower.wasTaken = this.wasTaken;
    follower.worst = this.worst;
    follower.statuses = this.statuses;
    follower.decided = this.decided;
    follower.remaining = 0;
  }

  note(result: number): void {
    if (result <= MAILBOX) {
      this.wasTaken = true;
      this.taken = result;
    } else if (result !== STORED && result > this.worst) this.worst = result;
    if (result === NO_SESSION && this.connection !== null) noteMiss(this.connection);
  }

  /** Rests on one more entry of the open batch. */
  waitForStore(journal: Journal): void {
    this.entryCount++;
    if (this.storeRecord !== 0) return;
    this.storeRecord = journal.open.record;
    this.journal = journal;
    this.remaining++;
    journal.holdAck(this);
  }

  /** A receiver has acknowledged before the entry was written: one promise less. */
  entryGone(): void {
    this.entryCount--;
    if (this.entryCount > 0 || this.storeRecord === 0) return;
    this.storeRecord = 0;
    this.remaining--;
    this.journal!.flushAck(this);
  }

  /** Nobody is waited for any more: the disk refuses, and the publisher is told so. For QoS 1 only; what is still answered afterwards changes nothing. */
  giveUp(): void {
    this.storeRecord = 0;
    this.remaining = 0;
    this.isGivenUp = true;
    this.worst = UNSTORABLE;
  }

  /** One shard has answered. */
  answered(): void {
    if (!this.isGivenUp) this.remaining--;
  }

  get reason(): ReasonCode {
    if (this.decided >= 0) return this.decided;
    return this.wasTaken && this.worst !== UNSTORABLE ? ReasonCode.Success : reasonOfResult(this.worst);
  }
}

export class Outcome {
  connection: Connection | null;
  own: OwnPublication | null;
  packetId: number;
  qos: number;
  wantsStatus: boolean;
  /** A P2P target must be connected. */
  onlyConnected: boolean;
  wasTaken: boolean;
  /** DELIVERED, QUEUED or MAILBOX of the last target that took it. */
  taken: number;
  isStored: boolean;
  worst: number;
  statuses: string[] | null;
  /** Made by the first target that lives on another shard. */
  ack: PendingAck | null;
  /** What was done counts only when the open batch is committed. */
  restsOnStore: boolean;

  constructor() {
    this.restsOnStore = false;
    this.connection = null;
    this.own = null;
    this.packetId = 0;
    this.qos = 0;
    this.wantsStatus = false;
    this.onlyConnected = false;
    this.wasTaken = false;
    this.taken = 0;
    this.isStored = false;
    this.worst = 0;
    this.statuses = null;
    this.ack = null;
  }

  /** @param connection publisher that waits for an acknowledgement; null when nobody does */
  begin(connection: Connection | null, packetId: number, qos: number): void {
    this.restsOnStore = false;
    this.connection = connection;
    this.own = null;
    this.packetId = packetId;
    this.qos = qos;
    this.wantsStatus = false;
    this.onlyConnected = false;
    this.wasTaken = false;
    this.taken = 0;
    this.isStored = false;
    this.worst = 0;
    this.statuses = null;
    this.ack = null;
  }

  note(result: number): void {
    if (result <= MAILBOX) {
      this.wasTaken = true;
      this.taken = result;
    } else if (result === STORED) this.isStored = true;
    else if (result > this.worst) this.worst = result;
    if (result === NO_SESSION && this.connection !== null) noteMiss(this.connection);
  }

  /** Notes what one P2P target did, in words too when the publisher asked for them. */
  noteTarget(result: number, clientId: string): void {
    this.note(result);
    if (!this.wantsStatus) return;
    if (this.statuses === null) this.statuses = [];
    this.statuses.push(`${clientId}=${STATUS_WORDS[result]!}`); // cold: only on `p2p-report: 1`
  }

  /** Shard `peer` has to answer. @returns the acknowledgement that waits for it, or null when nobody waits */
  expectAnswer(peer: number): PendingAck | null {
    if (this.qos === 0) return null;
    const ack = this.pending();
    if (ack === null) return null;
    ack.remaining++;
    ack.peerMask |= 1 << peer;
    return ack;
  }

  /** The open batch has to be committed. @returns the acknowledgement that waits for it, or null when nobody waits here */
  expectStore(journal: Journal): PendingAck | null {
    // What the broker publishes itself rests on an entry of its own, which goes in a batch that is not earlier.
    if (this.connection === null) return null;
    const ack = this.pending();
    if (ack !== null) ack.waitForStore(journal);
    return ack;
  }

  private pending(): PendingAck | null {
    if (this.ack === null && (this.connection !== null || this.own !== null))
      this.ack = new PendingAck(this.connection, this.own, this.packetId, this.qos, this.wantsStatus);
    return this.ack;
  }

  get reason(): ReasonCode {
    return this.wasTaken && this.worst !== UNSTORABLE ? ReasonCode.Success : reasonOfResult(this.worst);
  }
}
