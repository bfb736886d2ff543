/**
 * RecentEvents: what has happened lately to the clients of this shard, in memory, for people who ask why one is away or does not get in. There only where there is an HTTP
 * door.
 *
 * Each kind has a list of its own, bounded: who subscribes all the time, or is refused all the time, pushes out nobody's connections.
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
    push(this.connections, CONNECTIONS_MAX, { at, clientId, event, address, detail });
  }

  subscription(at: number, clientId: string, event: 'subscribed' | 'unsubscribed', filter: string): void {
    push(this.subscriptions, SUBSCRIPTIONS_MAX, { at, clientId, event, address: '', detail: filter });
  }

  refusal(at: number, clientId: string, address: string, detail: string): void {
    push(this.refusals, REFUSALS_MAX, { at, clientId, event: 'refused', address, detail });
  }

  /** Those of one client, newest first. */
  of(clientId: string, limit: number): RecentEvent[] {
    const found: RecentEvent[] = [];
    for (const list of [this.connections, this.subscriptions, this.refusals])
      for (let i = list.count - 1, left = limit; i >= 0 && left > 0; i--) {
        const event = list.at(i)!;
        if (event.clientId !== clientId) continue;
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

function push(list: Fifo<RecentEvent>, max: number, event: RecentEvent): void {
  if (list.count >= max) list.shift();
  list.push(event);
}
