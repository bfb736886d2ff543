/**
 * What the API does with devices: those in the file of the `devices` authenticator. Keys are told to whoever makes them, and to admins who ask for them.
 */
import { setImmediate } from 'node:timers/promises';
import type { Device } from '../auth/device.ts';
import { type AskDesk, Refusal } from './ask-desk.ts';
import type { ImportAsked, ImportDone } from './fleet-import.ts';
import type { LoginDesk } from './login-desk.ts';
import { orderedNames, type Page, type PageAsked, pageOf } from './page.ts';
import type { SupervisorParts } from './supervisor-asks.ts';

type ShownDevice = Omit<Device, 'primaryKey' | 'secondaryKey'> & Partial<Pick<Device, 'primaryKey' | 'secondaryKey'>>;

/** What a route is told of an import. */
export interface ImportTold extends Pick<ImportDone, 'counts' | 'answer'> {}

interface Place {
  /** Of the authenticator; absent: the first that has devices. */
  readonly authenticator?: number | undefined;
}

/** Names what is answered. */
export function deviceAsks(desk: AskDesk, parts: SupervisorParts): void {
  desk.handle('devices/list', ({ prefix, keys, ...asked }: Place & PageAsked & { prefix: string; keys: boolean }): Page<ShownDevice> => {
    const { logins, file } = fileOf(parts, asked);
    const devices = logins.devicesOf(file);
    const page = pageOf(orderedNames(devices), prefix, asked);
    return { ...page, data: page.data.map((name) => shown(devices.get(name)!, keys)) };
  });
  desk.handle('devices/read', ({ deviceId, keys, ...asked }: Place & { deviceId: string; keys: boolean }): ShownDevice => {
    const { logins, file } = fileOf(parts, asked);
    const device = logins.devicesOf(file).get(deviceId);
    if (device === undefined) throw new Refusal('not-found', `there is no device ${JSON.stringify(deviceId)}`);
    return shown(device, keys);
  });
  desk.handle('devices/add', async ({ fields, ...asked }: Place & { fields: Record<string, unknown> }): Promise<Device> => {
    const { logins, file } = fileOf(parts, asked);
    const { device, stamps } = await parts.editor.run('device/add', { file, fields });
    logins.takeDevices(file, new Map([[device.deviceId, device]]), stamps);
    await parts.settled();
    return device;
  });
  desk.handle(
    'devices/change',
    async (
      asked: Place & { deviceId: string; fields: Record<string, unknown>; rotate: readonly ('primary' | 'secondary')[] },
    ): Promise<ShownDevice> => {
      const { logins, file } = fileOf(parts, asked);
      const { deviceId, fields, rotate } = asked;
      const { device, stamps } = await parts.editor.run('device/change', { file, deviceId, fields, rotate });
      logins.takeDevices(file, new Map([[deviceId, device]]), stamps);
      await parts.settled();
      const { primaryKey, secondaryKey } = device;
      return {
        ...shown(device, false),
        ...(rotate.includes('primary') && { primaryKey }),
        ...(rotate.includes('secondary') && { secondaryKey }),
      };
    },
  );
  desk.handle('devices/remove', async ({ deviceId, ...asked }: Place & { deviceId: string }): Promise<object> => {
    const { logins, file } = fileOf(parts, asked);
    const stamps = await parts.editor.run('device/remove', { file, deviceId });
    logins.takeDevices(file, new Map([[deviceId, null]]), stamps);
    await parts.settled();
    return {};
  });
  let imports = 0;
  desk.handle(
    'devices/import',
    async ({ text, replaces, skipsWrong, ...asked }: Place & Omit<ImportAsked, 'file'>): Promise<ImportTold> => {
      const { logins, file } = fileOf(parts, asked);
      // Their texts are large, and other changes wait behind them.
      if (imports >= IMPORTS_MAX) throw new Refusal('unavailable', `${IMPORTS_MAX} imports are under way; try again`);
      imports++;
      const done = parts.editor.run('device/import', { file, text, replaces, skipsWrong }).finally(() => imports--);
      const { counts, faults, answer, pieces, stamps } = await done;
      if (faults.length > 0)
        throw new Refusal(
          'unprocessable',
          `nothing was changed: of the rows ${counts.refused} are wrong; correct them, or send skipWrong=true`,
          faults,
        );
      const changed = new Map<string, Device>();
      for (const piece of pieces) {
        for (const device of JSON.parse(piece) as Device[]) changed.set(device.deviceId, device);
        await setImmediate();
      }
      logins.takeDevices(file, changed, stamps);
      await parts.settled();
      return { counts, answer };
    },
  );
}

const IMPORTS_MAX = 2;

/** The file that is meant. @throws Refusal */
function fileOf({ settings, logins }: SupervisorParts, { authenticator }: Place): { readonly logins: LoginDesk; readonly file: string } {
  const { authenticators } = settings.auth;
  const one = authenticators[authenticator ?? authenticators.findIndex(({ type }) => type === 'devices')];
  if (logins !== null && one?.type === 'devices') return { logins, file: one.file };
  if (authenticator !== undefined) throw new Refusal('not-found', `authenticator ${authenticator} has no devices`);
  throw new Refusal(
    'not-implemented',
    'there is no file of devices: configure auth.authenticators: [{ type: devices, file: ./devices.json }]',
  );
}

function shown({ primaryKey, secondaryKey, ...same }: Device, keys: boolean): ShownDevice {
  return keys ? { ...same, primaryKey, secondaryKey } : same;
}
