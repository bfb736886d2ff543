/**
 * The keys of `auth`: who may connect.
 */
import { z } from 'zod';
import type {
  AuthenticatorSettings,
  AuthSettings,
  CertificateSettings,
  DevicesSettings,
  HttpSettings,
  JwtSettings,
  ScramSettings,
  UsersSettings,
} from '../base/settings.ts';
import { key, optionalKey, section } from './config-key.ts';
import { choice, count, duration, flag, type KeyFacts, show, text } from './config-value.ts';

const AUTHENTICATORS_MAX = 16;
const million = 1_000_000;

function checkFile(value: string): string | undefined {
  return value === '' || value.includes('\0') ? `expected a file such as ./users.json, not ${show(value)}` : undefined;
}

function checkText(value: string): string | undefined {
  return value === '' || value.length > 1024 ? 'expected 1 to 1024 characters' : undefined;
}

function checkUrl(value: string): string | undefined {
  const url = URL.canParse(value) ? new URL(value) : null;
  return url !== null && ['http:', 'https:'].includes(url.protocol)
    ? undefined
    : `expected an address such as https://id.example.com/keys, not ${show(value)}`;
}

/** Those of `jose`; `none` is not among them. */
const ALGORITHMS = [
  'HS256',
  'HS384',
  'HS512',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
] as const;

const users = z.strictObject({ type: z.literal('users'), file: text(checkFile).schema });

const devices = z.strictObject({
  type: z.literal('devices'),
  file: text(checkFile).schema,
  maxTokenAge: duration({
    unit: 'milliseconds',
    min: 60_000,
    never: Number.POSITIVE_INFINITY,
    max: Number.POSITIVE_INFINITY,
  }).schema.prefault('1d'),
});

const scram = z.strictObject({ type: z.literal('scram'), file: text(checkFile).schema });

const jwt = z
  .strictObject({
    type: z.literal('jwt'),
    from: choice('password', 'username').schema.prefault('password'),
    algorithms: z.array(choice(...ALGORITHMS).schema).min(1, { error: 'expected algorithms such as [ES256]' }),
    secret: text(checkFile).schema.optional(),
    publicKey: text(checkFile).schema.optional(),
    jwks: text(checkFile).schema.optional(),
    jwksUrl: text(checkUrl).schema.optional(),
    refresh: duration({ unit: 'milliseconds', min: 1_000, max: 86_400_000 }).schema.prefault('1m'),
    issuer: text(checkText).schema.optional(),
    audience: text(checkText).schema.optional(),
    claims: z.record(z.string(), text(checkText).schema).prefault({}),
    usernameClaim: text(checkText).schema.optional(),
    attributesClaim: text(checkText).schema.optional(),
    aclClaim: text(checkText).schema.optional(),
  })
  .check(({ value, issues }) => {
    const wrong = (path: string, message: string): void => {
      issues.push({ code: 'custom', path: [path], message, input: value });
    };
    const { algorithms, secret, publicKey, jwks, jwksUrl } = value;
    const written = [secret, publicKey, jwks, jwksUrl].filter((place) => place !== undefined).length;
    if (written !== 1) wrong('jwksUrl', 'expected one of secret, publicKey, jwks and jwksUrl');
    // A public key taken for a shared secret: whoever knows the key could sign.
    const isShared = (algorithm: string): boolean => algorithm.startsWith('HS');
    if (algorithms.some(isShared) && secret === undefined) wrong('algorithms', 'HS… needs secret: a public key is known to everybody');
    if (secret !== undefined && !algorithms.every(isShared)) wrong('algorithms', 'a shared secret goes with HS256, HS384 and HS512 only');
  });

function checkHeaderName(value: string): string | undefined {
  return /^[\w!#$%&'*+.^`|~-]+$/.test(value) ? undefined : `expected names of headers, not ${show(value)}`;
}

function checkHeaderText(value: string): string | undefined {
  return /^[\t\x20-\x7e]*$/.test(value) ? undefined : 'expected printable ASCII characters';
}

const http = z.strictObject({
  type: z.literal('http'),
  url: text(checkUrl).schema,
  method: choice('POST', 'GET').schema.prefault('POST'),
  headers: z.record(text(checkHeaderName).schema as z.ZodType<string, string>, text(checkHeaderText).schema).prefault({}),
  body: z.record(z.string(), z.string()).prefault({ clientid: '${ClientId}', username: '${Username}', password: '${Password}' }),
  concurrency: count(1, 1_000).schema.prefault(8),
  connectTimeout: duration({ unit: 'milliseconds', min: 10, max: 60_000 }).schema.prefault('5s'),
  readTimeout: duration({ unit: 'milliseconds', min: 10, max: 60_000 }).schema.prefault('5s'),
  cache: duration({ unit: 'milliseconds', min: 0, max: 86_400_000 }).schema.prefault('0s'),
  includeUserProperties: flag().schema.prefault(false),
});

const certificate = z.strictObject({
  type: z.literal('certificate'),
  username: choice('cn', 'san', 'fingerprint').schema.prefault('cn'),
  clientId: choice('any', 'cn', 'san', 'fingerprint').schema.prefault('any'),
  registry: text(checkFile).schema.optional(),
  registryMax: count(1, million).schema.prefault(100_000),
  registrationsPerMinute: count(1, million).schema.prefault(6_000),
});

interface JwtFile
  extends Omit<
    JwtSettings,
    | 'refreshMilliseconds'
    | 'secret'
    | 'publicKey'
    | 'jwks'
    | 'jwksUrl'
    | 'issuer'
    | 'audience'
    | 'usernameClaim'
    | 'attributesClaim'
    | 'aclClaim'
  > {
  readonly refresh: number;
  readonly secret?: string | undefined;
  readonly publicKey?: string | undefined;
  readonly jwks?: string | undefined;
  readonly jwksUrl?: string | undefined;
  readonly issuer?: string | undefined;
  readonly audience?: string | undefined;
  readonly usernameClaim?: string | undefined;
  readonly attributesClaim?: string | undefined;
  readonly aclClaim?: string | undefined;
}

interface HttpFile extends Omit<HttpSettings, 'connectMilliseconds' | 'readMilliseconds' | 'cacheMilliseconds'> {
  readonly connectTimeout: number;
  readonly readTimeout: number;
  readonly cache: number;
}

interface CertificateFile extends Omit<CertificateSettings, 'registry'> {
  readonly registry?: string | undefined;
}

interface DevicesFile extends Omit<DevicesSettings, 'maxTokenAgeMilliseconds'> {
  readonly maxTokenAge: number;
}

/** One authenticator as the file gives it, checked. What is undefined was not written. */
type AuthenticatorFile = UsersSettings | ScramSettings | DevicesFile | CertificateFile | JwtFile | HttpFile;

const authenticator: z.ZodType<AuthenticatorFile, unknown> = z.discriminatedUnion('type', [users, scram, devices, jwt, http, certificate], {
  error: (issue) =>
    issue.code === 'invalid_union' || issue.code === 'invalid_type'
      ? `expected { type: users, file: ./users.json }, { type: scram, file: ./users.json }, { type: devices, … }, { type: jwt, … }, { type: http, … } or { type: certificate }, not ${show(issue.input)}`
      : undefined,
});

function authenticatorSettings(file: AuthenticatorFile): AuthenticatorSettings {
  if (file.type === 'users' || file.type === 'scram') return file;
  if (file.type === 'certificate') return { ...file, registry: file.registry ?? '' };
  if (file.type === 'devices') {
    const { maxTokenAge, ...same } = file;
    return { ...same, maxTokenAgeMilliseconds: maxTokenAge };
  }
  if (file.type === 'http') {
    const { connectTimeout, readTimeout, cache, ...same } = file;
    return { ...same, connectMilliseconds: connectTimeout, readMilliseconds: readTimeout, cacheMilliseconds: cache };
  }
  const { refresh, secret, publicKey, jwks, jwksUrl, issuer, audience, usernameClaim, attributesClaim, aclClaim, ...same } = file;
  return {
    ...same,
    refreshMilliseconds: refresh,
    secret: secret ?? '',
    publicKey: publicKey ?? '',
    jwks: jwks ?? '',
    jwksUrl: jwksUrl ?? '',
    issuer: issuer ?? '',
    audience: audience ?? '',
    usernameClaim: usernameClaim ?? '',
    attributesClaim: attributesClaim ?? '',
    aclClaim: aclClaim ?? '',
  };
}

interface AuthFile {
  readonly allowAnonymous?: boolean | undefined;
  readonly authenticators: readonly AuthenticatorFile[];
  readonly blocked?: string | undefined;
  readonly timeout: number;
  readonly waiting: number;
  readonly passwordThreads: number;
  readonly failures: { readonly window: number; readonly perAddress: number; readonly perName: number };
}

/** The section. */
export const auth: z.ZodType<AuthFile, unknown> = section({
  allowAnonymous: optionalKey(
    flag(),
    'true on loopback only',
    'Whether clients may connect that show neither name nor password. Not written: yes, as long as there are no authenticators and every listener is bound to this machine (127.0.0.0/8, ::1, localhost). Written `true`: yes, on any address. Written `false`: only with a proof that an authenticator accepts.',
  ),
  authenticators: z
    .array(authenticator, { error: (issue) => `expected a list such as [{ type: users, file: ./users.json }], not ${show(issue.input)}` })
    .max(AUTHENTICATORS_MAX, { error: `expected at most ${AUTHENTICATORS_MAX} authenticators` })
    .prefault([])
    .meta({
      type: 'list of authenticators',
      default: '[]',
      text: 'Who judges the clients that connect, one after the other: the first that says yes or no decides. `{ type: users, file: ./users.json }`: names and passwords of a file that `onehop user` writes. `{ type: scram, file: ./users.json }`: the same file, for MQTT 5 clients that log in by SCRAM-SHA-256. `{ type: devices, … }`: devices with secrets of their own, in a file that `onehop device` writes. `{ type: jwt, … }`: signed tokens. `{ type: http, … }`: a service that is asked. `{ type: certificate }`: client certificates. Their keys are in [authentication.md](authentication.md).',
      verbatim: false,
    } satisfies KeyFacts),
  blocked: optionalKey(
    text(checkFile),
    'nobody is blocked',
    'File of rules about clients that may not connect, by client ID, username or address; `onehop block` writes it, and it is read again when it changes. [blocking.md](blocking.md) is about it.',
  ),
  timeout: key(
    duration({ unit: 'milliseconds', min: 100, max: 600_000 }),
    '10s',
    'How long a client waits for the verdict. Then it is told Server unavailable. An exchange of AUTH packets has this time in all.',
  ),
  waiting: key(
    count(1, million),
    2_000,
    'Logins that wait for a verdict, in all shards, with CONNECT packets of together at most 64 MiB in each. A further one is told Server busy; clients try again.',
  ),
  passwordThreads: key(count(1, 64), 1, 'Threads that check passwords. One checks about fifty in a second, each for the first time only.'),
  failures: section({
    window: key(duration({ unit: 'milliseconds', min: 1_000, max: 86_400_000 }), '1m', 'Time for which failed logins are counted.'),
    perAddress: key(
      count(0, million),
      30,
      'Failed logins of one address in that time; then its logins are refused unjudged until the time is over. Of IPv6 the first 64 bits count. 0: no limit, for clients behind one address that belongs to many.',
    ),
    perName: key(
      count(0, million),
      100,
      'Failed logins for one name in that time, from all addresses. Addresses from which that name has logged in before are not kept out. 0: no limit.',
    ),
  }),
});

/** In the names and units of `Settings`. */
export function authSettings(file: AuthFile): AuthSettings {
  const { allowAnonymous, authenticators, blocked, timeout, waiting, passwordThreads, failures } = file;
  return {
    allowAnonymous: allowAnonymous ?? authenticators.length === 0,
    authenticators: authenticators.map(authenticatorSettings),
    blocked: blocked ?? '',
    timeoutMilliseconds: timeout,
    waitingMax: waiting,
    passwordThreads,
    failures: { windowMilliseconds: failures.window, perAddress: failures.perAddress, perName: failures.perName },
  };
}
