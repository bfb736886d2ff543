/**
 * What the API does with block rules and API keys.
 */

import { existsSync } from 'node:fs';
import { type ApiKey, randomApiKeyId } from '../http/api-key.ts';
import type { Role } from '../http/role.ts';
import { apiKeyProblem } from './api-key-commands.ts';
import { type AskDesk, Refusal } from './ask-desk.ts';
import { hasEnded, readBlocks } from './block-commands.ts';
import type { BlockRecord } from './block-file.ts';
import type { SupervisorParts } from './supervisor-asks.ts';

/** A rule as a request gives it. */
interface AskedRule extends Omit<BlockRecord, 'expiresAt'> {
  /** Null: it has no end. */
  readonly expiresAt: string | null;
}

/** Names what is answered. */
export function accessAsks(desk: AskDesk, parts: SupervisorParts): void {
  const { blocks, apiKeys, editor } = parts;
  desk.handle('block-rules/list', () => {
    const file = blockFile(parts);
    const rules = existsSync(file) ? readBlocks(file) : [];
    return { data: rules.map(shownRule) };
  });
  desk.handle('block-rules/add', async ({ rule: { expiresAt, ...same } }: { rule: AskedRule }) => {
    const rule = { ...same, expiresAt: expiresAt ?? '' };
    await editor.run('block/add', { file: blockFile(parts), rule });
    blocks.reload();
    await parts.settled();
    return shownRule(rule);
  });
  desk.handle('block-rules/change', async ({ rule: { expiresAt, ...same } }: { rule: AskedRule }) => {
    const rule = { ...same, expiresAt: expiresAt ?? '' };
    await editor.run('block/change', { file: blockFile(parts), rule });
    blocks.reload();
    await parts.settled();
    return shownRule(rule);
  });
  desk.handle('block-rules/remove', async ({ name }: { name: string }) => {
    await editor.run('block/remove', { file: blockFile(parts), name });
    blocks.reload();
    await parts.settled();
    return {};
  });

  desk.handle('api-keys/list', () => {
    keyFile(parts);
    return { data: apiKeys.current.map(shownKey) };
  });
  desk.handle('api-keys/add', async (asked: { id?: string; role: Role; username: string; expiresAt: number; remark: string }) => {
    const { id = randomApiKeyId(), role, username, expiresAt, remark } = asked;
    const facts = { id, role, username, expiresAt, remark };
    const problem = apiKeyProblem(facts);
    if (problem !== null) throw new Refusal('unprocessable', problem);
    const token = await editor.run('api-key/add', { file: keyFile(parts), facts });
    apiKeys.reload();
    await parts.settled();
    const key = apiKeys.current.find((one) => one.id === id);
    if (key === undefined) throw new Refusal('unavailable', `the key is in ${apiKeys.file}, but the file cannot be read; the log says why`);
    return { ...shownKey(key), token };
  });
  desk.handle('api-keys/remove', async ({ id }: { id: string }) => {
    await editor.run('api-key/remove', { file: keyFile(parts), id });
    apiKeys.reload();
    await parts.settled();
    return {};
  });
}

/** @throws Refusal where there is none */
function blockFile({ settings }: SupervisorParts): string {
  const { blocked } = settings.auth;
  if (blocked === '') throw new Refusal('not-implemented', 'there is no file of block rules: configure auth.blocked: ./blocked.json');
  return blocked;
}

/** @throws Refusal where there is none */
function keyFile({ apiKeys }: SupervisorParts): string {
  if (apiKeys.file === '') throw new Refusal('not-implemented', 'there is no file of API keys: configure http.apiKeys: ./api-keys.json');
  return apiKeys.file;
}

/** As the file has it, but for a rule without an end. */
function shownRule(rule: BlockRecord): object {
  return { ...rule, expiresAt: rule.expiresAt === '' ? null : rule.expiresAt, hasEnded: hasEnded(rule) };
}

function shownKey({ id, role, username, expiresAt, createdAt, remark }: ApiKey): object {
  return {
    id,
    role,
    username: username === '' ? `api-key-${id}` : username,
    expiresAt: expiresAt === 0 ? null : new Date(expiresAt).toISOString(),
    createdAt: new Date(createdAt).toISOString(),
    hasEnded: expiresAt !== 0 && expiresAt <= Date.now(),
    remark,
  };
}

/** An address without name, password and query; as it was written where it has none of them. */
export function withoutSecrets(address: string): string {
  if (!URL.canParse(address)) return address;
  const url = new URL(address);
  if (!['http:', 'https:'].includes(url.protocol)) return address;
  if (url.username === '' && url.password === '' && url.search === '') return address;
  if (url.username !== '' || url.password !== '') [url.username, url.password] = ['***', ''];
  if (url.search !== '') url.search = '?***';
  return url.href;
}
