/**
 * `onehop publish`, and `onehop p2p --confirm`: messages over the HTTP API, with any payload, and what became of them.
 *
 * Invariant: exit code 0 means that the broker has taken the message and, where it was to be confirmed, that every target has acknowledged it.
 */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Api, ApiFailure, type ApiOptions, route } from './api-client.ts';
import { Failure } from './failure.ts';
import { jsonText, note, print, visible } from './output.ts';

export interface PublishOptions extends ApiOptions {
  readonly topic: string;
  readonly message?: string;
  readonly file?: string;
  readonly qos: 0 | 1 | 2;
  readonly retain?: boolean;
  readonly expiry?: number;
  readonly contentType?: string;
  readonly responseTopic?: string;
  readonly correlation?: string;
  readonly property?: readonly string[];
}

export interface ConfirmOptions extends ApiOptions {
  readonly client: readonly string[];
  readonly message: string;
  readonly qos: 0 | 1 | 2;
  /** Seconds. */
  readonly timeout: number;
  readonly ifOnline?: boolean;
  readonly property?: readonly string[];
}

/** Targets of one request. */
const TARGETS_MAX = 1000;
/** What the connection needs beside the wait for the devices. */
const EXTRA_SECONDS = 10;
/** Longest wait that the broker allows. */
const TIMEOUT_SECONDS_MAX = 600;
const NO_SUBSCRIBERS = 0x10;

/** `onehop publish`. */
export async function publish(options: PublishOptions): Promise<void> {
  const { topic, qos, retain, expiry, contentType, responseTopic, correlation, property = [] } = options;
  for (const pair of property) if (!pair.includes('=')) throw new Failure(`--property ${pair}: expected key=value`, 2);
  const answer = await new Api(options).ask<{ readonly reasonCode: number }>('POST', route`/topics/${topic}`, {
    body: await payloadOf(options),
    query: {
      qos,
      retained: retain === true ? true : undefined,
      expiry,
      contentType,
      responseTopic,
      correlationData: correlation,
    },
    headers: { 'content-type': 'application/octet-stream', ...propertyHeader(property) },
  });
  if (options.json === true) print(jsonText(answer));
  else if (answer.reasonCode === NO_SUBSCRIBERS) note('nobody subscribes to this topic');
}

/** User Properties as a header; a query would end keys at their first colon. */
function propertyHeader(pairs: readonly string[]): Readonly<Record<string, string>> {
  const texts = pairs.map((pair) => pairOf(pair).map(encodeURIComponent).join('='));
  return texts.length === 0 ? {} : { 'x-mqtt-user-property': texts.join(',') };
}

function pairOf(pair: string): [key: string, value: string] {
  const at = pair.indexOf('=');
  if (at < 0) throw new Failure(`--property ${pair}: expected key=value`, 2);
  return [pair.slice(0, at), pair.slice(at + 1)];
}

async function payloadOf({ message, file }: PublishOptions): Promise<Uint8Array<ArrayBuffer>> {
  if ((message === undefined) === (file === undefined)) throw new Failure('give the payload as one of --message and --file', 2);
  if (message !== undefined) return new Uint8Array(Buffer.from(message));
  try {
    return new Uint8Array(file === '-' ? readFileSync(0) : await readFile(file!));
  } catch (error) {
    throw new Failure(`${file === '-' ? 'standard input' : file}: cannot read this: ${(error as Error).message}`);
  }
}

interface Outcome {
  readonly clientId: string;
  readonly status?: string;
  readonly milliseconds?: number;
  readonly problem?: { readonly code: string; readonly detail: string };
}

/** `onehop p2p --confirm`: waits until each target has acknowledged. @returns exit code */
export async function confirm(options: ConfirmOptions): Promise<number> {
  if (options.qos === 0) throw new Failure('--confirm needs -q 1 or -q 2: QoS 0 is not acknowledged', 2);
  if (options.timeout > TIMEOUT_SECONDS_MAX) throw new Failure(`--timeout: with --confirm at most ${TIMEOUT_SECONDS_MAX} seconds`, 2);
  const [first, ...more] = options.client;
  const api = new Api(options);
  const outcomes = more.length === 0 ? [await confirmOne(api, first!, options)] : await confirmMany(api, options);
  for (const outcome of outcomes) print(options.json === true ? jsonText(outcome) : outcomeText(outcome));
  return outcomes.every(({ status }) => status === 'acknowledged') ? 0 : 1;
}

async function confirmOne(api: Api, clientId: string, options: ConfirmOptions): Promise<Outcome> {
  const { qos, timeout, ifOnline } = options;
  try {
    return await api.ask<Outcome>('POST', route`/v1/clients/${clientId}/messages`, {
      body: new Uint8Array(Buffer.from(options.message)),
      query: { qos, confirm: true, timeout, ifOnline: ifOnline === true ? true : undefined },
      headers: { 'content-type': 'application/octet-stream', ...propertyHeader(options.property ?? []) },
      seconds: timeout + EXTRA_SECONDS,
    });
  } catch (error) {
    // What is wrong with the caller is no outcome at the target.
    if (!(error instanceof ApiFailure) || error.problem.status === 401 || error.problem.status === 400) throw error;
    return { clientId, problem: error.problem };
  }
}

async function confirmMany(api: Api, options: ConfirmOptions): Promise<Outcome[]> {
  const { qos, timeout, ifOnline, message: payload } = options;
  const results: Outcome[] = [];
  for (let at = 0; at < options.client.length; at += TARGETS_MAX) {
    const answer = await api.ask<{ readonly results: readonly Outcome[] }>('POST', '/v1/clients/messages', {
      body: {
        clientIds: options.client.slice(at, at + TARGETS_MAX),
        payload,
        qos,
        confirm: true,
        timeoutMilliseconds: timeout * 1000,
        ...(ifOnline === true && { ifOnline: true }),
        ...(options.property !== undefined && { userProperties: options.property.map(pairOf) }),
      },
      seconds: timeout + EXTRA_SECONDS,
    });
    results.push(...answer.results);
  }
  return results;
}

function outcomeText({ clientId, status, milliseconds, problem }: Outcome): string {
  const time = milliseconds === undefined ? '' : ` after ${milliseconds} ms`;
  return `${visible(clientId)}: ${problem === undefined ? `${status}${time}` : `${problem.code}: ${visible(problem.detail)}`}`;
}
