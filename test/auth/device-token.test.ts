/*
 * Goal: tokens of devices. Those that another implementation has made are right, with either separator and every client ID; whatever differs in anything that is signed is wrong.
 * Method: vectors of Python's own modules in device-token-vectors.json; tokens changed in one place.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test, { describe } from 'node:test';
import type { Device } from '../../src/auth/device.ts';
import { deviceToken, isDeviceToken, isSignedWith, readDeviceToken } from '../../src/auth/device-token.ts';
import { DevicesAuthenticator } from '../../src/auth/devices-authenticator.ts';
import type { Login } from '../../src/shard/login.ts';

interface Vector {
  readonly clientId: string;
  readonly key: string;
  readonly separator: string;
  readonly token: string;
}

const { vectors } = JSON.parse(readFileSync('test/auth/device-token-vectors.json', 'utf8')) as { vectors: readonly Vector[] };
const KEY = Buffer.alloc(32, 7).toString('base64');
const OTHER_KEY = Buffer.alloc(32, 8).toString('base64');
const NOW = 1_800_000_000;
const HOUR = 3_600;

function device(facts: Partial<Device> = {}): Device {
  return {
    deviceId: 'pump-7',
    isEnabled: true,
    primaryKey: KEY,
    secondaryKey: OTHER_KEY,
    propagatingProperties: [],
    attributes: {},
    createdAt: '',
    ...facts,
  };
}

function registry(...devices: Device[]): Map<string, Device> {
  return new Map(devices.map((one) => [one.deviceId, one]));
}

function authenticator(devices: Map<string, Device>, maxAge = 24 * HOUR): DevicesAuthenticator {
  return new DevicesAuthenticator(devices, maxAge * 1000, () => NOW * 1000);
}

function login(password: string | null, clientId = 'pump-7', username: string | null = null): Login {
  return { clientId, username, password: password === null ? null : Buffer.from(password), address: '', certificate: null };
}

/** What a device authenticator says of a password: `allow`, or effect and cause. */
async function found(judge: DevicesAuthenticator, password: string | null, clientId = 'pump-7'): Promise<string> {
  const finding = await judge.judge(login(password, clientId));
  return finding.effect === 'allow' ? 'allow' : `${finding.effect}: ${finding.cause}`;
}

describe('token of a device', () => {
  test('those of another implementation', async () => {
    assert.ok(vectors.length >= 24);
    for (const { clientId, key, token } of vectors) {
      const read = readDeviceToken(Buffer.from(token));
      assert.ok(typeof read !== 'string', String(read));
      assert.equal(read.clientId, clientId);
      assert.ok(isSignedWith(read, key), token);
      assert.ok(!isSignedWith(read, OTHER_KEY));
      const judge = new DevicesAuthenticator(registry(device({ deviceId: clientId, secondaryKey: key })), 1000, () => 1_899_999_999_000);
      assert.equal(await found(judge, token, clientId), 'allow');
    }
    for (const { clientId, key, token } of vectors.filter(({ separator, clientId: id }) => separator === 'line feed' && !/[*~]/.test(id)))
      assert.equal(deviceToken(clientId, key, 1_900_000_000), token, 'ours are the same');
  });

  test('either key, fields in any order, Base64 that is not encoded', async () => {
    const judge = authenticator(registry(device()));
    for (const key of [KEY, OTHER_KEY]) {
      const token = deviceToken('pump-7', key, NOW + HOUR);
      assert.equal(await found(judge, token), 'allow');
      const fields = token.slice('SharedAccessSignature '.length).split('&');
      for (const order of [fields.toReversed(), [fields[1]!, fields[0]!, fields[2]!], [...fields, 'skn=primary']])
        assert.equal(await found(judge, `SharedAccessSignature ${order.join('&')}`), 'allow');
      const raw = fields.map((field) => (field.startsWith('sig=') ? decodeURIComponent(field) : field));
      assert.equal(await found(judge, `SharedAccessSignature ${raw.join('&')}`), 'allow');
    }
  });

  test('what is signed counts, and nothing else', async () => {
    const judge = authenticator(registry(device(), device({ deviceId: 'pump-8', primaryKey: OTHER_KEY, secondaryKey: '' })));
    const right = deviceToken('pump-7', KEY, NOW + HOUR);
    const cases: [string, string][] = [
      [right.replace(`se=${NOW + HOUR}`, `se=${NOW + HOUR + 1}`), 'deny: neither key of the device has signed the token'],
      [right.replace('sr=pump-7', 'sr=pump-8'), 'deny: the token is made out to another client ID'],
      [right.replace('sr=pump-7', 'sr=pump%2D7'), 'deny: neither key of the device has signed the token'],
      [deviceToken('pump-7', Buffer.alloc(32, 9).toString('base64'), NOW + HOUR), 'deny: neither key of the device has signed the token'],
      [deviceToken('pump-7', KEY, NOW), 'deny: the token has expired'],
      [deviceToken('pump-7', KEY, NOW + 24 * HOUR + 61), 'deny: the token lasts longer than maxTokenAge allows'],
      [deviceToken('pump-9', KEY, NOW + HOUR), 'deny: the token is made out to another client ID'],
      [`${right}&sr=pump-7`, 'deny: the token has a field twice'],
      [right.replace(/sig=[^&]+/, 'sig='), 'deny: sig is not 32 bytes in Base64'],
      [right.replace(/&se=.*/, ''), 'deny: se is not a time in seconds'],
      [right.replace(/se=.*/, 'se=9e9'), 'deny: se is not a time in seconds'],
      [right.replace('pump-7', 'pump%7'), 'deny: sr is not a client ID in form encoding'],
      ['SharedAccessSignature ', 'deny: sr is not a client ID in form encoding'],
      [`${right}&x=${'y'.repeat(5000)}`, 'deny: the token is too long'],
      ['secret', 'ignore: no token of a device'],
      [right.slice(1), 'ignore: no token of a device'],
    ];
    for (const [token, finding] of cases) assert.equal(await found(judge, token), finding, token);
    assert.equal(await found(judge, null), 'ignore: no token of a device');
    assert.equal(
      await found(judge, deviceToken('pump-8', KEY, NOW + HOUR), 'pump-8'),
      'deny: neither key of the device has signed the token',
    );
    assert.equal(await found(judge, deviceToken('pump-7', KEY, NOW + HOUR), 'pump-8'), 'deny: the token is made out to another client ID');
    assert.equal(await found(judge, deviceToken('nobody', KEY, NOW + HOUR), 'nobody'), 'ignore: unknown device');
    const unbounded = new DevicesAuthenticator(registry(device()), Number.POSITIVE_INFINITY, () => NOW * 1000);
    assert.equal(await found(unbounded, deviceToken('pump-7', KEY, NOW + 9_999 * HOUR)), 'allow');
    const disabled = authenticator(registry(device({ isEnabled: false })));
    assert.equal(await found(disabled, right), 'ignore: the device is disabled');
    const keyless = authenticator(registry(device({ primaryKey: '', secondaryKey: '' })));
    assert.equal(await found(keyless, deviceToken('pump-7', '', NOW + HOUR)), 'deny: neither key of the device has signed the token');
  });

  test('what an identity says: end, attributes, properties; the name that counts is the device’s', async () => {
    const properties = [{ key: 'site', value: 'a' }];
    const judge = authenticator(registry(device({ propagatingProperties: properties, attributes: { group: 'x' } })));
    const token = deviceToken('pump-7', KEY, NOW + HOUR);
    const finding = await judge.judge(login(token, 'pump-7', 'somebody'));
    assert.ok(finding.effect === 'allow');
    const { proof, ...identity } = finding.identity;
    assert.deepEqual(identity, {
      authenticator: 'devices',
      username: null,
      attributes: { group: 'x' },
      isSuperuser: false,
      rules: null,
      expiresAt: (NOW + HOUR) * 1000,
      userProperties: [['site', 'a']],
    });
    assert.ok(proof !== undefined && !proof.includes(KEY));
    assert.equal(judge.triedName(login(token, 'pump-7', 'somebody')), 'pump-7');
    assert.equal(judge.triedName(login('secret')), null);
    assert.ok(isDeviceToken(Buffer.from(token)) && !isDeviceToken(null));
  });

  test('another registry: which proofs count no more, whose messages carry something else', async () => {
    const judge = authenticator(registry(device(), device({ deviceId: 'pump-8', isEnabled: false })));
    const proof = async (key: string): Promise<string> => {
      const finding = await judge.judge(login(deviceToken('pump-7', key, NOW + HOUR)));
      assert.ok(finding.effect === 'allow');
      return finding.identity.proof!;
    };
    const [first, second] = [await proof(KEY), await proof(OTHER_KEY)];
    assert.deepEqual(judge.replace(registry(device())), { revoked: [], properties: [] });
    assert.deepEqual(
      judge.replace(registry(device({ primaryKey: OTHER_KEY, secondaryKey: KEY }))),
      { revoked: [], properties: [] },
      'keys in turn',
    );
    const newKey = Buffer.alloc(32, 9).toString('base64');
    assert.deepEqual(judge.replace(registry(device({ primaryKey: newKey }))), { revoked: [first], properties: [] });
    assert.deepEqual(judge.replace(registry(device({ primaryKey: newKey, propagatingProperties: [{ key: 'k', value: 'v' }] }))), {
      revoked: [],
      properties: [['pump-7', [['k', 'v']]]],
    });
    judge.replace(registry(device()));
    assert.deepEqual(judge.replace(registry(device({ attributes: { group: 'x' } }))).revoked, [first, second], 'other rights');
    assert.deepEqual(judge.replace(registry(device({ isEnabled: false }))).revoked, [first, second]);
    assert.deepEqual(judge.replace(registry()).revoked, [], 'it was nobody before');
    judge.replace(registry(device()));
    assert.deepEqual(judge.replace(registry()).revoked, [first, second]);
  });

  test('the same registry with others in it: the same follows', async () => {
    const judge = authenticator(registry(device(), device({ deviceId: 'pump-8' })));
    const change = (now: Device | null): ReturnType<typeof judge.change> => judge.change(new Map([['pump-7', now]]));
    const newKey = Buffer.alloc(32, 9).toString('base64');
    assert.deepEqual(change(device()), { revoked: [], properties: [] });
    assert.equal(change(device({ primaryKey: newKey })).revoked.length, 1);
    assert.equal((await judge.judge(login(deviceToken('pump-7', newKey, NOW + HOUR)))).effect, 'allow');
    assert.deepEqual(change(device({ primaryKey: newKey, propagatingProperties: [{ key: 'k', value: 'v' }] })).properties, [
      ['pump-7', [['k', 'v']]],
    ]);
    assert.equal(change(null).revoked.length, 2);
    assert.equal((await judge.judge(login(deviceToken('pump-7', newKey, NOW + HOUR)))).effect, 'ignore');
    assert.deepEqual(change(device()), { revoked: [], properties: [] }, 'it was nobody before');
    const { revoked } = judge.replace(registry());
    assert.equal(revoked.length, 4, 'the others have stayed');
  });
});
