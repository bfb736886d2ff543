/**
 * Connection: one Network Connection on the shard that owns its session, whatever transport carries it.
 *
 *   opening → connected → closing → closed
 *
 * Inbound: bytes are parsed in the transport's buffer; only a packet cut by its end is copied to `partial`. Outbound: packets are written into one block
 * and leave in one write at the end of the loop turn. Owned by one shard; it holds what MQTT ties to the connection (aliases, quotas, acknowledgement order).
 * Invariant: while `isBlocked`, nothing is written to the channel; `out` collects up to `limits.outboundBytes` and reading stops beyond that.
 *
 * Hot path.
 */

import type { SessionAccess } from '../access/session-access.ts';
import { copyBytes, type ViewedBytes } from '../base/bytes.ts';
import type { Fifo } from '../base/fifo.ts';
import { Timer } from '../base/timers.ts';
import { type ProtocolVersion, V5 } from '../protocol/packet-type.ts';
import type { InboundAliases, OutboundAliases } from '../session/topic-alias.ts';
import type { Channel, Peer } from './channel.ts';
import { counter } from './counters.ts';
import type { Identity } from './login.ts';
import type { PendingAck } from './outcome.ts';
import type { ConnectionQuota, Hold } from './quota-scope.ts';
import type { ClientSession, Shard } from './shard.ts';
import type { Misses } from './suspicion.ts';

export const OPENING = 0;
export const CONNECTED = 1;
export const CLOSING = 2;
export const CLOSED = 3;

const BYTES_SENT = counter('bytes/sent');
const READS_PAUSED = counter('reads/paused');
const BLOCKED = counter('connections/blocked');

/** Output that is sent before the turn ends, so that a long batch does not grow one huge block. */
const EARLY_FLUSH_BYTES = 256 * 1024;

/** How long a closing connection waits for its client to take what is written. */
const CLOSE_MILLISECONDS = 5000;
/** Largest packet that MQTT can express; the client may announce less. */
const PACKET_BYTES_MAX = 268_435_460;

export class Connection {
  readonly shard: Shard;
  readonly channel: Channel;
  readonly peer: Peer;
  state: number;
  version: ProtocolVersion;
  session: ClientSession | null;
  /** Who the client has proved to be; null before that. */
  identity: Identity | null;
  /** What the client may do, set at CONNECT; a data stream has that of its control stream. Null: everything. */
  access: SessionAccess | null;
  /** How much it may do, set at CONNECT; a data stream has that of its control stream. Null: no limit. */
  quota: ConnectionQuota | null;
  /** That it is not read because of a quota, or was so; null: it never was. */
  hold: Hold | null;
  /** Encoded User Properties that every message of the client carries beside its own; null: none. */
  userProperties: Uint8Array | null;
  /** Connection on the control stream, where this is a data stream of QUIC, whose session is a part of that one's; else null. */
  control: Connection | null;
  /** Data streams of this connection, oldest first; null: none. */
  streams: Connection[] | null;
  /** P2P messages go out on the newest data stream. */
  sendsP2pOnStreams: boolean;

  // Inbound.
  /** Largest packet that may come in. */
  readonly inboundPacketBytesMax: number;
  /** Bytes of a packet that is not whole yet; written by `receive.ts` only. */
  partial: Uint8Array | null;
  partialLength: number;
  /** Reading is stopped until what the client feeds has room again. */
  isPaused: boolean;
  /** Number of the login that is being judged; 0: none. While connected: of one that the client asks for anew. */
  login: number;
  /** That of CONNECT; null: it has none, and AUTH packets are no part of this connection. */
  authenticationMethod: string | null;
  /** `Shard.turnMilliseconds` of the last bytes from the client. */
  receivedAt: number;
  keepAliveSeconds: number;
  /** Wall milliseconds of its CONNACK; 0: there was none. */
  connectedAt: number;
  /** Its CONNECT asked for a new session. */
  cleanStart: boolean;
  timer: Timer | null;
  /** Ends the connection with what the client has proved itself by; null: that has no end. */
  proofTimer: Timer | null;
  inboundAliases: InboundAliases | null;
  /** P2P messages that found nobody; null: none. */
  misses: Misses | null;
  /** Acknowledgements that wait for other shards, in the order of their PUBLISH packets. */
  acks: Fifo<PendingAck> | null;
  /** How many of `acks` are for QoS 2. */
  pendingQos2: number;

  // Outbound.
  private out: ViewedBytes | null;
  private outLength: number;
  /** Output of the last turn: the next block is at least as large, so that a steady stream does not grow one anew each time. */
  private lastLength: number;
  private isDirty: boolean;
  /** The channel holds a block and has not drained. */
  isBlocked: boolean;
  /** `Shard.turnMilliseconds` since when that is so. */
  blockedAt: number;
  /** `Shard.turnMilliseconds` of the last acknowledgement of a message to the client, or of the first message that waits for one. */
  acknowledgedAt: number;
  /** `timers.microseconds` of the first packet. */
  readonly begunAt: number;
  private blockedBlock: ViewedBytes | null;
  private blockedBytes: number;
  /** Record of the journal that must be committed before anything more is sent; 0: none. */
  holdUntil: number;
  /** Output waits for that commit. */
  private isHeld: boolean;
  /** Maximum Packet Size of the client. */
  packetBytesMax: number;
  /** Receive Maximum of the client, within our own limit; each data stream has as much. */
  receiveMaximum: number;
  /** QoS 1 and 2 messages that may still be sent before an acknowledgement comes [MQTT 5.0 §4.9]. */
  sendQuota: number;
  outboundAliases: OutboundAliases | null;
  /** Packet Identifiers of the session's earlier messages that are still to be sent again on this connection. */
  resends: number[] | null;
  /** The client wants Reason Strings and User Properties on other packets than PUBLISH, CONNACK and DISCONNECT. */
  wantsProblemInformation: boolean;
  /** Messages of QoS 0 that the client did not get because it does not read, or has had as much as it may. */
  dropped: number;
  /** Retained Messages that wait until the client has taken what was sent before. */
  retainedQueries: Set<number> | null;

  constructor(shard: Shard, channel: Channel, peer: Peer) {
    this.shard = shard;
    this.channel = channel;
    this.peer = peer;
    this.state = OPENING;
    this.version = V5;
    this.session = null;
    this.identity = null;
    this.access = null;
    this.quota = null;
    this.hold = null;
    this.userProperties = null;
    this.control = null;
    this.streams = null;
    this.sendsP2pOnStreams = false;
    this.inboundPacketBytesMax = shard.settings.listeners[peer.listener]?.packetBytes ?? shard.settings.limits.packetBytes;
    this.partial = null;
    this.partialLength = 0;
    this.isPaused = false;
    this.login = 0;
    this.authenticationMethod = null;
    this.receivedAt = shard.turnMilliseconds;
    this.keepAliveSeconds = 0;
    this.connectedAt = 0;
    this.cleanStart = false;
    this.timer = null;
    this.proofTimer = null;
    this.inboundAliases = null;
    this.misses = null;
    this.acks = null;
    this.pendingQos2 = 0;
    this.out = null;
    this.outLength = 0;
    this.lastLength = 0;
    this.isDirty = false;
    this.isBlocked = false;
    this.blockedAt = 0;
    this.acknowledgedAt = shard.turnMilliseconds;
    this.begunAt = shard.timers.microseconds;
    this.blockedBlock = null;
    this.blockedBytes = 0;
    this.holdUntil = 0;
    this.isHeld = false;
    this.packetBytesMax = PACKET_BYTES_MAX;
    this.receiveMaximum = 0;
    this.sendQuota = 0;
    this.outboundAliases = null;
    this.resends = null;
    this.wantsProblemInformation = true;
    this.dropped = 0;
    this.retainedQueries = null;
  }

  /** Bytes that wait to be taken by the kernel. */
  get bufferedBytes(): number {
    return this.blockedBytes + this.outLength;
  }

  /** Stops reading until what the client feeds has room again. */
  pauseReading(): void {
    if (this.stopReading()) this.shard.paused.add(this);
  }

  /** Stops reading until the caller resumes it. @returns false when nothing was read anyway */
  stopReading(): boolean {
    if (this.isPaused || this.state >= CLOSING) return false;
    this.isPaused = true;
    this.shard.counters[READS_PAUSED]!++;
    this.channel.pause();
    return true;
  }

  /** It is not read because a quota is used up. */
  get isThrottled(): boolean {
    return this.hold?.isWaiting === true;
  }

  /** Nothing more is handled until the client has been judged. */
  waitForLogin(login: number): void {
    this.login = login;
    this.isPaused = true;
  }

  /** Reading goes on in the next turn, behind what has been written. */
  readOn(): void {
    this.shard.paused.add(this);
  }

  /** Nothing more is handled until what the client has asked for is done, turn by turn; then `readOn`. */
  waitForTurn(): void {
    this.isPaused = true;
    this.channel.pause();
  }

  /** v3 clients have no Receive Maximum: past ours, the broker stops reading instead. */
  get isAckOrderFull(): boolean {
    return this.acks !== null && this.acks.count >= this.shard.settings.mqtt.receiveMaximum;
  }

  /** Room for `length` bytes of output. @returns offset in `this.output`; the caller writes there and nowhere else, at once */
  reserve(length: number): number {
    const at = this.outLength;
    let out = this.out;
    if (out === null) {
      out = this.shard.blocks.take(Math.max(length, this.lastLength));
      this.out = out;
    } else if (at + length > out.length) {
      const grown = this.shard.blocks.take((at + length) * 2);
      copyBytes(grown, 0, out, 0, at);
      this.shard.blocks.give(out);
      this.out = grown;
    }
    this.outLength = at + length;
    if (!this.isDirty) {
      this.isDirty = true;
      this.shard.dirty.push(this);
    }
    return at;
  }

  /** The block that `reserve` answers offsets of. */
  get output(): ViewedBytes {
    return this.out!;
  }

  /** Writes bytes[at, end) as they are. */
  send(bytes: Uint8Array, at: number, end: number): void {
    const target = this.reserve(end - at);
    copyBytes(this.out!, target, bytes, at, end);
  }

  /** Sends early when a batch has grown large. */
  flushIfLarge(): void {
    if (this.outLength > EARLY_FLUSH_BYTES && !this.isBlocked && !this.isHeld) this.flush();
  }

  /** One write to the channel. Called once a turn for each dirty connection. */
  flush(): void {
    this.isDirty = false;
    const out = this.out;
    if (out === null || this.isBlocked || this.state === CLOSED) return;
    if (this.holdUntil > this.shard.journal.committedRecord) {
      this.waitForCommit();
      return;
    }
    const length = this.outLength;
    this.out = null;
    this.outLength = 0;
    this.lastLength = length;
    this.shard.counters[BYTES_SENT]! += length;
    if (this.channel.write(out, length)) {
      this.shard.blocks.give(out);
    } else {
      this.isBlocked = true;
      this.blockedAt = this.shard.turnMilliseconds;
      this.shard.counters[BLOCKED]!++;
      this.blockedBlock = out;
      this.blockedBytes = length;
    }
    if (this.state === CLOSING && !this.isBlocked) this.channel.end();
  }

  private waitForCommit(): void {
    if (this.isHeld) return;
    this.isHeld = true;
    this.shard.journal.addHeld(this);
  }

  /** A commit is done. */
  unhold(): void {
    this.isHeld = false;
    this.flush();
    // What waited because too much was held may go now.
    if (this.state === CONNECTED && !this.isHeld && !this.isBlocked && this.session!.queue !== null) this.shard.connectionDrained(this);
  }

  /** The channel took everything. */
  unblock(): void {
    this.shard.counters[BLOCKED]!--;
    this.isBlocked = false;
    this.shard.blocks.give(this.blockedBlock!);
    this.blockedBlock = null;
    this.blockedBytes = 0;
    if (this.state === CLOSED) return;
    if (this.out !== null) this.flush();
    else if (this.state === CLOSING) this.channel.end();
  }

  /** Whether QoS 0 output must be dropped and other output must wait. */
  get isOverfull(): boolean {
    return (this.isBlocked || this.isHeld) && this.blockedBytes + this.outLength > this.shard.settings.limits.outboundBytes;
  }

  /** Sends what is written, then closes; nothing more is read or written. */
  closeAfterFlush(): void {
    if (this.state >= CLOSING) return;
    this.state = CLOSING;
    this.dropInbound();
    if (this.timer !== null) this.shard.timers.disarm(this.timer);
    this.timer = null;
    if (!this.isBlocked) {
      if (this.out !== null) this.flush();
      else this.channel.end();
    }
    if (this.isBlocked || this.isHeld) {
      // A client that does not read, or a disk that does not write, would keep the connection open for ever.
      this.timer = new Timer(() => this.channel.destroy());
      this.shard.timers.arm(this.timer, CLOSE_MILLISECONDS);
    }
  }

  /** The network is gone. */
  markClosed(): void {
    this.state = CLOSED;
    this.dropInbound();
    if (this.timer !== null) this.shard.timers.disarm(this.timer);
    this.timer = null;
    if (this.out !== null) {
      this.shard.blocks.give(this.out);
      this.out = null;
      this.outLength = 0;
    }
    if (this.isBlocked) this.shard.counters[BLOCKED]!--;
    // The network may still report the write that it held: nobody waits for that now.
    this.isBlocked = false;
    this.blockedBlock = null;
    this.blockedBytes = 0;
  }

  private dropInbound(): void {
    this.partial = null;
    this.partialLength = 0;
    this.shard.paused.delete(this);
    if (this.quota !== null) this.shard.quotas.forget(this);
    if (this.login !== 0) this.shard.logins.forget(this.login);
    if (this.proofTimer !== null) this.shard.timers.disarm(this.proofTimer);
    this.proofTimer = null;
    if (this.isPaused) {
      this.isPaused = false;
      this.channel.resume();
    }
  }
}
