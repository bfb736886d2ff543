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

interface KeepAliveQuestion {
  readonly clientId: string;
  readonly seconds: number;
  /** What the client must be asked before, as for a message to it (`access/target-question.ts`); empty: nothing. */
  readonly question: Uint8Array;
}

/** `done`; or why not: it is not connected, the caller may not write to it, or it has no Keep Alive. */
export type KeepAliveAnswer = 'done' | 'offline' | 'denied' | 'none';

/** Lets this shard answer such questions. */
export function handleClientQuestions(shard: Shard): void {
  shard.asks.handle(STATUS, (clientId, answer) => answer(isConnected(shard, clientId as string)));
  shard.asks.handle(KEEP_ALIVE, (value, answer) => answer(keepAlive(shard, value as KeepAliveQuestion)));
}

/** Whether a client is connected, wherever it lives. @param done called once; null: its shard does not answer */
export function askConnected(shard: Shard, clientId: string, done: (isOnline: boolean | null) => void): void {
  const owner = ownerOf(shard, clientId);
  if (owner === shard.index) done(isConnected(shard, clientId));
  else shard.asks.ask(owner, STATUS, clientId, (value) => done(value as boolean | null));
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

function isConnected(shard: Shard, clientId: string): boolean {
  return connectionOf(sessionOf(shard, clientId)) !== null;
}

function keepAlive(shard: Shard, { clientId, seconds, question }: KeepAliveQuestion): KeepAliveAnswer {
  const session = sessionOf(shard, clientId);
  if (question.length > 0) {
    const id = utf8Bytes(clientId);
    if (!shard.authorization.answer(question, 0, question.length, session?.attributes ?? null, id, 0, id.length)) return 'denied';
  }
  const connection = connectionOf(session);
  if (connection === null) return 'offline';
  if (connection.keepAliveSeconds === 0) return 'none';
  changeKeepAlive(shard, connection, seconds);
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
