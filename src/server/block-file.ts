/**
 * BlockFile: the rules about who may not connect, as JSON. `onehop block` writes it, the broker reads it.
 *
 *   { "version": 1, "rules": [{ "name": "stolen", "kind": "client-id", "include": "pump-*", "excludes": ["pump-1"], "expiresAt": "2026-12-31T00:00:00Z", "remark": "" }] }
 */
import { z } from 'zod';
import { type BlockRule, hasWildcard } from '../access/block-rules.ts';
import { checkNetwork } from './listener-schema.ts';
import { forCommand, readJsonFile, replaceFile } from './record-file.ts';

const RULES_MAX = 1_000;
/** Each of these is tried for each CONNECT; names without wildcards are looked up. */
const PATTERN_RULES_MAX = 200;
const EXCLUDES_MAX = 16;
const PATTERN_LENGTH_MAX = 1_024;
const REMARK_LENGTH_MAX = 128;

/** What is wrong with a pattern, as half a sentence; undefined: nothing. */
function patternProblem(kind: string, pattern: string): string | undefined {
  if (pattern === '' || pattern.length > PATTERN_LENGTH_MAX) return `a pattern has 1 to ${PATTERN_LENGTH_MAX} characters`;
  if (kind !== 'address') return undefined;
  if (hasWildcard(pattern)) return /^[\da-f.:*?]+$/i.test(pattern) ? undefined : 'expected an address such as 10.0.*, without bits';
  return checkNetwork(pattern);
}

/** A rule as the file has it. */
export interface BlockRecord extends Omit<BlockRule, 'expiresAt'> {
  /** ISO 8601; '': never. */
  readonly expiresAt: string;
}

const rule: z.ZodType<BlockRecord, unknown> = z
  .strictObject({
    name: z.string().regex(/^[A-Za-z0-9-]{1,64}$/, { error: 'a name has 1 to 64 of A-Z a-z 0-9 and -' }),
    kind: z.literal(['client-id', 'username', 'address'], { error: 'expected client-id, username or address' }),
    include: z.string(),
    excludes: z
      .array(z.string())
      .max(EXCLUDES_MAX, { error: `at most ${EXCLUDES_MAX} exceptions` })
      .default([]),
    expiresAt: z.iso.datetime({ offset: true, error: 'expected a time such as 2026-12-31T00:00:00Z' }).or(z.literal('')).default(''),
    remark: z
      .string()
      .max(REMARK_LENGTH_MAX, { error: `a remark has at most ${REMARK_LENGTH_MAX} characters` })
      .default(''),
  })
  .check(({ value, issues }) => {
    for (const pattern of [value.include, ...value.excludes]) {
      const message = patternProblem(value.kind, pattern);
      if (message !== undefined)
        issues.push({ code: 'custom', path: [pattern === value.include ? 'include' : 'excludes'], message, input: pattern });
    }
  });

const shape = z.strictObject({ version: z.literal(1), rules: z.array(rule).max(RULES_MAX, { error: `at most ${RULES_MAX} rules` }) });

/**
 * Reads a file of rules.
 * @throws with one line: the file, what is wrong, what to do
 */
export function readBlockFile(file: string): BlockRecord[] {
  return checked(file, readJsonFile(file, 'onehop block add NAME'));
}

function checked(file: string, json: unknown): BlockRecord[] {
  const result = shape.safeParse(json);
  if (!result.success) {
    const { path, message } = result.error.issues[0]!;
    throw new Error(`${file}: ${path.length === 0 ? '' : `${path.join('.')}: `}${message}`);
  }
  const { rules } = result.data;
  const names = new Set<string>();
  for (const { name } of rules) {
    if (names.has(name)) throw new Error(`${file}: the rule ${name} is there twice; remove one of them`);
    names.add(name);
  }
  if (rules.filter(({ include }) => hasWildcard(include)).length > PATTERN_RULES_MAX)
    throw new Error(`${file}: at most ${PATTERN_RULES_MAX} rules may have * or ? in what they include`);
  return rules;
}

/** Writes a file of rules, whole. @throws StartError with one line what it cannot hold */
export function writeBlockFile(file: string, rules: readonly BlockRecord[]): void {
  const content = { version: 1, rules };
  forCommand(() => checked(file, content), 'invalid');
  replaceFile(file, `${JSON.stringify(content, null, 2)}\n`);
}

/** As the shards need it. */
export function blockRuleOf({ expiresAt, ...same }: BlockRecord): BlockRule {
  return { ...same, expiresAt: expiresAt === '' ? 0 : Date.parse(expiresAt) };
}
