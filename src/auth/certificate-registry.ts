/**
 * CertificateRegistry: which certificates of devices the broker knows, and which authorities may sign new ones. It lives in memory; the file is somebody else's matter.
 *
 *   first connect ─ its authority is registered and registers by itself ─▶ PENDING_ACTIVATION or ACTIVE
 *   ACTIVE ⇄ INACTIVE by command      any ─▶ REVOKED, which is final
 *
 * One device, one certificate: a Client Identifier belongs to one active certificate, and a certificate that has one is good for no other.
 */
import { X509Certificate } from 'node:crypto';
import { type CertificateFacts, hasSigned, keyOf } from './certificate-facts.ts';

export const DEVICE_STATUSES = ['ACTIVE', 'INACTIVE', 'REVOKED', 'PENDING_ACTIVATION'] as const;
export type DeviceStatus = (typeof DEVICE_STATUSES)[number];

/** Characters that are kept of a name in a certificate. */
const NAME_LENGTH_MAX = 256;

/** An authority. All times are wall time in milliseconds. */
export interface CaRecord {
  readonly fingerprint: string;
  readonly serial: string;
  readonly commonName: string;
  readonly issuerCommonName: string;
  readonly pem: string;
  readonly status: 'ACTIVE' | 'INACTIVE';
  /** Whether its certificates are registered when they come for the first time. */
  readonly autoRegister: boolean;
  /** Whether they are active then. */
  readonly autoActivate: boolean;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface DeviceRecord {
  readonly fingerprint: string;
  /** Together with `issuerKey` it is there once. */
  readonly serial: string;
  /** SHA-256 of its authority's public key. */
  readonly issuerKey: string;
  readonly issuerCommonName: string;
  readonly commonName: string;
  readonly organizationalUnit: string;
  /** The one that it is good for; null: any that belongs to no other certificate. */
  readonly clientId: string | null;
  /** Whether another active certificate may have the same Client Identifier, as while a device changes from one to the next. */
  readonly sharesClientId: boolean;
  readonly status: DeviceStatus;
  /** Who has registered it: the device by its first connect, or somebody by a command. */
  readonly source: 'JITP' | 'API';
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** What an owner of an authority puts into a certificate to show that he has its key. */
export interface RegistrationCode {
  readonly code: string;
  readonly expiresAt: number;
}

/** One change, as the file has it. */
export type RegistryEntry =
  | { readonly ca: CaRecord }
  | { readonly device: DeviceRecord }
  /** Fingerprint of a certificate that is known no more. */
  | { readonly removed: string }
  | { readonly code: RegistrationCode | null };

/** Why a certificate is not good for a login; the words of `$events/certificate_rejected`. */
export type Rejection =
  | 'unreadable'
  | 'name_missing'
  | 'client_id_missing'
  | 'client_id_differs'
  | 'client_id_taken'
  | 'pending_activation'
  | 'inactive'
  | 'revoked'
  | 'ca_unknown'
  | 'ca_inactive'
  | 'not_registered'
  | 'serial_taken'
  | 'registry_full'
  | 'too_many_registrations';

/** An authority, and what is made of its certificate. */
interface Ca {
  readonly record: CaRecord;
  readonly certificate: X509Certificate;
  readonly key: string;
}

const REFUSING: Record<Exclude<DeviceStatus, 'ACTIVE'>, Rejection> = {
  INACTIVE: 'inactive',
  REVOKED: 'revoked',
  PENDING_ACTIVATION: 'pending_activation',
};

export class CertificateRegistry {
  code: RegistrationCode | null;
  private readonly byFingerprint: Map<string, DeviceRecord>;
  private readonly cas: Map<string, Ca>;
  /** Fingerprint by key of the authority and serial number. */
  private readonly bySerial: Map<string, string>;
  /** Fingerprints of the certificates that name it. */
  private readonly byClientId: Map<string, Set<string>>;

  constructor() {
    this.code = null;
    this.byFingerprint = new Map();
    this.cas = new Map();
    this.bySerial = new Map();
    this.byClientId = new Map();
  }

  get devices(): ReadonlyMap<string, DeviceRecord> {
    return this.byFingerprint;
  }

  get authorities(): readonly CaRecord[] {
    return [...this.cas.values()].map(({ record }) => record);
  }

  /** Records that are kept, of any kind. */
  get size(): number {
    return this.byFingerprint.size + this.cas.size + (this.code === null ? 0 : 1);
  }

  /** Everything, for a file that is written anew. */
  *entries(): Generator<RegistryEntry> {
    if (this.code !== null) yield { code: this.code };
    for (const { record } of this.cas.values()) yield { ca: record };
    for (const device of this.byFingerprint.values()) yield { device };
  }

  /**
   * Makes one change.
   * @returns fingerprints of certificates that were good and are so no more, or for another Client Identifier only
   * @throws when the certificate of an authority cannot be read
   */
  apply(entry: RegistryEntry): string[] {
    if ('code' in entry) {
      this.code = entry.code;
      return [];
    }
    const touched = this.touchedBy(entry);
    const before = touched.map((fingerprint) => this.standingOf(fingerprint));
    if ('device' in entry) this.put(entry.device);
    else if ('removed' in entry) {
      this.cas.delete(entry.removed);
      this.remove(entry.removed);
    } else {
      const certificate = new X509Certificate(entry.ca.pem);
      this.cas.set(entry.ca.fingerprint, { record: entry.ca, certificate, key: keyOf(certificate.publicKey) });
    }
    return touched.filter((fingerprint, index) => before[index] !== null && this.standingOf(fingerprint) !== before[index]);
  }

  /** Fingerprints of certificates that were good in this one and are so no more in the other. */
  endedIn(other: CertificateRegistry): string[] {
    const ended: string[] = [];
    for (const fingerprint of this.byFingerprint.keys()) {
      const before = this.standingOf(fingerprint);
      if (before !== null && other.standingOf(fingerprint) !== before) ended.push(fingerprint);
    }
    return ended;
  }

  /** Why a certificate that is registered is not good for this Client Identifier; null: it is. @param now wall time in milliseconds */
  problemOf(device: DeviceRecord, clientId: string, now: number): Rejection | null {
    if (device.status !== 'ACTIVE') return REFUSING[device.status];
    const authorities = this.authoritiesOf(device.issuerKey);
    if (authorities.length === 0) return 'ca_unknown';
    if (authorities.every(({ record }) => record.status !== 'ACTIVE')) return 'ca_inactive';
    if (device.clientId !== null) return device.clientId === clientId ? null : 'client_id_differs';
    return clientId === '' || device.sharesClientId || this.ownersOf(clientId, device.fingerprint, now).length === 0
      ? null
      : 'client_id_taken';
  }

  /** The authority that has signed this certificate, by its key; null: none of ours. Of several with one key it is one that registers, if there is one. */
  issuerOf({ certificate }: CertificateFacts): CaRecord | null {
    const issuers = [...this.cas.values()].filter((ca) => hasSigned(ca.certificate, certificate)).map(({ record }) => record);
    const active = issuers.filter(({ status }) => status === 'ACTIVE');
    return active.find(({ autoRegister }) => autoRegister) ?? active[0] ?? issuers[0] ?? null;
  }

  /**
   * What is to be noted of a certificate that comes for the first time.
   * @param fingerprint of its authority @param now wall time in milliseconds @param max certificates that may be registered
   */
  newcomer(facts: CertificateFacts, fingerprint: string, clientId: string, now: number, max: number): DeviceRecord | Rejection {
    const ca = this.cas.get(fingerprint)?.record;
    if (ca === undefined) return 'ca_unknown';
    if (ca.status !== 'ACTIVE') return 'ca_inactive';
    if (!ca.autoRegister) return 'not_registered';
    if (clientId === '') return 'client_id_missing';
    if (this.byFingerprint.size >= max) return 'registry_full';
    const device = this.recordOf(facts, fingerprint, clientId, now);
    if (this.hasSerial(device)) return 'serial_taken';
    if (this.ownersOf(clientId, device.fingerprint, now).length > 0) return 'client_id_taken';
    return { ...device, source: 'JITP', status: ca.autoActivate ? 'ACTIVE' : 'PENDING_ACTIVATION' };
  }

  /** A record of a certificate, as a command makes it. @param fingerprint of its authority, which is registered */
  recordOf(facts: CertificateFacts, fingerprint: string, clientId: string | null, now: number): DeviceRecord {
    const { CN: commonName = '', OU: organizationalUnit = '' } = facts.subject;
    return {
      fingerprint: facts.fingerprint,
      serial: facts.serial,
      issuerKey: this.cas.get(fingerprint)!.key,
      issuerCommonName: facts.issuerCommonName.slice(0, NAME_LENGTH_MAX),
      commonName: commonName.slice(0, NAME_LENGTH_MAX),
      organizationalUnit: organizationalUnit.slice(0, NAME_LENGTH_MAX),
      clientId,
      sharesClientId: false,
      status: 'ACTIVE',
      source: 'API',
      createdAt: now,
      updatedAt: now,
      notBefore: facts.notBefore,
      notAfter: facts.notAfter,
    };
  }

  /** Certificates other than this one that a Client Identifier belongs to: active, and not over. */
  ownersOf(clientId: string, fingerprint: string, now: number): DeviceRecord[] {
    const owners: DeviceRecord[] = [];
    for (const other of this.byClientId.get(clientId) ?? []) {
      const device = this.byFingerprint.get(other)!;
      if (other !== fingerprint && device.status === 'ACTIVE' && device.notAfter > now) owners.push(device);
    }
    return owners;
  }

  /** Whether another certificate of this authority has the same serial number. */
  hasSerial({ issuerKey, serial, fingerprint }: DeviceRecord): boolean {
    const other = this.bySerial.get(`${issuerKey} ${serial}`);
    return other !== undefined && other !== fingerprint;
  }

  /** Certificates of one authority, by its key. @param fingerprint of the authority */
  devicesOf(fingerprint: string): DeviceRecord[] {
    const key = this.cas.get(fingerprint)?.key;
    return [...this.byFingerprint.values()].filter(({ issuerKey }) => issuerKey === key);
  }

  private authoritiesOf(key: string): Ca[] {
    return [...this.cas.values()].filter((ca) => ca.key === key);
  }

  private touchedBy(entry: Exclude<RegistryEntry, { code: unknown }>): string[] {
    if ('device' in entry) return [entry.device.fingerprint];
    const fingerprint = 'ca' in entry ? entry.ca.fingerprint : entry.removed;
    return this.cas.has(fingerprint) ? this.devicesOf(fingerprint).map((device) => device.fingerprint) : [fingerprint];
  }

  /** What a certificate is good for, as a text to compare; null: nothing. */
  private standingOf(fingerprint: string): string | null {
    const device = this.byFingerprint.get(fingerprint);
    if (device?.status !== 'ACTIVE') return null;
    if (!this.authoritiesOf(device.issuerKey).some(({ record }) => record.status === 'ACTIVE')) return null;
    return device.clientId === null ? 'any' : `one ${device.clientId}`;
  }

  private put(device: DeviceRecord): void {
    this.remove(device.fingerprint);
    this.byFingerprint.set(device.fingerprint, device);
    this.bySerial.set(`${device.issuerKey} ${device.serial}`, device.fingerprint);
    if (device.clientId === null) return;
    const named = this.byClientId.get(device.clientId);
    if (named === undefined) this.byClientId.set(device.clientId, new Set([device.fingerprint]));
    else named.add(device.fingerprint);
  }

  private remove(fingerprint: string): void {
    const device = this.byFingerprint.get(fingerprint);
    if (device === undefined) return;
    this.byFingerprint.delete(fingerprint);
    this.bySerial.delete(`${device.issuerKey} ${device.serial}`);
    if (device.clientId === null) return;
    const named = this.byClientId.get(device.clientId);
    named?.delete(fingerprint);
    if (named?.size === 0) this.byClientId.delete(device.clientId);
  }
}
