/*
 * One world of the simulation: a broker of several shards on one thread, its store on a disk in memory, clients that keep their sessions, a clock that the
 * world moves, and crashes. Everything that happens is drawn from one seed, so a seed that fails fails again.
 *
 * Checked at the end, when all has been healed, connected and drained: no promised message is missing, none of QoS 2 came twice, the first copies of QoS 1 and
 * all of QoS 2 came in the order of their publisher (both not where a client has several streams), no session and no subscription is gone, each topic that was promised a Retained Message has one, nothing
 * waits any more, and the log is short.
 */
import assert from 'node:assert/strict';
import type { Settings } from '../../src/base/settings.ts';
import { loadSettings } from '../../src/server/config.ts';
import { recoverShard } from '../../src/server/recover-shard.ts';
import { shardOfClientId } from '../support/placement.ts';
import { ShardGroup } from '../support/shard-group.ts';
import { FakeDisk } from './fake-disk.ts';
import { Random } from './random.ts';
import { SimClient, type SimMessage } from './sim-client.ts';

const CLIENTS = 5;
/** Those of them that have further streams, in a part of the worlds, and how many. */
const STREAM_CLIENTS = 3;
const STREAM_WORLDS = 0.4;
const STREAMS = 3;
/** Messages of a client at once. */
const BURST = 80;
const TOPICS = 2;
const STEPS = 140;
/** Rounds of turns after which a world that does not come to rest is a fault. */
const ROUNDS_MAX = 6000;
/** The cleaner works on a log of this size, so that a short world sees it work: four rounds in each, most records walked in pieces. */
const LOG_BYTES = 1000;
/** What a world whose messages have all arrived may leave, in all shards. */
const LOG_BYTES_MAX = 60_000;

const settingsOf = new Map<number, Settings>();

async function settingsFor(shards: number, durability: string): Promise<Settings> {
  const key = shards * 2 + (durability === 'os' ? 1 : 0);
  let settings = settingsOf.get(key);
  if (settings === undefined) {
    const set = [
      `store.durability=${durability}`,
      'limits.ringBytes=16KiB',
      'limits.inflight=4',
      'mqtt.sysInterval=0',
      'p2p.mailbox.enabled=true',
    ];
    settings = await loadSettings({ shards: String(shards), set });
    settingsOf.set(key, settings);
  }
  return settings;
}

/** What a world has been through, for people. */
export interface WorldFacts {
  crashes: number;
  commits: number;
  messages: number;
  arrivals: number;
  failures: number;
}

export class World {
  readonly facts: WorldFacts;
  private readonly random: Random;
  private readonly disk: FakeDisk;
  /** Some clients have several streams, and some messages come in bursts. */
  private readonly hasStreams: boolean;
  private readonly clients: SimClient[];
  private readonly messages: SimMessage[];
  private readonly orders: Map<string, number>;
  private readonly reader: SimClient;
  private group: ShardGroup | null;
  private now: number;

  constructor(seed: number, disk: FakeDisk = new FakeDisk()) {
    this.facts = { crashes: 0, commits: 0, messages: 0, arrivals: 0, failures: 0 };
    this.random = new Random(seed);
    this.disk = disk;
    this.hasStreams = this.random.chance(STREAM_WORLDS);
    const streamClients = this.hasStreams ? STREAM_CLIENTS : 0;
    this.clients = Array.from({ length: CLIENTS }, (_, i) => new SimClient(`client-${i}`, i % 2 === 0, i < streamClients));
    this.reader = new SimClient('reader', false);
    this.messages = [];
    this.orders = new Map();
    this.group = null;
    this.now = 1_700_000_000_000;
  }

  /** Lives through all of it. @throws AssertionError at what must not be */
  async run(): Promise<void> {
    await this.start();
    for (let step = 0; step < STEPS; step++) {
      await this.step();
      for (const client of this.clients) client.take();
    }
    await this.heal();
    this.check();
    this.stopShards();
  }

  private async start(): Promise<void> {
    const shards = this.disk.shards === 0 || this.random.chance(0.5) ? 1 + this.random.below(3) : this.disk.shards;
    const settings = await settingsFor(shards, 'fsync');
    const group = new ShardGroup(settings, this.now);
    this.group = group;
    const { isRewrite, nextCount } = this.disk.open(shards);
    let left = shards;
    for (const shard of group.shards) {
      const store = { epoch: this.disk.epoch, nextCount, isRewrite, isProcessStart: true };
      shard.onReady = () => {
        if (!shard.isServing) left--;
        shard.isServing = true;
      };
      recoverShard(shard, store, this.disk.port(shard.index, isRewrite, shard.journal), () => shard.checkReady(), LOG_BYTES);
    }
    for (let round = 0; left > 0; round++) {
      assert.ok(round < ROUNDS_MAX, 'the shards recover');
      await this.turn();
      // The broker may die again while it recovers.
      if (this.random.chance(0.01)) {
        await this.crash();
        return;
      }
      if (this.random.chance(0.7)) this.disk.sync();
      this.disk.answerReads();
    }
    this.disk.adopt(shards);
  }

  private stopShards(): void {
    this.group?.stop();
    this.group = null;
  }

  private async crash(): Promise<void> {
    this.facts.crashes++;
    this.disk.crash(this.random.chance(0.5));
    for (const client of this.clients) client.lose(false);
    this.stopShards();
    await this.start();
  }

  /** One turn of every shard. */
  private async turn(): Promise<void> {
    this.now += this.random.below(4);
    const group = this.group!;
    group.now = this.now;
    for (const shard of group.shards) shard.startTurn();
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
  }

  private async step(): Promise<void> {
    const { random } = this;
    const client = random.of(this.clients);
    if (client.hasStreams && client.isConnected && random.chance(0.4)) this.useStreams(client);
    const kind = random.below(100);
    if (kind < 30) this.publishSome(client);
    else if (kind < 50) client.answer(1 + random.below(4));
    else if (kind < 62) this.connect(client);
    else if (kind < 66) client.lose(true, random.chance(0.5));
    else if (kind < 72 && client.isConnected)
      client.subscribe(random.of(['all/#', ...topics()]), 1 + random.below(2), 2, client.hasStreams ? random : null);
    else if (kind < 84) this.disk.sync();
    else if (kind < 88) this.disk.answerReads();
    else if (kind < 90) {
      this.facts.failures++;
      this.disk.fail();
    } else if (kind < 92) this.now += 30;
    else if (kind < 94) await this.crash();
    await this.turn();
  }

  private useStreams(client: SimClient): void {
    const { random } = this;
    const kind = random.below(10);
    if (kind < 3 && client.streamCount < STREAMS) client.openStream();
    else if (kind < 4) this.endStream(client);
    else if (kind < 7) client.subscribe(random.of(['all/#', ...topics()]), 1 + random.below(2), 2, random);
  }

  /** What is on its way to a subscription that ends need not come. */
  private endStream(client: SimClient): void {
    client.endStream(this.random);
    for (const { targets, topic, isPromised } of this.messages)
      if (!isPromised && topic.startsWith('all/')) targets.delete(client.clientId);
  }

  private connect(client: SimClient): void {
    if (client.isConnecting) return;
    const group = this.group!;
    client.connect(group.shards[shardOfClientId(client.clientId, group.shards.length)]!);
  }

  private publishSome(client: SimClient): void {
    if (!client.isConnected) return;
    // Now and then more than a queue keeps in memory.
    const count = this.hasStreams && this.random.chance(0.06) ? BURST : 1 + this.random.below(3);
    for (let i = 0; i < count; i++) this.publish(client);
  }

  private publish(client: SimClient): void {
    const { random } = this;
    const qos = 1 + random.below(2);
    const order = (this.orders.get(client.clientId) ?? 0) + 1;
    this.orders.set(client.clientId, order);
    const isP2p = random.chance(0.6);
    const target = random.of(this.clients);
    const topic = isP2p ? `cmd/p2p/${target.clientId}` : random.of(topics());
    const targets = new Map<string, number>();
    if (isP2p) {
      if (target.hasSession) targets.set(target.clientId, qos);
    } else {
      for (const subscriber of this.clients) {
        const granted = Math.max(subscriber.granted(topic), subscriber.granted('all/#'));
        if (granted > 0) targets.set(subscriber.clientId, Math.min(qos, granted));
      }
    }
    const isOutOfOrder = this.group!.shards.some((shard) => shard.journal.isDegraded);
    const retain = !isP2p && random.chance(0.3);
    const message: SimMessage = {
      id: `${client.clientId}:${order}`,
      publisher: client.clientId,
      order,
      topic,
      qos,
      retain,
      targets,
      isPromised: false,
      isOutOfOrder,
    };
    this.messages.push(message);
    this.facts.messages++;
    client.publish(message);
  }

  /** The disk works, everyone comes back, and everything comes to its end. */
  private async heal(): Promise<void> {
    if (this.random.chance(0.5)) await this.crash();
    let quiet = 0;
    for (let round = 0; quiet < 6; round++) {
      assert.ok(round < ROUNDS_MAX, `the world comes to rest: ${this.unrest()}`);
      for (const client of this.clients) {
        client.take();
        this.connect(client);
        client.answer(1000);
      }
      this.disk.sync();
      this.disk.answerReads();
      this.now += 10;
      await this.turn();
      quiet = this.unrest() === '' ? quiet + 1 : 0;
    }
    this.facts.commits = this.disk.commits;
    await this.readRetained();
  }

  /** A client that was never here before asks for all Retained Messages. */
  private async readRetained(): Promise<void> {
    const { reader } = this;
    this.connect(reader);
    let hasAsked = false;
    for (let quiet = 0; quiet < 6; quiet++) {
      reader.take();
      reader.answer(1000);
      this.disk.sync();
      this.disk.answerReads();
      await this.turn();
      if (!reader.isConnected || reader.granted('all/#') === 0) quiet = 0;
      if (reader.isConnected && !hasAsked) {
        hasAsked = true;
        reader.subscribe('all/#', 1, 0);
      }
    }
  }

  /** What is not finished, in words. */
  private unrest(): string {
    const open = this.clients
      .filter((client) => !client.isConnected || client.openCount > 0)
      .map((client) => `${client.clientId} ${client.openCount}`);
    const queued = this.group!.count('queued/messages');
    const words = [...open, ...(queued > 0 ? [`${queued} queued`] : [])];
    if (this.disk.hasUnsynced || this.disk.hasReads) words.push('the disk');
    return words.join(', ');
  }

  private check(): void {
    const problems = this.clients.flatMap((client) => client.complaints);
    for (const client of this.clients) {
      const live = client.arrived.filter(({ isRetained }) => !isRetained);
      this.facts.arrivals += live.length;
      problems.push(...this.problemsOf(client, live));
    }
    const retained = new Set(this.reader.arrived.map(({ id }) => this.messages.find((message) => message.id === id)!.topic));
    for (const { topic, retain, isPromised } of this.messages)
      if (retain && isPromised && !retained.has(topic)) problems.push(`${topic}: its Retained Message is gone`);
    if (this.disk.bytes > LOG_BYTES_MAX) problems.push(`the log has ${this.disk.bytes} bytes`);
    for (const shard of this.group!.shards) {
      if (shard.journal.isDegraded) problems.push(`shard ${shard.index} is still degraded`);
      if (shard.pendingOwn.size > 0) problems.push(`shard ${shard.index} still has publications of its own`);
    }
    assert.equal(this.group!.count('store/lost'), 0, 'the store has what it took');
    assert.deepEqual(problems, []);
  }

  private problemsOf(client: SimClient, live: readonly { id: string; qos: number }[]): string[] {
    const problems: string[] = [];
    const first = new Map<string, number>();
    const counts = new Map<string, number>();
    live.forEach(({ id }, place) => {
      counts.set(id, (counts.get(id) ?? 0) + 1);
      if (!first.has(id)) first.set(id, place);
    });
    const last = new Map<string, { order: number; place: number }>();
    for (const message of this.messages) {
      const count = counts.get(message.id) ?? 0;
      const qos = message.targets.get(client.clientId);
      if (qos !== undefined && message.isPromised && count === 0)
        problems.push(`${client.clientId}: ${message.id} (${message.topic}, QoS ${qos}) was promised and is missing`);
      const arrivedAt = live.find(({ id }) => id === message.id)?.qos;
      // A client that has streams may have asked for several copies, and the identifiers of a stream end with it.
      if (client.hasStreams) continue;
      if (arrivedAt === 2 && count > 1) problems.push(`${client.clientId}: ${message.id} (QoS 2) came ${count} times`);
      // What was published before the subscription may come late, when its publisher sends it again.
      if (count === 0 || qos === undefined || message.isOutOfOrder) continue;
      const stream = `${message.publisher} ${arrivedAt} ${message.topic}`;
      const before = last.get(stream);
      const place = first.get(message.id)!;
      if (before !== undefined && before.place > place)
        problems.push(`${client.clientId}: ${message.id} came before ${message.publisher}:${before.order}`);
      if (before === undefined || before.place < place) last.set(stream, { order: message.order, place });
    }
    return problems;
  }
}

function topics(): string[] {
  return Array.from({ length: TOPICS }, (_, i) => `all/${i}`);
}
