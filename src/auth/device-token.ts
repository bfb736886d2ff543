/**
 * DeviceToken: what a device shows as its password, signed with its secret and valid until a time that is written in it.
 *
 *   SharedAccessSignature sr=<enc(client ID)>&sig=<enc(base64(mac))>&se=<Unix seconds>
 *   mac = HMAC-SHA256(base64-decode(key), enc(client ID) + LF + expiry)          enc: as in HTML forms, a space is `+`
 *
 * Signers differ in what `enc` leaves as it is (`*`, `~`), so the MAC is taken over `sr` as it stands in the token, once it is known to mean the Client Identifier. Some sign
 * the two characters `\n` instead of a line feed; neither can stand in `sr` or in the expiry, so nothing can be read in two ways.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

const PREFIX = Buffer.from('SharedAccessSignature ');
/** Three bytes for each of the longest Client Identifier that a file may name, and the rest. */
const LENGTH_MAX = 4096;
const MAC_BYTES = 32;
/** A form's alphabet: what is none of these is percent-encoded. `!'()` some encoders leave. */
const ENCODED = /^[\w.*~!'()+%-]+$/;
const SEPARATORS = ['\n', '\\n'] as const;

export interface DeviceToken {
  /** As it stands in the token. */
  readonly resource: string;
  /** What that means. */
  readonly clientId: string;
  readonly mac: Uint8Array;
  /** As it stands in the token. */
  readonly expiry: string;
  /** Unix milliseconds. */
  readonly expiresAt: number;
}

/** Whether a password is meant as a token of a device. */
export function isDeviceToken(password: Uint8Array | null): password is Uint8Array {
  return password !== null && password.length >= PREFIX.length && PREFIX.equals(password.subarray(0, PREFIX.length));
}

/** Reads a token. @returns what is wrong with it, as a few words, where it is none */
export function readDeviceToken(password: Uint8Array): DeviceToken | string {
  if (password.length > LENGTH_MAX) return 'the token is too long';
  const fields = new Map<string, string>();
  for (const field of Buffer.from(password).toString('latin1', PREFIX.length).split('&')) {
    const at = field.indexOf('=');
    const name = field.slice(0, Math.max(at, 0));
    if (fields.has(name)) return 'the token has a field twice';
    fields.set(name, field.slice(at + 1));
  }
  const resource = fields.get('sr') ?? '';
  const expiry = fields.get('se') ?? '';
  const clientId = ENCODED.test(resource) ? formDecoded(resource) : null;
  if (clientId === null) return 'sr is not a client ID in form encoding';
  // A sender that does not encode the Base64 has its `+` read as a space.
  const mac = Buffer.from(formDecoded(fields.get('sig') ?? '')?.replaceAll(' ', '+') ?? '', 'base64');
  if (mac.length !== MAC_BYTES) return 'sig is not 32 bytes in Base64';
  if (!/^\d{1,12}$/.test(expiry)) return 'se is not a time in seconds';
  return { resource, clientId, mac, expiry, expiresAt: Number(expiry) * 1000 };
}

/** Whether the token was signed with the key, with either separator. Takes the same time whatever is wrong. @param key in Base64 */
export function isSignedWith(token: DeviceToken, key: string): boolean {
  let isRight = false;
  for (const separator of SEPARATORS)
    if (timingSafeEqual(macOf(key, `${token.resource}${separator}${token.expiry}`), token.mac)) isRight = true;
  return isRight;
}

/** Makes a token. @param key in Base64; @param expiresAt Unix seconds, whole */
export function deviceToken(clientId: string, key: string, expiresAt: number): string {
  const resource = formEncoded(clientId);
  const mac = macOf(key, `${resource}\n${expiresAt}`).toString('base64');
  return `${PREFIX}sr=${resource}&sig=${formEncoded(mac)}&se=${expiresAt}`;
}

function macOf(key: string, data: string): Buffer {
  return createHmac('sha256', Buffer.from(key, 'base64')).update(data).digest();
}

function formEncoded(text: string): string {
  const percent = (character: string): string => `%${character.charCodeAt(0).toString(16).toUpperCase()}`;
  return encodeURIComponent(text)
    .replace(/[!'()~]/g, percent)
    .replaceAll('%20', '+');
}

function formDecoded(text: string): string | null {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return null;
  }
}
