/**
 * What the API does with the configuration: it is read without its secrets, and its live keys can be changed until the restart.
 */
import { isDeepStrictEqual } from 'node:util';
import type { LogLevel } from '../base/settings.ts';
import type { Fault } from '../http/problem.ts';
import { type AskDesk, Refusal } from './ask-desk.ts';
import type { Tree } from './config.ts';
import { type ConfigKey, configKeys } from './config-schema.ts';
import { withoutSecrets } from './desk-access.ts';
import { isTree, LIVE_SECTIONS, type LiveSettings, merged } from './live-settings.ts';
import type { SupervisorParts } from './supervisor-asks.ts';

/** What the API may change. Statements have a way of their own. */
export const LIVE_KEYS: readonly string[] = ['log.level', 'authorization.deniedV3', 'quotas', 'alarms', 'metrics', 'tracing'];

const HIDDEN = '***';
/** Names of what nobody is told. */
const SECRET = /(?:password|passphrase|secretKey|apiKey|token|credentials)$/i;

/** Names what is answered. */
export function configAsks(desk: AskDesk, { live, settled }: SupervisorParts): void {
  desk.handle('config/list', () => configOf(live));
  desk.handle('config/change', async ({ patch }: { patch: Tree }) => {
    refuse(fixedKeys(patch));
    change(live, merged(live.patch, patch));
    await settled();
    return configOf(live);
  });
  desk.handle('config/forget', async () => {
    change(live, {});
    await settled();
    return configOf(live);
  });
  desk.handle('log-level/read', () => levelOf(live));
  desk.handle('log-level/change', async ({ level }: { level: LogLevel }) => {
    change(live, merged(live.patch, { log: { level } }));
    await settled();
    return levelOf(live);
  });
}

function levelOf(live: LiveSettings): object {
  return { level: live.current.log.level };
}

/** @throws Refusal with everything that is wrong */
function change(live: LiveSettings, patch: Tree): void {
  refuse((live.change(patch) ?? []).map(({ path, message }) => ({ at: path.join('.'), message })));
}

function refuse(faults: readonly Fault[]): void {
  if (faults.length > 0) throw new Refusal('unprocessable', `${faults[0]!.at}: ${faults[0]!.message}`, faults);
}

/** What a change asks for that cannot be changed here: keys that there are not, and those that are read at the start, or with the file. */
function fixedKeys(patch: Readonly<Tree>): Fault[] {
  const { keys, sections } = configKeys();
  const known = new Set(keys.map(({ path }) => path));
  const faults: Fault[] = [];
  const look = (tree: Readonly<Tree>, lead: string): void => {
    for (const [name, value] of Object.entries(tree)) {
      const path = lead + name;
      if (isLive(path)) continue;
      if (sections.includes(path) && isTree(value)) look(value, `${path}.`);
      else faults.push({ at: path, message: known.has(path) || sections.includes(path) ? howToChange(path) : 'unknown key' });
    }
  };
  look(patch, '');
  return faults;
}

function howToChange(path: string): string {
  return needsRestart(path)
    ? 'cannot be changed while the broker runs: write it to the configuration, and restart the broker'
    : 'cannot be changed here: write it to the configuration, and send SIGHUP to the broker';
}

function isLive(path: string): boolean {
  return LIVE_KEYS.some((key) => path === key || path.startsWith(`${key}.`));
}

function needsRestart(path: string): boolean {
  return !LIVE_SECTIONS.some((section) => path === section || path.startsWith(`${section}.`));
}

function configOf(live: LiveSettings): object {
  const { keys } = configKeys();
  return { file: live.config.file ?? null, data: keys.map((one) => rowOf(one, live)), next: null, total: keys.length };
}

function rowOf({ path, type, default: standard, text, input }: ConfigKey, { config, patch }: LiveSettings): object {
  const written = valueAt(config.written, path);
  const isOfApi = valueAt(patch, path) !== undefined;
  const value = written === undefined ? standard : shown(path, written);
  return {
    key: path,
    value,
    isHidden: written !== undefined && !isDeepStrictEqual(value, written),
    source: written === undefined ? 'default' : isOfApi ? 'api' : (config.origins.get(path) ?? 'file'),
    isLive: isLive(path),
    needsRestart: needsRestart(path),
    type,
    input: input?.kind ?? 'text',
    values: input?.values ?? [],
    default: standard,
    text,
  };
}

function shown(path: string, written: unknown): unknown {
  // Of some services the path is the secret.
  if (path === 'alarms.webhook.url' && typeof written === 'string' && URL.canParse(written)) return `${new URL(written).origin}/${HIDDEN}`;
  return withoutSecretsIn(path.slice(path.lastIndexOf('.') + 1), written);
}

function valueAt(tree: Readonly<Tree>, path: string): unknown {
  let value: unknown = tree;
  for (const name of path.split('.')) value = (value as Tree | undefined)?.[name];
  return value;
}

/** The same value, where nothing in it may be used by who reads it. Headers and bodies that are sent to services often hold keys. */
function withoutSecretsIn(name: string, value: unknown): unknown {
  if (typeof value === 'string') return SECRET.test(name) && value !== '' ? HIDDEN : withoutSecrets(value);
  if (Array.isArray(value)) return value.map((one) => withoutSecretsIn(name, one));
  if (typeof value !== 'object' || value === null) return value;
  const isSent = name === 'headers' || name === 'body';
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => {
      if (isSent) return [key, typeof one === 'string' && /^\$\{\w+\}$/.test(one) ? one : HIDDEN];
      return [key, withoutSecretsIn(key, one)];
    }),
  );
}
