/*
 * Goal: statements become settings, and one that could be read in two ways, or means nothing, is one clear line.
 * Method: statements as on the command line; the settings and the exact lines are compared.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { AuthorizationSettings } from '../../src/base/settings.ts';
import { ConfigError, loadSettings } from '../../src/server/config.ts';

async function authorizationOf(...set: string[]): Promise<AuthorizationSettings> {
  return (await loadSettings({ set })).authorization;
}

async function problem(statement: object): Promise<string> {
  try {
    await authorizationOf(`authorization.statements=${JSON.stringify([statement])}`);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    assert.equal(error.lines.length, 1, error.lines.join('\n'));
    return error.lines[0]!.replace('--set authorization.statements: authorization.statements[0]', '');
  }
  throw new assert.AssertionError({ message: `no problem was found in ${JSON.stringify(statement)}` });
}

test('without statements everything is allowed, and an empty list allows nothing', async () => {
  assert.deepEqual(await authorizationOf(), { deniedV3: 'acknowledge', file: '', statements: null });
  assert.deepEqual(await authorizationOf('authorization.statements=[]', 'authorization.deniedV3=close'), {
    deniedV3: 'close',
    file: '',
    statements: [],
  });
});

test('a statement that says little holds for all', async () => {
  const { statements } = await authorizationOf('authorization.statements=[{ effect: allow, actions: [connect, publish] }]');
  const any = {
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
  assert.deepEqual(statements, [{ effect: 'allow', resource: 'topic', actions: ['connect', 'publish'], ...any }]);
});

test('every mistake is said', async () => {
  const good = { effect: 'allow', actions: ['publish'] };
  const toClient = { ...good, resource: 'p2p' };
  const cases: [object, string][] = [
    [{ ...good, effect: 'permit' }, '.effect: expected one of allow, deny, not "permit"'],
    [{ ...good, topic: 'a' }, '.topic: unknown key; did you mean authorization.statements[0].topics?'],
    [{ effect: 'allow' }, '.actions: expected a list with some of connect, publish, subscribe, observe, not nothing'],
    [{ ...good, actions: [] }, '.actions: expected at least one of connect, publish, subscribe, observe'],
    [{ ...good, actions: ['pub'] }, '.actions[0]: expected some of connect, publish, subscribe, observe, not "pub"'],
    [{ ...good, topics: [] }, ".topics: expected at least one of topics such as ['fleet/${ClientId}/#']; leave the key out for all"],
    [{ ...good, topics: ['a/#/b'] }, '.topics: expected topics with + and # as whole levels, not "a/#/b"'],
    [
      { ...good, topics: ['a/${Clientid}'] },
      '.topics: expected no variables but ${ClientId}, ${Username}, ${Attribute.name} and ${Certificate.Subject.CommonName} or another part of the subject',
    ],
    [{ ...good, topics: ['$share/g/a'] }, '.topics: expected the topics of a subscription without $share/group/, not "$share/g/a"'],
    [
      { ...good, clientIds: ['${Client}'] },
      '.clientIds: expected no variables but ${ClientId}, ${Username}, ${Attribute.name} and ${Certificate.Subject.CommonName} or another part of the subject',
    ],
    [{ ...good, attributes: { group: 'a' } }, '.attributes.group: expected a list of patterns such as [pumps], not "a"'],
    [{ ...good, attributes: { group: ['${ClientId}'] } }, '.attributes.group: expected a text without variables, not "${ClientId}"'],
    [{ ...good, attributes: {} }, ".attributes: expected 1 to 8 attributes with patterns such as { group: [pumps, 'valve-*'] }"],
    [{ ...good, same: ['group'] }, '.same: same belongs to resource: p2p'],
    [{ ...good, actions: ['observe'] }, '.actions: observe belongs to resource: p2p'],
    [
      { ...toClient, actions: ['observe'], same: ['group'] },
      '.actions: an observer hears of targets that are not known yet: write targets',
    ],
    [{ ...toClient, same: [] }, '.same: expected at least one of attributes such as [group]; leave the key out for all'],
    [
      { ...good, addresses: ['10.0.0.0/33'] },
      '.addresses: expected addresses or networks such as 10.0.0.0/8 or fd00::/8, not "10.0.0.0/33"',
    ],
    [{ ...good, qos: [3] }, '.qos[0]: expected some of 0, 1, 2, not 3'],
    [{ ...good, targets: ['a'] }, '.targets: targets belongs to resource: p2p'],
    [
      { ...good, actions: ['publish', 'subscribe'], retain: true },
      '.retain: retain is about publish only; write a statement for subscribe of its own',
    ],
    [{ ...good, actions: ['connect'], topics: ['a'] }, '.topics: connect has no topic'],
    [{ ...toClient, topics: ['a'] }, '.topics: a p2p statement has targets, not topics'],
    [{ ...toClient, actions: ['subscribe'] }, '.actions: a p2p statement is about publish and observe only'],
    [{ ...toClient, retain: false }, '.retain: a P2P message is never retained'],
    [{ ...toClient, groups: ['a'] }, '.groups: a P2P message has no group'],
    [
      { ...good, actions: ['publish', 'subscribe'], groups: ['a'] },
      '.groups: groups is about subscribe only; write a statement for the other actions of its own',
    ],
    [{ ...toClient, targets: [''] }, '.targets: expected client IDs such as dev-*, not an empty text'],
  ];
  for (const [statement, line] of cases) assert.equal(await problem(statement), line);
});
