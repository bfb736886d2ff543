/**
 * Client questions: what HTTP callers ask of one client, on the shard that owns it (`asks.ts`): whether it is connected, and another Keep Alive for it.
 */
import { utf8Bytes } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import { shardOfSlot, slotOf } from '../routing/slot.ts';
import { CONNECTED, type Connection } from './connection.ts';
import { changeKeepAlive } from './keep-alive.ts';
import type { ClientSession, Shard } from './shard.ts';

const STATUS = 'client/status';
const KEEP_ALIVE = 'client/keep-alive';

interface ClientQuestion {
  readonly clientId: string;
  /** What the client must be asked before, as for a message to it (`access/target-question.ts`); empty: nothing. */
  readonly question: Uint8Array;
}

interface KeepAliveQuestion extends ClientQuestion {
  readonly seconds: number;
}

/** `denied`: the caller may not write to it. */
export type StatusAnswer = 'online' | 'offline' | 'denied';

/** `done`; or why not: it is not connected, the caller may not write to it, or it has no Keep Alive. */
export type KeepAliveAnswer = 'done' | 'offline' | 'denied' | 'none';

/** Lets this shard answer such questions. */
export function handleClientQuestions(shard: Shard): void {
  shard.asks.handle(STATUS, (value, answer) => answer(status(shard, value as ClientQuestion)));
  shard.asks.handle(KEEP_ALIVE, (value, answer) => answer(keepAlive(shard, value as KeepAliveQuestion)));
}

/**
 * Whether a client is connected, wherever it lives.
 * @param question what the client must be asked before, as for a message to it; empty: nothing
 * @param done called once; null: its shard does not answer
 */
export function askStatus(shard: Shard, clientId: string, question: Uint8Array, done: (answer: StatusAnswer | null) => void): void {
  const value: ClientQuestion = { clientId, question };
  const owner = ownerOf(shard, clientId);
  if (owner === shard.index) done(status(shard, value));
  else shard.asks.ask(owner, STATUS, value, (answer) => done(answer as StatusAnswer | null));
}

/** Gives a client another Keep Alive. @param done called once; null: its shard does not answer */
export function askKeepAlive(
  shard: Shard,
  clientId: string,
  seconds: number,
  question: Uint8Array,
  done: (answer: KeepAliveAnswer | null) => void,
): void {
  const value: KeepAliveQuestion = { clientId, seconds, question };
  shard.asks.ask(ownerOf(shard, clientId), KEEP_ALIVE, value, (answer) => done(answer as KeepAliveAnswer | null));
}

/** The shard that owns a Client Identifier. */
export function ownerOf(shard: Shard, clientId: string): number {
  const id = utf8Bytes(clientId);
  return shardOfSlot(slotOf(hash32(id, 0, id.length)), shard.shards);
}

function status(shard: Shard, asked: ClientQuestion): StatusAnswer {
  const session = sessionOf(shard, asked.clientId);
  if (!mayWriteTo(shard, asked, session)) return 'denied';
  return connectionOf(session) === null ? 'offline' : 'online';
}

/** The client's part of the answer, where the statements ask for one. */
function mayWriteTo(shard: Shard, { clientId, question }: ClientQuestion, session: ClientSession | undefined): boolean {
  if (question.length === 0) return true;
  const id = utf8Bytes(clientId);
  return shard.authorization.answer(question, 0, question.length, session?.attributes ?? null, id, 0, id.length);
}

function keepAlive(shard: Shard, asked: KeepAliveQuestion): KeepAliveAnswer {
  const session = sessionOf(shard, asked.clientId);
  if (!mayWriteTo(shard, asked, session)) return 'denied';
  const connection = connectionOf(session);
  if (connection === null) return 'offline';
  if (connection.keepAliveSeconds === 0) return 'none';
  changeKeepAlive(shard, connection, asked.seconds);
  return 'done';
}

function sessionOf(shard: Shard, clientId: string): ClientSession | undefined {
  const id = utf8Bytes(clientId);
  return shard.sessions.get(id, 0, id.length, hash32(id, 0, id.length));
}

function connectionOf(session: ClientSession | undefined): Connection | null {
  const connection = session?.connection ?? null;
  return connection?.state === CONNECTED ? connection : null;
}
