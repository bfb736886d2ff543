/**
 * Reads the configuration: file, then `ONEHOP_…` variables, then `--set`, then `--shards`; a later source wins.
 *
 * What is wrong comes out as a `ConfigError` with one line for each problem, and each line names the file and line, the variable or the option that
 * holds it. Invariant: no settings unless nothing is wrong in any source. The YAML library is loaded only when there is YAML to read, because
 * starting fast matters.
 */
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Document, LineCounter } from 'yaml';
import type { AuthenticatorSettings, Settings, TlsSettings } from '../base/settings.ts';
import { statementKeys } from './authorization-schema.ts';
import { type ConfigIssue, type ConfigKey, configKeys, readSettings } from './config-schema.ts';
import { listenerKeys } from './listener-schema.ts';

/** What is wrong with the configuration, in lines for a person. */
export class ConfigError extends Error {
  /** 2: the configuration is wrong. 1: the world is (the file cannot be read). */
  readonly exitCode: 1 | 2;
  readonly lines: readonly string[];

  constructor(exitCode: 1 | 2, lines: readonly string[]) {
    super(lines.join('\n'));
    this.name = 'ConfigError';
    this.exitCode = exitCode;
    this.lines = lines;
  }
}

/** Where settings come from, the strongest last. */
export interface ConfigSources {
  /** Path of a YAML file. */
  readonly file?: string | undefined;
  /** Environment; only names that start with `ONEHOP_` are looked at. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** `key=value` each. */
  readonly set?: readonly string[] | undefined;
  /** Value of `--shards`. */
  readonly shards?: string | undefined;
}

interface YamlFile {
  readonly name: string;
  readonly document: Document;
  readonly lines: LineCounter;
}

export type Tree = Record<string, unknown>;

/** Variables that Kubernetes puts into every container beside a Service whose name starts with `onehop`; they configure nothing. */
const kubernetesName = /^ONEHOP_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/;

/** Variables of the commands, not of the broker: where the API is, and files. */
const commandName = /^ONEHOP_(URL|API_KEY|(USERS|DEVICES|CERTIFICATES|BLOCKED|API_KEYS)_FILE)$/;

const fileErrors: Record<string, string> = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a directory',
};

/** A configuration as it was read. */
export interface LoadedConfig {
  readonly settings: Settings;
  /** What is written in all sources together, as a file would have it. */
  readonly written: Readonly<Tree>;
  /** The variable or option that a key comes from, by its path; the others are of the file. */
  readonly origins: ReadonlyMap<string, string>;
  readonly file: string | undefined;
}

/**
 * Settings from all sources.
 * @throws ConfigError with every problem
 */
export async function loadSettings(sources: ConfigSources): Promise<Settings> {
  return (await loadConfig(sources)).settings;
}

/** The same configuration with other values. @returns what is wrong with them, where something is */
export function withWritten(config: LoadedConfig, written: Readonly<Tree>): LoadedConfig | readonly ConfigIssue[] {
  const result = readSettings(written);
  if ('issues' in result) return result.issues;
  return { ...config, written, settings: withPaths(result.settings, config.file, config.origins) };
}

/**
 * The configuration from all sources.
 * @throws ConfigError with every problem
 */
export async function loadConfig(sources: ConfigSources): Promise<LoadedConfig> {
  const { keys, sections } = configKeys();
  const problems: string[] = [];
  const origins = new Map<string, string>();
  const file = sources.file === undefined ? undefined : await readYaml(sources.file);
  const tree = file === undefined ? {} : plainTree(file, sections);

  const override = async (key: ConfigKey, raw: string, origin: string): Promise<void> => {
    const value = key.verbatim ? raw : await overrideValue(raw);
    if (value instanceof Error) problems.push(`${origin}: ${value.message}`);
    else if (assign(tree, key.path, value)) origins.set(key.path, origin);
  };
  for (const [name, raw] of Object.entries(sources.env ?? {}).sort()) {
    if (!name.startsWith('ONEHOP_') || raw === undefined) continue;
    const key = keys.find((entry) => entry.env === name);
    if (key !== undefined) await override(key, raw, name);
    else if (!kubernetesName.test(name) && !commandName.test(name)) {
      const names = keys.map((entry) => entry.env);
      problems.push(`${name}: unknown variable${didYouMean(name, names)}`);
    }
  }
  for (const option of sources.set ?? []) {
    const at = option.indexOf('=');
    const path = at < 0 ? option : option.slice(0, at);
    const key = keys.find((entry) => entry.path === path);
    if (at < 0) problems.push(`--set ${option}: expected key=value`);
    else if (key !== undefined) await override(key, option.slice(at + 1), `--set ${path}`);
    else if (sections.includes(path))
      problems.push(
        `--set ${path}: not one key; name one of its keys, such as ${keys.find((entry) => entry.path.startsWith(`${path}.`))!.path}`,
      );
    else problems.push(`--set ${path}: unknown key${suggestKey(path.split('.'), keys, sections)}`);
  }
  if (sources.shards !== undefined) await override(keys.find((key) => key.path === 'shards')!, sources.shards, '--shards');

  const result = readSettings(tree);
  if ('issues' in result) problems.push(...result.issues.map((issue) => describe(issue, file, origins, keys, sections)));
  if ('settings' in result && problems.length === 0)
    return { settings: withPaths(result.settings, sources.file, origins), written: tree, origins, file: sources.file };
  throw new ConfigError(2, problems);
}

/** A relative path starts where it was written: at the configuration file, or at the working directory. */
function withPaths(settings: Settings, file: string | undefined, origins: ReadonlyMap<string, string>): Settings {
  const from = (key: string): ((path: string) => string) => {
    const base = file === undefined || origins.has(key) ? process.cwd() : dirname(resolve(file));
    return (path) => (path === '' ? '' : resolve(base, path));
  };
  const ofListener = from('listeners');
  const listeners = settings.listeners.map((listener) => ({
    ...listener,
    path: ofListener(listener.path),
    tls: listener.tls === null ? null : withTlsPaths(listener.tls, ofListener),
  }));
  const ofAuthenticator = from('auth.authenticators');
  const authenticators = settings.auth.authenticators.map((one) => withAuthenticatorPaths(one, ofAuthenticator));
  const auth = {
    ...settings.auth,
    authenticators,
    file: from('auth.file')(settings.auth.file),
    blocked: from('auth.blocked')(settings.auth.blocked),
  };
  const { apiKeys, auditLog } = settings.http;
  const http = { ...settings.http, apiKeys: from('http.apiKeys')(apiKeys), auditLog: from('http.auditLog')(auditLog) };
  const { path, backups } = settings.store;
  const store = { ...settings.store, path: from('store.path')(path), backups: from('store.backups')(backups) };
  const authorization = { ...settings.authorization, file: from('authorization.file')(settings.authorization.file ?? '') };
  const { webhook } = settings.alarms;
  const alarms = { ...settings.alarms, webhook: { ...webhook, secret: from('alarms.webhook.secret')(webhook.secret) } };
  const history = { ...settings.history, path: from('history.path')(settings.history.path) };
  return { ...settings, listeners, auth, authorization, http, alarms, history, store };
}

function withAuthenticatorPaths(one: AuthenticatorSettings, absolute: (path: string) => string): AuthenticatorSettings {
  if (one.type === 'http') return one;
  if (one.type === 'certificate') return { ...one, registry: absolute(one.registry) };
  if (one.type === 'users' || one.type === 'scram' || one.type === 'devices') return { ...one, file: absolute(one.file) };
  return { ...one, secret: absolute(one.secret), publicKey: absolute(one.publicKey), jwks: absolute(one.jwks) };
}

function withTlsPaths(tls: TlsSettings, absolute: (path: string) => string): TlsSettings {
  const certificates = tls.certificates.map(({ chain, key }) => ({ chain: absolute(chain), key: absolute(key) }));
  return { ...tls, certificates, ca: absolute(tls.ca), crl: absolute(tls.crl) };
}

async function readYaml(name: string): Promise<YamlFile> {
  let source: string;
  try {
    source = await readFile(name, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new ConfigError(1, [`${name}: cannot read this file: ${fileErrors[code ?? ''] ?? message}`]);
  }
  const yaml = await import('yaml');
  const lines = new yaml.LineCounter();
  const document = yaml.parseDocument(source, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    const places = document.errors.map((error) => {
      const { line, col } = lines.linePos(error.pos[0]);
      return `${name}:${line}:${col}: not valid YAML: ${error.message.replace(/\s+/g, ' ')}`;
    });
    throw new ConfigError(2, places);
  }
  return { name, document, lines };
}

/** The file as plain values. A section without any key (`limits:`) is an empty one, not an error. */
function plainTree(file: YamlFile, sections: readonly string[]): Tree {
  let tree: unknown;
  try {
    tree = file.document.toJS() ?? {};
  } catch (error) {
    // An alias without its anchor shows only here.
    throw new ConfigError(2, [`${file.name}: not valid YAML: ${(error as Error).message}`]);
  }
  for (const path of sections) {
    const parts = path.split('.');
    const last = parts.pop()!;
    const parent = parts.reduce<unknown>((node, part) => (node as Tree | undefined)?.[part], tree) as Tree | undefined;
    if (parent?.[last] === null) parent[last] = {};
  }
  return tree as Tree;
}

/** Reads a value from a variable or an option: plain words and numbers here, lists and quotes as YAML. */
async function overrideValue(raw: string): Promise<unknown> {
  if (raw === 'true' || raw === 'false') return raw === 'true';
  if (/^-?\d+(\.\d+)?$/.test(raw)) return Number(raw);
  if (!/^[[{'"]/.test(raw)) return raw;
  const json = jsonValue(raw);
  if (json !== undefined) return json;
  const yaml = await import('yaml');
  const document = yaml.parseDocument(raw, { prettyErrors: false });
  const first = document.errors[0];
  return first === undefined ? document.toJS() : new Error(`not valid YAML: ${first.message.replace(/\s+/g, ' ')}`);
}

/** What programs write: JSON without spaces, which needs no YAML library (a tenth of a start). Undefined: it is something else, or names a key twice, which YAML says. */
function jsonValue(raw: string): unknown {
  try {
    const value: unknown = JSON.parse(raw);
    return JSON.stringify(value) === raw ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Puts a value into the tree; false where the file has something else than a section on the way, which is reported anyway. */
function assign(tree: Tree, path: string, value: unknown): boolean {
  const parts = path.split('.');
  const last = parts.pop()!;
  let node: unknown = tree;
  for (const part of parts) {
    if (!isTree(node)) return false;
    node[part] ??= {};
    node = node[part];
  }
  if (!isTree(node)) return false;
  node[last] = value;
  return true;
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** One line: where, which key, what was expected. */
function describe(
  issue: ConfigIssue,
  file: YamlFile | undefined,
  origins: ReadonlyMap<string, string>,
  keys: readonly ConfigKey[],
  sections: readonly string[],
): string {
  const message = issue.message === 'unknown key' ? `unknown key${suggestKey(issue.path, keys, sections)}` : issue.message;
  for (let end = issue.path.length; end > 0; end -= 1) {
    const origin = origins.get(issue.path.slice(0, end).join('.'));
    if (origin !== undefined) return `${origin}: ${end === issue.path.length ? '' : `${keyName(issue.path)}: `}${message}`;
  }
  const place = file === undefined ? '' : `${file.name}:${lineOf(file, issue.path)}: `;
  return issue.path.length === 0 ? `${place}${message}` : `${place}${keyName(issue.path)}: ${message}`;
}

/** `listeners[0].bind`, as a person would write it. */
function keyName(path: readonly string[]): string {
  return path.map((part, index) => (/^\d+$/.test(part) ? `[${part}]` : index === 0 ? part : `.${part}`)).join('');
}

/** Line of the key in the file, or of the nearest thing around it. */
function lineOf(file: YamlFile, path: readonly string[]): number {
  let node: unknown = file.document.contents;
  let at = 0;
  for (const part of path) {
    const { items } = (node ?? {}) as { items?: unknown[] };
    const pair = items?.find((entry) => String((entry as { key?: unknown }).key) === part) as { key: unknown; value: unknown } | undefined;
    node = pair === undefined ? items?.[Number(part)] : pair.value;
    const range = ((pair?.key ?? node) as { range?: [number, number, number] } | undefined)?.range;
    if (range === undefined) break;
    at = range[0];
  }
  return file.lines.linePos(at).line;
}

/** The nearest key beside an unknown one, or else the same name in another section. */
function suggestKey(path: readonly string[], keys: readonly ConfigKey[], sections: readonly string[]): string {
  const all = [...keys.map((key) => key.path), ...sections, ...keysBeside(path)];
  const joined = path.join('.');
  const parent = path.slice(0, -1).join('.');
  const beside = all.filter((name) => name.split('.').slice(0, -1).join('.') === parent);
  const near = didYouMean(joined, beside);
  if (near !== '') return near;
  const last = path.at(-1)!.toLowerCase();
  const sameName = all.filter((name) => name.split('.').at(-1)!.toLowerCase() === last);
  // In a listener its own keys are meant.
  const elsewhere = sameName.find((name) => name.split('.')[0] === path[0]) ?? sameName[0];
  return elsewhere === undefined ? didYouMean(joined, all) : `; did you mean ${keyName(elsewhere.split('.'))}?`;
}

/** Keys and sections of the listener or statement that the path is in. */
function keysBeside(path: readonly string[]): string[] {
  const isListener = path[0] === 'listeners' && path.length > 2;
  if (!isListener && !(path[0] === 'authorization' && path[1] === 'statements' && path.length > 3)) return [];
  const names = (isListener ? listenerKeys() : statementKeys()).map((key) => key.path);
  const entry = path.slice(0, isListener ? 2 : 3).join('.');
  return [...new Set(names.flatMap((name) => [name, name.split('.')[0]!]))].map((name) => `${entry}.${name}`);
}

function didYouMean(name: string, candidates: readonly string[]): string {
  let best = '';
  let bestDistance = Math.max(2, Math.floor(name.length / 4)) + 1;
  for (const candidate of candidates) {
    const between = distance(name.toLowerCase(), candidate.toLowerCase());
    if (between >= bestDistance) continue;
    best = candidate;
    bestDistance = between;
  }
  return best === '' ? '' : `; did you mean ${keyName(best.split('.'))}?`;
}

/** Edits (insert, delete, replace) from one word to another. */
function distance(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= to.length; column += 1) {
      const replaced = previous[column - 1]! + (from[row - 1] === to[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, previous[column]! + 1, current[column - 1]! + 1));
    }
    previous = current;
  }
  return previous[to.length]!;
}
