/*
 * Goal: a client that has a mailbox and comes for a moment, with a session that ends with its connection, leaves to the next session what it did not take, as
 * messages that this one has never seen, also when the power goes meanwhile and the store still knows a mailbox.
 * Method: a shard over a disk in memory; the test decides when the power goes, and has records rewritten as the cleaner does.
 */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { PUBACK, PUBREC, PUBREL } from '../../src/protocol/packet-type.ts';
import { RecordWalk, rewrite } from '../../src/shard/cleaner.ts';
import type { MemoryClient } from '../support/shard-group.ts';
import { KEPT, StoredScene } from './stored-scene.ts';

/** Comes for a moment, and is sent three messages at a time. */
const PASSING = { clientId: 'late', cleanStart: true, properties: { receiveMaximum: 3 } } as const;

/** A broker with a mailbox of six messages. @returns their record, too */
async function mailboxOf(t: TestContext, qos: number): Promise<{ scene: StoredScene; record: number }> {
  const scene = new StoredScene();
  t.after(() => scene.stop());
  await scene.start(1);
  const publisher = scene.group.connect({ clientId: 'publisher' });
  await scene.work();
  const { record } = scene.group.shards[0]!.journal.open;
  for (let job = 1; job <= 6; job++) publisher.publish('cmd/p2p/late', `job ${job}`, qos, job);
  await scene.work();
  return { scene, record };
}

/** Copies what is needed of a record to the end of the log. */
function clean(scene: StoredScene, record: number): void {
  const walk = new RecordWalk();
  walk.begin(record, scene.disk.get(record)!);
  assert.ok(rewrite(scene.group.shards[0]!, walk, Number.POSITIVE_INFINITY));
}

async function restart(scene: StoredScene): Promise<void> {
  await scene.work();
  scene.crash(false);
  await scene.start(1);
}

/** Payloads with DUP. */
function arrivals(client: MemoryClient): [string, boolean][] {
  return client.messages().map(({ payload, dup }) => [Buffer.from(payload).toString(), dup]);
}

for (const isCleaned of [false, true]) {
  const when = isCleaned ? 'after cleaning' : 'without cleaning';
  for (const [qos, answer] of [
    [1, PUBACK],
    [2, PUBREC],
  ] as const) {
    test(`what was under way at QoS ${qos} to a session that has ended is new to the next one, in order, ${when}`, async (t) => {
      const { scene, record } = await mailboxOf(t, qos);
      const passing = scene.group.connect(PASSING);
      await scene.work();
      for (const { packetId } of passing.messages().slice(0, 2)) passing.ack(answer, packetId);
      await scene.work();
      const taken = qos === 1 ? 5 : 3;
      assert.equal(passing.messages().length, taken, 'of QoS 2 a release that is not answered keeps its place');
      if (isCleaned) clean(scene, record);
      await restart(scene);
      // It takes less at a time than the one before: most of what that one had under way waits.
      const narrow = scene.group.connect({ clientId: 'late', cleanStart: false, properties: { ...KEPT.properties, receiveMaximum: 1 } });
      await scene.work();
      assert.deepEqual(arrivals(narrow), [['job 3', false]]);
      await restart(scene);
      const wide = scene.group.connect({ clientId: 'late', ...KEPT });
      await scene.work();
      assert.equal(wide.connack().sessionPresent, true);
      assert.deepEqual(arrivals(wide), [
        ['job 3', true],
        ['job 4', false], // [MQTT-3.3.1-1]
        ['job 5', false],
        ['job 6', false],
      ]);
      assert.equal(wide.packetsOf(PUBREL).length, 0, 'it is told to release nothing that it does not have');
    });
  }
}
