/**
 * What `onehop device` does to a file of devices.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { Device } from '../auth/device.ts';
import { deviceToken } from '../auth/device-token.ts';
import { deviceOf, readDeviceFile, writeDeviceFile } from './device-file.ts';
import { forCommand, whileLocked } from './record-file.ts';
import { StartError } from './start-error.ts';

export type { Device } from '../auth/device.ts';

const KEY_BYTES = 32;

/** A secret by chance, in Base64. */
export function newKey(): string {
  return randomBytes(KEY_BYTES).toString('base64');
}

/** The device with these fields, checked; keys that are missing are made. @throws StartError with one line */
export function newDevice(fields: Readonly<Record<string, unknown>>): Device {
  const device = forCommand(() => deviceOf(fields));
  return {
    ...device,
    primaryKey: device.primaryKey === '' ? newKey() : device.primaryKey,
    secondaryKey: device.secondaryKey === '' ? newKey() : device.secondaryKey,
    createdAt: device.createdAt === '' ? new Date().toISOString() : device.createdAt,
  };
}

/** The devices of a file. @throws StartError with one line */
export function readDevices(file: string): ReadonlyMap<string, Device> {
  return forCommand(() => readDeviceFile(file));
}

/** Reads the file, changes the list, writes it: no other `onehop device` comes between. @throws StartError with one line, and what `edit` throws */
export function changeDevices(file: string, edit: (devices: Map<string, Device>) => void): void {
  whileLocked(file, () => {
    const devices = existsSync(file) ? forCommand(() => readDeviceFile(file)) : new Map<string, Device>();
    edit(devices);
    writeDeviceFile(file, devices);
  });
}

/** A token of the device, signed with one of its keys. @param expiresAt Unix seconds, whole */
export function tokenOf({ deviceId }: Device, key: string, expiresAt: number): string {
  return deviceToken(deviceId, key, expiresAt);
}

/** Fields of a device, as a list of devices has them. */
export interface DeviceRow {
  /** From 1. */
  readonly line: number;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Rows of a text: a line of JSON for each device, or CSV with names in its first line. @throws StartError with the line that is wrong */
export async function deviceRows(text: string): Promise<DeviceRow[]> {
  return /^\s*\{/.test(text) ? jsonRows(text) : csvRows(text);
}

function jsonRows(text: string): DeviceRow[] {
  const rows: DeviceRow[] = [];
  const lines = text.split('\n');
  for (let index = 0; index < lines.length; index++) {
    if (lines[index]!.trim() === '') continue;
    let fields: unknown;
    try {
      fields = JSON.parse(lines[index]!);
    } catch {
      throw new StartError(`line ${index + 1}: this is no JSON; each line is one device`, 1);
    }
    if (typeof fields !== 'object' || fields === null) throw new StartError(`line ${index + 1}: expected { "deviceId": … }`, 1);
    rows.push({ line: index + 1, fields: fields as Record<string, unknown> });
  }
  return rows;
}

/** Columns are the fields of a device, and `property.KEY` and `attribute.NAME`; an empty cell is none. */
async function csvRows(text: string): Promise<DeviceRow[]> {
  const { parse } = await import('csv-parse/sync');
  let records: { info: { lines: number }; record: Record<string, string> }[];
  try {
    records = parse(text, { columns: true, bom: true, skip_empty_lines: true, trim: true, info: true }) as unknown as typeof records;
  } catch (error) {
    throw new StartError(`this is neither CSV nor lines of JSON: ${(error as Error).message}`, 1);
  }
  return records.map(({ info, record }) => ({ line: info.lines, fields: csvFields(record, info.lines) }));
}

function csvFields(record: Readonly<Record<string, string>>, line: number): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  const propagatingProperties: { key: string; value: string }[] = [];
  const attributes: Record<string, string> = {};
  for (const [column, cell] of Object.entries(record)) {
    if (cell === '') continue;
    if (column.startsWith('property.')) propagatingProperties.push({ key: column.slice('property.'.length), value: cell });
    else if (column.startsWith('attribute.')) attributes[column.slice('attribute.'.length)] = cell;
    else if (column !== 'isEnabled') fields[column] = cell;
    else if (cell === 'true' || cell === 'false') fields[column] = cell === 'true';
    else throw new StartError(`line ${line}: isEnabled: expected true or false`, 1);
  }
  return { ...fields, propagatingProperties, attributes };
}

/** What an import has done. */
export interface Imported {
  readonly devices: number;
  readonly replaced: number;
  /** Those for which keys were made. */
  readonly made: readonly Device[];
}

/**
 * Puts rows into a file of devices, all or none.
 * @param replaces whether a device that is there already becomes what the row says; it keeps its keys where the row has none
 * @throws StartError with the line that is wrong
 */
export function importDevices(file: string, rows: readonly DeviceRow[], replaces: boolean): Imported {
  const made: Device[] = [];
  let replaced = 0;
  changeDevices(file, (devices) => {
    const lines = new Map<string, number>();
    for (const { line, fields } of rows) {
      const wrong = (problem: string): StartError => new StartError(`line ${line}: ${problem}; nothing was changed`, 1);
      const existing = devices.get(String(fields['deviceId']));
      let device: Device;
      try {
        const { primaryKey = '', secondaryKey = '' } = existing ?? {};
        device = newDevice({ primaryKey, secondaryKey, createdAt: existing?.createdAt ?? '', ...fields });
      } catch (error) {
        throw wrong((error as Error).message);
      }
      const { deviceId } = device;
      if (lines.has(deviceId)) throw wrong(`the device ${deviceId} is in line ${lines.get(deviceId)} already`);
      if (existing !== undefined && !replaces) throw wrong(`there is a device ${deviceId} already; --replace takes the new one`);
      lines.set(deviceId, line);
      if (existing === undefined && (!fields['primaryKey'] || !fields['secondaryKey'])) made.push(device);
      if (existing !== undefined) replaced++;
      devices.set(deviceId, device);
    }
  });
  return { devices: rows.length, replaced, made };
}
