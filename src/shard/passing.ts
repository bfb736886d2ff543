/**
 * Passing: where a message that has been let in is looked at, once, on the shard of its publisher: for the history, and for traces. Neither is there by default,
 * and then `Shard.isWatched` is all that is asked.
 *
 * Hot path.
 */
import { utf8Bytes, Writer } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import { appendProperties, type MessageView } from '../protocol/publish.ts';
import type { Connection } from './connection.ts';
import type { History } from './history.ts';
import { NOWHERE } from './publisher-names.ts';
import type { Route } from './route.ts';
import type { ClientSession, Shard } from './shard.ts';
import { NO_TARGETS } from './tracing.ts';

/** Not one of the scratches that ranges of the message at hand may lie in. */
const named = new Writer(1024);
/** Bytes of the publisher that has no session: whoever has left a Will, or the broker itself. */
let ownBytes: Uint8Array = new Uint8Array(0);
let ownHash = 0;
let ownId = '';
const NOBODY: Uint8Array = new Uint8Array(0);
/** The message at hand is kept when its targets are known. */
let isKept = false;

/** The broker publishes next, in the name of this client; '' for itself. */
export function speakFor(publisherId: string): void {
  if (publisherId === ownId) return;
  ownId = publisherId;
  ownBytes = utf8Bytes(publisherId); // cold: a Will
  ownHash = publisherId === '' ? 0 : hash32(ownBytes, 0, ownBytes.length);
}

/**
 * An ordinary message passes.
 * @param hash of its topic
 * @param route of its topic
 */
export function notePublish(shard: Shard, view: MessageView, publisher: ClientSession | null, hash: number, route: Route): void {
  const { history, tracing, messageIds } = shard;
  view.trace = null;
  const publisherBytes = publisher === null ? ownBytes : publisher.clientIdBytes;
  // What is wanted of a topic is wanted of the next message to it, too.
  const isFurther = history?.keepFurther(view, publisherBytes, route, shard.timers.now) === true;
  const wants = isFurther || history?.wants(view) === true;
  if (isFurther) {
    if (tracing === null && !history.sendsIds) return;
    messageIds.show();
  } else {
    if (!wants && tracing === null) return;
    messageIds.next(shard.timers.now);
    if (wants) {
      fill(shard, history, view, publisher);
      history.fields.hash = hash;
      history.fields.isP2p = false;
      history.fields.clearTargets();
      history.keep(view, publisherBytes, route);
    }
  }
  if (tracing !== null) tracing.published(view, publisher === null ? ownId : publisher.clientId, NO_TARGETS);
  if (wants && history.sendsIds) name(shard, view);
}

/**
 * A P2P message begins, whose targets are judged one by one.
 * @param names the targets that it asks for, where a trace wants to know them
 */
export function beginP2p(shard: Shard, view: MessageView, connection: Connection | null, names: readonly string[]): void {
  const { history, tracing, messageIds } = shard;
  isKept = history?.wants(view) === true;
  view.trace = null;
  if (!isKept && tracing === null) return;
  messageIds.next(shard.timers.now);
  const publisher = connection === null ? null : connection.session!.root;
  if (isKept) {
    const { fields } = history!;
    fill(shard, history!, view, publisher);
    fields.isP2p = true;
    fields.clearTargets();
  }
  if (tracing !== null) tracing.published(view, publisher === null ? ownId : publisher.clientId, names);
  if (isKept && history!.sendsIds) name(shard, view);
}

/** The message at hand goes to the client id[at, end). */
export function noteTarget(shard: Shard, id: Uint8Array, at: number, end: number): void {
  if (!isKept) return;
  const { fields } = shard.history!;
  fields.targetBytes = id;
  fields.addTarget(at, end);
}

/** All targets of the message at hand are known; `view` shows its topic as it was published. */
export function endP2p(shard: Shard, view: MessageView): void {
  if (!isKept) return;
  isKept = false;
  const { fields } = shard.history!;
  if (fields.targetCount === 0) return;
  fields.hash = hash32(view.topicBytes, view.topicAt, view.topicEnd);
  shard.history!.keep(view, NOBODY, null);
}

/** The message at hand goes to the client whose Client Identifier its topic ends with, and to no other. @param bytes of it @param hash of these bytes */
export function endAddressed(shard: Shard, view: MessageView, bytes: number, hash: number): void {
  if (!isKept) return;
  isKept = false;
  const { fields } = shard.history!;
  fields.addressedBytes = bytes;
  fields.hash = hash;
  shard.history!.keep(view, NOBODY, null);
}

function fill(shard: Shard, history: History, view: MessageView, publisher: ClientSession | null): void {
  const { fields, names } = history;
  let at = NOWHERE;
  if (publisher !== null) at = publisher.nameAt === 0 ? names.place(publisher) : publisher.nameAt;
  if (at > 0) {
    const { bytes } = names;
    fields.publisherBytes = bytes;
    fields.publisherAt = at + 1;
    fields.publisherEnd = at + 1 + bytes[at]!;
  } else {
    const bytes = publisher === null ? ownBytes : publisher.clientIdBytes;
    fields.publisherBytes = bytes;
    fields.publisherAt = 0;
    fields.publisherEnd = bytes.length;
  }
  fields.publisherHash = publisher === null ? ownHash : publisher.hash;
  fields.propertiesEnd = view.propertiesEnd;
  fields.expirySeconds = view.expiresAt === 0 ? -1 : Math.max(0, Math.ceil((view.expiresAt - shard.timers.now) / 1000));
}

/** Tells receivers the ID. */
function name(shard: Shard, view: MessageView): void {
  const { messageIds } = shard;
  messageIds.writeProperty();
  const length = view.propertiesEnd - view.propertiesAt;
  appendProperties(view, messageIds.property, named);
  // The record of a P2P message is written later, from where its properties are now, and without this one.
  if (shard.history !== null) shard.history.fields.propertiesEnd = view.propertiesAt + length;
}
