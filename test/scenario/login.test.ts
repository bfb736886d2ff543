/*
 * Goal: login. Who shows a good name and password is let in, over every version; who does not is refused with the code that the standard names, and learns nothing
 * else; guessing is slowed by address and by name without locking out whom the name belongs to; what changes in the file counts at once.
 * Method: a real broker of two shards over a file of users that the command line has written.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { describe } from 'node:test';
import { fileURLToPath } from 'node:url';
import { connackCode, connect } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { CounterWatch, stage, WATCHED } from './observe.ts';
import { connectBytes, RawConnection } from './raw-connection.ts';

const program = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const SECRET = 'correct horse battery';
const OTHER_SECRET = 'another secret phrase';

/** Runs `onehop user …`. @param input the password, where one is asked for */
async function user(file: string, args: readonly string[], input = ''): Promise<void> {
  const child = spawn(process.execPath, [program, 'user', ...args, '--file', file], { stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.end(input === '' ? '' : `${input}\n`);
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const [code] = await once(child, 'close');
  assert.equal(code, 0, errors);
}

/** A file with two users. */
async function usersFile(): Promise<string> {
  const file = join(storeDirectory(), 'users.json');
  await user(file, ['add', 'pump'], SECRET);
  await user(file, ['add', 'valve'], OTHER_SECRET);
  return file;
}

function settings(file: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  return { shards: 2, 'auth.authenticators': [{ type: 'users', file }], ...more };
}

describe('login', { concurrency: 4 }, () => {
  test('name and password, in every version and on every shard', async (t) => {
    const broker = await stage(t, settings(await usersFile()));
    for (const version of [3, 4, 5] as const) {
      const v5 = version === 5;
      for (const shard of [0, 1]) {
        const clientId = clientIdOn(shard, 2);
        const who = (username?: string, password?: string): Promise<number> =>
          connackCode(broker.port, {
            clientId,
            version,
            ...(username !== undefined && { username }),
            ...(password !== undefined && { password }),
          });
        assert.equal(await who('pump', SECRET), 0);
        assert.equal(await who('pump', OTHER_SECRET), v5 ? 0x86 : 4, 'the password of somebody else');
        assert.equal(await who('nobody', SECRET), v5 ? 0x86 : 4, 'an unknown name is told the same');
        assert.equal(await who(), v5 ? 0x87 : 5, 'anonymous clients are not let in where it is not written');
        assert.equal(await who('pump', SECRET), 0, 'and again, now remembered');
        assert.equal(await who('pump', `${SECRET} `), v5 ? 0x86 : 4);
      }
    }
    assert.ok(broker.log.some((line) => String(line['cause']).includes('users: wrong password') && line['username'] === 'pump'));
    const text = JSON.stringify(broker.log);
    assert.ok(!text.includes(SECRET) && !text.includes(OTHER_SECRET), 'no password is logged');
  });

  test('what comes behind the CONNECT waits for the verdict', async (t) => {
    const broker = await stage(t, settings(await usersFile()));
    const ear = await connect(broker.port, { username: 'valve', password: OTHER_SECRET });
    await ear.subscribe('early/#', { qos: 1 });
    const connectPacket = (clientId: string, password: string): Uint8Array =>
      connectBytes(clientId, { username: 'pump', password: Buffer.from(password) });
    const publish = (topic: string): Buffer =>
      Buffer.concat([Buffer.from([0x30, topic.length + 4, 0, topic.length]), Buffer.from(topic), Buffer.from([0, 0x21])]);
    for (const shard of [0, 1]) {
      const wrong = new RawConnection(broker.port);
      wrong.send(Buffer.concat([connectPacket(clientIdOn(shard, 2), OTHER_SECRET), publish(`early/wrong${shard}`)]));
      await wrong.closed;
      const right = new RawConnection(broker.port);
      right.send(Buffer.concat([connectPacket(clientIdOn(shard, 2), SECRET), publish(`early/right${shard}`)]));
      assert.equal((await ear.next()).topic, `early/right${shard}`, 'a refused client has published nothing');
      right.socket.destroy();
    }
  });

  test('an address that fails again and again is refused unjudged, others are not', async (t) => {
    const broker = await stage(t, settings(await usersFile(), { 'auth.failures.perAddress': 3 }));
    const wrong = { username: 'pump', password: 'guess' };
    const right = { username: 'pump', password: SECRET };
    for (let n = 0; n < 3; n++) assert.equal(await connackCode(broker.port, { ...wrong, localAddress: '127.0.0.2' }), 0x86);
    assert.equal(await connackCode(broker.port, { ...wrong, localAddress: '127.0.0.2' }), 0x9f);
    assert.equal(await connackCode(broker.port, { ...right, localAddress: '127.0.0.2' }), 0x9f, 'a hit is not told either');
    assert.equal(
      await connackCode(broker.port, { ...right, localAddress: '127.0.0.2', version: 4 }),
      3,
      'before MQTT 5: server unavailable',
    );
    assert.equal(await connackCode(broker.port, { ...right, localAddress: '127.0.0.3' }), 0);
  });

  test('a name under attack is refused to strangers, not to where it has come from before', async (t) => {
    const broker = await stage(t, settings(await usersFile(), { 'auth.failures.perName': 4, 'auth.failures.perAddress': 0 }));
    const right = { username: 'pump', password: SECRET };
    assert.equal(await connackCode(broker.port, { ...right, localAddress: '127.0.0.5' }), 0);
    for (let n = 0; n < 4; n++)
      assert.equal(await connackCode(broker.port, { username: 'pump', password: `${n}`, localAddress: `127.0.1.${n + 1}` }), 0x86);
    assert.equal(await connackCode(broker.port, { ...right, localAddress: '127.0.1.9' }), 0x9f);
    assert.equal(await connackCode(broker.port, { ...right, localAddress: '127.0.0.5' }), 0);
    assert.equal(
      await connackCode(broker.port, { username: 'valve', password: OTHER_SECRET, localAddress: '127.0.1.9' }),
      0,
      'other names are free',
    );
  });

  test('a changed file counts at once: who is gone or has another password is disconnected', async (t) => {
    const file = await usersFile();
    const broker = await stage(t, settings(file));
    const pumps = await Promise.all(
      [0, 1].map((shard) => connect(broker.port, { clientId: clientIdOn(shard, 2), username: 'pump', password: SECRET })),
    );
    const valve = await connect(broker.port, { username: 'valve', password: OTHER_SECRET });
    await user(file, ['passwd', 'pump'], 'a newer secret');
    process.kill(broker.pid, 'SIGHUP');
    for (const pump of pumps) assert.equal((await pump.closed).code, 0x87);
    await valve.ping();
    assert.equal(await connackCode(broker.port, { username: 'pump', password: SECRET }), 0x86);
    assert.equal(await connackCode(broker.port, { username: 'pump', password: 'a newer secret' }), 0);
    writeFileSync(file, '{ "version": 1, "users": [');
    process.kill(broker.pid, 'SIGHUP');
    await broker.line(({ msg }) => String(msg).includes('was not read again'));
    await valve.ping();
    assert.equal(await connackCode(broker.port, { username: 'pump', password: 'a newer secret' }), 0, 'a broken file changes nothing');
  });

  test('anonymous clients, where it is written; a wrong proof is still one', async (t) => {
    const broker = await stage(t, settings(await usersFile(), { 'auth.allowAnonymous': true }));
    assert.equal(await connackCode(broker.port, {}), 0);
    assert.equal(await connackCode(broker.port, { username: 'pump', password: 'guess' }), 0x86);
    assert.equal(await connackCode(broker.port, { username: 'pump', password: SECRET }), 0);
  });

  test('more logins than may wait: busy, at once; connected clients notice nothing; clients that go away leave nothing behind', async (t) => {
    const broker = await stage(
      t,
      settings(await usersFile(), {
        shards: 1,
        'auth.waiting': 4,
        'auth.allowAnonymous': true,
        'auth.failures.perAddress': 0,
        'auth.failures.perName': 0,
        ...WATCHED,
      }),
    );
    const watch = await CounterWatch.open(broker.port);
    const codes = await Promise.all(
      Array.from({ length: 60 }, (_, n) => connackCode(broker.port, { username: 'pump', password: `guess ${n}` })),
    );
    assert.deepEqual([...new Set(codes)].sort(), [0x86, 0x89]);
    assert.ok(codes.filter((code) => code === 0x86).length >= 4);
    for (let n = 0; n < 4; n++) {
      const gone = new RawConnection(broker.port);
      gone.send(connectBytes(`gone${n}`, { username: 'pump', password: Buffer.from(`gone ${n}`) }));
      gone.socket.destroy();
    }
    await watch.reaches('logins/waiting', (waiting) => waiting === 0);
    assert.equal(await connackCode(broker.port, { username: 'pump', password: SECRET }), 0);
  });

  test('names longer than any that could be right are refused unjudged', async (t) => {
    const broker = await stage(t, settings(await usersFile()));
    assert.equal(await connackCode(broker.port, { username: 'x'.repeat(9000), password: SECRET }), 0x86);
    await broker.line(({ cause }) => cause === 'the username is too long');
  });

  test('a file that cannot be used stops the start with one line', async () => {
    const file = join(storeDirectory(), 'missing.json');
    const child = spawn(process.execPath, [
      program,
      'start',
      '--set',
      `auth.authenticators=[{"type":"users","file":"${file}"}]`,
      '--set',
      'store.enabled=false',
      '--set',
      'listeners=[{"type":"tcp","bind":"127.0.0.1:0"}]',
    ]);
    let errors = '';
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString();
    });
    const [code] = await once(child, 'close');
    assert.equal(code, 1);
    assert.match(errors, /^onehop: auth\.authenticators\[0\]: .*missing\.json.*\n$/);
  });
});
