/**
 * OpenSsl: the OpenSSL that is inside Node, called through koffi. Node's executable shows its functions; its own classes around them cost four times what they do.
 * Addresses are numbers: 38 to 55 ns for a call, as BigInt or External 50 to 60, as a typed array 80.
 */
import { createRequire } from 'node:module';

/** Addresses of C structures: `SSL_CTX`, `SSL`, `BIO`, `X509`. 0 is none. */
export type Address = number;

/** By their names in OpenSSL, which has a manual page for each. */
const SIGNATURES = {
  TLS_server_method: 'intptr_t TLS_server_method()',
  TLS_client_method: 'intptr_t TLS_client_method()',
  SSL_CTX_new: 'intptr_t SSL_CTX_new(intptr_t method)',
  SSL_CTX_free: 'void SSL_CTX_free(intptr_t context)',
  SSL_CTX_ctrl: 'intptr_t SSL_CTX_ctrl(intptr_t context, int command, intptr_t number, void *pointer)',
  SSL_CTX_set_options: 'uint64_t SSL_CTX_set_options(intptr_t context, uint64_t options)',
  SSL_CTX_set_cipher_list: 'int SSL_CTX_set_cipher_list(intptr_t context, const char *list)',
  SSL_CTX_set_ciphersuites: 'int SSL_CTX_set_ciphersuites(intptr_t context, const char *list)',
  SSL_CTX_set_session_id_context: 'int SSL_CTX_set_session_id_context(intptr_t context, const uint8_t *id, unsigned int length)',
  SSL_CTX_set_verify: 'void SSL_CTX_set_verify(intptr_t context, int mode, intptr_t callback)',
  SSL_CTX_set_alpn_select_cb: 'void SSL_CTX_set_alpn_select_cb(intptr_t context, void *callback, intptr_t argument)',
  SSL_CTX_use_certificate: 'int SSL_CTX_use_certificate(intptr_t context, intptr_t certificate)',
  SSL_CTX_use_PrivateKey: 'int SSL_CTX_use_PrivateKey(intptr_t context, intptr_t key)',
  SSL_CTX_check_private_key: 'int SSL_CTX_check_private_key(intptr_t context)',
  SSL_CTX_add_client_CA: 'int SSL_CTX_add_client_CA(intptr_t context, intptr_t certificate)',
  SSL_CTX_get_cert_store: 'intptr_t SSL_CTX_get_cert_store(intptr_t context)',
  X509_STORE_add_cert: 'int X509_STORE_add_cert(intptr_t store, intptr_t certificate)',
  X509_STORE_add_crl: 'int X509_STORE_add_crl(intptr_t store, intptr_t list)',
  X509_STORE_set_flags: 'int X509_STORE_set_flags(intptr_t store, unsigned long flags)',
  PEM_read_bio_X509_AUX: 'intptr_t PEM_read_bio_X509_AUX(intptr_t bio, intptr_t to, intptr_t ask, const char *password)',
  PEM_read_bio_X509_CRL: 'intptr_t PEM_read_bio_X509_CRL(intptr_t bio, intptr_t to, intptr_t ask, const char *password)',
  PEM_read_bio_PrivateKey: 'intptr_t PEM_read_bio_PrivateKey(intptr_t bio, intptr_t to, intptr_t ask, const char *password)',
  X509_free: 'void X509_free(intptr_t certificate)',
  X509_CRL_free: 'void X509_CRL_free(intptr_t list)',
  EVP_PKEY_free: 'void EVP_PKEY_free(intptr_t key)',
  X509_verify_cert_error_string: 'const char *X509_verify_cert_error_string(intptr_t code)',
  i2d_X509_bio: 'int i2d_X509_bio(intptr_t bio, intptr_t certificate)',
  SSL_new: 'intptr_t SSL_new(intptr_t context)',
  SSL_free: 'void SSL_free(intptr_t ssl)',
  SSL_set_accept_state: 'void SSL_set_accept_state(intptr_t ssl)',
  SSL_set_connect_state: 'void SSL_set_connect_state(intptr_t ssl)',
  SSL_set0_rbio: 'void SSL_set0_rbio(intptr_t ssl, intptr_t bio)',
  SSL_set0_wbio: 'void SSL_set0_wbio(intptr_t ssl, intptr_t bio)',
  SSL_do_handshake: 'int SSL_do_handshake(intptr_t ssl)',
  SSL_read: 'int SSL_read(intptr_t ssl, intptr_t to, int length)',
  SSL_write: 'int SSL_write(intptr_t ssl, const uint8_t *bytes, int length)',
  SSL_want: 'int SSL_want(intptr_t ssl)',
  SSL_shutdown: 'int SSL_shutdown(intptr_t ssl)',
  SSL_key_update: 'int SSL_key_update(intptr_t ssl, int type)',
  SSL_renegotiate: 'int SSL_renegotiate(intptr_t ssl)',
  SSL_get_verify_result: 'intptr_t SSL_get_verify_result(intptr_t ssl)',
  SSL_get1_peer_certificate: 'intptr_t SSL_get1_peer_certificate(intptr_t ssl)',
  SSL_select_next_proto:
    'int SSL_select_next_proto(intptr_t to, intptr_t toLength, intptr_t own, unsigned int ownLength, intptr_t offered, unsigned int offeredLength)',
  BIO_s_mem: 'intptr_t BIO_s_mem()',
  BIO_new: 'intptr_t BIO_new(intptr_t type)',
  BIO_new_mem_buf: 'intptr_t BIO_new_mem_buf(intptr_t bytes, int length)',
  BIO_new_socket: 'intptr_t BIO_new_socket(int fd, int closes)',
  BIO_up_ref: 'int BIO_up_ref(intptr_t bio)',
  BIO_free: 'int BIO_free(intptr_t bio)',
  BIO_read: 'int BIO_read(intptr_t bio, uint8_t *to, int length)',
  BIO_write: 'int BIO_write(intptr_t bio, const uint8_t *bytes, int length)',
  BIO_ctrl: 'intptr_t BIO_ctrl(intptr_t bio, int command, intptr_t number, void *pointer)',
  BIO_ctrl_pending: 'size_t BIO_ctrl_pending(intptr_t bio)',
  BIO_test_flags: 'int BIO_test_flags(intptr_t bio, int flags)',
  ERR_clear_error: 'void ERR_clear_error()',
  ERR_get_error: 'unsigned long ERR_get_error()',
  ERR_error_string_n: 'void ERR_error_string_n(unsigned long code, uint8_t *to, size_t length)',
} as const;

type Argument = number | string | Uint8Array | bigint | null;
type Name = keyof typeof SIGNATURES;
type Strings = 'X509_verify_cert_error_string';

/** All of them take what their signature says, and give a number: an address, a length, or 1 for success. */
export type OpenSsl = {
  readonly [name in Exclude<Name, Strings>]: (...given: Argument[]) => number;
} & {
  readonly [name in Strings]: (...given: Argument[]) => string;
} & {
  /** Memory that OpenSSL owns, as bytes. */
  bytesAt(address: Address, length: number): Uint8Array;
  /**
   * A C function that calls this one, for `SSL_CTX_set_alpn_select_cb`: (ssl, to, toLength, offered, offeredLength, argument). It lives as long as the thread, and must
   * be called in this thread only.
   */
  alpnCallback(select: (ssl: Address, to: Address, toLength: Address, offered: Address, offeredLength: number) => number): bigint;
};

interface Koffi {
  load(name: null): { func(signature: string): never };
  view(pointer: bigint, length: number): ArrayBuffer;
  proto(signature: string): unknown;
  pointer(type: unknown): unknown;
  register(call: unknown, type: unknown): bigint;
}

let native: OpenSsl | null | undefined;

/** OpenSSL's functions, or null where they cannot be called: no koffi, or a Node without them. */
export function openSsl(): OpenSsl | null {
  if (native !== undefined) return native;
  native = null;
  // The layout of `struct buf_mem_st`, and what `SSL_want` means, are those of OpenSSL 3 on machines of 64 bits that keep the low half first.
  const isKnown = process.versions.openssl?.startsWith('3.') === true && ['x64', 'arm64'].includes(process.arch);
  if (!isKnown || process.platform === 'win32') return native;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as Koffi;
    const self = koffi.load(null);
    const calls: Partial<Record<Name, unknown>> = {};
    for (const [name, signature] of Object.entries(SIGNATURES)) calls[name as Name] = self.func(signature);
    let alpnType: unknown;
    native = {
      ...calls,
      bytesAt: (address: Address, length: number) => new Uint8Array(koffi.view(BigInt(address), length)),
      alpnCallback: (select: unknown) => {
        alpnType ??= koffi.pointer(
          koffi.proto(
            'int (intptr_t ssl, intptr_t to, intptr_t toLength, intptr_t offered, unsigned int offeredLength, intptr_t argument)',
          ),
        );
        return koffi.register(select, alpnType);
      },
    } as unknown as OpenSsl;
  } catch {
    // A Node that does not show them: TLS goes by Node's own classes.
  }
  return native;
}

export interface TlsError {
  readonly text: string;
  /** The client had to show a certificate. */
  readonly isNoCertificate: boolean;
}

/** SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, and what of a code is the reason. */
const NO_CERTIFICATE = 199;
const REASON_MASK = 0x7f_ffff;

/** The first error of the thread's queue, which is emptied. */
export function takeError(openSsl: OpenSsl): TlsError {
  const code = openSsl.ERR_get_error();
  openSsl.ERR_clear_error();
  if (code === 0) return { text: 'unknown', isNoCertificate: false };
  const bytes = Buffer.alloc(256);
  openSsl.ERR_error_string_n(code, bytes, bytes.length);
  return { text: bytes.toString('latin1', 0, bytes.indexOf(0)), isNoCertificate: (code & REASON_MASK) === NO_CERTIFICATE };
}
