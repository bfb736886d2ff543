/**
 * The built-in rules of alarms: how each value is read from the memory that the threads share, or from the system.
 */
import { X509Certificate } from 'node:crypto';
import { statfs } from 'node:fs/promises';
import { totalmem } from 'node:os';
import type { AlarmRuleName, Settings } from '../base/settings.ts';
import { COUNTERS, type CounterName, sumCounter } from '../shard/counters.ts';
import { MeasuresReader } from '../shard/measures.ts';
import type { CertificateFiles } from '../transports/certificates.ts';
import { blocksOf } from '../transports/pem.ts';
import type { AlarmRule, Reading } from './alarms.ts';

const DAY_MILLISECONDS = 86_400_000;
/** How long a restart of a shard is spoken of. */
const RESTART_MILLISECONDS = 600_000;
/** Rates are of the last so many seconds. */
const RATE_SECONDS = 5;
/** The disk is asked so often, in looks. */
const DISK_LOOKS = 10;

const LOSSES: readonly CounterName[] = [
  'publish/dropped/queue-full',
  'publish/dropped/outbound-full',
  'publish/dropped/process-full',
  'publish/dropped/ring-full',
  'publish/dropped/store-degraded',
];

/** What the rules look at. */
export interface AlarmSources {
  readonly settings: Settings;
  readonly counters: SharedArrayBuffer;
  readonly measures: SharedArrayBuffer;
  /** Certificates of the listeners as they are now. */
  readonly certificates: () => readonly (CertificateFiles | null)[];
}

/** How many there were in a second, over the last few looks. */
class Rate {
  private readonly sums: { readonly at: number; readonly sum: number }[];
  private readonly read: () => number;

  constructor(read: () => number) {
    this.read = read;
    this.sums = [];
  }

  perSecond(): number {
    const now = { at: performance.now(), sum: this.read() };
    this.sums.push(now);
    if (this.sums.length > RATE_SECONDS + 1) this.sums.shift();
    const first = this.sums[0]!;
    return first === now ? 0 : Math.max(0, ((now.sum - first.sum) * 1000) / (now.at - first.at));
  }
}

/** Part of the file system of the store that is in use, asked in the background. */
class DiskUse {
  private readonly path: string;
  private percent: number | null;
  private looks: number;

  constructor(path: string) {
    this.path = path;
    this.percent = null;
    this.looks = 0;
  }

  read(): number | null {
    if (this.looks++ % DISK_LOOKS === 0)
      statfs(this.path).then(
        // What only the superuser may use counts as used.
        ({ blocks, bavail }) => {
          this.percent = blocks === 0 ? null : (100 * (blocks - bavail)) / blocks;
        },
        () => {
          this.percent = null;
        },
      );
    return this.percent;
  }
}

/** All rules. */
export function alarmRules(sources: AlarmSources): readonly AlarmRule[] {
  const { settings, counters, measures } = sources;
  const { limits } = settings;
  const sum = (...names: readonly CounterName[]): number =>
    names.reduce((total, name) => total + sumCounter(counters, COUNTERS.indexOf(name)), 0);
  const reader = new MeasuresReader(measures, settings.shards);
  const shardReadings = (value: (shard: number) => number): Reading[] =>
    Array.from({ length: settings.shards }, (_, shard) => ({ subject: `shard ${shard}`, value: value(shard) }));
  const losses = new Rate(() => sum(...LOSSES));
  const failures = new Rate(() => sum('logins/refused'));
  const full = new Rate(() => sum('ring/full'));
  const memoryMax = memoryBytes();
  return [
    share('connections', 'clients of the limit are connected', () => part(sum('clients/connected'), limits.connections)),
    share('sessions', 'sessions of the limit are there', () => part(sum('clients/total'), limits.sessions)),
    share('queuedBytes', 'bytes of the limit wait: beyond it messages are refused', () =>
      part(sum('queued/bytes', 'inflight/bytes'), limits.queuedBytesTotal),
    ),
    share('retainedMessages', 'retained messages of the limit are kept', () =>
      Math.max(part(sum('retained/count'), limits.retainedMessages), part(sum('retained/bytes'), limits.retainedBytes)),
    ),
    share('memory', 'memory of the machine is in use by this process', () => part(process.memoryUsage.rss(), memoryMax)),
    diskRule(settings),
    number(
      'storeDegraded',
      'shards',
      ({ value }) => `the store takes nothing: ${value} shards refuse what needs it`,
      () => sum('store/degraded'),
    ),
    {
      name: 'shardLoad',
      unit: 'percent',
      isFalling: false,
      say: ({ subject, value }) => `${subject} is busy ${value} % of the time`,
      read: () => shardReadings((shard) => Math.round(100 * reader.vital(shard, 'utilization'))),
    },
    {
      name: 'eventLoopLag',
      unit: 'milliseconds',
      isFalling: false,
      say: ({ subject, value }) => `${subject} was held up for ${value} ms`,
      read: () => shardReadings((shard) => Math.round(1000 * reader.vital(shard, 'lag'))),
    },
    number(
      'ringFull',
      'per second',
      ({ value }) => `${value} frames a second find their ring full`,
      () => full.perSecond(),
    ),
    number(
      'droppedMessages',
      'per second',
      ({ value }) => `${value} messages a second are lost`,
      () => losses.perSecond(),
    ),
    number(
      'loginFailures',
      'per second',
      ({ value }) => `${value} logins a second fail`,
      () => failures.perSecond(),
    ),
    number(
      'slowConsumers',
      'connections',
      ({ value }) => `${value} connections do not take what is sent to them`,
      () => sum('connections/blocked'),
    ),
    certificateRule(sources),
    restartRule(() => sum('shard/restarts')),
  ];
}

/** Memory that this process may use: the machine's, or its container's when that is less. */
function memoryBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, totalmem()) : totalmem();
}

function part(value: number, limit: number): number {
  return limit === 0 ? 0 : (100 * value) / limit;
}

function share(name: AlarmRuleName, what: string, read: () => number): AlarmRule {
  return number(name, 'percent', ({ value }) => `${value} % of the ${what}`, read);
}

function number(name: AlarmRuleName, unit: string, say: AlarmRule['say'], read: () => number): AlarmRule {
  return { name, unit, isFalling: false, say, read: () => [{ subject: '', value: Math.round(read()) }] };
}

function diskRule({ store }: Settings): AlarmRule {
  const use = new DiskUse(store.path);
  return {
    name: 'disk',
    unit: 'percent',
    isFalling: false,
    say: ({ value }) => `the file system of the store is full to ${value} %`,
    read: () => {
      const percent = store.enabled ? use.read() : null;
      return percent === null ? [] : [{ subject: '', value: Math.round(percent) }];
    },
  };
}

/** Days that are left to the certificate of each listener that ends first. */
function certificateRule({ certificates }: AlarmSources): AlarmRule {
  const ends = new WeakMap<CertificateFiles, number>();
  const endOf = (files: CertificateFiles): number => {
    let end = ends.get(files);
    if (end === undefined) {
      end = Math.min(...files.certificates.map(({ chain }) => endOfChain(chain)));
      ends.set(files, end);
    }
    return end;
  };
  return {
    name: 'certificateExpiry',
    unit: 'days',
    isFalling: true,
    say: ({ subject, value }) =>
      value < 0 ? `a certificate of ${subject} has ended` : `a certificate of ${subject} ends in ${value} days`,
    read: () =>
      certificates().flatMap((files, listener) =>
        files === null ? [] : [{ subject: `listener ${listener}`, value: Math.floor((endOf(files) - Date.now()) / DAY_MILLISECONDS) }],
      ),
  };
}

/** A chain holds as long as all that is in it. */
function endOfChain(pem: string): number {
  return Math.min(...blocksOf(pem, 'CERTIFICATE').map((one) => Date.parse(new X509Certificate(one).validTo)));
}

function restartRule(count: () => number): AlarmRule {
  const seen: { readonly at: number; readonly count: number }[] = [{ at: 0, count: count() }];
  return number(
    'shardRestarted',
    'restarts',
    ({ value }) => `shards were started anew ${value} times in the last ten minutes`,
    () => {
      const now = performance.now();
      const all = count();
      if (all !== seen.at(-1)!.count) seen.push({ at: now, count: all });
      // The last one that is older is what there was before.
      while (seen.length > 1 && seen[1]!.at < now - RESTART_MILLISECONDS) seen.shift();
      return all - seen[0]!.count;
    },
  );
}
