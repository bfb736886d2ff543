/**
 * AuthenticatorFile: authenticators beside those of the configuration (`auth.file`), as JSON. The API and people write it, the broker reads it.
 *
 *   { "version": 1, "authenticators": [{ "name": "tokens", "type": "jwt", "algorithms": ["ES256"], "jwksUrl": "https://id.example.com/keys" }] }
 *
 * It holds keys, and so it is for its owner only. A file that is not there is an empty one: the first change makes it.
 */
import { createHash } from 'node:crypto';
import { checkKey } from '../auth/jwt-authenticator.ts';
import { type AuthenticatorIssue, type NamedAuthenticator, readAuthenticators } from './auth-schema.ts';
import { readJsonFile, replaceFile, stampOf } from './record-file.ts';

/** One authenticator as it is written. */
export type WrittenAuthenticator = Readonly<Record<string, unknown>>;

/** What a file holds. */
export interface AuthenticatorList {
  readonly written: readonly WrittenAuthenticator[];
  readonly authenticators: readonly NamedAuthenticator[];
  /** Another one whenever the file is written. Not made of what is in it: people who may not know the keys are told, and could try what they guess. */
  readonly revision: string;
}

/** A list is not what it should be. */
export class AuthenticatorProblem extends Error {
  readonly issues: readonly AuthenticatorIssue[];

  constructor(issues: readonly AuthenticatorIssue[]) {
    const { path, message } = issues[0]!;
    super(path.length === 0 ? message : `authenticators.${path.join('.')}: ${message}`);
    this.name = 'AuthenticatorProblem';
    this.issues = issues;
  }
}

/** Checks a list, and that its keys can be used. @throws AuthenticatorProblem; it tells no key */
export function checkedAuthenticators(written: readonly unknown[]): readonly NamedAuthenticator[] {
  const result = readAuthenticators(written);
  if ('issues' in result) throw new AuthenticatorProblem(result.issues);
  for (const [index, { settings }] of result.authenticators.entries()) {
    if (settings.type !== 'jwt' || settings.keyText === undefined) continue;
    try {
      checkKey(settings);
    } catch (error) {
      throw new AuthenticatorProblem([{ path: [index, `${settings.keyText.kind}Text`], message: (error as Error).message }]);
    }
  }
  return result.authenticators;
}

/**
 * Reads a file of authenticators.
 * @throws with one line: the file, what is wrong, what to do
 */
export function readAuthenticatorFile(file: string): AuthenticatorList {
  let stamp: string;
  try {
    stamp = stampOf(file);
  } catch (error) {
    throw new Error(`${file}: cannot look at this file: ${(error as Error).message}`, { cause: error });
  }
  const revision = createHash('sha256').update(stamp).digest('hex').slice(0, 16);
  if (stamp === '') return { written: [], authenticators: [], revision };
  const json = readJsonFile(file, `umask 077; echo '{ "version": 1, "authenticators": [] }' > ${file}`);
  const { version, authenticators, ...others } = (typeof json === 'object' && json !== null ? json : {}) as Record<string, unknown>;
  if (version !== 1 || !Array.isArray(authenticators) || Object.keys(others).length > 0)
    throw new Error(`${file}: expected { "version": 1, "authenticators": […] }`);
  try {
    return { written: authenticators as WrittenAuthenticator[], authenticators: checkedAuthenticators(authenticators), revision };
  } catch (error) {
    throw new Error(`${file}: ${(error as Error).message}`, { cause: error });
  }
}

/** Writes a file of authenticators, whole; from then on nobody but its owner and group may read it. */
export function writeAuthenticatorFile(file: string, written: readonly WrittenAuthenticator[]): void {
  replaceFile(file, `${JSON.stringify({ version: 1, authenticators: written }, null, 2)}\n`, 0o770);
}
