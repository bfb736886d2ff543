/**
 * StatementFile: statements about who may do what, as JSON, beside those of the configuration (`authorization.file`). The API and people write it, the broker reads it.
 *
 *   { "version": 1, "statements": [{ "name": "own-topics", "effect": "allow", "actions": ["publish"], "topics": ["fleet/${ClientId}/#"] }] }
 *
 * A file that is not there is an error and not an empty one: without statements everybody may do everything.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { StatementSettings } from '../base/settings.ts';
import { readStatements, type StatementIssue } from './authorization-schema.ts';
import { readJsonFile, replaceFile } from './record-file.ts';

/** Each of them is looked at for each CONNECT. */
export const FILE_STATEMENTS_MAX = 1_000;

/** One statement as it is written. */
export type WrittenStatement = Readonly<Record<string, unknown>>;

/** What a file holds. */
export interface StatementList {
  readonly written: readonly WrittenStatement[];
  readonly statements: readonly StatementSettings[];
  /** Another one for each other list. */
  readonly revision: string;
}

/** A list is not what it should be. */
export class StatementProblem extends Error {
  readonly issues: readonly StatementIssue[];

  constructor(issues: readonly StatementIssue[]) {
    const { path, message } = issues[0]!;
    super(path.length === 0 ? message : `statements.${path.join('.')}: ${message}`);
    this.name = 'StatementProblem';
    this.issues = issues;
  }
}

/** Checks a list. @throws StatementProblem */
export function statementList(written: readonly unknown[]): StatementList {
  if (written.length > FILE_STATEMENTS_MAX)
    throw new StatementProblem([{ path: [], message: `a file has at most ${FILE_STATEMENTS_MAX} statements` }]);
  const result = readStatements(written);
  if ('issues' in result) throw new StatementProblem(result.issues);
  const revision = createHash('sha256').update(JSON.stringify(written)).digest('hex').slice(0, 16);
  return { written: written as readonly WrittenStatement[], statements: result.statements, revision };
}

/**
 * Reads a file of statements.
 * @throws with one line: the file, what is wrong, what to do
 */
export function readStatementFile(file: string): StatementList {
  const begin = '{ "version": 1, "statements": [] }';
  if (!existsSync(file)) throw new Error(`${file}: no such file; make one with ${begin} in it, which allows nothing until there is more`);
  const json = readJsonFile(file, `echo '${begin}' > ${file}`);
  const { version, statements, ...others } = (typeof json === 'object' && json !== null ? json : {}) as Record<string, unknown>;
  if (version !== 1 || !Array.isArray(statements) || Object.keys(others).length > 0)
    throw new Error(`${file}: expected { "version": 1, "statements": […] }`);
  try {
    return statementList(statements);
  } catch (error) {
    throw new Error(`${file}: ${(error as Error).message}`, { cause: error });
  }
}

/** Writes a file of statements, whole. */
export function writeStatementFile(file: string, written: readonly WrittenStatement[]): void {
  const lines = written.map((statement) => `  ${JSON.stringify(statement)}`).join(',\n');
  replaceFile(file, `{ "version": 1, "statements": [\n${lines}\n] }\n`);
}
