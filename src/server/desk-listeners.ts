/**
 * What the API says of listeners, and of their certificates.
 */
import { X509Certificate } from 'node:crypto';
import { listenerCounter, sumCounter } from '../shard/counters.ts';
import type { CertificateFiles } from '../transports/certificates.ts';
import type { AskDesk } from './ask-desk.ts';
import type { SupervisorParts } from './supervisor-asks.ts';

/** Names what is answered. */
export function listenerAsks(desk: AskDesk, parts: SupervisorParts): void {
  desk.handle('listeners/list', () => ({ data: listenersOf(parts) }));
  desk.handle('listeners/reload', async () => {
    const data = await parts.certificates.reloadAll();
    await parts.settled();
    return { data };
  });
}

function listenersOf({ settings, certificates, counters, ports }: SupervisorParts): object[] {
  const places = ports();
  return settings.listeners.map(({ type, host, path, connections, tls }, place) => ({
    place,
    type,
    address: host === '' ? path : host,
    port: places[place]!,
    connections: sumCounter(counters, listenerCounter(place)),
    connectionsMax: connections,
    verifyClient: tls?.verifyClient ?? null,
    certificates: certificatesOf(certificates.current[place] ?? null),
  }));
}

function certificatesOf(files: CertificateFiles | null): object[] {
  return (files?.certificates ?? []).map(({ chain }) => {
    const one = new X509Certificate(chain);
    return {
      subject: one.subject.replaceAll('\n', ', '),
      issuer: one.issuer.replaceAll('\n', ', '),
      names: one.subjectAltName?.split(', ') ?? [],
      beginsAt: new Date(one.validFrom).toISOString(),
      endsAt: new Date(one.validTo).toISOString(),
      fingerprint: one.fingerprint256.replaceAll(':', '').toLowerCase(),
    };
  });
}
