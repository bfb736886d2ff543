/**
 * DeviceFile: the registry of devices, as JSON with one device in a line. `onehop device` writes it, the broker reads it.
 *
 *   { "version": 1, "devices": [
 *   { "deviceId": "pump-7", "isEnabled": true, "primaryKey": "…", "secondaryKey": "…", "propagatingProperties": [{ "key": "site", "value": "hall-2" }],
 *     "attributes": { "group": "a" }, "createdAt": "2026-01-31T12:00:00.000Z" }
 *   ] }
 *
 * It holds secrets in clear: a MAC needs the key itself. It may hold hundreds of thousands of devices, and a running broker reads it on the thread that judges logins:
 * the checks are written out here, because a schema took five times as long. No message says what a key is.
 */
import { statSync } from 'node:fs';
import type { Device } from '../auth/device.ts';
import { readJsonFile, replaceFile } from './record-file.ts';
import { StartError } from './start-error.ts';

const DEVICES_MAX = 1_000_000;
const ID_BYTES_MAX = 1_024;
const KEY_BYTES_MIN = 32;
const KEY_BYTES_MAX = 128;
const PROPERTIES_MAX = 16;
/** Of all keys and values of one device, as they are sent. */
const PROPERTIES_BYTES_MAX = 4_096;
const PROPERTY_KEY_LENGTH_MAX = 128;
const PROPERTY_VALUE_LENGTH_MAX = 1_024;
const ATTRIBUTES_MAX = 32;
const ATTRIBUTE_NAME_LENGTH_MAX = 128;
const ATTRIBUTE_VALUE_LENGTH_MAX = 1_024;
const DATE_LENGTH_MAX = 40;
/** Bytes of a User Property beside its texts. */
const PROPERTY_HEADER_BYTES = 5;

/** What stands for a device in the file. `isEnabled` is true, and everything else empty, where it is not written. */
const FIELDS: ReadonlySet<string> = new Set([
  'deviceId',
  'isEnabled',
  'primaryKey',
  'secondaryKey',
  'propagatingProperties',
  'attributes',
  'createdAt',
]);

/** Control characters, and halves of characters that are no UTF-8. */
const UNUSABLE = /\p{Cc}|\p{Cs}/u;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;

function fail(message: string): never {
  throw new Error(message);
}

/** One device, checked. @throws with half a sentence, without any key */
export function deviceOf(json: unknown): Device {
  if (!isObject(json)) fail('expected a device such as { "deviceId": "pump-7", … }');
  for (const name in json) if (!FIELDS.has(name)) fail(`unknown field ${JSON.stringify(name.slice(0, 64))}`);
  const { isEnabled = true, createdAt = '' } = json;
  if (typeof isEnabled !== 'boolean') fail('isEnabled: expected true or false');
  if (typeof createdAt !== 'string' || createdAt.length > DATE_LENGTH_MAX) fail('createdAt: expected a time such as 2026-01-31T12:00:00Z');
  return {
    deviceId: idOf(json['deviceId']),
    isEnabled,
    primaryKey: keyOf('primaryKey', json['primaryKey'] ?? ''),
    secondaryKey: keyOf('secondaryKey', json['secondaryKey'] ?? ''),
    propagatingProperties: propertiesOf(json['propagatingProperties'] ?? []),
    attributes: attributesOf(json['attributes'] ?? {}),
    createdAt,
  };
}

function isObject(json: unknown): json is Record<string, unknown> {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}

function idOf(json: unknown): string {
  if (typeof json !== 'string' || json === '' || json.length > ID_BYTES_MAX || Buffer.byteLength(json) > ID_BYTES_MAX)
    fail(`deviceId: a client ID of 1 to ${ID_BYTES_MAX} bytes is expected`);
  if (UNUSABLE.test(json)) fail('deviceId: it has control characters');
  return json;
}

function keyOf(name: string, json: unknown): string {
  if (json === '') return '';
  const expected = `${name}: expected ${KEY_BYTES_MIN} to ${KEY_BYTES_MAX} bytes in Base64; onehop device rotate makes one`;
  if (typeof json !== 'string' || json.length % 4 !== 0 || !BASE64.test(json)) fail(expected);
  const padding = json.endsWith('==') ? 2 : json.endsWith('=') ? 1 : 0;
  const bytes = (json.length / 4) * 3 - padding;
  if (bytes < KEY_BYTES_MIN || bytes > KEY_BYTES_MAX) fail(expected);
  return json;
}

function propertiesOf(json: unknown): Device['propagatingProperties'] {
  if (!Array.isArray(json)) fail('propagatingProperties: expected a list such as [{ "key": "site", "value": "hall-2" }]');
  if (json.length > PROPERTIES_MAX) fail(`propagatingProperties: at most ${PROPERTIES_MAX} are allowed`);
  let bytes = 0;
  for (const one of json as unknown[]) {
    if (!isObject(one) || Object.keys(one).length !== 2) fail('propagatingProperties: expected { "key": …, "value": … }');
    const { key, value } = one;
    if (typeof key !== 'string' || key === '' || key.length > PROPERTY_KEY_LENGTH_MAX || UNUSABLE.test(key))
      fail(`propagatingProperties: a key has 1 to ${PROPERTY_KEY_LENGTH_MAX} characters, and no control characters`);
    // These ask the broker for something, and do not travel on.
    if (key.startsWith('p2p-')) fail('propagatingProperties: keys that begin with p2p- are the broker’s own');
    if (typeof value !== 'string' || value.length > PROPERTY_VALUE_LENGTH_MAX || UNUSABLE.test(value))
      fail(`propagatingProperties: a value has at most ${PROPERTY_VALUE_LENGTH_MAX} characters, and no control characters`);
    bytes += PROPERTY_HEADER_BYTES + Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (bytes > PROPERTIES_BYTES_MAX) fail(`propagatingProperties: together they have more than ${PROPERTIES_BYTES_MAX} bytes`);
  return json as Device['propagatingProperties'];
}

function attributesOf(json: unknown): Record<string, string> {
  if (!isObject(json)) fail('attributes: expected names with texts');
  const names = Object.keys(json);
  if (names.length > ATTRIBUTES_MAX) fail(`attributes: at most ${ATTRIBUTES_MAX} are allowed`);
  for (const name of names) {
    const value = json[name];
    if (name.length > ATTRIBUTE_NAME_LENGTH_MAX || typeof value !== 'string' || value.length > ATTRIBUTE_VALUE_LENGTH_MAX)
      fail(`attributes: a name has at most ${ATTRIBUTE_NAME_LENGTH_MAX} characters, and its text at most ${ATTRIBUTE_VALUE_LENGTH_MAX}`);
  }
  return json as Record<string, string>;
}

/**
 * Reads a file of devices.
 * @returns by device ID
 * @throws with one line: the file, what is wrong, what to do
 */
export function readDeviceFile(file: string): Map<string, Device> {
  const json = readJsonFile(file, 'onehop device add ID');
  if (!isObject(json) || json['version'] !== 1 || !Array.isArray(json['devices']) || Object.keys(json).length !== 2)
    fail(`${file}: expected { "version": 1, "devices": […] }`);
  const list = json['devices'] as unknown[];
  if (list.length > DEVICES_MAX) fail(`${file}: ${list.length} devices are more than the ${DEVICES_MAX} that one file may hold`);
  const devices = new Map<string, Device>();
  for (let index = 0; index < list.length; index++) {
    let device: Device;
    try {
      device = deviceOf(list[index]);
    } catch (error) {
      throw new Error(`${file}: devices.${index}: ${(error as Error).message}`);
    }
    if (devices.has(device.deviceId)) fail(`${file}: the device ${JSON.stringify(device.deviceId)} is there twice; remove one of them`);
    devices.set(device.deviceId, device);
  }
  return devices;
}

/** Writes a file of devices, whole. @throws StartError with one line when they are too many */
export function writeDeviceFile(file: string, devices: ReadonlyMap<string, Device>): void {
  if (devices.size > DEVICES_MAX) throw new StartError(`${file}: one file holds at most ${DEVICES_MAX} devices`, 1);
  const lines: string[] = [];
  for (const device of devices.values()) lines.push(JSON.stringify(device));
  replaceFile(file, `{ "version": 1, "devices": [\n${lines.join(',\n')}\n] }\n`);
}

/** Whether others than its owner and group may read the file. */
export function isOpenToOthers(file: string): boolean {
  return process.platform !== 'win32' && (statSync(file).mode & 0o004) !== 0;
}
