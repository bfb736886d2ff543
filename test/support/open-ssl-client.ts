/*
 * A TLS client that can do what Node's cannot: new keys, renegotiation, bytes in any pieces, records cut where the test likes. OpenSSL over two memory BIOs; what it
 * wants to send lies in `outgoing` until `flush` is called.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { library } from '../../src/base/c-library.ts';
import { type Address, type OpenSsl, openSsl } from '../../src/base/open-ssl.ts';

const MAX_PROTO_VERSION = 124;
const MAX_CERT_LIST = 51;
const TLS_1_2 = 0x0303;
const BLOCK_BYTES = 64 * 1024;

export class OpenSslClient {
  readonly socket: Socket;
  /** What came, decrypted. */
  received: Buffer;
  /** The server has said that it is the end: close_notify. */
  isToldEnd: boolean;
  /** Whatever OpenSSL does not like. */
  isBroken: boolean;
  isShaken: boolean;
  readonly closed: Promise<void>;
  private readonly openSsl: OpenSsl;
  private readonly ssl: Address;
  private readonly input: Address;
  private readonly output: Address;
  private wake: () => void;

  private constructor(socket: Socket, isOld: boolean) {
    const ssl = openSsl()!;
    this.openSsl = ssl;
    this.socket = socket;
    this.received = Buffer.alloc(0);
    this.isToldEnd = false;
    this.isBroken = false;
    this.isShaken = false;
    this.wake = () => {};
    const context = ssl.SSL_CTX_new(ssl.TLS_client_method());
    if (isOld) ssl.SSL_CTX_ctrl(context, MAX_PROTO_VERSION, TLS_1_2, null);
    ssl.SSL_CTX_ctrl(context, MAX_CERT_LIST, 16_000_000, null);
    this.ssl = ssl.SSL_new(context);
    ssl.SSL_CTX_free(context);
    this.input = ssl.BIO_new(ssl.BIO_s_mem());
    this.output = ssl.BIO_new(ssl.BIO_s_mem());
    ssl.SSL_set0_rbio(this.ssl, this.input);
    ssl.SSL_set0_wbio(this.ssl, this.output);
    ssl.SSL_set_connect_state(this.ssl);
    socket.setNoDelay(true);
    socket.on('error', () => socket.destroy());
    socket.on('data', (bytes: Buffer) => this.take(bytes));
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        // Reading on needs no socket, freeing does not write.
        this.openSsl.SSL_free(this.ssl);
        this.wake();
        resolve();
      });
    });
  }

  static async dial(port: number, isOld = false): Promise<OpenSslClient> {
    const socket = connect({ host: '127.0.0.1', port });
    await once(socket, 'connect');
    return new OpenSslClient(socket, isOld);
  }

  /** The whole handshake. @returns whether it succeeded */
  async shake(): Promise<boolean> {
    this.step();
    this.flush();
    await this.until(() => this.isShaken || this.isBroken);
    return this.isShaken;
  }

  /** Goes on with the handshake and takes what has been decrypted. */
  step(): void {
    const { openSsl, ssl } = this;
    if (this.socket.destroyed) return;
    openSsl.ERR_clear_error();
    if (!this.isShaken) {
      this.isShaken = openSsl.SSL_do_handshake(ssl) === 1;
      if (!this.isShaken) {
        if (!this.wantsMore) this.isBroken = true;
        this.wake();
        return;
      }
    }
    for (;;) {
      const count = openSsl.SSL_read(ssl, block().address, BLOCK_BYTES);
      if (count > 0) {
        this.received = Buffer.concat([this.received, block().bytes.subarray(0, count)]);
        continue;
      }
      if (count === 0) this.isToldEnd = true;
      else if (!this.wantsMore) this.isBroken = true;
      break;
    }
    this.wake();
  }

  private get wantsMore(): boolean {
    return this.openSsl.SSL_want(this.ssl) === 3 && this.openSsl.BIO_test_flags(this.input, 8) !== 0;
  }

  private take(bytes: Buffer): void {
    if (this.socket.destroyed) return;
    this.openSsl.BIO_write(this.input, bytes, bytes.length);
    this.step();
    this.flush();
  }

  /** Encrypts; it is sent by `flush`. @returns what OpenSSL says */
  put(bytes: Uint8Array): number {
    if (bytes.length === 0) return 0;
    return this.openSsl.SSL_write(this.ssl, bytes, bytes.length);
  }

  send(bytes: Uint8Array): void {
    this.put(bytes);
    this.flush();
  }

  /** What is to be sent, taken away. */
  outgoing(): Buffer {
    const bytes = Buffer.alloc(this.openSsl.BIO_ctrl_pending(this.output));
    if (bytes.length > 0) this.openSsl.BIO_read(this.output, bytes, bytes.length);
    return bytes;
  }

  flush(): void {
    const bytes = this.outgoing();
    if (bytes.length > 0 && !this.socket.destroyed) this.socket.write(bytes);
  }

  /** Sends in pieces that arrive one by one. */
  async flushInPieces(length: number): Promise<void> {
    const bytes = this.outgoing();
    for (let at = 0; at < bytes.length; at += length) {
      this.socket.write(bytes.subarray(at, at + length));
      for (let turn = 0; turn < 3; turn++) await nextTurn();
    }
  }

  /** Takes new keys with the next write. @param isAsking the server is to do so too */
  updateKeys(isAsking: boolean): void {
    this.openSsl.SSL_key_update(this.ssl, isAsking ? 1 : 0);
  }

  renegotiate(): void {
    this.openSsl.SSL_renegotiate(this.ssl);
    this.openSsl.SSL_do_handshake(this.ssl);
  }

  sayEnd(): void {
    this.openSsl.SSL_shutdown(this.ssl);
    this.flush();
  }

  /** Waits until it is so, or the connection is closed. */
  async until(isSo: () => boolean): Promise<void> {
    while (!isSo() && !this.socket.destroyed)
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
  }
}

export function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

let shared: { readonly address: number; readonly bytes: Uint8Array } | undefined;

function block(): { readonly address: number; readonly bytes: Uint8Array } {
  if (shared === undefined) {
    const { address, bytes } = library()!.memory(BLOCK_BYTES);
    shared = { address: Number(address), bytes };
  }
  return shared;
}
