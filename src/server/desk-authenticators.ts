/**
 * What the API does with authenticators: all are shown, those of `auth.file` can be changed. No key is ever told.
 */
import type { AuthenticatorSettings } from '../base/settings.ts';
import { type AskDesk, Refusal } from './ask-desk.ts';
import { withoutSecrets } from './desk-access.ts';
import type { AuthenticatorEdit } from './edits.ts';
import type { SupervisorParts } from './supervisor-asks.ts';

/** Names what is answered. */
export function authenticatorAsks(desk: AskDesk, parts: SupervisorParts): void {
  desk.handle('authenticators/list', () => listOf(parts));
  desk.handle('authenticators/change', async ({ edit, revision }: { edit: AuthenticatorEdit; revision: string | null }) => {
    const { settings, logins, editor } = parts;
    const { file } = settings.auth;
    if (file === '' || logins === null)
      throw new Refusal('not-implemented', 'there is no file of authenticators: configure auth.file: ./authenticators.json');
    await editor.run('authenticators', { file, revision, edit });
    try {
      logins.readFile(file);
    } catch (error) {
      throw new Refusal('unavailable', `the authenticators were written, but cannot be read: ${(error as Error).message}`);
    }
    await parts.settled();
    return listOf(parts);
  });
}

function listOf({ settings, logins }: SupervisorParts): object {
  const { allowAnonymous, authenticators, file } = settings.auth;
  const states = logins?.tallies() ?? [];
  const own = authenticators.map((one, place) => ({
    place,
    name: null,
    of: 'configuration',
    isActive: true,
    remark: '',
    ...factsOf(one),
    ...states[place],
  }));
  const named = (logins?.namedAuthenticators() ?? []).map(({ facts, state }, index) => ({
    place: own.length + index,
    name: facts.name,
    of: 'file',
    isActive: facts.isActive,
    remark: facts.remark,
    ...factsOf(facts.settings),
    ...state,
  }));
  return {
    allowAnonymous,
    file: file === '' ? null : file,
    revision: file === '' ? null : (logins?.revision ?? null),
    data: [...own, ...named],
    next: null,
    total: own.length + named.length,
  };
}

/** What may be said of an authenticator: where it looks, and no secret. */
function factsOf(one: AuthenticatorSettings): object {
  switch (one.type) {
    case 'users':
    case 'scram':
    case 'devices':
      return { type: one.type, source: one.file };
    case 'certificate':
      return { type: one.type, source: one.registry === '' ? null : one.registry };
    case 'http':
      return { type: one.type, source: withoutSecrets(one.url) };
    case 'jwt':
      return { type: one.type, source: withoutSecrets(one.jwksUrl) || one.jwks || one.publicKey || one.secret || null };
  }
}
