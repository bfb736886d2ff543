/**
 * Connection IDs of the server, and the keys that all shards share.
 *
 *   one AES-128 block:  | shard u8 | three check bytes | twelve random bytes |  → sixteen bytes of connection ID
 *
 * Whoever holds the key finds the shard in an ID, so that a datagram that the kernel gave to another shard (the client has moved) reaches its owner. To everybody
 * else IDs are random bytes: two of one connection cannot be told to belong together [RFC 9000 §5.1]. The check bytes tell ours from what a client made up:
 * one invented ID in sixteen million passes. One AES block takes 0.8 µs and is needed only for IDs that are not in the table of connections.
 */
import { type Cipher, createCipheriv, createDecipheriv, createHmac, type Decipher, hkdfSync, randomBytes } from 'node:crypto';

export const CONNECTION_ID_BYTES = 16;
/** Shards that an ID can name. */
export const SHARDS_MAX = 256;
export const PROCESS_SECRET_BYTES = 32;

const RANDOM_AT = 4;
/** Random bytes are asked for by the hundred: one call into OpenSSL takes longer than copying twelve bytes. */
const RANDOM_POOL_BYTES = 12 * 128;
const CHECK = [0x71, 0x75, 0x69] as const;

/** Keys that are made of the one secret of the process; equal in every shard, and in every process that is given the same secret. */
export interface SharedKeys {
  readonly connectionId: Buffer;
  readonly resetToken: Buffer;
  readonly retryToken: Buffer;
  /** Each listener makes its own key of it. */
  readonly sessionTicket: Buffer;
}

/** Derives the keys. @param secret PROCESS_SECRET_BYTES random bytes */
export function deriveKeys(secret: Uint8Array): SharedKeys {
  const derive = (label: string, length: number): Buffer => Buffer.from(hkdfSync('sha256', secret, '', `onehop quic ${label}`, length));
  return {
    connectionId: derive('connection id', 16),
    resetToken: derive('stateless reset', 32),
    retryToken: derive('retry', 32),
    sessionTicket: derive('session ticket', 32),
  };
}

/** Makes the connection IDs of one shard and reads those of all. */
export class ConnectionIds {
  private readonly shard: number;
  private readonly cipher: Cipher;
  private readonly decipher: Decipher;
  private readonly resetKey: Buffer;
  private readonly block: Buffer;
  private random: Buffer;
  private randomAt: number;

  constructor(shard: number, keys: SharedKeys) {
    this.shard = shard;
    // One block at a time has nothing to chain, so one cipher object serves for the life of the shard.
    this.cipher = createCipheriv('aes-128-ecb', keys.connectionId, null).setAutoPadding(false);
    this.decipher = createDecipheriv('aes-128-ecb', keys.connectionId, null).setAutoPadding(false);
    this.resetKey = keys.resetToken;
    this.block = Buffer.alloc(CONNECTION_ID_BYTES);
    this.random = randomBytes(RANDOM_POOL_BYTES);
    this.randomAt = 0;
  }

  /** A new ID that names this shard. */
  make(): Uint8Array {
    if (this.randomAt === RANDOM_POOL_BYTES) {
      this.random = randomBytes(RANDOM_POOL_BYTES);
      this.randomAt = 0;
    }
    const { block } = this;
    block[0] = this.shard;
    block.set(CHECK, 1);
    this.random.copy(block, RANDOM_AT, this.randomAt, this.randomAt + CONNECTION_ID_BYTES - RANDOM_AT);
    this.randomAt += CONNECTION_ID_BYTES - RANDOM_AT;
    return this.cipher.update(block);
  }

  /** The shard that the ID at `bytes[at…]` names, or -1 when no shard of ours made it. */
  shardOf(bytes: Uint8Array, at: number, length: number): number {
    if (length !== CONNECTION_ID_BYTES) return -1;
    const block = this.decipher.update(bytes.subarray(at, at + CONNECTION_ID_BYTES));
    return block[1] === CHECK[0] && block[2] === CHECK[1] && block[3] === CHECK[2] ? block[0]! : -1;
  }

  /** Stateless reset token of an ID: a function of the ID and the key, so that nobody needs to remember it [RFC 9000 §10.3.2]. */
  resetToken(id: Uint8Array): Buffer {
    return createHmac('sha256', this.resetKey).update(id).digest().subarray(0, 16);
  }

  /** The token as the number that quiche takes. */
  resetTokenNumber(id: Uint8Array): bigint {
    return BigInt(`0x${this.resetToken(id).toString('hex')}`);
  }
}
