/**
 * PacketFrames: what a packet has brought, read from its frames. quiche decrypts a datagram in place and does not say what was in it; asking it for all that may
 * have happened costs as much as the packet itself, and nearly every packet brings the same: acknowledgements, or bytes of one stream.
 *
 *   | 0 1 … packet number length | destination ID, as long as ours are | packet number | frames … | tag |        short header [RFC 9000 §17.3]
 *
 * quiche has checked and handled the packet before. One that it has thrown away is not decrypted, and says something or other here: nothing has happened then, so
 * whoever reads this must lose nothing by looking for what did not come, nor by not looking.
 *
 * Hot path.
 */
import { CONNECTION_ID_BYTES } from './connection-id.ts';

/** Anything may have happened. */
export const CONTENT_ANY = 0;
/** Acknowledgements that leave out no packet: nothing is to be read, nothing was lost, and no answer is due. */
export const CONTENT_ACKS = 1;
/** Bytes of one stream, `streamId`, perhaps such acknowledgements too. */
export const CONTENT_STREAM = 2;

const PACKET_NUMBER_LENGTH = 0x03;
const TAG_BYTES = 16;

// Frame types [RFC 9000 §19].
const PADDING = 0x00;
const ACK = 0x02;
const ACK_ECN = 0x03;
const STREAM = 0x08;
const STREAM_TYPE = 0xf8;
const STREAM_HAS_LENGTH = 0x02;
const STREAM_HAS_OFFSET = 0x04;

const NO_STREAM = -1;

/** One for an endpoint, filled again for each packet. */
export class PacketFrames {
  streamId: number;
  /** The largest packet number that is acknowledged; -1: none. */
  acked: number;
  private at: number;

  constructor() {
    this.streamId = NO_STREAM;
    this.acked = -1;
    this.at = 0;
  }

  /**
   * Reads a datagram with a short header that quiche has decrypted.
   * @param acked the largest packet number that was acknowledged before
   * @param sent so many packets have been sent, or more
   * @returns what has come: one of CONTENT_…
   */
  read(bytes: Uint8Array, acked: number, sent: number): number {
    const end = bytes.length - TAG_BYTES;
    this.at = 1 + CONNECTION_ID_BYTES + (bytes[0]! & PACKET_NUMBER_LENGTH) + 1;
    this.streamId = NO_STREAM;
    this.acked = -1;
    while (this.at < end) {
      const type = bytes[this.at++]!;
      if (type === PADDING) continue;
      if (type === ACK || type === ACK_ECN) {
        if (!this.readAck(bytes, type, acked, sent)) return CONTENT_ANY;
      } else if ((type & STREAM_TYPE) !== STREAM || !this.readStream(bytes, type, end)) {
        return CONTENT_ANY;
      }
    }
    return this.streamId === NO_STREAM ? CONTENT_ACKS : CONTENT_STREAM;
  }

  /** @returns false for one that leaves out a packet, or that cannot be */
  private readAck(bytes: Uint8Array, type: number, acked: number, sent: number): boolean {
    const largest = this.readInteger(bytes);
    this.readInteger(bytes); // ACK Delay
    const ranges = this.readInteger(bytes);
    const first = largest - this.readInteger(bytes);
    if (!(largest < sent)) return false;
    this.acked = largest;
    for (let i = type === ACK_ECN ? 3 : 0; i > 0; i--) this.readInteger(bytes);
    return ranges === 0 && first <= acked + 1;
  }

  /** @returns false when it is another stream than that of a frame before */
  private readStream(bytes: Uint8Array, type: number, end: number): boolean {
    const id = this.readInteger(bytes);
    if ((type & STREAM_HAS_OFFSET) !== 0) this.readInteger(bytes);
    const length = (type & STREAM_HAS_LENGTH) !== 0 ? this.readInteger(bytes) : end - this.at;
    if (!(length >= 0)) return false;
    this.at += length;
    if (this.streamId !== NO_STREAM && this.streamId !== id) return false;
    this.streamId = id;
    return true;
  }

  /** A variable-length integer [RFC 9000 §16]. Above 2⁵³ it is not exact; there are no such streams or packet numbers. Behind the end of the datagram it is NaN. */
  private readInteger(bytes: Uint8Array): number {
    const first = bytes[this.at++]!;
    let more = (1 << (first >> 6)) - 1;
    let value = first & 0x3f;
    for (; more > 0; more--) value = value * 256 + bytes[this.at++]!;
    return value;
  }
}
