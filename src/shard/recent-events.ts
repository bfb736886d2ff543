/**
 * RecentEvents: what has happened lately to the clients of this shard, in memory, for people who ask why one is away or does not get in. There only where there is an HTTP
 * door.
 *
 * Each kind has a list of its own, bounded: who subscribes all the time, or is refused all the time, pushes out nobody's connections. Texts are bounded, too, and copied where they
 * may be a part of something larger, which they would keep in memory: strangers choose them.
 */
import { Fifo } from '../base/fifo.ts';

export type RecentEventName = 'connected' | 'disconnected' | 'subscribed' | 'unsubscribed' | 'refused';

export interface RecentEvent {
  /** Wall milliseconds. */
  readonly at: number;
  readonly clientId: string;
  readonly event: RecentEventName;
  /** `address:port`; '' where there is none. */
  readonly address: string;
  /** Reason of an end or a refusal, Topic Filter, or ''. */
  readonly detail: string;
}

const CONNECTIONS_MAX = 8192;
const SUBSCRIPTIONS_MAX = 4096;
/** Anybody can be refused. */
const REFUSALS_MAX = 1024;
/** Characters. Longer client IDs are told apart by their beginning. */
const CLIENT_ID_LENGTH = 128;
const DETAIL_LENGTH = 256;

export class RecentEvents {
  private readonly connections: Fifo<RecentEvent>;
  private readonly subscriptions: Fifo<RecentEvent>;
  private readonly refusals: Fifo<RecentEvent>;

  constructor() {
    this.connections = new Fifo();
    this.subscriptions = new Fifo();
    this.refusals = new Fifo();
  }

  connection(at: number, clientId: string, event: 'connected' | 'disconnected', address: string, detail: string): void {
    push(this.connections, CONNECTIONS_MAX, { at, clientId: bounded(clientId, CLIENT_ID_LENGTH), event, address, detail });
  }

  subscription(at: number, clientId: string, event: 'subscribed' | 'unsubscribed', filter: string): void {
    const detail = bounded(filter, DETAIL_LENGTH);
    push(this.subscriptions, SUBSCRIPTIONS_MAX, { at, clientId: bounded(clientId, CLIENT_ID_LENGTH), event, address: '', detail });
  }

  refusal(at: number, clientId: string, address: string, detail: string): void {
    const [id, cause] = [copied(clientId, CLIENT_ID_LENGTH), copied(detail, DETAIL_LENGTH)];
    push(this.refusals, REFUSALS_MAX, { at, clientId: id, event: 'refused', address, detail: cause });
  }

  /** Those of one client, newest first. */
  of(clientId: string, limit: number): RecentEvent[] {
    const found: RecentEvent[] = [];
    const asked = clientId.slice(0, CLIENT_ID_LENGTH);
    for (const list of [this.connections, this.subscriptions, this.refusals])
      for (let i = list.count - 1, left = limit; i >= 0 && left > 0; i--) {
        const event = list.at(i)!;
        if (event.clientId !== asked) continue;
        found.push(event);
        left--;
      }
    return newest(found, limit);
  }
}

/** The newest of what several have found. */
export function newest(events: RecentEvent[], limit: number): RecentEvent[] {
  return events.sort((a, b) => b.at - a.at).slice(0, limit);
}

/** The beginning of a text. One that is short enough is whole already, and shared with its owner. */
function bounded(text: string, max: number): string {
  return text.length <= max ? text : copied(text, max);
}

/** V8 keeps the whole text of which another is a part: a copy through bytes is none. */
function copied(text: string, max: number): string {
  return Buffer.from(text.slice(0, max)).toString();
}

function push(list: Fifo<RecentEvent>, max: number, event: RecentEvent): void {
  if (list.count >= max) list.shift();
  list.push(event);
}
