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
  /**
   * Writes as much of a body, or of the rest of it, as the network takes. @param length of the whole body
   * @returns whether the network has taken all that was given, and whether the answer is whole; where it is not, `onWritable` tells from which offset on the rest is to be given
   */
  tryEnd(chunk: string | Uint8Array, length: number): [isTaken: boolean, isWhole: boolean];
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

/** Bytes of a request's head: its Bearer token, the name in its path, the cursor of a page. The library's own limit is 4,096, and Topic Names may be longer. */
const HEAD_BYTES_MAX = 32 * 1024;

/**
 * Sets what the library reads from the environment when it is loaded: in the main thread, before any thread does that.
 */
export function limitHeads(): void {
  process.env['UWS_HTTP_MAX_HEADERS_SIZE'] = String(HEAD_BYTES_MAX);
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
