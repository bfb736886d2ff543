/**
 * The picture of `onehop top`: one look at the broker as lines.
 */
import { type Alarm, alarmLines } from './alarms.ts';
import { bytes, count, duration, styled, type tables, visible } from './output.ts';

export interface BrokerFacts {
  readonly node: string;
  readonly version: string;
  readonly uptimeSeconds: number;
}

export interface ShardFacts {
  readonly shard: number;
  readonly clients?: number;
  readonly sessions?: number;
  readonly loadPercent?: number;
  readonly heapBytes?: number;
}

export interface SlowClient {
  readonly clientId: string;
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  readonly blockedMilliseconds: number;
  readonly inflight: number;
}

export interface SlowRoute {
  readonly topic: string;
  readonly messages: number;
  readonly deliveries: number;
  readonly milliseconds: number;
}

/** What was seen at one time. */
export interface Look {
  readonly at: string;
  readonly broker: BrokerFacts;
  /** By the names of $SYS. */
  readonly counters: Readonly<Record<string, number>>;
  /** Counters per second since the look before; empty for the first. */
  readonly rates: Readonly<Record<string, number>>;
  readonly shards: readonly ShardFacts[];
  readonly slowClients: readonly SlowClient[];
  readonly slowRoutes: readonly SlowRoute[];
  readonly alarms: readonly Alarm[];
}

type Table = Awaited<ReturnType<typeof tables>>;

const BAR_WIDTH = 20;
/** A shard that is so busy has little room left. */
const BUSY_PERCENT = 80;

/** @param width columns; null: as wide as it gets @param fault why this is not what there is now; '' otherwise */
export function topLines(look: Look, table: Table, width: number | null, fault: string): string[] {
  const { broker, counters, rates, shards, slowClients, slowRoutes, alarms } = look;
  const rate = (name: string): string => (rates[name] === undefined ? '-' : count(rates[name]));
  const dropped = Object.keys(rates).filter((name) => name.startsWith('publish/dropped/'));
  const drops = dropped.length === 0 ? '-' : count(dropped.reduce((sum, name) => sum + rates[name]!, 0));
  const lines = [
    styled(
      'bold',
      `onehop ${visible(broker.version)}  ${visible(broker.node)}  up ${duration(broker.uptimeSeconds)}  ${look.at.slice(11, 19)} UTC`,
    ),
    fault === '' ? '' : styled('red', visible(fault)),
    `clients   ${count(counters['clients/connected'])} connected, ${count(counters['clients/total'])} sessions, ${rate('connections/accepted')}/s come`,
    `messages  ${rate('publish/received')}/s in, ${rate('publish/sent')}/s out, ${rate('p2p/received')}/s to one device, ${drops}/s dropped`,
    `network   ${rateBytes(rates['bytes/received'])} in, ${rateBytes(rates['bytes/sent'])} out`,
    `held      ${count(counters['subscriptions/count'])} subscriptions, ${count(counters['retained/count'])} retained, ${count(counters['queued/messages'])} queued`,
    '',
  ];
  for (const { shard, clients, loadPercent = 0, heapBytes } of shards) {
    const bar = '█'.repeat(Math.round((Math.min(100, loadPercent) / 100) * BAR_WIDTH)).padEnd(BAR_WIDTH, '░');
    const shown = loadPercent >= BUSY_PERCENT ? styled('red', bar) : styled('green', bar);
    lines.push(
      `shard ${String(shard).padStart(2)}  ${shown} ${Math.round(loadPercent).toString().padStart(3)} %  ${count(clients)} clients, heap ${bytes(heapBytes)}`,
    );
  }
  if (alarms.length > 0) lines.push('', ...alarmLines(table, alarms, width).map((line, at) => (at === 0 ? line : styled('red', line))));
  lines.push('', ...slowClientLines(slowClients, table, width), '', ...slowRouteLines(slowRoutes, table, width));
  return lines;
}

function rateBytes(value: number | undefined): string {
  return value === undefined ? '-' : `${bytes(value)}/s`;
}

function slowClientLines(clients: readonly SlowClient[], table: Table, width: number | null): string[] {
  const columns = [
    { name: 'SLOW CLIENT', isFlexible: true },
    { name: 'QUEUED', align: 'right' },
    { name: 'BYTES', align: 'right' },
    { name: 'INFLIGHT', align: 'right' },
    { name: 'BLOCKED', align: 'right' },
  ] as const;
  const rows = clients.map(({ clientId, queuedMessages, queuedBytes, inflight, blockedMilliseconds }) => [
    clientId,
    count(queuedMessages),
    bytes(queuedBytes),
    count(inflight),
    blockedMilliseconds === 0 ? '' : duration(blockedMilliseconds / 1000),
  ]);
  return rows.length === 0 ? ['no slow clients'] : table(columns, rows, width);
}

function slowRouteLines(routes: readonly SlowRoute[], table: Table, width: number | null): string[] {
  const columns = [
    { name: 'COSTLY TOPIC', isFlexible: true },
    { name: 'MESSAGES', align: 'right' },
    { name: 'DELIVERIES', align: 'right' },
    { name: 'MS', align: 'right' },
  ] as const;
  const rows = routes.map(({ topic, messages, deliveries, milliseconds }) => [
    topic,
    count(messages),
    count(deliveries),
    milliseconds.toFixed(1),
  ]);
  return rows.length === 0 ? [] : table(columns, rows, width);
}
