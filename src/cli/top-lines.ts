/**
 * The picture of `onehop top`: one look at the broker as lines.
 */
import { type Alarm, alarmLines } from './alarms.ts';
import { bytes, count, duration, styled, type tables, visible } from './output.ts';

export interface BrokerFacts {
  readonly node: string;
  readonly version: string;
  readonly uptimeSeconds: number;
  readonly rssBytes: number;
  readonly clientsConnected: number;
  readonly sessions: number;
  readonly subscriptions: number;
  readonly retained: number;
  readonly mailboxes: number;
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  /** Per second, over the last ten. */
  readonly rates: {
    readonly publishReceived: number;
    readonly publishSent: number;
    readonly publishDropped: number;
    readonly p2pReceived: number;
    readonly bytesReceived: number;
    readonly bytesSent: number;
    readonly connectionsAccepted: number;
  };
}

/** What is absent is not known: the shard does not answer. */
export interface ShardFacts {
  readonly shard: number;
  readonly state: string;
  readonly clients?: number;
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
  const { broker, shards, slowClients, slowRoutes, alarms } = look;
  const { rates } = broker;
  const lines = [
    styled(
      'bold',
      `onehop ${visible(broker.version)}  ${visible(broker.node)}  up ${duration(broker.uptimeSeconds)}  ${look.at.slice(11, 19)} UTC`,
    ),
    fault === '' ? '' : styled('red', visible(fault)),
    `clients   ${count(broker.clientsConnected)} connected, ${count(broker.sessions)} sessions, ${rate(rates.connectionsAccepted)} connections`,
    `messages  ${rate(rates.publishReceived)} in, ${rate(rates.publishSent)} out, ${rate(rates.p2pReceived)} to one device, ${rate(rates.publishDropped)} dropped`,
    `network   ${bytes(rates.bytesReceived)}/s in, ${bytes(rates.bytesSent)}/s out; memory ${bytes(broker.rssBytes)}`,
    `held      ${count(broker.subscriptions)} subscriptions, ${count(broker.retained)} retained, ${count(broker.mailboxes)} mailboxes, ${count(broker.queuedMessages)} queued (${bytes(broker.queuedBytes)})`,
    '',
    ...shards.map(shardLine),
  ];
  if (alarms.length > 0) lines.push('', ...alarmLines(table, alarms, width).map((line, at) => (at === 0 ? line : styled('red', line))));
  lines.push('', ...slowClientLines(slowClients, table, width), '', ...slowRouteLines(slowRoutes, table, width));
  return lines;
}

function rate(value: number): string {
  return `${value > 0 && value < 10 ? value.toFixed(1) : count(value)}/s`;
}

function shardLine({ shard, state, clients, loadPercent, heapBytes }: ShardFacts): string {
  const name = `shard ${String(shard).padStart(2)}`;
  if (loadPercent === undefined) return `${name}  ${styled('red', visible(state))}`;
  const bar = '█'.repeat(Math.round((Math.min(100, loadPercent) / 100) * BAR_WIDTH)).padEnd(BAR_WIDTH, '░');
  const colour = loadPercent >= BUSY_PERCENT ? 'red' : 'green';
  return `${name}  ${styled(colour, bar)} ${Math.round(loadPercent).toString().padStart(3)} %  ${count(clients)} clients, heap ${bytes(heapBytes)}`;
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
