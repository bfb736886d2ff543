/**
 * `onehop trace …`: what becomes of messages, printed while it happens; which traces there are, and the end of one. Over the HTTP API.
 *
 * Invariant: the trace ends with the command, however that ends, unless it is to be kept.
 */
import { Api, type ApiOptions, type Page, type Query, route } from './api-client.ts';
import { Failure } from './failure.ts';
import { pause, say, stopSignal } from './live-screen.ts';
import { count, duration, jsonText, note, print, stopWhenUnread, styled, tables, terminalWidth, visible } from './output.ts';

export interface TraceOptions extends ApiOptions {
  readonly client?: string;
  readonly filter?: string;
  readonly message?: string;
  /** One message in so many. */
  readonly sample?: number;
  readonly seconds: number;
  readonly keep?: boolean;
}

interface Trace {
  readonly id: string;
  readonly state: string;
  readonly clientId: string | null;
  readonly filter: string | null;
  readonly messageId: string | null;
  readonly sample: number;
  readonly eventCount: number;
  readonly lost: number;
  readonly endsAt: string;
  readonly by: string;
}

interface TraceEvent {
  readonly at: string;
  readonly event: string;
  readonly shard: number;
  readonly messageId: string | null;
  readonly topic: string;
  readonly qos: number;
  readonly clientId?: string;
  readonly reason?: string;
  readonly shards?: readonly number[];
  readonly bytes?: number;
}

interface TracePage extends Page<TraceEvent> {
  /** Where what happens later comes behind. */
  readonly last: string;
}

const POLL_MILLISECONDS = 300;
/** Events that one trace keeps, the most that a broker allows. */
const EVENTS_MAX = 10_000;
const PAGE = 1000;

const COLOURS = { published: 'cyan', delivered: 'green', acknowledged: 'green', queued: 'yellow', dropped: 'red', expired: 'red' } as const;

/** @throws Failure when the trace cannot be begun, or the broker goes away */
export async function trace(options: TraceOptions): Promise<void> {
  const { client: clientId, filter, message: messageId, sample, seconds, keep = false } = options;
  if (clientId === undefined && filter === undefined && messageId === undefined && sample === undefined)
    throw new Failure('say what to trace: --client, --filter, --message or --sample (--sample 1: every message)', 2);
  const api = new Api(options);
  const stopped = stopSignal();
  stopWhenUnread(stopped);
  const begun = await api.ask<Trace>('POST', '/api/v1/traces', {
    body: { clientId, filter, messageId, sample, seconds, events: EVENTS_MAX, keep },
  });
  if (options.json !== true) say(`trace ${begun.id} runs for ${seconds} s; Ctrl-C ends it`);
  let last = begun;
  try {
    const events = new Events(api, begun.id);
    for (let isRunning = true; isRunning; ) {
      await pause(POLL_MILLISECONDS, stopped);
      last = await api.get<Trace>(route`/api/v1/traces/${begun.id}`);
      isRunning = last.state === 'running' && !stopped.signal.aborted;
      for (const event of await events.fresh()) print(options.json === true ? jsonText(event) : eventText(event));
    }
  } finally {
    await api
      .ask<null>(keep ? 'POST' : 'DELETE', keep ? route`/api/v1/traces/${begun.id}/end` : route`/api/v1/traces/${begun.id}`)
      .catch(() => null);
  }
  if (isOutputError(stopped.signal.reason)) throw new Failure(`cannot write to standard output: ${stopped.signal.reason.message}`);
  if (options.json === true) return;
  const lost = last.lost === 0 ? '' : `, ${count(last.lost)} did not fit`;
  note(`${count(last.eventCount)} events${lost}${keep ? `; kept as trace ${begun.id}` : ''}`);
  if (messageId !== undefined && last.eventCount === 0)
    note(`what has become of a message that waits no more: onehop api GET ${route`/api/v1/messages/${messageId}/trace`}`);
}

/** Whether it is what ended the trace: output that cannot be written, though somebody may still want to read it. */
function isOutputError(reason: unknown): reason is NodeJS.ErrnoException {
  return reason instanceof Error && 'syscall' in reason && (reason as NodeJS.ErrnoException).code !== 'EPIPE';
}

/** `onehop trace list`. */
export async function listTraces(options: ApiOptions): Promise<void> {
  const { data } = await new Api(options).get<Page<Trace>>('/api/v1/traces');
  if (options.json === true) {
    for (const one of data) print(jsonText(one));
    return;
  }
  const columns = [
    { name: 'TRACE' },
    { name: 'STATE' },
    { name: 'OF', isFlexible: true },
    { name: 'EVENTS', align: 'right' },
    { name: 'LOST', align: 'right' },
    { name: 'ENDS' },
    { name: 'BY', isFlexible: true },
  ] as const;
  const cells = data.map((one) => [
    one.id,
    one.state,
    asked(one),
    count(one.eventCount),
    count(one.lost),
    one.state === 'running' ? `in ${duration((Date.parse(one.endsAt) - Date.now()) / 1000)}` : '',
    one.by,
  ]);
  for (const line of (await tables())(columns, cells, terminalWidth())) print(line);
}

/** What a trace follows. */
function asked({ clientId, filter, messageId, sample }: Trace): string {
  const parts = [
    ...(clientId === null ? [] : [`client ${clientId}`]),
    ...(filter === null ? [] : [filter]),
    ...(messageId === null ? [] : [`message ${messageId}`]),
    ...(sample > 1 ? [`one message in ${sample}`] : []),
  ];
  return parts.join(', ') || 'every message';
}

/** `onehop trace end`. What it has seen stays in the broker. */
export async function endTrace(id: string, options: ApiOptions): Promise<void> {
  const answer = await new Api(options).ask<object>('POST', route`/api/v1/traces/${id}/end`);
  print(options.json === true ? jsonText(answer) : `${visible(id)}: ended`);
}

/** The events of a trace, each once. */
class Events {
  private readonly api: Api;
  private readonly path: string;
  /** Behind what was printed; null: nothing was. */
  private cursor: string | null;

  constructor(api: Api, id: string) {
    this.api = api;
    this.path = route`/api/v1/traces/${id}/events`;
    this.cursor = null;
  }

  /** Those that were not there before. */
  async fresh(): Promise<TraceEvent[]> {
    const fresh: TraceEvent[] = [];
    for (let hasMore = true; hasMore; ) {
      const query: Query = { limit: PAGE, ...(this.cursor !== null && { cursor: this.cursor }) };
      const page: TracePage = await this.api.get(this.path, query);
      fresh.push(...page.data);
      this.cursor = page.last;
      hasMore = page.next !== null;
    }
    return fresh;
  }
}

function eventText({ at, event, shard, messageId, topic, qos, clientId, reason, shards, bytes }: TraceEvent): string {
  const colour = COLOURS[event as keyof typeof COLOURS];
  const name = event.padEnd(12);
  const facts = [
    at.slice(11, 23),
    colour === undefined ? name : styled(colour, name),
    `shard ${shard}`,
    visible(topic),
    `QoS ${qos}`,
    ...(bytes === undefined ? [] : [`${count(bytes)} bytes`]),
    ...(clientId === undefined ? [] : [event === 'published' ? `from ${visible(clientId)}` : `to ${visible(clientId)}`]),
    ...(shards === undefined ? [] : [`to shards ${shards.join(', ')}`]),
    ...(reason === undefined ? [] : [`(${visible(reason)})`]),
    ...(messageId === null ? [] : [`id ${visible(messageId)}`]),
  ];
  return facts.join('  ');
}
