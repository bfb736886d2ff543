/**
 * LiveSettings: what may change while the broker runs. What holds is made of three layers, and the live sections that are others now go to the shards; of the rest it
 * is only said that it needs a restart.
 *
 *   configuration, read again when somebody asks ─┐
 *   changes through the API, until the restart ───┼─▶ what holds ─▶ shards
 *   file of statements, whenever it changes ──────┘
 *
 * A layer with a mistake changes nothing.
 */
import { unwatchFile, watchFile } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import type { Log } from '../base/log.ts';
import type { Settings } from '../base/settings.ts';
import { type LoadedConfig, type Tree, withWritten } from './config.ts';
import type { ConfigIssue } from './config-schema.ts';
import { StartError } from './start-error.ts';
import { readStatementFile, type StatementList } from './statement-file.ts';

/** Sections that the broker takes while it runs. */
export const LIVE_SECTIONS = ['authorization', 'quotas', 'log', 'alarms', 'metrics', 'tracing'] as const;
/** A poll sees every kind of replacement, links included. */
const POLL_MILLISECONDS = 2000;

export type LiveSection = (typeof LIVE_SECTIONS)[number];
/** Sections as they are from now on. */
export type LiveChange = { readonly [K in LiveSection]?: Settings[K] };

/** The live sections of settings. */
export function liveSections(settings: Settings): LiveChange {
  return Object.fromEntries(LIVE_SECTIONS.map((name) => [name, settings[name]]));
}

export class LiveSettings {
  /** What holds now: as it was at the start, but for the live sections. */
  current: Settings;
  /** The configuration as it was last read, with what the API has changed. */
  config: LoadedConfig;
  /** Changes through the API. */
  patch: Readonly<Tree>;
  /** The file of statements as it was last read; null: there is none. */
  statements: StatementList | null;
  /** Told of live sections that are others now; `current` has them already. */
  changed: (change: LiveChange) => void;
  /** Says what is wrong with settings beside their form: a file that cannot be read. They are not taken then. */
  check: (settings: Settings) => readonly ConfigIssue[];
  /** The configuration alone. */
  private written: LoadedConfig;
  private readonly read: () => Promise<LoadedConfig>;
  private readonly log: Log;
  private reading: Promise<void>;
  /** Somebody has asked after the reading under way had begun. */
  private isDue: boolean;
  /** '': none. */
  private watched: string;

  /**
   * @param read reads the configuration again, from all its sources; rejects with what is wrong with it
   * @throws StartError with one clear line when the file of statements cannot be read
   */
  constructor(config: LoadedConfig, read: () => Promise<LoadedConfig>, log: Log) {
    this.written = config;
    this.config = config;
    this.patch = {};
    this.changed = () => {};
    this.check = () => [];
    this.read = read;
    this.log = log;
    this.reading = Promise.resolve();
    this.isDue = false;
    this.watched = '';
    try {
      this.statements = statementsOf(config.settings);
    } catch (error) {
      throw new StartError(`authorization.file: ${(error as Error).message}`, 1);
    }
    this.current = withStatements(config.settings, this.statements);
    this.watch();
  }

  /** Statements of the configuration itself; they come before those of the file. */
  get ownStatements(): number {
    return this.config.settings.authorization.statements?.length ?? 0;
  }

  /** Reads everything again; one reading at a time, and one more for all who ask meanwhile. */
  reload(): void {
    if (this.isDue) return;
    this.isDue = true;
    this.reading = this.reading.then(() => {
      this.isDue = false;
      return this.readAll();
    });
  }

  private async readAll(): Promise<void> {
    try {
      const written = await this.read();
      const config = this.patched(written, this.patch);
      if (!('settings' in config)) throw new Error(`with what the API has changed it is wrong: ${config[0]!.message}`);
      const [wrong] = this.check(config.settings);
      if (wrong !== undefined) throw new Error(`${wrong.path.join('.')}: ${wrong.message}`);
      const statements = statementsOf(config.settings);
      this.written = written;
      this.take(config, statements);
    } catch (error) {
      this.log.error({ error: (error as Error).message }, 'the configuration was not read again: what it said before holds');
    }
  }

  /** Reads the file of statements again. @throws with one line; then what was read before holds */
  readStatements(): void {
    this.take(this.config, statementsOf(this.config.settings));
  }

  /** Puts changes over the configuration, until the restart. @param patch all of them @returns what is wrong with them; null: they hold */
  change(patch: Readonly<Tree>): readonly ConfigIssue[] | null {
    const config = this.patched(this.written, patch);
    if (!('settings' in config)) return config;
    const issues = [...this.check(config.settings), ...this.movedSecrets(config, patch)];
    if (issues.length > 0) return issues;
    this.patch = patch;
    this.take(config, this.statements);
    return null;
  }

  /** Headers that were written for one service are not sent to another because only its address was changed: they may be its secrets. */
  private movedSecrets({ settings }: LoadedConfig, patch: Readonly<Tree>): readonly ConfigIssue[] {
    const { tracing: before } = this.written.settings;
    const { tracing } = settings;
    if (tracing.otlp === '' || originOf(tracing.otlp) === originOf(before.otlp)) return [];
    const section = patch['tracing'];
    const headers = isTree(section) ? section['headers'] : undefined;
    const given = isTree(headers) ? headers : {};
    const kept = Object.keys(tracing.headers).filter((name) => name in before.headers && !(name in given));
    if (kept.length === 0) return [];
    return [{ path: ['tracing', 'headers'], message: `${kept.join(', ')}: written for another address; give it here as well` }];
  }

  private patched(config: LoadedConfig, patch: Readonly<Tree>): LoadedConfig | readonly ConfigIssue[] {
    return Object.keys(patch).length === 0 ? config : withWritten(config, merged(config.written, patch));
  }

  private take(config: LoadedConfig, statements: StatementList | null): void {
    const isOther = config !== this.config;
    this.config = config;
    this.statements = statements;
    const next = withStatements(config.settings, statements);
    const others = (Object.keys(next) as (keyof Settings)[]).filter((name) => !isDeepStrictEqual(next[name], this.current[name]));
    const live = LIVE_SECTIONS.filter((name) => others.includes(name));
    const late = others.filter((name) => !live.some((one) => one === name));
    if (isOther && late.length > 0) this.log.warn({ sections: late }, 'the configuration has changes that need a restart');
    this.watch();
    if (live.length === 0) return;
    const change: LiveChange = Object.fromEntries(live.map((name) => [name, next[name]]));
    this.current = { ...this.current, ...change };
    this.changed(change);
    this.log.info({ sections: live }, 'the configuration was read again');
  }

  private watch(): void {
    const file = this.config.settings.authorization.file ?? '';
    if (file === this.watched) return;
    this.stop();
    this.watched = file;
    if (file !== '') watchFile(file, { interval: POLL_MILLISECONDS, persistent: false }, this.poll);
  }

  private readonly poll = (): void => {
    try {
      this.readStatements();
    } catch (error) {
      this.log.error({ error: (error as Error).message }, 'the file of statements was not read again: what it said before holds');
    }
  };

  stop(): void {
    if (this.watched !== '') unwatchFile(this.watched, this.poll);
    this.watched = '';
  }
}

/** @throws with one line */
function statementsOf({ authorization }: Settings): StatementList | null {
  const file = authorization.file ?? '';
  return file === '' ? null : readStatementFile(file);
}

/** Those of the file come behind those of the configuration. */
function withStatements(settings: Settings, list: StatementList | null): Settings {
  if (list === null) return settings;
  const { authorization } = settings;
  return { ...settings, authorization: { ...authorization, statements: [...(authorization.statements ?? []), ...list.statements] } };
}

/** One tree with the values of another put over it; null takes a value away (RFC 7396). */
export function merged(tree: Readonly<Tree>, patch: Readonly<Tree>): Tree {
  const result: Tree = { ...tree };
  for (const [name, value] of Object.entries(patch)) {
    const before = result[name];
    if (name === '__proto__') continue;
    if (value === null) delete result[name];
    else if (isTree(value)) result[name] = merged(isTree(before) ? before : {}, value);
    else result[name] = value;
  }
  return result;
}

/** '' where there is no address. */
function originOf(url: string): string {
  return url === '' ? '' : new URL(url).origin;
}

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
