/**
 * What `onehop device` does to a file of devices.
 */
import { randomBytes } from 'node:crypto';
import type { Device } from '../auth/device.ts';
import { deviceToken } from '../auth/device-token.ts';
import { deviceOf, readDeviceFile, writeDeviceFile } from './device-file.ts';
import { type FileStamps, forCommand, stampOf, whileLocked } from './record-file.ts';

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

/**
 * Reads the file, changes the list, writes it: no other `onehop device` comes between.
 * @param edit returns false where nothing is to be written
 * @returns what the file was known by, and what it is known by now
 * @throws StartError with one line, and what `edit` throws
 */
export function changeDevices(file: string, edit: (devices: Map<string, Device>) => boolean | undefined): FileStamps {
  let stamps: FileStamps = { before: '', after: '' };
  whileLocked(file, () => {
    const before = stampOf(file);
    const devices = before === '' ? new Map<string, Device>() : forCommand(() => readDeviceFile(file));
    if (edit(devices) !== false) writeDeviceFile(file, devices);
    stamps = { before, after: stampOf(file) };
  });
  return stamps;
}

/** A token of the device, signed with one of its keys. @param expiresAt Unix seconds, whole */
export function tokenOf({ deviceId }: Device, key: string, expiresAt: number): string {
  return deviceToken(deviceId, key, expiresAt);
}
