/*
 * Preloaded into a broker (`node --import`), and so into each of its threads: writes down what each thread loads, as the engine sees it, whichever way it was loaded. Modules of Node itself are left out.
 * The directory for it is the query of this module's address; each thread has a file there, with one address in each line.
 */
import { appendFileSync, readdirSync, readFileSync } from 'node:fs';
import { type Debugger, type InspectorNotification, Session } from 'node:inspector';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMainThread, threadId } from 'node:worker_threads';

const { search } = new URL(import.meta.url);
if (search !== '') writeDown(join(decodeURIComponent(search.slice(1)), isMainThread ? 'main' : `thread-${threadId}`));

function writeDown(file: string): void {
  const session = new Session();
  session.connect();
  session.on('Debugger.scriptParsed', ({ params: { url } }: InspectorNotification<Debugger.ScriptParsedEventDataType>) => {
    if (/^(file:|\/|[A-Z]:)/.test(url)) appendFileSync(file, `${url}\n`);
  });
  session.post('Debugger.enable');
}

/** For `BrokerOptions.node`. */
export function writingDown(directory: string): readonly string[] {
  return ['--import', `${new URL('.', import.meta.url).href}loaded-scripts.js?${encodeURIComponent(directory)}`];
}

/** What one thread has loaded. */
export interface LoadedScripts {
  /** Below `src`, such as `server/broker.js`. */
  readonly own: ReadonlySet<string>;
  readonly packages: ReadonlySet<string>;
}

/** What a thread has loaded that has loaded this file. @param own below `src` */
export function loadedBeside(directory: string, own: string): LoadedScripts {
  for (const name of readdirSync(directory)) {
    const scripts = scriptsOf(readFileSync(join(directory, name), 'utf8').split('\n'));
    if (scripts.own.has(own)) return scripts;
  }
  throw new Error(`no thread has loaded ${own}`);
}

function scriptsOf(lines: readonly string[]): LoadedScripts {
  const own = new Set<string>();
  const packages = new Set<string>();
  const root = fileURLToPath(new URL('../../src/', import.meta.url));
  for (const line of lines) {
    if (line === '') continue;
    const path = (line.startsWith('file:') ? fileURLToPath(line) : line).replaceAll('\\', '/');
    const name = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1];
    if (name !== undefined) packages.add(name);
    else if (path.startsWith(root)) own.add(path.slice(root.length));
  }
  return { own, packages };
}
