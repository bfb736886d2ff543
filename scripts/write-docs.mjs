/**
 * Writes the pages of docs/ that are made from the sources. `--check` writes nothing and fails when a page is out of date.
 *
 * Each page is made by the code that it describes; this file only knows which page comes from where.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = new URL('../', import.meta.url);
const isCheck = process.argv.includes('--check');

function read(path) {
  const file = new URL(path, root);
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

/** The configuration page comes from the schema. */
async function writeConfiguration() {
  const { configurationPage } = await import(new URL('dist/src/server/config-manual.js', root));
  writeFileSync(new URL('docs/configuration.md', root), configurationPage());
}

/** The reference of the HTTP API comes from its table of routes. */
async function writeHttpReference() {
  const { httpReferencePage } = await import(new URL('dist/src/http/reference-page.js', root));
  writeFileSync(new URL('docs/http-reference.md', root), httpReferencePage());
}

/** The page of the command line comes from the help of its commands. */
async function writeCommandLine() {
  const { commandLinePage } = await import(new URL('dist/src/cli/command-line-page.js', root));
  writeFileSync(new URL('docs/command-line.md', root), commandLinePage());
}

/** The conformance page comes from the scripts and tests that name the standard's numbers. */
function writeConformance() {
  const script = fileURLToPath(new URL('scripts/write-conformance.mjs', root));
  if (!existsSync(script)) return;
  const { status } = spawnSync(process.execPath, [script], { cwd: fileURLToPath(root), stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}

/** The list of metrics in the page about what is measured comes from the table of metrics. */
async function writeMetrics() {
  const { metricsList } = await import(new URL('dist/src/http/metrics-manual.js', root));
  const page = read('docs/observability.md');
  const [before, rest] = page.split('<!-- metrics: begin -->');
  const [, after] = rest.split('<!-- metrics: end -->');
  writeFileSync(new URL('docs/observability.md', root), `${before}<!-- metrics: begin -->\n${metricsList()}<!-- metrics: end -->${after}`);
}

const pages = [
  ['docs/configuration.md', writeConfiguration],
  ['docs/http-reference.md', writeHttpReference],
  ['docs/command-line.md', writeCommandLine],
  ['docs/conformance.md', writeConformance],
  ['docs/observability.md', writeMetrics],
];

for (const [path, write] of pages) {
  const before = read(path);
  await write();
  const now = read(path);
  if (now === before) continue;
  if (isCheck) {
    writeFileSync(new URL(path, root), before);
    console.error(`${path} is out of date: "npm run docs" writes it`);
    process.exitCode = 1;
  } else console.log(`${path} written`);
}
