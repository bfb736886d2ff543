/**
 * SCRAM-SHA-256 (RFC 5802, RFC 7677): what is kept of a password, and the messages of an exchange, read and written. The server's half.
 *
 *   client-first  n,,n=pump,r=CLIENT              → server-first  r=CLIENT+SERVER,s=SALT,i=ITERATIONS
 *   client-final  c=biws,r=CLIENT+SERVER,p=PROOF  → server-final  v=SIGNATURE
 *
 * Neither the password nor anything that could be shown instead of it crosses the network, and who steals the verifier cannot log in with it.
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';
import { saslprep } from '@mongodb-js/saslprep';

export const SCRAM_SHA_256 = 'SCRAM-SHA-256';

/** What a client computes at each login: a fifth of a second of a small device with SHA-256 in hardware, 20 ms of a server. RFC 7677 asks for 4,096 at least. */
export const ITERATIONS = 50_000;
const ITERATIONS_MIN = 4_096;
/** Devices compute it: a file must not make them do so for minutes. */
const ITERATIONS_MAX = 10_000_000;
export const SALT_BYTES = 16;
const SALT_BYTES_MAX = 64;
const KEY_BYTES = 32;
const NONCE_BYTES = 18;
/** Longer ones than any that a client needs. */
const MESSAGE_BYTES_MAX = 2_048;

/** What is kept instead of a password; bytes in Base64. */
export interface ScramVerifier {
  readonly salt: string;
  readonly iterations: number;
  readonly storedKey: string;
  readonly serverKey: string;
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
/** Printable ASCII without comma. */
const NONCE = /^[\x21-\x2b\x2d-\x7e]+$/;

/** What is wrong with a verifier, as half a sentence; null: nothing. */
export function verifierProblem({ salt, iterations, storedKey, serverKey }: ScramVerifier): string | null {
  const bytes = (text: string): number => (BASE64.test(text) ? Buffer.from(text, 'base64').length : -1);
  if (bytes(salt) < 1 || bytes(salt) > SALT_BYTES_MAX) return `needs a salt of 1 to ${SALT_BYTES_MAX} bytes in Base64`;
  if (bytes(storedKey) !== KEY_BYTES || bytes(serverKey) !== KEY_BYTES) return `needs keys of ${KEY_BYTES} bytes in Base64`;
  const isCount = Number.isInteger(iterations) && iterations >= ITERATIONS_MIN && iterations <= ITERATIONS_MAX;
  return isCount ? null : `needs ${ITERATIONS_MIN} to ${ITERATIONS_MAX} iterations`;
}

/** A name or password as both sides write it. @returns null: it has characters that nobody may use, or mixes directions of writing */
export function prepared(text: string): string | null {
  try {
    const result = saslprep(text);
    return result === '' ? null : result;
  } catch {
    return null;
  }
}

/** The verifier to keep of a password. It takes as long as it takes a client: for the command line, never for the broker. @returns null: SCRAM cannot express it */
export function verifierOf(
  password: string,
  iterations: number = ITERATIONS,
  salt: Uint8Array = randomBytes(SALT_BYTES),
): ScramVerifier | null {
  const text = prepared(password);
  if (text === null) return null;
  const salted = pbkdf2Sync(text, salt, iterations, KEY_BYTES, 'sha256');
  return {
    salt: Buffer.from(salt).toString('base64'),
    iterations,
    storedKey: sha256(hmac(salted, 'Client Key')).toString('base64'),
    serverKey: hmac(salted, 'Server Key').toString('base64'),
  };
}

export function hmac(key: Uint8Array, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

/** The first message of a client. */
export interface ClientFirst {
  /** Flag of the channel binding and the name that the client wants to speak for, as they were written. */
  readonly header: string;
  /** Whom the client wants to speak for; '': itself. */
  readonly authorizationName: string;
  /** As SASLprep writes it. */
  readonly username: string;
  readonly nonce: string;
  /** All behind the header. */
  readonly bare: string;
}

/** @returns what is wrong with the message, as half a sentence, or what it says */
export function readClientFirst(data: Uint8Array): ClientFirst | string {
  const text = textOf(data);
  if (text === null) return 'is no text';
  const parts = text.split(',');
  const [flag = '', authorization = '', name = '', nonce = ''] = parts;
  if (flag.startsWith('p=')) return 'asks for channel binding, which is not offered';
  if ((flag !== 'n' && flag !== 'y') || !(authorization === '' || authorization.startsWith('a='))) return 'has a header that is wrong';
  // Extensions that must be understood come first; none is.
  if (!name.startsWith('n=') || !nonce.startsWith('r=') || !NONCE.test(nonce.slice(2))) return 'has no name or no nonce';
  const username = nameOf(name.slice(2));
  const authorizationName = authorization === '' ? '' : nameOf(authorization.slice(2));
  if (username === null || authorizationName === null) return 'has a name that cannot be';
  const header = `${flag},${authorization},`;
  return { header, authorizationName, username, nonce: nonce.slice(2), bare: text.slice(header.length) };
}

/** The second message of a client. */
export interface ClientFinal {
  /** Header of its first message, once more. */
  readonly header: string;
  readonly nonce: string;
  readonly proof: Buffer;
  /** All before the proof. */
  readonly withoutProof: string;
}

/** @returns what is wrong with the message, as half a sentence, or what it says */
export function readClientFinal(data: Uint8Array): ClientFinal | string {
  const text = textOf(data);
  if (text === null) return 'is no text';
  const parts = text.split(',');
  const [binding = '', nonce = ''] = parts;
  const last = parts.length < 3 ? '' : parts.at(-1)!;
  if (!binding.startsWith('c=') || !nonce.startsWith('r=') || !last.startsWith('p=')) return 'has no proof';
  const [header, proof] = [binding.slice(2), last.slice(2)];
  if (!BASE64.test(header) || !BASE64.test(proof)) return 'is not written in Base64';
  return {
    header: Buffer.from(header, 'base64').toString(),
    nonce: nonce.slice(2),
    proof: Buffer.from(proof, 'base64'),
    withoutProof: text.slice(0, -last.length - 1),
  };
}

/** The nonce of an exchange: what the client has chosen, and what we add. */
export function nonceWith(clientNonce: string): string {
  return clientNonce + randomBytes(NONCE_BYTES).toString('base64');
}

export function writeServerFirst(nonce: string, { salt, iterations }: ScramVerifier): string {
  return `r=${nonce},s=${salt},i=${iterations}`;
}

/**
 * Checks a proof, in the same time whatever it is.
 * @param authMessage client-first-bare, server-first and client-final-without-proof, with commas between
 * @returns the server's own proof for the client; null: the client does not know the password
 */
export function checkProof(verifier: ScramVerifier, authMessage: string, proof: Uint8Array): Uint8Array | null {
  const storedKey = Buffer.from(verifier.storedKey, 'base64');
  const signature = hmac(storedKey, authMessage);
  const clientKey = Buffer.alloc(KEY_BYTES);
  for (let i = 0; i < KEY_BYTES; i++) clientKey[i] = signature[i]! ^ (proof[i] ?? 0);
  const isRight = timingSafeEqual(sha256(clientKey), storedKey) && proof.length === KEY_BYTES;
  const serverSignature = hmac(Buffer.from(verifier.serverKey, 'base64'), authMessage);
  return isRight ? Buffer.from(`v=${serverSignature.toString('base64')}`) : null;
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function textOf(data: Uint8Array): string | null {
  if (data.length > MESSAGE_BYTES_MAX) return null;
  try {
    return decoder.decode(data);
  } catch {
    return null;
  }
}

/** A name of a message: comma and equals sign are written `=2C` and `=3D`. */
function nameOf(written: string): string | null {
  if (/=(?!2C|3D)/.test(written)) return null;
  return prepared(written.replaceAll('=2C', ',').replaceAll('=3D', '='));
}
