/**
 * Alarms as the API tells them, and where the console shows them.
 */

export const ALARMS_PATH = '/api/v1/alarms';
/** Name of their page. */
export const ALARMS_PAGE = 'alarms';

export type AlarmState = 'active' | 'cleared';

export interface Alarm {
  readonly id: string;
  readonly rule: string;
  /** A shard, a listener; empty: the whole broker. */
  readonly subject: string;
  readonly state: AlarmState;
  readonly message: string;
  readonly value: number;
  readonly threshold: number;
  readonly unit: string;
  readonly raisedAt: string;
  readonly clearedAt: string | null;
  readonly acknowledgedAt: string | null;
  readonly acknowledgedBy: string | null;
}

/** The rule, and what it is about. */
export function alarmName({ rule, subject }: Alarm): string {
  return subject === '' ? rule : `${rule}: ${subject}`;
}
