/*
 * Goal: what `onehop certificate` does. An authority is registered only by whoever has its key; certificates are found, activated, kept out and taken out; a client ID has one
 * active certificate; a mistake is one line and changes nothing.
 * Method: certificates made by openssl, files of the test.
 */
import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { describe } from 'node:test';
import {
  addAuthority,
  addDevice,
  type CaRecord,
  changeAuthority,
  changeDevice,
  type DeviceFilter,
  findDevices,
  newCode,
  readRegistry,
  removeAuthority,
  removeDevice,
} from '../../src/server/certificate-commands.ts';
import { StartError } from '../../src/server/start-error.ts';
import { Authority } from '../support/certificates.ts';
import { storeDirectory } from '../support/store-directory.ts';

const fleet = new Authority('commands-fleet');
const other = new Authority('commands-other');
const pump = fleet.issueAs('pump', '/OU=pumps/CN=pump-7').chain;
const next = fleet.issueAs('next', '/OU=pumps/CN=pump-7', ['-days', '10']).chain;
const valve = other.issueAs('valve', '/OU=valves/CN=valve').chain;
const HOUR = 3_600_000;

function newFile(): string {
  return join(storeDirectory(), 'certificates.jsonl');
}

function add(file: string, ca: string, verification: string, more: { isActive?: boolean; autoRegister?: boolean } = {}): CaRecord {
  return addAuthority(file, { ca, verification, autoRegister: false, autoActivate: false, isActive: true, ...more });
}

/** Registers an authority. @returns the file */
function registered(authority: Authority, file = newFile(), more: { isActive?: boolean; autoRegister?: boolean } = {}): string {
  const { code } = newCode(file, HOUR);
  add(file, authority.root, authority.issueAs(`proof-${code.slice(0, 8)}`, `/CN=${code}`).chain, more);
  return file;
}

function wrong(message: RegExp, command: () => unknown): void {
  assert.throws(command, (error: Error) => error instanceof StartError && message.test(error.message) && !error.message.includes('\n'));
}

describe('authorities', () => {
  test('only who has the key registers one, and a code counts once', () => {
    const file = newFile();
    const { code } = newCode(file, HOUR);
    assert.match(code, /^[0-9a-f]{64}$/);
    const proof = fleet.issueAs('proof', `/CN=${code}`);
    const old = fleet.issueAs('old-proof', `/CN=${code}`, ['-startdate', '20200101000000Z', '-enddate', '20200102000000Z']);
    wrong(/is not signed by/, () => add(file, fleet.root, other.issueAs('proof', `/CN=${code}`).chain));
    wrong(/has expired/, () => add(file, fleet.root, old.chain));
    wrong(/Common Name is not the code/, () => add(file, fleet.root, pump));
    wrong(/may not sign others/, () => add(file, pump, proof.chain));
    wrong(/no such file/, () => add(file, fleet.root, 'nothing.pem'));
    wrong(/no certificate in PEM/, () => add(file, fleet.root, proof.key));
    assert.equal(readRegistry(file).authorities.length, 0);
    add(file, fleet.root, proof.chain);
    wrong(/registered already/, () => add(file, fleet.root, proof.chain));
    wrong(/no code that counts/, () => add(file, other.root, other.issueAs('again', `/CN=${code}`).chain));
  });

  test('a code ends, by the clock and by the next one', () => {
    const file = newFile();
    const proof = fleet.issueAs('late', `/CN=${newCode(file, -1).code}`).chain;
    wrong(/no code that counts/, () => add(file, fleet.root, proof));
    newCode(file, HOUR);
    wrong(/is not the code of the last/, () => add(file, fleet.root, proof));
  });

  test('are changed and taken out, by serial number or fingerprint', () => {
    const file = registered(fleet, newFile(), { isActive: false });
    const { serial, fingerprint, status } = readRegistry(file).authorities[0]!;
    assert.equal(status, 'INACTIVE');
    changeAuthority(file, serial.toLowerCase(), { status: 'ACTIVE', autoRegister: true });
    const [changed] = readRegistry(file).authorities;
    assert.deepEqual([changed?.status, changed?.autoRegister, changed?.autoActivate], ['ACTIVE', true, false]);
    addDevice(file, pump, null, false);
    wrong(/1 certificates of this authority.*--with-certificates/, () => removeAuthority(file, fingerprint, false));
    assert.equal(removeAuthority(file, fingerprint, true), 1);
    assert.equal(readRegistry(file).size, 0);
    wrong(/there is no authority/, () => removeAuthority(file, fingerprint, true));
  });
});

describe('certificates of devices', () => {
  test('a client ID has one that is active, unless both may share it', () => {
    const file = registered(fleet);
    wrong(/none of the registered authorities/, () => addDevice(file, valve, null, false));
    const first = addDevice(file, pump, 'pump-7', false);
    wrong(/registered already/, () => addDevice(file, pump, null, false));
    wrong(/"pump-7" belongs to the certificate .*--share/, () => addDevice(file, next, 'pump-7', false));
    const second = addDevice(file, next, 'pump-7', true);
    changeDevice(file, first.serial, 'INACTIVE');
    wrong(/belongs to the certificate/, () => changeDevice(file, first.serial, 'ACTIVE'));
    changeDevice(file, second.serial, 'REVOKED');
    const typed = first.fingerprint.toUpperCase().replace(/../g, '$&:').slice(0, -1);
    assert.equal(changeDevice(file, typed, 'ACTIVE').status, 'ACTIVE');
    wrong(/revoked stays so/, () => changeDevice(file, second.serial, 'ACTIVE'));
    assert.equal(removeDevice(file, second.serial).comesAgain, false);
    assert.deepEqual([...readRegistry(file).devices.keys()], [first.fingerprint]);
  });

  test('are found by client ID, status, authority, names and end', () => {
    const file = registered(other, registered(fleet));
    addDevice(file, pump, 'pump-7', false);
    addDevice(file, next, null, false);
    addDevice(file, valve, null, false);
    const count = (filter: DeviceFilter): number => findDevices(file, filter).length;
    assert.equal(count({}), 3);
    assert.equal(count({ clientId: 'pump-7' }), 1);
    assert.equal(count({ status: 'ACTIVE' }), 3);
    assert.equal(count({ status: 'REVOKED' }), 0);
    assert.equal(count({ commonName: 'pump-7' }), 2);
    assert.equal(count({ organizationalUnit: 'valves' }), 1);
    assert.equal(count({ ca: readRegistry(file).authorities[1]!.serial }), 1);
    assert.equal(count({ expiresBefore: Date.now() + 20 * 24 * HOUR }), 1);
    wrong(/there is no certificate "77"/, () => changeDevice(file, '77', 'REVOKED'));
  });

  test('a serial number that two have is not enough', () => {
    const file = registered(fleet);
    const device = addDevice(file, pump, null, false);
    const twin = { ...device, fingerprint: 'a'.repeat(64), issuerKey: 'b'.repeat(64) };
    appendFileSync(file, `${JSON.stringify({ device: twin })}\n`);
    wrong(/2 have the serial number .*fingerprint: [0-9a-f]{64}, a{64}/, () => changeDevice(file, device.serial, 'REVOKED'));
    assert.equal(changeDevice(file, twin.fingerprint, 'REVOKED').serial, device.serial);
  });

  test('one that is taken out comes again where its authority registers by itself', () => {
    const file = registered(fleet, newFile(), { autoRegister: true });
    const { serial } = addDevice(file, pump, null, false);
    assert.equal(removeDevice(file, serial).comesAgain, true);
  });
});
