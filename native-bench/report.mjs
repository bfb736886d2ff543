/**
 * The report of a benchmark run: benchmarks.md and its plots, made from the results alone.
 *
 * It measures nothing. Every figure is the median of the rounds; a ratio is the median of the ratios of each round, because the brokers of one round
 * ran right after each other. A figure from a run that failed its verification is never shown as a figure.
 */
import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { brokers } from './brokers.mjs';
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

/** The values of a workload's metric, one per round, or undefined. Start times are the pseudo-workload `start`. */
function metricValues(run, workload, name) {
  if (workload === 'start') return run.starts[name]?.length > 0 ? run.starts[name] : undefined;
  const { metric } = workloads.find((one) => one.name === workload);
  return passedRounds(run, workload, name)?.map((result) => result[metric]);
}

function ratio(run, workload, of, to) {
  const values = metricValues(run, workload, of);
  const others = metricValues(run, workload, to);
  return values && others && median(values.map((value, round) => value / others[round]));
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
  return targets.map(({ text, workload, of, to, max, unit }) => {
    const values = metricValues(run, workload, of);
    const measured = to ? ratio(run, workload, of, to) : values && median(values);
    const format = (value) => (unit ? `${formatNumber(value)} ${unit}` : value.toFixed(2));
    if (measured === undefined) return [text, `≤ ${format(max)}`, 'not measured', '-'];
    return [text, `≤ ${format(max)}`, format(measured), run.isQuick ? '-' : measured <= max ? 'met' : 'missed'];
  });
}

function messageTable(run, workload, results) {
  let isGeneratorBound = false;
  const rows = Object.keys(results).map((name) => {
    const rounds = passedRounds(run, workload.name, name);
    if (!rounds) return [brokers[name].label, 'failed', '-', '-', '-', '-', '-', '-'];
    const middle = (field) => median(rounds.map((result) => result[field]));
    const latency = (percent) => formatNumber(median(rounds.map((result) => result.latencyMicroseconds[percent])) / 1000);
    const costs = rounds.map((result) => result.cpuMicroseconds);
    const isBound = middle('generatorCores') > generatorBusyCores && middle('brokerCores') < brokerIdleCores;
    isGeneratorBound ||= isBound;
    const toMosquitto = ratio(run, workload.name, name, 'mosquitto');
    return [
      brokers[name].label + (isBound ? ' ¹' : ''),
      Math.round(middle('perSecond')).toLocaleString('en-US'),
      formatNumber(median(costs)),
      `${formatNumber(Math.min(...costs))} to ${formatNumber(Math.max(...costs))}`,
      toMosquitto ? toMosquitto.toFixed(2) : '-',
      latency('p50'),
      latency('p99'),
      latency('p99.9'),
    ];
  });
  const noun = workload.args.workload === 'connect' ? 'connect' : 'message';
  const head = ['broker', `${noun}s/s`, `CPU µs per ${noun}`, 'rounds', 'CPU ÷ mosquitto', 'p50 ms', 'p99 ms', 'p99.9 ms'];
  const note =
    '¹ The load generator, not the broker, set the pace. More load would make the broker batch more, so its CPU per message is an upper bound.';
  return [...table(head, rows), ...(isGeneratorBound ? ['', note] : [])];
}

function idleTable(run, workload, results) {
  const rows = Object.keys(results).map((name) => {
    const rounds = passedRounds(run, workload.name, name);
    if (!rounds) return [brokers[name].label, 'failed', '-', '-', '-'];
    const middle = (field) => median(rounds.map((result) => result[field]));
    const sizes = rounds.map((result) => result.bytesPerConnection);
    return [
      brokers[name].label,
      formatNumber(middle('bytesPerConnection')),
      `${formatNumber(Math.min(...sizes))} to ${formatNumber(Math.max(...sizes))}`,
      formatNumber(middle('rssAfterBytes') / 1e6),
      formatNumber(middle('rampSeconds')),
    ];
  });
  return table(['broker', 'bytes per connection', 'rounds', 'whole process MB', 'seconds to connect all'], rows);
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
  const rows = Object.entries(run.starts).map(([name, starts]) => [
    brokers[name].label,
    starts.length > 0 ? formatNumber(median(starts)) : '-',
    starts.length > 0 ? `${formatNumber(Math.min(...starts))} to ${formatNumber(Math.max(...starts))}` : '-',
    String(starts.length),
  ]);
  return table(['broker', 'ms', 'lowest to highest', 'starts'], rows);
}

function plots(run) {
  const names = Object.keys(run.versions);
  const series = names.map((name) => ({ name, label: brokers[name].label }));
  const group = ({ name, title }) => ({
    title,
    bars: series.flatMap((one) => {
      const values = metricValues(run, name, one.name);
      return values ? [{ series: one, value: median(values) }] : [];
    }),
  });
  const taken = workloads.filter(({ name }) => run.results[name]);
  const files = {};
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

/**
 * Writes `benchmarks.md` and `benchmarks/*.svg` into a folder, replacing older ones.
 * @param {string} folder
 * @param {{results: object, starts: object, versions: object, isQuick: boolean, rounds: number, seconds: number, warmup: number}} run
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
  const sections = workloads
    .filter(({ name }) => run.results[name])
    .flatMap((workload) => [
      '',
      `### ${workload.title}`,
      '',
      ...(workload.metric === 'bytesPerConnection' ? idleTable : messageTable)(run, workload, run.results[workload.name]),
    ]);
  const text = [
    '# Benchmarks',
    '',
    'This page is written by `npm run bench`. What each number means stands in `native-bench/README.md`.',
    '',
    `- Machine: ${cpus().length} cores, ${cpus()[0].model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}. The load generator runs on the same cores.`,
    `- Versions: ${versions}, Node ${process.versions.node}.`,
    `- MQTT 3.1.1, payloads of 64 bytes, everything in memory. ${run.rounds} interleaved round${run.rounds === 1 ? '' : 's'} of ${run.seconds} s after ${run.warmup} s of warm-up; medians.`,
    ...disturbance(run),
    '- Every message was verified to arrive exactly once and in order. A broker that failed this shows no figure.',
    ...(run.isQuick ? ['- This is the short form with small sizes. Its figures prove that the benchmark runs, and nothing else.'] : []),
    '',
    '## Targets',
    '',
    'CPU ratios are of broker CPU per delivered message, in one run.',
    '',
    ...table(['target', 'wanted', 'measured', 'result'], rows),
    '',
    '## Messages, connections, memory',
    ...has('cpu.svg'),
    ...has('latency.svg'),
    ...has('memory.svg'),
    ...sections,
    '',
    '### Start to first accepted connection',
    '',
    ...startTable(run),
    '',
  ].join('\n');
  writeFileSync(join(folder, 'benchmarks.md'), text);
  return { lines: rows.map(([target, wanted, measured, result]) => `${result.padEnd(6)} ${target}: ${measured} (wanted ${wanted})`) };
}
