/**
 * What each counter is, for people and for Prometheus: a row for every name of `counters.ts` (the compiler asks for it), with its kind, its name by the conventions
 * of Prometheus, and its meaning. Rows with one name are one metric, told apart by labels.
 */
import type { CounterName } from './counters.ts';

export interface CounterFacts {
  /** `counter`: only goes up. `gauge`: how many there are now. */
  readonly kind: 'counter' | 'gauge';
  /** Without the suffix `_total`, which counters get. */
  readonly name: string;
  /** One sentence, the same for all rows of one name. */
  readonly help: string;
  /** `name="value"` pairs that set rows of one name apart; the label `shard` comes by itself. */
  readonly labels: readonly (readonly [name: string, value: string])[];
}

type Labels = Readonly<Record<string, string>>;

function facts(kind: CounterFacts['kind'], name: string, help: string, labels: Labels): CounterFacts {
  return { kind, name: `onehop_${name}`, help, labels: Object.entries(labels) };
}

function count(name: string, help: string, labels: Labels = {}): CounterFacts {
  return facts('counter', name, help, labels);
}

function gauge(name: string, help: string, labels: Labels = {}): CounterFacts {
  return facts('gauge', name, help, labels);
}

function dropped(reason: string): CounterFacts {
  return count('publish_dropped', 'Messages that somebody did not get, by reason.', { reason });
}

function denied(action: string): CounterFacts {
  return count('authorization_denied', 'Actions that the statements have refused.', { action });
}

function decision(result: string): CounterFacts {
  return count('authorization_decisions', 'Decisions about topics, by whether they were remembered.', { cache: result });
}

function frames(kind: string): CounterFacts {
  return count('ring_frames', 'Frames for other shards, by what they hold.', { kind });
}

function suppressed(log: string): CounterFacts {
  return count('log_suppressed', 'Lines that were not written to the log because there were too many.', { log });
}

function traffic(direction: string): CounterFacts {
  return count('bytes', 'Bytes of MQTT packets.', { direction });
}

function httpTraffic(direction: string): CounterFacts {
  return count('http_bytes', 'Bytes of bodies of HTTP requests and answers.', { direction });
}

export const COUNTER_FACTS: Readonly<Record<CounterName, CounterFacts>> = {
  'publish/dropped/deleted': dropped('deleted'),
  'edits/refused': count('edits_refused', 'Changes of files that were refused because too many waited.'),
  'audit/dropped': count('audit_dropped', 'Entries of the audit log that were not written.'),
  'audit/refusals/suppressed': count(
    'audit_refusals_suppressed',
    'Refused changes that are not in the audit log because there were too many.',
  ),
  'audit/refusals/unwritten': count(
    'audit_refusals_unwritten',
    'Refused changes that are not in the audit log because too many of all shards came.',
  ),
  'history/kept': count('history_kept', 'Messages that were given to the history.'),
  'history/dropped': count('history_dropped', 'Messages that the history was too slow for, or had no room for.'),
  'history/names': gauge('history_names', 'Client Identifiers of publishers that are held where they are quick to read for the history.'),
  'history/names/refused': count(
    'history_names_refused',
    'Messages whose publisher is not among those, because its Client Identifier has more than 63 bytes or 65,535 are held.',
  ),
  'traces/count': gauge('traces', 'Traces that run.'),
  'traces/events': count('trace_events', 'Events that traces have noted.'),
  'traces/dropped': count('trace_events_dropped', 'Events that traces had no room for.'),
  'clients/connected': gauge('clients_connected', 'Clients that are connected.'),
  'clients/total': gauge('sessions', 'Sessions, connected or not.'),
  'connections/accepted': count('connections_accepted', 'Network connections that were accepted.'),
  'connections/refused': count('connections_refused', 'Connections that did not become clients.'),
  'connections/handed-off': count('connections_handed_off', 'Sockets that went to the shard of their client.'),
  'connections/relayed': count('connections_relayed', 'Connections whose bytes another shard passes on.'),
  'connections/denied': count('connections_denied', 'Connections that a listener did not let in because of their address.'),
  'connections/refused/rate': count(
    'connections_rate_refused',
    'CONNECT packets that were refused because there were too many in a second.',
  ),
  'connections/opening': gauge('connections_opening', 'Connections that have not become clients yet.'),
  'connections/blocked': gauge('connections_blocked', 'Connections whose network does not take what is written to them now.'),
  'logins/waiting': gauge('logins_waiting', 'Logins that wait for a verdict.'),
  'logins/accepted': count('logins', 'Logins that were judged, by verdict.', { verdict: 'accepted' }),
  'logins/refused': count('logins', 'Logins that were judged, by verdict.', { verdict: 'refused' }),
  'logins/renewed': count('logins_renewed', 'Connected clients that have proved anew who they are.'),
  'logins/overrun': count('logins_overrun', 'Logins that were refused because too many waited.'),
  'logins/timed-out': count('logins_timed_out', 'Logins that nothing has judged in time.'),
  'logins/ended': count('logins_ended', 'Connections that ended with their proof.'),
  'certificates/count': gauge('certificates', 'Certificates in the registry.'),
  'certificates/registered': count('certificates_registered', 'Certificates that were registered at their first connect.'),
  'certificates/rejected': count('certificates_rejected', 'Logins that were refused because of a certificate.'),
  'certificates/events/suppressed': count(
    'certificates_events_suppressed',
    'Events about certificates that were not published because there were too many.',
  ),
  'handshakes/done': count('handshakes', 'TLS, WebSocket and QUIC handshakes, by result.', { result: 'done' }),
  'handshakes/failed': count('handshakes', 'TLS, WebSocket and QUIC handshakes, by result.', { result: 'failed' }),
  'websocket/overrun': count('websocket_overrun', 'WebSocket connections that were closed because they sent more than may wait.'),
  'bytes/received': traffic('received'),
  'bytes/sent': traffic('sent'),
  'packets/received': count('packets_received', 'MQTT packets from clients.'),
  'packets/malformed': count('packets_malformed', 'Packets that ended their connection because they break the protocol.'),
  'publish/received': count('publish_received', 'PUBLISH packets from clients.'),
  'publish/sent': count('publish_sent', 'PUBLISH packets to clients.'),
  'publish/dropped/offline': dropped('offline'),
  'publish/dropped/queue-full': dropped('queue_full'),
  'publish/dropped/outbound-full': dropped('outbound_full'),
  'publish/dropped/too-large': dropped('too_large'),
  'publish/dropped/expired': dropped('expired'),
  'publish/dropped/no-session': dropped('no_session'),
  'publish/dropped/no-subscriber': dropped('no_subscriber'),
  'publish/dropped/process-full': dropped('process_full'),
  'publish/dropped/store-degraded': dropped('store_degraded'),
  'publish/dropped/not-authorized': dropped('not_authorized'),
  'publish/dropped/quota': dropped('quota'),
  'publish/dropped/ring-full': dropped('ring_full'),
  'publish/queued': count('publish_queued', 'Messages that were put into a queue.'),
  'blocked/refused': count('blocked_refused', 'Connections that were refused by a block rule.'),
  'blocked/disconnected': count('blocked_disconnected', 'Clients that were disconnected by a block rule.'),
  'blocked/log/suppressed': suppressed('blocked'),
  'authorization/denied/connect': denied('connect'),
  'authorization/denied/publish': denied('publish'),
  'authorization/denied/subscribe': denied('subscribe'),
  'authorization/cache/hits': decision('hit'),
  'authorization/cache/misses': decision('miss'),
  'authorization/log/suppressed': suppressed('authorization'),
  'quota/rejected': count('quota_rejected', 'Messages that were refused because a quota was used up.'),
  'quota/throttled': count('quota_throttled', 'How often reading stopped because a quota was used up.'),
  'quota/throttled/connections': gauge('quota_throttled_connections', 'Connections that are not read now because of a quota.'),
  'quota/subscribe/rejected': count('quota_subscribe_rejected', 'Topic filters that were refused because a quota was used up.'),
  'quota/groups/count': gauge('quota_groups', 'Groups with connections, counted in each shard.'),
  'quota/groups/refused': count('quota_groups_refused', 'Connections that were one too many in their group.'),
  'quota/groups/overflow': count('quota_groups_overflow', 'Groups without a place in the table.'),
  'quota/forgotten': count('quota_forgotten', 'Clients that were forgotten before their burst was full again.'),
  'quota/log/suppressed': suppressed('quota'),
  'p2p/received': count('p2p_received', 'P2P messages from publishers.'),
  'p2p/delivered': count('p2p', 'P2P messages at the shard of their target, by what became of them.', { outcome: 'delivered' }),
  'p2p/queued': count('p2p', 'P2P messages at the shard of their target, by what became of them.', { outcome: 'queued' }),
  'p2p/mailbox': count('p2p', 'P2P messages at the shard of their target, by what became of them.', { outcome: 'mailbox' }),
  'p2p/observed': count('p2p_observed', 'Copies of P2P messages for observers.'),
  'p2p/observed/dropped': count('p2p_observed_dropped', 'Copies of P2P messages that observers did not get.'),
  'p2p/receipts': count('p2p_receipts', 'Receipts of P2P messages.'),
  'p2p/scans': count('p2p_scans', 'Connections that were suspected of guessing client IDs.'),
  'p2p/refused/scan': count('p2p_refused_scan', 'P2P messages that were refused because their sender has missed too often.'),
  'p2p/confirmations/waiting': gauge('p2p_confirmations_waiting', 'HTTP requests that wait for the acknowledgement of a client.'),
  'p2p/confirmations/refused': count(
    'p2p_confirmations_refused',
    'HTTP requests for a confirmation that were refused because too many waited.',
  ),
  'p2p/confirmations/timed-out': count('p2p_confirmations_timed_out', 'HTTP requests whose client did not acknowledge in time.'),
  'streams/count': gauge('quic_data_streams', 'Open data streams of QUIC clients.'),
  'subscriptions/count': gauge('subscriptions', 'Subscriptions, shared ones among them.'),
  'subscriptions/shared/count': gauge('subscriptions_shared', 'Shared subscriptions.'),
  'retained/count': gauge('retained_messages', 'Retained messages.'),
  'retained/bytes': gauge('retained_bytes', 'Bytes of retained messages.'),
  'retained/dropped': count('retained_dropped', 'Retained messages that found no room.'),
  'queued/bytes': gauge('queued_bytes', 'Bytes that wait in queues and mailboxes.'),
  'queued/messages': gauge('queued_messages', 'Messages that wait in queues and mailboxes.'),
  'queued/log-bytes': gauge('queued_log_bytes', 'Bytes in the log of the store that waiting messages hold.'),
  'inflight/bytes': gauge('inflight_bytes', 'Bytes of messages that were sent and not acknowledged, to sessions that need them again.'),
  'mailboxes/count': gauge('mailboxes', 'Mailboxes of client IDs that have no session.'),
  'ring/frames/sent': count('ring_frames_sent', 'Frames that were put on the rings.'),
  'ring/frames/publish': frames('publish'),
  'ring/frames/acknowledge': frames('acknowledge'),
  'ring/frames/control': frames('control'),
  'ring/frames/jumbo': frames('jumbo'),
  'ring/frames/relay': frames('relay'),
  'ring/full': count('ring_full', 'Frames that found their ring full and waited.'),
  'ring/wakes': count('ring_wakes', 'Sleeping shards that were woken.'),
  'routes/waiting': gauge('routes_waiting', 'SUBACK packets that wait until all shards know the subscription.'),
  'asks/sent': count('asks', 'Questions to other shards and to the supervisor.'),
  'asks/waiting': gauge('asks_waiting', 'Questions that wait for their answer.'),
  'asks/unanswered': count('asks_unanswered', 'Questions that were not answered in time.'),
  'asks/refused': count('asks_refused', 'Questions that were not asked because too many waited.'),
  'http/connections/count': gauge('http_connections', 'Connections of HTTP clients.'),
  'http/requests': count('http_requests', 'HTTP requests.'),
  'http/refused': count('http_requests_refused', 'HTTP requests that were answered with a status from 400 up.'),
  'http/failed': count('http_requests_failed', 'HTTP requests that failed by a fault of the broker.'),
  'http/aborted': count('http_requests_aborted', 'HTTP requests whose client went before the answer.'),
  'http/waiting': gauge('http_requests_waiting', 'HTTP requests that have no answer yet.'),
  'http/answers/unread': gauge('http_unread_answer_bytes', 'Bytes of answers that HTTP clients have not read whole.'),
  'http/answers/ended': count('http_unread_answers_ended', 'HTTP connections that were ended because too much was unread.'),
  'http/streams/count': gauge('http_streams', 'Streams of events to HTTP clients.'),
  'http/idempotency/count': gauge('http_idempotency_keys', 'Idempotency keys that are remembered.'),
  'http/idempotency/repeated': count(
    'http_idempotency_repeated',
    'HTTP requests that were answered from memory because their key had come before.',
  ),
  'http/idempotency/forgotten': count(
    'http_idempotency_forgotten',
    'Idempotency keys that were forgotten early because there were too many.',
  ),
  'http/bytes/received': httpTraffic('received'),
  'http/bytes/sent': httpTraffic('sent'),
  'http/log/suppressed': suppressed('http'),
  'reads/paused': count('reads_paused', 'How often the broker stopped reading from a connection.'),
  'log/suppressed': suppressed('clients'),
  takeovers: count('takeovers', 'Sessions that a new connection has taken from another.'),
  'takeovers/contested': count('takeovers_contested', 'Client IDs that connections take from each other again and again.'),
  'takeovers/refused': count('takeovers_refused', 'Connections that were refused because their client ID is contested.'),
  'keepalive/expired': count('keepalive_expired', 'Connections that ended because the client was silent.'),
  'sessions/expired': count('sessions_expired', 'Sessions that ended because their client did not return.'),
  'wills/published': count('wills_published', 'Wills that were published.'),
  'shard/restarts': count('shard_restarts', 'Shards that have died and were started anew.'),
  'retained/queries/refused': count(
    'retained_queries_refused',
    'Queries for retained messages that were refused because too many were under way.',
  ),
  'store/commits': count('store_commits', 'Batches that were handed to the store.'),
  'store/bytes': count('store_bytes', 'Bytes that were handed to the store.'),
  'store/spared': count('store_spared_bytes', 'Bytes that need not be written because their receivers were quicker.'),
  'store/failures': count('store_failures', 'Commits that failed and were tried again.'),
  'store/degraded': gauge('store_degraded', 'Whether the store takes nothing now (1) or works (0).'),
  'store/loads': count('store_loads', 'How often waiting messages were read back from the store.'),
  'store/lost': count('store_lost', 'Messages that the store should have had and did not have.'),
  'store/log-bytes': gauge('store_log_bytes', 'Bytes of the log of the store.'),
  'store/rewritten': count('store_rewritten_bytes', 'Bytes that were copied so that the log could be shortened.'),
  'store/origins-forgotten': count(
    'store_origins_forgotten',
    'Publishers of QoS 2 messages that were forgotten because there were too many.',
  ),
  'store/compactions': count('store_compactions', 'Times that the file of the store was written anew, by result.', { result: 'done' }),
  'store/compactions/failed': count('store_compactions', 'Times that the file of the store was written anew, by result.', {
    result: 'failed',
  }),
  'alarms/active': gauge('alarms_active', 'Alarms that are raised now.'),
  'alarms/raised': count('alarms_raised', 'Alarms that were raised.'),
  'alarms/notices/sent': count('alarms_notices', 'Notices about alarms to the webhook, by result.', { result: 'sent' }),
  'alarms/notices/lost': count('alarms_notices', 'Notices about alarms to the webhook, by result.', { result: 'lost' }),
  'tracing/spans/made': count('tracing_spans', 'Spans of traced messages, by what became of them.', { state: 'made' }),
  'tracing/spans/dropped': count('tracing_spans', 'Spans of traced messages, by what became of them.', { state: 'dropped' }),
  'tracing/spans/exported': count('tracing_spans', 'Spans of traced messages, by what became of them.', { state: 'exported' }),
  'tracing/spans/lost': count('tracing_spans', 'Spans of traced messages, by what became of them.', { state: 'lost' }),
};
