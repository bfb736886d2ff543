/*
 * Shards in one thread, tied by real rings, with a clock that the test moves, and clients of them in memory. What a broker spreads over threads happens here in
 * one, turn by turn, so a test can look into every shard between two turns.
 */
import assert from 'node:assert/strict';
import { createLog } from '../../src/base/log.ts';
import type { Settings } from '../../src/base/settings.ts';
import { type ProtocolVersion, V5 } from '../../src/protocol/packet-type.ts';
import { loadSettings } from '../../src/server/config.ts';
import { createLink, SharedMemory } from '../../src/server/wiring.ts';
import type { Connection } from '../../src/shard/connection.ts';
import { COUNTERS, type CounterName } from '../../src/shard/counters.ts';
import type { LinkWiring } from '../../src/shard/link.ts';
import { Shard } from '../../src/shard/shard.ts';
import { MemoryChannel } from './memory-channel.ts';
import { type ConnectOptions, PacketClient } from './packet-client.ts';
import { clientIdOn, shardOfClientId } from './placement.ts';

/** Rounds of turns after which work that is left is a fault of its own. */
const ROUNDS_MAX = 20_000;

export class ShardGroup {
  readonly settings: Settings;
  readonly shards: readonly Shard[];
  readonly memory: SharedMemory;
  /** Wall milliseconds that every shard sees. */
  now: number;

  constructor(settings: Settings, now = 1_700_000_000_000) {
    const count = settings.shards;
    this.settings = settings;
    this.now = now;
    this.memory = new SharedMemory(count);
    const links: (LinkWiring | null)[][] = [];
    for (let i = 0; i < count; i++) links.push(new Array<LinkWiring | null>(count).fill(null));
    for (let a = 0; a < count; a++) {
      for (let b = a + 1; b < count; b++) {
        const link = createLink(settings.limits.ringBytes);
        links[a]![b] = link.a;
        links[b]![a] = link.b;
      }
    }
    const log = createLog('silent', {});
    this.shards = links.map(
      (ends, index) =>
        new Shard(
          settings,
          {
            index,
            links: ends,
            wake: this.memory.wake,
            counters: this.memory.counters,
            quotas: this.memory.quotas,
            measures: this.memory.measures,
          },
          log,
          () => this.now,
        ),
    );
    for (const shard of this.shards) {
      // With a store they serve when they have read it.
      shard.isServing = !settings.store.enabled;
      shard.onReady = () => {
        shard.isServing = true;
      };
    }
  }

  /** Runs turns until no shard has anything to do that does not need a client or the clock. */
  async settle(): Promise<void> {
    let quiet = 0;
    for (let round = 0; quiet < 4; round++) {
      assert.ok(round < ROUNDS_MAX, 'the shards come to rest');
      for (const shard of this.shards) shard.startTurn();
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
      quiet = this.shards.some(isBusy) ? 0 : quiet + 1;
    }
  }

  /** Moves the clock and lets the timers fire. */
  async pass(seconds: number): Promise<void> {
    this.now += seconds * 1000;
    for (const shard of this.shards) {
      shard.startTurn();
      shard.timers.advance();
    }
    await this.settle();
  }

  /** One counter, summed over the shards. */
  count(name: CounterName): number {
    return this.shards[0]!.sumOfAll(COUNTERS.indexOf(name));
  }

  /** A client whose CONNECT has been sent, and answered if the shards are settled afterwards. */
  connect(options: ConnectOptions = {}): MemoryClient {
    const clientId = options.clientId ?? clientIdOn(0, this.shards.length);
    const shard = this.shards[shardOfClientId(clientId, this.shards.length)]!;
    const client = new MemoryClient(new MemoryChannel(shard), clientId, options.version ?? V5);
    client.connect(options);
    return client;
  }

  stop(): void {
    // A batch that waits for more would wait for ever on a clock that stands still.
    this.now += 1000;
    for (const shard of this.shards) {
      shard.stopTimers();
      // Whoever sleeps for good is never given back.
      const words = new Int32Array(this.memory.wake);
      for (let word = 0; word < words.length; word++) Atomics.notify(words, word);
      for (const link of shard.mesh.links) link?.port.close();
    }
  }
}

function isBusy(shard: Shard): boolean {
  const { mesh } = shard;
  return (
    mesh.hasWork ||
    mesh.hasOverflow ||
    shard.dirty.length > 0 ||
    shard.dirtyQueries.length > 0 ||
    shard.outbox.count > 0 ||
    shard.timers.isBehind ||
    shard.filterWorks.count > 0 ||
    shard.withdrawals.length > 0 ||
    mesh.links.some((link) => link?.isLive && link.unacked.count > 0)
  );
}

/** Shards without a store and with these settings, `key=value` as on the command line. */
export async function startShards(count: number, set: readonly string[] = []): Promise<ShardGroup> {
  return new ShardGroup(await loadSettings({ shards: String(count), set: ['store.enabled=false', ...set] }));
}

export class MemoryClient extends PacketClient {
  readonly channel: MemoryChannel;

  constructor(channel: MemoryChannel, clientId: string, version: ProtocolVersion) {
    super(clientId, version);
    this.channel = channel;
  }

  protected transmit(bytes: Uint8Array): void {
    this.channel.arrive(bytes);
  }

  protected get incoming(): Buffer {
    return this.channel.written;
  }

  /** One more stream of the same client. */
  openStream(): MemoryClient {
    return new MemoryClient(new MemoryChannel(this.connection.shard, this.connection), this.clientId, this.version);
  }

  get connection(): Connection {
    return this.channel.connection;
  }
}
