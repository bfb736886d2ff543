/*
 * A connection without a client behind it: bytes out, bytes in, and how it ended. For scenarios of thousands of connections, and for bytes that no client
 * would send. It never acknowledges, answers or retries anything.
 */
import { createConnection, type Socket } from 'node:net';
import { utf8Bytes, Writer } from '../../src/base/bytes.ts';
import { type ConnectPacket, writeConnect } from '../../src/protocol/connect.ts';
import { V5 } from '../../src/protocol/packet-type.ts';

/** Longest wait for bytes or for the end. */
const DEADLINE_MILLISECONDS = 20_000;

/** The bytes of a CONNECT; a clean MQTT 5 one unless written otherwise. */
export function connectBytes(clientId: string, options: Partial<ConnectPacket> = {}): Uint8Array {
  const writer = new Writer(256);
  writeConnect(writer, {
    version: V5,
    cleanStart: true,
    keepAliveSeconds: 0,
    clientId,
    clientIdBytes: utf8Bytes(clientId),
    will: undefined,
    username: undefined,
    password: undefined,
    properties: {},
    ...options,
  });
  return writer.copy();
}

export class RawConnection {
  readonly socket: Socket;
  /** Resolves when the connection has ended, whoever ended it. */
  readonly closed: Promise<void>;
  /** Number of bytes received. */
  receivedBytes = 0;
  /** The last chunk received. */
  last: Buffer = Buffer.alloc(0);
  private waiter: (() => void) | undefined;

  constructor(port: number, localAddress = '127.0.0.1') {
    this.socket = createConnection({ host: '127.0.0.1', port, localAddress, noDelay: true });
    this.socket.on('error', () => {});
    this.socket.on('data', (chunk: Buffer) => {
      this.receivedBytes += chunk.length;
      this.last = chunk;
      this.waiter?.();
    });
    this.closed = new Promise((resolve) => {
      this.socket.on('close', () => {
        resolve();
        this.waiter?.();
      });
    });
  }

  /** Resolves when the connection is established, or has failed. */
  established(): Promise<void> {
    if (!this.socket.connecting) return Promise.resolve();
    return new Promise((resolve) => {
      this.socket.once('connect', resolve);
      this.socket.once('close', () => resolve());
    });
  }

  send(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  /** Waits until `count` bytes have come in all, or the connection has ended. @returns whether they have come */
  receive(count: number): Promise<boolean> {
    if (this.receivedBytes >= count || this.socket.destroyed) return Promise.resolve(this.receivedBytes >= count);
    return new Promise((resolve, reject) => {
      const late = setTimeout(
        () => reject(new Error(`${this.receivedBytes} of ${count} bytes after ${DEADLINE_MILLISECONDS} ms`)),
        DEADLINE_MILLISECONDS,
      );
      this.waiter = () => {
        if (this.receivedBytes < count && !this.socket.destroyed) return;
        this.waiter = undefined;
        clearTimeout(late);
        resolve(this.receivedBytes >= count);
      };
    });
  }

  /** Ends the connection at once; a reset when bytes are unread. */
  async destroy(): Promise<void> {
    this.socket.destroy();
    await this.closed;
  }

  /** Ends the connection by RST. */
  async reset(): Promise<void> {
    this.socket.resetAndDestroy();
    await this.closed;
  }
}
