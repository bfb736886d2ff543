/**
 * TCP and Unix sockets: a socket moves once, to the shard that owns its client.
 *
 *   accepted → Admission (first packet) → dup → adopt here, or hand off by ring → adopt there
 *
 * Adoption by descriptor is also what gives a socket its fast path: `onread` with one read buffer for all sockets of the shard, parsed in place.
 */
import net from 'node:net';
import { withView } from '../base/bytes.ts';
import { packObject } from '../base/pack.ts';
import { reasonName } from '../protocol/reason-code.ts';
import { ADMISSION_OPEN, ADMISSION_REFUSED, Admission } from '../shard/admission.ts';
import { attach } from '../shard/attach.ts';
import type { Channel, Peer } from '../shard/channel.ts';
import { Connection } from '../shard/connection.ts';
import { counter } from '../shard/counters.ts';
import { receive } from '../shard/receive.ts';
import { connectionLost, drained } from '../shard/sessions.ts';
import type { Shard } from '../shard/shard.ts';
import { moved, type TakeSocket } from './accept.ts';
import { canHandOff, closeDescriptor, sendNow, type Transit } from './descriptor.ts';
import type { Gate, Opening } from './gate.ts';
import { endAndLinger, StreamChannel } from './stream-channel.ts';

const REFUSED = counter('connections/refused');

const READ_BUFFER_BYTES = 64 * 1024;

/** What a TCP listener does with its sockets. */
export function tcpDoor(gate: Gate, transit: Transit, readBuffer: Buffer): TakeSocket {
  const { shard } = gate;
  return (socket, opening) => {
    const admission = new Admission(shard, gate.settings.packetBytes);
    let isOpen = true;
    const leave = (): void => {
      if (!isOpen) return;
      isOpen = false;
      opening.leave();
      admission.leave();
    };
    socket.on('close', () => {
      leave();
      admission.release();
    });
    socket.on('data', (chunk: Buffer) => {
      if (!isOpen) return;
      shard.startTurn();
      const owner = admission.take(chunk);
      if (owner === ADMISSION_OPEN) return;
      leave();
      if (owner === ADMISSION_REFUSED) turnAway(shard, socket, opening, admission);
      else pass(gate, transit, readBuffer, socket, owner, opening, admission.read);
      admission.release();
    });
    socket.resume();
  };
}

function turnAway(shard: Shard, socket: net.Socket, opening: Opening, admission: Admission): void {
  const { reason, answer } = admission;
  shard.counters[REFUSED]!++;
  shard.clientLog.info({ peer: opening.name, reason, name: reasonName(reason) }, 'connection refused at CONNECT');
  if (answer !== null) socket.write(answer);
  endAndLinger(shard, socket);
}

/** Gives the socket to the shard that owns the client. */
function pass(
  gate: Gate,
  transit: Transit,
  readBuffer: Buffer,
  socket: net.Socket,
  owner: number,
  opening: Opening,
  read: Uint8Array,
): void {
  const { shard } = gate;
  const peer: Peer = { name: opening.name, listener: gate.listener, certificate: null };
  if (!canHandOff()) {
    socket.removeAllListeners();
    attach(shard, new StreamChannel(shard, socket, false, 'tcp_closed'), peer, read);
    return;
  }
  socket.pause();
  if (socket.destroyed) return;
  const fd = moved(socket);
  if (fd < 0) {
    shard.counters[REFUSED]!++;
    shard.log.warn({ peer: peer.name }, 'connection refused: the process has no descriptor left; raise the limit on open files');
    return;
  }
  if (owner === shard.index) {
    adopt(shard, readBuffer, fd, peer, read);
    return;
  }
  const isMarked = transit.mark(fd, owner, shard.index);
  if (isMarked && shard.mesh.sendHandoff(owner, fd, packObject(peer), read)) return;
  shard.counters[REFUSED]!++;
  // The owner is down: the supervisor, which closes what is under way to it, may have been quicker, and the number may be another socket's by now.
  if (!isMarked || transit.claim(fd, owner)) closeDescriptor(fd);
}

/** Takes over a socket that another shard accepted. */
export function adoptHandedOff(shard: Shard, transit: Transit, readBuffer: Buffer, fd: number, peer: Peer, read: Uint8Array): void {
  // The mark decides who closes the descriptor if a thread dies between sending and adopting.
  if (transit.claim(fd, shard.index)) adopt(shard, readBuffer, fd, peer, read);
}

/** The read buffer that all sockets of a shard share. */
export function createReadBuffer(): Buffer {
  return withView(Buffer.allocUnsafeSlow(READ_BUFFER_BYTES));
}

function adopt(shard: Shard, readBuffer: Buffer, fd: number, peer: Peer, read: Uint8Array): void {
  const channel = new TcpChannel(shard);
  const connection = new Connection(shard, channel, peer);
  channel.connection = connection;
  shard.connections.add(connection);
  channel.open(fd, readBuffer);
  receive(connection, read, 0, read.length);
}

/** A socket that knows its channel, so that all sockets share their listeners: with closures for each a connection took some 280 bytes more. */
class AdoptedSocket extends net.Socket {
  channel!: TcpChannel;
}

function onError(this: AdoptedSocket): void {
  this.destroy();
}

function onEnd(this: AdoptedSocket): void {
  if (!this.channel.isEnded) this.destroy();
}

function onClose(this: AdoptedSocket): void {
  connectionLost(this.channel.connection, 'tcp_closed');
}

class TcpChannel implements Channel {
  connection!: Connection;
  isEnded: boolean;
  private readonly shard: Shard;
  private socket!: AdoptedSocket;
  private fd: number;
  /** Made when the kernel first takes less than all. */
  private onWritten: (() => void) | null;

  constructor(shard: Shard) {
    this.shard = shard;
    this.fd = -1;
    this.isEnded = false;
    this.onWritten = null;
  }

  open(fd: number, readBuffer: Buffer): void {
    this.fd = fd;
    const socket = new AdoptedSocket({
      fd,
      readable: true,
      writable: true,
      onread: { buffer: readBuffer, callback: (length: number, bytes: Uint8Array) => receive(this.connection, bytes, 0, length) },
    });
    socket.channel = this;
    this.socket = socket;
    socket.on('error', onError);
    socket.on('end', onEnd);
    socket.on('close', onClose);
  }

  private written(): void {
    if (this.connection.isBlocked && this.socket.writableLength === 0) drained(this.connection);
  }

  write(bytes: Uint8Array, length: number): boolean {
    const socket = this.socket;
    if (socket.destroyed) return true;
    // Straight to the kernel: 4.7 µs of CPU per P2P message against 5.4 µs through socket.write, which makes a request object, a view and a tick for each.
    let sent = sendNow(this.fd, bytes, length);
    if (sent === length) return true;
    if (sent < 0) sent = 0;
    this.onWritten ??= () => this.written();
    socket.write(bytes.subarray(sent, length), this.onWritten);
    return socket.writableLength === 0;
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
