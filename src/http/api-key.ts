/**
 * API keys: secrets for programs and people that use the HTTP API. A key is shown once, when it is made; what is kept is the hash of its secret.
 *
 *   ohk_{id}_{secret}      id: 10 letters and digits, no secret; secret: 256 random bits
 *
 * A secret that chance has made needs no slow hash: it cannot be guessed, whatever a guess costs.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Role } from './role.ts';

const PREFIX = 'ohk_';
const ID = /^[a-z0-9]{1,32}$/;
const SECRET_BYTES = 32;

/** A key as the broker knows it. */
export interface ApiKey {
  readonly id: string;
  /** SHA-256 of the secret, hexadecimal. */
  readonly hash: string;
  readonly role: Role;
  /** Name by which the statements judge what it publishes; '' means `api-key-{id}`. */
  readonly username: string;
  /** Wall milliseconds; 0: it does not end. */
  readonly expiresAt: number;
  readonly createdAt: number;
  readonly remark: string;
}

/** Whether a bearer token looks like an API key, and not like a token of somebody else. */
export function isApiKey(token: string): boolean {
  return token.startsWith(PREFIX);
}

/** What is wrong with the name of a key, as a sentence; null: nothing. */
export function apiKeyIdProblem(id: string): string | null {
  return ID.test(id) ? null : 'the name of a key has 1 to 32 small letters and digits';
}

/** A new secret. @returns the key for its owner, and the hash of it to keep */
export function makeApiKey(id: string): { readonly token: string; readonly hash: string } {
  const secret = randomBytes(SECRET_BYTES).toString('base64url');
  return { token: `${PREFIX}${id}_${secret}`, hash: hashOf(secret) };
}

/** A name for a key that has none. */
export function randomApiKeyId(): string {
  return randomBytes(5).toString('hex');
}

/** The key that a token is, or null. @param keys by ID; @param now wall milliseconds */
export function findApiKey(keys: ReadonlyMap<string, ApiKey>, token: string, now: number): ApiKey | null {
  const at = token.indexOf('_', PREFIX.length);
  if (at < 0) return null;
  const key = keys.get(token.slice(PREFIX.length, at));
  // The hash is made for an unknown name too, so that time does not tell which names there are.
  const hash = hashOf(token.slice(at + 1));
  const isRight = timingSafeEqual(Buffer.from(hash, 'hex'), Buffer.from(key?.hash ?? hash.replaceAll(/./g, '0'), 'hex'));
  if (key === undefined || !isRight) return null;
  return key.expiresAt === 0 || key.expiresAt > now ? key : null;
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}
