/**
 * Runs the benchmarks of single parts, one process each, so that the type feedback of one does not poison the next.
 * Words narrow them: `npm run bench:micro -- codec ring`.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../dist/native-bench/micro/', import.meta.url));
const words = process.argv.slice(2);
const files = readdirSync(folder).filter(
  (name) => name.endsWith('.bench.js') && (words.length === 0 || words.some((word) => name.includes(word))),
);
if (files.length === 0) {
  console.error(`no benchmark has ${words.join(' or ')} in its name`);
  process.exit(2);
}
for (const name of files.sort()) {
  console.log(`== ${name.replace('.bench.js', '')}`);
  const { status } = spawnSync(process.execPath, [join(folder, name)], { stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}
