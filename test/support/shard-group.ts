/*
 * Shards in one thread, tied by real rings, with a clock that the test moves, and clients of them in memory. What a broker spreads over threads happens here in
 * one, turn by turn, so a test can look into every shard between two turns.
 */
import assert from 'node:assert/strict';
import { utf8Bytes, Writer } from '../../src/base/bytes.ts';
import { createLog } from '../../src/base/log.ts';
import type { Settings } from '../../src/base/settings.ts';
import { writeAckDetail } from '../../src/protocol/ack.ts';
import { ConnackPacket, readConnack, type WillPacket, writeConnect } from '../../src/protocol/connect.ts';
import { writeDisconnect } from '../../src/protocol/disconnect.ts';
import { Frame, readFrame } from '../../src/protocol/framer.ts';
import * as types from '../../src/protocol/packet-type.ts';
import type { Properties } from '../../src/protocol/property.ts';
import { PublishPacket, readPublishPacket, writePublishPacket } from '../../src/protocol/publish.ts';
import { type SubscribeEntry, writeSubscribe, writeUnsubscribe } from '../../src/protocol/subscribe.ts';
import { loadSettings } from '../../src/server/config.ts';
import { createLink, SharedMemory } from '../../src/server/wiring.ts';
import type { Connection } from '../../src/shard/connection.ts';
import { COUNTERS, type CounterName } from '../../src/shard/counters.ts';
import type { LinkWiring } from '../../src/shard/link.ts';
import { Shard } from '../../src/shard/shard.ts';
import { MemoryChannel } from './memory-channel.ts';
import { clientIdOn, shardOfClientId } from './placement.ts';

/** Rounds of turns after which work that is left is a fault of its own. */
const ROUNDS_MAX = 20_000;
const PACKET_BYTES_MAX = 268_435_460;

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
        new Shard(settings, { index, links: ends, wake: this.memory.wake, counters: this.memory.counters }, log, () => this.now),
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
  connect(options: MemoryClientOptions = {}): MemoryClient {
    const clientId = options.clientId ?? clientIdOn(0, this.shards.length);
    const shard = this.shards[shardOfClientId(clientId, this.shards.length)]!;
    const client = new MemoryClient(new MemoryChannel(shard), clientId, options.version ?? types.V5);
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
    mesh.links.some((link) => link?.isLive && link.unacked.count > 0)
  );
}

/** Shards without a store and with these settings, `key=value` as on the command line. */
export async function startShards(count: number, set: readonly string[] = []): Promise<ShardGroup> {
  return new ShardGroup(await loadSettings({ shards: String(count), set: ['store.enabled=false', ...set] }));
}

export interface MemoryClientOptions {
  readonly clientId?: string;
  readonly version?: types.ProtocolVersion;
  readonly cleanStart?: boolean;
  readonly keepAlive?: number;
  readonly properties?: Properties;
  readonly will?:
    | { readonly topic: string; readonly payload?: string; readonly qos?: number; readonly properties?: Properties }
    | undefined;
}

/** A packet as it came: the type, and its body. */
export interface ReceivedPacket {
  readonly type: number;
  readonly first: number;
  readonly body: Buffer;
}

export class MemoryClient {
  readonly clientId: string;
  readonly version: types.ProtocolVersion;
  readonly channel: MemoryChannel;

  constructor(channel: MemoryChannel, clientId: string, version: types.ProtocolVersion) {
    this.clientId = clientId;
    this.version = version;
    this.channel = channel;
  }

  /** One more stream of the same client. */
  openStream(): MemoryClient {
    return new MemoryClient(new MemoryChannel(this.connection.shard, this.connection), this.clientId, this.version);
  }

  connect(options: MemoryClientOptions): void {
    const { clientId } = this;
    const { will } = options;
    const willPacket: WillPacket | undefined = will && {
      topic: will.topic,
      topicBytes: utf8Bytes(will.topic),
      payload: utf8Bytes(will.payload ?? ''),
      qos: will.qos ?? 0,
      retain: false,
      properties: will.properties ?? {},
    };
    this.send((writer) =>
      writeConnect(writer, {
        version: this.version,
        cleanStart: options.cleanStart ?? true,
        keepAliveSeconds: options.keepAlive ?? 0,
        clientId,
        clientIdBytes: utf8Bytes(clientId),
        will: willPacket,
        username: undefined,
        password: undefined,
        properties: options.properties ?? {},
      }),
    );
  }

  get connection(): Connection {
    return this.channel.connection;
  }

  send(write: (writer: Writer) => void): void {
    this.channel.arrive(packetOf(write));
  }

  publish(topic: string, payload: string | Uint8Array, qos = 0, packetId = 0, properties: Properties = {}, retain = false): void {
    this.send((writer) => writePublishPacket(writer, publishOf(topic, payload, qos, packetId, properties, retain), this.version));
  }

  subscribe(filter: string, qos = 0, packetId = 1, options: Partial<SubscribeEntry> = {}, identifier = 0): void {
    const entry: SubscribeEntry = { filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0, ...options };
    const properties: Properties = identifier === 0 ? {} : { subscriptionIdentifiers: [identifier] };
    this.send((writer) => writeSubscribe(writer, { packetId, properties, entries: [entry] }, this.version));
  }

  unsubscribe(filter: string, packetId = 2): void {
    this.send((writer) => writeUnsubscribe(writer, { packetId, properties: {}, filters: [filter] }, this.version));
  }

  ack(type: number, packetId: number, code = 0): void {
    this.send((writer) => writeAckDetail(writer, type, this.version, packetId, code, undefined));
  }

  disconnect(code = 0, properties: Properties = {}): void {
    this.send((writer) => writeDisconnect(writer, this.version, code, properties));
  }

  /** All packets that the network has taken so far. */
  packets(): ReceivedPacket[] {
    const bytes = this.channel.written;
    const frame = new Frame();
    const packets: ReceivedPacket[] = [];
    let at = 0;
    while (at < bytes.length) {
      assert.equal(readFrame(frame, bytes, at, bytes.length, PACKET_BYTES_MAX), 0, 'the output is whole packets');
      packets.push({ type: frame.first >>> 4, first: frame.first, body: bytes.subarray(frame.bodyAt, frame.bodyEnd) });
      at = frame.bodyEnd;
    }
    return packets;
  }

  packetsOf(type: number): ReceivedPacket[] {
    return this.packets().filter((packet) => packet.type === type);
  }

  connack(): ConnackPacket {
    const packet = new ConnackPacket();
    const [first] = this.packets();
    assert.equal(first?.type, types.CONNACK, 'CONNACK comes first');
    assert.equal(readConnack(packet, first.body, 0, first.body.length, this.version), 0);
    return packet;
  }

  /** Messages that came so far. */
  messages(): PublishPacket[] {
    return this.packetsOf(types.PUBLISH).map(({ first, body }) => {
      const packet = new PublishPacket();
      assert.equal(readPublishPacket(packet, body, 0, body.length, first, this.version), 0);
      return packet;
    });
  }

  /** Their payloads as text. */
  payloads(): string[] {
    return this.messages().map((message) => Buffer.from(message.payload).toString());
  }
}

/** The bytes of one packet. */
export function packetOf(write: (writer: Writer) => void): Uint8Array {
  const writer = new Writer(256);
  write(writer);
  return Uint8Array.prototype.slice.call(writer.bytes, 0, writer.at);
}

export function publishOf(
  topic: string,
  payload: string | Uint8Array,
  qos: number,
  packetId: number,
  properties: Properties,
  retain: boolean,
): PublishPacket {
  const packet = new PublishPacket();
  packet.topic = topic;
  packet.payload = typeof payload === 'string' ? utf8Bytes(payload) : payload;
  packet.qos = qos;
  packet.packetId = packetId;
  packet.properties = properties;
  packet.retain = retain;
  return packet;
}
