/**
 * Traces: what happens to single messages, noted while somebody looks: published, routed, delivered or queued, acknowledged, expired, dropped and why.
 *
 *   publisher's shard: does a trace want this message? ─ TraceTag on the message ─▶ every place that does something with it notes an event, on its own shard
 *   people: the events of all shards, merged by time
 *
 * Every shard knows all traces, under the same numbers. While none runs `Shard.tracing` is null and no message has a tag. Traces, their events and their time are
 * bounded; one that is full goes on counting.
 */
import { randomInt } from 'node:crypto';
import { readText, utf8Bytes } from '../base/bytes.ts';
import { Timer } from '../base/timers.ts';
import { idCount, idText, MESSAGE_ID_KEY, parseId } from '../journal/message-id.ts';
import { UserPropertyReader } from '../protocol/property.ts';
import { MessageView } from '../protocol/publish.ts';
import { filterMatches } from '../protocol/topic.ts';
import { TraceTag } from '../protocol/trace-tag.ts';
import { type Message, viewMessage } from '../session/message.ts';
import { counter } from './counters.ts';
import type { ClientSession, Shard } from './shard.ts';
import { pageOfTrace, type TracePage, type TracePageAsked } from './trace-page.ts';

const RUNNING = counter('traces/count');
const EVENTS = counter('traces/events');
const DROPPED = counter('traces/dropped');

/** Traces that run at a time. */
export const TRACES_MAX = 16;
/** Traces that have ended and are kept; the oldest goes. */
const ENDED_MAX = 16;
/** Events that one shard holds for all traces. */
const SHARD_EVENTS_MAX = 50_000;
/** Events of one message that a shard tells: as many as a message to all its clients may have is no answer for people. */
const MESSAGE_EVENTS_MAX = 1000;
const TEXT_MAX = 256;
const DOLLAR = 0x24;
const KEY = utf8Bytes(MESSAGE_ID_KEY);

export const NO_TARGETS: readonly string[] = [];

/** What a trace looks for; what is '' or 0 is not asked. All that is asked must hold. */
export interface TraceDefinition {
  readonly number: number;
  /** Client that publishes the message or gets it. */
  readonly clientId: string;
  readonly filter: string;
  readonly messageId: string;
  /** One message in so many; 1: each. */
  readonly sample: number;
  /** Events that are kept. */
  readonly events: number;
  /** Wall milliseconds. */
  readonly beginsAt: number;
  readonly endsAt: number;
  /** Who has asked for it. */
  readonly by: string;
  /** Its events go to the history too. */
  readonly keep: boolean;
}

export type TraceEventName = 'published' | 'routed' | 'queued' | 'delivered' | 'acknowledged' | 'expired' | 'dropped';

export interface TraceEvent {
  /** No two events have the same. */
  readonly number: number;
  /** Wall milliseconds with fractions, by the clock that all threads of the process read alike: so what a thread noted later is later, kept or not. */
  readonly at: number;
  readonly event: TraceEventName;
  readonly shard: number;
  /** '' where the message is known to its receiver's shard alone. */
  readonly messageId: string;
  readonly topic: string;
  readonly qos: number;
  readonly clientId?: string;
  readonly reason?: string;
  /** Where it was sent on to. */
  readonly shards?: readonly number[];
  readonly bytes?: number;
}

export interface TraceState {
  readonly definition: TraceDefinition;
  readonly isRunning: boolean;
  /** On this shard. */
  readonly events: number;
  readonly lost: number;
}

class Trace {
  readonly definition: TraceDefinition;
  readonly events: TraceEvent[];
  readonly idBytes: Uint8Array | null;
  lost: number;
  timer: Timer | null;

  constructor(definition: TraceDefinition) {
    this.definition = definition;
    this.events = [];
    this.idBytes = parseId(definition.messageId);
    this.lost = 0;
    this.timer = null;
  }

  /** Whether it would take a message, but for who publishes or gets it. */
  suits(topic: string, id: Uint8Array | null): boolean {
    const { filter, sample } = this.definition;
    if (filter === '' ? topic.startsWith('$') : !filterMatches(filter, topic)) return false;
    return sample === 1 || id === null || idCount(id, 0) % sample === 0;
  }
}

const properties = new UserPropertyReader();

export class Traces {
  private readonly shard: Shard;
  private readonly running: Map<number, Trace>;
  private readonly ended: Trace[];
  private readonly view: MessageView;
  private nextEvent: number;
  private eventCount: number;
  private hasClients: boolean;
  private hasIds: boolean;

  constructor(shard: Shard) {
    this.shard = shard;
    this.running = new Map();
    this.ended = [];
    this.view = new MessageView();
    this.nextEvent = randomInt(2 ** 47);
    this.eventCount = 0;
    this.hasClients = false;
    this.hasIds = false;
    shard.asks.handle('trace-begin', (value, answer) => answer(this.begin(value as TraceDefinition)));
    shard.asks.handle('trace-end', (value, answer) => answer(this.end(value as number)));
    shard.asks.handle('trace-remove', (value, answer) => answer(this.remove(value as number)));
    shard.asks.handle('trace-list', (_, answer) => answer(this.list()));
    shard.asks.handle('trace-page', (value, answer) => answer(this.page(value as TracePageAsked)));
    shard.asks.handle('trace-of-message', (value, answer) => answer(this.ofMessage(value as string)));
  }

  /** Begins a trace; one that is known goes on. @returns false when too many run */
  begin(definition: TraceDefinition): boolean {
    const { shard, running } = this;
    if (running.has(definition.number)) return true;
    const left = definition.endsAt - shard.timers.now;
    if (running.size >= TRACES_MAX) return false;
    if (left <= 0) return true;
    const trace = new Trace(definition);
    trace.timer = new Timer(() => this.end(definition.number));
    shard.timers.arm(trace.timer, left);
    running.set(definition.number, trace);
    this.changed();
    return true;
  }

  /** @returns whether it ran */
  end(number: number): boolean {
    const trace = this.running.get(number);
    if (trace === undefined) return false;
    this.running.delete(number);
    if (trace.timer !== null) this.shard.timers.disarm(trace.timer);
    this.ended.push(trace);
    if (this.ended.length > ENDED_MAX) this.eventCount -= this.ended.shift()!.events.length;
    this.changed();
    return true;
  }

  /** Ends it, and forgets what it has seen. @returns whether it was known */
  remove(number: number): boolean {
    this.end(number);
    const at = this.ended.findIndex(({ definition }) => definition.number === number);
    if (at < 0) return false;
    this.eventCount -= this.ended[at]!.events.length;
    this.ended.splice(at, 1);
    return true;
  }

  private changed(): void {
    const { shard, running } = this;
    this.hasClients = false;
    this.hasIds = false;
    for (const { definition, idBytes } of running.values()) {
      if (definition.clientId !== '') this.hasClients = true;
      if (idBytes !== null) this.hasIds = true;
    }
    shard.counters[RUNNING] = running.size;
    shard.watch(running.size === 0 ? null : this);
  }

  list(): TraceState[] {
    const state =
      (isRunning: boolean) =>
      ({ definition, events, lost }: Trace): TraceState => ({ definition, isRunning, events: events.length, lost });
    return [...[...this.running.values()].map(state(true)), ...this.ended.map(state(false))];
  }

  /** Some of the events of one trace; false: it is not known here. */
  private page(asked: TracePageAsked): TracePage | false {
    const { number } = asked;
    const trace = this.running.get(number) ?? this.ended.find(({ definition }) => definition.number === number);
    return trace === undefined ? false : pageOfTrace(trace.events, asked, this.shard.timers.read());
  }

  /** Those of one message in whatever trace. */
  private ofMessage(messageId: string): TraceEvent[] {
    const found = new Set<TraceEvent>();
    for (const { events } of [...this.running.values(), ...this.ended])
      for (const event of events) if (event.messageId === messageId && found.size < MESSAGE_EVENTS_MAX) found.add(event);
    return [...found];
  }

  /** Tells a shard that was started anew what runs. */
  tell(peer: number): void {
    for (const { definition } of this.running.values()) this.shard.asks.ask(peer, 'trace-begin', definition, () => {});
  }

  /** A message is routed for the first time; its ID is the last of `messageIds`. Sets its tag. @param targets of a P2P message */
  published(view: MessageView, publisherId: string, targets: readonly string[]): void {
    const topic = readText(view.topicBytes, view.topicAt, view.topicEnd);
    const { bytes } = this.shard.messageIds;
    const numbers: number[] = [];
    let isCandidate = false;
    for (const trace of this.running.values()) {
      const { clientId, number } = trace.definition;
      if (trace.idBytes !== null || !trace.suits(topic, bytes)) continue;
      if (clientId === '' || clientId === publisherId || targets.includes(clientId)) numbers.push(number);
      else isCandidate = true;
    }
    if (numbers.length === 0 && !isCandidate) return;
    view.trace = new TraceTag(Uint8Array.from(bytes), numbers);
    if (numbers.length > 0)
      this.note(view.trace, 'published', topic, view.qos, { clientId: publisherId, bytes: view.payloadEnd - view.payloadAt });
  }

  /** It goes to these shards. @param mask a bit each @param clientId target of a P2P message, '' for others */
  routed(view: MessageView, mask: number, clientId: string): void {
    const { trace } = view;
    if (trace === null || trace.traces.length === 0) return;
    const shards: number[] = [];
    for (let shard = 0; shard < this.shard.shards; shard++) if ((mask & (1 << shard)) !== 0) shards.push(shard);
    this.note(trace, 'routed', topicOf(view), view.qos, { ...(clientId !== '' && { clientId }), shards });
  }

  /** It was written to the connection of a client, or waits for it. */
  received(view: MessageView, event: TraceEventName, clientId: string, qos: number, reason = ''): void {
    const { trace } = view;
    const numbers = this.numbersFor(view, clientId);
    if (numbers.length === 0) return;
    const tag = new TraceTag(trace === null ? NO_ID : trace.id, numbers);
    this.note(tag, event, topicOf(view), qos, { clientId, ...(reason !== '' && { reason }) });
  }

  /** Whether somebody follows the message to this client: then it is kept until it is acknowledged. */
  follows(view: MessageView, session: ClientSession): boolean {
    if (view.trace === null) return false;
    return view.trace.traces.length > 0 || (this.hasClients && this.numbersFor(view, session.clientId).length > 0);
  }

  /** A client has acknowledged it, or refused it. */
  settled(message: Message, clientId: string, qos: number, status: string): void {
    const { view } = this;
    viewMessage(view, message);
    if (status === 'acknowledged') this.received(view, 'acknowledged', clientId, qos);
    else this.received(view, 'dropped', clientId, qos, 'refused_by_client');
  }

  dropped(view: MessageView, clientId: string, reason: string): void {
    if (view.topicBytes[view.topicAt] === DOLLAR && view.trace === null) return;
    this.received(view, reason === 'expired' ? 'expired' : 'dropped', clientId, view.qos, reason === 'expired' ? '' : reason);
  }

  /** A message that somebody kept may have been published before the trace began: then its `message-id` tells. */
  recognize(message: Message): void {
    if (!this.hasIds) return;
    if (message.trace !== null && message.trace.traces.length > 0) return;
    const id = message.trace === null ? idOf(message) : idText(message.trace.id, 0);
    if (id === '') return;
    const numbers: number[] = [];
    for (const { definition } of this.running.values()) if (definition.messageId === id) numbers.push(definition.number);
    if (numbers.length > 0) message.trace = new TraceTag(parseId(id)!, numbers);
  }

  /** The traces that follow a message to one client. */
  private numbersFor(view: MessageView, clientId: string): readonly number[] {
    const { trace } = view;
    const known = trace === null ? NO_NUMBERS : trace.traces;
    if (!this.hasClients) return known;
    let numbers: number[] | null = null;
    for (const one of this.running.values()) {
      const { definition } = one;
      if (definition.clientId !== clientId || one.idBytes !== null || known.includes(definition.number)) continue;
      if (!one.suits(topicOf(view), trace === null ? null : trace.id)) continue;
      numbers ??= [...known];
      numbers.push(definition.number);
    }
    return numbers ?? known;
  }

  private note(
    tag: TraceTag,
    event: TraceEventName,
    topic: string,
    qos: number,
    more: Pick<TraceEvent, 'clientId' | 'reason' | 'shards' | 'bytes'>,
  ): void {
    const { shard } = this;
    const noted: TraceEvent = {
      number: this.nextEvent++,
      at: shard.timers.read(),
      event,
      shard: shard.index,
      messageId: tag.id.length === 0 ? '' : idText(tag.id, 0),
      topic: topic.slice(0, TEXT_MAX),
      qos,
      ...more,
      ...(more.clientId !== undefined && { clientId: more.clientId.slice(0, TEXT_MAX) }),
    };
    let isKept = false;
    for (const number of tag.traces) {
      const trace = this.running.get(number);
      if (trace === undefined) continue;
      if (trace.events.length >= trace.definition.events || this.eventCount >= SHARD_EVENTS_MAX) {
        trace.lost++;
        shard.counters[DROPPED]!++;
        continue;
      }
      trace.events.push(noted);
      this.eventCount++;
      shard.counters[EVENTS]!++;
      if (trace.definition.keep) isKept = true;
    }
    if (isKept && tag.id.length > 0 && shard.history !== null) shard.history.keepTrace(tag.id, utf8Bytes(JSON.stringify(noted)));
  }
}

const NO_NUMBERS: readonly number[] = [];
const NO_ID = new Uint8Array(0);

function topicOf(view: MessageView): string {
  return readText(view.topicBytes, view.topicAt, view.topicEnd);
}

/** The Message ID that a message carries for its receivers; '': none. */
function idOf({ bytes, topicEnd, propertiesEnd }: Message): string {
  properties.reset(bytes, topicEnd, propertiesEnd);
  let id = '';
  while (properties.next()) {
    const { keyAt, keyEnd, valueAt, valueEnd } = properties;
    if (keyEnd - keyAt === KEY.length && readText(bytes, keyAt, keyEnd) === MESSAGE_ID_KEY) id = readText(bytes, valueAt, valueEnd);
  }
  return parseId(id) === null ? '' : id.toLowerCase();
}
