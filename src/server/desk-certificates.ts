/**
 * What the API does with the registry of certificates: that of the `certificate` authenticator.
 */
import type { CaRecord, CertificateRegistry, DeviceRecord } from '../auth/certificate-registry.ts';
import { type AskDesk, Refusal } from './ask-desk.ts';
import { type DeviceFilter, devicesIn, oneOf } from './certificate-commands.ts';
import type { EditName, Edits } from './edits.ts';
import type { LoginDesk } from './login-desk.ts';
import type { Page, PageAsked } from './page.ts';
import { StartError } from './start-error.ts';
import type { SupervisorParts } from './supervisor-asks.ts';

const CODE_LIFE_MILLISECONDS = 86_400_000;

type Iso<T> = { readonly [K in keyof T]: K extends 'createdAt' | 'updatedAt' | 'notBefore' | 'notAfter' ? string : T[K] };

/** Names what is answered. */
export function certificateAsks(desk: AskDesk, parts: SupervisorParts): void {
  /** Changes the file, and what holds. */
  const edit = async <N extends EditName>(
    name: N,
    asked: Omit<Parameters<Edits[N]>[0], 'file'>,
  ): Promise<Awaited<ReturnType<Edits[N]>>> => {
    const { logins, file } = placeOf(parts);
    const result = await parts.editor.run(name, { ...asked, file } as unknown as Parameters<Edits[N]>[0]);
    logins.readFile(file);
    await parts.settled();
    return result;
  };
  desk.handle('certificates/list', ({ filter, ...asked }: PageAsked & { filter: DeviceFilter }): Page<Iso<DeviceRecord>> => {
    const { registry } = placeOf(parts);
    const found = explained(() => devicesIn(registry, filter));
    const from = asked.cursor === undefined ? 0 : placeBehind(found, asked.cursor);
    const data = found.slice(from, from + asked.limit);
    const last = data.at(-1);
    const next = last !== undefined && from + data.length < found.length ? `${last.createdAt}-${last.fingerprint}` : null;
    return { data: data.map(iso), next, total: found.length };
  });
  desk.handle('certificates/read', ({ id }: { id: string }): Iso<DeviceRecord> => {
    const { registry } = placeOf(parts);
    const known = registry.devices.get(id);
    return iso(known ?? explained(() => oneOf([...registry.devices.values()], id, 'certificate')));
  });
  desk.handle('certificates/add', async (asked: { pem: string; clientId: string | null; sharesClientId: boolean }) => {
    const { pem, clientId, sharesClientId } = asked;
    return iso(await edit('certificate/add', { certificate: { name: 'certificate', pem }, clientId, sharesClientId }));
  });
  desk.handle('certificates/change', async (asked: Omit<Parameters<Edits['certificate/change']>[0], 'file'>) =>
    iso(await edit('certificate/change', asked)),
  );
  desk.handle('certificates/remove', async ({ id }: { id: string }) => {
    const { comesAgain } = await edit('certificate/remove', { id });
    return { comesAgain };
  });
  desk.handle('authorities/list', (): { data: readonly Iso<CaRecord>[] } => ({ data: placeOf(parts).registry.authorities.map(iso) }));
  desk.handle('authorities/code', async () => {
    const { code, expiresAt } = await edit('certificate/code', { lifeMilliseconds: CODE_LIFE_MILLISECONDS });
    return { code, expiresAt: new Date(expiresAt).toISOString() };
  });
  desk.handle(
    'authorities/add',
    async (asked: { ca: string; verification: string; autoRegister: boolean; autoActivate: boolean; isActive: boolean }) => {
      const { ca, verification, ...same } = asked;
      const sources = { ca: { name: 'ca', pem: ca }, verification: { name: 'verification', pem: verification } };
      return iso(await edit('certificate/add-authority', { ...sources, ...same }));
    },
  );
  desk.handle('authorities/change', async (asked: Omit<Parameters<Edits['certificate/change-authority']>[0], 'file'>) =>
    iso(await edit('certificate/change-authority', asked)),
  );
  desk.handle('authorities/remove', async (asked: { id: string; withDevices: boolean }) => ({
    certificates: await edit('certificate/remove-authority', asked),
  }));
}

/** @throws Refusal where there is no registry */
function placeOf({ settings, logins }: SupervisorParts): {
  readonly logins: LoginDesk;
  readonly file: string;
  readonly registry: CertificateRegistry;
} {
  const one = settings.auth.authenticators.find((entry) => entry.type === 'certificate' && entry.registry !== '');
  if (logins === null || one?.type !== 'certificate')
    throw new Refusal(
      'not-implemented',
      'there is no registry of certificates: configure auth.authenticators: [{ type: certificate, registry: ./certificates.jsonl }]',
    );
  return { logins, file: one.registry, registry: logins.registryOf(one.registry) };
}

/** Where a page begins. Where the last record of the page before is gone, those that came at its time are told again. */
function placeBehind(found: readonly DeviceRecord[], cursor: string): number {
  const at = found.findIndex(({ createdAt, fingerprint }) => cursor === `${createdAt}-${fingerprint}`);
  if (at >= 0) return at + 1;
  const time = Number.parseInt(cursor, 10) || 0;
  const first = found.findIndex(({ createdAt }) => createdAt >= time);
  return first < 0 ? found.length : first;
}

function iso<T extends CaRecord | DeviceRecord>(record: T): Iso<T> {
  const { createdAt, updatedAt, notBefore, notAfter } = record;
  const times = { createdAt, updatedAt, notBefore, notAfter };
  return { ...record, ...Object.fromEntries(Object.entries(times).map(([name, time]) => [name, new Date(time).toISOString()])) } as Iso<T>;
}

function explained<T>(find: () => T): T {
  try {
    return find();
  } catch (error) {
    if (error instanceof StartError) throw new Refusal(error.kind === 'missing' ? 'not-found' : 'conflict', error.message);
    throw error;
  }
}
