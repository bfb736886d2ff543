/*
 * Goal: `onehop device`. What it writes is what the broker reads; keys are shown once, and never by `list`; an import is whole or nothing.
 * Method: the compiled program as child processes over files of their own.
 */
import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { describe } from 'node:test';
import { isSignedWith, readDeviceToken } from '../../src/auth/device-token.ts';
import { readDeviceFile } from '../../src/server/device-file.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { type Ended, runCommand } from './run-command.ts';

function stage(): { file: string; run: (...args: string[]) => Promise<Ended> } {
  const file = join(storeDirectory(), 'devices.json');
  return { file, run: (...args) => runCommand(['device', ...args], { ONEHOP_DEVICES_FILE: file }) };
}

async function fails(ended: Promise<Ended>, exit: number, message: RegExp): Promise<void> {
  const result = await ended;
  assert.deepEqual([result.exit, result.stdout], [exit, '']);
  assert.match(result.stderr, message);
  assert.match(result.stderr, /^onehop: [^\n]*\n$/);
}

describe('onehop device', { concurrency: 2 }, () => {
  test('add, list, set, rotate, disable, enable, token, remove', async () => {
    const { file, run } = stage();
    const { stdout } = await run('add', 'pump-7', '--property', 'site=hall 2', '--property', 'site=b', '--attribute', 'group=a');
    const device = (): NonNullable<ReturnType<ReturnType<typeof readDeviceFile>['get']>> => readDeviceFile(file).get('pump-7')!;
    const first = device();
    assert.equal(stdout, `added pump-7 to ${file}\nprimary key: ${first.primaryKey}\nsecondary key: ${first.secondaryKey}\n`);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const json = JSON.parse((await run('add', 'pump-8', '--json', '--disabled')).stdout) as { primaryKey: string };
    assert.equal(json.primaryKey, readDeviceFile(file).get('pump-8')!.primaryKey);
    const list = (await run('list')).stdout + (await run('list', '--json')).stdout;
    assert.match(list, /^pump-7 site=hall 2 site=b \(group=a\)\npump-8 disabled\n\{"deviceId":"pump-7",/);
    for (const { primaryKey, secondaryKey } of readDeviceFile(file).values())
      assert.ok(!list.includes(primaryKey) && !list.includes(secondaryKey));
    assert.equal((await run('set', 'pump-7', '--property', 'release=beta')).exit, 0);
    assert.deepEqual(device(), { ...first, propagatingProperties: [{ key: 'release', value: 'beta' }] }, 'and nothing else');
    const rotated = await run('rotate', 'pump-7', '--key', 'secondary');
    assert.equal(rotated.stdout, `changed the secondary key of pump-7\nsecondary key: ${device().secondaryKey}\n`);
    assert.ok(device().secondaryKey !== first.secondaryKey && device().primaryKey === first.primaryKey);
    for (const key of ['primary', 'secondary'] as const) {
      const token = readDeviceToken(Buffer.from((await run('token', 'pump-7', '--expires', '2h', '--key', key)).stdout.trimEnd()));
      assert.ok(typeof token !== 'string' && isSignedWith(token, device()[`${key}Key`]));
      assert.ok(Math.abs(token.expiresAt - Date.now() - 7_200_000) < 60_000);
    }
    await run('disable', 'pump-7');
    assert.equal(device().isEnabled, false);
    await run('enable', 'pump-7');
    assert.deepEqual(device(), { ...first, propagatingProperties: device().propagatingProperties, secondaryKey: device().secondaryKey });
    assert.equal((await run('remove', 'pump-7')).exit, 0);
    assert.deepEqual([...readDeviceFile(file).keys()], ['pump-8']);
  });

  test('what cannot be is one line', async () => {
    const { file, run } = stage();
    await fails(run('list'), 1, /no such file; make it with: onehop device add ID/);
    await fails(run('add', 'a\nb'), 1, /control characters/);
    await fails(run('add', 'a', '--property', 'x'), 2, /expected name=value/);
    await fails(run('add', 'a', '--property', 'p2p-target=b'), 1, /p2p-/);
    assert.equal((await run('add', 'a')).exit, 0);
    await fails(run('add', 'a'), 1, /there is a device a in/);
    await fails(run('rotate', 'b'), 1, /there is no device b/);
    await fails(run('set', 'a'), 2, /say what to set/);
    await fails(run('token', 'a', '--expires', 'x'), 2, /--expires: expected a duration/);
    assert.equal(readDeviceFile(file).size, 1);
  });

  test('import: CSV, lines of JSON, all or nothing, --replace', async () => {
    const { file, run } = stage();
    const source = join(storeDirectory(), 'fleet');
    const key = Buffer.alloc(32, 1).toString('base64');
    const csv = `\ufeffdeviceId,primaryKey,isEnabled,property.site,attribute.group\r\na,${key},,"hall ""2"", b",x\r\nb,,false,,\r\n`;
    writeFileSync(source, csv);
    const { stdout } = await run('import', source);
    assert.equal(stdout, `imported 2 devices into ${file}: 2 new, 0 replaced; keys were made for 2\n`);
    const devices = readDeviceFile(file);
    const [a, b] = [devices.get('a')!, devices.get('b')!];
    assert.deepEqual(
      [a.primaryKey, a.isEnabled, a.propagatingProperties, a.attributes],
      [key, true, [{ key: 'site', value: 'hall "2", b' }], { group: 'x' }],
    );
    assert.deepEqual([b.isEnabled, b.propagatingProperties, b.attributes], [false, [], {}]);
    const before = readFileSync(file, 'utf8');
    for (const [text, message] of [
      ['{"deviceId":"c"}\n{"deviceId":"a"}\n', /line 2: there is a device a already; --replace/],
      ['{"deviceId":"c"}\n\n{"deviceId":"c"}\n', /line 3: the device c is in line 1 already/],
      ['{"deviceId":"c"}\n{"deviceId":\n', /line 2: this is no JSON/],
      ['{"deviceId":"c","primaryKey":"short"}\n', /line 1: primaryKey: expected 32/],
      ['deviceId,colour\nc,red\n', /line 2: unknown field "colour"/],
      ['deviceId,isEnabled\nc,yes\n', /line 2: isEnabled/],
      ['deviceId\n"c\n', /neither CSV nor lines of JSON/],
      ['deviceId\n', /there is no device in it/],
    ] as const) {
      writeFileSync(source, text);
      await fails(run('import', source), 1, message);
      assert.equal(readFileSync(file, 'utf8'), before);
    }
    writeFileSync(source, '{"deviceId":"a","propagatingProperties":[{"key":"k","value":"v"}]}\n{"deviceId":"c"}');
    const made = await run('import', source, '--replace', '--json');
    const now = readDeviceFile(file);
    assert.deepEqual(now.get('a'), { ...a, propagatingProperties: [{ key: 'k', value: 'v' }], attributes: {} }, 'it keeps its keys');
    const c = now.get('c')!;
    assert.deepEqual(
      made.stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
      [{ deviceId: 'c', primaryKey: c.primaryKey, secondaryKey: c.secondaryKey }],
    );
  });
});
