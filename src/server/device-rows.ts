/**
 * DeviceRows: lists of devices as people have them, for an import: CSV with names in its first line, a line of JSON for each device, or one list of JSON.
 *
 * A row that is wrong says so and costs no other row anything; only a text that is none of these is wrong as a whole.
 */
import { StartError } from './start-error.ts';

/** Fields of a device, as a list of devices has them. */
export interface DeviceRow {
  /** Line of the text, from 1; in a list of JSON its place, from 1. */
  readonly line: number;
  readonly fields: Readonly<Record<string, unknown>>;
  /** Why there is no device in this row; null: look at the fields. */
  readonly problem: string | null;
}

/** Longer than any device with all that it may have. */
const ROW_LENGTH_MAX = 256 * 1024;
const NO_FIELDS = {};

/**
 * Rows of a text.
 * @param rowsMax no more are read than one beyond this
 * @throws StartError when it is no list of devices at all
 */
export async function deviceRows(text: string, rowsMax: number = Number.POSITIVE_INFINITY): Promise<DeviceRow[]> {
  const [first] = /\S/.exec(text) ?? [];
  if (first === '[') return listRows(text, rowsMax);
  return first === '{' ? lineRows(text, rowsMax) : csvRows(text, rowsMax);
}

function listRows(text: string, rowsMax: number): DeviceRow[] {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (error) {
    throw new StartError(`this is no JSON: ${(error as Error).message.slice(0, 200)}`, 1, 'invalid');
  }
  return (list as unknown[]).slice(0, rowsMax + 1).map((value, index) => rowOf(value, index + 1));
}

function lineRows(text: string, rowsMax: number): DeviceRow[] {
  const rows: DeviceRow[] = [];
  const lines = text.split('\n');
  for (let index = 0; index < lines.length && rows.length <= rowsMax; index++) {
    if (lines[index]!.trim() === '') continue;
    let value: unknown;
    try {
      value = JSON.parse(lines[index]!);
    } catch {
      rows.push({ line: index + 1, fields: NO_FIELDS, problem: 'this is no JSON; each line is one device' });
      continue;
    }
    rows.push(rowOf(value, index + 1));
  }
  return rows;
}

function rowOf(value: unknown, line: number): DeviceRow {
  const isDevice = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isDevice) return { line, fields: NO_FIELDS, problem: 'expected { "deviceId": … }' };
  return { line, fields: value as Record<string, unknown>, problem: null };
}

/** Columns are the fields of a device, and `property.KEY` and `attribute.NAME`; an empty cell is none. */
async function csvRows(text: string, rowsMax: number): Promise<DeviceRow[]> {
  const { parse } = await import('csv-parse/sync');
  const form = { columns: true, bom: true, skip_empty_lines: true, trim: true, info: true, max_record_size: ROW_LENGTH_MAX } as const;
  let records: { info: { lines: number }; record: Record<string, string> }[];
  try {
    records = parse(text, { ...form, ...(Number.isFinite(rowsMax) && { to: rowsMax + 1 }) }) as unknown as typeof records;
  } catch (error) {
    throw new StartError(`this is neither CSV nor lines of JSON: ${(error as Error).message.slice(0, 500)}`, 1, 'invalid');
  }
  return records.map(({ info, record }) => csvRow(record, info.lines));
}

function csvRow(record: Readonly<Record<string, string>>, line: number): DeviceRow {
  const fields: Record<string, unknown> = {};
  const propagatingProperties: { key: string; value: string }[] = [];
  const attributes: Record<string, string> = {};
  let problem: string | null = null;
  for (const [column, cell] of Object.entries(record)) {
    if (cell === '') continue;
    if (column.startsWith('property.')) propagatingProperties.push({ key: column.slice('property.'.length), value: cell });
    else if (column.startsWith('attribute.')) attributes[column.slice('attribute.'.length)] = cell;
    else if (column !== 'isEnabled') fields[column] = cell;
    else if (cell === 'true' || cell === 'false') fields[column] = cell === 'true';
    else problem = 'isEnabled: expected true or false';
  }
  return { line, fields: { ...fields, propagatingProperties, attributes }, problem };
}
