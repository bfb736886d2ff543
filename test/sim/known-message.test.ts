/*
 * Goal: a QoS 2 message that its receiver's shard has stored is taken as known when the publisher sends it again, also while the disk takes nothing.
 * Method: the broker dies after the receiver's shard has stored the message and before the publisher's shard could note it. After the restart the disk fails, the
 * publisher sends again, the disk works again, and the receiver comes: the publisher must have its PUBREC, and the receiver one copy.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { loadSettings } from '../../src/server/config.ts';
import { recoverShard } from '../../src/server/recover-shard.ts';
import { clientIdOn, shardOfClientId } from '../support/placement.ts';
import { ShardGroup } from '../support/shard-group.ts';
import { FakeDisk } from './fake-disk.ts';
import { SimClient, type SimMessage } from './sim-client.ts';

const SHARDS = 2;
const TURNS = 20;

class Scene {
  readonly disk = new FakeDisk();
  group!: ShardGroup;

  async start(): Promise<void> {
    const settings = await loadSettings({ shards: String(SHARDS), set: ['mqtt.sysInterval=0', 'p2p.mailbox.enabled=true'] });
    this.group = new ShardGroup(settings, 1_700_000_000_000);
    const { isRewrite, nextCount } = this.disk.open(SHARDS);
    for (const shard of this.group.shards) {
      const store = { epoch: this.disk.epoch, nextCount, isRewrite, isProcessStart: true };
      recoverShard(shard, store, this.disk.port(shard.index, isRewrite, shard.journal), () => shard.checkReady());
    }
    await this.turns();
    this.disk.adopt(SHARDS);
  }

  async turns(): Promise<void> {
    for (let turn = 0; turn < TURNS; turn++) {
      this.group.now += 5;
      for (const shard of this.group.shards) shard.startTurn();
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      this.disk.answerReads();
    }
  }

  async connect(client: SimClient): Promise<void> {
    client.connect(this.group.shards[shardOfClientId(client.clientId, SHARDS)]!);
    await this.turns();
  }

  /** Everything that was handed over is on disk, and all take what comes of it. */
  async settle(...clients: SimClient[]): Promise<void> {
    for (let round = 0; round < 4; round++) {
      this.disk.sync();
      await this.turns();
      for (const client of clients) {
        client.take();
        client.answer(10);
      }
      await this.turns();
    }
  }
}

for (const hasSession of [true, false]) {
  test(`a message that is stored in a ${hasSession ? 'session' : 'mailbox'} is known while the disk fails`, async (t) => {
    const scene = new Scene();
    t.after(() => scene.group.stop());
    await scene.start();
    const publisher = new SimClient(clientIdOn(1, SHARDS, 'publisher'), false);
    const receiver = new SimClient(clientIdOn(0, SHARDS, 'receiver'), false);
    const other = new SimClient(clientIdOn(0, SHARDS, 'other'), false);
    await scene.connect(publisher);
    if (hasSession) await scene.connect(receiver);
    await scene.settle(publisher, receiver);
    if (hasSession) receiver.lose(true);
    await scene.settle(publisher);

    const message: SimMessage = {
      id: 'one',
      publisher: publisher.clientId,
      order: 1,
      topic: `cmd/p2p/${receiver.clientId}`,
      qos: 2,
      retain: false,
      targets: new Map(),
      isPromised: false,
      isOutOfOrder: false,
    };
    publisher.publish(message);
    await scene.turns();
    assert.ok(scene.disk.hasUnsynced, 'the receiver’s shard has handed it over');
    // What was under way has just reached the disk; the publisher's shard has not heard of it.
    scene.disk.crash(true);
    publisher.lose(false);
    scene.group.stop();
    await scene.start();

    await scene.connect(publisher);
    await scene.settle();
    await scene.connect(other);
    assert.ok(scene.disk.hasUnsynced, 'there is something that can fail');
    // The message is on its way to the receiver's shard when the disk fails.
    publisher.take();
    scene.disk.fail();
    await scene.turns();
    assert.ok(scene.group.shards.every((shard) => shard.journal.isDegraded));
    await scene.settle(publisher, other);
    assert.ok(message.isPromised, 'the publisher is not refused');
    await scene.connect(receiver);
    await scene.settle(publisher, receiver);
    assert.deepEqual(
      receiver.arrived.map(({ id }) => id),
      ['one'],
    );
  });
}
