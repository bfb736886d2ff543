/**
 * What a shard answers about itself, and what is known of the whole broker without asking anybody.
 */
import { getHeapStatistics } from 'node:v8';
import { VERSION } from '../../base/version.ts';
import { type CounterName, counter } from '../../shard/counters.ts';
import type { Shard } from '../../shard/shard.ts';
import { droppedOfAll, Load } from './load.ts';

/** Sums of all shards by the name that people see. */
export const BROKER_COUNTERS: Readonly<Record<string, CounterName>> = {
  clientsConnected: 'clients/connected',
  sessions: 'clients/total',
  subscriptions: 'subscriptions/count',
  sharedSubscriptions: 'subscriptions/shared/count',
  retained: 'retained/count',
  retainedBytes: 'retained/bytes',
  queuedMessages: 'queued/messages',
  queuedBytes: 'queued/bytes',
  inflightBytes: 'inflight/bytes',
  mailboxes: 'mailboxes/count',
  publishReceived: 'publish/received',
  publishSent: 'publish/sent',
  publishQueued: 'publish/queued',
  p2pReceived: 'p2p/received',
  p2pDelivered: 'p2p/delivered',
  p2pQueued: 'p2p/queued',
  packetsReceived: 'packets/received',
  bytesReceived: 'bytes/received',
  bytesSent: 'bytes/sent',
  connectionsAccepted: 'connections/accepted',
  connectionsRefused: 'connections/refused',
  takeovers: 'takeovers',
  shardRestarts: 'shard/restarts',
};

/** Of one shard. */
export const SHARD_COUNTERS: Readonly<Record<string, CounterName>> = {
  clients: 'clients/connected',
  sessions: 'clients/total',
  subscriptions: 'subscriptions/count',
  retained: 'retained/count',
  mailboxes: 'mailboxes/count',
  queuedMessages: 'queued/messages',
  queuedBytes: 'queued/bytes',
  inflightBytes: 'inflight/bytes',
  publishReceived: 'publish/received',
  publishSent: 'publish/sent',
  p2pReceived: 'p2p/received',
  bytesReceived: 'bytes/received',
  bytesSent: 'bytes/sent',
  ringFramesSent: 'ring/frames/sent',
  ringFull: 'ring/full',
  readsPaused: 'reads/paused',
  connectionsOpening: 'connections/opening',
  storeCommits: 'store/commits',
};

/** What `Load` knows, by shard: a process of tests may hold several. */
const loads = new WeakMap<Shard, Load>();

export function answerAboutState(shard: Shard): void {
  const load = new Load(shard);
  loads.set(shard, load);
  shard.asks.handle('shard-state', (_value, answer) => answer(stateOf(shard, load)));
}

function stateOf(shard: Shard, { percent }: Load): object {
  const { used_heap_size: heapBytes, heap_size_limit: heapBytesMax, external_memory: externalBytes } = getHeapStatistics();
  return {
    shard: shard.index,
    state: shard.isServing ? 'serving' : 'starting',
    uptimeSeconds: Math.floor((shard.timers.now - shard.startedAt) / 1000),
    loadPercent: percent,
    heapBytes,
    heapBytesMax,
    externalBytes,
    storeDegraded: shard.journal.isDegraded,
    ...countersOf(SHARD_COUNTERS, (index) => shard.counters[index]!),
  };
}

/** Of the whole broker, as this shard sees it: every shard's counters are in shared memory. */
export function brokerState(shard: Shard): object {
  return {
    node: shard.settings.node,
    version: VERSION,
    uptimeSeconds: Math.floor(process.uptime()),
    shards: shard.shards,
    rssBytes: process.memoryUsage.rss(),
    ...countersOf(BROKER_COUNTERS, (index) => shard.sumOfAll(index)),
    publishDropped: droppedOfAll(shard),
    rates: loads.get(shard)!.rates,
  };
}

function countersOf(names: Readonly<Record<string, CounterName>>, value: (index: number) => number): Record<string, number> {
  return Object.fromEntries(Object.entries(names).map(([name, one]) => [name, value(counter(one))]));
}
