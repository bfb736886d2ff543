/**
 * Goal: a client library and a SCRAM library that others wrote log in to the broker, trust it, and prove themselves anew while messages go on.
 * Method: Paho Go and the SCRAM of xdg-go in a process of their own, with one, two and four shards.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { describe } from 'node:test';
import { PasswordPool } from '../../../src/auth/password-pool.ts';
import { verifierOf } from '../../../src/auth/scram.ts';
import { startBroker } from '../../support/broker.ts';
import { storeDirectory } from '../../support/store-directory.ts';
import { ClientProcess, type Library, preparedFolder } from './client-process.ts';

const library: Library = { name: 'Paho Go with SCRAM, MQTT 5', version: 5, command: join(preparedFolder, 'client-scram'), args: [] };
/** A name that SCRAM writes otherwise, and a password that SASLprep changes. */
const USERNAME = 'pump=7, hall 2';
const PASSWORD = 'correct\u00a0horse \u2168';

async function usersFile(): Promise<string> {
  const file = join(storeDirectory(), 'users.json');
  const pool = new PasswordPool({ threads: 1, queueMax: 1 });
  const password = await pool.hash(Buffer.from(PASSWORD));
  await pool.close();
  const users = [USERNAME, 'valve'].map((username) => ({ username, password, scramSha256: verifierOf(PASSWORD) }));
  writeFileSync(file, JSON.stringify({ version: 1, users }));
  return file;
}

describe(library.name, { concurrency: 3 }, () => {
  for (const shards of [1, 2, 4]) {
    test(`${shards} ${shards === 1 ? 'shard' : 'shards'}`, async () => {
      const authenticators = [{ type: 'scram', file: await usersFile() }];
      const broker = await startBroker({ shards, 'auth.authenticators': authenticators });
      const clients = new ClientProcess(library, broker.port);
      try {
        const known = { username: USERNAME, password: PASSWORD };
        for (const clientId of ['a', 'b', 'c']) {
          await assert.rejects(clients.connect({ clientId, ...known, password: 'guess' }), /refused with 0x86/);
          await assert.rejects(clients.connect({ clientId, ...known, username: 'nobody' }), /refused with 0x86/);
          const client = await clients.connect({ clientId, ...known });
          assert.equal(await client.subscribe(clientId, 1), 1);
          for (let round = 0; round < 3; round++) {
            const renewed = client.authenticate(USERNAME, PASSWORD);
            await client.publish(clientId, `${round}`, { qos: 1 });
            assert.equal((await client.next()).payload, `${round}`);
            assert.equal(await renewed, 0);
          }
          assert.equal(await client.authenticate('valve', PASSWORD), 0x87, 'the proof of another user');
        }
      } finally {
        await clients.kill();
        await broker.stop();
      }
    });
  }
});
