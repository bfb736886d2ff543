/**
 * Callers: who is behind a request, found once and remembered for a short time, so that a program that sends a thousand requests is judged by one login.
 *
 *   Authorization: Bearer ohk_… → API key, here │ Bearer {JWT}, Basic {user}:{password}, client certificate → the authenticators, as for CONNECT │ none → anybody, where MQTT has that
 *
 * What is remembered ends with its time, with the proof, and whenever something changes that it could depend on (`forgetAll`).
 */
import { createHash } from 'node:crypto';
import { LineRate } from '../base/line-rate.ts';
import { addressName } from '../base/network.ts';
import { Timer } from '../base/timers.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import { ANYBODY, type Identity, type LoginVerdict } from '../shard/login.ts';
import type { Shard } from '../shard/shard.ts';
import { endRevoked } from '../shard/shard-life.ts';
import { Misses } from '../shard/suspicion.ts';
import type { HttpWay } from '../transports/http-door.ts';
import { type ApiKey, findApiKey, isApiKey } from './api-key.ts';
import { type Caller, createCaller, forgetCaller } from './caller.ts';
import { problem, retryAfter } from './problem.ts';
import { isRole, mayAs, type Role } from './role.ts';
import type { Answer } from './route.ts';

const AUTHENTICATOR = 'api-key';
/** How long a verdict is remembered. */
const REMEMBERED_MILLISECONDS = 60_000;
const SWEEP_MILLISECONDS = 10_000;
const CALLERS_MAX = 10_000;
/** Longest Authorization header that is remembered, or looked at at all. */
const CREDENTIALS_LENGTH_MAX = 16 * 1024;
/** Wrong API keys that one shard looks at in a second; a right one that is remembered is not slowed down. */
const WRONG_KEYS_PER_SECOND = 1000;

/** Called once: with the caller, or with the answer that refuses it. */
export type Identified = (caller: Caller | null, refusal: Answer) => void;

interface Remembered {
  readonly caller: Caller;
  /** Shard milliseconds. */
  readonly until: number;
}

/** What a request shows. */
export interface Shown {
  readonly authorization: string;
  readonly clientId: string;
  readonly address: string;
  readonly way: HttpWay;
}

const WRONG: Answer = {
  ...problem('unauthorized', 'send an API key or a token (Authorization: Bearer …), or a name and a password (Basic)'),
  headers: [['WWW-Authenticate', 'Bearer realm="onehop"']],
};

const OWN_CLIENT_ID = problem(
  'bad-request',
  'query.client_id: an API key always has its own Client Identifier; leave this out, or log in with a name and a password, or a token',
);

export class Callers {
  private readonly shard: Shard;
  private readonly known: Map<string, Remembered>;
  /** P2P messages that found nobody, by who has sent them. */
  private readonly misses: Map<string, Misses>;
  private readonly sweeper: Timer;
  /** Logins under way, with all who wait for the verdict; as many as `Logins` has. */
  private readonly judging: Map<string, Identified[]>;
  /** The last that was found, while it is known. */
  private last: { readonly shown: Shown; readonly remembered: Remembered } | null;
  private keys: ReadonlyMap<string, ApiKey>;
  private readonly wrongKeys: LineRate;

  constructor(shard: Shard, keys: readonly ApiKey[]) {
    this.shard = shard;
    this.known = new Map();
    this.judging = new Map();
    this.misses = new Map();
    this.sweeper = new Timer(() => this.sweep());
    shard.timers.arm(this.sweeper, SWEEP_MILLISECONDS);
    this.last = null;
    this.keys = new Map();
    this.wrongKeys = new LineRate(WRONG_KEYS_PER_SECOND);
    this.replaceKeys(keys);
  }

  /** Goes on with other API keys. */
  replaceKeys(keys: readonly ApiKey[]): void {
    const left = new Map(keys.map((key) => [key.id, JSON.stringify(key)]));
    const ended = [...this.keys.values()].filter((key) => left.get(key.id) !== JSON.stringify(key));
    // What such a key still reads ends; everything else asks again.
    if (ended.length > 0) endRevoked(this.shard, AUTHENTICATOR, new Set(ended.map(({ id }) => id)));
    this.keys = new Map(keys.map((key) => [key.id, key]));
    this.forgetAll();
  }

  /** Everybody is judged anew: users, statements, block rules or keys are others now. */
  forgetAll(): void {
    for (const { caller } of this.known.values()) forgetCaller(this.shard, caller);
    this.known.clear();
    this.last = null;
  }

  /** The caller, where it is remembered. */
  find(shown: Shown): Caller | null {
    const { last } = this;
    const { now } = this.shard.timers;
    // A program sends many requests in a row: comparing what they show is less work than a key of it.
    if (last !== null && last.remembered.until >= now && isSame(last.shown, shown)) return last.remembered.caller;
    const remembered = this.known.get(keyOf(shown));
    if (remembered === undefined || remembered.until < now) return null;
    this.last = { shown, remembered };
    return remembered.caller;
  }

  /** Judges. @param done called once, at once or later: with the caller, or with the answer that refuses it */
  identify(shown: Shown, done: Identified): void {
    const { shard } = this;
    const { authorization, way } = shown;
    if (authorization.length > CREDENTIALS_LENGTH_MAX) {
      done(null, WRONG);
      return;
    }
    const token = /^Bearer /i.test(authorization) ? authorization.slice(7).trim() : null;
    if (token !== null && isApiKey(token)) {
      this.identifyKey(shown, token, done);
      return;
    }
    const basic = /^Basic /i.test(authorization) ? readBasic(authorization.slice(6)) : null;
    if (authorization !== '' && token === null && basic === null) {
      done(null, WRONG);
      return;
    }
    if (shard.logins.port === null) {
      // As for MQTT: without authenticators everybody is anybody, whatever he calls himself.
      if (!shard.settings.auth.allowAnonymous) done(null, WRONG);
      else this.enter(shown, shown.clientId, 'anybody', 'service', basic?.username, ANYBODY, done);
      return;
    }
    if (token === null && basic === null && way.certificate === null && !shard.settings.auth.allowAnonymous) {
      done(null, WRONG);
      return;
    }
    const login = {
      clientId: shown.clientId === '' ? `http-${basic?.username ?? 'client'}` : shown.clientId,
      username: basic?.username ?? token,
      password: token !== null ? Buffer.from(token) : (basic?.password ?? null),
      address: shown.address,
      certificate: way.certificate,
    };
    // A program that begins with many requests at once is judged once.
    const key = keyOf(shown);
    const others = this.judging.get(key);
    if (others !== undefined) {
      others.push(done);
      return;
    }
    const all = [done];
    this.judging.set(key, all);
    shard.logins.judge(login, authorization.length, (verdict) => {
      this.judging.delete(key);
      this.judged(shown, basic?.username, verdict, (caller, refusal) => {
        for (const one of all) one(caller, refusal);
      });
    });
  }

  private judged(shown: Shown, username: string | undefined, { identity, cause, code }: LoginVerdict, done: Identified): void {
    if (identity === null) {
      this.shard.clientLog.info({ peer: shown.address, cause }, 'HTTP request refused: who it is could not be shown');
      done(null, refusalOf(code, this.shard.settings.auth.failures.windowMilliseconds));
      return;
    }
    const name = identity.username ?? username;
    this.enter(
      shown,
      shown.clientId,
      `user ${name ?? identity.proof ?? identity.authenticator}`,
      this.roleOf(identity),
      name,
      identity,
      done,
    );
  }

  private roleOf({ isSuperuser, attributes }: Identity): Role {
    if (isSuperuser) return 'admin';
    const { roleAttribute } = this.shard.settings.http;
    const role = roleAttribute === '' ? '' : (attributes[roleAttribute] ?? '');
    return isRole(role) ? role : 'service';
  }

  private identifyKey(shown: Shown, token: string, done: Identified): void {
    const { shard } = this;
    const key = findApiKey(this.keys, token, Date.now());
    if (key === null && !this.wrongKeys.take(shard.timers.now)) {
      done(null, retryAfter(1, problem('too-many-requests', 'too many wrong keys; wait')));
      return;
    }
    if (key === null) {
      shard.clientLog.info({ peer: shown.address }, 'HTTP request refused: no such API key');
      done(null, WRONG);
      return;
    }
    if (shown.clientId !== '') {
      done(null, OWN_CLIENT_ID);
      return;
    }
    const username = key.username === '' ? `api-key-${key.id}` : key.username;
    const identity: Identity = {
      authenticator: AUTHENTICATOR,
      proof: key.id,
      username,
      attributes: {},
      isSuperuser: mayAs(key.role, 'operator'),
      rules: null,
      expiresAt: key.expiresAt,
    };
    // A key says nothing about which client it is: to the statements it is always the same one.
    this.enter(shown, '', `api key ${key.id}`, key.role, username, identity, done);
  }

  /** @param asked Client Identifier that the caller asks for; '': one of ours */
  private enter(
    shown: Shown,
    asked: string,
    name: string,
    role: Role,
    username: string | undefined,
    identity: Identity,
    done: Identified,
  ): void {
    const { shard, known } = this;
    const { way, address } = shown;
    const clientId = asked === '' ? `http-${username ?? 'client'}` : asked;
    if (!known.has(keyOf(shown)) && !shard.quotas.admitConnect()) {
      done(null, retryAfter(1, problem('too-many-requests', 'too many clients connect in this second; try again')));
      return;
    }
    const peer = { name: addressName(address, 0), listener: way.listener, certificate: way.certificate };
    const caller = createCaller(shard, name, role, ownerOf(shown, identity), clientId, username, identity, peer);
    const refusal = problem('forbidden', 'the statements of this broker do not let you connect');
    if (caller === null) {
      done(null, refusal);
      return;
    }
    const rule = shard.blocked.find(caller.connection, clientId, username);
    if (rule !== null) {
      forgetCaller(shard, caller);
      shard.blocked.refused();
      done(null, problem('forbidden', `blocked by the rule ${rule.name}`));
      return;
    }
    // Whoever asks in many names is still one who guesses.
    caller.connection.misses = this.missesOf(shown, identity);
    this.last = null;
    const key = keyOf(shown);
    const before = known.get(key);
    if (before !== undefined) forgetCaller(shard, before.caller);
    // The oldest goes: it was judged longest ago.
    else if (known.size >= CALLERS_MAX) {
      const [oldest, { caller: dropped }] = known.entries().next().value!;
      known.delete(oldest);
      forgetCaller(shard, dropped);
    }
    const now = shard.timers.now;
    const left = identity.expiresAt === 0 ? REMEMBERED_MILLISECONDS : Math.min(REMEMBERED_MILLISECONDS, identity.expiresAt - Date.now());
    known.delete(key);
    known.set(key, { caller, until: now + left });
    done(caller, refusal);
  }

  private missesOf({ authorization, address }: Shown, identity: Identity): Misses {
    // A name that nobody has to prove makes nobody another.
    const proof = isAnybody(identity) ? address : `${authorization}\n${address}`;
    let misses = this.misses.get(proof);
    if (misses === undefined) {
      if (this.misses.size >= CALLERS_MAX) this.misses.delete(this.misses.keys().next().value!);
      misses = new Misses(this.shard.timers.now);
      this.misses.set(proof, misses);
    }
    return misses;
  }

  /** Forgets those whose time is over: they have places in groups of quotas. */
  private sweep(): void {
    const { known, shard } = this;
    for (const [key, { caller, until }] of known) {
      if (until >= shard.timers.now) continue;
      known.delete(key);
      forgetCaller(shard, caller);
      this.last = null;
    }
    if (known.size === 0) this.misses.clear();
    shard.timers.arm(this.sweeper, SWEEP_MILLISECONDS);
  }
}

/** Whether nothing was proved. Where there are authenticators the identity is a copy, from another thread. */
function isAnybody({ authenticator }: Identity): boolean {
  return authenticator === ANYBODY.authenticator;
}

/** Whom a caller is for its idempotency keys. A proof without a name stands for itself. */
function ownerOf({ authorization, address }: Shown, identity: Identity): string {
  if (isAnybody(identity)) return `anybody\n${address}`;
  const name = identity.proof || identity.username || createHash('sha256').update(authorization).digest('base64');
  return `${identity.authenticator}\n${name}`;
}

/** A login that was not judged is no wrong one. @param windowMilliseconds in which failed logins are counted */
function refusalOf(code: ReasonCode, windowMilliseconds: number): Answer {
  if (code === ReasonCode.ServerBusy || code === ReasonCode.ServerUnavailable)
    return retryAfter(1, problem('unavailable', 'nobody can say now who you are; try again'));
  if (code === ReasonCode.ConnectionRateExceeded)
    return retryAfter(Math.ceil(windowMilliseconds / 1000), problem('too-many-requests', 'too many failed logins; wait'));
  return WRONG;
}

function isSame(one: Shown, other: Shown): boolean {
  return (
    one.way === other.way && one.address === other.address && one.clientId === other.clientId && one.authorization === other.authorization
  );
}

function keyOf({ authorization, clientId, address, way }: Shown): string {
  const certificate = way.certificate === null ? '' : Buffer.from(way.certificate).toString('latin1');
  return `${authorization}\n${clientId}\n${address}\n${way.listener}\n${certificate}`;
}

function readBasic(encoded: string): { readonly username: string; readonly password: Uint8Array } | null {
  const bytes = Buffer.from(encoded.trim(), 'base64');
  const at = bytes.indexOf(0x3a);
  return at < 0 ? null : { username: bytes.toString('utf8', 0, at), password: bytes.subarray(at + 1) };
}
