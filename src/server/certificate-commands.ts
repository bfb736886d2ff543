/**
 * What `onehop certificate` does to a registry of certificates. A broker may be using it: it sees each change within two seconds.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { type CertificateFacts, hasSigned, readFacts } from '../auth/certificate-facts.ts';
import type {
  CaRecord,
  CertificateRegistry,
  DeviceRecord,
  DeviceStatus,
  RegistrationCode,
  RegistryEntry,
} from '../auth/certificate-registry.ts';
import { CertificateFile } from './certificate-file.ts';
import { StartError } from './start-error.ts';

export type { CaRecord, DeviceRecord, DeviceStatus };

/** As long as a Common Name may be: 64 characters. */
const CODE_BYTES = 32;

/** The registry of a file. @throws StartError with one line */
export function readRegistry(path: string): CertificateRegistry {
  const file = new CertificateFile(path);
  try {
    file.read();
  } catch (error) {
    throw fail((error as Error).message);
  }
  return file.registry;
}

/** Reads the file, adds what `edit` says: nobody else writes between. @throws StartError with one line */
function change(path: string, edit: (registry: CertificateRegistry) => readonly RegistryEntry[]): void {
  const file = new CertificateFile(path);
  try {
    const locked = file.lock(true)!;
    try {
      file.catchUp(locked);
      const entries = edit(file.registry);
      if (entries.length === 0) return;
      file.append(locked, entries);
      for (const entry of entries) file.registry.apply(entry);
      file.compact(locked);
    } finally {
      file.unlock(locked);
    }
  } catch (error) {
    if (error instanceof StartError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    throw fail(code === undefined ? message : `${path}: cannot write this file: ${message}`);
  }
}

/** A new code for the owner of an authority; the one before counts no more. */
export function newCode(path: string, lifeMilliseconds: number): RegistrationCode {
  if (!existsSync(path)) makeFile(path);
  const code = { code: randomBytes(CODE_BYTES).toString('hex'), expiresAt: Date.now() + lifeMilliseconds };
  change(path, () => [{ code }]);
  return code;
}

function makeFile(path: string): void {
  try {
    new CertificateFile(path).make();
  } catch (error) {
    throw fail(`${path}: cannot make this file: ${(error as Error).message}`);
  }
}

/** A file in PEM, or the PEM itself, with a name for messages. */
export type CertificateSource = string | { readonly name: string; readonly pem: string };

export interface NewAuthority {
  readonly ca: CertificateSource;
  /** Signed by the authority; its Common Name is the code. */
  readonly verification: CertificateSource;
  readonly autoRegister: boolean;
  readonly autoActivate: boolean;
  readonly isActive: boolean;
}

/** Registers an authority, whose key its owner has shown to have. */
export function addAuthority(path: string, { ca, verification, autoRegister, autoActivate, isActive }: NewAuthority): CaRecord {
  const authority = readCertificate(ca);
  const proof = readCertificate(verification);
  const [caName, proofName] = [nameOf(ca), nameOf(verification)];
  const now = Date.now();
  if (!authority.certificate.ca) throw fail(`${caName}: this certificate may not sign others (CA:TRUE is missing)`, 'invalid');
  checkTime(caName, authority, now);
  checkTime(proofName, proof, now);
  if (!hasSigned(authority.certificate, proof.certificate)) throw fail(`${proofName}: it is not signed by ${caName}`, 'invalid');
  const record: CaRecord = {
    fingerprint: authority.fingerprint,
    serial: authority.serial,
    commonName: authority.subject['CN'] ?? '',
    issuerCommonName: authority.issuerCommonName,
    pem: authority.certificate.toString(),
    status: isActive ? 'ACTIVE' : 'INACTIVE',
    autoRegister,
    autoActivate,
    createdAt: now,
    updatedAt: now,
    notBefore: authority.notBefore,
    notAfter: authority.notAfter,
  };
  change(path, (registry) => {
    if (registry.authorities.some(({ fingerprint }) => fingerprint === record.fingerprint))
      throw fail(`${caName}: this authority is registered already; onehop certificate ca-list shows it`, 'conflict');
    const { code } = registry;
    if (code === null || code.expiresAt <= now)
      throw fail('there is no code that counts; get one with: onehop certificate ca-code', 'conflict');
    if (proof.subject['CN'] !== code.code)
      throw fail(`${proofName}: its Common Name is not the code of the last onehop certificate ca-code`, 'invalid');
    // A code is good once.
    return [{ ca: record }, { code: null }];
  });
  return record;
}

/** Changes an authority. @param id serial number or fingerprint */
export function changeAuthority(
  path: string,
  id: string,
  to: Partial<Pick<CaRecord, 'status' | 'autoRegister' | 'autoActivate'>>,
): CaRecord {
  let changed: CaRecord | null = null;
  change(path, (registry) => {
    changed = { ...oneOf(registry.authorities, id, 'authority'), ...to, updatedAt: Date.now() };
    return [{ ca: changed }];
  });
  return changed!;
}

/** Takes an authority out. @param withDevices also the certificates that it has signed @returns how many those are */
export function removeAuthority(path: string, id: string, withDevices: boolean): number {
  let devices: DeviceRecord[] = [];
  change(path, (registry) => {
    const { fingerprint } = oneOf(registry.authorities, id, 'authority');
    devices = registry.devicesOf(fingerprint);
    if (devices.length > 0 && !withDevices)
      throw fail(
        `${devices.length} certificates of this authority are registered; --with-certificates (withCertificates=true) takes them out, too`,
        'conflict',
      );
    return [...devices.map((device) => ({ removed: device.fingerprint })), { removed: fingerprint }];
  });
  return devices.length;
}

/** Registers the certificate of a device. @param clientId null: any that belongs to no other certificate */
export function addDevice(path: string, source: CertificateSource, clientId: string | null, sharesClientId: boolean): DeviceRecord {
  const facts = readCertificate(source);
  const certificate = nameOf(source);
  const now = Date.now();
  let added: DeviceRecord | null = null;
  change(path, (registry) => {
    if (registry.devices.has(facts.fingerprint)) throw fail(`${certificate}: this certificate is registered already`, 'conflict');
    const authority = registry.issuerOf(facts);
    if (authority === null) throw fail(`${certificate}: none of the registered authorities has signed it`, 'invalid');
    const device = { ...registry.recordOf(facts, authority.fingerprint, clientId, now), sharesClientId };
    if (registry.hasSerial(device))
      throw fail(`${certificate}: another certificate of this authority has the same serial number`, 'conflict');
    checkOwner(registry, device, now);
    added = device;
    return [{ device }];
  });
  return added!;
}

/** Changes a certificate of a device. @param id serial number or fingerprint */
export function changeDevice(path: string, id: string, status: DeviceStatus, sharesClientId?: boolean): DeviceRecord {
  const now = Date.now();
  let changed: DeviceRecord | null = null;
  change(path, (registry) => {
    const before = oneOf([...registry.devices.values()], id, 'certificate');
    if (before.status === 'REVOKED' && status !== 'REVOKED')
      throw fail('a certificate that is revoked stays so; give the device a new one', 'conflict');
    const device = { ...before, status, sharesClientId: sharesClientId ?? before.sharesClientId, updatedAt: now };
    if (status === 'ACTIVE') checkOwner(registry, device, now);
    changed = device;
    return [{ device }];
  });
  return changed!;
}

/** Takes a certificate of a device out. @returns it, and whether it will be registered again when it comes */
export function removeDevice(path: string, id: string): { device: DeviceRecord; comesAgain: boolean } {
  let removed: { device: DeviceRecord; comesAgain: boolean } | null = null;
  change(path, (registry) => {
    const device = oneOf([...registry.devices.values()], id, 'certificate');
    const comesAgain = registry.authorities.some(
      (ca) => ca.status === 'ACTIVE' && ca.autoRegister && registry.devicesOf(ca.fingerprint).includes(device),
    );
    removed = { device, comesAgain };
    return [{ removed: device.fingerprint }];
  });
  return removed!;
}

/** A Client Identifier belongs to one active certificate, unless this one may share it. */
function checkOwner(registry: CertificateRegistry, { clientId, fingerprint, sharesClientId }: DeviceRecord, now: number): void {
  if (clientId === null || sharesClientId) return;
  const owner = registry.ownersOf(clientId, fingerprint, now)[0];
  if (owner !== undefined)
    throw fail(
      `the client ID ${JSON.stringify(clientId)} belongs to the certificate ${owner.serial}; --share lets both have it`,
      'conflict',
    );
}

/** Certificates that expire before the day come first. */
export interface DeviceFilter {
  readonly clientId?: string;
  readonly status?: DeviceStatus;
  /** Serial number or fingerprint. */
  readonly ca?: string;
  readonly commonName?: string;
  readonly organizationalUnit?: string;
  /** Wall time in milliseconds. */
  readonly expiresBefore?: number;
}

/** Certificates of devices, in the order in which they were registered. */
export function findDevices(path: string, filter: DeviceFilter): DeviceRecord[] {
  return devicesIn(readRegistry(path), filter);
}

/** The same, of a registry that was read. @throws StartError when there is no such authority */
export function devicesIn(registry: CertificateRegistry, filter: DeviceFilter): DeviceRecord[] {
  const { clientId, status, ca, commonName, organizationalUnit, expiresBefore } = filter;
  const devices =
    ca === undefined ? [...registry.devices.values()] : registry.devicesOf(oneOf(registry.authorities, ca, 'authority').fingerprint);
  return devices
    .filter(
      (device) =>
        (clientId === undefined || device.clientId === clientId) &&
        (status === undefined || device.status === status) &&
        (commonName === undefined || device.commonName === commonName) &&
        (organizationalUnit === undefined || device.organizationalUnit === organizationalUnit) &&
        (expiresBefore === undefined || device.notAfter < expiresBefore),
    )
    .sort((a, b) => a.createdAt - b.createdAt);
}

/** The one that a serial number or a fingerprint names. @throws StartError when there is none, or more */
export function oneOf<T extends { readonly fingerprint: string; readonly serial: string }>(all: readonly T[], id: string, what: string): T {
  const digits = id.replaceAll(':', '').toLowerCase();
  const bare = (serial: string): string => serial.toLowerCase().replace(/^0+(?=.)/, '');
  const found = all.filter(({ fingerprint, serial }) => fingerprint === digits || bare(serial) === bare(digits));
  if (found.length === 0) throw fail(`there is no ${what} ${JSON.stringify(id)} in the registry`, 'missing');
  if (found.length > 1) {
    const fingerprints = found.map(({ fingerprint }) => fingerprint).join(', ');
    throw fail(`${found.length} have the serial number ${JSON.stringify(id)}; name one by its fingerprint: ${fingerprints}`, 'conflict');
  }
  return found[0]!;
}

function nameOf(source: CertificateSource): string {
  return typeof source === 'string' ? source : source.name;
}

function readCertificate(source: CertificateSource): CertificateFacts {
  const facts = readFacts(typeof source === 'string' ? readPem(source) : source.pem);
  if (facts === null) throw fail(`${nameOf(source)}: this is no certificate in PEM`, 'invalid');
  return facts;
}

function readPem(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw fail(`${file}: ${code === 'ENOENT' ? 'no such file' : `cannot read this file: ${message}`}`);
  }
}

function checkTime(file: string, { notBefore, notAfter }: CertificateFacts, now: number): void {
  if (notAfter <= now) throw fail(`${file}: this certificate has expired`, 'invalid');
  if (notBefore > now) throw fail(`${file}: this certificate is not valid yet`, 'invalid');
}

function fail(message: string, kind: StartError['kind'] = 'failed'): StartError {
  return new StartError(message, 1, kind);
}
