/**
 * AlarmWebhook: tells a service of somebody else of each alarm, by a POST with JSON that may be signed.
 *
 *   X-Onehop-Signature: t={seconds since 1970},v1={HMAC-SHA-256 of `{t}.{body}`, hexadecimal}
 *
 * The time is part of what is signed, so a notice that somebody has kept cannot be shown again later.
 */
import { createHmac } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import type { Log } from '../base/log.ts';
import type { WebhookSettings } from '../base/settings.ts';
import { counter } from '../shard/counters.ts';
import type { Alarm, AlarmEvent } from './alarms.ts';
import { PostQueue } from './post-queue.ts';
import { StartError } from './start-error.ts';

const SENT = counter('alarms/notices/sent');
const LOST = counter('alarms/notices/lost');
const NOTICES_MAX = 1000;

/** What a notice is signed with. */
export function signatureOf(secret: string, seconds: number, body: string): string {
  return `t=${seconds},v1=${createHmac('sha256', secret).update(`${seconds}.${body}`).digest('hex')}`;
}

export class AlarmWebhook {
  private readonly queue: PostQueue;

  /** @param counters row of the supervisor's counts. @throws StartError when the secret cannot be read */
  constructor({ url, secret: file, timeoutMilliseconds, retries }: WebhookSettings, counters: Float64Array, log: Log) {
    const secret = file === '' ? null : readSecret(file);
    this.queue = new PostQueue({
      url: new URL(url),
      timeoutMilliseconds,
      retries,
      itemsMax: NOTICES_MAX,
      headers: (body) => ({
        'content-type': 'application/json',
        'user-agent': 'onehop',
        ...(secret !== null && { 'x-onehop-signature': signatureOf(secret, Math.floor(Date.now() / 1000), body) }),
      }),
      done: (_item, problem) => {
        counters[problem === null ? SENT : LOST]!++;
        if (problem !== null) log.warn({ url: withoutSecrets(url), problem }, 'a notice about an alarm was given up');
      },
    });
  }

  tell(event: AlarmEvent, node: string, alarm: Alarm): void {
    this.queue.push({ body: JSON.stringify({ event: event.replace('_', '.'), node, alarm }), weight: 1 });
  }

  stop(): Promise<void> {
    return this.queue.stop();
  }
}

const SECRET_BYTES_MAX = 65_536;

/** @throws StartError when there is none in the file */
export function readSecret(file: string): string {
  let secret: string;
  try {
    const facts = statSync(file);
    // A pipe would hold up the thread that reads it, and a device never ends.
    if (!facts.isFile() || facts.size > SECRET_BYTES_MAX) throw new Error(`this is no file of at most ${SECRET_BYTES_MAX} bytes`);
    secret = readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new StartError(`alarms.webhook.secret: ${file}: cannot read this file: ${(error as Error).message}`, 1);
  }
  if (secret === '') throw new StartError(`alarms.webhook.secret: ${file}: there is nothing in this file`, 1);
  return secret;
}

/** The address for the log: names, passwords and tokens may be in it, and of some services the path is the secret. */
function withoutSecrets(url: string): string {
  return new URL(url).origin;
}
