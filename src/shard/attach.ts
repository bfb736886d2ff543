/**
 * Attach: ties a channel to a new connection on the shard that owns its client.
 */
import type { ChannelEvents, EventChannel, Peer } from './channel.ts';
import { Connection } from './connection.ts';
import { receive } from './receive.ts';
import { connectionLost, drained } from './sessions.ts';
import type { Shard } from './shard.ts';
import { mayOpenStream, openStream } from './streams.ts';

class ConnectionEvents implements ChannelEvents {
  private readonly connection: Connection;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  received(bytes: Uint8Array, length: number): boolean {
    return receive(this.connection, bytes, 0, length);
  }

  drained(): void {
    drained(this.connection);
  }

  lost(reason: string): void {
    connectionLost(this.connection, reason);
  }
}

/** Makes the connection of a channel; what comes on it goes there from now on. @param read what has come so far */
export function attach(shard: Shard, channel: EventChannel, peer: Peer, read: Uint8Array): Connection {
  const connection = new Connection(shard, channel, peer);
  channel.events = new ConnectionEvents(connection);
  shard.connections.add(connection);
  if (!receive(connection, read, 0, read.length)) channel.pause();
  return connection;
}

/** Makes a data stream of the client whose control stream is `control`. @param channel it is paused @returns false when that client is going */
export function attachStream(control: Connection, channel: EventChannel): boolean {
  if (!mayOpenStream(control)) return false;
  channel.events = new ConnectionEvents(openStream(control, channel));
  return true;
}
