/**
 * Metrics in the text format of Prometheus (version 0.0.4), written from shared memory by whichever shard is asked. One table holds every metric; the manual and the test of the
 * dashboard read it, too.
 */

import { VERSION } from '../base/version.ts';
import type { HistoryTally } from '../journal/history-tally.ts';
import { COUNTER_FACTS } from '../shard/counter-facts.ts';
import { COUNTERS, listenerCounter } from '../shard/counters.ts';
import {
  bucketEnd,
  type Distribution,
  type HistogramName,
  MeasuresReader,
  storeRow,
  supervisorRow,
  type VitalName,
} from '../shard/measures.ts';
import type { Shard } from '../shard/shard.ts';

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export type MetricKind = 'counter' | 'gauge' | 'histogram';

/** One metric, whatever labels its values have. */
export interface Metric {
  readonly name: string;
  readonly kind: MetricKind;
  readonly help: string;
  readonly labels: readonly string[];
}

interface HistogramFacts {
  readonly name: string;
  readonly help: string;
  readonly labels: string;
  /** By shard, and not all shards together. */
  readonly isByShard: boolean;
}

const ACKNOWLEDGE = 'Time from a PUBLISH to its PUBACK or PUBREC, as the broker sees it.';
const HTTP = 'Time from an HTTP request to its answer, by what it is about: data (role service), management, or open to everybody.';

const HISTOGRAM_FACTS: Readonly<Record<HistogramName, HistogramFacts>> = {
  turn: {
    name: 'onehop_turn_duration_seconds',
    help: 'Time of a turn of a shard, the unit in which it works.',
    labels: '',
    isByShard: true,
  },
  gc: { name: 'onehop_gc_duration_seconds', help: 'Time of a collection of garbage.', labels: '', isByShard: true },
  commit: {
    name: 'onehop_store_commit_duration_seconds',
    help: 'Time from a batch that leaves a shard to its commit.',
    labels: '',
    isByShard: false,
  },
  'acknowledge-1': { name: 'onehop_publish_acknowledge_seconds', help: ACKNOWLEDGE, labels: 'qos="1"', isByShard: false },
  'acknowledge-2': { name: 'onehop_publish_acknowledge_seconds', help: ACKNOWLEDGE, labels: 'qos="2"', isByShard: false },
  hop: {
    name: 'onehop_p2p_hop_seconds',
    help: 'Time of a P2P message from one shard to another, of one message in 64.',
    labels: '',
    isByShard: false,
  },
  queue: {
    name: 'onehop_queue_wait_seconds',
    help: 'Time that messages waited in queues in memory before they were sent.',
    labels: '',
    isByShard: false,
  },
  connect: {
    name: 'onehop_connect_duration_seconds',
    help: 'Time from the first packet of a client to its CONNACK, the login among it.',
    labels: '',
    isByShard: false,
  },
  'http-data': { name: 'onehop_http_request_duration_seconds', help: HTTP, labels: 'group="data"', isByShard: false },
  'http-management': { name: 'onehop_http_request_duration_seconds', help: HTTP, labels: 'group="management"', isByShard: false },
  'http-open': { name: 'onehop_http_request_duration_seconds', help: HTTP, labels: 'group="open"', isByShard: false },
};

const VITAL_FACTS: Readonly<Record<VitalName, readonly [name: string, help: string]>> = {
  'heap-used': ['onehop_thread_heap_used_bytes', 'Heap of a thread that is in use.'],
  'heap-total': ['onehop_thread_heap_total_bytes', 'Heap of a thread.'],
  'heap-limit': ['onehop_thread_heap_limit_bytes', 'Largest heap that a thread may have.'],
  external: ['onehop_thread_external_bytes', 'Memory outside of the heap that its objects hold.'],
  utilization: ['onehop_thread_utilization_ratio', 'Part of the last second that a thread was busy.'],
  lag: ['onehop_thread_lag_seconds', 'Longest time in the last second that a thread was held up.'],
};

const BUILD = ['onehop_build_info', 'Version of the broker and of Node, as labels.'] as const;
const SHARDS = ['onehop_shards', 'Shards of this broker.'] as const;
const LISTENER = ['onehop_listener_clients', 'Clients that came through a listener.'] as const;
const CPU = ['process_cpu_seconds_total', 'CPU time of the process.'] as const;
const RSS = ['process_resident_memory_bytes', 'Memory of the process.'] as const;
const STARTED = ['process_start_time_seconds', 'When the process has started, in seconds since 1970.'] as const;

/** What the history says of messages that shards have handed over to it; 0 where there is none. */
const HISTORY_FACTS: readonly (readonly [name: string, kind: MetricKind, help: string, of: (tally: HistoryTally) => number])[] = [
  ['onehop_history_lost_messages_total', 'counter', 'Messages that the history has taken and could not write.', ({ lost }) => lost],
  [
    'onehop_history_evicted_bytes_total',
    'counter',
    'Bytes of messages that left the history before their time, because the disk was full.',
    ({ evictedBytes }) => evictedBytes,
  ],
  ['onehop_history_waiting_messages', 'gauge', 'Messages that the history has taken and not written yet.', ({ waiting }) => waiting],
];

/** Bounds of the buckets as Prometheus sees them: each doubling from 16 µs to 67 s. */
const LAST_BUCKETS: readonly number[] = Array.from({ length: 23 }, (_, place) => place * 4 + 11);

/** Every metric. */
export function allMetrics(): readonly Metric[] {
  const metrics: Metric[] = [
    { name: BUILD[0], kind: 'gauge', help: BUILD[1], labels: ['version', 'node'] },
    { name: SHARDS[0], kind: 'gauge', help: SHARDS[1], labels: [] },
    { name: LISTENER[0], kind: 'gauge', help: LISTENER[1], labels: ['listener', 'type', 'address'] },
  ];
  const add = (metric: Metric): void => {
    if (!metrics.some(({ name }) => name === metric.name)) metrics.push(metric);
  };
  for (const counter of COUNTERS) {
    const { kind, help, labels } = COUNTER_FACTS[counter];
    add({ name: counterName(counter), kind, help, labels: [...labels.map(([name]) => name), 'shard'] });
  }
  for (const { name, help, labels, isByShard } of Object.values(HISTOGRAM_FACTS))
    add({ name, kind: 'histogram', help, labels: isByShard ? ['shard'] : labels === '' ? [] : [labels.split('=')[0]!] });
  for (const [name, help] of Object.values(VITAL_FACTS)) add({ name, kind: 'gauge', help, labels: ['thread'] });
  for (const [name, kind, help] of HISTORY_FACTS) add({ name, kind, help, labels: [] });
  add({ name: CPU[0], kind: 'counter', help: CPU[1], labels: [] });
  add({ name: RSS[0], kind: 'gauge', help: RSS[1], labels: [] });
  add({ name: STARTED[0], kind: 'gauge', help: STARTED[1], labels: [] });
  return metrics;
}

function counterName(counter: (typeof COUNTERS)[number]): string {
  const { kind, name } = COUNTER_FACTS[counter];
  return kind === 'counter' ? `${name}_total` : name;
}

/** All values now, of all shards. */
export function metricsText(shard: Shard): string {
  const { allCounters, shards, settings } = shard;
  const rowWords = allCounters.length / shards;
  const lines: string[] = [];
  const begin = (name: string, kind: MetricKind, help: string): void => void lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`);
  const single = ([name, help]: readonly [string, string], kind: MetricKind, labels: string, value: number): void => {
    begin(name, kind, help);
    lines.push(`${name}${labels} ${value}`);
  };
  single(BUILD, 'gauge', `{version="${VERSION}",node="${process.version}"}`, 1);
  single(SHARDS, 'gauge', '', shards);
  begin(LISTENER[0], 'gauge', LISTENER[1]);
  for (const [listener, { type, host, port, path }] of settings.listeners.entries()) {
    const place = escaped(path === '' ? `${host}:${port}` : path);
    lines.push(`${LISTENER[0]}{listener="${listener}",type="${type}",address="${place}"} ${shard.sumOfAll(listenerCounter(listener))}`);
  }
  // What belongs to one metric stands together.
  const groups = new Map<string, number[]>();
  for (const [index, counter] of COUNTERS.entries()) {
    const name = counterName(counter);
    const group = groups.get(name);
    if (group === undefined) groups.set(name, [index]);
    else group.push(index);
  }
  for (const [name, indexes] of groups) {
    const { kind, help } = COUNTER_FACTS[COUNTERS[indexes[0]!]!];
    begin(name, kind, help);
    for (const index of indexes) {
      const labels = COUNTER_FACTS[COUNTERS[index]!].labels.map(([label, value]) => `${label}="${value}",`).join('');
      for (let row = 0; row < shards; row++) lines.push(`${name}{${labels}shard="${row}"} ${allCounters[row * rowWords + index]}`);
    }
  }
  writeMeasures(new MeasuresReader(shard.sharedMeasures, shards), lines, begin);
  const tally = shard.history?.tally;
  for (const [name, kind, help, of] of HISTORY_FACTS) single([name, help], kind, '', tally === undefined ? 0 : of(tally));
  const { user, system } = process.cpuUsage();
  single(CPU, 'counter', '', (user + system) / 1e6);
  single(RSS, 'gauge', '', process.memoryUsage.rss());
  single(STARTED, 'gauge', '', Math.round(Date.now() / 1000 - process.uptime()));
  lines.push('');
  return lines.join('\n');
}

function writeMeasures(reader: MeasuresReader, lines: string[], begin: (name: string, kind: MetricKind, help: string) => void): void {
  let last = '';
  for (const [histogram, { name, help, labels, isByShard }] of Object.entries(HISTOGRAM_FACTS) as [HistogramName, HistogramFacts][]) {
    if (name !== last) begin(name, 'histogram', help);
    last = name;
    if (!isByShard) writeHistogram(lines, name, labels, reader.distribution(histogram, -1));
    else for (let row = 0; row < reader.shards; row++) writeHistogram(lines, name, `shard="${row}"`, reader.distribution(histogram, row));
  }
  for (const [vital, [name, help]] of Object.entries(VITAL_FACTS) as [VitalName, readonly [string, string]][]) {
    begin(name, 'gauge', help);
    for (let row = 0; row < reader.shards; row++) lines.push(`${name}{thread="shard-${row}"} ${reader.vital(row, vital)}`);
    lines.push(`${name}{thread="main"} ${reader.vital(supervisorRow(reader.shards), vital)}`);
    const store = storeRow(reader.shards);
    if (reader.vital(store, 'heap-limit') > 0) lines.push(`${name}{thread="store"} ${reader.vital(store, vital)}`);
  }
}

function writeHistogram(lines: string[], name: string, labels: string, { sumMicroseconds, count, counts }: Distribution): void {
  const before = labels === '' ? '' : `${labels},`;
  let sum = 0;
  let bucket = 0;
  for (const last of LAST_BUCKETS) {
    for (; bucket <= last; bucket++) sum += counts[bucket]!;
    lines.push(`${name}_bucket{${before}le="${bucketEnd(last) / 1e6}"} ${sum}`);
  }
  // Read one after the other while others write: what has come between must not make a bucket larger than all of them.
  lines.push(`${name}_bucket{${before}le="+Inf"} ${Math.max(sum, count)}`);
  const own = labels === '' ? '' : `{${labels}}`;
  lines.push(`${name}_sum${own} ${sumMicroseconds / 1e6}`, `${name}_count${own} ${Math.max(sum, count)}`);
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
