/**
 * TlsEngine: what all TLS connections of a shard share. Hot path.
 *
 *   socket ──▶ `cipher`, where libuv reads to ──▶ one read-only memory BIO over it ── SSL_read ──▶ `plain`          SSL_write ──▶ send by OpenSSL's socket BIO
 *
 * All connections read from the same BIO. Whoever has put bytes there takes them out before it returns (`rest` says how many are left), because OpenSSL keeps the
 * beginning of a record in the connection. Bytes are put there by writing their length and place into the BIO's `struct buf_mem_st` (public, in openssl/buffer.h): no
 * copy, no call. So a message costs two calls, SSL_read and SSL_write, and the second of them is also the one that sends. Beside Node's TLS sockets: 7.1 µs a message
 * against 19.3 (fan-in of 1,000), 12.6 to 22.8 against 27.8 to 30.4 (P2P); TCP has 4.6 and 10.4.
 */
import { withView } from '../base/bytes.ts';
import { library } from '../base/c-library.ts';
import { type Address, type OpenSsl, openSsl, type TlsError, takeError } from '../base/open-ssl.ts';

/** As much as a TCP socket is read at once. */
const READ_BYTES = 64 * 1024;
/** The largest ClientHello that is gathered before it goes to OpenSSL: one record. */
export const HELLO_BYTES_MAX: number = 5 + 16 * 1024 + 256;
/** What a record holds at most. */
const PLAIN_BYTES = 16 * 1024;

const BIO_C_GET_BUF_MEM_PTR = 115;
const BIO_C_SET_BUF_MEM_EOF_RETURN = 130;
const BIO_FLAGS_SHOULD_RETRY = 8;
const SSL_READING = 3;
const SSL_WRITING = 2;
const NEGOTIATED = 1;
const ALPN_OK = 0;
const ALPN_REFUSE = 2;
/** What a listener speaks, as ALPN has it. */
const PROTOCOLS = '\x04mqtt';

export class TlsEngine {
  readonly openSsl: OpenSsl;
  /** Where sockets read to. */
  readonly readBuffer: Uint8Array;
  /** What was read last. */
  readonly plain: Uint8Array;
  /** For `SSL_CTX_set_alpn_select_cb`. */
  readonly selectMqtt: bigint;
  private readonly cipher: Uint8Array;
  private readonly cipherLow: number;
  private readonly cipherHigh: number;
  private readonly plainAddress: Address;
  private readonly input: Address;
  /** `struct buf_mem_st` of `input`: length, place, size, 64 bits each. */
  private readonly inputState: Uint32Array;
  private fed: number;
  private readonly sslRead: OpenSsl['SSL_read'];
  private readonly sslWrite: OpenSsl['SSL_write'];
  private readonly sslWant: OpenSsl['SSL_want'];

  constructor(ssl: OpenSsl) {
    this.openSsl = ssl;
    const { memory } = library()!;
    const cipher = memory(HELLO_BYTES_MAX + READ_BYTES);
    this.cipher = cipher.bytes;
    this.readBuffer = cipher.bytes.subarray(0, READ_BYTES);
    this.cipherLow = Number(cipher.address & 0xffff_ffffn);
    this.cipherHigh = Number(cipher.address >> 32n);
    const plain = memory(PLAIN_BYTES);
    this.plain = withView(plain.bytes);
    this.plainAddress = Number(plain.address);
    this.input = ssl.BIO_new_mem_buf(Number(cipher.address), 0);
    // Empty means that more will come, not that it is the end.
    ssl.BIO_ctrl(this.input, BIO_C_SET_BUF_MEM_EOF_RETURN, -1, null);
    const cell = new BigUint64Array(1);
    ssl.BIO_ctrl(this.input, BIO_C_GET_BUF_MEM_PTR, 0, new Uint8Array(cell.buffer));
    const state = ssl.bytesAt(Number(cell[0]), 24);
    this.inputState = new Uint32Array(state.buffer, state.byteOffset, 6);
    this.fed = 0;
    this.sslRead = ssl.SSL_read;
    this.sslWrite = ssl.SSL_write;
    this.sslWant = ssl.SSL_want;
    // OpenSSL is given a place in it, so it must not move.
    const protocols = memory(PROTOCOLS.length);
    protocols.bytes.set(Buffer.from(PROTOCOLS));
    const protocolsAddress = Number(protocols.address);
    this.selectMqtt = ssl.alpnCallback((_ssl, to, toLength, offered, offeredLength) =>
      ssl.SSL_select_next_proto(to, toLength, protocolsAddress, PROTOCOLS.length, offered, offeredLength) === NEGOTIATED
        ? ALPN_OK
        : ALPN_REFUSE,
    );
  }

  /** A new connection over this socket, which stays its owner's. @returns 0 when there is no memory */
  open(context: Address, fd: number): Address {
    const { openSsl } = this;
    const ssl = openSsl.SSL_new(context);
    if (ssl === 0) return 0;
    openSsl.BIO_up_ref(this.input);
    openSsl.SSL_set0_rbio(ssl, this.input);
    openSsl.SSL_set0_wbio(ssl, openSsl.BIO_new_socket(fd, 0));
    openSsl.SSL_set_accept_state(ssl);
    return ssl;
  }

  /** The first bytes of `readBuffer` are there to be read. */
  feed(length: number): void {
    const { inputState } = this;
    this.fed = length;
    inputState[0] = length;
    inputState[2] = this.cipherLow;
    inputState[3] = this.cipherHigh;
    inputState[4] = length;
  }

  /** The same with bytes that were kept. */
  feedFrom(bytes: Uint8Array): void {
    this.cipher.set(bytes);
    this.feed(bytes.length);
  }

  /** Bytes that are there and have not been read. */
  get rest(): number {
    return this.inputState[0]!;
  }

  /** Takes those. @returns a copy, null when there are none */
  takeRest(): Uint8Array | null {
    const { rest } = this;
    if (rest === 0) return null;
    this.inputState[0] = 0;
    return this.cipher.slice(this.fed - rest, this.fed);
  }

  /** Reads one record into `plain`. @returns bytes; 0 or less: see `wantsMore`, `cannotSend` */
  read(ssl: Address): number {
    return this.sslRead(ssl, this.plainAddress, PLAIN_BYTES);
  }

  /** Encrypts and sends. @returns `length`; another number: see `cannotSend` */
  write(ssl: Address, bytes: Uint8Array, length: number): number {
    return this.sslWrite(ssl, bytes, length);
  }

  // What the last call waits for. `SSL_get_error` would also look at the thread's queue of errors, which any other user of OpenSSL may have left something in.

  wantsMore(ssl: Address): boolean {
    // After an error it may still say that it was reading: then the last read was not one of nothing.
    return this.sslWant(ssl) === SSL_READING && this.openSsl.BIO_test_flags(this.input, BIO_FLAGS_SHOULD_RETRY) !== 0;
  }

  /** The kernel takes no more, or the connection is broken: who writes to the socket finds out which. */
  cannotSend(ssl: Address): boolean {
    return this.sslWant(ssl) === SSL_WRITING;
  }

  /** Output gathers in memory from now on. @returns the BIO, which belongs to `ssl` */
  gather(ssl: Address): Address {
    const bio = this.openSsl.BIO_new(this.openSsl.BIO_s_mem());
    this.openSsl.SSL_set0_wbio(ssl, bio);
    return bio;
  }

  /** Takes what has gathered. @returns null when that is nothing */
  takeGathered(bio: Address): Uint8Array | null {
    const length = this.openSsl.BIO_ctrl_pending(bio);
    if (length === 0) return null;
    const bytes = Buffer.allocUnsafeSlow(length);
    this.openSsl.BIO_read(bio, bytes, length);
    return bytes;
  }

  /** Output goes to the kernel again. */
  sendStraight(ssl: Address, fd: number): void {
    this.openSsl.SSL_set0_wbio(ssl, this.openSsl.BIO_new_socket(fd, 0));
  }

  /** Goes on with the handshake. @returns whether it is done; if not: see `wantsMore`, `cannotSend`, else it has failed */
  shake(ssl: Address): boolean {
    this.openSsl.ERR_clear_error();
    return this.openSsl.SSL_do_handshake(ssl) === 1;
  }

  /** Sends close_notify. @returns false when it could not be sent */
  close(ssl: Address): boolean {
    this.openSsl.ERR_clear_error();
    return this.openSsl.SSL_shutdown(ssl) >= 0;
  }

  free(ssl: Address): void {
    this.openSsl.SSL_free(ssl);
    this.openSsl.ERR_clear_error();
  }

  /** The client's certificate in DER; null when it has shown none. */
  peerCertificate(ssl: Address): Uint8Array | null {
    const { openSsl } = this;
    const certificate = openSsl.SSL_get1_peer_certificate(ssl);
    if (certificate === 0) return null;
    const bio = openSsl.BIO_new(openSsl.BIO_s_mem());
    openSsl.i2d_X509_bio(bio, certificate);
    const bytes = this.takeGathered(bio);
    openSsl.BIO_free(bio);
    openSsl.X509_free(certificate);
    return bytes;
  }

  /** What is wrong with the client's certificate; '' when it is good, or there is none. */
  certificateProblem(ssl: Address): string {
    const code = this.openSsl.SSL_get_verify_result(ssl);
    return code === 0 ? '' : this.openSsl.X509_verify_cert_error_string(code);
  }

  /** Why the last call has failed. */
  takeError(): TlsError {
    return takeError(this.openSsl);
  }
}

let engine: TlsEngine | null | undefined;

/** That of this thread; null where OpenSSL cannot be called. */
export function tlsEngine(): TlsEngine | null {
  if (engine !== undefined) return engine;
  const ssl = library() === null ? null : openSsl();
  engine = ssl === null ? null : new TlsEngine(ssl);
  return engine;
}
