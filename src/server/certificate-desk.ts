/**
 * CertificateDesk: the registry of certificates while the broker runs. It notes the certificates of devices that connect for the first time, in batches, and sees what
 * commands have changed.
 *
 *   new certificate ─▶ pending ── 50 ms ──▶ lock, catch up, judge again, one write ─▶ verdicts, events
 *
 * Nobody is let in before the disk has the line: one device, one certificate holds over a crash.
 */
import { accessSync, constants } from 'node:fs';
import type { Registrar } from '../auth/certificate-authenticator.ts';
import type { CertificateFacts } from '../auth/certificate-facts.ts';
import type { CertificateRegistry, DeviceRecord, Rejection } from '../auth/certificate-registry.ts';
import type { Log } from '../base/log.ts';
import type { CertificateSettings } from '../base/settings.ts';
import { counter } from '../shard/counters.ts';
import type { CertificateEvent } from '../shard/events.ts';
import { CertificateFile, type LockedFile } from './certificate-file.ts';

const COUNT = counter('certificates/count');
const REGISTERED = counter('certificates/registered');
const REJECTED = counter('certificates/rejected');
const SUPPRESSED = counter('certificates/events/suppressed');

/** Certificates that come in this time are one write. */
const BATCH_MILLISECONDS = 50;
/** How soon to look again whether a command has done with the file. */
const LOCKED_MILLISECONDS = 20;
/** Events of refusals; a fleet that is refused comes again and again. */
const REJECTED_EVENTS_PER_SECOND = 50;
const MINUTE = 60_000;
const SECOND = 1_000;
const NAME_LENGTH_MAX = 256;

/** Whom it tells. */
export interface CertificateEars {
  revoked(authenticator: string, proofs: readonly string[]): void;
  event(name: CertificateEvent, facts: object): void;
  /** The first row of all counters. */
  readonly counters: Float64Array;
}

/** A certificate that is being registered. */
interface Newcomer {
  readonly facts: CertificateFacts;
  /** Fingerprint of its authority. */
  readonly authority: string;
  readonly clientId: string;
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  /** Why it was not registered. */
  refused: Rejection | null;
}

export class CertificateDesk implements Registrar {
  readonly path: string;
  private readonly file: CertificateFile;
  private readonly settings: CertificateSettings;
  private readonly log: Log;
  private readonly registrations: Allowance;
  private readonly rejectedEvents: Allowance;
  /** By fingerprint. */
  private readonly pending: Map<string, Newcomer>;
  private timer: NodeJS.Timeout | null;
  private ears: CertificateEars | null;

  /** @throws with one line when the file cannot be read */
  constructor(settings: CertificateSettings, log: Log) {
    this.path = settings.registry;
    this.file = new CertificateFile(settings.registry);
    this.settings = settings;
    this.log = log;
    this.registrations = new Allowance(settings.registrationsPerMinute, MINUTE);
    this.rejectedEvents = new Allowance(REJECTED_EVENTS_PER_SECOND, SECOND);
    this.pending = new Map();
    this.timer = null;
    this.ears = null;
    this.file.read();
    this.checkWritable();
  }

  /** What is known now. */
  get registry(): CertificateRegistry {
    return this.file.registry;
  }

  attach(ears: CertificateEars): void {
    this.ears = ears;
    this.count();
  }

  admit(facts: CertificateFacts, clientId: string): Rejection | null | Promise<Rejection | null> {
    const { registry } = this.file;
    const { fingerprint } = facts;
    const pending = this.pending.get(fingerprint);
    if (pending !== undefined) return this.whenRegistered(pending, clientId);
    const device = registry.devices.get(fingerprint);
    if (device !== undefined) return registry.problemOf(device, clientId, Date.now());
    const authority = registry.issuerOf(facts);
    if (authority === null) return 'ca_unknown';
    const found = registry.newcomer(facts, authority.fingerprint, clientId, Date.now(), this.settings.registryMax);
    if (typeof found === 'string') return found;
    // Whoever has the file may keep it: those that wait for it are not more than come in a minute.
    if (this.pending.size >= this.settings.registrationsPerMinute || !this.registrations.take()) return 'too_many_registrations';
    return this.whenRegistered(this.enter(facts, authority.fingerprint, clientId), clientId);
  }

  private async whenRegistered(newcomer: Newcomer, clientId: string): Promise<Rejection | null> {
    await newcomer.done;
    if (newcomer.refused !== null) return newcomer.refused;
    const { registry } = this.file;
    const device = registry.devices.get(newcomer.facts.fingerprint);
    return device === undefined ? 'not_registered' : registry.problemOf(device, clientId, Date.now());
  }

  private enter(facts: CertificateFacts, authority: string, clientId: string): Newcomer {
    let [resolve, reject]: [() => void, (error: Error) => void] = [() => {}, () => {}];
    const done = new Promise<void>((yes, no) => {
      [resolve, reject] = [yes, no];
    });
    const newcomer: Newcomer = { facts, authority, clientId, done, resolve, reject, refused: null };
    this.pending.set(facts.fingerprint, newcomer);
    this.timer ??= setTimeout(() => void this.flush(), BATCH_MILLISECONDS);
    return newcomer;
  }

  /** Notes all that wait, with one write. One at a time: the lock is the file's. */
  private async flush(): Promise<void> {
    this.timer = null;
    let locked: LockedFile | null = null;
    const batch: Newcomer[] = [];
    try {
      locked = this.file.lock(false);
      if (locked === null) {
        this.timer = setTimeout(() => void this.flush(), LOCKED_MILLISECONDS);
        return;
      }
      batch.push(...this.pending.values());
      this.ended(this.file.catchUp(locked) ?? []);
      const records = await this.note(locked, batch);
      for (const newcomer of batch) this.leave(newcomer).resolve();
      this.count();
      for (const record of records) this.registered(record);
    } catch (error) {
      // Those that come again are tried again.
      for (const newcomer of locked === null ? [...this.pending.values()] : batch) this.leave(newcomer).reject(error as Error);
    } finally {
      if (locked !== null) this.file.unlock(locked);
    }
  }

  private leave(newcomer: Newcomer): Newcomer {
    this.pending.delete(newcomer.facts.fingerprint);
    return newcomer;
  }

  /** What holds now decides: a command may have registered one of them, or given its Client Identifier away. @throws when the disk does not take it */
  private async note(locked: LockedFile, batch: readonly Newcomer[]): Promise<DeviceRecord[]> {
    const { registry } = this.file;
    const records: DeviceRecord[] = [];
    for (const newcomer of batch) {
      const { facts, authority, clientId } = newcomer;
      if (registry.devices.has(facts.fingerprint)) continue;
      const found = registry.newcomer(facts, authority, clientId, Date.now(), this.settings.registryMax);
      if (typeof found === 'string') {
        newcomer.refused = found;
        continue;
      }
      registry.apply({ device: found });
      records.push(found);
    }
    if (records.length === 0) return records;
    const entries = records.map((device) => ({ device }));
    try {
      await this.file.appendLater(locked, entries);
    } catch (error) {
      for (const { fingerprint } of records) registry.apply({ removed: fingerprint });
      throw error;
    }
    return records;
  }

  private registered(device: DeviceRecord): void {
    if (this.ears !== null) this.ears.counters[REGISTERED]!++;
    this.log.info({ fingerprint: device.fingerprint, clientId: device.clientId, status: device.status }, 'a certificate was registered');
    this.ears?.event('certificate_registered', {
      fingerprint: device.fingerprint,
      serial: device.serial,
      cn: device.commonName,
      issuer_cn: device.issuerCommonName,
      clientid: device.clientId,
      status: device.status,
      registered_at: device.createdAt,
    });
  }

  rejected(facts: CertificateFacts | null, clientId: string, reason: Rejection): void {
    const { ears } = this;
    if (ears === null) return;
    ears.counters[REJECTED]!++;
    if (!this.rejectedEvents.take()) {
      ears.counters[SUPPRESSED]!++;
      return;
    }
    ears.event('certificate_rejected', {
      fingerprint: facts?.fingerprint ?? null,
      serial: facts?.serial ?? null,
      cn: facts?.subject['CN']?.slice(0, NAME_LENGTH_MAX) ?? null,
      issuer_cn: facts?.issuerCommonName.slice(0, NAME_LENGTH_MAX) ?? null,
      clientid: clientId,
      reason,
    });
  }

  /** Reads what commands have changed. @throws with one line; then what was read before holds */
  reload(): void {
    const ended = this.file.read();
    if (ended === null) return;
    this.count();
    this.ended(ended);
    this.checkWritable();
    this.log.info(
      { file: this.path, certificates: this.file.registry.devices.size, ended: ended.length },
      'the registry of certificates was read again',
    );
  }

  private ended(fingerprints: readonly string[]): void {
    if (fingerprints.length > 0) this.ears?.revoked('certificate', fingerprints);
  }

  private count(): void {
    if (this.ears !== null) this.ears.counters[COUNT] = this.file.registry.devices.size;
  }

  /** Said at once, not when the first device comes. */
  private checkWritable(): void {
    if (!this.file.registry.authorities.some(({ autoRegister }) => autoRegister)) return;
    try {
      accessSync(this.path, constants.W_OK);
    } catch (error) {
      this.log.error({ file: this.path, error: (error as Error).message }, 'certificates cannot be registered: the file cannot be written');
    }
  }

  close(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    // Nobody waits for them any more.
    for (const { resolve } of this.pending.values()) resolve();
    this.pending.clear();
  }
}

/** So many in a time, and all of them at once where none came before. */
class Allowance {
  private readonly max: number;
  private readonly milliseconds: number;
  private left: number;
  private at: number;

  constructor(max: number, milliseconds: number) {
    this.max = max;
    this.milliseconds = milliseconds;
    this.left = max;
    this.at = performance.now();
  }

  take(): boolean {
    const now = performance.now();
    this.left = Math.min(this.max, this.left + ((now - this.at) * this.max) / this.milliseconds);
    this.at = now;
    if (this.left < 1) return false;
    this.left--;
    return true;
  }
}
