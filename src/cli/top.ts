/**
 * `onehop top`: the broker at a glance, again and again. Over the HTTP API.
 *
 * While the broker does not answer the last picture stays, with a line that says so. Into a pipe pictures follow one another
 * without any control characters.
 */
import type { Alarm } from './alarms.ts';
import { Api, type ApiOptions, type Page, type Query } from './api-client.ts';
import { LiveScreen, pause, stopSignal } from './live-screen.ts';
import { jsonText, print, tables, terminalWidth } from './output.ts';
import { type BrokerFacts, type Look, type ShardFacts, type SlowClient, type SlowRoute, topLines } from './top-lines.ts';

export interface TopOptions extends ApiOptions {
  /** Seconds. */
  readonly interval: number;
  readonly once?: boolean;
}

/** Rows of each list. */
const ROWS = 10;
const LOOK_SECONDS = 10;

/** @throws Failure when the first look fails */
export async function top(options: TopOptions): Promise<void> {
  const api = new Api(options);
  const stopped = stopSignal();
  const table = await tables();
  let shown = await look(api, stopped);
  let fault = '';
  const isLive = process.stdout.isTTY === true && options.once !== true && options.json !== true;
  const draw = (): void => {
    if (isLive) screen.draw(topLines(shown, table, terminalWidth(), fault));
    else if (options.json === true) print(jsonText(shown));
    else print(`${topLines(shown, table, terminalWidth(), '').join('\n')}${options.once === true ? '' : '\n'}`);
  };
  const screen = new LiveScreen(draw, stopped);
  if (isLive) screen.begin();
  try {
    for (;;) {
      draw();
      if (options.once === true) return;
      await pause(options.interval * 1000, stopped);
      if (stopped.signal.aborted) return;
      try {
        shown = await look(api, stopped);
        fault = '';
      } catch (error) {
        if (stopped.signal.aborted) return;
        if (!isLive) throw error;
        fault = (error as Error).message.split('\n')[0]!;
      }
    }
  } finally {
    if (isLive) screen.end();
  }
}

async function look(api: Api, { signal }: AbortController): Promise<Look> {
  const get = <T>(path: string, query: Query = {}): Promise<T> =>
    api.ask<T>('GET', `/api/v1${path}`, { query, seconds: LOOK_SECONDS, signal });
  const [broker, shards, slowClients, slowRoutes, alarms] = await Promise.all([
    get<BrokerFacts>('/broker'),
    get<{ readonly data: readonly ShardFacts[] }>('/shards'),
    get<{ readonly data: readonly SlowClient[] }>('/slow/clients', { limit: ROWS }),
    get<{ readonly data: readonly SlowRoute[] }>('/slow/routes', { limit: ROWS }),
    get<Page<Alarm>>('/alarms', { state: 'active' }),
  ]);
  return {
    at: new Date().toISOString(),
    broker,
    shards: shards.data,
    slowClients: slowClients.data,
    slowRoutes: slowRoutes.data,
    alarms: alarms.data,
  };
}
