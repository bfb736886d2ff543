/*
 * Goal: the chain. The first authenticator that says yes or no decides; one that fails is passed over and said so; one that is busy sends the client away; what
 * failed is counted, what showed nothing is not.
 * Method: authenticators that answer what the test says.
 */
import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import test, { describe } from 'node:test';
import { type Authenticator, deny, type Finding, ignore } from '../../src/auth/authenticator.ts';
import { Chain, chainEntry } from '../../src/auth/chain.ts';
import { FailedLogins } from '../../src/auth/failed-logins.ts';
import { TooMany } from '../../src/auth/turns.ts';
import { ReasonCode } from '../../src/protocol/reason-code.ts';
import type { Login } from '../../src/shard/login.ts';

const login: Login = { clientId: 'c', username: 'pump', password: Buffer.from('x'), address: '10.0.0.1', certificate: null };
const { signal } = new AbortController();
setMaxListeners(0, signal);
const nothing: Login = { ...login, username: null, password: null };

function allow(name: string): Finding {
  return {
    effect: 'allow',
    identity: { authenticator: name, username: null, attributes: {}, isSuperuser: false, rules: null, expiresAt: 0 },
  };
}

/** A chain of authenticators `0`, `1` …, each with its finding or what it throws. */
function chainOf(findings: readonly (Finding | Error)[], allowAnonymous = false): { chain: Chain; asked: string[]; troubled: string[] } {
  const asked: string[] = [];
  const troubled: string[] = [];
  const authenticators = findings.map(
    (finding, index): Authenticator => ({
      name: `${index}`,
      judge: () => {
        asked.push(`${index}`);
        if (finding instanceof Promise) return finding as Promise<Finding>;
        return finding instanceof Error ? Promise.reject(finding) : Promise.resolve(finding);
      },
    }),
  );
  const failed = new FailedLogins({ windowMilliseconds: 1000, perAddress: 2, perName: 0 });
  return {
    chain: new Chain(authenticators.map(chainEntry), { allowAnonymous }, failed, (name, error) =>
      troubled.push(`${name}: ${error.message}`),
    ),
    asked,
    troubled,
  };
}

describe('chain of authenticators', () => {
  test('the first decisive answer wins', async () => {
    const yes = chainOf([ignore('a'), allow('1'), deny('c')]);
    assert.equal((await yes.chain.judge(login, () => 0, signal)).identity?.authenticator, '1');
    assert.deepEqual(yes.asked, ['0', '1']);
    const no = chainOf([ignore('a'), deny('b'), allow('2')]);
    const verdict = await no.chain.judge(login, () => 0, signal);
    assert.deepEqual([verdict.code, verdict.identity, verdict.cause], [ReasonCode.BadUserNameOrPassword, null, '0: a; 1: b']);
    assert.deepEqual(no.asked, ['0', '1']);
  });

  test('nobody knows the client: refused, or anonymous where it shows nothing and that is allowed', async () => {
    assert.equal((await chainOf([ignore('a')]).chain.judge(login, () => 0, signal)).code, ReasonCode.BadUserNameOrPassword);
    assert.equal((await chainOf([ignore('a')]).chain.judge(nothing, () => 0, signal)).code, ReasonCode.NotAuthorized);
    assert.equal((await chainOf([ignore('a')], true).chain.judge(login, () => 0, signal)).code, ReasonCode.BadUserNameOrPassword);
    assert.equal((await chainOf([ignore('a')], true).chain.judge(nothing, () => 0, signal)).identity?.authenticator, 'anonymous');
    assert.equal(
      (await chainOf([deny('a')], true).chain.judge(nothing, () => 0, signal)).identity,
      null,
      'a no is a no, such as to a certificate',
    );
    assert.equal(
      (await chainOf([deny('a')], true).chain.judge({ ...login, password: null }, () => 0, signal)).code,
      ReasonCode.BadUserNameOrPassword,
    );
  });

  test('one that fails is passed over, one that is busy is not', async () => {
    const broken = chainOf([new Error('no answer'), allow('1')]);
    assert.equal((await broken.chain.judge(login, () => 0, signal)).identity?.authenticator, '1');
    assert.deepEqual(broken.troubled, ['0: no answer']);
    const busy = chainOf([new TooMany(), allow('1')]);
    assert.equal((await busy.chain.judge(login, () => 0, signal)).code, ReasonCode.ServerBusy);
    assert.deepEqual([busy.asked, busy.troubled], [['0'], []]);
  });

  test('who could say does not answer: the client may come again, and has not failed', async () => {
    const { chain, asked } = chainOf([ignore('a'), new Error('no answer')]);
    for (let n = 0; n < 5; n++) assert.equal((await chain.judge(login, () => n, signal)).code, ReasonCode.ServerUnavailable);
    assert.equal(asked.length, 10);
  });

  test('a no with a code of its own is told so, and has not failed', async () => {
    const { chain, asked } = chainOf([deny('a', ReasonCode.NotAuthorized), allow('1')]);
    for (let n = 0; n < 5; n++) assert.equal((await chain.judge(login, () => n, signal)).code, ReasonCode.NotAuthorized);
    assert.equal(asked.length, 5, 'more often than failed logins may be');
  });

  test('who shows a certificate alone shows something: where it cannot be judged the client may come again', async () => {
    const { chain } = chainOf([new Error('no answer')]);
    const certificate = new Uint8Array(1);
    assert.equal((await chain.judge({ ...nothing, certificate }, () => 0, signal)).code, ReasonCode.ServerUnavailable);
    assert.equal((await chain.judge(nothing, () => 0, signal)).code, ReasonCode.NotAuthorized);
  });

  test('a proof that has ended is none', async () => {
    const ended = allow('0') as { identity: object };
    const { chain } = chainOf([{ ...ended, identity: { ...ended.identity, expiresAt: Date.now() - 1 } } as Finding, allow('1')]);
    assert.equal((await chain.judge(login, () => 0, signal)).code, ReasonCode.BadUserNameOrPassword);
  });

  test('many at once get no more tries than one after the other', async () => {
    const { chain, asked } = chainOf([deny('a')]);
    const codes = await Promise.all(Array.from({ length: 50 }, async () => (await chain.judge(login, () => 0, signal)).code));
    assert.equal(asked.length, 2, 'the limit');
    assert.equal(codes.filter((code) => code === ReasonCode.ConnectionRateExceeded).length, 48);
    const right = chainOf([allow('0')]);
    const verdicts = await Promise.all(Array.from({ length: 50 }, () => right.chain.judge(login, () => 0, signal)));
    assert.ok(
      verdicts.every(({ identity }) => identity !== null),
      'a fleet behind one address is let in',
    );
  });

  test('a client that goes waits for nothing', async () => {
    const { chain, asked } = chainOf([new Promise(() => {}) as never, allow('1')]);
    const controller = new AbortController();
    setMaxListeners(0, controller.signal);
    const waiting = Array.from({ length: 5 }, () => chain.judge(login, () => 0, controller.signal));
    controller.abort();
    const ended = await Promise.allSettled(waiting.slice(2));
    assert.ok(ended.every(({ status }) => status === 'rejected'));
    assert.deepEqual(asked, ['0', '0']);
  });

  test('failures are counted, and stop the asking', async () => {
    const { chain, asked } = chainOf([deny('a')]);
    for (let n = 0; n < 5; n++) await chain.judge(nothing, () => 0, signal);
    for (let n = 0; n < 2; n++)
      assert.equal((await chain.judge(login, () => n, signal)).code, n < 2 ? ReasonCode.BadUserNameOrPassword : 0);
    const before = asked.length;
    assert.equal((await chain.judge(login, () => 3, signal)).code, ReasonCode.ConnectionRateExceeded);
    assert.equal(asked.length, before);
    assert.equal((await chain.judge({ ...login, address: '10.0.0.2' }, () => 3, signal)).code, ReasonCode.BadUserNameOrPassword);
  });
});
