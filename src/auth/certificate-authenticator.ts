/**
 * CertificateAuthenticator: a client that has shown a certificate, which the listener has checked already: it leads to a root of `tls.ca` and is not revoked there.
 *
 * It says who the client is, and may tie the Client Identifier to the certificate: one device, one certificate. What the certificate says of its subject becomes attributes.
 * With a registry the certificate must also be active there; one that comes for the first time may be registered on the spot.
 */
import type { CertificateSettings } from '../base/settings.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import type { Login } from '../shard/login.ts';
import { type Authenticator, deny, type Finding, ignore } from './authenticator.ts';
import { type CertificateFacts, readFacts } from './certificate-facts.ts';
import type { Rejection } from './certificate-registry.ts';

/** Parts of a subject, by the names that rules use. */
const SUBJECT: readonly [attribute: string, part: string][] = [
  ['Country', 'C'],
  ['Organization', 'O'],
  ['OrganizationalUnit', 'OU'],
  ['State', 'ST'],
  ['CommonName', 'CN'],
  ['SerialNumber', 'serialNumber'],
];

/** For the log. */
const CAUSES: Record<Rejection, string> = {
  unreadable: 'the certificate cannot be read',
  name_missing: 'the certificate has no such name',
  client_id_missing: 'the first connect of a certificate needs a client ID',
  client_id_differs: 'the certificate is for another client ID',
  client_id_taken: 'the client ID belongs to another certificate',
  pending_activation: 'the certificate waits for its activation',
  inactive: 'the certificate is inactive',
  revoked: 'the certificate is revoked',
  ca_unknown: 'the authority of the certificate is not registered',
  ca_inactive: 'the authority of the certificate is inactive',
  not_registered: 'the certificate is not registered',
  serial_taken: 'another certificate of this authority has the same serial number',
  registry_full: 'no more certificates can be registered',
  too_many_registrations: 'too many certificates are being registered',
};

/** What the client is told where it is not Not authorized. */
const CODES: Partial<Record<Rejection, ReasonCode>> = {
  client_id_missing: ReasonCode.ClientIdentifierNotValid,
  registry_full: ReasonCode.QuotaExceeded,
  too_many_registrations: ReasonCode.ServerBusy,
};

/** Who knows which certificates are good. */
export interface Registrar {
  /**
   * Registers the certificate if it is new and may be.
   * @returns why it is not good for this Client Identifier; null: it is. At once, unless it is new
   * @throws when the registry cannot be written
   */
  admit(facts: CertificateFacts, clientId: string): Rejection | null | Promise<Rejection | null>;
  /** Told of each refusal. @param facts null: the certificate cannot be read */
  rejected(facts: CertificateFacts | null, clientId: string, reason: Rejection): void;
}

export class CertificateAuthenticator implements Authenticator {
  readonly name = 'certificate';
  private readonly settings: CertificateSettings;
  private readonly registrar: Registrar | null;

  /** @param registrar null: every certificate that the listener takes is good */
  constructor(settings: CertificateSettings, registrar: Registrar | null = null) {
    this.settings = settings;
    this.registrar = registrar;
  }

  async judge({ certificate, clientId }: Login): Promise<Finding> {
    if (certificate === null) return ignore('no certificate');
    const facts = readFacts(certificate);
    if (facts === null) return this.refuse(null, clientId, 'unreadable');
    const { settings } = this;
    const username = namesOf(facts, settings.username)[0];
    if (username === undefined) return this.refuse(facts, clientId, 'name_missing', `the certificate has no ${settings.username}`);
    if (settings.clientId !== 'any' && !namesOf(facts, settings.clientId).includes(clientId))
      return this.refuse(facts, clientId, 'client_id_differs', `the client ID is not the ${settings.clientId} of the certificate`);
    if (this.registrar !== null) {
      const found = this.registrar.admit(facts, clientId);
      // Nothing comes between this answer and the verdict, so that a certificate that is revoked meanwhile is not let in.
      const reason = found instanceof Promise ? await found : found;
      if (reason !== null) return this.refuse(facts, clientId, reason);
    }
    const attributes: Record<string, string> = {};
    for (const [attribute, part] of SUBJECT) {
      const value = facts.subject[part];
      if (value !== undefined) attributes[`Certificate.Subject.${attribute}`] = value;
    }
    // A connection may outlive the handshake that has checked the certificate by far.
    const expiresAt = facts.notAfter;
    const identity = {
      authenticator: this.name,
      proof: facts.fingerprint,
      username,
      attributes,
      isSuperuser: false,
      rules: null,
      expiresAt,
    };
    return { effect: 'allow', identity };
  }

  /** A certificate is no guess, so no refusal is counted as one. */
  private refuse(facts: CertificateFacts | null, clientId: string, reason: Rejection, cause: string = CAUSES[reason]): Finding {
    this.registrar?.rejected(facts, clientId, reason);
    return deny(cause, CODES[reason] ?? ReasonCode.NotAuthorized);
  }
}

/** What the client may be called after this part; the first is its username. */
function namesOf(facts: CertificateFacts, part: 'cn' | 'san' | 'fingerprint'): readonly string[] {
  if (part === 'san') return facts.names;
  if (part === 'fingerprint') return [facts.fingerprint];
  const { CN } = facts.subject;
  return CN === undefined || CN === '' ? [] : [CN];
}
