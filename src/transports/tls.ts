/**
 * TLS listeners: OpenSSL called directly, or Node's TLS where that is not to be had. Several certificates by server name, client certificates, and tickets that every
 * shard takes.
 *
 * A handshake costs about a millisecond of the thread that also serves clients. Nothing queues them: a queue that gave them two milliseconds of each turn was measured
 * and removed. During a flood at full speed from another process (one shard, RSA 2048, 256 to 1,000 at once, two processors, three pairs of runs) a connected client's
 * PINGREQ took 0.3 to 0.4 ms at the median and 7 to 20 ms at the 99th percentile without it, 0.6 ms and 14 to 67 ms with it (0.06 and 1 ms without a flood); and about
 * 1,050 handshakes a second became 610
 * (native-bench/handshakes.mjs). What bounds a flood is the gate: `connectRate`, and the number of those who have not sent their CONNECT.
 */
import { counter } from '../shard/counters.ts';
import { moved, type TakeSocket } from './accept.ts';
import { type CertificateFiles, TICKET_KEYS_BYTES, ticketKeysOf } from './certificates.ts';
import type { Gate } from './gate.ts';
import { NodeTlsDoor } from './node-tls.ts';
import { TlsChannel, type TlsPlace } from './tls-channel.ts';
import { TlsContexts } from './tls-context.ts';
import { type TlsEngine, tlsEngine } from './tls-engine.ts';

const REFUSED = counter('connections/refused');

/** One TLS listener of one shard. */
export interface TlsDoor {
  readonly take: TakeSocket;
  /** New connections get the certificates of these files. @throws Error when they cannot be used: then the old ones stay */
  reload(files: CertificateFiles): void;
}

/** @param ticketSecret the same in every shard */
export function tlsDoor(gate: Gate, files: CertificateFiles, ticketSecret: Buffer): TlsDoor {
  const engine = tlsEngine();
  if (engine !== null) return new DirectTlsDoor(gate, files, ticketSecret, engine);
  gate.shard.log.info({ listener: gate.listener }, "OpenSSL cannot be called: TLS by Node's own classes");
  return new NodeTlsDoor(gate, files, ticketSecret);
}

class DirectTlsDoor implements TlsDoor {
  private readonly place: TlsPlace;
  private readonly ticketSecret: Buffer;

  constructor(gate: Gate, files: CertificateFiles, ticketSecret: Buffer, engine: TlsEngine) {
    this.ticketSecret = ticketSecret;
    this.place = { gate, engine, contexts: this.contextsOf(gate, engine, files) };
  }

  reload(files: CertificateFiles): void {
    const { place } = this;
    const old = place.contexts;
    place.contexts = this.contextsOf(place.gate, place.engine, files);
    old.free();
  }

  private contextsOf(gate: Gate, engine: TlsEngine, files: CertificateFiles): TlsContexts {
    const keys = ticketKeysOf(this.ticketSecret, files, TICKET_KEYS_BYTES);
    // One name in all shards: a ticket of one is good at each.
    return new TlsContexts(engine, gate.settings.tls!, files, keys, `onehop-${gate.listener}`);
  }

  readonly take: TakeSocket = (socket, opening) => {
    const { place } = this;
    const { shard } = place.gate;
    socket.removeAllListeners('close');
    const fd = moved(socket);
    if (fd < 0) {
      opening.leave();
      shard.counters[REFUSED]!++;
      shard.log.warn({ peer: opening.name }, 'connection refused: the process has no descriptor left; raise the limit on open files');
      return;
    }
    const channel = new TlsChannel(place, opening, fd);
    opening.closes(() => channel.destroy());
  };
}
