/**
 * The large events in a shard's life: a peer dies or comes back, and the graceful stop. Called by the thread's control messages, never per packet.
 */
import { utf8Bytes } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import { encodeUserProperties } from '../protocol/property.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import type { LinkWiring } from './link.ts';
import { confirmSubacks } from './on-subscribe.ts';
import type { RecoveredCounts, Recovery } from './recovery.ts';
import { peerAnswersNoMore } from './retained-query.ts';
import { sendSnapshot } from './routes.ts';
import { endConnection } from './sessions.ts';
import type { Shard } from './shard.ts';

/** Client Identifier, and what each message of the client carries from now on. */
export type UserPropertyChange = readonly [clientId: string, userProperties: readonly (readonly [key: string, value: string])[]];

/** A peer's thread has ended: its routes go, waiting answers that only it could give are given up or kept for its successor. */
export function peerDied(shard: Shard, peer: number): void {
  shard.startTurn();
  shard.mesh.peerDied(peer);
  shard.relays.peerDied(peer);
  shard.asks.peerDied(peer);
  shard.confirmations.peerDied(peer);
  // With a store its sessions come back, and what is published meanwhile waits for them.
  if (!shard.journal.isOn) shard.interest.clearShard(peer);
  shard.retainedQueries.forgetAsker(peer);
  peerAnswersNoMore(shard, peer);
  confirmSubacks(shard);
  shard.checkReady();
  shard.log.warn({ peer }, 'another shard died; its clients reconnect');
}

/** The peer runs again on new rings: it learns our routes first, then gets what its predecessor had not answered. */
export function peerRestarted(shard: Shard, peer: number, link: LinkWiring): void {
  shard.startTurn();
  shard.mesh.peerRestarted(peer, link, shard.journal.isOn);
  sendSnapshot(shard, peer);
  shard.traces.tell(peer);
  shard.mesh.resend(peer);
}

/**
 * Takes up what the store has for this shard: the caller feeds the records to `recovery` and then calls this.
 * @param done called when sessions, routes and messages are there and every peer knows the routes
 */
export function finishRecovery(shard: Shard, recovery: Recovery, done: (counts: RecoveredCounts) => void): void {
  shard.startTurn();
  recovery.finish((counts) => {
    shard.mesh.broadcast({ kind: 'recovered' });
    done(counts);
  });
}

/** Stops reading from all clients and calls `done` when nothing is left on the rings of this shard. */
export function quiesce(shard: Shard, done: () => void): void {
  shard.isStopping = true;
  for (const connection of shard.connections) connection.pauseReading();
  const look = (): void => {
    if (shard.mesh.hasWork || shard.mesh.hasOverflow || shard.outbox.count > 0 || shard.dirty.length > 0 || isWriting(shard)) {
      shard.startTurn();
      setImmediate(look);
    } else done();
  };
  shard.startTurn();
  setImmediate(look);
}

/** Acknowledgements still wait for the disk, and it takes what it gets. */
function isWriting(shard: Shard): boolean {
  return shard.journal.isBusy && !shard.journal.isDegraded;
}

/**
 * Ends the connections of clients that have logged in with what counts no more. Their sessions stay: the name may come back, with another password.
 * @param proofs as `Identity.proof` calls them: usernames where it calls them nothing
 */
export function endRevoked(shard: Shard, authenticator: string, proofs: ReadonlySet<string>): void {
  shard.startTurn();
  for (const connection of [...shard.connections]) {
    const { session, identity, control } = connection;
    if (control !== null || session === null || identity?.authenticator !== authenticator) continue;
    const proof = identity.proof ?? session.username;
    if (proof !== undefined && proofs.has(proof)) endConnection(connection, ReasonCode.NotAuthorized, 'not_authorized', true);
  }
}

/** Ends the connections of one listener whose certificate is good no more. */
export function endCertificates(shard: Shard, listener: number, isRevoked: (certificate: Uint8Array) => boolean): void {
  shard.startTurn();
  for (const connection of [...shard.connections]) {
    const { session, control, peer } = connection;
    if (control !== null || session === null || peer.listener !== listener || peer.certificate === null) continue;
    if (isRevoked(peer.certificate)) endConnection(connection, ReasonCode.NotAuthorized, 'not_authorized', true);
  }
}

/** What these clients publish from now on carries other User Properties. A Will keeps those of its CONNECT. */
export function changeUserProperties(shard: Shard, authenticator: string, changes: readonly UserPropertyChange[]): void {
  for (const [clientId, pairs] of changes) {
    const id = utf8Bytes(clientId);
    const connection = shard.sessions.get(id, 0, id.length, hash32(id, 0, id.length))?.connection ?? null;
    if (connection?.identity?.authenticator !== authenticator) continue;
    connection.userProperties = encodeUserProperties(pairs);
    for (const stream of connection.streams ?? []) stream.userProperties = connection.userProperties;
  }
}

/** Says goodbye to every client (v5: 0x8B) and calls `done` when all connections are closed. */
export function beginStop(shard: Shard, done: () => void): void {
  shard.startTurn();
  for (const connection of [...shard.connections]) endConnection(connection, ReasonCode.ServerShuttingDown, 'server_shutdown', false);
  const look = (): void => {
    // Those that it holds for other shards get their goodbye through its rings.
    if (shard.connections.size > 0 || shard.relays.edgeCount > 0) {
      setTimeout(look, 10);
      return;
    }
    const end = (): void => {
      shard.stopTimers();
      done();
    };
    // The last of what was promised reaches the disk before the thread ends.
    if (shard.journal.isOn) shard.journal.whenIdle(end);
    else end();
  };
  setImmediate(look);
}
