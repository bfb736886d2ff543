/*
 * Goal: what clients of every version see of a refusal over a real network: codes of CONNACK, PUBACK, PUBREC and SUBACK, and silence where the protocol has no words.
 * Method: a broker of two shards with one list of statements; the project's own client for each version, and MQTT.js as a client that knows nothing of this project.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import mqtt from 'mqtt';
import type { ProtocolVersion } from '../../src/protocol/packet-type.ts';
import { connect, payloadText, Refusal } from '../support/client.ts';
import { CounterWatch, stage, WATCHED } from './observe.ts';

const statements = [
  { effect: 'deny', actions: ['connect'], clientIds: ['banned-*'] },
  { effect: 'deny', actions: ['connect'], addresses: ['127.0.0.9'] },
  { effect: 'allow', actions: ['connect'] },
  { effect: 'deny', actions: ['publish', 'subscribe'], topics: ['fleet/+/secret'] },
  { effect: 'deny', actions: ['publish'], topics: ['fleet/#'], retain: true },
  { effect: 'allow', actions: ['publish', 'subscribe'], topics: ['fleet/${ClientId}/#'] },
  { effect: 'allow', actions: ['subscribe'], topics: ['fleet/+/up', '$SYS/#'] },
  { effect: 'allow', actions: ['subscribe'], topics: ['users/${Username}/+'] },
  { effect: 'allow', actions: ['subscribe'], topics: ['slow/#'], qos: [0] },
  { effect: 'allow', resource: 'p2p', actions: ['publish'], clientIds: ['gw-*'], targets: ['${ClientId}-*'] },
];

const options = { shards: 2, 'authorization.statements': statements };

function refusedWith(code: number): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof Refusal, String(error));
    assert.equal(error.connack.code, code);
    return true;
  };
}

describe('authorization', { concurrency: 3 }, () => {
  for (const version of [5, 4, 3] as ProtocolVersion[]) {
    test(`what a client of protocol version ${version} sees`, async (t) => {
      const broker = await stage(t, options);
      const { port } = broker;
      const isV5 = version === 5;
      const sender = await connect(port, { clientId: 'gw-1', version, username: 'ann' });
      const target = await connect(port, { clientId: 'gw-1-door', version });
      const stranger = await connect(port, { clientId: 'gw-2-door', version });
      const denied = isV5 ? 0x87 : version === 4 ? 0x80 : 0;
      const asked: [string, number, number][] = [
        ['fleet/+/up', 1, 1],
        ['fleet/gw-1/up', 2, 2],
        ['users/ann/+', 0, 0],
        ['$share/g/fleet/gw-1/up', 0, 0],
        ['slow/#', 0, 0],
        ['slow/#', 1, denied],
        ['#', 0, denied],
        ['fleet/#', 0, denied],
        ['fleet/gw-1/#', 0, denied],
        ['fleet/gw-2/down', 0, denied],
        ['users/+/+', 0, denied],
        ['$share/g/fleet/#', 0, denied],
        ['dev/p2p/gw-1', 1, 1],
        ['dev/p2p/other', 1, denied],
      ];
      for (const [filter, qos, code] of asked) assert.deepEqual([...(await sender.subscribe(filter, { qos })).codes], [code], filter);
      await sender.unsubscribe(['$share/g/fleet/gw-1/up', 'fleet/gw-1/up']);
      for (const qos of [0, 1, 2]) {
        assert.equal((await sender.publish('fleet/gw-2/up', 'foreign', { qos })).code, isV5 && qos > 0 ? 0x87 : 0);
        assert.equal((await sender.publish('fleet/gw-1/secret', 'secret', { qos })).code, isV5 && qos > 0 ? 0x87 : 0);
        assert.equal((await sender.publish('fleet/gw-1/up', 'retained', { qos, retain: true })).code, isV5 && qos > 0 ? 0x87 : 0);
        assert.equal((await sender.publish('fleet/gw-1/up', `own ${qos}`, { qos })).code, 0);
        assert.equal((await sender.publish('dev/p2p/gw-2-door', 'foreign', { qos })).code, isV5 && qos > 0 ? 0x87 : 0);
        assert.equal((await sender.publish('dev/p2p/gw-1-door', `to you ${qos}`, { qos })).code, 0);
      }
      assert.deepEqual((await sender.nextMany(3)).map(payloadText), ['own 0', 'own 1', 'own 2']);
      assert.deepEqual((await target.nextMany(3)).map(payloadText), ['to you 0', 'to you 1', 'to you 2']);
      for (const client of [sender, target, stranger]) await client.expectNone();
      const refused = refusedWith(isV5 ? 0x87 : 5);
      await assert.rejects(connect(port, { clientId: 'banned-1', version }), refused);
      await assert.rejects(connect(port, { clientId: 'gw-3', version, localAddress: '127.0.0.9' }), refused);
      await assert.rejects(connect(port, { clientId: 'gw-3', version, will: { topic: 'fleet/gw-1/up' } }), refused);
      await connect(port, { clientId: 'gw-3', version, will: { topic: 'fleet/gw-3/up', payload: 'gone' } }).then((client) =>
        client.destroy(),
      );
      assert.equal(payloadText(await sender.next()), 'gone');
      const line = await broker.line(({ msg, action }) => msg === 'not authorized' && action === 'publish');
      assert.deepEqual([line['client'], line['topic'], line['statement']], ['gw-1', 'fleet/gw-2/up', 'none']);
      assert.equal(await broker.stop(), 0);
    });
  }

  test('deniedV3: close ends an older connection at QoS 1 and 2, and only there', async (t) => {
    const broker = await stage(t, { ...options, 'authorization.deniedV3': 'close' });
    for (const version of [3, 4] as ProtocolVersion[]) {
      for (const qos of [1, 2]) {
        for (const topic of ['fleet/gw-2/up', 'dev/p2p/other']) {
          const client = await connect(broker.port, { clientId: 'gw-1', version });
          await client.publish(topic, '', { qos: 0 });
          await client.ping();
          await assert.rejects(client.publish(topic, '', { qos }));
          await client.closed;
        }
      }
    }
    const modern = await connect(broker.port, { clientId: 'gw-1' });
    assert.equal((await modern.publish('fleet/gw-2/up', '', { qos: 1 })).code, 0x87);
    await modern.ping();
    assert.equal(await broker.stop(), 0);
  });

  test('refusals are counted', async (t) => {
    const broker = await stage(t, { ...options, ...WATCHED });
    const watch = await CounterWatch.open(broker.port);
    await assert.rejects(connect(broker.port, { clientId: 'banned-1' }));
    const client = await connect(broker.port, { clientId: 'gw-1' });
    for (let i = 0; i < 5; i++) await client.publish('fleet/gw-2/up', '', { qos: 1 });
    await client.subscribe('#');
    await watch.reaches('authorization/denied/connect', (value) => value === 1);
    await watch.reaches('authorization/denied/publish', (value) => value === 5);
    await watch.reaches('authorization/denied/subscribe', (value) => value === 1);
    await watch.reaches('authorization/cache/hits', (value) => value === 4);
    assert.equal(await broker.stop(), 0);
  });

  test('MQTT.js', async (t) => {
    const broker = await stage(t, options);
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port}`, { protocolVersion: 5, clientId: 'gw-1', reconnectPeriod: 0 });
    const door = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port}`, {
      protocolVersion: 4,
      clientId: 'gw-1-door',
      reconnectPeriod: 0,
    });
    t.after(() => Promise.all([client.endAsync(true), door.endAsync(true)]));
    const heard = new Promise<Buffer>((resolve) => door.once('message', (_, payload) => resolve(payload)));
    await assert.rejects(client.publishAsync('fleet/gw-2/up', 'foreign', { qos: 1 }), /Not authorized/);
    await assert.rejects(client.publishAsync('dev/p2p/gw-2-door', 'foreign', { qos: 2 }), /Not authorized/);
    await client.publishAsync('dev/p2p/gw-1-door', 'open', { qos: 1 });
    assert.equal(String(await heard), 'open');
    await assert.rejects(client.subscribeAsync('#'), /Not authorized/);
    assert.deepEqual(
      (await client.subscribeAsync('fleet/+/up', { qos: 1 })).map(({ qos }) => qos),
      [1],
    );
    await assert.rejects(
      mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port}`, { protocolVersion: 4, clientId: 'banned-1', reconnectPeriod: 0 }, false),
      { code: 5 },
    );
  });
});
