/**
 * Runs the compiled tests and says for each file how many passed: `node scripts/run-tests.mjs [word …]`, where words narrow the files by path.
 *
 * Without words it runs every test that needs Node alone. Those of test/clients/programs run programs in other languages, which
 * `npm run test:clients` gets first; those of test/faults compile a library (`npm run test:faults`); those of test/attacks measure
 * times and want the machine for themselves (`npm run test:attacks`); those of test/console need a browser (`npm run test:console`).
 *
 * A file with a failure is run once more, alone, when all others are done, and the second run counts: brokers beside it may have taken the time that it needed. The
 * output names it, so that nobody overlooks a test that depends on the machine.
 *
 * The last line counts tests. It fails when a test fails, when one is skipped, when a file holds no test, and when none ran at all, so that silence
 * never looks like success.
 */
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative, sep } from 'node:path';
import { run } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const testFolder = join(root, 'dist', 'test');
const otherPrograms = 'test/clients/programs/';
const compiledFaults = 'test/faults/';
const timedAttacks = 'test/attacks/';
const inBrowser = 'test/console/';
const fileTimeoutMilliseconds = 600_000;

const words = process.argv.slice(2);
const all = existsSync(testFolder) ? readdirSync(testFolder, { recursive: true }).filter((name) => name.endsWith('.test.js')) : [];
const files = all
  .map((name) => join(testFolder, name))
  .filter((path) =>
    words.length === 0
      ? ![otherPrograms, compiledFaults, timedAttacks, inBrowser].some((folder) => sourceName(path).startsWith(folder))
      : words.some((word) => sourceName(path).includes(word)),
  )
  .sort();

if (files.length === 0) {
  console.error(words.length === 0 ? 'no test files in dist/test' : `no test file has ${words.join(' or ')} in its path`);
  process.exit(1);
}

// Some files start whole brokers with several threads, and many wait for a timer of theirs: one file more than there are processors keeps those busy, and more only make
// timing worse.
const concurrency = Math.max(1, Math.min(4, availableParallelism() + 1));
/** Files that are run again at most: more than that is no accident. */
const againMax = 3;
const results = new Map(files.map((file) => [file, nothingYet()]));
process.chdir(root);

// Each file is a run of its own, so that every event belongs to the file that is run: an event names the file in which its test was declared, and that may
// be one that several test files share.
const waiting = [...files];
await Promise.all(Array.from({ length: Math.min(concurrency, files.length) }, runWaiting));
const suspects = files.filter((file) => hasFailed(results.get(file)));
if (suspects.length <= againMax && files.length > 1) {
  for (const file of suspects) {
    console.log(`again, alone: ${sourceName(file)}`);
    results.set(file, nothingYet());
    await runFile(file);
  }
}
finish();

function nothingYet() {
  return { passed: 0, failed: 0, skipped: 0, milliseconds: 0, problems: [] };
}

function hasFailed({ failed, problems }) {
  return failed > 0 || problems.length > 0;
}

async function runWaiting() {
  for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) await runFile(file);
}

async function runFile(file) {
  const stream = run({ files: [file], concurrency: 1, timeout: fileTimeoutMilliseconds });
  stream.on('test:pass', (event) => record(file, event, true));
  stream.on('test:fail', (event) => record(file, event, false));
  stream.on('test:stdout', ({ message }) => process.stdout.write(message));
  stream.on('test:stderr', ({ message }) => process.stderr.write(message));
  stream.resume();
  await once(stream, 'end');
  print(file);
}

function sourceName(file) {
  return relative(join(root, 'dist'), file).split(sep).join('/').replace(/\.js$/, '.ts');
}

/** The path when an event is about a whole file: one without tests, or one that breaks outside its tests. Its name is the file's. */
function wholeFile(event) {
  return event.nesting === 0 ? [event.name, join(root, event.name)].find((path) => results.has(path)) : undefined;
}

function record(file, event, isPass) {
  const { name, nesting, details } = event;
  const whole = wholeFile(event);
  if (whole !== undefined) {
    if (!isPass) fail(file, sourceName(whole), details.error);
    return;
  }
  const result = results.get(file);
  if (nesting === 0) result.milliseconds += details.duration_ms;
  if (details.type === 'suite') {
    // A suite fails when a test in it does, which is counted there; a suite that breaks by itself has another cause.
    if (!isPass && details.error?.failureType !== 'subtestsFailed') fail(file, `${sourceName(file)}: ${name}`, details.error);
    return;
  }
  if (event.skip !== undefined || event.todo !== undefined) {
    result.skipped += 1;
    result.problems.push(`${sourceName(file)}: ${name} was skipped`);
  } else if (isPass) result.passed += 1;
  else if (details.error?.failureType === 'subtestsFailed') result.failed += 1;
  else {
    result.failed += 1;
    fail(file, `${sourceName(file)}: ${name}`, details.error);
  }
}

function fail(file, name, error) {
  const cause = error?.cause ?? error;
  results.get(file).problems.push(name);
  console.log(`\nFAILED ${name}\n${cause?.stack ?? cause}\n`);
}

function print(file) {
  const result = results.get(file);
  if (result === undefined) return;
  const { passed, failed, milliseconds } = result;
  if (passed + failed === 0) return;
  const counts = failed === 0 ? `${passed} passed` : `${passed} passed, ${failed} FAILED`;
  console.log(`${failed === 0 ? 'ok  ' : 'FAIL'} ${sourceName(file)}: ${counts}, ${Math.round(milliseconds)} ms`);
}

function finish() {
  let passed = 0;
  let failed = 0;
  let skipped = 0;
  const problems = [];
  for (const [file, result] of results) {
    problems.push(...result.problems);
    if (result.passed + result.failed + result.skipped === 0) problems.push(`${sourceName(file)} holds no test that ran`);
    passed += result.passed;
    failed += result.failed;
    skipped += result.skipped;
  }
  const total = passed + failed + skipped;
  if (total === 0) problems.push('no test ran');
  for (const problem of problems) console.log(`problem: ${problem}`);
  console.log(`${total} tests in ${files.length} files: ${passed} passed, ${failed} failed, ${skipped} skipped`);
  process.exitCode = problems.length === 0 && failed === 0 ? 0 : 1;
}
