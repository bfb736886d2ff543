/**
 * What a shard answers about the Retained Messages of its topics.
 */
import { utf8Bytes } from '../../base/bytes.ts';
import { hash32 } from '../../base/hash.ts';
import { MessageView } from '../../protocol/publish.ts';
import type { GiveAnswer } from '../../shard/asks.ts';
import { STORED } from '../../shard/outcome.ts';
import { type RetainedMessage, storeRetained } from '../../shard/retain.ts';
import type { Shard } from '../../shard/shard.ts';
import { answerWhole, type ListAsk } from './chunk.ts';
import { messageFacts } from './message-facts.ts';
import { type Reply, refusal } from './reply.ts';
import { inSlices } from './slices.ts';
import { Smallest } from './smallest.ts';
import { timeOf } from './time-of.ts';

export interface RetainedQuery {
  readonly filter: string;
}

/** Topics that one step of a walk looks at. */
const TOPICS_PER_STEP = 32;

const NONE: Reply = refusal('not-found', 'the topic has no Retained Message');
const NOTHING = new Uint8Array(0);
const view = new MessageView();

export function answerAboutRetained(shard: Shard): void {
  const { asks } = shard;
  asks.handle('retained-list', (value, answer) => listRetained(shard, value as ListAsk<RetainedQuery>, answer));
  asks.handle('retained-count', (_value, answer) => answer({ count: shard.retained.count - ownCount(shard) }));
  asks.handle('retained-get', (value, answer) => {
    const entry = liveEntry(shard, (value as { topic: string }).topic);
    answer(entry === undefined ? NONE : ({ body: messageFacts(entry.message) } satisfies Reply));
  });
  asks.handle('retained-delete', (value, answer) => remove(shard, (value as { topic: string }).topic, answer));
}

/** Those on topics of the broker itself: a few statistics. */
function ownCount(shard: Shard): number {
  const own: RetainedMessage[] = [];
  shard.retained.match('$SYS/#', own);
  return own.length;
}

function liveEntry(shard: Shard, topic: string): RetainedMessage | undefined {
  const entry = shard.retained.get(topic);
  return entry === undefined || hasExpired(shard, entry) ? undefined : entry;
}

function hasExpired(shard: Shard, { message }: RetainedMessage): boolean {
  return message.expiresAt !== 0 && message.expiresAt <= shard.timers.now;
}

function listRetained(shard: Shard, { after, limit, query }: ListAsk<RetainedQuery>, answer: GiveAnswer): void {
  const found = new Smallest<RetainedMessage>(limit, after);
  const range = {
    after: after === null ? '' : after[1],
    get before(): string | null {
      return found.isFull ? found.last![1] : null;
    },
  };
  const walk = shard.retained.walk(query.filter, range, (key, entry) => {
    if (!hasExpired(shard, entry)) found.add([0, key, ''], entry);
  });
  inSlices(
    shard,
    () => walk.step(TOPICS_PER_STEP),
    (isComplete) => answerWhole(shard, isComplete, found, retainedFacts, answer),
  );
}

function retainedFacts({ topic, message }: RetainedMessage): string {
  const { qos, bytes, propertiesEnd, expiresAt } = message;
  return JSON.stringify({ topic, qos, bytes: bytes.length - propertiesEnd, expiresAt: timeOf(expiresAt) });
}

/** Clears it as an empty message would, but tells no subscriber. */
function remove(shard: Shard, topic: string, answer: GiveAnswer): void {
  if (liveEntry(shard, topic) === undefined) {
    answer(NONE);
    return;
  }
  const bytes = utf8Bytes(topic);
  view.qos = 0;
  view.isRetained = true;
  view.topicBytes = bytes;
  view.topicAt = 0;
  view.topicEnd = bytes.length;
  view.propertyBytes = NOTHING;
  view.propertiesAt = 0;
  view.propertiesEnd = 0;
  view.setPayload(NOTHING, 0, 0);
  view.expiresAt = 0;
  if (storeRetained(shard, view, hash32(bytes, 0, bytes.length)) !== STORED) {
    answer(refusal('store-degraded', 'the Retained Message is stored, and the store takes nothing now'));
    return;
  }
  shard.journal.whenCommitted(() => answer({ body: { deleted: true } } satisfies Reply));
}
