/*
 * A network connection in memory, for tests of what stands on one: it records what the shard writes and takes as much as the test lets it. It is as strict
 * as a real channel is careless: a write while an earlier block is held, a write after the end, or a change to a held block fails the test.
 */
import assert from 'node:assert/strict';
import { type Channel, STREAM_CLOSED } from '../../src/shard/channel.ts';
import { Connection } from '../../src/shard/connection.ts';
import { receive } from '../../src/shard/receive.ts';
import { connectionLost, drained } from '../../src/shard/sessions.ts';
import type { Shard } from '../../src/shard/shard.ts';
import { openStream } from '../../src/shard/streams.ts';

export class MemoryChannel implements Channel {
  readonly connection: Connection;
  /** One entry for each write that was taken. */
  readonly writes: Uint8Array[];
  /** Whether the network is full: the next write is held until `drain`. */
  isFull: boolean;
  isReading: boolean;
  isEnded: boolean;
  isDestroyed: boolean;
  pauseCount: number;
  private held: { readonly bytes: Uint8Array; readonly copy: Uint8Array } | null;
  /** What the client has sent and the shard has not read. */
  private readonly inbox: Uint8Array[];

  /** @param control of the client whose data stream this is, or null */
  constructor(shard: Shard, control: Connection | null = null) {
    this.writes = [];
    this.isFull = false;
    this.isReading = control === null;
    this.isEnded = false;
    this.isDestroyed = false;
    this.pauseCount = 0;
    this.held = null;
    this.inbox = [];
    if (control === null) {
      this.connection = new Connection(shard, this, { name: 'memory:1', listener: 0, certificate: null });
      shard.connections.add(this.connection);
    } else this.connection = openStream(control, this);
  }

  /** Bytes that the network has taken. */
  get written(): Buffer {
    return Buffer.concat(this.writes);
  }

  get heldBytes(): number {
    return this.held === null ? 0 : this.held.copy.length;
  }

  /** Bytes of the client that wait because the shard does not read. */
  get unreadBytes(): number {
    return this.inbox.reduce((sum, bytes) => sum + bytes.length, 0);
  }

  write(bytes: Uint8Array, length: number): boolean {
    assert.equal(this.held, null, 'nothing is written while a block is held');
    assert.equal(this.isEnded, false, 'nothing is written after the end');
    assert.ok(length > 0 && length <= bytes.length);
    const copy = Uint8Array.prototype.slice.call(bytes, 0, length);
    if (this.isFull) {
      this.held = { bytes, copy };
      return false;
    }
    this.writes.push(copy);
    return true;
  }

  /** The network takes the held block; `isFull` decides whether it takes the next one. */
  drain(): void {
    const held = this.held;
    assert.ok(held !== null, 'a block is held');
    assert.ok(Buffer.from(held.bytes.buffer, held.bytes.byteOffset, held.copy.length).equals(held.copy), 'a held block is left alone');
    this.held = null;
    this.writes.push(held.copy);
    drained(this.connection);
  }

  /** The client sends bytes; they wait while the shard does not read. */
  arrive(bytes: Uint8Array): void {
    this.inbox.push(bytes);
    this.pour();
  }

  /** The client goes away without a word. @param reason as the transport says it */
  lose(reason = 'tcp_closed'): void {
    if (this.isDestroyed) return;
    this.isDestroyed = true;
    connectionLost(this.connection, reason);
  }

  pause(): void {
    this.isReading = false;
    this.pauseCount++;
  }

  resume(): void {
    if (this.isReading) return;
    this.isReading = true;
    // As a socket does: what waited comes in a later turn, never from within `resume`.
    setImmediate(() => this.pour());
  }

  end(): void {
    assert.equal(this.held, null, 'the end waits for what is held');
    assert.equal(this.isEnded, false, 'a channel is ended once');
    this.isEnded = true;
    setImmediate(() => this.loseOne());
  }

  destroy(): void {
    setImmediate(() => this.loseOne());
  }

  /** What the transport says of a channel that was closed here. */
  private loseOne(): void {
    this.lose(this.connection.control === null ? 'tcp_closed' : STREAM_CLOSED);
  }

  private pour(): void {
    while (this.isReading && !this.isDestroyed) {
      const bytes = this.inbox.shift();
      if (bytes === undefined) return;
      // The shard gets a buffer that is overwritten afterwards, as the read buffer of a socket is.
      const lent = Buffer.from(bytes);
      if (!receive(this.connection, lent, 0, lent.length)) this.isReading = false;
      lent.fill(0xee);
    }
  }
}
