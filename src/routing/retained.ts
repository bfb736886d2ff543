/*
 * Retained messages of one shard: topic name -> message, and the messages that a topic filter selects.
 * It never looks into a message: expiry, bytes and limits are the caller's.
 */

import { TopicTree } from './topic-tree.ts';
import { TopicWalk, type WalkRange } from './topic-walk.ts';

/** Retained messages by topic name. `M` is never `undefined`. */
export class RetainedStore<M> {
  private readonly tree: TopicTree<M> = new TopicTree<M>();

  /** Number of retained messages. */
  get count(): number {
    return this.tree.size;
  }

  /** Keeps `message` as the retained message of `topic` and returns the one that it replaces. */
  set(topic: string, message: M): M | undefined {
    return this.tree.set(topic, message);
  }

  /** The retained message of exactly this topic, or undefined. */
  get(topic: string): M | undefined {
    return this.tree.get(topic);
  }

  /** Removes the retained message of a topic and returns it, or undefined when there is none. */
  delete(topic: string): M | undefined {
    return this.tree.delete(topic);
  }

  /** Appends to `into` every message whose topic the filter matches; a leading wildcard leaves out `$` topics [MQTT-4.7.2-1]. */
  match(filter: string, into: M[]): void {
    this.tree.matchNames(filter, into);
  }

  /** A walk over the messages whose topic the filter matches, in steps; the store may change meanwhile. */
  walk(filter: string, range: WalkRange, visit: (key: string, message: M) => void): TopicWalk<M> {
    return new TopicWalk(this.tree.root, filter, range, visit);
  }

  /** Visits every message. The store must not change meanwhile. */
  visitAll(visit: (message: M) => void): void {
    this.tree.visitAll(visit);
  }
}
