/**
 * ApiKeyFile: the API keys of a broker, as JSON. `onehop apikey` and the API write it, the broker reads it. It holds no secrets, but hashes of them.
 *
 *   { "version": 1, "keys": [{ "id": "backup", "hash": "9f86…", "role": "viewer", "username": "", "expiresAt": 0, "createdAt": 1760000000000, "remark": "" }] }
 */
import { z } from 'zod';
import { type ApiKey, apiKeyIdProblem } from '../http/api-key.ts';
import { ROLES } from '../http/role.ts';
import { readJsonFile, replaceFile } from './record-file.ts';
import { usernameProblem } from './user-file.ts';

/** More would make each change slow. */
export const API_KEYS_MAX = 10_000;
export const REMARK_LENGTH_MAX = 128;

function checked(problemOf: (text: string) => string | null): z.ZodType<string, unknown> {
  return z.string().check(({ value, issues }) => {
    const message = problemOf(value);
    if (message !== null) issues.push({ code: 'custom', message, input: value });
  });
}

const time = z.number().int().min(0);

const apiKey = z.strictObject({
  id: checked(apiKeyIdProblem),
  hash: z.string().regex(/^[0-9a-f]{64}$/, { error: 'the hash is no SHA-256; make the key anew with: onehop apikey add' }),
  role: z.enum(ROLES),
  username: checked((name) => (name === '' ? null : usernameProblem(name))).default(''),
  expiresAt: time.default(0),
  createdAt: time.default(0),
  remark: z.string().max(REMARK_LENGTH_MAX).default(''),
});

const shape = z.strictObject({
  version: z.literal(1),
  keys: z.array(apiKey).max(API_KEYS_MAX, { error: `at most ${API_KEYS_MAX} keys` }),
});

/**
 * Reads a file of API keys.
 * @returns by ID
 * @throws with one line: the file, what is wrong, what to do
 */
export function readApiKeyFile(file: string): ReadonlyMap<string, ApiKey> {
  const result = shape.safeParse(readJsonFile(file, 'onehop apikey add NAME'));
  if (!result.success) {
    const { path, message } = result.error.issues[0]!;
    throw new Error(`${file}: ${path.length === 0 ? '' : `${path.join('.')}: `}${message}`);
  }
  const keys = new Map<string, ApiKey>();
  for (const one of result.data.keys) {
    if (keys.has(one.id)) throw new Error(`${file}: the key ${one.id} is there twice; remove one of them`);
    keys.set(one.id, one);
  }
  return keys;
}

/** Writes a file of API keys, whole. */
export function writeApiKeyFile(file: string, keys: Iterable<ApiKey>): void {
  replaceFile(file, `${JSON.stringify({ version: 1, keys: [...keys] }, null, 2)}\n`);
}
