/**
 * StoreLock: one process writes to a store at a time. The lock is the operating system's (`flock`), so it ends with the process, however that ends.
 */
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { library } from '../base/c-library.ts';
import { StoreError } from './store-error.ts';

const LOCK_EXCLUSIVE_NOW = 2 | 4;

export class StoreLock {
  private readonly fd: number;

  /**
   * @param setting that names the directory, for people
   * @throws StoreError when another process has it, or the directory cannot be used
   */
  constructor(path: string, setting: 'store.path' | 'history.path' = 'store.path') {
    const what = setting.slice(0, setting.indexOf('.'));
    const file = join(path, 'onehop.lock');
    try {
      mkdirSync(path, { recursive: true });
      this.fd = openSync(file, 'a+');
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
        throw new StoreError('permission', `${what}: no permission to use ${path}; give its directory to the user that runs onehop`, 0);
      if (code === 'ENOTDIR' || code === 'EEXIST') throw new StoreError('permission', `${what}: ${path} is not a directory`, 0);
      throw new StoreError('disk', `${what}: cannot use ${path}: ${message}`, 0);
    }
    // Where the C library cannot be called (Windows) nobody checks.
    const libc = library();
    if (libc === null || libc.flock(this.fd, LOCK_EXCLUSIVE_NOW) === 0) {
      ftruncateSync(this.fd, 0);
      writeSync(this.fd, `${process.pid}\n`);
      return;
    }
    const owner = readFileSync(file, 'utf8').trim();
    closeSync(this.fd);
    throw new StoreError(
      'in-use',
      `${what}: ${path} is in use by another process${owner === '' ? '' : ` (${owner})`}; stop it or choose another ${setting}`,
      0,
    );
  }

  release(): void {
    closeSync(this.fd);
  }
}
