/**
 * `onehop apikey …`: the file of keys for the HTTP API (`http.apiKeys`).
 */
import { resolve } from 'node:path';
import { type ApiKeyFacts, addApiKey, apiKeyProblem, readApiKeys, removeApiKey } from '../server/api-key-commands.ts';
import { millisecondsOf } from './duration.ts';
import { Failure } from './failure.ts';
import { jsonText, note, print, tables, terminalWidth } from './output.ts';

export interface ApiKeyOptions {
  readonly file?: string;
  readonly role?: string;
  readonly username?: string;
  readonly for?: string;
  readonly until?: string;
  readonly remark?: string;
  readonly json?: boolean;
}

function fileOf(options: ApiKeyOptions): string {
  return options.file ?? process.env['ONEHOP_HTTP__API_KEYS'] ?? './api-keys.json';
}

/** Wall milliseconds; 0: never. */
function endOf(options: ApiKeyOptions): number {
  if (options.for !== undefined && options.until !== undefined) throw new Failure('give one of --for and --until', 2);
  if (options.for !== undefined) return Date.now() + millisecondsOf('--for', options.for);
  if (options.until === undefined) return 0;
  const end = Date.parse(options.until);
  if (Number.isNaN(end)) throw new Failure(`--until: expected a time such as 2026-12-31T00:00:00Z, not ${options.until}`, 2);
  if (end <= Date.now()) throw new Failure('--until: this time has passed', 2);
  return end;
}

/** `onehop apikey add`: the key goes to standard output, and is told once. */
export function addKey(id: string, options: ApiKeyOptions): void {
  const { role = 'viewer', username = '', remark = '' } = options;
  const facts = { id, role: role as ApiKeyFacts['role'], username, expiresAt: endOf(options), remark };
  const problem = apiKeyProblem(facts);
  if (problem !== null) throw new Failure(problem, 2);
  const file = fileOf(options);
  const token = addApiKey(file, facts);
  print(options.json === true ? jsonText({ ...shown(facts), token }) : token);
  // The whole path: a broker with another file does not see the key.
  note(
    `added ${id} (${role}) to ${resolve(file)}, which http.apiKeys of the broker must name; nobody can be told this key again. Use it: Authorization: Bearer ${token.slice(0, 8)}…`,
  );
}

/** `onehop apikey remove`. */
export function removeKey(id: string, options: ApiKeyOptions): void {
  removeApiKey(fileOf(options), id);
  print(`removed ${id}`);
}

/** `onehop apikey list`: everything but the hashes. */
export async function listKeys(options: ApiKeyOptions): Promise<void> {
  const keys = [...readApiKeys(fileOf(options)).values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  if (options.json === true) {
    for (const { createdAt, ...facts } of keys) print(jsonText({ ...shown(facts), createdAt: timeOf(createdAt) }));
    return;
  }
  const columns = [
    { name: 'NAME' },
    { name: 'ROLE' },
    { name: 'USER', isFlexible: true },
    { name: 'UNTIL' },
    { name: 'REMARK', isFlexible: true },
  ] as const;
  const cells = keys.map(({ id, role, username, expiresAt, remark }) => [id, role, username, endText(expiresAt), remark]);
  for (const line of (await tables())(columns, cells, terminalWidth())) print(line);
}

function endText(expiresAt: number): string {
  if (expiresAt === 0) return '';
  return expiresAt <= Date.now() ? `${timeOf(expiresAt)} (ended)` : timeOf(expiresAt);
}

function shown({ id, role, username, expiresAt, remark }: ApiKeyFacts): object {
  return { id, role, username, expiresAt: expiresAt === 0 ? null : timeOf(expiresAt), remark };
}

function timeOf(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
