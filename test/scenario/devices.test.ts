/*
 * Goal: devices with secrets of their own. A token lets its device in, in every version, and nobody else; it ends the connection when it ends; whoever is removed, disabled or
 * has lost the key that it used is disconnected, and nobody else is. What a device publishes, on every way that a message takes, carries its properties behind its own.
 * Method: a real broker of two shards over a file of devices; tokens of the broker's own command, whose form other tests compare with another implementation; MQTT.js as a client that
 * knows nothing of this project.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { describe } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import mqtt from 'mqtt';
import { deviceToken } from '../../src/auth/device-token.ts';
import type { ProtocolVersion } from '../../src/protocol/packet-type.ts';
import type { PublishPacket } from '../../src/protocol/publish.ts';
import { type Device, newDevice } from '../../src/server/device-commands.ts';
import { writeDeviceFile } from '../../src/server/device-file.ts';
import { startBroker, type TestBroker } from '../support/broker.ts';
import { type ConnectOptions, connackCode, connect, payloadText, type TestClient } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { CounterWatch, stage, WATCHED } from './observe.ts';

const PROPERTIES: readonly [string, string][] = [
  ['site', 'hall 2 ☀'],
  ['release', 'beta'],
];

function tokenFor(device: Device, key: 'primaryKey' | 'secondaryKey' = 'primaryKey', seconds = 3600): string {
  return deviceToken(device.deviceId, device[key], Math.floor(Date.now() / 1000) + seconds);
}

/** A registry in a file. */
class Fleet {
  readonly file = join(storeDirectory(), 'devices.json');
  private readonly devices = new Map<string, Device>();

  /** A device on a shard of two, or one with this ID. */
  add(place: number | string, properties: readonly [string, string][] = PROPERTIES): Device {
    const deviceId = typeof place === 'string' ? place : clientIdOn(place, 2, 'dev');
    return this.change(newDevice({ deviceId, propagatingProperties: properties.map(([key, value]) => ({ key, value })) }));
  }

  change(device: Device): Device {
    this.devices.set(device.deviceId, device);
    writeDeviceFile(this.file, this.devices);
    return device;
  }

  remove({ deviceId }: Device): void {
    this.devices.delete(deviceId);
    writeDeviceFile(this.file, this.devices);
  }

  get settings(): Record<string, unknown> {
    return { shards: 2, 'auth.authenticators': [{ type: 'devices', file: this.file }], 'auth.allowAnonymous': true };
  }
}

function withToken(device: Device, more: ConnectOptions = {}): ConnectOptions {
  return { clientId: device.deviceId, username: 'any', password: tokenFor(device), ...more };
}

async function reload(broker: TestBroker): Promise<void> {
  const before = broker.log.length;
  process.kill(broker.pid, 'SIGHUP');
  await broker.line((line) => broker.log.indexOf(line) >= before && String(line['msg']).includes('file of devices'));
}

function properties(message: PublishPacket): unknown {
  return message.properties.userProperties;
}

describe('devices', { concurrency: 4 }, () => {
  test('its own token lets a device in, in every version and on every shard; nothing else does', async (t) => {
    const fleet = new Fleet();
    const devices = [0, 1].map((shard) => fleet.add(shard));
    const broker = await stage(t, { ...fleet.settings, 'auth.allowAnonymous': false, 'auth.failures.perAddress': 0 });
    for (const version of [3, 4, 5] as const) {
      const wrong = version === 5 ? 0x86 : 4;
      for (const [index, device] of devices.entries()) {
        const other = devices[1 - index]!;
        const who = (password: string, clientId = device.deviceId): Promise<number> =>
          connackCode(broker.port, { clientId, username: 'anybody', password, version });
        assert.equal(await who(tokenFor(device)), 0);
        assert.equal(await who(tokenFor(device, 'secondaryKey')), 0);
        assert.equal(await who(tokenFor(other)), wrong);
        assert.equal(await who(tokenFor(device), other.deviceId), wrong);
        assert.equal(await who(tokenFor(device, 'primaryKey', -1)), wrong, 'it has expired');
        assert.equal(await who(tokenFor(device, 'primaryKey', 2 * 86_400)), wrong, 'longer than a day');
        assert.equal(await who(device.primaryKey), wrong, 'the key itself is no token');
      }
    }
    assert.equal(await connackCode(broker.port, { clientId: devices[0]!.deviceId, password: tokenFor(devices[0]!) }), 0, 'no username');
    assert.ok(broker.log.some(({ cause }) => String(cause).includes('devices: the token has expired')));
    const text = JSON.stringify(broker.log);
    assert.ok(!text.includes('SharedAccessSignature') && devices.every(({ primaryKey }) => !text.includes(primaryKey)));
  });

  test('failures count for the device, not for the username that it shows', async (t) => {
    const fleet = new Fleet();
    const [device, other] = [fleet.add(0), fleet.add(1)];
    const broker = await stage(t, { ...fleet.settings, 'auth.failures.perName': 3, 'auth.failures.perAddress': 0 });
    const guess = (n: number): Promise<number> =>
      connackCode(broker.port, {
        clientId: device.deviceId,
        username: `name${n}`,
        password: tokenFor(device, 'primaryKey', -n - 1),
        localAddress: `127.0.2.${n + 1}`,
      });
    for (let n = 0; n < 3; n++) assert.equal(await guess(n), 0x86);
    assert.equal(await guess(3), 0x9f);
    assert.equal(await connackCode(broker.port, withToken(other, { username: 'name0' })), 0);
  });

  test('a token that ends takes the connection with it', async (t) => {
    const fleet = new Fleet();
    const device = fleet.add(1);
    const broker = await stage(t, fleet.settings);
    const client = await connect(broker.port, withToken(device, { password: tokenFor(device, 'primaryKey', 2) }));
    assert.equal((await client.closed).code, 0xa0);
  });

  test('removed, disabled, a key taken away, other rights: disconnected; the others are not', async (t) => {
    const fleet = new Fleet();
    const names = ['removed', 'disabled', 'first key', 'second key', 'rights', 'stays'] as const;
    const devices = names.map((name, index) => fleet.add(clientIdOn(index % 2, 2, name)));
    const broker = await stage(t, fleet.settings);
    const clients = await Promise.all(devices.map((device) => connect(broker.port, withToken(device))));
    const [removed, disabled, first, second, rights] = devices as [Device, Device, Device, Device, Device];
    fleet.remove(removed);
    fleet.change({ ...disabled, isEnabled: false });
    fleet.change({ ...first, primaryKey: second.primaryKey });
    fleet.change({ ...second, secondaryKey: first.primaryKey });
    fleet.change({ ...rights, attributes: { group: 'x' } });
    await reload(broker);
    for (const index of [0, 1, 2, 4]) assert.equal((await clients[index]!.closed).code, 0x87, names[index]);
    for (const index of [3, 5]) await clients[index]!.ping();
    assert.equal(await connackCode(broker.port, withToken(removed)), 0x86);
    assert.equal(await connackCode(broker.port, withToken(disabled)), 0x86);
    assert.equal(await connackCode(broker.port, withToken(first)), 0x86);
    assert.equal(await connackCode(broker.port, withToken(first, { password: tokenFor(first, 'secondaryKey') })), 0);
    assert.equal(await connackCode(broker.port, withToken(rights)), 0);
  });
});

/** One who hears everything, on a shard. */
async function ear(port: number, shard: number, filter: string): Promise<TestClient> {
  const client = await connect(port, { clientId: clientIdOn(shard, 2, 'ear') });
  await client.subscribe(filter, { qos: 2 });
  return client;
}

describe('properties of devices', { concurrency: 4 }, () => {
  for (const version of [3, 4, 5] as ProtocolVersion[])
    test(`what a device of version ${version} publishes carries them, behind its own, everywhere`, async (t) => {
      const fleet = new Fleet();
      const device = fleet.add(0);
      const plain = fleet.add(1, []);
      const broker = await stage(t, fleet.settings);
      const ears = await Promise.all([0, 1].map((shard) => ear(broker.port, shard, 'up/#')));
      const old = await connect(broker.port, { version: 4, clientId: clientIdOn(1, 2) });
      await old.subscribe('up/#', { qos: 1 });
      const sender = await connect(broker.port, withToken(device, { version }));
      const silent = await connect(broker.port, withToken(plain, { version }));
      const isV5 = version === 5;
      const own: [string, string][] = isV5
        ? [
            ['site', 'own'],
            ['x', ''],
          ]
        : [];
      for (const qos of [0, 1, 2]) {
        const options = isV5 ? { qos, properties: { userProperties: own, contentType: 'text' } } : { qos };
        await sender.publish('up/own', `${qos}`, options);
        await sender.publish('up/none', `${qos}`, { qos });
        await silent.publish('up/silent', `${qos}`, options);
        for (const one of ears) {
          const messages = await one.nextMany(3);
          const by = (topic: string): PublishPacket => messages.find((message) => message.topic === topic)!;
          assert.deepEqual(properties(by('up/own')), [...own, ...PROPERTIES]);
          assert.equal(by('up/own').properties.contentType, isV5 ? 'text' : undefined);
          assert.equal(payloadText(by('up/own')), `${qos}`);
          assert.deepEqual(properties(by('up/none')), PROPERTIES);
          assert.deepEqual(properties(by('up/silent')), isV5 ? own : undefined);
        }
        await old.nextMany(3);
      }
      // To one client, on either shard; with what is meant for the broker, which does not travel.
      for (const one of ears) {
        const { clientId } = one;
        const asked: [string, string][] = isV5
          ? [
              ['p2p-report', '1'],
              ['x', 'y'],
            ]
          : [];
        const answer = await sender.publish(`cmd/p2p/${clientId}`, 'to you', {
          qos: 1,
          ...(isV5 && { properties: { userProperties: asked } }),
        });
        assert.equal(answer.code, 0);
        assert.deepEqual(properties(await one.next()), [...(isV5 ? [['x', 'y']] : []), ...PROPERTIES]);
      }
      if (isV5) {
        // What stays with one hop stands between what travels on; and the topic is an alias.
        const cut = { messageExpiryInterval: 60, topicAlias: 3, payloadFormatIndicator: 1, contentType: 'c', userProperties: own };
        await sender.publish('up/cut', 'a', { qos: 1, properties: cut });
        await sender.publish('', 'b', { qos: 1, properties: { ...cut, userProperties: [] } });
        for (const one of ears) {
          const [a, b] = await one.nextMany(2);
          assert.deepEqual(properties(a!), [...own, ...PROPERTIES]);
          assert.deepEqual(properties(b!), PROPERTIES);
          for (const message of [a!, b!])
            assert.deepEqual(
              [message.topic, message.properties.contentType, message.properties.payloadFormatIndicator],
              ['up/cut', 'c', 1],
            );
        }
      }
      if (isV5) await old.nextMany(2);
      for (const one of [...ears, old]) await one.expectNone();
    });

  test('what is kept carries them: retained, queued, the Will, over a restart and a shard', async (t) => {
    const fleet = new Fleet();
    const device = fleet.add(0);
    const path = storeDirectory();
    const options = { ...fleet.settings, 'store.path': path };
    const first = await startBroker(options);
    t.after(() => first.kill());
    const sleepers = [0, 1].map((shard) => clientIdOn(shard, 2, 'sleeper'));
    for (const clientId of sleepers) {
      const sleeper = await connect(first.port, { clientId, properties: { sessionExpiryInterval: 600 } });
      await sleeper.subscribe('keep/#', { qos: 1 });
      await sleeper.disconnect();
    }
    const will = { topic: 'keep/will', payload: 'gone', qos: 1, properties: { userProperties: [['w', '1']] as [string, string][] } };
    const sender = await connect(first.port, withToken(device, { will }));
    await sender.publish('keep/retained', 'r', { qos: 1, retain: true });
    await sender.publish('keep/queued', 'q', { qos: 2 });
    const watch = await ear(first.port, 1, 'keep/will');
    await sender.destroy();
    assert.deepEqual(properties(await watch.next()), [['w', '1'], ...PROPERTIES]);
    assert.equal(await first.stop(), 0);
    const second = await stage(t, options);
    for (const clientId of sleepers) {
      const sleeper = await connect(second.port, { clientId, cleanStart: false, properties: { sessionExpiryInterval: 600 } });
      const messages = await sleeper.nextMany(3);
      assert.deepEqual(messages.map(({ topic }) => topic).sort(), ['keep/queued', 'keep/retained', 'keep/will']);
      for (const message of messages)
        assert.deepEqual(properties(message), [...(message.topic === 'keep/will' ? [['w', '1']] : []), ...PROPERTIES]);
      const late = await connect(second.port);
      await late.subscribe('keep/#', { qos: 0 });
      assert.deepEqual(properties(await late.next()), PROPERTIES);
    }
  });

  test('a change counts for clients that are connected; Maximum Packet Size holds for what is sent', async (t) => {
    const fleet = new Fleet();
    const device = fleet.add(1);
    const broker = await stage(t, { ...fleet.settings, ...WATCHED });
    const sender = await connect(broker.port, withToken(device));
    const listener = await ear(broker.port, 0, 'up');
    const small = await connect(broker.port, { properties: { maximumPacketSize: 60 } });
    await small.subscribe('up', { qos: 1 });
    await sender.publish('up', '1', { qos: 1 });
    assert.deepEqual(properties(await listener.next()), PROPERTIES);
    assert.equal(payloadText(await small.next()), '1');
    fleet.change({ ...device, propagatingProperties: [{ key: 'release', value: 'x'.repeat(60) }] });
    await reload(broker);
    // The shards are told after the supervisor has read the file.
    const publishUntil = async (payload: string, expected: unknown): Promise<number> => {
      for (let n = 1; n < 200; n++) {
        await sender.publish('up', payload, { qos: 1 });
        if (isDeepStrictEqual(properties(await listener.next()), expected)) return n;
      }
      return assert.fail('the change is not seen');
    };
    const before = await publishUntil('2', [['release', 'x'.repeat(60)]]);
    for (const message of before > 1 ? await small.nextMany(before - 1) : []) assert.equal(payloadText(message), '2');
    fleet.change({ ...device, propagatingProperties: [] });
    await reload(broker);
    const tooLarge = await publishUntil('3', undefined);
    assert.equal(payloadText(await small.next()), '3', 'what was too large did not come');
    const watch = await CounterWatch.open(broker.port);
    await watch.reaches('publish/dropped/too-large', (count) => count === tooLarge);
  });

  test('MQTT.js', async (t) => {
    const fleet = new Fleet();
    const device = fleet.add('gerät 7/+&%');
    const broker = await stage(t, fleet.settings);
    const listener = await ear(broker.port, 0, 'up');
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port}`, {
      protocolVersion: 5,
      clientId: device.deviceId,
      username: 'x',
      password: tokenFor(device),
    });
    await client.publishAsync('up', 'hello', { qos: 2, properties: { userProperties: { a: 'b' } } });
    assert.deepEqual(properties(await listener.next()), [['a', 'b'], ...PROPERTIES]);
    await client.endAsync();
  });
});
