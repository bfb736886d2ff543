/*
 * A scene of clients around a broker whose disk fails for a while: publishers, durable sessions that are online and away, and onlookers without a session that
 * want to go on being served. The harness and the judge are those of the crash campaign.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { Checker } from '../crash/checker.ts';
import { Conditions } from '../crash/conditions.ts';
import { drain } from '../crash/drain.ts';
import { Member, type Role } from '../crash/member.ts';
import type { Answer, ClientEvent, PersistentClient } from '../crash/persistent-client.ts';
import { readRetained } from '../crash/retained-reader.ts';
import { startBroker, type TestBroker } from '../support/broker.ts';
import { connect, type TestClient } from '../support/client.ts';
import { FaultLayer } from './fault-layer.ts';
import { startFaultyBroker } from './faulty-broker.ts';

/** Answers to PINGREQ after which a message that has none is given up. */
const PINGS = 100;
/** Longest wait for what the broker must do; it ends only what would hang. */
const MILLISECONDS_MAX = 20_000;

export class Scene {
  readonly layer: FaultLayer;
  readonly checker: Checker = new Checker({ hasMailboxes: false, mayReorderResent: true });
  readonly shards: number;
  broker!: TestBroker;
  private readonly folder: string;
  private readonly seed: number;
  private readonly conditions = new Conditions(this.checker);
  private readonly members: Member[] = [];
  private readonly herald: Member;
  private isPublishing = false;
  private probes = 0;
  private onlooker!: TestClient;
  /** Log lines that are older than the fault. */
  private logged = 0;

  constructor(t: TestContext, seed: number, shards: number) {
    this.seed = seed;
    this.shards = shards;
    this.folder = mkdtempSync(join(tmpdir(), 'onehop-faults-'));
    this.layer = new FaultLayer(this.folder);
    for (const [role, clientId, version] of [
      ['publisher', 'publisher-5', 5],
      ['publisher', 'publisher-4', 4],
      ['keeper', 'keeper', 5],
      ['receiver', 'online-5', 5],
      ['receiver', 'online-4', 4],
      ['receiver', 'away', 5],
    ] as const)
      this.members.push(this.member(role, clientId, version));
    this.herald = this.member('herald', 'herald', 5);
    this.members.push(this.herald);
    t.after(async () => {
      this.isPublishing = false;
      for (const { client } of this.members) client.lose();
      await this.broker?.kill();
      this.layer.close();
      rmSync(this.folder, { recursive: true });
    });
  }

  /** Starts a broker under the fault layer, or over its directory without it. */
  async start(isFaulty: boolean): Promise<void> {
    const options = { shards: this.shards, 'limits.queueMessages': 1_000_000, 'store.durability': 'fsync' };
    this.broker = isFaulty
      ? await startFaultyBroker(this.layer, options)
      : await startBroker({ ...options, 'store.path': this.layer.directory });
  }

  /** All connect and subscribe; one leaves again. */
  async open(): Promise<void> {
    const { port } = this.broker;
    for (const { client } of this.members) assert.ok(await client.open(port), client.clientId);
    assert.ok(await this.client('online-5').subscribe('crash/#', 2, 1));
    assert.ok(await this.client('online-4').subscribe('crash/+', 1, 0));
    assert.ok(await this.client('away').subscribe('crash/+', 2, 2));
    this.client('away').leave();
    this.onlooker = await connect(port, { clientId: 'onlooker' });
    await this.onlooker.subscribe([{ filter: '$events/store_degraded' }, { filter: '$events/store_recovered' }, { filter: 'alive/#' }]);
  }

  /** Publishes until so many more messages have been acknowledged. */
  async traffic(acknowledgements: number): Promise<void> {
    const until = this.checker.acknowledged + acknowledgements;
    this.isPublishing = true;
    for (const member of this.members) this.fill(member);
    await this.until(`${acknowledgements} acknowledgements`, () => this.checker.acknowledged >= until);
    this.judge();
  }

  /** Nobody publishes by itself from now on, until `traffic` is asked for again. */
  rest(): void {
    this.isPublishing = false;
  }

  /** What is in the log from now on belongs to the fault. */
  mark(): void {
    this.logged = this.broker.log.length;
  }

  /** Waits until the broker has noticed: its log and its event say so. */
  async noticed(): Promise<void> {
    const { broker, logged } = this;
    await broker.line((line) => broker.log.indexOf(line) >= logged && /store/i.test(String(line['msg'])));
    await this.event('$events/store_degraded');
    assert.ok(this.layer.injected > 0, 'a fault has been injected');
  }

  /** Waits for a message to the onlooker, while the broker answers one PINGREQ after the other. */
  async event(topic: string): Promise<void> {
    const end = performance.now() + MILLISECONDS_MAX;
    while (!this.onlooker.messages.some((message) => message.topic === topic)) {
      assert.ok(
        performance.now() < end,
        `no ${topic} within ${MILLISECONDS_MAX} ms; ${this.broker.log.slice(-5).map((line) => JSON.stringify(line))}`,
      );
      await this.onlooker.ping();
    }
  }

  /** QoS 0 and new connections without a session go on. */
  async isAlive(): Promise<void> {
    const speaker = await connect(this.broker.port, { clientId: `speaker-${this.probes++}` });
    const topic = `alive/${this.probes}`;
    await speaker.publish(topic, 'yes');
    await speaker.ping();
    await this.event(topic);
    await speaker.disconnect();
  }

  /** A new MQTT 5 client publishes to a durable session until it is refused. A message that the store was given before it failed stays without an answer. */
  async refusal(qos: 1 | 2, topic: string, target: string | undefined): Promise<Answer> {
    const end = performance.now() + MILLISECONDS_MAX;
    let taken = 0;
    let unanswered = 0;
    while (performance.now() < end) {
      const probe = await this.probe(5);
      const { client } = probe;
      probe.publish(qos, topic, target, 40, false);
      for (let ping = 0; ping < PINGS && client.outgoing.length > 0; ping++) await client.ping();
      const [refusal] = client.refusals;
      if (client.outgoing.length > 0) unanswered++;
      else taken++;
      client.lose();
      if (refusal !== undefined) return refusal;
    }
    throw new Error(`no message to ${topic} at QoS ${qos} was refused: ${taken} were acknowledged, ${unanswered} had no answer`);
  }

  /** A new MQTT 3.1.1 client does, until its connection is closed. */
  async close(qos: 1 | 2, topic: string, target: string | undefined): Promise<void> {
    const end = performance.now() + MILLISECONDS_MAX;
    while (performance.now() < end) {
      const probe = await this.probe(4);
      const { client } = probe;
      probe.publish(qos, topic, target, 40, false);
      for (let ping = 0; ping < PINGS && client.isOpen && client.outgoing.length > 0; ping++) await client.ping();
      const wasClosed = client.closings > 0;
      client.lose();
      if (wasClosed) return;
    }
    throw new Error(`no connection was closed for a message to ${topic} at QoS ${qos}`);
  }

  /** A new durable session and a new subscription, asked for and not waited for: what is promised of them is judged later. */
  askForMore(): void {
    const newcomer = this.member('receiver', `newcomer-${this.probes++}`, 5);
    this.members.push(newcomer);
    void newcomer.client.open(this.broker.port);
    const { client } = this.members.find(({ clientId }) => clientId === 'online-5')!;
    if (client.isOpen) void client.subscribe('kept/#', 1, 3);
  }

  /** Those that the broker has turned away connect again, and again: one shard may hear later than another that the disk works. */
  async reopen(): Promise<void> {
    const end = performance.now() + MILLISECONDS_MAX;
    for (const { client, clientId } of this.members) {
      if (clientId === 'away') continue;
      while (!client.isOpen) {
        if (client.isOpening) await this.onlooker.ping();
        else if (!(await client.open(this.broker.port)))
          assert.ok(performance.now() < end, `${clientId} cannot connect: ${client.closingCode?.toString(16) ?? 'closed'}`);
      }
    }
  }

  async kill(): Promise<void> {
    this.isPublishing = false;
    await this.broker.kill();
    await Promise.all(this.members.map(({ client }) => client.closed()));
  }

  /** Everybody gets everything that was promised, and the retained messages are right. */
  async drain(): Promise<void> {
    this.isPublishing = false;
    const { port } = this.broker;
    const isDone = await drain(port, this.members, this.herald, this.checker, this.conditions);
    if (isDone) {
      const found = await readRetained(port, this.shards, 'kept/#');
      for (const member of this.members) for (const topic of member.keptTopics()) this.checker.foundRetained(topic, found.get(topic));
    }
    this.judge();
  }

  private judge(): void {
    assert.deepEqual(this.checker.violations, [], `SEED=${this.seed}\n${this.checker.violations.join('\n')}`);
  }

  private async until(what: string, holds: () => boolean): Promise<void> {
    await this.conditions.until(
      what,
      this.members.map(({ client }) => client),
      holds,
    );
  }

  private async probe(version: 4 | 5): Promise<Member> {
    const member = this.member('receiver', `probe-${this.probes++}`, version);
    const isOpen = await member.client.open(this.broker.port, true, false);
    assert.ok(isOpen, `a client without a session connects; ${member.clientId}: ${member.client.closingCode?.toString(16) ?? 'closed'}`);
    return member;
  }

  private client(clientId: string): PersistentClient {
    return this.members.find((member) => member.clientId === clientId)!.client;
  }

  private member(role: Role, clientId: string, version: 4 | 5): Member {
    const { seed, checker } = this;
    const onEvent = (member: Member, what: ClientEvent): void => {
      if (what !== 'closed' && what !== 'lost') this.fill(member);
      this.conditions.look();
    };
    return new Member({ clientId, role, version, window: role === 'herald' ? 1000 : 8, receiveMaximum: 20, seed, checker, onEvent });
  }

  private fill(member: Member): void {
    if (this.isPublishing && (member.role === 'publisher' || member.role === 'keeper'))
      member.fill(['online-5', 'online-4', 'away', 'publisher-5']);
  }
}
