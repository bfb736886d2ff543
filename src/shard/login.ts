/**
 * Logins: connections whose CONNECT is read and whose client has not been judged yet.
 *
 *   CONNECT → begin → asked of the supervisor (`LoginPort`) → answered → `done` → session and CONNACK, or a refusal
 *                  └ nothing answers in `auth.timeout`: 0x88 Server unavailable
 *
 * Reading stops meanwhile: what a client sends behind its CONNECT waits, and is nothing if it is refused [MQTT-3.1.4-6]. A judge that is slow holds back nobody but those who wait for it.
 */
import type { StatementSettings } from '../base/settings.ts';
import { Timer } from '../base/timers.ts';
import type { ConnectPacket } from '../protocol/connect.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import { type Connection, OPENING } from './connection.ts';
import { counter } from './counters.ts';
import type { Shard } from './shard.ts';

const WAITING = counter('logins/waiting');
const ACCEPTED = counter('logins/accepted');
const REFUSED = counter('logins/refused');
const OVERRUN = counter('logins/overrun');
const TIMED_OUT = counter('logins/timed-out');

/** CONNECT packets that wait, of all connections of one shard: with their Wills they may be as large as a packet may be. */
const WAITING_BYTES_MAX = 64 * 1024 * 1024;

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
}

/** The way to whoever judges. Every question is answered once, by `Logins.answer`, or left. */
export interface LoginPort {
  ask(login: number, asked: Login): void;
  /** The verdict is not wanted any more. */
  leave(login: number): void;
}

/** Called with the verdict, while the connection still stands. */
export type LoginDone = (connection: Connection, packet: ConnectPacket, verdict: LoginVerdict) => void;

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
const BUSY: LoginVerdict = { code: ReasonCode.ServerBusy, cause: 'too many logins wait', identity: null };

interface Waiting {
  readonly connection: Connection;
  readonly packet: ConnectPacket;
  readonly done: LoginDone;
  readonly bytes: number;
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

  constructor(shard: Shard) {
    this.port = null;
    this.shard = shard;
    this.asksWithProperties = shard.settings.auth.authenticators.some((one) => one.type === 'http' && one.includeUserProperties);
    this.waiting = new Map();
    this.waitingBytes = 0;
    this.next = 1;
  }

  /** The client is to be judged; its connection reads nothing until then. @param bytes of the packet; nobody knows yet who fills the memory with it */
  begin(connection: Connection, packet: ConnectPacket, bytes: number, done: LoginDone): void {
    const { shard } = this;
    const { timeoutMilliseconds, waitingMax } = shard.settings.auth;
    const isFull = this.waiting.size >= Math.ceil(waitingMax / shard.shards) || this.waitingBytes + bytes > WAITING_BYTES_MAX;
    if (isFull) {
      shard.counters[OVERRUN]!++;
      this.finish({ connection, packet, done, bytes }, BUSY);
      return;
    }
    const login = this.next++;
    this.waiting.set(login, { connection, packet, done, bytes });
    this.waitingBytes += bytes;
    shard.counters[WAITING] = this.waiting.size;
    connection.waitForLogin(login);
    connection.timer = new Timer(() => {
      shard.counters[TIMED_OUT]!++;
      this.port!.leave(login);
      this.answer(login, LATE);
    });
    shard.timers.arm(connection.timer, timeoutMilliseconds);
    this.port!.ask(login, {
      clientId: packet.clientId,
      username: packet.username ?? null,
      password: packet.password ?? null,
      address: addressOf(connection.peer.name),
      certificate: connection.peer.certificate,
      userProperties: this.asksWithProperties ? packet.properties.userProperties : undefined,
    });
  }

  /** The verdict has come. One that comes too late is nobody's. */
  answer(login: number, verdict: LoginVerdict): void {
    const waiting = this.waiting.get(login);
    if (waiting === undefined) return;
    this.remove(login, waiting);
    const { connection } = waiting;
    this.shard.startTurn();
    if (connection.timer !== null) this.shard.timers.disarm(connection.timer);
    connection.timer = null;
    connection.loginDone();
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
    this.shard.counters[WAITING] = this.waiting.size;
  }

  private finish({ connection, packet, done }: Waiting, verdict: LoginVerdict): void {
    if (connection.state !== OPENING) return;
    this.shard.counters[verdict.identity === null ? REFUSED : ACCEPTED]!++;
    done(connection, packet, verdict);
  }
}

/** The address in a peer's name, which is `address:port`, `[address]:port` or `unix:path`. */
export function addressOf(name: string): string {
  if (name.startsWith('unix:')) return '';
  const end = name.lastIndexOf(':');
  return name[0] === '[' ? name.slice(1, end - 1) : name.slice(0, end);
}
