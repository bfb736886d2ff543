/**
 * Own: messages of the broker itself (wills, events, receipts), and those of them that must outlive a crash.
 *
 *   receipt, will of a stored session, message that a group takes back → entry `own` → routed here, taken by all other shards that want it → entry `own-done`
 *
 * What is done before its entry has left needs no entry at all. After a crash, or where a disk has refused it, what is not done is published again: at least once.
 */
import { Timer } from '../base/timers.ts';
import { ENTRY_OWN, ENTRY_OWN_DONE } from '../journal/entry.ts';
import type { Message } from '../session/message.ts';
import type { AskedTarget } from '../session/will.ts';
import type { Shard } from './shard.ts';
import { packOwn } from './stored-session.ts';

/** How long what a disk has refused waits before it is published again. */
const RETRY_MILLISECONDS = 1000;

/** A message that waits for the end of the turn, or for other shards. */
export class OwnPublication {
  readonly shard: Shard;
  readonly message: Message;
  /** Client Identifier in whose name it speaks, '' for the broker. */
  readonly publisherId: string;
  /** `{shareName}/{filter}` when it is for one member of that group only, else ''. */
  readonly shareKey: string;
  /** What its P2P targets must be asked. */
  readonly asked: readonly AskedTarget[];
  /** Where observers of P2P messages are looked for, where this is a copy for them (`observe.ts`); else null. */
  observed: Uint8Array | null;
  /** Number in the journal; 0: it is not stored. */
  id: number;
  /** Record that holds its entry, and where in it. */
  record: number;
  entryAt: number;

  constructor(shard: Shard, message: Message, publisherId: string, shareKey: string, asked: readonly AskedTarget[]) {
    this.shard = shard;
    this.message = message;
    this.publisherId = publisherId;
    this.shareKey = shareKey;
    this.asked = asked;
    this.observed = null;
    this.id = 0;
    this.record = 0;
    this.entryAt = 0;
  }
}

/** A stored publication begins. */
export function beginOwn(
  shard: Shard,
  message: Message,
  publisherId: string,
  shareKey: string,
  asked: readonly AskedTarget[],
): OwnPublication {
  const own = new OwnPublication(shard, message, publisherId, shareKey, asked);
  own.id = shard.nextSessionId();
  noteOwn(shard, own);
  return own;
}

/** Writes the entry; also where a record that holds it is about to be removed. */
export function noteOwn(shard: Shard, own: OwnPublication): void {
  const { open } = shard.journal;
  own.entryAt = open.packed(ENTRY_OWN, own.id, packOwn(own));
  own.record = open.record;
  shard.pendingOwn.set(own.id, own);
}

/** Every shard that wants it has answered. @param isRefused a disk has kept somebody from taking it: it is published again, until all have it */
export function ownIsDone(own: OwnPublication, isRefused: boolean): void {
  const { shard } = own;
  if (own.id !== 0 && isRefused) {
    // Not more than are in `pendingOwn`, which the journal holds.
    const retry = new Timer(() => shard.outbox.push(own));
    shard.timers.arm(retry, RETRY_MILLISECONDS);
    return;
  }
  if (own.id === 0 || !shard.pendingOwn.delete(own.id)) return;
  const { open } = shard.journal;
  if (own.record === open.record) open.kill(own.entryAt);
  else open.one(ENTRY_OWN_DONE, 0, 0, own.id);
}
