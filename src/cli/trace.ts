/**
 * `onehop trace`: what becomes of messages, printed while it happens. Over the HTTP API.
 *
 * Invariant: the trace ends with the command, however that ends, unless it is to be kept.
 */
import { Api, type ApiOptions, type Page, type Query, route } from './api-client.ts';
import { Failure } from './failure.ts';
import { pause, say, stopSignal } from './live-screen.ts';
import { count, jsonText, note, print, styled, visible } from './output.ts';

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
  readonly eventCount: number;
  readonly lost: number;
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
  if (clientId === undefined && filter === undefined && messageId === undefined && (sample ?? 1) < 2)
    throw new Failure('say what to trace: --client, --filter, --message or --sample', 2);
  const api = new Api(options);
  const stopped = stopSignal();
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
  if (options.json === true) return;
  const lost = last.lost === 0 ? '' : `, ${count(last.lost)} did not fit`;
  note(`${count(last.eventCount)} events${lost}${keep ? `; kept as trace ${begun.id}` : ''}`);
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
