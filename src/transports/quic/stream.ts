/**
 * QuicStream: one bidirectional stream as a Channel. Bytes that are not read stay in quiche, under the stream's own flow control; bytes that quiche does not take
 * stay with whoever wrote them, until the client has read. So one stream that stands still holds up no other.
 *
 *   open ── end() ──▶ ended ── client's FIN or reset, or two seconds ──▶ lost
 *     └──── client's FIN or reset, destroy(), end of the connection ───▶ lost
 *
 * Invariant: `events.lost` is called once, never from within a call of the holder, and nothing after it.
 *
 * Hot path.
 */
import type { Channel, ChannelEvents } from '../../shard/channel.ts';
import { readStream, STREAM_BROKEN, STREAM_WAITS, stopReading, stopWriting, writeStream } from './binding.ts';
import type { QuicConnection } from './connection.ts';

const NO_BYTES: Uint8Array = new Uint8Array(0);
/** Error code of resets: MQTT over QUIC gives streams none. */
const NO_ERROR = 0;

/** Nobody listens, before the holder has set its own events and after the stream is lost. */
const SILENT: ChannelEvents = {
  received: () => true,
  drained: () => undefined,
  lost: () => undefined,
};

export class QuicStream implements Channel {
  readonly id: number;
  readonly connection: QuicConnection;
  /** Whoever holds the stream. */
  events: ChannelEvents;
  isPaused: boolean;
  /** We have sent FIN, or will when the kept block is gone. */
  isEnded: boolean;
  /** Both directions are of no use any more; `lost` has been or will be called. */
  isLost: boolean;
  /** After our end: the client has finished or reset its side. */
  private isClientDone: boolean;
  /** The block that quiche has not taken whole; null: none. */
  private kept: Uint8Array | null;
  private keptAt: number;
  private keptLength: number;

  constructor(connection: QuicConnection, id: number) {
    this.id = id;
    this.connection = connection;
    this.events = SILENT;
    this.isPaused = false;
    this.isEnded = false;
    this.isLost = false;
    this.isClientDone = false;
    this.kept = null;
    this.keptAt = 0;
    this.keptLength = 0;
  }

  /** Whether both sides have ended and nothing waits here. */
  get isFinished(): boolean {
    return this.isEnded && this.isClientDone && this.kept === null;
  }

  /** Whether a block waits for the client to read. */
  get isBlocked(): boolean {
    return this.kept !== null;
  }

  write(bytes: Uint8Array, length: number): boolean {
    if (this.isLost || this.isEnded) return true;
    const { connection } = this;
    const taken = writeStream(connection.native, this.id, length === bytes.length ? bytes : bytes.subarray(0, length), false);
    if (taken === length) {
      connection.wrote(this.id, length);
      return true;
    }
    connection.touch();
    if (taken === STREAM_BROKEN) {
      this.lose();
      return true;
    }
    this.kept = bytes;
    this.keptAt = taken;
    this.keptLength = length;
    connection.streams.blockedCount++;
    return false;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    if (!this.isLost) this.connection.readAgain();
  }

  /** FIN after what was written. The client is asked to send no more; what it had sent is thrown away. */
  end(): void {
    if (this.isEnded || this.isLost) return;
    this.isEnded = true;
    const { native } = this.connection;
    stopReading(native, this.id, NO_ERROR);
    if (this.kept === null) writeStream(native, this.id, NO_BYTES, true);
    this.connection.streams.lingers();
  }

  /** Resets both directions. */
  destroy(): void {
    if (this.isLost) return;
    stopReading(this.connection.native, this.id, NO_ERROR);
    stopWriting(this.connection.native, this.id, NO_ERROR);
    this.lose();
  }

  /** Hands over what has come. Called by the connection. @param buffer the one read buffer of the endpoint */
  read(buffer: Uint8Array): void {
    if (this.isEnded) this.throwAway(buffer);
    while (!this.isPaused && !this.isLost && !this.isEnded) {
      const read = readStream(this.connection.native, this.id, buffer);
      if (read === STREAM_WAITS) return;
      if (read === STREAM_BROKEN) {
        this.abandon();
        return;
      }
      const length = read >> 1;
      if (length > 0 && !this.events.received(buffer, length)) this.isPaused = true;
      if ((read & 1) !== 0) {
        // A client that has finished its side has left the stream: what we still have for it has no reader.
        this.abandon();
        return;
      }
      if (length < buffer.length) return;
    }
  }

  /** Offers quiche the rest of the kept block. Called by the connection when the client has made room. */
  offer(): void {
    if (this.kept === null || this.isLost) return;
    const taken = writeStream(this.connection.native, this.id, this.kept.subarray(this.keptAt, this.keptLength), false);
    if (taken === STREAM_BROKEN) {
      this.abandon();
      return;
    }
    this.keptAt += taken;
    if (this.keptAt < this.keptLength) return;
    this.release();
    if (this.isEnded) writeStream(this.connection.native, this.id, NO_BYTES, true);
    this.events.drained();
  }

  /** The stream is of no use any more: its holder is told at the end of the turn. */
  lose(): void {
    if (this.isLost) return;
    this.isLost = true;
    this.connection.streams.loses(this);
  }

  /** Called by the connection, once. */
  tellLost(reason: string): void {
    this.isLost = true;
    this.release();
    const { events } = this;
    this.events = SILENT;
    events.lost(reason);
  }

  /** The client has finished, or has reset the stream or asked us to stop: the rest of it ends as well. */
  private abandon(): void {
    const { native } = this.connection;
    stopReading(native, this.id, NO_ERROR);
    // What quiche has taken is still delivered after the client's FIN; what it has not cannot be.
    if (this.kept !== null || writeStream(native, this.id, NO_BYTES, true) === STREAM_BROKEN) stopWriting(native, this.id, NO_ERROR);
    this.lose();
  }

  /** Reads what has come after our end. */
  private throwAway(buffer: Uint8Array): void {
    while (!this.isClientDone) {
      const read = readStream(this.connection.native, this.id, buffer);
      if (read === STREAM_WAITS) return;
      this.isClientDone = read === STREAM_BROKEN || (read & 1) !== 0;
    }
  }

  private release(): void {
    if (this.kept === null) return;
    this.kept = null;
    this.connection.streams.blockedCount--;
  }
}
