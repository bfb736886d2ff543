/**
 * SecureLanes: what the lanes of a `wss` listener have of its certificates, from one reading of the files to the next, and what the library leaves to us: which
 * certificate fits a server name, which version is too old, which client certificate is needed or revoked.
 */
import { X509Certificate } from 'node:crypto';
import type { TlsSettings } from '../base/settings.ts';
import { type CertificateFiles, certificateFor, revocationOf } from './certificates.ts';
import type { ClientHello } from './client-hello.ts';
import { MemoryFile } from './memory-file.ts';
import type { Revocation } from './revocation.ts';
import type { Library, SslOptions } from './u-web-sockets.ts';

export class SecureLanes {
  /** By certificate. */
  readonly options: readonly SslOptions[];
  /** Whether the ClientHello decides something. */
  readonly needsHello: boolean;
  private readonly settings: TlsSettings;
  private readonly certificates: readonly X509Certificate[];
  private readonly revocation: Revocation | null;
  private readonly files: MemoryFile[];

  constructor(settings: TlsSettings, files: CertificateFiles) {
    this.settings = settings;
    this.certificates = files.certificates.map(({ chain }) => new X509Certificate(chain));
    this.needsHello = settings.minVersion === '1.3' || this.certificates.length > 1;
    const asksClient = settings.verifyClient !== 'none';
    this.revocation = asksClient ? revocationOf(files) : null;
    this.files = [];
    const inMemory = (content: string, name: string): string => {
      const file = new MemoryFile(content, name);
      this.files.push(file);
      return file.path;
    };
    const shared = {
      ...(asksClient ? { ca_file_name: inMemory(files.ca, settings.ca) } : {}),
      ...(settings.ciphers === '' ? {} : { ssl_ciphers: settings.ciphers }),
    };
    this.options = files.certificates.map(({ chain, key }, index) => ({
      ...shared,
      cert_file_name: inMemory(chain, settings.certificates[index]!.chain),
      key_file_name: inMemory(key, settings.certificates[index]!.key),
    }));
  }

  takes(hello: ClientHello): boolean {
    return hello.speaksTls13 || this.settings.minVersion === '1.2';
  }

  certificateFor(hello: ClientHello): number {
    return certificateFor(hello.serverName, this.certificates);
  }

  /** Why a client with this certificate, or none, may not connect; null: it may. The library has seen to it that it leads to a root. */
  problemOf(certificate: X509Certificate | null, now: number): string | null {
    if (certificate !== null) return this.revocation?.problemOf(certificate, now) ?? null;
    return this.settings.verifyClient === 'required' ? 'a client certificate is needed' : null;
  }

  close(): void {
    for (const file of this.files) file.close();
  }
}

/** Makes an app of each certificate and throws it away. @throws Error with one line when the library does not take it */
export function tryLanes(library: Library, settings: TlsSettings, files: CertificateFiles): void {
  const lanes = new SecureLanes(settings, files);
  try {
    for (const [index, options] of lanes.options.entries()) {
      try {
        library.SSLApp(options).close();
      } catch {
        // It says no more than that.
        const { chain } = settings.certificates[index]!;
        throw new Error(`uWebSockets.js takes ${chain} not, or not these ciphers; its TLS is BoringSSL`);
      }
    }
  } finally {
    lanes.close();
  }
}
