/**
 * The version of this program, read from the package that it runs from.
 *
 * The package file is looked for upwards from here, because the compiled file lies deeper than the source. It is read only when someone asks.
 */
import { existsSync, readFileSync } from 'node:fs';

/** What `onehop version` prints. */
export function versionLine(): string {
  return `onehop ${programVersion()} (Node ${process.versions.node})`;
}

/** Version as in package.json, such as `0.1.0`. */
export function programVersion(): string {
  for (let folder = new URL('.', import.meta.url); ; folder = new URL('..', folder)) {
    const file = new URL('package.json', folder);
    if (existsSync(file)) return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
    if (folder.pathname === '/') return 'unknown';
  }
}
