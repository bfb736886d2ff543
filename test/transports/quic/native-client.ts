/**
 * A QUIC client made of the same quiche, for tests that need to see every datagram. What it proves about the wire is little, because both sides share their protocol
 * code; the tests with a client of other people do that.
 */
import { randomBytes } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import {
  issueConnectionId,
  loadQuiche,
  type NativeConfig,
  type NativeConnection,
  type Quiche,
  readStream,
  type Sent,
  stopReading,
  stopWriting,
  writeStream,
} from '../../../src/transports/quic/binding.ts';

const quiche: Quiche = loadQuiche()!;

const sharedReadBuffer = Buffer.alloc(65_536);

export interface ClientOptions {
  readonly port: number;
  /** Server; 127.0.0.1 if left out. */
  readonly host?: string;
  /** Where the client's socket is bound. */
  readonly localHost?: string;
  /** Application protocols. */
  readonly protocols?: readonly string[];
  /** SNI. */
  readonly serverName?: string;
  readonly certificate?: Uint8Array;
  readonly key?: Uint8Array;
  /** From a connection before: resumes it. */
  readonly session?: Uint8Array;
  readonly streamWindowBytes?: number;
  readonly idleTimeoutMilliseconds?: number;
  /** Keeps no datagrams and no bytes: for loads. */
  readonly isFrugal?: boolean;
  /** Written to stream 0 before the handshake, as early data if there is a session. */
  readonly early?: Uint8Array;
}

export class NativeClient {
  readonly native: NativeConnection;
  /** Bytes of each stream. */
  readonly received: Map<number, Buffer>;
  readonly finished: Set<number>;
  readonly broken: Set<number>;
  /** Streams that are not read. */
  readonly unread: Set<number>;
  /** Every datagram that came and went, copied before it is decrypted. */
  readonly datagramsIn: Buffer[];
  readonly datagramsOut: Buffer[];
  socket!: Socket;
  isDeaf: boolean;
  /** Called for bytes of a frugal client instead of keeping them. */
  onBytes: (id: number, bytes: Buffer) => void;
  private readonly isFrugal: boolean;
  private readonly sendBuffer: Buffer;
  private readonly server: { host: string; port: number };
  /** What quiche believes to be its own address: it does not change when a NAT changes it. */
  private local: { host: string; port: number };
  private readonly readBuffer: Buffer;
  private readonly waiters: Set<() => void>;
  private readonly waiting: { id: number; bytes: Buffer; isFinished: boolean }[];
  private timer: NodeJS.Timeout | null;
  private isClosed: boolean;

  constructor(socket: Socket, options: ClientOptions) {
    this.server = { host: options.host ?? '127.0.0.1', port: options.port };
    const { address, port } = socket.address();
    this.local = { host: address, port };
    this.native = quiche.Connection.connect(options.serverName ?? 'localhost', randomBytes(16), this.local, this.server, configOf(options));
    if (options.session !== undefined) this.native.setSession(options.session);
    this.received = new Map();
    this.finished = new Set();
    this.broken = new Set();
    this.unread = new Set();
    this.datagramsIn = [];
    this.datagramsOut = [];
    this.isDeaf = false;
    this.onBytes = (id, bytes) => this.keep(id, bytes);
    this.isFrugal = options.isFrugal ?? false;
    this.sendBuffer = Buffer.alloc(1350);
    this.readBuffer = options.isFrugal === true ? sharedReadBuffer : Buffer.alloc(65_536);
    this.waiters = new Set();
    this.waiting = [];
    this.timer = null;
    this.isClosed = false;
    this.attach(socket);
  }

  /** Sends the first datagrams. */
  start(early?: Uint8Array): void {
    // The first flight leaves before there can be early data: quiche has its keys only then.
    this.flush();
    if (early !== undefined) this.write(0, Buffer.from(early));
  }

  write(id: number, bytes: Buffer | string, isFinished = false): void {
    this.waiting.push({ id, bytes: Buffer.from(bytes), isFinished });
    this.pump();
  }

  /** Writes past the queue: what quiche does not take is lost. */
  writeNow(id: number, bytes: Buffer): void {
    writeStream(this.native, id, bytes, false);
    this.flush();
  }

  text(id: number): string {
    return this.received.get(id)?.toString() ?? '';
  }

  until(isTrue: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!isTrue()) return;
        this.waiters.delete(look);
        resolve();
      };
      this.waiters.add(look);
      look();
    });
  }

  /** Waits for the end of the handshake, or of the connection. */
  async connected(): Promise<this> {
    await this.until(() => this.native.isEstablished() || this.native.isClosed() || this.native.isDraining());
    return this;
  }

  /** The network gives the client another address, and nobody tells the client. */
  async moveSilently(localHost: string): Promise<void> {
    const old = this.socket;
    this.attach(await openSocket(localHost));
    old.removeAllListeners('message');
    old.close();
  }

  /** The client moves to another address by itself, on a path that it has tried. */
  async migrate(localHost: string): Promise<void> {
    await this.moveSilently(localHost);
    const { address, port } = this.socket.address();
    this.local = { host: address, port };
    await this.until(() => this.native.availableDcids() > 0);
    this.native.migrate(this.local, this.server);
    this.pump();
  }

  pump(): void {
    if (this.isClosed) return;
    const canWrite = this.native.isEstablished() || this.native.isInEarlyData();
    for (let i = 0; canWrite && i < this.waiting.length; i++) {
      const entry = this.waiting[i]!;
      const taken = writeStream(this.native, entry.id, entry.bytes, entry.isFinished);
      if (taken < 0) this.broken.add(entry.id);
      if (taken >= 0 && taken < entry.bytes.length) {
        entry.bytes = entry.bytes.subarray(taken);
        continue;
      }
      // Nothing taken of nothing: quiche says so as well when it takes the end of the stream.
      this.waiting.splice(i--, 1);
    }
    this.read();
    // A new path needs a new ID at this end too.
    while (!this.isFrugal && this.native.isEstablished() && this.native.sourceCidsLeft() > 0) {
      if (!issueConnectionId(this.native, randomBytes(16), 0n)) break;
    }
    this.flush();
    if (this.timer !== null) clearTimeout(this.timer);
    const timeout = this.native.timeout();
    this.timer = timeout === null ? null : setTimeout(() => this.onTimeout(), timeout + 1);
    for (const look of this.waiters) look();
  }

  /** RESET_STREAM. */
  reset(id: number): void {
    stopWriting(this.native, id, 7);
    this.pump();
  }

  /** STOP_SENDING. */
  stop(id: number): void {
    stopReading(this.native, id, 7);
    this.pump();
  }

  close(): void {
    if (this.isClosed) return;
    try {
      this.native.close(true, 0, Buffer.from('bye'));
    } catch {
      // Closed already.
    }
    this.flush();
    this.isClosed = true;
    // dgram sends in a later tick.
    setImmediate(() => this.vanish());
  }

  /** Ends without a word. */
  vanish(): void {
    this.isClosed = true;
    if (this.timer !== null) clearTimeout(this.timer);
    this.socket.close();
  }

  private attach(socket: Socket): void {
    this.socket = socket;
    socket.on('message', (bytes) => {
      if (this.isDeaf) return;
      if (!this.isFrugal) this.datagramsIn.push(Buffer.from(bytes));
      try {
        this.native.recv(bytes, { from: this.server, to: this.local });
      } catch {
        // What quiche refuses shows in the state of the connection.
      }
      this.pump();
    });
  }

  private keep(id: number, bytes: Buffer): void {
    this.received.set(id, Buffer.concat([this.received.get(id) ?? Buffer.alloc(0), bytes]));
  }

  private onTimeout(): void {
    this.native.onTimeout();
    this.pump();
  }

  private flush(): void {
    const bytes = this.sendBuffer;
    for (let sent: Sent | null = this.native.send(bytes); sent !== null; sent = this.native.send(bytes)) {
      const copy = Buffer.from(bytes.subarray(0, sent[0]));
      if (!this.isFrugal) this.datagramsOut.push(copy);
      this.socket.send(copy, this.server.port, this.server.host);
    }
  }

  private read(): void {
    for (const id of this.native.readable()) {
      while (!this.unread.has(id)) {
        const read = readStream(this.native, id, this.readBuffer);
        if (read === -2) this.broken.add(id);
        if (read < 0) break;
        this.onBytes(id, this.readBuffer.subarray(0, read >> 1));
        if ((read & 1) !== 0) {
          this.finished.add(id);
          break;
        }
      }
    }
  }
}

/** A client that has sent its first datagram. */
export async function connect(options: ClientOptions): Promise<NativeClient> {
  const client = new NativeClient(await openSocket(options.localHost ?? options.host ?? '127.0.0.1'), options);
  client.start(options.early);
  return client;
}

/** The first datagram of a client that nobody will hear of again. */
export function firstDatagram(): Buffer {
  const somewhere = { host: '127.0.0.1', port: 9 };
  const native = quiche.Connection.connect('localhost', randomBytes(16), somewhere, somewhere, configOf({ port: 9, isFrugal: true }));
  const bytes = Buffer.alloc(1350);
  return bytes.subarray(0, native.send(bytes)![0]);
}

/** Closes the client whatever happens. */
export async function withClient(client: NativeClient, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } finally {
    client.close();
  }
}

export async function openSocket(host: string): Promise<Socket> {
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  socket.bind(0, host);
  await once(socket, 'listening');
  return socket;
}

let frugalConfig: NativeConfig | null = null;

/** Clients of a load share one configuration. */
function configOf(options: ClientOptions): NativeConfig {
  if (options.isFrugal !== true) return clientConfig(options);
  frugalConfig ??= clientConfig(options);
  return frugalConfig;
}

function clientConfig(options: ClientOptions): NativeConfig {
  const { certificate, key } = options;
  const config = quiche.Config.withBoringSslCtx(
    false,
    false,
    null,
    key === undefined ? null : [key],
    certificate === undefined ? null : [certificate],
    null,
  );
  const window = options.streamWindowBytes ?? 262_144;
  config.setApplicationProtos([...(options.protocols ?? ['mqtt'])]);
  config.enableEarlyData();
  config.setMaxIdleTimeout(options.idleTimeoutMilliseconds ?? 30_000);
  config.setMaxRecvUdpPayloadSize(1500);
  config.setMaxSendUdpPayloadSize(1350);
  config.setInitialMaxData(10_000_000);
  config.setInitialMaxStreamDataBidiLocal(window);
  config.setMaxStreamWindow(window);
  config.setInitialMaxStreamsBidi(0);
  config.setActiveConnectionIdLimit(4);
  return config;
}
