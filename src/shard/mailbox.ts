/**
 * Mailboxes: P2P messages for Client Identifiers that have no session yet, kept until their first connection (`p2p.mailbox`).
 *
 * Bounds: messages and bytes of one mailbox, mailboxes of the process (each shard holds its share), and a time to live from the first message on.
 * At a bound the message is refused and the sender told. Owned by one shard.
 */

import { ByteMap } from '../base/byte-map.ts';
import { readText } from '../base/bytes.ts';
import { Timer } from '../base/timers.ts';
import { type MessageView, RECEIPT_NONE } from '../protocol/publish.ts';
import { Delivery } from '../session/delivery.ts';
import { MESSAGE_OVERHEAD_BYTES, viewMessage } from '../session/message.ts';
import { MessageQueue } from '../session/message-queue.ts';
import type { StoredHolder } from '../session/session.ts';
import { counter } from './counters.ts';
import { enqueueInMailbox, pushQueued, takeQueued } from './deliver.ts';
import { hasTaken, noteEnd, noteMailbox, rememberOrigin } from './durable.ts';
import { FULL, MAILBOX, UNSTORABLE } from './outcome.ts';
import { receiptOf } from './receipt.ts';
import type { Shard } from './shard.ts';
import { takeOldestRef } from './waiting.ts';

const COUNT = counter('mailboxes/count');
const DROPPED_EXPIRED = counter('publish/dropped/expired');
const DROPPED_FULL = counter('publish/dropped/queue-full');
const DROPPED_DELETED = counter('publish/dropped/deleted');

export class Mailbox implements StoredHolder {
  readonly id: number;
  readonly clientId: Uint8Array;
  readonly hash: number;
  /** Wall milliseconds of its first message. */
  readonly createdAt: number;
  nextSequence: number;
  snapshotRecord: number;
  readonly queue: MessageQueue;
  readonly inflight: null;
  timer: Timer | null;

  constructor(id: number, clientId: Uint8Array, hash: number, createdAt: number) {
    this.id = id;
    this.clientId = clientId;
    this.hash = hash;
    this.createdAt = createdAt;
    this.nextSequence = 1;
    this.snapshotRecord = 0;
    this.queue = new MessageQueue();
    this.inflight = null;
    this.timer = null;
  }
}

export class Mailboxes {
  private readonly shard: Shard;
  /** By Client Identifier; others only read it. */
  readonly boxes: ByteMap<Mailbox>;

  constructor(shard: Shard) {
    this.shard = shard;
    this.boxes = new ByteMap();
  }

  /** Keeps the message for the Client Identifier id[at, end). @returns MAILBOX, FULL or UNSTORABLE */
  put(id: Uint8Array, at: number, end: number, hash: number, view: MessageView): number {
    const shard = this.shard;
    const limits = shard.settings.p2p.mailbox;
    let box = this.boxes.get(id, at, end, hash);
    const hasOrigin = shard.originId !== 0 && view.qos === 2;
    if (box !== undefined && hasOrigin && hasTaken(shard, box)) return MAILBOX;
    if (shard.journal.isDegraded) return UNSTORABLE;
    const size =
      view.topicEnd - view.topicAt + (view.propertiesEnd - view.propertiesAt) + (view.payloadEnd - view.payloadAt) + MESSAGE_OVERHEAD_BYTES;
    const isFull =
      shard.isOverloaded ||
      size > limits.maxBytes ||
      (box === undefined
        ? this.boxes.size >= Math.ceil(limits.maxMailboxes / shard.shards)
        : box.queue.count >= limits.maxMessages || box.queue.bytes + size > limits.maxBytes);
    if (isFull) {
      shard.counters[DROPPED_FULL]!++;
      return FULL;
    }
    if (box === undefined) {
      const key = Uint8Array.prototype.slice.call(id, at, end);
      box = this.open(shard.nextSessionId(), key, hash, shard.timers.now);
      if (shard.journal.isOn) noteMailbox(shard, box, key, box.createdAt);
    }
    if (hasOrigin) rememberOrigin(shard, box);
    if (shard.tracing !== null) shard.tracing.received(view, 'queued', readText(id, at, end), view.qos, 'mailbox');
    if (shard.journal.isOn) enqueueInMailbox(shard, box, box.queue, view, size);
    else pushQueued(shard, box.queue, new Delivery(shard.keep(view), view.qos, false, null, null));
    return MAILBOX;
  }

  /** Begins a mailbox, or puts back one that the store has. */
  open(id: number, clientId: Uint8Array, hash: number, createdAt: number): Mailbox {
    const { shard } = this;
    const box = new Mailbox(id, clientId, hash, createdAt);
    this.boxes.set(clientId, hash, box);
    shard.counters[COUNT]!++;
    box.timer = new Timer(() => this.expire(box));
    shard.timers.arm(box.timer, createdAt + shard.settings.p2p.mailbox.ttlSeconds * 1000 - shard.timers.now);
    return box;
  }

  /** Ends the mailbox of a client and hands it over. */
  takeOver(id: Uint8Array, hash: number): Mailbox | undefined {
    const box = this.boxes.delete(id, 0, id.length, hash);
    if (box === undefined) return undefined;
    if (box.timer !== null) this.shard.timers.disarm(box.timer);
    this.shard.counters[COUNT]!--;
    return box;
  }

  /** Whether `holder` is a mailbox; then `packMailbox` wants its name and age. */
  static isMailbox(holder: StoredHolder): holder is Mailbox {
    return holder instanceof Mailbox;
  }

  private expire(box: Mailbox): void {
    this.end(box, 'expired', 'expired', DROPPED_EXPIRED);
  }

  /** Ends a mailbox because somebody wants so, with all that is in it. */
  remove(box: Mailbox): void {
    this.end(box, 'deleted', 'dropped', DROPPED_DELETED);
  }

  /** @param reason for the event; @param status for receipts; @param counted counter of what is dropped */
  private end(box: Mailbox, reason: string, status: string, counted: number): void {
    const { shard } = this;
    this.takeOver(box.clientId, box.hash);
    if (shard.journal.isOn) noteEnd(shard, box);
    const clientId = readText(box.clientId, 0, box.clientId.length);
    const drop = (delivery: Delivery): void => {
      viewMessage(shard.keptView, delivery.message);
      shard.events.messageDropped(shard.keptView, clientId, reason);
      if (delivery.message.receipt !== RECEIPT_NONE) receiptOf(shard, delivery.message, clientId, status, shard.journal.isOn);
    };
    const { queue } = box;
    for (let delivery = takeQueued(shard, queue); delivery !== undefined; delivery = takeQueued(shard, queue)) {
      shard.counters[counted]!++;
      drop(delivery);
    }
    while (queue.refCount > 0) {
      shard.counters[counted]!++;
      const { delivery } = takeOldestRef(shard, queue);
      if (delivery !== undefined) drop(delivery);
    }
  }
}
