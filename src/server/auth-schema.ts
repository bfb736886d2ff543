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

/** What may be a secret, or hold one: what is wrong with it is said without it. */
function secretText(check: (value: string) => string | undefined): z.ZodType<string, unknown> {
  return z.unknown().transform((value, { issues }) => {
    const message = typeof value === 'string' ? check(value) : 'expected a text (quotes make it one)';
    if (message === undefined) return value as string;
    issues.push({ code: 'custom', message, input: '' });
    return z.NEVER;
  });
}

function checkUrl(value: string): string | undefined {
  const url = URL.canParse(value) ? new URL(value) : null;
  return url !== null && ['http:', 'https:'].includes(url.protocol) ? undefined : 'expected an address such as https://id.example.com/keys';
}

/** Keys are fetched without a login, and what fetches them would write a login in its errors. */
function checkKeyUrl(value: string): string | undefined {
  const problem = checkUrl(value);
  if (problem !== undefined) return problem;
  const { username, password } = new URL(value);
  return username === '' && password === '' ? undefined : 'expected an address without a name and a password';
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

const jwtFacts = {
  type: z.literal('jwt'),
  from: choice('password', 'username').schema.prefault('password'),
  algorithms: z.array(choice(...ALGORITHMS).schema).min(1, { error: 'expected algorithms such as [ES256]' }),
  jwksUrl: secretText(checkKeyUrl).optional(),
  refresh: duration({ unit: 'milliseconds', min: 1_000, max: 86_400_000 }).schema.prefault('1m'),
  issuer: text(checkText).schema.optional(),
  audience: text(checkText).schema.optional(),
  claims: z.record(z.string(), text(checkText).schema).prefault({}),
  usernameClaim: text(checkText).schema.optional(),
  attributesClaim: text(checkText).schema.optional(),
  aclClaim: text(checkText).schema.optional(),
};

/** Of the keys with these names one is written: that of a shared secret, first, goes with algorithms for one, the others with the others. */
function checkKeys<T extends { readonly algorithms: readonly string[] }>(
  names: readonly (keyof T & string)[],
): (context: { readonly value: T; readonly issues: z.core.$ZodRawIssue[] }) => void {
  return ({ value, issues }) => {
    const wrong = (path: string, message: string): void => {
      issues.push({ code: 'custom', path: [path], message, input: value });
    };
    const written = names.filter((name) => value[name] !== undefined);
    const list = `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
    if (written.length !== 1) wrong(names.at(-1)!, `expected one of ${list}`);
    const hasSecret = written.includes(names[0]!);
    // A public key taken for a shared secret: whoever knows the key could sign.
    const isShared = (algorithm: string): boolean => algorithm.startsWith('HS');
    if (value.algorithms.some(isShared) && !hasSecret) wrong('algorithms', `HS… needs ${names[0]}: a public key is known to everybody`);
    if (hasSecret && !value.algorithms.every(isShared)) wrong('algorithms', 'a shared secret goes with HS256, HS384 and HS512 only');
  };
}

const jwt = z
  .strictObject({
    ...jwtFacts,
    secret: text(checkFile).schema.optional(),
    publicKey: text(checkFile).schema.optional(),
    jwks: text(checkFile).schema.optional(),
  })
  .check(checkKeys(['secret', 'publicKey', 'jwks', 'jwksUrl']));

function checkHeaderName(value: string): string | undefined {
  return /^[\w!#$%&'*+.^`|~-]+$/.test(value) ? undefined : `expected names of headers, not ${show(value)}`;
}

function checkHeaderText(value: string): string | undefined {
  return /^[\t\x20-\x7e]*$/.test(value) ? undefined : 'expected printable ASCII characters';
}

const http = z.strictObject({
  type: z.literal('http'),
  url: secretText(checkUrl),
  method: choice('POST', 'GET').schema.prefault('POST'),
  headers: z.record(text(checkHeaderName).schema as z.ZodType<string, string>, secretText(checkHeaderText)).prefault({}),
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
  readonly file?: string | undefined;
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
    'Whether clients may connect that show neither name nor password. Not written: yes, as long as there are no authenticators, nor a file of them, and every listener is bound to this machine (127.0.0.0/8, ::1, localhost). Written `true`: yes, on any address. Written `false`: only with a proof that an authenticator accepts.',
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
  file: optionalKey(
    text(checkFile),
    'none',
    'File of further authenticators, as JSON, for tokens and services: they are asked behind those above. The HTTP API writes it, and it is read again when it changes. [authentication.md](authentication.md#authenticators-that-change-while-the-broker-runs) is about it.',
  ),
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
  // Whoever names a file of authenticators means that clients prove who they are, also while it is empty.
  const hasJudges = authenticators.length > 0 || file.file !== undefined;
  return {
    allowAnonymous: allowAnonymous ?? !hasJudges,
    hasJudges,
    authenticators: authenticators.map(authenticatorSettings),
    file: file.file ?? '',
    blocked: blocked ?? '',
    timeoutMilliseconds: timeout,
    waitingMax: waiting,
    passwordThreads,
    failures: { windowMilliseconds: failures.window, perAddress: failures.perAddress, perName: failures.perName },
  };
}

const KEY_TEXT_MAX = 65_536;

function checkKeyText(value: string): string | undefined {
  return value === '' || value.length > KEY_TEXT_MAX ? `expected the key itself, of at most ${KEY_TEXT_MAX} characters` : undefined;
}

/** Who is let in without a proof, and who shows an API key. */
const RESERVED_NAMES: readonly string[] = ['anonymous', 'api-key'];

/** What an authenticator of a file has beside what one of the configuration has. */
const named = {
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, { error: 'expected a name of 1 to 64 of A-Z a-z 0-9 . _ -' })
    .refine((name) => !RESERVED_NAMES.includes(name), {
      error: `expected another name than ${RESERVED_NAMES.join(' and ')}, which the broker uses itself`,
    }),
  isActive: z.boolean({ error: 'expected true or false' }).default(true),
  remark: z.string().max(128, { error: 'expected at most 128 characters' }).default(''),
};

const namedJwt = z
  .strictObject({
    ...named,
    ...jwtFacts,
    // Whoever may write the file from afar must not choose files of this machine.
    secretText: secretText(checkKeyText).optional(),
    publicKeyText: secretText(checkKeyText).optional(),
    jwksText: secretText(checkKeyText).optional(),
  })
  .check(checkKeys(['secretText', 'publicKeyText', 'jwksText', 'jwksUrl']));

const namedHttp = z.strictObject({ ...named, ...http.shape });

const namedAuthenticators = z
  .array(
    z.discriminatedUnion('type', [namedJwt, namedHttp], {
      error: (issue) =>
        issue.code === 'invalid_union' || issue.code === 'invalid_type'
          ? 'expected { name, type: jwt, … } or { name, type: http, … }; other kinds stand in the configuration'
          : undefined,
    }),
  )
  .max(AUTHENTICATORS_MAX, { error: `expected at most ${AUTHENTICATORS_MAX} authenticators` })
  .check(({ value, issues }) => {
    for (const [index, { name }] of value.entries())
      if (value.findIndex((other) => other.name === name) < index)
        issues.push({ code: 'custom', path: [index, 'name'], message: 'another one has this name', input: name });
  });

/** An authenticator of a file. */
export interface NamedAuthenticator {
  readonly name: string;
  /** False: nobody is judged by it. */
  readonly isActive: boolean;
  readonly remark: string;
  readonly settings: JwtSettings | HttpSettings;
}

/** What is wrong in a list of authenticators. */
export interface AuthenticatorIssue {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** A list of authenticators as a file has it, checked; what the keys are is not looked at. */
export function readAuthenticators(
  raw: unknown,
): { readonly authenticators: readonly NamedAuthenticator[] } | { readonly issues: readonly AuthenticatorIssue[] } {
  const result = namedAuthenticators.safeParse(raw);
  if (result.success) return { authenticators: result.data.map(namedAuthenticator) };
  return {
    issues: result.error.issues.map((issue) => ({
      path: issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part)),
      message: issue.code === 'unrecognized_keys' ? `unknown key ${issue.keys.join(', ')}` : issue.message,
    })),
  };
}

function namedAuthenticator(one: z.output<typeof namedAuthenticators>[number]): NamedAuthenticator {
  if (one.type === 'http') {
    const { name, isActive, remark, ...file } = one;
    return { name, isActive, remark, settings: authenticatorSettings(file) as HttpSettings };
  }
  const { name, isActive, remark, secretText, publicKeyText, jwksText, ...file } = one;
  const settings = authenticatorSettings(file) as JwtSettings;
  const kinds = { secret: secretText, publicKey: publicKeyText, jwks: jwksText };
  for (const [kind, key] of Object.entries(kinds))
    if (key !== undefined)
      return { name, isActive, remark, settings: { ...settings, keyText: { kind: kind as keyof typeof kinds, text: key } } };
  return { name, isActive, remark, settings };
}
