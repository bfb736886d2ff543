/**
 * An endpoint that sends back what comes, for tests: one shard's, on a port that the kernel picks, with everything that happened in lists.
 */
import { randomBytes } from 'node:crypto';
import test from 'node:test';
import type { Log } from '../../../src/base/log.ts';
import type { ChannelEvents } from '../../../src/shard/channel.ts';
import { bindQuicSocket } from '../../../src/transports/quic/bind-socket.ts';
import type { QuicConnection, QuicConnectionEvents } from '../../../src/transports/quic/connection.ts';
import { QuicEndpoint, type QuicShard } from '../../../src/transports/quic/endpoint.ts';
import type { QuicCredentials, QuicSettings } from '../../../src/transports/quic/settings.ts';
import type { QuicStream } from '../../../src/transports/quic/stream.ts';
import { serverCertificate, serverKey } from './certificates.ts';

const silentLog: Log = { trace: () => {}, debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

export const settings: QuicSettings = {
  idleTimeoutMilliseconds: 30_000,
  handshakeTimeoutMilliseconds: 5_000,
  maxStreams: 16,
  streamWindowBytes: 65_536,
  connectionWindowBytes: 262_144,
  congestionControl: 'cubic',
  retry: 'never',
  retryAbove: 100,
  maxHandshakes: 1_000,
  maxConnections: 10_000,
  earlyData: false,
};

export const credentials: QuicCredentials = {
  certificates: [{ certificate: serverCertificate, key: serverKey }],
  certificateFor: () => 0,
  ca: null,
  verifyClient: 'none',
  judges: '',
};

/** A stream of an echo endpoint. */
export class EchoStream implements ChannelEvents {
  readonly stream: QuicStream;
  readonly owner: EchoConnection;
  receivedBytes: number;
  isBlocked: boolean;
  lostReasons: string[];

  constructor(owner: EchoConnection, stream: QuicStream) {
    this.owner = owner;
    this.stream = stream;
    this.receivedBytes = 0;
    this.isBlocked = false;
    this.lostReasons = [];
  }

  received(bytes: Uint8Array, length: number): boolean {
    this.receivedBytes += length;
    if (!this.owner.endpoint.echoes) return true;
    this.isBlocked = !this.stream.write(Uint8Array.from(bytes.subarray(0, length)), length);
    return !this.isBlocked;
  }

  drained(): void {
    this.isBlocked = false;
    this.stream.resume();
  }

  lost(reason: string): void {
    this.lostReasons.push(reason);
  }
}

/** A connection of an echo endpoint. */
export class EchoConnection implements QuicConnectionEvents {
  readonly endpoint: EchoEndpoint;
  readonly connection: QuicConnection;
  readonly streams: EchoStream[];
  readonly happened: string[];
  closedReasons: string[];

  constructor(endpoint: EchoEndpoint, connection: QuicConnection) {
    this.endpoint = endpoint;
    this.connection = connection;
    this.streams = [];
    this.happened = [connection.isEarly ? 'early' : 'established'];
    this.closedReasons = [];
  }

  stream(stream: QuicStream, isFirst: boolean): void {
    const echo = new EchoStream(this, stream);
    stream.events = echo;
    this.streams.push(echo);
    this.happened.push(`stream ${stream.id}${isFirst ? ' first' : ''}`);
  }

  established(): void {
    this.happened.push('established');
  }

  moved(): void {
    this.happened.push(`moved ${this.connection.address.host}:${this.connection.address.port}`);
  }

  closed(reason: string): void {
    this.closedReasons.push(reason);
  }
}

export interface EchoOptions {
  readonly host?: string;
  readonly port?: number;
  readonly settings?: Partial<QuicSettings>;
  readonly credentials?: Partial<QuicCredentials>;
  readonly secret?: Uint8Array;
  readonly shardIndex?: number;
  readonly shardCount?: number;
}

export class EchoEndpoint implements QuicShard {
  readonly connections: EchoConnection[];
  /** Other endpoints by shard, where datagrams are forwarded. */
  readonly peers: Map<number, EchoEndpoint>;
  echoes: boolean;
  endpoint!: QuicEndpoint;
  turns: number;

  constructor() {
    this.connections = [];
    this.peers = new Map();
    this.echoes = true;
    this.turns = 0;
  }

  startTurn(): void {
    this.turns++;
  }

  onConnection(connection: QuicConnection): void {
    const echo = new EchoConnection(this, connection);
    connection.events = echo;
    this.connections.push(echo);
  }

  allows(): boolean {
    return true;
  }

  forward(shard: number, bytes: Uint8Array, host: string, port: number): boolean {
    const peer = this.peers.get(shard);
    if (peer === undefined) return false;
    const copy = Uint8Array.from(bytes);
    setImmediate(() => peer.endpoint.receiveForwarded(copy, host, port));
    return true;
  }

  get port(): number {
    return this.endpoint.port;
  }

  /** Waits until something has become true. Some of it happens by timers that tell nobody, so it is looked at again and again. */
  until(isTrue: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!isTrue()) return;
        clearInterval(interval);
        resolve();
      };
      const interval = setInterval(look, 2);
      look();
    });
  }

  close(): void {
    this.endpoint.close(0, 'test over');
  }
}

/** Opens an endpoint. */
export async function openEcho(options: EchoOptions = {}): Promise<EchoEndpoint> {
  const socket = await bindQuicSocket(options.host ?? '127.0.0.1', options.port ?? 0);
  const echo = new EchoEndpoint();
  echo.endpoint = new QuicEndpoint({
    shardIndex: options.shardIndex ?? 0,
    shardCount: options.shardCount ?? 1,
    socket,
    secret: options.secret ?? randomBytes(32),
    settings: { ...settings, ...options.settings },
    credentials: { ...credentials, ...options.credentials },
    shard: echo,
    log: silentLog,
  });
  return echo;
}

/** A test with an endpoint, which is closed whatever happens. */
export function withEcho(name: string, options: EchoOptions, run: (echo: EchoEndpoint) => Promise<void>): void {
  test(name, { timeout: 30_000 }, async () => {
    const echo = await openEcho(options);
    try {
      await run(echo);
    } finally {
      echo.close();
    }
  });
}
