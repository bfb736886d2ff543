/**
 * Edits: what the API changes in files that commands change, too. Each reads a file under its lock, changes it, and writes it whole; whoever comes first is kept.
 *
 * They wait for locks and read whole files, so they run on a thread of their own (`edit-thread.ts`), and know nothing of the broker beside them.
 */
import type { Device } from '../auth/device.ts';
import type { User } from '../auth/user.ts';
import type { ApiKey } from '../http/api-key.ts';
import { addApiKey, removeApiKey } from './api-key-commands.ts';
import { checkedAuthenticators, readAuthenticatorFile, type WrittenAuthenticator, writeAuthenticatorFile } from './authenticator-file.ts';
import { type BlockRecord, changeBlocks, hasEnded } from './block-commands.ts';
import {
  addAuthority,
  addDevice as addCertificate,
  type CaRecord,
  type CertificateSource,
  changeAuthority,
  changeDevice as changeCertificate,
  type DeviceStatus,
  newCode,
  removeAuthority,
  removeDevice as removeCertificate,
} from './certificate-commands.ts';
import { changeDevices, newDevice, newKey } from './device-commands.ts';
import { deviceOf } from './device-file.ts';
import { type ImportAsked, type ImportDone, importFleet } from './fleet-import.ts';
import { type FileStamps, forCommand, whileLocked } from './record-file.ts';
import { StartError } from './start-error.ts';
import { readStatementFile, statementList, type WrittenStatement, writeStatementFile } from './statement-file.ts';
import { changeUsers, isScramName, type ScramVerifier, scramVerifier } from './user-commands.ts';
import { userOf } from './user-file.ts';

/** What is to be different about a user; what is undefined stays. */
export interface UserChange {
  readonly attributes?: Readonly<Record<string, string>> | undefined;
  readonly isSuperuser?: boolean | undefined;
  readonly remark?: string | undefined;
  /** Whether there is to be a verifier for SCRAM. */
  readonly scram?: boolean | undefined;
}

/** A password, and its hash; null: it stays. */
export type NewPassword = { readonly text: string; readonly hash: string } | null;

/** What is to become of a list of statements. */
export type StatementEdit =
  | { readonly kind: 'replace'; readonly statements: readonly WrittenStatement[] }
  /** @property at place in the file; null: the end */
  | { readonly kind: 'insert'; readonly at: number | null; readonly statement: WrittenStatement }
  /** @property to its place from then on; null: it stays */
  | { readonly kind: 'change'; readonly at: StatementPlace; readonly patch: WrittenStatement; readonly to: number | null }
  | { readonly kind: 'move'; readonly at: StatementPlace; readonly to: number }
  | { readonly kind: 'remove'; readonly at: StatementPlace };

/** What is to become of the authenticators of a file. */
export type AuthenticatorEdit =
  /** @property at place in the file; null: the end */
  | { readonly kind: 'insert'; readonly at: number | null; readonly authenticator: WrittenAuthenticator }
  /** @property patch what is null in it goes @property to its place from then on; null: it stays */
  | { readonly kind: 'change'; readonly name: string; readonly patch: WrittenAuthenticator; readonly to: number | null }
  | { readonly kind: 'remove'; readonly name: string };

/** Name, or place in the file. */
export type StatementPlace = string | number;

export const EDITS = {
  'user/add': ({
    file,
    username,
    password,
    change,
  }: {
    file: string;
    username: string;
    password: NewPassword;
    change: UserChange;
  }): void => {
    const { text, hash } = password!;
    const { attributes = {}, isSuperuser = false, remark = '', scram } = change;
    const scramSha256 = scram === true ? verifierOf(username, text) : undefined;
    const user = checkedUser({ username, password: hash, ...(scramSha256 && { scramSha256 }), attributes, isSuperuser, remark });
    changeUsers(file, (users) => {
      if (users.has(username)) throw conflict(`there is a user ${JSON.stringify(username)} already`);
      users.set(username, user);
    });
  },

  'user/change': ({
    file,
    username,
    password,
    change,
  }: {
    file: string;
    username: string;
    password: NewPassword;
    change: UserChange;
  }): void => {
    const { scram, ...facts } = change;
    changeUsers(file, (users) => {
      const before = users.get(username);
      if (before === undefined) throw missing(`there is no user ${JSON.stringify(username)}`);
      const { scramSha256, ...rest } = before;
      const keeps = scram ?? scramSha256 !== undefined;
      if (keeps && password === null && scramSha256 === undefined)
        throw invalid('scram: the verifier is made of the password; send the password, too');
      const verifier = !keeps ? undefined : password === null ? scramSha256 : verifierOf(username, password.text);
      const given = Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined));
      users.set(
        username,
        checkedUser({ ...rest, ...given, ...(password && { password: password.hash }), ...(verifier && { scramSha256: verifier }) }),
      );
    });
  },

  'user/remove': ({ file, username }: { file: string; username: string }): void =>
    changeUsers(file, (users) => {
      if (!users.delete(username)) throw missing(`there is no user ${JSON.stringify(username)}`);
    }),

  'device/add': ({ file, fields }: { file: string; fields: Readonly<Record<string, unknown>> }): { device: Device; stamps: FileStamps } => {
    const device = newDevice({ ...checkedDevice(fields) });
    const stamps = changeDevices(file, (devices) => {
      if (devices.has(device.deviceId)) throw conflict(`there is a device ${JSON.stringify(device.deviceId)} already`);
      devices.set(device.deviceId, device);
    });
    return { device, stamps };
  },

  'device/import': (asked: ImportAsked): Promise<ImportDone> => importFleet(asked),

  /** @property rotate keys that are made anew */
  'device/change': ({
    file,
    deviceId,
    fields,
    rotate,
  }: {
    file: string;
    deviceId: string;
    fields: Readonly<Record<string, unknown>>;
    rotate: readonly ('primary' | 'secondary')[];
  }): { device: Device; stamps: FileStamps } => {
    let changed: Device | null = null;
    const stamps = changeDevices(file, (devices) => {
      const before = devices.get(deviceId);
      if (before === undefined) throw missing(`there is no device ${JSON.stringify(deviceId)}`);
      const keys = Object.fromEntries(rotate.map((name) => [`${name}Key`, newKey()]));
      changed = checkedDevice({ ...before, ...fields, ...keys, deviceId });
      devices.set(deviceId, changed);
    });
    return { device: changed!, stamps };
  },

  'device/remove': ({ file, deviceId }: { file: string; deviceId: string }): FileStamps =>
    changeDevices(file, (devices) => {
      if (!devices.delete(deviceId)) throw missing(`there is no device ${JSON.stringify(deviceId)}`);
    }),

  'block/add': ({ file, rule }: { file: string; rule: BlockRecord }): void =>
    changeBlocks(file, (rules) => {
      if (rules.some((one) => one.name === rule.name && !hasEnded(one))) throw conflict(`there is a rule ${rule.name} already`);
      return [...rules.filter(({ name }) => name !== rule.name), rule];
    }),

  'block/change': ({ file, rule }: { file: string; rule: BlockRecord }): void =>
    changeBlocks(file, (rules) => {
      if (!rules.some(({ name }) => name === rule.name)) throw missing(`there is no rule ${JSON.stringify(rule.name)}`);
      return rules.map((one) => (one.name === rule.name ? rule : one));
    }),

  'block/remove': ({ file, name }: { file: string; name: string }): void =>
    changeBlocks(file, (rules) => {
      const left = rules.filter((rule) => rule.name !== name);
      if (left.length === rules.length) throw missing(`there is no rule ${JSON.stringify(name)}`);
      return left;
    }),

  'api-key/add': ({ file, facts }: { file: string; facts: Omit<ApiKey, 'hash' | 'createdAt'> }): string => addApiKey(file, facts),
  'api-key/remove': ({ file, id }: { file: string; id: string }): void => removeApiKey(file, id),

  'certificate/code': ({ file, lifeMilliseconds }: { file: string; lifeMilliseconds: number }): { code: string; expiresAt: number } =>
    newCode(file, lifeMilliseconds),
  'certificate/add-authority': ({
    file,
    ...facts
  }: {
    file: string;
    ca: CertificateSource;
    verification: CertificateSource;
    autoRegister: boolean;
    autoActivate: boolean;
    isActive: boolean;
  }): CaRecord => addAuthority(file, facts),
  'certificate/change-authority': ({
    file,
    id,
    to,
  }: {
    file: string;
    id: string;
    to: Partial<Pick<CaRecord, 'status' | 'autoRegister' | 'autoActivate'>>;
  }): CaRecord => changeAuthority(file, id, to),
  'certificate/remove-authority': ({ file, id, withDevices }: { file: string; id: string; withDevices: boolean }): number =>
    removeAuthority(file, id, withDevices),
  'certificate/add': ({
    file,
    certificate,
    clientId,
    sharesClientId,
  }: {
    file: string;
    certificate: CertificateSource;
    clientId: string | null;
    sharesClientId: boolean;
  }): ReturnType<typeof addCertificate> => addCertificate(file, certificate, clientId, sharesClientId),
  'certificate/change': ({
    file,
    id,
    status,
    sharesClientId,
  }: {
    file: string;
    id: string;
    status: DeviceStatus;
    sharesClientId?: boolean | undefined;
  }): ReturnType<typeof changeCertificate> => changeCertificate(file, id, status, sharesClientId),
  'certificate/remove': ({ file, id }: { file: string; id: string }): ReturnType<typeof removeCertificate> => removeCertificate(file, id),

  /** @property revision the one that the caller has seen; null: whatever is there */
  authenticators: ({ file, revision, edit }: { file: string; revision: string | null; edit: AuthenticatorEdit }): void =>
    whileLocked(file, () => {
      const list = forCommand(() => readAuthenticatorFile(file));
      if (revision !== null && revision !== list.revision)
        throw conflict(`the authenticators have been changed meanwhile: their revision is ${list.revision}`);
      const next = authenticatorsAfter(list.written, edit);
      checkedAuthenticators(next);
      writeAuthenticatorFile(file, next);
    }),

  /** @property revision the one that the caller has seen; null: whatever is there @returns the place of the statement in the file, where it is about one */
  statements: ({
    file,
    revision,
    edit,
  }: {
    file: string;
    revision: string | null;
    edit: StatementEdit;
  }): { revision: string; at: number } => {
    let result = { revision: '', at: -1 };
    whileLocked(file, () => {
      const list = forCommand(() => readStatementFile(file));
      if (revision !== null && revision !== list.revision)
        throw conflict(`the statements have been changed meanwhile: their revision is ${list.revision}`);
      const { written, at } = edited(list.written, edit);
      const next = statementList(written);
      writeStatementFile(file, next.written);
      result = { revision: next.revision, at };
    });
    return result;
  },
} as const;

export type Edits = typeof EDITS;
export type EditName = keyof Edits;

function edited(before: readonly WrittenStatement[], edit: StatementEdit): { written: readonly WrittenStatement[]; at: number } {
  if (edit.kind === 'replace') return { written: edit.statements, at: -1 };
  const written = [...before];
  if (edit.kind === 'insert') {
    const at = Math.min(edit.at ?? written.length, written.length);
    written.splice(at, 0, edit.statement);
    return { written, at };
  }
  const at = placeOf(before, edit.at);
  if (edit.kind === 'change') {
    const changed = Object.entries({ ...written[at], ...edit.patch }).filter(([, value]) => value !== null);
    written[at] = Object.fromEntries(changed);
    return edit.to === null ? { written, at } : { written, at: move(written, at, edit.to) };
  }
  if (edit.kind === 'move') return { written, at: move(written, at, edit.to) };
  written.splice(at, 1);
  return { written, at: -1 };
}

function authenticatorsAfter(before: readonly WrittenAuthenticator[], edit: AuthenticatorEdit): readonly WrittenAuthenticator[] {
  const written = [...before];
  if (edit.kind === 'insert') {
    const { name } = edit.authenticator;
    if (before.some((one) => one['name'] === name)) throw conflict(`there is an authenticator ${JSON.stringify(name)} already`);
    written.splice(Math.min(edit.at ?? written.length, written.length), 0, edit.authenticator);
    return written;
  }
  const at = before.findIndex((one) => one['name'] === edit.name);
  if (at < 0) throw missing(`there is no authenticator ${JSON.stringify(edit.name)} in the file of authenticators`);
  if (edit.kind === 'remove') written.splice(at, 1);
  else {
    refuseMovedSecrets(before[at]!, edit.patch);
    const changed = Object.entries({ ...before[at], ...edit.patch }).filter(([, value]) => value !== null);
    written[at] = Object.fromEntries(changed);
    if (edit.to !== null) move(written, at, edit.to);
  }
  return written;
}

/** What was written for one service is not sent to another because only its address was changed: headers and body may hold its secrets. */
function refuseMovedSecrets(before: WrittenAuthenticator, patch: WrittenAuthenticator): void {
  const originOf = (url: unknown): string | null => (typeof url === 'string' && URL.canParse(url) ? new URL(url).origin : null);
  if (patch['url'] === undefined || originOf(patch['url']) === originOf(before['url'])) return;
  for (const part of ['headers', 'body'])
    if (before[part] !== undefined && patch[part] === undefined)
      throw invalid(`${part}: written for another address; send it with the new one, or null`);
}

/** @returns where it stands then */
function move(written: WrittenStatement[], from: number, to: number): number {
  const [statement] = written.splice(from, 1);
  const place = Math.min(to, written.length);
  written.splice(place, 0, statement!);
  return place;
}

function placeOf(list: readonly WrittenStatement[], at: StatementPlace): number {
  const place = typeof at === 'number' ? at : list.findIndex((statement) => statement['name'] === at);
  if (place < 0 || place >= list.length) throw missing(`there is no statement ${JSON.stringify(at)} in the file of statements`);
  return place;
}

function verifierOf(username: string, password: string): ScramVerifier {
  if (!isScramName(username)) throw invalid('SCRAM cannot express this username (RFC 4013)');
  const verifier = scramVerifier(password);
  if (verifier === null) throw invalid('SCRAM cannot express this password (RFC 4013)');
  return verifier;
}

function checkedUser(json: unknown): User {
  return forCommand(() => userOf(json), 'invalid');
}

function checkedDevice(json: unknown): Device {
  return forCommand(() => deviceOf(json), 'invalid');
}

function missing(message: string): StartError {
  return new StartError(message, 1, 'missing');
}

function conflict(message: string): StartError {
  return new StartError(message, 1, 'conflict');
}

function invalid(message: string): StartError {
  return new StartError(message, 1, 'invalid');
}
