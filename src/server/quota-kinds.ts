/**
 * What the keys of all quotas have in common: the kind of value that says how much may pass, and the keys of what clients publish.
 */
import { z } from 'zod';
import type { InboundQuotaSettings, RateSettings } from '../base/settings.ts';
import { key } from './config-key.ts';
import { choice, count, type Kind, show, size } from './config-value.ts';

const COUNT_MAX = 1_000_000_000;
const BYTES_MAX = 1_000_000_000_000;
/** A bucket is looked at four times a second; a smaller one would not let its rate through. */
const BURST_SECONDS_MIN = 0.25;
const BURST_SECONDS_MAX = 3_600;

/** `off`, so much in a second, or that with a burst of its own. */
export function rate(unit: 'count' | 'bytes'): Kind<RateSettings | null> {
  const one = unit === 'count' ? count(1, COUNT_MAX) : size(1, BYTES_MAX);
  const such = unit === 'count' ? '100 or { perSecond: 100, burst: 500 }' : '64KiB or { perSecond: 64KiB, burst: 1MiB }';
  const schema = z.unknown().transform((value, context): RateSettings | null => {
    const fail = (message: string): never => {
      context.issues.push({ code: 'custom', message, input: value });
      return z.NEVER;
    };
    if (value === 'off') return null;
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    const { perSecond, burst, ...more } = (isObject ? value : { perSecond: value }) as Record<string, unknown>;
    const each = one.schema.safeParse(perSecond);
    const most = burst === undefined ? each : one.schema.safeParse(burst);
    if (!each.success || !most.success || Object.keys(more).length > 0) return fail(`expected off, ${such}, not ${show(value)}`);
    if (most.data < each.data * BURST_SECONDS_MIN || most.data > each.data * BURST_SECONDS_MAX)
      return fail(`expected a burst of what a quarter of a second up to an hour brings, not ${show(value)}`);
    return { perSecond: each.data, burst: most.data };
  });
  const word = unit === 'count' ? 'number' : 'size';
  const type = `\`off\`, ${word} per second, or \`{ perSecond, burst }\``;
  return { schema, type, verbatim: false, input: { kind: unit === 'count' ? 'rate' : 'byte-rate', values: ['off'] } };
}

export interface InboundQuotaFile {
  readonly messagesIn: RateSettings | null;
  readonly bytesIn: RateSettings | null;
  readonly overLimit: InboundQuotaSettings['overLimit'];
}

type InboundQuotaShape = { readonly [K in keyof InboundQuotaFile]: z.ZodType<InboundQuotaFile[K], unknown> };

/** The keys about what clients publish. @param whose of whom */
export function inboundQuota(whose: string): InboundQuotaShape {
  return {
    messagesIn: key(rate('count'), 'off', `Messages that may be published in a second by ${whose}. See [quotas.md](quotas.md).`),
    bytesIn: key(rate('bytes'), 'off', 'The same for their bytes.'),
    overLimit: key(
      choice('reject', 'throttle'),
      'reject',
      'What is done with QoS 1 and 2 beyond these limits. `reject`: refused with Quota exceeded. `throttle`: the client is not read until there is room. MQTT 3.1 and 3.1.1 know no refusal and are throttled always; QoS 0 is dropped always.',
    ),
  };
}
