/**
 * AccessRenewal: other statements for a shard that is running.
 *
 *   new statements → every connection is marked at once, and judged anew when it next asks → a walk over all of them, a few milliseconds in a turn: who may not be
 *   connected any more goes, subscriptions and Wills that are not allowed any more end
 *
 * From the mark on nothing is judged by the old statements. Sessions without a connection are judged when they are taken up.
 */
import type { AuthorizationSettings } from '../base/settings.ts';
import { MessageView } from '../protocol/publish.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import { viewMessage } from '../session/message.ts';
import { Will } from '../session/will.ts';
import { CONNECTED, type Connection } from './connection.ts';
import { noteConnected } from './durable.ts';
import { endForbidden } from './on-subscribe.ts';
import { endConnection } from './sessions.ts';
import type { ClientSession, Shard } from './shard.ts';

/** How long one turn goes on with the walk. */
const SLICE_MILLISECONDS = 2;

/** Of its own: a connection may end while a message is being sent. */
const willView = new MessageView();

export class AccessRenewal {
  private readonly shard: Shard;
  /** Connections that the walk has not come to. */
  private left: Connection[];
  private isWalking: boolean;
  private done: () => void;

  constructor(shard: Shard) {
    this.shard = shard;
    this.left = [];
    this.isWalking = false;
    this.done = () => {};
  }

  /** Judges by these settings from now on. @param done called when the walk is over, unless other settings come before */
  begin(settings: AuthorizationSettings, done: () => void): void {
    const { authorization, connections } = this.shard;
    authorization.replace(settings);
    const all: Connection[] = [];
    for (const connection of connections) {
      const { identity } = connection.control ?? connection;
      // Whoever is not connected yet is judged at its CONNECT.
      if (identity === null) continue;
      connection.access = authorization.judges(identity) ? authorization.stale : null;
      all.push(connection);
    }
    // A walk that is under way goes on with these: all that it has not come to is among them.
    this.left = all;
    this.done = done;
    if (this.isWalking) return;
    this.isWalking = true;
    const walk = (): void => {
      this.shard.startTurn();
      const end = performance.now() + SLICE_MILLISECONDS;
      while (this.left.length > 0 && performance.now() < end) renew(this.shard, this.left.pop()!);
      if (this.left.length > 0 && !this.shard.isStopping) {
        setImmediate(walk);
        return;
      }
      this.isWalking = false;
      this.done();
    };
    setImmediate(walk);
  }

  /** A connection ends. The walk may not have come to its Will, or may end it because of its CONNECT. */
  ending(session: ClientSession, connection: Connection): void {
    if (this.isWalking) renewWill(this.shard, session, connection);
  }
}

/** One client has another identity: it is judged anew, on all its streams, and may end by it. */
export function renewAccess(connection: Connection): void {
  const { shard } = connection;
  const { authorization } = shard;
  const all = [connection, ...(connection.streams ?? [])];
  for (const one of all) one.access = authorization.judges(connection.identity!) ? authorization.stale : null;
  for (const one of all) renew(shard, one);
}

/** Ends what the client may not have any more. */
function renew(shard: Shard, connection: Connection): void {
  const { session, control } = connection;
  if (connection.state !== CONNECTED || session === null) return;
  const { authorization } = shard;
  if (control === null && connection.access !== null && !authorization.mayStay(connection)) {
    endConnection(connection, ReasonCode.NotAuthorized, 'not_authorized', true);
    return;
  }
  endForbidden(shard, session, connection);
  if (control === null) renewWill(shard, session, connection);
}

/** Drops a Will that may not be left any more. */
function renewWill(shard: Shard, session: ClientSession, connection: Connection): void {
  if (session.will === null) return;
  const { message, delaySeconds, expirySeconds, asked: before } = session.will;
  viewMessage(willView, message);
  const asked = shard.authorization.judgeWill(connection, session.clientId, willView);
  session.will = asked === null ? null : new Will(message, delaySeconds, expirySeconds, asked);
  if (session.isStored && (asked === null || asked.length > 0 || before.length > 0)) noteConnected(shard, session);
}
