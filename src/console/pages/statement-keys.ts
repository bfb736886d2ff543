/**
 * The keys of a statement as its form asks for them, and their values as text and back.
 */
import { patternsText, readLines, readPatterns } from '../pairs.ts';

/** A statement as it is written. What a form does not know stays in it. */
export type Written = Readonly<Record<string, unknown>>;

export type Resource = 'topic' | 'p2p';

/** The actions of each resource. */
export const ACTIONS: Readonly<Record<Resource, readonly (readonly [action: string, text: string])[]>> = {
  topic: [
    ['connect', 'connect'],
    ['publish', 'publish'],
    ['subscribe', 'subscribe'],
  ],
  p2p: [
    ['publish', 'publish: write to clients'],
    ['observe', "observe: read clients' P2P messages"],
  ],
};

/** What stands in a text for what is known of the client. */
export const VARIABLES: readonly string[] = ['${ClientId}', '${Username}', '${Attribute.name}', '${Certificate.Subject.CommonName}'];

export type ConditionKind = 'lines' | 'patterns' | 'qos' | 'retain';

export interface Condition {
  readonly key: string;
  readonly label: string;
  readonly kind: ConditionKind;
  readonly hint: string;
  readonly placeholder?: string;
  /** Whether variables may stand in it. */
  readonly hasVariables?: boolean;
  /** What it is about: the object of the action, or whoever acts. */
  readonly part: 'what' | 'who';
  /** Whether it can be written with these. */
  readonly fits: (resource: Resource, actions: readonly string[]) => boolean;
}

const always = (): boolean => true;
const isTopic = (resource: Resource, actions: readonly string[]): boolean =>
  resource === 'topic' && actions.some((action) => action !== 'connect');
const isP2p = (resource: Resource): boolean => resource === 'p2p';
const only =
  (action: string) =>
  (resource: Resource, actions: readonly string[]): boolean =>
    resource === 'topic' && actions.length === 1 && actions[0] === action;

export const CONDITIONS: readonly Condition[] = [
  {
    key: 'topics',
    label: 'Topics',
    kind: 'lines',
    part: 'what',
    hint: 'Topic filters, one in a line. + is one level, # the rest, * any characters of a level. Empty: all topics.',
    placeholder: 'fleet/${ClientId}/#',
    hasVariables: true,
    fits: isTopic,
  },
  {
    key: 'targets',
    label: 'Target clients',
    kind: 'lines',
    part: 'what',
    hint: 'Client IDs that the message goes to, one in a line, with * and ?. Empty: all clients.',
    placeholder: '${ClientId}-*',
    hasVariables: true,
    fits: isP2p,
  },
  {
    key: 'same',
    label: 'Attributes in common',
    kind: 'lines',
    part: 'what',
    hint: 'Names of attributes that sender and target must both have, with one value; one in a line.',
    placeholder: 'group',
    fits: (resource, actions) => isP2p(resource) && !actions.includes('observe'),
  },
  {
    key: 'targetAttributes',
    label: 'Attributes of the target',
    kind: 'patterns',
    part: 'what',
    hint: 'One in a line, with * and ?. Of several lines with one name one must fit.',
    placeholder: 'role: gateway',
    fits: (resource, actions) => isP2p(resource) && !actions.includes('observe'),
  },
  {
    key: 'groups',
    label: 'Share groups',
    kind: 'lines',
    part: 'what',
    hint: 'Only shared subscriptions in these groups, one in a line, with * and ?. Empty: shared and ordinary ones.',
    placeholder: 'workers',
    fits: only('subscribe'),
  },
  { key: 'qos', label: 'QoS', kind: 'qos', part: 'what', hint: 'None: any.', fits: (...of) => isTopic(...of) || isP2p(of[0]) },
  { key: 'retain', label: 'Retained', kind: 'retain', part: 'what', hint: '', fits: only('publish') },
  {
    key: 'clientIds',
    label: 'Client IDs',
    kind: 'lines',
    part: 'who',
    hint: 'Whose action it is, one in a line, with *, ? and variables. Empty: everyone.',
    placeholder: 'gw-*',
    fits: always,
  },
  {
    key: 'usernames',
    label: 'Usernames',
    kind: 'lines',
    part: 'who',
    hint: 'One in a line, with *, ? and variables. Empty: everyone, with a username or without.',
    placeholder: 'console',
    fits: always,
  },
  {
    key: 'attributes',
    label: 'Attributes of the client',
    kind: 'patterns',
    part: 'who',
    hint: 'From its login, one in a line, with * and ?. Each name must fit; of several lines with one name one.',
    placeholder: 'group: pumps',
    fits: always,
  },
  {
    key: 'addresses',
    label: 'Addresses',
    kind: 'lines',
    part: 'who',
    hint: 'IP addresses and networks, one in a line. Empty: from anywhere.',
    placeholder: '10.0.0.0/8',
    fits: always,
  },
];

/** Fields of every statement, by their keys. */
const ALWAYS_SHOWN: readonly string[] = ['name', 'effect', 'resource', 'actions'];
const KNOWN: readonly string[] = ['index', ...ALWAYS_SHOWN, ...CONDITIONS.map(({ key }) => key)];

/** Conditions that the form shows for a statement: those that fit it, and those that are written in it. */
export function shownConditions(written: Written): readonly Condition[] {
  const resource = resourceOf(written);
  const actions = actionsOf(written);
  return CONDITIONS.filter(({ key, fits }) => fits(resource, actions) || written[key] !== undefined);
}

/** Every field that the form shows for a statement, by its key. */
export function shownFields(written: Written): readonly string[] {
  return [...ALWAYS_SHOWN, ...shownConditions(written).map(({ key }) => key)];
}

export function resourceOf({ resource }: Written): Resource {
  return resource === 'p2p' ? 'p2p' : 'topic';
}

export function actionsOf({ actions }: Written): readonly string[] {
  return Array.isArray(actions) ? actions.map(String) : [];
}

/** A value as lines. */
export function textOf(kind: ConditionKind, value: unknown): string {
  if (value === undefined || value === null) return '';
  return kind === 'patterns' ? patternsText(value as Record<string, string[]>) : (value as string[]).join('\n');
}

/** Lines as a value; undefined where there is none. */
export function linesOf(kind: ConditionKind, text: string): unknown {
  const value = kind === 'patterns' ? readPatterns(text) : readLines(text);
  return Object.keys(value).length === 0 ? undefined : value;
}

/** The statement with another value; undefined takes the key away. */
export function withKey(written: Written, key: string, value: unknown): Written {
  const { [key]: _, ...rest } = written;
  return value === undefined ? rest : { ...written, [key]: value };
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

function isShown({ key, kind }: Condition, written: Written): boolean {
  const value = written[key];
  if (value === undefined) return true;
  if (kind === 'qos') return Array.isArray(value) && value.every((one) => [0, 1, 2].includes(one as number));
  if (kind === 'retain') return typeof value === 'boolean';
  const isRight = kind === 'patterns' ? typeof value === 'object' && value !== null && Object.values(value).every(isTexts) : isTexts(value);
  // An empty list, spaces at an end and colons in names are lost in lines.
  return isRight && JSON.stringify(linesOf(kind, textOf(kind, value))) === JSON.stringify(value);
}

export function isObject(value: unknown): value is Written {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export const NO_OBJECT = 'A statement is an object: { "effect": … }.';

/** Why the form cannot show a statement without changing it; '' where it can. */
export function notForForm(one: Written): string {
  const wrong = CONDITIONS.filter((condition) => !isShown(condition, one)).map(({ key }) => key);
  if (one['name'] !== undefined && typeof one['name'] !== 'string') wrong.push('name');
  if (one['actions'] !== undefined && !isTexts(one['actions'])) wrong.push('actions');
  if (one['resource'] !== undefined && one['resource'] !== 'topic' && one['resource'] !== 'p2p') wrong.push('resource');
  if (one['effect'] !== 'allow' && one['effect'] !== 'deny') wrong.push('effect');
  wrong.push(...Object.keys(one).filter((key) => !KNOWN.includes(key)));
  return wrong.length === 0 ? '' : `The form cannot show ${wrong.join(', ')} as written here.`;
}
