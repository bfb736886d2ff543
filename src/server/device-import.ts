/**
 * DeviceImport: many devices put into a file at once, in one write; what has become of each row is said.
 */
import type { Device } from '../auth/device.ts';
import { changeDevices, newDevice } from './device-commands.ts';
import type { DeviceRow } from './device-rows.ts';
import type { FileStamps } from './record-file.ts';

/** What has become of one row. */
export interface ImportedRow {
  readonly line: number;
  /** '' where the row says none. */
  readonly deviceId: string;
  readonly outcome: 'added' | 'replaced' | 'refused';
  /** Why it was refused; without any key. */
  readonly problem?: string;
  /** Keys that were made for it. */
  readonly primaryKey?: string;
  readonly secondaryKey?: string;
}

/** What an import has done. */
export interface Imported {
  /** False: nothing was changed, because of rows that are wrong. */
  readonly isDone: boolean;
  readonly added: number;
  readonly replaced: number;
  readonly refused: number;
  /** One for each row, in their order. */
  readonly rows: readonly ImportedRow[];
  /** Devices as they are from now on; none where nothing was changed. */
  readonly changed: readonly Device[];
}

export interface ImportOptions {
  /** A device that is there already becomes what the row says; it keeps its keys where the row has none. */
  readonly replaces: boolean;
  /** Rows that are wrong are passed over; else one of them is enough that nothing is changed. */
  readonly skipsWrong: boolean;
}

/** Puts rows into a file of devices. @throws StartError with one line when the file cannot be used */
export function importDevices(
  file: string,
  rows: readonly DeviceRow[],
  options: ImportOptions,
): Imported & { readonly stamps: FileStamps } {
  let result: Imported | null = null;
  const stamps = changeDevices(file, (devices) => {
    result = taken(devices, rows, options);
    for (const device of result.changed) devices.set(device.deviceId, device);
    return result.changed.length > 0;
  });
  return { ...(result as unknown as Imported), stamps };
}

function taken(devices: ReadonlyMap<string, Device>, rows: readonly DeviceRow[], { replaces, skipsWrong }: ImportOptions): Imported {
  const results: ImportedRow[] = [];
  const changed: Device[] = [];
  const lines = new Map<string, number>();
  let replaced = 0;
  for (const { line, fields, problem } of rows) {
    const asked = fields['deviceId'];
    const deviceId = typeof asked === 'string' ? asked.slice(0, 1024) : '';
    const refuse = (why: string): void => void results.push({ line, deviceId, outcome: 'refused', problem: why });
    if (problem !== null) {
      refuse(problem);
      continue;
    }
    const before = devices.get(deviceId);
    // What an export has written as null was not there: it is no wish for another key.
    const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined));
    let device: Device;
    try {
      const { primaryKey = '', secondaryKey = '' } = before ?? {};
      device = newDevice({ primaryKey, secondaryKey, createdAt: before?.createdAt ?? '', ...given });
    } catch (error) {
      refuse((error as Error).message);
      continue;
    }
    const earlier = lines.get(deviceId);
    if (earlier !== undefined) refuse(`the device ${deviceId} is in line ${earlier} already`);
    else if (before !== undefined && !replaces) refuse(`there is a device ${deviceId} already`);
    else {
      lines.set(deviceId, line);
      changed.push(device);
      if (before !== undefined) replaced++;
      results.push({ line, deviceId, outcome: before === undefined ? 'added' : 'replaced', ...madeKeys(device, before, given) });
    }
  }
  const refused = rows.length - changed.length;
  if (refused > 0 && !skipsWrong) return { isDone: false, added: 0, replaced: 0, refused, rows: results, changed: [] };
  return { isDone: true, added: changed.length - replaced, replaced, refused, rows: results, changed };
}

/** Those that neither the row nor the device had. */
function madeKeys(
  { primaryKey, secondaryKey }: Device,
  before: Device | undefined,
  fields: Readonly<Record<string, unknown>>,
): Pick<ImportedRow, 'primaryKey' | 'secondaryKey'> {
  const isMade = (name: 'primaryKey' | 'secondaryKey'): boolean => !(fields[name] ?? before?.[name]);
  return { ...(isMade('primaryKey') && { primaryKey }), ...(isMade('secondaryKey') && { secondaryKey }) };
}
