/**
 * What `onehop apikey` and the API do with the file of API keys.
 */
import { existsSync } from 'node:fs';
import { type ApiKey, apiKeyIdProblem, makeApiKey } from '../http/api-key.ts';
import { API_KEYS_MAX, REMARK_LENGTH_MAX, readApiKeyFile, writeApiKeyFile } from './api-key-file.ts';
import { forCommand, whileLocked } from './record-file.ts';
import { StartError } from './start-error.ts';
import { usernameProblem } from './user-file.ts';

/** What is said of a key when it is made. */
export type ApiKeyFacts = Omit<ApiKey, 'hash' | 'createdAt'>;

/** What is wrong with a new key, as a sentence; null: nothing. */
export function apiKeyProblem({ id, username, remark }: ApiKeyFacts): string | null {
  const problem = apiKeyIdProblem(id) ?? (username === '' ? null : usernameProblem(username));
  return problem ?? (remark.length > REMARK_LENGTH_MAX ? `a remark has at most ${REMARK_LENGTH_MAX} characters` : null);
}

/** The keys in a file, none where there is no file. @throws StartError with one line */
export function readApiKeys(file: string): ReadonlyMap<string, ApiKey> {
  return existsSync(file) ? forCommand(() => readApiKeyFile(file)) : new Map();
}

/** Makes a key. @returns the key for its owner, which nobody can be told again. @throws StartError with one line */
export function addApiKey(file: string, facts: ApiKeyFacts): string {
  const { token, hash } = makeApiKey(facts.id);
  changeApiKeys(file, (keys) => {
    if (keys.has(facts.id))
      throw new StartError(`there is a key ${facts.id} in ${file} already; remove it first, or choose another name`, 1, 'conflict');
    if (keys.size >= API_KEYS_MAX) throw new StartError(`${file} has ${API_KEYS_MAX} keys, and may not have more`, 1, 'conflict');
    keys.set(facts.id, { ...facts, hash, createdAt: Date.now() });
  });
  return token;
}

/** Removes a key: it is refused from then on. @throws StartError with one line */
export function removeApiKey(file: string, id: string): void {
  changeApiKeys(file, (keys) => {
    if (!keys.delete(id)) throw new StartError(`there is no key ${id} in ${file}; onehop apikey list shows who is there`, 1, 'missing');
  });
}

function changeApiKeys(file: string, change: (keys: Map<string, ApiKey>) => void): void {
  whileLocked(file, () => {
    const keys = new Map(readApiKeys(file));
    change(keys);
    writeApiKeyFile(file, keys.values());
  });
}
