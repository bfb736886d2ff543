/**
 * Counters of the broker: one row for each shard in one SharedArrayBuffer, each row written by its own shard only and read by anyone.
 *
 * A counter is a float64 (exact to 2^53; an aligned 8-byte store is never torn on the machines that Node runs on), so that counting is one add without
 * a lock or a BigInt. Those that say how many there are now go up and down, the others only up. The names are the last levels under `$SYS/broker/`;
 * what Prometheus calls them, and what they mean, is in `counter-facts.ts`, which must have a row for each.
 */
export const COUNTERS = [
  'clients/connected',
  'clients/total',
  'connections/accepted',
  'connections/refused',
  'connections/handed-off',
  'connections/relayed',
  'connections/denied',
  'connections/refused/rate',
  'connections/opening',
  'connections/blocked',
  'logins/waiting',
  'logins/accepted',
  'logins/refused',
  'logins/renewed',
  'logins/overrun',
  'logins/timed-out',
  'logins/ended',
  'certificates/count',
  'certificates/registered',
  'certificates/rejected',
  'certificates/events/suppressed',
  'handshakes/done',
  'handshakes/failed',
  'websocket/overrun',
  'bytes/received',
  'bytes/sent',
  'packets/received',
  'packets/malformed',
  'publish/received',
  'publish/sent',
  'publish/dropped/offline',
  'publish/dropped/queue-full',
  'publish/dropped/outbound-full',
  'publish/dropped/too-large',
  'publish/dropped/expired',
  'publish/dropped/deleted',
  'publish/dropped/no-session',
  'publish/dropped/no-subscriber',
  'publish/dropped/process-full',
  'publish/dropped/store-degraded',
  'publish/dropped/not-authorized',
  'publish/dropped/quota',
  'publish/dropped/ring-full',
  'publish/queued',
  'blocked/refused',
  'blocked/disconnected',
  'blocked/log/suppressed',
  'authorization/denied/connect',
  'authorization/denied/publish',
  'authorization/denied/subscribe',
  'authorization/cache/hits',
  'authorization/cache/misses',
  'authorization/log/suppressed',
  'quota/rejected',
  'quota/throttled',
  'quota/throttled/connections',
  'quota/subscribe/rejected',
  'quota/groups/count',
  'quota/groups/refused',
  'quota/groups/overflow',
  'quota/forgotten',
  'quota/log/suppressed',
  'p2p/received',
  'p2p/delivered',
  'p2p/queued',
  'p2p/mailbox',
  'p2p/observed',
  'p2p/observed/dropped',
  'p2p/receipts',
  'p2p/confirmations/waiting',
  'p2p/confirmations/refused',
  'p2p/confirmations/timed-out',
  'p2p/scans',
  'p2p/refused/scan',
  'streams/count',
  'subscriptions/count',
  'subscriptions/shared/count',
  'retained/count',
  'retained/bytes',
  'retained/dropped',
  'queued/bytes',
  'queued/messages',
  'queued/log-bytes',
  'inflight/bytes',
  'mailboxes/count',
  'ring/frames/sent',
  'ring/frames/publish',
  'ring/frames/acknowledge',
  'ring/frames/control',
  'ring/frames/jumbo',
  'ring/frames/relay',
  'ring/full',
  'ring/wakes',
  'routes/waiting',
  'asks/sent',
  'asks/waiting',
  'asks/unanswered',
  'asks/refused',
  'http/connections/count',
  'http/requests',
  'http/refused',
  'http/failed',
  'http/aborted',
  'http/waiting',
  'http/answers/unread',
  'http/answers/ended',
  'http/streams/count',
  'http/idempotency/count',
  'http/idempotency/repeated',
  'http/idempotency/forgotten',
  'http/bytes/received',
  'http/bytes/sent',
  'http/log/suppressed',
  'edits/refused',
  'audit/dropped',
  'audit/refusals/suppressed',
  'audit/refusals/unwritten',
  'reads/paused',
  'log/suppressed',
  'takeovers',
  'takeovers/contested',
  'takeovers/refused',
  'keepalive/expired',
  'sessions/expired',
  'wills/published',
  'shard/restarts',
  'retained/queries/refused',
  'history/kept',
  'history/dropped',
  'history/names',
  'history/names/refused',
  'traces/count',
  'traces/events',
  'traces/dropped',
  'store/commits',
  'store/bytes',
  'store/spared',
  'store/failures',
  'store/degraded',
  'store/loads',
  'store/lost',
  'store/log-bytes',
  'store/rewritten',
  'store/origins-forgotten',
  'store/compactions',
  'store/compactions/failed',
  'alarms/active',
  'alarms/raised',
  'alarms/notices/sent',
  'alarms/notices/lost',
  'tracing/spans/made',
  'tracing/spans/dropped',
  'tracing/spans/exported',
  'tracing/spans/lost',
] as const;

export type CounterName = (typeof COUNTERS)[number];

/** Listeners that one configuration may have. */
export const LISTENERS_MAX = 32;
const ROW_WORDS = (COUNTERS.length + LISTENERS_MAX + 7) & ~7;

/** Index of the count of clients that came through a listener. */
export function listenerCounter(listener: number): number {
  return COUNTERS.length + listener;
}

/** Index of a counter in a row; looked up once, when a module loads. */
export function counter(name: CounterName): number {
  return COUNTERS.indexOf(name);
}

/** Bytes of SharedArrayBuffer for `shards` rows. */
export function countersBytes(shards: number): number {
  return shards * ROW_WORDS * 8;
}

/** The row that shard `index` writes. */
export function countersRow(shared: SharedArrayBuffer, index: number): Float64Array {
  return new Float64Array(shared, index * ROW_WORDS * 8, COUNTERS.length + LISTENERS_MAX);
}

/** Sum of one counter over all shards. */
export function sumCounter(shared: SharedArrayBuffer, index: number): number {
  const all = new Float64Array(shared);
  let sum = 0;
  for (let at = index; at < all.length; at += ROW_WORDS) sum += all[at]!;
  return sum;
}
