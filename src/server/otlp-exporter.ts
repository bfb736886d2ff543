/**
 * OtlpExporter: sends spans to an OpenTelemetry collector, as JSON over HTTP (OTLP 1.x). Shards hand over what they have once a second; what the collector does not take in time
 * is lost, and nobody waits for it.
 */
import type { Log } from '../base/log.ts';
import type { TracingSettings } from '../base/settings.ts';
import { VERSION } from '../base/version.ts';
import { counter } from '../shard/counters.ts';
import type { OtlpSpan } from '../shard/otlp-spans.ts';
import { PostQueue } from './post-queue.ts';

const EXPORTED = counter('tracing/spans/exported');
const LOST = counter('tracing/spans/lost');
/** Batches that wait; a batch is what one shard has in a second. */
const BATCHES_MAX = 100;
const TIMEOUT_MILLISECONDS = 10_000;
const RETRIES = 5;
/** Failures are told once in this time. */
const LOG_MILLISECONDS = 60_000;

export class OtlpExporter {
  private readonly queue: PostQueue;
  private readonly resource: object;
  private toldAt: number;

  /** @param counters row of the supervisor's counts */
  constructor({ otlp, headers, serviceName }: TracingSettings, node: string, counters: Float64Array, log: Log) {
    const url = new URL(otlp);
    if (url.pathname === '/') url.pathname = '/v1/traces';
    this.resource = {
      attributes: [attribute('service.name', serviceName), attribute('service.version', VERSION), attribute('service.instance.id', node)],
    };
    this.toldAt = Number.NEGATIVE_INFINITY;
    this.queue = new PostQueue({
      url,
      timeoutMilliseconds: TIMEOUT_MILLISECONDS,
      retries: RETRIES,
      itemsMax: BATCHES_MAX,
      headers: () => ({ ...headers, 'content-type': 'application/json' }),
      done: ({ weight }, problem) => {
        counters[problem === null ? EXPORTED : LOST]! += weight;
        if (problem === null || performance.now() - this.toldAt < LOG_MILLISECONDS) return;
        this.toldAt = performance.now();
        log.warn({ url: `${url.origin}${url.pathname}`, problem }, 'spans were lost: the collector does not take them');
      },
    });
  }

  /** Takes spans of a shard. */
  add(spans: readonly OtlpSpan[], shard: number): void {
    const body = JSON.stringify({
      resourceSpans: [
        {
          resource: this.resource,
          scopeSpans: [{ scope: { name: 'onehop', version: VERSION }, spans: spans.map((span) => spanJson(span, shard)) }],
        },
      ],
    });
    this.queue.push({ body, weight: spans.length });
  }

  stop(): Promise<void> {
    return this.queue.stop();
  }
}

function attribute(key: string, value: string | number | boolean): object {
  if (typeof value === 'string') return { key, value: { stringValue: value } };
  if (typeof value === 'boolean') return { key, value: { boolValue: value } };
  return { key, value: { intValue: String(value) } };
}

function spanJson(span: OtlpSpan, shard: number): object {
  const { traceId, spanId, parentSpanId, name, kind, beginMilliseconds, endMilliseconds, attributes, problem } = span;
  return {
    traceId,
    spanId,
    ...(parentSpanId !== '' && { parentSpanId }),
    name,
    kind,
    startTimeUnixNano: nanoseconds(beginMilliseconds),
    endTimeUnixNano: nanoseconds(endMilliseconds),
    attributes: [
      ...Object.entries(attributes).map(([key, value]) => attribute(key, value)),
      attribute('messaging.system', 'mqtt'),
      attribute('onehop.shard', shard),
    ],
    ...(problem !== '' && { status: { code: 2, message: problem } }),
  };
}

/** A number of 64 bits, as text. */
function nanoseconds(milliseconds: number): string {
  return `${BigInt(Math.round(milliseconds * 1000)) * 1000n}`;
}
