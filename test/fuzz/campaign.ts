/*
 * A campaign of episodes against one broker. Properties: every connection ends once our side has ended; what the broker sent on it is well-formed; a witness
 * on another connection gets each of its messages in order; at the end nobody is connected, no descriptor is open, no shard has died, no error was logged.
 */
import assert from 'node:assert/strict';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { sourceRoot } from '../conformance/scripts.ts';
import { CounterWatch, descriptorsOf } from '../scenario/observe.ts';
import type { TestBroker } from '../support/broker.ts';
import { connect, payloadText } from '../support/client.ts';
import { clientIdOn } from '../support/placement.ts';
import { type Action, type Episode, episodeOf } from './episode.ts';
import { wrongAnswer } from './server-stream.ts';

const SHARDS = 2;
/** Episodes under way at one time. */
const LANES = 6;
const DEADLINE_MILLISECONDS = 10_000;
/** Of one action. The seed has all of it; a report of megabytes keeps the test runner busy for minutes. */
const SHOWN_DIGITS = 400;
const PACKET_BYTES_MAX = 2 ** 20;

/** Options of the broker under test. */
export const FUZZED: { readonly shards: number; readonly [key: string]: unknown } = {
  shards: SHARDS,
  'mqtt.sysInterval': 1,
  'limits.packetSize': PACKET_BYTES_MAX,
  'limits.sessionExpiry': '2s',
};

/** The same with an authenticator that knows a method. */
export const FUZZED_LOGINS: typeof FUZZED = {
  ...FUZZED,
  'auth.authenticators': [{ type: 'scram', file: join(sourceRoot(), 'test/conformance/users.json') }],
  'auth.allowAnonymous': true,
  'auth.failures.perAddress': 0,
  'auth.failures.perName': 0,
};

export interface Campaign {
  /** Episode i has seed `seed` + i. */
  readonly seed: number;
  /** First episode. */
  readonly from: number;
  readonly seconds: number;
  /** At most so many episodes. */
  readonly episodes: number;
  /** Episodes of logins; the broker runs with `FUZZED_LOGINS`. */
  readonly withExchanges?: boolean;
}

export interface CampaignResult {
  episodes: number;
  connections: number;
  sentBytes: number;
  receivedBytes: number;
}

/** An episode in words, for the report of a failure. */
export function describeEpisode(seed: number, withExchanges = false): string {
  return episodeOf(seed, withExchanges)
    .actions.map(
      ({ connection, kind, bytes }: Action) => `  ${connection} ${kind} ${Buffer.from(bytes).toString('hex').slice(0, SHOWN_DIGITS)}`,
    )
    .join('\n');
}

/** Runs the campaign. @throws AssertionError that names the seed of the episode */
export async function runCampaign(broker: TestBroker, campaign: Campaign): Promise<CampaignResult> {
  const result: CampaignResult = { episodes: 0, connections: 0, sentBytes: 0, receivedBytes: 0 };
  const watch = await CounterWatch.open(broker.port, clientIdOn(0, SHARDS, 'fuzz-watch-of-counters'));
  const witnesses = [
    await connect(broker.port, { clientId: clientIdOn(0, SHARDS, 'fuzz-witness-with-a-long-name') }),
    await connect(broker.port, { clientId: clientIdOn(1, SHARDS, 'fuzz-witness-with-a-long-name'), version: 4 }),
  ];
  for (const witness of witnesses) await witness.subscribe('fuzz-witness-topic/+', { qos: 1 });
  const publisher = await connect(broker.port, { clientId: clientIdOn(1, SHARDS, 'fuzz-publisher-with-a-long-name') });
  const base = descriptorsOf(broker.pid);
  const until = performance.now() + campaign.seconds * 1000;
  let next = campaign.from;
  let rounds = 0;
  const testify = async (): Promise<void> => {
    const payload = String(rounds++);
    assert.equal((await publisher.publish(`fuzz-witness-topic/${payload}`, payload, { qos: 1 })).code, 0);
    for (const witness of witnesses) {
      assert.equal((await publisher.publish(`fuzz/p2p/${witness.clientId}`, payload, { qos: 1 })).code, 0);
      for (const topic of [`fuzz-witness-topic/${payload}`, `fuzz/p2p/${witness.clientId}`]) {
        const message = await witness.next();
        assert.deepEqual([message.topic, payloadText(message)], [topic, payload], 'the witness gets its messages, in order');
      }
    }
  };
  const lane = async (index: number): Promise<void> => {
    while (performance.now() < until && next < campaign.from + campaign.episodes) {
      const seed = campaign.seed + next++;
      try {
        await play(broker.port, episodeOf(seed, campaign.withExchanges), result);
      } catch (error) {
        throw new Error(
          `episode ${seed - campaign.seed} of seed ${campaign.seed}: ${(error as Error).message}\n${describeEpisode(seed, campaign.withExchanges)}`,
        );
      }
      result.episodes++;
      if (index === 0) await testify();
    }
  };
  await Promise.all(Array.from({ length: LANES }, (_, index) => lane(index)));
  await testify();
  // The watch, the witnesses and the publisher are left.
  await watch.reaches('clients/connected', (value) => value === 4);
  await watch.reaches('connections/opening', (value) => value === 0);
  await watch.until(
    'all descriptors are closed',
    () => descriptorsOf(broker.pid) === base,
    () => `${descriptorsOf(broker.pid)} open, ${base} before`,
  );
  assert.equal(watch.value('shard/restarts'), 0);
  // Sessions end two seconds after their clients have gone, and with them all that they held.
  await watch.reaches('clients/total', (value) => value === 4);
  await watch.reaches('queued/messages', (value) => value === 0);
  assert.equal(await watch.reaches('queued/bytes', (value) => value === 0), 0);
  await watch.reaches('routes/waiting', (value) => value === 0);
  await watch.reaches('subscriptions/count', (value) => value === 3);
  const complaints = broker.log.filter((line) => line['level'] === 'error' || line['level'] === 'fatal' || line['level'] === undefined);
  assert.deepEqual(complaints, []);
  return result;
}

class FuzzConnection {
  readonly closed: Promise<void>;
  private readonly socket: Socket;
  private readonly received: Buffer[] = [];
  private readonly sent: Uint8Array[] = [];

  constructor(port: number) {
    this.socket = createConnection({ host: '127.0.0.1', port, noDelay: true });
    this.socket.on('error', () => {});
    this.socket.on('data', (chunk: Buffer) => this.received.push(chunk));
    this.closed = new Promise((resolve, reject) => {
      const late = setTimeout(() => {
        this.socket.destroy();
        reject(new Error(`a connection has not ended after ${DEADLINE_MILLISECONDS} ms`));
      }, DEADLINE_MILLISECONDS);
      this.socket.on('close', () => {
        clearTimeout(late);
        resolve();
      });
    });
    // Awaited only at the end of the episode.
    this.closed.catch(() => {});
  }

  /** Resolves when the bytes are the kernel's, so that pieces arrive as pieces. */
  act(action: Action): Promise<void> {
    if (this.socket.destroyed) return Promise.resolve();
    if (action.kind === 'wait') return this.answered();
    if (action.kind === 'reset') {
      // A reset behind an end is refused by libuv, and Node then keeps a handle that nobody closes: the process would never end.
      if (this.socket.writableEnded) this.socket.destroy();
      else this.socket.resetAndDestroy();
      return Promise.resolve();
    }
    if (action.kind === 'end') {
      this.socket.end();
      return Promise.resolve();
    }
    this.sent.push(action.bytes);
    return new Promise((resolve) => {
      this.socket.write(action.bytes, () => resolve());
    });
  }

  /** Resolves when the broker has said something, or the connection has ended. */
  private answered(): Promise<void> {
    if (this.received.length > 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.socket.once('data', () => resolve());
      void this.closed.catch(() => {}).then(resolve);
    });
  }

  /** Judges what the broker has sent. */
  check(result: CampaignResult): void {
    const sent = Buffer.concat(this.sent);
    const received = Buffer.concat(this.received);
    result.connections++;
    result.sentBytes += sent.length;
    result.receivedBytes += received.length;
    const wrong = wrongAnswer(sent, received, PACKET_BYTES_MAX);
    assert.equal(wrong, undefined, `${wrong}: ${received.toString('hex').slice(0, SHOWN_DIGITS)}`);
  }
}

async function play(port: number, episode: Episode, result: CampaignResult): Promise<void> {
  const connections = Array.from({ length: episode.connections }, () => new FuzzConnection(port));
  for (const action of episode.actions) await connections[action.connection]!.act(action);
  await Promise.all(connections.map((connection) => connection.closed));
  for (const connection of connections) connection.check(result);
}
