/**
 * QuicConnection: one connection of a client, and its streams. It turns what quiche knows into events, and does nothing that RFC 9000 leaves to quiche.
 *
 *   handshake ──▶ established ──▶ draining ──▶ gone           early data: streams may come before `established`
 *
 * A turn: datagrams are given to quiche and streams are read at once; what that wrote leaves in one `flush` at the end of the turn. Owned by one endpoint.
 * Invariant: in the list of dirty connections at most once; after `closed` no event of it or of its streams.
 *
 * A call into quiche costs 0.2 µs and more, and most find nothing. So the usual packet, acknowledgements or bytes of a stream that is there, is served by what its frames
 * say (PacketFrames), and the usual answer, one write of one stream, by one `send`. Whatever else happens makes the connection `isUnusual` until it has been flushed: then
 * quiche is asked for everything. What this leaves behind in a case that nobody has thought of, the timer of loss recovery finds: it is set whenever something is under way.
 *
 * Hot path.
 */
import {
  type ConnectionError,
  closeConnection,
  issueConnectionId,
  type NativeConnection,
  nextDatagram,
  type RecvInfo,
  receiveDatagram,
} from './binding.ts';
import type { Due } from './deadlines.ts';
import type { QuicEndpoint } from './endpoint.ts';
import { CONTENT_ACKS, CONTENT_ANY } from './packet-frames.ts';
import type { QuicStream } from './stream.ts';
import { StreamTable } from './stream-table.ts';
import { type PeerAddress, SENT_BYTES_MAX } from './udp-socket.ts';

/** Connection IDs that a client holds beside the first, for the paths that it may move to. */
const SPARE_CONNECTION_IDS = 2;
const LONG_HEADER = 0x80;
/** What a datagram has at least beside the bytes of a stream: first byte, packet number, type and ID of the stream's frame, tag. */
const OVERHEAD_BYTES_MIN = 20;
const NO_STREAM = -1;
const SEVERAL_STREAMS = -2;
/** A deadline that is not later than this is one of loss recovery: it is asked for again when it comes, not whenever something was sent. */
const LOSS_MILLISECONDS_MAX = 250;
/** quiche rounds its time down. */
const ROUNDING_MILLISECONDS = 1;

const NO_BYTES: Uint8Array = new Uint8Array(0);
/** Error codes of TLS alerts begin here [RFC 9001 §4.8]. */
const CRYPTO_ERROR = 0x100;
/** Application errors are not told before the handshake is complete [RFC 9000 §10.2.3]. */
const APPLICATION_ERROR = 0xc;

/** What a connection tells whoever holds it. */
export interface QuicConnectionEvents {
  /** A client-initiated bidirectional stream. Sets `stream.events` before it returns. @param isFirst the control stream */
  stream(stream: QuicStream, isFirst: boolean): void;
  /** The handshake is complete: nothing that comes from now on is replayed. Not called for a connection that was established when it was handed over. */
  established(): void;
  /** The client has another address now, in `connection.address`. */
  moved(): void;
  /** The last event. Every stream was told `lost` before. @param reason for logs */
  closed(reason: string): void;
}

export class QuicConnection implements Due {
  readonly native: NativeConnection;
  events: QuicConnectionEvents | null;
  /** Where the client is. */
  address: PeerAddress;
  isEstablished: boolean;
  /** The ID that the client chose for its first datagram; null once it does not use it any more. */
  initialDcid: string | null;
  /** IDs of this connection in the endpoint's table. */
  readonly ids: Uint8Array[];
  readonly openedAt: number;
  isDirty: boolean;
  isGone: boolean;

  deadline: number;
  deadlineAt: number;
  deadlinePlace: number;

  private readonly endpoint: QuicEndpoint;
  readonly streams: StreamTable;
  private recvInfo: RecvInfo;
  private needsReading: boolean;
  /** Something has happened in this turn beside bytes of streams and acknowledgements. */
  private isUnusual: boolean;
  /** All that quiche was given has left, so an acknowledgement makes no room for anything. */
  private isSettled: boolean;
  /** The stream that was written since the last flush, and how much; or NO_STREAM, SEVERAL_STREAMS. */
  private writtenStream: number;
  private writtenBytes: number;
  /** The deadline that is set is one of loss recovery, and has not come. */
  private isLossTimed: boolean;
  /** Datagrams that were sent; each had at most one packet that is acknowledged by what comes now. */
  private sentCount: number;
  /** The largest packet number that the client has acknowledged. */
  private acked: number;
  private isClosing: boolean;
  private closeReason: string;

  constructor(endpoint: QuicEndpoint, native: NativeConnection, address: PeerAddress, now: number) {
    this.endpoint = endpoint;
    this.native = native;
    this.events = null;
    this.address = address;
    this.isEstablished = false;
    this.initialDcid = null;
    this.ids = [];
    this.openedAt = now;
    this.isDirty = false;
    this.isGone = false;
    this.deadline = Number.POSITIVE_INFINITY;
    this.deadlineAt = Number.POSITIVE_INFINITY;
    this.deadlinePlace = -1;
    this.streams = new StreamTable(this, native, endpoint);
    this.recvInfo = { from: { host: address.host, port: address.port }, to: endpoint.local };
    this.needsReading = false;
    this.isUnusual = false;
    this.isSettled = false;
    this.writtenStream = NO_STREAM;
    this.writtenBytes = 0;
    this.isLossTimed = false;
    this.sentCount = 0;
    this.acked = -1;
    this.isClosing = false;
    this.closeReason = '';
  }

  /** Whether the client still sends early data, which anybody may have replayed [RFC 9001 §9.2]. */
  get isEarly(): boolean {
    return !this.isEstablished && this.native.isInEarlyData();
  }

  /** Whether the client came back with a ticket. */
  get isResumed(): boolean {
    return this.native.isResumed();
  }

  /** Name that the client asked for (SNI). */
  get serverName(): string | null {
    return this.native.serverName();
  }

  /** The client's certificates as DER, its own first; null: it showed none. */
  get peerCertificates(): Uint8Array[] | null {
    return this.native.peerCertChain();
  }

  /** Open streams. */
  get streamCount(): number {
    return this.streams.count;
  }

  /** An open stream, by its ID. */
  stream(id: number): QuicStream | undefined {
    return this.streams.get(id);
  }

  /**
   * Closes the connection with an application error code. What streams have written is sent first, as far as the congestion window goes, and not repeated if it
   * is lost: a holder for whom that matters ends its streams and waits for `lost`. Events come at the end of the turn.
   */
  close(errorCode: number, reason: string): void {
    if (this.isGone || this.isClosing) return;
    this.isClosing = true;
    this.closeReason = 'closed here';
    this.send(false);
    const isApplication = this.isEstablished;
    closeConnection(this.native, isApplication, isApplication ? errorCode : APPLICATION_ERROR, Buffer.from(reason));
    this.touch();
  }

  /** Closes the connection as TLS does when it does not like a certificate. @param alert [RFC 8446 §6] */
  refuse(alert: number, reason: string): void {
    if (this.isGone || this.isClosing) return;
    this.isClosing = true;
    this.closeReason = reason;
    closeConnection(this.native, false, CRYPTO_ERROR + alert, Buffer.from(reason));
    this.touch();
  }

  /** A datagram came. */
  receive(bytes: Uint8Array, from: PeerAddress): void {
    const isSamePath = from === this.address;
    const info = isSamePath ? this.recvInfo : { from: { host: from.host, port: from.port }, to: this.endpoint.local };
    const isUsual = isSamePath && this.isEstablished && (bytes[0]! & LONG_HEADER) === 0;
    if (!receiveDatagram(this.native, bytes, info)) this.endpoint.counters.droppedByQuiche++;
    else if (isUsual && this.receiveUsual(bytes)) return;
    if (!this.isEstablished && !this.isClosing) this.advanceHandshake();
    if (!isSamePath) this.takePathEvents(from);
    if (this.events !== null && !this.isClosing) {
      this.takeRetiredIds();
      this.streams.read();
      if (this.streams.blockedCount > 0) this.streams.offerBlocked();
    }
    this.touch();
  }

  /** @returns false when quiche must be asked what has happened */
  private receiveUsual(bytes: Uint8Array): boolean {
    const { streams } = this;
    const { frames, readBuffer } = this.endpoint;
    const content = frames.read(bytes, this.acked, this.sentCount);
    if (frames.acked > this.acked) this.acked = frames.acked;
    if (content === CONTENT_ANY || this.events === null || this.isClosing || streams.blockedCount > 0) return false;
    if (content === CONTENT_ACKS) {
      if (!this.isSettled) this.touchUsually();
      return true;
    }
    const stream = streams.get(frames.streamId);
    if (stream === undefined) return false;
    stream.read(readBuffer);
    this.touchUsually();
    return true;
  }

  /** There is something to send or to tell: the connection is flushed at the end of the turn. */
  touch(): void {
    this.isUnusual = true;
    this.touchUsually();
  }

  /** A stream was written. */
  wrote(id: number, length: number): void {
    this.writtenStream = this.writtenStream === NO_STREAM || this.writtenStream === id ? id : SEVERAL_STREAMS;
    this.writtenBytes += length;
    this.touchUsually();
  }

  private touchUsually(): void {
    if (this.isDirty) return;
    this.isDirty = true;
    this.endpoint.flushLater(this);
  }

  /** A stream reads again. */
  readAgain(): void {
    this.needsReading = true;
    this.touch();
  }

  deadlineCame(now: number): void {
    if (now >= this.handshakeDeadline) {
      if (!this.isEstablished) {
        this.giveUp();
        return;
      }
      // Copies of the client's first datagrams that are still under way must not look like a new client; by now there are none.
      this.endpoint.forgetInitialDcid(this);
    }
    // What was sent since has moved it. When nothing is under way any more, all is looked at once.
    if (now < this.streams.lingerUntil && this.setDeadline() > 0 && this.isLossTimed) return;
    this.isLossTimed = false;
    this.native.onTimeout();
    if (now >= this.streams.lingerUntil) this.streams.endLingering();
    // A path that was not validated, or congestion that is over.
    this.takePathEvents(this.address);
    if (this.streams.blockedCount > 0) this.streams.offerBlocked();
    this.touch();
  }

  /** Sends what there is, tells what has ended, sets the next deadline. Called by the endpoint at the end of the turn. */
  flush(): void {
    if (this.needsReading) {
      this.needsReading = false;
      if (!this.isClosing) this.streams.read();
    }
    this.streams.endTurn();
    this.isDirty = false;
    if (this.isGone) return;
    const isUsual = this.isSettled && !this.isUnusual;
    this.isUnusual = false;
    this.send(isUsual);
    if (isUsual) {
      if (!this.isLossTimed) this.setDeadline();
      return;
    }
    if (this.native.isClosed() || this.native.isDraining()) {
      this.end();
      return;
    }
    this.setDeadline();
  }

  /** When the handshake must be complete, and the client's own choice of an ID is forgotten. */
  private get handshakeDeadline(): number {
    return this.initialDcid === null ? Number.POSITIVE_INFINITY : this.openedAt + this.endpoint.settings.handshakeTimeoutMilliseconds;
  }

  /**
   * Asks quiche for its next deadline. The usual flush leaves that out while one of loss recovery is set: with what was sent later it can only have moved later, except
   * when the round trip has become shorter, and then it comes at most LOSS_MILLISECONDS_MAX late.
   * @returns milliseconds until then
   */
  private setDeadline(): number {
    const timeout = this.native.timeout() ?? Number.POSITIVE_INFINITY;
    this.isLossTimed = timeout <= LOSS_MILLISECONDS_MAX;
    const deadline = performance.now() + timeout + ROUNDING_MILLISECONDS;
    this.endpoint.deadlines.set(this, Math.min(deadline, this.streams.lingerUntil, this.handshakeDeadline));
    return timeout;
  }

  /** The handshake took too long. Nobody waits for the end of its draining: a client that is late begins anew. */
  private giveUp(): void {
    this.isClosing = true;
    this.closeReason = 'the handshake took too long';
    closeConnection(this.native, false, APPLICATION_ERROR, NO_BYTES);
    this.send(false);
    this.tellClosed();
    this.endpoint.remove(this);
  }

  /** Sends what quiche has to send. @param isUsual all but what was written in this turn has left: the datagram that holds that is the last one */
  private send(isUsual: boolean): void {
    const { writtenStream, writtenBytes } = this;
    this.writtenStream = NO_STREAM;
    this.writtenBytes = 0;
    const first = this.sendOne();
    // quiche puts one stream into a datagram, all of it that there is room for in the datagram and in the congestion window.
    const isWhole = writtenStream !== SEVERAL_STREAMS && first >= writtenBytes + OVERHEAD_BYTES_MIN && first < SENT_BYTES_MAX;
    this.isSettled = first === 0 ? writtenBytes === 0 : isWhole;
    if (first === 0 || (isUsual && isWhole)) return;
    while (this.sendOne() > 0) this.isSettled = false;
  }

  /** @returns length of the datagram; 0: there was none */
  private sendOne(): number {
    const { socket, counters } = this.endpoint;
    const sent = nextDatagram(this.native, socket.reserve());
    if (sent === null) return 0;
    const { to } = sent[1];
    const { address } = this;
    const bytes = to.port === address.port && to.host === address.host ? address.bytes : this.endpoint.encode(to);
    const length = sent[0];
    socket.commit(length, bytes);
    counters.sent++;
    this.sentCount++;
    return length;
  }

  private advanceHandshake(): void {
    if (this.native.isEstablished()) {
      const isNew = this.events === null;
      this.isEstablished = true;
      this.endpoint.handshakeCompleted(this);
      this.issueIds();
      if (isNew) this.endpoint.handOver(this);
      else this.events?.established();
    } else if (this.events === null && this.native.isInEarlyData() && this.native.isReadable()) {
      this.endpoint.handOver(this);
    }
  }

  /** Gives the client spare IDs, as many as it wants of those that we would give. */
  private issueIds(): void {
    while (this.ids.length <= SPARE_CONNECTION_IDS && this.native.sourceCidsLeft() > 0) {
      const id = this.endpoint.ids.make();
      if (!issueConnectionId(this.native, id, this.endpoint.ids.resetTokenNumber(id))) return;
      this.endpoint.addId(this, id);
    }
  }

  private takeRetiredIds(): void {
    let id = this.native.retiredScidNext();
    if (id === null) return;
    for (; id !== null; id = this.native.retiredScidNext()) this.endpoint.removeId(this, id);
    this.issueIds();
  }

  /** A client that answers from a new address has moved there once quiche has validated the path [RFC 9000 §9]. */
  private takePathEvents(from: PeerAddress): void {
    for (let event = this.native.pathEventNext(); event !== null; event = this.native.pathEventNext()) {
      if (event.type !== 'PeerMigrated' || from === this.address) continue;
      this.address = from;
      this.recvInfo = { from: { host: from.host, port: from.port }, to: this.endpoint.local };
      this.endpoint.counters.migrations++;
      this.events?.moved();
    }
  }

  /**
   * Closed on either side: for the holder it is over now, though quiche may still answer late datagrams. A handshake that failed is not kept for that: it would
   * take the place of others, and a client that has not heard of it begins anew and is told then.
   */
  private end(): void {
    this.tellClosed();
    if (this.native.isClosed() || !this.isEstablished) this.endpoint.remove(this);
    else this.setDeadline();
  }

  private tellClosed(): void {
    const { events } = this;
    if (events === null) return;
    this.streams.loseAll();
    this.events = null;
    events.closed(this.reason());
  }

  /** Why the connection is over, for a person who reads it. */
  private reason(): string {
    const { native } = this;
    if (native.isTimedOut()) return 'no datagram came within the idle timeout';
    const peer = native.peerError();
    if (peer !== null) return describe('closed by the client', peer);
    if (this.closeReason !== '') return this.closeReason;
    const own = native.localError();
    return own === null ? 'closed' : describe('closed by quiche', own);
  }
}

function describe(who: string, error: ConnectionError): string {
  const kind = error.isApp ? 'application error' : 'transport error';
  const text = Buffer.from(error.reason).toString('utf8', 0, 100); // cold: once for each connection
  return [who, kind, error.errorCode, text].join(' ').trim();
}
