/**
 * Mesh: this shard's ends of the rings, one pair of rings for each other shard (`link.ts`), and the only file that touches them.
 *
 *   shard A ── ring A→B ──▶ shard B        messages, hand-offs, control, answers to B's messages
 *           ◀── ring B→A ──
 *
 * - Order: a link is first in, first out, also through `overflow` (frames that found the ring full) and through large bodies beside the ring.
 * - Backpressure: a full ring never drops QoS 1 or 2. Frames queue in `overflow`, `isCongested` turns true, and connections stop reading until it is low again.
 * - Loss: a QoS 1 or 2 message stays in `unacked` until the peer has answered it. A peer that died gets all of them again, in order, on new rings.
 * - Wake: frames become visible once a turn; only a sleeping peer is notified.
 *
 * Owned by one shard. Hot path.
 */
import { receiveMessageOnPort } from 'node:worker_threads';
import { assert } from '../base/assert.ts';
import { copyBytes } from '../base/bytes.ts';
import { packObject, unpackObject } from '../base/pack.ts';
import { type RingConsumer, ringFrameBytesMax } from '../base/ring.ts';
import type { MessageView } from '../protocol/publish.ts';
import type { Control } from './control.ts';
import { counter } from './counters.ts';
import { Link, type LinkWiring, QueuedFrame, UnackedFrame } from './link.ts';
import { type PendingAck, UNSTORABLE } from './outcome.ts';
import {
  KNOWN_BIT,
  messageRecordBytes,
  messageWord,
  RECORD_ACKS,
  RECORD_CONTROL,
  RECORD_DATAGRAM,
  RECORD_HANDOFF,
  RECORD_JUMBO,
  RECORD_ORIGIN_DONE,
  RECORD_PROBE,
  RECORD_RELAY_OPEN,
  RECORD_RESULT,
  type RecordFields,
  recordKind,
  signalWord,
  writeMessageRecord,
} from './record.ts';

const FRAMES_SENT = counter('ring/frames/sent');
const FRAMES_PUBLISH = counter('ring/frames/publish');
const FRAMES_ACK = counter('ring/frames/acknowledge');
const FRAMES_CONTROL = counter('ring/frames/control');
const FRAMES_JUMBO = counter('ring/frames/jumbo');
const FRAMES_RELAY = counter('ring/frames/relay');
const RING_FULL = counter('ring/full');
const WAKES = counter('ring/wakes');
const DROPPED_RING = counter('publish/dropped/ring-full');

/** Frames taken from one ring in one turn, so that sockets are served too. */
const DRAIN_FRAMES_MAX = 2048;
/** Large bodies under way to one peer before connections stop reading. */
const JUMBO_OUTSTANDING_MAX = 8;
const WAKE_STRIDE = 16;

/** Handles one record of a peer; the bytes are valid until it returns. */
export type RecordHandler = (link: Link, word: number, bytes: Buffer, at: number, end: number) => void;

export class Mesh {
  readonly index: number;
  readonly shards: number;
  /** By shard index; null for this shard itself. */
  readonly links: (Link | null)[];
  /** Connections stop reading while this is true. */
  isCongested: boolean;
  /** Frames of the peers wait: the shard does not have its sessions yet. */
  isHeld: boolean;
  private readonly counters: Float64Array;
  private readonly wakeWords: Int32Array;
  private readonly ringBytes: number;
  private readonly frameBytesMax: number;
  private readonly handle: RecordHandler;
  private isWaiting: boolean;

  /**
   * @param wiring by shard index, null for this shard
   * @param wake shared words, one cache line for each shard: 1 while it sleeps
   */
  constructor(
    index: number,
    wiring: readonly (LinkWiring | null)[],
    wake: SharedArrayBuffer,
    ringBytes: number,
    counters: Float64Array,
    handle: RecordHandler,
  ) {
    this.index = index;
    this.shards = wiring.length;
    this.links = [];
    for (let peer = 0; peer < wiring.length; peer++) {
      const ends = wiring[peer] ?? null;
      this.links.push(ends === null ? null : new Link(peer, ends));
    }
    this.isCongested = false;
    this.isHeld = false;
    this.counters = counters;
    this.wakeWords = new Int32Array(wake);
    this.ringBytes = ringBytes;
    this.frameBytesMax = ringFrameBytesMax(ringBytes);
    this.handle = handle;
    this.isWaiting = false;
  }

  /**
   * Sends a message record.
   * @param ack the publisher's acknowledgement that waits for this peer, or null
   * @param isTracked whether the message must survive the peer's death (QoS 1 and 2)
   * @returns false when it was dropped: not tracked, and the peer is down or the overflow is full
   */
  sendMessage(
    peer: number,
    kind: number,
    view: MessageView,
    fields: RecordFields,
    wantsStatus: boolean,
    ack: PendingAck | null,
    isTracked: boolean,
  ): boolean {
    const link = this.links[peer]!;
    const word = messageWord(kind, view, wantsStatus, fields);
    const length = messageRecordBytes(view, fields);
    this.counters[FRAMES_PUBLISH]!++;
    if (!isTracked) {
      fields.sequence = 0;
      if (!link.isLive) return this.dropQos0();
      if (length <= this.frameBytesMax && link.overflow.count === 0) {
        const at = link.producer.reserve(length);
        if (at >= 0) {
          writeMessageRecord(link.producer.bytes, link.producer.bytes.dataView, at, view, fields);
          link.producer.commit(word, length);
          this.counters[FRAMES_SENT]!++;
          return true;
        }
      }
      // QoS 0 may be lost; it must not grow what waits without bound.
      if (link.overflowBytes > this.ringBytes * 4) return this.dropQos0();
      const body = Buffer.allocUnsafe(length);
      writeMessageRecord(body, undefined, 0, view, fields);
      this.send(link, word, body);
      return true;
    }
    fields.sequence = link.nextSequence;
    link.nextSequence = link.nextSequence === 0xffffffff ? 1 : link.nextSequence + 1;
    const body = Buffer.allocUnsafe(length);
    writeMessageRecord(body, undefined, 0, view, fields);
    link.unacked.push(new UnackedFrame(fields.sequence, word, body, ack));
    link.unackedBytes += length;
    if (link.unackedBytes > this.ringBytes * 8) this.isCongested = true;
    if (link.isLive) this.send(link, word, body);
    return true;
  }

  private dropQos0(): boolean {
    this.counters[DROPPED_RING]!++;
    return false;
  }

  isLive(peer: number): boolean {
    return this.links[peer]?.isLive ?? false;
  }

  /** Sends a control record. A peer that is down gets none: its restart begins with a snapshot. */
  sendControl(peer: number, control: Control): void {
    const link = this.links[peer]!;
    if (!link.isLive) return;
    this.counters[FRAMES_CONTROL]!++;
    this.send(link, RECORD_CONTROL, packObject(control) as Buffer);
  }

  /** Sends the same control record to every peer. */
  broadcast(control: Control): void {
    if (this.shards === 1) return;
    const body = packObject(control) as Buffer;
    for (let peer = 0; peer < this.links.length; peer++) {
      const link = this.links[peer]!;
      if (link === null || !link.isLive) continue;
      this.counters[FRAMES_CONTROL]!++;
      this.send(link, RECORD_CONTROL, body);
    }
  }

  /** Sends a socket to its owner: descriptor, peer (packed) and the bytes read so far. @returns false when the owner is down */
  sendHandoff(peer: number, fd: number, packedPeer: Uint8Array, read: Uint8Array): boolean {
    return this.sendNewcomer(peer, RECORD_HANDOFF, fd, packedPeer, read);
  }

  /** Sends a client that this shard holds to its owner: number of the relay, peer (packed) and the bytes read so far. @returns false when the owner is down */
  sendRelayOpen(peer: number, id: number, packedPeer: Uint8Array, read: Uint8Array): boolean {
    this.counters[FRAMES_RELAY]!++;
    return this.sendNewcomer(peer, RECORD_RELAY_OPEN, id, packedPeer, read);
  }

  private sendNewcomer(peer: number, kind: number, number: number, packedPeer: Uint8Array, read: Uint8Array): boolean {
    const link = this.links[peer]!;
    if (!link.isLive) return false;
    const body = Buffer.allocUnsafe(8 + packedPeer.length + read.length);
    body.writeUInt32LE(number, 0);
    body.writeUInt32LE(packedPeer.length, 4);
    copyBytes(body, 8, packedPeer, 0, packedPeer.length);
    copyBytes(body, 8 + packedPeer.length, read, 0, read.length);
    this.send(link, kind, body);
    return true;
  }

  /** Sends bytes[0, length) of a relay, in pieces that fit. A peer that is down gets none: its end of the relay is gone. */
  sendRelayBytes(peer: number, kind: number, id: number, bytes: Uint8Array, length: number): void {
    const link = this.links[peer]!;
    if (!link.isLive) return;
    const pieceMax = this.frameBytesMax - 4;
    for (let from = 0; from < length; from += pieceMax) {
      const end = Math.min(length, from + pieceMax);
      this.counters[FRAMES_RELAY]!++;
      if (link.overflow.count === 0) {
        const at = link.producer.reserve(4 + end - from);
        if (at >= 0) {
          link.producer.bytes.writeUInt32LE(id, at);
          copyBytes(link.producer.bytes, at + 4, bytes, from, end);
          link.producer.commit(kind, 4 + end - from);
          this.counters[FRAMES_SENT]!++;
          continue;
        }
      }
      const body = Buffer.allocUnsafe(4 + end - from);
      body.writeUInt32LE(id, 0);
      copyBytes(body, 4, bytes, from, end);
      this.queueFrame(link, kind, body);
    }
  }

  /** Sends a datagram that belongs to a connection of the peer. @returns false when there is no room for it: datagrams may be lost */
  sendDatagram(peer: number, listener: number, bytes: Uint8Array, host: string, port: number): boolean {
    const link = this.links[peer] ?? null;
    if (link === null || !link.isLive || link.overflow.count > 0) return false;
    const length = 8 + host.length + bytes.length;
    const at = link.producer.reserve(length);
    if (at < 0) return false;
    const target = link.producer.bytes;
    target.writeUInt16LE(listener, at);
    target.writeUInt16LE(port, at + 2);
    target.writeUInt32LE(host.length, at + 4);
    target.write(host, at + 8, 'latin1');
    copyBytes(target, at + 8 + host.length, bytes, 0, bytes.length);
    link.producer.commit(RECORD_DATAGRAM, length);
    this.counters[FRAMES_RELAY]!++;
    this.counters[FRAMES_SENT]!++;
    return true;
  }

  /** Sends one signal of a relay, in order with its bytes. */
  sendRelaySignal(peer: number, kind: number, signal: number, id: number, number: number): void {
    const link = this.links[peer]!;
    if (!link.isLive) return;
    const body = Buffer.allocUnsafe(8);
    body.writeUInt32LE(id, 0);
    body.writeUInt32LE(number, 4);
    this.counters[FRAMES_RELAY]!++;
    this.send(link, signalWord(kind, signal), body);
  }

  /** Sends a moment behind what has been sent before: the peer learns how long the hop takes. It counts as no frame. @param moment of `TimerWheel.moment` */
  sendProbe(peer: number, moment: number): void {
    const link = this.links[peer]!;
    if (!link.isLive) return;
    const at = link.overflow.count === 0 ? link.producer.reserve(4) : -1;
    if (at >= 0) {
      link.producer.bytes.writeUInt32LE(moment, at);
      link.producer.commit(RECORD_PROBE, 4);
      return;
    }
    const body = Buffer.allocUnsafe(4);
    body.writeUInt32LE(moment, 0);
    this.queueFrame(link, RECORD_PROBE, body);
  }

  /** Tells the peer what became of its message `sequence`; needed only where it is not plain success. */
  sendResult(link: Link, sequence: number, result: number, clientId: Uint8Array, at: number, end: number): void {
    const body = Buffer.allocUnsafe(8 + end - at);
    body.writeUInt32LE(sequence, 0);
    body.writeUInt32LE(result, 4);
    copyBytes(body, 8, clientId, at, end);
    this.counters[FRAMES_ACK]!++;
    this.send(link, RECORD_RESULT, body);
  }

  /** Puts a frame on the ring, or behind those that wait for room. */
  private send(link: Link, word: number, body: Buffer): void {
    if (body.length > this.frameBytesMax) {
      this.sendJumbo(link, word, body);
      return;
    }
    if (link.overflow.count === 0 && this.put(link, word, body)) return;
    this.queueFrame(link, word, body);
  }

  private queueFrame(link: Link, word: number, body: Buffer): void {
    this.counters[RING_FULL]!++;
    link.overflow.push(new QueuedFrame(word, body));
    link.overflowBytes += body.length + 64;
    if (link.overflowBytes > this.ringBytes) this.isCongested = true;
  }

  private put(link: Link, word: number, body: Buffer): boolean {
    const at = link.producer.reserve(body.length);
    if (at < 0) return false;
    copyBytes(link.producer.bytes, at, body, 0, body.length);
    link.producer.commit(word, body.length);
    this.counters[FRAMES_SENT]!++;
    return true;
  }

  /** A body beyond a quarter of the ring goes by MessagePort; a place-holder frame keeps its order. */
  private sendJumbo(link: Link, word: number, body: Buffer): void {
    const shared = new SharedArrayBuffer(body.length);
    copyBytes(new Uint8Array(shared), 0, body, 0, body.length);
    // Posted before the place-holder is visible, so the body is there when the peer sees the frame.
    link.port.postMessage(shared);
    link.jumboOutstanding++;
    if (link.jumboOutstanding > JUMBO_OUTSTANDING_MAX) this.isCongested = true;
    this.counters[FRAMES_JUMBO]!++;
    const holder = Buffer.allocUnsafe(4);
    holder.writeUInt32LE(word >>> 0, 0);
    this.send(link, RECORD_JUMBO, holder);
  }

  /** Handles a bounded number of records of every peer. @returns whether frames are left */
  drain(): boolean {
    let isMore = false;
    if (this.isHeld) return false;
    for (let peer = 0; peer < this.links.length; peer++) {
      const link = this.links[peer]!;
      if (link?.isLive && this.drainLink(link, DRAIN_FRAMES_MAX)) isMore = true;
    }
    return isMore;
  }

  private drainLink(link: Link, framesMax: number): boolean {
    const consumer = link.consumer;
    let frames = 0;
    while (frames < framesMax && consumer.next()) {
      frames++;
      if (recordKind(consumer.frameType) === RECORD_JUMBO) this.takeJumbo(link, consumer);
      else this.handle(link, consumer.frameType, consumer.bytes, consumer.frameAt, consumer.frameEnd);
    }
    if (frames === 0) return false;
    consumer.release();
    return frames === framesMax && consumer.hasFrames();
  }

  private takeJumbo(link: Link, consumer: RingConsumer): void {
    const word = consumer.bytes.readUInt32LE(consumer.frameAt);
    const received = receiveMessageOnPort(link.port);
    assert(received !== undefined, 'a large body is posted before its place-holder');
    const bytes = Buffer.from(received.message as SharedArrayBuffer);
    link.jumboTaken++;
    this.handle(link, word, bytes, 0, bytes.length);
  }

  /** Every message of `link` up to `sequence` has its answer. Calls `done` for each acknowledgement that waited. */
  acknowledge(link: Link, sequence: number, done: (ack: PendingAck) => void): void {
    for (;;) {
      const frame = link.unacked.peek();
      // Serial number arithmetic: the sequence wraps.
      if (frame === undefined || ((sequence - frame.sequence) | 0) < 0) return;
      link.unacked.shift();
      link.unackedBytes -= frame.body.length;
      if (frame.isRefused) link.refusedCount--;
      const ack = frame.isRefused ? null : frame.ack;
      if (ack === null) continue;
      if (!frame.hasResult) ack.wasTaken = true;
      ack.answered();
      done(ack);
    }
  }

  /** Calls `visit` for each acknowledgement that waits for this peer. */
  visitWaiting(link: Link, visit: (ack: PendingAck) => void): void {
    for (let i = 0; i < link.unacked.count; i++) {
      const { ack, isRefused } = link.unacked.at(i)!;
      if (ack !== null && !isRefused) visit(ack);
    }
  }

  /** Notes what the peer said of the message `sequence`. @returns the acknowledgement that waits for it, or null */
  noteResult(link: Link, sequence: number, result: number): PendingAck | null {
    const frame = link.frameOf(sequence);
    if (frame === undefined || frame.isRefused) return null;
    frame.hasResult = true;
    frame.ack?.note(result);
    if (result === UNSTORABLE) link.refuse(frame);
    return frame.ack;
  }

  /** Adds what is owed to the peers, shows all frames of this turn and wakes the peers that sleep. */
  publish(): void {
    let isCongested = false;
    for (let peer = 0; peer < this.links.length; peer++) {
      const link = this.links[peer]!;
      if (link === null) continue;
      if (link.isLive) {
        this.sendOwed(link);
        if (link.overflow.count > 0) this.drainOverflow(link);
        if (link.producer.publish()) this.wake(peer);
      }
      // What waits for a dead peer's successor counts too: publishers are held back, not the memory filled.
      if (
        link.overflowBytes > this.ringBytes / 2 ||
        link.unackedBytes > this.ringBytes * 4 ||
        link.jumboOutstanding > JUMBO_OUTSTANDING_MAX / 2
      ) {
        isCongested = true;
      }
    }
    if (this.isCongested) this.isCongested = isCongested;
  }

  private sendOwed(link: Link): void {
    // What rests on the journal is told when it is committed.
    const taken = link.sealedLimit >= 0 ? link.sealedLimit : link.openLimit >= 0 ? link.openLimit : link.takenSequence;
    if (taken !== link.toldSequence) {
      link.toldSequence = taken;
      const body = Buffer.allocUnsafe(4);
      body.writeUInt32LE(taken, 0);
      this.counters[FRAMES_ACK]!++;
      this.send(link, RECORD_ACKS, body);
    }
    const done = link.originsDone;
    if (done.length > 0) {
      const body = Buffer.allocUnsafe(done.length * 6);
      for (let i = 0; i < done.length; i += 2) {
        body.writeDoubleLE(done[i]!, i * 6);
        body.writeUInt32LE(done[i + 1]!, i * 6 + 8);
      }
      done.length = 0;
      this.counters[FRAMES_ACK]!++;
      this.send(link, RECORD_ORIGIN_DONE, body);
    }
    if (link.routesInstalled !== link.routesTold) {
      link.routesTold = link.routesInstalled;
      this.sendControl(link.peer, { kind: 'installed', sequence: link.routesInstalled });
    }
    if (link.jumboTaken !== link.jumboTold) {
      link.jumboTold = link.jumboTaken;
      this.sendControl(link.peer, { kind: 'jumbo-taken', count: link.jumboTaken });
      link.jumboTaken = 0;
      link.jumboTold = 0;
    }
  }

  /** The message `sequence` of the peer has entries in the open batch. @param before the last one that was taken before it */
  gate(link: Link, before: number): void {
    if (link.openLimit < 0) link.openLimit = before;
  }

  /** All other shards, a bit each. */
  get peerMask(): number {
    return ((1 << this.shards) - 1) & ~(1 << this.index);
  }

  /** The open batch is under way to the disk. */
  sealGates(): void {
    for (let peer = 0; peer < this.links.length; peer++) {
      const link = this.links[peer]!;
      if (link === null) continue;
      link.sealedLimit = link.openLimit;
      link.openLimit = -1;
    }
  }

  /** It is there. */
  openGates(): void {
    for (let peer = 0; peer < this.links.length; peer++) {
      const link = this.links[peer]!;
      if (link !== null) link.sealedLimit = -1;
    }
  }

  /** Tells the shards in `mask`, with the frames of this turn, that they need not remember a QoS 2 message any more. @param packetId 0: all of this publisher */
  sendOriginDone(mask: number, publisher: number, packetId: number): void {
    for (let left = mask; left !== 0; left &= left - 1) {
      const link = this.links[31 - Math.clz32(left & -left)]!;
      // A peer that is down learns it when the identifier is used again.
      if (link === null || !link.isLive) continue;
      link.originsDone.push(publisher, packetId);
    }
  }

  private drainOverflow(link: Link): void {
    for (;;) {
      const frame = link.overflow.peek();
      if (frame === undefined || !this.put(link, frame.word, frame.body)) return;
      link.overflow.shift();
      link.overflowBytes -= frame.body.length + 64;
    }
  }

  private wake(peer: number): void {
    const word = peer * WAKE_STRIDE;
    // A notify without a sleeper costs 34 ns and a load 6 ns, and most peers under load are awake.
    if (Atomics.load(this.wakeWords, word) === 1 && Atomics.compareExchange(this.wakeWords, word, 1, 0) === 1) {
      Atomics.notify(this.wakeWords, word);
      this.counters[WAKES]!++;
    }
  }

  /** Whether any frame waits for this shard. */
  get hasWork(): boolean {
    if (this.isHeld) return false;
    for (let peer = 0; peer < this.links.length; peer++) {
      const link = this.links[peer]!;
      if (link?.isLive && link.consumer.hasFrames()) return true;
    }
    return false;
  }

  /** Frames wait for room in a ring: nobody wakes a producer, so it must look again by itself. */
  get hasOverflow(): boolean {
    for (let peer = 0; peer < this.links.length; peer++) {
      const link = this.links[peer]!;
      if (link?.isLive && link.overflow.count > 0) return true;
    }
    return false;
  }

  /**
   * Declares this shard asleep. @returns false when a frame came in between: the caller works on instead.
   * @param onWake called once when a peer wakes the shard
   */
  sleep(onWake: () => void): boolean {
    const word = this.index * WAKE_STRIDE;
    Atomics.store(this.wakeWords, word, 1);
    if (this.hasWork) {
      Atomics.store(this.wakeWords, word, 0);
      return false;
    }
    // One waiter serves several sleeps: when a socket woke the shard, the old waiter is still there.
    if (!this.isWaiting) {
      const wait = Atomics.waitAsync(this.wakeWords, word, 1);
      if (!wait.async) {
        Atomics.store(this.wakeWords, word, 0);
        return false;
      }
      this.isWaiting = true;
      void wait.value.then(() => {
        this.isWaiting = false;
        onWake();
      });
    }
    return true;
  }

  /** This shard runs: peers need not notify it. */
  stayAwake(): void {
    if (this.shards > 1) Atomics.store(this.wakeWords, this.index * WAKE_STRIDE, 0);
  }

  /** The peer's thread has ended. What it had answered stays answered, what it had not is kept for its successor. */
  peerDied(peer: number): void {
    const link = this.links[peer]!;
    // All that it showed before it died still counts: a message that it has answered must not be sent to its successor.
    this.drainLink(link, Number.POSITIVE_INFINITY);
    link.end();
  }

  /**
   * The peer runs again, on new rings. The caller sends its snapshot of routes first, then calls `resend`.
   * @param keepsRoutes what the predecessor wanted is kept until the peer has announced what it still wants
   */
  peerRestarted(peer: number, wiring: LinkWiring, keepsRoutes: boolean): void {
    this.links[peer]!.restart(wiring, keepsRoutes);
  }

  /** Sends everything that the peer has not answered again, in order. */
  resend(peer: number): void {
    const link = this.links[peer]!;
    for (let i = 0; i < link.unacked.count; i++) {
      const frame = link.unacked.at(i)!;
      if (frame.isRefused) continue;
      // Its predecessor may have stored it and died before it could say so.
      this.send(link, frame.word | KNOWN_BIT, frame.body);
    }
  }
}

/** The object in a control record. */
export function readControl(bytes: Buffer, at: number, end: number): Control {
  return unpackObject(bytes, at, end) as Control;
}
