/**
 * OtlpSpans: spans of traced messages in this shard, for a collector of OpenTelemetry.
 *
 *   PUBLISH ── publish ─────────────────────▶ PUBACK          on the publisher's shard
 *                 └ route
 *   deliver ── acknowledge ──▶ PUBACK of the receiver          on each receiver's shard, for each receiver
 *
 * The trace travels as the User Property `traceparent` of the message (W3C Trace Context), over rings, queues and the store: what a publisher has sent is left as it is, and a
 * message that the broker chooses by itself gets one. Where nothing is traced `Shard.otlp` is null, and that is all that is asked for each message.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readText, utf8Bytes } from '../base/bytes.ts';
import { LineRate } from '../base/line-rate.ts';
import type { TracingSettings } from '../base/settings.ts';
import { encodeUserProperties, UserPropertyReader } from '../protocol/property.ts';
import { appendProperties, type MessageView } from '../protocol/publish.ts';
import { type ReasonCode, reasonName } from '../protocol/reason-code.ts';
import { SUPERVISOR } from './asks.ts';
import { counter } from './counters.ts';
import type { PendingAck } from './outcome.ts';
import type { ClientSession, Shard } from './shard.ts';

const MADE = counter('tracing/spans/made');
const DROPPED = counter('tracing/spans/dropped');

/** Messages and deliveries of one shard that are traced in a second, whatever publishers ask for. */
const TRACED_PER_SECOND = 1000;
/** Spans between two looks. */
const SPANS_MAX = 8192;
/** Exchanges that have not ended; those that do not end in time are told as they are. */
const OPEN_MAX = 10_000;
const OPEN_MILLISECONDS = 60_000;
/** Receivers of one message that get spans. */
const DELIVERIES_MAX = 32;
/** Kinds of spans, as OTLP numbers them. */
const INTERNAL = 1;
const SERVER = 2;
const PRODUCER = 4;

const KEY = utf8Bytes('traceparent');
const CONTEXT = /^(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})/;

/** One span, as it goes to the supervisor. */
export interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** '': it is the first of its trace. */
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: number;
  /** Wall time, with fractions. */
  readonly beginMilliseconds: number;
  readonly endMilliseconds: number;
  readonly attributes: Readonly<Record<string, string | number>>;
  /** What went wrong; '': nothing. */
  readonly problem: string;
}

/** A span that has no end yet. */
export type OpenSpan = Omit<OtlpSpan, 'endMilliseconds' | 'problem'>;

interface Context {
  readonly traceId: string;
  readonly spanId: string;
}

export class OtlpSpans {
  private readonly shard: Shard;
  private readonly settings: TracingSettings;
  private readonly every: number;
  private left: number;
  private readonly rate: LineRate;
  /** What trace IDs of this broker begin with, so that those of clients are told from them. */
  private readonly ownPrefix: string;
  private spans: OtlpSpan[];
  private readonly publishing: Map<PendingAck, OpenSpan>;
  /** By session and Packet Identifier. */
  private readonly sent: Map<ClientSession, Map<number, OpenSpan>>;
  private sentCount: number;
  private readonly properties: UserPropertyReader;
  private lastSpanId: string;
  private deliveries: number;

  constructor(shard: Shard, settings: TracingSettings) {
    this.shard = shard;
    this.settings = settings;
    this.every = settings.sample === 0 ? Number.POSITIVE_INFINITY : Math.max(1, Math.round(1 / settings.sample));
    // Not the first message of each shard, after each start.
    this.left = Math.ceil(Math.random() * this.every);
    this.rate = new LineRate(TRACED_PER_SECOND);
    this.ownPrefix = createHash('sha256').update(shard.settings.node).digest('hex').slice(0, 8);
    this.spans = [];
    this.publishing = new Map();
    this.sent = new Map();
    this.sentCount = 0;
    this.properties = new UserPropertyReader();
    this.lastSpanId = '';
    this.deliveries = 0;
  }

  /** A client publishes the message. @returns its span, for `routed`; null: it is not traced */
  published(view: MessageView, session: ClientSession): OpenSpan | null {
    const text = this.contextText(view);
    const context = text === null ? null : this.contextOf(text);
    if (text === null) {
      if (--this.left > 0) return null;
      this.left = this.every;
    } else if (context === null) return null;
    if (!this.mayTrace()) return null;
    const traceId = context?.traceId ?? this.ownPrefix + randomBytes(12).toString('hex');
    const spanId = randomBytes(8).toString('hex');
    if (context === null) {
      const property = encodeUserProperties([['traceparent', `00-${traceId}-${spanId}-01`]]);
      if (property !== null) appendProperties(view, property, this.shard.propertyScratch);
    }
    return {
      traceId,
      spanId,
      parentSpanId: context?.spanId ?? '',
      name: 'publish',
      kind: SERVER,
      beginMilliseconds: this.shard.timers.exact,
      attributes: { ...messageFacts(view, view.qos), 'messaging.client.id': session.clientId },
    };
  }

  /** It has been given to all who want it, or refused. */
  routed(span: OpenSpan, refusal: ReasonCode): void {
    const { outcome, timers } = this.shard;
    const now = timers.read();
    const reason = refusal === 0 ? outcome.reason : refusal;
    const problem = reason >= 0x80 ? reasonName(reason) : '';
    const route = { ...span, spanId: randomBytes(8).toString('hex'), parentSpanId: span.spanId, name: 'route', kind: INTERNAL };
    this.add({ ...route, endMilliseconds: now, attributes: {}, problem });
    const { ack } = outcome;
    if (ack !== null && this.publishing.size < OPEN_MAX) this.publishing.set(ack, span);
    else this.add({ ...span, attributes: { ...span.attributes, 'mqtt.reason_code': reason }, endMilliseconds: now, problem });
  }

  /** PUBACK or PUBREC leaves. */
  acknowledged(ack: PendingAck, reason: ReasonCode): void {
    const span = this.publishing.size === 0 ? undefined : this.publishing.get(ack);
    if (span === undefined) return;
    this.publishing.delete(ack);
    const attributes = { ...span.attributes, 'mqtt.reason_code': reason };
    this.add({ ...span, attributes, endMilliseconds: this.shard.timers.read(), problem: reason >= 0x80 ? reasonName(reason) : '' });
  }

  /** The message has been written to a client's output. @param packetId 0 for QoS 0 */
  delivered(session: ClientSession, view: MessageView, qos: number, packetId: number): void {
    const text = this.contextText(view);
    const context = text === null ? null : this.contextOf(text);
    if (context === null) return;
    if (context.spanId !== this.lastSpanId) {
      this.lastSpanId = context.spanId;
      this.deliveries = 0;
    }
    if (++this.deliveries > DELIVERIES_MAX) {
      this.shard.counters[DROPPED]!++;
      return;
    }
    if (!this.mayTrace()) return;
    const now = this.shard.timers.read();
    const spanId = randomBytes(8).toString('hex');
    const span: OpenSpan = {
      traceId: context.traceId,
      spanId,
      parentSpanId: context.spanId,
      name: 'deliver',
      kind: PRODUCER,
      beginMilliseconds: this.shard.timers.exact,
      attributes: { ...messageFacts(view, qos), 'messaging.client.id': session.clientId },
    };
    this.add({ ...span, endMilliseconds: now, problem: '' });
    if (packetId === 0) return;
    if (this.sentCount >= OPEN_MAX) {
      this.shard.counters[DROPPED]!++;
      return;
    }
    const own = { ...span, spanId: randomBytes(8).toString('hex'), parentSpanId: spanId, name: 'acknowledge', kind: INTERNAL };
    let open = this.sent.get(session);
    if (open === undefined) {
      open = new Map();
      this.sent.set(session, open);
    }
    if (!open.has(packetId)) this.sentCount++;
    open.set(packetId, { ...own, beginMilliseconds: now, attributes: { 'messaging.client.id': session.clientId } });
  }

  /** The exchange of a message is over. @param status `acknowledged`, or why not */
  settled(session: ClientSession, packetId: number, status: string): void {
    const open = this.sentCount === 0 ? undefined : this.sent.get(session);
    const span = open?.get(packetId);
    if (open === undefined || span === undefined) return;
    open.delete(packetId);
    if (open.size === 0) this.sent.delete(session);
    this.sentCount--;
    this.add({ ...span, endMilliseconds: this.shard.timers.read(), problem: status === 'acknowledged' ? '' : status });
  }

  /** One second has passed: what there is goes to the supervisor. */
  flush(): void {
    const oldest = this.shard.timers.exact - OPEN_MILLISECONDS;
    for (const [ack, span] of this.publishing) {
      // They are in the order in which they came.
      if (span.beginMilliseconds > oldest) break;
      this.publishing.delete(ack);
      this.add({ ...span, endMilliseconds: this.shard.timers.exact, problem: 'not acknowledged in time' });
    }
    for (const [session, open] of this.sent)
      for (const [packetId, span] of open)
        if (span.beginMilliseconds <= oldest) this.settled(session, packetId, 'not acknowledged in time');
    if (this.spans.length === 0) return;
    const { spans, shard } = this;
    this.spans = [];
    shard.asks.ask(SUPERVISOR, 'otlp-spans', { spans, shard: shard.index }, () => {});
  }

  private mayTrace(): boolean {
    if (this.rate.take(this.shard.timers.now)) return true;
    this.shard.counters[DROPPED]!++;
    return false;
  }

  private add(span: OtlpSpan): void {
    if (this.spans.length >= SPANS_MAX) {
      this.shard.counters[DROPPED]!++;
      return;
    }
    this.shard.counters[MADE]!++;
    this.spans.push(span);
  }

  /** The text of `traceparent`; null: the message has none. */
  private contextText(view: MessageView): string | null {
    const { propertyBytes, propertiesAt, propertiesEnd } = view;
    if (propertiesAt === propertiesEnd) return null;
    const { properties } = this;
    properties.reset(propertyBytes, propertiesAt, propertiesEnd);
    while (properties.next()) {
      const { keyAt, keyEnd, valueAt, valueEnd } = properties;
      if (keyEnd - keyAt === KEY.length && isKey(propertyBytes, keyAt))
        return readText(propertyBytes, valueAt, Math.min(valueEnd, valueAt + 55));
    }
    return null;
  }

  /** What it says, where the message is to be traced by it. */
  private contextOf(text: string): Context | null {
    const match = CONTEXT.exec(text);
    if (match === null || (Number.parseInt(match[3]!, 16) & 1) === 0) return null;
    const traceId = match[1]!;
    if (!this.settings.fromClients && !traceId.startsWith(this.ownPrefix)) return null;
    return { traceId, spanId: match[2]! };
  }
}

function isKey(bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < KEY.length; i++) if (bytes[at + i] !== KEY[i]) return false;
  return true;
}

function messageFacts(view: MessageView, qos: number): Record<string, string | number> {
  return {
    'messaging.destination.name': readText(view.topicBytes, view.topicAt, view.topicEnd),
    'messaging.message.body.size': view.payloadEnd - view.payloadAt,
    'mqtt.qos': qos,
  };
}
