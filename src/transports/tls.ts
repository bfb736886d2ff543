/**
 * TLS: handshakes by Node, several certificates by server name, client certificates, and tickets that every shard takes.
 *
 * A handshake costs about a millisecond of the thread that also serves clients. So a socket waits until its first bytes are there, and in one turn only so many
 * handshakes begin as a fixed time allows: a flood makes newcomers wait, not those who are connected.
 */
import tls from 'node:tls';
import type { TlsSettings } from '../base/settings.ts';
import { counter } from '../shard/counters.ts';
import type { Shard } from '../shard/shard.ts';
import type { TakeSocket } from './accept.ts';
import { arrive } from './arrival.ts';
import { type CertificateFiles, contextOptions, SecureContexts, ticketKeysOf } from './certificates.ts';
import type { Gate, Opening } from './gate.ts';
import { StreamChannel } from './stream-channel.ts';

const REFUSED = counter('connections/refused');
const WAITING = counter('handshakes/waiting');
const HANDSHAKES = counter('handshakes/done');
const FAILED = counter('handshakes/failed');

/** Time in one turn of the loop after which no further handshake begins. */
const TURN_MILLISECONDS = 2;
/** Sockets of one shard whose handshake has not begun. */
const WAITING_MAX = 4096;

/** Handshakes of one shard that are ready to begin. */
export class HandshakeQueue {
  private readonly shard: Shard;
  private readonly begins: (() => void)[];
  private isScheduled: boolean;
  private readonly run: () => void;

  constructor(shard: Shard) {
    this.shard = shard;
    this.begins = [];
    this.isScheduled = false;
    this.run = () => {
      this.isScheduled = false;
      this.beginSome();
    };
  }

  /** @returns false when too many wait */
  add(begin: () => void): boolean {
    if (this.begins.length >= WAITING_MAX) return false;
    this.begins.push(begin);
    this.shard.counters[WAITING]!++;
    this.schedule();
    return true;
  }

  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(this.run);
  }

  private beginSome(): void {
    const end = performance.now() + TURN_MILLISECONDS;
    let begun = 0;
    while (begun < this.begins.length) {
      this.begins[begun]!();
      begun++;
      if (performance.now() > end) break;
    }
    this.begins.splice(0, begun);
    this.shard.counters[WAITING]! -= begun;
    if (this.begins.length > 0) this.schedule();
  }
}

/** By the socket below TLS. */
const openings = new WeakMap<object, Opening>();

/** Node keeps the socket below a TLS socket that was made over it under this name. */
function openingOf(socket: tls.TLSSocket): Opening | undefined {
  const below = (socket as unknown as { _parent?: object })._parent;
  return below === undefined ? undefined : openings.get(below);
}

/** One TLS listener of one shard. */
export class TlsDoor {
  private readonly gate: Gate;
  private readonly settings: TlsSettings;
  private readonly queue: HandshakeQueue;
  private readonly ticketSecret: Buffer;
  private server: tls.Server;

  /** @param ticketSecret the same in every shard */
  constructor(gate: Gate, queue: HandshakeQueue, files: CertificateFiles, ticketSecret: Buffer) {
    this.gate = gate;
    this.settings = gate.settings.tls!;
    this.queue = queue;
    this.ticketSecret = ticketSecret;
    this.server = this.createServer(files);
  }

  /** New connections get the certificates of these files. */
  reload(files: CertificateFiles): void {
    this.server = this.createServer(files);
  }

  /** A server that never listens: sockets are put into it. */
  private createServer(files: CertificateFiles): tls.Server {
    const { settings, gate } = this;
    const { shard } = gate;
    // One name in all shards: a ticket of one is good at each.
    const shared = contextOptions(settings, files, ticketKeysOf(this.ticketSecret, files), `onehop-${gate.listener}`);
    const contexts = new SecureContexts(files, shared);
    const first = files.certificates[0]!;
    const server = tls.createServer({
      ...shared,
      cert: first.chain,
      key: first.key,
      ALPNProtocols: ['mqtt'],
      requestCert: settings.verifyClient !== 'none',
      // Decided in `secured`: an optional certificate must be good when there is one, and the log shall say why it is not.
      rejectUnauthorized: false,
      // The gate has a timer for all that comes before CONNECT.
      handshakeTimeout: 0x7fffffff,
      SNICallback: (name, done) => done(null, contexts.pick(name)),
    });
    server.on('secureConnection', (socket) => this.secured(socket));
    server.on('tlsClientError', (error, socket) => {
      shard.startTurn();
      shard.counters[FAILED]!++;
      shard.log.info({ peer: openingOf(socket)?.name ?? 'gone', error: error.message }, 'TLS handshake failed');
      socket.destroy();
    });
    return server;
  }

  readonly take: TakeSocket = (socket, opening) => {
    const { shard } = this.gate;
    const begin = (): void => {
      if (socket.destroyed) return;
      openings.set(socket, opening);
      this.server.emit('connection', socket);
    };
    // The client speaks first: until it does there is nothing to do, and no time to be given.
    socket.once('readable', () => {
      // Without bytes it is the end.
      if (socket.readableLength > 0) {
        if (this.queue.add(begin)) return;
        shard.counters[REFUSED]!++;
      }
      socket.destroy();
    });
  };

  private secured(socket: tls.TLSSocket): void {
    const { gate, settings } = this;
    const { shard } = gate;
    const opening = openingOf(socket);
    shard.startTurn();
    if (opening === undefined) {
      socket.destroy();
      return;
    }
    const certificate = settings.verifyClient === 'none' ? undefined : socket.getPeerX509Certificate();
    const problem =
      certificate === undefined
        ? settings.verifyClient === 'required'
          ? 'no certificate'
          : null
        : socket.authorized
          ? null
          : String(socket.authorizationError);
    if (problem !== null) {
      shard.counters[FAILED]!++;
      shard.counters[REFUSED]!++;
      shard.log.info({ peer: opening.name, problem }, 'connection refused: the client certificate is not good');
      socket.destroy();
      return;
    }
    shard.counters[HANDSHAKES]!++;
    const channel = new StreamChannel(shard, socket, true, 'tls_closed');
    arrive(gate, opening, channel, certificate?.raw ?? null);
  }
}
