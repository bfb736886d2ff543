/*
 * A client of the simulation that keeps its half of the session as the standard asks: what it has sent and not finished, and the QoS 2 identifiers that it has
 * received. It lives through crashes of the broker; its network connections do not.
 */
import assert from 'node:assert/strict';
import { utf8Bytes, type Writer } from '../../src/base/bytes.ts';
import { AckView, readAck, writeAckDetail } from '../../src/protocol/ack.ts';
import { ConnackPacket, readConnack, writeConnect } from '../../src/protocol/connect.ts';
import { Frame, readFrame } from '../../src/protocol/framer.ts';
import * as types from '../../src/protocol/packet-type.ts';
import { PublishPacket, readPublishPacket, writePublishPacket } from '../../src/protocol/publish.ts';
import { readSuback, SubackPacket, writeSubscribe } from '../../src/protocol/subscribe.ts';
import { STREAM_CLOSED } from '../../src/shard/channel.ts';
import type { Shard } from '../../src/shard/shard.ts';
import { MemoryChannel } from '../support/memory-channel.ts';
import { packetOf, publishOf } from '../support/packet-client.ts';
import type { Random } from './random.ts';

const PACKET_BYTES_MAX = 268_435_460;
const SESSION_SECONDS = 1_000_000;

/** A message as the checker sees it. */
export interface SimMessage {
  readonly id: string;
  readonly publisher: string;
  /** Place among the messages of its publisher. */
  readonly order: number;
  readonly topic: string;
  readonly qos: number;
  readonly retain: boolean;
  /** Clients that must get it, with the QoS that they get it at. */
  readonly targets: Map<string, number>;
  /** The broker has promised it: PUBACK or PUBREC below 0x80 and not "no matching subscribers". */
  isPromised: boolean;
  /** A disk failed when it was published: what is refused then and sent again may come behind later messages. */
  readonly isOutOfOrder: boolean;
}

/** One exchange that the client has begun. */
interface Outgoing {
  readonly message: SimMessage;
  readonly packetId: number;
  /** PUBREC has come. */
  isReleased: boolean;
}

/** A stream of a client: the one that its connection begins with, or a further one as QUIC has them. */
class SimStream {
  readonly channel: MemoryChannel;
  parsedWrites: number;
  /** Identifiers of QoS 2 messages that it has received and not released. */
  readonly received: Set<number>;
  /** Packets that it has not answered yet. */
  unanswered: { type: number; packetId: number }[];
  readonly subscribing: Map<number, { filter: string; qos: number }>;
  /** Filters that a SUBACK on it has granted, with their QoS. */
  readonly granted: Map<string, number>;
  nextPacketId: number;

  constructor(channel: MemoryChannel, received: Set<number>) {
    this.channel = channel;
    this.parsedWrites = 0;
    this.received = received;
    this.unanswered = [];
    this.subscribing = new Map();
    this.granted = new Map();
    this.nextPacketId = 1;
  }

  get openCount(): number {
    return this.unanswered.length + this.received.size + this.subscribing.size;
  }

  send(write: (writer: Writer) => void): void {
    this.channel.arrive(packetOf(write));
  }
}

export class SimClient {
  readonly clientId: string;
  /** It opens further streams, receives on them, and wants P2P messages there. What it publishes goes over the first one. */
  readonly hasStreams: boolean;
  /** A CONNACK has told it that its session is there. */
  hasSession: boolean;
  /** Filters of the session, with their QoS, without those of further streams. */
  private readonly ownGranted: Map<string, number>;
  /** Ids of messages in the order of arrival; a QoS 2 copy that the identifiers show is not in it. */
  readonly arrived: { id: string; qos: number; isRetained: boolean }[];
  /** What the checker should know. */
  readonly complaints: string[];
  private control: SimStream | null;
  private streams: SimStream[];
  private isAccepted: boolean;
  private readonly outgoing: Map<number, Outgoing>;
  private readonly received: Set<number>;
  private nextPacketId: number;
  private readonly reusesLowest: boolean;

  constructor(clientId: string, reusesLowest: boolean, hasStreams = false) {
    this.clientId = clientId;
    this.reusesLowest = reusesLowest;
    this.hasStreams = hasStreams;
    this.hasSession = false;
    this.ownGranted = new Map();
    this.arrived = [];
    this.complaints = [];
    this.control = null;
    this.streams = [];
    this.isAccepted = false;
    this.outgoing = new Map();
    this.received = new Set();
    this.nextPacketId = 1;
  }

  get isConnected(): boolean {
    return this.control !== null && this.isAccepted;
  }

  get isConnecting(): boolean {
    return this.control !== null;
  }

  /** QoS of a filter, as a SUBACK has granted it; 0: it is not subscribed to. */
  granted(filter: string): number {
    let qos = this.ownGranted.get(filter) ?? 0;
    for (const { granted } of this.streams) qos = Math.max(qos, granted.get(filter) ?? 0);
    return qos;
  }

  get streamCount(): number {
    return this.streams.length;
  }

  private get all(): SimStream[] {
    return this.control === null ? [] : [this.control, ...this.streams];
  }

  /** Exchanges that are not finished, in either direction. */
  get openCount(): number {
    return this.all.reduce((sum, stream) => sum + stream.openCount, this.outgoing.size);
  }

  connect(shard: Shard): void {
    assert.equal(this.control, null);
    this.control = new SimStream(new MemoryChannel(shard), this.received);
    this.isAccepted = false;
    const userProperties: [string, string][] = this.hasStreams ? [['p2p-stream', 'last']] : [];
    this.control.send((writer) =>
      writeConnect(writer, {
        version: types.V5,
        cleanStart: false,
        keepAliveSeconds: 0,
        clientId: this.clientId,
        clientIdBytes: utf8Bytes(this.clientId),
        will: undefined,
        username: undefined,
        password: undefined,
        properties: { sessionExpiryInterval: SESSION_SECONDS, userProperties },
      }),
    );
  }

  /** The network connection is gone; the session is not, and has what was subscribed to on any stream. @param isQuic the transport tells further streams first */
  lose(isBrokerAlive: boolean, isQuic = false): void {
    const streams = isQuic ? this.all.reverse() : this.all;
    for (const { granted } of this.streams) for (const [filter, qos] of granted) this.ownGranted.set(filter, qos);
    this.control = null;
    this.streams = [];
    this.isAccepted = false;
    if (isBrokerAlive) for (const { channel } of streams) channel.lose('quic_closed');
  }

  /** Opens a further stream. */
  openStream(): void {
    const { connection } = this.control!.channel;
    this.streams.push(new SimStream(new MemoryChannel(connection.shard, connection), new Set()));
  }

  /** Ends one of the further streams, and with it its subscriptions. */
  endStream(random: Random): void {
    if (this.streams.length === 0) return;
    const stream = random.of(this.streams);
    this.streams = this.streams.filter((one) => one !== stream);
    stream.channel.lose(STREAM_CLOSED);
  }

  private send(write: (writer: Writer) => void): void {
    this.control!.send(write);
  }

  private freePacketId(): number {
    // Some libraries give out the lowest identifier that is free, some the next one.
    if (this.reusesLowest) this.nextPacketId = 0;
    do this.nextPacketId = this.nextPacketId === 65_535 ? 1 : this.nextPacketId + 1;
    while (this.outgoing.has(this.nextPacketId) || this.control!.subscribing.has(this.nextPacketId));
    return this.nextPacketId;
  }

  publish(message: SimMessage): void {
    const packetId = this.freePacketId();
    this.outgoing.set(packetId, { message, packetId, isReleased: false });
    this.sendPublish(message, packetId, false);
  }

  private sendPublish(message: SimMessage, packetId: number, isDup: boolean): void {
    const packet = publishOf(message.topic, message.id, message.qos, packetId, {}, message.retain);
    packet.dup = isDup;
    this.send((writer) => writePublishPacket(writer, packet, types.V5));
  }

  /** @param retainHandling 2: no Retained Messages @param random chooses the stream; none: the first */
  subscribe(filter: string, qos: number, retainHandling = 2, random: Random | null = null): void {
    const stream = random === null ? this.control! : random.of(this.all);
    const packetId = stream === this.control ? this.freePacketId() : stream.nextPacketId++;
    stream.subscribing.set(packetId, { filter, qos });
    const entry = { filter, qos, noLocal: false, retainAsPublished: false, retainHandling };
    stream.send((writer) => writeSubscribe(writer, { packetId, properties: {}, entries: [entry] }, types.V5));
  }

  /** Answers what waits for an answer; of several on one stream the first `count`. */
  answer(count: number): void {
    for (const stream of this.all) {
      for (const { type, packetId } of stream.unanswered.splice(0, count)) {
        if (type === types.PUBCOMP) stream.received.delete(packetId);
        if (!stream.channel.isDestroyed) stream.send((writer) => writeAckDetail(writer, type, types.V5, packetId, 0, undefined));
      }
    }
  }

  /** Reads what the broker has sent since the last call. */
  take(): void {
    const { control } = this;
    if (control === null) return;
    for (const stream of this.all) {
      const { channel } = stream;
      for (; stream.parsedWrites < channel.writes.length; stream.parsedWrites++) this.parse(stream, channel.writes[stream.parsedWrites]!);
    }
    if (control.channel.isDestroyed || control.channel.isEnded) this.lose(true);
  }

  private parse(stream: SimStream, bytes: Uint8Array): void {
    const frame = new Frame();
    for (let at = 0; at < bytes.length; at = frame.bodyEnd) {
      assert.equal(readFrame(frame, bytes, at, bytes.length, PACKET_BYTES_MAX), 0, 'the output is whole packets');
      this.handle(stream, frame.first, Buffer.from(bytes.subarray(frame.bodyAt, frame.bodyEnd)));
    }
  }

  private handle(stream: SimStream, first: number, body: Buffer): void {
    switch (first >>> 4) {
      case types.CONNACK:
        this.onConnack(body);
        return;
      case types.PUBLISH:
        this.onPublish(stream, first, body);
        return;
      case types.PUBACK:
      case types.PUBREC:
      case types.PUBCOMP:
        this.onAck(first >>> 4, body);
        return;
      case types.PUBREL: {
        const view = ackOf(types.PUBREL, body);
        stream.unanswered.push({ type: types.PUBCOMP, packetId: view.packetId });
        return;
      }
      case types.SUBACK: {
        const packet = new SubackPacket();
        assert.equal(readSuback(packet, body, 0, body.length, types.V5), 0);
        const asked = stream.subscribing.get(packet.packetId)!;
        stream.subscribing.delete(packet.packetId);
        const granted = stream === this.control ? this.ownGranted : stream.granted;
        if (packet.codes[0]! < 0x80) granted.set(asked.filter, packet.codes[0]!);
        return;
      }
    }
  }

  private onConnack(body: Buffer): void {
    const packet = new ConnackPacket();
    assert.equal(readConnack(packet, body, 0, body.length, types.V5), 0);
    if (packet.code !== 0) return;
    if (this.hasSession && !packet.sessionPresent) this.complaints.push(`${this.clientId}: the session is gone`);
    this.hasSession = true;
    this.isAccepted = true;
    for (const { message, packetId, isReleased } of this.outgoing.values()) {
      if (isReleased) this.send((writer) => writeAckDetail(writer, types.PUBREL, types.V5, packetId, 0, undefined));
      else this.sendPublish(message, packetId, true);
    }
  }

  private onPublish(stream: SimStream, first: number, body: Buffer): void {
    const packet = new PublishPacket();
    assert.equal(readPublishPacket(packet, body, 0, body.length, first, types.V5), 0);
    const isKnown = packet.qos === 2 && stream.received.has(packet.packetId);
    if (!isKnown) this.arrived.push({ id: Buffer.from(packet.payload).toString(), qos: packet.qos, isRetained: packet.retain });
    if (packet.qos === 2) stream.received.add(packet.packetId);
    if (packet.qos > 0) stream.unanswered.push({ type: packet.qos === 1 ? types.PUBACK : types.PUBREC, packetId: packet.packetId });
  }

  private onAck(type: number, body: Buffer): void {
    const view = ackOf(type, body);
    const outgoing = this.outgoing.get(view.packetId);
    if (outgoing === undefined) return;
    if (type === types.PUBCOMP) {
      this.outgoing.delete(view.packetId);
      return;
    }
    if (view.reasonCode < 0x80 && view.reasonCode !== 0x10) outgoing.message.isPromised = true;
    if (type === types.PUBACK || view.reasonCode >= 0x80) this.outgoing.delete(view.packetId);
    else {
      outgoing.isReleased = true;
      this.send((writer) => writeAckDetail(writer, types.PUBREL, types.V5, view.packetId, 0, undefined));
    }
  }
}

function ackOf(type: number, body: Buffer): AckView {
  const view = new AckView();
  assert.equal(readAck(view, type, body, 0, body.length, types.V5), 0);
  return view;
}
