/*
 * Topic Names and Topic Filters: which are allowed, how many levels they have, whether one matches the other, and what a Shared
 * Subscription's filter is made of (MQTT 5, sections 4.7 and 4.8.2). It keeps nothing; the tree of filters lives in routing/.
 * Names are judged on bytes, because every PUBLISH brings one; filters are judged as text, because they come rarely and are kept.
 *
 * Hot path.
 */

import { isMqttUtf8 } from '../base/bytes.ts';
import { ReasonCode } from './reason-code.ts';

const PLUS = 0x2b;
const HASH = 0x23;
const SLASH = 0x2f;
const DOLLAR = 0x24;

/** Answers of `scanTopic` that are not a number of levels. */
export const TOPIC_EMPTY = 0;
export const TOPIC_MALFORMED = -1;
export const TOPIC_WILDCARD = -2;

/**
 * Judges a Topic Name in one pass.
 * @returns the number of its levels (1 or more), TOPIC_EMPTY, TOPIC_MALFORMED (not MQTT's UTF-8) or TOPIC_WILDCARD (holds `+` or `#`)
 */
export function scanTopic(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) return TOPIC_EMPTY; // [MQTT-4.7.3-1]
  let levels = 1;
  let isText = false;
  for (let i = at; i < end; i++) {
    const byte = bytes[i]!;
    if (byte >= 0x80) {
      if (!isText) {
        if (!isMqttUtf8(bytes, i, end)) return TOPIC_MALFORMED; // [MQTT-1.5.4-1]
        isText = true;
      }
    } else if (byte === SLASH) levels++;
    else if (byte === PLUS || byte === HASH)
      return TOPIC_WILDCARD; // [MQTT-3.3.2-2] [MQTT-4.7.0-1]
    else if (byte === 0) return TOPIC_MALFORMED; // [MQTT-4.7.3-2]
  }
  return levels;
}

/** Says whether the range is a Topic Name: not empty, MQTT's UTF-8, no wildcards, at most `levelsMax` levels. */
export function isTopicName(bytes: Uint8Array, at: number, end: number, levelsMax: number): boolean {
  const levels = scanTopic(bytes, at, end);
  return levels > 0 && levels <= levelsMax;
}

/** The number of levels of a Topic Name that has been judged before: its slashes and one. */
export function topicLevels(bytes: Uint8Array, at: number, end: number): number {
  let levels = 1;
  for (let i = at; i < end; i++) {
    if (bytes[i] === SLASH) levels++;
  }
  return levels;
}

/** Says whether text is a Topic Name; the same rules as `isTopicName`, for the few that come as text. */
export function isTopicText(topic: string, levelsMax: number): boolean {
  if (topic.length === 0) return false;
  let levels = 1;
  for (let i = 0; i < topic.length; i++) {
    const unit = topic.charCodeAt(i);
    if (unit === SLASH) levels++;
    else if (unit === PLUS || unit === HASH || unit === 0) return false;
  }
  return levels <= levelsMax;
}

/**
 * Judges a Topic Filter without its `$share/…/` prefix.
 * @returns 0, or TopicFilterInvalid when it is empty [MQTT-4.7.3-1], holds U+0000 [MQTT-4.7.3-2], has `#` anywhere but alone in the last
 * level [MQTT-4.7.1-1], has `+` beside other characters in a level [MQTT-4.7.1-2], or more than `levelsMax` levels
 */
export function filterError(filter: string, levelsMax: number): ReasonCode {
  const length = filter.length;
  if (length === 0) return ReasonCode.TopicFilterInvalid;
  let levels = 1;
  for (let i = 0; i < length; i++) {
    const unit = filter.charCodeAt(i);
    if (unit === SLASH) levels++;
    else if (unit === 0) return ReasonCode.TopicFilterInvalid;
    else if (unit === HASH || unit === PLUS) {
      const beginsLevel = i === 0 || filter.charCodeAt(i - 1) === SLASH;
      const endsLevel = i + 1 === length || (unit === PLUS && filter.charCodeAt(i + 1) === SLASH);
      if (!beginsLevel || !endsLevel) return ReasonCode.TopicFilterInvalid;
    }
  }
  return levels <= levelsMax ? ReasonCode.Success : ReasonCode.TopicFilterInvalid;
}

/** Says whether a valid Topic Filter holds a wildcard. */
export function hasWildcard(filter: string): boolean {
  return filter.includes('+') || filter.includes('#');
}

/** The two parts of a Shared Subscription's Topic Filter, `$share/{shareName}/{filter}`. */
export interface SharedFilter {
  shareName: string;
  filter: string;
}

const SHARE_PREFIX = '$share/';

/**
 * Takes a Shared Subscription's filter apart.
 * @returns undefined when the filter is not shared; null when it begins with `$share/` but its name is empty or holds a wildcard, or
 * nothing follows the name [MQTT-4.8.2-1] [MQTT-4.8.2-2]; otherwise the parts, of which `filter` still has to be judged by `filterError`
 */
export function parseShared(filter: string): SharedFilter | null | undefined {
  if (!filter.startsWith(SHARE_PREFIX)) return undefined;
  const nameEnd = filter.indexOf('/', SHARE_PREFIX.length);
  if (nameEnd <= SHARE_PREFIX.length || nameEnd + 1 === filter.length) return null;
  const shareName = filter.slice(SHARE_PREFIX.length, nameEnd);
  if (hasWildcard(shareName)) return null;
  return { shareName, filter: filter.slice(nameEnd + 1) };
}

/**
 * Says whether a valid Topic Filter (without `$share/…/`) matches a Topic Name. `#` also matches the level above it [MQTT-4.7.1-1];
 * a wildcard in the first level does not match a name that begins with `$` [MQTT-4.7.2-1].
 */
export function filterMatches(filter: string, topic: string): boolean {
  const filterEnd = filter.length;
  const topicEnd = topic.length;
  if (topicEnd > 0 && topic.charCodeAt(0) === DOLLAR && filterEnd > 0) {
    const unit = filter.charCodeAt(0);
    if (unit === PLUS || unit === HASH) return false;
  }
  let at = 0;
  let topicAt = 0;
  // Both offsets stand at the beginning of a level.
  for (;;) {
    const unit = at < filterEnd ? filter.charCodeAt(at) : SLASH;
    if (unit === HASH) return true;
    if (unit === PLUS) {
      at++;
      while (topicAt < topicEnd && topic.charCodeAt(topicAt) !== SLASH) topicAt++;
    } else {
      while (at < filterEnd && topicAt < topicEnd) {
        const filterUnit = filter.charCodeAt(at);
        if (filterUnit !== topic.charCodeAt(topicAt)) return false;
        if (filterUnit === SLASH) break;
        at++;
        topicAt++;
      }
    }
    // Now each offset must stand at the end of its level: the two ends together, the two slashes together, or `a/#` against `a`.
    const filterDone = at === filterEnd;
    if (!filterDone && filter.charCodeAt(at) !== SLASH) return false;
    if (topicAt === topicEnd) return filterDone || (at + 2 === filterEnd && filter.charCodeAt(at + 1) === HASH);
    if (filterDone || topic.charCodeAt(topicAt) !== SLASH) return false;
    at++;
    topicAt++;
  }
}
