/**
 * Brings a checkout to the state that `npm start` and `npm test` need: packages as package-lock.json names them, `dist/` compiled from the sources, and the
 * console built into `dist/console`.
 *
 * It uses Node's standard library only, because a fresh clone has nothing else. It says one line for each thing that it does, and nothing when there is
 * nothing to do. Invariant: when it succeeds, `dist/` holds the output of exactly the sources that are there, and of none that are gone.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const sourceFolders = ['src', 'test', 'native-bench'];
const stampFile = join(root, 'dist', '.sources');
/** Made for browsers: Vite builds it, not the compiler, into a folder of its own. */
const consoleFolder = 'src/console';
const consoleStampFile = join(root, 'dist', '.console-sources');
const buildInfo = join(root, 'dist', '.tsbuildinfo');

function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', shell: process.platform === 'win32' });
  if (error) console.error(`${command}: ${error.message}`);
  if (status !== 0) process.exit(1);
}

/** The record that npm leaves behind a finished installation says what is there; packages for other systems may be missing from it. */
function isInstalled() {
  const record = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  const present = JSON.parse(readFileSync(record, 'utf8')).packages;
  const isSame = (path) => present[path]?.version === wanted[path].version && present[path]?.integrity === wanted[path].integrity;
  return (
    Object.keys(wanted).every((path) => path === '' || (wanted[path].optional && !(path in present)) || isSame(path)) &&
    Object.keys(present).every((path) => path in wanted)
  );
}

function install() {
  if (isInstalled()) return;
  console.log('prepare: installing the packages of package-lock.json');
  // No package needs its install script: native parts come inside the packages.
  run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']);
}

function* filesBelow(folder) {
  if (!existsSync(join(root, folder))) return;
  for (const entry of readdirSync(join(root, folder), { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) yield* filesBelow(path);
    else yield path;
  }
}

/** What the compiler reads, without its settings. */
function compiledSources() {
  const sources = sourceFolders.flatMap((folder) => [...filesBelow(folder)]);
  return sources.filter((path) => path.endsWith('.ts') && !path.startsWith(`${consoleFolder}/`)).sort();
}

/** One hash over path, size and time of files. */
function stampOf(paths) {
  const hash = createHash('sha256');
  for (const path of paths) {
    const { size, mtimeMs } = statSync(join(root, path));
    hash.update(`${path} ${size} ${mtimeMs}\n`);
  }
  return hash.digest('hex');
}

/** Output of a source that is gone must not be run as a test or packed. */
function removeOrphans() {
  for (const folder of sourceFolders) {
    for (const path of filesBelow(`dist/${folder}`)) {
      const source = path.replace(/^dist\//, '').replace(/(\.d\.ts|\.js|\.js\.map)$/, '.ts');
      if (!existsSync(join(root, source))) rmSync(join(root, path));
    }
  }
}

/** The compiler trusts its own record and writes no file again that somebody has deleted. */
function forgetIfIncomplete() {
  const sources = compiledSources().filter((path) => !path.endsWith('.d.ts'));
  const isComplete = sources.every((path) => existsSync(join(root, 'dist', path.replace(/\.ts$/, '.js'))));
  if (!isComplete) rmSync(buildInfo, { force: true });
}

function compile() {
  const stamp = stampOf([...compiledSources(), 'tsconfig.json', 'package-lock.json']);
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp && existsSync(join(root, 'dist/src/cli/main.js'))) return;
  console.log('prepare: compiling');
  rmSync(stampFile, { force: true });
  forgetIfIncomplete();
  run(process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', root]);
  removeOrphans();
  writeFileSync(stampFile, stamp);
}

function buildConsole() {
  const stamp = stampOf([...[...filesBelow(consoleFolder)].sort(), 'scripts/build-console.mjs', 'package-lock.json']);
  const isThere = existsSync(join(root, 'dist/console/index.html'));
  if (isThere && existsSync(consoleStampFile) && readFileSync(consoleStampFile, 'utf8') === stamp) return;
  console.log('prepare: building the console');
  rmSync(consoleStampFile, { force: true });
  run(process.execPath, [join(root, 'scripts', 'build-console.mjs')]);
  writeFileSync(consoleStampFile, stamp);
}

install();
compile();
buildConsole();
