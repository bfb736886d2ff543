/**
 * The part of uWebSockets.js that is used here, as types, and the one place that loads it. The package's own types leave out what takes over a socket.
 */

/** One WebSocket. Its methods throw after `close` has been told. */
export interface Socket {
  /** @returns 1: sent, 0: sent or kept, 2: dropped */
  send(message: Uint8Array, isBinary: boolean, compress: boolean): number;
  getBufferedAmount(): number;
  end(code: number, reason: string): void;
  close(): void;
  getUserData(): object;
}

/** One answer. After `end`, `close` or its abortion it must not be touched. */
export interface Response {
  writeStatus(status: string): Response;
  writeHeader(name: string, value: string): Response;
  /** Goes on with a chunked answer. @returns false when the network is full: `onWritable` tells when it is not */
  write(chunk: string | Uint8Array): boolean;
  end(body?: string | Uint8Array, closeConnection?: boolean): Response;
  endWithoutBody(contentLength?: number, closeConnection?: boolean): Response;
  close(): Response;
  upgrade(userData: object, key: string, protocol: string, extensions: string, context: object): void;
  /** PEM, '' when the client has shown none; only over TLS. */
  getX509Certificate(): string;
  /** 4 or 16 bytes; none over a Unix socket. */
  getRemoteAddress(): ArrayBuffer;
  /** The chunk is no memory any more when the handler returns. */
  onData(handler: (chunk: ArrayBuffer, isLast: boolean) => void): Response;
  /** Needed where the answer does not come at once. */
  onAborted(handler: () => void): Response;
  onWritable(handler: (offset: number) => boolean): Response;
  /** What is written inside leaves in one write. */
  cork(write: () => void): Response;
}

/** Valid until the handler returns. */
export interface Request {
  getHeader(lowerCaseName: string): string;
  /** As it was sent, without the query. */
  getUrl(): string;
  /** Undefined without a question mark. */
  getQuery(): string | undefined;
  getCaseSensitiveMethod(): string;
  forEach(visit: (lowerCaseName: string, value: string) => void): void;
}

export interface Behavior {
  readonly maxPayloadLength: number;
  readonly maxBackpressure: number;
  readonly idleTimeout: number;
  readonly compression: number;
  readonly sendPingsAutomatically: boolean;
  readonly upgrade: (response: Response, request: Request, context: object) => void;
  readonly open: (socket: Socket) => void;
  readonly message: (socket: Socket, message: ArrayBuffer, isBinary: boolean) => void;
  readonly drain: (socket: Socket) => void;
  readonly close: (socket: Socket, code: number) => void;
}

export interface App {
  ws(pattern: string, behavior: Behavior): App;
  any(pattern: string, handler: (response: Response, request: Request) => void): App;
  /** Called with 1 for each connection that begins, within `adoptSocket`, and with -1 for one that ends before it is a WebSocket. */
  filter(handler: (response: Response, change: number) => void): App;
  /** Takes over a descriptor of an accepted socket. */
  adoptSocket(fd: number): void;
  close(): App;
}

export interface SslOptions {
  readonly cert_file_name: string;
  readonly key_file_name: string;
  readonly ca_file_name?: string;
  readonly ssl_ciphers?: string;
}

export interface Library {
  App(): App;
  SSLApp(options: SslOptions): App;
  readonly DISABLED: number;
  readonly SHARED_COMPRESSOR: number;
}

/** @throws Error with one line where there is no binary for this platform */
export async function loadWebSockets(): Promise<Library> {
  try {
    return (await import('uWebSockets.js')) as unknown as Library;
  } catch {
    const { platform, arch, versions } = process;
    throw new Error(
      `uWebSockets.js has no binary for ${platform} ${arch} with Node ${versions.node}; use Node 20 or 22, or tcp and tls listeners`,
    );
  }
}
