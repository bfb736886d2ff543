/**
 * WebSocket, plain and over TLS, by uWebSockets.js (chapter 6 of the standard).
 *
 *   accepted socket → descriptor → lane: HTTP upgrade → WebSocket → Arrival → here, or relayed to the owner
 *
 * The library takes over an accepted descriptor but does not say which connection an upgrade belongs to. So each connection is upgraded in a lane: an app of the
 * library that serves one upgrade at a time. A lane costs 34 KB and is used again; a WebSocket stays in the app that it was upgraded in.
 * The library cannot stop reading: what comes while the broker does not read is kept, up to a bound, beyond which the connection is closed.
 */
import { X509Certificate } from 'node:crypto';
import type { TlsSettings, WebSocketSettings } from '../base/settings.ts';
import { Timer } from '../base/timers.ts';
import { type ChannelEvents, type EventChannel, NO_EVENTS } from '../shard/channel.ts';
import { counter } from '../shard/counters.ts';
import type { Shard } from '../shard/shard.ts';
import { moved, type TakeSocket } from './accept.ts';
import { arrive } from './arrival.ts';
import type { CertificateFiles } from './certificates.ts';
import { closeDescriptor, peek } from './descriptor.ts';
import type { Gate, Opening } from './gate.ts';
import { serverNameOf } from './server-name.ts';
import type { App, Behavior, Library, Request, Response, Socket, SslOptions } from './u-web-sockets.ts';

const REFUSED = counter('connections/refused');
const OVERRUN = counter('websocket/overrun');

/** Upgrades of one listener in one shard that may be under way. */
const LANES_MAX = 1024;
/** Bytes that the library holds for a client before its channel is full, and below which it has drained. */
const FULL_BYTES = 256 * 1024;
const DRAINED_BYTES = 64 * 1024;
/** Bytes that one client may send while the broker does not read, and all clients of one shard together. */
const KEPT_BYTES_MAX = 4 * 1024 * 1024;
const KEPT_BYTES_OF_ALL_MAX = 64 * 1024 * 1024;
/** A frame may hold several packets. */
const FRAME_BYTES_MIN = 1024 * 1024;
/** How long a client has to answer a close before the connection is cut. */
const CLOSE_MILLISECONDS = 2000;

/** Largest ClientHello that is looked into; a larger one gets the first certificate. */
const HELLO_BYTES_MAX = 16 * 1024;
const HELLO_POLL_MILLISECONDS = 5;

const CLOSE_NORMAL = 1000;
const CLOSE_UNSUPPORTED_DATA = 1003;
const CLOSE_TRY_AGAIN_LATER = 1013;

/** What is kept of all clients of this thread. */
let keptBytesOfAll = 0;

class WebSocketChannel implements EventChannel {
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

/** An app of the library that upgrades one connection at a time. */
interface Lane {
  readonly app: App;
  /** Of the connection that is being upgraded; null: the lane is free. */
  opening: Opening | null;
  response: Response | null;
}

/** What a connection bears from its upgrade on. */
interface Upgraded {
  readonly opening: Opening;
  readonly channel: WebSocketChannel;
  readonly certificate: Uint8Array | null;
}

/** One WebSocket listener of one shard. */
export class WebSocketDoor {
  private readonly gate: Gate;
  private readonly settings: WebSocketSettings;
  private readonly library: Library;
  /** Null without TLS. */
  private files: CertificateFiles | null;
  /** By certificate; without TLS there is one list. */
  private free: Lane[][];
  private readonly apps: App[];
  private laneCount: number;
  private certificates: readonly X509Certificate[];
  /** Lanes of an older number have old certificates and are not used again. */
  private generation: number;

  constructor(gate: Gate, library: Library, files: CertificateFiles | null) {
    this.gate = gate;
    this.settings = gate.settings.webSocket!;
    this.library = library;
    this.files = files;
    this.free = [];
    this.apps = [];
    this.laneCount = 0;
    this.generation = 0;
    this.certificates = certificatesOf(files);
  }

  /** New connections get the certificates that are in the files now. */
  reload(files: CertificateFiles): void {
    this.files = files;
    this.certificates = certificatesOf(files);
    this.free = [];
    this.laneCount = 0;
    this.generation++;
  }

  /** Closes every connection at once, because the thread ends: Node ends the process when a loop of a thread still has handles that are not Node's. */
  destroy(): void {
    for (const app of this.apps) app.close();
  }

  readonly take: TakeSocket = (socket, opening) => {
    socket.removeAllListeners('close');
    const fd = moved(socket);
    if (fd < 0) {
      this.gate.shard.counters[REFUSED]!++;
      opening.leave();
    } else if (this.certificates.length > 1) this.chooseCertificate(fd, opening);
    else this.adopt(fd, opening, 0);
  };

  /** Waits for the server name and takes the lane of its certificate. The bytes stay in the socket. */
  private chooseCertificate(fd: number, opening: Opening): void {
    const bytes = Buffer.allocUnsafe(HELLO_BYTES_MAX);
    let timer: NodeJS.Timeout | null = null;
    const end = (): void => {
      if (timer !== null) clearTimeout(timer);
      closeDescriptor(fd);
    };
    opening.closes(end);
    const look = (): void => {
      const length = peek(fd, bytes);
      const name = length === bytes.length ? '' : serverNameOf(bytes.subarray(0, Math.max(0, length)));
      if (length === 0) {
        opening.end();
        return;
      }
      // Nobody tells when a descriptor that belongs to no stream can be read; the name comes with the first bytes.
      if (name === null) timer = setTimeout(look, HELLO_POLL_MILLISECONDS);
      else
        this.adopt(
          fd,
          opening,
          Math.max(
            0,
            this.certificates.findIndex((one) => name !== '' && one.checkHost(name) !== undefined),
          ),
        );
    };
    look();
  }

  private adopt(fd: number, opening: Opening, certificate: number): void {
    const lane = this.free[certificate]?.pop() ?? (this.laneCount < LANES_MAX ? this.createLane(certificate) : null);
    if (lane === null) {
      this.gate.shard.counters[REFUSED]!++;
      closeDescriptor(fd);
      opening.leave();
      return;
    }
    lane.opening = opening;
    opening.closes(() => lane.response?.close());
    lane.app.adoptSocket(fd);
  }

  private createLane(certificate: number): Lane {
    const { generation, settings, library } = this;
    const app = this.createApp(certificate);
    this.apps.push(app);
    const lane: Lane = { app, opening: null, response: null };
    this.laneCount++;
    const release = (): void => {
      lane.opening = null;
      lane.response = null;
      if (generation !== this.generation) return;
      const free = this.free[certificate];
      if (free === undefined) this.free[certificate] = [lane];
      else free.push(lane);
    };
    // biome-ignore lint/suspicious/useIterableCallbackReturn: no list is filtered here, connections are.
    app.filter((response, change) => {
      if (change > 0) {
        lane.response = response;
        return;
      }
      // It has ended before it was a WebSocket.
      this.gate.shard.startTurn();
      lane.opening?.leave();
      release();
    });
    const behavior: Behavior = {
      maxPayloadLength: Math.max(FRAME_BYTES_MIN, this.gate.settings.packetBytes * 2),
      // What the library holds for a client is bounded by what the shard writes while the channel is not full.
      maxBackpressure: 0x7fffffff,
      idleTimeout: 0,
      compression: settings.compression ? library.SHARED_COMPRESSOR : library.DISABLED,
      sendPingsAutomatically: false,
      upgrade: (response, request, context) => {
        this.gate.shard.startTurn();
        const { opening } = lane;
        if (opening !== null && this.upgrade(response, request, context, opening)) release();
      },
      open: (ws) => {
        const { opening, channel, certificate } = ws.getUserData() as Upgraded;
        channel.opened(ws);
        opening.closes(() => channel.destroy());
        arrive(this.gate, opening, channel, certificate);
      },
      message: (ws, message, isBinary) => {
        this.gate.shard.startTurn();
        const { channel } = ws.getUserData() as Upgraded;
        if (isBinary) channel.received(message);
        else channel.close(CLOSE_UNSUPPORTED_DATA, 'MQTT comes in binary frames'); // [MQTT-6.0.0-1]
      },
      drain: (ws) => (ws.getUserData() as Upgraded).channel.drained(),
      close: (ws) => {
        this.gate.shard.startTurn();
        (ws.getUserData() as Upgraded).channel.closed();
      },
    };
    app.ws(settings.path, behavior);
    app.any('/*', (response) => {
      response.writeStatus('404 Not Found').end(`MQTT over WebSocket is at ${settings.path}\n`, true);
    });
    return lane;
  }

  private createApp(certificate: number): App {
    const { library } = this;
    const { tls } = this.gate.settings;
    return tls === null ? library.App() : library.SSLApp(sslOptions(tls, tls.certificates[certificate]!));
  }

  /** @returns whether the connection is a WebSocket from now on */
  private upgrade(response: Response, request: Request, context: object, opening: Opening): boolean {
    const { settings } = this;
    const problem = this.problemOf(request);
    if (problem !== null) {
      this.refuse(response, opening, problem.status, problem.text);
      return false;
    }
    const pem = this.files === null ? '' : response.getX509Certificate();
    if (pem === '' && this.gate.settings.tls?.verifyClient === 'required') {
      this.refuse(response, opening, '401 Unauthorized', 'a client certificate is needed');
      return false;
    }
    const certificate = pem === '' ? null : new X509Certificate(pem).raw;
    const channel = new WebSocketChannel(this.gate.shard, settings.compression);
    const upgraded: Upgraded = { opening, channel, certificate };
    const protocol = protocolsOf(request).find(isMqtt)!; // [MQTT-6.0.0-4]
    const extensions = settings.compression ? request.getHeader('sec-websocket-extensions') : '';
    response.upgrade(upgraded, request.getHeader('sec-websocket-key'), protocol, extensions, context);
    return true;
  }

  private problemOf(request: Request): { readonly status: string; readonly text: string } | null {
    const origin = request.getHeader('origin');
    const { origins } = this.settings;
    if (origin !== '' && origins !== '*' && !origins.includes(origin))
      return { status: '403 Forbidden', text: `pages of ${origin} may not connect` };
    // [MQTT-6.0.0-3]
    if (!protocolsOf(request).some(isMqtt)) return { status: '400 Bad Request', text: 'Sec-WebSocket-Protocol must offer mqtt' };
    return null;
  }

  private refuse(response: Response, opening: Opening, status: string, text: string): void {
    const { shard } = this.gate;
    shard.counters[REFUSED]!++;
    shard.log.info({ peer: opening.name, status, text }, 'WebSocket refused');
    response.writeStatus(status).end(`${text}\n`, true);
  }
}

function certificatesOf(files: CertificateFiles | null): X509Certificate[] {
  return files === null ? [] : files.certificates.map(({ chain }) => new X509Certificate(chain));
}

function sslOptions(tls: TlsSettings, certificate: TlsSettings['certificates'][number]): SslOptions {
  return {
    cert_file_name: certificate.chain,
    key_file_name: certificate.key,
    ...(tls.verifyClient === 'none' ? {} : { ca_file_name: tls.ca }),
    ...(tls.ciphers === '' ? {} : { ssl_ciphers: tls.ciphers }),
  };
}

function protocolsOf(request: Request): string[] {
  return request
    .getHeader('sec-websocket-protocol')
    .split(',')
    .map((name) => name.trim());
}

function isMqtt(protocol: string): boolean {
  return protocol === 'mqtt' || protocol === 'mqttv3.1';
}
