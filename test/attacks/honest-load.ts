/*
 * Clients that do nothing wrong: they write to each other by P2P and to workers of a shared subscription, at a steady pace, whatever the broker's pace is. So a
 * message that is late is seen as late, and does not hold back those behind it.
 */
import assert from 'node:assert/strict';
import { connect, payloadText, type TestClient } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';

const CLIENTS = 8;
const TICK_MILLISECONDS = 4;
/** Messages of one tick: one by P2P, one to the workers. */
const PER_TICK = 2;
const LOST_AFTER_MILLISECONDS = 20_000;

export interface HonestLogin {
  readonly username: string;
  readonly password: string;
}

export interface Latency {
  readonly messages: number;
  /** In milliseconds. */
  readonly median: number;
  readonly p99: number;
}

export class HonestLoad {
  private readonly clients: readonly TestClient[];
  private readonly workers: readonly TestClient[];
  /** When each message left, by its number. */
  private readonly sentAt: number[];
  private readonly latencies: number[];
  private arrived: number;
  private failure: Error | undefined;
  private isStopping: boolean;

  private constructor(clients: readonly TestClient[], workers: readonly TestClient[]) {
    this.clients = clients;
    this.workers = workers;
    this.sentAt = [];
    this.latencies = [];
    this.arrived = 0;
    this.failure = undefined;
    this.isStopping = false;
    for (const client of [...clients, ...workers]) void this.listen(client);
  }

  static async start(port: number, shards: number, login: Partial<HonestLogin>): Promise<HonestLoad> {
    const open = (name: string, i: number): Promise<TestClient> =>
      connect(port, { clientId: clientIdOn(i % shards, shards, `${name}${i}`), ...login });
    const clients = await Promise.all(Array.from({ length: CLIENTS }, (_, i) => open('device', i)));
    const workers = await Promise.all(Array.from({ length: shards }, (_, i) => open('worker', i)));
    for (const worker of workers) {
      const { codes } = await worker.subscribe('$share/workers/up/+/state', { qos: 1 });
      assert.deepEqual([...codes], [1]);
    }
    return new HonestLoad(clients, workers);
  }

  private async listen(client: TestClient): Promise<void> {
    try {
      for (;;) {
        const message = await client.next();
        const number = Number(payloadText(message));
        this.latencies.push(performance.now() - this.sentAt[number]!);
        this.arrived++;
      }
    } catch (error) {
      // A quiet moment is no failure; the end of the connection is.
      if (this.isStopping) return;
      if (/waited .* for a message/.test((error as Error).message)) {
        void this.listen(client);
        return;
      }
      this.failure ??= error as Error;
    }
  }

  /** Sends for a time, then waits for what is on its way. @throws when a message is lost or a client loses its connection */
  async run(milliseconds: number): Promise<Latency> {
    this.latencies.length = 0;
    const began = performance.now();
    await new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        if (this.failure !== undefined || performance.now() - began >= milliseconds) {
          clearInterval(timer);
          resolve();
          return;
        }
        for (let i = 0; i < PER_TICK; i++) this.send(i === 0);
      }, TICK_MILLISECONDS);
    });
    await this.drain();
    const sorted = this.latencies.toSorted((a, b) => a - b);
    return { messages: sorted.length, median: sorted[Math.floor(sorted.length / 2)]!, p99: sorted[Math.floor(sorted.length * 0.99)]! };
  }

  private send(isP2p: boolean): void {
    const number = this.sentAt.length;
    const sender = this.clients[number % CLIENTS]!;
    const target = this.clients[(number + 3) % CLIENTS]!;
    const topic = isP2p ? `to/p2p/${target.clientId}` : `up/${sender.clientId}/state`;
    this.sentAt.push(performance.now());
    void sender.publish(topic, String(number), { qos: 1 }).then(({ code }) => {
      if (code !== 0) this.failure ??= new Error(`an honest message to ${topic} was refused with 0x${code.toString(16)}`);
    });
  }

  private async drain(): Promise<void> {
    const deadline = performance.now() + LOST_AFTER_MILLISECONDS;
    while (this.arrived < this.sentAt.length && this.failure === undefined && performance.now() < deadline) {
      await Promise.all(this.clients.map((client) => client.ping()));
    }
    if (this.failure !== undefined) throw this.failure;
    assert.equal(this.arrived, this.sentAt.length, 'every honest message arrives, once');
  }

  async stop(): Promise<void> {
    this.isStopping = true;
    await Promise.all([...this.clients, ...this.workers].map((client) => client.disconnect()));
  }
}
