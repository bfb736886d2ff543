/*
 * The client's half of SCRAM-SHA-256 (RFC 5802, RFC 7677), on Node's own cryptography. It shares no line with the broker's half, and is held against the example of
 * the RFC by `test/auth/scram.test.ts`.
 */
import assert from 'node:assert/strict';
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';

export const SCRAM_SHA_256 = 'SCRAM-SHA-256';

function hmac(key: Uint8Array, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

/** One exchange. */
export class ScramClient {
  readonly method: string = SCRAM_SHA_256;
  private readonly password: string;
  private readonly header: string;
  /** Header in the last message, where that is another one. */
  private readonly lastHeader: string;
  private readonly bare: string;
  private readonly nonce: string;
  private expected: string;
  /** The last `i=` and `s=`. */
  salt: string;
  iterations: number;

  constructor(username: string, password: string, options: { nonce?: string; header?: string; lastHeader?: string } = {}) {
    this.password = password;
    this.header = options.header ?? 'n,,';
    this.lastHeader = options.lastHeader ?? this.header;
    this.nonce = options.nonce ?? randomBytes(18).toString('base64');
    this.bare = `n=${username.replaceAll('=', '=3D').replaceAll(',', '=2C')},r=${this.nonce}`;
    this.expected = '';
    this.salt = '';
    this.iterations = 0;
  }

  /** The first message. */
  first(): Uint8Array {
    return Buffer.from(this.header + this.bare);
  }

  /** The answer to the server's challenge. */
  answer(challenge: Uint8Array): Uint8Array {
    const text = Buffer.from(challenge).toString();
    const match = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(text);
    assert.ok(match !== null, `a challenge: ${text}`);
    const [, nonce, salt, iterations] = match as unknown as [string, string, string, string];
    assert.ok(nonce.startsWith(this.nonce) && nonce.length > this.nonce.length, 'the server adds to the nonce');
    this.salt = salt;
    this.iterations = Number(iterations);
    const salted = pbkdf2Sync(this.password, Buffer.from(salt, 'base64'), this.iterations, 32, 'sha256');
    const withoutProof = `c=${Buffer.from(this.lastHeader).toString('base64')},r=${nonce}`;
    const authMessage = `${this.bare},${text},${withoutProof}`;
    const clientKey = hmac(salted, 'Client Key');
    const signature = hmac(createHash('sha256').update(clientKey).digest(), authMessage);
    this.expected = `v=${hmac(hmac(salted, 'Server Key'), authMessage).toString('base64')}`;
    return Buffer.from(`${withoutProof},p=${Buffer.from(clientKey.map((byte, i) => byte ^ signature[i]!)).toString('base64')}`);
  }

  /** What the server must say at the end; known when it has asked. */
  get signature(): Uint8Array {
    return Buffer.from(this.expected);
  }

  /** Whether the server knows the password, too. */
  isServer(final: Uint8Array | undefined): boolean {
    return this.expected !== '' && final !== undefined && Buffer.from(final).toString() === this.expected;
  }
}
