/*
 * Shards over a disk in memory, for tests of one moment: the test says which shard's commit reaches the disk, when the power goes, and when the disk refuses.
 */
import { writePublishPacket } from '../../src/protocol/publish.ts';
import { loadSettings } from '../../src/server/config.ts';
import { recoverShard } from '../../src/server/recover-shard.ts';
import { publishOf } from '../support/packet-client.ts';
import { type MemoryClient, ShardGroup } from '../support/shard-group.ts';
import { FakeDisk } from './fake-disk.ts';

/** A session that outlives its connection by ten minutes. */
export const KEPT = { cleanStart: false, properties: { sessionExpiryInterval: 600 } } as const;

const EPOCH_MILLISECONDS = 1_700_000_000_000;

export class StoredScene {
  readonly disk: FakeDisk;
  group!: ShardGroup;
  private readonly set: readonly string[];
  private now: number;

  constructor(set: readonly string[] = []) {
    this.disk = new FakeDisk();
    this.set = ['mqtt.sysInterval=0', 'p2p.mailbox.enabled=true', ...set];
    this.now = EPOCH_MILLISECONDS;
  }

  /** Starts the broker over what is on the disk. @param late shard that reads its store so many turns later than the others; -1: none */
  async start(shards: number, late = -1): Promise<void> {
    const settings = await loadSettings({ shards: String(shards), set: [...this.set] });
    this.group = new ShardGroup(settings, this.now);
    const { isRewrite, nextCount } = this.disk.open(shards);
    const recover = (index: number): void => {
      const shard = this.group.shards[index]!;
      const store = { epoch: this.disk.epoch, nextCount, isRewrite, isProcessStart: true };
      recoverShard(shard, store, this.disk.port(index, isRewrite, shard.journal), () => shard.checkReady());
    };
    for (const { index } of this.group.shards) if (index !== late) recover(index);
    await this.work();
    if (late >= 0) recover(late);
    await this.work();
    this.disk.adopt(shards);
  }

  stop(): void {
    this.now = this.group.now;
    this.group.stop();
  }

  /** The power goes. @param isLucky whether what was handed over has just reached the disk */
  crash(isLucky: boolean): void {
    this.disk.crash(isLucky);
    this.stop();
    this.now += 1000;
  }

  /** Turns of every shard, `milliseconds` of their clock each; nothing reaches the disk. */
  async turns(count = 10, milliseconds = 2): Promise<void> {
    for (let turn = 0; turn < count; turn++) {
      this.group.now += milliseconds;
      for (const shard of this.group.shards) {
        shard.startTurn();
        shard.timers.advance();
      }
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
  }

  /** Turns in which the disk takes everything. */
  async work(rounds = 10): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      await this.turns(6, 5);
      this.disk.sync();
      this.disk.answerReads();
    }
    await this.turns(4);
  }

  /** The commits of this shard alone reach the disk. */
  syncOnly(shard: number): void {
    this.disk.syncOnly(shard);
  }

  /** The disk refuses from now on; somebody has to want to write something. */
  async fail(): Promise<void> {
    this.group.connect({ clientId: `asks-the-disk-${this.group.now}`, ...KEPT });
    await this.turns(6, 10);
    this.disk.fail();
    await this.turns(2);
  }

  /** PUBLISH with DUP. */
  publishAgain(client: MemoryClient, topic: string, payload: string, packetId: number): void {
    const packet = publishOf(topic, payload, 2, packetId, {}, false);
    packet.dup = true;
    client.send((writer) => writePublishPacket(writer, packet, 5));
  }
}
