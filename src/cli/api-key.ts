/**
 * `onehop apikey …`: the file of keys for the HTTP API (`http.apiKeys`).
 */
import { type ApiKeyFacts, addApiKey, apiKeyProblem, readApiKeys, removeApiKey } from '../server/api-key-commands.ts';
import { millisecondsOf } from './duration.ts';
import { Failure } from './failure.ts';
import { print } from './output.ts';

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
  if (options.json === true) {
    print(JSON.stringify({ ...shown(facts), token }));
    return;
  }
  print(token);
  process.stderr.write(
    `added ${id} (${role}) to ${file}; nobody can be told this key again. Use it: Authorization: Bearer ${token.slice(0, 8)}…\n`,
  );
}

/** `onehop apikey remove`. */
export function removeKey(id: string, options: ApiKeyOptions): void {
  removeApiKey(fileOf(options), id);
  print(`removed ${id}`);
}

/** `onehop apikey list`: everything but the hashes. */
export function listKeys(options: ApiKeyOptions): void {
  const keys = [...readApiKeys(fileOf(options)).values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  if (options.json === true) {
    print(
      JSON.stringify(
        keys.map(({ createdAt, ...facts }) => ({ ...shown(facts), createdAt: timeOf(createdAt) })),
        null,
        2,
      ),
    );
    return;
  }
  for (const { id, role, username, expiresAt, remark } of keys) {
    const end = expiresAt === 0 ? [] : [`${expiresAt <= Date.now() ? 'ended' : 'until'} ${timeOf(expiresAt)}`];
    print([id, role, ...(username === '' ? [] : [`username=${username}`]), ...end, ...(remark === '' ? [] : [`(${remark})`])].join(' '));
  }
}

function shown({ id, role, username, expiresAt, remark }: ApiKeyFacts): object {
  return { id, role, username, expiresAt: expiresAt === 0 ? null : timeOf(expiresAt), remark };
}

function timeOf(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
