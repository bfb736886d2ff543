/**
 * `onehop certificate …`: the registry of certificates that the authenticator `certificate` reads and adds to.
 */
import {
  addAuthority,
  addDevice,
  type CaRecord,
  changeAuthority,
  changeDevice,
  type DeviceRecord,
  type DeviceStatus,
  findDevices,
  newCode,
  readRegistry,
  removeAuthority,
  removeDevice,
} from '../server/certificate-commands.ts';
import { Failure } from './failure.ts';
import { print } from './output.ts';

const CODE_LIFE_MILLISECONDS = 86_400_000;

interface FileOptions {
  readonly file?: string;
}

export interface CaOptions extends FileOptions {
  readonly ca: string;
  readonly verification: string;
  readonly autoRegister?: boolean;
  readonly autoActivate?: boolean;
  readonly inactive?: boolean;
}

export interface AddOptions extends FileOptions {
  readonly certificate: string;
  readonly clientId?: string;
  readonly share?: boolean;
}

export interface ListOptions extends FileOptions {
  readonly clientId?: string;
  readonly status?: DeviceStatus;
  readonly ca?: string;
  readonly cn?: string;
  readonly ou?: string;
  readonly expiresBefore?: string;
  readonly json?: boolean;
}

function fileOf({ file }: FileOptions): string {
  return file ?? process.env['ONEHOP_CERTIFICATES_FILE'] ?? './certificates.jsonl';
}

/** A name that somebody else has chosen, so that it stays one word of one line. */
function shown(name: string): string {
  return /^[\p{L}\p{N}.:@/_+-]+$/u.test(name) ? name : JSON.stringify(name);
}

function day(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}

/** `onehop certificate ca-code`. */
export function caCode(options: FileOptions): void {
  const { code, expiresAt } = newCode(fileOf(options), CODE_LIFE_MILLISECONDS);
  print(code);
  process.stderr.write(
    `Sign a certificate with this Common Name until ${new Date(expiresAt).toISOString()}, then: onehop certificate ca-add\n`,
  );
}

/** `onehop certificate ca-add`. */
export function addCa(options: CaOptions): void {
  const { ca, verification, autoRegister = false, autoActivate = false, inactive = false } = options;
  const record = addAuthority(fileOf(options), { ca, verification, autoRegister, autoActivate, isActive: !inactive });
  print(`registered ${caLine(record)}`);
}

/** `onehop certificate ca-list`. */
export function listCas(options: FileOptions & { readonly json?: boolean }): void {
  const records = readRegistry(fileOf(options)).authorities;
  if (options.json === true) print(JSON.stringify(records, null, 2));
  else for (const record of records) print(caLine(record));
}

/** `onehop certificate ca-activate` and `ca-deactivate`. */
export function setCa(
  id: string,
  status: CaRecord['status'],
  options: FileOptions & { readonly autoRegister?: boolean; readonly autoActivate?: boolean },
): void {
  const { autoRegister, autoActivate } = options;
  const flags = { ...(autoRegister !== undefined && { autoRegister }), ...(autoActivate !== undefined && { autoActivate }) };
  print(caLine(changeAuthority(fileOf(options), id, { status, ...flags })));
}

/** `onehop certificate ca-remove`. */
export function removeCa(id: string, options: FileOptions & { readonly withCertificates?: boolean }): void {
  const devices = removeAuthority(fileOf(options), id, options.withCertificates === true);
  print(`removed the authority ${id}${devices === 0 ? '' : ` and ${devices} certificates`}`);
}

/** `onehop certificate add`. */
export function addCertificate(options: AddOptions): void {
  const { certificate, clientId, share = false } = options;
  if (clientId === '') throw new Failure('a client ID has at least one character', 2);
  print(`registered ${deviceLine(addDevice(fileOf(options), certificate, clientId ?? null, share))}`);
}

/** `onehop certificate list`. */
export function listCertificates(options: ListOptions): void {
  const { clientId, status, ca, cn, ou, expiresBefore } = options;
  const time = expiresBefore === undefined ? undefined : Date.parse(expiresBefore);
  if (time !== undefined && Number.isNaN(time))
    throw new Failure(`--expires-before ${expiresBefore}: expected a day such as 2030-01-31`, 2);
  const devices = findDevices(fileOf(options), {
    ...(clientId !== undefined && { clientId }),
    ...(status !== undefined && { status }),
    ...(ca !== undefined && { ca }),
    ...(cn !== undefined && { commonName: cn }),
    ...(ou !== undefined && { organizationalUnit: ou }),
    ...(time !== undefined && { expiresBefore: time }),
  });
  if (options.json === true) print(JSON.stringify(devices, null, 2));
  else for (const device of devices) print(deviceLine(device));
}

/** `onehop certificate activate`, `deactivate` and `revoke`. */
export function setCertificate(id: string, status: DeviceStatus, options: FileOptions & { readonly share?: boolean }): void {
  print(deviceLine(changeDevice(fileOf(options), id, status, options.share)));
}

/** `onehop certificate remove`. */
export function removeCertificate(id: string, options: FileOptions): void {
  const { device, comesAgain } = removeDevice(fileOf(options), id);
  print(`removed ${deviceLine(device)}`);
  if (comesAgain)
    process.stderr.write('onehop: its authority registers certificates by itself: this one comes again; revoke it to keep it out\n');
}

function caLine({ serial, commonName, status, autoRegister, autoActivate, notAfter, fingerprint }: CaRecord): string {
  const flags = [...(autoRegister ? ['auto-register'] : []), ...(autoActivate ? ['auto-activate'] : [])];
  return [serial, status, `cn=${shown(commonName)}`, ...flags, `until=${day(notAfter)}`, fingerprint].join(' ');
}

function deviceLine({ serial, commonName, status, clientId, sharesClientId, source, notAfter, fingerprint }: DeviceRecord): string {
  const client = clientId === null ? [] : [`client-id=${shown(clientId)}`];
  const words = [serial, status, `cn=${shown(commonName)}`, ...client, ...(sharesClientId ? ['shared'] : []), source];
  return [...words, `until=${day(notAfter)}`, fingerprint].join(' ');
}
