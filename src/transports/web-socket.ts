/**
 * WebSocket, plain and over TLS, by uWebSockets.js (chapter 6 of the standard).
 *
 *   accepted socket → descriptor → lane: HTTP upgrade → WebSocket → Arrival → here, or relayed to the owner
 *
 * The library takes over an accepted descriptor but does not say which connection an upgrade belongs to. So each connection is upgraded in a lane: an app of the
 * library that serves one upgrade at a time. A lane costs 34 KB and is used again; a WebSocket stays in the app that it was upgraded in.
 *
 * TLS is the library's own (BoringSSL). It knows one certificate for each app, takes any client certificate that leads to a root, or none, and any version from 1.2 on.
 * So the ClientHello is looked at before a lane is chosen, and client certificates are judged at the upgrade.
 */
import { X509Certificate } from 'node:crypto';
import type { WebSocketSettings } from '../base/settings.ts';
import { counter } from '../shard/counters.ts';
import { moved, type TakeSocket } from './accept.ts';
import { arrive } from './arrival.ts';
import type { CertificateFiles } from './certificates.ts';
import { closeDescriptor } from './descriptor.ts';
import type { Gate, Opening } from './gate.ts';
import { awaitHello } from './hello-wait.ts';
import { SecureLanes } from './secure-lanes.ts';
import type { App, Behavior, Library, Request, Response } from './u-web-sockets.ts';
import { WebSocketChannel } from './web-socket-channel.ts';

const REFUSED = counter('connections/refused');
const FAILED = counter('handshakes/failed');

/** Upgrades of one listener in one shard that may be under way, for each certificate. */
const LANES_MAX = 1024;
/** A frame may hold several packets. */
const FRAME_BYTES_MIN = 1024 * 1024;

const CLOSE_UNSUPPORTED_DATA = 1003;

/** An app of the library that upgrades one connection at a time. */
interface Lane {
  readonly app: App;
  /** Which reading of the certificates it has. */
  readonly generation: number;
  /** WebSockets that were upgraded in it. */
  count: number;
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
  /** By certificate; without TLS there is one list. */
  private free: Lane[][];
  private readonly lanes: Set<Lane>;
  /** By certificate. */
  private laneCounts: number[];
  /** Null without TLS. */
  private secure: SecureLanes | null;
  /** Lanes of an older number have old certificates and are not used again. */
  private generation: number;

  constructor(gate: Gate, library: Library, files: CertificateFiles | null) {
    this.gate = gate;
    this.settings = gate.settings.webSocket!;
    this.library = library;
    this.free = [];
    this.lanes = new Set();
    this.laneCounts = [];
    this.generation = 0;
    this.secure = files === null ? null : new SecureLanes(gate.settings.tls!, files);
  }

  /** New connections get these certificates. */
  reload(files: CertificateFiles): void {
    this.secure?.close();
    this.secure = new SecureLanes(this.gate.settings.tls!, files);
    this.free = [];
    this.laneCounts = [];
    this.generation++;
    for (const lane of [...this.lanes]) this.dropIfIdle(lane);
  }

  /** Closes every connection at once, because the thread ends: Node ends the process when a loop of a thread still has handles that are not Node's. */
  destroy(): void {
    for (const { app } of this.lanes) app.close();
  }

  /** A lane with old certificates goes when its last WebSocket has gone. */
  private dropIfIdle(lane: Lane): void {
    if (lane.generation === this.generation || lane.opening !== null || lane.count > 0) return;
    this.lanes.delete(lane);
    // Not from within one of its own calls.
    setImmediate(() => lane.app.close());
  }

  readonly take: TakeSocket = (socket, opening) => {
    socket.removeAllListeners('close');
    const fd = moved(socket);
    if (fd < 0) {
      this.gate.shard.counters[REFUSED]!++;
      opening.leave();
    } else if (this.secure?.needsHello === true)
      awaitHello(this.gate, fd, opening, this.secure, (certificate) => this.adopt(fd, opening, certificate));
    else this.adopt(fd, opening, 0);
  };

  private adopt(fd: number, opening: Opening, certificate: number): void {
    const { shard } = this.gate;
    let lane = this.free[certificate]?.pop() ?? null;
    try {
      if (lane === null && (this.laneCounts[certificate] ?? 0) < LANES_MAX) lane = this.createLane(certificate);
    } catch (error) {
      shard.log.error({ error: String(error) }, 'a WebSocket listener cannot use its certificate');
    }
    if (lane === null) {
      shard.startTurn();
      shard.counters[REFUSED]!++;
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
    const lane: Lane = { app, generation, opening: null, response: null, count: 0 };
    this.lanes.add(lane);
    this.laneCounts[certificate] = (this.laneCounts[certificate] ?? 0) + 1;
    const release = (): void => {
      lane.opening = null;
      lane.response = null;
      if (generation !== this.generation) {
        this.dropIfIdle(lane);
        return;
      }
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
        lane.count++;
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
        lane.count--;
        this.dropIfIdle(lane);
      },
    };
    app.ws(settings.path, behavior);
    app.any('/*', (response) => {
      response.writeStatus('404 Not Found').end(`MQTT over WebSocket is at ${settings.path}\n`, true);
    });
    return lane;
  }

  private createApp(certificate: number): App {
    const { library, secure } = this;
    return secure === null ? library.App() : library.SSLApp(secure.options[certificate]!);
  }

  /** @returns whether the connection is a WebSocket from now on */
  private upgrade(response: Response, request: Request, context: object, opening: Opening): boolean {
    const { settings } = this;
    const problem = this.problemOf(request);
    if (problem !== null) {
      this.refuse(response, opening, problem.status, problem.text);
      return false;
    }
    const { secure } = this;
    const pem = secure === null ? '' : response.getX509Certificate();
    const certificate = pem === '' ? null : new X509Certificate(pem);
    const objection = secure?.problemOf(certificate, Date.now()) ?? null;
    if (objection !== null) {
      this.gate.shard.counters[FAILED]!++;
      this.refuse(response, opening, '403 Forbidden', objection);
      return false;
    }
    const channel = new WebSocketChannel(this.gate.shard, settings.compression);
    const upgraded: Upgraded = { opening, channel, certificate: certificate?.raw ?? null };
    const protocol = protocolsOf(request).includes('mqtt') ? 'mqtt' : 'mqttv3.1'; // [MQTT-6.0.0-4]
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
    shard.clientLog.info({ peer: opening.name, status, text }, 'WebSocket refused');
    response.writeStatus(status).end(`${text}\n`, true);
  }
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
