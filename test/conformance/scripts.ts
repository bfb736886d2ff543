/**
 * Loads the conformance data: the statements of the standard, the scripts that judge a broker by them, and the packet templates.
 *
 * The data are JSON files beside this file's source. They are read from the source tree, also when this code runs from a build folder.
 * Everything is checked while loading, so that a misspelt key or number fails at once and names its file.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { PacketTemplates } from './notation.ts';

export type Protocol = '3.1' | '3.1.1' | '5.0';

/** Messages that a share deals out: each connection reads up to its fence; together they must hold exactly `times` packets that fit. */
export interface SharedStep {
  readonly shared: string;
  readonly times: number;
  readonly among: readonly string[];
  readonly until: string;
}

/** A step: a line of text, packets in any order, a search for one packet among others, or the share of several. See run-script.ts. */
export type Step = string | { readonly unordered: readonly string[] } | { readonly seek: string; readonly never?: string } | SharedStep;

/** Which settings the broker runs with: a key of settings.json. */
export type Profile = string;

export interface Script {
  /** File that holds the script, as `v5/connect.json`. */
  readonly file: string;
  readonly protocol: Protocol;
  readonly name: string;
  /** Numbers of the normative statements that the script judges. May be empty for rules of the standard that have no number. */
  readonly statements: readonly string[];
  readonly profile: Profile;
  /** Runs while no other script of the broker runs. */
  readonly alone: boolean;
  readonly steps: readonly Step[];
}

/** One numbered normative statement. */
export interface Statement {
  readonly protocol: Protocol;
  readonly number: string;
  /** Whose duty it is. */
  readonly binds: 'server' | 'client' | 'both';
  /** The statement in our own words. */
  readonly says: string;
  /** A test outside of the scripts that covers it: a file of the source tree. */
  readonly test?: string;
  /** Why it has no script and no test. */
  readonly reason?: string;
}

const FOLDERS: ReadonlyMap<string, Protocol> = new Map([
  ['v5', '5.0'],
  ['v311', '3.1.1'],
  ['v31', '3.1'],
]);

const SCRIPT_KEYS = new Set(['name', 'statements', 'profile', 'alone', 'steps']);

const STATEMENT_KEYS = new Set(['protocol', 'number', 'binds', 'says', 'test', 'reason']);

/** Top folder of the source tree. */
export function sourceRoot(): string {
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'test/conformance/statements.json'))) {
      return folder;
    }
    if (folder === dirname(folder)) {
      return process.cwd();
    }
  }
}

/** All scripts, ordered by protocol and file name. */
export function loadScripts(): Script[] {
  const scripts: Script[] = [];
  for (const [folder, protocol] of FOLDERS) {
    const names = readdirSync(join(sourceRoot(), 'test/conformance', folder)).filter(
      (name) => name.endsWith('.json') && name !== 'packets.json',
    );
    for (const name of names.sort()) {
      const file = `${folder}/${name}`;
      for (const raw of readData(file) as Record<string, unknown>[]) {
        const unknown = Object.keys(raw).filter((key) => !SCRIPT_KEYS.has(key));
        if (unknown.length > 0 || typeof raw['name'] !== 'string' || !Array.isArray(raw['steps']) || !Array.isArray(raw['statements'])) {
          throw new Error(`${file}: not a script: ${JSON.stringify(raw).slice(0, 120)}`);
        }
        scripts.push({
          file,
          protocol,
          name: raw['name'],
          statements: raw['statements'] as string[],
          profile: (raw['profile'] as string | undefined) ?? 'default',
          alone: raw['alone'] === true,
          steps: raw['steps'] as Step[],
        });
      }
    }
  }
  return scripts;
}

/** All normative statements, in the order of the standards' appendices. */
export function loadStatements(): Statement[] {
  const statements = readData('statements.json') as Statement[];
  for (const statement of statements) {
    const unknown = Object.keys(statement).filter((key) => !STATEMENT_KEYS.has(key));
    if (unknown.length > 0) {
      throw new Error(`statements.json: ${statement.number} has an unknown key ${unknown.join(', ')}`);
    }
  }
  return statements;
}

/** Packet templates of a protocol; 3.1 uses those of 3.1.1 and its own CONNECT. */
export function loadTemplates(protocol: Protocol): PacketTemplates {
  switch (protocol) {
    case '5.0':
      return readData('v5/packets.json') as PacketTemplates;
    case '3.1.1':
      return readData('v311/packets.json') as PacketTemplates;
    case '3.1':
      return { ...(readData('v311/packets.json') as PacketTemplates), ...(readData('v31/packets.json') as PacketTemplates) };
  }
}

/** Broker settings of each profile, as dotted keys. */
export function loadProfiles(): Readonly<Record<Profile, Readonly<Record<string, unknown>>>> {
  return readData('settings.json') as Record<Profile, Record<string, unknown>>;
}

/** Which of the scripts judge a statement: those of its protocol that name its number. */
export function scriptsOf(statement: Statement, scripts: readonly Script[]): Script[] {
  return scripts.filter((script) => script.protocol === statement.protocol && script.statements.includes(statement.number));
}

function readData(path: string): unknown {
  return JSON.parse(readFileSync(join(sourceRoot(), 'test/conformance', path), 'utf8'));
}
