/**
 * Logins: connections whose CONNECT is read and whose client has not been judged yet.
 *
 *   CONNECT → begin → asked of the supervisor (`LoginPort`) → answered → `done` → session and CONNACK, or a refusal
 *     ▲            └ nothing answers in `auth.timeout`: 0x88 Server unavailable
 *     └ a client with an Authentication Method: AUTH 0x18 to it (`challenge`), AUTH 0x18 from it (`proceed`), as often as the method asks
 *
 * Reading stops while somebody judges: what a client sends behind its CONNECT waits, and is nothing if it is refused [MQTT-3.1.4-6]. A judge that is slow holds back
 * nobody but those who wait for it. A connected client that proves itself anew (`renew`) is read all the time.
 */
import { Writer } from '../base/bytes.ts';
import type { StatementSettings } from '../base/settings.ts';
import { Timer } from '../base/timers.ts';
import type { ConnectPacket } from '../protocol/connect.ts';
import { writeAuth } from '../protocol/disconnect.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import { CLOSING, type Connection, OPENING } from './connection.ts';
import { counter } from './counters.ts';
import type { Shard } from './shard.ts';

const WAITING = counter('logins/waiting');
const ACCEPTED = counter('logins/accepted');
const REFUSED = counter('logins/refused');
const OVERRUN = counter('logins/overrun');
const TIMED_OUT = counter('logins/timed-out');

/** CONNECT packets that wait, of all connections of one shard: with their Wills they may be as large as a packet may be. */
const WAITING_BYTES_MAX = 64 * 1024 * 1024;

/** AUTH packets from the client in one exchange; SCRAM needs two. */
const ROUNDS_MAX = 8;

/** What a client says in an exchange of AUTH packets. */
export interface LoginExchange {
  readonly method: string;
  /** Null: it has said nothing. */
  readonly data: Uint8Array | null;
}

/** What a client has shown to prove who it is. */
export interface Login {
  /** '' when the server is to assign one. */
  readonly clientId: string;
  readonly username: string | null;
  readonly password: Uint8Array | null;
  /** IP address without port; '' on a Unix socket. */
  readonly address: string;
  /** In DER, checked by the transport; null: none. */
  readonly certificate: Uint8Array | null;
  /** User Properties of the CONNECT, in order, where somebody wants them; absent: none. */
  readonly userProperties?: readonly (readonly [key: string, value: string])[] | undefined;
  /** Its Authentication Method, and what it has said first. Then name and password prove nothing. */
  readonly exchange?: LoginExchange;
}

/** Who a client has proved to be. */
export interface Identity {
  /** Who said so: the authenticator's name. */
  readonly authenticator: string;
  /** Name of the client from now on; null: the one that it has shown. */
  readonly username: string | null;
  /** What is known of the client besides, for the rules about what it may do. */
  readonly attributes: Readonly<Record<string, string>>;
  readonly isSuperuser: boolean;
  /** Rules that the proof itself holds about what the client may do, asked before the statements; null: none. */
  readonly rules: readonly StatementSettings[] | null;
  /** Wall time in milliseconds at which the proof ends, and the connection with it; 0: never. */
  readonly expiresAt: number;
  /** User Properties that every message of the client carries beside its own, in order; absent: none. */
  readonly userProperties?: readonly (readonly [key: string, value: string])[] | undefined;
  /** Client Identifier that the statements see, where it is not that of the session. */
  readonly judgedAs?: string | undefined;
  /** What a revocation calls this proof; absent: the username. */
  readonly proof?: string | undefined;
}

export interface LoginVerdict {
  /** Success, or the code that refuses the client. */
  readonly code: ReasonCode;
  /** Why it was refused, for the log; never a secret. */
  readonly cause: string;
  /** Null when it was refused. */
  readonly identity: Identity | null;
  /** The last that the client is told in an exchange. */
  readonly data?: Uint8Array;
}

/** The way to whoever judges. Every question is answered once, by `Logins.answer` or `Logins.challenge`, or left. */
export interface LoginPort {
  ask(login: number, asked: Login): void;
  /** What the client has said to a challenge. */
  proceed(login: number, data: Uint8Array | null): void;
  /** The verdict is not wanted any more. */
  leave(login: number): void;
}

/** Called with the verdict on a CONNECT, while the connection still stands. */
export type LoginDone = (connection: Connection, packet: ConnectPacket, verdict: LoginVerdict) => void;
/** Called with the verdict on a client that is connected. */
export type RenewalDone = (connection: Connection, verdict: LoginVerdict) => void;

/** Without authenticators everybody is this one. */
export const ANYBODY: Identity = {
  authenticator: 'anonymous',
  username: null,
  attributes: {},
  isSuperuser: false,
  rules: null,
  expiresAt: 0,
};

const LATE: LoginVerdict = { code: ReasonCode.ServerUnavailable, cause: 'nothing has judged the login in time', identity: null };
const SILENT: LoginVerdict = { code: ReasonCode.NotAuthorized, cause: 'the client has not answered in time', identity: null };
const BUSY: LoginVerdict = { code: ReasonCode.ServerBusy, cause: 'too many logins wait', identity: null };

interface Waiting {
  /** Null: who asks is no connection. */
  readonly connection: Connection | null;
  readonly done: (verdict: LoginVerdict) => void;
  readonly bytes: number;
  readonly timer: Timer;
  /** Largest packet that the client takes. */
  readonly packetBytesMax: number;
  /** It is the client's turn to say something. */
  awaitsClient: boolean;
  /** AUTH packets that it has sent. */
  rounds: number;
}

export class Logins {
  /** Null: nobody is asked, all are anybody. */
  port: LoginPort | null;
  private readonly shard: Shard;
  /** An authenticator wants the User Properties of CONNECT. */
  private readonly asksWithProperties: boolean;
  private readonly waiting: Map<number, Waiting>;
  /** Of their CONNECT packets. */
  private waitingBytes: number;
  private next: number;
  private readonly writer: Writer;

  constructor(shard: Shard) {
    this.port = null;
    this.shard = shard;
    const { authenticators, file } = shard.settings.auth;
    // What stands in the file may change.
    this.asksWithProperties = file !== '' || authenticators.some((one) => one.type === 'http' && one.includeUserProperties);
    this.waiting = new Map();
    this.waitingBytes = 0;
    this.next = 1;
    this.writer = new Writer(512);
  }

  /** The client is to be judged; its connection reads nothing until then. @param bytes of the packet; nobody knows yet who fills the memory with it */
  begin(connection: Connection, packet: ConnectPacket, bytes: number, done: LoginDone): void {
    const { authenticationMethod, authenticationData, maximumPacketSize } = packet.properties;
    connection.authenticationMethod = authenticationMethod ?? null;
    const finish = (verdict: LoginVerdict): void => done(connection, packet, verdict);
    const login = this.enter(connection, bytes, maximumPacketSize ?? Number.POSITIVE_INFINITY, finish);
    if (login === 0) return;
    connection.waitForLogin(login);
    this.port!.ask(login, {
      clientId: packet.clientId,
      username: packet.username ?? null,
      password: packet.password ?? null,
      address: addressOf(connection.peer.name),
      certificate: connection.peer.certificate,
      userProperties: this.asksWithProperties ? packet.properties.userProperties : undefined,
      ...(authenticationMethod !== undefined && { exchange: { method: authenticationMethod, data: authenticationData ?? null } }),
    });
  }

  /**
   * Somebody who is no MQTT client shows who it is, by one proof without a challenge.
   * @param bytes of what it has shown
   * @param done called once; at once when too many wait
   */
  judge(asked: Login, bytes: number, done: (verdict: LoginVerdict) => void): void {
    const login = this.enter(null, bytes, 0, done);
    if (login !== 0) this.port!.ask(login, asked);
  }

  /** A connected client proves anew who it is, by the method of its CONNECT. Its other packets go on as before. */
  renew(connection: Connection, data: Uint8Array | null, done: RenewalDone): void {
    const login = this.enter(connection, data?.length ?? 0, connection.packetBytesMax, (verdict) => done(connection, verdict));
    if (login === 0) return;
    connection.login = login;
    this.port!.ask(login, {
      clientId: connection.session!.clientId,
      username: null,
      password: null,
      address: addressOf(connection.peer.name),
      certificate: connection.peer.certificate,
      exchange: { method: connection.authenticationMethod!, data },
    });
  }

  /** @returns number of the login; 0: too many wait, and that is the verdict */
  private enter(connection: Connection | null, bytes: number, packetBytesMax: number, done: (verdict: LoginVerdict) => void): number {
    const { shard } = this;
    const { timeoutMilliseconds, waitingMax } = shard.settings.auth;
    const login = this.next++;
    const timer = new Timer(() => {
      shard.counters[TIMED_OUT]!++;
      this.end(login, this.waiting.get(login)!.awaitsClient ? SILENT : LATE);
    });
    const waiting: Waiting = { connection, done, bytes, timer, packetBytesMax, awaitsClient: false, rounds: 0 };
    if (this.waiting.size >= Math.ceil(waitingMax / shard.shards) || this.waitingBytes + bytes > WAITING_BYTES_MAX) {
      shard.counters[OVERRUN]!++;
      this.finish(waiting, BUSY);
      return 0;
    }
    this.waiting.set(login, waiting);
    this.waitingBytes += bytes;
    shard.counters[WAITING] = this.waiting.size;
    shard.timers.arm(timer, timeoutMilliseconds);
    return login;
  }

  /** The judge asks the client something. */
  challenge(login: number, data: Uint8Array): void {
    const waiting = this.waiting.get(login);
    if (waiting === undefined) return;
    const { connection } = waiting;
    const { writer } = this;
    this.shard.startTurn();
    if (connection === null) {
      this.end(login, { code: ReasonCode.BadAuthenticationMethod, cause: 'nobody is there who could answer a challenge', identity: null });
      return;
    }
    writer.reset();
    // [MQTT-4.12.0-2] [MQTT-4.12.0-5]
    writeAuth(writer, ReasonCode.ContinueAuthentication, {
      authenticationMethod: connection.authenticationMethod!,
      authenticationData: data,
    });
    if (writer.at > waiting.packetBytesMax) {
      this.end(login, { code: ReasonCode.PacketTooLarge, cause: 'the client takes no packet as large as the challenge', identity: null }); // [MQTT-3.1.2-24]
      return;
    }
    waiting.awaitsClient = true;
    connection.send(writer.bytes, 0, writer.at);
    if (connection.state === OPENING) connection.readOn();
  }

  /** The client answers. @returns 0, or the code that ends the exchange: it was not asked, or has said too much */
  proceed(connection: Connection, data: Uint8Array | null): ReasonCode {
    const { login } = connection;
    const waiting = this.waiting.get(login);
    if (waiting === undefined || !waiting.awaitsClient) return ReasonCode.ProtocolError;
    if (++waiting.rounds > ROUNDS_MAX) return ReasonCode.QuotaExceeded;
    waiting.awaitsClient = false;
    if (connection.state === OPENING) connection.waitForLogin(login);
    this.port!.proceed(login, data);
    return ReasonCode.Success;
  }

  /** Ends a login that nobody judges any more. */
  end(login: number, verdict: LoginVerdict): void {
    this.port!.leave(login);
    this.answer(login, verdict);
  }

  /** The verdict has come. One that comes too late is nobody's. */
  answer(login: number, verdict: LoginVerdict): void {
    const waiting = this.waiting.get(login);
    if (waiting === undefined) return;
    this.remove(login, waiting);
    const { connection } = waiting;
    this.shard.startTurn();
    if (connection !== null) {
      connection.login = 0;
      if (connection.state === OPENING) connection.readOn();
    }
    this.finish(waiting, verdict);
  }

  /** The connection has gone, or goes. @param login 0: it had none */
  forget(login: number): void {
    const waiting = this.waiting.get(login);
    if (waiting === undefined) return;
    this.remove(login, waiting);
    this.port!.leave(login);
  }

  private remove(login: number, waiting: Waiting): void {
    this.waiting.delete(login);
    this.waitingBytes -= waiting.bytes;
    this.shard.timers.disarm(waiting.timer);
    this.shard.counters[WAITING] = this.waiting.size;
  }

  private finish({ connection, done }: Waiting, verdict: LoginVerdict): void {
    if (connection !== null && connection.state >= CLOSING) return;
    this.shard.counters[verdict.identity === null ? REFUSED : ACCEPTED]!++;
    done(verdict);
  }
}

/** The address in a peer's name, which is `address:port`, `[address]:port` or `unix:path`. */
export function addressOf(name: string): string {
  if (name.startsWith('unix:')) return '';
  const end = name.lastIndexOf(':');
  return name[0] === '[' ? name.slice(1, end - 1) : name.slice(0, end);
}
