/*
 * Goal: `onehop apikey`. The key is printed once and is right; what is wrong is one line and changes nothing; commands at the same time lose nothing.
 * Method: the compiled program as child processes over a file of their own.
 */
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import test, { describe } from 'node:test';
import { findApiKey } from '../../src/http/api-key.ts';
import { readApiKeys } from '../../src/server/api-key-commands.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { type Ended, runCommand } from './run-command.ts';

describe('onehop apikey', { concurrency: 2 }, () => {
  test('add, list, remove', async () => {
    const file = join(storeDirectory(), 'api-keys.json');
    const run = (...args: string[]): Promise<Ended> => runCommand(['apikey', ...args], { ONEHOP_HTTP__API_KEYS: file });
    const added = await run('add', 'backup', '--role', 'operator', '--username', 'ann', '--remark', 'nightly', '--for', '2h');
    assert.equal(added.exit, 0, added.stderr);
    assert.match(added.stderr, /^added backup \(operator\) to .*nobody can be told this key again/);
    assert.ok(added.stderr.includes(` to ${file}, which http.apiKeys of the broker must name`), added.stderr);
    const token = added.stdout.trim();
    assert.match(token, /^ohk_backup_[\w-]{43}$/);
    assert.ok(!added.stderr.includes(token));
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const key = findApiKey(readApiKeys(file), token, Date.now())!;
    assert.deepEqual([key.role, key.username, key.remark], ['operator', 'ann', 'nightly']);
    assert.equal(findApiKey(readApiKeys(file), token, Date.now() + 7_200_000), null, 'it ends');
    const json = await run('add', 'plain', '--json', '--file', relative(process.cwd(), file));
    assert.ok(json.stderr.includes(file), 'the whole path');
    const { token: second, ...facts } = JSON.parse(json.stdout) as Record<string, unknown>;
    assert.deepEqual(facts, { id: 'plain', role: 'viewer', username: '', expiresAt: null, remark: '' });
    assert.equal(findApiKey(readApiKeys(file), String(second), Date.now())!.id, 'plain');
    assert.match((await run('list')).stdout, /^NAME +ROLE +USER +UNTIL +REMARK\nbackup +operator +ann +20\S+Z +nightly\nplain +viewer\n$/);
    const listed = await run('list', '--json');
    const rows = listed.stdout.trimEnd().split('\n');
    assert.deepEqual(
      rows.map((line) => (JSON.parse(line) as { id: string }).id),
      ['backup', 'plain'],
    );
    assert.ok(!listed.stdout.includes('hash'));
    assert.deepEqual((await run('remove', 'backup')).stdout, 'removed backup\n');
    assert.deepEqual([...readApiKeys(file).keys()], ['plain']);

    const before = readFileSync(file, 'utf8');
    const cases = [
      [['add', 'plain'], 1, /there is a key plain/],
      [['add', 'Not-Good'], 2, /1 to 32 small letters and digits/],
      [['add', 'a', '--role', 'king'], 2, /Allowed choices are service, viewer, operator, admin/],
      [['add', 'a', '--username', 'a\u0001'], 2, /no control characters/],
      [['add', 'a', '--remark', 'x'.repeat(200)], 2, /at most 128/],
      [['add', 'a', '--for', '1h', '--until', '2126-01-01'], 2, /one of --for and --until/],
      [['add', 'a', '--until', '2020-01-01'], 2, /has passed/],
      [['remove', 'none'], 1, /there is no key none/],
    ] as const;
    const results = await Promise.all(cases.map(([args]) => run(...args)));
    for (const [index, [args, exit, message]] of cases.entries()) {
      assert.deepEqual([results[index]!.exit, results[index]!.stdout], [exit, ''], args.join(' '));
      assert.match(results[index]!.stderr, message);
    }
    assert.equal(readFileSync(file, 'utf8'), before);
  });

  test('commands at the same time lose nothing', async () => {
    const file = join(storeDirectory(), 'api-keys.json');
    const names = Array.from({ length: 6 }, (_, n) => `k${n}`);
    const results = await Promise.all(names.map((name) => runCommand(['apikey', 'add', name, '--file', file])));
    assert.deepEqual(
      results.map(({ exit }) => exit),
      names.map(() => 0),
    );
    assert.deepEqual([...readApiKeys(file).keys()].sort(), names);
  });
});
