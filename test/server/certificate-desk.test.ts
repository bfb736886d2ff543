/*
 * Goal: certificates that come for the first time. A storm of them is a few writes, none is let in before it is on disk, the bounds hold, and what commands write at the
 * same time is neither lost nor overridden.
 * Method: the desk over a file of the test; one real certificate under as many fingerprints and serial numbers as there are devices.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import test, { describe, type TestContext } from 'node:test';
import { type CertificateFacts, readFacts } from '../../src/auth/certificate-facts.ts';
import type { CaRecord, RegistryEntry, Rejection } from '../../src/auth/certificate-registry.ts';
import { createLog } from '../../src/base/log.ts';
import type { CertificateSettings } from '../../src/base/settings.ts';
import { CertificateDesk } from '../../src/server/certificate-desk.ts';
import { CertificateFile } from '../../src/server/certificate-file.ts';
import { COUNTERS, type CounterName } from '../../src/shard/counters.ts';
import { Authority, pem } from '../support/certificates.ts';
import { storeDirectory } from '../support/store-directory.ts';

const fleet = new Authority('desk-fleet');
const model = readFacts(pem(fleet.issue('model').chain))!;
const root = readFacts(pem(fleet.root))!;

function facts(n: number): CertificateFacts {
  return { ...model, fingerprint: n.toString(16).padStart(64, '0'), serial: `A${n.toString(16).toUpperCase()}` };
}

const ca: CaRecord = {
  fingerprint: root.fingerprint,
  serial: root.serial,
  commonName: 'desk-fleet',
  issuerCommonName: 'desk-fleet',
  pem: pem(fleet.root),
  status: 'ACTIVE',
  autoRegister: true,
  autoActivate: true,
  createdAt: 0,
  updatedAt: 0,
  notBefore: root.notBefore,
  notAfter: root.notAfter,
};

interface Scene {
  readonly desk: CertificateDesk;
  readonly path: string;
  readonly events: { readonly name: string; readonly facts: Record<string, unknown> }[];
  readonly ended: string[];
  count(name: CounterName): number;
  /** What a command does meanwhile. */
  command(...entries: RegistryEntry[]): void;
}

function scene(t: TestContext, more: Partial<CertificateSettings> = {}, authority: Partial<CaRecord> = {}): Scene {
  const path = join(storeDirectory(), 'certificates.jsonl');
  const file = new CertificateFile(path);
  const command = (...entries: RegistryEntry[]): void => {
    const locked = file.lock(true)!;
    file.catchUp(locked);
    file.append(locked, entries);
    for (const entry of entries) file.registry.apply(entry);
    file.unlock(locked);
  };
  file.make();
  command({ ca: { ...ca, ...authority } });
  const settings: CertificateSettings = {
    type: 'certificate',
    username: 'cn',
    clientId: 'any',
    registry: path,
    registryMax: 100_000,
    registrationsPerMinute: 100_000,
    ...more,
  };
  const desk = new CertificateDesk(settings, createLog('silent', {}));
  const events: Scene['events'] = [];
  const ended: string[] = [];
  const counters = new Float64Array(COUNTERS.length);
  desk.attach({
    revoked: (_, proofs) => ended.push(...proofs),
    event: (name, told) => events.push({ name, facts: told as Record<string, unknown> }),
    counters,
  });
  t.after(() => desk.close());
  return { desk, path, events, ended, command, count: (name) => counters[COUNTERS.indexOf(name)]! };
}

/** Whom the file knows. */
function inFile(path: string): CertificateFile['registry'] {
  const file = new CertificateFile(path);
  file.read();
  return file.registry;
}

describe('certificates that come for the first time', () => {
  test('while somebody keeps the file, no more wait for it than may come in a minute', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    let minute = 0;
    t.mock.method(performance, 'now', () => minute * 60_000);
    const { desk, path } = scene(t, { registrationsPerMinute: 10 });
    const other = new CertificateFile(path);
    const locked = other.lock(true)!;
    const found: (Rejection | null | Promise<Rejection | null>)[] = [];
    for (; minute < 5; minute++) {
      for (let n = 0; n < 10; n++) found.push(desk.admit(facts(minute * 10 + n), `dev-${minute}-${n}`));
      t.mock.timers.tick(1000);
    }
    assert.equal(found.filter((one) => one instanceof Promise).length, 10);
    assert.equal(found.filter((one) => one === 'too_many_registrations').length, 40);
    other.unlock(locked);
    t.mock.timers.tick(1000);
    assert.deepEqual(await Promise.all(found.slice(0, 10)), new Array(10).fill(null));
  });

  test('a thousand at once are a few writes; none is let in before it is in the file', async (t) => {
    const { desk, path, events, count } = scene(t);
    let writes = 0;
    const { appendLater } = CertificateFile.prototype;
    CertificateFile.prototype.appendLater = async function counted(...args) {
      writes++;
      await appendLater.apply(this, args);
    };
    t.after(() => {
      CertificateFile.prototype.appendLater = appendLater;
    });
    const found = await Promise.all(
      Array.from({ length: 1000 }, async (_, n) => {
        const problem = await desk.admit(facts(n), `dev-${n}`);
        if (n % 100 === 0) assert.ok(inFile(path).devices.has(facts(n).fingerprint), 'let in before it was written');
        return problem;
      }),
    );
    assert.deepEqual([...new Set(found)], [null]);
    assert.ok(writes < 10, `${writes} writes`);
    assert.deepEqual([inFile(path).devices.size, count('certificates/registered'), count('certificates/count')], [1000, 1000, 1000]);
    assert.equal(events.filter(({ name }) => name === 'certificate_registered').length, 1000);
    assert.equal(desk.admit(facts(7), 'dev-7'), null, 'from then on it is known at once');
    assert.equal(desk.admit(facts(7), 'dev-8'), 'client_id_differs');
  });

  test('a client ID goes to the first of several at once; one certificate that comes twice is registered once', async (t) => {
    const { desk, path } = scene(t);
    const asked = [desk.admit(facts(1), 'same'), desk.admit(facts(2), 'same'), desk.admit(facts(1), 'same'), desk.admit(facts(1), 'other')];
    const expected: (Rejection | null)[] = [null, 'client_id_taken', null, 'client_id_differs'];
    assert.deepEqual(await Promise.all(asked), expected);
    assert.deepEqual([...inFile(path).devices.keys()], [facts(1).fingerprint]);
  });

  test('what a command has written meanwhile counts', async (t) => {
    const { desk, path, ended, command } = scene(t);
    assert.equal(await desk.admit(facts(1), 'one'), null);
    const known = inFile(path).devices.get(facts(1).fingerprint)!;
    const asked = desk.admit(facts(2), 'two');
    command({ device: { ...known, status: 'REVOKED' } }, { device: { ...known, ...numbered(9), clientId: 'two' } });
    assert.equal(await asked, 'client_id_taken');
    assert.deepEqual(ended, [facts(1).fingerprint], 'and whoever lost something is told of at once');
    assert.equal(desk.admit(facts(1), 'one'), 'revoked');
    const late = desk.admit(facts(3), 'three');
    command({ ca: { ...ca, status: 'INACTIVE' } });
    assert.equal(await late, 'ca_inactive');
    assert.equal(inFile(path).devices.size, 2);
  });

  test('a command that holds the file is waited for', async (t) => {
    const { desk, path } = scene(t);
    const file = new CertificateFile(path);
    const locked = file.lock(true)!;
    const { lock } = CertificateFile.prototype;
    t.after(() => {
      CertificateFile.prototype.lock = lock;
    });
    let times = 0;
    const looked = new Promise<void>((resolve) => {
      CertificateFile.prototype.lock = function watched(mayWait) {
        if (++times === 3) resolve();
        return lock.call(this, mayWait);
      };
    });
    let isDone = false;
    const asked = Promise.resolve(desk.admit(facts(1), 'one')).then((problem) => {
      isDone = true;
      return problem;
    });
    await looked;
    assert.equal(isDone, false);
    file.unlock(locked);
    assert.equal(await asked, null);
  });

  test('the bounds: certificates, and registrations in a minute', async (t) => {
    const few = scene(t, { registryMax: 2 });
    const found = await Promise.all([1, 2, 3].map((n) => few.desk.admit(facts(n), `dev-${n}`)));
    assert.deepEqual(found, [null, null, 'registry_full']);
    assert.equal(few.desk.admit(facts(4), 'dev-4'), 'registry_full');
    const slow = scene(t, { registrationsPerMinute: 2 });
    const asked = [1, 2, 3].map((n) => slow.desk.admit(facts(n), `dev-${n}`));
    assert.equal(asked[2], 'too_many_registrations');
    assert.deepEqual(await Promise.all(asked.slice(0, 2)), [null, null]);
    assert.equal(slow.desk.admit(facts(1), 'dev-1'), null, 'those that are known are no registrations');
  });

  test('one that is to be activated waits for that, and is registered', async (t) => {
    const { desk, path, events, command } = scene(t, {}, { autoActivate: false });
    assert.equal(await desk.admit(facts(1), 'one'), 'pending_activation');
    const device = inFile(path).devices.get(facts(1).fingerprint)!;
    assert.deepEqual([device.status, device.clientId, device.source], ['PENDING_ACTIVATION', 'one', 'JITP']);
    assert.deepEqual(
      events.map(({ name, facts: told }) => [name, told['status'], told['clientid'], told['cn'], told['issuer_cn']]),
      [['certificate_registered', 'PENDING_ACTIVATION', 'one', 'model', 'desk-fleet']],
    );
    command({ device: { ...device, status: 'ACTIVE' } });
    desk.reload();
    assert.equal(desk.admit(facts(1), 'one'), null);
  });

  test('a file that cannot be written: the login cannot be judged, and is tried again', async (t) => {
    const { desk, path } = scene(t);
    const { appendLater } = CertificateFile.prototype;
    CertificateFile.prototype.appendLater = () => Promise.reject(new Error('disk full'));
    await assert.rejects(async () => desk.admit(facts(1), 'one'), /disk full/);
    CertificateFile.prototype.appendLater = appendLater;
    assert.equal(inFile(path).devices.size, 0);
    assert.equal(await desk.admit(facts(1), 'one'), null);
    assert.equal(inFile(path).devices.size, 1);
  });

  test('refusals are events, so many in a second; all are counted', (t) => {
    const { desk, events, count } = scene(t);
    for (let n = 0; n < 500; n++) desk.rejected(facts(n), 'x', 'revoked');
    assert.equal(count('certificates/rejected'), 500);
    assert.ok(events.length >= 50 && events.length < 100, String(events.length));
    assert.equal(count('certificates/events/suppressed'), 500 - events.length);
    const told = {
      fingerprint: facts(0).fingerprint,
      serial: 'A0',
      cn: 'model',
      issuer_cn: 'desk-fleet',
      clientid: 'x',
      reason: 'revoked',
    };
    assert.deepEqual(events[0], { name: 'certificate_rejected', facts: told });
  });
});

function numbered(n: number): { fingerprint: string; serial: string } {
  const { fingerprint, serial } = facts(n);
  return { fingerprint, serial };
}
