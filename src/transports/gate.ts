/**
 * Gate: whom one listener lets in, and what it knows of those that have not said who they are.
 *
 *   address → allow, deny → limits of process and listener, rate → Opening ── CONNECT in time ──▶ client
 *
 * One for each listener and shard. Limits hold for all shards together: clients and rates are counted in shared memory. Beyond `connections` some
 * are let in as far as their CONNECT: there they are told why they may not stay, unless they take a place over (`on-connect.ts`).
 */
import { BlockList } from 'node:net';
import { addNetwork } from '../base/network.ts';
import type { ListenerSettings } from '../base/settings.ts';
import { Timer } from '../base/timers.ts';
import { counter } from '../shard/counters.ts';
import type { Shard } from '../shard/shard.ts';
import { Rate } from './rate.ts';

const REFUSED = counter('connections/refused');
const DENIED = counter('connections/denied');
const OPENING = counter('connections/opening');
const CLIENTS = counter('clients/connected');

/** Connections that have not sent their CONNECT, for each allowed client, before new ones are closed at accept. */
const OPENING_SHARE = 0.25;
const OPENING_MIN = 1024;

/** A connection that has not sent its CONNECT. */
export class Opening {
  /** `address:port` of the client. */
  name: string;
  private readonly gate: Gate;
  private readonly timer: Timer;
  private destroy: () => void;
  private isOpen: boolean;

  /** @param destroy closes the network connection, whatever carries it by then */
  constructor(gate: Gate, name: string, milliseconds: number, destroy: () => void) {
    this.gate = gate;
    this.name = name;
    this.destroy = destroy;
    this.isOpen = true;
    this.timer = new Timer(() => {
      const { shard } = gate;
      shard.counters[REFUSED]!++;
      shard.clientLog.info({ peer: this.name }, 'connection closed: no CONNECT in time');
      this.end();
    });
    gate.shard.timers.arm(this.timer, milliseconds);
  }

  /** Something else carries the connection from now on. */
  closes(destroy: () => void): void {
    this.destroy = destroy;
  }

  /** It is a client now, or it is gone. */
  leave(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.gate.shard.timers.disarm(this.timer);
    this.gate.left(this);
  }

  /** Closes it. */
  end(): void {
    if (!this.isOpen) return;
    this.leave();
    this.destroy();
  }
}

export class Gate {
  readonly shard: Shard;
  /** Place of the listener in the configuration. */
  readonly listener: number;
  readonly settings: ListenerSettings;
  private readonly allow: BlockList | null;
  private readonly deny: BlockList | null;
  private readonly trusted: BlockList;
  private readonly openings: Set<Opening>;
  private readonly rate: Rate;

  /** @param rates of all listeners, shared by all shards */
  constructor(shard: Shard, listener: number, rates: SharedArrayBuffer) {
    this.shard = shard;
    this.listener = listener;
    this.settings = shard.settings.listeners[listener]!;
    this.allow = this.settings.allow.length === 0 ? null : listOf(this.settings.allow);
    this.deny = this.settings.deny.length === 0 ? null : listOf(this.settings.deny);
    this.trusted = listOf(this.settings.trustedProxies);
    this.openings = new Set();
    this.rate = new Rate(rates, listener, this.settings.connectRate);
  }

  /** Whether this address may connect. One that may not is counted. @param address '' for a Unix socket */
  admits(address: string): boolean {
    if (this.allows(address)) return true;
    this.shard.counters[REFUSED]!++;
    if (this.shard.blocked.hasAddress(address)) {
      if (this.shard.blocked.refused())
        this.shard.clientLog.info({ peer: address, listener: this.listener }, 'connection refused: its address is blocked');
      return false;
    }
    this.shard.counters[DENIED]!++;
    this.shard.clientLog.info({ peer: address, listener: this.listener }, 'connection refused: the listener does not allow this address');
    return false;
  }

  /** The same, and nobody is told: for addresses that may be forged. */
  allows(address: string): boolean {
    if (address === '') return true;
    return !isIn(this.deny, address) && (this.allow === null || isIn(this.allow, address)) && !this.shard.blocked.hasAddress(address);
  }

  /** Whether this address may say in whose name it speaks. A Unix socket has the permissions of its file. */
  trusts(address: string): boolean {
    return address === '' || isIn(this.trusted, address);
  }

  /** Begins to wait for the CONNECT of a new connection. @returns null when a limit forbids it: the caller closes it */
  open(name: string, destroy: () => void): Opening | null {
    const { shard, settings } = this;
    shard.startTurn();
    const { limits } = shard.settings;
    const openingMax = Math.max(OPENING_MIN, limits.connections * OPENING_SHARE);
    const opening = shard.sumOfAll(OPENING);
    const isFull = shard.isStopping || opening > openingMax || shard.sumOfAll(CLIENTS) + opening > limits.connections + openingMax;
    if (isFull || !this.rate.take(shard.timers.now)) {
      shard.counters[REFUSED]!++;
      return null;
    }
    const one = new Opening(this, name, settings.handshakeTimeoutMilliseconds, destroy);
    shard.counters[OPENING]!++;
    this.openings.add(one);
    return one;
  }

  left(opening: Opening): void {
    this.openings.delete(opening);
    this.shard.counters[OPENING]!--;
  }

  /** Closes all that have not sent their CONNECT. */
  close(): void {
    for (const opening of [...this.openings]) opening.end();
  }
}

function listOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) addNetwork(list, network);
  return list;
}

function isIn(list: BlockList | null, address: string): boolean {
  return list?.check(address, address.includes(':') ? 'ipv6' : 'ipv4') ?? false;
}
