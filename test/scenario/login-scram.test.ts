/*
 * Goal: login by SCRAM-SHA-256. Who knows the password is let in and knows that the broker knows it, too, over every transport, wherever its client lives; whoever
 * does not is told what a wrong password is told; guessing is counted; what changes in the file counts at once; a proof can be given anew.
 * Method: real brokers over a file of users that the command line has written; clients with a SCRAM of their own.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import test, { describe } from 'node:test';
import { fileURLToPath } from 'node:url';
import { connackCode, connect, payloadText, Refusal } from '../support/client.ts';
import { TestDoors } from '../support/doors.ts';
import { clientIdOn } from '../support/placement.ts';
import { SCRAM_SHA_256, ScramClient } from '../support/scram-client.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { CounterWatch, stage, WATCHED } from './observe.ts';
import { connectBytes, RawConnection } from './raw-connection.ts';

const program = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const SECRET = 'correct horse battery';

async function user(file: string, args: readonly string[], input: string): Promise<void> {
  const child = spawn(process.execPath, [program, 'user', ...args, '--file', file], { stdio: ['pipe', 'ignore', 'inherit'] });
  child.stdin.end(`${input}\n`);
  assert.deepEqual((await once(child, 'close'))[0], 0);
}

/** A file with two users that have verifiers, and one that has none. */
async function usersFile(): Promise<string> {
  const file = join(storeDirectory(), 'users.json');
  await Promise.all([
    user(file, ['add', 'pump', '--scram'], SECRET),
    user(file, ['add', 'valve', '--scram'], SECRET),
    user(file, ['add', 'plain'], SECRET),
  ]);
  return file;
}

function settings(file: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  const authenticators = [
    { type: 'scram', file },
    { type: 'users', file },
  ];
  return { shards: 2, 'auth.authenticators': authenticators, 'auth.failures.perAddress': 0, ...more };
}

const pump = (password = SECRET): ScramClient => new ScramClient('pump', password);

describe('login by SCRAM', { concurrency: 4 }, () => {
  test('over every transport, on the shard of the connection and on the other: login, refusal, and a new proof', async (t) => {
    const doors = new TestDoors();
    const broker = await stage(t, settings(await usersFile(), { listeners: doors.listeners }));
    for (const place of doors.places(broker.ports)) {
      for (const shard of [0, 1]) {
        const name = `${place.transport}, shard ${shard}`;
        const clientId = clientIdOn(shard, 2);
        assert.equal(await connackCode(place, { clientId, scram: pump('guess') }), 0x86, name);
        assert.equal(await connackCode(place, { clientId, properties: { authenticationMethod: 'SCRAM-SHA-1' } }), 0x8c, name);
        const client = await connect(place, { clientId, scram: pump(), username: 'valve', password: 'not looked at' });
        assert.equal(client.connack.properties.authenticationMethod, 'SCRAM-SHA-256');
        await client.subscribe('t', { qos: 1 });
        for (let n = 0; n < 2; n++) {
          const renewed = client.reauthenticate(pump());
          await client.publish('t', `${n}`, { qos: 1 });
          assert.equal(payloadText(await client.next()), `${n}`);
          await renewed;
        }
        await client.ping();
        const failed = client.reauthenticate(pump('guess'));
        await assert.rejects(failed);
        assert.equal((await client.closed).code, 0x87, name);
      }
    }
    assert.ok(broker.log.some(({ cause }) => cause === 'scram: wrong password of "pump"'));
    assert.ok(!JSON.stringify(broker.log).includes(SECRET));
  });

  test('a name that nobody has, and one without a verifier, are asked as any other and told the same', async (t) => {
    const broker = await stage(t, settings(await usersFile()));
    const asked = new Map<string, [string, number]>();
    for (let round = 0; round < 2; round++) {
      for (const name of ['pump', 'nobody', 'plain']) {
        const scram = new ScramClient(name, 'guess');
        assert.equal(await connackCode(broker.port, { scram }), 0x86);
        assert.deepEqual([scram.salt, scram.iterations], asked.get(name) ?? [scram.salt, scram.iterations]);
        asked.set(name, [scram.salt, scram.iterations]);
      }
    }
    assert.equal(new Set([...asked.values()].map(([, iterations]) => iterations)).size, 1);
    assert.equal(new Set([...asked.values()].map(([salt]) => salt)).size, 3);
    assert.equal(await connackCode(broker.port, { scram: new ScramClient('plain', SECRET) }), 0x86);
    assert.equal(await connackCode(broker.port, { username: 'plain', password: SECRET }), 0, 'the other authenticator knows it');
    assert.equal(await connackCode(broker.port, { username: 'pump', password: SECRET }), 0);
    assert.equal(await connackCode(broker.port, {}), 0x87);
  });

  test('guesses are counted, by address and by name, also those of connected clients', async (t) => {
    const broker = await stage(t, settings(await usersFile(), { 'auth.failures.perAddress': 3, 'auth.failures.perName': 5 }));
    const from = (n: number): { localAddress: string } => ({ localAddress: `127.0.2.${n}` });
    const known = await connect(broker.port, { scram: pump(), ...from(9) });
    for (let n = 0; n < 3; n++) assert.equal(await connackCode(broker.port, { scram: pump('guess'), ...from(1) }), 0x86);
    assert.equal(await connackCode(broker.port, { scram: pump(), ...from(1) }), 0x9f);
    const failed = known.reauthenticate(pump('guess'));
    await assert.rejects(failed);
    for (let n = 0; n < 2; n++) assert.equal(await connackCode(broker.port, { scram: pump('guess'), ...from(2) }), 0x86);
    assert.equal(await connackCode(broker.port, { scram: pump(), ...from(3) }), 0x9f, 'five for the name');
    assert.equal(await connackCode(broker.port, { scram: pump(), ...from(9) }), 0, 'it has come from here before');
    assert.equal(await connackCode(broker.port, { scram: new ScramClient('valve', SECRET), ...from(3) }), 0);
  });

  test('exchanges that stop halfway keep nobody waiting, and leave nothing behind', async (t) => {
    const limits = { 'auth.failures.perName': 2, 'auth.failures.perAddress': 2, shards: 1, 'auth.allowAnonymous': true, ...WATCHED };
    const broker = await stage(t, settings(await usersFile(), limits));
    const watch = await CounterWatch.open(broker.port);
    const properties = { authenticationMethod: SCRAM_SHA_256 };
    const stuck = Array.from({ length: 20 }, (_, n) => {
      const connection = new RawConnection(broker.port);
      connection.send(connectBytes(`stuck${n}`, { properties: { ...properties, authenticationData: pump().first() } }));
      return connection;
    });
    for (const connection of stuck) await connection.receive(1);
    assert.ok(
      stuck.every(({ last }) => last[0] === 0xf0),
      'all have been asked',
    );
    assert.equal(await connackCode(broker.port, { scram: pump() }), 0);
    for (const connection of stuck) await connection.destroy();
    await watch.reaches('logins/waiting', (waiting) => waiting === 0);
  });

  test('a changed file counts at once', async (t) => {
    const file = await usersFile();
    const broker = await stage(t, settings(file));
    const pumps = await Promise.all([0, 1].map((shard) => connect(broker.port, { clientId: clientIdOn(shard, 2), scram: pump() })));
    const valve = await connect(broker.port, { scram: new ScramClient('valve', SECRET) });
    await user(file, ['passwd', 'pump'], 'a newer secret');
    process.kill(broker.pid, 'SIGHUP');
    for (const one of pumps) assert.equal((await one.closed).code, 0x87);
    await valve.reauthenticate(new ScramClient('valve', SECRET));
    assert.equal(await connackCode(broker.port, { scram: pump() }), 0x86);
    const back = await connect(broker.port, { scram: pump('a newer secret') });
    await user(file, ['passwd', 'pump', '--no-scram'], 'a newer secret');
    process.kill(broker.pid, 'SIGHUP');
    assert.equal((await back.closed).code, 0x87);
    assert.equal(await connackCode(broker.port, { scram: pump('a newer secret') }), 0x86);
    await valve.ping();
  });

  test('a client that finds another server than the one that knows its password does not stay', async (t) => {
    const broker = await stage(t, settings(await usersFile()));
    const scram = pump();
    scram.isServer = (final) =>
      !Buffer.from(final ?? [])
        .toString()
        .startsWith('v=');
    await assert.rejects(connect(broker.port, { scram }), (error: Error) => !(error instanceof Refusal));
  });
});
