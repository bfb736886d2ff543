/**
 * Certificates: the files of one listener, read once by the supervisor and given to every shard, and what is made of them. Reading them again at a signal or a
 * change makes new contexts; connections that are there keep theirs.
 */
import { createHash, hkdfSync, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import tls from 'node:tls';
import type { TlsSettings } from '../base/settings.ts';
import { blocksOf } from './pem.ts';
import { Revocation } from './revocation.ts';

/** What OpenSSL wants: a name, a key for the code, a key for the cipher. Node makes them of shorter ones. */
export const TICKET_KEYS_BYTES = 80;
const NODE_TICKET_KEYS_BYTES = 48;

/** Contents of the files, all PEM. */
export interface CertificateFiles {
  readonly certificates: readonly { readonly chain: string; readonly key: string }[];
  /** '' where the listener has none. */
  readonly ca: string;
  readonly crl: string;
}

/** A file that cannot be read, or does not hold what it should; the message names it and is one line. */
export class CertificateError extends Error {}

/**
 * Reads and checks the files.
 * @throws CertificateError with one clear line
 */
export async function readCertificates(settings: TlsSettings): Promise<CertificateFiles> {
  const certificates: { chain: string; key: string }[] = [];
  for (const files of settings.certificates) {
    const pair = { chain: await readPem(files.chain), key: await readPem(files.key) };
    check(`${files.chain} with ${files.key}`, () => {
      tls.createSecureContext({ cert: pair.chain, key: pair.key });
    });
    check(files.chain, () => {
      new X509Certificate(pair.chain);
    });
    certificates.push(pair);
  }
  check('ciphers', () => {
    tls.createSecureContext(settings.ciphers === '' ? {} : { ciphers: settings.ciphers });
  });
  const ca = settings.ca === '' ? '' : await readPem(settings.ca);
  const crl = settings.crl === '' ? '' : await readPem(settings.crl);
  if (ca !== '') {
    check(settings.ca, () => {
      for (const root of blocksOf(ca, 'CERTIFICATE')) new X509Certificate(root);
    });
    if (blocksOf(ca, 'CERTIFICATE').length === 0) throw new CertificateError(`${settings.ca}: there is no certificate in PEM in this file`);
  }
  if (crl !== '') {
    const lists = blocksOf(crl, 'X509 CRL');
    if (lists.length === 0) throw new CertificateError(`${settings.crl}: there is no list of revoked certificates in PEM in this file`);
    check(settings.crl, () => {
      tls.createSecureContext({ crl: lists });
      revocationOf({ certificates, ca, crl });
    });
  }
  return { certificates, ca, crl };
}

/** Every file that `readCertificates` reads. */
export function certificateFiles(settings: TlsSettings): string[] {
  const files = settings.certificates.flatMap(({ chain, key }) => [chain, key]);
  return [...files, settings.ca, settings.crl].filter((file) => file !== '');
}

const FILE_ERRORS: Record<string, string> = { ENOENT: 'no such file', EACCES: 'permission denied', EISDIR: 'it is a directory' };

async function readPem(file: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new CertificateError(`${file}: cannot read this file: ${FILE_ERRORS[code ?? ''] ?? message}`);
  }
  if (!text.includes('-----BEGIN ')) throw new CertificateError(`${file}: there is no PEM in this file (-----BEGIN …-----)`);
  return text;
}

function check(file: string, attempt: () => void): void {
  try {
    attempt();
  } catch (error) {
    const reason = (error as Error).message.replace(/\s+/g, ' ').replace(/^error:[0-9A-F]+:/, '');
    throw new CertificateError(`${file}: cannot be used: ${reason}`);
  }
}

/** What judges client certificates where TLS does not do it; null where the listener has no list. */
export function revocationOf(files: CertificateFiles): Revocation | null {
  return files.crl === '' ? null : new Revocation(blocksOf(files.ca, 'CERTIFICATE'), blocksOf(files.crl, 'X509 CRL'));
}

/** Whether two readings are the same. */
export function fingerprintOf(files: CertificateFiles): string {
  return createHash('sha256').update(JSON.stringify(files)).digest('hex');
}

/**
 * Keys of session tickets: the same in all shards, and others as soon as `ca` or `crl` changes. A ticket holds what was found of the client's certificate when it was
 * shown, so a client whose certificate is revoked must not come back by an old one.
 * @param secret of this process
 */
export function ticketKeysOf(secret: Buffer, files: CertificateFiles, length: number = NODE_TICKET_KEYS_BYTES): Buffer {
  const judges = createHash('sha256').update(files.ca).update('\0').update(files.crl).digest();
  return Buffer.from(hkdfSync('sha256', secret, judges, 'onehop session tickets', length));
}

/** The contexts of one listener in one shard. */
export class SecureContexts {
  private readonly all: readonly { readonly certificate: X509Certificate; readonly context: tls.SecureContext }[];

  /** @param shared what all of them have, as `contextOptions` makes it */
  constructor(files: CertificateFiles, shared: tls.SecureContextOptions) {
    this.all = files.certificates.map(({ chain, key }) => ({
      certificate: new X509Certificate(chain),
      context: tls.createSecureContext({ ...shared, cert: chain, key }),
    }));
  }

  /** That of the first certificate made out to this name, else the first of all. */
  pick(serverName: string): tls.SecureContext {
    return this.all[
      certificateFor(
        serverName,
        this.all.map(({ certificate }) => certificate),
      )
    ]!.context;
  }
}

/** Place of the first certificate that is made out to this name; 0 when none is, or there is no name. */
export function certificateFor(serverName: string, certificates: readonly X509Certificate[]): number {
  if (serverName === '') return 0;
  try {
    return Math.max(
      0,
      certificates.findIndex((one) => one.checkHost(serverName) !== undefined),
    );
  } catch {
    // Strangers choose the name, and not everything that they send is one.
    return 0;
  }
}

/** What is the same for every certificate of a listener. */
export function contextOptions(
  settings: TlsSettings,
  files: CertificateFiles,
  ticketKeys: Buffer,
  sessionIdContext: string,
): tls.SecureContextOptions {
  const asksClient = settings.verifyClient !== 'none';
  return {
    minVersion: settings.minVersion === '1.3' ? 'TLSv1.3' : 'TLSv1.2',
    ticketKeys,
    sessionIdContext,
    ...(settings.ciphers === '' ? {} : { ciphers: settings.ciphers }),
    ...(asksClient ? { ca: files.ca } : {}),
    ...(asksClient && files.crl !== '' ? { crl: blocksOf(files.crl, 'X509 CRL') } : {}),
  };
}
