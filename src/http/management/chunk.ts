/**
 * Chunks: what one shard answers to one question about a list. It says how far the shard has looked, so that whoever asks can merge the answers of all without missing anything.
 */
import type { ByteMap } from '../../base/byte-map.ts';
import type { GiveAnswer } from '../../shard/asks.ts';
import type { Shard } from '../../shard/shard.ts';
import type { Place } from './place.ts';
import { inSlices } from './slices.ts';
import { Smallest } from './smallest.ts';

/** A question about a list. */
export interface ListAsk<Q> {
  readonly after: Place | null;
  /** Most items that the answer may have. */
  readonly limit: number;
  readonly query: Q;
}

/** @template I an item: its JSON, made where it belongs, or an object where parts of several shards are to be combined */
export interface Chunk<I = unknown> {
  /** In order, each with its place. */
  readonly items: readonly I[];
  readonly places: readonly Place[];
  /** Whatever this shard has up to here is in this answer or was in one before; null: it has nothing more. */
  readonly upTo: Place | null;
}

/** A search that finds little answers after this time with what it has. */
const CHUNK_MILLISECONDS = 1500;
/** Places of an index that one step looks at: at most half of them are taken, each perhaps by a session with thousands of subscriptions. */
const PLACES_PER_STEP = 16;
/** Items that one step describes, 1 to 2 µs each. */
const ITEMS_PER_STEP = 16;
/** Of text. An answer ends with the item that has passed it. */
const CHUNK_LENGTH_MAX = 1024 * 1024;

/**
 * Answers from a map by Client Identifier.
 * @param find adds what an entry has for the list; `order` is the first part of its places
 * @param describe of what has been found; only for what is in the answer
 */
export function answerFromMap<V extends object, R>(
  shard: Shard,
  map: ByteMap<V>,
  { after, limit }: ListAsk<unknown>,
  find: (value: V, order: number, into: Smallest<R>) => void,
  describe: (found: R) => unknown,
  answer: GiveAnswer,
): void {
  const found = new Smallest<R>(limit, after);
  const end = performance.now() + CHUNK_MILLISECONDS;
  let from = after === null ? 0 : after[0];
  inSlices(
    shard,
    () => {
      from = map.scanInOrder(from, PLACES_PER_STEP, (value, order) => find(value, order, found));
      return from >= 0 && !found.isFull && performance.now() < end;
    },
    () => {
      // Names are not empty, so the place with the next order and no name comes before all that is left.
      const upTo: Place | null = found.isFull ? found.last : from < 0 ? null : [from, '', ''];
      answerFound(shard, found, upTo, describe, answer);
    },
  );
}

/** Answers with what a complete search has found; one that was given up has no answer. */
export function answerWhole<R>(
  shard: Shard,
  isComplete: boolean,
  found: Smallest<R>,
  describe: (found: R) => unknown,
  answer: GiveAnswer,
): void {
  if (isComplete) answerFound(shard, found, found.isFull ? found.last : null, describe, answer);
  else answer(null);
}

/** Answers with what was found, described in slices, or with the first of it where all is too long. */
export function answerFound<R>(
  shard: Shard,
  { places, values }: Smallest<R>,
  upTo: Place | null,
  describe: (found: R) => unknown,
  answer: GiveAnswer,
): void {
  const items: unknown[] = [];
  let length = 0;
  inSlices(
    shard,
    () => {
      for (const end = Math.min(values.length, items.length + ITEMS_PER_STEP); items.length < end && length < CHUNK_LENGTH_MAX; ) {
        const item = describe(values[items.length]!);
        if (typeof item === 'string') length += item.length;
        items.push(item);
      }
      return items.length < values.length && length < CHUNK_LENGTH_MAX;
    },
    (isComplete) => {
      if (!isComplete) answer(null);
      else if (items.length === values.length) answer({ items, places, upTo } satisfies Chunk);
      else answer({ items, places: places.slice(0, items.length), upTo: places[items.length - 1]! } satisfies Chunk);
    },
  );
}
