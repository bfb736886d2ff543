/*
 * Goal: the clients of docs/quic.md work as they stand there, over QUIC, and over TLS where nobody answers on UDP.
 * Method: both are read out of the page and run against a broker; nothing is changed but the ports.
 */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startBroker, type TestBroker } from '../../../support/broker.ts';
import { TestDoors } from '../../../support/doors.ts';
import { runProgram } from '../../child-program.ts';
import { preparedFolder } from '../client-process.ts';

const page = readFileSync(new URL('../../../../../docs/quic.md', import.meta.url), 'utf8');
const doors = new TestDoors();
const folder = mkdtempSync(join(tmpdir(), 'onehop-quic-manual-'));
let broker: TestBroker;

before(async () => {
  const listeners = ['quic', 'tls', 'tcp'].map((wanted) => doors.listeners.find(({ type }) => type === wanted)!);
  broker = await startBroker({ shards: 2, listeners });
  cpSync(doors.authority.root, join(folder, 'ca.pem'));
  const root = dirname(fileURLToPath(new URL('../../../../../package.json', import.meta.url)));
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
});
after(async () => {
  assert.equal(await broker.stop(), 0);
  rmSync(folder, { recursive: true });
});

/** Writes an example of the page. @returns its path */
function save(name: string, quicPort: number): string {
  const blocks = [...page.matchAll(/^```\w+\n([\s\S]*?)^```$/gm)].map((match) => match[1]!);
  const text = blocks.find((block) => block.split('\n')[0]!.endsWith(` ${name}`));
  assert.ok(text !== undefined, `docs/quic.md has no example ${name}`);
  const path = join(folder, name);
  writeFileSync(path, text.replaceAll('14567', String(quicPort)).replaceAll('8883', String(broker.ports[1])));
  return path;
}

for (const [name, program, clientId] of [
  ['quic-client.mjs', process.execPath, 'dev-1'],
  ['quic_client.py', join(preparedFolder, 'python/bin/python'), 'dev-2'],
] as const) {
  for (const way of ['QUIC', 'TLS'] as const) {
    test(`${name} over ${way}`, async () => {
      // On the port of the TCP listener nobody answers UDP.
      const path = save(name, broker.ports[way === 'QUIC' ? 0 : 2]!);
      const { exit, stdout, stderr } = await runProgram(program, [path, join(folder, 'ca.pem')], folder);
      assert.equal(exit, 0, stderr);
      assert.deepEqual(stdout.trim().split('\n'), [`connected over ${way}`, `cmd/p2p/${clientId}: hello`]);
    });
  }
}
