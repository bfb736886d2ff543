/**
 * `onehop top`: the broker at a glance, again and again. Over the HTTP API.
 *
 * Rates are differences of counters between two looks. While the broker does not answer the last picture stays, with a line that says so. Into a pipe pictures follow one another
 * without any control characters.
 */
import type { Alarm } from './alarms.ts';
import { Api, type ApiOptions, type Page } from './api-client.ts';
import { LiveScreen, pause, stopSignal } from './live-screen.ts';
import { jsonText, print, tables, terminalWidth } from './output.ts';
import { type BrokerFacts, type Look, type ShardFacts, type SlowClient, type SlowRoute, topLines } from './top-lines.ts';

export interface TopOptions extends ApiOptions {
  /** Seconds. */
  readonly interval: number;
  readonly once?: boolean;
}

/** Between the first two looks, so that there are rates soon. */
const FIRST_MILLISECONDS = 1000;
/** Rows of each list. */
const ROWS = 10;
const LOOK_SECONDS = 10;

/** @throws Failure when the first look fails */
export async function top(options: TopOptions): Promise<void> {
  const api = new Api(options);
  const stopped = stopSignal();
  const table = await tables();
  let before = await look(api, null, stopped);
  let shown: Look | null = null;
  let fault = '';
  const isLive = process.stdout.isTTY === true && options.once !== true && options.json !== true;
  const screen = new LiveScreen(() => draw(), stopped);
  const draw = (): void => screen.draw(topLines(shown ?? before, table, terminalWidth(), fault));
  if (isLive) screen.begin();
  try {
    if (isLive) draw();
    for (let wait = FIRST_MILLISECONDS; ; wait = options.interval * 1000) {
      await pause(wait, stopped);
      if (stopped.signal.aborted) return;
      try {
        shown = await look(api, before, stopped);
        before = shown;
        fault = '';
      } catch (error) {
        if (stopped.signal.aborted) return;
        if (!isLive) throw error;
        fault = (error as Error).message.split('\n')[0]!;
      }
      if (isLive) draw();
      else if (options.json === true) print(jsonText(shown));
      else print(`${topLines(shown!, table, terminalWidth(), '').join('\n')}${options.once === true ? '' : '\n'}`);
      if (options.once === true) return;
    }
  } finally {
    if (isLive) screen.end();
  }
}

async function look(api: Api, before: Look | null, { signal }: AbortController): Promise<Look> {
  const get = <T>(path: string, query: Readonly<Record<string, string | number>> = {}): Promise<T> =>
    api.ask<T>('GET', `/api/v1${path}`, { query, seconds: LOOK_SECONDS, signal });
  const [broker, counters, shards, slowClients, slowRoutes, alarms] = await Promise.all([
    get<BrokerFacts>('/broker'),
    get<Readonly<Record<string, number>>>('/counters'),
    get<{ readonly data: readonly ShardFacts[] }>('/shards'),
    get<{ readonly data: readonly SlowClient[] }>('/slow/clients', { limit: ROWS }),
    get<{ readonly data: readonly SlowRoute[] }>('/slow/routes', { limit: ROWS }),
    get<Page<Alarm>>('/alarms', { state: 'active' }),
  ]);
  const at = Date.now();
  const seconds = before === null ? 0 : (at - Date.parse(before.at)) / 1000;
  const rates: Record<string, number> = {};
  if (before !== null && seconds > 0)
    for (const [name, value] of Object.entries(counters)) {
      // A shard that was started anew counts from 0.
      const more = value - (before.counters[name] ?? 0);
      rates[name] = Math.max(0, more) / seconds;
    }
  return {
    at: new Date(at).toISOString(),
    broker,
    counters,
    rates,
    shards: shards.data,
    slowClients: slowClients.data,
    slowRoutes: slowRoutes.data,
    alarms: alarms.data,
  };
}
