/**
 * `onehop subs …`: who subscribes to what, and subscriptions that are made or ended for a client. Over the HTTP API.
 */
import { Api, type ApiOptions, route } from './api-client.ts';
import { listed } from './clients.ts';
import { jsonText, note, print, tables, terminalWidth, visible } from './output.ts';

export interface SubsOptions extends ApiOptions {
  readonly filter?: string;
  readonly topic?: string;
  readonly client?: string;
  readonly group?: string;
  readonly limit: number;
  readonly all?: boolean;
}

export interface AddOptions extends ApiOptions {
  readonly qos: number;
}

interface Row {
  readonly clientId: string;
  readonly filter: string;
  readonly qos: number;
  readonly group?: string | null;
}

/** `onehop subs list`. */
export async function listSubscriptions(options: SubsOptions): Promise<void> {
  const { filter, topic, client, group } = options;
  const rows: Row[] = [];
  const rest = await listed<Row>(options, '/api/v1/subscriptions', { filter, topic, clientId: client, group }, (row) => {
    if (options.json === true) print(jsonText(row));
    else rows.push(row);
  });
  if (options.json !== true) {
    const columns = [
      { name: 'CLIENT', isFlexible: true },
      { name: 'FILTER', isFlexible: true },
      { name: 'QOS' },
      { name: 'GROUP' },
    ] as const;
    const cells = rows.map((row) => [row.clientId, row.filter, String(row.qos), row.group ?? '']);
    for (const line of (await tables())(columns, cells, terminalWidth())) print(line);
  }
  if (rest !== '') note(rest);
}

/** `onehop subs add`. */
export async function addSubscription(clientId: string, filter: string, options: AddOptions): Promise<void> {
  const path = route`/api/v1/clients/${clientId}/subscriptions/${filter}`;
  const answer = await new Api(options).ask<object | null>('PUT', path, { body: { qos: options.qos } });
  print(options.json === true ? jsonText(answer ?? {}) : `${visible(clientId)} subscribes to ${visible(filter)} (QoS ${options.qos})`);
}

/** `onehop subs remove`. */
export async function removeSubscription(clientId: string, filter: string, options: ApiOptions): Promise<void> {
  const answer = await new Api(options).ask<object | null>('DELETE', route`/api/v1/clients/${clientId}/subscriptions/${filter}`);
  print(options.json === true ? jsonText(answer ?? {}) : `${visible(clientId)} does not subscribe to ${visible(filter)} any more`);
}
