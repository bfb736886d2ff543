/**
 * StreamTable: the open streams of one connection: which are new, which have something to read, which are over.
 *
 * quiche lists what is readable, but a list costs 17 µs; asking each of a few streams costs 0.2 µs. So the usual datagram, bytes for a stream that is there or for the one that
 * follows, is served without the list. Owned by its connection.
 * Invariant: a stream is in the table from its first byte until its holder has been told that it is lost, and its ID is never opened again.
 *
 * Hot path.
 */
import { assert } from '../../base/assert.ts';
import { STREAM_CLOSED } from '../../shard/channel.ts';
import { type NativeConnection, readStream, STREAM_BROKEN, stopReading } from './binding.ts';
import type { QuicConnection } from './connection.ts';
import type { QuicEndpoint } from './endpoint.ts';
import { QuicStream } from './stream.ts';

/** Above this many streams, quiche is asked which are readable; below, asking each is cheaper (0.2 µs for one, 19 µs for the list). */
const STREAMS_ASKED_MAX = 32;
/** After our FIN: how long the client may take to finish its side. */
const LINGER_MILLISECONDS = 2000;
const CONNECTION_LOST = 'quic_closed';
const NO_STREAM_ERROR = 0;
/** The two low bits of a stream ID [RFC 9000 §2.1]. */
const STREAM_KIND = 3;
const CLIENT_BIDIRECTIONAL = 0;
const CLIENT_UNIDIRECTIONAL = 2;
const ID_STEP = 4;

export class StreamTable {
  /** Streams that hold a block. */
  blockedCount: number;
  /** When those that have ended here are given up. */
  lingerUntil: number;
  private readonly connection: QuicConnection;
  private readonly native: NativeConnection;
  private readonly endpoint: QuicEndpoint;
  private readonly streams: QuicStream[];
  private losing: QuicStream[] | null;
  /** Above every client-initiated bidirectional stream that has been seen. */
  private nextStreamId: number;
  /** Those below it that have not been seen; null: none. At most as many as may be open. */
  private skippedIds: number[] | null;

  constructor(connection: QuicConnection, native: NativeConnection, endpoint: QuicEndpoint) {
    this.blockedCount = 0;
    this.lingerUntil = Number.POSITIVE_INFINITY;
    this.connection = connection;
    this.native = native;
    this.endpoint = endpoint;
    this.streams = [];
    this.losing = null;
    this.nextStreamId = 0;
    this.skippedIds = null;
  }

  get count(): number {
    return this.streams.length;
  }

  get(id: number): QuicStream | undefined {
    for (const stream of this.streams) if (stream.id === id) return stream;
    return undefined;
  }

  /** A stream has ended its side and waits for the client's. */
  lingers(): void {
    this.lingerUntil = Math.min(this.lingerUntil, performance.now() + LINGER_MILLISECONDS);
    this.connection.touch();
  }

  /** A stream is of no use any more: it is told at the end of the turn. */
  loses(stream: QuicStream): void {
    this.losing ??= [];
    this.losing.push(stream);
    this.connection.touch();
  }

  /** Tells what was lost in this turn. */
  endTurn(): void {
    if (this.lingerUntil !== Number.POSITIVE_INFINITY) this.takeFinished();
    if (this.losing !== null) this.tellLosing();
  }

  /** The connection is over. */
  loseAll(): void {
    while (this.streams.length > 0) this.streams.pop()!.tellLost(CONNECTION_LOST);
    this.losing = null;
    this.lingerUntil = Number.POSITIVE_INFINITY;
  }

  /** Reads every stream that has something, and opens those that are new. */
  read(): void {
    const { native, streams } = this;
    const { readBuffer } = this.endpoint;
    if (streams.length <= STREAMS_ASKED_MAX) {
      for (let i = 0; i < streams.length; i++) streams[i]!.read(readBuffer);
    }
    if (this.connection.isGone || !native.isReadable()) return;
    // Usually a stream that follows the last one; else another order, a unidirectional one, or one that is paused.
    while (native.streamReadable(this.nextStreamId)) this.openStream(this.nextStreamId);
    if (!this.connection.isGone && native.isReadable()) this.readListed();
  }

  private readListed(): void {
    for (const id of this.native.readable()) {
      const stream = this.get(id);
      if (stream !== undefined) {
        stream.read(this.endpoint.readBuffer);
      } else if (this.isNew(id)) {
        this.openStream(id);
      } else {
        // A unidirectional stream, or the client's answer on one that was lost here before: a reset must be read, or quiche keeps the stream.
        const isReset = readStream(this.native, id, this.endpoint.readBuffer) === STREAM_BROKEN;
        if (!isReset) stopReading(this.native, id, NO_STREAM_ERROR);
        if (!isReset && (id & STREAM_KIND) === CLIENT_UNIDIRECTIONAL) this.endpoint.counters.unidirectionalRefused++;
      }
    }
  }

  private isNew(id: number): boolean {
    return (id & STREAM_KIND) === CLIENT_BIDIRECTIONAL && (id >= this.nextStreamId || this.skippedIds?.includes(id) === true);
  }

  private openStream(id: number): void {
    const stream = new QuicStream(this.connection, id);
    this.takeId(id);
    this.streams.push(stream);
    this.endpoint.counters.streams++;
    this.connection.events!.stream(stream, id === 0);
    stream.read(this.endpoint.readBuffer);
  }

  /** Opening one opens all below it [RFC 9000 §3.2]; those come later, if their datagrams were overtaken. */
  private takeId(id: number): void {
    if (id >= this.nextStreamId) {
      for (let skipped = this.nextStreamId; skipped < id; skipped += ID_STEP) {
        this.skippedIds ??= [];
        this.skippedIds.push(skipped);
      }
      this.nextStreamId = id + ID_STEP;
    } else {
      const place = this.skippedIds!.indexOf(id);
      this.skippedIds!.splice(place, 1);
      if (this.skippedIds!.length === 0) this.skippedIds = null;
    }
  }

  /** The client may have made room. */
  offerBlocked(): void {
    const { streams } = this;
    for (let i = 0; i < streams.length && this.blockedCount > 0; i++) streams[i]!.offer();
  }

  /** Streams that we have ended and the client too. */
  private takeFinished(): void {
    let isAnyLeft = false;
    for (const stream of this.streams) {
      if (!stream.isEnded || stream.isLost) continue;
      if (stream.isFinished) stream.lose();
      else isAnyLeft = true;
    }
    if (!isAnyLeft) this.lingerUntil = Number.POSITIVE_INFINITY;
  }

  /** The time of those that wait for the client's end is over. */
  endLingering(): void {
    this.lingerUntil = Number.POSITIVE_INFINITY;
    for (const stream of this.streams) if (stream.isEnded) stream.destroy();
  }

  private tellLosing(): void {
    // Telling one may lose another.
    for (let lost = this.losing; lost !== null; lost = this.losing) {
      this.losing = null;
      for (const stream of lost) {
        this.forget(stream);
        stream.tellLost(STREAM_CLOSED);
      }
    }
  }

  private forget(stream: QuicStream): void {
    const { streams } = this;
    const place = streams.indexOf(stream);
    assert(place >= 0, 'a stream is lost once');
    const last = streams.pop()!;
    if (last !== stream) streams[place] = last;
  }
}
