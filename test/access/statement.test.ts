/*
 * Goal: the compiled statements decide as the contract says: first match, none is a no, variables never widen, deny by overlap and allow by cover.
 * Method: thousands of random lists of statements, clients and actions; a second evaluator, plain and made of strings and of all topics there are, decides the same
 * questions, and the statement that decides must be the same one. Every question is asked twice, so that the cache answers as well.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import fc from 'fast-check';
import { packAttributes } from '../../src/access/attribute-bytes.ts';
import { asksTarget, type SessionAccess, statementOf } from '../../src/access/session-access.ts';
import { Statements, type Subject } from '../../src/access/statement.ts';
import { answerOf } from '../../src/access/target-question.ts';
import type { StatementSettings } from '../../src/base/settings.ts';
import '../protocol/seed.ts';

type Action = StatementSettings['actions'][number];

const IDS = ['gw-1', 'gw-22', 'dev', 'a', '*', 'a/b', '$SYS', '#', 'x+'];
const USERS = [undefined, '', 'gw-1', 'u', 'u/v', '$SYS', '*'];
const ADDRESSES = ['10.1.2.3', '192.168.0.9', '::1', 'fd00::7', ''];
const GROUPS = [undefined, 'a', 'b', 'gw-1', 'u/v', '*'];
const LEVELS = ['a', 'b', 'q', '$SYS'];

const everything: StatementSettings = {
  effect: 'allow',
  resource: 'topic',
  actions: ['publish'],
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

// The plain evaluator.

function glob(pattern: string, text: string): boolean {
  const body = pattern
    .replace(/[$+/.^()[\]{}|\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${body}$`, 's').test(text);
}

function inside(network: string, address: string): boolean {
  const table: Record<string, readonly string[]> = {
    '10.0.0.0/8': ['10.1.2.3'],
    '::1': ['::1'],
    'fd00::/8': ['fd00::7'],
    '0.0.0.0/0': ['10.1.2.3', '192.168.0.9'],
  };
  return table[network]!.includes(address);
}

function bad(value: string | undefined): boolean {
  return value === undefined || value === '' || value.startsWith('$') || value.includes('/') || value.includes('+') || value.includes('#');
}

function textFor(variable: string, { clientId, username, attributes }: Subject): string | undefined {
  if (variable === '${ClientId}') return clientId;
  return variable === '${Username}' ? username : attributes[variable.replace('${Attribute.', '').replace(/^\$\{/, '').slice(0, -1)];
}

/** A regular expression for a text with variables, or undefined where it must not match at all. `any` is what a `*` stands for. */
function source(text: string, client: Subject, any: string, isAllow: boolean, hasQuestionMark: boolean): string | undefined {
  let result = '';
  for (const part of text.split(/(\$\{[\w.]+\})/)) {
    if (part.startsWith('${')) {
      const value = textFor(part, client);
      if (bad(value) && isAllow) return undefined;
      result += bad(value) ? any : value!.replace(/[*+?.^$()[\]{}|\\]/g, '\\$&');
    } else {
      const quoted = part.replace(/[$.^()[\]{}|\\]/g, '\\$&').replaceAll('*', any);
      result += hasQuestionMark ? quoted.replaceAll('?', '.') : quoted.replaceAll('?', '\\?');
    }
  }
  return result;
}

function topicExpression(text: string, client: Subject, isAllow: boolean): RegExp | undefined {
  const levels = text.split('/').map((level) => (level === '+' ? '[^/]*' : source(level, client, '[^/]*', isAllow, false)));
  if (levels.includes(undefined)) return undefined;
  const body = levels.join('/').replace(/\/#$/, '(/.*)?').replace(/^#$/, '.*');
  return new RegExp(`^${/^[+#*]/.test(text) ? '(?!\\$)' : ''}${body}$`);
}

function hasAttributes(attributes: Subject['attributes'], wanted: StatementSettings['attributes']): boolean {
  return Object.entries(wanted ?? {}).every(([name, patterns]) => {
    const value = attributes[name];
    return value !== undefined && patterns.some((pattern) => glob(pattern, value));
  });
}

/** Whether what the statement says of the target holds. */
function fitsTarget({ same, targetAttributes }: StatementSettings, client: Subject, target: Subject['attributes']): boolean {
  return (
    (same ?? []).every((name) => client.attributes[name] !== undefined && client.attributes[name] === target[name]) &&
    hasAttributes(target, targetAttributes)
  );
}

function concerns(statement: StatementSettings, client: Subject): boolean {
  const { clientIds, usernames, addresses, effect, topics, targets } = statement;
  const isAllow = effect === 'allow';
  const fits = (pattern: string, text: string): boolean => {
    const body = source(pattern, client, '.*', isAllow, true);
    return body !== undefined && new RegExp(`^${body}$`, 's').test(text);
  };
  if (clientIds !== null && !clientIds.some((pattern) => fits(pattern, client.clientId))) return false;
  if (usernames !== null && !usernames.some((pattern) => client.username !== undefined && fits(pattern, client.username))) return false;
  if (!hasAttributes(client.attributes, statement.attributes)) return false;
  if (addresses !== null && !addresses.some((network) => inside(network, client.address))) return false;
  // One variable that cannot be used takes the whole statement away, where it allows.
  const texts = [...(topics ?? []), ...(targets ?? []), ...(clientIds ?? []), ...(usernames ?? [])];
  return !isAllow || texts.every((text) => source(text, client, '', true, false) !== undefined);
}

function decide(
  statements: readonly StatementSettings[],
  client: Subject,
  matches: (statement: StatementSettings) => boolean,
): [boolean, number] {
  const index = statements.findIndex((statement) => concerns(statement, client) && matches(statement));
  return index < 0 ? [false, -1] : [statements[index]!.effect === 'allow', index];
}

/** Every topic that can make a difference for this client. */
function universe(client: Subject): string[] {
  const names = new Set([...LEVELS, 'x-q', '$x']);
  for (const value of [client.clientId, client.username, ...Object.values(client.attributes)])
    if (!bad(value)) for (const name of [value!, `x-${value}`]) names.add(name);
  const one = [...names];
  const two = one.flatMap((first) => one.map((second) => `${first}/${second}`));
  return [...one, ...two, ...two.map((topic) => `${topic}/q`)];
}

/** Client Identifiers that can make a difference for an observer. */
function clientIdsOf(client: Subject): string[] {
  const names = new Set(['', 'gw-1', 'gw-22', 'dev', 'a', 'u', 'door', 'zz', 'gw-1-x']);
  for (const value of [client.clientId, client.username, ...Object.values(client.attributes)])
    if (!bad(value)) for (const name of [value!, `${value}-q`]) names.add(name);
  const one = [...names];
  return [...one, ...one.flatMap((first) => [...one.map((second) => `${first}/${second}`), `${first}/q/r`])];
}

function asked(filter: string): RegExp {
  const body = filter
    .split('/')
    .map((level) => (level === '+' ? '[^/]*' : level.replace(/[$*]/g, '\\$&')))
    .join('/')
    .replace(/\/#$/, '(/.*)?')
    .replace(/^#$/, '.*');
  return new RegExp(`^${/^[+#]/.test(filter) ? '(?!\\$)' : ''}${body}$`);
}

function reference(statements: readonly StatementSettings[], client: Subject) {
  const isTopic = (statement: StatementSettings, action: Action): boolean =>
    statement.resource === 'topic' && statement.actions.includes(action);
  const expressions = (statement: StatementSettings): RegExp[] =>
    statement.topics!.flatMap((text) => topicExpression(text, client, statement.effect === 'allow') ?? []);
  const all = universe(client);
  return {
    publish: (topic: string, qos: number, retain: boolean) =>
      decide(statements, client, (statement) => {
        if (!isTopic(statement, 'publish') || !(statement.qos?.includes(qos) ?? true)) return false;
        if (statement.retain !== null && statement.retain !== retain) return false;
        return statement.topics === null || expressions(statement).some((expression) => expression.test(topic));
      }),
    publishTo: (target: string, qos: number, attributes: Subject['attributes']) =>
      decide(statements, client, (statement) => {
        if (statement.resource !== 'p2p' || !statement.actions.includes('publish')) return false;
        if (!(statement.qos?.includes(qos) ?? true) || !fitsTarget(statement, client, attributes)) return false;
        if (statement.targets === null) return true;
        return statement.targets.some((text) =>
          new RegExp(`^${source(text, client, '.*', statement.effect === 'allow', true)}$`, 's').test(target),
        );
      }),
    observe: (filter: string, qos: number) => {
      const wanted = clientIdsOf(client).filter((id) => asked(filter).test(`x/p2p/${id}`));
      return decide(statements, client, ({ resource, actions, targets, effect, qos: levels }) => {
        if (resource !== 'p2p' || !actions.includes('observe') || !(levels?.includes(qos) ?? true)) return false;
        if (targets === null) return true;
        const fits = (text: string, id: string): boolean =>
          new RegExp(`^${source(text, client, '.*', effect === 'allow', true)}$`, 's').test(id);
        if (effect === 'deny') return targets.some((text) => wanted.some((id) => fits(text, id)));
        return targets.some((text) => wanted.every((id) => fits(text, id)));
      });
    },
    subscribe: (filter: string, qos: number, group: string) =>
      decide(statements, client, (statement) => {
        if (!isTopic(statement, 'subscribe') || !(statement.qos?.includes(qos) ?? true)) return false;
        if (statement.groups !== null && (group === '' || !statement.groups.some((text) => SHARES[text]!.includes(group)))) return false;
        if (statement.topics === null) return true;
        const wanted = all.filter((topic) => asked(filter).test(topic));
        if (statement.effect === 'deny') return wanted.some((topic) => expressions(statement).some((expression) => expression.test(topic)));
        // One filter of the statement has to cover it alone.
        return expressions(statement).some((expression) => wanted.every((topic) => expression.test(topic)));
      }),
    connect: () => {
      if (!statements.some(({ actions }) => actions.includes('connect'))) return [true, 0];
      return decide(statements, client, ({ actions }) => actions.includes('connect'));
    },
  };
}

// Random statements, clients and questions.

function listOf<T>(...values: readonly T[]): fc.Arbitrary<readonly T[] | null> {
  return fc.option(fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 2 }), { freq: 2 });
}

function attributes(): fc.Arbitrary<StatementSettings['attributes']> {
  const patterns = fc.uniqueArray(fc.constantFrom('a', 'b*', '*', '?'), { minLength: 1, maxLength: 2 });
  return fc.option(fc.dictionary(fc.constantFrom('group', 'site'), patterns, { minKeys: 1, noNullPrototype: true }), { freq: 1 });
}

/** What a login says of a client. */
const known: fc.Arbitrary<Subject['attributes']> = fc
  .tuple(fc.constantFrom(...GROUPS), fc.constantFrom(...GROUPS), fc.constantFrom(...IDS, undefined))
  .map(([group, site, name]) => ({
    ...(group !== undefined && { group }),
    ...(site !== undefined && { site }),
    ...(name !== undefined && { 'Certificate.Subject.CommonName': name }),
  }));

const writtenLevel = fc.constantFrom(
  'a',
  'b',
  '+',
  '*',
  'a*',
  '${ClientId}',
  '${Username}',
  'x-${ClientId}',
  'x-${Username}',
  '${Attribute.group}',
  'x-${Certificate.Subject.CommonName}',
  '$SYS',
);
const writtenTopic = fc
  .tuple(writtenLevel, fc.option(fc.oneof(writtenLevel, fc.constant('#'))))
  .map(([first, second]) => (second === null ? first : `${first}/${second}`));
/** Which of the groups that are asked for a pattern means. */
const SHARES: Readonly<Record<string, readonly string[]>> = {
  workers: ['workers'],
  'work*': ['workers', 'work'],
  'w?rk': ['work'],
  '*': ['workers', 'work', 'x'],
};
const topicStatement: fc.Arbitrary<StatementSettings> = fc.record({
  effect: fc.constantFrom('allow', 'deny'),
  resource: fc.constant('topic'),
  actions: fc.uniqueArray(fc.constantFrom<Action>('connect', 'publish', 'subscribe'), { minLength: 1 }),
  topics: fc.option(fc.array(fc.oneof(writtenTopic, fc.constant('#')), { minLength: 1, maxLength: 2 }), { freq: 6 }),
  targets: fc.constant(null),
  same: fc.constant(null),
  targetAttributes: fc.constant(null),
  clientIds: listOf('gw-*', 'gw-?', 'dev', '*', 'a?b', '$*', '${Username}*', '${Certificate.Subject.CommonName}'),
  usernames: listOf('gw-?', 'u', '*', '', '${Attribute.group}'),
  attributes: attributes(),
  addresses: listOf('10.0.0.0/8', '::1', 'fd00::/8', '0.0.0.0/0'),
  groups: fc.option(fc.array(fc.constantFrom(...Object.keys(SHARES)), { minLength: 1, maxLength: 2 }), { freq: 2 }),
  qos: listOf(0, 1, 2),
  retain: fc.option(fc.boolean(), { freq: 1 }),
});
const p2pStatement: fc.Arbitrary<StatementSettings> = fc
  .record({
    topics: fc.constant(null),
    groups: fc.constant(null),
    retain: fc.constant(null),
    effect: fc.constantFrom('allow', 'deny'),
    resource: fc.constant('p2p'),
    actions: fc.uniqueArray(fc.constantFrom<Action>('publish', 'observe'), { minLength: 1 }),
    same: listOf('group', 'site'),
    targetAttributes: attributes(),
    targets: fc.option(
      fc.array(fc.constantFrom<string>('${ClientId}-*', '${Username}', 'gw-?', 'gw-*', '*', 'dev', '*1', '${Attribute.group}'), {
        minLength: 1,
        maxLength: 2,
      }),
      {
        freq: 6,
      },
    ),
    clientIds: listOf('gw-*', 'dev'),
    usernames: listOf('u', '*'),
    attributes: attributes(),
    addresses: listOf('10.0.0.0/8', '::1'),
    qos: listOf(0, 1, 2),
  })
  // An observer hears of targets that nobody knows yet.
  .map((statement) => (statement.actions.includes('observe') ? { ...statement, same: null, targetAttributes: null } : statement));
const client: fc.Arbitrary<Subject> = fc.record({
  clientId: fc.constantFrom(...IDS),
  username: fc.constantFrom(...USERS),
  address: fc.constantFrom(...ADDRESSES),
  attributes: known,
});
const question = fc.record({
  kind: fc.constantFrom('publish', 'publishTo', 'subscribe', 'observe'),
  address: fc.constantFrom('x/p2p/+', '+/p2p/#', 'x/p2p/gw-1', 'x/p2p/gw-1/#', 'x/p2p/gw-1/+', '+/p2p/+/door', 'x/p2p/dev', 'x/p2p/u'),
  attributes: known,
  place: fc.nat(),
  levels: fc.tuple(fc.nat(), fc.nat()),
  target: fc.constantFrom('gw-1', 'gw-1-sensor', 'dev', 'dev-1', 'a-', 'a/b-c', '#-x', '*-1', 'u', 'other'),
  group: fc.constantFrom('', 'workers', 'work', 'x'),
  qos: fc.constantFrom(0, 1, 2),
  retain: fc.boolean(),
});

/** A filter over the names that this client knows; now and then with wildcards. */
function filterOf(all: readonly string[], [first, second]: readonly [number, number], place: number): string {
  const names = ['+', ...all.filter((topic) => !topic.includes('/'))];
  const one = names[first % names.length]!;
  if (place % 8 === 0) return '#';
  if (place % 3 === 0) return one;
  return place % 3 === 1 ? `${one}/#` : `${one}/${names[second % names.length]!}`;
}

function compiled(settings: readonly StatementSettings[]): { statements: Statements; counters: Float64Array } {
  const counters = new Float64Array(2);
  return { statements: new Statements(settings, { counters, hits: 0, misses: 1 }), counters };
}

function publish(access: SessionAccess, topic: string, qos: number, retain: boolean): number {
  const bytes = Buffer.from(`/${topic}#`);
  return access.publish(bytes, 1, bytes.length - 1, qos, retain);
}

/** Decisions that needed the target. */
let questions = 0;

/** As the shard of the sender and then that of the target decide. */
function publishTo(access: SessionAccess, target: string, qos: number, attributes: Subject['attributes'] = {}): number {
  const bytes = Buffer.from(`/${target}#`);
  const decision = access.publishTo(bytes, 1, bytes.length - 1, qos);
  if (!asksTarget(decision)) return decision;
  questions++;
  const question = Buffer.concat([Buffer.from('>'), access.questionOf(decision)]);
  return answerOf(question, 1, question.length, packAttributes(attributes));
}

describe('statements', () => {
  test('decide as the plain evaluator does', () => {
    let allowed = 0;
    let denied = 0;
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ arbitrary: topicStatement, weight: 3 }, { arbitrary: p2pStatement, weight: 1 }), { maxLength: 6 }),
        client,
        fc.array(question, { minLength: 1, maxLength: 8 }),
        (settings, identity, questions) => {
          const { statements } = compiled(settings);
          const plain = reference(settings, identity);
          const connect = statements.connect(identity);
          assert.deepEqual([connect >= 0, statementOf(connect)], plain.connect());
          const access = statements.accessOf(identity);
          const all = universe(identity);
          for (const one of [...questions, ...questions]) {
            const { kind, qos, retain, target } = one;
            const topic = all[one.place % all.length]!;
            const filter = filterOf(all, one.levels, one.place);
            const decision =
              kind === 'publish'
                ? publish(access, topic, qos, retain)
                : kind === 'subscribe'
                  ? access.subscribe(filter, qos, one.group)
                  : kind === 'observe'
                    ? access.observe(one.address, qos)
                    : publishTo(access, target, qos, one.attributes);
            const expected =
              kind === 'publish'
                ? plain.publish(topic, qos, retain)
                : kind === 'subscribe'
                  ? plain.subscribe(filter, qos, one.group)
                  : kind === 'observe'
                    ? plain.observe(one.address, qos)
                    : plain.publishTo(target, qos, one.attributes);
            if (decision >= 0) allowed++;
            else denied++;
            const words = `${kind} ${topic} ${filter} ${one.address} ${target} ${qos} ${retain} ${JSON.stringify(one.attributes)}`;
            // Questions that would say the same as what follows are not asked, so that another statement may be the one that is named.
            if (kind === 'publishTo') assert.equal(decision >= 0, expected[0], words);
            else assert.deepEqual([decision >= 0, statementOf(decision)], expected, words);
          }
        },
      ),
      { numRuns: 2_500 },
    );
    assert.ok(allowed > 500 && denied > 500, `${allowed} allowed, ${denied} denied`);
  });

  test('what depends on the target is asked of it, in the order of the statements', () => {
    const few = fc.constantFrom('a', 'b');
    const about = fc.dictionary(fc.constantFrom('group', 'site'), few, { noNullPrototype: true });
    const list = fc.option(
      fc.uniqueArray(
        few.map((name) => (name === 'a' ? 'group' : 'site')),
        { minLength: 1 },
      ),
    );
    const map = fc.option(fc.dictionary(fc.constantFrom('group', 'site'), fc.constantFrom(['a'], ['b*', 'x'], ['*']), { minKeys: 1 }), {
      freq: 1,
    });
    const targets = fc.option(fc.constantFrom(['dev'], ['gw-*'], ['*-1', 'dev']));
    const statement = fc
      .record({ effect: fc.constantFrom<'allow' | 'deny'>('allow', 'deny'), same: list, targetAttributes: map, targets })
      .map((some): StatementSettings => ({ ...everything, resource: 'p2p', ...some }));
    const sent = fc.record({ target: fc.constantFrom('dev', 'gw-1', 'gw-2'), attributes: about });
    questions = 0;
    fc.assert(
      fc.property(fc.array(statement, { maxLength: 6 }), about, fc.array(sent, { maxLength: 6 }), (settings, own, messages) => {
        const sender: Subject = { clientId: 'gw-1', username: undefined, address: '', attributes: own };
        const access = compiled(settings).statements.accessOf(sender);
        const plain = reference(settings, sender);
        for (const { target, attributes: its } of [...messages, ...messages]) {
          const [isAllowed] = plain.publishTo(target, 0, its);
          assert.equal(publishTo(access, target, 0, its) >= 0, isAllowed, `${target} ${JSON.stringify(its)}`);
        }
      }),
      { numRuns: 1_500 },
    );
    assert.ok(questions > 1_000, `${questions} asked`);
  });

  test('an identity never widens a filter', () => {
    const own = { ...everything, actions: ['publish', 'subscribe'], topics: ['fleet/${ClientId}/#', '${Username}/up'] } as const;
    const { statements } = compiled([own]);
    const accessOf = (clientId: string, username: string | undefined): SessionAccess =>
      statements.accessOf({ clientId, username, address: '', attributes: {} });
    const good = accessOf('dev-1', 'u');
    assert.equal(publish(good, 'fleet/dev-1/temperature', 0, false), 0);
    assert.equal(publish(good, 'fleet/dev-2/temperature', 0, false), -1);
    assert.equal(publish(good, 'u/up', 0, false), 0);
    for (const clientId of ['+', '#', 'a/b', '', '$SYS', 'x+', '+/#']) {
      const access = accessOf(clientId, 'u');
      assert.equal(access.subscribe('fleet/#', 0), -1, clientId);
      assert.equal(access.subscribe('fleet/+/#', 0), -1, clientId);
      assert.equal(publish(access, 'fleet/dev-1/temperature', 0, false), -1, clientId);
    }
    assert.equal(publish(accessOf('*', 'u'), 'fleet/dev-1/x', 0, false), -1);
    assert.equal(publish(accessOf('*', 'u'), 'fleet/*/x', 0, false), 0);
    // One that is missing takes the statement away.
    assert.equal(publish(accessOf('dev-1', undefined), 'fleet/dev-1/temperature', 0, false), -1);
  });

  test('a deny with an identity that cannot be used denies the whole level', () => {
    const deny = { ...everything, effect: 'deny', actions: ['publish', 'subscribe'], topics: ['${ClientId}/locked'] } as const;
    const { statements } = compiled([deny, { ...everything, actions: ['publish', 'subscribe'] }]);
    const access = statements.accessOf({ clientId: 'a/b', username: undefined, address: '', attributes: {} });
    assert.equal(publish(access, 'other/locked', 0, false), -2);
    assert.equal(publish(access, 'other/open', 0, false), 1);
    assert.equal(access.subscribe('+/locked', 0), -2);
  });

  test('the cache is asked, and counts', () => {
    const { statements, counters } = compiled([{ ...everything, topics: ['a/#'] }]);
    const access = statements.accessOf({ clientId: 'c', username: undefined, address: '', attributes: {} });
    for (let i = 0; i < 10; i++) assert.equal(publish(access, 'a/b', 1, false), 0);
    for (let i = 0; i < 10; i++) assert.equal(publishTo(access, 'a/b', 1), -1);
    assert.deepEqual([...counters], [18, 2]);
  });
});
