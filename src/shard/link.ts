/**
 * Link: both directions between this shard and one peer, as data: the two rings, what waits for room in them, what the peer has not answered, and how far each
 * side has told the other. `mesh.ts` moves it.
 *
 * Owned by one shard.
 */
import type { MessagePort } from 'node:worker_threads';
import { Fifo } from '../base/fifo.ts';
import { RingConsumer, RingProducer } from '../base/ring.ts';
import type { PendingAck } from './outcome.ts';

/** What the supervisor gives a shard to reach one peer. */
export interface LinkWiring {
  readonly outbound: SharedArrayBuffer;
  readonly inbound: SharedArrayBuffer;
  readonly port: MessagePort;
  /** False when the peer is down while this shard starts; its successor brings new rings. */
  readonly isLive: boolean;
}

const NOTHING = Buffer.alloc(0);
/** Refused frames that stay in the list until it is walked. */
const REFUSED_MAX = 256;

/** A frame that found the ring full. */
export class QueuedFrame {
  readonly word: number;
  readonly body: Buffer;

  constructor(word: number, body: Buffer) {
    this.word = word;
    this.body = body;
  }
}

/** A QoS 1 or 2 message that the peer has not answered. */
export class UnackedFrame {
  readonly sequence: number;
  readonly word: number;
  body: Buffer;
  readonly ack: PendingAck | null;
  /** The peer has said what became of it; otherwise the acknowledgement alone means success. */
  hasResult: boolean;
  /** The peer's disk refuses it: nobody waits for the peer any more. */
  isRefused: boolean;

  constructor(sequence: number, word: number, body: Buffer, ack: PendingAck | null) {
    this.sequence = sequence;
    this.word = word;
    this.body = body;
    this.ack = ack;
    this.hasResult = false;
    this.isRefused = false;
  }
}

/** Both directions between this shard and one peer. */
export class Link {
  readonly peer: number;
  producer: RingProducer;
  consumer: RingConsumer;
  port: MessagePort;
  /** False between a peer's death and its restart. */
  isLive: boolean;
  readonly overflow: Fifo<QueuedFrame>;
  overflowBytes: number;
  readonly unacked: Fifo<UnackedFrame>;
  unackedBytes: number;
  /** How many of `unacked` are refused. */
  refusedCount: number;
  nextSequence: number;
  /** Highest sequence of the peer that this shard has taken, and the highest one that it has told. */
  takenSequence: number;
  toldSequence: number;
  /** What may be told while entries of the open batch, or of the one under way to the disk, are not committed; -1: they hold nothing of this peer. */
  openLimit: number;
  sealedLimit: number;
  /** Filters that the restarted peer has announced so far; null: it is not restarting. */
  learned: Set<string> | null;
  /** Publisher and Packet Identifier, in turn, of what the peer need not remember any more. */
  readonly originsDone: number[];
  jumboOutstanding: number;
  jumboTaken: number;
  jumboTold: number;
  /** Route changes of the peer that are installed here, and what it has been told; the same the other way round. */
  routesInstalled: number;
  routesTold: number;
  routesKnownByPeer: number;
  hasSnapshot: boolean;
  /** The peer has taken up what the store has for it, and its routes are known here. */
  hasRecovered: boolean;

  constructor(peer: number, wiring: LinkWiring) {
    this.peer = peer;
    this.producer = new RingProducer(wiring.outbound);
    this.consumer = new RingConsumer(wiring.inbound);
    this.port = wiring.port;
    this.isLive = wiring.isLive;
    this.overflow = new Fifo();
    this.overflowBytes = 0;
    this.unacked = new Fifo();
    this.unackedBytes = 0;
    this.refusedCount = 0;
    this.nextSequence = 1;
    this.takenSequence = 0;
    this.toldSequence = 0;
    this.openLimit = -1;
    this.sealedLimit = -1;
    this.learned = null;
    this.originsDone = [];
    this.jumboOutstanding = 0;
    this.jumboTaken = 0;
    this.jumboTold = 0;
    this.routesInstalled = 0;
    this.routesTold = 0;
    this.routesKnownByPeer = 0;
    this.hasSnapshot = false;
    this.hasRecovered = false;
  }
  /**
   * The peer's disk refuses a message. It is answered before those that wait for the disk, and must not pile up behind them: a disk that fails for an hour would
   * stop this shard.
   */
  refuse(frame: UnackedFrame): void {
    frame.isRefused = true;
    this.unackedBytes -= frame.body.length;
    frame.body = NOTHING;
    this.refusedCount++;
    if (this.refusedCount < REFUSED_MAX || this.refusedCount * 2 < this.unacked.count) return;
    this.unacked.drop((one) => one.isRefused);
    this.refusedCount = 0;
  }

  /** The unanswered frame of this number. Some may be missing between others, so it is searched for. */
  frameOf(sequence: number): UnackedFrame | undefined {
    let low = 0;
    let high = this.unacked.count - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const frame = this.unacked.at(middle)!;
      // Serial number arithmetic: the sequence wraps.
      const distance = (sequence - frame.sequence) | 0;
      if (distance === 0) return frame;
      if (distance > 0) low = middle + 1;
      else high = middle - 1;
    }
    return undefined;
  }

  /** The peer's thread has ended: what was on its way to it is gone, what it had not answered is kept for its successor. */
  end(): void {
    this.isLive = false;
    while (this.overflow.shift() !== undefined);
    this.overflowBytes = 0;
    this.jumboOutstanding = 0;
    this.originsDone.length = 0;
    this.port.close();
  }

  /** The peer runs again, on new rings, and has said nothing yet. */
  restart(wiring: LinkWiring, keepsRoutes: boolean): void {
    this.producer = new RingProducer(wiring.outbound);
    this.consumer = new RingConsumer(wiring.inbound);
    this.port = wiring.port;
    this.isLive = true;
    this.takenSequence = 0;
    this.toldSequence = 0;
    this.openLimit = -1;
    this.sealedLimit = -1;
    this.learned = keepsRoutes ? new Set() : null;
    this.jumboTaken = 0;
    this.jumboTold = 0;
    this.routesInstalled = 0;
    this.routesTold = 0;
    this.routesKnownByPeer = 0;
    this.hasSnapshot = false;
    this.hasRecovered = false;
  }
}
