/**
 * DevicesAuthenticator: one device, one secret. The password is a token (`device-token.ts`) that somebody who has the device's key has signed; the Client Identifier says
 * which device it is. The username is not looked at, but statements may.
 *
 * It computes for microseconds, so it needs no threads and remembers nothing.
 */
import { createHmac, randomBytes } from 'node:crypto';
import type { Login } from '../shard/login.ts';
import { type Authenticator, deny, type Finding, ignore } from './authenticator.ts';
import type { Device } from './device.ts';
import { isDeviceToken, isSignedWith, readDeviceToken } from './device-token.ts';

/** How far the signer's clock may be ahead of ours when the longest life of a token is judged. */
const CLOCK_MILLISECONDS = 60_000;

/** What another registry changes for clients that are connected. */
export interface DeviceChanges {
  /** Proofs that count no more, as `Identity.proof` calls them. */
  readonly revoked: readonly string[];
  /** Devices whose propagating properties are other ones now. */
  readonly properties: readonly (readonly [deviceId: string, pairs: readonly Pair[]])[];
}

/** Devices as they are from now on; null: it is there no more. */
export type DeviceChange = ReadonlyMap<string, Device | null>;

type Pair = readonly [key: string, value: string];

export class DevicesAuthenticator implements Authenticator {
  readonly name = 'devices';
  private devices: Map<string, Device>;
  private readonly maxTokenAgeMilliseconds: number;
  private readonly key: Buffer;
  /** Stands for the key of a device that there is not: the time must not say which ones there are. */
  private readonly nobodysKey: string;
  private readonly clock: () => number;

  /** @param clock wall time in milliseconds */
  constructor(devices: Map<string, Device>, maxTokenAgeMilliseconds: number, clock: () => number = Date.now) {
    this.devices = devices;
    this.maxTokenAgeMilliseconds = maxTokenAgeMilliseconds;
    this.key = randomBytes(32);
    this.nobodysKey = randomBytes(32).toString('base64');
    this.clock = clock;
  }

  triedName({ clientId, password }: Login): string | null {
    return isDeviceToken(password) ? clientId : null;
  }

  async judge({ clientId, password }: Login): Promise<Finding> {
    if (!isDeviceToken(password)) return ignore('no token of a device');
    const token = readDeviceToken(password);
    if (typeof token === 'string') return deny(token);
    if (token.clientId !== clientId) return deny('the token is made out to another client ID');
    const device = this.devices.get(clientId);
    const isKnown = device?.isEnabled === true;
    const keys = isKnown ? keysOf(device) : [this.nobodysKey, this.nobodysKey];
    const signed = keys.filter((key) => isSignedWith(token, key));
    if (!isKnown) return ignore(device === undefined ? 'unknown device' : 'the device is disabled');
    if (signed[0] === undefined) return deny('neither key of the device has signed the token');
    const left = token.expiresAt - this.clock();
    if (left <= 0) return deny('the token has expired');
    if (left > this.maxTokenAgeMilliseconds + CLOCK_MILLISECONDS) return deny('the token lasts longer than maxTokenAge allows');
    return {
      effect: 'allow',
      identity: {
        authenticator: this.name,
        username: null,
        attributes: device.attributes,
        isSuperuser: false,
        rules: null,
        expiresAt: token.expiresAt,
        userProperties: pairsOf(device),
        proof: this.proofOf(clientId, signed[0]),
      },
    };
  }

  /** Goes on with another registry. */
  replace(devices: Map<string, Device>): DeviceChanges {
    const before = this.devices;
    this.devices = devices;
    const revoked: string[] = [];
    const properties: [string, readonly Pair[]][] = [];
    for (const device of before.values()) this.compare(device, devices.get(device.deviceId), revoked, properties);
    return { revoked, properties };
  }

  /** Goes on with the same registry, in which these are others. */
  change(changed: DeviceChange): DeviceChanges {
    const revoked: string[] = [];
    const properties: [string, readonly Pair[]][] = [];
    for (const [deviceId, device] of changed) {
      const before = this.devices.get(deviceId);
      if (before !== undefined) this.compare(before, device ?? undefined, revoked, properties);
      if (device === null) this.devices.delete(deviceId);
      else this.devices.set(deviceId, device);
    }
    return { revoked, properties };
  }

  /** Adds what a device that is another one now means for its client. */
  private compare(before: Device, now: Device | undefined, revoked: string[], properties: [string, readonly Pair[]][]): void {
    if (!before.isEnabled) return;
    const { deviceId } = before;
    const kept = now === undefined || !now.isEnabled || !hasSameAttributes(now, before) ? [] : keysOf(now);
    for (const key of keysOf(before)) if (!kept.includes(key)) revoked.push(this.proofOf(deviceId, key));
    if (now?.isEnabled && !hasSameProperties(now, before)) properties.push([deviceId, pairsOf(now)]);
  }

  /** Names a key without telling it. */
  private proofOf(deviceId: string, key: string): string {
    return createHmac('sha256', this.key).update(`${deviceId}\0${key}`).digest('base64');
  }
}

function keysOf({ primaryKey, secondaryKey }: Device): string[] {
  return [primaryKey, secondaryKey].filter((key) => key !== '');
}

function pairsOf({ propagatingProperties }: Device): Pair[] {
  return propagatingProperties.map(({ key, value }) => [key, value]);
}

function hasSameAttributes({ attributes: a }: Device, { attributes: b }: Device): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

function hasSameProperties({ propagatingProperties: a }: Device, { propagatingProperties: b }: Device): boolean {
  return a.length === b.length && a.every(({ key, value }, index) => b[index]!.key === key && b[index]!.value === value);
}
