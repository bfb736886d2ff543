/**
 * Replies: what the shard that owns something says to a question about it: its facts, or why it refuses.
 */

import { utf8Bytes } from '../../base/bytes.ts';
import { hash32 } from '../../base/hash.ts';
import { shardOfSlot, slotOf } from '../../routing/slot.ts';
import type { ClientSession, Shard } from '../../shard/shard.ts';
import type { Call } from '../call.ts';
import { Problem, type ProblemCode } from '../problem.ts';
import { mayAs } from '../role.ts';
import type { Answer } from '../route.ts';
import { askShard } from './pages.ts';

export type Reply = { readonly body: object } | { readonly problem: ProblemCode; readonly detail: string };

export function refusal(problem: ProblemCode, detail: string): Reply {
  return { problem, detail };
}

/** The shard that owns a client, or the Retained Message of a topic: both by the hash of the name. */
export function ownerOf(shard: Shard, name: string): number {
  const bytes = utf8Bytes(name);
  return shardOfSlot(slotOf(hash32(bytes, 0, bytes.length)), shard.shards);
}

/** A session of this shard. */
export function sessionOf(shard: Shard, clientId: string): ClientSession | undefined {
  const bytes = utf8Bytes(clientId);
  return shard.sessions.get(bytes, 0, bytes.length, hash32(bytes, 0, bytes.length));
}

export const NO_SESSION: Reply = refusal('no-session', 'no client with this identifier has a session');

/** Asks the shard that owns `name`, and answers with what it says. @throws Problem where it refuses, or does not answer */
export async function askOwner(call: Call, name: string, question: string, value: object): Promise<Answer> {
  const reply = await askShard<Reply>(call, ownerOf(call.shard, name), question, value);
  if ('problem' in reply) throw new Problem(reply.problem, reply.detail);
  return { status: 200, body: mayAs(call.caller!.role, 'operator') ? reply.body : withoutContent(reply.body) };
}

/** Messages of others may be private: a viewer sees that they are there, not what they say. */
function withoutContent(body: object): object {
  const shown: Record<string, unknown> = { ...body };
  if ('payloadBase64' in shown) {
    shown['payloadBase64'] = null;
    shown['properties'] = null;
  }
  const { will, messageList } = shown;
  if (typeof will === 'object' && will !== null) shown['will'] = withoutContent(will);
  if (Array.isArray(messageList)) shown['messageList'] = messageList.map((one: object) => withoutContent(one));
  return shown;
}
