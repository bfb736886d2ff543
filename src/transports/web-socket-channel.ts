/**
 * WebSocketChannel: the channel of one WebSocket.
 *
 * The library cannot stop reading: what comes while the broker does not read is kept, up to a bound, beyond which the connection is closed. It takes all that is
 * written; beyond a bound the channel says that it is full, and nothing is written before it has drained.
 */
import { copyBytes } from '../base/bytes.ts';
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
/** How often a full channel is looked at where the library says nothing. */
const LOOK_MILLISECONDS = 200;
/** How long a client has to take what was written before the connection is cut. */
const CLOSE_MILLISECONDS = 2000;

const NOTHING = new Uint8Array(0);

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
  private kept: Uint8Array;
  private keptLength: number;
  private closing: { readonly code: number; readonly reason: string } | null;
  private closeTimer: Timer | null;
  /** Armed while the channel is full. */
  private drainTimer: Timer | null;
  private isLost: boolean;

  constructor(shard: Shard, compresses: boolean) {
    this.shard = shard;
    this.compresses = compresses;
    this.socket = null;
    this.events = NO_EVENTS;
    this.isFull = false;
    this.isPaused = false;
    this.isEnding = false;
    this.kept = NOTHING;
    this.keptLength = 0;
    this.closing = null;
    this.closeTimer = null;
    this.drainTimer = null;
    this.isLost = false;
  }

  opened(socket: Socket): void {
    this.socket = socket;
  }

  write(bytes: Uint8Array, length: number): boolean {
    const { socket } = this;
    if (socket === null || this.isEnding) return true;
    socket.send(length === bytes.length ? bytes : bytes.subarray(0, length), true, this.compresses);
    this.isFull = socket.getBufferedAmount() > FULL_BYTES;
    if (this.isFull) this.lookLater();
    return !this.isFull;
  }

  /** The library has sent something of what it holds. */
  drained(): void {
    if (this.isEnding) this.closeWhenSent();
    if (!this.isFull || this.socket === null || this.socket.getBufferedAmount() > DRAINED_BYTES) return;
    this.isFull = false;
    if (this.drainTimer !== null) this.shard.timers.disarm(this.drainTimer);
    this.events.drained();
  }

  /**
   * Not each time that the library has sent what it held does it say so: channels stayed full with nothing held, and their clients got the rest never (5 of 240 clients that
   * were slow and then acknowledged much at once; none since it is looked at). What comes from the client is the likely occasion, and is looked behind at once.
   */
  private lookLater(): void {
    this.drainTimer ??= new Timer(() => {
      this.drained();
      if (this.isFull && this.socket !== null) this.lookLater();
    });
    this.shard.timers.arm(this.drainTimer, LOOK_MILLISECONDS);
  }

  received(message: ArrayBuffer): void {
    if (this.isEnding) return;
    if (this.isFull) setImmediate(this.look);
    const bytes = new Uint8Array(message);
    // What was kept goes first.
    if (this.isPaused || this.keptLength > 0) this.keep(bytes);
    else if (!this.events.received(bytes, bytes.length)) this.isPaused = true;
  }

  private keep(bytes: Uint8Array): void {
    const length = this.keptLength + bytes.length;
    if (length > KEPT_BYTES_MAX || keptBytesOfAll + bytes.length > KEPT_BYTES_OF_ALL_MAX) {
      this.shard.counters[OVERRUN]!++;
      this.close(CLOSE_TRY_AGAIN_LATER, 'the broker cannot take more now');
      return;
    }
    // One block, however small the frames: MQTT does not care where they end.
    if (length > this.kept.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(KEPT_BYTES_MAX, length * 2));
      copyBytes(grown, 0, this.kept, 0, this.keptLength);
      this.kept = grown;
    }
    copyBytes(this.kept, this.keptLength, bytes, 0, bytes.length);
    this.keptLength = length;
    keptBytesOfAll += bytes.length;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    if (this.keptLength > 0) setImmediate(this.pour);
  }

  private readonly look = (): void => this.drained();

  private readonly pour = (): void => {
    if (this.isPaused) return;
    const { kept } = this;
    const length = this.letGo();
    if (length > 0 && !this.events.received(kept, length)) this.isPaused = true;
    // The connection has gone meanwhile, and says so behind what it had sent.
    if (this.socket === null) this.tellLost();
  };

  /** Nothing is kept any more. @returns how much was */
  private letGo(): number {
    const length = this.keptLength;
    keptBytesOfAll -= length;
    this.kept = NOTHING;
    this.keptLength = 0;
    return length;
  }

  end(): void {
    this.close(CLOSE_NORMAL, '');
  }

  /** Sends what the library holds, then closes. The library tells the close from within `end`, long before the client has got anything. */
  close(code: number, reason: string): void {
    if (this.isEnding) return;
    this.isEnding = true;
    this.letGo();
    if (this.socket === null) {
      this.tellLost();
      return;
    }
    this.closing = { code, reason };
    this.closeTimer = new Timer(() => this.destroy());
    this.shard.timers.arm(this.closeTimer, CLOSE_MILLISECONDS);
    this.closeWhenSent();
  }

  private closeWhenSent(): void {
    const { socket, closing } = this;
    if (socket === null || closing === null || socket.getBufferedAmount() > 0) return;
    this.closing = null;
    socket.end(closing.code, closing.reason);
  }

  destroy(): void {
    this.isEnding = true;
    this.letGo();
    if (this.socket === null) this.tellLost();
    else this.socket.close();
  }

  closed(): void {
    this.socket = null;
    if (this.drainTimer !== null) this.shard.timers.disarm(this.drainTimer);
    if (this.closeTimer !== null) this.shard.timers.disarm(this.closeTimer);
    // What the client has sent before it went is handled first, as soon as the broker reads.
    if (this.keptLength > 0) setImmediate(this.pour);
    else this.tellLost();
  }

  /** Later: the library tells a close from within `end` and `close`, and whoever has called those has not finished yet. */
  private tellLost(): void {
    if (this.isLost) return;
    this.isLost = true;
    setImmediate(() => this.events.lost('websocket_closed'));
  }
}
