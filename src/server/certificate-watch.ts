/**
 * CertificateWatch: the certificates of all listeners, read again at SIGHUP and when a file changes. What cannot be used is said once, and the old ones stay: a
 * renewal writes two files, and between them they do not fit.
 */
import { unwatchFile, watchFile } from 'node:fs';
import type { Log } from '../base/log.ts';
import type { ListenerSettings, TlsSettings } from '../base/settings.ts';
import type { CertificateFiles } from '../transports/certificates.ts';
import { StartError } from './start-error.ts';

/** Renewals come days apart; a poll sees every kind of replacement, links included. */
const POLL_MILLISECONDS = 2000;

/** What has become of the certificates of one listener. */
export interface CertificateReading {
  readonly place: number;
  readonly isChanged: boolean;
  /** Why they were not read, and the old ones stay; null: they were. */
  readonly error: string | null;
}

export class CertificateWatch {
  /** By listener; null for those without TLS. */
  readonly current: (CertificateFiles | null)[];
  private readonly listeners: readonly ListenerSettings[];
  private readonly log: Log;
  /** Told of each listener whose certificates are others now. */
  changed: (listener: number, files: CertificateFiles) => void;
  /** Judges of single listeners, by place: libraries that are stricter than Node's. They throw what is wrong. */
  readonly judges: Map<number, (files: CertificateFiles) => void>;
  private readonly watched: string[];
  private reading: Promise<unknown>;

  constructor(listeners: readonly ListenerSettings[], log: Log) {
    this.current = listeners.map(() => null);
    this.listeners = listeners;
    this.log = log;
    this.changed = () => {};
    this.judges = new Map();
    this.watched = [];
    this.reading = Promise.resolve();
  }

  /** Reads everything for the first time. @throws StartError with one clear line */
  async start(): Promise<void> {
    if (this.listeners.every(({ tls }) => tls === null)) return;
    const { CertificateError, certificateFiles } = await loadCertificates();
    for (const [index, { tls }] of this.listeners.entries()) {
      if (tls === null) continue;
      try {
        this.current[index] = await this.read(index, tls);
      } catch (error) {
        if (error instanceof CertificateError) throw new StartError(`listeners[${index}].tls: ${error.message}`, 1);
        throw error;
      }
      for (const file of certificateFiles(tls)) {
        this.watched.push(file);
        watchFile(file, { interval: POLL_MILLISECONDS, persistent: false }, this.reload);
      }
    }
  }

  private async read(index: number, tls: TlsSettings): Promise<CertificateFiles> {
    const { CertificateError, readCertificates } = await loadCertificates();
    const files = await readCertificates(tls);
    try {
      this.judges.get(index)?.(files);
    } catch (error) {
      throw new CertificateError(`these certificates cannot be used: ${(error as Error).message}`);
    }
    return files;
  }

  /** Reads everything again; one reading at a time. */
  readonly reload = (): void => {
    void this.reloadAll();
  };

  /** The same. @returns what has become of each listener with certificates */
  reloadAll(): Promise<readonly CertificateReading[]> {
    const reading = this.reading.then(() => this.readAll());
    this.reading = reading;
    return reading;
  }

  private async readAll(): Promise<CertificateReading[]> {
    const readings: CertificateReading[] = [];
    for (const [index, { tls }] of this.listeners.entries()) {
      if (tls === null) continue;
      try {
        const files = await this.read(index, tls);
        const { fingerprintOf } = await loadCertificates();
        const isChanged = fingerprintOf(files) !== fingerprintOf(this.current[index]!);
        readings.push({ place: index, isChanged, error: null });
        if (!isChanged) continue;
        this.current[index] = files;
        this.changed(index, files);
        this.log.info({ listener: index }, 'certificates were read again: new connections get them');
      } catch (error) {
        readings.push({ place: index, isChanged: false, error: (error as Error).message });
        this.log.warn({ listener: index, error: (error as Error).message }, 'certificates were not read again: the old ones stay');
      }
    }
    return readings;
  }

  stop(): void {
    for (const file of this.watched) unwatchFile(file, this.reload);
  }
}

/** What reads certificates brings Node's TLS along, 8 ms of a start: it is loaded only where there are some. */
function loadCertificates(): Promise<typeof import('../transports/certificates.ts')> {
  return import('../transports/certificates.ts');
}
