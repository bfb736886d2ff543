/**
 * The listeners of one shard: each has a gate, and behind it what it speaks. Other transports than TCP are loaded when a listener has them: 42 files, of which QUIC has 19.
 */

import type { ListenerSettings } from '../base/settings.ts';
import type { HttpServer } from '../http/http-server.ts';
import type { Shard } from '../shard/shard.ts';
import { type ListenAt, SocketListener, type TakeSocket } from '../transports/accept.ts';
import type { CertificateFiles } from '../transports/certificates.ts';
import { duplicate, type Transit } from '../transports/descriptor.ts';
import { Gate } from '../transports/gate.ts';
import type { HttpDoor } from '../transports/http-door.ts';
import type { QuicDoor } from '../transports/quic-door.ts';
import { tcpDoor } from '../transports/tcp.ts';
import { loadWebSockets } from '../transports/u-web-sockets.ts';
import type { WebSocketDoor } from '../transports/web-socket.ts';
import type { BoundListener } from './wiring.ts';

export class ShardListeners {
  private readonly shard: Shard;
  private readonly transit: Transit;
  private readonly readBuffer: Buffer;
  private readonly rates: SharedArrayBuffer;
  private readonly ticketSecret: Buffer;
  private readonly listeners: SocketListener[];
  /** By place in the configuration. */
  private readonly quic: Map<number, QuicDoor>;
  private readonly quicSecret: Uint8Array;
  /** Those of uWebSockets.js. */
  private readonly ofLibrary: (WebSocketDoor | HttpDoor)[];
  /** Null where no listener speaks HTTP. */
  private readonly http: HttpServer | null;
  /** By place in the configuration; those with certificates. */
  private readonly reloads: Map<number, (files: CertificateFiles) => void>;
  /** Certificates that came while the shard took up its store. */
  private readonly latest: Map<number, CertificateFiles>;

  constructor(
    shard: Shard,
    transit: Transit,
    readBuffer: Buffer,
    rates: SharedArrayBuffer,
    ticketSecret: Buffer,
    quicSecret: Uint8Array,
    http: HttpServer | null,
  ) {
    this.http = http;
    this.shard = shard;
    this.transit = transit;
    this.readBuffer = readBuffer;
    this.rates = rates;
    this.ticketSecret = ticketSecret;
    this.listeners = [];
    this.quic = new Map();
    this.ofLibrary = [];
    this.quicSecret = quicSecret;
    shard.takeDatagram = (listener, bytes, host, port) => this.quic.get(listener)?.endpoint.receiveForwarded(bytes, host, port);
    this.reloads = new Map();
    this.latest = new Map();
  }

  /** Listens everywhere. @returns the ports, in the order of the configuration */
  async listen(bound: readonly BoundListener[], certificates: readonly (CertificateFiles | null)[]): Promise<number[]> {
    const ports: number[] = [];
    for (const [index, { fd, host, port }] of bound.entries()) {
      const files = this.latest.get(index) ?? certificates[index] ?? null;
      const gate = new Gate(this.shard, index, this.rates);
      if (gate.settings.type === 'quic') {
        const { QuicDoor: Door } = await import('../transports/quic-door.ts');
        const door = await Door.open(gate, host, port, this.quicSecret, files!);
        this.quic.set(index, door);
        this.reloads.set(index, (next) => door.reload(next));
        this.catchUp(index, files);
        ports.push(port);
        continue;
      }
      const listener = new SocketListener(gate, await this.doorOf(gate, files));
      this.catchUp(index, files);
      this.listeners.push(listener);
      ports.push(await listener.listen(fd < 0 ? placeFor(gate.settings) : { fd: duplicate(fd) }));
    }
    return ports;
  }

  /** Other certificates may have come while the transport was loaded. */
  private catchUp(listener: number, files: CertificateFiles | null): void {
    const latest = this.latest.get(listener);
    if (latest !== undefined && latest !== files) this.reload(listener, latest);
  }

  private async doorOf(gate: Gate, files: CertificateFiles | null): Promise<TakeSocket> {
    switch (gate.settings.type) {
      case 'ws':
      case 'wss': {
        const { WebSocketDoor: Door } = await import('../transports/web-socket.ts');
        const door = new Door(gate, await loadWebSockets(), files);
        this.ofLibrary.push(door);
        this.reloads.set(gate.listener, (next) => door.reload(next));
        return door.take;
      }
      case 'http':
      case 'https': {
        const { HttpDoor: Door } = await import('../transports/http-door.ts');
        const door = new Door(gate, await loadWebSockets(), files, this.http!.serve);
        this.ofLibrary.push(door);
        this.reloads.set(gate.listener, (next) => door.reload(next));
        return door.take;
      }
      case 'tls': {
        const { tlsDoor } = await import('../transports/tls.ts');
        const door = tlsDoor(gate, files!, this.ticketSecret);
        this.reloads.set(gate.listener, (next) => door.reload(next));
        return door.take;
      }
      default:
        return tcpDoor(gate, this.transit, this.readBuffer);
    }
  }

  /** New connections of this listener get other certificates. */
  reload(listener: number, files: CertificateFiles): void {
    this.latest.set(listener, files);
    try {
      this.reloads.get(listener)?.(files);
    } catch (error) {
      this.shard.log.error({ listener, error: (error as Error).message }, 'certificates cannot be used: the old ones stay');
    }
  }

  /** The thread ends, perhaps by a fault: what is not Node's own is closed. */
  destroy(): void {
    for (const door of this.ofLibrary) door.destroy();
  }

  /** Accepts no more. */
  close(): void {
    for (const listener of this.listeners) listener.close();
    for (const door of this.quic.values()) door.stopAccepting();
  }
}

function placeFor({ host, port, path }: ListenerSettings): ListenAt {
  return path === '' ? { host, port } : { path };
}
