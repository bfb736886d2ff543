/*
 * Goal: a QoS 2 message arrives exactly once, whatever the network does between its PUBLISH and its PUBCOMP, on either side, on the same shard or another.
 * Method: a sender and a receiver with persistent sessions keep the two state machines of section 4.3.3 and cut their connection at random steps: after
 * each packet written and after each packet received. SEED=n repeats a run's decisions.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { ProtocolVersion } from '../../src/protocol/packet-type.ts';
import { connect, payloadText, type TestClient } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { drawSeed, isLong, Random, stage } from './observe.ts';

const MESSAGES = isLong ? 5000 : 150;
/** One step in so many is followed by the loss of the connection. */
const CUT_ONE_IN = 9;
const WINDOW = 6;

interface Tally {
  cuts: number;
  resumed: number;
}

/** The network fails here. */
class Cut extends Error {}

class Endpoint {
  protected readonly clientId: string;
  protected client!: TestClient;
  private readonly port: number;
  private readonly version: ProtocolVersion;
  private readonly random: Random;
  private readonly tally: Tally;
  private isKnown = false;
  private isCut = false;

  constructor(port: number, clientId: string, version: ProtocolVersion, random: Random, tally: Tally) {
    this.port = port;
    this.clientId = clientId;
    this.version = version;
    this.random = random;
    this.tally = tally;
  }

  async open(): Promise<void> {
    this.client = await connect(this.port, {
      clientId: this.clientId,
      version: this.version,
      cleanStart: false,
      autoAck: false,
      autoComplete: false,
      properties: this.version === 5 ? { sessionExpiryInterval: 3600, receiveMaximum: WINDOW } : {},
    });
    assert.equal(this.client.connack.sessionPresent, this.isKnown, `${this.clientId} finds its session`);
    if (this.isKnown) this.tally.resumed++;
    this.isKnown = true;
  }

  /** A step is done; the connection may be lost now. */
  protected async mayFail(): Promise<void> {
    if (!this.random.oneIn(CUT_ONE_IN)) return;
    this.tally.cuts++;
    this.isCut = true;
    await this.client.destroy();
    throw new Cut();
  }

  /** Runs `work` on a connection, and again on a new one as long as the network fails. */
  async survive(work: () => Promise<void>): Promise<void> {
    for (;;) {
      await this.open();
      this.isCut = false;
      const { client } = this;
      try {
        await work();
        return;
      } catch (error) {
        // A cut also fails whatever else waited on the connection; anything else is a fault.
        if (!(error instanceof Cut) && !this.isCut) throw error;
        await client.closed;
      }
    }
  }
}

interface Pending {
  readonly packetId: number;
  readonly payload: string;
  step: 'publish' | 'release';
  wasSent: boolean;
}

class Sender extends Endpoint {
  private next = 0;
  private pending: Pending[] = [];

  async send(topic: string): Promise<void> {
    await this.survive(async () => {
      // Section 4.4: what was not acknowledged goes again, in the original order, before anything new.
      while (this.pending.length > 0 || this.next < MESSAGES) {
        while (this.pending.length < WINDOW && this.next < MESSAGES) {
          const packetId = (this.next % 1000) + 1;
          this.pending.push({ packetId, payload: String(this.next++), step: 'publish', wasSent: false });
        }
        const exchanges = this.pending.map((message) => this.exchange(topic, message));
        const results = await Promise.allSettled(exchanges);
        this.pending = this.pending.filter((_, i) => results[i]!.status === 'rejected');
        for (const result of results) if (result.status === 'rejected') throw result.reason;
      }
      await this.client.disconnect();
    });
  }

  private async exchange(topic: string, message: Pending): Promise<void> {
    const { client } = this;
    const { packetId } = message;
    if (message.step === 'publish') {
      const sent = client.publish(topic, message.payload, { qos: 2, packetId, dup: message.wasSent, release: false });
      message.wasSent = true;
      await this.mayFail();
      const answer = await sent;
      assert.equal(answer.code, 0, `PUBREC of ${message.payload}`);
      message.step = 'release';
      await this.mayFail();
    }
    const released = client.release(packetId);
    await this.mayFail();
    await released;
  }
}

class Receiver extends Endpoint {
  readonly payloads: string[] = [];
  /** Packet Identifiers of messages that are ours and not yet released. */
  private readonly held = new Set<number>();
  duplicates = 0;

  async subscribe(filter: string): Promise<void> {
    await this.open();
    assert.deepEqual((await this.client.subscribe(filter, { qos: 2 })).codes, [2]);
    await this.client.disconnect();
  }

  async receive(): Promise<void> {
    await this.survive(async () => {
      const { client } = this;
      // PUBREL packets of the last connection come first.
      await client.ping();
      let released = 0;
      const complete = async (): Promise<void> => {
        while (released < client.pubrels.length) {
          const packetId = client.pubrels[released++]!;
          this.held.delete(packetId);
          await this.mayFail();
          client.complete(packetId);
          await this.mayFail();
        }
      };
      await complete();
      while (this.payloads.length < MESSAGES || this.held.size > 0) {
        const message = await client.next();
        assert.equal(message.qos, 2);
        if (this.held.has(message.packetId)) {
          assert.ok(message.dup, 'a message that comes again says so [MQTT-3.3.1-1]');
          this.duplicates++;
        } else {
          this.held.add(message.packetId);
          this.payloads.push(payloadText(message));
        }
        await this.mayFail();
        client.ack(message);
        await this.mayFail();
        await client.ping();
        await complete();
      }
    });
  }

  /** Nothing may follow. */
  async finish(): Promise<void> {
    await this.client.expectNone();
    await this.client.destroy();
    await this.open();
    await this.client.expectNone();
    await this.client.disconnect();
  }
}

for (const shards of [1, 2, 4]) {
  test(`QoS 2 arrives exactly once and in order through lost connections on both sides, ${shards} shards`, async (t) => {
    const random = new Random(drawSeed(`exactly-once with ${shards} shards`));
    const broker = await stage(t, { shards, 'limits.takeoversPerMinute': 0, 'limits.queueMessages': 100_000 });
    const tally: Tally = { cuts: 0, resumed: 0 };
    const pairs: Promise<void>[] = [];
    let duplicates = 0;
    for (let pair = 0; pair < 8; pair++) {
      const version: ProtocolVersion = pair % 2 === 0 ? 5 : 4;
      const isP2p = pair % 4 >= 2;
      const sender = new Sender(broker.port, clientIdOn(0, shards, 'sender'), version, random, tally);
      const receiverId = clientIdOn(pair < 4 ? 0 : shards - 1, shards, 'receiver');
      const receiver = new Receiver(broker.port, receiverId, version, random, tally);
      const run = async (): Promise<void> => {
        await receiver.subscribe(`once/${pair}`);
        await Promise.all([sender.send(isP2p ? `once/p2p/${receiverId}` : `once/${pair}`), receiver.receive()]);
        await receiver.finish();
        duplicates += receiver.duplicates;
        assert.deepEqual(
          receiver.payloads,
          Array.from({ length: MESSAGES }, (_, i) => String(i)),
          `pair ${pair}`,
        );
      };
      pairs.push(run());
    }
    await Promise.all(pairs);
    assert.ok(tally.cuts > MESSAGES, `the network failed ${tally.cuts} times`);
    assert.ok(duplicates > 0, 'the broker had to send some messages again');
    assert.equal(await broker.stop(), 0);
  });
}
