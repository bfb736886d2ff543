/**
 * ApiKeyWatch: reads the file of API keys in the supervisor, and again when it changes.
 */
import { existsSync, unwatchFile, watchFile } from 'node:fs';
import type { Log } from '../base/log.ts';
import type { ApiKey } from '../http/api-key.ts';
import { readApiKeyFile } from './api-key-file.ts';
import { StartError } from './start-error.ts';

/** A poll sees every kind of replacement, links included. */
const POLL_MILLISECONDS = 1000;

export class ApiKeyWatch {
  readonly file: string;
  private readonly log: Log;
  /** The keys now; a shard that starts begins with them. */
  current: readonly ApiKey[];
  /** Told of other keys. */
  changed: (keys: readonly ApiKey[]) => void;

  /** @param file '': there are none. @throws StartError with one clear line when it is there and cannot be read */
  constructor(file: string, log: Log) {
    this.file = file;
    this.log = log;
    this.current = [];
    this.changed = () => {};
    if (file === '') return;
    if (existsSync(file)) {
      try {
        this.current = [...readApiKeyFile(file).values()];
      } catch (error) {
        throw new StartError(`http.apiKeys: ${(error as Error).message}`, 1);
      }
    }
    watchFile(file, { interval: POLL_MILLISECONDS, persistent: false }, this.reload);
  }

  /** Reads the file again: what cannot be used is said, and the old keys stay. A file that is gone has no keys. */
  readonly reload = (): void => {
    if (this.file === '' || (this.current.length === 0 && !existsSync(this.file))) return;
    try {
      this.current = existsSync(this.file) ? [...readApiKeyFile(this.file).values()] : [];
    } catch (error) {
      this.log.warn({ error: (error as Error).message }, 'the file of API keys was not read again: what it said before holds');
      return;
    }
    this.changed(this.current);
    this.log.info({ file: this.file, keys: this.current.length }, 'the file of API keys was read again');
  };

  stop(): void {
    if (this.file !== '') unwatchFile(this.file, this.reload);
  }
}
