/*
 * Goal: the file of devices. What is wrong is said in one line that names the device and holds no key; what is written is read again as it was.
 * Method: files with one mistake each.
 */
import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { describe } from 'node:test';
import { newDevice } from '../../src/server/device-commands.ts';
import { readDeviceFile, writeDeviceFile } from '../../src/server/device-file.ts';
import { storeDirectory } from '../support/store-directory.ts';

const KEY = Buffer.alloc(32, 7).toString('base64');
const pair = (key: string, value: unknown): unknown => ({ key, value });

describe('the file of devices', () => {
  test('what is written is read again, for its owner only', () => {
    const file = join(storeDirectory(), 'devices.json');
    const devices = ['a', 'gerät ☀', 'x/y'].map((deviceId) =>
      newDevice({ deviceId, propagatingProperties: [pair('site', '☀')], attributes: { group: 'a' } }),
    );
    writeDeviceFile(file, new Map(devices.map((device) => [device.deviceId, device])));
    assert.deepEqual([...readDeviceFile(file).values()], devices);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(readFileSync(file, 'utf8').split('\n').length, devices.length + 3, 'one device in a line');
    assert.ok(devices.every(({ primaryKey }) => Buffer.from(primaryKey, 'base64').length === 32));
    assert.equal(new Set(devices.flatMap(({ primaryKey, secondaryKey }) => [primaryKey, secondaryKey])).size, 6);
  });

  test('mistakes', () => {
    const file = join(storeDirectory(), 'devices.json');
    const many = (count: number): unknown[] => Array.from({ length: count }, (_, n) => pair(`k${n}`, 'v'));
    const cases: [object, RegExp][] = [
      [{ deviceId: '' }, /1 to 1024 bytes/],
      [{ deviceId: '☀'.repeat(400) }, /1 to 1024 bytes/],
      [{ deviceId: 'a\nb' }, /control characters/],
      [{ deviceId: 7 }, /1 to 1024 bytes/],
      [{ isEnabled: 1 }, /isEnabled: expected true or false/],
      [{ primaryKey: KEY.slice(4) }, /primaryKey: expected 32 to 128 bytes in Base64/],
      [{ secondaryKey: `${KEY.slice(0, -1)}!` }, /secondaryKey: expected 32 to 128/],
      [{ secondaryKey: Buffer.alloc(129).toString('base64') }, /secondaryKey: expected 32 to 128/],
      [{ key: KEY }, /unknown field "key"/],
      [{ propagatingProperties: {} }, /expected a list/],
      [{ propagatingProperties: many(17) }, /at most 16/],
      [{ propagatingProperties: [pair('', 'v')] }, /a key has 1 to 128/],
      [{ propagatingProperties: [pair('p2p-receipt', '1')] }, /p2p-/],
      [{ propagatingProperties: [pair('k', 7)] }, /a value has at most 1024/],
      [{ propagatingProperties: [pair('k', 'a\u0000')] }, /control characters/],
      [{ propagatingProperties: Array.from({ length: 5 }, () => pair('k', 'v'.repeat(1024))) }, /more than 4096 bytes/],
      [{ propagatingProperties: [{ key: 'k', value: 'v', more: 1 }] }, /expected \{ "key"/],
      [{ attributes: { a: 1 } }, /attributes: a name has at most 128/],
      [{ createdAt: 5 }, /createdAt/],
    ];
    for (const [wrong, message] of cases) {
      writeFileSync(file, JSON.stringify({ version: 1, devices: [{ deviceId: 'right' }, { deviceId: 'd', primaryKey: KEY, ...wrong }] }));
      assert.throws(
        () => readDeviceFile(file),
        (error: Error) =>
          message.test(error.message) &&
          /devices\.1: /.test(error.message) &&
          !error.message.includes(KEY.slice(4, -4)) &&
          !error.message.includes('\n'),
        JSON.stringify(wrong).slice(0, 80),
      );
    }
    for (const [content, message] of [
      [{ version: 2, devices: [] }, /"version": 1/],
      [{ version: 1 }, /"version": 1/],
      [{ version: 1, devices: [{ deviceId: 'a' }, { deviceId: 'a' }] }, /"a" is there twice/],
    ] as const) {
      writeFileSync(file, JSON.stringify(content));
      assert.throws(() => readDeviceFile(file), message);
    }
    assert.throws(() => readDeviceFile(`${file}.none`), /no such file; make it with: onehop device add/);
  });
});
