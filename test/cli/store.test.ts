/**
 * Goal: `onehop store` says truly what is in a store, finds every damage, and what it copies, compacts, exports or imports is the same store to its clients.
 * Method: a real broker with real clients leaves sessions of every kind; each command runs as a child, while the broker runs and after it was killed. What
 * clients find is compared, message by message, between brokers on the store itself, on a compacted one, on a backup, and on imports with other shard counts.
 */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { after, afterEach, before, describe } from 'node:test';
import type { StoreSummary } from '../../src/server/store-commands.ts';
import { LogStore } from '../../src/store/log-store.ts';
import { leaveTraffic, observe, QUEUED } from '../store/stored-traffic.ts';
import { type BrokerOptions, startBroker, type TestBroker } from '../support/broker.ts';
import { connect, payloadText } from '../support/client.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { type Ended, runCommand, stopCommands } from './run-command.ts';

const options = { shards: 2, 'p2p.mailbox.enabled': true } as const;

const SESSIONS = 5;
/** Looks at a store until something is there: each is a process of its own, and one is nearly always enough. */
const LOOKS_MAX = 100;

/** The store of a broker that was killed with traffic in it. */
const original: string = storeDirectory();
/** What clients find in it. */
let expected: Record<string, unknown>;

const started: TestBroker[] = [];

type Summary = Omit<StoreSummary, 'oldest' | 'newest'> & { readonly oldest: string; readonly newest: string };

async function start(more: BrokerOptions): Promise<TestBroker> {
  const broker = await startBroker({ ...options, ...more });
  started.push(broker);
  return broker;
}

/** What clients find in a store; it is not the same afterwards. */
async function observeStore(path: string, shards: number = options.shards): Promise<Record<string, unknown>> {
  const broker = await start({ shards, 'store.path': path });
  const found = await observe(broker.port);
  await broker.kill();
  return found;
}

/** A name below a new directory, where there is nothing yet. */
function newPath(): string {
  return join(storeDirectory(), 'new');
}

function copyOf(path: string): string {
  const copy = storeDirectory();
  copyFileSync(join(path, 'data.mdb'), join(copy, 'data.mdb'));
  return copy;
}

function store(...args: string[]): Promise<Ended> {
  return runCommand(['store', ...args]);
}

async function succeed(...args: string[]): Promise<string> {
  const { exit, stdout, stderr } = await store(...args);
  assert.equal(exit, 0, `${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

before(async () => {
  const broker = await start({ 'store.path': original });
  await leaveTraffic(broker.port);
  // The broker has seen all clients leave, and that is on disk.
  for (let away = 0, looks = 0; away < SESSIONS; looks++) {
    assert.ok(looks < LOOKS_MAX, `${away} of ${SESSIONS} sessions are away`);
    away = (JSON.parse(await succeed('inspect', original, '--json')) as { contents: { away: number } }).contents.away;
  }
  await broker.kill();
  expected = await observeStore(copyOf(original));
});
afterEach(async () => {
  for (const broker of started.splice(0)) await broker.kill();
});
after(stopCommands);

test('what clients find holds something of everything', () => {
  assert.equal((expected['v5'] as unknown[]).length, QUEUED + 3);
  assert.equal((expected['v3'] as unknown[]).length, QUEUED + 2);
  assert.deepEqual((expected['v5'] as unknown[]).slice(0, 2), [
    ['a/1', 'sent at QoS 1', 1, true, 2, false, [7], ''],
    ['b/2', 'sent at QoS 2', 2, true, 3, false, [], ''],
  ]);
  assert.deepEqual(expected['v5 pubrels'], [1]);
  assert.deepEqual(expected['sent again'], [0, 0]);
  assert.equal((expected['nobody'] as unknown[]).length, 1);
  assert.equal((expected['watcher'] as unknown[][])[0]![1], 'gone');
  assert.equal((expected['retained'] as unknown[][])[0]![1], 'retained');
});

describe('inspect', () => {
  const contents = {
    sessions: SESSIONS,
    connected: 0,
    away: SESSIONS,
    subscriptions: 5,
    wills: 1,
    waiting: QUEUED + 1 + QUEUED + 2 + 1,
    inflight: 3,
    received: 1,
    retained: 1,
    mailboxes: 1,
    own: 0,
    origins: 0,
  };

  test('says what is in a store', async () => {
    const summary = JSON.parse(await succeed('inspect', original, '--json')) as Summary;
    assert.deepEqual({ ...summary.contents, origins: 0 }, contents);
    const { format, slotMap, shards, epoch, isBeingRewritten, damages, leftOver } = summary;
    assert.deepEqual(
      { format, slotMap, shards, epoch, isBeingRewritten, damages, leftOver },
      { format: 1, slotMap: 'hash32/1024', shards: 2, epoch: 1, isBeingRewritten: false, damages: 0, leftOver: 0 },
    );
    const perShard = summary.perShard;
    assert.deepEqual(
      perShard.map(({ shard }) => shard),
      [0, 1],
    );
    assert.equal(
      perShard.reduce((sum, one) => sum + one.records, 0),
      summary.records,
    );
    assert.ok(summary.liveBytes > 2000 && summary.liveBytes < summary.recordBytes && summary.recordBytes < summary.fileBytes);
    const entries = summary.entries;
    assert.equal(entries['session'], 6);
    assert.equal(entries['delivery'], contents.waiting + contents.inflight);
    assert.ok(Date.parse(summary.oldest) <= Date.parse(summary.newest));
    const text = await succeed('inspect', original);
    assert.match(text, /^ {2}sessions {3}5 \(0 connected, 5 away\), 5 subscriptions, 1 will$/m);
    assert.match(text, /^ {2}messages {3}64 waiting, 3 in flight, 1 QoS 2 identifier received$/m);
  });

  test('says it also while a broker uses the store', async () => {
    const path = copyOf(original);
    const broker = await start({ 'store.path': path });
    const client = await connect(broker.port, { clientId: 'online', properties: { sessionExpiryInterval: 60 } });
    await client.subscribe('x', { qos: 1 });
    const summary = JSON.parse(await succeed('inspect', path, '--json')) as { contents: { sessions: number; connected: number } };
    assert.deepEqual([summary.contents.sessions, summary.contents.connected], [6, 1]);
    assert.match(
      await succeed('inspect', path, '--session', 'online'),
      /connected when the store was last written[\s\S]*1 subscription\n {4}x \(QoS 1\)/,
    );
    assert.match(await succeed('verify', path), /: sound \(/);
  });

  test('shows one session, and payloads only when asked', async () => {
    const plain = await succeed('inspect', original, '--session', 'v5');
    assert.match(
      plain,
      /^session of client "v5", shard \d\n {2}MQTT 5\.0, user name "alice", away since 2\d{3}-.*Z, expires 3,600 seconds after/,
    );
    assert.match(plain, /will: no\n {2}2 subscriptions\n {4}a\/# \(QoS 1\)\n {4}b\/\+ \(QoS 2\)\n {2}31 messages waiting, 3 in flight\n$/);
    assert.doesNotMatch(plain, /queued/);
    const withPayloads = await succeed('inspect', original, '--session', 'v5', '--payloads');
    assert.match(withPayloads, /1 \(released as 1\) b\/0 QoS 2: "released"\n {4}2 \(sent as 2\) a\/1 QoS 1: "sent at QoS 1"\n/);
    assert.match(withPayloads, / {4}4 \(waiting\) a\/0 QoS 1: "queued 0"\n/);
    const json = JSON.parse(await succeed('inspect', original, '--session', 'mourned', '--json')) as Record<string, unknown>;
    assert.equal(json['hasWill'], true);
    assert.equal(JSON.stringify(json).includes(Buffer.from('gone').toString('base64')), false);
    assert.match(await succeed('inspect', original, '--session', 'nobody'), /^mailbox of client "nobody"[\s\S]*1 message waiting/);
    const missing = await store('inspect', original, '--session', 'who');
    assert.deepEqual([missing.exit, missing.stderr], [1, `onehop: ${original}: there is no session of client "who"\n`]);
    assert.equal((await store('inspect', original, '--payloads')).exit, 2);
  });
});

describe('verify', () => {
  test('a sound store', async () => {
    assert.match(await succeed('verify', original), /^[^\n]*: sound \(\d+ records, [\d,]+ bytes\)\n$/);
  });

  test('names every damage by file, record and place, and ends with 1', async () => {
    const path = copyOf(original);
    const file = join(path, 'data.mdb');
    const bytes = readFileSync(file);
    for (const payload of ['queued 3', 'queued 4']) {
      // In every copy of the page that is left in the file.
      for (let at = bytes.indexOf(payload); at >= 0; at = bytes.indexOf(payload, at)) bytes.write('damaged!', at);
    }
    writeFileSync(file, bytes);
    const { exit, stdout } = await store('verify', path);
    assert.equal(exit, 1);
    const lines = stdout.trimEnd().split('\n');
    // Each of the two messages waits for one session on each shard, or for both on one.
    assert.ok(lines.length >= 3, stdout);
    for (const line of lines.slice(0, -1))
      assert.match(line, new RegExp(`^${file}: offset \\d+: record \\d+ of shard [01]: wrong checksum$`));
    assert.match(lines.at(-1)!, /: damaged in \d+ places \(\d+ records read\)$/);
    assert.match(await succeed('inspect', path), /DAMAGED {4}in \d+ places; "onehop store verify/);
    for (const args of [
      ['export', path],
      ['compact', path],
      ['backup', path, newPath()],
    ]) {
      const refused = await store(...args);
      assert.equal(refused.exit, 1, args[0]);
      assert.match(refused.stderr, /^onehop: [^\n]*data\.mdb: offset \d+: record [^\n]*\n$/, args[0]);
    }
    assert.deepEqual(readFileSync(file), bytes);
  });

  test('a file of which nothing can be read', async () => {
    const path = storeDirectory();
    writeFileSync(join(path, 'data.mdb'), Buffer.alloc(100_000, 7));
    const { exit, stdout, stderr } = await store('verify', path);
    assert.equal(exit, 1);
    assert.match(stdout, /data\.mdb: offset 0: not a store, or its first pages are destroyed\n[^\n]*: damaged in 1 place /);
    assert.equal(stderr, '');
  });
});

describe('export and import', () => {
  test('an import is the same store to its clients, with any number of shards, and exports as the same lines', async () => {
    const file = join(storeDirectory(), 'export.jsonl');
    await succeed('export', original, '-o', file);
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    assert.deepEqual(JSON.parse(lines[0]!), { format: 'onehop-export', version: 1, epoch: 1 });
    assert.deepEqual(JSON.parse(lines.at(-1)!), { type: 'end', lines: lines.length - 2 });
    assert.equal(await succeed('export', original), readFileSync(file, 'utf8'));
    for (const shards of [1, 3]) {
      const path = newPath();
      assert.match(await succeed('import', path, file), /: 5 sessions, \d+ messages for 67 deliveries, 1 retained, 1 mailbox\n$/);
      const again = (await succeed('export', path)).trimEnd().split('\n');
      assert.deepEqual(again.sort(), [...lines].sort());
      assert.deepEqual(await observeStore(path, shards), expected, `${shards} shards`);
    }
  });

  test('into a directory that is there, from lines with other ends, and never over a store', async () => {
    const text = await succeed('export', original);
    const path = storeDirectory();
    const file = join(storeDirectory(), 'lines');
    writeFileSync(file, text.replaceAll('\n', '\r\n\r\n'));
    await succeed('import', path, file);
    assert.ok(existsSync(join(path, 'data.mdb')));
    const { exit, stderr } = await store('import', path, file);
    assert.deepEqual([exit, stderr], [1, `onehop: ${path} holds a store already; import into another directory, or move that one away\n`]);
  });

  const session = '{"type":"session","id":7,"clientId":"x","version":5,"expirySeconds":60}';
  const message = (to: string): string => `{"type":"message","topic":"t","qos":1,"payload":"","to":[${to}]}`;
  const head = '{"format":"onehop-export","version":1,"epoch":1}';
  const wrong: [string, string[], RegExp][] = [
    ['nothing', [], /the last line is missing, the file is cut off; nothing was imported/],
    ['no export', ['{"a":1}'], /:1: this is no export of onehop; nothing was imported/],
    [
      'a newer version',
      ['{"format":"onehop-export","version":2}'],
      /:1: version 2 of the export is newer than this onehop, which reads up to 1/,
    ],
    ['no JSON', [head, '{'], /:2: this is no JSON/],
    ['another type', [head, '{"type":"x"}'], /:2: a type that is not known: "x"/],
    ['a missing field', [head, '{"type":"session","id":7}'], /:2: clientId: expected a text, not nothing/],
    ['a session twice', [head, session, session], /:3: id 7 has come before/],
    ['no such session', [head, message('{"id":7,"sequence":1,"qos":1,"state":"waiting"}')], /:2: id 7 is no session that has come before/],
    [
      'a state that cannot be',
      [head, session, message('{"id":7,"sequence":1,"qos":1,"state":"released","packetId":1}')],
      /:3: state: "released" cannot be with QoS 1/,
    ],
    [
      'an identifier in use twice',
      [
        head,
        session,
        message('{"id":7,"sequence":1,"qos":1,"state":"sent","packetId":1},{"id":7,"sequence":2,"qos":1,"state":"sent","packetId":1}'),
      ],
      /:3: packetId 1 of id 7 is in use twice/,
    ],
    ['a line that is gone', [head, session, '{"type":"end","lines":2}'], /:3: 2 lines are said to be before this one, and there are 1/],
    ['an end that is gone', [head, session], /the last line is missing/],
  ];
  for (const [name, lines, pattern] of wrong) {
    test(`refuses ${name}, and leaves nothing behind`, async () => {
      const folder = storeDirectory();
      const file = join(folder, 'lines');
      writeFileSync(file, lines.join('\n'));
      const { exit, stderr } = await store('import', join(folder, 'new'), file);
      assert.equal(exit, 1);
      assert.match(stderr, pattern);
      assert.match(stderr, /^onehop: [^\n]*\n$/);
      assert.deepEqual(readdirSync(folder), ['lines']);
    });
  }

  test('files that cannot be read or written', async () => {
    const missing = join(storeDirectory(), 'missing');
    const read = await store('import', newPath(), missing);
    assert.equal(read.exit, 1);
    assert.match(read.stderr, /^onehop: .*missing: cannot read this file: ENOENT[^\n]*\n$/);
    const written = await store('export', original, '-o', join(missing, 'file'));
    assert.equal(written.exit, 1);
    assert.match(written.stderr, /^onehop: cannot write .*\n$/);
  });
});

describe('compact', () => {
  test('a smaller file, and the same store to its clients', async () => {
    const path = copyOf(original);
    const text = await succeed('compact', path);
    const [, before, after] = /: ([\d,]+) bytes before, ([\d,]+) bytes after\n$/
      .exec(text)!
      .map((part) => Number(part.replaceAll(',', '')));
    assert.ok(after! < before!, text);
    assert.ok(!readdirSync(path).some((name) => name.startsWith('data.mdb.')));
    assert.match(await succeed('verify', path), /: sound/);
    assert.deepEqual((await succeed('export', path)).split('\n').sort(), (await succeed('export', original)).split('\n').sort());
    assert.deepEqual(await observeStore(path), expected);
  });

  test('not while a broker uses the store', async () => {
    const path = copyOf(original);
    const broker = await start({ 'store.path': path });
    const { exit, stderr } = await store('compact', path);
    assert.equal(exit, 1);
    assert.equal(
      stderr,
      `onehop: store: ${path} is in use by another process (${broker.pid}); a running broker compacts its own store: onehop api POST store/compact --data '{}'\n`,
    );
  });
});

describe('backup', () => {
  test('of a store that nobody uses: the same store to its clients', async () => {
    const target = newPath();
    assert.match(await succeed('backup', original, target), /: \d+ records, [\d,]+ bytes, all of them read and sound\n$/);
    assert.deepEqual(await observeStore(target), expected);
  });

  test('under load: whatever was acknowledged before it began is in it, and nothing with a gap', async () => {
    const path = storeDirectory();
    const broker = await start({ 'store.path': path, 'limits.queueMessages': 1_000_000 });
    const receivers = ['r-0', 'r-1', 'r-2', 'r-3'];
    for (const clientId of receivers)
      await (await connect(broker.port, { clientId, properties: { sessionExpiryInterval: 600 } })).disconnect();
    const acknowledged = new Array<number>(receivers.length).fill(0);
    const state = { isOver: false };
    const load = receivers.map(async (clientId, index) => {
      const publisher = await connect(broker.port, { clientId: `p-${index}` });
      for (let i = 0; !state.isOver; i++) {
        const { code } = await publisher.publish(`cmd/p2p/${clientId}`, `${i} ${'x'.repeat((i * 37) % 3000)}`, { qos: 1 });
        assert.equal(code, 0);
        acknowledged[index] = i + 1;
      }
      await publisher.disconnect();
    });
    try {
      for (let round = 0; round < 2; round++) {
        const least = [...acknowledged];
        const target = newPath();
        await succeed('backup', path, target);
        assert.match(await succeed('verify', path), /: sound/);
        const copy = await start({ 'store.path': target });
        for (const [index, clientId] of receivers.entries()) {
          const { waiting } = JSON.parse(await succeed('inspect', target, '--session', clientId, '--json')) as { waiting: number };
          assert.ok(waiting >= least[index]!, `${clientId}: ${waiting} of ${least[index]}`);
          const client = await connect(copy.port, { clientId, cleanStart: false, properties: { sessionExpiryInterval: 600 } });
          const numbers = (await client.nextMany(waiting)).map((packet) => Number(payloadText(packet).split(' ')[0]));
          assert.deepEqual(
            numbers,
            Array.from(numbers, (_, i) => i),
          );
          await client.expectNone();
          await client.disconnect();
        }
        await copy.kill();
      }
    } finally {
      state.isOver = true;
      await Promise.all(load);
    }
    assert.match(await succeed('verify', path), /: sound/);
  });

  test('only into a directory that is new or empty', async () => {
    const target = storeDirectory();
    writeFileSync(join(target, 'mine'), '');
    const { exit, stderr } = await store('backup', original, target);
    assert.deepEqual([exit, stderr], [1, `onehop: ${target} is not empty; name a directory that is new or empty\n`]);
    assert.deepEqual(readdirSync(target), ['mine']);
    const below = await store('backup', original, join(target, 'mine', 'below'));
    assert.equal(below.exit, 1);
    assert.equal(below.stderr, `onehop: store: ${join(target, 'mine', 'below')} is not a directory\n`);
  });
});

describe('one clear line', () => {
  test('where there is no store', async () => {
    const path = storeDirectory();
    for (const args of [['inspect'], ['verify'], ['export'], ['compact'], ['backup']]) {
      const { exit, stderr } = await store(...args, path, ...(args[0] === 'backup' ? [newPath()] : []));
      assert.deepEqual([exit, stderr], [1, `onehop: store: there is no store in ${path}\n`], args[0]);
    }
    rmSync(path, { recursive: true });
  });

  test('where another version wrote it', async () => {
    const path = storeDirectory();
    const made = new LogStore(path, 'none');
    made.writeMeta({ ...made.meta, format: 9 });
    await made.close();
    for (const args of [['inspect'], ['verify'], ['export'], ['compact'], ['backup']]) {
      const { exit, stderr } = await store(...args, path, ...(args[0] === 'backup' ? [newPath()] : []));
      assert.equal(exit, 1, args[0]);
      assert.match(
        stderr,
        /^onehop: store: [^\n]* was written by a newer version of onehop \(format 9, this one reads 1\); use that version\n$/,
        args[0],
      );
    }
  });

  test('every command explains itself', async () => {
    for (const command of ['inspect', 'verify', 'export', 'import', 'compact', 'backup']) {
      const { exit, stdout } = await store(command, '--help');
      assert.equal(exit, 0);
      assert.match(stdout, new RegExp(`^Usage: onehop store ${command}[\\s\\S]*Example:\\n {2}onehop store ${command}`));
    }
  });
});
