/**
 * Goal: a broker loads what its configuration needs, and nothing else. Loading modules takes most of a start, and each thread loads its own; what is loaded for nothing is not noticed otherwise.
 * Method: the engine of each thread writes down every script that it compiles. A plain start is held to the packages and folders that it needs; starts that need more show that what they need is seen.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { type BrokerOptions, startBroker } from '../support/broker.ts';
import { type LoadedScripts, loadedBeside, writingDown } from '../support/loaded-scripts.ts';

interface Loaded {
  readonly main: LoadedScripts;
  readonly shard: LoadedScripts;
  /** Null without a store. */
  readonly store: LoadedScripts | null;
}

function directoryFor(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'loaded-'));
  context.after(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Starts a broker, and ends it when it listens. */
async function loadedBy(context: TestContext, options: BrokerOptions = {}): Promise<Loaded> {
  const directory = directoryFor(context);
  const broker = await startBroker({ node: writingDown(directory), ...options });
  assert.equal(await broker.stop(), 0);
  return {
    main: loadedBeside(directory, 'cli/main.js'),
    shard: loadedBeside(directory, 'server/shard-thread.js'),
    store: options['store.enabled'] === false ? null : loadedBeside(directory, 'server/store-thread.js'),
  };
}

/** The packages, but for those that others bring along, and those with a binary for one platform. */
function packagesOf({ packages }: LoadedScripts): string[] {
  const { dependencies } = JSON.parse(readPackage()) as { dependencies: Record<string, string> };
  return [...packages].filter((name) => name in dependencies).sort();
}

function readPackage(): string {
  return readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
}

function foldersOf({ own }: LoadedScripts): string[] {
  return [...new Set([...own].map((name) => name.split('/').slice(0, -1).join('/')))].sort();
}

test('a plain start loads what it needs', async (context) => {
  const { main, shard, store } = await loadedBy(context);
  assert.deepEqual(packagesOf(main), ['commander', 'koffi', 'pino', 'zod']);
  assert.deepEqual(packagesOf(shard), ['koffi', 'msgpackr']);
  assert.deepEqual(packagesOf(store!), ['koffi', 'lmdb', 'msgpackr']);
  // The native part of msgpackr is for long texts, and the shard has none to unpack.
  assert.ok(!shard.packages.has('msgpackr-extract'));
  assert.deepEqual(foldersOf(shard), ['access', 'base', 'journal', 'protocol', 'routing', 'server', 'session', 'shard', 'transports']);
  assert.ok(!store!.own.has('shard/shard.js') && !store!.own.has('store/salvage.js'));
  for (const name of ['tls', 'certificates', 'web-socket', 'http-door', 'quic-door'])
    assert.ok(!shard.own.has(`transports/${name}.js`), `a shard loads ${name}`);
  // The supervisor handles no packet.
  for (const name of [
    'shard/shard',
    'shard/connection',
    'shard/deliver',
    'server/login-desk',
    'server/supervisor-asks',
    'server/user-file',
  ])
    assert.ok(!main.own.has(`${name}.js`), `the supervisor loads ${name}`);
  // What the audit log takes of refusals is bounded by a rule of the door.
  assert.deepEqual(
    [...main.own].filter((name) => name.startsWith('http/')),
    ['http/refusal-rate.js'],
  );
  for (const folder of ['auth', 'session', 'journal', 'routing'])
    assert.ok(!foldersOf(main).includes(folder), `the supervisor loads ${folder}`);
});

test('a start that needs more loads it, and it is seen', async (context) => {
  const file = join(directoryFor(context), 'onehop.yaml');
  writeFileSync(file, 'mqtt:\n  maximumQos: 1\n');
  const listeners = ['tcp', 'http'].map((type) => ({ type, bind: '127.0.0.1:0' }));
  const { main, shard } = await loadedBy(context, { config: file, listeners });
  for (const name of ['yaml', 'zod', 'uWebSockets.js']) assert.ok(main.packages.has(name), `the supervisor loads ${name}`);
  for (const name of ['zod', 'uWebSockets.js']) assert.ok(shard.packages.has(name), `a shard loads ${name}`);
  assert.ok(main.own.has('server/supervisor-asks.js'));
  assert.ok(shard.own.has('http/routes.js') && shard.own.has('transports/http-door.js'));
});

test('a start without a store runs, and stops', async (context) => {
  const { main, shard } = await loadedBy(context, { 'store.enabled': false, shards: 2 });
  assert.ok(main.own.has('server/broker.js') && shard.own.has('shard/shard.js'));
});
