/**
 * Datagrams before any connection is known: where they say they go, and the two answers that need no connection.
 *
 *   long header:  | 1 1 type reserved | version u32 | length, destination ID | length, source ID | Initial: token length, token | …
 *   short header: | 0 1 …             | destination ID, as long as ours are | …
 *
 * A parser that is filled again for each datagram: offsets, no objects. It reads what every version keeps [RFC 8999 §5] and the token of version 1.
 *
 * Hot path.
 */
import { CONNECTION_ID_BYTES } from './connection-id.ts';

export const VERSION_1 = 1;

export const MALFORMED = 0;
export const SHORT = 1;
export const INITIAL = 2;
export const ZERO_RTT = 3;
export const HANDSHAKE = 4;
export const RETRY = 5;
/** A long header of a version that we do not speak. */
export const OTHER_VERSION = 6;

/** A client's Initial travels in a datagram of at least this size [RFC 9000 §14.1]. */
export const INITIAL_DATAGRAM_BYTES_MIN = 1200;
/** Destination connection IDs that clients choose are at least this long [RFC 9000 §7.2]. */
export const INITIAL_DCID_BYTES_MIN = 8;

const LONG_FORM = 0x80;
const FIXED_BIT = 0x40;
const CONNECTION_ID_BYTES_MAX = 20;
/** By the two type bits of a long header of version 1 [RFC 9000 §17.2]. */
const LONG_TYPES = [INITIAL, ZERO_RTT, HANDSHAKE, RETRY] as const;

/** Smallest Stateless Reset that passes for a packet [RFC 9000 §10.3]. */
const RESET_BYTES_MIN = 21;
/** Longer ones hide nothing more, and a reset must stay smaller than what it answers. */
const RESET_BYTES_MAX = 43;
const RESET_TOKEN_BYTES = 16;

/** Offsets into the datagram that was parsed last. */
export class DatagramHeader {
  kind: number;
  version: number;
  dcidAt: number;
  dcidLength: number;
  scidAt: number;
  scidLength: number;
  tokenAt: number;
  tokenLength: number;

  constructor() {
    this.kind = MALFORMED;
    this.version = 0;
    this.dcidAt = 0;
    this.dcidLength = 0;
    this.scidAt = 0;
    this.scidLength = 0;
    this.tokenAt = 0;
    this.tokenLength = 0;
  }

  /** Reads the header of bytes[0, length). @returns its kind */
  parse(bytes: Uint8Array, length: number): number {
    this.kind = length === 0 ? MALFORMED : (bytes[0]! & LONG_FORM) === 0 ? this.parseShort(bytes, length) : this.parseLong(bytes, length);
    return this.kind;
  }

  private parseShort(bytes: Uint8Array, length: number): number {
    this.dcidAt = 1;
    this.dcidLength = CONNECTION_ID_BYTES;
    return (bytes[0]! & FIXED_BIT) === 0 || length < 1 + CONNECTION_ID_BYTES ? MALFORMED : SHORT;
  }

  private parseLong(bytes: Uint8Array, length: number): number {
    if (length < 7) return MALFORMED;
    this.version = ((bytes[1]! << 24) | (bytes[2]! << 16) | (bytes[3]! << 8) | bytes[4]!) >>> 0;
    this.dcidAt = 6;
    this.dcidLength = bytes[5]!;
    this.scidAt = 6 + this.dcidLength + 1;
    if (this.scidAt > length) return MALFORMED;
    this.scidLength = bytes[this.scidAt - 1]!;
    const end = this.scidAt + this.scidLength;
    if (end > length) return MALFORMED;
    // Version 0 marks a Version Negotiation packet, which a server never gets.
    if (this.version === 0) return MALFORMED;
    if (this.version !== VERSION_1) return OTHER_VERSION;
    if ((bytes[0]! & FIXED_BIT) === 0 || this.dcidLength > CONNECTION_ID_BYTES_MAX || this.scidLength > CONNECTION_ID_BYTES_MAX)
      return MALFORMED;
    const kind = LONG_TYPES[(bytes[0]! >> 4) & 3]!;
    return kind === INITIAL && !this.parseToken(bytes, end, length) ? MALFORMED : kind;
  }

  /** The length is a variable-length integer; one of more than two bytes cannot fit the datagram. */
  private parseToken(bytes: Uint8Array, at: number, length: number): boolean {
    if (at + 2 > length) return false;
    const first = bytes[at]!;
    if (first >= 0x80) return false;
    this.tokenAt = first < 0x40 ? at + 1 : at + 2;
    this.tokenLength = first < 0x40 ? first : ((first & 0x3f) << 8) | bytes[at + 1]!;
    return this.tokenAt + this.tokenLength <= length;
  }
}

/**
 * Writes a Version Negotiation packet as the answer to the datagram whose header is `header` [RFC 9000 §17.2.1].
 * @returns its length
 */
export function writeVersionNegotiation(out: Uint8Array, bytes: Uint8Array, header: DatagramHeader, randomByte: number): number {
  out[0] = LONG_FORM | FIXED_BIT | (randomByte & 0x3f);
  out.fill(0, 1, 5);
  let at = 5;
  // Their source becomes our destination, and the other way round, whatever their length: another version may allow more than ours.
  out[at++] = header.scidLength;
  for (let i = 0; i < header.scidLength; i++) out[at++] = bytes[header.scidAt + i]!;
  out[at++] = header.dcidLength;
  for (let i = 0; i < header.dcidLength; i++) out[at++] = bytes[header.dcidAt + i]!;
  out.fill(0, at, at + 3);
  out[at + 3] = VERSION_1;
  return at + 4;
}

/** Length of a Stateless Reset that answers a packet of `received` bytes: smaller than it, so that two endpoints cannot answer each other for ever; 0: none. */
export function statelessResetLength(received: number): number {
  const length = Math.min(received - 1, RESET_BYTES_MAX);
  return length < RESET_BYTES_MIN ? 0 : length;
}

/** Writes a Stateless Reset [RFC 9000 §10.3]: it looks like a packet with a short header. @param random at least `length` random bytes */
export function writeStatelessReset(out: Uint8Array, length: number, random: Uint8Array, token: Uint8Array): void {
  for (let i = 0; i < length - RESET_TOKEN_BYTES; i++) out[i] = random[i]!;
  out[0] = FIXED_BIT | (random[0]! & 0x3f);
  out.set(token, length - RESET_TOKEN_BYTES);
}
