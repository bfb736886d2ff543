/**
 * Wiring: the shared memory and the message ports that tie the shards together, made by the supervisor and handed to each shard at its start.
 *
 * For every ordered pair of shards there is a ring, for every pair a MessageChannel for bodies that are too large for a ring. A restarted shard gets new
 * ones for all its pairs: what was in the old rings is gone with it.
 */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import type { BlockRule } from '../access/block-rules.ts';
import { ringBufferBytes } from '../base/ring.ts';
import type { Settings } from '../base/settings.ts';
import type { ClockOrigin } from '../base/timers.ts';
import type { ApiKey } from '../http/api-key.ts';
import { countersBytes } from '../shard/counters.ts';
import type { SupervisorEvent } from '../shard/events.ts';
import type { HistoryWiring } from '../shard/history.ts';
import type { LinkWiring } from '../shard/link.ts';
import type { Login, LoginVerdict } from '../shard/login.ts';
import { measuresBytes } from '../shard/measures.ts';
import { quotaBytes } from '../shard/quota-memory.ts';
import type { UserPropertyChange } from '../shard/shard-life.ts';
import type { TraceDefinition } from '../shard/tracing.ts';
import type { CertificateFiles } from '../transports/certificates.ts';
import { TRANSIT_BYTES } from '../transports/descriptor.ts';
import { RATE_BYTES } from '../transports/rate.ts';
import type { LiveChange } from './live-settings.ts';
import type { StoreStart } from './store-link.ts';

const WAKE_BYTES_PER_SHARD = 64;

/** A listening socket, bound before any shard starts. */
export interface BoundListener {
  /** An IP address for QUIC, whose sockets the shards bind by themselves. */
  readonly host: string;
  /** 0 for a path. */
  readonly port: number;
  /** Descriptor that the supervisor keeps; each shard listens on a duplicate. -1: the shard binds by itself. */
  readonly fd: number;
}

/** What a shard's thread is started with. */
export interface ShardStart {
  readonly settings: Settings;
  readonly index: number;
  readonly links: readonly (LinkWiring | null)[];
  readonly wake: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
  /** What all shards share of the quotas. */
  readonly quotas: SharedArrayBuffer;
  /** How long things take, and how the threads are. */
  readonly measures: SharedArrayBuffer;
  readonly transit: SharedArrayBuffer;
  /** Rates of new connections, by listener. */
  readonly rates: SharedArrayBuffer;
  /** All shards read the same time. */
  readonly clock: ClockOrigin;
  readonly listeners: readonly BoundListener[];
  /** By listener; null for those without TLS. */
  readonly certificates: readonly (CertificateFiles | null)[];
  /** Who may not connect, for now. */
  readonly blockRules: readonly BlockRule[];
  /** Who may use the HTTP API by a key, for now. */
  /** Traces that run: for the successor of a shard that died. */
  readonly traces: readonly TraceDefinition[];
  readonly apiKeys: readonly ApiKey[];
  /** What the keys of TLS session tickets are made of, the same in all shards. */
  readonly ticketSecret: Uint8Array;
  /** What all shards derive the keys of QUIC from. */
  readonly quicSecret: Uint8Array;
  /** The shard's end of the store; null: there is none. */
  readonly store: StoreStart | null;
  /** The shard's end of the message history; null: there is none. */
  readonly history: HistoryWiring | null;
  /** The shard waits for the routes of all peers before it serves (a restart). */
  readonly awaitsSnapshots: boolean;
}

/** From the supervisor to a shard. */
export type ToShard =
  | { readonly kind: 'serve' }
  | { readonly kind: 'peer-died'; readonly peer: number }
  | { readonly kind: 'peer-restarted'; readonly peer: number; readonly link: LinkWiring }
  | { readonly kind: 'certificates'; readonly listener: number; readonly files: CertificateFiles }
  | { readonly kind: 'verdict'; readonly login: number; readonly verdict: LoginVerdict }
  /** Its client is to be asked this, in an AUTH packet. */
  | { readonly kind: 'challenge'; readonly login: number; readonly data: Uint8Array }
  /** These proofs count no more: names, or what `Identity.proof` says. */
  | { readonly kind: 'revoked'; readonly authenticator: string; readonly proofs: readonly string[] }
  /** One of this process, to be published by one shard. */
  | { readonly kind: 'event'; readonly name: SupervisorEvent; readonly facts: object }
  /** Sections of the settings that are others from now on. */
  | { readonly kind: 'settings'; readonly change: LiveChange }
  /** Who may not connect, from now on. */
  /** Logins are judged in another way from now on. */
  | { readonly kind: 'judges' }
  | { readonly kind: 'block-rules'; readonly rules: readonly BlockRule[] }
  | { readonly kind: 'api-keys'; readonly keys: readonly ApiKey[] }
  /** To a question of the shard; null: there is none. */
  | { readonly kind: 'answer'; readonly ask: number; readonly value: unknown }
  | { readonly kind: 'user-properties'; readonly authenticator: string; readonly changes: readonly UserPropertyChange[] }
  /** To be answered when everything before it holds. */
  | { readonly kind: 'settle'; readonly number: number }
  | { readonly kind: 'quiesce'; readonly round: number }
  | { readonly kind: 'stop' }
  /** The thread ends, and takes what is not Node's own along. */
  | { readonly kind: 'exit' }
  | { readonly kind: 'crash' };

/** From a shard to the supervisor. */
export type FromShard =
  | { readonly kind: 'ready' }
  | { readonly kind: 'ask'; readonly ask: number; readonly name: string; readonly value: unknown }
  | { readonly kind: 'login'; readonly login: number; readonly asked: Login }
  /** Its client has answered a challenge. */
  | { readonly kind: 'login-data'; readonly login: number; readonly data: Uint8Array | null }
  /** Its client has gone, or has waited long enough. */
  | { readonly kind: 'login-gone'; readonly login: number }
  /** Everything that the store had for this shard is there. */
  | {
      readonly kind: 'recovered';
      readonly sessions: number;
      readonly messages: number;
      readonly retained: number;
      readonly mailboxes: number;
    }
  | { readonly kind: 'settled'; readonly number: number }
  | { readonly kind: 'serving'; readonly ports: readonly number[] }
  | { readonly kind: 'peer-detached'; readonly peer: number }
  | { readonly kind: 'quiesced'; readonly round: number }
  | { readonly kind: 'stopped' };

/** Memory that all shards share for the life of the process. */
export class SharedMemory {
  readonly wake: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
  readonly quotas: SharedArrayBuffer;
  readonly measures: SharedArrayBuffer;
  readonly transit: SharedArrayBuffer;
  readonly rates: SharedArrayBuffer;

  constructor(shards: number) {
    this.wake = new SharedArrayBuffer(shards * WAKE_BYTES_PER_SHARD);
    this.counters = new SharedArrayBuffer(countersBytes(shards));
    this.quotas = new SharedArrayBuffer(quotaBytes(shards));
    this.measures = new SharedArrayBuffer(measuresBytes(shards));
    this.transit = new SharedArrayBuffer(TRANSIT_BYTES);
    this.rates = new SharedArrayBuffer(RATE_BYTES);
  }
}

/**
 * Both ends of a new link between shards `a` and `b`.
 * @param isLive false when `b` is down: `a` keeps what it has for it until the successor brings new rings
 */
export function createLink(ringBytes: number, isLive = true): { a: LinkWiring; b: LinkWiring } {
  const bytes = ringBufferBytes(ringBytes);
  const aToB = new SharedArrayBuffer(bytes);
  const bToA = new SharedArrayBuffer(bytes);
  const { port1, port2 } = new MessageChannel();
  return { a: { outbound: aToB, inbound: bToA, port: port1, isLive }, b: { outbound: bToA, inbound: aToB, port: port2, isLive } };
}

/** The ports of a list of links, which a message to a thread has to name as transferred. */
export function portsOf(links: readonly (LinkWiring | null)[]): MessagePort[] {
  const ports: MessagePort[] = [];
  for (const link of links) if (link !== null) ports.push(link.port);
  return ports;
}
