/**
 * JwtAuthenticator: a signed token (RFC 7519) in the password or the username.
 *
 *   not a token, or signed by none of our keys ──▶ ignore (another authenticator may know it)
 *   ours: expired, not yet valid, wrong issuer, audience or claim ──▶ deny
 *   ours and right ──▶ allow, until `exp`
 */
import { createPublicKey, createSecretKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createLocalJWKSet, createRemoteJWKSet, errors, type JSONWebKeySet, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose';
import type { JwtSettings } from '../base/settings.ts';
import type { Identity, Login } from '../shard/login.ts';
import { AclProblem, rulesOf } from './acl-claim.ts';
import { attributesOf } from './attributes.ts';
import { type Authenticator, deny, type Finding, ignore } from './authenticator.ts';

/** Header, payload and signature in base64url. Anything else is a password of another kind. */
const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]+$/;
/** How long an endpoint of keys may take; after a failure it is not asked again for as long. */
const FETCH_MILLISECONDS = 5_000;
/** Leeway for clocks that differ. */
const TOLERANCE_SECONDS = 5;

export class JwtAuthenticator implements Authenticator {
  readonly name = 'jwt';
  private readonly settings: JwtSettings;
  private key: JWTVerifyGetKey;

  /** @throws with one clear line when a file of keys cannot be used */
  constructor(settings: JwtSettings) {
    this.settings = settings;
    this.key = readKey(settings);
  }

  async judge(login: Login): Promise<Finding> {
    const { settings } = this;
    const token = settings.from === 'password' ? textOf(login.password) : login.username;
    if (token === null || !TOKEN.test(token)) return ignore('no token');
    let payload: JWTPayload;
    try {
      const { issuer, audience, algorithms } = settings;
      ({ payload } = await jwtVerify(token, this.key, {
        algorithms: [...algorithms],
        clockTolerance: TOLERANCE_SECONDS,
        ...(issuer !== '' && { issuer }),
        ...(audience !== '' && { audience }),
      }));
    } catch (error) {
      return findingOf(error as Error);
    }
    const { iat } = payload;
    if (iat !== undefined && !(iat <= Date.now() / 1000 + TOLERANCE_SECONDS)) return deny('the token is from the future');
    const wrong = wrongClaim(payload, settings.claims, login);
    if (wrong !== null) return deny(`claim ${wrong} does not fit`);
    const username = settings.usernameClaim === '' ? undefined : payload[settings.usernameClaim];
    // Without it the client would be who it says it is.
    if (settings.usernameClaim !== '' && (typeof username !== 'string' || username === ''))
      return deny(`claim ${settings.usernameClaim} is no name`);
    // The token itself is a secret: it must not be what events and logs call the client.
    const name = (username as string | undefined) ?? (settings.from === 'username' ? (payload.sub ?? '') : null);
    const expiresAt = payload.exp === undefined ? 0 : payload.exp * 1000;
    let rules: Identity['rules'] = null;
    try {
      if (settings.aclClaim !== '') rules = rulesOf(payload[settings.aclClaim]);
    } catch (error) {
      if (error instanceof AclProblem) return deny(`claim ${settings.aclClaim} ${error.message}`);
      throw error;
    }
    const attributes = attributesOf(settings.attributesClaim === '' ? undefined : payload[settings.attributesClaim]);
    return {
      effect: 'allow',
      identity: { authenticator: this.name, username: name, attributes, isSuperuser: false, rules, expiresAt, proof: name || payload.sub },
    };
  }

  /** Reads the files again. @throws with one clear line; the old keys stay then */
  reload(): void {
    this.key = readKey(this.settings);
  }
}

function findingOf(error: Error): Finding {
  if (error instanceof errors.JWTExpired) return deny('the token has expired');
  if (error instanceof errors.JWTClaimValidationFailed)
    return deny(`claim ${error.claim} ${error.reason === 'missing' ? 'is missing' : 'does not fit'}`);
  // What is no token of ours at all, or is signed by a key or an algorithm that we do not have.
  if (error instanceof errors.JWKSTimeout) throw error;
  if (error instanceof errors.JOSEError && !(error.code === 'ERR_JOSE_GENERIC')) return ignore(`not a token of ours (${error.code})`);
  throw error;
}

/** The first claim that is not what it must be; null: all are. `${ClientId}` and `${Username}` stand for what the client shows. */
function wrongClaim(payload: JWTPayload, claims: Readonly<Record<string, string>>, login: Login): string | null {
  for (const [name, wanted] of Object.entries(claims)) {
    const value = wanted.replaceAll('${ClientId}', () => login.clientId).replaceAll('${Username}', () => login.username ?? '');
    if (String(payload[name]) !== value || payload[name] === undefined) return name;
  }
  return null;
}

function textOf(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString('latin1');
}

/** After a failure the endpoint is not asked again for a while: anybody can send what looks like a token. */
function afterFailures(keys: JWTVerifyGetKey): JWTVerifyGetKey {
  let failure: Error | null = null;
  let failedAt = 0;
  return async (header, token) => {
    if (failure !== null && performance.now() - failedAt < FETCH_MILLISECONDS) throw failure;
    try {
      const key = await keys(header, token);
      failure = null;
      return key;
    } catch (error) {
      // That it has no such key is an answer.
      if (!(error instanceof errors.JWKSNoMatchingKey)) {
        failure = error as Error;
        failedAt = performance.now();
      }
      throw error;
    }
  };
}

/** Whether the key that stands in the settings is one. @throws with half a sentence */
export function checkKey(settings: JwtSettings): void {
  readKey(settings);
}

/** One place that keys come from; the schema sees to it that there is one. */
function readKey(settings: JwtSettings): JWTVerifyGetKey {
  const { secret, jwksUrl, keyText, refreshMilliseconds } = settings;
  if (jwksUrl !== '') {
    const options = { timeoutDuration: FETCH_MILLISECONDS, cooldownDuration: FETCH_MILLISECONDS, cacheMaxAge: refreshMilliseconds };
    return afterFailures(createRemoteJWKSet(new URL(jwksUrl), options));
  }
  if (keyText !== undefined) return keyOf(keyText.kind, `${keyText.kind}Text`, () => Buffer.from(keyText.text));
  for (const kind of ['jwks', 'publicKey'] as const)
    if (settings[kind] !== '') return keyOf(kind, settings[kind], () => readFileSync(settings[kind]));
  return keyOf('secret', secret, () => readFileSync(secret));
}

/** @param place what errors call it */
function keyOf(kind: 'secret' | 'publicKey' | 'jwks', place: string, read: () => Buffer): JWTVerifyGetKey {
  if (kind === 'jwks') return createLocalJWKSet(attempt(place, 'is no set of keys (JWKS)', () => parseKeySet(read())));
  if (kind === 'publicKey') {
    const key = attempt(place, 'is no public key in PEM', () => createPublicKey(read()));
    return () => key;
  }
  const bytes = attempt(place, 'cannot be read', read);
  // A file that people write ends with a line feed, which is not meant.
  const end = bytes.at(-1) === 0x0a ? (bytes.at(-2) === 0x0d ? 2 : 1) : 0;
  if (bytes.length - end < SECRET_BYTES_MIN)
    throw new Error(`${place}: a secret of ${bytes.length - end} bytes can be guessed; write at least ${SECRET_BYTES_MIN}`);
  const key = createSecretKey(bytes.subarray(0, bytes.length - end));
  return () => key;
}

/** As long as the shortest digest (RFC 7518, section 3.2). */
const SECRET_BYTES_MIN = 32;

function parseKeySet(bytes: Buffer): JSONWebKeySet {
  const set = JSON.parse(bytes.toString()) as JSONWebKeySet;
  if (!Array.isArray(set.keys)) throw new Error('no keys');
  return set;
}

function attempt<T>(file: string, problem: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Error(code === 'ENOENT' ? `${file}: no such file` : code === 'EACCES' ? `${file}: permission denied` : `${file} ${problem}`);
  }
}
