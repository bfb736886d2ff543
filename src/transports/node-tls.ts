/**
 * NodeTlsDoor: TLS by Node's own classes, for where OpenSSL cannot be called (`base/open-ssl.ts`): Windows, a Node that does not show its functions. It keeps the same
 * contract at two to four times the processor time of a message, and a resumed handshake brings no new ticket.
 */
import tls from 'node:tls';
import type { TlsSettings } from '../base/settings.ts';
import { counter } from '../shard/counters.ts';
import type { TakeSocket } from './accept.ts';
import { arrive } from './arrival.ts';
import { type CertificateFiles, contextOptions, SecureContexts, ticketKeysOf } from './certificates.ts';
import type { Gate, Opening } from './gate.ts';
import { StreamChannel } from './stream-channel.ts';
import type { TlsDoor } from './tls.ts';

const REFUSED = counter('connections/refused');
const HANDSHAKES = counter('handshakes/done');
const FAILED = counter('handshakes/failed');

/** By the socket below TLS. */
const openings = new WeakMap<object, Opening>();

/** Node keeps the socket below a TLS socket that was made over it under this name. */
function openingOf(socket: tls.TLSSocket): Opening | undefined {
  const below = (socket as unknown as { _parent?: object })._parent;
  return below === undefined ? undefined : openings.get(below);
}

export class NodeTlsDoor implements TlsDoor {
  private readonly gate: Gate;
  private readonly settings: TlsSettings;
  private readonly ticketSecret: Buffer;
  private server: tls.Server;

  /** @param ticketSecret the same in every shard */
  constructor(gate: Gate, files: CertificateFiles, ticketSecret: Buffer) {
    this.gate = gate;
    this.settings = gate.settings.tls!;
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
      shard.clientLog.info({ peer: openingOf(socket)?.name ?? 'gone', error: error.message }, 'TLS handshake failed');
      socket.destroy();
    });
    return server;
  }

  readonly take: TakeSocket = (socket, opening) => {
    // The client speaks first: until it does, TLS would only take memory.
    socket.once('readable', () => {
      if (socket.readableLength === 0) {
        // Without bytes it is the end.
        socket.destroy();
        return;
      }
      openings.set(socket, opening);
      this.server.emit('connection', socket);
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
      shard.clientLog.info({ peer: opening.name, problem }, 'connection refused: the client certificate is not good');
      socket.destroy();
      return;
    }
    shard.counters[HANDSHAKES]!++;
    const channel = new StreamChannel(shard, socket, true, 'tls_closed');
    arrive(gate, opening, channel, certificate?.raw ?? null);
  }
}
