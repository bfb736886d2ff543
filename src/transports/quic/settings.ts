/**
 * What an operator may say about a QUIC listener, and the quiche configuration that is made of it: one for all connections of a shard.
 *
 * Runs at start, and again when certificates change: connections that are there keep the configuration that they were made with.
 */
import { createHash, hkdfSync } from 'node:crypto';
import type { NativeConfig, Quiche } from './binding.ts';
import type { SharedKeys } from './connection-id.ts';
import { RECEIVED_BYTES_MAX, SENT_BYTES_MAX } from './udp-socket.ts';

export interface QuicSettings {
  /** A connection without a datagram for this long is closed; both sides announce one, the smaller counts [RFC 9000 §10.1]. */
  readonly idleTimeoutMilliseconds: number;
  /** From a client's first datagram to the end of the handshake. */
  readonly handshakeTimeoutMilliseconds: number;
  /** Bidirectional streams that a client may have open at a time. */
  readonly maxStreams: number;
  /** Bytes of one stream that a client may send before they are read. */
  readonly streamWindowBytes: number;
  /** The same for all streams of a connection together. */
  readonly connectionWindowBytes: number;
  readonly congestionControl: 'reno' | 'cubic' | 'bbr';
  /** When a client must first show that it receives at its address, at the price of a round trip. */
  readonly retry: 'never' | 'always' | 'auto';
  /** `auto`: half-open handshakes of this shard above which every new client gets a Retry. */
  readonly retryAbove: number;
  /** Half-open handshakes of this shard above which new clients get no answer. */
  readonly maxHandshakes: number;
  /** Connections of this shard. */
  readonly maxConnections: number;
  /** Whether clients that were here before may send data with their first datagram. */
  readonly earlyData: boolean;
}

/** Certificate chain, leaf first, and its private key, as PEM. */
export interface QuicCertificate {
  readonly certificate: Uint8Array;
  readonly key: Uint8Array;
}

export interface QuicCredentials {
  /** At least one. */
  readonly certificates: readonly QuicCertificate[];
  /** Place of the certificate for a name of the server; '' when the client names none. */
  readonly certificateFor: (serverName: string) => number;
  /** Authorities that sign client certificates, as PEM. */
  readonly ca: Uint8Array | null;
  /** Whether a client shows a certificate; one that is shown must be signed by `ca`. */
  readonly verifyClient: 'none' | 'optional' | 'required';
  /** Whatever else decides whether a client certificate is good, such as a list of revoked ones: tickets end when it changes. */
  readonly judges: string;
}

const APPLICATION_PROTOCOL = 'mqtt';
/** As BoringSSL wants it: name, HMAC key, AES key. */
const TICKET_KEY_BYTES = 48;

/** Unidirectional streams carry no MQTT. A few may be opened, so that they can be refused one by one; none would end the connection of a client that opens one. There
 * is no room for more after these: quiche gives none back for streams that were refused. */
const UNIDIRECTIONAL_STREAMS = 3;
const UNIDIRECTIONAL_WINDOW_BYTES = 1;

/**
 * Connection IDs that a client may give us, so that a path of its own has an ID of its own [RFC 9000 §9.5]. quiche also allows a connection this many addresses of its
 * client, counts old ones for ever, and drops what comes from one more: a client that has moved so often begins a new connection.
 */
const ACTIVE_CONNECTION_IDS = 16;

/** The configurations of quiche, one for each certificate. @throws Error when certificate, key or CA cannot be used */
export function createNativeConfigs(
  quiche: Quiche,
  settings: QuicSettings,
  credentials: QuicCredentials,
  keys: SharedKeys,
): NativeConfig[] {
  return credentials.certificates.map((certificate) => createNativeConfig(quiche, settings, credentials, certificate, keys));
}

function createNativeConfig(
  quiche: Quiche,
  settings: QuicSettings,
  credentials: QuicCredentials,
  { certificate, key }: QuicCertificate,
  keys: SharedKeys,
): NativeConfig {
  const { verifyClient, ca } = credentials;
  const config = quiche.Config.withBoringSslCtx(verifyClient === 'required', false, ca, [key], [certificate], null);
  // PEER without FAIL_IF_NO_PEER_CERT: a certificate is asked for, and checked if there is one.
  if (verifyClient === 'optional') config.verifyPeer(true);
  config.setApplicationProtos([APPLICATION_PROTOCOL]);
  config.setTicketKey(ticketKey(keys, credentials));
  if (settings.earlyData) config.enableEarlyData();
  config.setMaxIdleTimeout(settings.idleTimeoutMilliseconds);
  config.setMaxRecvUdpPayloadSize(RECEIVED_BYTES_MAX);
  config.setMaxSendUdpPayloadSize(SENT_BYTES_MAX);
  config.setInitialMaxData(settings.connectionWindowBytes);
  config.setMaxConnectionWindow(settings.connectionWindowBytes);
  config.setInitialMaxStreamDataBidiRemote(settings.streamWindowBytes);
  config.setMaxStreamWindow(settings.streamWindowBytes);
  config.setInitialMaxStreamsBidi(settings.maxStreams);
  config.setInitialMaxStreamDataUni(UNIDIRECTIONAL_WINDOW_BYTES);
  config.setInitialMaxStreamsUni(UNIDIRECTIONAL_STREAMS);
  config.setActiveConnectionIdLimit(ACTIVE_CONNECTION_IDS);
  config.setCcAlgorithmName(settings.congestionControl);
  // Pacing would say when a datagram should leave, not hold it. A timer of one millisecond is too coarse to follow that, and MQTT's bursts are small: at most a
  // congestion window leaves at once, ten datagrams at first.
  config.enablePacing(false);
  return config;
}

/**
 * A ticket stands for a client certificate that was checked, or for the fact that none was asked for. So it is good only where the same is asked: another listener of the
 * process, or this one after its authority has changed, does not take it. A new server certificate changes nothing.
 */
function ticketKey(keys: SharedKeys, { verifyClient, ca, judges }: QuicCredentials): Uint8Array {
  const asked = createHash('sha256')
    .update(verifyClient)
    .update('\0')
    .update(ca ?? '')
    .update('\0')
    .update(judges)
    .digest();
  return Buffer.from(hkdfSync('sha256', keys.sessionTicket, asked, 'onehop quic ticket', TICKET_KEY_BYTES));
}
