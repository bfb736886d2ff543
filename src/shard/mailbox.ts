/**
 * Mailboxes: P2P messages for Client Identifiers that have no session yet, kept until their first connection (`p2p.mailbox`).
 *
 * Bounds: messages and bytes of one mailbox, mailboxes of the process (each shard holds its share), and a time to live from the first message on.
 * At a bound the message is refused and the sender told. Owned by one shard.
 */

import { ByteMap } from '../base/byte-map.ts';
import { readText } from '../base/bytes.ts';
import { Fifo } from '../base/fifo.ts';
import { Timer } from '../base/timers.ts';
import { type Message, viewMessage } from '../session/message.ts';
import { counter } from './counters.ts';
import { FULL, MAILBOX } from './outcome.ts';
import { receiptOf } from './receipt.ts';
import type { Shard } from './shard.ts';

const COUNT = counter('mailboxes/count');
const QUEUED_BYTES = counter('queued/bytes');
const QUEUED_MESSAGES = counter('queued/messages');
const DROPPED_EXPIRED = counter('publish/dropped/expired');
const DROPPED_FULL = counter('publish/dropped/queue-full');

class Mailbox {
  readonly messages: Fifo<Message>;
  bytes: number;
  timer: Timer | null;

  constructor() {
    this.messages = new Fifo();
    this.bytes = 0;
    this.timer = null;
  }
}

export class Mailboxes {
  private readonly shard: Shard;
  private readonly boxes: ByteMap<Mailbox>;

  constructor(shard: Shard) {
    this.shard = shard;
    this.boxes = new ByteMap();
  }

  /** Keeps a message for the Client Identifier id[at, end). @returns MAILBOX or FULL */
  put(id: Uint8Array, at: number, end: number, hash: number, message: Message): number {
    const shard = this.shard;
    const limits = shard.settings.p2p.mailbox;
    let box = this.boxes.get(id, at, end, hash);
    const isFull =
      shard.isOverloaded ||
      message.sizeBytes > limits.maxBytes ||
      (box === undefined
        ? this.boxes.size >= Math.ceil(limits.maxMailboxes / shard.shards)
        : box.messages.count >= limits.maxMessages || box.bytes + message.sizeBytes > limits.maxBytes);
    if (isFull) {
      shard.counters[DROPPED_FULL]!++;
      return FULL;
    }
    if (box === undefined) {
      const made = new Mailbox();
      const key = Uint8Array.prototype.slice.call(id, at, end);
      this.boxes.set(key, hash, made);
      shard.counters[COUNT]!++;
      made.timer = new Timer(() => this.expire(key, hash));
      shard.timers.arm(made.timer, limits.ttlSeconds * 1000);
      box = made;
    }
    box.messages.push(message);
    box.bytes += message.sizeBytes;
    shard.counters[QUEUED_BYTES]! += message.sizeBytes;
    shard.counters[QUEUED_MESSAGES]!++;
    return MAILBOX;
  }

  /** Hands the mailbox of a client over, oldest first, and ends it. */
  takeAll(id: Uint8Array, hash: number): Message[] {
    const box = this.boxes.delete(id, 0, id.length, hash);
    if (box === undefined) return [];
    if (box.timer !== null) this.shard.timers.disarm(box.timer);
    this.shard.counters[COUNT]!--;
    const messages: Message[] = [];
    for (let message = box.messages.shift(); message !== undefined; message = box.messages.shift()) {
      this.shard.counters[QUEUED_BYTES]! -= message.sizeBytes;
      this.shard.counters[QUEUED_MESSAGES]!--;
      messages.push(message);
    }
    return messages;
  }

  private expire(key: Uint8Array, hash: number): void {
    const clientId = readText(key, 0, key.length);
    for (const message of this.takeAll(key, hash)) {
      this.shard.counters[DROPPED_EXPIRED]!++;
      viewMessage(this.shard.keptView, message);
      this.shard.events.messageDropped(this.shard.keptView, clientId, 'expired');
      if (message.wantsReceipt) receiptOf(this.shard, message, clientId, 'expired');
    }
  }
}
