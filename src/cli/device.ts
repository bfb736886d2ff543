/**
 * `onehop device …`: the file of devices that the authenticator `devices` reads.
 *
 * A key is printed once, by the command that makes it. It comes from chance or from a file or standard input, never from the command line, where other people of the
 * machine could read it; `list` never shows one.
 */
import { readFileSync } from 'node:fs';
import { text as readAll } from 'node:stream/consumers';
import { changeDevices, type Device, newDevice, newKey, readDevices, tokenOf } from '../server/device-commands.ts';
import { importDevices } from '../server/device-import.ts';
import { deviceRows } from '../server/device-rows.ts';
import { millisecondsOf } from './duration.ts';
import { Failure } from './failure.ts';
import { print } from './output.ts';

export type KeyName = 'primary' | 'secondary';

export interface DeviceOptions {
  readonly file?: string;
  readonly property?: readonly string[];
  readonly attribute?: readonly string[];
  readonly disabled?: boolean;
  readonly json?: boolean;
  readonly key?: KeyName;
  readonly expires?: string;
  readonly replace?: boolean;
}

function fileOf(options: DeviceOptions): string {
  return options.file ?? process.env['ONEHOP_DEVICES_FILE'] ?? './devices.json';
}

function pairsOf(option: string, pairs: readonly string[]): [string, string][] {
  return pairs.map((pair) => {
    const at = pair.indexOf('=');
    if (at < 1) throw new Failure(`--${option} ${pair}: expected name=value`, 2);
    return [pair.slice(0, at), pair.slice(at + 1)];
  });
}

/** What the options say of a device; nothing where they do not. */
function factsOf({ property, attribute }: DeviceOptions): Partial<Device> {
  return {
    ...(property !== undefined && { propagatingProperties: pairsOf('property', property).map(([key, value]) => ({ key, value })) }),
    ...(attribute !== undefined && { attributes: Object.fromEntries(pairsOf('attribute', attribute)) }),
  };
}

function known(devices: ReadonlyMap<string, Device>, deviceId: string, file: string): Device {
  const device = devices.get(deviceId);
  if (device === undefined) throw new Failure(`there is no device ${deviceId} in ${file}; onehop device list shows which there are`);
  return device;
}

/** Changes one device that is there. */
function change(deviceId: string, options: DeviceOptions, edit: (device: Device) => Device): void {
  const file = fileOf(options);
  changeDevices(file, (devices) => {
    devices.set(deviceId, newDevice({ ...edit(known(devices, deviceId, file)) }));
  });
}

/** `onehop device add`. */
export function addDevice(deviceId: string, options: DeviceOptions): void {
  const file = fileOf(options);
  const device = newDevice({ deviceId, isEnabled: options.disabled !== true, ...factsOf(options) });
  changeDevices(file, (devices) => {
    if (devices.has(deviceId))
      throw new Failure(`there is a device ${deviceId} in ${file} already; onehop device rotate gives it another key`);
    devices.set(deviceId, device);
  });
  const { primaryKey, secondaryKey } = device;
  if (options.json === true) print(JSON.stringify({ deviceId, primaryKey, secondaryKey }));
  else print(`added ${deviceId} to ${file}\nprimary key: ${primaryKey}\nsecondary key: ${secondaryKey}`);
}

/** `onehop device set`: other properties, other attributes. */
export function setDevice(deviceId: string, options: DeviceOptions): void {
  const facts = factsOf(options);
  if (Object.keys(facts).length === 0) throw new Failure('say what to set: --property key=value, --attribute name=value', 2);
  change(deviceId, options, (device) => ({ ...device, ...facts }));
  print(`changed ${deviceId}`);
}

/** `onehop device rotate`: another key in the place of one. */
export function rotateKey(deviceId: string, options: DeviceOptions): void {
  const name: KeyName = options.key ?? 'primary';
  const key = newKey();
  change(deviceId, options, (device) => ({ ...device, [`${name}Key`]: key }));
  if (options.json === true) print(JSON.stringify({ deviceId, [`${name}Key`]: key }));
  else print(`changed the ${name} key of ${deviceId}\n${name} key: ${key}`);
}

/** `onehop device enable`, `onehop device disable`. */
export function enableDevice(deviceId: string, isEnabled: boolean, options: DeviceOptions): void {
  change(deviceId, options, (device) => ({ ...device, isEnabled }));
  print(`${isEnabled ? 'enabled' : 'disabled'} ${deviceId}`);
}

/** `onehop device remove`. */
export function removeDevice(deviceId: string, options: DeviceOptions): void {
  const file = fileOf(options);
  changeDevices(file, (devices) => {
    known(devices, deviceId, file);
    devices.delete(deviceId);
  });
  print(`removed ${deviceId}`);
}

/** `onehop device list`: everything but the keys. */
export function listDevices(options: DeviceOptions): void {
  const devices = [...readDevices(fileOf(options)).values()].sort((a, b) => (a.deviceId < b.deviceId ? -1 : 1));
  const lines = devices.map(({ primaryKey: _primary, secondaryKey: _secondary, ...shown }) => {
    if (options.json === true) return JSON.stringify(shown);
    const { deviceId, isEnabled, propagatingProperties, attributes } = shown;
    const properties = propagatingProperties.map(({ key, value }) => `${key}=${value}`);
    const facts = Object.entries(attributes).map(([name, value]) => `(${name}=${value})`);
    return [deviceId, ...(isEnabled ? [] : ['disabled']), ...properties, ...facts].join(' ');
  });
  if (lines.length > 0) print(lines.join('\n'));
}

/** `onehop device token`: for tests and first steps. */
export function printToken(deviceId: string, options: DeviceOptions): void {
  const file = fileOf(options);
  const device = known(readDevices(file), deviceId, file);
  const name: KeyName = options.key ?? 'primary';
  const key = device[`${name}Key`];
  if (key === '') throw new Failure(`${deviceId} has no ${name} key; onehop device rotate ${deviceId} --key ${name} makes one`);
  const milliseconds = millisecondsOf('--expires', options.expires ?? '1h');
  print(tokenOf(device, key, Math.floor((Date.now() + milliseconds) / 1000)));
}

/** `onehop device import`. */
export async function importFleet(source: string | undefined, options: DeviceOptions): Promise<void> {
  const file = fileOf(options);
  const rows = await deviceRows(await textOf(source));
  if (rows.length === 0) throw new Failure('there is no device in it');
  const { isDone, added, replaced, rows: results } = importDevices(file, rows, { replaces: options.replace === true, skipsWrong: false });
  if (!isDone) {
    const { line, problem } = results.find(({ outcome }) => outcome === 'refused')!;
    const hint = /^there is a device .* already$/.test(problem!) ? '; --replace takes the new one' : '';
    throw new Failure(`line ${line}: ${problem}${hint}; nothing was changed`);
  }
  const made = results.filter(({ primaryKey, secondaryKey }) => primaryKey !== undefined || secondaryKey !== undefined);
  if (options.json === true) {
    const lines = made.map(({ deviceId, primaryKey, secondaryKey }) => JSON.stringify({ deviceId, primaryKey, secondaryKey }));
    if (lines.length > 0) print(lines.join('\n'));
    return;
  }
  print(`imported ${rows.length} devices into ${file}: ${added} new, ${replaced} replaced; keys were made for ${made.length}`);
}

async function textOf(source: string | undefined): Promise<string> {
  if (source === undefined || source === '-') return readAll(process.stdin);
  try {
    return readFileSync(source, 'utf8');
  } catch (error) {
    throw new Failure(`${source}: cannot read this file: ${(error as Error).message}`);
  }
}
