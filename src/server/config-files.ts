/**
 * ConfigFiles: the files that a configuration names and that are read beside it, checked without starting anything. Files that the broker itself may make, or begin
 * without, may be missing.
 */
import { existsSync } from 'node:fs';
import type { Settings } from '../base/settings.ts';
import { readApiKeyFile } from './api-key-file.ts';
import { readAuthenticatorFile } from './authenticator-file.ts';
import { readBlockFile } from './block-file.ts';
import { readDeviceFile } from './device-file.ts';
import { readStatementFile, StatementProblem } from './statement-file.ts';
import { readUserFile } from './user-file.ts';

/** What is wrong with them, a line each: key, file, what is wrong, what to do. */
export function fileProblems({ auth, authorization, http, listeners }: Settings): string[] {
  const problems: string[] = [];
  const check = (key: string, read: () => unknown): void => {
    try {
      read();
    } catch (error) {
      problems.push(...linesOf(error as Error).map((line) => `${key}: ${line}`));
    }
  };
  const { file = '' } = authorization;
  if (file !== '') check('authorization.file', () => readStatementFile(file));
  for (const [index, one] of auth.authenticators.entries()) {
    if (one.type === 'users' || one.type === 'scram') check(`auth.authenticators[${index}]`, () => readUserFile(one.file));
    if (one.type === 'devices') check(`auth.authenticators[${index}]`, () => readDeviceFile(one.file));
  }
  if (existsSync(auth.file)) check('auth.file', () => readAuthenticatorFile(auth.file));
  if (existsSync(auth.blocked)) check('auth.blocked', () => readBlockFile(auth.blocked));
  const hasHttp = listeners.some(({ type }) => type === 'http' || type === 'https');
  if (hasHttp && existsSync(http.apiKeys)) check('http.apiKeys', () => readApiKeyFile(http.apiKeys));
  return problems;
}

/** Of a list of statements all that is wrong, not only what comes first. */
function linesOf({ message, cause }: Error): string[] {
  if (!(cause instanceof StatementProblem)) return [message];
  // The message is about the first of them, and has the name of the file before it.
  const file = message.slice(0, message.length - cause.message.length);
  return cause.issues.map((issue) => file + new StatementProblem([issue]).message);
}
