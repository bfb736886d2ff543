/**
 * BlockWatch: reads the file of rules about who may not connect, in the supervisor, and again when it changes.
 */
import { existsSync, unwatchFile, watchFile } from 'node:fs';
import type { BlockRule } from '../access/block-rules.ts';
import type { Log } from '../base/log.ts';
import { blockRuleOf, readBlockFile } from './block-file.ts';
import { StartError } from './start-error.ts';

/** A poll sees every kind of replacement, links included. */
const POLL_MILLISECONDS = 2000;

export class BlockWatch {
  private readonly file: string;
  private readonly log: Log;
  /** The rules now; a shard that starts begins with them. */
  current: readonly BlockRule[];
  /** Told of other rules. */
  changed: (rules: readonly BlockRule[]) => void;

  /** @param file '': nobody is blocked. @throws StartError with one clear line when it is there and cannot be read */
  constructor(file: string, log: Log) {
    this.file = file;
    this.log = log;
    this.current = [];
    this.changed = () => {};
    if (file === '') return;
    // Nobody has been blocked yet: the first `onehop block add` makes the file.
    if (!existsSync(file)) log.warn({ file }, 'there is no file of block rules: nobody is blocked');
    else {
      try {
        this.current = readBlockFile(file).map(blockRuleOf);
      } catch (error) {
        throw new StartError(`auth.blocked: ${(error as Error).message}`, 1);
      }
    }
    watchFile(file, { interval: POLL_MILLISECONDS, persistent: false }, this.reload);
  }

  /** Reads the file again: what cannot be used is said, and the old rules stay. */
  readonly reload = (): void => {
    if (this.file === '' || (this.current.length === 0 && !existsSync(this.file))) return;
    try {
      this.current = readBlockFile(this.file).map(blockRuleOf);
    } catch (error) {
      this.log.warn({ error: (error as Error).message }, 'the file of block rules was not read again: what it said before holds');
      return;
    }
    this.changed(this.current);
    this.log.info({ file: this.file, rules: this.current.length }, 'the file of block rules was read again');
  };

  stop(): void {
    if (this.file !== '') unwatchFile(this.file, this.reload);
  }
}
