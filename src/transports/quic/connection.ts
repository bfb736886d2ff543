/**
 * QuicConnection: one connection of a client, and its streams. It turns what quiche knows into events, and does nothing that RFC 9000 leaves to quiche.
 *
 *   handshake ──▶ established ──▶ draining ──▶ gone           early data: streams may come before `established`
 *
 * A turn: datagrams are given to quiche and streams are read at once; what that wrote leaves in one `flush` at the end of the turn. Owned by one endpoint.
 * Invariant: in the list of dirty connections at most once; after `closed` no event of it or of its streams.
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
import type { QuicStream } from './stream.ts';
import { StreamTable } from './stream-table.ts';
import type { PeerAddress } from './udp-socket.ts';

/** Connection IDs that a client holds beside the first, for the paths that it may move to. */
const SPARE_CONNECTION_IDS = 2;
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
    this.sendAll();
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
    if (!receiveDatagram(this.native, bytes, info)) this.endpoint.counters.droppedByQuiche++;
    if (!this.isEstablished && !this.isClosing) this.advanceHandshake();
    if (!isSamePath) this.takePathEvents(from);
    if (this.events !== null && !this.isClosing) {
      this.takeRetiredIds();
      this.streams.read();
      if (this.streams.blockedCount > 0) this.streams.offerBlocked();
    }
    this.touch();
  }

  /** There is something to send or to tell: the connection is flushed at the end of the turn. */
  touch(): void {
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
    this.sendAll();
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

  private setDeadline(): void {
    const timeout = this.native.timeout();
    const deadline = timeout === null ? Number.POSITIVE_INFINITY : performance.now() + timeout + ROUNDING_MILLISECONDS;
    this.endpoint.deadlines.set(this, Math.min(deadline, this.streams.lingerUntil, this.handshakeDeadline));
  }

  /** The handshake took too long. Nobody waits for the end of its draining: a client that is late begins anew. */
  private giveUp(): void {
    this.isClosing = true;
    this.closeReason = 'the handshake took too long';
    closeConnection(this.native, false, APPLICATION_ERROR, NO_BYTES);
    this.sendAll();
    this.tellClosed();
    this.endpoint.remove(this);
  }

  private sendAll(): void {
    const { socket, counters } = this.endpoint;
    for (;;) {
      const sent = nextDatagram(this.native, socket.reserve());
      if (sent === null) return;
      const { to } = sent[1];
      const { address } = this;
      const bytes = to.port === address.port && to.host === address.host ? address.bytes : this.endpoint.encode(to);
      socket.commit(sent[0], bytes);
      counters.sent++;
    }
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
