/**
 * Relay: a connection whose network end another shard holds, because its transport cannot move (TLS, WebSocket, QUIC).
 *
 *   edge shard: channel ──▶ RelayEdge ── bytes, closed, taken ──▶ ring ──▶ RelayChannel ──▶ connection: owner shard
 *                       ◀──           ◀── bytes, pause, end ───── ring ◀──              ◀──
 *
 * The owner sees a channel like any other. What the client has not taken is bounded by a window: beyond it the owner's `write` says that it is full, and what the
 * edge has passed on is told back in steps. The other way the rings' own limit holds: while they are congested the edge stops reading.
 * A relay is named by the edge shard and a number of that shard. It ends with either shard. Owned by one shard; both ends of different relays live in each.
 */
import { copyBytes, type ViewedBytes, withView } from '../base/bytes.ts';
import { packObject, unpackObject } from '../base/pack.ts';
import { Timer } from '../base/timers.ts';
import { type Channel, type ChannelEvents, type EventChannel, NO_EVENTS, type Peer, STREAM_CLOSED } from './channel.ts';
import { Connection } from './connection.ts';
import { counter } from './counters.ts';
import { receive } from './receive.ts';
import {
  RECORD_RELAY_OPEN,
  RECORD_RELAY_TO_CLIENT,
  RECORD_RELAY_TO_EDGE,
  RECORD_RELAY_TO_OWNER,
  RECORD_RELAY_TO_SESSION,
  recordKind,
  recordSignal,
} from './record.ts';
import { connectionLost, drained } from './sessions.ts';
import type { Shard } from './shard.ts';
import { mayOpenStream, openStream } from './streams.ts';

const RELAYED = counter('connections/relayed');

/** Bytes on their way to one client before its connection counts as blocked. */
const WINDOW_BYTES = 256 * 1024;
/** How long a client has to take what was written before its connection is cut. */
const END_MILLISECONDS = 5000;
/** The edge tells the owner what it has passed on in steps of this size. */
const STEP_BYTES = WINDOW_BYTES / 4;

// Signals to the edge.
const PAUSE = 1;
const RESUME = 2;
const END = 3;
const DESTROY = 4;
// Signals to the owner.
const TAKEN = 5;
const CLOSED = 6;

/** Why a channel was lost, as a number on the ring. */
const REASONS = ['closed', 'tcp_closed', 'tls_closed', 'websocket_closed', 'quic_closed', STREAM_CLOSED, 'shard_died'];

/** What an owner is told of a new relay: whose connection it is, or of which client (number of its relay) it is a data stream. */
interface Newcomer {
  readonly peer?: Peer;
  readonly control?: number;
}

const NOTHING = Buffer.alloc(0);

/** The end on the shard that owns the session. */
class RelayChannel implements Channel {
  readonly connection: Connection;
  readonly edge: number;
  readonly id: number;
  private readonly shard: Shard;
  /** Bytes that the edge has not passed on, as far as it has said. */
  private outstanding: number;
  private isBlocked: boolean;

  constructor(shard: Shard, edge: number, id: number, connect: (channel: RelayChannel) => Connection) {
    this.shard = shard;
    this.edge = edge;
    this.id = id;
    this.outstanding = 0;
    this.isBlocked = false;
    this.connection = connect(this);
  }

  /** Bytes[at, end) came from the client. */
  received(bytes: Uint8Array, at: number, end: number): void {
    // A connection that reads no more has told the edge, and keeps what was on its way.
    receive(this.connection, bytes, at, end);
  }

  write(bytes: Uint8Array, length: number): boolean {
    this.shard.mesh.sendRelayBytes(this.edge, RECORD_RELAY_TO_CLIENT, this.id, bytes, length);
    this.outstanding += length;
    this.isBlocked = this.outstanding > WINDOW_BYTES;
    return !this.isBlocked;
  }

  /** The edge has passed on so many bytes. */
  taken(length: number): void {
    this.outstanding -= length;
    if (!this.isBlocked || this.outstanding > WINDOW_BYTES / 2) return;
    this.isBlocked = false;
    drained(this.connection);
  }

  pause(): void {
    this.signal(PAUSE);
  }

  resume(): void {
    this.signal(RESUME);
  }

  end(): void {
    this.signal(END);
  }

  destroy(): void {
    this.signal(DESTROY);
  }

  private signal(signal: number): void {
    this.shard.mesh.sendRelaySignal(this.edge, RECORD_RELAY_TO_EDGE, signal, this.id, 0);
  }
}

/** The end on the shard that holds the network connection. */
class RelayEdge implements ChannelEvents {
  readonly owner: number;
  readonly id: number;
  readonly channel: EventChannel;
  private readonly shard: Shard;
  /** The owner wants no more for now. */
  private isPaused: boolean;
  /** Block that the channel holds until it has drained. */
  private block: ViewedBytes | null;
  private blockBytes: number;
  private readonly pending: ViewedBytes[];
  private untold: number;
  private isEnding: boolean;
  private endTimer: Timer | null;

  constructor(shard: Shard, owner: number, id: number, channel: EventChannel) {
    this.shard = shard;
    this.owner = owner;
    this.id = id;
    this.channel = channel;
    this.isPaused = false;
    this.block = null;
    this.blockBytes = 0;
    this.pending = [];
    this.untold = 0;
    this.isEnding = false;
    this.endTimer = null;
  }

  received(bytes: Uint8Array, length: number): boolean {
    const { mesh } = this.shard;
    this.shard.startTurn();
    mesh.sendRelayBytes(this.owner, RECORD_RELAY_TO_SESSION, this.id, bytes, length);
    if (mesh.isCongested) this.shard.relays.holdBack(this);
    return !this.isPaused && !mesh.isCongested;
  }

  /** The rings have room again. */
  readOn(): void {
    if (!this.isPaused) this.channel.resume();
  }

  /** Bytes[at, end) of the owner; they are on the ring, so what the channel does not take at once is copied. */
  write(bytes: Uint8Array, at: number, end: number): void {
    const length = end - at;
    if (this.block !== null) {
      const waiting = withView(Buffer.allocUnsafeSlow(length));
      copyBytes(waiting, 0, bytes, at, end);
      this.pending.push(waiting);
      return;
    }
    const block = this.shard.blocks.take(length);
    copyBytes(block, 0, bytes, at, end);
    if (this.channel.write(block, length)) {
      this.shard.blocks.give(block);
      this.passedOn(length);
    } else {
      this.block = block;
      this.blockBytes = length;
    }
  }

  drained(): void {
    this.shard.startTurn();
    if (this.block !== null) {
      this.shard.blocks.give(this.block);
      this.block = null;
      this.passedOn(this.blockBytes);
    }
    while (this.block === null && this.pending.length > 0) {
      const next = this.pending.shift()!;
      if (this.channel.write(next, next.length)) this.passedOn(next.length);
      else {
        // Not from the pool: it goes back there all the same, which keeps what fits.
        this.block = next;
        this.blockBytes = next.length;
      }
    }
    if (this.isEnding && this.block === null) this.channel.end();
  }

  private passedOn(length: number): void {
    this.untold += length;
    if (this.untold < STEP_BYTES) return;
    this.shard.mesh.sendRelaySignal(this.owner, RECORD_RELAY_TO_OWNER, TAKEN, this.id, this.untold);
    this.untold = 0;
  }

  lost(reason: string): void {
    const { shard } = this;
    if (this.endTimer !== null) shard.timers.disarm(this.endTimer);
    shard.startTurn();
    shard.relays.forget(this);
    shard.mesh.sendRelaySignal(this.owner, RECORD_RELAY_TO_OWNER, CLOSED, this.id, Math.max(0, REASONS.indexOf(reason)));
  }

  signalled(signal: number): void {
    switch (signal) {
      case PAUSE:
        this.isPaused = true;
        this.channel.pause();
        return;
      case RESUME:
        this.isPaused = false;
        this.channel.resume();
        return;
      case END:
        this.isEnding = true;
        if (this.block === null) {
          this.channel.end();
          return;
        }
        // A client that does not read would keep the connection for ever; the owner has forgotten it.
        this.endTimer = new Timer(() => this.channel.destroy());
        this.shard.timers.arm(this.endTimer, END_MILLISECONDS);
        return;
      case DESTROY:
        this.channel.destroy();
    }
  }
}

/** All relays of one shard, by the shard at the other end. */
export class Relays {
  private readonly shard: Shard;
  private readonly edges: Map<number, RelayEdge>;
  /** By edge shard, then number. */
  private readonly channels: Map<number, RelayChannel>[];
  private readonly heldBack: Set<RelayEdge>;
  private nextId: number;

  constructor(shard: Shard) {
    this.shard = shard;
    this.edges = new Map();
    this.channels = Array.from({ length: shard.shards }, () => new Map<number, RelayChannel>());
    this.heldBack = new Set();
    this.nextId = 1;
  }

  /**
   * Hands the client of a channel to its owner. @param read what has come so far
   * @returns its number, for `openStream`; 0 when the owner is down
   */
  open(owner: number, channel: EventChannel, peer: Peer, read: Uint8Array): number {
    return this.openOne(owner, channel, { peer }, read);
  }

  /** Hands over a data stream of the client whose relay is `control`. @param channel it is paused @returns false when that client is gone */
  openStream(control: number, channel: EventChannel): boolean {
    const edge = this.edges.get(control);
    if (edge === undefined || this.openOne(edge.owner, channel, { control }, NOTHING) === 0) return false;
    channel.resume();
    return true;
  }

  private openOne(owner: number, channel: EventChannel, newcomer: Newcomer, read: Uint8Array): number {
    const { shard } = this;
    shard.startTurn();
    while (this.nextId === 0 || this.edges.has(this.nextId)) this.nextId = (this.nextId + 1) >>> 0;
    const id = this.nextId;
    this.nextId = (id + 1) >>> 0;
    if (!shard.mesh.sendRelayOpen(owner, id, packObject(newcomer), read)) return 0;
    const edge = new RelayEdge(shard, owner, id, channel);
    this.edges.set(id, edge);
    channel.events = edge;
    shard.counters[RELAYED]!++;
    return id;
  }

  /** Connections that this shard holds for others. */
  get edgeCount(): number {
    return this.edges.size;
  }

  holdBack(edge: RelayEdge): void {
    this.heldBack.add(edge);
  }

  /** The rings have room again. */
  readOn(): void {
    if (this.heldBack.size === 0) return;
    const heldBack = [...this.heldBack];
    this.heldBack.clear();
    for (const edge of heldBack) edge.readOn();
  }

  forget(edge: RelayEdge): void {
    this.edges.delete(edge.id);
    this.heldBack.delete(edge);
  }

  /** One record of a peer about a relay. */
  handle(peer: number, word: number, bytes: Buffer, at: number, end: number): void {
    const id = bytes.readUInt32LE(at);
    switch (recordKind(word)) {
      case RECORD_RELAY_OPEN: {
        const newcomerEnd = at + 8 + bytes.readUInt32LE(at + 4);
        const channel = this.accept(peer, id, unpackObject(bytes, at + 8, newcomerEnd) as Newcomer);
        if (channel === null) return;
        this.channels[peer]!.set(id, channel);
        channel.received(bytes, newcomerEnd, end);
        return;
      }
      case RECORD_RELAY_TO_SESSION:
        this.channels[peer]!.get(id)?.received(bytes, at + 4, end);
        return;
      case RECORD_RELAY_TO_CLIENT:
        this.edges.get(id)?.write(bytes, at + 4, end);
        return;
      case RECORD_RELAY_TO_EDGE:
        this.edges.get(id)?.signalled(recordSignal(word));
        return;
      default: {
        const channel = this.channels[peer]!.get(id);
        if (channel === undefined) return;
        const number = bytes.readUInt32LE(at + 4);
        if (recordSignal(word) === TAKEN) channel.taken(number);
        else this.close(channel, REASONS[number] ?? REASONS[0]!);
      }
    }
  }

  /** The owner's end of a new relay; null: a stream of a client that is gone. */
  private accept(edge: number, id: number, { peer, control }: Newcomer): RelayChannel | null {
    const { shard } = this;
    if (peer !== undefined) {
      return new RelayChannel(shard, edge, id, (channel) => {
        const connection = new Connection(shard, channel, peer);
        shard.connections.add(connection);
        // What comes before this shard has its sessions waits.
        if (!shard.isServing) connection.pauseReading();
        return connection;
      });
    }
    const client = this.channels[edge]!.get(control!)?.connection;
    if (client !== undefined && mayOpenStream(client)) return new RelayChannel(shard, edge, id, (channel) => openStream(client, channel));
    shard.mesh.sendRelaySignal(edge, RECORD_RELAY_TO_EDGE, DESTROY, id, 0);
    return null;
  }

  private close(channel: RelayChannel, reason: string): void {
    this.channels[channel.edge]!.delete(channel.id);
    connectionLost(channel.connection, reason);
  }

  /** The thread of a peer has ended: what it held, or owned, is gone. */
  peerDied(peer: number): void {
    for (const channel of [...this.channels[peer]!.values()]) this.close(channel, 'shard_died');
    for (const edge of [...this.edges.values()]) {
      if (edge.owner !== peer) continue;
      this.forget(edge);
      edge.channel.events = NO_EVENTS;
      edge.channel.destroy();
    }
  }
}
