/**
 * Session: one client's state, which may outlive its Network Connection [MQTT 5.0 §4.1].
 *
 * It holds subscriptions, messages in flight and waiting, the QoS 2 identifiers received, and the Will. It never sees a socket, a topic tree or another
 * thread: the shard that owns the client's slot owns the session, and only that shard touches it. `C` is the shard's connection, `S` its subscription.
 * Parts that an idle client does not need (window, queue, receive window) are made when they are first used.
 */
import type { Timer } from '../base/timers.ts';
import type { ProtocolVersion } from '../protocol/packet-type.ts';
import type { Inflight } from './inflight.ts';
import type { MessageQueue } from './message-queue.ts';
import type { ReceiveWindow } from './receive-window.ts';
import type { Will } from './will.ts';

/** Session Expiry Interval that never expires [MQTT 5.0 §3.1.2.11.2]. */
export const NEVER_EXPIRES = 0xffffffff;

/** What the journal knows by a number of its own and whose messages it holds: a session, or a mailbox. */
export interface StoredHolder {
  /** Number in the journal, never used again. */
  id: number;
  /** Number of the next delivery. */
  nextSequence: number;
  /** Record that holds the last whole entry about this holder. */
  snapshotRecord: number;
  queue: MessageQueue | null;
  inflight: Inflight | null;
}

export class Session<C extends object, S extends object> implements StoredHolder {
  readonly clientId: string;
  /** UTF-8 of the Client Identifier; the session owns it. */
  readonly clientIdBytes: Uint8Array;
  /** hash32 of `clientIdBytes`; its slot decides the owning shard. */
  readonly hash: number;
  /** The live Network Connection, or null while the client is away. */
  connection: C | null;
  /** Where the shard holds a copy of `clientIdBytes` that is quicker to read (`shard/publisher-names.ts`); 0: nowhere yet, below 0: never. */
  nameAt: number;
  /** Version of the last connection; decides how refusals are told. */
  version: ProtocolVersion;
  username: string | undefined;
  /** What its login has said of the client, as `access/attribute-bytes.ts` lays it out; null: nothing. */
  attributes: Uint8Array | null;
  /** Seconds that the session lives on without a connection; 0 ends with it, NEVER_EXPIRES stays. */
  expirySeconds: number;
  /** By filter as the client wrote it, `$share/…` included. */
  subscriptions: Map<string, S> | null;
  inflight: Inflight | null;
  received: ReceiveWindow | null;
  queue: MessageQueue | null;
  will: Will | null;
  /** Armed while the client is away: session expiry. */
  expiryTimer: Timer | null;
  /** Armed while the client is away: Will Delay Interval. */
  willTimer: Timer | null;
  hasEnded: boolean;
  /** Number that no other session has or had, of this broker or of an earlier start over the same store. */
  id: number;
  /** The journal has this session: it outlives the process. */
  isStored: boolean;
  /** It has taken over a mailbox and ends with its connection: the journal goes on to know it as that mailbox. */
  isMailbox: boolean;
  nextSequence: number;
  snapshotRecord: number;
  /** Wall milliseconds at which the session began; 0: not known, of a store that was written without it. */
  createdAt: number;
  /** Wall milliseconds at which the connection ended; 0 while there is one. */
  closedAt: number;
  /** Other shards remember QoS 2 messages of this publisher, until they hear that they need not. */
  hasOrigins: boolean;
  /**
   * The session of the client: this one, except where this is the part of it that one data stream of QUIC has to itself: subscriptions, Packet Identifiers and
   * queue. What a part must not forget is noted in the journal as the root's, with the root's numbers.
   */
  root: Session<C, S>;

  constructor(clientId: string, clientIdBytes: Uint8Array, hash: number, version: ProtocolVersion, id: number) {
    this.clientId = clientId;
    this.clientIdBytes = clientIdBytes;
    this.hash = hash;
    this.connection = null;
    this.nameAt = 0;
    this.version = version;
    this.username = undefined;
    this.attributes = null;
    this.expirySeconds = 0;
    this.subscriptions = null;
    this.inflight = null;
    this.received = null;
    this.queue = null;
    this.will = null;
    this.expiryTimer = null;
    this.willTimer = null;
    this.hasEnded = false;
    this.id = id;
    this.isStored = false;
    this.isMailbox = false;
    this.nextSequence = 1;
    this.snapshotRecord = 0;
    this.createdAt = 0;
    this.closedAt = 0;
    this.hasOrigins = false;
    this.root = this;
  }
}
