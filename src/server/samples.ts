/**
 * Samples: the last hour of the important values, one for every five seconds, in memory of a fixed size. For the charts of people who look now; what must be kept longer is for
 * Prometheus.
 */
import { COUNTERS, type CounterName, sumCounter } from '../shard/counters.ts';
import { type Distribution, type HistogramName, MeasuresReader, quantile } from '../shard/measures.ts';

export const SAMPLE_SECONDS = 5;
const SAMPLES = 3600 / SAMPLE_SECONDS;

/** How many there are. */
const LEVELS: Readonly<Record<string, CounterName>> = {
  clientsConnected: 'clients/connected',
  sessions: 'clients/total',
  subscriptions: 'subscriptions/count',
  retainedMessages: 'retained/count',
  queuedMessages: 'queued/messages',
  queuedBytes: 'queued/bytes',
  inflightBytes: 'inflight/bytes',
  mailboxes: 'mailboxes/count',
  connectionsBlocked: 'connections/blocked',
  httpConnections: 'http/connections/count',
  storeLogBytes: 'store/log-bytes',
};

/** How many there were in a second; several counters are added. */
const RATES: Readonly<Record<string, readonly CounterName[]>> = {
  publishReceivedPerSecond: ['publish/received'],
  publishSentPerSecond: ['publish/sent'],
  publishDroppedPerSecond: COUNTERS.filter((name) => name.startsWith('publish/dropped/')),
  publishQueuedPerSecond: ['publish/queued'],
  p2pReceivedPerSecond: ['p2p/received'],
  p2pDeliveredPerSecond: ['p2p/delivered'],
  bytesReceivedPerSecond: ['bytes/received'],
  bytesSentPerSecond: ['bytes/sent'],
  connectionsAcceptedPerSecond: ['connections/accepted'],
  connectionsRefusedPerSecond: ['connections/refused'],
  loginsRefusedPerSecond: ['logins/refused'],
  httpRequestsPerSecond: ['http/requests'],
  storeCommitsPerSecond: ['store/commits'],
  storeBytesPerSecond: ['store/bytes'],
};

/** 99 of 100 were not longer, in milliseconds. */
const TIMES: Readonly<Record<string, HistogramName>> = {
  turnP99Milliseconds: 'turn',
  commitP99Milliseconds: 'commit',
  acknowledgeQos1P99Milliseconds: 'acknowledge-1',
  acknowledgeQos2P99Milliseconds: 'acknowledge-2',
  hopP99Milliseconds: 'hop',
  connectP99Milliseconds: 'connect',
  httpDataP99Milliseconds: 'http-data',
};

export interface SamplesAnswer {
  readonly intervalSeconds: number;
  readonly until: string;
  readonly series: Readonly<Record<string, readonly (number | null)[]>>;
}

export class Samples {
  private readonly counters: SharedArrayBuffer;
  private readonly reader: MeasuresReader;
  /** By name; NaN: there is no value. */
  private readonly series: Map<string, Float64Array>;
  private next: number;
  private taken: number;
  private takenAt: number;
  private takenMonotonic: number;
  private readonly sumsBefore: Map<string, number>;
  private readonly timesBefore: Map<string, Distribution>;
  private cpuBefore: number;

  constructor(counters: SharedArrayBuffer, measures: SharedArrayBuffer, shards: number) {
    this.counters = counters;
    this.reader = new MeasuresReader(measures, shards);
    const names = [
      ...Object.keys(LEVELS),
      ...Object.keys(RATES),
      ...Object.keys(TIMES),
      'cpuPercent',
      'rssBytes',
      'lagMilliseconds',
      'loadPercent',
    ];
    for (let shard = 0; shard < shards; shard++) names.push(`loadPercent/${shard}`);
    this.series = new Map(names.map((name) => [name, new Float64Array(SAMPLES).fill(Number.NaN)]));
    this.next = 0;
    this.taken = 0;
    this.takenAt = Date.now();
    this.takenMonotonic = performance.now();
    this.sumsBefore = new Map();
    this.timesBefore = new Map();
    this.cpuBefore = cpuMilliseconds();
    this.readRates(0);
    this.readTimes();
  }

  /** Takes one sample; called every five seconds. */
  take(): void {
    const now = performance.now();
    const seconds = (now - this.takenMonotonic) / 1000;
    this.takenMonotonic = now;
    this.takenAt = Date.now();
    for (const [name, counter] of Object.entries(LEVELS)) this.put(name, sumCounter(this.counters, COUNTERS.indexOf(counter)));
    this.readRates(seconds);
    this.readTimes();
    const cpu = cpuMilliseconds();
    this.put('cpuPercent', round((cpu - this.cpuBefore) / (seconds * 10)));
    this.cpuBefore = cpu;
    this.put('rssBytes', process.memoryUsage.rss());
    let lag = 0;
    let load = 0;
    for (let shard = 0; shard < this.reader.shards; shard++) {
      const own = this.reader.vital(shard, 'utilization') * 100;
      this.put(`loadPercent/${shard}`, round(own));
      load = Math.max(load, own);
      lag = Math.max(lag, this.reader.vital(shard, 'lag') * 1000);
    }
    this.put('loadPercent', round(load));
    this.put('lagMilliseconds', round(lag));
    this.next = (this.next + 1) % SAMPLES;
    this.taken = Math.min(this.taken + 1, SAMPLES);
  }

  private put(name: string, value: number): void {
    this.series.get(name)![this.next] = value;
  }

  private readRates(seconds: number): void {
    for (const [name, counters] of Object.entries(RATES)) {
      let sum = 0;
      for (const counter of counters) sum += sumCounter(this.counters, COUNTERS.indexOf(counter));
      if (seconds > 0) this.put(name, round((sum - this.sumsBefore.get(name)!) / seconds));
      this.sumsBefore.set(name, sum);
    }
  }

  private readTimes(): void {
    for (const [name, histogram] of Object.entries(TIMES)) {
      const now = this.reader.distribution(histogram, -1);
      const before = this.timesBefore.get(name) ?? null;
      const microseconds = before === null ? null : quantile(now, 0.99, before);
      this.put(name, microseconds === null ? Number.NaN : microseconds / 1000);
      this.timesBefore.set(name, now);
    }
  }

  /** The last so many seconds, oldest first. */
  answer(seconds: number): SamplesAnswer {
    const count = Math.min(this.taken, Math.ceil(seconds / SAMPLE_SECONDS));
    const series: Record<string, (number | null)[]> = {};
    for (const [name, values] of this.series) {
      const list: (number | null)[] = [];
      for (let back = count; back > 0; back--) {
        const value = values[(this.next - back + SAMPLES) % SAMPLES]!;
        list.push(Number.isNaN(value) ? null : value);
      }
      series[name] = list;
    }
    return { intervalSeconds: SAMPLE_SECONDS, until: new Date(this.takenAt).toISOString(), series };
  }
}

function cpuMilliseconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
