/*
 * Directories for stores of tests: each of its own, below the system's directory for such things, and gone when the test process ends.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const made: string[] = [];
process.on('exit', () => {
  for (const path of made) rmSync(path, { recursive: true, force: true });
});

/** A new, empty directory. */
export function storeDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'onehop-store-'));
  made.push(path);
  return path;
}
