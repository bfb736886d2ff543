/*
 * Goal: `onehop user`. What it writes is what the broker reads; commands at the same time lose nothing; no password is in the file, in the output, or on a command line.
 * Method: the compiled program as child processes over files of their own.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { describe } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { PasswordPool } from '../../src/auth/password-pool.ts';
import { type ScramVerifier, verifierOf } from '../../src/auth/scram.ts';
import { TooMany } from '../../src/auth/turns.ts';
import { readUserFile } from '../../src/server/user-file.ts';
import { storeDirectory } from '../support/store-directory.ts';

const program = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const SECRET = 'correct horse battery';

interface Result {
  readonly code: number;
  readonly out: string;
  readonly errors: string;
}

async function user(args: readonly string[], input = '', env: Record<string, string> = {}): Promise<Result> {
  const child = spawn(process.execPath, [program, 'user', ...args], { env: { ...process.env, ...env } });
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  let [out, errors] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const [code] = await once(child, 'close');
  return { code: code as number, out, errors };
}

function newFile(): string {
  return join(storeDirectory(), 'users.json');
}

async function verifies(file: string, name: string, password: string): Promise<boolean> {
  const pool = new PasswordPool({ threads: 1, queueMax: 10 });
  try {
    return await pool.verify(readUserFile(file).get(name)!.password, Buffer.from(password));
  } finally {
    await pool.close();
  }
}

describe('onehop user', { concurrency: 2 }, () => {
  test('add, list, passwd, remove', async () => {
    const file = newFile();
    const added = await user(['add', 'pump', '--file', file, '--attribute', 'group=a', '--remark', 'hall 2'], `${SECRET}\nignored\n`);
    assert.deepEqual([added.code, added.errors], [0, '']);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const text = readFileSync(file, 'utf8');
    assert.ok(!text.includes(SECRET) && text.includes('$argon2id$v=19$m=19456,t=2,p=1$'));
    assert.ok(await verifies(file, 'pump', SECRET));
    assert.ok(!(await verifies(file, 'pump', `${SECRET}\n`)));
    const again = await user(['add', 'pump', '--file', file], 'x\n');
    assert.deepEqual([again.code, again.out], [1, '']);
    assert.match(again.errors, /^onehop: there is a user pump in .*: onehop user passwd pump\n$/);
    const env = { ONEHOP_USERS_FILE: file };
    assert.equal((await user(['list'], '', env)).out, 'pump group=a (hall 2)\n');
    const json = await user(['list', '--json'], '', env);
    assert.deepEqual(JSON.parse(json.out), [
      { username: 'pump', attributes: { group: 'a' }, isSuperuser: false, remark: 'hall 2', scram: false },
    ]);
    assert.equal((await user(['passwd', 'pump', '--file', file], 'new one\n')).code, 0);
    assert.ok(await verifies(file, 'pump', 'new one'));
    assert.equal(readUserFile(file).get('pump')!.remark, 'hall 2', 'only the password is another one');
    assert.equal((await user(['remove', 'pump', '--file', file])).code, 0);
    assert.equal(readUserFile(file).size, 0);
    assert.equal((await user(['remove', 'pump', '--file', file])).code, 1);
    assert.equal((await user(['passwd', 'pump', '--file', file], 'x\n')).code, 1);
  });

  test('a made password is printed once, and is right', async () => {
    const file = newFile();
    const { out } = await user(['add', 'pump', '--generate', '--superuser', '--file', file]);
    const password = /^password: (\w{24})$/m.exec(out)![1]!;
    assert.ok(await verifies(file, 'pump', password));
    assert.equal(readUserFile(file).get('pump')!.isSuperuser, true);
  });

  test('--scram: a verifier beside the hash, as long as it is wanted', async () => {
    const file = newFile();
    const verifier = (): ScramVerifier | undefined => readUserFile(file).get('pump')!.scramSha256;
    const isOf = (password: string): boolean => {
      const { salt, iterations } = verifier()!;
      return isDeepStrictEqual(verifierOf(password, iterations, Buffer.from(salt, 'base64')), verifier());
    };
    const passwd = async (password: string, ...args: string[]): Promise<void> => {
      assert.equal((await user(['passwd', 'pump', '--file', file, ...args], `${password}\n`)).code, 0);
      assert.ok(await verifies(file, 'pump', password));
    };
    assert.equal((await user(['add', 'pump', '--scram', '--file', file], `${SECRET}\n`)).code, 0);
    assert.ok(isOf(SECRET) && (await verifies(file, 'pump', SECRET)));
    assert.ok(!readFileSync(file, 'utf8').includes(SECRET));
    assert.equal((await user(['list', '--file', file])).out, 'pump scram\n');
    const json = (await user(['list', '--json', '--file', file])).out;
    assert.deepEqual(JSON.parse(json), [{ username: 'pump', attributes: {}, isSuperuser: false, remark: '', scram: true }]);
    await passwd('second');
    assert.ok(isOf('second'), 'who has one gets a new one');
    await passwd('third', '--no-scram');
    assert.equal(verifier(), undefined);
    await passwd('fourth');
    assert.equal(verifier(), undefined);
    await passwd('fifth', '--scram');
    assert.ok(isOf('fifth'));
    const before = readFileSync(file, 'utf8');
    for (const args of [
      ['passwd', 'pump'],
      ['add', 'valve', '--scram'],
    ]) {
      const { code, errors } = await user([...args, '--file', file], 'bell\u0007\n');
      assert.deepEqual([code, errors], [2, 'onehop: SCRAM cannot express this password (RFC 4013)\n']);
    }
    const { errors } = await user(['add', '\u0627\u0031', '--scram', '--file', file], 'x\n');
    assert.match(errors, /^onehop: SCRAM cannot express this username/);
    assert.equal(readFileSync(file, 'utf8'), before);
  });

  test('commands at the same time lose nothing', async () => {
    const file = newFile();
    const names = Array.from({ length: 8 }, (_, n) => `user${n}`);
    const results = await Promise.all(names.map((name) => user(['add', name, '--file', file], 'secret\n')));
    assert.deepEqual(
      results.map(({ code, errors }) => `${code}${errors}`),
      names.map(() => '0'),
    );
    assert.deepEqual([...readUserFile(file).keys()].sort(), names);
  });

  test('a disk that takes only a part leaves the old file as it was', async () => {
    const file = newFile();
    for (let n = 0; n < 4; n++) assert.equal((await user(['add', `user${n}`, '--file', file], 'x\n')).code, 0);
    const before = readFileSync(file, 'utf8');
    const full = spawn('bash', ['-c', `ulimit -f 1; exec "${process.execPath}" "${program}" user add user4 --file "${file}"`]);
    full.stdin.end('x\n');
    const [code] = await once(full, 'close');
    assert.notEqual(code, 0);
    assert.equal(readFileSync(file, 'utf8'), before);
    assert.equal((await user(['add', 'user4', '--file', file], 'x\n')).code, 0);
  });

  test('what cannot be is one line', async () => {
    const file = newFile();
    for (const [args, input, message] of [
      [['add', 'a\u0007b'], 'x\n', /control characters/],
      [['add', 'pump'], '', /no password/],
      [['add', 'pump'], '\n', /1 to 1024 bytes/],
      [['add', 'pump'], `${'x'.repeat(1025)}\n`, /1 to 1024 bytes/],
      [['add', 'pump', '--attribute', 'group'], 'x\n', /expected name=value/],
      [['list'], '', /no such file; make it with: onehop user add/],
    ] as const) {
      const result = await user([...args, '--file', file], input);
      assert.notEqual(result.code, 0);
      assert.match(result.errors, message);
      assert.match(result.errors, /^onehop: [^\n]*\n$/);
    }
  });
});

describe('the file of users', () => {
  test('what is wrong with it is said in one line, without what may be a password', () => {
    const file = newFile();
    const hash = '$argon2id$v=19$m=19456,t=2,p=1$MTIzNDU2Nzg5MGFiY2RlZg$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
    const verifier = verifierOf('x', 4096)!;
    const cases: readonly [unknown, RegExp][] = [
      [{ version: 2, users: [] }, /version/],
      [{ version: 1 }, /users/],
      [{ version: 1, users: [{ username: 'a', password: 'hunter2' }] }, /users\.0\.password: the password is no argon2id hash/],
      [{ version: 1, users: [{ username: 'a', password: hash.replace('argon2id', 'argon2i') }] }, /is no argon2id hash/],
      [{ version: 1, users: [{ username: 'a', password: hash.replace('19456', '9999999') }] }, /costs too much/],
      [{ version: 1, users: [{ username: 'a', password: hash.replace('t=2', 't=0') }] }, /does not know/],
      [{ version: 1, users: [{ username: '', password: hash }] }, /1 to 128/],
      [
        {
          version: 1,
          users: [
            { username: 'a', password: hash },
            { username: 'a', password: hash },
          ],
        },
        /"a" is there twice/,
      ],
      [{ version: 1, users: [{ username: 'a', password: hash, admin: true }] }, /admin/],
      [
        { version: 1, users: [{ username: 'a', password: hash, scramSha256: { ...verifier, iterations: 10 } }] },
        /scramSha256: the verifier needs 4096 to/,
      ],
      [
        { version: 1, users: [{ username: 'a', password: hash, scramSha256: { ...verifier, storedKey: 'hunter2' } }] },
        /needs keys of 32 bytes/,
      ],
      [{ version: 1, users: [{ username: 'a', password: hash, scramSha256: 'hunter2' }] }, /scramSha256/],
    ];
    for (const [content, message] of cases) {
      writeFileSync(file, JSON.stringify(content));
      assert.throws(
        () => readUserFile(file),
        (error: Error) => message.test(error.message) && !error.message.includes('hunter2') && !error.message.includes('\n'),
        JSON.stringify(content),
      );
    }
    writeFileSync(file, 'no JSON');
    assert.throws(() => readUserFile(file), /this is no JSON/);
  });
});

describe('threads for passwords', () => {
  test('a hash of another implementation; a full queue; the end', async () => {
    const pool = new PasswordPool({ threads: 1, queueMax: 2 });
    // echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32 -e, of the reference implementation's own tests.
    const foreign = '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc';
    assert.equal(await pool.verify(foreign, Buffer.from('password')), true);
    assert.equal(await pool.verify(foreign, Buffer.from('differentpassword')), false);
    await pool.verifyNobody(Buffer.from('anything'));
    const hash = await pool.hash(Buffer.from('x'));
    assert.notEqual(hash, await pool.hash(Buffer.from('x')), 'a salt of its own each time');
    const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => pool.verify(hash, Buffer.from('x'))));
    const refused = outcomes.filter((one) => one.status === 'rejected');
    assert.ok(refused.length >= 7 && refused.every(({ reason }) => reason instanceof TooMany));
    assert.ok(outcomes.length - refused.length >= 2);
    await pool.close();
  });
});
