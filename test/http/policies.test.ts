/*
 * Goal: statements through the API. They hold at once for connected clients and come in the order that people see; those of the configuration stay as they are; the tester says
 * what the broker then does.
 * Method: real brokers with a file of statements, MQTT clients that do what the tester was asked about.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { hashPassword } from '../../src/server/user-commands.ts';
import { writeUserFile } from '../../src/server/user-file.ts';
import { startBroker } from '../support/broker.ts';
import { connackCode, connect } from '../support/client.ts';
import { type HttpBroker, startHttpBroker } from '../support/http.ts';
import { clientIdOn } from '../support/placement.ts';
import { storeDirectory } from '../support/store-directory.ts';

const ALL = { name: 'all', effect: 'allow', actions: ['publish', 'subscribe'] };
const DENIED = 0x87;

function statementFile(...statements: object[]): string {
  const file = join(storeDirectory(), 'statements.json');
  writeFileSync(file, JSON.stringify({ version: 1, statements }));
  return file;
}

async function trial(broker: HttpBroker, body: object): Promise<unknown[]> {
  const { status, json, text } = await broker.request('POST', '/api/v1/policies/test', { role: 'viewer', body });
  assert.equal(status, 200, text);
  return [json.allowed, json.by, json.statement];
}

describe('policies through the API', { concurrency: 3 }, () => {
  test('statements hold at once, in their order, behind those of the configuration', async (t) => {
    const file = statementFile(ALL);
    const broker = await startHttpBroker(t, {
      shards: 2,
      'authorization.statements': [{ name: 'top', effect: 'deny', actions: ['publish'], topics: ['never'] }],
      'authorization.file': file,
    });
    const as = (method: string, path: string, body?: object): ReturnType<HttpBroker['request']> =>
      broker.request(method, `/api/v1/policies${path}`, { role: 'admin', ...(body && { body }) });
    const clients = await Promise.all([0, 1].map((shard) => connect(broker.port, { clientId: clientIdOn(shard, 2, 'c') })));
    const may = async (topic: string): Promise<boolean[]> =>
      Promise.all(clients.map(async (client) => (await client.publish(topic, '', { qos: 1 })).code < 0x80));
    assert.deepEqual(
      [await may('never'), await may('secret/a')],
      [
        [false, false],
        [true, true],
      ],
    );

    const added = await as('POST', '', { statement: { name: 'no', effect: 'deny', actions: ['publish'], topics: ['secret/#'] }, index: 1 });
    assert.deepEqual([added.status, added.json.index], [201, 1], added.text);
    assert.deepEqual(
      added.json.data.map(({ index, source, name }: { index: number; source: string; name: string }) => [index, source, name]),
      [
        [0, 'configuration', 'top'],
        [1, 'file', 'no'],
        [2, 'file', 'all'],
      ],
    );
    assert.deepEqual(await may('secret/a'), [false, false]);
    assert.equal((await as('POST', '/no/move', { index: 2 })).json.index, 2);
    assert.deepEqual(await may('secret/a'), [true, true], 'behind what allows everything');
    assert.equal((await as('POST', '/2/move', { index: 1 })).json.index, 1);
    assert.equal((await as('PATCH', '/no', { topics: ['private/#'] })).status, 200);
    assert.deepEqual(
      [await may('secret/a'), await may('private/a')],
      [
        [true, true],
        [false, false],
      ],
    );
    assert.equal((await as('PATCH', '/1', { topics: null })).status, 200);
    assert.deepEqual(await may('secret/a'), [false, false], 'without topics it is about all');
    assert.equal((await as('PATCH', '/no?index=2', { topics: ['secret/#'] })).json.index, 2);
    assert.deepEqual(await may('secret/a'), [true, true], 'it is another one at another place');
    assert.equal((await as('PATCH', '/no?index=0', {})).json.code, 'conflict', 'that is a place of the configuration');
    assert.equal((await as('PATCH', '/no?index=1', {})).json.index, 1);
    assert.deepEqual(await may('secret/a'), [false, false]);
    assert.equal((await as('PATCH', '/1', { topics: null })).status, 200);
    assert.equal((await as('DELETE', '/no')).status, 200);
    assert.deepEqual(await may('private/a'), [true, true]);
    const empty = await as('PUT', '', { statements: [] });
    assert.deepEqual([empty.status, empty.json.total, await may('x')], [200, 1, [false, false]]);
    assert.deepEqual(JSON.parse(readFileSync(file, 'utf8')), { version: 1, statements: [] });
    for (const [method, path, body] of [
      ['PATCH', '/0', { topics: ['x'] }],
      ['DELETE', '/top', undefined],
      ['POST', '', { statement: ALL, index: 0 }],
    ] as const)
      assert.equal((await as(method, path, body)).json.code, 'conflict', `${method} ${path}`);
  });

  test('who does not know of a change does not overwrite it', async (t) => {
    const file = statementFile(ALL);
    const broker = await startHttpBroker(t, { 'authorization.file': file });
    const { revision } = (await broker.request('GET', '/api/v1/policies', { role: 'viewer' })).json;
    const put = (query: string): ReturnType<HttpBroker['request']> =>
      broker.request('PUT', `/api/v1/policies?${query}`, { role: 'admin', body: { statements: [{ ...ALL, name: 'other' }] } });
    assert.equal((await put(`revision=${revision}`)).status, 200);
    assert.equal((await put(`revision=${revision}`)).json.code, 'conflict');
    const names = Array.from({ length: 12 }, (_, n) => `s${n}`);
    const added = await Promise.all(
      names.map((name) => broker.request('POST', '/api/v1/policies', { role: 'admin', body: { statement: { ...ALL, name } } })),
    );
    assert.ok(added.every(({ status }) => status === 201));
    const { statements } = JSON.parse(readFileSync(file, 'utf8')) as { statements: { name: string }[] };
    assert.deepEqual(statements.map(({ name }) => name).sort(), ['other', ...names].sort());
  });

  test('what is wrong is named, by place and key, and changes nothing', async (t) => {
    const file = statementFile(ALL);
    const broker = await startHttpBroker(t, { 'authorization.file': file });
    const before = readFileSync(file, 'utf8');
    const cases: [object, RegExp][] = [
      [{ effect: 'maybe', actions: ['publish'] }, /statements\.1\.effect: expected one of allow, deny/],
      [{ effect: 'allow' }, /statements\.1\.actions/],
      [{ effect: 'allow', actions: ['publish'], topics: ['a/#/b'] }, /statements\.1\.topics/],
      [{ effect: 'allow', actions: ['publish'], topic: ['a'] }, /unknown key topic/],
      [{ effect: 'allow', actions: ['publish'], name: '7' }, /statements\.1\.name: expected a name/],
      [{ ...ALL }, /another statement is called all/],
    ];
    for (const [statement, detail] of cases) {
      const answer = await broker.request('POST', '/api/v1/policies', { role: 'admin', body: { statement } });
      assert.deepEqual([answer.status, answer.json.code], [422, 'unprocessable'], answer.text);
      assert.match(answer.json.detail, detail);
      assert.ok(answer.json.errors.length > 0);
    }
    const many = Array.from({ length: 1001 }, () => ({ effect: 'allow', actions: ['publish'] }));
    assert.equal((await broker.request('PUT', '/api/v1/policies', { role: 'admin', body: { statements: many } })).status, 422);
    assert.equal((await broker.request('DELETE', '/api/v1/policies/nobody', { role: 'admin' })).status, 404);
    assert.equal((await broker.request('DELETE', '/api/v1/policies/9', { role: 'admin' })).status, 404);
    assert.equal(readFileSync(file, 'utf8'), before);
    const closed = await startHttpBroker(t);
    const nowhere = await closed.request('PUT', '/api/v1/policies', { role: 'admin', body: { statements: [] } });
    assert.deepEqual([nowhere.status, nowhere.json.code], [501, 'not-implemented']);
    assert.match(nowhere.json.detail, /authorization\.file/);
    const open = (await closed.request('GET', '/api/v1/policies', { role: 'viewer' })).json;
    assert.deepEqual([open.isOpen, open.file, open.total], [true, null, 0]);
  });

  test('the file is read again when people change it; without it the broker does not start', async (t) => {
    const file = statementFile(ALL);
    const broker = await startHttpBroker(t, { 'authorization.file': file });
    const client = await connect(broker.port);
    assert.ok((await client.publish('a', '', { qos: 1 })).code < 0x80);
    writeFileSync(file, JSON.stringify({ version: 1, statements: [] }));
    await broker.line(({ msg }) => msg === 'the new statements hold for all clients of this shard');
    assert.equal((await client.publish('a', '', { qos: 1 })).code, DENIED);
    writeFileSync(file, 'no JSON');
    await broker.line(({ msg }) => msg === 'the file of statements was not read again: what it said before holds');
    assert.equal((await client.publish('a', '', { qos: 1 })).code, DENIED);
    const started = startBroker({ 'authorization.file': join(storeDirectory(), 'none.json') });
    await assert.rejects(started, /authorization\.file: .*none\.json: no such file; make one with/);
  });

  test('the tester says what the broker does', async (t) => {
    const users = join(storeDirectory(), 'users.json');
    const facts = { password: await hashPassword(Buffer.from('x')), isSuperuser: false, remark: '' };
    writeUserFile(users, [
      { ...facts, username: 'a1', attributes: { group: 'a' } },
      { ...facts, username: 'a2', attributes: { group: 'a' } },
      { ...facts, username: 'b1', attributes: { group: 'b' } },
    ]);
    const broker = await startHttpBroker(t, {
      shards: 2,
      'auth.authenticators': [{ type: 'users', file: users }],
      'authorization.statements': [
        { effect: 'deny', actions: ['subscribe'], topics: ['secret/#'] },
        { effect: 'allow', actions: ['publish', 'subscribe'], topics: ['own/${ClientId}/#'], qos: [0, 1] },
        { effect: 'allow', resource: 'p2p', actions: ['publish'], same: ['group'] },
        { effect: 'deny', actions: ['connect'], clientIds: ['bad-*'] },
        { effect: 'allow', actions: ['connect'] },
        { effect: 'allow', resource: 'p2p', actions: ['observe'], targets: ['a*'] },
        { effect: 'allow', actions: ['publish'], topics: ['kept'], retain: true },
      ],
    });
    const [near, far, other] = [clientIdOn(0, 2, 'n'), clientIdOn(1, 2, 'f'), clientIdOn(1, 2, 'o')];
    const sender = await connect(broker.port, { clientId: near, username: 'a1', password: 'x' });
    await connect(broker.port, { clientId: far, username: 'a2', password: 'x' });
    await connect(broker.port, { clientId: other, username: 'b1', password: 'x' });
    const who = { clientId: near, username: 'a1', attributes: { group: 'a' }, address: '127.0.0.1' };
    const publishes = async (topic: string, qos: 1 | 2, retain = false): Promise<boolean> =>
      (await sender.publish(topic, '', { qos, retain })).code !== DENIED;
    const subscribes = async (filter: string): Promise<boolean> => (await sender.subscribe(filter)).codes[0]! < 0x80;

    const cases: [object, unknown[], (() => Promise<boolean>) | null][] = [
      [{ action: 'publish', topic: `own/${near}/x`, qos: 1 }, [true, 'statement', 1], () => publishes(`own/${near}/x`, 1)],
      [{ action: 'publish', topic: `own/${near}/x`, qos: 2 }, [false, 'default', null], () => publishes(`own/${near}/x`, 2)],
      [{ action: 'publish', topic: 'own/else/x', qos: 1 }, [false, 'default', null], () => publishes('own/else/x', 1)],
      [{ action: 'publish', topic: 'kept', qos: 1, retain: true }, [true, 'statement', 6], () => publishes('kept', 1, true)],
      [{ action: 'publish', topic: 'kept', qos: 1 }, [false, 'default', null], () => publishes('kept', 1)],
      [{ action: 'publish', topic: '$SYS/x', qos: 1 }, [false, 'broker', null], () => publishes('$SYS/x', 1)],
      [{ action: 'subscribe', filter: 'secret/a' }, [false, 'statement', 0], () => subscribes('secret/a')],
      [{ action: 'subscribe', filter: '#' }, [false, 'statement', 0], () => subscribes('#')],
      [{ action: 'subscribe', filter: `$share/g/own/${near}/+` }, [true, 'statement', 1], () => subscribes(`$share/g/own/${near}/+`)],
      [{ action: 'subscribe', filter: `cmd/p2p/${near}` }, [true, 'broker', null], () => subscribes(`cmd/p2p/${near}`)],
      [{ action: 'subscribe', filter: 'cmd/p2p/a7' }, [true, 'statement', 5], () => subscribes('cmd/p2p/a7')],
      [{ action: 'observe', filter: 'cmd/p2p/b7' }, [false, 'default', null], () => subscribes('cmd/p2p/b7')],
      [{ action: 'observe', filter: 'plain/topic' }, [false, 'broker', null], null],
      [{ action: 'subscribe', filter: 'a/#/b' }, [false, 'broker', null], null],
      [{ action: 'p2p', target: far, qos: 1 }, [true, 'statement', 2], () => publishes(`cmd/p2p/${far}`, 1)],
      [{ action: 'publish', topic: `cmd/p2p/${far}`, qos: 1 }, [true, 'statement', 2], null],
      [{ action: 'p2p', target: other, qos: 1 }, [false, 'default', null], () => publishes(`cmd/p2p/${other}`, 1)],
      [{ action: 'p2p', target: 'nobody', qos: 1 }, [false, 'default', null], () => publishes('cmd/p2p/nobody', 1)],
      [{ action: 'p2p', target: 'nobody', targetAttributes: { group: 'a' } }, [true, 'statement', 2], null],
      [{ action: 'connect' }, [true, 'statement', 4], null],
      [{ action: 'publish', topic: 'anything', isSuperuser: true }, [true, 'superuser', null], null],
    ];
    for (const [body, expected, real] of cases) {
      assert.deepEqual(await trial(broker, { ...who, ...body }), expected, JSON.stringify(body));
      if (real !== null) assert.equal(await real(), expected[0], `what happens: ${JSON.stringify(body)}`);
    }
    assert.deepEqual(await trial(broker, { ...who, clientId: 'bad-1', action: 'connect' }), [false, 'statement', 3]);
    assert.equal(await connackCode(broker.port, { clientId: 'bad-1', username: 'a1', password: 'x' }), DENIED);
    for (const body of [
      { action: 'publish' },
      { action: 'fly' },
      { action: 'publish', topic: 'a', address: 'here' },
      { action: 'p2p', target: '' },
    ])
      assert.equal((await broker.request('POST', '/api/v1/policies/test', { role: 'viewer', body })).status, 422, JSON.stringify(body));
    const text = (
      await broker.request('POST', '/api/v1/policies/test', { role: 'viewer', body: { ...who, action: 'subscribe', filter: '#' } })
    ).json;
    assert.deepEqual(JSON.parse(text.text), { effect: 'deny', resource: 'topic', actions: ['subscribe'], topics: ['secret/#'] });
  });
});
