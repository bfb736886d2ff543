/**
 * TlsChannel: one TLS connection over OpenSSL, from its first byte to its last. Hot path.
 *
 *   HELLO, until the certificate can be chosen ─▶ SHAKING ─▶ OPEN, `arrive` has its events
 *
 * What comes is read by libuv into the shard's one buffer, decrypted into another, and passed on: nothing is kept but the beginning of a record, inside OpenSSL, and what
 * came behind a record after which nobody wants to read (`held`). What goes is sent by OpenSSL itself; as soon as the kernel takes no more, it gathers encrypted in
 * memory, and goes from there through the stream until that is empty.
 *
 * OpenSSL writes to the descriptor in most of its calls, so none may follow the end of the socket, which closes it; `SSL_free` does not write.
 */
import net from 'node:net';
import type { Address } from '../base/open-ssl.ts';
import { type ChannelEvents, type EventChannel, NO_EVENTS } from '../shard/channel.ts';
import { counter } from '../shard/counters.ts';
import { arrive } from './arrival.ts';
import type { Gate, Opening } from './gate.ts';
import { endAndLinger } from './stream-channel.ts';
import type { TlsContexts } from './tls-context.ts';
import type { TlsEngine } from './tls-engine.ts';

const REFUSED = counter('connections/refused');
const HANDSHAKES = counter('handshakes/done');
const FAILED = counter('handshakes/failed');

/** What OpenSSL may answer by itself (alerts, new keys) to a peer that does not read. */
const ANSWERS_BYTES_MAX = 64 * 1024;

const HELLO = 0;
const SHAKING = 1;
const OPEN = 2;

/** What the connections of one listener share. */
export interface TlsPlace {
  readonly gate: Gate;
  readonly engine: TlsEngine;
  /** Those for new connections. */
  contexts: TlsContexts;
}

export class TlsChannel implements EventChannel {
  events: ChannelEvents;
  private readonly place: TlsPlace;
  private readonly engine: TlsEngine;
  private readonly socket: net.Socket;
  private readonly fd: number;
  /** null when it has arrived. */
  private opening: Opening | null;
  private state: number;
  /** 0: not yet, or no more. */
  private ssl: Address;
  /** Where output gathers; 0: it goes straight to the kernel. */
  private gathering: Address;
  /** Encrypted bytes that are to be read before the socket is read again. */
  private held: Uint8Array | null;
  private answerBytes: number;
  private isPaused: boolean;
  private isKept: boolean;
  private isEnded: boolean;
  private isJudged: boolean;

  /** @param fd is its own from now on, and nothing has been read from it */
  constructor(place: TlsPlace, opening: Opening, fd: number) {
    this.place = place;
    this.engine = place.engine;
    this.opening = opening;
    this.fd = fd;
    this.events = NO_EVENTS;
    this.state = HELLO;
    this.ssl = 0;
    this.gathering = 0;
    this.held = null;
    this.answerBytes = 0;
    this.isPaused = false;
    this.isKept = false;
    this.isEnded = false;
    this.isJudged = false;
    this.socket = new net.Socket({
      fd,
      readable: true,
      writable: true,
      onread: { buffer: place.engine.readBuffer, callback: this.onRead },
    });
    this.socket.on('error', this.onError);
    this.socket.on('end', this.onEnd);
    this.socket.on('close', this.onClose);
  }

  private readonly onRead = (length: number): boolean => {
    if (this.isEnded) return true;
    if (this.state !== OPEN) return this.begin(length);
    this.engine.feed(length);
    return this.decrypt();
  };

  private readonly onError = (): void => {
    this.socket.destroy();
  };

  private readonly onEnd = (): void => {
    if (!this.isEnded) this.socket.destroy();
  };

  private readonly onClose = (): void => {
    const { ssl, state, opening } = this;
    this.ssl = 0;
    this.gathering = 0;
    this.held = null;
    if (ssl !== 0) this.engine.free(ssl);
    if (state === SHAKING && !this.isJudged) this.fail('the connection was closed');
    opening?.leave();
    this.events.lost('tls_closed');
  };

  /** Reads records until there is none. @returns false when the socket is not to be read on */
  private decrypt(): boolean {
    const { engine, ssl, socket } = this;
    while (true) {
      const count = engine.read(ssl);
      if (this.gathering !== 0) this.answer();
      if (count <= 0) {
        if (engine.wantsMore(ssl)) return true;
        if (engine.cannotSend(ssl) && this.gathering === 0) {
          this.gathering = engine.gather(ssl);
          continue;
        }
        // The peer has said that it is the end, or what came is no TLS: then OpenSSL has told the peer.
        engine.takeRest();
        engine.openSsl.ERR_clear_error();
        socket.destroy();
        return false;
      }
      const isWanted = this.events.received(engine.plain, count);
      if (socket.destroyed || this.isEnded) {
        engine.takeRest();
        return true;
      }
      if (!isWanted || this.isPaused) {
        this.isPaused = true;
        this.held = engine.takeRest();
        return false;
      }
      if (engine.rest === 0) return true;
    }
  }

  /** Sends what OpenSSL has answered by itself while output gathers. */
  private answer(): void {
    const bytes = this.engine.takeGathered(this.gathering);
    if (bytes === null || this.socket.destroyed) return;
    this.answerBytes += bytes.length;
    this.socket.write(bytes, this.onWritten);
    if (this.answerBytes > ANSWERS_BYTES_MAX) this.socket.destroy();
  }

  private readonly onWritten = (): void => {
    const { socket } = this;
    if (this.gathering === 0 || socket.destroyed || socket.writableLength > 0) return;
    this.gathering = 0;
    this.answerBytes = 0;
    this.engine.sendStraight(this.ssl, this.fd);
    if (!this.isKept) return;
    this.isKept = false;
    this.events.drained();
  };

  write(bytes: Uint8Array, length: number): boolean {
    const { engine, ssl, socket } = this;
    if (length === 0 || this.isEnded || socket.destroyed) return true;
    let count = engine.write(ssl, bytes, length);
    if (this.gathering === 0) {
      if (count === length) return true;
      if (engine.cannotSend(ssl)) {
        this.gathering = engine.gather(ssl);
        // From where it stopped: OpenSSL knows, and wants the same block again.
        count = engine.write(ssl, bytes, length);
      }
    }
    if (count !== length) {
      engine.openSsl.ERR_clear_error();
      socket.destroy();
      return true;
    }
    this.sendGathered();
    this.isKept = socket.writableLength > 0;
    return !this.isKept;
  }

  private sendGathered(): void {
    const bytes = this.engine.takeGathered(this.gathering);
    if (bytes !== null && !this.socket.destroyed) this.socket.write(bytes, this.onWritten);
  }

  pause(): void {
    this.isPaused = true;
    this.socket.pause();
  }

  resume(): void {
    if (this.socket.destroyed) return;
    this.isPaused = false;
    // Not at once: the buffers are another's in the middle of its records.
    if (this.held !== null) setImmediate(this.takeHeld);
    else this.socket.resume();
  }

  private readonly takeHeld = (): void => {
    const { held, socket } = this;
    if (held === null || this.isPaused || this.isEnded || socket.destroyed) return;
    this.held = null;
    this.engine.feedFrom(held);
    if (this.decrypt() && !socket.destroyed) socket.resume();
  };

  end(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.held = null;
    if (this.socket.destroyed) return;
    if (this.state === OPEN) this.sayGoodbye();
    endAndLinger(this.place.gate.shard, this.socket);
  }

  private sayGoodbye(): void {
    const { engine, ssl } = this;
    if (!engine.close(ssl) && this.gathering === 0 && engine.cannotSend(ssl)) {
      this.gathering = engine.gather(ssl);
      engine.close(ssl);
    }
    if (this.gathering !== 0) this.sendGathered();
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** The first bytes, and those of the handshake. @returns false when the socket is not to be read on */
  private begin(length: number): boolean {
    const { engine, held } = this;
    if (this.state === HELLO) {
      const read = engine.readBuffer.subarray(0, length);
      const bytes = held === null ? Buffer.from(read) : joined(held, read);
      const context = this.place.contexts.pick(bytes);
      if (context === 0) {
        this.held = bytes;
        return true;
      }
      this.held = null;
      this.ssl = engine.open(context, this.fd);
      if (this.ssl === 0) {
        this.socket.destroy();
        return false;
      }
      this.state = SHAKING;
      engine.feedFrom(bytes);
    } else engine.feed(length);
    return this.shake();
  }

  private shake(): boolean {
    const { engine, ssl } = this;
    while (!engine.shake(ssl)) {
      if (this.gathering !== 0) this.sendGathered();
      if (engine.wantsMore(ssl)) return true;
      if (engine.cannotSend(ssl) && this.gathering === 0) {
        this.gathering = engine.gather(ssl);
        continue;
      }
      engine.takeRest();
      const { text, isNoCertificate } = engine.takeError();
      const problem = isNoCertificate ? 'no certificate' : engine.certificateProblem(ssl);
      if (problem === '') this.fail(text);
      else this.refuse(problem);
      return false;
    }
    if (this.gathering !== 0) this.sendGathered();
    if (this.socket.destroyed) return false;
    if (!this.arrive()) return false;
    return engine.rest === 0 || this.decrypt();
  }

  private fail(error: string): void {
    const { shard } = this.place.gate;
    this.isJudged = true;
    shard.startTurn();
    shard.counters[FAILED]!++;
    shard.clientLog.info({ peer: this.opening?.name, error }, 'TLS handshake failed');
    this.socket.destroy();
  }

  private refuse(problem: string): void {
    const { shard } = this.place.gate;
    this.isJudged = true;
    shard.startTurn();
    shard.counters[FAILED]!++;
    shard.counters[REFUSED]!++;
    shard.clientLog.info({ peer: this.opening?.name, problem }, 'connection refused: the client certificate is not good');
    this.socket.destroy();
  }

  /** @returns false when the client may not stay */
  private arrive(): boolean {
    const { engine, place, opening, ssl } = this;
    const { gate } = place;
    const { verifyClient } = gate.settings.tls!;
    const certificate = verifyClient === 'none' ? null : engine.peerCertificate(ssl);
    // OpenSSL has seen to both; a session that is resumed has them from its ticket.
    const problem = certificate === null && verifyClient === 'required' ? 'no certificate' : engine.certificateProblem(ssl);
    if (verifyClient !== 'none' && problem !== '') {
      engine.takeRest();
      this.refuse(problem);
      return false;
    }
    gate.shard.startTurn();
    gate.shard.counters[HANDSHAKES]!++;
    this.state = OPEN;
    this.opening = null;
    arrive(gate, opening!, this, certificate);
    return true;
  }
}

function joined(first: Uint8Array, second: Uint8Array): Buffer {
  const bytes = Buffer.alloc(first.length + second.length);
  bytes.set(first);
  bytes.set(second, first.length);
  return bytes;
}
