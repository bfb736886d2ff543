/**
 * `onehop block …`: the file of rules about who may not connect (`auth.blocked`).
 */
import { type BlockRecord, changeBlocks, hasEnded, readBlocks } from '../server/block-commands.ts';
import { millisecondsOf } from './duration.ts';
import { Failure } from './failure.ts';
import { print } from './output.ts';

export interface BlockOptions {
  readonly file?: string;
  readonly clientId?: string;
  readonly username?: string;
  readonly address?: string;
  readonly except?: readonly string[];
  readonly for?: string;
  readonly until?: string;
  readonly remark?: string;
  readonly json?: boolean;
}

function fileOf(options: BlockOptions): string {
  return options.file ?? process.env['ONEHOP_BLOCKED_FILE'] ?? './blocked.json';
}

function targetOf({ clientId, username, address }: BlockOptions): { kind: BlockRecord['kind']; include: string } {
  const targets = [
    { kind: 'client-id', include: clientId },
    { kind: 'username', include: username },
    { kind: 'address', include: address },
  ] as const;
  const [one, ...more] = targets.filter(({ include }) => include !== undefined);
  if (one === undefined || more.length > 0) throw new Failure('say whom to block: one of --client-id, --username and --address', 2);
  return { kind: one.kind, include: one.include! };
}

function endOf(options: BlockOptions): string {
  if (options.for !== undefined && options.until !== undefined) throw new Failure('give one of --for and --until', 2);
  if (options.for !== undefined) return new Date(Date.now() + millisecondsOf('--for', options.for)).toISOString();
  if (options.until === undefined) return '';
  const end = new Date(options.until);
  if (Number.isNaN(end.getTime())) throw new Failure(`--until: expected a time such as 2026-12-31T00:00:00Z, not ${options.until}`, 2);
  if (end.getTime() <= Date.now()) throw new Failure('--until: this time has passed', 2);
  return end.toISOString();
}

/** `onehop block add`. */
export function addBlock(name: string, options: BlockOptions): void {
  const file = fileOf(options);
  const added: BlockRecord = {
    name,
    ...targetOf(options),
    excludes: [...(options.except ?? [])],
    expiresAt: endOf(options),
    remark: options.remark ?? '',
  };
  changeBlocks(file, (rules) => {
    if (rules.some((rule) => rule.name === name && !hasEnded(rule))) throw new Failure(`there is a rule ${name} in ${file} already`);
    return [...rules.filter((rule) => rule.name !== name), added];
  });
  print(`added ${lineOf(added)}`);
}

/** `onehop block remove`. */
export function removeBlock(name: string, options: BlockOptions): void {
  const file = fileOf(options);
  changeBlocks(file, (rules) => {
    const left = rules.filter((rule) => rule.name !== name);
    if (left.length === rules.length) throw new Failure(`there is no rule ${name} in ${file}; onehop block list shows which there are`);
    return left;
  });
  print(`removed ${name}`);
}

/** `onehop block list`. */
export function listBlocks(options: BlockOptions): void {
  const rules = readBlocks(fileOf(options));
  if (options.json === true) print(JSON.stringify(rules, null, 2));
  else for (const rule of rules) print(lineOf(rule));
}

function lineOf(rule: BlockRecord): string {
  const { name, kind, include, excludes, expiresAt, remark } = rule;
  const end = expiresAt === '' ? [] : [hasEnded(rule) ? `ended ${expiresAt}` : `until ${expiresAt}`];
  return [
    `${name}: ${kind} ${include}`,
    ...excludes.map((pattern) => `except ${pattern}`),
    ...end,
    ...(remark === '' ? [] : [`(${remark})`]),
  ].join(' ');
}
