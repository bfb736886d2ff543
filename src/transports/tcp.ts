/**
 * TCP: every shard accepts on its own duplicate of one listening descriptor, and a socket moves once to the shard that owns its client.
 *
 *   accept → Admission (first packet) → dup → adopt here, or hand off by ring → adopt there
 *
 * Adoption by descriptor is also what gives a socket its fast path: `onread` with one read buffer for all sockets of the shard, parsed in place.
 * The only file that knows `net.Socket`.
 */
import net from 'node:net';
import { utf8Bytes } from '../base/bytes.ts';
import { Timer } from '../base/timers.ts';
import { reasonName } from '../protocol/reason-code.ts';
import { ADMISSION_OPEN, ADMISSION_REFUSED, Admission } from '../shard/admission.ts';
import type { Channel } from '../shard/channel.ts';
import { Connection } from '../shard/connection.ts';
import { counter } from '../shard/counters.ts';
import { receive } from '../shard/receive.ts';
import { connectionLost, drained } from '../shard/sessions.ts';
import type { Shard } from '../shard/shard.ts';
import { canHandOff, closeDescriptor, duplicate, sendNow, type Transit } from './descriptor.ts';

const ACCEPTED = counter('connections/accepted');
const REFUSED = counter('connections/refused');
const OPENING = counter('connections/opening');
const CLIENTS = counter('clients/connected');

const READ_BUFFER_BYTES = 64 * 1024;
const LISTEN_BACKLOG = 4096;
/** After our close: how long the peer's last bytes are read and thrown away, so that a reset does not destroy our DISCONNECT on its way. */
const LINGER_MILLISECONDS = 2000;
/** Connections that have not sent their CONNECT, for each allowed client, before new ones are closed at accept. */
const OPENING_SHARE = 0.25;

/** The server's side of one TCP listener in one shard. */
export class TcpListener {
  private readonly shard: Shard;
  private readonly transit: Transit;
  private readonly server: net.Server;
  private readonly readBuffer: Buffer;
  private readonly opening: Set<net.Socket>;

  constructor(shard: Shard, transit: Transit, readBuffer: Buffer) {
    this.shard = shard;
    this.transit = transit;
    this.readBuffer = readBuffer;
    this.opening = new Set();
    this.server = net.createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 }, (socket) => this.accept(socket));
    this.server.on('error', (error) => shard.log.error({ error: error.message }, 'a listener of this shard failed'));
  }

  /**
   * Listens on a bound descriptor of this shard's own, or, where sockets cannot be handed off, on an address.
   * @returns the bound port
   */
  listen(where: { fd: number } | { host: string; port: number }): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen({ ...where, backlog: LISTEN_BACKLOG }, () => {
        this.server.off('error', reject);
        const address = this.server.address();
        resolve(address !== null && typeof address === 'object' ? address.port : 0);
      });
    });
  }

  /** Accepts no more; what has not sent its CONNECT is closed. */
  close(): void {
    this.server.close();
    for (const socket of this.opening) socket.destroy();
  }

  private accept(socket: net.Socket): void {
    const { shard } = this;
    shard.startTurn();
    shard.counters[ACCEPTED]!++;
    const limits = shard.settings.limits;
    const openingMax = Math.max(1024, limits.connections * OPENING_SHARE);
    if (
      shard.isStopping ||
      shard.sumOfAll(OPENING) > openingMax ||
      shard.sumOfAll(CLIENTS) + shard.sumOfAll(OPENING) > limits.connections + openingMax
    ) {
      shard.counters[REFUSED]!++;
      socket.destroy();
      return;
    }
    shard.counters[OPENING]!++;
    this.opening.add(socket);
    const admission = new Admission(shard);
    const timer = new Timer(() => {
      shard.counters[REFUSED]!++;
      shard.log.info({ peer: peerName(socket) }, 'connection closed: no CONNECT in time');
      socket.destroy();
    });
    shard.timers.arm(timer, limits.connectTimeoutMilliseconds);
    let isOpen = true;
    const leave = (): void => {
      if (!isOpen) return;
      isOpen = false;
      shard.timers.disarm(timer);
      shard.counters[OPENING]!--;
      admission.leave();
      this.opening.delete(socket);
    };
    socket.on('close', leave);
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      if (!isOpen) return;
      shard.startTurn();
      const owner = admission.take(chunk);
      if (owner === ADMISSION_OPEN) return;
      leave();
      if (owner === ADMISSION_REFUSED) this.turnAway(socket, admission);
      else this.pass(socket, owner, admission.read);
    });
  }

  private turnAway(socket: net.Socket, admission: Admission): void {
    const { shard } = this;
    shard.counters[REFUSED]!++;
    shard.log.info(
      { peer: peerName(socket), reason: admission.reason, name: reasonName(admission.reason) },
      'connection refused at CONNECT',
    );
    if (admission.answer !== null) socket.write(admission.answer);
    endAndLinger(shard, socket);
  }

  /** Gives the socket to the shard that owns the client. */
  private pass(socket: net.Socket, owner: number, read: Uint8Array): void {
    const { shard } = this;
    const name = peerName(socket);
    if (!canHandOff()) {
      socket.removeAllListeners();
      keepSocket(shard, socket, name, read);
      return;
    }
    const own = descriptorOf(socket);
    if (own < 0) return;
    socket.pause();
    const fd = duplicate(own);
    socket.destroy();
    if (fd < 0) {
      shard.counters[REFUSED]!++;
      shard.log.warn({ peer: name }, 'connection refused: the process has no descriptor left; raise the limit on open files');
      return;
    }
    if (owner === shard.index) {
      adopt(shard, this.readBuffer, fd, name, read);
      return;
    }
    const isMarked = this.transit.mark(fd, owner, shard.index);
    if (isMarked && shard.mesh.sendHandoff(owner, fd, utf8Bytes(name), read)) return;
    shard.counters[REFUSED]!++;
    // The owner is down: the supervisor, which closes what is under way to it, may have been quicker, and the number may be another socket's by now.
    if (!isMarked || this.transit.claim(fd, owner)) closeDescriptor(fd);
  }
}

/** Takes over a socket that another shard accepted. */
export function adoptHandedOff(shard: Shard, transit: Transit, readBuffer: Buffer, fd: number, name: string, read: Uint8Array): void {
  // The mark decides who closes the descriptor if a thread dies between sending and adopting.
  if (transit.claim(fd, shard.index)) adopt(shard, readBuffer, fd, name, read);
}

/** The read buffer that all sockets of a shard share. */
export function createReadBuffer(): Buffer {
  return Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
}

function adopt(shard: Shard, readBuffer: Buffer, fd: number, name: string, read: Uint8Array): void {
  const channel = new TcpChannel(shard);
  const connection = new Connection(shard, channel, { name });
  channel.connection = connection;
  shard.connections.add(connection);
  channel.open(fd, readBuffer);
  receive(connection, read, 0, read.length);
}

/** Without descriptors (one shard then): the accepted socket stays as it is. */
function keepSocket(shard: Shard, socket: net.Socket, name: string, read: Uint8Array): void {
  const channel = new TcpChannel(shard);
  const connection = new Connection(shard, channel, { name });
  channel.connection = connection;
  shard.connections.add(connection);
  channel.attach(socket);
  socket.on('data', (chunk: Buffer) => {
    if (!receive(connection, chunk, 0, chunk.length)) socket.pause();
  });
  receive(connection, read, 0, read.length);
}

class TcpChannel implements Channel {
  connection!: Connection;
  private readonly shard: Shard;
  private socket!: net.Socket;
  private isEnded: boolean;
  private fd: number;

  constructor(shard: Shard) {
    this.shard = shard;
    this.fd = -1;
    this.isEnded = false;
  }

  open(fd: number, readBuffer: Buffer): void {
    this.fd = fd;
    this.attach(
      new net.Socket({
        fd,
        readable: true,
        writable: true,
        onread: { buffer: readBuffer, callback: (length: number, bytes: Uint8Array) => receive(this.connection, bytes, 0, length) },
      }),
    );
  }

  attach(socket: net.Socket): void {
    this.socket = socket;
    socket.on('error', this.onError);
    socket.on('end', this.onEnd);
    socket.on('close', this.onClose);
  }

  private readonly onError = (): void => {
    this.socket.destroy();
  };

  private readonly onEnd = (): void => {
    if (!this.isEnded) this.socket.destroy();
  };

  private readonly onClose = (): void => {
    connectionLost(this.connection, 'tcp_closed');
  };

  private readonly onWritten = (): void => {
    if (this.connection.isBlocked && this.socket.writableLength === 0) drained(this.connection);
  };

  write(bytes: Uint8Array, length: number): boolean {
    const socket = this.socket;
    if (socket.destroyed) return true;
    let sent = 0;
    if (this.fd >= 0) {
      // Straight to the kernel: 4.7 µs of CPU per P2P message against 5.4 µs through socket.write, which makes a request object, a view and a tick for each.
      sent = sendNow(this.fd, bytes, length);
      if (sent === length) return true;
      if (sent < 0) sent = 0;
    }
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

/** Closes our side and reads the rest away for a short time. */
function endAndLinger(shard: Shard, socket: net.Socket): void {
  if (socket.destroyed) return;
  socket.end();
  socket.resume();
  const timer = new Timer(() => socket.destroy());
  shard.timers.arm(timer, LINGER_MILLISECONDS);
  socket.once('close', () => shard.timers.disarm(timer));
}

function descriptorOf(socket: net.Socket): number {
  return (socket as unknown as { _handle?: { fd?: number } })._handle?.fd ?? -1;
}

function peerName(socket: net.Socket): string {
  const address = socket.remoteAddress ?? 'unknown';
  return address.includes(':') ? `[${address}]:${socket.remotePort ?? 0}` : `${address}:${socket.remotePort ?? 0}`;
}
