/**
 * CertificateAuthenticator: a client that has shown a certificate, which the listener has checked already: it leads to a root of `tls.ca` and is not revoked there.
 *
 * It says who the client is, and may tie the Client Identifier to the certificate: one device, one certificate. What the certificate says of its subject becomes attributes.
 */
import { X509Certificate } from 'node:crypto';
import type { CertificateSettings } from '../base/settings.ts';
import type { Login } from '../shard/login.ts';
import { type Authenticator, deny, type Finding, ignore } from './authenticator.ts';

/** Parts of a subject, by the names that rules use. */
const SUBJECT: readonly [attribute: string, part: string][] = [
  ['Country', 'C'],
  ['Organization', 'O'],
  ['OrganizationalUnit', 'OU'],
  ['State', 'ST'],
  ['CommonName', 'CN'],
  ['SerialNumber', 'serialNumber'],
];

/** What a certificate says; a part that it has twice is none, because nobody could tell which one is meant. */
interface Facts {
  readonly subject: Readonly<Record<string, string>>;
  /** DNS names and URIs of the Subject Alternative Name. */
  readonly names: readonly string[];
  /** SHA-256, lower case, without colons. */
  readonly fingerprint: string;
  readonly notAfter: number;
}

export class CertificateAuthenticator implements Authenticator {
  readonly name = 'certificate';
  private readonly settings: CertificateSettings;

  constructor(settings: CertificateSettings) {
    this.settings = settings;
  }

  judge(login: Login): Promise<Finding> {
    return Promise.resolve(this.find(login));
  }

  private find({ certificate, clientId }: Login): Finding {
    if (certificate === null) return ignore('no certificate');
    const facts = readFacts(certificate);
    if (facts === null) return deny('the certificate cannot be read');
    const { settings } = this;
    const username = namesOf(facts, settings.username)[0];
    if (username === undefined) return deny(`the certificate has no ${settings.username}`);
    if (settings.clientId !== 'any' && !namesOf(facts, settings.clientId).includes(clientId))
      return deny(`the client ID is not the ${settings.clientId} of the certificate`);
    const attributes: Record<string, string> = {};
    for (const [attribute, part] of SUBJECT) {
      const value = facts.subject[part];
      if (value !== undefined) attributes[`Certificate.Subject.${attribute}`] = value;
    }
    // A connection may outlive the handshake that has checked the certificate by far.
    return {
      effect: 'allow',
      identity: { authenticator: this.name, username, attributes, isSuperuser: false, rules: null, expiresAt: facts.notAfter },
    };
  }
}

/** What the client may be called after this part; the first is its username. */
function namesOf(facts: Facts, part: 'cn' | 'san' | 'fingerprint'): readonly string[] {
  if (part === 'san') return facts.names;
  if (part === 'fingerprint') return [facts.fingerprint];
  const { CN } = facts.subject;
  return CN === undefined || CN === '' ? [] : [CN];
}

/** @returns null when it is no certificate */
function readFacts(der: Uint8Array): Facts | null {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(der);
  } catch {
    return null;
  }
  const subject: Record<string, string> = {};
  for (const [part, value] of Object.entries(certificate.toLegacyObject().subject as unknown as Record<string, string | string[]>))
    if (typeof value === 'string') subject[part] = value;
  return {
    subject,
    names: alternativeNames(certificate.subjectAltName ?? ''),
    fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    notAfter: Date.parse(certificate.validTo),
  };
}

/** Node writes `DNS:one, URI:two`, and quotes a value that could be taken for more than one: such a value names nobody here. */
function alternativeNames(text: string): string[] {
  if (text.includes('"')) return [];
  return text.split(', ').flatMap((entry) => {
    const match = /^(?:DNS|URI):(.+)$/.exec(entry);
    return match === null ? [] : [match[1]!];
  });
}
