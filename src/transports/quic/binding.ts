/**
 * The binding to quiche: the part of it that this folder uses, typed, and calls that return codes where the binding throws.
 *
 * quiche does the protocol (TLS 1.3, loss recovery, congestion control, flow control, path validation); it has no socket, no timer and no thread. Only the
 * binary of the package is loaded: the classes that its maker puts around it make promises and events for each packet.
 * An exception costs 3 µs and comes only from what a peer did wrong, so the calls here catch it at once and nothing above needs to.
 */
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** An IP address as text, without zone, and a port. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

export interface RecvInfo {
  readonly from: HostPort;
  readonly to: HostPort;
}

/** What `send` filled: bytes, and where they are to go. */
export type Sent = readonly [length: number, info: { readonly from: HostPort; readonly to: HostPort }];

export interface PathEvent {
  readonly type: 'New' | 'Validated' | 'Closed' | 'ReusedSourceConnectionId' | 'PeerMigrated' | 'FailedValidation';
}

export interface ConnectionError {
  readonly isApp: boolean;
  readonly errorCode: number;
  readonly reason: Uint8Array;
}

export interface NativeConfig {
  verifyPeer(verify: boolean): void;
  grease(grease: boolean): void;
  setTicketKey(key: Uint8Array): void;
  enableEarlyData(): void;
  setApplicationProtos(protocols: string[]): void;
  setMaxIdleTimeout(milliseconds: number): void;
  setMaxRecvUdpPayloadSize(size: number): void;
  setMaxSendUdpPayloadSize(size: number): void;
  setInitialMaxData(bytes: number): void;
  setInitialMaxStreamDataBidiLocal(bytes: number): void;
  setInitialMaxStreamDataBidiRemote(bytes: number): void;
  setInitialMaxStreamDataUni(bytes: number): void;
  setInitialMaxStreamsBidi(count: number): void;
  setInitialMaxStreamsUni(count: number): void;
  setActiveConnectionIdLimit(count: number): void;
  setDisableActiveMigration(isDisabled: boolean): void;
  setCcAlgorithmName(name: string): void;
  enablePacing(isEnabled: boolean): void;
  setMaxStreamWindow(bytes: number): void;
  setMaxConnectionWindow(bytes: number): void;
  setStatelessResetToken(token: bigint | null): void;
}

export interface NativeConnection {
  setSession(session: Uint8Array): void;
  recv(bytes: Uint8Array, info: RecvInfo): number;
  send(bytes: Uint8Array): Sent | null;
  streamRecv(id: number, bytes: Uint8Array): readonly [length: number, isFinished: boolean] | null;
  streamSend(id: number, bytes: Uint8Array, isFinished: boolean): number | null;
  streamShutdown(id: number, direction: number, errorCode: number): unknown;
  streamReadable(id: number): boolean;
  readable(): Iterable<number>;
  timeout(): number | null;
  onTimeout(): void;
  probePath(local: HostPort, peer: HostPort): number;
  migrate(local: HostPort, peer: HostPort): number;
  newSourceCid(id: Uint8Array, resetToken: bigint, retireIfNeeded: boolean): number;
  sourceCidsLeft(): number;
  availableDcids(): number;
  pathEventNext(): PathEvent | null;
  pathStats(): readonly { readonly active: boolean; readonly peerHost: HostPort; readonly cwnd: number }[];
  retiredScidNext(): Uint8Array | null;
  close(isApplication: boolean, errorCode: number, reason: Uint8Array): unknown;
  serverName(): string | null;
  peerCertChain(): Uint8Array[] | null;
  session(): Uint8Array | null;
  sourceId(): Uint8Array;
  isEstablished(): boolean;
  isResumed(): boolean;
  isInEarlyData(): boolean;
  isReadable(): boolean;
  isDraining(): boolean;
  isClosed(): boolean;
  isTimedOut(): boolean;
  peerError(): ConnectionError | null;
  localError(): ConnectionError | null;
  sendAckEliciting(): void;
}

export interface Quiche {
  negotiateVersion(scid: Uint8Array, dcid: Uint8Array, out: Uint8Array): number;
  retry(scid: Uint8Array, dcid: Uint8Array, newScid: Uint8Array, token: Uint8Array, version: number, out: Uint8Array): number;
  Config: {
    withBoringSslCtx(
      verifyPeer: boolean,
      acceptsAnyChain: boolean,
      ca: Uint8Array | null,
      keys: Uint8Array[] | null,
      chains: Uint8Array[] | null,
      signatureAlgorithms: string | null,
    ): NativeConfig;
  };
  Connection: {
    accept(scid: Uint8Array, originalDcid: Uint8Array | null, local: HostPort, peer: HostPort, config: NativeConfig): NativeConnection;
    connect(serverName: string | null, scid: Uint8Array, local: HostPort, peer: HostPort, config: NativeConfig): NativeConnection;
  };
}

const SHUTDOWN_READ = 0;
const SHUTDOWN_WRITE = 1;

/** What `readStream` and `writeStream` answer instead of a count. */
export const STREAM_WAITS = -1;
/** The peer has reset the stream or asked us to stop, or it is no more. */
export const STREAM_BROKEN = -2;

let binary: Quiche | null | undefined;

/** File of the binary for this platform, or null where there is none. It is a package of its own, and belongs to the one that is asked for. */
export function quicheFile(): string | null {
  try {
    const description = createRequire(import.meta.url).resolve('@matrixai/quic/package.json');
    return createRequire(description).resolve(`@matrixai/quic-${process.platform}-${process.arch}`);
  } catch {
    return null;
  }
}

/**
 * quiche, or null where there is no binary of it for this platform.
 * Each thread loads a copy of its own: the binary keeps a list of what is to be freed for the whole process, in the name of the thread that was first, and V8 ends the
 * process when another thread's objects come up there.
 */
export function loadQuiche(): Quiche | null {
  if (binary !== undefined) return binary;
  const file = quicheFile();
  binary = file === null ? null : loadCopy(file);
  return binary;
}

function loadCopy(file: string): Quiche {
  // A folder of its own, that nobody else can write to: what is loaded is code.
  const folder = mkdtempSync(join(tmpdir(), 'onehop-quiche-'));
  const copy = join(folder, 'quiche.node');
  try {
    copyFileSync(file, copy);
    return createRequire(import.meta.url)(copy) as Quiche;
  } finally {
    // What is loaded stays.
    rmSync(folder, { recursive: true });
  }
}

/** Gives a datagram to its connection; its bytes are decrypted in place. @returns false when quiche refused it, which may have closed the connection */
export function receiveDatagram(native: NativeConnection, bytes: Uint8Array, info: RecvInfo): boolean {
  try {
    native.recv(bytes, info);
    return true;
  } catch {
    return false;
  }
}

/** Fills `bytes` with the next datagram of a connection. @returns null when there is none */
export function nextDatagram(native: NativeConnection, bytes: Uint8Array): Sent | null {
  try {
    return native.send(bytes);
  } catch {
    return null;
  }
}

/** Reads from a stream. @returns 2 * length, + 1 at the end of the stream; or STREAM_WAITS, STREAM_BROKEN */
export function readStream(native: NativeConnection, id: number, bytes: Uint8Array): number {
  try {
    const read = native.streamRecv(id, bytes);
    return read === null ? STREAM_WAITS : read[0] * 2 + (read[1] ? 1 : 0);
  } catch {
    return STREAM_BROKEN;
  }
}

/** Writes to a stream. @returns how many bytes quiche took, or STREAM_BROKEN */
export function writeStream(native: NativeConnection, id: number, bytes: Uint8Array, isFinished: boolean): number {
  try {
    return native.streamSend(id, bytes, isFinished) ?? 0;
  } catch {
    return STREAM_BROKEN;
  }
}

/** STOP_SENDING, if the peer still sends. */
export function stopReading(native: NativeConnection, id: number, errorCode: number): void {
  try {
    native.streamShutdown(id, SHUTDOWN_READ, errorCode);
  } catch {
    // The stream is no more.
  }
}

/** RESET_STREAM, if we have not finished. */
export function stopWriting(native: NativeConnection, id: number, errorCode: number): void {
  try {
    native.streamShutdown(id, SHUTDOWN_WRITE, errorCode);
  } catch {
    // The stream is no more.
  }
}

/** Issues a connection ID. @returns false when the peer takes no more, or quiche is not ready for it */
export function issueConnectionId(native: NativeConnection, id: Uint8Array, resetToken: bigint): boolean {
  try {
    native.newSourceCid(id, resetToken, false);
    return true;
  } catch {
    return false;
  }
}

/** Closes a connection at the next send; one that is closed already stays as it is. */
export function closeConnection(native: NativeConnection, isApplication: boolean, errorCode: number, reason: Uint8Array): void {
  try {
    native.close(isApplication, errorCode, reason);
  } catch {
    // Closed before.
  }
}
