/*
 * Goal: the rules of the registry. A client ID belongs to one active certificate, a certificate that has one is good for no other, serial numbers count for one authority
 * only, and every change that takes something away names the certificates that it takes it from.
 * Method: authorities and certificates made by openssl; records changed one after the other.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { type CertificateFacts, readFacts } from '../../src/auth/certificate-facts.ts';
import { type CaRecord, CertificateRegistry, type DeviceRecord } from '../../src/auth/certificate-registry.ts';
import { Authority, pem } from '../support/certificates.ts';

const NOW = Date.now();
const fleet = new Authority('registry-fleet');
const other = new Authority('registry-other');
const pump = factsOf(fleet.issue('pump').chain);
const valve = factsOf(fleet.issue('valve').chain);
const stranger = factsOf(other.issue('stranger').chain);

function factsOf(file: string): CertificateFacts {
  return readFacts(pem(file))!;
}

function recordOf(authority: Authority, more: Partial<CaRecord> = {}): CaRecord {
  const { fingerprint, serial, notBefore, notAfter, subject, issuerCommonName } = factsOf(authority.root);
  return {
    fingerprint,
    serial,
    commonName: subject['CN']!,
    issuerCommonName,
    pem: pem(authority.root),
    status: 'ACTIVE',
    autoRegister: true,
    autoActivate: true,
    createdAt: NOW,
    updatedAt: NOW,
    notBefore,
    notAfter,
    ...more,
  };
}

const ca = recordOf(fleet);

/** A registry with the authority `fleet`, and what `newcomer` says of these certificates. */
function registryOf(...devices: [CertificateFacts, Partial<DeviceRecord>][]): CertificateRegistry {
  const registry = new CertificateRegistry();
  registry.apply({ ca });
  for (const [facts, more] of devices)
    registry.apply({ device: { ...registry.recordOf(facts, ca.fingerprint, facts.subject['CN']!, NOW), ...more } });
  return registry;
}

function problem(registry: CertificateRegistry, facts: CertificateFacts, clientId: string, now = NOW): string | null {
  return registry.problemOf(registry.devices.get(facts.fingerprint)!, clientId, now);
}

describe('a certificate that is registered', () => {
  test('is good for its own client ID while it and its authority are active', () => {
    for (const [status, expected] of [
      ['ACTIVE', null],
      ['INACTIVE', 'inactive'],
      ['REVOKED', 'revoked'],
      ['PENDING_ACTIVATION', 'pending_activation'],
    ] as const)
      assert.equal(problem(registryOf([pump, { status }]), pump, 'pump'), expected);
    const registry = registryOf([pump, {}]);
    assert.equal(problem(registry, pump, 'valve'), 'client_id_differs');
    assert.equal(problem(registry, pump, ''), 'client_id_differs', 'one that the broker would make up is another one');
    registry.apply({ ca: { ...ca, status: 'INACTIVE' } });
    assert.equal(problem(registry, pump, 'pump'), 'ca_inactive');
    registry.apply({ removed: ca.fingerprint });
    assert.equal(problem(registry, pump, 'pump'), 'ca_unknown');
  });

  test('without a client ID it is good for those that belong to nobody else', () => {
    const registry = registryOf([pump, { clientId: null }], [valve, {}]);
    assert.equal(problem(registry, pump, 'anything'), null);
    assert.equal(problem(registry, pump, ''), null);
    assert.equal(problem(registry, pump, 'valve'), 'client_id_taken');
    assert.equal(problem(registry, pump, 'valve', valve.notAfter + 1), null, 'a certificate that has ended owns nothing');
    registry.apply({ device: { ...registry.devices.get(pump.fingerprint)!, sharesClientId: true } });
    assert.equal(problem(registry, pump, 'valve'), null, 'its entry says so');
    registry.apply({ device: { ...registry.devices.get(valve.fingerprint)!, status: 'REVOKED' } });
    assert.equal(problem(registryOf([pump, { clientId: null }], [valve, { status: 'REVOKED' }]), pump, 'valve'), null);
  });

  test('an authority that renews its certificate with the same key keeps its devices', () => {
    const registry = registryOf([pump, {}]);
    // The same certificate under another fingerprint stands for a renewed one.
    registry.apply({ ca: { ...ca, fingerprint: 'a'.repeat(64) } });
    assert.deepEqual(registry.apply({ removed: ca.fingerprint }), []);
    assert.equal(problem(registry, pump, 'pump'), null);
  });
});

describe('a certificate that comes for the first time', () => {
  const newcomer = (registry: CertificateRegistry, facts: CertificateFacts, clientId: string, max = 10): string => {
    const found = registry.newcomer(facts, ca.fingerprint, clientId, NOW, max);
    return typeof found === 'string' ? found : `${found.status} ${found.source} ${found.clientId}`;
  };

  test('is registered as its authority says', () => {
    const registry = registryOf();
    assert.equal(newcomer(registry, pump, 'pump'), 'ACTIVE JITP pump');
    registry.apply({ ca: { ...ca, autoActivate: false } });
    assert.equal(newcomer(registry, pump, 'pump'), 'PENDING_ACTIVATION JITP pump');
    registry.apply({ ca: { ...ca, autoRegister: false } });
    assert.equal(newcomer(registry, pump, 'pump'), 'not_registered');
    registry.apply({ ca: { ...ca, status: 'INACTIVE' } });
    assert.equal(newcomer(registry, pump, 'pump'), 'ca_inactive');
    registry.apply({ removed: ca.fingerprint });
    assert.equal(newcomer(registry, pump, 'pump'), 'ca_unknown');
  });

  test('its authority is the one whose key has signed it, not one that has the same name', () => {
    const registry = registryOf();
    assert.equal(registry.issuerOf(pump)?.fingerprint, ca.fingerprint);
    assert.equal(registry.issuerOf(stranger), null);
    const namesake = new Authority('registry-fleet', null, ['-newkey', 'rsa:2048', '-nodes']);
    const forged = factsOf(namesake.issue('forged').chain);
    assert.equal(forged.issuerCommonName, pump.issuerCommonName);
    assert.equal(registry.issuerOf(forged), null);
  });

  test('cannot have what is taken', () => {
    const registry = registryOf([valve, {}]);
    assert.equal(newcomer(registry, pump, 'valve'), 'client_id_taken');
    assert.equal(newcomer(registry, pump, ''), 'client_id_missing');
    assert.equal(newcomer(registry, pump, 'pump', 1), 'registry_full');
    assert.equal(newcomer(registry, { ...pump, serial: valve.serial }, 'pump'), 'serial_taken');
    registry.apply({ ca: recordOf(other) });
    const foreign = registry.newcomer({ ...stranger, serial: valve.serial }, factsOf(other.root).fingerprint, 'stranger', NOW, 10);
    assert.equal(typeof foreign, 'object', 'another authority counts its own serial numbers');
  });
});

describe('what a change takes away', () => {
  const device = (more: Partial<DeviceRecord>): DeviceRecord => ({ ...registryOf([pump, {}]).devices.get(pump.fingerprint)!, ...more });

  test('names the certificates that are good no more, and no others', () => {
    for (const more of [{ status: 'REVOKED' }, { status: 'INACTIVE' }, { clientId: 'other' }] as const)
      assert.deepEqual(registryOf([pump, {}], [valve, {}]).apply({ device: device(more) }), [pump.fingerprint], JSON.stringify(more));
    assert.deepEqual(registryOf([pump, {}], [valve, {}]).apply({ removed: valve.fingerprint }), [valve.fingerprint]);
    for (const more of [{ updatedAt: NOW + 1 }, { sharesClientId: true }])
      assert.deepEqual(registryOf([pump, {}]).apply({ device: device(more) }), [], JSON.stringify(more));
    assert.deepEqual(registryOf([pump, { status: 'PENDING_ACTIVATION' }]).apply({ device: device({}) }), [], 'it was not good before');
    const all = [pump.fingerprint, valve.fingerprint];
    assert.deepEqual(registryOf([pump, {}], [valve, {}]).apply({ ca: { ...ca, status: 'INACTIVE' } }), all);
    assert.deepEqual(registryOf([pump, {}], [valve, {}]).apply({ removed: ca.fingerprint }), all);
    assert.deepEqual(registryOf([pump, {}], [valve, {}]).apply({ ca: { ...ca, autoRegister: false } }), []);
  });

  test('a registry that was read anew is compared as a whole', () => {
    const before = registryOf([pump, {}], [valve, {}]);
    assert.deepEqual(before.endedIn(registryOf([pump, {}], [valve, {}])), []);
    assert.deepEqual(before.endedIn(registryOf([pump, { status: 'REVOKED' }], [valve, {}])), [pump.fingerprint]);
    assert.deepEqual(before.endedIn(registryOf([pump, {}])), [valve.fingerprint]);
    assert.deepEqual(before.endedIn(new CertificateRegistry()), [pump.fingerprint, valve.fingerprint]);
  });

  test('everything is among the entries of a file that is written anew', () => {
    const before = registryOf([pump, {}], [valve, { status: 'REVOKED', clientId: null }]);
    before.apply({ code: { code: 'c', expiresAt: 5 } });
    const after = new CertificateRegistry();
    for (const entry of before.entries()) after.apply(entry);
    assert.deepEqual([...after.entries()], [...before.entries()]);
    assert.equal(after.size, 4);
  });
});
