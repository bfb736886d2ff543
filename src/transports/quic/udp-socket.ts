/**
 * The UDP socket of one shard. Every shard binds its own to the same address and port (SO_REUSEPORT): the kernel spreads clients over them by address and port,
 * so the datagrams of one client come to one shard as long as it does not move.
 *
 *   libuv polls and reads one datagram → `received`;  more of them in the same turn, or by its end → recvmmsg(2) takes up to 64 at once
 *   `reserve` a slot → quiche writes the datagram into it → `commit` → `flush`: sendmmsg(2), up to 64 at once
 *
 * Node's dgram has neither call nor option, so the C library's are called, on memory that is laid out once. Datagrams that the kernel does not take are lost, as
 * any router may lose them: congestion control hears of it that way. One thread owns the socket; its memory lives as long as the thread.
 *
 * libuv takes 64 KB for each datagram and gives most of it back. An echoed message of a busy server costs 17 to 21 µs of processor time with both ways of
 * batches, 20 to 22 µs without the one at the end of the turn, and 26 µs when libuv reads everything (native-bench/quic-echo.mjs echo 200 4 2).
 *
 * Hot path.
 */
import type { Socket } from 'node:dgram';
import { type CLibrary, library } from '../../base/c-library.ts';
import { hostOf, lengthOf, portOf, SOCKET_ADDRESS_BYTES } from './socket-address.ts';

/** Largest datagram that we take: what an Ethernet frame carries. Announced as max_udp_payload_size. */
export const RECEIVED_BYTES_MAX = 1500;
/** Largest datagram that we send: passes PPPoE, and IPv6 in common tunnels; there is no search for more. */
export const SENT_BYTES_MAX = 1350;

const SLOTS = 64;
const SLOT_BYTES = 1536;
/**
 * Batches that are read in one turn before the rest of the shard has its share: as many datagrams as libuv serves sockets in one turn. What a turn costs by itself is shared by
 * more messages. 1,000 clients of a broker that send to themselves, for each message, five runs: with 4 batches 46 µs in the median and 36 at best, with 8 39 and 35, with
 * 16 34 and 34; with 1 more than with 4.
 */
const BATCHES_PER_TURN = 16;

const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;
const EAGAIN = 11;

// struct mmsghdr on 64-bit Linux: msghdr of 56 bytes, then the length of the datagram.
const MESSAGE_BYTES = 64;
const NAME_LENGTH_AT = 8;
const FLAGS_AT = 48;
const LENGTH_AT = 56;
// struct iovec: address, length.
const VECTOR_BYTES = 16;
const VECTOR_LENGTH_AT = 8;
const ADDRESS_STRIDE = 32;

/** What the owner of the socket is told. */
export interface DatagramSink {
  /** A datagram from libuv, with its sender as text. */
  received(bytes: Uint8Array, host: string, port: number): void;
  /** A datagram of a batch: its sender is the `struct sockaddr` at `addresses[at…]`. Both ranges are reused when this returns. */
  receivedFrom(bytes: Uint8Array, addresses: Uint8Array, at: number): void;
}

/** Messages with their vectors, addresses and slots, in one piece of memory. */
class Batch {
  readonly messages: bigint;
  readonly addresses: Uint8Array;
  readonly slots: Uint8Array[];
  readonly view: DataView;

  constructor(libc: CLibrary) {
    const vectorsAt = SLOTS * MESSAGE_BYTES;
    const addressesAt = vectorsAt + SLOTS * VECTOR_BYTES;
    const slotsAt = addressesAt + SLOTS * ADDRESS_STRIDE;
    const { address, bytes } = libc.memory(slotsAt + SLOTS * SLOT_BYTES);
    this.messages = address;
    this.addresses = bytes.subarray(addressesAt, slotsAt);
    this.view = new DataView(bytes.buffer, bytes.byteOffset, slotsAt);
    this.slots = [];
    for (let i = 0; i < SLOTS; i++) {
      const vectorAt = vectorsAt + i * VECTOR_BYTES;
      const slotAt = slotsAt + i * SLOT_BYTES;
      this.slots.push(bytes.subarray(slotAt, slotAt + SLOT_BYTES));
      this.view.setBigUint64(vectorAt, address + BigInt(slotAt), true);
      this.view.setUint32(vectorAt + VECTOR_LENGTH_AT, SLOT_BYTES, true);
      this.view.setBigUint64(i * MESSAGE_BYTES, address + BigInt(addressesAt + i * ADDRESS_STRIDE), true);
      this.view.setBigUint64(i * MESSAGE_BYTES + 16, address + BigInt(vectorAt), true);
      this.view.setUint32(i * MESSAGE_BYTES + 24, 1, true);
    }
  }

  setNameLength(slot: number, length: number): void {
    this.view.setUint32(slot * MESSAGE_BYTES + NAME_LENGTH_AT, length, true);
  }

  setLength(slot: number, length: number): void {
    this.view.setUint32(SLOTS * MESSAGE_BYTES + slot * VECTOR_BYTES + VECTOR_LENGTH_AT, length, true);
  }
}

export class UdpSocket {
  readonly host: string;
  readonly port: number;
  /** Datagrams that the kernel did not take. */
  unsentCount: number;
  /** Datagrams that were larger than RECEIVED_BYTES_MAX. */
  oversizeCount: number;
  private readonly socket: Socket;
  private readonly fd: number;
  private readonly libc: CLibrary;
  private readonly incoming: Batch;
  private readonly outgoing: Batch;
  private readonly writable: Uint8Array[];
  private queued: number;
  private sink: DatagramSink | null;
  private batchesLeft: number;
  private isClosed: boolean;

  /** @param socket bound, by `bindQuicSocket` */
  constructor(socket: Socket, fd: number) {
    const { address, port } = socket.address();
    this.host = address;
    this.port = port;
    this.unsentCount = 0;
    this.oversizeCount = 0;
    this.socket = socket;
    this.fd = fd;
    this.libc = library()!;
    this.incoming = new Batch(this.libc);
    this.outgoing = new Batch(this.libc);
    this.writable = [];
    for (const slot of this.outgoing.slots) this.writable.push(slot.subarray(0, SENT_BYTES_MAX));
    this.queued = 0;
    this.sink = null;
    this.batchesLeft = BATCHES_PER_TURN + 1;
    this.isClosed = false;
  }

  /** Begins to read. */
  open(sink: DatagramSink): void {
    this.sink = sink;
    this.socket.on('message', this.onMessage);
  }

  close(): void {
    if (this.isClosed) return;
    this.flush();
    this.isClosed = true;
    this.socket.close();
  }

  /** A new turn: the next datagram is the first of it. */
  endTurn(): void {
    this.batchesLeft = BATCHES_PER_TURN + 1;
  }

  /** Memory for the next outgoing datagram, SENT_BYTES_MAX long; it is sent only if `commit` follows. */
  reserve(): Uint8Array {
    if (this.queued === SLOTS) this.flush();
    return this.writable[this.queued]!;
  }

  /** Queues what was written to the reserved memory. @param address `struct sockaddr` of the receiver */
  commit(length: number, address: Uint8Array): void {
    const slot = this.queued++;
    const { addresses } = this.outgoing;
    const at = slot * ADDRESS_STRIDE;
    for (let i = 0; i < address.length; i++) addresses[at + i] = address[i]!;
    this.outgoing.setNameLength(slot, address.length);
    this.outgoing.setLength(slot, length);
  }

  /** Sends what is queued. */
  flush(): void {
    const { outgoing, queued, libc } = this;
    if (queued === 0) return;
    this.queued = 0;
    if (this.isClosed) return;
    let done = 0;
    while (done < queued) {
      const sent = libc.sendmmsg(this.fd, outgoing.messages + BigInt(done * MESSAGE_BYTES), queued - done, MSG_DONTWAIT);
      if (sent > 0) {
        done += sent;
        continue;
      }
      if (libc.errno() === EAGAIN) {
        this.unsentCount += queued - done;
        return;
      }
      // This one has no route, or its address is not allowed; the next may have.
      this.unsentCount++;
      done++;
    }
  }

  private readonly onMessage = (bytes: Uint8Array, sender: { address: string; port: number }): void => {
    if (bytes.length > RECEIVED_BYTES_MAX) this.oversizeCount++;
    else this.sink!.received(bytes, sender.address, sender.port);
    this.batchesLeft--;
    // The second datagram of a turn says that there may be a queue; a call that finds nothing would cost as much as it saves.
    while (this.batchesLeft < BATCHES_PER_TURN && this.batchesLeft > 0 && !this.isClosed) {
      this.batchesLeft--;
      if (this.readBatch() < SLOTS) return;
    }
  };

  /** Reads what has come while the turn was busy. */
  poll(): void {
    if (!this.isClosed) this.readBatch();
  }

  private readBatch(): number {
    const { incoming } = this;
    const { view, addresses } = incoming;
    for (let i = 0; i < SLOTS; i++) incoming.setNameLength(i, SOCKET_ADDRESS_BYTES);
    const count = this.libc.recvmmsg(this.fd, incoming.messages, SLOTS, MSG_DONTWAIT, null);
    for (let i = 0; i < count; i++) {
      const length = view.getUint32(i * MESSAGE_BYTES + LENGTH_AT, true);
      const isCut = (view.getUint32(i * MESSAGE_BYTES + FLAGS_AT, true) & MSG_TRUNC) !== 0;
      if (isCut || length > RECEIVED_BYTES_MAX) this.oversizeCount++;
      else this.sink!.receivedFrom(incoming.slots[i]!.subarray(0, length), addresses, i * ADDRESS_STRIDE);
    }
    return count;
  }
}

/** Where a peer is: as text for quiche and people, as bytes for the kernel. Made once for each path, not for each datagram. */
export class PeerAddress {
  readonly host: string;
  readonly port: number;
  readonly bytes: Uint8Array;

  constructor(host: string, port: number, bytes: Uint8Array) {
    this.host = host;
    this.port = port;
    this.bytes = bytes;
  }

  /** Whether `addresses[at…]` is the same address. */
  equals(addresses: Uint8Array, at: number): boolean {
    const { bytes } = this;
    for (let i = 0; i < bytes.length; i++) if (bytes[i] !== addresses[at + i]) return false;
    return true;
  }

  /** Copies the address at `addresses[at…]`. */
  static from(addresses: Uint8Array, at: number): PeerAddress {
    const bytes = Uint8Array.from(addresses.subarray(at, at + lengthOf(addresses, at)));
    return new PeerAddress(hostOf(addresses, at), portOf(addresses, at), bytes);
  }
}
