/**
 * What the limits of one connection consist of: scopes (one client, its group, its listener, the broker), each with a bucket for messages and one for bytes.
 *
 *   Connection.quota ──▶ ConnectionQuota ─┬─ client's own: the same object for all data streams of a client
 *                                         └─ group, listener, broker: one object of the shard for all its clients
 *
 * Hot path.
 */
import type { InboundQuotaSettings } from '../base/settings.ts';
import type { Bucket } from './bucket.ts';

/** Limits of what is done by those who share them: messages and bytes that they publish, or their subscriptions, which count as messages. */
export class Scope {
  /** For the log. */
  readonly name: string;
  /** MQTT 5 is told 0x97; else, and before MQTT 5, it is not read. */
  readonly rejects: boolean;
  readonly messages: Bucket | null;
  readonly bytes: Bucket | null;
  /** Connections of this shard that are not read because of this scope. */
  waiting: number;
  /** The last round of turns in which there was something for those who wait, and what each of them may have in it. */
  round: number;
  messagesEach: number;
  bytesEach: number;

  constructor(name: string, settings: InboundQuotaSettings, messages: Bucket | null, bytes: Bucket | null) {
    this.name = name;
    this.rejects = settings.overLimit === 'reject';
    this.messages = messages;
    this.bytes = bytes;
    this.waiting = 0;
    this.round = 0;
    this.messagesEach = 0;
    this.bytesEach = 0;
  }

  has(now: number, isLow: boolean): boolean {
    return (this.messages === null || this.messages.has(now, isLow)) && (this.bytes === null || this.bytes.has(now, isLow));
  }

  spend(bytes: number): void {
    if (this.messages !== null) this.messages.spend(1);
    if (this.bytes !== null) this.bytes.spend(bytes);
  }

  close(now: number): void {
    this.messages?.close(now);
    this.bytes?.close(now);
  }
}

/** What one client has to itself. It outlives the connection until time has filled it again: who comes back has what was left. */
export class ClientQuota {
  readonly inbound: Scope | null;
  readonly messagesOut: Bucket | null;
  readonly bytesOut: Bucket | null;
  readonly subscribes: Scope | null;

  constructor(inbound: Scope | null, messagesOut: Bucket | null, bytesOut: Bucket | null, subscribes: Scope | null) {
    this.inbound = inbound;
    this.messagesOut = messagesOut;
    this.bytesOut = bytesOut;
    this.subscribes = subscribes;
  }

  isFull(now: number): boolean {
    const buckets = [this.inbound?.messages, this.inbound?.bytes, this.messagesOut, this.bytesOut, this.subscribes?.messages];
    for (const bucket of buckets) if (bucket && !bucket.isFull(now)) return false;
    return true;
  }
}

/** The clients of one group on this shard. */
export interface Group {
  readonly name: string;
  /** Place in the table of all shards; -1: that was full. */
  readonly slot: number;
  readonly scope: Scope | null;
  connections: number;
  /** What its clients share, by the place of their listener. */
  readonly shared: (readonly Scope[] | undefined)[];
}

/** All that limits one connection. What is asked for each message lies here: each step further is memory that no other client has warmed. */
export class ConnectionQuota {
  readonly client: ClientQuota | null;
  readonly group: Group | null;
  /** Those of the client's own scope. */
  readonly messagesIn: Bucket | null;
  readonly bytesIn: Bucket | null;
  /** Scopes that it has with others, the narrowest first. */
  readonly shared: readonly Scope[];
  /** What is asked for each Topic Filter. */
  readonly subscribes: readonly Scope[];
  readonly messagesOut: Bucket | null;
  readonly bytesOut: Bucket | null;
  /** Milliseconds of the last line in the log about each scope, by its name; null: there was none. */
  logged: Map<string, number> | null;

  constructor(client: ClientQuota | null, group: Group | null, shared: readonly Scope[], subscribes: readonly Scope[]) {
    this.client = client;
    this.group = group;
    this.messagesIn = client?.inbound?.messages ?? null;
    this.bytesIn = client?.inbound?.bytes ?? null;
    this.shared = shared;
    this.subscribes = subscribes;
    this.messagesOut = client === null ? null : client.messagesOut;
    this.bytesOut = client === null ? null : client.bytesOut;
    this.logged = null;
  }
}

/** A connection that is not read because of a scope, or was so a moment ago. */
export class Hold {
  scope: Scope;
  isWaiting: boolean;
  /** What it may still publish in this round, before others that wait for the same have their turns. */
  messages: number;
  bytes: number;
  /** Milliseconds at which the round is over. */
  until: number;

  constructor(scope: Scope) {
    this.scope = scope;
    this.isWaiting = false;
    this.messages = 0;
    this.bytes = 0;
    this.until = 0;
  }
}
