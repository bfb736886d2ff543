/*
 * Goal: lists of revoked certificates are read as openssl writes them, count only when the right authority has signed them and they are in time, and what cannot be
 * judged is refused.
 * Method: authorities, certificates and lists of the openssl tool, of every kind of key; damaged and foreign ones.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import test from 'node:test';
import { Revocation } from '../../src/transports/revocation.ts';
import { Authority, type CertificatePair, pem } from '../support/certificates.ts';

const DAY = 86_400_000;

function certificateOf({ chain }: CertificatePair): X509Certificate {
  return new X509Certificate(pem(chain));
}

const keys: Record<string, string[]> = {
  'elliptic curve': ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:secp384r1', '-nodes'],
  RSA: ['-newkey', 'rsa:2048', '-nodes'],
  Ed25519: ['-newkey', 'ed25519', '-nodes'],
};

for (const [kind, newKey] of Object.entries(keys)) {
  test(`who is on the list is refused, others are not (${kind})`, () => {
    const authority = new Authority(`revocation-${kind.replace(' ', '-')}`, null, newKey);
    const good = authority.issue('good');
    const bad = authority.issue('bad');
    const worse = authority.issue('worse');
    const empty = new Revocation([pem(authority.root)], [pem(authority.revoked())]);
    assert.equal(empty.problemOf(certificateOf(bad), Date.now()), null);
    authority.revoke(bad);
    const revocation = new Revocation([pem(authority.root)], [pem(authority.revoke(worse))]);
    assert.equal(revocation.problemOf(certificateOf(good), Date.now()), null);
    for (const one of [bad, worse]) assert.equal(revocation.problemOf(certificateOf(one), Date.now()), 'certificate revoked');
  });
}

test('a list is out of date before its time and after it', () => {
  const authority = new Authority('revocation-time');
  const client = certificateOf(authority.issue('client'));
  const list = pem(authority.revoked('-crldays', '2'));
  const revocation = new Revocation([pem(authority.root)], [list]);
  assert.equal(revocation.problemOf(client, Date.now() + DAY), null);
  for (const days of [-1, 3]) assert.match(revocation.problemOf(client, Date.now() + days * DAY)!, /out of date/);
  // After 2049 times are written in another way.
  const long = new Revocation([pem(authority.root)], [pem(authority.revoked('-crldays', '20000'))]);
  assert.equal(long.problemOf(client, Date.now() + 15_000 * DAY), null);
});

test('without a list of its issuer a certificate is refused; several lists count together', () => {
  const one = new Authority('revocation-one');
  const other = new Authority('revocation-other');
  const roots = [pem(one.root), pem(other.root)];
  const a = one.issue('a');
  const b = other.issue('b');
  const only = new Revocation(roots, [pem(one.revoked())]);
  assert.equal(only.problemOf(certificateOf(a), Date.now()), null);
  assert.match(only.problemOf(certificateOf(b), Date.now())!, /no list/);
  const both = new Revocation(roots, [pem(one.revoked()), pem(other.revoke(b))]);
  assert.equal(both.problemOf(certificateOf(a), Date.now()), null);
  assert.equal(both.problemOf(certificateOf(b), Date.now()), 'certificate revoked');
});

test('the authority in between may be revoked as well', () => {
  const root = new Authority('revocation-root');
  const middle = new Authority('revocation-middle', root);
  const client = certificateOf(middle.issue('client'));
  const roots = [pem(root.root), pem(middle.root)];
  const before = new Revocation(roots, [pem(root.revoked()), pem(middle.revoked())]);
  assert.equal(before.problemOf(client, Date.now()), null);
  assert.match(new Revocation(roots, [pem(middle.revoked())]).problemOf(client, Date.now())!, /no list/);
  const after = new Revocation(roots, [pem(root.revoke({ chain: middle.root, key: '' })), pem(middle.revoked())]);
  assert.equal(after.problemOf(client, Date.now()), 'certificate revoked');
});

test('what is not signed by a certificate of ca, is damaged or not understood is no list', () => {
  const one = new Authority('revocation-signer');
  const other = new Authority('revocation-stranger');
  const list = pem(one.revoke(one.issue('x')));
  assert.throws(() => new Revocation([pem(other.root)], [list]), /no certificate of ca has signed/);
  const bytes = Buffer.from(list.replace(/-----[^-]*-----/g, ''), 'base64');
  const wrapped = (content: Buffer): string => `-----BEGIN X509 CRL-----\n${content.toString('base64')}\n-----END X509 CRL-----\n`;
  assert.ok(new Revocation([pem(one.root)], [wrapped(bytes)]));
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes);
    changed[at]! ^= 1 << (at % 8);
    assert.throws(() => new Revocation([pem(one.root)], [wrapped(changed)]), Error, `byte ${at}`);
    assert.throws(() => new Revocation([pem(one.root)], [wrapped(bytes.subarray(0, at))]), Error, `${at} bytes`);
  }
  assert.throws(() => new Revocation([pem(one.root)], [pem(one.revoked('-crlexts', 'part'))]), /critical extension.*2\.5\.29\.28/);
});

test('a list names a certificate, or one above it, however old the list is', () => {
  const root = new Authority('revocation-above');
  const middle = new Authority('revocation-middle', root);
  const spare = new Authority('revocation-spare', root);
  const revoked = middle.issue('bad');
  const [bad, good, below] = [revoked, middle.issue('good'), spare.issue('below')].map((pair) => certificateOf(pair).raw);
  const roots = [root, middle, spare].map((one) => pem(one.root));
  middle.revoke(revoked);
  root.revoke({ chain: spare.root, key: '' });
  const old = ['-crl_lastupdate', '20200101000000Z', '-crl_nextupdate', '20200102000000Z'];
  const revocation = new Revocation(roots, [pem(root.revoked(...old)), pem(middle.revoked(...old))]);
  assert.deepEqual(
    [bad, good, below].map((der) => revocation.names(der!)),
    [true, false, true],
  );
});
