/**
 * Retain: a Retained Message set or cleared in the store of the shard that owns its topic (by hash, like a Client Identifier).
 *
 * Each shard holds its share of the process-wide limits. A message over the limit is routed but not retained; the publisher is told 0x97.
 */

import { readText } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import { Timer } from '../base/timers.ts';
import type { MessageView } from '../protocol/publish.ts';
import { shardOfSlot, slotOf } from '../routing/slot.ts';
import { keepMessage, MESSAGE_OVERHEAD_BYTES, type Message } from '../session/message.ts';
import { counter } from './counters.ts';
import { noteRetained, restOnOthers } from './durable.ts';
import { FULL, STORED, UNSTORABLE } from './outcome.ts';
import { RECORD_RETAIN } from './record.ts';
import type { Shard } from './shard.ts';

const COUNT = counter('retained/count');
const BYTES = counter('retained/bytes');
const REFUSED = counter('retained/dropped');
const DOLLAR = 0x24;

/** One entry of the retained store. */
export class RetainedMessage {
  readonly topic: string;
  readonly message: Message;
  /** Armed for its Message Expiry Interval. */
  timer: Timer | null;
  /** Record of the journal that holds it; 0: none. */
  record: number;

  constructor(topic: string, message: Message) {
    this.topic = topic;
    this.message = message;
    this.timer = null;
    this.record = 0;
  }
}

/** Sends the message to the shard that retains its topic. */
export function retain(shard: Shard, view: MessageView, topicHash: number): void {
  const owner = shardOfSlot(slotOf(topicHash), shard.shards);
  if (owner === shard.index) {
    const result = storeRetained(shard, view, topicHash);
    if (result !== STORED) shard.outcome.note(result);
    return;
  }
  const fields = shard.recordFields;
  fields.topicHash = topicHash;
  fields.publisherHash = 0;
  fields.number = 0;
  fields.extraAt = 0;
  fields.extraEnd = 0;
  fields.originId = 0;
  const isTracked = view.qos > 0;
  shard.mesh.sendMessage(owner, RECORD_RETAIN, view, fields, false, isTracked ? shard.outcome.expectAnswer(owner) : null, isTracked);
}

/**
 * Sets or clears the Retained Message of a topic that this shard owns.
 * @returns STORED, FULL when a limit refuses it, UNSTORABLE when the disk does
 */
export function storeRetained(shard: Shard, view: MessageView, hash: number): number {
  const topic = readText(view.topicBytes, view.topicAt, view.topicEnd);
  // What the broker says of itself is true only as long as it runs.
  const isStored = shard.journal.isOn && view.topicBytes[view.topicAt] !== DOLLAR;
  if (isStored && shard.journal.isDegraded) {
    shard.counters[REFUSED]!++;
    return UNSTORABLE;
  }
  if (view.payloadAt === view.payloadEnd) {
    const cleared = shard.retained.delete(topic); // [MQTT-3.3.1-6] [MQTT-3.3.1-7]
    if (cleared === undefined) {
      if (isStored) restOnOthers(shard, view);
      return STORED;
    }
    forget(shard, cleared);
    if (isStored) noteRetained(shard, view, hash);
    return STORED;
  }
  const limits = shard.settings.limits;
  const known = shard.retained.get(topic);
  const size =
    view.topicEnd - view.topicAt + (view.propertiesEnd - view.propertiesAt) + (view.payloadEnd - view.payloadAt) + MESSAGE_OVERHEAD_BYTES;
  const knownSize = known === undefined ? 0 : known.message.sizeBytes;
  const isOver =
    (known === undefined && shard.counters[COUNT]! >= Math.ceil(limits.retainedMessages / shard.shards)) ||
    shard.counters[BYTES]! - knownSize + size > Math.ceil(limits.retainedBytes / shard.shards);
  if (isOver) {
    shard.counters[REFUSED]!++;
    return FULL;
  }
  if (known !== undefined) forget(shard, known); // [MQTT-3.3.1-5]
  const entry = new RetainedMessage(topic, keepMessage(view));
  shard.retained.set(topic, entry);
  shard.counters[COUNT]!++;
  shard.counters[BYTES]! += entry.message.sizeBytes;
  if (isStored) entry.record = noteRetained(shard, view, hash);
  watch(shard, entry);
  return STORED;
}

/** Puts back a Retained Message that the store has. @param record that holds it */
export function restoreRetained(shard: Shard, topic: string, message: Message, record: number): void {
  const entry = new RetainedMessage(topic, message);
  entry.record = record;
  shard.retained.set(topic, entry);
  shard.counters[COUNT]!++;
  shard.counters[BYTES]! += message.sizeBytes;
  watch(shard, entry);
}

function watch(shard: Shard, entry: RetainedMessage): void {
  if (entry.message.expiresAt !== 0) {
    entry.timer = new Timer(() => expire(shard, entry));
    shard.timers.arm(entry.timer, entry.message.expiresAt - shard.timers.now);
  }
}

function expire(shard: Shard, entry: RetainedMessage): void {
  shard.retained.delete(entry.topic); // [MQTT-3.3.2-5]
  forget(shard, entry);
}

function forget(shard: Shard, entry: RetainedMessage): void {
  if (entry.timer !== null) shard.timers.disarm(entry.timer);
  entry.timer = null;
  shard.counters[COUNT]!--;
  shard.counters[BYTES]! -= entry.message.sizeBytes;
}

/** Hash of a topic, for the owner of its Retained Message. */
export function retainedOwner(shard: Shard, topic: Uint8Array): number {
  return shardOfSlot(slotOf(hash32(topic, 0, topic.length)), shard.shards);
}
