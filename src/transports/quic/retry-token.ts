/**
 * Tokens of Retry packets: they prove that a client receives what is sent to the address that it claims [RFC 9000 §8.1.2].
 *
 *   | expiry u32, seconds | original destination connection ID | tag 16 |
 *
 * The tag also covers the address, the port [RFC 9000 §8.1.4] and the connection ID that the Retry gave to the client. Nothing is remembered, and every shard can check the token of any other.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

const EXPIRY_BYTES = 4;
const TAG_BYTES = 16;
const MAX_CONNECTION_ID_BYTES = 20;
/** A client answers a Retry within a round trip. */
const LIFE_SECONDS = 15;

/** Makes the token for a Retry. @param nowSeconds wall time */
export function mintRetryToken(
  key: Uint8Array,
  originalDcid: Uint8Array,
  retryScid: Uint8Array,
  host: string,
  port: number,
  nowSeconds: number,
): Buffer {
  const token = Buffer.alloc(EXPIRY_BYTES + originalDcid.length + TAG_BYTES);
  token.writeUInt32BE((nowSeconds + LIFE_SECONDS) >>> 0, 0);
  token.set(originalDcid, EXPIRY_BYTES);
  const end = EXPIRY_BYTES + originalDcid.length;
  token.set(tag(key, token.subarray(0, end), retryScid, host, port), end);
  return token;
}

/**
 * Checks the token of an Initial packet.
 * @param dcid destination connection ID of that packet
 * @returns the original destination connection ID, or null when the token is not ours, is too old, or is another client's
 */
export function openRetryToken(
  key: Uint8Array,
  token: Uint8Array,
  dcid: Uint8Array,
  host: string,
  port: number,
  nowSeconds: number,
): Buffer | null {
  const end = token.length - TAG_BYTES;
  if (end < EXPIRY_BYTES || end > EXPIRY_BYTES + MAX_CONNECTION_ID_BYTES) return null;
  const bytes = Buffer.from(token);
  if (!timingSafeEqual(tag(key, bytes.subarray(0, end), dcid, host, port), bytes.subarray(end))) return null;
  return bytes.readUInt32BE(0) < nowSeconds ? null : bytes.subarray(EXPIRY_BYTES, end);
}

function tag(key: Uint8Array, body: Uint8Array, retryScid: Uint8Array, host: string, port: number): Buffer {
  const hmac = createHmac('sha256', key);
  // Lengths first: no two different sets of fields give the same bytes.
  hmac.update(Uint8Array.of(body.length, retryScid.length, port >> 8, port & 0xff));
  return hmac.update(body).update(retryScid).update(host).digest().subarray(0, TAG_BYTES);
}
