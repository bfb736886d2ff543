/**
 * AclClaim: rules about what a client may do, in a claim of its token, made into statements. They are asked before those of the configuration.
 *
 *   [{ "permission": "allow", "action": "publish", "topic": "fleet/${ClientId}/#" }, …]         rules in their order; none matches: the configuration decides
 *   { "pub": ["a/#"], "sub": ["b"], "all": ["c"] }                                              these alone
 *
 * A rule for `first/p2p/…` is also one about the clients that the rest names. What cannot be read makes the token worthless: a rule that is passed over might be the
 * one that denies.
 */
import { BlockList } from 'node:net';
import { VARIABLE } from '../access/pattern.ts';
import { LITERAL } from '../access/topic-pattern.ts';
import { addNetwork } from '../base/network.ts';
import type { StatementSettings } from '../base/settings.ts';
import { filterError } from '../protocol/topic.ts';

const RULES_MAX = 100;
/** Topics of one rule. */
const TEXTS_MAX = 32;
const LENGTH_MAX = 1024;
const LEVELS_MAX = 128;

const KEYS: ReadonlySet<string> = new Set(['permission', 'action', 'topic', 'qos', 'retain', 'clientid', 'username', 'ipaddr']);
const EQUAL = 'eq ';
const P2P_ADDRESS = /^[^/$#][^/#]*\/p2p\/(.+)$/;
/** Topics that no P2P address is outside of: who denies them means the clients as well. */
const EVERYTHING: ReadonlySet<string> = new Set(['#', '+/#', '+/+/#']);
const VARIABLES = new RegExp(VARIABLE.source, 'g');

type Action = StatementSettings['actions'][number];

const ACTIONS: Readonly<Record<string, readonly Action[]>> = {
  publish: ['publish'],
  subscribe: ['subscribe'],
  all: ['publish', 'subscribe'],
  observe: ['observe'],
};

const ANYTHING: StatementSettings = {
  effect: 'allow',
  resource: 'topic',
  actions: [],
  topics: null,
  targets: null,
  same: null,
  targetAttributes: null,
  clientIds: null,
  usernames: null,
  attributes: null,
  addresses: null,
  qos: null,
  groups: null,
  retain: null,
};

/** What is wrong with a claim, as the rest of a sentence. */
export class AclProblem extends Error {}

/** Statements of the claim; undefined: the token has none, and brings no rules. @throws AclProblem */
export function rulesOf(claim: unknown): readonly StatementSettings[] {
  if (claim === undefined) return [];
  if (Array.isArray(claim)) {
    if (claim.length > RULES_MAX) throw new AclProblem(`has more than ${RULES_MAX} rules`);
    return claim.flatMap((rule: unknown, index) => statementsOf(rule, `[${index}]`));
  }
  if (typeof claim !== 'object' || claim === null) throw new AclProblem('is no list of rules');
  return whiteList(claim as Record<string, unknown>);
}

function whiteList(lists: Record<string, unknown>): StatementSettings[] {
  const actions: Record<string, string> = { pub: 'publish', sub: 'subscribe', all: 'all' };
  const statements = Object.entries(lists).flatMap(([name, topics]) => {
    const action = Object.hasOwn(actions, name) ? actions[name] : undefined;
    if (action === undefined || !Array.isArray(topics)) throw new AclProblem(`has a ${short(name)} that is no list of pub, sub or all`);
    if (topics.length > RULES_MAX) throw new AclProblem(`has more than ${RULES_MAX} topics in ${name}`);
    return topics.flatMap((topic: unknown) => statementsOf({ permission: 'allow', action, topic }, `.${name}`));
  });
  return [
    ...statements,
    { ...ANYTHING, effect: 'deny', actions: ['publish', 'subscribe'] },
    { ...ANYTHING, effect: 'deny', resource: 'p2p', actions: ['publish', 'observe'] },
  ];
}

function statementsOf(value: unknown, place: string): StatementSettings[] {
  const wrong = (what: string): AclProblem => new AclProblem(`${place} ${what}`);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong('is no rule');
  const rule = value as Record<string, unknown>;
  const unknown = Object.keys(rule).find((name) => !KEYS.has(name));
  if (unknown !== undefined) throw wrong(`has ${short(unknown)}, which is not known`);
  const { permission, action } = rule;
  if (permission !== 'allow' && permission !== 'deny') throw wrong('has no permission of allow or deny');
  if (typeof action !== 'string' || !Object.hasOwn(ACTIONS, action)) throw wrong('has no action of publish, subscribe, all or observe');
  const actions = ACTIONS[action]!;
  const topics = textsOf(rule['topic'], (what) => wrong(`topic ${what}`)).map(withOurNames);
  for (const topic of topics) if (!isTopic(topic)) throw wrong(`has a topic that is none: ${short(topic)}`);
  const some: StatementSettings = {
    ...ANYTHING,
    effect: permission,
    qos: qosOf(rule['qos'], wrong),
    retain: retainOf(rule['retain'], wrong),
    clientIds: patternsOf(rule['clientid'], (what) => wrong(`clientid ${what}`)),
    usernames: patternsOf(rule['username'], (what) => wrong(`username ${what}`)),
    addresses: networksOf(rule['ipaddr'], wrong),
  };
  const statements: StatementSettings[] = [];
  const ofTopics = actions.filter((one) => one !== 'observe');
  if (ofTopics.length > 0) statements.push({ ...some, actions: ofTopics, topics: topics.map(asTopic) });
  const targets = topics.flatMap((topic) => (permission === 'deny' && EVERYTHING.has(topic) ? '*' : (targetOf(topic, wrong) ?? [])));
  const ofClients = actions.filter((one) => one !== 'subscribe');
  if (action === 'observe' && targets.length < topics.length) throw wrong('observes what is no address of clients');
  if (targets.length > 0 && ofClients.length > 0) statements.push({ ...some, resource: 'p2p', actions: ofClients, targets, retain: null });
  return statements;
}

/** Names of variables as other brokers write them. */
function withOurNames(topic: string): string {
  return topic.startsWith(EQUAL) ? topic : topic.replaceAll('${clientid}', '${ClientId}').replaceAll('${username}', '${Username}');
}

function isTopic(topic: string): boolean {
  if (topic.startsWith(EQUAL)) return filterError(topic.slice(EQUAL.length), LEVELS_MAX) === 0;
  return !topic.startsWith('$share/') && filterError(topic.replace(VARIABLES, 'x'), LEVELS_MAX) === 0 && hasOurVariables(topic);
}

function hasOurVariables(text: string): boolean {
  return !text.replace(VARIABLES, '').includes('${');
}

function asTopic(topic: string): string {
  return topic.startsWith(EQUAL) ? LITERAL + topic.slice(EQUAL.length) : topic;
}

/** The clients that a P2P address names; null: it is none. */
function targetOf(topic: string, wrong: (what: string) => AclProblem): string | null {
  const isLiteral = topic.startsWith(EQUAL);
  const target = P2P_ADDRESS.exec(isLiteral ? topic.slice(EQUAL.length) : topic)?.[1];
  if (target === undefined) return null;
  if (target === '#') return isLiteral ? null : '*';
  // A wildcard of one level would have to stand for less than a pattern can say.
  if (/[+#]/.test(target)) throw wrong(`names clients by ${short(target)}; write patterns with *`);
  if (isLiteral && /[*?]|\$\{/.test(target)) throw wrong(`names a client that a pattern cannot: ${short(target)}`);
  return target;
}

function textsOf(value: unknown, wrong: (what: string) => AclProblem): readonly string[] {
  const texts: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (texts.length === 0 || texts.length > TEXTS_MAX) throw wrong(`is no list of 1 to ${TEXTS_MAX} texts`);
  return texts.map((text) => {
    if (typeof text !== 'string' || text === '' || text.length > LENGTH_MAX) throw wrong(`is no text of 1 to ${LENGTH_MAX} characters`);
    return text;
  });
}

function patternsOf(value: unknown, wrong: (what: string) => AclProblem): readonly string[] | null {
  if (value === undefined) return null;
  const texts = textsOf(value, wrong).map(withOurNames);
  if (!texts.every(hasOurVariables)) throw wrong('has a variable that is not known');
  return texts;
}

function networksOf(value: unknown, wrong: (what: string) => AclProblem): readonly string[] | null {
  if (value === undefined) return null;
  const networks = textsOf(value, (what) => wrong(`ipaddr ${what}`));
  for (const network of networks) {
    try {
      addNetwork(new BlockList(), network);
    } catch {
      throw wrong(`has an ipaddr that is no network: ${short(network)}`);
    }
  }
  return networks;
}

function qosOf(value: unknown, wrong: (what: string) => AclProblem): readonly number[] | null {
  if (value === undefined) return null;
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  const levels = [0, 1, 2].filter((level) => list.includes(level));
  if (levels.length === 0 || levels.length !== new Set(list).size) throw wrong('has a qos that is none of 0, 1 and 2');
  return levels;
}

function retainOf(value: unknown, wrong: (what: string) => AclProblem): boolean | null {
  if (value === undefined || value === 'all') return null;
  if (value === true || value === 1) return true;
  if (value === false || value === 0) return false;
  throw wrong('has a retain that is none of true, false and all');
}

/** A part of the claim in the log: who writes tokens is trusted, but may have slipped. */
function short(text: string): string {
  return JSON.stringify(text.slice(0, 64));
}
