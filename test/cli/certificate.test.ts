/*
 * Goal: `onehop certificate` from the command line: every command, what it prints, its exit code, and that commands at the same time lose nothing.
 * Method: certificates made by openssl, the compiled program as child processes over files of their own.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import test, { describe } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { DeviceRecord } from '../../src/auth/certificate-registry.ts';
import { readRegistry } from '../../src/server/certificate-commands.ts';
import { Authority } from '../support/certificates.ts';
import { storeDirectory } from '../support/store-directory.ts';

const program = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const fleet = new Authority('cli-fleet');

interface Result {
  readonly code: number;
  readonly out: string;
  readonly errors: string;
}

async function certificate(file: string, ...args: string[]): Promise<Result> {
  const child = spawn(process.execPath, [program, 'certificate', ...args], { env: { ...process.env, ONEHOP_CERTIFICATES_FILE: file } });
  let [out, errors] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const [code] = await once(child, 'close');
  return { code: code as number, out, errors };
}

async function good(file: string, ...args: string[]): Promise<string> {
  const { code, out, errors } = await certificate(file, ...args);
  assert.equal(code, 0, errors);
  return out;
}

/** Registers the authority. @returns the file */
async function registered(...flags: string[]): Promise<string> {
  const file = join(storeDirectory(), 'certificates.jsonl');
  const code = (await good(file, 'ca-code')).trim();
  const proof = fleet.issueAs(`proof-${code.slice(0, 8)}`, `/CN=${code}`);
  const line = await good(file, 'ca-add', '--ca', fleet.root, '--verification', proof.chain, ...flags);
  assert.match(line, /^registered [0-9A-F]+ (IN)?ACTIVE cn=cli-fleet [^\n]*until=\S+ [0-9a-f]{64}\n$/);
  return file;
}

describe('onehop certificate', { concurrency: 2 }, () => {
  test('authorities', async () => {
    const file = await registered('--inactive', '--auto-register', '--auto-activate');
    const { serial } = readRegistry(file).authorities[0]!;
    assert.match(await good(file, 'ca-list'), / INACTIVE cn=cli-fleet auto-register auto-activate /);
    assert.match(await good(file, 'ca-activate', serial, '--no-auto-activate'), / ACTIVE cn=cli-fleet auto-register until/);
    assert.match(await good(file, 'ca-deactivate', serial), / INACTIVE cn=cli-fleet auto-register until/);
    assert.equal((JSON.parse(await good(file, 'ca-list', '--json')) as unknown[]).length, 1);
    assert.equal(await good(file, 'ca-remove', serial), `removed the authority ${serial}\n`);
    const { code, errors } = await certificate(file, 'ca-remove', serial);
    assert.deepEqual([code, errors], [1, `onehop: there is no authority "${serial}" in the registry\n`]);
  });

  test('devices', async () => {
    const file = await registered('--auto-register');
    const { chain } = fleet.issueAs('odd', '/CN=val ve');
    assert.match(
      await good(file, 'add', '--certificate', chain, '--client-id', 'v'),
      /^registered \S+ ACTIVE cn="val ve" client-id=v API until/,
    );
    const [device] = JSON.parse(await good(file, 'list', '--json', '--status', 'ACTIVE', '--cn', 'val ve')) as DeviceRecord[];
    const { serial } = device!;
    assert.match(await good(file, 'deactivate', serial), / INACTIVE /);
    assert.match(await good(file, 'activate', serial, '--share'), / ACTIVE cn="val ve" client-id=v shared /);
    assert.match(await good(file, 'revoke', serial), / REVOKED /);
    assert.match(await good(file, 'list', '--client-id', 'v'), /^\S+ REVOKED [^\n]*\n$/);
    const removed = await certificate(file, 'remove', serial);
    assert.deepEqual([removed.code, /comes again; revoke it/.test(removed.errors)], [0, true]);
    for (const args of [
      ['list', '--expires-before', 'soon'],
      ['list', '--status', 'GOOD'],
      ['add'],
      ['add', '--certificate', chain, '--client-id', ''],
    ])
      assert.equal((await certificate(file, ...args)).code, 2, args.join(' '));
  });

  test('commands at the same time lose nothing', async () => {
    const file = await registered();
    const pairs = Array.from({ length: 4 }, (_, n) => fleet.issueAs(`many-${n}`, `/CN=many-${n}`));
    await Promise.all(pairs.map(({ chain }, n) => good(file, 'add', '--certificate', chain, '--client-id', `many-${n}`)));
    const names = [...readRegistry(file).devices.values()].map(({ clientId }) => clientId);
    assert.deepEqual(
      names.sort(),
      pairs.map((_, n) => `many-${n}`),
    );
  });
});
