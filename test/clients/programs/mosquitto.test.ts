/**
 * Goal: mosquitto_pub and mosquitto_sub, which many people try a broker with first, work in all three versions of the protocol, P2P included.
 * Method: the programs as they come from the system, against brokers with one, two and four shards; what they print and their exit codes are compared.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { after, before, describe } from 'node:test';
import { deviceToken } from '../../../src/auth/device-token.ts';
import { newDevice } from '../../../src/server/device-commands.ts';
import { writeDeviceFile } from '../../../src/server/device-file.ts';
import { startBroker, type TestBroker } from '../../support/broker.ts';
import { connect, payloadText } from '../../support/client.ts';
import { storeDirectory } from '../../support/store-directory.ts';
import { beginProgram, type ChildProgram, type Ended, runProgram } from '../child-program.ts';

const versions = ['mqttv31', 'mqttv311', 'mqttv5'];
/** Enough clients that some share a shard and some do not. */
const targets = ['dev-1', 'dev-2', 'dev/3', 'dev 4 ☀'];

describe('mosquitto clients', { concurrency: true }, () => {
  test('a device with a token as its password', async () => {
    const directory = storeDirectory();
    const device = newDevice({ deviceId: 'pump 7', propagatingProperties: [{ key: 'site', value: 'hall 2' }] });
    const file = join(directory, 'devices.json');
    writeDeviceFile(file, new Map([[device.deviceId, device]]));
    const broker = await startBroker({ shards: 2, 'auth.authenticators': [{ type: 'devices', file }], 'auth.allowAnonymous': true });
    const token = deviceToken(device.deviceId, device.primaryKey, Math.floor(Date.now() / 1000) + 600);
    const args = (password: string): string[] => [
      '-p',
      String(broker.port),
      '-i',
      device.deviceId,
      '-u',
      'x',
      '-P',
      password,
      '-q',
      '1',
      '-t',
      'up',
    ];
    const listener = await connect(broker.port);
    await listener.subscribe('up', { qos: 1 });
    for (const version of versions) {
      const published = await runProgram('mosquitto_pub', [...args(token), '-V', version, '-m', version]);
      assert.deepEqual(published, { exit: 0, stdout: '', stderr: '' });
      const message = await listener.next();
      assert.deepEqual([payloadText(message), message.properties.userProperties], [version, [['site', 'hall 2']]]);
      const refused = await runProgram('mosquitto_pub', [...args(token.slice(0, -1)), '-V', version, '-m', version]);
      assert.notEqual(refused.exit, 0);
    }
    await listener.disconnect();
    await broker.stop();
  });

  for (const shards of [1, 2, 4]) describe(`${shards} ${shards === 1 ? 'shard' : 'shards'}`, { concurrency: 1 }, () => testWith(shards));
});

function testWith(shards: number): void {
  let broker: TestBroker;
  before(async () => {
    broker = await startBroker({ shards });
  });
  after(() => broker.stop());

  function publish(version: string, ...args: string[]): Promise<Ended> {
    return runProgram('mosquitto_pub', ['-p', String(broker.port), '-V', version, ...args]);
  }

  async function published(version: string, ...args: string[]): Promise<void> {
    assert.deepEqual(await publish(version, ...args), { exit: 0, stdout: '', stderr: '' });
  }

  /** mosquitto_sub keeps what it prints until it ends when nobody looks at a terminal; stdbuf has it say each line at once. */
  function subscribe(version: string, ...args: string[]): ChildProgram {
    return beginProgram('stdbuf', ['-oL', 'mosquitto_sub', '-p', String(broker.port), '-V', version, ...args]);
  }

  /** A subscriber that is ready. It prints topic, QoS, retain flag and payload. */
  async function beginSubscriber(version: string, ...args: string[]): Promise<ChildProgram> {
    const program = subscribe(version, '-d', '-F', '%t %q%r %p', ...args);
    await program.says(/^Subscribed/);
    return program;
  }

  /** What it received, without what it says about itself. */
  async function messages(program: ChildProgram): Promise<string[]> {
    const { exit, stdout } = await program.ended;
    assert.equal(exit, 0);
    return stdout.split('\n').filter((line) => !/^(Client |Subscribed|$)/.test(line));
  }

  for (const version of versions) {
    describe(version, () => {
      for (const qos of ['0', '1', '2']) {
        test(`QoS ${qos}`, async () => {
          const subscriber = await beginSubscriber(version, '-t', `${version}/${qos}/+`, '-q', qos, '-C', '3');
          await published(version, '-t', `${version}/${qos}/a`, '-m', 'good morning ☀', '-q', qos, '--repeat', '3');
          const line = `${version}/${qos}/a ${qos}0 good morning ☀`;
          assert.deepEqual(await messages(subscriber), [line, line, line]);
        });
      }

      test('retained', async () => {
        await published(version, '-t', `${version}/kept`, '-m', 'kept', '-q', '1', '-r');
        const subscriber = await beginSubscriber(version, '-t', `${version}/kept`, '-q', '1', '-C', '1');
        assert.deepEqual(await messages(subscriber), [`${version}/kept 11 kept`]);
        await published(version, '-t', `${version}/kept`, '-n', '-r', '-q', '1');
      });

      test('will', async () => {
        const watcher = await beginSubscriber(version, '-t', `${version}/will`, '-q', '2', '-C', '1');
        const will = ['--will-topic', `${version}/will`, '--will-payload', 'gone', '--will-qos', '2'];
        const dying = await beginSubscriber(version, '-t', 'nothing', ...will);
        dying.kill('SIGKILL');
        assert.deepEqual(await messages(watcher), [`${version}/will 20 gone`]);
      });

      test('P2P to connected clients', async () => {
        for (const id of targets) {
          const target = await beginSubscriber(version, '-i', id, '-t', `cmd/p2p/${id}`, '-q', '2', '-C', '3');
          for (const qos of ['0', '1', '2']) await published(version, '-t', `cmd/p2p/${id}`, '-m', qos, '-q', qos);
          // Three programs are three publishers, whose messages have no order among them.
          assert.deepEqual(
            (await messages(target)).sort(),
            ['0', '1', '2'].map((qos) => `cmd/p2p/${id} ${qos}0 ${qos}`),
          );
        }
      });

      test('P2P to a session whose client is away, without a subscription that names it', async () => {
        const options = ['-i', `${version}-away`, '-c', '-t', 'anything', '-q', '1', '-C', '1'];
        const before = await beginSubscriber(version, ...options);
        before.kill('SIGTERM');
        await before.ended;
        await published(version, '-t', `cmd/p2p/${version}-away`, '-m', 'later', '-q', '1');
        // What waits in the session may come before SUBACK.
        const back = subscribe(version, '-F', '%t %q%r %p', ...options);
        assert.deepEqual(await messages(back), [`cmd/p2p/${version}-away 10 later`]);
      });
    });
  }

  test("another client's address: refused, and no copy", async () => {
    for (const version of ['mqttv311', 'mqttv5']) {
      const { exit, stderr } = await subscribe(version, '-i', 'spy', '-t', 'cmd/p2p/dev-1').ended;
      assert.deepEqual([exit, stderr], [0, 'All subscription requests were denied.\n']);
    }
    // MQTT 3.1 has no way to refuse a subscription, so it leads to nothing.
    const spy = await beginSubscriber('mqttv31', '-i', 'spy', '-t', 'cmd/p2p/dev-1', '-t', 'end', '-C', '1');
    const target = await beginSubscriber('mqttv5', '-i', 'dev-1', '-t', 'cmd/p2p/dev-1', '-q', '1', '-C', '1');
    await published('mqttv5', '-t', 'cmd/p2p/dev-1', '-m', 'secret', '-q', '1');
    assert.deepEqual(await messages(target), ['cmd/p2p/dev-1 10 secret']);
    await published('mqttv5', '-t', 'end', '-m', 'end', '-q', '1');
    assert.deepEqual(await messages(spy), ['end 00 end']);
  });

  test('MQTT 5: User Properties for the broker stay with it, others travel', async () => {
    const target = subscribe('mqttv5', '-d', '-i', 'dev-1', '-t', 'cmd/p2p/dev-1', '-q', '1', '-C', '1', '-F', 'properties: %P');
    await target.says(/^Subscribed/);
    const properties = ['-D', 'publish', 'user-property', 'p2p-report', '1', '-D', 'publish', 'user-property', 'colour', 'red'];
    const { exit, stdout } = await publish('mqttv5', '-t', 'cmd/p2p/dev-1', '-m', 'x', '-q', '1', '-d', ...properties);
    assert.equal(exit, 0);
    assert.match(stdout, /received PUBACK \(Mid: 1, RC:0\)/);
    assert.deepEqual(await messages(target), ['properties: colour:red']);
  });

  test('MQTT 5: the target as a User Property', async () => {
    const target = await beginSubscriber('mqttv5', '-i', 'dev-1', '-t', 'cmd/p2p/dev-1', '-q', '1', '-C', '1');
    await published('mqttv5', '-t', 'cmd/p2p/', '-m', 'x', '-q', '1', '-D', 'publish', 'user-property', 'p2p-target', 'dev-1');
    assert.deepEqual(await messages(target), ['cmd/p2p/ 10 x']);
  });

  test('MQTT 5: the sender learns that there is no such client, or no target at all', async () => {
    const nobody = await publish('mqttv5', '-t', 'cmd/p2p/nobody', '-m', 'x', '-q', '1', '-d');
    assert.match(nobody.stdout, /received PUBACK \(Mid: 1, RC:16\)/);
    const noTarget = await publish('mqttv5', '-t', 'cmd/p2p/', '-m', 'x', '-q', '1');
    assert.equal(
      noTarget.stderr,
      'Warning: Publish 1 failed: Topic Name invalid.\ntoo many topic levels, or a P2P address without a target\n',
    );
  });
}
