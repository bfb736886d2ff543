/*
 * Opens the network connection of a test client over any transport that the broker listens on, as one duplex stream of bytes: whatever speaks MQTT in the tests
 * can speak it over each of them. WebSocket by the package `ws`, in frames that do not care where packets end.
 */
import { connect as connectSocket, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { type ClientOptions, createWebSocketStream, WebSocket } from 'ws';
import { connect as connectQuic, type NativeClient } from '../transports/quic/native-client.ts';

export type Transport = 'tcp' | 'tls' | 'ws' | 'wss' | 'unix' | 'quic';

/** Where a listener of this transport is. */
export interface DialPlace {
  readonly transport: Transport;
  readonly host: string;
  readonly port: number;
  /** Of a Unix socket. */
  readonly path?: string;
  /** PEM of the root that the server's certificate leads to. */
  readonly ca?: string;
  /** Of the client, in PEM. */
  readonly cert?: string;
  readonly key?: string;
  readonly localAddress?: string;
  /** Bytes before everything else, such as a PROXY protocol header. */
  readonly prelude?: Uint8Array;
  /** Whatever else the TLS client is to do. */
  readonly secure?: ConnectionOptions;
  /** Whatever else the WebSocket client is to do. */
  readonly webSocket?: ClientOptions;
}

/** The stream; what is written before it is connected waits. It has no listener for errors: the caller must add one. */
export function dial(place: DialPlace): Duplex {
  const { transport } = place;
  switch (transport) {
    case 'tcp':
    case 'unix':
      return dialSocket(place);
    case 'tls':
      return dialTls(place);
    case 'quic':
      return new QuicDuplex(place);
    case 'ws':
    case 'wss':
      return createWebSocketStream(dialWebSocket(place));
  }
}

/** A TCP or Unix connection to the place, whatever it speaks. */
export function dialSocket({ host, port, path, localAddress, prelude, transport }: DialPlace): Socket {
  const from = localAddress === undefined ? {} : { localAddress };
  const socket = connectSocket(transport === 'unix' ? { path: path! } : { host, port, noDelay: true, ...from });
  if (prelude !== undefined) socket.write(prelude);
  return socket;
}

/** A TLS connection to the place. */
export function dialTls(place: DialPlace): TLSSocket {
  const socket = dialSocket(place);
  // What goes wrong below comes up above.
  socket.on('error', () => {});
  return connectTls({ socket, ...secureOptions(place) });
}

/** A WebSocket to the place. @param protocols offered @param path asked for */
export function dialWebSocket(place: DialPlace, protocols: string | string[] = 'mqtt', path = '/mqtt'): WebSocket {
  const { transport, host, port, webSocket } = place;
  const createConnection = (() => (transport === 'wss' ? dialTls(place) : dialSocket(place))) as ClientOptions['createConnection'];
  const options = { perMessageDeflate: false, ...webSocket, createConnection } as ClientOptions;
  return new WebSocket(`${transport}://${host.includes(':') ? `[${host}]` : host}:${port}${path}`, protocols, options);
}

function secureOptions({ ca, cert, key, secure }: DialPlace): ConnectionOptions {
  return { servername: 'localhost', ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert, key }), ...secure };
}

/** Stream 0 of a QUIC connection, made of the same quiche as the broker's. */
class QuicDuplex extends Duplex {
  private client: NativeClient | null = null;
  private readonly waiting: { readonly bytes: Buffer; readonly isEnd: boolean }[] = [];

  constructor({ host, port, localAddress, cert, key }: DialPlace) {
    super({ allowHalfOpen: false });
    const shown = cert === undefined ? {} : { certificate: Buffer.from(cert), key: Buffer.from(key!) };
    void connectQuic({ host, port, ...shown, ...(localAddress === undefined ? {} : { localHost: localAddress }) }).then((client) =>
      this.open(client),
    );
  }

  private open(client: NativeClient): void {
    this.client = client;
    if (this.destroyed) {
      client.close();
      return;
    }
    client.onBytes = (id, bytes) => {
      if (id === 0 && !this.push(Buffer.from(bytes))) client.unread.add(0);
    };
    for (const { bytes, isEnd } of this.waiting) client.write(0, bytes, isEnd);
    const hasEnded = (): boolean =>
      client.finished.has(0) || client.broken.has(0) || client.native.isClosed() || client.native.isDraining();
    void client.until(hasEnded).then(() => this.push(null));
  }

  override _read(): void {
    if (this.client?.unread.delete(0)) this.client.pump();
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.send(chunk, false);
    done();
  }

  override _final(done: () => void): void {
    this.send(Buffer.alloc(0), true);
    done();
  }

  // Later: a write also reads, and whoever writes may be in the middle of what was read before.
  private send(bytes: Buffer, isEnd: boolean): void {
    setImmediate(() => {
      if (this.client === null) this.waiting.push({ bytes, isEnd });
      else if (!this.destroyed) this.client.write(0, bytes, isEnd);
    });
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.client?.close();
    done(error);
  }
}
