/**
 * Acceptance: what becomes of datagrams whose connection nobody knows. New connections begin here, and everything that is answered without one.
 *
 * A stranger can forge its address and send as much as it likes, so nothing here remembers one before `accept`, what is answered is never larger than what came
 * (quiche holds a handshake to three times that [RFC 9000 §8.1]), and answers other than a handshake are limited for each second.
 */
import { randomBytes } from 'node:crypto';
import { readHandshakeHello } from '../client-hello.ts';
import type { NativeConnection } from './binding.ts';
import { QuicConnection } from './connection.ts';
import {
  type DatagramHeader,
  INITIAL,
  INITIAL_DATAGRAM_BYTES_MIN,
  INITIAL_DCID_BYTES_MIN,
  OTHER_VERSION,
  SHORT,
  statelessResetLength,
  VERSION_1,
  writeStatelessReset,
  writeVersionNegotiation,
} from './datagram.ts';
import type { QuicEndpoint } from './endpoint.ts';
import { InitialHello } from './initial-hello.ts';
import { mintRetryToken, openRetryToken } from './retry-token.ts';
import type { PeerAddress } from './udp-socket.ts';

/** Version Negotiation packets and Stateless Resets of a shard in one second. After a restart, this many clients hear that they must begin anew; the others hear it later. */
const ANSWERS_PER_SECOND = 2000;
const RANDOM_POOL_BYTES = 4096;

/** First datagrams that wait for the rest of a ClientHello: clients of one shard, datagrams of each, and for how long. */
const HELLOS_MAX = 256;
const HELLO_DATAGRAMS_MAX = 4;
const HELLO_MILLISECONDS = 3000;

interface PartialHello {
  readonly hello: InitialHello;
  /** Copies. */
  readonly datagrams: Uint8Array[];
  readonly since: number;
}

export class Acceptance {
  private readonly endpoint: QuicEndpoint;
  private random: Buffer;
  private randomAt: number;
  private answersLeft: number;
  private answersSecond: number;
  /** Clients whose ClientHello has not come whole, by the ID that they have chosen; oldest first. */
  private readonly partial: Map<string, PartialHello>;

  constructor(endpoint: QuicEndpoint) {
    this.endpoint = endpoint;
    this.random = randomBytes(RANDOM_POOL_BYTES);
    this.randomAt = 0;
    this.answersLeft = ANSWERS_PER_SECOND;
    this.answersSecond = 0;
    this.partial = new Map();
  }

  /** A datagram of a connection that is not here, and that no other shard has made. */
  meet(bytes: Uint8Array, header: DatagramHeader, from: PeerAddress): void {
    if (header.kind === INITIAL) this.meetInitial(bytes, header, from);
    else if (header.kind === OTHER_VERSION) this.negotiateVersion(bytes, header, from);
    else if (header.kind === SHORT) this.resetStateless(bytes, header, from);
    // 0-RTT before its Initial, a Handshake or a Retry of nothing: the client sends again what it misses.
    else this.endpoint.counters.droppedUnknown++;
  }

  private meetInitial(bytes: Uint8Array, header: DatagramHeader, from: PeerAddress): void {
    const { endpoint } = this;
    const { counters, settings } = endpoint;
    if (bytes.length < INITIAL_DATAGRAM_BYTES_MIN || header.dcidLength < INITIAL_DCID_BYTES_MIN) {
      counters.droppedSmallInitial++; // [RFC 9000 §14.1]
      return;
    }
    if (endpoint.isStopping) {
      counters.droppedStopping++;
      return;
    }
    // Not answered, whoever it is: an address that is not allowed costs nothing, and one that is forged gains nothing.
    if (!endpoint.shard.allows(from.host)) {
      counters.droppedDenied++;
      return;
    }
    if (counters.connections >= settings.maxConnections) {
      counters.droppedConnections++;
      return;
    }
    if (counters.handshakes >= settings.maxHandshakes) {
      counters.droppedHandshakes++;
      return;
    }
    const dcid = bytes.slice(header.dcidAt, header.dcidAt + header.dcidLength);
    const originalDcid = this.openToken(bytes, header, dcid, from);
    if (originalDcid !== null) {
      this.choose(bytes, dcid, originalDcid, from);
    } else if (endpoint.ids.shardOf(dcid, 0, dcid.length) >= 0) {
      // Only a Retry of ours gives such an ID for an Initial: its token is too old or was sent to somebody else. Any other token that we cannot read may be one
      // that another server at this address gave for later, which counts as none [RFC 9000 §8.1.3].
      counters.droppedToken++;
    } else if (settings.retry === 'always' || (settings.retry === 'auto' && counters.handshakes >= settings.retryAbove)) {
      this.retry(bytes, header, dcid, from);
    } else {
      this.choose(bytes, dcid, null, from);
    }
  }

  /** Chooses the certificate by the name that the client asks for. That may need more than its first datagram. */
  private choose(bytes: Uint8Array, dcid: Uint8Array, originalDcid: Uint8Array | null, from: PeerAddress): void {
    const { endpoint } = this;
    if (endpoint.configs.length === 1) {
      this.accept(bytes, dcid, originalDcid, from, 0);
      return;
    }
    const name = Buffer.from(dcid).toString('latin1'); // cold: new clients of listeners with several certificates
    const waiting = this.partial.get(name) ?? { hello: new InitialHello(dcid), datagrams: [], since: performance.now() };
    const isReadable = waiting.hello.take(bytes);
    const { hello } = waiting.hello;
    if (isReadable && hello === null && waiting.datagrams.length < HELLO_DATAGRAMS_MAX) {
      waiting.datagrams.push(Uint8Array.prototype.slice.call(bytes));
      this.partial.set(name, waiting);
      this.dropPartial();
      return;
    }
    this.partial.delete(name);
    const serverName = hello === null ? '' : readHandshakeHello(hello).serverName;
    const config = endpoint.certificateFor(serverName);
    const [first = bytes, ...others] = [...waiting.datagrams, bytes];
    const connection = this.accept(first, dcid, originalDcid, from, config);
    for (const datagram of others) connection?.receive(datagram, connection.address);
  }

  /** The oldest go when there are too many, and those whose rest does not come: their clients send all of it again. */
  private dropPartial(): void {
    const { counters } = this.endpoint;
    const tooOld = performance.now() - HELLO_MILLISECONDS;
    for (const [name, { since }] of this.partial) {
      if (this.partial.size <= HELLOS_MAX && since > tooOld) return;
      this.partial.delete(name);
      counters.droppedHellos++;
    }
  }

  private openToken(bytes: Uint8Array, header: DatagramHeader, dcid: Uint8Array, from: PeerAddress): Uint8Array | null {
    if (header.tokenLength === 0) return null;
    const token = bytes.subarray(header.tokenAt, header.tokenAt + header.tokenLength);
    return openRetryToken(this.endpoint.keys.retryToken, token, dcid, from.host, from.port, nowSeconds());
  }

  /** Begins a connection. @param originalDcid the ID before the Retry, or null when there was none @param certificate its place */
  private accept(
    bytes: Uint8Array,
    dcid: Uint8Array,
    originalDcid: Uint8Array | null,
    from: PeerAddress,
    certificate: number,
  ): QuicConnection | null {
    const { endpoint } = this;
    const { ids, quiche, local, counters } = endpoint;
    const config = endpoint.configs[certificate]!;
    // After a Retry, the client already knows the ID that the Retry gave it [RFC 9000 §7.3].
    const id = originalDcid === null ? ids.make() : Buffer.from(dcid);
    config.setStatelessResetToken(ids.resetTokenNumber(id));
    let native: NativeConnection;
    try {
      native = quiche.Connection.accept(id, originalDcid, local, from, config);
    } catch (error) {
      endpoint.log.error({ error: String(error), peer: from.host }, 'quiche does not accept a connection');
      counters.droppedByQuiche++;
      return null;
    }
    const connection = new QuicConnection(endpoint, native, from, performance.now());
    endpoint.add(connection, id, dcid);
    connection.receive(bytes, from);
    return connection;
  }

  /** Asks the client to show that it receives at its address [RFC 9000 §8.1.2]. */
  private retry(bytes: Uint8Array, header: DatagramHeader, dcid: Uint8Array, from: PeerAddress): void {
    const { endpoint } = this;
    const scid = bytes.slice(header.scidAt, header.scidAt + header.scidLength);
    const id = endpoint.ids.make();
    const token = mintRetryToken(endpoint.keys.retryToken, dcid, id, from.host, from.port, nowSeconds());
    const length = endpoint.quiche.retry(scid, dcid, id, token, VERSION_1, endpoint.socket.reserve());
    this.send(length, from);
    endpoint.counters.retriesSent++;
  }

  private negotiateVersion(bytes: Uint8Array, header: DatagramHeader, from: PeerAddress): void {
    const { counters, socket } = this.endpoint;
    // A smaller one could not begin a connection in any version, and its answer might be larger than itself [RFC 9000 §6.1].
    if (bytes.length < INITIAL_DATAGRAM_BYTES_MIN) {
      counters.droppedSmallInitial++;
    } else if (this.mayAnswer()) {
      this.send(writeVersionNegotiation(socket.reserve(), bytes, header, this.takeRandom(1)[0]!), from);
      counters.versionNegotiationsSent++;
    }
  }

  /** Tells a client that its connection is gone, by a token that only we can make [RFC 9000 §10.3]. */
  private resetStateless(bytes: Uint8Array, header: DatagramHeader, from: PeerAddress): void {
    const { counters, socket, ids } = this.endpoint;
    const length = statelessResetLength(bytes.length);
    // An ID that no shard made has no token that anybody knows.
    if (length === 0 || ids.shardOf(bytes, header.dcidAt, header.dcidLength) < 0) {
      counters.droppedUnknown++;
    } else if (this.mayAnswer()) {
      const id = bytes.subarray(header.dcidAt, header.dcidAt + header.dcidLength);
      writeStatelessReset(socket.reserve(), length, this.takeRandom(length), ids.resetToken(id));
      this.send(length, from);
      counters.statelessResetsSent++;
    }
  }

  private send(length: number, to: PeerAddress): void {
    this.endpoint.socket.commit(length, to.bytes);
    this.endpoint.counters.sent++;
  }

  private mayAnswer(): boolean {
    const second = Math.floor(performance.now() / 1000);
    if (second !== this.answersSecond) {
      this.answersSecond = second;
      this.answersLeft = ANSWERS_PER_SECOND;
    }
    if (this.answersLeft === 0) {
      this.endpoint.counters.droppedRateLimited++;
      return false;
    }
    this.answersLeft--;
    return true;
  }

  private takeRandom(length: number): Uint8Array {
    if (this.randomAt + length > RANDOM_POOL_BYTES) {
      this.random = randomBytes(RANDOM_POOL_BYTES);
      this.randomAt = 0;
    }
    this.randomAt += length;
    return this.random.subarray(this.randomAt - length, this.randomAt);
  }
}

/** Wall time: tokens are read by threads that do not share a start. */
function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}
