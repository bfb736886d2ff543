/*
 * Goal: `onehop block`. What it writes is what the broker reads; what is wrong is one line and changes nothing.
 * Method: the compiled program as child processes over a file of their own.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { describe } from 'node:test';
import { readBlockFile, writeBlockFile } from '../../src/server/block-file.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { type Ended, runCommand } from './run-command.ts';

describe('onehop block', { concurrency: 2 }, () => {
  test('add, list, remove; rules that have ended go with the next change', async () => {
    const file = join(storeDirectory(), 'blocked.json');
    const run = (...args: string[]): Promise<Ended> => runCommand(['block', ...args], { ONEHOP_BLOCKED_FILE: file });
    const added = await run('add', 'stolen', '--client-id', 'pump-*', '--except', 'pump-1', '--except', 'pump-2', '--remark', 'truck 4');
    assert.deepEqual(added, { exit: 0, stdout: 'added stolen: client-id pump-* except pump-1 except pump-2 (truck 4)\n', stderr: '' });
    assert.equal((await run('add', 'net', '--address', '10.0.0.0/8', '--until', '2126-01-01T00:00:00Z')).exit, 0);
    assert.match((await run('add', 'user', '--username', 'ann', '--for', '2h')).stdout, /^added user: username ann until 20/);
    assert.match((await run('list')).stdout, /^stolen: .*\nnet: address 10\.0\.0\.0\/8 until 2126-01-01T00:00:00\.000Z\nuser: .*\n$/);
    assert.deepEqual(JSON.parse((await run('list', '--json')).stdout), readBlockFile(file));
    writeBlockFile(file, [...readBlockFile(file), { ...readBlockFile(file)[0]!, name: 'over', expiresAt: '2020-01-01T00:00:00Z' }]);
    assert.match((await run('list')).stdout, /over: .* ended 2020/);
    assert.equal((await run('add', 'over', '--client-id', 'x')).exit, 0, 'its name is free');
    assert.equal((await run('remove', 'net')).exit, 0);
    assert.deepEqual(
      readBlockFile(file).map(({ name, include }) => `${name} ${include}`),
      ['stolen pump-*', 'user ann', 'over x'],
    );
    const before = readFileSync(file, 'utf8');
    const cases = [
      [['add', 'stolen', '--client-id', 'x'], 1, /there is a rule stolen/],
      [['add', 'a b', '--client-id', 'x'], 1, /a name has 1 to 64/],
      [['add', 'a'], 2, /one of --client-id, --username and --address/],
      [['add', 'a', '--client-id', 'x', '--address', '::1'], 2, /one of --client-id/],
      [['add', 'a', '--address', '10.0.0.0/99'], 1, /expected addresses or networks/],
      [['add', 'a', '--address', 'host-*'], 1, /expected an address such as/],
      [['add', 'a', '--client-id', 'x', '--for', 'long'], 2, /--for: expected a duration/],
      [['add', 'a', '--client-id', 'x', '--until', '2020-01-01'], 2, /has passed/],
      [['remove', 'none'], 1, /there is no rule none/],
    ] as const;
    const results = await Promise.all(cases.map(([args]) => run(...args)));
    for (const [index, [args, exit, message]] of cases.entries()) {
      const result = results[index]!;
      assert.deepEqual([result.exit, result.stdout], [exit, ''], args.join(' '));
      assert.match(result.stderr, message);
      assert.match(result.stderr, /^onehop: [^\n]*\n$/);
    }
    assert.equal(readFileSync(file, 'utf8'), before);
  });

  test('a file holds so many, and each thing once', () => {
    const file = join(storeDirectory(), 'blocked.json');
    const rules = (count: number, include: (n: number) => string): object[] =>
      Array.from({ length: count }, (_, n) => ({ name: `r${n}`, kind: 'client-id', include: include(n) }));
    for (const [list, message] of [
      [rules(1001, (n) => `c${n}`), /at most 1000 rules/],
      [rules(201, (n) => `c${n}*`), /at most 200 rules may have/],
      [[...rules(1, () => 'a'), ...rules(1, () => 'b')], /r0 is there twice/],
      [[{ name: 'a', kind: 'other', include: 'x' }], /rules\.0\.kind: expected client-id/],
      [[{ name: 'a', kind: 'username', include: '' }], /rules\.0\.include: a pattern has/],
      [[{ name: 'a', kind: 'username', include: 'x', expiresAt: 'soon' }], /expiresAt/],
      [[{ name: 'a', kind: 'username', include: 'x', excludes: Array.from({ length: 17 }, () => 'x') }], /at most 16 exceptions/],
    ] as const) {
      writeFileSync(file, JSON.stringify({ version: 1, rules: list }));
      assert.throws(() => readBlockFile(file), message);
    }
    writeFileSync(file, JSON.stringify({ version: 1, rules: [...rules(800, (n) => `c${n}`)] }));
    assert.equal(readBlockFile(file).length, 800);
  });
});
