/**
 * Goal: a configuration is either whole settings or clear lines that name file, line and key.
 * Method: real files in a temporary folder, environments and options given as values; the settings and the exact lines are compared.
 */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import test, { after, describe } from 'node:test';
import type { ListenerSettings } from '../../src/base/settings.ts';
import { ConfigError, type ConfigSources, loadConfig, loadSettings } from '../../src/server/config.ts';
import { configurationPage } from '../../src/server/config-manual.ts';
import { configKeys } from '../../src/server/config-schema.ts';
import { placeOf } from '../../src/server/listener-schema.ts';

const folder = mkdtempSync(join(tmpdir(), 'onehop-config-'));
after(() => rmSync(folder, { recursive: true }));

let fileCount = 0;

function file(yaml: string): string {
  fileCount += 1;
  const path = join(folder, `c${fileCount}.yaml`);
  writeFileSync(path, yaml);
  return path;
}

/** The lines of the ConfigError that the sources lead to, without the folder. */
async function problems(sources: ConfigSources): Promise<{ exitCode: number; lines: string[] }> {
  try {
    await loadSettings(sources);
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return { exitCode: error.exitCode, lines: error.lines.map((line) => line.replace(/^.*\/c\d+\.yaml/, 'FILE')) };
  }
  throw new assert.AssertionError({ message: 'no problem was found' });
}

function placesOf(listeners: readonly ListenerSettings[]): string[] {
  return listeners.map((listener) => `${listener.type} ${placeOf(listener)}`);
}

describe('defaults', () => {
  test('without any source', async () => {
    const settings = await loadSettings({});
    assert.deepEqual(placesOf(settings.listeners), ['tcp 127.0.0.1:1883']);
    assert.equal(settings.node, '127.0.0.1:1883');
    assert.equal(settings.shards, Math.min(31, availableParallelism()));
    assert.equal(settings.auth.allowAnonymous, true);
    assert.deepEqual(settings.auth.authenticators, []);
    assert.equal(settings.limits.packetBytes, 1_048_576);
    assert.equal(settings.limits.topicLevels, 128);
    assert.equal(settings.limits.connectTimeoutMilliseconds, 10_000);
    assert.equal(settings.limits.sessionExpirySeconds, 4_294_967_295);
    assert.ok(settings.limits.queuedBytesTotal > 0 && settings.limits.queuedBytesTotal <= totalmem() / 4);
    assert.deepEqual(settings.queue, { qos0: false, overflow: 'refuse' });
    assert.equal(settings.p2p.parents, '*');
    assert.equal(settings.p2p.topicTemplate, '{topic}');
    assert.equal(settings.p2p.mailbox.ttlSeconds, 86_400);
    assert.equal(settings.mqtt.sysIntervalSeconds, 10);
    assert.equal(settings.shutdown.timeoutMilliseconds, 10_000);
  });

  test('no value of the settings is missing, and no key of the file is left in them', async () => {
    const settings = await loadSettings({});
    const flat = JSON.stringify(settings, (_, value: unknown) => (value === undefined ? 'MISSING' : value));
    assert.doesNotMatch(flat, /MISSING|packetSize|"ttl"|"timeout"|"connectTimeout"|"sysInterval"/);
  });

  test('an empty file, and one with empty sections', async () => {
    const plain = await loadSettings({});
    for (const text of ['', '# nothing\nlimits:\np2p:\n  mailbox:\n']) {
      const path = file(text);
      const below = (name: string): string => join(dirname(path), name);
      const store = { ...plain.store, path: below('onehop-data'), backups: below('onehop-backups') };
      const http = { ...plain.http, apiKeys: below('api-keys.json'), auditLog: below('audit.log') };
      const history = { ...plain.history, path: below('onehop-history') };
      assert.deepEqual(await loadSettings({ file: path }), { ...plain, store, http, history });
    }
  });

  test('a relative path of the store starts where it was written', async () => {
    const path = file('store: { path: data/here }\n');
    assert.equal((await loadSettings({ file: path })).store.path, join(dirname(path), 'data/here'));
    assert.equal((await loadSettings({ file: path, set: ['store.path=there'] })).store.path, join(process.cwd(), 'there'));
    assert.equal((await loadSettings({ file: file('store: { path: /var/lib/onehop }\n') })).store.path, '/var/lib/onehop');
  });
});

describe('values', () => {
  const set = async (pair: string): Promise<Awaited<ReturnType<typeof loadSettings>>> => loadSettings({ set: [pair] });

  test('durations', async () => {
    for (const [text, seconds] of Object.entries({
      '10s': 10,
      '3m': 180,
      '2h': 7_200,
      '7d': 604_800,
      '1w': 604_800,
      '90': 90,
      '2000ms': 2,
      '1.5m': 90,
    })) {
      assert.equal((await set(`limits.sessionExpiry=${text}`)).limits.sessionExpirySeconds, seconds, text);
    }
    assert.equal((await set('limits.sessionExpiry=never')).limits.sessionExpirySeconds, 4_294_967_295);
    assert.equal((await set('mqtt.sysInterval=never')).mqtt.sysIntervalSeconds, 0);
    assert.equal((await set('limits.connectTimeout=500ms')).limits.connectTimeoutMilliseconds, 500);
    assert.equal((await set('limits.connectTimeout=2')).limits.connectTimeoutMilliseconds, 2_000);
  });

  test('sizes', async () => {
    for (const [text, bytes] of Object.entries({
      '64KiB': 65_536,
      '1MiB': 1_048_576,
      '10MB': 10_000_000,
      '1.5kib': 1_536,
      '70000': 70_000,
      '4 KB': 4_000,
    })) {
      assert.equal((await set(`limits.packetSize=${text}`)).limits.packetBytes, bytes, text);
    }
    assert.equal((await set('limits.queuedBytesTotal=2GiB')).limits.queuedBytesTotal, 2_147_483_648);
  });

  test('addresses', async () => {
    const listeners = async (bind: string): Promise<unknown> =>
      placesOf((await loadSettings({ file: file(`listeners: [{ type: tcp, bind: "${bind}" }]\n`) })).listeners);
    assert.deepEqual(await listeners('[::1]:8883'), ['tcp [::1]:8883']);
    assert.deepEqual(await listeners('localhost:0'), ['tcp localhost:0']);
    assert.deepEqual(await listeners('127.9.9.9:1'), ['tcp 127.9.9.9:1']);
  });

  test('the node is named after the first listener unless it has a name', async () => {
    assert.equal((await loadSettings({ file: file('listeners: [{ type: tcp, bind: "[::1]:1" }]\n') })).node, '[::1]:1');
    assert.equal((await set('node=north-1')).node, 'north-1');
    assert.equal((await set('node=17')).node, '17');
  });

  test('texts and lists from options', async () => {
    assert.equal((await set('p2p.topicTemplate={first}/in')).p2p.topicTemplate, '{first}/in');
    assert.equal((await set('p2p.parents=*')).p2p.parents, '*');
    assert.deepEqual((await set('p2p.parents=[cmd, rpc]')).p2p.parents, ['cmd', 'rpc']);
    assert.deepEqual(placesOf((await set('listeners=[{ type: tcp, bind: 127.0.0.1:0 }]')).listeners), ['tcp 127.0.0.1:0']);
  });
});

describe('precedence', () => {
  test('file, then environment, then --set, then --shards', async () => {
    const yaml = file('shards: 1\nlimits: { inflight: 1, queueMessages: 1, topicLevels: 1 }\n');
    const env = { ONEHOP_LIMITS__INFLIGHT: '2', ONEHOP_LIMITS__QUEUE_MESSAGES: '2', ONEHOP_SHARDS: '2', PATH: '/bin' };
    const { limits, shards } = await loadSettings({ file: yaml, env, set: ['limits.inflight=3', 'shards=3'], shards: '4' });
    assert.deepEqual([limits.topicLevels, limits.queueMessages, limits.inflight, shards], [1, 2, 3, 4]);
  });

  test('every key has one variable, and no two share it', () => {
    const { keys } = configKeys();
    assert.ok(keys.length > 40);
    assert.equal(new Set(keys.map((key) => key.env)).size, keys.length);
    assert.equal(keys.find((key) => key.path === 'p2p.mailbox.maxMailboxes')?.env, 'ONEHOP_P2P__MAILBOX__MAX_MAILBOXES');
    for (const key of keys) assert.match(key.env, /^ONEHOP_[A-Z0-9_]+$/);
  });

  test('every default in the manual is a value that its key takes', async () => {
    const plain = await loadSettings({});
    for (const key of configKeys().keys) {
      if (['node', 'auth.allowAnonymous', 'auth.file', 'auth.blocked', 'authorization.statements', 'authorization.file'].includes(key.path))
        continue;
      assert.deepEqual(await loadSettings({ set: [`${key.path}=${key.default}`] }), plain, key.path);
    }
  });

  test('variables that Kubernetes adds for a Service are left alone', async () => {
    const env = {
      ONEHOP_SERVICE_HOST: '10.0.0.1',
      ONEHOP_MQTT_SERVICE_PORT_TLS: '8883',
      ONEHOP_PORT: 'tcp://10.0.0.1:1883',
      ONEHOP_PORT_1883_TCP_ADDR: '10.0.0.1',
    };
    assert.deepEqual(await loadSettings({ env }), await loadSettings({}));
  });
});

describe('open listeners', () => {
  const open = 'listeners: [{ type: tcp, bind: 0.0.0.0:1883 }]\n';

  test('are refused unless it is written that anyone may connect', async () => {
    for (const bind of ['0.0.0.0:1883', '[::]:1883', '192.0.2.1:1883', 'broker.example:1883', '127.example.com:1883']) {
      const { exitCode, lines } = await problems({ file: file(`listeners: [{ type: tcp, bind: "${bind}" }]\n`) });
      assert.equal(exitCode, 2);
      assert.match(lines.join('\n'), /^FILE:1: listeners\[0\]\.bind: other machines can reach .*: write auth\.allowAnonymous: true/, bind);
    }
    assert.equal((await problems({ file: file(`${open}auth: { allowAnonymous: false }\n`) })).lines.length, 1);
  });

  test('are allowed by file, environment and option', async () => {
    assert.equal((await loadSettings({ file: file(`${open}auth: { allowAnonymous: true }\n`) })).auth.allowAnonymous, true);
    await loadSettings({ file: file(open), env: { ONEHOP_AUTH__ALLOW_ANONYMOUS: 'true' } });
    await loadSettings({ file: file(open), set: ['auth.allowAnonymous=true'] });
  });

  test('false is kept on loopback', async () => {
    assert.equal((await loadSettings({ set: ['auth.allowAnonymous=false'] })).auth.allowAnonymous, false);
  });
});

describe('problems', () => {
  test('an unknown key, with the nearest known one', async () => {
    const yaml = file('limits:\n  packetsize: 1MiB\nlisteneers: []\npacketSize: 1\nzzz: 1\n');
    assert.deepEqual(await problems({ file: yaml }), {
      exitCode: 2,
      lines: [
        'FILE:2: limits.packetsize: unknown key; did you mean limits.packetSize?',
        'FILE:3: listeneers: unknown key; did you mean listeners?',
        'FILE:4: packetSize: unknown key; did you mean limits.packetSize?',
        'FILE:5: zzz: unknown key',
      ],
    });
  });

  test('wrong types and values, all at once, in the order of the schema', async () => {
    const yaml = file(
      'listeners:\n  - { type: udp, bind: 1883 }\nshards: 99\nqueue: { qos0: yes }\nlimits:\n  packetSize: big\n  ringBytes: 3KiB\n  connectTimeout: 1 day\np2p: { parents: [a/b], topicTemplate: "{x}", mailbox: { ttl: 0s } }\nlog: verbose\nmqtt: { maximumQos: 3, sharedStrategy: fair }\n',
    );
    const { lines } = await problems({ file: yaml });
    const expected = [
      'FILE:2: listeners[0].type: expected one of tcp, tls, ws, wss, quic, unix, http, https, not "udp"',
      'FILE:2: listeners[0].bind: expected address:port such as 127.0.0.1:1883 or [::1]:1883, not 1883',
      'FILE:3: shards: expected auto or a whole number from 1 to 31, not 99',
      'FILE:11: mqtt.maximumQos: expected one of 0, 1, 2, not 3',
      'FILE:11: mqtt.sharedStrategy: expected one of round-robin, random, sticky, hash-client-id, hash-topic, not "fair"',
      'FILE:6: limits.packetSize: expected a size such as 64KiB, 1MiB or 10MB, not "big"',
      'FILE:8: limits.connectTimeout: expected a duration such as 10s, 500ms, 3m or 2h, not "1 day"',
      'FILE:7: limits.ringBytes: expected a size from 16384 to 268435456 bytes, not "3KiB"',
      'FILE:4: queue.qos0: expected true or false, not "yes"',
      'FILE:9: p2p.parents: expected one topic level without $, / and wildcards, not "a/b"',
      'FILE:9: p2p.topicTemplate: expected a topic with {topic}, {first}, {clientId} or {publisher} in it, not "{x}"',
      'FILE:9: p2p.mailbox.ttl: expected a duration from 1s to 4294967295s, not "0s"',
      'FILE:10: log: expected keys with values, such as level, not "verbose"',
    ];
    assert.deepEqual(lines, expected);
  });

  test('the value of a variable or an option is blamed on it, not on the file', async () => {
    const env = { ONEHOP_LIMITS__INFLIGHT: 'many', ONEHOP_LIMITS_INFLIGHT: '1', ONEHOP_P2P__PARENTS: '[a' };
    const { exitCode, lines } = await problems({
      file: file('limits: { inflight: 7 }\n'),
      env,
      set: ['shards', 'shardz=1', 'limits=1', 'log.level=loud'],
      shards: '0',
    });
    assert.equal(exitCode, 2);
    assert.deepEqual(
      lines.toSorted(),
      [
        '--set limits: not one key; name one of its keys, such as limits.packetSize',
        '--set log.level: expected one of trace, debug, info, warn, error, silent, not "loud"',
        '--set shards: expected key=value',
        '--set shardz: unknown key; did you mean shards?',
        '--shards: expected auto or a whole number from 1 to 31, not 0',
        'ONEHOP_LIMITS_INFLIGHT: unknown variable; did you mean ONEHOP_LIMITS__INFLIGHT?',
        'ONEHOP_LIMITS__INFLIGHT: expected a whole number from 1 to 65535, not "many"',
        'ONEHOP_P2P__PARENTS: not valid YAML: Flow sequence must end with a ]',
      ].toSorted(),
    );
  });

  test('an override in JSON is what it is in YAML, and what is wrong with it is said', async () => {
    const listeners = [{ type: 'tcp', bind: '127.0.0.1:0' }];
    const written = async (value: string): Promise<unknown> => (await loadConfig({ set: [`listeners=${value}`] })).written['listeners'];
    for (const value of [JSON.stringify(listeners), JSON.stringify(listeners, null, 1), "[{ type: tcp, bind: '127.0.0.1:0' }]"])
      assert.deepEqual(await written(value), listeners);
    // Which of two values is meant nobody knows.
    assert.match(
      (await problems({ set: ['listeners=[{"type":"tcp","bind":"127.0.0.1:0","bind":"127.0.0.1:1"}]'] })).lines[0]!,
      /^--set listeners: not valid YAML: Map keys must be unique/,
    );
  });

  test('a file that is not YAML, with line and column', async () => {
    assert.match((await problems({ file: file('limits:\n  a: [1\nb: 2\n') })).lines[0]!, /^FILE:3:1: not valid YAML: /);
    assert.match((await problems({ file: file('p2p: { parents: * }\n') })).lines[0]!, /^FILE:1:17: not valid YAML: /);
    assert.match(
      (await problems({ file: file('shards: 1\nshards: 2\n') })).lines[0]!,
      /^FILE:2:1: not valid YAML: Map keys must be unique/,
    );
    assert.match((await problems({ file: file('shards: *nowhere\n') })).lines[0]!, /^FILE: not valid YAML: .*nowhere/);
    assert.deepEqual((await problems({ file: file('- a\n') })).lines, ['FILE:1: expected keys with values, such as listeners, not ["a"]']);
  });

  test('a file that cannot be read is a failure, not wrong usage', async () => {
    const missing = await problems({ file: join(folder, 'missing.yaml') });
    assert.equal(missing.exitCode, 1);
    assert.match(missing.lines[0]!, /missing\.yaml: cannot read this file: no such file$/);
    assert.match((await problems({ file: folder })).lines[0]!, /: cannot read this file: it is a directory$/);
    const locked = file('shards: 1\n');
    chmodSync(locked, 0o000);
    // The superuser reads everything, so only another user can see the refusal.
    if (process.getuid?.() === 0) assert.equal((await loadSettings({ file: locked })).shards, 1);
    else assert.match((await problems({ file: locked })).lines[0]!, /permission denied$/);
  });
});

test('docs/configuration.md is what the schema says', () => {
  assert.equal(
    readFileSync('docs/configuration.md', 'utf8'),
    configurationPage(),
    'docs/configuration.md is out of date; "npm run docs" writes it',
  );
});
