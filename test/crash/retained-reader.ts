/*
 * What a new subscriber is given as Retained Messages, complete and with an end: behind its SUBSCRIBE the reader clears a topic of each shard that has nothing
 * retained. Rings between shards are first in, first out, so what a shard retains arrives before its acknowledgement of that.
 */
import { connect } from '../support/client.ts';
import { shardOfClientId } from '../support/placement.ts';

/** Payloads by topic, of the topics that `filter` matches. */
export async function readRetained(port: number, shards: number, filter: string): Promise<Map<string, Uint8Array>> {
  const reader = await connect(port, { clientId: 'retained-reader' });
  await reader.subscribe(filter, { qos: 1 });
  const open = new Set(Array.from({ length: shards }, (_, shard) => shard));
  for (let number = 0; open.size > 0; number++) {
    const topic = `nothing-retained/${number}`;
    // A topic is owned like a Client Identifier: by its bytes.
    if (open.delete(shardOfClientId(topic, shards))) await reader.publish(topic, '', { qos: 1, retain: true });
  }
  const found = new Map<string, Uint8Array>();
  for (const { topic, payload, retain } of reader.messages) if (retain) found.set(topic, payload);
  await reader.disconnect();
  return found;
}
