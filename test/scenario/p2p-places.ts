/*
 * The places in which every P2P test runs: 1, 2 and 4 shards, with sender and target on the same shard and on different ones. The brokers run inside the test's
 * process, so that their counters can be read at any moment; one broker serves all tests of one file and one shard count, each with clients of its own.
 */
import { after, before, describe, test } from 'node:test';
import { type Broker, startBroker } from '../../src/server/broker.ts';
import { loadConfig } from '../../src/server/config.ts';
import { COUNTERS, type CounterName, sumCounter } from '../../src/shard/counters.ts';
import { type ConnectOptions, connect, payloadText, type TestClient } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { storeDirectory } from '../support/store-directory.ts';

/** Tests under way at one time; most of their time is waiting. */
const TESTS_AT_ONCE = 8;

const SHARD_COUNTS = [1, 2, 4] as const;

/** Session Expiry Interval of a session that outlives its connection. */
export const KEPT: ConnectOptions = { cleanStart: false, properties: { sessionExpiryInterval: 600 } };

/** One broker, one shard for senders and one for targets. */
export class Place {
  readonly name: string;
  readonly shards: number;
  readonly senderShard: number;
  readonly targetShard: number;
  private readonly running: { broker: Broker | undefined };

  constructor(shards: number, targetShard: number, running: { broker: Broker | undefined }) {
    this.name = `${shards} ${shards === 1 ? 'shard' : 'shards'}, ${targetShard === 0 ? 'same' : 'different'}`;
    this.shards = shards;
    this.senderShard = 0;
    this.targetShard = targetShard;
    this.running = running;
  }

  get port(): number {
    return this.running.broker!.addresses[0]!.port;
  }

  /** Whether the message has to cross a ring. */
  get isCrossing(): boolean {
    return this.senderShard !== this.targetShard;
  }

  /** Sum of one counter over all shards, at this moment. */
  count(name: CounterName): number {
    const { memory } = this.running.broker as unknown as { memory: { counters: SharedArrayBuffer } };
    return sumCounter(memory.counters, COUNTERS.indexOf(name));
  }

  senderId(prefix = 'sender', suffix = ''): string {
    return clientIdOn(this.senderShard, this.shards, prefix, suffix);
  }

  targetId(prefix = 'target', suffix = ''): string {
    return clientIdOn(this.targetShard, this.shards, prefix, suffix);
  }

  connect(options: ConnectOptions): Promise<TestClient> {
    return connect(this.port, options);
  }

  sender(options: ConnectOptions = {}): Promise<TestClient> {
    return connect(this.port, { clientId: this.senderId(), ...options });
  }

  target(options: ConnectOptions = {}): Promise<TestClient> {
    return connect(this.port, { clientId: this.targetId(), ...options });
  }

  /** A session that waits for its client; `connect` with KEPT and this identifier resumes it. MQTT 5 unless `version` says otherwise. */
  async offlineTarget(options: ConnectOptions = {}): Promise<string> {
    const clientId = this.targetId('offline');
    const client = await connect(this.port, { clientId, ...KEPT, ...options });
    await client.disconnect();
    return clientId;
  }

  /** One more test of this place. */
  test(name: string, action: () => Promise<void>): void {
    test(`${name} (${this.name})`, action);
  }
}

/**
 * Defines the tests of one configuration in every place.
 * @param settings `--set` keys with their values
 * @param define defines tests by `place.test`; called once for each place
 * @param testsAtOnce 1 for tests that count exactly what the whole process does
 */
export function inEveryPlace(
  title: string,
  settings: Readonly<Record<string, unknown>>,
  define: (place: Place) => void,
  testsAtOnce: number = TESTS_AT_ONCE,
): void {
  describe(title, { concurrency: SHARD_COUNTS.length }, () => {
    for (const shards of SHARD_COUNTS) {
      describe(`shards ${shards}`, { concurrency: testsAtOnce }, () => {
        const running: { broker: Broker | undefined } = { broker: undefined };
        before(async () => {
          const all = { listeners: [{ type: 'tcp', bind: '127.0.0.1:0' }], 'log.level': 'silent', 'mqtt.sysInterval': 0, ...settings };
          const set = Object.entries(all).map(([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
          running.broker = await startBroker(await loadConfig({ set: [`store.path=${storeDirectory()}`, ...set], shards: String(shards) }));
        });
        after(() => running.broker?.stop());
        define(new Place(shards, 0, running));
        if (shards > 1) define(new Place(shards, shards - 1, running));
      });
    }
  });
}

/**
 * Resolves after at least one second, by the broker's own clock: a client is lost whose Will is delayed by a second.
 * @returns the milliseconds that passed between the loss and the Will
 */
export async function oneSecond(place: Place): Promise<number> {
  const bell = await place.sender();
  const clock = await place.sender({
    clientId: place.senderId('clock'),
    will: { topic: `time/p2p/${bell.clientId}`, properties: { willDelayInterval: 1 } },
    properties: { sessionExpiryInterval: 600 },
  });
  const startedAt = performance.now();
  await clock.destroy();
  await bell.next();
  return performance.now() - startedAt;
}

/** The reason of the next `$events/message_dropped` about this client that `watcher` gets, with topic and QoS of the message. */
export async function nextDrop(watcher: TestClient, clientId: string): Promise<{ reason: unknown; topic: unknown; qos: unknown }> {
  for (;;) {
    const packet = await watcher.next();
    if (packet.topic !== '$events/message_dropped') continue;
    const { event, clientid, reason, topic, qos } = JSON.parse(payloadText(packet)) as Record<string, unknown>;
    if (clientid === clientId && event === 'message.dropped') return { reason, topic, qos };
  }
}
