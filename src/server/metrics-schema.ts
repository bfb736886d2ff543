/**
 * The keys of what is measured and traced.
 */
import { z } from 'zod';
import type { MetricsSettings, TracingSettings } from '../base/settings.ts';
import { key, section } from './config-key.ts';
import { count, flag, fraction, type KeyFacts, show, text } from './config-value.ts';

/** An address that is not written is no address. */
export function checkService(value: string): string | undefined {
  if (value === '') return undefined;
  const url = URL.canParse(value) ? new URL(value) : null;
  return url !== null && ['http:', 'https:'].includes(url.protocol)
    ? undefined
    : `expected an address such as http://127.0.0.1:4318, not ${show(value)}`;
}

function checkName(value: string): string | undefined {
  return value === '' || value.length > 128 ? 'expected 1 to 128 characters' : undefined;
}

const metricsKeys: { readonly [K in keyof MetricsSettings]: z.ZodType<MetricsSettings[K], unknown> } = {
  public: key(
    flag(),
    false,
    'Whether `/metrics` of an `http` listener needs no credentials. `false`: an API key with the role `viewer`. See [observability.md](observability.md).',
  ),
  routeSample: key(
    count(0, 1_000_000_000),
    1_024,
    'One message of so many is looked at for the list of the topics that cost most (`/api/v1/slow/routes`). 0: none.',
  ),
};

export const metrics: z.ZodPrefault<z.ZodObject<typeof metricsKeys, z.core.$strict>> = section(metricsKeys);

const headers = z
  .record(
    z.string().regex(/^[\w!#$%&'*+.^`|~-]+$/, { error: 'expected names of headers' }),
    z.string().regex(/^[\t\x20-\x7e]*$/, { error: 'expected printable ASCII characters' }),
  )
  .prefault({})
  .meta({
    type: 'names with texts',
    default: '{}',
    text: 'Headers of each request to the collector, such as `{ Authorization: "Bearer …" }`.',
    verbatim: false,
    input: { kind: 'pairs', values: [] },
  } satisfies KeyFacts);

const tracingKeys: { readonly [K in keyof TracingSettings]: z.ZodType<TracingSettings[K], unknown> } = {
  otlp: key(
    text(checkService),
    '',
    'Address of an OpenTelemetry collector (OTLP over HTTP, JSON), such as `http://127.0.0.1:4318`; without a path `/v1/traces` is added. Empty: nothing is traced.',
  ),
  headers,
  sample: key(
    fraction(),
    0.001,
    'Part of the messages that are traced, from 0 to 1. A traced message gets a User Property `traceparent`, so that receivers can go on with the trace.',
  ),
  fromClients: key(
    flag(),
    true,
    'Whether a message is traced that brings a `traceparent` whose sampled flag is set. The trace then goes on, whatever `sample` says.',
  ),
  serviceName: key(text(checkName), 'onehop', 'Name of this service in traces (`service.name`).'),
};

export const tracing: z.ZodPrefault<z.ZodObject<typeof tracingKeys, z.core.$strict>> = section(tracingKeys);
