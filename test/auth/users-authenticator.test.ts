/*
 * Goal: what the file says when the verdict is given counts, also when it has changed while a password was being checked.
 * Method: real threads; the list is replaced between question and answer.
 */
import assert from 'node:assert/strict';
import test, { after, describe } from 'node:test';
import { PasswordPool } from '../../src/auth/password-pool.ts';
import type { User } from '../../src/auth/user.ts';
import { UsersAuthenticator } from '../../src/auth/users-authenticator.ts';
import type { Login } from '../../src/shard/login.ts';

const pool = new PasswordPool({ threads: 1, queueMax: 100 });
after(() => pool.close());
const { signal } = new AbortController();
const login: Login = { clientId: 'c', username: 'pump', password: Buffer.from('secret'), address: '127.0.0.1', certificate: null };

async function userWith(password: string, more: Partial<User> = {}): Promise<User> {
  return { username: 'pump', password: await pool.hash(Buffer.from(password)), attributes: {}, isSuperuser: false, remark: '', ...more };
}

function listOf(...users: User[]): Map<string, User> {
  return new Map(users.map((user) => [user.username, user]));
}

describe('users, replaced while a login is judged', () => {
  test('rights that were taken away are not given', async () => {
    const before = await userWith('secret', { isSuperuser: true, attributes: { role: 'admin' } });
    const users = new UsersAuthenticator(listOf(before), pool);
    for (const isRemembered of [false, true]) {
      users.replace(listOf(before));
      const asked = users.judge(login, signal);
      assert.deepEqual(users.replace(listOf({ ...before, isSuperuser: false, attributes: {} })), ['pump']);
      const finding = await asked;
      assert.ok(finding.effect === 'allow', String(isRemembered));
      assert.deepEqual([finding.identity.isSuperuser, finding.identity.attributes], [false, {}]);
    }
  });

  test('a password that was changed, a user that was removed', async () => {
    const before = await userWith('secret');
    const after = await userWith('another');
    for (const list of [listOf(after), listOf()]) {
      const users = new UsersAuthenticator(listOf(before), pool);
      const asked = users.judge(login, signal);
      assert.deepEqual(users.replace(list), ['pump']);
      assert.equal((await asked).effect, 'deny');
    }
  });

  test('only what has changed is named', async () => {
    const pump = await userWith('secret');
    const valve = { ...pump, username: 'valve' };
    const users = new UsersAuthenticator(listOf(pump, valve), pool);
    assert.deepEqual(users.replace(listOf({ ...pump, remark: 'hall 2' }, valve)), []);
    assert.deepEqual(users.replace(listOf(pump)), ['valve']);
    assert.equal((await users.judge(login, signal)).effect, 'allow');
  });
});
