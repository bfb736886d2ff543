/*
 * Goal: block rules. Whom they name is refused before anybody is asked about a password, in the words of each version, and disconnected when a rule is new; all others notice
 * nothing; a rule ends by itself, and a session that is blocked keeps what waits for it.
 * Method: real brokers of two shards over a file that `onehop block` and the test write.
 */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test, { describe } from 'node:test';
import { runCommand } from '../cli/run-command.ts';
import type { TestBroker } from '../support/broker.ts';
import { type ConnectOptions, connackCode, connect, payloadText, Refusal, type TestClient } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { CounterWatch, stage, WATCHED } from './observe.ts';

function newFile(): string {
  return join(storeDirectory(), 'blocked.json');
}

async function block(file: string, ...args: string[]): Promise<void> {
  const { exit, stderr } = await runCommand(['block', ...args, '--file', file]);
  assert.equal(exit, 0, stderr);
}

/** The broker has read the file again, in all shards. */
async function reload(broker: TestBroker): Promise<void> {
  const before = broker.log.length;
  process.kill(broker.pid, 'SIGHUP');
  await broker.line((line) => broker.log.indexOf(line) >= before && String(line['msg']).startsWith('the file of block rules'));
}

/** Connects as soon as the rule is gone: the shards are told after the supervisor has read the file. */
async function whenLetIn({ port }: TestBroker, options: ConnectOptions): Promise<TestClient> {
  for (let n = 0; n < 200; n++) {
    try {
      return await connect(port, options);
    } catch (error) {
      assert.ok(error instanceof Refusal && error.connack.code === 0x8a, String(error));
    }
  }
  return assert.fail(`${options.clientId} is blocked for ever`);
}

describe('block rules', { concurrency: 4 }, () => {
  test('in every version, by client ID and by username, with exceptions; without authenticators too', async (t) => {
    const file = newFile();
    await block(file, 'add', 'stolen', '--client-id', 'dev-*', '--except', 'dev-good*', '--except', 'dev-?', '--remark', 'truck 4');
    await block(file, 'add', 'mallory', '--username', 'mallory');
    const broker = await stage(t, { shards: 2, 'auth.blocked': file, ...WATCHED });
    for (const version of [3, 4, 5] as const) {
      const banned = version === 5 ? 0x8a : 5;
      for (const shard of [0, 1]) {
        assert.equal(await connackCode(broker.port, { version, clientId: clientIdOn(shard, 2, 'dev', '-bad') }), banned);
        assert.equal(await connackCode(broker.port, { version, clientId: clientIdOn(shard, 2, 'dev-good') }), 0);
        assert.equal(await connackCode(broker.port, { version, clientId: clientIdOn(shard, 2, 'x'), username: 'mallory' }), banned);
        assert.equal(await connackCode(broker.port, { version, clientId: clientIdOn(shard, 2, 'x'), username: 'mallory2' }), 0);
      }
    }
    const line = await broker.line(({ cause }) => cause === 'blocked by the rule stolen');
    assert.deepEqual([line['name'], line['reason']], ['Banned', 0x8a]);
    const watch = await CounterWatch.open(broker.port);
    await watch.reaches('blocked/refused', (count) => count === 12);
    const flood = Array.from({ length: 60 }, (_, n) => connackCode(broker.port, { clientId: `dev-flood${n}` }));
    assert.ok((await Promise.all(flood)).every((code) => code === 0x8a));
    await watch.reaches('blocked/refused', (count) => count === 72);
    const lines = broker.log.filter(({ msg }) => msg === 'connection refused at CONNECT').length;
    await watch.reaches('blocked/log/suppressed', (count) => count === 72 - lines);
  });

  test('an address is not let in at all; others are', async (t) => {
    const file = newFile();
    await block(file, 'add', 'net', '--address', '127.0.7.0/24', '--except', '127.0.7.9');
    await block(file, 'add', 'one', '--address', '127.0.8.1');
    await block(file, 'add', 'some', '--address', '127.0.9.*');
    const broker = await stage(t, { shards: 2, 'auth.blocked': file });
    for (const localAddress of ['127.0.7.1', '127.0.8.1', '127.0.9.30'])
      await assert.rejects(connect(broker.port, { localAddress }), /ended|closed|ECONNRESET/, localAddress);
    for (const localAddress of ['127.0.7.9', '127.0.8.2', '127.0.1.1']) assert.equal(await connackCode(broker.port, { localAddress }), 0);
    await broker.line(({ msg }) => msg === 'connection refused: its address is blocked');
  });

  test('nobody is asked about a blocked client', async (t) => {
    let asked = 0;
    const server = createServer((request, response) => {
      request.resume();
      asked++;
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"result":"allow"}');
    }).listen(0, '127.0.0.1');
    t.after(() => server.close());
    await new Promise((resolve) => server.once('listening', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const file = newFile();
    await block(file, 'add', 'c', '--client-id', 'bad');
    const broker = await stage(t, { shards: 2, 'auth.blocked': file, 'auth.authenticators': [{ type: 'http', url }] });
    assert.equal(await connackCode(broker.port, { clientId: 'bad', username: 'a', password: 'b' }), 0x8a);
    assert.equal(asked, 0);
    assert.equal(await connackCode(broker.port, { clientId: 'good', username: 'a', password: 'b' }), 0);
    assert.equal(asked, 1);
  });

  test('a username that a token has proved is judged, too', async (t) => {
    const file = newFile();
    await block(file, 'add', 'm', '--username', 'mallory');
    const secret = join(storeDirectory(), 'secret');
    writeFileSync(secret, 'x'.repeat(32));
    const part = (json: object): string => Buffer.from(JSON.stringify(json)).toString('base64url');
    const token = (sub: string): string => {
      const signed = `${part({ alg: 'HS256' })}.${part({ sub })}`;
      return `${signed}.${createHmac('sha256', 'x'.repeat(32)).update(signed).digest('base64url')}`;
    };
    const authenticator = { type: 'jwt', algorithms: ['HS256'], secret, usernameClaim: 'sub' };
    const broker = await stage(t, { shards: 2, 'auth.blocked': file, 'auth.authenticators': [authenticator] });
    for (const shard of [0, 1]) {
      const clientId = clientIdOn(shard, 2);
      assert.equal(await connackCode(broker.port, { clientId, username: 'ann', password: token('mallory') }), 0x8a);
      assert.equal(await connackCode(broker.port, { clientId, username: 'ann', password: token('ann') }), 0);
    }
  });

  test('a new rule ends connections at once, its end lets them in again; what waits stays', async (t) => {
    const file = newFile();
    const broker = await stage(t, { shards: 2, 'auth.blocked': file, ...WATCHED });
    await broker.line(({ msg }) => String(msg).startsWith('there is no file of block rules'));
    const session = { properties: { sessionExpiryInterval: 600 } };
    const names = [0, 1].map((shard) => clientIdOn(shard, 2, 'dev'));
    const devices = await Promise.all(names.map((clientId) => connect(broker.port, { clientId, ...session })));
    const old = await connect(broker.port, { clientId: 'dev-old', version: 4 });
    const named = await connect(broker.port, { clientId: 'x', username: 'mallory' });
    const other = await connect(broker.port, { clientId: 'other' });
    const watch = await CounterWatch.open(broker.port);
    for (const device of devices) await device.subscribe('down', { qos: 1 });
    await block(file, 'add', 'devices', '--client-id', 'dev*');
    await block(file, 'add', 'mallory', '--username', 'mal*');
    await reload(broker);
    // Administrative action: DISCONNECT does not know Banned.
    for (const client of [...devices, named]) assert.equal((await client.closed).code, 0x98);
    await old.closed;
    await other.ping();
    await watch.reaches('blocked/disconnected', (count) => count === 4);
    for (const clientId of names) assert.equal(await connackCode(broker.port, { clientId, cleanStart: false, ...session }), 0x8a);
    await other.publish('down', 'kept', { qos: 1 });
    await block(file, 'remove', 'devices');
    await reload(broker);
    for (const clientId of names) {
      const back = await whenLetIn(broker, { clientId, cleanStart: false, ...session });
      assert.equal(payloadText(await back.next()), 'kept');
    }
    writeFileSync(file, '{ "version": 1, "rules": [{ "name": "x" }] }');
    await reload(broker);
    assert.equal(await connackCode(broker.port, { username: 'mallory' }), 0x8a, 'a broken file changes nothing');
  });

  test('a rule that has ended holds for nobody', async (t) => {
    const file = newFile();
    const rule = (name: string, expiresAt: string): object => ({ name, kind: 'client-id', include: name, expiresAt });
    writeFileSync(
      file,
      JSON.stringify({ version: 1, rules: [rule('past', '2020-01-01T00:00:00Z'), rule('future', '2126-01-01T00:00:00+02:00')] }),
    );
    const broker = await stage(t, { shards: 2, 'auth.blocked': file });
    assert.equal(await connackCode(broker.port, { clientId: 'past' }), 0);
    assert.equal(await connackCode(broker.port, { clientId: 'future' }), 0x8a);
  });
});
