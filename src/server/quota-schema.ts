/**
 * The keys of quotas: how much clients may publish, receive, subscribe and connect. `docs/quotas.md` says what they do; those of one listener are among its own keys.
 */
import { z } from 'zod';
import type { InboundQuotaSettings, QuotaSettings, RateSettings } from '../base/settings.ts';
import { key, section } from './config-key.ts';
import { count, type Kind, show, text } from './config-value.ts';
import { type InboundQuotaFile, inboundQuota, rate } from './quota-kinds.ts';

const million = 1_000_000;
/** CONNECT packets in a second where the configuration says nothing: this, or a hundredth of the connections. */
const CONNECT_RATE_MIN = 100;
const CONNECT_RATE_PART = 100;

function checkBy(value: string): string | undefined {
  return /^(none|username|attribute:.{1,64})$/.test(value)
    ? undefined
    : `expected none, username or an attribute such as attribute:tenant, not ${show(value)}`;
}

/** `auto` stands for what the number of connections says: undefined. */
function rateOrAuto(): Kind<RateSettings | null | undefined> {
  const { schema, type } = rate('count');
  return {
    schema: z.union([z.literal('auto').transform(() => undefined), schema], {
      error: (issue) => `expected auto, off, 100 or { perSecond: 100, burst: 500 }, not ${show(issue.input)}`,
    }),
    type: `\`auto\`, ${type}`,
    verbatim: false,
    input: { kind: 'rate', values: ['auto', 'off'] },
  };
}

interface GroupFile extends InboundQuotaFile {
  readonly by: string;
  readonly connections: number;
}

interface QuotaFile {
  readonly client: InboundQuotaFile & {
    readonly messagesOut: RateSettings | null;
    readonly bytesOut: RateSettings | null;
    readonly subscribeRate: RateSettings | null;
  };
  readonly groups: GroupFile;
  readonly broker: InboundQuotaFile & {
    /** Undefined: what the number of connections says. */
    readonly connectRate: RateSettings | null | undefined;
    readonly subscribeRate: RateSettings | null;
  };
}

const sections = {
  client: section({
    ...inboundQuota('one client'),
    messagesOut: key(
      rate('count'),
      'off',
      'Messages that one client is sent in a second. Beyond it QoS 0 is dropped, and QoS 1 and 2 wait in the queue of its session.',
    ),
    bytesOut: key(rate('bytes'), 'off', 'The same for their bytes.'),
    subscribeRate: key(rate('count'), 'off', 'Topic filters that one client may subscribe to in a second.'),
  }),
  groups: section({
    by: key(
      text(checkBy),
      'none',
      'What the clients of a group have in common: `username`, or an attribute that their authenticator knows of them (`attribute:tenant`). Clients without it are in no group. The limits below are those of each group, in all shards.',
    ),
    ...inboundQuota('one group'),
    connections: key(count(0, 100 * million), 0, 'Connections of one group. A further one is refused with Quota exceeded. 0: no limit.'),
  }).check((context) => {
    const { by, messagesIn, bytesIn, connections } = context.value;
    if (by !== 'none' || (messagesIn === null && bytesIn === null && connections === 0)) return;
    const message = 'expected username or an attribute such as attribute:tenant, because there are limits of groups';
    context.issues.push({ code: 'custom', path: ['by'], message, input: context.value });
  }),
  broker: section({
    ...inboundQuota('all clients'),
    connectRate: key(
      rateOrAuto(),
      'auto',
      'CONNECT packets that are handled in a second; more are refused with Connection rate exceeded before anybody is asked who the client is. `auto`: a hundredth of `limits.connections`, and at least 100. `off`: no limit.',
    ),
    subscribeRate: key(rate('count'), 'off', 'Topic filters that all clients together may subscribe to in a second.'),
  }),
};

/** The section of the file. */
export const quotas: z.ZodType<QuotaFile, unknown> = section(sections);

function inbound({ messagesIn, bytesIn, overLimit }: InboundQuotaFile): InboundQuotaSettings {
  return { messagesIn, bytesIn, overLimit };
}

/** In the names of `Settings`. @param connections of the process */
export function quotaSettings(file: QuotaFile, listeners: readonly InboundQuotaFile[], connections: number): QuotaSettings {
  const { client, groups, broker } = file;
  const standard = Math.max(CONNECT_RATE_MIN, Math.floor(connections / CONNECT_RATE_PART));
  return {
    client,
    listeners: listeners.map(inbound),
    groups: { ...groups, by: groupBy(groups.by) },
    broker: {
      ...broker,
      connectRate: broker.connectRate === undefined ? { perSecond: standard, burst: standard } : broker.connectRate,
    },
  };
}

function groupBy(by: string): QuotaSettings['groups']['by'] {
  if (by === 'none') return null;
  return by === 'username' ? { kind: 'username' } : { kind: 'attribute', name: by.slice('attribute:'.length) };
}
