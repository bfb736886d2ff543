/*
 * A member of the population: a persistent client and what it does with its time. What it publishes and subscribes to follows from its name, the seed and the
 * round; when, from what it sees.
 */
import { hash32 } from '../../src/base/hash.ts';
import { Random } from '../scenario/observe.ts';
import type { Checker, Sent } from './checker.ts';
import { type ClientEvent, PersistentClient } from './persistent-client.ts';

/**
 * `publisher` publishes to topics and clients; `keeper` publishes retained messages on topics of its own; `receiver` subscribes; `passer` too, and its session
 * is thrown away now and then; `late` is written to before it connects for the first time; `herald` publishes what marks the end of a drain.
 * All of them are targets of P2P messages.
 */
export type Role = 'publisher' | 'keeper' | 'receiver' | 'passer' | 'late' | 'herald';

export const TOPICS = 6;
const KEPT_TOPICS = 3;
const FILTERS = [...Array.from({ length: TOPICS }, (_, number) => `crash/${number}`), 'crash/+', 'crash/#', 'kept/#'];

export interface MemberOptions {
  readonly clientId: string;
  readonly role: Role;
  readonly version: 4 | 5;
  readonly window: number;
  readonly receiveMaximum: number;
  readonly seed: number;
  readonly checker: Checker;
  readonly onEvent: (member: Member, what: ClientEvent) => void;
}

export class Member {
  readonly clientId: string;
  readonly role: Role;
  readonly client: PersistentClient;
  readonly window: number;
  random: Random;
  private readonly seed: number;
  private sequence = 0;

  constructor(options: MemberOptions) {
    const { clientId, version, receiveMaximum, checker } = options;
    this.clientId = clientId;
    this.role = options.role;
    this.window = options.window;
    const name = Buffer.from(clientId);
    this.seed = options.seed ^ hash32(name, 0, name.length);
    this.random = new Random(this.seed);
    // One stream of decisions for what is held back, another one for what is published: neither moves the other.
    const random = new Random(this.seed + 1);
    this.client = new PersistentClient({
      clientId,
      version,
      receiveMaximum,
      checker,
      random,
      onEvent: (_, what) => options.onEvent(this, what),
    });
  }

  beginRound(round: number): void {
    this.random = new Random(this.seed + round * 7919);
  }

  /** Publishes until the window is full. */
  fill(targets: readonly string[]): void {
    const { client, random } = this;
    while (client.isOpen && client.outgoing.length < this.window) {
      if (this.role === 'keeper') {
        const payloadBytes = random.oneIn(6) ? 0 : payloadSize(random);
        this.publish(1, `kept/${this.clientId}/${random.below(KEPT_TOPICS)}`, undefined, payloadBytes, true);
      } else {
        const qos = random.oneIn(2) ? 1 : 2;
        if (random.oneIn(2)) {
          const target = random.pick(targets);
          this.publish(qos, `${random.pick(['cmd', 'rpc'])}/p2p/${target}`, target, payloadSize(random), false);
        } else this.publish(qos, `crash/${random.below(TOPICS)}`, undefined, payloadSize(random), false);
      }
    }
  }

  /** @returns the name of the message */
  publish(qos: 1 | 2, topic: string, target: string | undefined, payloadBytes: number, retain: boolean): string {
    const sequence = ++this.sequence;
    const id = `${this.clientId}/${sequence}`;
    const sent: Sent = { id, publisher: this.clientId, sequence, qos, topic, target, retain, payloadBytes };
    this.client.publish(sent);
    return id;
  }

  /** Topics that hold this member's retained messages. */
  keptTopics(): string[] {
    return this.role === 'keeper' ? Array.from({ length: KEPT_TOPICS }, (_, number) => `kept/${this.clientId}/${number}`) : [];
  }

  /** Subscribes to a filter that it does not have, or unsubscribes from one that it has. Resolves when that is answered or the connection has ended. */
  async changeSubscription(known: readonly string[], random: Random, mayUnsubscribe: boolean): Promise<void> {
    if (mayUnsubscribe && known.length > 1 && random.oneIn(2)) {
      await this.client.unsubscribe(random.pick(known));
      return;
    }
    // Before MQTT 5 a subscription always brings Retained Messages, which would come as messages from before it.
    const filters = FILTERS.filter((filter) => !known.includes(filter) && (this.client.version === 5 || !filter.startsWith('kept/')));
    if (filters.length === 0) return;
    const filter = random.pick(filters);
    const number = FILTERS.indexOf(filter);
    // The same at every time, because a subscription that is made again replaces the one before.
    const qos = ((this.seed >>> number) & 1) === 0 ? 1 : 2;
    await this.client.subscribe(filter, qos, number + 1);
  }
}

function payloadSize(random: Random): number {
  if (random.oneIn(150)) return 4_000 + random.below(60_000);
  if (random.oneIn(15)) return 200 + random.below(4_000);
  return 24 + random.below(100);
}
