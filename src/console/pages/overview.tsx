/**
 * Overview: what the broker does now, its last hour as charts, and how busy each shard is.
 */
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import type { Page } from '../api.ts';
import { bytes, count, duration, NONE, short } from '../format.ts';
import { Chart } from '../parts/chart.tsx';
import { Failure } from '../parts/failure.tsx';
import { Choice } from '../parts/fields.tsx';
import { Table } from '../parts/table.tsx';
import { placeOf } from '../place.ts';
import { useAsked } from '../use-asked.ts';
import { ALARMS_PAGE, ALARMS_PATH, type Alarm } from './alarm-facts.ts';

interface Broker {
  readonly uptimeSeconds?: number;
  readonly version?: string;
  readonly shards?: number;
  readonly clientsConnected?: number;
  readonly sessions?: number;
  readonly subscriptions?: number;
  readonly retained?: number;
  readonly publishReceived?: number;
  readonly publishSent?: number;
  readonly queuedMessages?: number;
  readonly publishDropped?: number;
  readonly rssBytes?: number;
  /** Per second. */
  readonly rates?: Readonly<Record<string, number>>;
}

interface ShardFacts {
  readonly shard: number;
  readonly state?: string;
  readonly clients?: number;
  readonly sessions?: number;
  readonly publishReceived?: number;
  readonly publishSent?: number;
  readonly loadPercent?: number;
  readonly heapBytes?: number;
  readonly ringFull?: number;
}

interface Samples {
  readonly intervalSeconds: number;
  /** When the last one was taken. */
  readonly until: string;
  readonly series: Readonly<Record<string, readonly (number | null)[]>>;
}

const LIVE_SECONDS = 2;
/** The broker takes one sample in so many. */
const SAMPLE_SECONDS = 5;

interface ChartPlan {
  readonly title: string;
  readonly unit: string;
  readonly lines: readonly (readonly [name: string, label: string])[];
  readonly max?: number;
}

const CHARTS: readonly ChartPlan[] = [
  {
    title: 'Messages',
    unit: '/s',
    lines: [
      ['publishReceivedPerSecond', 'in'],
      ['publishSentPerSecond', 'out'],
      ['p2pReceivedPerSecond', 'to single devices'],
      ['publishDroppedPerSecond', 'dropped'],
    ],
  },
  {
    title: 'Clients',
    unit: '',
    lines: [
      ['clientsConnected', 'connected'],
      ['sessions', 'sessions'],
    ],
  },
  {
    title: 'Delays (99 of 100 are shorter)',
    unit: 'ms',
    lines: [
      ['turnP99Milliseconds', 'turn'],
      ['hopP99Milliseconds', 'to another shard'],
      ['acknowledgeQos1P99Milliseconds', 'PUBACK'],
      ['commitP99Milliseconds', 'commit'],
    ],
  },
  {
    title: 'Waiting',
    unit: '',
    lines: [
      ['queuedMessages', 'queued messages'],
      ['connectionsBlocked', 'connections that do not read'],
    ],
  },
  {
    title: 'Bytes',
    unit: '/s',
    lines: [
      ['bytesReceivedPerSecond', 'in'],
      ['bytesSentPerSecond', 'out'],
    ],
  },
];

/** One line for each shard. */
function loadChart(series: Samples['series']): ChartPlan {
  const names = Object.keys(series).filter((name) => name.startsWith('loadPercent/'));
  return { title: 'Load of the shards', unit: '%', max: 100, lines: names.map((name) => [name, `shard ${name.split('/')[1]}`] as const) };
}

export function OverviewPage(): VNode {
  const broker = useAsked<Broker>('/api/v1/broker', {}, LIVE_SECONDS);
  const alarms = useAsked<Page<Alarm>>(ALARMS_PATH, { state: 'active' }, 10);
  const active = alarms.data?.total ?? alarms.data?.data.length ?? 0;
  return (
    <>
      <h1>Overview</h1>
      {active > 0 && (
        <p class="failure" role="status">
          <a href={placeOf([ALARMS_PAGE])}>
            {active} {active === 1 ? 'alarm is' : 'alarms are'} active
          </a>
        </p>
      )}
      {broker.error !== null && <Failure error={broker.error} what="figures of the broker" />}
      {broker.data !== null && <Figures broker={broker.data} />}
      <Charts />
      <Shards />
    </>
  );
}

function Figures({ broker }: { readonly broker: Broker }): VNode {
  const figures = [
    ['Clients connected', short(broker.clientsConnected)],
    ['Sessions', short(broker.sessions)],
    ['Messages in, per second', short(broker.rates?.['publishReceived'])],
    ['Messages out, per second', short(broker.rates?.['publishSent'])],
    ['To single devices, per second', short(broker.rates?.['p2pReceived'])],
    ['Dropped since the start', short(broker.publishDropped)],
    ['Messages that wait', short(broker.queuedMessages)],
    ['Memory', bytes(broker.rssBytes)],
    ['Running for', duration(broker.uptimeSeconds)],
  ] as const;
  return (
    <dl class="figures">
      {figures.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Charts(): VNode {
  const [seconds, setSeconds] = useState('300');
  const { data, error } = useAsked<Samples>('/api/v1/samples', { seconds }, SAMPLE_SECONDS);
  if (error !== null) return <Failure error={error} what="charts of the last hour" />;
  const series = data?.series ?? {};
  const length = Math.max(0, ...Object.values(series).map((values) => values.length));
  const end = data === null ? 0 : Date.parse(data.until) / 1000;
  const times = Array.from({ length }, (_, index) => end - (length - 1 - index) * (data?.intervalSeconds ?? 1));
  const charts = [...CHARTS, loadChart(series)].map(({ lines, ...chart }) => ({
    ...chart,
    series: lines.filter(([name]) => name in series).map(([name, label]) => ({ label, values: series[name]! })),
  }));
  return (
    <section aria-labelledby="charts">
      <div class="heading">
        <h2 id="charts">Over time</h2>
        <Choice
          label="Show"
          value={seconds}
          options={[
            ['60', 'the last minute'],
            ['300', '5 minutes'],
            ['900', '15 minutes'],
            ['3600', 'the last hour'],
          ]}
          onInput={setSeconds}
        />
      </div>
      {data !== null && (
        <div class="charts">
          {charts
            .filter((chart) => chart.series.length > 0)
            .map((chart) => (
              <Chart key={chart.title} times={times} {...chart} />
            ))}
        </div>
      )}
    </section>
  );
}

function Shards(): VNode {
  const { data, error } = useAsked<Page<ShardFacts>>('/api/v1/shards', {}, LIVE_SECONDS);
  if (error !== null) return <Failure error={error} what="figures of its shards" />;
  const shards = data?.data ?? [];
  return (
    <section aria-labelledby="shards">
      <h2 id="shards">Shards</h2>
      <Table
        caption="Shards"
        rows={shards}
        rowKey={({ shard }) => String(shard)}
        empty="Nothing is known yet."
        columns={[
          { title: 'Shard', cell: ({ shard }) => shard, isNumber: true },
          { title: 'Load', cell: ({ shard, loadPercent }) => <Load name={`Load of shard ${shard}`} percent={loadPercent} /> },
          { title: 'State', cell: ({ state }) => state ?? NONE },
          { title: 'Clients', cell: ({ clients }) => count(clients), isNumber: true },
          { title: 'Sessions', cell: ({ sessions }) => count(sessions), isNumber: true },
          { title: 'Messages in', cell: ({ publishReceived }) => count(publishReceived), isNumber: true },
          { title: 'Messages out', cell: ({ publishSent }) => count(publishSent), isNumber: true },
          { title: 'Heap', cell: ({ heapBytes }) => bytes(heapBytes), isNumber: true },
          { title: 'Ring was full', cell: ({ ringFull }) => count(ringFull), isNumber: true },
        ]}
      />
    </section>
  );
}

function Load({ name, percent }: { readonly name: string; readonly percent: number | undefined }): VNode {
  return (
    <span class="load">
      <meter aria-label={name} min={0} max={100} high={80} value={percent ?? 0} />
      {percent === undefined ? '–' : `${Math.round(percent)} %`}
    </span>
  );
}
