/**
 * The keys of alarms: a threshold for each rule, with the value at which it is cleared, and who is told.
 */
import type { z } from 'zod';
import type { AlarmRuleName, AlarmRuleSettings, AlarmSettings } from '../base/settings.ts';
import { key, section } from './config-key.ts';
import { count, duration, flag, text } from './config-value.ts';
import { checkService } from './metrics-schema.ts';

function checkFile(value: string): string | undefined {
  return value.includes('\0') ? 'expected a file such as ./webhook-secret' : undefined;
}

interface RuleFile extends Omit<AlarmRuleSettings, 'forMilliseconds'> {
  readonly for: number;
}

interface WebhookFile {
  readonly url: string;
  readonly secret: string;
  readonly timeout: number;
  readonly retries: number;
}

interface AlarmFile {
  readonly rules: Readonly<Record<AlarmRuleName, RuleFile>>;
  readonly webhook: WebhookFile;
}

/** @param unit what the thresholds count; @param max largest value that makes sense */
function rule(meaning: string, unit: string, threshold: number, clear: number, lasts: string, max: number): z.ZodType<RuleFile, unknown> {
  const keys: { readonly [K in keyof RuleFile]: z.ZodType<RuleFile[K], unknown> } = {
    enabled: key(flag(), true, `Whether this alarm is raised: ${meaning}`),
    threshold: key(count(0, max), threshold, `At which it is raised, in ${unit}.`),
    clear: key(count(0, max), clear, `At which it is cleared, in ${unit}.`),
    for: key(duration({ unit: 'milliseconds', min: 0, max: 86_400_000 }), lasts, 'How long that must last, both times.'),
  };
  return section(keys) as z.ZodType<RuleFile, unknown>;
}

const million = 1_000_000;
const percent = 100;

const rules: { readonly [K in AlarmRuleName]: z.ZodType<RuleFile, unknown> } = {
  connections: rule('clients are near `limits.connections`.', 'percent of the limit', 90, 80, '10s', percent),
  sessions: rule('sessions are near `limits.sessions`.', 'percent of the limit', 90, 80, '10s', percent),
  queuedBytes: rule(
    'what waits is near `limits.queuedBytesTotal`, where messages are refused.',
    'percent of the limit',
    80,
    70,
    '10s',
    percent,
  ),
  retainedMessages: rule(
    'retained messages are near `limits.retainedMessages`, or their bytes near `limits.retainedBytes`.',
    'percent of the limit',
    90,
    80,
    '10s',
    percent,
  ),
  memory: rule('the process has nearly all memory of the machine, or of its container.', 'percent of the memory', 90, 85, '30s', percent),
  disk: rule('the file system of the store is nearly full.', 'percent of its size', 90, 85, '30s', percent),
  storeDegraded: rule('the store takes nothing.', 'shards for which that is so', 1, 0, '0s', million),
  shardLoad: rule('a shard is busy nearly all the time.', 'percent of the time', 90, 75, '30s', percent),
  eventLoopLag: rule('a shard was held up, and all its clients with it.', 'milliseconds', 500, 200, '5s', million),
  ringFull: rule('shards cannot take what others send them.', 'frames that waited per second', 1_000, 100, '10s', million),
  droppedMessages: rule(
    'messages are lost because somebody is too slow or something is full (`queue_full`, `outbound_full`, `process_full`, `ring_full`, `store_degraded`).',
    'messages per second',
    100,
    10,
    '10s',
    million,
  ),
  loginFailures: rule('logins fail.', 'logins per second', 20, 5, '10s', million),
  slowConsumers: rule('clients do not take what is sent to them.', 'connections that are blocked', 100, 50, '30s', million),
  certificateExpiry: rule(
    'a certificate of a listener ends soon. Raised at or below the threshold, cleared at or above the other value.',
    'days that are left',
    14,
    15,
    '0s',
    million,
  ),
  shardRestarted: rule('a shard has died and was started anew.', 'restarts in the last ten minutes', 1, 0, '0s', million),
};

export const alarms: z.ZodType<AlarmFile, unknown> = section({
  rules: section(rules),
  webhook: section({
    url: key(
      text(checkService),
      '',
      'Address that is told of each alarm that is raised or cleared, by a POST with JSON. Empty: none. See [observability.md](observability.md#webhook).',
    ),
    secret: key(
      text(checkFile),
      '',
      'File of a secret with which the notices are signed (HMAC-SHA-256, `X-Onehop-Signature`). Empty: they are not signed.',
    ),
    timeout: key(duration({ unit: 'milliseconds', min: 100, max: 60_000 }), '5s', 'Longest time for one notice.'),
    retries: key(count(0, 100), 10, 'How often a notice is sent again, at growing intervals of up to a minute, before it is given up.'),
  }),
}) as z.ZodType<AlarmFile, unknown>;

/** In the names and units of `Settings`. */
export function alarmSettings({ rules: file, webhook }: AlarmFile): AlarmSettings {
  const entries = Object.entries(file).map(([name, { for: lasts, ...same }]) => [name, { ...same, forMilliseconds: lasts }]);
  const { timeout, ...same } = webhook;
  return { rules: Object.fromEntries(entries) as AlarmSettings['rules'], webhook: { ...same, timeoutMilliseconds: timeout } };
}
