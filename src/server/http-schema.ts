/**
 * The keys of the HTTP door: who may use it, how much, and what is written about it. Its listeners are among the others.
 */
import type { z } from 'zod';
import type { HttpApiSettings } from '../base/settings.ts';
import { key, section } from './config-key.ts';
import { choice, count, duration, flag, fraction, show, size, text, textList } from './config-value.ts';
import { checkOrigin } from './listener-schema.ts';

function checkFile(value: string): string | undefined {
  return value.includes('\0') ? `expected a file such as ./api-keys.json, not ${show(value)}` : undefined;
}

function checkAttribute(value: string): string | undefined {
  return value.length > 128 ? 'expected at most 128 characters' : undefined;
}

/** What the file says about it, checked. */
export interface HttpFile
  extends Pick<HttpApiSettings, 'apiKeys' | 'auditLog' | 'auditLogFiles' | 'roleAttribute' | 'accessLog' | 'accessLogSample' | 'console'> {
  readonly auditLogSize: number;
  readonly origins: readonly string[];
  readonly requestSize: number;
  readonly timeout: number;
  readonly changeTimeout: number;
  readonly requests: number;
}

const keys: {
  readonly [K in keyof HttpFile]: z.ZodType<HttpFile[K], unknown>;
} = {
  apiKeys: key(
    text(checkFile),
    './api-keys.json',
    'File of API keys, which `onehop apikey` writes and the broker reads whenever it changes. Need not be there. See [http-api.md](http-api.md).',
  ),
  auditLog: key(
    text(checkFile),
    './audit.log',
    'File with a line of JSON for each change that was made through the API: who, what, when. Empty: none is written, and only the last 1,000 are remembered. See [administration.md](administration.md#the-audit-log).',
  ),
  auditLogSize: key(size(4_096, 2 ** 40), '10MiB', 'Size at which the audit log is put aside as `audit.log.1`, and a new one is begun.'),
  auditLogFiles: key(count(0, 1_000), 5, 'How many audit logs that were put aside are kept.'),
  roleAttribute: key(
    text(checkAttribute),
    '',
    'Attribute of users, tokens and certificates that names the role of its bearer in the HTTP API: `service`, `viewer`, `operator` or `admin`. Empty: none does. Superusers are `admin`, everybody else is `service`.',
  ),
  origins: key(
    textList((value) => (value === '*' ? undefined : checkOrigin(value)), 'origins such as [https://console.example.com]'),
    '[]',
    "Origins of web pages that may use the HTTP API, such as `[https://console.example.com]`; `['*']` for all. Pages that come from the broker itself always may. Requests without credentials must use an address, `localhost` or one of these hosts.",
    [],
  ),
  requestSize: key(size(1_024, 268_435_460), '1MiB', 'Longest body of a request.'),
  timeout: key(
    duration({ unit: 'milliseconds', min: 100, max: 600_000 }),
    '10s',
    'Longest time from a whole request to its answer. A request that says how long it waits itself is not bound by it.',
  ),
  changeTimeout: key(
    duration({ unit: 'milliseconds', min: 100, max: 600_000 }),
    '60s',
    'The same for a request that changes a file, which waits for whoever else changes that file, and a file may have 100,000 entries; at least `timeout`.',
  ),
  requests: key(count(1, 1_000_000), 10_000, 'Requests that are under way at a time, in all shards; more are told to come back.'),
  accessLog: key(choice('none', 'failed', 'all'), 'failed', 'Which requests are logged: none, those with a status from 400 up, or all.'),
  accessLogSample: key(fraction(), 1, 'Part of the successful requests that `accessLog: all` logs, from 0 to 1.'),
  console: key(
    flag(),
    true,
    'Whether `/console` is served: the application for browsers, which uses this API. See [console.md](console.md).',
  ),
};

export const http: z.ZodPrefault<z.ZodObject<typeof keys, z.core.$strict>> = section(keys);

/** In the names and units of `Settings`. */
export function httpSettings({ origins, requestSize, timeout, changeTimeout, requests, auditLogSize, ...same }: HttpFile): HttpApiSettings {
  return {
    ...same,
    origins: origins.includes('*') ? '*' : origins,
    auditLogBytes: auditLogSize,
    requestBytes: requestSize,
    timeoutMilliseconds: timeout,
    changeTimeoutMilliseconds: Math.max(timeout, changeTimeout),
    requestsMax: requests,
  };
}
