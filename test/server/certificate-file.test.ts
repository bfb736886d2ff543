/*
 * Goal: the file of the registry. What was added is read without the rest, several writers lose nothing, a crash or a full disk leaves what was there, and what is wrong
 * with it is one line.
 * Method: files in a folder of the test, written by the class, by hand and by child processes.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { describe } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { DeviceRecord, RegistryEntry } from '../../src/auth/certificate-registry.ts';
import { CertificateFile } from '../../src/server/certificate-file.ts';
import { storeDirectory } from '../support/store-directory.ts';

function device(n: number, more: Partial<DeviceRecord> = {}): { device: DeviceRecord } {
  return {
    device: {
      fingerprint: n.toString(16).padStart(64, '0'),
      serial: `A${n.toString(16).toUpperCase()}`,
      issuerKey: 'b'.repeat(64),
      issuerCommonName: 'fleet',
      commonName: `pump-${n}`,
      organizationalUnit: '',
      clientId: `pump-${n}`,
      sharesClientId: false,
      status: 'ACTIVE',
      source: 'JITP',
      createdAt: n,
      updatedAt: n,
      notBefore: 0,
      notAfter: 4_000_000_000_000,
      ...more,
    },
  };
}

/** A file that has these entries, and the object that has written it. */
function fileOf(...entries: RegistryEntry[]): CertificateFile {
  const file = new CertificateFile(join(storeDirectory(), 'certificates.jsonl'));
  file.make();
  add(file, ...entries);
  return file;
}

function add(file: CertificateFile, ...entries: RegistryEntry[]): void {
  const locked = file.lock(true)!;
  file.catchUp(locked);
  file.append(locked, entries);
  for (const entry of entries) file.registry.apply(entry);
  file.unlock(locked);
}

function names(file: CertificateFile): string[] {
  return [...file.registry.devices.values()].map(({ commonName }) => commonName);
}

describe('the file of certificates', () => {
  test('what was added is read, by whoever has read it before and by whoever has not', () => {
    const writer = fileOf(device(1));
    const reader = new CertificateFile(writer.path);
    reader.read();
    assert.deepEqual(names(reader), ['pump-1']);
    assert.equal(reader.read(), null, 'nothing new');
    const before = reader.registry;
    add(writer, device(2), device(1, { status: 'REVOKED' }));
    reader.read();
    assert.equal(reader.registry, before, 'only the new lines were read');
    assert.deepEqual(names(reader).sort(), ['pump-1', 'pump-2']);
    assert.equal(reader.registry.devices.get(device(1).device.fingerprint)?.status, 'REVOKED');
    assert.equal(writer.read(), null, 'what it has written itself is no news');
    assert.equal(statSync(writer.path).mode & 0o777, 0o600);
  });

  test('a part of a line that a crash has left is none; a whole one without its end counts', () => {
    const writer = fileOf(device(1), device(2));
    const whole = readFileSync(writer.path, 'utf8');
    for (const cut of [1, 40, JSON.stringify(device(2)).length]) {
      writeFileSync(writer.path, whole.slice(0, whole.length - cut));
      const reader = new CertificateFile(writer.path);
      reader.read();
      assert.deepEqual(names(reader), cut === 1 ? ['pump-1', 'pump-2'] : ['pump-1'], String(cut));
      add(reader, device(3));
      const again = new CertificateFile(writer.path);
      again.read();
      assert.deepEqual(names(again), cut === 1 ? ['pump-1', 'pump-2', 'pump-3'] : ['pump-1', 'pump-3'], String(cut));
    }
  });

  test('a file that was edited in its place is read anew', () => {
    const writer = fileOf(device(1), device(2));
    const reader = new CertificateFile(writer.path);
    reader.read();
    const text = readFileSync(writer.path, 'utf8');
    writeFileSync(writer.path, text.replace('pump-1"', 'pump-9"'));
    reader.read();
    assert.deepEqual(names(reader), ['pump-9', 'pump-2']);
    writeFileSync(writer.path, `${text.replace('"clientId":"pump-1"', '"clientId":null')}`);
    reader.read();
    assert.deepEqual(names(reader), ['pump-1', 'pump-2']);
    truncateSync(writer.path, 0);
    reader.read();
    assert.deepEqual(names(reader), []);
  });

  test('one writer at a time', () => {
    const first = fileOf(device(1));
    const second = new CertificateFile(first.path);
    const locked = first.lock(false)!;
    assert.equal(second.lock(false), null);
    first.unlock(locked);
    const next = second.lock(false)!;
    assert.notEqual(next, null);
    second.unlock(next);
  });

  test('lines that count no more go away; nothing else does', () => {
    const file = fileOf(device(1), device(2));
    for (let n = 0; n < 1100; n++) add(file, device(1, { updatedAt: n }));
    const before = statSync(file.path);
    const reader = new CertificateFile(file.path);
    reader.read();
    const locked = file.lock(true)!;
    file.catchUp(locked);
    // What a crash in the middle has left.
    writeFileSync(`${file.path}.${process.pid}.tmp`, '{"version":1}\n{"dev');
    file.compact(locked);
    file.unlock(locked);
    assert.equal(readFileSync(file.path, 'utf8').split('\n').length, 4, 'the version, two certificates, the end');
    assert.equal(statSync(file.path).mode, before.mode);
    assert.deepEqual(reader.read(), []);
    assert.deepEqual([...reader.registry.entries()], [...file.registry.entries()]);
    add(reader, device(3));
    file.read();
    assert.deepEqual(names(file).sort(), ['pump-1', 'pump-2', 'pump-3']);
  });

  test('a disk that takes only a part: none of it is there, and what was there stays', async () => {
    const file = fileOf(device(1));
    const before = readFileSync(file.path, 'utf8');
    const writer = fileURLToPath(new URL('./certificate-file-writer.js', import.meta.url));
    const full = spawn('bash', ['-c', `ulimit -f 4; exec "${process.execPath}" "${writer}" "${file.path}"`]);
    let out = '';
    full.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
    });
    const [code] = await once(full, 'close');
    assert.deepEqual([code, out], [0, 'EFBIG\n']);
    assert.equal(readFileSync(file.path, 'utf8'), before);
  });

  test('what is wrong with it is said in one line, and changes nothing', () => {
    const file = fileOf(device(1));
    const good = readFileSync(file.path, 'utf8');
    const reader = new CertificateFile(file.path);
    reader.read();
    const { device: record } = device(2);
    for (const [line, message] of [
      ['{', /:3: this is no entry/],
      ['[]', /:3: this is no entry/],
      ['{"thing":1}', /:3: this is no entry/],
      ['{"version":2}', /:3: version/],
      [JSON.stringify({ device: { ...record, status: 'GOOD' } }), /:3: device\.status/],
      [JSON.stringify({ device: { ...record, fingerprint: 'x' } }), /:3: device\.fingerprint: expected a SHA-256 fingerprint/],
      [JSON.stringify({ device: { ...record, clientId: '' } }), /:3: device\.clientId/],
      [JSON.stringify({ device: { ...record, more: 1 } }), /more/],
      [JSON.stringify({ removed: 'x' }), /:3: removed/],
    ] as const) {
      writeFileSync(file.path, good);
      reader.read();
      appendFileSync(file.path, `${line}\n${JSON.stringify(device(5))}\n`);
      assert.throws(
        () => reader.read(),
        (error: Error) => message.test(error.message) && !error.message.includes('\n'),
        line,
      );
      assert.deepEqual(names(reader), ['pump-1'], 'all or nothing');
    }
    assert.throws(
      () => new CertificateFile(join(storeDirectory(), 'none')).read(),
      /no such file; make it with: onehop certificate ca-code/,
    );
  });
});
