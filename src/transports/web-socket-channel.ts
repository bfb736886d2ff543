/**
 * WebSocketChannel: the channel of one WebSocket.
 *
 * The library cannot stop reading: what comes while the broker does not read is kept, up to a bound, beyond which the connection is closed. It takes all that is
 * written; beyond a bound the channel says that it is full, and nothing is written before it has drained.
 */
import { Timer } from '../base/timers.ts';
import { type ChannelEvents, type EventChannel, NO_EVENTS } from '../shard/channel.ts';
import { counter } from '../shard/counters.ts';
import type { Shard } from '../shard/shard.ts';
import type { Socket } from './u-web-sockets.ts';

const OVERRUN = counter('websocket/overrun');

/** Bytes that the library holds for a client before its channel is full, and below which it has drained. */
const FULL_BYTES = 256 * 1024;
const DRAINED_BYTES = 64 * 1024;
/** Bytes that one client may send while the broker does not read, and all clients of one shard together. */
const KEPT_BYTES_MAX = 4 * 1024 * 1024;
const KEPT_BYTES_OF_ALL_MAX = 64 * 1024 * 1024;
/** How long a client has to answer a close before the connection is cut. */
const CLOSE_MILLISECONDS = 2000;

const CLOSE_NORMAL = 1000;
const CLOSE_TRY_AGAIN_LATER = 1013;

/** What is kept of all clients of this thread. */
let keptBytesOfAll = 0;

export class WebSocketChannel implements EventChannel {
  events: ChannelEvents;
  private readonly shard: Shard;
  private readonly compresses: boolean;
  /** Null after the connection has closed. */
  private socket: Socket | null;
  private isFull: boolean;
  private isPaused: boolean;
  private isEnding: boolean;
  private kept: Uint8Array[];
  private keptBytes: number;

  constructor(shard: Shard, compresses: boolean) {
    this.shard = shard;
    this.compresses = compresses;
    this.socket = null;
    this.events = NO_EVENTS;
    this.isFull = false;
    this.isPaused = false;
    this.isEnding = false;
    this.kept = [];
    this.keptBytes = 0;
  }

  opened(socket: Socket): void {
    this.socket = socket;
  }

  write(bytes: Uint8Array, length: number): boolean {
    const { socket } = this;
    if (socket === null || this.isEnding) return true;
    socket.send(length === bytes.length ? bytes : bytes.subarray(0, length), true, this.compresses);
    this.isFull = socket.getBufferedAmount() > FULL_BYTES;
    return !this.isFull;
  }

  /** The library has sent something of what it holds. */
  drained(): void {
    if (!this.isFull || this.socket === null || this.socket.getBufferedAmount() > DRAINED_BYTES) return;
    this.isFull = false;
    this.events.drained();
  }

  received(message: ArrayBuffer): void {
    if (this.isEnding) return;
    const bytes = new Uint8Array(message);
    if (this.isPaused) this.keep(bytes);
    else if (!this.events.received(bytes, bytes.length)) this.isPaused = true;
  }

  private keep(bytes: Uint8Array): void {
    if (this.keptBytes + bytes.length > KEPT_BYTES_MAX || keptBytesOfAll + bytes.length > KEPT_BYTES_OF_ALL_MAX) {
      this.shard.counters[OVERRUN]!++;
      this.close(CLOSE_TRY_AGAIN_LATER, 'the broker cannot take more now');
      return;
    }
    this.kept.push(bytes.slice());
    this.keptBytes += bytes.length;
    keptBytesOfAll += bytes.length;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    if (this.kept.length > 0) setImmediate(this.pour);
  }

  private readonly pour = (): void => {
    while (!this.isPaused && this.kept.length > 0) {
      const bytes = this.kept.shift()!;
      this.keptBytes -= bytes.length;
      keptBytesOfAll -= bytes.length;
      if (!this.events.received(bytes, bytes.length)) this.isPaused = true;
    }
  };

  end(): void {
    this.close(CLOSE_NORMAL, '');
  }

  close(code: number, reason: string): void {
    const { socket } = this;
    if (socket === null || this.isEnding) return;
    this.isEnding = true;
    socket.end(code, reason);
    if (this.socket === null) return;
    const timer = new Timer(() => this.destroy());
    this.shard.timers.arm(timer, CLOSE_MILLISECONDS);
  }

  destroy(): void {
    this.socket?.close();
  }

  closed(): void {
    this.socket = null;
    keptBytesOfAll -= this.keptBytes;
    this.kept = [];
    this.keptBytes = 0;
    // The library tells it from within `end` and `close`; whoever has called those has not finished yet.
    setImmediate(() => this.events.lost('websocket_closed'));
  }
}
