/*
 * Goal: what an earlier version has written is read by this one: nothing of a store is lost or misread because the code has changed.
 * Method: stores that were made once (`make-golden.ts`) and committed, one for each format, copied to a directory of their own. Each is verified, and a
 * broker with the same number of shards, or another, is started on it; real clients find every single thing that `golden-traffic.ts` has left behind, and nothing else.
 */
import assert from 'node:assert/strict';
import { copyFileSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { afterEach, describe } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ENTRY_NAMES } from '../../src/journal/entry.ts';
import { RECORD_FORMAT } from '../../src/journal/record.ts';
import { inspectSession, inspectStore, verifyStore } from '../../src/server/store-commands.ts';
import { startBroker, type TestBroker } from '../support/broker.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { GOLDEN_OPTIONS, GOLDEN_SHARDS, LARGE, observeGolden } from './golden-traffic.ts';

const folder = fileURLToPath(new URL('../../../test/store/golden/', import.meta.url));
const silent = (): void => undefined;

let broker: TestBroker | null = null;
afterEach(async () => {
  await broker?.kill();
  broker = null;
});

function copyOf(format: string): string {
  const directory = storeDirectory();
  copyFileSync(join(folder, format, 'data.mdb'), join(directory, 'data.mdb'));
  return directory;
}

/** Properties that travel with a message, as the receiver finds them. */
const ALL = {
  payloadFormatIndicator: 1,
  contentType: 'text/plain; charset=utf-8',
  responseTopic: 'answers/here',
  userProperties: [
    ['key', 'one'],
    ['key', 'two'],
    ['', 'ü\u{1f600}'],
  ],
  correlationData: [0, 1, 127, 128, 255],
  expires: 'far',
};

/** The same, of a message whose sender wants a receipt. */
function withReceipt(name: string): object {
  return { ...ALL, responseTopic: `receipts/${name}`, userProperties: [['kept', name]] };
}

/** What clients find: topic, payload, how it came, properties. */
const expected: Record<string, unknown> = {
  'sender: session': true,
  'sender: held': [0, 0],
  'sender: known': [0, 0],
  'twice: session': true,
  'twice: messages': [
    ['twice/1', 'once', 'QoS 2, identifier 1'],
    ['twice/2', 'had before the crash', 'QoS 2, identifier 2'],
  ],
  'once: session': true,
  'once: messages': [
    ['twice/1', 'once', 'QoS 2, identifier 1'],
    ['twice/2', 'had before the crash', 'QoS 2, identifier 2'],
  ],
  'device-5: session': true,
  'device-5: messages': [
    ['in/sent1/a', 'sent at QoS 1', 'QoS 1, identifier 2, again', ALL],
    ['in/sent2/a', 'sent at QoS 2', 'QoS 2, identifier 3, again'],
    ['in/queued/a', 'queued 0', 'QoS 1, identifier 4, again', ALL],
    ['in/queued/a', 'queued 1', 'QoS 2, identifier 5, again'],
    ['in/queued/a', 'queued 2', 'QoS 2, identifier 6', ALL],
    ['in/queued/a', '', 'QoS 1, identifier 7'],
    ['in/large/a', LARGE, 'QoS 1, identifier 8'],
    ['opts/kept', 'with an identifier', 'QoS 1, identifier 9, retained', { subscriptionIdentifiers: [268_435_455] }],
    ['in/held/a', 'not released', 'QoS 2, identifier 10'],
    ['in/done/a', 'released', 'QoS 2, identifier 11'],
  ],
  'device-5: released': 1,
  'device-5: new messages': [
    ['opts/new', 'by another', 'QoS 1, identifier 12, retained', { subscriptionIdentifiers: [268_435_455] }],
    ['plain/new', 'plain', 'QoS 0', { subscriptionIdentifiers: [1] }],
  ],
  'device-4: session': true,
  'device-4: messages': [
    ['in/sent1/a', 'sent at QoS 1', 'QoS 1, identifier 2, again'],
    ['in/sent2/a', 'sent at QoS 2', 'QoS 1, identifier 3, again'],
    ['in/queued/a', 'queued 0', 'QoS 1, identifier 4'],
    ['in/queued/a', 'queued 1', 'QoS 1, identifier 5'],
    ['in/queued/a', 'queued 2', 'QoS 1, identifier 6'],
    ['in/queued/a', '', 'QoS 1, identifier 7'],
    ['in/large/a', LARGE, 'QoS 1, identifier 8'],
    ['in/held/a', 'not released', 'QoS 1, identifier 9'],
    ['in/done/a', 'released', 'QoS 1, identifier 10'],
  ],
  // MQTT 3.1 does not tell.
  'device-3: session': false,
  'device-3: messages': [
    ['in/released/a', 'released', 'QoS 2, identifier 1'],
    ['in/sent1/a', 'sent at QoS 1', 'QoS 1, identifier 2'],
    ['in/sent2/a', 'sent at QoS 2', 'QoS 2, identifier 3'],
    ['in/queued/a', 'queued 0', 'QoS 1, identifier 4'],
    ['in/queued/a', 'queued 1', 'QoS 2, identifier 5'],
    ['in/queued/a', 'queued 2', 'QoS 2, identifier 6'],
    ['in/queued/a', '', 'QoS 1, identifier 7'],
    ['in/large/a', LARGE, 'QoS 1, identifier 8'],
    ['in/held/a', 'not released', 'QoS 2, identifier 9'],
    ['in/done/a', 'released', 'QoS 2, identifier 10'],
  ],
  'member: session': true,
  'member: messages': [
    ['shared/1', 'for one of a group', 'QoS 1, identifier 1', { ...ALL, subscriptionIdentifiers: [9] }],
    ['shared/back', 'taken back for its group', 'QoS 1, identifier 2', { subscriptionIdentifiers: [9] }],
  ],
  'newcomer: session': false,
  'newcomer: messages': [
    ['cmd/p2p/newcomer', 'first', 'QoS 1, identifier 1', withReceipt('newcomer')],
    ['cmd/p2p/newcomer', 'second', 'QoS 2, identifier 2'],
  ],
  'sleeper: session': true,
  'sleeper: messages': [['cmd/p2p/sleeper', 'wake up', 'QoS 1, identifier 1', withReceipt('sleeper')]],
  'receipts: session': true,
  'receipts: messages': [
    ['receipts/newcomer', '{"target":"newcomer","status":"acknowledged","at":…}', ALL.correlationData],
    ['receipts/own', 'a receipt that was due', []],
    ['receipts/sleeper', '{"target":"sleeper","status":"acknowledged","at":…}', ALL.correlationData],
  ],
  'mourner: session': true,
  'mourner: wills': [
    ['wills/now', 'gone now', 'QoS 1, identifier 1'],
    ['wills/due', 'gone', 'QoS 1, identifier 2'],
  ],
  'mourner: will of a session that ends': ['wills/later', 'gone for good', 'QoS 2, identifier 3, retained', ALL],
  'left-0: session': true,
  'left-1: session': true,
  'left-2: session': true,
  'mourned-due: session': true,
  'expired: session': false,
  'ended: session': false,
  retained: [
    ['kept/0', 'retained 0', 'QoS 0, retained', ALL],
    ['kept/1', 'retained anew', 'QoS 1, retained'],
    ['kept/2', 'retained 2', 'QoS 2, retained', ALL],
    ['kept/3', 'retained 3', 'QoS 0, retained'],
    ['kept/4', 'retained 4', 'QoS 1, retained'],
    ['kept/5', 'retained 5', 'QoS 2, retained'],
  ],
};

const formats = readdirSync(folder).sort();

test('there is a store of the format that this version writes', () => {
  assert.ok(formats.includes(`format-${RECORD_FORMAT}`), 'make one with make-golden.ts, and commit it');
});

for (const format of formats) {
  describe(format, () => {
    test('nothing is wrong with it, and it holds every kind of entry', async () => {
      const directory = copyOf(format);
      assert.equal((await verifyStore(directory, assert.fail, silent)).damages, 0);
      const { entries, contents, shards, perShard } = await inspectStore(directory, silent);
      assert.deepEqual([shards, perShard.length], [GOLDEN_SHARDS, GOLDEN_SHARDS]);
      assert.deepEqual(
        ENTRY_NAMES.filter((name) => name !== 'dead' && !(entries[name]! > 0)),
        [],
      );
      assert.deepEqual(contents, {
        sessions: 17,
        connected: 3,
        away: 14,
        subscriptions: 12,
        wills: 5,
        waiting: 45,
        inflight: 7,
        received: 1,
        retained: 8,
        mailboxes: 1,
        own: 2,
        origins: 1,
      });
      // What no client can see again.
      const { holder } = await inspectSession(directory, 'device-5', false, silent);
      assert.deepEqual(holder['subscriptions'], [
        { filter: 'in/+/a', qos: 2 },
        { filter: 'plain/+', qos: 0, retainHandling: 1, identifier: 1 },
        { filter: 'opts/#', qos: 1, noLocal: true, retainAsPublished: true, retainHandling: 2, identifier: 268_435_455 },
      ]);
      assert.deepEqual([holder['username'], holder['version'], holder['expirySeconds']], ['alice', 5, 0xffffffff]);
      const three = (await inspectSession(directory, 'device-3', false, silent)).holder;
      assert.deepEqual([three['username'], three['version'], three['expirySeconds']], ['old', 3, 0xffffffff]);
      // Reading has changed nothing.
      assert.deepEqual(readFileSync(join(directory, 'data.mdb')), readFileSync(join(folder, format, 'data.mdb')));
    });

    for (const shards of [GOLDEN_SHARDS, 1, 4]) {
      test(`a broker with ${shards} shards has all of it`, async () => {
        const directory = copyOf(format);
        const { newest } = await inspectStore(directory, silent);
        broker = await startBroker({ shards, 'store.path': directory, ...GOLDEN_OPTIONS });
        assert.deepEqual(await observeGolden(broker.port, Date.parse(newest!)), expected);
        await broker.kill();
        assert.equal((await verifyStore(directory, assert.fail, silent)).damages, 0);
      });
    }
  });
}
