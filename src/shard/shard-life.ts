/**
 * The large events in a shard's life: a peer dies or comes back, and the graceful stop. Called by the thread's control messages, never per packet.
 */
import { ReasonCode } from '../protocol/reason-code.ts';
import type { LinkWiring } from './mesh.ts';
import { confirmSubacks } from './on-subscribe.ts';
import { peerAnswersNoMore } from './retained-query.ts';
import { sendSnapshot } from './routes.ts';
import { endConnection } from './sessions.ts';
import type { Shard } from './shard.ts';

/** A peer's thread has ended: its routes go, waiting answers that only it could give are given up or kept for its successor. */
export function peerDied(shard: Shard, peer: number): void {
  shard.startTurn();
  shard.mesh.peerDied(peer);
  shard.interest.clearShard(peer);
  shard.retainedQueries.forgetAsker(peer);
  peerAnswersNoMore(shard, peer);
  confirmSubacks(shard);
  shard.snapshotCame();
  shard.log.warn({ peer }, 'another shard died; its clients reconnect');
}

/** The peer runs again on new rings: it learns our routes first, then gets what its predecessor had not answered. */
export function peerRestarted(shard: Shard, peer: number, link: LinkWiring): void {
  shard.startTurn();
  shard.mesh.peerRestarted(peer, link);
  sendSnapshot(shard, peer);
  shard.mesh.resend(peer);
}

/** Stops reading from all clients and calls `done` when nothing is left on the rings of this shard. */
export function quiesce(shard: Shard, done: () => void): void {
  shard.isStopping = true;
  for (const connection of shard.connections) connection.pauseReading();
  const look = (): void => {
    if (shard.mesh.hasWork || shard.mesh.hasOverflow || shard.outbox.count > 0 || shard.dirty.length > 0) {
      shard.startTurn();
      setImmediate(look);
    } else done();
  };
  shard.startTurn();
  setImmediate(look);
}

/** Says goodbye to every client (v5: 0x8B) and calls `done` when all connections are closed. */
export function beginStop(shard: Shard, done: () => void): void {
  shard.startTurn();
  for (const connection of [...shard.connections]) endConnection(connection, ReasonCode.ServerShuttingDown, 'server_shutdown', false);
  const look = (): void => {
    if (shard.connections.size > 0) {
      setTimeout(look, 10);
      return;
    }
    shard.stopTimers();
    done();
  };
  setImmediate(look);
}
