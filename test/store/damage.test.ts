/**
 * Goal: a broker never ends by a signal over a damaged store. With `store.onCorruption: stop` it ends with exit code 1 and one line that names file and place; with
 * `salvage` the damaged file is put aside and everything that stands before the damage is there.
 * Method: a real broker with two shards fills queues of many sessions and is killed; its store is damaged in several ways, at places that are in use; then a
 * broker is started with either setting. What must be left is worked out from the undamaged store. The seed is printed.
 */
import assert from 'node:assert/strict';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import test, { after, afterEach, before, describe } from 'node:test';
import { LogReader, type LogRecord } from '../../src/store/log-reader.ts';
import { LogStore } from '../../src/store/log-store.ts';
import { type PageEntry, PageFile } from '../../src/store/page-file.ts';
import { runCommand, stopCommands } from '../cli/run-command.ts';
import { stageCrashable } from '../scenario/crashable.ts';
import { type BrokerOptions, startBroker, type TestBroker } from '../support/broker.ts';
import { connect, payloadText } from '../support/client.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { Random, seedOf } from './damage.ts';
import { foldQueues } from './stored-traffic.ts';

const seed = seedOf('DAMAGE_SEED');
const SHARDS = 2;
const SESSIONS = 16;
const MESSAGES = 400;
const PAGE_BYTES = 4096;

/** The store as the killed broker has left it. */
const original: string = storeDirectory();
let bytes: Buffer;
/** Of the undamaged store: each record, and the pages that it lies in. */
let records: readonly (LogRecord & { readonly pages: readonly number[] })[];

before(async () => {
  const random = new Random(seed);
  const broker = await startBroker({ shards: SHARDS, 'store.path': original, 'store.durability': 'os' });
  for (let i = 0; i < SESSIONS; i++) {
    const client = await connect(broker.port, { clientId: `dev-${i}`, properties: { sessionExpiryInterval: 3600 } });
    await client.disconnect();
  }
  const publisher = await connect(broker.port, { clientId: 'publisher' });
  for (let i = 0; i < MESSAGES; i++) {
    const filler = 'x'.repeat(random.below(10) === 0 ? 1000 + random.below(20_000) : random.below(300));
    await publisher.publish(`cmd/p2p/dev-${random.below(SESSIONS)}`, `${i} ${filler}`, { qos: 1 });
  }
  await broker.kill();
  bytes = readFileSync(join(original, 'data.mdb'));
  records = readRecords(original);
  assert.ok(new Set(records.map(({ writer }) => writer)).size === SHARDS && records.length > MESSAGES);
});
afterEach(async () => {
  for (const broker of started.splice(0)) await broker.kill();
});
after(stopCommands);

/** Brokers of the test that runs; what it leaves ends with it. */
const started: TestBroker[] = [];

async function start(options: BrokerOptions): Promise<TestBroker> {
  const broker = await startBroker(options);
  started.push(broker);
  return broker;
}

function readRecords(directory: string): (LogRecord & { pages: number[] })[] {
  const pages = new PageFile(join(directory, 'data.mdb'));
  const found: (LogRecord & { pages: number[] })[] = [];
  const reader = new LogReader(directory, pages, null);
  const keys = pages.walk(reader.moment, pages.tables(reader.moment).tables.get('log')!);
  for (const item of reader.items()) {
    const key = keys.next().value as PageEntry;
    assert.equal(item.kind, 'record');
    if (item.kind !== 'record') continue;
    const first = Math.floor(item.offset / PAGE_BYTES);
    const last = Math.floor((item.offset + item.bytes.length - 1) / PAGE_BYTES);
    found.push({ ...item, pages: [key.page, ...Array.from({ length: last - first + 1 }, (_, index) => first + index)] });
  }
  pages.close();
  return found;
}

/** A copy of the store with another file. */
function damagedCopy(file: Buffer): string {
  const directory = storeDirectory();
  writeFileSync(join(directory, 'data.mdb'), file);
  return directory;
}

/** A record somewhere in the middle of a shard's log. */
function middle(random: Random): LogRecord & { readonly pages: readonly number[] } {
  const writer = random.below(SHARDS);
  const own = records.filter((record) => record.writer === writer);
  return own[Math.floor(own.length / 4) + random.below(Math.floor(own.length / 2))]!;
}

function oneOf(pages: readonly number[], random: Random): number {
  return pages[random.below(pages.length)]!;
}

/** What is done to the file; records that lie in `pages`, or in no page at all, need not survive. */
interface Damaging {
  readonly name: string;
  damage(file: Buffer, random: Random): { readonly file: Buffer; readonly pages: (page: number) => boolean };
}

const inPages =
  (from: number, count: number) =>
  (page: number): boolean =>
    page >= from && page < from + count;
const nowhere = (): boolean => false;
const everywhere = (): boolean => true;

const damagings: readonly Damaging[] = [
  {
    name: 'cut off at half',
    damage: (file) => ({ file: file.subarray(0, file.length / 2), pages: everywhere }),
  },
  {
    name: 'a page of zeroes',
    damage: (file, random) => {
      const page = oneOf(middle(random).pages, random);
      return { file: file.fill(0, page * PAGE_BYTES, (page + 1) * PAGE_BYTES), pages: inPages(page, 1) };
    },
  },
  {
    name: 'a broken page head',
    damage: (file, random) => {
      const page = oneOf(middle(random).pages, random);
      for (let at = 0; at < 24; at++) file[page * PAGE_BYTES + at] = random.below(256);
      return { file, pages: inPages(page, 1) };
    },
  },
  {
    name: 'one bit of a record',
    damage: (file, random) => {
      const { offset, bytes: record } = middle(random);
      const at = offset + random.below(record.length);
      file[at]! ^= 1 << random.below(8);
      return { file, pages: inPages(Math.floor(at / PAGE_BYTES), 1) };
    },
  },
  {
    name: 'random bytes from the middle on',
    damage: (file, random) => {
      const page = Math.floor(file.length / PAGE_BYTES / 2);
      for (let at = page * PAGE_BYTES; at < (page + 40) * PAGE_BYTES; at++) file[at] = random.below(256);
      return { file, pages: everywhere };
    },
  },
  {
    name: 'the newest meta page',
    damage: (file, random) => {
      const page = file.readUInt32LE(24 + 128) > file.readUInt32LE(PAGE_BYTES + 24 + 128) ? 0 : 1;
      for (let at = 24; at < 160; at++) file[page * PAGE_BYTES + at] = random.below(256);
      return { file, pages: nowhere };
    },
  },
  {
    name: 'both meta pages',
    damage: (file) => ({ file: file.fill(0, 0, 2 * PAGE_BYTES), pages: everywhere }),
  },
  {
    name: 'an empty file',
    damage: () => ({ file: Buffer.alloc(0), pages: everywhere }),
  },
  {
    name: 'another file',
    damage: (file, random) => {
      for (let at = 0; at < file.length; at++) file[at] = random.below(256);
      return { file, pages: everywhere };
    },
  },
];

/** A broker that serves, then is killed. */
async function startAndKill(options: BrokerOptions): Promise<void> {
  const broker = await start(options);
  await (await connect(broker.port)).disconnect();
  await broker.kill();
}

describe(`seed ${seed}`, () => {
  damagings.forEach(({ name, damage }, index) => {
    const random = new Random(seed + index + 1);
    let file: Buffer;
    let pages: (page: number) => boolean;

    test(`${name}: the start ends with one line`, async () => {
      ({ file, pages } = damage(Buffer.from(bytes), random));
      const directory = damagedCopy(file);
      const { exit, stderr } = await runCommand(['start', '--shards', String(SHARDS), ...listening], { ONEHOP_STORE__PATH: directory });
      assert.equal(exit, 1, stderr);
      const line = `onehop: store: ${join(directory, 'data.mdb')}: `;
      assert.ok(stderr.startsWith(line), stderr);
      assert.match(stderr, /^[^\n]*; restore a backup, or start with store\.onCorruption: salvage to keep what is before the damage\n$/);
      assert.deepEqual(
        readdirSync(directory).filter((entry) => entry.startsWith('data.mdb.')),
        [],
      );
    });

    test(`${name}: a salvage keeps what is before it`, async () => {
      const directory = damagedCopy(file);
      const broker = await start({ shards: SHARDS, 'store.path': directory, 'store.onCorruption': 'salvage' });
      const aside = readdirSync(directory).filter((entry) => entry.startsWith('data.mdb.damaged-'));
      assert.equal(aside.length, 1);
      assert.match(aside[0]!, /^data\.mdb\.damaged-\d{8}T\d{6}Z$/);
      assert.deepEqual(readFileSync(join(directory, aside[0]!)), file);
      const said = broker.log.find((line) => String(line['msg']).startsWith('the store was damaged: '));
      assert.ok(String(said?.['msg']).includes(join(directory, 'data.mdb')), JSON.stringify(broker.log));
      const report = broker.log.find((line) => String(line['msg']).startsWith('the store was made anew'));
      assert.equal(report?.['aside'], join(directory, aside[0]!));

      const kept = keptOf(directory, Number(report?.['keptRecords']), pages);
      const queues = foldQueues(kept);
      for (let i = 0; i < SESSIONS; i++) {
        const clientId = `dev-${i}`;
        const expected = queues.get(clientId);
        const client = await connect(broker.port, { clientId, cleanStart: false, properties: { sessionExpiryInterval: 3600 } });
        assert.equal(client.connack.sessionPresent, expected !== undefined, clientId);
        const received = await client.nextMany(expected?.length ?? 0);
        assert.deepEqual(received.map(payloadText), expected ?? [], clientId);
        await client.expectNone();
      }
      assert.equal(await broker.stop(), 0);
      // The next start finds nothing to complain about.
      await startAndKill({ shards: SHARDS, 'store.path': directory });
    });
  });
});

const listening: readonly string[] = ['--set', 'listeners=[{ type: tcp, bind: 127.0.0.1:0 }]'];

/** Records of the undamaged store that a salvage has kept: for each shard the first ones, and all before the first that lies in a damaged page. */
function keptOf(directory: string, count: number, isDamaged: (page: number) => boolean): LogRecord[] {
  const there = new Set(readRecords(directory).map(({ record, bytes: content }) => `${record} ${content.readUInt32LE(4)}`));
  const kept: LogRecord[] = [];
  for (let writer = 0; writer < SHARDS; writer++) {
    const own = records.filter((record) => record.writer === writer);
    const isKept = own.map(({ record, bytes: content }) => there.has(`${record} ${content.readUInt32LE(4)}`));
    const length = isKept.includes(false) ? isKept.indexOf(false) : own.length;
    assert.ok(!isKept.slice(length).includes(true), 'nothing behind the damage is kept');
    // The newest commit is in one moment of the file only.
    const firstDamaged = own.findIndex((record) => record.pages.some(isDamaged));
    const least = firstDamaged < 0 ? own.length - 1 : firstDamaged;
    assert.ok(length >= least, `shard ${writer}: ${length} records are kept, ${least} stand before the damage`);
    kept.push(...own.slice(0, length));
  }
  assert.equal(kept.length, count);
  return kept;
}

describe('one clear line', () => {
  async function refusal(env: Record<string, string>): Promise<string> {
    const { exit, stderr } = await runCommand(['start', '--shards', '1', ...listening], env);
    assert.equal(exit, 1, stderr);
    assert.match(stderr, /^onehop: [^\n]*\n$/);
    return stderr;
  }

  test('the store is in use by another process', async () => {
    const directory = storeDirectory();
    const broker = await start({ 'store.path': directory });
    const line = await refusal({ ONEHOP_STORE__PATH: directory });
    assert.equal(line, `onehop: store: ${directory} is in use by another process (${broker.pid}); stop it or choose another store.path\n`);
    // Its death frees the store.
    await broker.kill();
    await startAndKill({ 'store.path': directory });
  });

  test('the path is a file, or leads through one', async () => {
    const file = join(storeDirectory(), 'file');
    writeFileSync(file, '');
    assert.equal(await refusal({ ONEHOP_STORE__PATH: file }), `onehop: store: ${file} is not a directory\n`);
    const below = join(file, 'below');
    assert.equal(await refusal({ ONEHOP_STORE__PATH: below }), `onehop: store: ${below} is not a directory\n`);
  });

  test('a store of a newer version, also where damage would be salvaged', async () => {
    const directory = storeDirectory();
    const store = new LogStore(directory, 'none');
    store.writeMeta({ ...store.meta, format: 2 });
    await store.close();
    for (const onCorruption of ['stop', 'salvage']) {
      const line = await refusal({ ONEHOP_STORE__PATH: directory, ONEHOP_STORE__ON_CORRUPTION: onCorruption });
      const reads = '(format 2, this one reads 1)';
      assert.equal(line, `onehop: store: ${directory} was written by a newer version of onehop ${reads}; use that version\n`);
      assert.deepEqual(
        readdirSync(directory).filter((name) => name.includes('damaged')),
        [],
      );
    }
  });

  test('a store that spreads clients in another way', async () => {
    const directory = storeDirectory();
    const store = new LogStore(directory, 'none');
    store.writeMeta({ ...store.meta, slotMap: 'hash32/4096' });
    await store.close();
    const line = await refusal({ ONEHOP_STORE__PATH: directory });
    assert.match(
      line,
      /spreads clients in another way \(hash32\/4096, this version uses hash32\/1024\); export it with the version that wrote it/,
    );
  });
});

describe('while a broker runs', () => {
  test('a restarted shard finds a damaged record: the broker ends with an error that names it', async (t) => {
    const directory = storeDirectory();
    const broker = await stageCrashable(t, { shards: 1, 'store.path': directory });
    await (await connect(broker.port, { clientId: 'dev', properties: { sessionExpiryInterval: 60 } })).disconnect();
    const publisher = await connect(broker.port, { clientId: 'publisher' });
    await publisher.publish('cmd/p2p/dev', 'x'.repeat(100), { qos: 1 });
    const [record] = readRecords(directory).slice(-1);
    const fd = openSync(join(directory, 'data.mdb'), 'r+');
    writeSync(fd, Buffer.from([record!.bytes.at(-1)! ^ 1]), 0, 1, record!.offset + record!.bytes.length - 1);
    closeSync(fd);
    broker.crash(0);
    assert.equal(await broker.ended, 1);
    const line = broker.log.find((entry) => entry['msg'] === 'the store cannot be used any more: the broker ends');
    assert.match(String(line?.['error']), /data\.mdb: record \d+ of shard 0: wrong checksum; restore a backup/);
  });
});

describe('starts', () => {
  test('salvage leaves a sound store alone, and so does a start after a kill in the middle of making a new one', async () => {
    const directory = storeDirectory();
    copyFileSync(join(original, 'data.mdb'), join(directory, 'data.mdb'));
    await startAndKill({ shards: SHARDS, 'store.path': directory, 'store.onCorruption': 'salvage' });
    assert.deepEqual(
      readdirSync(directory).filter((name) => name.includes('damaged')),
      [],
    );
    const unfinished = storeDirectory();
    rmSync(unfinished, { recursive: true });
    mkdirSync(unfinished);
    writeFileSync(join(unfinished, 'data.mdb'), '');
    writeFileSync(join(unfinished, 'data.mdb.new'), '');
    await startAndKill({ 'store.path': unfinished });
    assert.ok(!existsSync(join(unfinished, 'data.mdb.new')));
  });
});
