/**
 * InitialHello: the ClientHello in a client's first datagrams, read before there is a connection, to choose the certificate that it asks for. quiche chooses none by
 * itself. Only listeners with several certificates need it.
 *
 *   datagram → keys of its destination ID [RFC 9001 §5.2] → header protection off [§5.4] → decrypted → CRYPTO frames → ClientHello
 *
 * The keys are no secret: everyone on the way can make them. A ClientHello with post-quantum keys fills two datagrams, and clients mix its parts.
 */
import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto';
import { DatagramHeader, INITIAL } from './datagram.ts';

/** Salt of version 1 [RFC 9001 §5.2]. */
const SALT = Buffer.from('38762cf7f55934b34d179ae6a4c80cadccbb7f0a', 'hex');
const HASH_BYTES = 32;
const KEY_BYTES = 16;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const SAMPLE_AT = 4;

// Frames that an Initial may have [RFC 9000 §12.4].
const PADDING = 0;
const PING = 1;
const ACK = 2;
const ACK_ECN = 3;
const CRYPTO = 6;

/** Bytes of a ClientHello that are read; what is longer gets the first certificate. */
const HELLO_BYTES_MAX = 8192;
const HELLO_HEAD_BYTES = 4;

interface InitialKeys {
  readonly key: Buffer;
  readonly iv: Buffer;
  readonly protection: Buffer;
}

/** Parts of one ClientHello as they come. */
export class InitialHello {
  private readonly keys: InitialKeys;
  private readonly bytes: Buffer;
  /** Ranges of `bytes` that have come, as [from, to) pairs in order. */
  private ranges: number[];

  /** @param dcid Destination Connection ID of the client's first datagram */
  constructor(dcid: Uint8Array) {
    this.keys = keysOf(dcid);
    this.bytes = Buffer.alloc(HELLO_BYTES_MAX);
    this.ranges = [];
  }

  /** Takes the parts in the Initial packets of a datagram. @returns false when it cannot be read: quiche may judge it */
  take(datagram: Uint8Array): boolean {
    try {
      for (let at = 0; at < datagram.length; ) {
        const next = this.takePacket(Buffer.from(datagram.buffer, datagram.byteOffset + at, datagram.length - at));
        if (next === 0) break;
        at += next;
      }
      return this.ranges.length > 0;
    } catch {
      // Cut short, or not encrypted with these keys.
      return false;
    }
  }

  /** The whole ClientHello with its handshake head; null: more is to come. */
  get hello(): Buffer | null {
    const length = this.ranges[0] === 0 ? this.ranges[1]! : 0;
    if (length < HELLO_HEAD_BYTES) return null;
    const whole = HELLO_HEAD_BYTES + this.bytes.readUIntBE(1, 3);
    return whole <= length ? this.bytes.subarray(0, whole) : null;
  }

  /** @returns length of the packet; 0: it is no Initial, and what follows is none either */
  private takePacket(packet: Buffer): number {
    const header = new DatagramHeader();
    if (header.parse(packet, packet.length) !== INITIAL) return 0;
    const length = new Reader(packet, header.tokenAt + header.tokenLength);
    const end = length.number() + length.at;
    const payload = decrypt(packet.subarray(0, end), length.at, this.keys);
    this.takeFrames(new Reader(payload, 0));
    return end;
  }

  private takeFrames(reader: Reader): void {
    while (!reader.isAtEnd) {
      const type = reader.number();
      switch (type) {
        case PADDING:
        case PING:
          break;
        case ACK:
        case ACK_ECN: {
          reader.number();
          reader.number();
          for (let ranges = reader.number() * 2 + 1; ranges > 0; ranges--) reader.number();
          if (type === ACK_ECN) for (let counts = 0; counts < 3; counts++) reader.number();
          break;
        }
        case CRYPTO: {
          const offset = reader.number();
          const bytes = reader.take(reader.number());
          if (offset + bytes.length > HELLO_BYTES_MAX) throw new Error('a ClientHello that is too long');
          bytes.copy(this.bytes, offset);
          this.add(offset, offset + bytes.length);
          break;
        }
        default:
          throw new Error('a frame that no Initial has');
      }
    }
  }

  private add(from: number, to: number): void {
    const merged: number[] = [];
    let [low, high] = [from, to];
    for (let i = 0; i < this.ranges.length; i += 2) {
      const [start, end] = [this.ranges[i]!, this.ranges[i + 1]!];
      if (end < low || start > high) merged.push(start, end);
      else [low, high] = [Math.min(low, start), Math.max(high, end)];
    }
    merged.push(low, high);
    // Few: each came in a datagram of its own.
    const pairs = Array.from({ length: merged.length / 2 }, (_, i) => [merged[2 * i]!, merged[2 * i + 1]!] as const);
    this.ranges = pairs.sort(([a], [b]) => a - b).flat();
  }
}

/** Reads integers of variable length [RFC 9000 §16]. */
class Reader {
  at: number;
  private readonly bytes: Buffer;

  constructor(bytes: Buffer, at: number) {
    this.bytes = bytes;
    this.at = at;
  }

  get isAtEnd(): boolean {
    return this.at >= this.bytes.length;
  }

  number(): number {
    const size = 1 << (this.bytes.readUInt8(this.at) >>> 6);
    // Eight bytes hold more than a double does, and more than any length here.
    const value = size === 8 ? Number(this.bytes.readBigUInt64BE(this.at) & 0x3fff_ffff_ffff_ffffn) : this.small(size);
    this.at += size;
    return value;
  }

  private small(size: number): number {
    return this.bytes.readUIntBE(this.at, size) % 2 ** (8 * size - 2);
  }

  take(length: number): Buffer {
    if (this.at + length > this.bytes.length) throw new Error('cut short');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
}

function keysOf(dcid: Uint8Array): InitialKeys {
  const secret = expand(hmac(SALT, dcid), 'client in', HASH_BYTES);
  return {
    key: expand(secret, 'quic key', KEY_BYTES),
    iv: expand(secret, 'quic iv', IV_BYTES),
    protection: expand(secret, 'quic hp', KEY_BYTES),
  };
}

function hmac(key: Uint8Array, bytes: Uint8Array): Buffer {
  return createHmac('sha256', key).update(bytes).digest();
}

/** HKDF-Expand-Label [RFC 8446 §7.1], for at most one block of the hash. */
function expand(secret: Buffer, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([Buffer.from([0, length, name.length]), name, Buffer.from([0, 1])]);
  return hmac(secret, info).subarray(0, length);
}

/** @param numberAt where the protected packet number begins @returns the frames @throws Error when the tag is wrong */
function decrypt(packet: Buffer, numberAt: number, { key, iv, protection }: InitialKeys): Buffer {
  const sample = packet.subarray(numberAt + SAMPLE_AT, numberAt + SAMPLE_AT + KEY_BYTES);
  const mask = createCipheriv('aes-128-ecb', protection, null).update(sample);
  const head = Buffer.from(packet.subarray(0, numberAt + 4));
  head[0]! ^= mask[0]! & 0x0f;
  const numberLength = (head[0]! & 3) + 1;
  const nonce = Buffer.from(iv);
  for (let i = 0; i < numberLength; i++) {
    head[numberAt + i]! ^= mask[1 + i]!;
    nonce[IV_BYTES - numberLength + i]! ^= head[numberAt + i]!;
  }
  const from = numberAt + numberLength;
  const to = packet.length - TAG_BYTES;
  const decipher = createDecipheriv('aes-128-gcm', key, nonce);
  decipher.setAAD(head.subarray(0, from));
  decipher.setAuthTag(packet.subarray(to));
  return Buffer.concat([decipher.update(packet.subarray(from, to)), decipher.final()]);
}
