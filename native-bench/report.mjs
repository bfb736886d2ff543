/**
 * The report of a benchmark run: benchmarks.md and its plots, made from the results alone.
 *
 * It measures nothing. Every figure is the median of the rounds; a ratio is the median of the ratios of each round, because the brokers of one round
 * ran right after each other. A figure from a run that failed its verification is never shown as a figure.
 */
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { brokers, transportLabels } from './brokers.mjs';
import { barPlot, curvePlot } from './plot.mjs';
import { targets, workloads } from './workloads.mjs';

/** The generator kept a core this busy while the broker had time left: then it, not the broker, set the pace. */
const generatorBusyCores = 0.9;
const brokerIdleCores = 0.9;

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The results of one broker in one workload, when every round passed; otherwise undefined. */
function passedRounds(run, workload, name) {
  const rounds = run.results[workload]?.[name];
  return rounds?.every((result) => result.ok) ? rounds : undefined;
}

/** The values of a metric (default: the workload's own), one per round, or undefined. Start times are the pseudo-workload `start`. */
function metricValues(run, workload, name, metric = workloads.find((one) => one.name === workload)?.metric) {
  if (workload === 'start') return run.starts[name]?.length > 0 ? run.starts[name] : undefined;
  return passedRounds(run, workload, name)?.map((result) =>
    metric === 'p99Milliseconds' ? (result.p99Milliseconds ?? result.latencyMicroseconds.p99 / 1000) : result[metric],
  );
}

/** The median of what `combine` makes of the values of two brokers in the same round, or undefined. */
function compare(run, { workload, metric, of, other }, combine) {
  const values = metricValues(run, workload, of, metric);
  const others = metricValues(run, workload, other, metric);
  return values && others && median(values.map((value, round) => combine(value, others[round])));
}

function ratio(run, workload, metric, of, to) {
  return compare(run, { workload, metric, of, other: to }, (value, other) => value / other);
}

/** What a target bounds, or undefined when it was not measured. */
function measureTarget(run, { workload, workloads: several, metric, of, to, minus }) {
  if (several) {
    const ratios = several.map((one) => ratio(run, one, metric, of, to));
    return ratios.includes(undefined) ? undefined : Math.max(...ratios);
  }
  if (to) return ratio(run, workload, metric, of, to);
  if (minus) return compare(run, { workload, metric, of, other: minus }, (value, other) => value - other);
  const values = metricValues(run, workload, of, metric);
  return values && median(values);
}

function formatNumber(value) {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function table(head, rows) {
  return [
    `| ${head.join(' | ')} |`,
    `| ${head.map((_, column) => (column === 0 ? '---' : '---:')).join(' | ')} |`,
    ...rows.map((row) => `| ${row.join(' | ')} |`),
  ];
}

/** One row per target: what is wanted, what was measured, whether it is met. The short form's sizes are not those of the targets, so it judges none. */
function targetRows(run) {
  return targets.map((target) => {
    const { text, min, max, below, unit } = target;
    const format = (value) => (unit ? `${formatNumber(value)} ${unit}` : value.toFixed(2));
    const wanted = min !== undefined ? `≥ ${format(min)}` : max !== undefined ? `≤ ${format(max)}` : `< ${format(below)}`;
    const measured = measureTarget(run, target);
    if (measured === undefined) return [text, wanted, 'not measured', '-'];
    const isMet = min !== undefined ? measured >= min : max !== undefined ? measured <= max : measured < below;
    return [text, wanted, format(measured), run.isQuick ? '-' : isMet ? 'met' : 'missed'];
  });
}

/** Bytes that the broker wrote to the disk for each byte of payload, or undefined when that is unknown. */
function writtenPerPayloadByte(run, result) {
  const written = run.isDiskCounted ? result.writtenDiskBytes : result.writtenCallBytes;
  return written === undefined ? undefined : written / (result.count ?? result.delivered) / result.payloadBytes;
}

/** The median over the rounds of a figure that may be unknown, as text. */
function formatMedian(rounds, figureOf) {
  const values = rounds.map(figureOf);
  return values.includes(undefined) ? '-' : formatNumber(median(values));
}

/** The median over the rounds of the share that one count has of another, as text. */
function formatShare(rounds, part, whole) {
  return `${Math.round(100 * median(rounds.map((result) => result[part] / result[whole])))} %`;
}

/**
 * A table with one row per broker. Each column is its head and a function from the rounds of a broker, which have all passed, to its text. The brokers
 * in `marked` bear the mark of a footnote.
 */
function brokerTable(run, workload, results, columns, marked = []) {
  const labelOf = workload.isDoors ? doorLabel : (name) => brokers[name].label;
  const rows = Object.keys(results).map((name) => {
    const rounds = passedRounds(run, workload.name, name);
    const cells = columns.map(([, cell], column) => (rounds ? cell(rounds, name) : column === 0 ? 'failed' : '-'));
    return [labelOf(name) + (marked.includes(name) ? ' ¹' : ''), ...cells];
  });
  return table(['broker', ...columns.map(([head]) => head)], rows);
}

/** What a broker is called where its doors are compared. */
function doorLabel(name) {
  return `${brokers[name].family}, ${transportLabels[brokers[name].transport]}`;
}

/** Of the doors in `results`: that of the same broker for TCP, and that of mosquitto for the same transport. */
function doorPeers(results, name) {
  const find = (family, transport) =>
    Object.keys(results).find((other) => brokers[other].family === family && brokers[other].transport === transport);
  return { plain: find(brokers[name].family, 'tcp'), mosquitto: find('mosquitto', brokers[name].transport) };
}

/** Two columns: a metric against TCP, and against mosquitto. */
function doorColumns(run, workload, results) {
  const against = (name, other) => (other && ratio(run, workload.name, workload.metric, name, other)?.toFixed(2)) ?? '-';
  return [
    ['÷ its TCP', (_rounds, name) => against(name, doorPeers(results, name).plain)],
    ['÷ mosquitto by the same', (_rounds, name) => against(name, doorPeers(results, name).mosquitto)],
  ];
}

/** A column with the median of a field, in units of `scale`. */
function fieldColumn(head, field, scale = 1) {
  return [head, (rounds) => formatNumber(median(rounds.map((result) => result[field])) / scale)];
}

/** A column with the lowest and the highest value of a field. */
function spanColumn(field) {
  return [
    'rounds',
    (rounds) => {
      const values = rounds.map((result) => result[field]);
      return `${formatNumber(Math.min(...values))} to ${formatNumber(Math.max(...values))}`;
    },
  ];
}

function writtenColumn(run) {
  return ['written ÷ payload', (rounds) => formatMedian(rounds, (result) => writtenPerPayloadByte(run, result))];
}

/** The load generator kept a core busy while the broker had time left. */
function isGeneratorBound(rounds) {
  const middle = (field) => median(rounds.map((result) => result[field]));
  return middle('generatorCores') > generatorBusyCores && middle('brokerCores') < brokerIdleCores;
}

function messageTable(run, workload, results) {
  const names = Object.keys(results);
  const peer = names.find((name) => brokers[name].family === 'mosquitto') ?? names[0];
  const bound = Object.keys(results).filter((name) => {
    const rounds = passedRounds(run, workload.name, name);
    return rounds && isGeneratorBound(rounds);
  });
  const noun = workload.isHttp ? 'request' : workload.args.workload === 'connect' ? 'connect' : 'message';
  const latency = (percent) => [
    `${percent} ms`,
    (rounds) => formatNumber(median(rounds.map((result) => result.latencyMicroseconds[percent])) / 1000),
  ];
  const columns = [
    [`${noun}s/s`, (rounds) => Math.round(median(rounds.map((result) => result.perSecond))).toLocaleString('en-US')],
    fieldColumn(`CPU µs per ${noun}`, 'cpuMicroseconds'),
    spanColumn('cpuMicroseconds'),
    ...(workload.isDoors
      ? doorColumns(run, workload, results)
      : [[`CPU ÷ ${brokers[peer].label}`, (_rounds, name) => ratio(run, workload.name, 'cpuMicroseconds', name, peer)?.toFixed(2) ?? '-']]),
    ...(workload.isHttp
      ? [[`requests/s ÷ ${brokers[peer].label}`, (_rounds, name) => ratio(run, workload.name, 'perSecond', name, peer)?.toFixed(2) ?? '-']]
      : []),
    ...['p50', 'p99', 'p99.9'].map(latency),
    ...(workload.isDurable ? [writtenColumn(run)] : []),
    ...(workload.args.handshakes === 'resumed' ? [['resumed', (rounds) => formatShare(rounds, 'resumed', 'connects')]] : []),
    ...(workload.args.workload === 'offline' ? [fieldColumn('taken/s', 'drainedPerSecond')] : []),
  ];
  const note =
    '¹ The load generator, not the broker, set the pace. More load would make the broker batch more, so its CPU per message is an upper bound.';
  return [...brokerTable(run, workload, results, columns, bound), ...(bound.length > 0 ? ['', note] : [])];
}

function idleTable(run, workload, results) {
  return brokerTable(run, workload, results, [
    fieldColumn('bytes per connection', 'bytesPerConnection'),
    spanColumn('bytesPerConnection'),
    ...(workload.isDoors ? doorColumns(run, workload, results) : []),
    fieldColumn('whole process MB', 'rssAfterBytes', 1e6),
    fieldColumn('seconds to connect all', 'rampSeconds'),
  ]);
}

function holdTable(run, workload, results) {
  return brokerTable(run, workload, results, [
    fieldColumn('memory bytes per message', 'bytesPerMessage'),
    fieldColumn('of it not mapped from files', 'anonymousBytesPerMessage'),
    writtenColumn(run),
    ['store ÷ payload', (rounds) => formatMedian(rounds, (result) => result.directoryBytes / result.count / result.payloadBytes)],
    fieldColumn('filled/s', 'filledPerSecond'),
    fieldColumn('recovery ms', 'recoveryMilliseconds'),
    fieldColumn('recovered/s', 'recoveredPerSecond'),
    fieldColumn('recovered process MB', 'recoveredRssBytes', 1e6),
    fieldColumn('taken/s', 'drainedPerSecond'),
  ]);
}

/** A line that says so when other processes took part of the machine. */
function disturbance(run) {
  const foreign = Object.values(run.results).flatMap((byBroker) =>
    Object.values(byBroker).flatMap((rounds) => rounds.map((result) => result.foreignCores ?? 0)),
  );
  const worst = Math.max(0, ...foreign);
  if (worst <= 0.15) return [];
  return [`- Other processes used up to ${worst.toFixed(2)} cores during a measurement. Read the figures with care.`];
}

function startTable(run) {
  const rows = Object.entries(run.starts)
    .filter(([, starts]) => starts.length > 0)
    .map(([name, starts]) => [
      brokers[name].label,
      formatNumber(median(starts)),
      `${formatNumber(Math.min(...starts))} to ${formatNumber(Math.max(...starts))}`,
      String(starts.length),
    ]);
  return table(['broker', 'ms', 'lowest to highest', 'starts'], rows);
}

/** Bars for the workloads that move messages through all doors. */
function doorPlot(run) {
  const taken = workloads.filter(
    ({ name, isDoors, args }) => run.results[name] && isDoors && ['fan-in', 'p2p', 'fan-out'].includes(args.workload),
  );
  const names = Object.keys(run.versions).filter((name) => taken.some((workload) => run.results[workload.name][name]));
  const series = names.map((name) => ({ name, label: doorLabel(name) }));
  const groups = taken.map(({ name, title }) => ({
    title: title.replace('Doors: ', ''),
    bars: series.flatMap((one) => {
      const values = metricValues(run, name, one.name);
      return values ? [{ series: one, value: median(values) }] : [];
    }),
  }));
  const caption = 'Broker CPU per delivered message by transport, microseconds. Each group has its own scale; shorter is better.';
  return groups.length > 0 ? { 'doors.svg': barPlot(caption, series, groups, formatNumber) } : {};
}

function plots(run) {
  // Durable workloads have more brokers than a plot can show, and doors have a plot of their own.
  const taken = workloads.filter((workload) => run.results[workload.name] && isPlain(workload));
  const names = Object.keys(run.versions).filter((name) => taken.some((workload) => run.results[workload.name][name]));
  const series = names.map((name) => ({ name, label: brokers[name].label }));
  const group = ({ name, title }) => ({
    title,
    bars: series.flatMap((one) => {
      const values = metricValues(run, name, one.name);
      return values ? [{ series: one, value: median(values) }] : [];
    }),
  });
  const files = doorPlot(run);
  const moving = taken.filter(({ metric, args }) => metric === 'cpuMicroseconds' && args.workload !== 'connect');
  if (moving.length > 0) {
    const caption = 'Broker CPU per delivered message, microseconds. Each group has its own scale; shorter is better.';
    files['cpu.svg'] = barPlot(caption, series, moving.map(group), formatNumber);
  }
  const open = taken.find(({ isOpenLoop }) => isOpenLoop);
  if (open) {
    const lines = series.flatMap((one) => {
      const rounds = passedRounds(run, open.name, one.name);
      const percents = ['p50', 'p75', 'p90', 'p95', 'p99', 'p99.5', 'p99.9', 'p99.99'];
      return rounds
        ? [{ series: one, points: percents.map((p) => [p.slice(1), median(rounds.map((r) => r.latencyMicroseconds[p])) / 1000]) }]
        : [];
    });
    if (lines.length > 0) files['latency.svg'] = curvePlot(`${open.title}: latency in ms by percentile`, lines, formatNumber);
  }
  const idle = taken.filter(({ metric }) => metric === 'bytesPerConnection');
  if (idle.length > 0)
    files['memory.svg'] = barPlot('Memory per idle connection, bytes; shorter is better.', series, idle.map(group), formatNumber);
  return files;
}

/** What the reader must know of the brokers and of the disk. */
function durableIntroduction(run) {
  return [
    'onehop without another word is as it comes: it acknowledges a message when it is on the disk (`store.durability: fsync`). `os` waits until the system has it,',
    '`none` for nothing. mosquitto saves everything that it holds every other second, and acknowledges at once: what came after the last save is lost when it is killed.',
    ...(run.isDiskCounted
      ? []
      : [
          '',
          'The temporary directory is not on a disk whose writes Linux counts. So "written" counts the bytes of all write calls, those to sockets too, and fsync costs nothing here.',
        ]),
  ];
}

/** Neither durable nor one of the groups that have a chapter of their own. */
function isPlain({ isDurable, isDoors, isHttp, isAsked }) {
  return !isDurable && !isDoors && !isHttp && !isAsked;
}

/** What each variant has that the first broker of its table has not. */
function askedIntroduction() {
  return [
    'What a message costs more when the broker is asked for more: every client has a token and its messages are compared with a hundred statements; eight limits are counted;',
    '`/metrics` is read each second; every message is kept in the history, whose thread counts as the broker.',
  ];
}

/** What the requests are compared with. */
function httpIntroduction() {
  return [
    'autocannon sends requests with a body of 64 bytes. The bare server is uWebSockets.js alone: it takes the body and answers as much. The load, the server and the 100 clients share the cores. autocannon counts whole milliseconds.',
  ];
}

/** What is the same for all doors, and what is not. */
function doorIntroduction() {
  return [
    'The same clients by another transport; one broker process for each, with one shard. TLS 1.3 everywhere: one self-signed certificate with an EC P-256 key, the suite',
    'TLS_AES_128_GCM_SHA256, the group X25519, no client certificates. onehop encrypts TLS with the OpenSSL of Node, WebSocket over TLS and QUIC with BoringSSL; mosquitto with OpenSSL.',
    'A WebSocket frame of the generator holds what a client writes in one turn, as a TCP segment does. QUIC clients have a UDP socket each. No connection is compressed.',
    '"÷ its TCP" is against the TCP listener of the same broker, "÷ mosquitto by the same" against mosquitto with the same transport; mosquitto has no QUIC.',
  ];
}

/**
 * Writes `benchmarks.md` and `benchmarks/*.svg` into a folder, replacing older ones.
 * @param {string} folder
 * @param {{results: object, starts: object, versions: object, isQuick: boolean, rounds: number, seconds: number, warmup: number,
 *   isDiskCounted: boolean}} run
 * @returns {{lines: string[]}} the targets, as lines for the terminal
 */
export function writeReport(folder, run) {
  const files = plots(run);
  for (const old of readdirSync(join(folder, 'benchmarks'))) if (old.endsWith('.svg')) rmSync(join(folder, 'benchmarks', old));
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, 'benchmarks', file), text);

  const rows = targetRows(run);
  const has = (file) => (files[file] ? ['', `![${file.replace('.svg', '')}](benchmarks/${file})`] : []);
  const families = new Map(Object.entries(run.versions).map(([name, version]) => [brokers[name].family, version]));
  const versions = [...families].map(([family, version]) => `${family} ${version}`).join(', ');
  const section = (workload) => {
    const tableOf = workload.isHold ? holdTable : workload.metric === 'bytesPerConnection' ? idleTable : messageTable;
    const note = workload.note ? [workload.note, ''] : [];
    return ['', `### ${workload.title}`, '', ...note, ...tableOf(run, workload, run.results[workload.name])];
  };
  const taken = workloads.filter(({ name }) => run.results[name]);
  const sections = taken.filter(isPlain).flatMap(section);
  const askedSections = taken.filter(({ isAsked }) => isAsked).flatMap(section);
  const httpSections = taken.filter(({ isHttp }) => isHttp).flatMap(section);
  const doorSections = taken.filter(({ isDoors }) => isDoors).flatMap(section);
  const durableSections = taken.filter(({ isDurable }) => isDurable).flatMap(section);
  const text = [
    '# Benchmarks',
    '',
    'This page is written by `npm run bench`. What each number means stands in `native-bench/README.md`.',
    '',
    `- Machine: ${cpus().length} cores, ${cpus()[0].model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}. The load generator runs on the same cores.`,
    `- Versions: ${versions}, Node ${process.versions.node}.`,
    `- MQTT 3.1.1, payloads of 64 bytes. ${run.rounds} interleaved round${run.rounds === 1 ? '' : 's'} of ${run.seconds} s after ${run.warmup} s of warm-up (doors: shorter); medians.`,
    ...(run.runs > 1
      ? [`- Measured in ${run.runs} runs on the same machine, one after the other. The rows of one table are of one run.`]
      : []),
    ...disturbance(run),
    '- Every message was verified to arrive exactly once and in order. A broker that failed this shows no figure.',
    ...(run.isQuick ? ['- This is the short form with small sizes. Its figures prove that the benchmark runs, and nothing else.'] : []),
    '',
    '## Targets',
    '',
    'CPU ratios and differences are of broker CPU per delivered message, in one run.',
    '',
    ...table(['target', 'wanted', 'measured', 'result'], rows),
    '',
    '## Messages, connections, memory',
    '',
    'The clients have clean sessions: nothing here outlives the broker.',
    ...has('cpu.svg'),
    ...has('latency.svg'),
    ...has('memory.svg'),
    ...sections,
    ...(askedSections.length > 0 ? ['', '## With statements, quotas, metrics, history', '', ...askedIntroduction(), ...askedSections] : []),
    ...(httpSections.length > 0 ? ['', '## HTTP', '', ...httpIntroduction(), ...httpSections] : []),
    ...(doorSections.length > 0 ? ['', '## Doors', '', ...doorIntroduction(), ...has('doors.svg'), ...doorSections] : []),
    ...(durableSections.length > 0 ? ['', '## Durable messages', '', ...durableIntroduction(run), ...durableSections] : []),
    '',
    '### Start to first accepted connection',
    '',
    ...startTable(run),
    '',
  ].join('\n');
  writeFileSync(join(folder, 'benchmarks.md'), text);
  const measured = rows.filter((_row, index) => measureTarget(run, targets[index]) !== undefined);
  return { lines: measured.map(([target, wanted, measured, result]) => `${result.padEnd(6)} ${target}: ${measured} (wanted ${wanted})`) };
}
