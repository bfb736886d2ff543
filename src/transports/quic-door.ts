/**
 * QUIC as a listener of the broker: the first stream that a client opens is its MQTT connection, further ones are data streams of the same client.
 *
 *   QuicConnection → first stream → (early data: CONNECT alone) → Arrival → attached here, or relayed to the owner
 *                  → further streams, unread until the first has arrived ────────▲
 *
 * Until the handshake is confirmed anybody may have sent what comes again: of early data only the CONNECT is acted on, unless `earlyPublish` allows the rest.
 */

import { X509Certificate } from 'node:crypto';
import { addressName } from '../base/network.ts';
import type { ListenerSettings } from '../base/settings.ts';
import { FRAME_INCOMPLETE, Frame, readFrame } from '../protocol/framer.ts';
import { type ChannelEvents, type EventChannel, NO_EVENTS } from '../shard/channel.ts';
import { counter } from '../shard/counters.ts';
import { arrive, type JoinStream } from './arrival.ts';
import { type CertificateFiles, certificateFor, revocationOf } from './certificates.ts';
import type { Gate, Opening } from './gate.ts';
import { bindQuicSocket } from './quic/bind-socket.ts';
import { loadQuiche } from './quic/binding.ts';
import type { QuicConnection, QuicConnectionEvents } from './quic/connection.ts';
import { QuicEndpoint } from './quic/endpoint.ts';
import type { QuicCredentials, QuicSettings } from './quic/settings.ts';
import type { QuicStream } from './quic/stream.ts';
import type { UdpSocket } from './quic/udp-socket.ts';
import type { Revocation } from './revocation.ts';

const ACCEPTED = counter('connections/accepted');
const DONE = counter('handshakes/done');
const FAILED = counter('handshakes/failed');
const DENIED = counter('connections/denied');

/** Application error codes, as existing clients know them. */
const NO_ERROR = 0;
const CONTROL_STREAM_ENDED = 1;
const OVERLOADED = 2;
/** TLS alert [RFC 8446 §6]. */
const CERTIFICATE_REVOKED = 44;

/** Bytes of a stream that a client may send before they are read. */
const STREAM_WINDOW_BYTES = 128 * 1024;
/** All streams together have no bound of their own: one that is not read would hold up the others, and quiche never gives back what a client has reset. */
const CONNECTION_WINDOW_BYTES = 2 ** 50;
/** Half-open handshakes of a shard from which on a client must show its address, and from which on nobody is answered. */
const RETRY_ABOVE = 128;
const HANDSHAKES_MAX = 2048;
const HANDSHAKE_MILLISECONDS = 10_000;

const NOTHING = Buffer.alloc(0);
/** Connect Flags. */
const CLEAN_START = 0x02;
const WILL_FLAG = 0x04;
const NO_CONNECTION_EVENTS: QuicConnectionEvents = {
  stream: (stream) => stream.destroy(),
  established: () => {},
  moved: () => {},
  closed: () => {},
};

const frame = new Frame();

/** Whether a CONNECT in bytes[at, end) has no Will and throws no session away [MQTT 5.0 §3.1.2.3]. */
function isHarmless(bytes: Buffer, at: number, end: number): boolean {
  const flagsAt = at + 2 + (end - at >= 2 ? bytes.readUInt16BE(at) : 0) + 1;
  return flagsAt < end && (bytes[flagsAt]! & (WILL_FLAG | CLEAN_START)) === 0;
}

/** The first stream of a connection: the MQTT connection. While it may be a replay it passes on the CONNECT and keeps the rest. */
class ControlChannel implements EventChannel, ChannelEvents {
  events: ChannelEvents;
  private readonly connection: QuicConnection;
  private readonly stream: QuicStream;
  private readonly packetBytesMax: number;
  isEarly: boolean;
  private hasConnect: boolean;
  private isPaused: boolean;
  private isEnded: boolean;
  private early: Buffer;

  constructor(connection: QuicConnection, stream: QuicStream, packetBytesMax: number, isEarly: boolean) {
    this.events = NO_EVENTS;
    this.connection = connection;
    this.stream = stream;
    this.packetBytesMax = packetBytesMax;
    this.isEarly = isEarly;
    this.hasConnect = false;
    this.isPaused = false;
    this.isEnded = false;
    this.early = NOTHING;
    stream.events = this;
  }

  received(bytes: Uint8Array, length: number): boolean {
    return this.isEarly ? this.receivedEarly(bytes.subarray(0, length)) : this.events.received(bytes, length);
  }

  private receivedEarly(bytes: Uint8Array): boolean {
    this.early = Buffer.concat([this.early, bytes]);
    if (this.hasConnect) return false;
    const code = readFrame(frame, this.early, 0, this.early.length, this.packetBytesMax);
    if (code === FRAME_INCOMPLETE) return true;
    // What a replay would do harm with waits, too: a Will that is published, a session that is thrown away.
    if (code === 0 && !isHarmless(this.early, frame.bodyAt, frame.bodyEnd)) {
      this.hasConnect = true;
      return false;
    }
    this.hasConnect = true;
    const connect = this.early.subarray(0, code === 0 ? frame.bodyEnd : this.early.length);
    this.early = this.early.subarray(connect.length);
    this.events.received(connect, connect.length);
    // What is not read stays with the client, under flow control.
    return false;
  }

  /** The handshake is confirmed: what has come is the client's. */
  confirm(): void {
    const { early } = this;
    this.isEarly = false;
    this.early = NOTHING;
    if (early.length > 0 && !this.events.received(early, early.length)) this.isPaused = true;
    if (!this.isPaused) this.stream.resume();
  }

  drained(): void {
    this.events.drained();
  }

  lost(reason: string): void {
    this.events.lost(reason);
    this.connection.close(this.isEnded ? NO_ERROR : CONTROL_STREAM_ENDED, '');
  }

  write(bytes: Uint8Array, length: number): boolean {
    return this.stream.write(bytes, length);
  }

  pause(): void {
    this.isPaused = true;
    this.stream.pause();
  }

  resume(): void {
    this.isPaused = false;
    if (!this.isEarly) this.stream.resume();
  }

  end(): void {
    this.isEnded = true;
    this.stream.end();
  }

  destroy(): void {
    this.stream.destroy();
  }
}

/** One client, until its QUIC connection is gone. */
class QuicClient implements QuicConnectionEvents {
  private readonly gate: Gate;
  private readonly opening: Opening;
  private readonly connection: QuicConnection;
  private control: ControlChannel | null;
  /** Set when the first stream has arrived where it belongs and the client is known to be who it is. */
  private join: JoinStream | null;
  /** Streams that came before that; they are not read. At most as many as a client may have open. */
  private early: QuicStream[];

  constructor(gate: Gate, opening: Opening, connection: QuicConnection) {
    this.gate = gate;
    this.opening = opening;
    this.connection = connection;
    this.control = null;
    this.join = null;
    this.early = [];
  }

  stream(stream: QuicStream, isFirst: boolean): void {
    if (!isFirst) {
      stream.pause();
      stream.events = {
        ...NO_EVENTS,
        lost: () => {
          this.early = this.early.filter((one) => one !== stream);
        },
      };
      this.early.push(stream);
      this.joinStreams();
      return;
    }
    const { gate, connection } = this;
    const isEarly = connection.isEarly && !gate.settings.quic!.earlyPublish;
    this.control = new ControlChannel(connection, stream, gate.settings.packetBytes, isEarly);
    arrive(gate, this.opening, this.control, connection.peerCertificates?.[0] ?? null, (join) => {
      this.join = join;
      this.joinStreams();
    });
  }

  private joinStreams(): void {
    const { join } = this;
    if (join === null || this.control!.isEarly || this.early.length === 0) return;
    const streams = this.early;
    this.early = [];
    for (const stream of streams) if (!join(stream)) stream.destroy();
  }

  established(): void {
    this.gate.shard.startTurn();
    this.gate.shard.counters[DONE]!++;
    this.control?.confirm();
    this.joinStreams();
  }

  moved(): void {
    const { host, port } = this.connection.address;
    this.gate.shard.log.debug({ peer: this.opening.name, now: addressName(host, port) }, 'a QUIC client has moved');
    // It may come from where it could not have begun.
    if (!this.gate.admits(host)) this.connection.close(OVERLOADED, '');
  }

  closed(): void {
    this.opening.leave();
  }
}

/** One QUIC listener of one shard. */
export class QuicDoor {
  readonly endpoint: QuicEndpoint;
  private readonly gate: Gate;
  /** quiche knows no lists of revoked certificates. */
  private revocation: Revocation | null;

  private constructor(gate: Gate, socket: UdpSocket, secret: Uint8Array, files: CertificateFiles) {
    const { shard, settings, listener } = gate;
    this.gate = gate;
    this.revocation = settings.tls!.verifyClient === 'none' ? null : revocationOf(files);
    this.endpoint = new QuicEndpoint({
      shardIndex: shard.index,
      shardCount: shard.shards,
      socket,
      secret,
      settings: endpointSettings(gate),
      credentials: credentialsOf(settings.tls!.verifyClient, files),
      shard: {
        startTurn: () => shard.startTurn(),
        allows: (address) => {
          if (gate.allows(address)) return true;
          shard.counters[DENIED]!++;
          return false;
        },
        onConnection: (connection) => this.accept(connection),
        forward: (owner, bytes, host, port) => shard.mesh.sendDatagram(owner, listener, bytes, host, port),
      },
      log: shard.log,
    });
  }

  /** Opens this shard's socket of the listener. @param secret 32 bytes, the same in all shards */
  static async open(gate: Gate, host: string, port: number, secret: Uint8Array, files: CertificateFiles): Promise<QuicDoor> {
    return new QuicDoor(gate, await bindQuicSocket(host, port), secret, files);
  }

  private accept(connection: QuicConnection): void {
    const { gate } = this;
    const { host, port } = connection.address;
    gate.shard.counters[ACCEPTED]!++;
    const name = addressName(host, port);
    const problem = this.problemOf(connection);
    if (problem !== null) {
      gate.shard.counters[FAILED]!++;
      gate.shard.clientLog.info({ peer: name, reason: problem }, 'connection refused: the client certificate is not good');
      connection.events = NO_CONNECTION_EVENTS;
      connection.refuse(CERTIFICATE_REVOKED, problem);
      return;
    }
    const opening = gate.open(name, () => connection.close(NO_ERROR, ''));
    if (opening === null) {
      connection.events = NO_CONNECTION_EVENTS;
      connection.close(OVERLOADED, '');
      return;
    }
    if (connection.isEstablished) gate.shard.counters[DONE]!++;
    connection.events = new QuicClient(gate, opening, connection);
  }

  /** What is wrong with the client's certificate; null: nothing, or it has shown none. quiche has seen to it that it leads to a root, and that it is there if it must. */
  private problemOf(connection: QuicConnection): string | null {
    const leaf = this.revocation === null ? undefined : connection.peerCertificates?.[0];
    return leaf === undefined ? null : this.revocation!.problemOf(new X509Certificate(leaf), Date.now());
  }

  /** New connections get other certificates. */
  reload(files: CertificateFiles): void {
    if (this.revocation !== null) this.revocation = revocationOf(files);
    this.endpoint.setCredentials(credentialsOf(this.gate.settings.tls!.verifyClient, files));
  }

  stopAccepting(): void {
    this.endpoint.stopAccepting();
    this.gate.close();
  }
}

/** Tries what a listener makes of its certificates. @throws Error when quiche cannot use them */
export function judgeForQuic(settings: ListenerSettings, files: CertificateFiles): void {
  const { certificates, ca } = credentialsOf(settings.tls!.verifyClient, files);
  for (const { certificate, key } of certificates) loadQuiche()?.Config.withBoringSslCtx(false, false, ca, [key], [certificate], null);
}

function endpointSettings({ shard, settings }: Gate): QuicSettings {
  const { idleTimeoutMilliseconds, congestionControl, retry, earlyData, streams } = settings.quic!;
  return {
    idleTimeoutMilliseconds,
    congestionControl,
    retry,
    // Of early data it is not known yet whether its certificate has been revoked.
    earlyData: earlyData && settings.tls!.crl === '',
    handshakeTimeoutMilliseconds: Math.min(HANDSHAKE_MILLISECONDS, settings.handshakeTimeoutMilliseconds),
    maxStreams: streams,
    streamWindowBytes: STREAM_WINDOW_BYTES,
    connectionWindowBytes: CONNECTION_WINDOW_BYTES,
    retryAbove: RETRY_ABOVE,
    maxHandshakes: HANDSHAKES_MAX,
    maxConnections: Math.min(settings.connections, shard.settings.limits.connections),
  };
}

function credentialsOf(verifyClient: QuicCredentials['verifyClient'], files: CertificateFiles): QuicCredentials {
  const ca = verifyClient === 'none' || files.ca === '' ? null : Buffer.from(files.ca);
  const names = files.certificates.map(({ chain }) => new X509Certificate(chain));
  return {
    certificates: files.certificates.map(({ chain, key }) => ({ certificate: Buffer.from(chain), key: Buffer.from(key) })),
    certificateFor: (serverName) => certificateFor(serverName, names),
    ca,
    verifyClient,
    judges: verifyClient === 'none' ? '' : files.crl,
  };
}
