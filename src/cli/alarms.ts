/**
 * `onehop alarms …`: what is wrong with the broker or was. Over the HTTP API.
 */
import { Api, type ApiOptions, route } from './api-client.ts';
import { listed } from './clients.ts';
import { jsonText, note, print, since, tables, terminalWidth, visible } from './output.ts';

export interface AlarmsOptions extends ApiOptions {
  readonly state?: string;
  readonly limit: number;
  readonly all?: boolean;
}

export interface Alarm {
  readonly id: string;
  readonly rule: string;
  /** What it is about; '' for the whole broker. */
  readonly subject: string;
  readonly state: string;
  readonly message: string;
  readonly raisedAt: string;
  readonly acknowledgedBy: string | null;
}

/** `onehop alarms list`. */
export async function listAlarms(options: AlarmsOptions): Promise<void> {
  const alarms: Alarm[] = [];
  const rest = await listed<Alarm>(options, '/api/v1/alarms', { state: options.state }, (alarm) => {
    if (options.json === true) print(jsonText(alarm));
    else alarms.push(alarm);
  });
  if (options.json === true) return;
  if (alarms.length === 0) print('no alarms');
  else for (const line of alarmLines(await tables(), alarms, terminalWidth())) print(line);
  if (rest !== '') note(rest);
}

/** A table of alarms. */
export function alarmLines(table: Awaited<ReturnType<typeof tables>>, alarms: readonly Alarm[], width: number | null): string[] {
  const columns = [
    { name: 'ALARM' },
    { name: 'STATE' },
    { name: 'RAISED' },
    { name: 'SEEN BY', isFlexible: true },
    { name: 'WHAT', isFlexible: true },
  ] as const;
  const rows = alarms.map(({ id, rule, subject, state, message, raisedAt, acknowledgedBy }) => [
    id,
    state,
    `${since(raisedAt)} ago`,
    acknowledgedBy ?? '',
    `${rule}${subject === '' ? '' : ` ${subject}`}: ${message}`,
  ]);
  return table(columns, rows, width);
}

/** `onehop alarms acknowledge`. */
export async function acknowledgeAlarm(id: string, options: ApiOptions): Promise<void> {
  const answer = await new Api(options).ask<object | null>('POST', route`/api/v1/alarms/${id}/acknowledge`);
  print(options.json === true ? jsonText(answer ?? {}) : `${visible(id)}: acknowledged`);
}
