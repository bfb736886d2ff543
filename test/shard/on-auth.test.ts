/*
 * Goal: an exchange of AUTH packets, as the shard sees it: whose turn it is, what ends it, what it may cost, and that a client that proves itself anew is who the new
 * proof says, on all its streams, while its other packets go on.
 * Method: shards in this thread, clients in memory, and the test as the judge.
 */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { ReasonPacket, readAuth, readDisconnect, writeAuth } from '../../src/protocol/disconnect.ts';
import * as types from '../../src/protocol/packet-type.ts';
import type { Properties } from '../../src/protocol/property.ts';
import type { Identity, Login } from '../../src/shard/login.ts';
import { endRevoked } from '../../src/shard/shard-life.ts';
import { clientIdOn } from '../support/placement.ts';
import { type MemoryClient, type ShardGroup, startShards } from '../support/shard-group.ts';

const METHOD = 'METHOD';
const PUMP: Identity = { authenticator: 'scram', username: 'pump', attributes: {}, isSuperuser: true, rules: null, expiresAt: 0 };
const text = (data: Uint8Array | null | undefined): string | null => (data ? Buffer.from(data).toString() : null);

/** One shard, and what it asks its judge, as text. */
class Bench {
  readonly group: ShardGroup;
  readonly asked: { readonly login: number; readonly word: string }[] = [];
  lastLogin: Login | null = null;

  constructor(group: ShardGroup) {
    this.group = group;
    this.logins.port = {
      ask: (login, asked) => {
        this.lastLogin = asked;
        this.asked.push({ login, word: `ask ${asked.exchange?.method} ${text(asked.exchange?.data)}` });
      },
      proceed: (login, data) => this.asked.push({ login, word: `proceed ${text(data)}` }),
      leave: (login) => this.asked.push({ login, word: 'leave' }),
    };
  }

  get logins(): ShardGroup['shards'][number]['logins'] {
    return this.group.shards[0]!.logins;
  }

  /** What the judge was told last. */
  get last(): string {
    return this.asked.at(-1)?.word ?? '';
  }

  challenge(data: string): Promise<void> {
    this.logins.challenge(this.asked.at(-1)!.login, Buffer.from(data));
    return this.group.settle();
  }

  accept(identity: Identity = PUMP, data = 'final'): Promise<void> {
    this.logins.answer(this.asked.at(-1)!.login, { code: 0, cause: '', identity, data: Buffer.from(data) });
    return this.group.settle();
  }

  refuse(code: number): Promise<void> {
    this.logins.answer(this.asked.at(-1)!.login, { code, cause: 'no', identity: null });
    return this.group.settle();
  }

  async begin(properties: Properties = {}): Promise<MemoryClient> {
    const exchange = { authenticationMethod: METHOD, authenticationData: Buffer.from('first') };
    const client = this.group.connect({ properties: { ...exchange, ...properties } });
    await this.group.settle();
    return client;
  }

  /** A client whose CONNECT has been accepted. */
  async connected(identity: Identity = PUMP): Promise<MemoryClient> {
    const client = await this.begin();
    await this.accept(identity);
    assert.equal(client.connack().code, 0);
    return client;
  }
}

async function bench(t: TestContext, settings: readonly string[] = []): Promise<Bench> {
  const group = await startShards(1, ['mqtt.sysInterval=never', 'auth.allowAnonymous=false', ...settings]);
  t.after(() => group.stop());
  return new Bench(group);
}

async function say(bench: Bench, client: MemoryClient, code: number, data: string | null, method = METHOD): Promise<void> {
  const authenticationData = data === null ? undefined : Buffer.from(data);
  client.send((writer) => writeAuth(writer, code, { authenticationMethod: method, authenticationData }));
  await bench.group.settle();
}

/** AUTH packets that the client has got: code and data. */
function heard(client: MemoryClient): [number, string | null][] {
  return client.packetsOf(types.AUTH).map(({ body }) => {
    const packet = new ReasonPacket();
    assert.equal(readAuth(packet, body, 0, body.length, 5), 0);
    assert.deepEqual(Object.keys(packet.properties).sort(), ['authenticationData', 'authenticationMethod']);
    assert.equal(packet.properties.authenticationMethod, METHOD);
    return [packet.code, text(packet.properties.authenticationData)];
  });
}

/** Code of the last packet, a DISCONNECT. */
function goodbye(client: MemoryClient): number {
  const { type, body } = client.packets().at(-1)!;
  assert.equal(type, types.DISCONNECT);
  const packet = new ReasonPacket();
  assert.equal(readDisconnect(packet, body, 0, body.length, 5), 0);
  assert.ok(client.channel.isEnded);
  return packet.code;
}

/** Code of the only CONNACK, a refusal, which is the last packet. */
function refusal(client: MemoryClient): number {
  const { type, body } = client.packets().at(-1)!;
  assert.equal(type, types.CONNACK);
  assert.ok(client.channel.isEnded);
  return body[1]!;
}

test('question and answer, as often as the judge asks; CONNACK has the last word', async (t) => {
  const b = await bench(t);
  const client = await b.begin();
  assert.equal(b.last, 'ask METHOD first');
  assert.deepEqual(client.packets(), []);
  for (let round = 0; round < 3; round++) {
    await b.challenge(`question ${round}`);
    assert.deepEqual(heard(client).at(-1), [0x18, `question ${round}`]);
    await say(b, client, 0x18, round === 2 ? null : `answer ${round}`);
    assert.equal(b.last, `proceed ${round === 2 ? null : `answer ${round}`}`);
  }
  await b.accept();
  const connack = client.packetsOf(types.CONNACK);
  assert.equal(connack.length, 1);
  assert.equal(heard(client).length, 3);
  const { body } = connack[0]!;
  assert.ok(body.includes('METHOD') && body.includes('final') && body[1] === 0);
  assert.equal(client.connection.session!.username, 'pump');
  assert.equal(b.group.count('logins/waiting'), 0);
});

test('what the client must not say before it is judged', async (t) => {
  const b = await bench(t);
  const cases: readonly [string, (client: MemoryClient) => void, number][] = [
    ['another packet', (client) => client.publish('t', 'x'), 0x82],
    ['PINGREQ', (client) => client.send((writer) => writer.raw(Uint8Array.of(0xc0, 0), 0, 2)), 0x82],
    ['CONNECT', (client) => client.connect({}), 0x82],
    ['AUTH 0x00', (client) => void say(b, client, 0x00, 'x'), 0x82],
    ['AUTH 0x19', (client) => void say(b, client, 0x19, 'x'), 0x82],
    ['another method', (client) => void say(b, client, 0x18, 'x', 'OTHER'), 0x82],
    ['no method', (client) => client.send((writer) => writer.raw(Uint8Array.of(0xf0, 0), 0, 2)), 0x82],
    ['a flag', (client) => client.send((writer) => writer.raw(Uint8Array.of(0xf1, 0), 0, 2)), 0x81],
    ['too much', (client) => void say(b, client, 0x18, 'x'.repeat(17_000)), 0x95],
    ['too much, at its length', (client) => client.send((writer) => writer.raw(Uint8Array.of(0xf0, 0xff, 0xff, 0x03), 0, 4)), 0x95],
    ['a length of five bytes', (client) => client.send((writer) => writer.raw(Uint8Array.of(0xf0, 0xff, 0xff, 0xff, 0xff), 0, 5)), 0x81],
  ];
  for (const [name, act, code] of cases) {
    const client = await b.begin();
    await b.challenge('question');
    act(client);
    await b.group.settle();
    assert.equal(refusal(client), code, name);
    assert.equal(b.last, 'leave', name);
    assert.equal(client.packetsOf(types.CONNACK).length, 1);
    assert.equal(b.group.count('logins/waiting'), 0);
  }
});

test('DISCONNECT before the verdict is an end without a word', async (t) => {
  const b = await bench(t);
  const client = await b.begin();
  await b.challenge('question');
  client.disconnect();
  await b.group.settle();
  assert.ok(client.channel.isEnded);
  assert.equal(client.packets().length, 1);
  assert.equal(b.last, 'leave');
});

test('while the judge thinks, nothing is read; a packet that was sent meanwhile breaks the exchange', async (t) => {
  const b = await bench(t);
  const client = await b.begin();
  client.publish('t', 'early');
  await b.group.settle();
  assert.deepEqual(client.packets(), []);
  await b.challenge('question');
  assert.equal(refusal(client), 0x82);
  assert.equal(b.group.count('publish/received'), 0);
});

test('rounds, time and the size of what the client takes are bounded', async (t) => {
  const b = await bench(t, ['auth.timeout=5s']);
  const chatty = await b.begin();
  for (let round = 0; round < 8; round++) {
    await b.challenge('question');
    await say(b, chatty, 0x18, 'answer');
  }
  await b.challenge('question');
  await say(b, chatty, 0x18, 'answer');
  assert.equal(refusal(chatty), 0x97);

  const silent = await b.begin();
  await b.group.pass(4);
  await b.challenge('question');
  await b.group.pass(2);
  assert.equal(refusal(silent), 0x87, 'it is the client that has not answered');
  const waiting = await b.begin();
  await b.group.pass(6);
  assert.equal(refusal(waiting), 0x88, 'it is the judge that has not answered');
  assert.equal(b.group.count('logins/timed-out'), 2);

  const small = await b.begin({ maximumPacketSize: 30 });
  await b.challenge('a question that is longer than thirty bytes');
  assert.deepEqual(heard(small), []);
  assert.equal(refusal(small), 0x95);
});

test('a client that goes away is forgotten, and what is said to it later is nothing', async (t) => {
  const b = await bench(t);
  for (const when of ['judge', 'client']) {
    const client = await b.begin();
    if (when === 'client') await b.challenge('question');
    client.channel.lose();
    await b.group.settle();
    assert.equal(b.last, 'leave', when);
    const count = client.packets().length;
    await b.challenge('late');
    await b.accept();
    assert.equal(client.packets().length, count);
    assert.equal(b.group.count('logins/waiting'), 0);
  }
});

test('re-authentication: other packets go on, then AUTH 0x00', async (t) => {
  const b = await bench(t);
  const client = await b.connected();
  client.subscribe('t', 1);
  await say(b, client, 0x19, 'again');
  assert.equal(b.last, 'ask METHOD again');
  assert.deepEqual([b.lastLogin!.username, b.lastLogin!.password, b.lastLogin!.clientId], [null, null, client.clientId]);
  client.publish('t', '1', 1, 7);
  await b.group.settle();
  assert.deepEqual(client.payloads(), ['1']);
  await b.challenge('question');
  client.publish('t', '2', 1, 8);
  await b.group.settle();
  assert.deepEqual(client.payloads(), ['1', '2'], 'also while it is the turn of the client');
  await say(b, client, 0x18, 'answer');
  assert.equal(b.last, 'proceed answer');
  await b.accept();
  assert.deepEqual(heard(client), [
    [0x18, 'question'],
    [0x00, 'final'],
  ]);
  assert.equal(b.group.count('logins/renewed'), 1);
  await say(b, client, 0x19, 'and again');
  await b.accept();
  assert.deepEqual(heard(client).at(-1), [0x00, 'final']);
});

test('re-authentication that fails ends by DISCONNECT; so does what is out of turn', async (t) => {
  const b = await bench(t, ['auth.timeout=5s']);
  const refused: readonly [number, number][] = [
    [0x86, 0x87],
    [0x87, 0x87],
    [0x88, 0x89],
    [0x8c, 0x8c],
    [0x9f, 0x9f],
  ];
  for (const [verdict, told] of refused) {
    const client = await b.connected();
    await say(b, client, 0x19, 'again');
    await b.refuse(verdict);
    assert.equal(goodbye(client), told);
  }
  for (const [code, method] of [
    [0x00, METHOD],
    [0x18, METHOD],
    [0x19, 'OTHER'],
  ] as const) {
    const client = await b.connected();
    await say(b, client, code, 'x', method);
    assert.equal(goodbye(client), 0x82, `${code} ${method}`);
  }
  const twice = await b.connected();
  await say(b, twice, 0x19, 'again');
  await say(b, twice, 0x19, 'again');
  assert.equal(goodbye(twice), 0x82);
  assert.equal(b.last, 'leave');
  const hasty = await b.connected();
  await say(b, hasty, 0x19, 'again');
  await say(b, hasty, 0x18, 'before it was asked');
  assert.equal(goodbye(hasty), 0x82);
  const silent = await b.connected();
  await say(b, silent, 0x19, 'again');
  await b.challenge('question');
  await b.group.pass(6);
  assert.equal(goodbye(silent), 0x87);
  const large = await b.connected();
  await say(b, large, 0x19, 'x'.repeat(17_000));
  assert.equal(goodbye(large), 0x95);
});

test('the proof of another client ends the connection', async (t) => {
  const b = await bench(t);
  for (const other of [
    { ...PUMP, username: 'valve' },
    { ...PUMP, authenticator: 'another' },
  ]) {
    const client = await b.connected();
    await say(b, client, 0x19, 'again');
    await b.accept(other);
    assert.equal(goodbye(client), 0x87);
    assert.deepEqual(heard(client), []);
  }
});

test('the new proof counts: its end, its rights, on all streams; subscriptions that they do not cover go', async (t) => {
  const statements = [
    { effect: 'allow', actions: ['connect'] },
    { effect: 'allow', actions: ['publish', 'subscribe'], topics: ['open/#'] },
  ];
  const b = await bench(t, [`authorization.statements=${JSON.stringify(statements)}`]);
  const client = await b.connected({ ...PUMP, expiresAt: Date.now() + 3_600_000 });
  const stream = client.openStream();
  await b.group.settle();
  stream.subscribe('shut/b', 1, 2);
  client.subscribe('shut/a', 1, 2);
  client.subscribe('open/a', 1, 3);
  await b.group.settle();
  assert.equal(b.group.count('subscriptions/count'), 3);
  assert.equal(client.connection.access, null);
  await say(b, client, 0x19, 'again');
  await b.accept({ ...PUMP, isSuperuser: false });
  assert.equal(client.connection.proofTimer, null, 'the new proof has no end');
  assert.ok(client.connection.access !== null && stream.connection.access === client.connection.access);
  assert.equal(b.group.count('subscriptions/count'), 1);
  await say(b, client, 0x19, 'again');
  await b.accept({ ...PUMP, isSuperuser: true, expiresAt: 1 });
  assert.equal(stream.connection.access, null);
  await b.group.pass(2);
  assert.equal(goodbye(client), 0xa0, 'and the next one has ended');
});

test('a data stream carries no AUTH: it is reset, the client goes on', async (t) => {
  const b = await bench(t);
  const client = await b.connected();
  const stream = client.openStream();
  await b.group.settle();
  await say(b, stream, 0x19, 'again');
  assert.ok(stream.channel.isDestroyed);
  assert.ok(!client.channel.isEnded);
  assert.ok(b.last.startsWith('ask METHOD first'), 'nobody was asked');
});

test('names that count no more: their clients end, also in the middle of a new proof', async (t) => {
  const b = await bench(t);
  const client = await b.connected();
  await say(b, client, 0x19, 'again');
  endRevoked(b.group.shards[0]!, 'scram', new Set(['pump']));
  await b.group.settle();
  assert.equal(goodbye(client), 0x87);
  assert.equal(b.last, 'leave');
});

test('more than may wait: busy, at once, for new clients and for new proofs', async (t) => {
  const b = await bench(t, ['auth.waiting=1']);
  const client = await b.connected();
  await b.begin();
  await say(b, client, 0x19, 'again');
  assert.equal(goodbye(client), 0x89);
  const late = b.group.connect({ clientId: clientIdOn(0, 1, 'late'), properties: { authenticationMethod: METHOD } });
  await b.group.settle();
  assert.equal(refusal(late), 0x89);
});
