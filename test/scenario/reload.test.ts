/*
 * Goal: other statements hold for clients that are connected, without a restart: what they may not do any more is refused, ends, or disconnects them; a file with a
 * mistake changes nothing, and other changes are only said to need a restart.
 * Method: a broker of two shards with a file, rewritten and read again at SIGHUP; clients on both shards.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import type { TestBroker } from '../support/broker.ts';
import { connect, payloadText, type TestClient } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { stage } from './observe.ts';

const all = { effect: 'allow', actions: ['publish', 'subscribe'] };
const toAll = { effect: 'allow', resource: 'p2p', actions: ['publish'] };
const taken = 'the new statements hold for all clients of this shard';

class Reload {
  readonly broker: TestBroker;
  private readonly file: string;
  private count: number;

  constructor(broker: TestBroker, file: string) {
    this.broker = broker;
    this.file = file;
    this.count = 0;
  }

  /** Resolves when both shards have taken the statements, all clients included. @param statements null: none */
  async to(statements: readonly object[] | null): Promise<void> {
    this.count += 2;
    this.send(statements === null ? {} : { authorization: { statements } });
    await this.broker.line(({ msg }) => msg === taken && this.broker.log.filter((line) => line['msg'] === taken).length >= this.count);
  }

  send(content: object | string): void {
    writeFileSync(this.file, typeof content === 'string' ? content : JSON.stringify(content));
    process.kill(this.broker.pid, 'SIGHUP');
  }
}

async function start(t: TestContext, statements: readonly object[] | null): Promise<Reload> {
  const file = join(storeDirectory(), 'onehop.yaml');
  writeFileSync(file, JSON.stringify(statements === null ? {} : { authorization: { statements } }));
  return new Reload(await stage(t, { shards: 2, config: file }), file);
}

async function codeOf(client: TestClient, topic: string): Promise<number> {
  return (await client.publish(topic, topic, { qos: 1 })).code;
}

test('from everything to statements, to others, and back', async (t) => {
  const reload = await start(t, null);
  const { port } = reload.broker;
  const [one, two] = [
    await connect(port, { clientId: clientIdOn(0, 2, 'one') }),
    await connect(port, { clientId: clientIdOn(1, 2, 'two') }),
  ];
  await one.subscribe([{ filter: 'open/#' }, { filter: 'shut/#' }], { qos: 1 });
  assert.equal(await codeOf(two, 'shut/a'), 0);
  assert.equal(await codeOf(two, `x/p2p/${one.clientId}`), 0);
  assert.deepEqual((await one.nextMany(2)).map(payloadText), ['shut/a', `x/p2p/${one.clientId}`]);

  await reload.to([{ ...all, topics: ['open/#'] }]);
  assert.equal(await codeOf(two, 'shut/a'), 0x87);
  assert.equal(await codeOf(two, `x/p2p/${one.clientId}`), 0x87);
  assert.equal(await codeOf(two, 'open/a'), 0);
  assert.equal(payloadText(await one.next()), 'open/a');

  await reload.to([{ ...all, actions: ['publish'] }, { ...all, actions: ['subscribe'], topics: ['open/#'] }, toAll]);
  assert.equal(await codeOf(two, 'shut/a'), 0x10, 'the subscription has ended');
  assert.equal(await codeOf(two, `x/p2p/${one.clientId}`), 0);
  assert.equal(payloadText(await one.next()), `x/p2p/${one.clientId}`);

  await reload.to(null);
  assert.deepEqual([...(await one.subscribe('shut/#', { qos: 1 })).codes], [1]);
  assert.equal(await codeOf(two, 'shut/a'), 0);
  assert.equal(payloadText(await one.next()), 'shut/a');
  assert.equal(await reload.broker.stop(), 0);
});

test('who may not be connected any more is told so, and a Will that is not allowed any more is none', async (t) => {
  const reload = await start(t, [all]);
  const { port } = reload.broker;
  const ears = await connect(port, { clientId: clientIdOn(0, 2, 'ears') });
  await ears.subscribe('wills/#');
  const wills = ['wills/good', 'wills/bad'].map((topic) => ({ topic, payload: topic }));
  const leavers: TestClient[] = [];
  for (const will of wills) leavers.push(await connect(port, { clientId: clientIdOn(1, 2, 'leaver'), will }));
  const banned = await connect(port, { clientId: clientIdOn(1, 2, 'banned') });
  await reload.to([
    { effect: 'deny', actions: ['connect'], clientIds: ['banned*'] },
    { effect: 'allow', actions: ['connect'] },
    { ...all, effect: 'deny', actions: ['publish'], topics: ['wills/bad'] },
    all,
  ]);
  assert.equal((await banned.closed).code, 0x87);
  for (const leaver of leavers.reverse()) await leaver.destroy();
  assert.equal(payloadText(await ears.next()), 'wills/good');
  await ears.expectNone();
  assert.equal(await reload.broker.stop(), 0);
});

test('a mistake changes nothing, and other changes need a restart', async (t) => {
  const reload = await start(t, [{ ...all, topics: ['open/#'] }]);
  const { broker } = reload;
  const client = await connect(broker.port, { clientId: clientIdOn(1, 2) });
  reload.send({ authorization: { statements: [{ ...all, topics: ['a/#/b'] }] } });
  const line = await broker.line(({ msg }) => msg === 'the configuration was not read again: what it said before holds');
  assert.match(String(line['error']), /statements\[0\]\.topics: expected topics with \+ and # as whole levels/);
  assert.equal(await codeOf(client, 'shut/a'), 0x87);
  assert.equal(await codeOf(client, 'open/a'), 0x10);
  reload.send({ authorization: { statements: [all] }, mqtt: { maximumQos: 0 } });
  const late = await broker.line(({ msg }) => msg === 'the configuration has changes that need a restart');
  assert.deepEqual(late['sections'], ['mqtt']);
  await broker.line(({ msg }) => msg === taken && broker.log.filter((one) => one['msg'] === taken).length === 2);
  assert.equal(await codeOf(client, 'shut/a'), 0x10);
  assert.equal(await broker.stop(), 0);
});

test('other quotas hold for clients that are connected', async (t) => {
  const reload = await start(t, null);
  const { broker } = reload;
  const client = await connect(broker.port, { clientId: clientIdOn(1, 2) });
  const codes = async (): Promise<number[]> => Promise.all(Array.from({ length: 5 }, () => codeOf(client, 'up')));
  const renewed = async (count: number): Promise<void> => {
    const message = 'the new quotas hold for all clients of this shard';
    await broker.line(({ msg }) => msg === message && broker.log.filter((line) => line['msg'] === message).length === count);
  };
  assert.deepEqual(await codes(), [0x10, 0x10, 0x10, 0x10, 0x10]);
  reload.send({ quotas: { client: { messagesIn: { perSecond: 1, burst: 2 } } } });
  await renewed(2);
  const few = await codes();
  assert.equal(few[0], 0x10);
  assert.ok(few.includes(0x97), `${few}`);
  reload.send({});
  await renewed(4);
  assert.deepEqual(await codes(), [0x10, 0x10, 0x10, 0x10, 0x10]);
  assert.equal(await broker.stop(), 0);
});
