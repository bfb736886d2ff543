/**
 * Accept: the front of every listener of a stream transport. It accepts on this shard's own duplicate of the listening descriptor, asks the gate, reads the PROXY
 * protocol's header where the listener has one, and passes the socket on to what the listener speaks.
 *
 *   accept → may this address? → (PROXY header → may that address?) → limits → TCP, TLS or WebSocket
 */
import net from 'node:net';
import { addressName, plainAddress } from '../base/network.ts';
import { counter } from '../shard/counters.ts';
import { duplicate } from './descriptor.ts';
import type { Gate, Opening } from './gate.ts';
import { type ProxiedAddress, ProxyHeaderReader } from './proxy-header.ts';

const ACCEPTED = counter('connections/accepted');
const REFUSED = counter('connections/refused');
const BACKLOG = 4096;
/**
 * How long all that come are closed without a look, after one for whom there was no room. Refused one by one, each costs 48 µs of the shard, without a look 32, and those
 * who flood come by hundreds in one turn.
 */
const CLOSED_MILLISECONDS = 20;
/** For `net.Server.maxConnections`: there are always more. 0 means no limit in Node 20. */
const NONE = -1;

/** Takes a socket over. Nothing has been read from it, and it does not read. */
export type TakeSocket = (socket: net.Socket, opening: Opening) => void;

/** Where a listener listens: a descriptor that is bound, or, where descriptors cannot be duplicated, an address or a path. */
export type ListenAt = { readonly fd: number } | { readonly host: string; readonly port: number } | { readonly path: string };

export class SocketListener {
  private readonly gate: Gate;
  private readonly take: TakeSocket;
  private readonly server: net.Server;

  constructor(gate: Gate, take: TakeSocket) {
    this.gate = gate;
    this.take = take;
    const options = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000, pauseOnConnect: true };
    this.server = net.createServer(options, (socket) => this.accept(socket));
    this.server.on('drop', () => {
      gate.shard.counters[ACCEPTED]!++;
      gate.shard.counters[REFUSED]!++;
    });
    this.server.on('error', (error) => gate.shard.log.error({ error: error.message }, 'a listener of this shard failed'));
  }

  /** @returns the bound port; 0 for a path */
  listen(where: ListenAt): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen({ ...where, backlog: BACKLOG }, () => {
        this.server.off('error', reject);
        const address = this.server.address();
        resolve(address !== null && typeof address === 'object' ? address.port : 0);
      });
    });
  }

  /** Accepts no more; what has not sent its CONNECT is closed. */
  close(): void {
    this.server.close();
    this.gate.close();
  }

  private accept(socket: net.Socket): void {
    const { gate } = this;
    gate.shard.startTurn();
    gate.shard.counters[ACCEPTED]!++;
    const isProxied = gate.settings.proxyProtocol !== 'none';
    const address = plainAddress(socket.remoteAddress ?? '');
    if (gate.settings.path === '' && address === '') {
      // It has gone already.
      socket.destroy();
      return;
    }
    if (isProxied ? !this.mayProxy(address) : !gate.admits(address)) {
      socket.destroy();
      return;
    }
    const name = address === '' ? `unix:${gate.settings.path}` : addressName(address, socket.remotePort ?? 0);
    const opening = gate.open(name, () => socket.destroy());
    if (opening === null) {
      socket.destroy();
      this.closeForAWhile();
      return;
    }
    socket.on('error', () => socket.destroy());
    if (!isProxied) {
      this.pass(socket, opening);
      return;
    }
    const fd = moved(socket);
    if (fd < 0) {
      opening.end();
      return;
    }
    this.readHeader(fd, opening);
  }

  private closeForAWhile(): void {
    const { server } = this;
    if (server.maxConnections === NONE) return;
    server.maxConnections = NONE;
    setTimeout(() => {
      server.maxConnections = Number.POSITIVE_INFINITY;
    }, CLOSED_MILLISECONDS).unref();
  }

  private mayProxy(address: string): boolean {
    const { gate } = this;
    if (gate.trusts(address)) return true;
    gate.shard.counters[REFUSED]!++;
    gate.shard.clientLog.info({ peer: address, listener: gate.listener }, 'connection refused: not a trusted proxy');
    return false;
  }

  private pass(socket: net.Socket, opening: Opening): void {
    socket.once('close', () => opening.leave());
    this.take(socket, opening);
  }

  /** Reads the header and nothing behind it. */
  private readHeader(fd: number, opening: Opening): void {
    const { gate } = this;
    const reader = new ProxyHeaderReader(gate.settings.proxyProtocol as 'v1' | 'v2' | 'any');
    const buffer = Buffer.alloc(4096);
    const socket = new net.Socket({
      fd,
      readable: true,
      writable: true,
      onread: {
        // No more than the header may still have: what follows belongs to whoever takes the socket next.
        buffer: () => buffer.subarray(0, reader.wanted),
        callback: (length: number, bytes: Uint8Array) => {
          const found = reader.take(bytes.subarray(0, length));
          if (found === null) return true;
          if (found === 'malformed') {
            gate.shard.counters[REFUSED]!++;
            gate.shard.clientLog.info({ peer: opening.name }, 'connection refused: no PROXY protocol header');
          }
          const next = found === 'malformed' ? null : this.proxied(socket, found, opening);
          if (next === null) opening.end();
          else {
            opening.closes(() => next.destroy());
            this.pass(next, opening);
          }
          return false;
        },
      },
    });
    socket.on('error', () => socket.destroy());
    socket.on('end', () => socket.destroy());
    socket.on('close', () => opening.leave());
    opening.closes(() => socket.destroy());
  }

  /** The same connection as a new socket, in the name of its client. @returns null when that one may not connect */
  private proxied(socket: net.Socket, found: ProxiedAddress, opening: Opening): net.Socket | null {
    // A balancer's own health check speaks for nobody: it keeps the balancer's name.
    if (found.address !== '') {
      if (!this.gate.admits(found.address)) return null;
      opening.name = addressName(found.address, found.port);
    }
    socket.removeAllListeners('close');
    const fd = moved(socket);
    if (fd < 0) {
      this.gate.shard.counters[REFUSED]!++;
      return null;
    }
    const next = new net.Socket({ fd, readable: true, writable: true, pauseOnCreate: true } as net.SocketConstructorOpts);
    next.setNoDelay(true);
    next.on('error', () => next.destroy());
    return next;
  }
}

/** Takes the descriptor out of a socket, which is closed. @returns its duplicate, -1 when there is none */
export function moved(socket: net.Socket): number {
  const own = (socket as unknown as { _handle?: { fd?: number } })._handle?.fd ?? -1;
  const fd = own < 0 ? -1 : duplicate(own);
  socket.destroy();
  return fd;
}
