/**
 * TlsContexts: the `SSL_CTX`s of one listener in one shard, one for each certificate, with the settings that Node's own would have. They are made here, because Node
 * puts callbacks into its contexts that expect its own TLS socket around each `SSL`.
 */
import { X509Certificate } from 'node:crypto';
import tls from 'node:tls';
import { type Address, type OpenSsl, takeError } from '../base/open-ssl.ts';
import type { TlsSettings } from '../base/settings.ts';
import { type CertificateFiles, certificateFor } from './certificates.ts';
import { readClientHello } from './client-hello.ts';
import { blocksOf } from './pem.ts';
import { HELLO_BYTES_MAX, type TlsEngine } from './tls-engine.ts';

const SSL_CTRL_MODE = 33;
const SSL_CTRL_SET_SESS_CACHE_MODE = 44;
const SSL_CTRL_SET_TLSEXT_TICKET_KEYS = 59;
const SSL_CTRL_CHAIN_CERT = 89;
const SSL_CTRL_SET_MIN_PROTO_VERSION = 123;
const TLS_1_2 = 0x0303;
const TLS_1_3 = 0x0304;
/** ACCEPT_MOVING_WRITE_BUFFER and RELEASE_BUFFERS: an idle connection keeps no buffers, 34 KB less. */
const MODE = 0x02 | 0x10;
/** NO_COMPRESSION, CIPHER_SERVER_PREFERENCE, NO_RENEGOTIATION. */
const OPTIONS = 0x2_0000 | 0x40_0000 | 0x4000_0000;
const VERIFY = { none: 0, optional: 1, required: 1 | 2 } as const;
/** CRL_CHECK and CRL_CHECK_ALL. */
const X509_FLAGS = 0x4 | 0x8;

interface Context {
  readonly certificate: X509Certificate;
  readonly address: Address;
}

export class TlsContexts {
  private readonly openSsl: OpenSsl;
  private readonly all: Context[];

  /** @param ticketKeys the same in every shard @throws Error with OpenSSL's reason */
  constructor(engine: TlsEngine, settings: TlsSettings, files: CertificateFiles, ticketKeys: Uint8Array, sessionIdContext: string) {
    this.openSsl = engine.openSsl;
    this.all = [];
    try {
      for (const { chain, key } of files.certificates) {
        const address = this.openSsl.SSL_CTX_new(this.openSsl.TLS_server_method());
        this.all.push({ certificate: new X509Certificate(chain), address });
        this.fill(address, engine, settings, files, ticketKeys, sessionIdContext);
        this.useCertificate(address, chain, key);
      }
    } catch (error) {
      this.free();
      throw error;
    }
  }

  /** The context for these first bytes of a connection. @returns 0 when more of them are needed */
  pick(bytes: Buffer): Address {
    if (this.all.length === 1) return this.all[0]!.address;
    const hello = readClientHello(bytes);
    // More than a record is none: OpenSSL will say so.
    if (hello === null && bytes.length < HELLO_BYTES_MAX) return 0;
    const certificates = this.all.map(({ certificate }) => certificate);
    return this.all[certificateFor(hello?.serverName ?? '', certificates)]!.address;
  }

  /** No new connections; those that are there keep what they need. */
  free(): void {
    for (const { address } of this.all) this.openSsl.SSL_CTX_free(address);
    this.all.length = 0;
  }

  private fill(
    context: Address,
    engine: TlsEngine,
    settings: TlsSettings,
    files: CertificateFiles,
    ticketKeys: Uint8Array,
    sessionIdContext: string,
  ): void {
    const { openSsl } = this;
    this.must(openSsl.SSL_CTX_ctrl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, settings.minVersion === '1.3' ? TLS_1_3 : TLS_1_2, null) === 1);
    openSsl.SSL_CTX_ctrl(context, SSL_CTRL_MODE, MODE, null);
    openSsl.SSL_CTX_set_options(context, OPTIONS);
    // Sessions are in tickets only.
    openSsl.SSL_CTX_ctrl(context, SSL_CTRL_SET_SESS_CACHE_MODE, 0, null);
    this.must(openSsl.SSL_CTX_set_session_id_context(context, Buffer.from(sessionIdContext), Buffer.byteLength(sessionIdContext)) === 1);
    this.must(openSsl.SSL_CTX_ctrl(context, SSL_CTRL_SET_TLSEXT_TICKET_KEYS, ticketKeys.length, ticketKeys) === 1);
    // As Node divides its list: names of TLS 1.3 begin with TLS_.
    const ciphers = (settings.ciphers === '' ? tls.DEFAULT_CIPHERS : settings.ciphers).split(':');
    const suites = ciphers.filter((name) => name.startsWith('TLS_'));
    const others = ciphers.filter((name) => !name.startsWith('TLS_'));
    if (suites.length > 0) this.must(openSsl.SSL_CTX_set_ciphersuites(context, suites.join(':')) === 1);
    if (others.length > 0) this.must(openSsl.SSL_CTX_set_cipher_list(context, others.join(':')) === 1);
    openSsl.SSL_CTX_set_alpn_select_cb(context, engine.selectMqtt, 0);
    openSsl.SSL_CTX_set_verify(context, VERIFY[settings.verifyClient], 0);
    if (settings.verifyClient !== 'none') this.useJudges(context, files);
  }

  private useCertificate(context: Address, chain: string, key: string): void {
    const { openSsl } = this;
    for (const [index, block] of blocksOf(chain, '(?:X509 |TRUSTED )?CERTIFICATE').entries()) {
      const certificate = this.parse(block, openSsl.PEM_read_bio_X509_AUX);
      const isTaken =
        index === 0
          ? openSsl.SSL_CTX_use_certificate(context, certificate)
          : openSsl.SSL_CTX_ctrl(context, SSL_CTRL_CHAIN_CERT, 1, BigInt(certificate));
      openSsl.X509_free(certificate);
      this.must(isTaken === 1);
    }
    const own = this.parse(key, openSsl.PEM_read_bio_PrivateKey);
    const isTaken = openSsl.SSL_CTX_use_PrivateKey(context, own);
    openSsl.EVP_PKEY_free(own);
    this.must(isTaken === 1 && openSsl.SSL_CTX_check_private_key(context) === 1);
  }

  private useJudges(context: Address, files: CertificateFiles): void {
    const { openSsl } = this;
    const store = openSsl.SSL_CTX_get_cert_store(context);
    for (const block of blocksOf(files.ca, 'CERTIFICATE')) {
      const root = this.parse(block, openSsl.PEM_read_bio_X509_AUX);
      const isTaken = openSsl.X509_STORE_add_cert(store, root) === 1 && openSsl.SSL_CTX_add_client_CA(context, root) === 1;
      openSsl.X509_free(root);
      this.must(isTaken);
    }
    if (files.crl === '') return;
    for (const block of blocksOf(files.crl, 'X509 CRL')) {
      const list = this.parse(block, openSsl.PEM_read_bio_X509_CRL);
      const isTaken = openSsl.X509_STORE_add_crl(store, list);
      openSsl.X509_CRL_free(list);
      this.must(isTaken === 1);
    }
    this.must(openSsl.X509_STORE_set_flags(store, X509_FLAGS) === 1);
  }

  private parse(pem: string, read: OpenSsl['PEM_read_bio_X509_AUX']): Address {
    const { openSsl } = this;
    const bytes = Buffer.from(pem);
    const bio = openSsl.BIO_new(openSsl.BIO_s_mem());
    openSsl.BIO_write(bio, bytes, bytes.length);
    // The empty password is said, so that OpenSSL does not ask for one at the terminal.
    const parsed = read(bio, 0, 0, '');
    openSsl.BIO_free(bio);
    this.must(parsed !== 0);
    return parsed;
  }

  private must(isDone: boolean): void {
    if (!isDone) throw new Error(takeError(this.openSsl).text);
  }
}
