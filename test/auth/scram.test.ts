/*
 * Goal: SCRAM-SHA-256 is what RFC 7677 says; what a client may write wrong is refused; names cannot be learnt; what the file says now counts.
 * Method: the example of the RFC against both halves; the authenticator alone, driven by the tests' own client.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { checkProof, prepared, readClientFinal, readClientFirst, verifierOf, verifierProblem } from '../../src/auth/scram.ts';
import { ScramAuthenticator } from '../../src/auth/scram-authenticator.ts';
import type { User } from '../../src/auth/user.ts';
import { ScramClient } from '../support/scram-client.ts';

const PASSWORD = 'pencil';
/** RFC 7677, section 3. */
const RFC = {
  first: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
  challenge: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  final: 'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  signature: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
};
const SALT = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
const bytes = (text: string): Buffer => Buffer.from(text);

function userOf(username: string, more: Partial<User> = {}): User {
  const scramSha256 = verifierOf(PASSWORD, 4096, SALT)!;
  return { username, password: '', scramSha256, attributes: {}, isSuperuser: false, remark: '', ...more };
}

function listOf(...users: User[]): Map<string, User> {
  return new Map(users.map((user) => [user.username, user]));
}

describe('SCRAM-SHA-256', () => {
  test('the example of the RFC, on both sides', () => {
    const verifier = verifierOf(PASSWORD, 4096, SALT)!;
    const first = readClientFirst(bytes(RFC.first));
    const final = readClientFinal(bytes(RFC.final));
    assert.ok(typeof first !== 'string' && typeof final !== 'string');
    assert.deepEqual([first.username, first.nonce, final.header], ['user', 'rOprNGfwEbeRWgbNEkqO', 'n,,']);
    const authMessage = `${first.bare},${RFC.challenge},${final.withoutProof}`;
    assert.equal(Buffer.from(checkProof(verifier, authMessage, final.proof)!).toString(), RFC.signature);
    const client = new ScramClient('user', PASSWORD, { nonce: 'rOprNGfwEbeRWgbNEkqO' });
    assert.equal(Buffer.from(client.first()).toString(), RFC.first);
    assert.equal(Buffer.from(client.answer(bytes(RFC.challenge))).toString(), RFC.final);
    assert.ok(client.isServer(bytes(RFC.signature)));
    for (let bit = 0; bit < 256; bit += 7) {
      const wrong: Buffer = Buffer.from(final.proof);
      wrong[bit >> 3]! ^= 1 << (bit & 7);
      assert.equal(checkProof(verifier, authMessage, wrong), null);
    }
    assert.equal(checkProof(verifier, authMessage, final.proof.subarray(0, 31)), null);
    assert.equal(checkProof(verifier, authMessage, Buffer.concat([final.proof, Buffer.alloc(1)])), null);
  });

  test('first messages: names as they are written, and what is refused', () => {
    const nameOf = (text: string): string => {
      const first = readClientFirst(bytes(text));
      return typeof first === 'string' ? first : first.username;
    };
    assert.equal(nameOf('y,,n=pump,r=x'), 'pump');
    assert.equal(nameOf('n,a=other,n=pump,r=x'), 'pump');
    assert.equal(nameOf('n,,n=a=2Cb=3Dc,r=x'), 'a,b=c');
    assert.equal(nameOf('n,,n=I\u00adX,r=x'), 'IX', 'SASLprep');
    assert.equal(nameOf('n,,n=\u00aa,r=x,ext=1'), 'a');
    assert.match(nameOf('p=tls-unique,,n=pump,r=x'), /channel binding/);
    for (const wrong of [
      '',
      'n',
      'n,,',
      'n,,n=pump',
      'n,,n=pump,r=',
      'n,,n=pump,r=a b',
      'z,,n=pump,r=x',
      'n,b=c,n=pump,r=x',
      'n,,m=1,n=pump,r=x',
    ])
      assert.match(nameOf(wrong), /^has /, wrong);
    for (const wrong of ['n,,n=,r=x', 'n,,n=a=b,r=x', 'n,,n=a=2c,r=x', 'n,,n=\u0007,r=x', 'n,a==,n=pump,r=x', 'n,,n=\u0627\u0031,r=x'])
      assert.match(nameOf(wrong), /cannot be/, wrong);
    assert.equal(readClientFirst(Buffer.from([0x6e, 0x2c, 0x2c, 0xff])), 'is no text');
    assert.equal(readClientFirst(bytes(`n,,n=pump,r=${'x'.repeat(3000)}`)), 'is no text');
  });

  test('last messages that are refused', () => {
    for (const wrong of ['', 'c=biws', 'c=biws,p=AA==', 'c=biws,r=x', 'c=biws,r=x,p', 'r=x,c=biws,p=AA=='])
      assert.match(String(readClientFinal(bytes(wrong))), /no proof/, wrong);
    for (const wrong of ['c=?,r=x,p=AA==', 'c=biws,r=x,p=A', 'c=biws,r=x,p=AA=A'])
      assert.match(String(readClientFinal(bytes(wrong))), /Base64/, wrong);
  });

  test('verifiers', () => {
    const verifier = verifierOf(PASSWORD)!;
    assert.equal(verifierProblem(verifier), null);
    assert.ok(verifier.iterations >= 15_000);
    assert.notEqual(verifierOf(PASSWORD, 4096)!.salt, verifierOf(PASSWORD, 4096)!.salt);
    assert.deepEqual(verifierOf('I\u00adX', 4096, SALT), verifierOf('IX', 4096, SALT));
    assert.equal(verifierOf('\u0007'), null);
    assert.equal(prepared('\ufffd'), null);
    for (const wrong of [
      { iterations: 4095 },
      { iterations: 4096.5 },
      { iterations: 1e9 },
      { salt: '' },
      { salt: '?' },
      { storedKey: 'AAAA' },
      { serverKey: '' },
    ])
      assert.notEqual(verifierProblem({ ...verifier, ...wrong }), null, JSON.stringify(wrong));
  });
});

/** What an exchange leads to: the name that was proved, or why not. */
function outcome(scram: ScramAuthenticator, client: ScramClient, between: () => void = () => {}): string {
  const exchange = scram.open();
  const challenge = exchange.step(client.first());
  if (challenge.effect !== 'continue') return challenge.effect === 'deny' ? challenge.cause : 'allowed at once';
  between();
  const step = exchange.step(client.answer(challenge.data));
  if (step.effect === 'deny') return step.cause;
  assert.ok(step.effect === 'allow' && client.isServer(step.data));
  return `${step.identity.username}, superuser ${step.identity.isSuperuser}`;
}

describe('the authenticator', () => {
  test('right and wrong passwords, and who is spoken for', () => {
    const scram = new ScramAuthenticator(listOf(userOf('pump', { isSuperuser: true }), userOf('a,b=c')));
    assert.equal(outcome(scram, new ScramClient('pump', PASSWORD)), 'pump, superuser true');
    assert.equal(outcome(scram, new ScramClient('a,b=c', PASSWORD)), 'a,b=c, superuser false');
    assert.equal(outcome(scram, new ScramClient('pump', PASSWORD, { header: 'y,a=pump,' })), 'pump, superuser true');
    assert.match(outcome(scram, new ScramClient('pump', PASSWORD, { header: 'n,a=valve,' })), /somebody else/);
    assert.match(outcome(scram, new ScramClient('pump', 'pencils')), /wrong password of "pump"/);
    assert.match(outcome(scram, new ScramClient('nobody', PASSWORD)), /no user/);
  });

  test('the header and the nonce of the last message are those of the exchange; a message too many is none', () => {
    const scram = new ScramAuthenticator(listOf(userOf('pump')));
    for (const change of [
      (text: string) => text.replace('c=biws', 'c=eSws'),
      (text: string) => text.replace(',r=', ',r=x'),
      (text: string) => text,
    ]) {
      const client = new ScramClient('pump', PASSWORD);
      const exchange = scram.open();
      const challenge = exchange.step(client.first());
      assert.ok(challenge.effect === 'continue');
      const final = Buffer.from(client.answer(challenge.data)).toString();
      const step = exchange.step(bytes(change(final)));
      assert.equal(step.effect, change(final) === final ? 'allow' : 'deny');
    }
    assert.match(
      outcome(scram, new ScramClient('pump', PASSWORD, { header: 'y,,', lastHeader: 'n,,' })),
      /not of this exchange/,
      'with a proof that is right',
    );
    assert.equal(scram.open().step(null).effect, 'deny');
  });

  test('a name that nobody has is asked the same each time, and looks like any other', () => {
    const scram = new ScramAuthenticator(
      listOf(userOf('pump'), userOf('valve'), userOf('old', { scramSha256: verifierOf(PASSWORD, 5000)! })),
    );
    const asked = (of: ScramAuthenticator, name: string): [string, number] => {
      const client = new ScramClient(name, PASSWORD);
      outcome(of, client);
      return [client.salt, client.iterations];
    };
    const [salt, iterations] = asked(scram, 'nobody');
    assert.deepEqual(asked(scram, 'nobody'), [salt, iterations]);
    assert.equal(iterations, 4096, 'as most users');
    assert.equal(Buffer.from(salt, 'base64').length, 16);
    assert.notEqual(asked(scram, 'nobody2')[0], salt);
    assert.notEqual(asked(new ScramAuthenticator(listOf(userOf('pump'))), 'nobody')[0], salt, 'the secret is of this process');
    scram.replace(listOf(userOf('pump')));
    assert.equal(asked(scram, 'nobody')[0], salt);
    assert.equal(asked(new ScramAuthenticator(listOf()), 'nobody')[1], verifierOf('x')!.iterations);
  });

  test('what the file says at the end counts', () => {
    const scram = new ScramAuthenticator(listOf(userOf('pump', { isSuperuser: true }), userOf('valve')));
    const client = (): ScramClient => new ScramClient('pump', PASSWORD);
    assert.equal(
      outcome(scram, client(), () => assert.deepEqual(scram.replace(listOf(userOf('pump'), userOf('valve'))), ['pump'])),
      'pump, superuser false',
    );
    assert.match(
      outcome(scram, client(), () => assert.deepEqual(scram.replace(listOf(userOf('valve'))), ['pump'])),
      /wrong/,
    );
    scram.replace(listOf(userOf('pump')));
    const other = userOf('pump', { scramSha256: verifierOf('pencil', 4096)! });
    assert.match(
      outcome(scram, client(), () => assert.deepEqual(scram.replace(listOf(other)), ['pump'])),
      /wrong/,
    );
    assert.deepEqual(scram.replace(listOf({ ...other, remark: 'hall 2' })), []);
    assert.deepEqual(scram.replace(listOf({ ...other, scramSha256: undefined })), ['pump'], 'without a verifier nobody can log in');
  });

  test('names that are one name to SCRAM', () => {
    assert.throws(() => new ScramAuthenticator(listOf(userOf('IX'), userOf('I\u00adX'))), /the same to SCRAM/);
    const scram = new ScramAuthenticator(listOf(userOf('I\u00adX')));
    assert.equal(outcome(scram, new ScramClient('IX', PASSWORD)), 'I\u00adX, superuser false', 'the name of the file');
    assert.throws(() => scram.replace(listOf(userOf('IX'), userOf('I\u00adX'))), /the same/);
    assert.equal(outcome(scram, new ScramClient('IX', PASSWORD)), 'I\u00adX, superuser false', 'nothing has changed');
  });
});
