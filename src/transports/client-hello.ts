/**
 * The first bytes of a TLS connection [RFC 8446 §4.1.2]: the name of the server that the client wants (SNI, RFC 6066 §3), and whether it speaks TLS 1.3. Read before
 * anybody takes the connection over, to choose who does.
 */

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const SUPPORTED_VERSIONS = 43;
const TLS_1_3 = 0x0304;
const RECORD_HEAD_BYTES = 5;
/** Handshake head, version, random. */
const FIXED_BYTES = 4 + 2 + 32;

/** What a name of a server is made of; anything else is no name that a certificate has. */
const HOST_NAME = /^[\w.-]{1,255}$/;

export interface ClientHello {
  /** In lower case; '' when it names none. */
  readonly serverName: string;
  readonly speaksTls13: boolean;
}

/** What is no ClientHello in one record: the handshake will fail by itself, or get along without. */
const UNKNOWN: ClientHello = { serverName: '', speaksTls13: false };

/** @returns null when more bytes are needed */
export function readClientHello(bytes: Buffer): ClientHello | null {
  if (bytes.length > 0 && bytes[0] !== HANDSHAKE) return UNKNOWN;
  if (bytes.length < RECORD_HEAD_BYTES) return null;
  const end = RECORD_HEAD_BYTES + bytes.readUInt16BE(3);
  if (bytes.length < end) return null;
  return readHandshakeHello(bytes.subarray(RECORD_HEAD_BYTES, end));
}

/** The same without the record around it, as QUIC has it. @param hello with its handshake head */
export function readHandshakeHello(hello: Buffer): ClientHello {
  try {
    return read(hello);
  } catch {
    // A length that reaches past the end.
    return UNKNOWN;
  }
}

function read(hello: Buffer): ClientHello {
  if (hello.readUInt8(0) !== CLIENT_HELLO) return UNKNOWN;
  let at = FIXED_BYTES;
  at += 1 + hello.readUInt8(at); // session
  at += 2 + hello.readUInt16BE(at); // ciphers
  at += 1 + hello.readUInt8(at); // compression
  let serverName = '';
  let speaksTls13 = false;
  const end = at + 2 + hello.readUInt16BE(at);
  at += 2;
  while (at < end) {
    const type = hello.readUInt16BE(at);
    const length = hello.readUInt16BE(at + 2);
    at += 4;
    if (type === SERVER_NAME) {
      const nameLength = hello.readUInt16BE(at + 3);
      serverName = hello.toString('latin1', at + 5, at + 5 + nameLength).toLowerCase();
    } else if (type === SUPPORTED_VERSIONS) {
      for (let version = at + 1; version < at + length; version += 2) speaksTls13 ||= hello.readUInt16BE(version) === TLS_1_3;
    }
    at += length;
  }
  return { serverName: HOST_NAME.test(serverName) ? serverName : '', speaksTls13 };
}
