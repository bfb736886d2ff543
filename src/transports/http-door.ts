/**
 * HTTP, plain and over TLS, by uWebSockets.js: sockets that the gate has let in become connections of an app, and its requests go to whoever serves them.
 *
 *   accepted socket → descriptor → app of the certificate → request → `serve`
 *
 * Unlike WebSockets, all connections with the same certificate share one app: an answer belongs to its request, whichever connection that came over. The library closes
 * connections that send nothing for 10 s, or their request too slowly.
 */
import { X509Certificate } from 'node:crypto';
import { counter, listenerCounter } from '../shard/counters.ts';
import { moved, type TakeSocket } from './accept.ts';
import type { CertificateFiles } from './certificates.ts';
import { closeDescriptor } from './descriptor.ts';
import type { Gate, Opening } from './gate.ts';
import { awaitHello } from './hello-wait.ts';
import { SecureLanes } from './secure-lanes.ts';
import type { App, Library, Request, Response } from './u-web-sockets.ts';

const REFUSED = counter('connections/refused');
const CONNECTIONS = counter('http/connections/count');
const FAILED = counter('handshakes/failed');

/** Client certificates whose text has been read; they come again with each request. */
const KNOWN_CERTIFICATES_MAX = 1000;

/** What a request came over. */
export interface HttpWay {
  /** Place of the listener in the configuration. */
  readonly listener: number;
  readonly isSecure: boolean;
  /** Certificate of the client in DER, checked; null: it has shown none. */
  readonly certificate: Uint8Array | null;
  /** Why nothing is served over it, whatever is asked; null: nothing is wrong with the client. */
  readonly objection: string | null;
}

/** Answers one request. */
export type Serve = (response: Response, request: Request, way: HttpWay) => void;

/** An app with one certificate, from one reading of the files. */
interface HttpApp {
  readonly app: App;
  readonly secure: SecureLanes | null;
  count: number;
  isOld: boolean;
}

/** One HTTP listener of one shard. */
export class HttpDoor {
  private readonly gate: Gate;
  private readonly library: Library;
  private readonly serve: Serve;
  /** Null without TLS. */
  private secure: SecureLanes | null;
  /** By certificate; without TLS there is one. */
  private apps: HttpApp[];
  private readonly all: Set<HttpApp>;
  private readonly known: Map<string, X509Certificate>;
  private readonly plainWay: HttpWay;

  constructor(gate: Gate, library: Library, files: CertificateFiles | null, serve: Serve) {
    this.gate = gate;
    this.library = library;
    this.serve = serve;
    this.apps = [];
    this.all = new Set();
    this.known = new Map();
    this.plainWay = { listener: gate.listener, isSecure: files !== null, certificate: null, objection: null };
    this.secure = files === null ? null : new SecureLanes(gate.settings.tls!, files);
  }

  /** New connections get these certificates. */
  reload(files: CertificateFiles): void {
    this.secure?.close();
    this.secure = new SecureLanes(this.gate.settings.tls!, files);
    this.apps = [];
    for (const one of [...this.all]) {
      one.isOld = true;
      this.dropIfIdle(one);
    }
  }

  /** Closes every connection at once, because the thread ends: Node ends the process when a loop of a thread still has handles that are not Node's. */
  destroy(): void {
    for (const { app } of this.all) app.close();
  }

  /** An app with an old certificate goes when its last connection has gone. */
  private dropIfIdle(one: HttpApp): void {
    if (!one.isOld || one.count > 0 || !this.all.delete(one)) return;
    // Not from within one of its own calls.
    setImmediate(() => one.app.close());
  }

  readonly take: TakeSocket = (socket, opening) => {
    socket.removeAllListeners('close');
    const fd = moved(socket);
    const { shard, listener, settings } = this.gate;
    if (fd < 0 || shard.sumOfAll(listenerCounter(listener)) >= settings.connections) {
      if (fd >= 0) closeDescriptor(fd);
      shard.counters[REFUSED]!++;
      opening.leave();
    } else if (this.secure?.needsHello === true)
      awaitHello(this.gate, fd, opening, this.secure, (certificate) => this.adopt(fd, opening, certificate));
    else this.adopt(fd, opening, 0);
  };

  private adopt(fd: number, opening: Opening, certificate: number): void {
    const { shard } = this.gate;
    opening.leave();
    try {
      this.apps[certificate] ??= this.createApp(certificate);
      this.apps[certificate].app.adoptSocket(fd);
    } catch (error) {
      shard.counters[REFUSED]!++;
      shard.log.error({ error: String(error) }, 'an HTTP listener cannot use its certificate');
      closeDescriptor(fd);
    }
  }

  private createApp(certificate: number): HttpApp {
    const { library, secure, gate } = this;
    const { counters } = gate.shard;
    const listener = listenerCounter(gate.listener);
    const app = secure === null ? library.App() : library.SSLApp(secure.options[certificate]!);
    const one: HttpApp = { app, secure, count: 0, isOld: false };
    // biome-ignore lint/suspicious/useIterableCallbackReturn: no list is filtered here, connections are.
    app.filter((_response, change) => {
      const step = change > 0 ? 1 : -1;
      one.count += step;
      counters[CONNECTIONS]! += step;
      counters[listener]! += step;
      if (step < 0) this.dropIfIdle(one);
    });
    app.any('/*', (response, request) => {
      if (secure === null) this.serve(response, request, this.plainWay);
      else this.serveSecure(response, request, secure);
    });
    this.all.add(one);
    return one;
  }

  private serveSecure(response: Response, request: Request, secure: SecureLanes): void {
    const pem = response.getX509Certificate();
    const certificate = pem === '' ? null : this.certificateOf(pem);
    const objection = secure.problemOf(certificate, Date.now());
    if (objection !== null) this.gate.shard.counters[FAILED]!++;
    const raw = certificate?.raw ?? null;
    const isPlain = raw === null && objection === null;
    this.serve(response, request, isPlain ? this.plainWay : { ...this.plainWay, certificate: raw, objection });
  }

  private certificateOf(pem: string): X509Certificate {
    let certificate = this.known.get(pem);
    if (certificate === undefined) {
      if (this.known.size >= KNOWN_CERTIFICATES_MAX) this.known.clear();
      certificate = new X509Certificate(pem);
      this.known.set(pem, certificate);
    }
    return certificate;
  }
}
