/**
 * Origins: which sessions of this shard have a QoS 2 message that a publisher of another shard (or several at once) may send again after a crash, because its own
 * shard has not noted yet that all have it. This is what makes QoS 2 exactly once across shards.
 *
 *   publisher's shard ── message ──▶ here: stored together with its origin ── answer ──▶ there: identifier stored ── done ──▶ here: forgotten
 *
 * A publisher is named by the number of its session, a message by its Packet Identifier. Only what is marked as possibly sent before (DUP, or a record that a
 * peer sends again) is looked up, so an identifier that is used anew is a new message. Bounded: beyond `ORIGINS_MAX` the oldest publisher is forgotten, and counted.
 * Owned by one shard.
 */
import { counter } from './counters.ts';

const FORGOTTEN = counter('store/origins-forgotten');

const ORIGINS_MAX = 200_000;

export class Origins {
  count: number;
  private readonly publishers: Map<number, Map<number, Map<number, number>>>;
  private readonly counters: Float64Array;

  constructor(counters: Float64Array) {
    this.count = 0;
    this.publishers = new Map();
    this.counters = counters;
  }

  /** @param content hash of topic and payload: an identifier that is used anew, and whose old message was not forgotten in time, is not taken for the old one */
  add(publisher: number, packetId: number, session: number, content: number): void {
    let messages = this.publishers.get(publisher);
    if (messages === undefined) {
      messages = new Map();
      this.publishers.set(publisher, messages);
    }
    let sessions = messages.get(packetId);
    if (sessions === undefined) {
      sessions = new Map();
      messages.set(packetId, sessions);
    }
    const before = sessions.size;
    sessions.set(session, content);
    this.count += sessions.size - before;
    while (this.count > ORIGINS_MAX) {
      const [oldest] = this.publishers.keys();
      this.counters[FORGOTTEN]!++;
      this.remove(oldest!, 0);
    }
  }

  has(publisher: number, packetId: number, session: number, content: number): boolean {
    return this.publishers.get(publisher)?.get(packetId)?.get(session) === content;
  }

  /** Whether any session for which `accepts` is true has the message. Walks all that have it: not for the hot path. */
  hasAny(publisher: number, packetId: number, content: number, accepts: (session: number) => boolean): boolean {
    const sessions = this.publishers.get(publisher)?.get(packetId);
    if (sessions === undefined) return false;
    for (const [session, known] of sessions) if (known === content && accepts(session)) return true;
    return false;
  }

  /** Forgets one message, or with packetId 0 all of the publisher. @returns whether there was anything */
  remove(publisher: number, packetId: number): boolean {
    const messages = this.publishers.get(publisher);
    if (messages === undefined) return false;
    if (packetId === 0) {
      for (const sessions of messages.values()) this.count -= sessions.size;
      this.publishers.delete(publisher);
      return true;
    }
    const sessions = messages.get(packetId);
    if (sessions === undefined) return false;
    this.count -= sessions.size;
    messages.delete(packetId);
    if (messages.size === 0) this.publishers.delete(publisher);
    return true;
  }
}
