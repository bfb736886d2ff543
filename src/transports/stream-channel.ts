/**
 * StreamChannel: a channel over a socket of Node that stays where it is: TLS where OpenSSL cannot be called, TCP where descriptors cannot move.
 *
 * A write goes straight through as long as nothing waits in the socket: then its bytes are encrypted, or with the kernel, when `write` returns. While something
 * waits the block is kept until that has gone.
 */
import type net from 'node:net';
import { Timer } from '../base/timers.ts';
import { type ChannelEvents, type EventChannel, NO_EVENTS } from '../shard/channel.ts';
import type { Shard } from '../shard/shard.ts';

/** After our close: how long the peer's last bytes are read and thrown away, so that a reset does not destroy our DISCONNECT on its way. */
const LINGER_MILLISECONDS = 2000;

export class StreamChannel implements EventChannel {
  events: ChannelEvents;
  private readonly shard: Shard;
  private readonly socket: net.Socket;
  private readonly isEncrypting: boolean;
  private isKept: boolean;
  private isEnded: boolean;

  /** @param isEncrypting what is written is copied at once, because it is encrypted; @param reason told when the socket has closed, such as `tls_closed` */
  constructor(shard: Shard, socket: net.Socket, isEncrypting: boolean, reason: string) {
    this.shard = shard;
    this.socket = socket;
    this.isEncrypting = isEncrypting;
    this.events = NO_EVENTS;
    this.isKept = false;
    this.isEnded = false;
    socket.on('error', () => socket.destroy());
    socket.on('end', () => {
      if (!this.isEnded) socket.destroy();
    });
    socket.on('close', () => this.events.lost(reason));
    socket.on('data', (chunk: Buffer) => {
      if (!this.isEnded && !this.events.received(chunk, chunk.length)) socket.pause();
    });
  }

  private readonly onWritten = (): void => {
    if (!this.isKept || this.socket.writableLength > 0) return;
    this.isKept = false;
    this.events.drained();
  };

  write(bytes: Uint8Array, length: number): boolean {
    const { socket } = this;
    if (socket.destroyed) return true;
    const isFree = socket.writableLength === 0;
    socket.write(bytes.subarray(0, length), this.onWritten);
    const isTaken = this.isEncrypting ? isFree : socket.writableLength === 0;
    this.isKept = !isTaken;
    return isTaken;
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    if (!this.socket.destroyed) this.socket.resume();
  }

  end(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    endAndLinger(this.shard, this.socket);
  }

  destroy(): void {
    this.socket.destroy();
  }
}

/** Closes our side and reads the rest away for a short time. */
export function endAndLinger(shard: Shard, socket: net.Socket): void {
  if (socket.destroyed) return;
  socket.end();
  socket.resume();
  const timer = new Timer(() => socket.destroy());
  shard.timers.arm(timer, LINGER_MILLISECONDS);
  socket.once('close', () => shard.timers.disarm(timer));
}
