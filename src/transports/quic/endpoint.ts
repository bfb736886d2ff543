/**
 * QuicEndpoint: everything that one shard does for one QUIC listener. It finds the connection of each datagram, lets `Acceptance` deal with strangers, and sends what
 * the turn has written.
 *
 *   datagram → connection ID in the table → QuicConnection
 *                        not in it → another shard made it → `forward`
 *                                  → nobody knows it       → Acceptance: new connection, Retry, Version Negotiation, Stateless Reset, or nothing
 *
 * The table maps every ID of every connection; IDs are random, so its hash needs no secret. What clients choose themselves (the ID of a first datagram) is in a Map of
 * strings, whose hash V8 seeds. Owned by one thread; it holds no lock and makes no promise.
 *
 * Hot path.
 */
import { assert } from '../../base/assert.ts';
import { ByteMap } from '../../base/byte-map.ts';
import { hash32 } from '../../base/hash.ts';
import type { Log } from '../../base/log.ts';
import { Acceptance } from './acceptance.ts';
import { type HostPort, loadQuiche, type NativeConfig, type Quiche } from './binding.ts';
import type { QuicConnection } from './connection.ts';
import { ConnectionIds, deriveKeys, SHARDS_MAX, type SharedKeys } from './connection-id.ts';
import { QuicCounters } from './counters.ts';
import { DatagramHeader, MALFORMED } from './datagram.ts';
import { Deadlines } from './deadlines.ts';
import { PacketFrames } from './packet-frames.ts';
import { createNativeConfigs, type QuicCredentials, type QuicSettings } from './settings.ts';
import { encodeSocketAddress } from './socket-address.ts';
import { type DatagramSink, PeerAddress, type UdpSocket } from './udp-socket.ts';

const READ_BUFFER_BYTES = 64 * 1024;
const NOWHERE = new Uint8Array(0);
/** One character for each byte, so that different bytes are different strings. */
const latin1Slice = (Buffer.prototype as unknown as { latin1Slice(this: Uint8Array, at: number, end: number): string }).latin1Slice;

/** What an endpoint asks of the shard that it belongs to. */
export interface QuicShard {
  /** Reading begins: the shard's turn starts, if it has not, before the endpoint plans the end of its own. */
  startTurn(): void;
  /** Whether clients of this address are answered at all. */
  allows(host: string): boolean;
  /**
   * A client has completed its handshake, or sends early data. Sets `connection.events` before it returns; streams follow.
   */
  onConnection(connection: QuicConnection): void;
  /**
   * Takes a datagram to the shard that owns its connection, where it is given to `receiveForwarded`.
   * @param bytes reused when this returns
   * @returns false when there is no room: the datagram is lost, and the client sends again
   */
  forward(shard: number, bytes: Uint8Array, host: string, port: number): boolean;
}

export interface QuicEndpointOptions {
  readonly shardIndex: number;
  readonly shardCount: number;
  readonly socket: UdpSocket;
  /** 32 random bytes, the same in all shards of the process; kept over a restart, clients learn at once that their connections are gone. */
  readonly secret: Uint8Array;
  readonly settings: QuicSettings;
  readonly credentials: QuicCredentials;
  readonly shard: QuicShard;
  readonly log: Log;
  /** A read buffer that the shard shares between its transports. */
  readonly readBuffer?: Uint8Array;
}

export class QuicEndpoint implements DatagramSink {
  readonly counters: QuicCounters;
  readonly settings: QuicSettings;
  readonly socket: UdpSocket;
  readonly shard: QuicShard;
  readonly log: Log;
  readonly ids: ConnectionIds;
  readonly keys: SharedKeys;
  readonly quiche: Quiche;
  readonly deadlines: Deadlines;
  readonly readBuffer: Uint8Array;
  readonly frames: PacketFrames;
  /** Our side of every path, for quiche. */
  readonly local: HostPort;
  /** quiche's configurations of new connections, one for each certificate, and which one a name of the server wants. */
  configs: readonly NativeConfig[];
  certificateFor: (serverName: string) => number;
  isStopping: boolean;
  private readonly shardIndex: number;
  private readonly shardCount: number;
  private readonly acceptance: Acceptance;
  private readonly header: DatagramHeader;
  private readonly byId: ByteMap<QuicConnection>;
  private readonly byInitialDcid: Map<string, QuicConnection>;
  private readonly connections: Set<QuicConnection>;
  private dirty: QuicConnection[];
  private flushing: QuicConnection[];
  private isFlushPlanned: boolean;
  private isClosed: boolean;

  /** @throws Error when there is no quiche for this platform, or the credentials cannot be used */
  constructor(options: QuicEndpointOptions) {
    const { shardIndex, shardCount, socket } = options;
    assert(shardIndex >= 0 && shardIndex < shardCount && shardCount <= SHARDS_MAX, 'a connection ID names a shard in one byte');
    this.quiche = requireQuiche();
    this.counters = new QuicCounters();
    this.settings = options.settings;
    this.socket = socket;
    this.shard = options.shard;
    this.log = options.log;
    this.keys = deriveKeys(options.secret);
    this.ids = new ConnectionIds(shardIndex, this.keys);
    this.configs = createNativeConfigs(this.quiche, options.settings, options.credentials, this.keys);
    this.certificateFor = options.credentials.certificateFor;
    this.deadlines = new Deadlines();
    this.readBuffer = options.readBuffer ?? Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
    this.frames = new PacketFrames();
    this.local = { host: socket.host, port: socket.port };
    this.isStopping = false;
    this.shardIndex = shardIndex;
    this.shardCount = shardCount;
    this.header = new DatagramHeader();
    this.byId = new ByteMap();
    this.byInitialDcid = new Map();
    this.connections = new Set();
    this.dirty = [];
    this.flushing = [];
    this.isFlushPlanned = false;
    this.isClosed = false;
    this.acceptance = new Acceptance(this);
    socket.open(this);
  }

  get port(): number {
    return this.socket.port;
  }

  /** New connections get this certificate; those that are there keep theirs. @throws Error when it cannot be used */
  setCredentials(credentials: QuicCredentials): void {
    this.configs = createNativeConfigs(this.quiche, this.settings, credentials, this.keys);
    this.certificateFor = credentials.certificateFor;
  }

  /** Lets nobody new in. */
  stopAccepting(): void {
    this.isStopping = true;
  }

  /** Closes every connection with an application error code, then the socket. What streams have written is sent first. */
  close(errorCode: number, reason: string): void {
    if (this.isClosed) return;
    this.isStopping = true;
    for (const connection of this.connections) connection.close(errorCode, reason);
    this.flush();
    this.isClosed = true;
    this.deadlines.stop();
    this.socket.close();
  }

  received(bytes: Uint8Array, host: string, port: number): void {
    this.beginTurn();
    this.counters.received++;
    const connection = this.find(bytes);
    if (connection === null) return;
    if (connection === undefined) {
      this.meetStranger(bytes, addressOf(host, port));
      return;
    }
    const known = connection.address;
    connection.receive(bytes, known.port === port && known.host === host ? known : addressOf(host, port));
  }

  receivedFrom(bytes: Uint8Array, addresses: Uint8Array, at: number): void {
    this.beginTurn();
    this.counters.received++;
    const connection = this.find(bytes);
    if (connection === null) return;
    if (connection === undefined) {
      this.meetStranger(bytes, PeerAddress.from(addresses, at));
      return;
    }
    const known = connection.address;
    connection.receive(bytes, known.equals(addresses, at) ? known : PeerAddress.from(addresses, at));
  }

  /** A datagram that another shard got, with its sender. @param bytes are decrypted in place */
  receiveForwarded(bytes: Uint8Array, host: string, port: number): void {
    if (this.isClosed) return;
    this.beginTurn();
    this.counters.receivedForwarded++;
    const connection = this.find(bytes);
    if (connection === null) return;
    if (connection === undefined) {
      this.acceptance.meet(bytes, this.header, addressOf(host, port));
      return;
    }
    const known = connection.address;
    connection.receive(bytes, known.port === port && known.host === host ? known : addressOf(host, port));
  }

  /** Sends what connections have to send. Happens by itself at the end of a turn; a shard that ends its own turn later calls it once more. Not from within an event. */
  flush(): void {
    while (this.dirty.length > 0) {
      // Flushing one may make others dirty: they have their own round.
      const { dirty } = this;
      this.dirty = this.flushing;
      this.flushing = dirty;
      for (let i = 0; i < dirty.length; i++) dirty[i]!.flush();
      dirty.length = 0;
    }
    this.socket.flush();
  }

  /** A connection has something to do at the end of the turn. */
  flushLater(connection: QuicConnection): void {
    this.dirty.push(connection);
    this.planFlush();
  }

  /** `struct sockaddr` of an address that quiche names. */
  encode(address: HostPort): Uint8Array {
    return encodeSocketAddress(address.host, address.port) ?? NOWHERE;
  }

  /** Takes in a new connection. @param initialDcid the ID that its client chose, or that a Retry gave it */
  add(connection: QuicConnection, id: Uint8Array, initialDcid: Uint8Array): void {
    this.connections.add(connection);
    this.counters.accepted++;
    this.counters.connections++;
    this.counters.handshakes++;
    this.addId(connection, id);
    connection.initialDcid = text(initialDcid, 0, initialDcid.length);
    this.byInitialDcid.set(connection.initialDcid, connection);
  }

  addId(connection: QuicConnection, id: Uint8Array): void {
    connection.ids.push(id);
    this.byId.set(id, hash32(id, 0, id.length), connection);
  }

  removeId(connection: QuicConnection, id: Uint8Array): void {
    this.byId.delete(id, 0, id.length, hash32(id, 0, id.length));
    const { ids } = connection;
    for (let i = 0; i < ids.length; i++) {
      if (Buffer.compare(ids[i]!, id) !== 0) continue;
      ids.splice(i, 1);
      return;
    }
  }

  forgetInitialDcid(connection: QuicConnection): void {
    if (connection.initialDcid !== null) this.byInitialDcid.delete(connection.initialDcid);
    connection.initialDcid = null;
  }

  handshakeCompleted(connection: QuicConnection): void {
    this.counters.handshakes--;
    this.counters.established++;
    if (connection.isResumed) this.counters.resumptions++;
  }

  handOver(connection: QuicConnection): void {
    this.shard.onConnection(connection);
    assert(connection.events !== null, 'onConnection sets the events of a connection');
  }

  /** A connection is over, also for quiche. */
  remove(connection: QuicConnection): void {
    assert(!connection.isGone, 'a connection is removed once');
    connection.isGone = true;
    this.deadlines.remove(connection);
    this.forgetInitialDcid(connection);
    for (const id of connection.ids) this.byId.delete(id, 0, id.length, hash32(id, 0, id.length));
    this.connections.delete(connection);
    this.counters.connections--;
    if (connection.isEstablished) return;
    this.counters.handshakes--;
    this.counters.handshakesFailed++;
  }

  /** @returns null for what is no packet, undefined for a connection that is not here */
  private find(bytes: Uint8Array): QuicConnection | undefined | null {
    const { header } = this;
    const kind = header.parse(bytes, bytes.length);
    if (kind === MALFORMED) {
      this.counters.droppedMalformed++;
      return null;
    }
    const at = header.dcidAt;
    const end = at + header.dcidLength;
    const connection = this.byId.get(bytes, at, end, hash32(bytes, at, end));
    return connection ?? (this.byInitialDcid.size === 0 ? undefined : this.byInitialDcid.get(text(bytes, at, end)));
  }

  private meetStranger(bytes: Uint8Array, address: PeerAddress): void {
    const { header, shardIndex } = this;
    const shard = this.shardCount === 1 ? shardIndex : this.ids.shardOf(bytes, header.dcidAt, header.dcidLength);
    if (shard < 0 || shard >= this.shardCount || shard === shardIndex) {
      this.acceptance.meet(bytes, header, address);
    } else if (this.shard.forward(shard, bytes, address.host, address.port)) {
      this.counters.forwarded++;
    } else {
      this.counters.droppedForward++;
    }
  }

  private beginTurn(): void {
    if (this.isFlushPlanned) return;
    this.shard.startTurn();
    this.planFlush();
  }

  private planFlush(): void {
    if (this.isFlushPlanned) return;
    this.isFlushPlanned = true;
    setImmediate(this.endTurn);
  }

  private readonly endTurn = (): void => {
    this.isFlushPlanned = false;
    this.socket.endTurn();
    if (this.isClosed) return;
    this.flush();
    this.socket.poll();
  };
}

function text(bytes: Uint8Array, at: number, end: number): string {
  return latin1Slice.call(bytes, at, end);
}

function addressOf(host: string, port: number): PeerAddress {
  return new PeerAddress(withoutZone(host), port, encodeSocketAddress(host, port) ?? NOWHERE);
}

/** quiche would ask the resolver for a zone. */
function withoutZone(host: string): string {
  const at = host.indexOf('%');
  return at < 0 ? host : host.slice(0, at);
}

function requireQuiche(): Quiche {
  const quiche = loadQuiche();
  if (quiche !== null) return quiche;
  throw new Error(`there is no quiche for ${process.platform} on ${process.arch}`); // cold: at start
}
