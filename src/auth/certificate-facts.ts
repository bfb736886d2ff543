/**
 * CertificateFacts: what a certificate says of itself, in the words that the registry, the rules and the log use.
 */
import { createHash, type KeyObject, X509Certificate } from 'node:crypto';

export interface CertificateFacts {
  readonly certificate: X509Certificate;
  /** By the short names of OpenSSL; a part that it has twice is none, because nobody could tell which one is meant. */
  readonly subject: Readonly<Record<string, string>>;
  /** DNS names and URIs of the Subject Alternative Name. */
  readonly names: readonly string[];
  /** SHA-256, lower case, without colons. */
  readonly fingerprint: string;
  /** Upper case hexadecimal; two authorities may give the same one. */
  readonly serial: string;
  readonly issuerCommonName: string;
  /** Wall time in milliseconds. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** @param encoded DER, or PEM @returns null when it is no certificate */
export function readFacts(encoded: Uint8Array | string): CertificateFacts | null {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(encoded);
  } catch {
    return null;
  }
  const { subject, issuer } = certificate.toLegacyObject();
  return {
    certificate,
    subject: partsOf(subject),
    names: alternativeNames(certificate.subjectAltName ?? ''),
    fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    serial: certificate.serialNumber.toUpperCase(),
    issuerCommonName: partsOf(issuer)['CN'] ?? '',
    notBefore: Date.parse(certificate.validFrom),
    notAfter: Date.parse(certificate.validTo),
  };
}

/** What stays the same when an authority renews its certificate: SHA-256 of its public key. */
export function keyOf(key: KeyObject): string {
  return createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex');
}

/** Whether one has signed the other. @param issuer certificate of an authority */
export function hasSigned(issuer: X509Certificate, certificate: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function partsOf(name: unknown): Record<string, string> {
  const parts: Record<string, string> = {};
  for (const [part, value] of Object.entries((name ?? {}) as Record<string, string | string[]>))
    if (typeof value === 'string') parts[part] = value;
  return parts;
}

/** Node writes `DNS:one, URI:two`, and quotes a value that could be taken for more than one: such a value names nobody here. */
function alternativeNames(text: string): string[] {
  if (text.includes('"')) return [];
  return text.split(', ').flatMap((entry) => {
    const match = /^(?:DNS|URI):(.+)$/.exec(entry);
    return match === null ? [] : [match[1]!];
  });
}
