/**
 * Why a message cannot go to its topic, in words. Asked only when the broker has refused the topic, and knows no more of it than that.
 */
import { utf8Bytes } from '../base/bytes.ts';
import { scanTopic, TOPIC_MALFORMED, TOPIC_WILDCARD } from '../protocol/topic.ts';

const TOPIC_BYTES_MAX = 65_535;

/**
 * What is wrong with a topic that was refused.
 * @param levelsMax `limits.topicLevels`
 * @param clientId whom the message was for, whatever its topic; null: it was published to the topic
 */
export function topicFault(topic: string, levelsMax: number, clientId: string | null): string {
  const bytes = utf8Bytes(topic);
  const levels = scanTopic(bytes, 0, bytes.length);
  if (bytes.length === 0) return 'the topic is empty';
  if (bytes.length > TOPIC_BYTES_MAX) return `the topic has ${bytes.length} bytes; MQTT allows ${TOPIC_BYTES_MAX}`;
  if (levels === TOPIC_WILDCARD) return 'the topic holds + or #: a message goes to one topic, without wildcards';
  if (levels === TOPIC_MALFORMED) return 'the topic holds U+0000, or something else that is no text in MQTT';
  if (levels > levelsMax) return `the topic has ${levels} levels; limits.topicLevels allows ${levelsMax}`;
  if (clientId !== null) return 'the topic is the P2P address of another client: leave it out, or name one that is nobody else’s address';
  return 'a P2P address without a Client Identifier: publish to {first}/p2p/{clientId}, or name targets in User Properties p2p-target, none of them empty';
}
