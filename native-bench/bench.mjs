/**
 * The benchmark: builds the load generator, starts the brokers on loopback, measures them in turn, writes the report.
 *
 * Rounds are interleaved (A B C, A B C, …), so that the drift of a shared machine meets all brokers alike; the report takes medians. It ends with
 * code 1 when onehop did not start, or when a message to or from it was lost, doubled, damaged or out of order. A short or partial run never replaces
 * the report in docs.
 */
import { spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { brokers, startBroker } from './brokers.mjs';
import { runHttpLoad } from './http-load.mjs';
import { writeReport } from './report.mjs';
import { workloads } from './workloads.mjs';

/** A run during which other processes used more than this is made again. */
const foreignCoresMax = 0.15;

/** How long a broker may take that ends or starts with a million messages. */
const holdTimeoutMilliseconds = 120_000;

/** The generator's workloads whose receivers are addressed, each broker in its own way. */
const addressedWorkloads = ['p2p', 'offline', 'hold-fill', 'hold-drain'];

const usage = `npm run bench [-- OPTIONS]

  --quick            a short form: small sizes, one round, onehop alone unless --brokers is given
  --only A,B         workloads by name or by the beginning of a name: ${workloads.map((workload) => workload.name).join(', ')}
  --brokers A,B      onehop, mosquitto, aedes, bare (default: all that are installed)
  --rounds N         rounds per workload (default 3; quick: 1)
  --seconds S        measured seconds per round (default 4; quick: 0.5); the doors and idle connections have times of their own
  --warmup S         seconds before them (default 2; quick: 0.3)
  --attempts N       how often a measurement is made at most that other processes disturb (default 3; quick: 1)
  --join FILE,…      measures nothing: writes docs/benchmarks.md from the results (build/results.json) of runs that had --only; of a workload
                     that several have, those of the last

The whole benchmark writes docs/benchmarks.md. With --quick, --only or --brokers the report goes to native-bench/build/report/.
`;

function failUsage(text) {
  process.stderr.write(`bench: ${text} (--help lists the options)\n`);
  process.exit(2);
}

function readOptions() {
  let values;
  try {
    const text = { type: 'string' };
    const flag = { type: 'boolean', default: false };
    values = parseArgs({
      options: {
        quick: flag,
        help: flag,
        only: text,
        brokers: text,
        rounds: text,
        seconds: text,
        warmup: text,
        attempts: text,
        join: text,
      },
    }).values;
  } catch (error) {
    failUsage(error.message);
  }
  if (values.help) {
    process.stdout.write(usage);
    process.exit(0);
  }
  const number = (name, normal, quick) => {
    const value = Number(values[name] ?? (values.quick ? quick : normal));
    if (!(value >= 0 && value <= 1000)) failUsage(`--${name}: want a number from 0 to 1000`);
    return value;
  };
  if (values.join !== undefined) return { join: values.join.split(',') };
  const families = new Set(Object.values(brokers).map((broker) => broker.family));
  const chosen = values.brokers?.split(',') ?? (values.quick ? ['onehop'] : [...families]);
  for (const family of chosen) if (!families.has(family)) failUsage(`--brokers: ${family} is none of ${[...families].join(', ')}`);
  const prefixes = values.only?.split(',');
  const selected = workloads.filter(
    ({ name, onlyQuick, notQuick }) =>
      (values.quick || !onlyQuick) && (prefixes ? prefixes.some((prefix) => name.startsWith(prefix)) : !(values.quick && notQuick)),
  );
  if (selected.length === 0) failUsage(`--only: no workload begins with ${values.only}`);
  return {
    isQuick: values.quick,
    isWhole: !values.quick && !values.only && !values.brokers,
    families: chosen,
    selected,
    rounds: Math.max(1, Math.trunc(number('rounds', 3, 1))),
    seconds: Math.max(0.1, number('seconds', 4, 0.5)),
    warmup: number('warmup', 2, 0.3),
    attempts: Math.max(1, Math.trunc(number('attempts', 3, 1))),
  };
}

/** Makes native-bench/build/load and returns its path. */
function buildGenerator() {
  const made = spawnSync('make', ['-s', '-C', import.meta.dirname], { stdio: ['ignore', 'inherit', 'inherit'] });
  if (made.error || made.status !== 0) {
    process.stderr.write(
      'bench: the load generator was not built; it needs Linux, make and a C++20 compiler (Debian: apt-get install make g++)\n',
    );
    process.exit(1);
  }
  return join(import.meta.dirname, 'build/load');
}

/** The names of all brokers of these that are installed, and that the generator can reach. One that is missing is named, and left out. */
function findBrokers(names, generator) {
  const transports = spawnSync(generator, ['--transports'], { encoding: 'utf8' }).stdout.trim().split(' ');
  const found = {};
  for (const name of names) {
    const broker = brokers[name];
    if (broker.transport !== 'http' && !transports.includes(broker.transport)) {
      process.stderr.write(
        `bench: ${name} is left out: the load generator was built without ${broker.transport}; see native-bench/README.md\n`,
      );
      continue;
    }
    const version = broker.version();
    if (version) found[name] = version;
    else process.stderr.write(`bench: ${name} is left out: ${broker.missing}\n`);
  }
  return found;
}

/**
 * Whether Linux counts what a process writes into temporary directories as bytes written to a disk. It does not where they are kept in memory (tmpfs);
 * there fsync costs nothing either.
 */
function isDiskCounted() {
  const directory = mkdtempSync(join(tmpdir(), 'bench-'));
  const written = () => Number(/^write_bytes: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1]);
  const before = written();
  const file = openSync(join(directory, 'probe'), 'w');
  writeFileSync(file, Buffer.alloc(1 << 20));
  fsyncSync(file);
  closeSync(file);
  rmSync(directory, { recursive: true });
  return written() > before;
}

/** What the files below a directory take on the disk. */
function diskBytes(directory) {
  return readdirSync(directory, { recursive: true }).reduce((sum, path) => sum + lstatSync(join(directory, path)).blocks * 512, 0);
}

/** Runs the generator once. Resolves to its result, or to `{ ok: false, error }` when it gave none. */
function runLoad(generator, broker, args) {
  const all = { ...args, transport: brokers[broker.name].transport, port: broker.port, pid: broker.pid };
  if (brokers[broker.name].password) all.password = brokers[broker.name].password;
  if (addressedWorkloads.includes(args.workload)) all.addressing = brokers[broker.name].addressing;
  const words = Object.entries(all).flatMap(([option, value]) => [`--${option}`, String(value)]);
  return new Promise((resolve) => {
    const child = spawn(generator, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    let errors = '';
    child.stdout.on('data', (bytes) => {
      output += bytes;
    });
    child.stderr.on('data', (bytes) => {
      errors += bytes;
    });
    child.once('close', () => resolve(output ? JSON.parse(output) : { ok: false, error: errors.trim() }));
  });
}

/** Runs the generator, again when other processes took much of the machine meanwhile; takes the run that they disturbed least. */
async function runQuietly(generator, broker, args, attempts) {
  let best;
  for (let attempt = 0; attempt < attempts; attempt++) {
    const result = await runLoad(generator, broker, args);
    if (!result.ok) return result;
    if (!best || result.foreignCores < best.foreignCores) best = result;
    if (!(best.foreignCores > foreignCoresMax)) break;
  }
  return best;
}

function describe(result) {
  if (result.error) return `FAILED: ${result.error}`;
  const parts = [];
  if (result.perSecond !== undefined) parts.push(`${result.perSecond}/s`, `${result.cpuMicroseconds.toFixed(2)} µs CPU each`);
  if (result.latencyMicroseconds) parts.push(`p99 ${(result.latencyMicroseconds.p99 / 1000).toFixed(2)} ms`);
  if (result.foreignCores > foreignCoresMax) parts.push(`others used ${result.foreignCores} cores`);
  if (result.bytesPerConnection !== undefined) parts.push(`${result.bytesPerConnection} bytes per connection`);
  if (result.recoveredPerSecond !== undefined) {
    parts.push(`${result.bytesPerMessage} bytes per message`, `${Math.round(result.recoveredPerSecond)} recovered/s`);
  }
  if (!result.ok) parts.push(`FAILED: ${JSON.stringify(result)}`);
  return parts.join(', ');
}

/**
 * Fills the broker, ends it by its signal, starts it again over what it has stored, and takes everything. Resolves to one result of all of that. The
 * broker has ended afterwards, and its directory is gone.
 */
async function runHold(generator, broker, args, settings) {
  const { directory } = broker;
  try {
    const fill = await runLoad(generator, broker, { ...args, workload: 'hold-fill' });
    await broker.end(brokers[broker.name].endSignal, holdTimeoutMilliseconds);
    if (!fill.ok) return fill;
    const directoryBytes = diskBytes(directory);
    const again = await startBroker(broker.name, { settings, directory, timeoutMilliseconds: holdTimeoutMilliseconds });
    const drain = await runLoad(generator, again, { ...args, workload: 'hold-drain' });
    await again.stop();
    if (!drain.ok) return drain;
    const recoveryMilliseconds = again.startMilliseconds;
    return {
      ok: true,
      count: fill.messages,
      payloadBytes: fill.payloadBytes,
      bytesPerMessage: fill.bytesPerMessage,
      anonymousBytesPerMessage: fill.anonymousBytesPerMessage,
      filledPerSecond: fill.perSecond,
      foreignCores: fill.foreignCores,
      writtenDiskBytes: fill.writtenDiskBytes,
      writtenCallBytes: fill.writtenCallBytes,
      directoryBytes,
      recoveryMilliseconds,
      recoveredPerSecond: (fill.messages / recoveryMilliseconds) * 1000,
      recoveredRssBytes: drain.rssBytes,
      drainedPerSecond: drain.perSecond,
      fill,
      drain,
    };
  } finally {
    await broker.stop();
  }
}

/** Measures one workload on all its brokers. Adds the start times to `starts`, and returns the results of each broker, one per round. */
async function measure(workload, names, options, generator, starts) {
  const times = { warmup: options.warmup, seconds: options.seconds };
  const args = { ...times, ...workload.args, ...(options.isQuick ? { drain: 3, ...workload.quick, ...times } : {}) };
  const rounds = options.isQuick
    ? options.rounds
    : Math.max(Math.min(options.rounds, workload.rounds ?? options.rounds), workload.roundsAtLeast ?? 0);
  const { settings } = workload;
  const results = Object.fromEntries(names.map((name) => [name, []]));
  const started = {};
  const start = async (name) => {
    const broker = await startBroker(name, { settings });
    if (!brokers[name].hasNoMqtt) starts[name].push(broker.startMilliseconds);
    return broker;
  };
  const run = async (name) => {
    if (workload.isHold) return runHold(generator, await start(name), args, settings);
    started[name] ??= await start(name);
    if (workload.isHttp) return runHttpLoad(started[name], args);
    const result = await runQuietly(
      generator,
      started[name],
      { ...args, ...(options.isQuick ? {} : workload.argsOf?.[name]) },
      workload.attempts ?? options.attempts,
    );
    if (workload.freshBroker) {
      const broker = started[name];
      delete started[name];
      await broker.stop();
    }
    return result;
  };
  try {
    for (let round = 0; round < rounds; round++) {
      for (const name of names) {
        const result = await run(name).catch((error) => ({ ok: false, error: error.message })); // a broker that does not start spoils its own figures only
        results[name].push(result);
        process.stdout.write(`${workload.name} ${round + 1}/${rounds} ${name}: ${describe(result)}\n`);
      }
    }
  } finally {
    await Promise.all(Object.values(started).map((broker) => broker.stop()));
  }
  return results;
}

/** One run of several. The rows of one table are of one run still, so their ratios are. */
function joinRuns(files) {
  const runs = files.map((file) => JSON.parse(readFileSync(file, 'utf8')));
  const joined = { ...runs[0], results: {}, starts: {}, versions: {}, runs: runs.length };
  for (const { results, starts, versions, isQuick } of runs) {
    if (isQuick) failUsage('--join: a quick run proves nothing but that the benchmark runs');
    Object.assign(joined.results, results);
    for (const [name, milliseconds] of Object.entries(starts)) joined.starts[name] = [...(joined.starts[name] ?? []), ...milliseconds];
    Object.assign(joined.versions, versions);
  }
  // In the order in which the report shows them, whatever the runs began with.
  const inOrder = (names, values) => Object.fromEntries(names.filter((name) => name in values).map((name) => [name, values[name]]));
  const workloadNames = workloads.map(({ name }) => name);
  return { ...joined, results: inOrder(workloadNames, joined.results), versions: inOrder(Object.keys(brokers), joined.versions) };
}

function publish(folder, run) {
  mkdirSync(join(folder, 'benchmarks'), { recursive: true });
  const { lines } = writeReport(folder, run);
  process.stdout.write(`\n${lines.join('\n')}\nwritten: ${join(folder, 'benchmarks.md')}\n`);
}

async function main() {
  const options = readOptions();
  if (options.join !== undefined) {
    publish(join(import.meta.dirname, '../docs'), joinRuns(options.join));
    return;
  }
  const generator = buildGenerator();
  const brokersOf = (workload) => (options.isQuick && workload.quickBrokers) || workload.brokers;
  const wanted = new Set(options.selected.flatMap(brokersOf).filter((name) => options.families.includes(brokers[name].family)));
  const versions = findBrokers(
    Object.keys(brokers).filter((name) => wanted.has(name)),
    generator,
  );
  const names = Object.keys(versions);
  if (names.length === 0) {
    process.stderr.write('bench: no broker to measure\n');
    process.exit(1);
  }
  const starts = Object.fromEntries(names.map((name) => [name, []]));
  const results = {};
  for (const workload of options.selected) {
    const takesPart = names.filter((name) => brokersOf(workload).includes(name));
    if (takesPart.length > 0) results[workload.name] = await measure(workload, takesPart, options, generator, starts);
  }

  const isForDocs = options.isWhole && names.includes('onehop-1');
  const folder = join(import.meta.dirname, isForDocs ? '../docs' : 'build/report');
  const { isQuick, rounds, seconds, warmup } = options;
  const run = { results, starts, versions, isQuick, rounds, seconds, warmup, isDiskCounted: isDiskCounted(), runs: 1 };
  writeFileSync(join(import.meta.dirname, 'build/results.json'), `${JSON.stringify(run, null, 1)}\n`);
  publish(folder, run);

  const failed = Object.entries(results).flatMap(([workload, byBroker]) =>
    Object.entries(byBroker).flatMap(([name, rounds]) => (rounds.every((result) => result.ok) ? [] : [{ workload, name }])),
  );
  for (const { workload, name } of failed) process.stderr.write(`bench: ${workload} failed on ${name}\n`);
  process.exitCode = failed.some(({ name }) => brokers[name].family === 'onehop') ? 1 : 0;
}

await main();
