/**
 * The server name (SNI) in the first bytes of a TLS connection [RFC 8446 §4.1.2] [RFC 6066 §3]. Read before anybody takes the connection over, to choose who does.
 */

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const RECORD_HEAD_BYTES = 5;
/** Record head, handshake head, version, random. */
const FIXED_BYTES = RECORD_HEAD_BYTES + 4 + 2 + 32;

/**
 * The name in a ClientHello.
 * @returns '' when it names none, or this is no ClientHello in one record; null when more bytes are needed
 */
export function serverNameOf(bytes: Buffer): string | null {
  if (bytes.length > 0 && bytes[0] !== HANDSHAKE) return '';
  if (bytes.length < RECORD_HEAD_BYTES) return null;
  const end = RECORD_HEAD_BYTES + bytes.readUInt16BE(3);
  if (bytes.length < end) return null;
  try {
    return nameIn(bytes.subarray(0, end));
  } catch {
    // A length that reaches past the record: the handshake will fail by itself.
    return '';
  }
}

function nameIn(hello: Buffer): string {
  if (hello.readUInt8(RECORD_HEAD_BYTES) !== CLIENT_HELLO) return '';
  let at = FIXED_BYTES;
  at += 1 + hello.readUInt8(at); // session
  at += 2 + hello.readUInt16BE(at); // ciphers
  at += 1 + hello.readUInt8(at); // compression
  const end = at + 2 + hello.readUInt16BE(at);
  at += 2;
  while (at < end) {
    const type = hello.readUInt16BE(at);
    const length = hello.readUInt16BE(at + 2);
    if (type === SERVER_NAME) {
      const nameLength = hello.readUInt16BE(at + 7);
      return hello.toString('latin1', at + 9, at + 9 + nameLength).toLowerCase();
    }
    at += 4 + length;
  }
  return '';
}
