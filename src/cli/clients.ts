/**
 * `onehop clients …` and `onehop kick`: who is there, what one has, and the end of its connection. Over the HTTP API.
 */
import { Api, type ApiOptions, type Page, route } from './api-client.ts';
import { bytes, count, duration, jsonText, note, print, since, styled, tables, terminalWidth, visible } from './output.ts';

export interface ListOptions extends ApiOptions {
  readonly prefix?: string;
  readonly contains?: string;
  readonly state?: string;
  readonly username?: string;
  readonly address?: string;
  readonly limit: number;
  readonly all?: boolean;
}

export interface KickOptions extends ApiOptions {
  /** End the session, too. */
  readonly session?: boolean;
  /** Publish the Will. */
  readonly will: boolean;
}

interface Kicked {
  readonly disconnected: boolean;
  readonly sessionEnded: boolean;
}

interface ClientRow {
  readonly clientId: string;
  readonly username?: string | null;
  readonly state: string;
  readonly address?: string | null;
  readonly protocol?: number;
  readonly connectedAt?: string | null;
  readonly disconnectedAt?: string | null;
  readonly subscriptions?: number;
  readonly inflight?: number;
  readonly queued?: number;
  readonly queuedBytes?: number;
  readonly shard?: number;
}

interface ClientDetail extends ClientRow {
  readonly [name: string]: unknown;
  readonly subscriptionList?: readonly { readonly filter: string; readonly qos: number }[];
}

/** `onehop clients list`. */
export async function listClients(options: ListOptions): Promise<void> {
  const { prefix, contains, state, username, address } = options;
  const rows: ClientRow[] = [];
  const isJson = options.json === true;
  const rest = await listed<ClientRow>(options, '/api/v1/clients', { prefix, contains, state, username, address }, (row) => {
    if (isJson) print(jsonText(row));
    else rows.push(row);
  });
  if (!isJson) await printClients(rows);
  if (rest !== '') note(rest);
}

/**
 * Takes the items of a list, as many as the options want.
 * @returns what a person should know of those that are not shown; '' where there are none
 */
export async function listed<T>(
  options: ApiOptions & { readonly limit: number; readonly all?: boolean },
  path: string,
  query: Readonly<Record<string, string | undefined>>,
  take: (item: T) => void,
): Promise<string> {
  const api = new Api(options);
  let last: Page<T> | null = null;
  let taken = 0;
  for await (const item of api.list<T>(path, query, options.all === true ? Number.POSITIVE_INFINITY : options.limit, (page) => {
    last = page;
  })) {
    take(item);
    taken++;
  }
  const { next, total } = (last ?? { next: null }) as Page<T>;
  return (next ?? null) === null ? '' : `${count(taken)}${total === undefined ? '' : ` of ${count(total)}`} shown; --all shows the rest`;
}

async function printClients(rows: readonly ClientRow[]): Promise<void> {
  const table = await tables();
  const columns = [
    { name: 'CLIENT', isFlexible: true },
    { name: 'USER', isFlexible: true },
    { name: 'STATE' },
    { name: 'SINCE' },
    { name: 'ADDRESS', isFlexible: true },
    { name: 'MQTT' },
    { name: 'SUBS', align: 'right' },
    { name: 'INFLIGHT', align: 'right' },
    { name: 'QUEUED', align: 'right' },
    { name: 'SHARD', align: 'right' },
  ] as const;
  const cells = rows.map((row) => [
    row.clientId,
    row.username ?? '',
    row.state,
    since(row.connectedAt ?? row.disconnectedAt),
    row.address ?? '',
    version(row.protocol),
    count(row.subscriptions),
    count(row.inflight),
    row.queued === undefined
      ? ''
      : `${count(row.queued)}${row.queuedBytes === undefined || row.queued === 0 ? '' : ` (${bytes(row.queuedBytes)})`}`,
    count(row.shard),
  ]);
  for (const line of table(columns, cells, terminalWidth())) print(line);
}

/** `onehop clients show`. */
export async function showClient(clientId: string, options: ApiOptions): Promise<void> {
  const client = await new Api(options).get<ClientDetail>(route`/api/v1/clients/${clientId}`);
  if (options.json === true) {
    print(jsonText(client, 2));
    return;
  }
  const { subscriptionList = [], ...facts } = client;
  const shown = Object.entries(facts).filter(([, value]) => value !== null && value !== undefined);
  const width = Math.max(...shown.map(([name]) => words(name).length));
  for (const [name, value] of shown) print(`${styled('bold', words(name).padEnd(width))}  ${valueText(name, value)}`);
  for (const { filter, qos } of subscriptionList) print(`  ${visible(filter)} (QoS ${qos})`);
}

/** `onehop kick`. Goes on after a client that is not there. @returns exit code */
export async function kick(clientIds: readonly string[], options: KickOptions): Promise<number> {
  const api = new Api(options);
  let exitCode = 0;
  for (const clientId of clientIds) {
    try {
      const answer = await api.ask<Kicked>('DELETE', route`/api/v1/clients/${clientId}`, {
        query: { session: options.session === true ? true : undefined, will: options.will ? undefined : false },
      });
      if (options.json === true) print(jsonText({ clientId, ...answer }));
      else print(`${visible(clientId)}: ${kickedText(answer)}`);
    } catch (error) {
      const { problem } = error as { readonly problem?: { readonly status: number; readonly detail: string } };
      // What holds for one holds for all, unless it is about this client.
      if (problem === undefined || problem.status !== 404) throw error;
      exitCode = 1;
      if (options.json === true) print(jsonText({ clientId, problem }));
      else note(`onehop: ${visible(clientId)}: ${visible(problem.detail)}`);
    }
  }
  return exitCode;
}

function kickedText({ disconnected, sessionEnded }: Kicked): string {
  if (disconnected) return sessionEnded ? 'disconnected, its session has ended' : 'disconnected';
  return sessionEnded ? 'was not connected; its session has ended' : 'was not connected; its session stays';
}

/** `keepAliveSeconds` → `keep alive seconds`. */
export function words(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

/** A value of a detail in one line. */
export function valueText(name: string, value: unknown): string {
  if (name === 'protocol') return version(value as number);
  if (name.endsWith('At') && typeof value === 'string') return `${visible(value)} (${since(value)} ago)`;
  if (name.endsWith('Seconds') && typeof value === 'number') return value >= 0xffffffff ? 'for ever' : duration(value);
  if (name.endsWith('Bytes') && typeof value === 'number') return bytes(value);
  if (typeof value === 'number') return count(value);
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  return typeof value === 'string' ? visible(value) : visible(jsonText(value));
}

function version(protocol: number | undefined): string {
  return protocol === undefined ? '' : protocol === 5 ? '5.0' : protocol === 4 ? '3.1.1' : '3.1';
}
