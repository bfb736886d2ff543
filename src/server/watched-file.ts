/**
 * WatchedFile: a list in a file, read in the supervisor, and again when the file changes.
 */
import { existsSync, unwatchFile, watchFile } from 'node:fs';
import type { BlockRule } from '../access/block-rules.ts';
import type { Log } from '../base/log.ts';
import type { ApiKey } from '../http/api-key.ts';
import { blockRuleOf, readBlockFile } from './block-file.ts';
import { StartError } from './start-error.ts';

/** A poll sees every kind of replacement, links included. */
const POLL_MILLISECONDS = 1000;

interface FileKind<Item> {
  /** Key of the configuration that names the file. */
  readonly key: string;
  /** What the log calls the items. */
  readonly what: string;
  /** Whether a file that goes takes its items with it; otherwise they stay until there is one again. */
  readonly mayGo: boolean;
  /** @throws Error with one clear line */
  readonly read: (file: string) => readonly Item[];
}

// Whoever is blocked stays so: an editor may take a file away for a moment.
const blockRules: FileKind<BlockRule> = {
  key: 'auth.blocked',
  what: 'block rules',
  mayGo: false,
  read: (file) => readBlockFile(file).map(blockRuleOf),
};

export class WatchedFile<Item> {
  /** '': there is none. */
  readonly file: string;
  /** What it holds now; a shard that starts begins with that. */
  current: readonly Item[];
  /** Told of other items. */
  changed: (items: readonly Item[]) => void;
  private readonly kind: FileKind<Item>;
  private readonly log: Log;

  constructor(file: string, kind: FileKind<Item>, log: Log) {
    this.file = file;
    this.kind = kind;
    this.log = log;
    this.current = [];
    this.changed = () => {};
    if (file === '') return;
    // The first command that adds something makes the file.
    if (existsSync(file)) {
      try {
        this.current = kind.read(file);
      } catch (error) {
        throw new StartError(`${kind.key}: ${(error as Error).message}`, 1);
      }
    } else if (!kind.mayGo) log.warn({ file }, `there is no file of ${kind.what} yet: it is read when there is one`);
    watchFile(file, { interval: POLL_MILLISECONDS, persistent: false }, this.reload);
  }

  /** Reads the file again: what cannot be used is said, and what was there before stays. */
  readonly reload = (): void => {
    const { file, kind, log } = this;
    if (file === '' || (this.current.length === 0 && !existsSync(file))) return;
    try {
      this.current = kind.mayGo && !existsSync(file) ? [] : kind.read(file);
    } catch (error) {
      log.warn({ file, error: (error as Error).message }, `the file of ${kind.what} was not read again: what it said before holds`);
      return;
    }
    this.changed(this.current);
    log.info({ file, count: this.current.length }, `the file of ${kind.what} was read again`);
  };

  stop(): void {
    if (this.file !== '') unwatchFile(this.file, this.reload);
  }
}

/** The file of rules about who may not connect. @throws StartError with one clear line when it is there and cannot be read */
export function watchBlockRules(file: string, log: Log): WatchedFile<BlockRule> {
  return new WatchedFile(file, blockRules, log);
}

/** The file of API keys; what reads it is loaded only where something speaks HTTP. @throws StartError with one clear line when it is there and cannot be read */
export async function watchApiKeys(file: string, log: Log): Promise<WatchedFile<ApiKey>> {
  const { readApiKeyFile } = await import('./api-key-file.ts');
  const read = (path: string): readonly ApiKey[] => [...readApiKeyFile(path).values()];
  return new WatchedFile(file, { key: 'http.apiKeys', what: 'API keys', mayGo: true, read }, log);
}
