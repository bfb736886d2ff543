/*
 * Goal: the compiled statements decide as the contract says: first match, none is a no, variables never widen, deny by overlap and allow by cover.
 * Method: thousands of random lists of statements, clients and actions; a second evaluator, plain and made of strings and of all topics there are, decides the same
 * questions, and the statement that decides must be the same one. Every question is asked twice, so that the cache answers as well.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import fc from 'fast-check';
import { type SessionAccess, statementOf } from '../../src/access/session-access.ts';
import { type Identity, Statements } from '../../src/access/statement.ts';
import type { StatementSettings } from '../../src/base/settings.ts';
import '../protocol/seed.ts';

type Action = StatementSettings['actions'][number];

const IDS = ['gw-1', 'gw-22', 'dev', 'a', '*', 'a/b', '$SYS', '#', 'x+'];
const USERS = [undefined, '', 'gw-1', 'u', 'u/v', '$SYS', '*'];
const ADDRESSES = ['10.1.2.3', '192.168.0.9', '::1', 'fd00::7', ''];
const LEVELS = ['a', 'b', 'q', '$SYS'];

const everything: StatementSettings = {
  effect: 'allow',
  resource: 'topic',
  actions: ['publish'],
  topics: null,
  targets: null,
  clientIds: null,
  usernames: null,
  addresses: null,
  qos: null,
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

/** A regular expression for a text with variables, or undefined where it must not match at all. `any` is what a `*` stands for. */
function source(text: string, client: Identity, any: string, isAllow: boolean, hasQuestionMark: boolean): string | undefined {
  let result = '';
  for (const part of text.split(/(\$\{\w+\})/)) {
    if (part === '${ClientId}' || part === '${Username}') {
      const value = part === '${ClientId}' ? client.clientId : client.username;
      if (bad(value) && isAllow) return undefined;
      result += bad(value) ? any : value!.replace(/[*+?.^$()[\]{}|\\]/g, '\\$&');
    } else {
      const quoted = part.replace(/[$.^()[\]{}|\\]/g, '\\$&').replaceAll('*', any);
      result += hasQuestionMark ? quoted.replaceAll('?', '.') : quoted.replaceAll('?', '\\?');
    }
  }
  return result;
}

function topicExpression(text: string, client: Identity, isAllow: boolean): RegExp | undefined {
  const levels = text.split('/').map((level) => (level === '+' ? '[^/]*' : source(level, client, '[^/]*', isAllow, false)));
  if (levels.includes(undefined)) return undefined;
  const body = levels.join('/').replace(/\/#$/, '(/.*)?').replace(/^#$/, '.*');
  return new RegExp(`^${/^[+#*]/.test(text) ? '(?!\\$)' : ''}${body}$`);
}

function concerns(statement: StatementSettings, client: Identity): boolean {
  const { clientIds, usernames, addresses, effect, topics, targets } = statement;
  if (clientIds !== null && !clientIds.some((pattern) => glob(pattern, client.clientId))) return false;
  if (usernames !== null && !usernames.some((pattern) => client.username !== undefined && glob(pattern, client.username))) return false;
  if (addresses !== null && !addresses.some((network) => inside(network, client.address))) return false;
  // One variable that cannot be used takes the whole statement away, where it allows.
  const texts = [...(topics ?? []), ...(targets ?? [])];
  return effect === 'deny' || texts.every((text) => source(text, client, '', true, false) !== undefined);
}

function decide(
  statements: readonly StatementSettings[],
  client: Identity,
  matches: (statement: StatementSettings) => boolean,
): [boolean, number] {
  const index = statements.findIndex((statement) => concerns(statement, client) && matches(statement));
  return index < 0 ? [false, -1] : [statements[index]!.effect === 'allow', index];
}

/** Every topic that can make a difference for this client. */
function universe(client: Identity): string[] {
  const names = new Set([...LEVELS, 'x-q', '$x']);
  for (const value of [client.clientId, client.username]) if (!bad(value)) for (const name of [value!, `x-${value}`]) names.add(name);
  const one = [...names];
  const two = one.flatMap((first) => one.map((second) => `${first}/${second}`));
  return [...one, ...two, ...two.map((topic) => `${topic}/q`)];
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

function reference(statements: readonly StatementSettings[], client: Identity) {
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
    publishTo: (target: string, qos: number) =>
      decide(statements, client, (statement) => {
        if (statement.resource !== 'p2p' || !(statement.qos?.includes(qos) ?? true)) return false;
        if (statement.targets === null) return true;
        return statement.targets.some((text) =>
          new RegExp(`^${source(text, client, '.*', statement.effect === 'allow', true)}$`, 's').test(target),
        );
      }),
    subscribe: (filter: string, qos: number) =>
      decide(statements, client, (statement) => {
        if (!isTopic(statement, 'subscribe') || !(statement.qos?.includes(qos) ?? true)) return false;
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

const writtenLevel = fc.constantFrom('a', 'b', '+', '*', 'a*', '${ClientId}', '${Username}', 'x-${ClientId}', 'x-${Username}', '$SYS');
const writtenTopic = fc
  .tuple(writtenLevel, fc.option(fc.oneof(writtenLevel, fc.constant('#'))))
  .map(([first, second]) => (second === null ? first : `${first}/${second}`));
const topicStatement: fc.Arbitrary<StatementSettings> = fc.record({
  effect: fc.constantFrom('allow', 'deny'),
  resource: fc.constant('topic'),
  actions: fc.uniqueArray(fc.constantFrom<Action>('connect', 'publish', 'subscribe'), { minLength: 1 }),
  topics: fc.option(fc.array(fc.oneof(writtenTopic, fc.constant('#')), { minLength: 1, maxLength: 2 }), { freq: 6 }),
  targets: fc.constant(null),
  clientIds: listOf('gw-*', 'gw-?', 'dev', '*', 'a?b', '$*'),
  usernames: listOf('gw-?', 'u', '*', ''),
  addresses: listOf('10.0.0.0/8', '::1', 'fd00::/8', '0.0.0.0/0'),
  qos: listOf(0, 1, 2),
  retain: fc.option(fc.boolean(), { freq: 1 }),
});
const p2pStatement: fc.Arbitrary<StatementSettings> = fc.record({
  topics: fc.constant(null),
  retain: fc.constant(null),
  effect: fc.constantFrom('allow', 'deny'),
  resource: fc.constant('p2p'),
  actions: fc.constant<readonly Action[]>(['publish']),
  targets: fc.option(
    fc.array(fc.constantFrom<string>('${ClientId}-*', '${Username}', 'gw-?', 'dev', '*1'), { minLength: 1, maxLength: 2 }),
    {
      freq: 6,
    },
  ),
  clientIds: listOf('gw-*', 'dev'),
  usernames: listOf('u', '*'),
  addresses: listOf('10.0.0.0/8', '::1'),
  qos: listOf(0, 1, 2),
});
const client: fc.Arbitrary<Identity> = fc.record({
  clientId: fc.constantFrom(...IDS),
  username: fc.constantFrom(...USERS),
  address: fc.constantFrom(...ADDRESSES),
});
const question = fc.record({
  kind: fc.constantFrom('publish', 'publishTo', 'subscribe'),
  place: fc.nat(),
  levels: fc.tuple(fc.nat(), fc.nat()),
  target: fc.constantFrom('gw-1', 'gw-1-sensor', 'dev', 'dev-1', 'a-', 'a/b-c', '#-x', '*-1', 'u', 'other'),
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

function publishTo(access: SessionAccess, target: string, qos: number): number {
  const bytes = Buffer.from(`/${target}#`);
  return access.publishTo(bytes, 1, bytes.length - 1, qos);
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
                  ? access.subscribe(filter, qos)
                  : publishTo(access, target, qos);
            const expected =
              kind === 'publish'
                ? plain.publish(topic, qos, retain)
                : kind === 'subscribe'
                  ? plain.subscribe(filter, qos)
                  : plain.publishTo(target, qos);
            if (decision >= 0) allowed++;
            else denied++;
            assert.deepEqual([decision >= 0, statementOf(decision)], expected, `${kind} ${topic} ${filter} ${target} ${qos} ${retain}`);
          }
        },
      ),
      { numRuns: 4_000 },
    );
    assert.ok(allowed > 500 && denied > 500, `${allowed} allowed, ${denied} denied`);
  });

  test('an identity never widens a filter', () => {
    const own = { ...everything, actions: ['publish', 'subscribe'], topics: ['fleet/${ClientId}/#', '${Username}/up'] } as const;
    const { statements } = compiled([own]);
    const accessOf = (clientId: string, username: string | undefined): SessionAccess =>
      statements.accessOf({ clientId, username, address: '' });
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
    const access = statements.accessOf({ clientId: 'a/b', username: undefined, address: '' });
    assert.equal(publish(access, 'other/locked', 0, false), -2);
    assert.equal(publish(access, 'other/open', 0, false), 1);
    assert.equal(access.subscribe('+/locked', 0), -2);
  });

  test('the cache is asked, and counts', () => {
    const { statements, counters } = compiled([{ ...everything, topics: ['a/#'] }]);
    const access = statements.accessOf({ clientId: 'c', username: undefined, address: '' });
    for (let i = 0; i < 10; i++) assert.equal(publish(access, 'a/b', 1, false), 0);
    for (let i = 0; i < 10; i++) assert.equal(publishTo(access, 'a/b', 1), -1);
    assert.deepEqual([...counters], [18, 2]);
  });
});
