/**
 * The keys of authorization: the list of statements, and what older clients see of a refusal. `docs/authorization.md` says what statements mean.
 *
 * What belongs to one resource only (`topics`, `retain`; `targets`) is an error with the other. A statement that could be read in two ways is refused.
 */
import { z } from 'zod';
import { VARIABLE } from '../access/pattern.ts';
import type { AuthorizationSettings, StatementSettings } from '../base/settings.ts';
import { filterError } from '../protocol/topic.ts';
import { key, optionalKey, section } from './config-key.ts';
import { choice, flag, type KeyFacts, type Kind, show, text, textList } from './config-value.ts';
import { checkNetwork } from './listener-schema.ts';

type Action = StatementSettings['actions'][number];

const ACTIONS: readonly Action[] = ['connect', 'publish', 'subscribe', 'observe'];
const VARIABLES = new RegExp(VARIABLE.source, 'g');
const VARIABLE_NAMES = '${ClientId}, ${Username}, ${Attribute.name} and ${Certificate.Subject.CommonName} or another part of the subject';
/** Attributes that one statement may name in a key. */
const ATTRIBUTES_MAX = 8;
/** Patterns for one attribute of the target: they travel with messages. */
const TARGET_PATTERNS_MAX = 32;
const ATTRIBUTE_LENGTH_MAX = 256;
/** Levels of a topic in a statement; as many as a topic may have at all. */
const LEVELS_MAX = 2_000;

function checkVariables(value: string): string | undefined {
  return value.replace(VARIABLES, '').includes('${') ? `expected no variables but ${VARIABLE_NAMES}` : undefined;
}

function checkTopic(value: string): string | undefined {
  if (value.startsWith('$share/')) return `expected the topics of a subscription without $share/group/, not ${show(value)}`;
  if (filterError(value.replace(VARIABLES, 'x'), LEVELS_MAX) !== 0)
    return `expected topics with + and # as whole levels, not ${show(value)}`;
  return checkVariables(value);
}

function checkTarget(value: string): string | undefined {
  return value === '' ? 'expected client IDs such as dev-*, not an empty text' : checkVariables(value);
}

function checkIdentity(value: string): string | undefined {
  return checkVariables(value);
}

/** Names and values of attributes. */
function checkAttribute(value: string): string | undefined {
  if (value === '' || value.length > ATTRIBUTE_LENGTH_MAX) return `expected 1 to ${ATTRIBUTE_LENGTH_MAX} characters, not ${show(value)}`;
  return value.includes('${') ? `expected a text without variables, not ${show(value)}` : undefined;
}

function checkGroup(value: string): string | undefined {
  return value === '' || /[/+#]|\$\{/.test(value) ? `expected the name of a group such as workers-*, not ${show(value)}` : undefined;
}

/** A list with at least one of these values. */
function some<const T extends string | number>(...values: readonly T[]): Kind<readonly T[]> {
  const words = values.join(', ');
  const schema = z
    .array(z.literal([...values], { error: (issue) => `expected some of ${words}, not ${show(issue.input)}` }), {
      error: (issue) => `expected a list with some of ${words}, not ${show(issue.input)}`,
    })
    .min(1, { error: `expected at least one of ${words}` });
  return { schema, type: `list of ${values.map((value) => `\`${value}\``).join(', ')}`, verbatim: false };
}

/** A list of texts that is not empty: an empty one would read as `any`, or as `none`. */
function texts(check: (value: string) => string | undefined, such: string): Kind<readonly string[]> {
  const kind = textList(check, such);
  const schema = kind.schema.refine((list) => list.length > 0, { error: `expected at least one of ${such}; leave the key out for all` });
  return { ...kind, schema };
}

/** Attributes and patterns for each. */
function attributeMap(): Kind<Readonly<Record<string, readonly string[]>>> {
  const such = "patterns such as { group: [pumps, 'valve-*'] }";
  const patterns = texts(checkAttribute, 'patterns such as [pumps]').schema;
  const schema = z
    .record(z.string(), patterns, { error: (issue) => `expected attributes with ${such}, not ${show(issue.input)}` })
    .check(({ value, issues }) => {
      const names = Object.keys(value);
      const problem = names.map(checkAttribute).find((one) => one !== undefined);
      if (problem !== undefined) issues.push({ code: 'custom', message: problem, input: value });
      if (names.length === 0 || names.length > ATTRIBUTES_MAX)
        issues.push({ code: 'custom', message: `expected 1 to ${ATTRIBUTES_MAX} attributes with ${such}`, input: value });
    });
  return { schema, type: 'attributes, each with a list of texts', verbatim: false };
}

/** A key without default. */
function required<T>(kind: Kind<T>, meaning: string): z.ZodType<T, unknown> {
  return kind.schema.meta({ type: kind.type, default: '', text: meaning, verbatim: kind.verbatim } satisfies KeyFacts);
}

function checkName(value: string): string | undefined {
  return /^[A-Za-z][\w.-]{0,63}$/.test(value)
    ? undefined
    : `expected a name of 1 to 64 letters, digits, . _ and -, a letter first, not ${show(value)}`;
}

function checkFile(value: string): string | undefined {
  return value === '' || value.includes('\0') ? `expected a file such as ./statements.json, not ${show(value)}` : undefined;
}

const shape = {
  name: optionalKey(text(checkName), 'none', 'Name of the statement, for people and for the HTTP API. It is there once.'),
  effect: required(choice('allow', 'deny'), 'What the statement does where it matches.'),
  actions: required(some(...ACTIONS), 'What it is about. With `resource: p2p` only `publish` and `observe`.'),
  resource: key(
    choice('topic', 'p2p'),
    'topic',
    'Topics, or the addresses of clients (`first/p2p/clientId`). Neither says anything about the other.',
  ),
  topics: optionalKey(
    texts(checkTopic, "topics such as ['fleet/${ClientId}/#']"),
    'any',
    'Topic filters with `+` and `#`; `*` stands for any characters of a level, `${ClientId}` and other variables for the client’s own.',
  ),
  targets: optionalKey(
    texts(checkTarget, 'client IDs such as [dev-*]'),
    'any',
    'With `resource: p2p`: whom the message goes to, by patterns with `*`, `?` and variables.',
  ),
  same: optionalKey(
    texts(checkAttribute, 'attributes such as [group]'),
    'none',
    'With `resource: p2p`: attributes that sender and target must both have, with one value.',
  ),
  targetAttributes: optionalKey(
    attributeMap(),
    'any',
    'With `resource: p2p`: attributes that the target must have, each with patterns, of which one must match.',
  ),
  clientIds: optionalKey(
    texts(checkIdentity, 'client IDs such as [gw-*]'),
    'any',
    'Whose action it is, by patterns with `*`, `?` and variables.',
  ),
  usernames: optionalKey(
    texts(checkIdentity, 'usernames such as [gw-*]'),
    'any',
    'The same for the username. A client without one matches only where this is not written.',
  ),
  attributes: optionalKey(
    attributeMap(),
    'any',
    'Attributes that the client must have from its login, each with patterns, of which one must match: `{ group: [pumps, valve-*] }`.',
  ),
  addresses: optionalKey(texts(checkNetwork, 'networks such as [10.0.0.0/8]'), 'any', 'Where the client is, by addresses and networks.'),
  groups: optionalKey(
    texts(checkGroup, 'groups such as [workers]'),
    'any',
    'Only shared subscriptions (`$share/group/…`) in these groups, by patterns with `*` and `?`. For `subscribe` alone. Not written: shared and ordinary ones.',
  ),
  qos: optionalKey(some(0, 1, 2), 'any', 'QoS of the message, or the QoS that a subscription asks for.'),
  retain: optionalKey(flag(), 'either', '`true`: only messages that are to be retained. `false`: only others. For `publish` alone.'),
};

type StatementFile = {
  readonly [K in keyof StatementSettings]?: NonNullable<StatementSettings[K]> | undefined;
} & Pick<StatementSettings, 'effect' | 'actions' | 'resource'>;

const statement: z.ZodType<StatementFile, unknown> = z
  .strictObject(shape, {
    error: (issue) =>
      issue.code === 'invalid_type' ? `expected { effect: allow, actions: [publish], topics: [a/#] }, not ${show(issue.input)}` : undefined,
  })
  .check((context) => {
    const { value } = context;
    const wrong = (path: string, message: string): void => {
      context.issues.push({ code: 'custom', path: [path], message, input: value });
    };
    const { actions } = value;
    if (value.resource === 'p2p') {
      if (actions.some((action) => action !== 'publish' && action !== 'observe'))
        wrong('actions', 'a p2p statement is about publish and observe only');
      const asksTarget = value.same !== undefined || value.targetAttributes !== undefined;
      if (actions.includes('observe') && asksTarget) wrong('actions', 'an observer hears of targets that are not known yet: write targets');
      if ((value.same?.length ?? 0) > ATTRIBUTES_MAX) wrong('same', `expected at most ${ATTRIBUTES_MAX} attributes`);
      if (Object.values(value.targetAttributes ?? {}).some((patterns) => patterns.length > TARGET_PATTERNS_MAX))
        wrong('targetAttributes', `expected at most ${TARGET_PATTERNS_MAX} patterns for an attribute`);
      if (value.topics !== undefined) wrong('topics', 'a p2p statement has targets, not topics');
      if (value.retain !== undefined) wrong('retain', 'a P2P message is never retained');
      if (value.groups !== undefined) wrong('groups', 'a P2P message has no group');
      return;
    }
    if (actions.includes('observe')) wrong('actions', 'observe belongs to resource: p2p');
    for (const name of ['targets', 'same', 'targetAttributes'] as const)
      if (value[name] !== undefined) wrong(name, `${name} belongs to resource: p2p`);
    if (value.retain !== undefined && actions.includes('subscribe'))
      wrong('retain', 'retain is about publish only; write a statement for subscribe of its own');
    if (value.groups !== undefined && actions.some((action) => action !== 'subscribe'))
      wrong('groups', 'groups is about subscribe only; write a statement for the other actions of its own');
    if (actions.every((action) => action === 'connect')) {
      if (value.topics !== undefined) wrong('topics', 'connect has no topic');
      if (value.qos !== undefined) wrong('qos', 'connect has no QoS');
      if (value.retain !== undefined) wrong('retain', 'connect has no message');
    }
  });

const statementArray: z.ZodType<readonly StatementFile[], unknown> = z
  .array(statement, {
    error: (issue) => `expected a list such as [{ effect: allow, actions: [publish], topics: [a/#] }], not ${show(issue.input)}`,
  })
  .check(({ value, issues }) => {
    const names = new Set<string>();
    for (const [index, { name }] of value.entries()) {
      if (name === undefined) continue;
      if (names.has(name))
        issues.push({ code: 'custom', path: [index, 'name'], message: `another statement is called ${name}`, input: value });
      names.add(name);
    }
  });

const statements: z.ZodType<readonly StatementFile[] | undefined, unknown> = statementArray.optional().meta({
  type: 'list of statements',
  default: 'none: everyone may do everything',
  text: 'Who may do what. The first statement that matches decides; where none does, the answer is no. The keys of a statement are below.',
  verbatim: false,
} satisfies KeyFacts);

interface AuthorizationFile {
  readonly statements?: readonly StatementFile[] | undefined;
  readonly file?: string | undefined;
  readonly deniedV3: AuthorizationSettings['deniedV3'];
}

/** The section of the file. */
export const authorization: z.ZodPrefault<
  z.ZodObject<
    {
      statements: typeof statements;
      file: z.ZodType<string | undefined, unknown>;
      deniedV3: z.ZodType<AuthorizationSettings['deniedV3'], unknown>;
    },
    z.core.$strict
  >
> = section({
  statements,
  file: optionalKey(
    text(checkFile),
    'none',
    'File of further statements, as JSON, which are read behind those above. The HTTP API writes it, and it is read again when it changes. It must be there: `{ "version": 1, "statements": [] }`. [authorization.md](authorization.md#a-file-of-statements) is about it.',
  ),
  deniedV3: key(
    choice('acknowledge', 'close'),
    'acknowledge',
    'MQTT 3.1 and 3.1.1 have no words for a refused message of QoS 1 or 2. `acknowledge`: it is acknowledged and dropped. `close`: the connection ends.',
  ),
});

/** Keys of one statement for the manual. */
export function statementKeys(): readonly (KeyFacts & { readonly path: string })[] {
  return Object.entries(shape).map(([path, schema]) => ({ ...(schema.meta() as unknown as KeyFacts), path }));
}

/** In the names of `Settings`. */
export function authorizationSettings(file: AuthorizationFile): AuthorizationSettings {
  return { deniedV3: file.deniedV3, file: file.file ?? '', statements: file.statements?.map(statementSettings) ?? null };
}

function statementSettings(one: StatementFile): StatementSettings {
  return {
    ...(one.name !== undefined && { name: one.name }),
    effect: one.effect,
    resource: one.resource,
    actions: one.actions,
    topics: one.topics ?? null,
    targets: one.targets ?? null,
    same: one.same ?? null,
    targetAttributes: one.targetAttributes ?? null,
    clientIds: one.clientIds ?? null,
    usernames: one.usernames ?? null,
    attributes: one.attributes ?? null,
    addresses: one.addresses ?? null,
    groups: one.groups ?? null,
    qos: one.qos ?? null,
    retain: one.retain ?? null,
  };
}

/** What is wrong in a list of statements. */
export interface StatementIssue {
  /** Place in the list, and the key: `[3, 'topics']`. */
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** A list of statements as a file has it, checked. */
export function readStatements(
  raw: unknown,
): { readonly statements: readonly StatementSettings[] } | { readonly issues: readonly StatementIssue[] } {
  const result = statementArray.safeParse(raw);
  if (result.success) return { statements: result.data.map(statementSettings) };
  return {
    issues: result.error.issues.map((issue) => ({
      path: issue.path.map((part) => (typeof part === 'symbol' ? String(part) : part)),
      message: issue.code === 'unrecognized_keys' ? `unknown key ${issue.keys.join(', ')}` : issue.message,
    })),
  };
}

/** A statement as a person writes it: without what holds for all. */
export function writtenStatement(statement: StatementSettings): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(statement).filter(([key, value]) => value !== null && value !== undefined && !(key === 'resource' && value === 'topic')),
  );
}
