/*
 * Packets of a client over whatever carries its bytes: what it sends, and what it has been sent, taken apart.
 */
import assert from 'node:assert/strict';
import { utf8Bytes, Writer } from '../../src/base/bytes.ts';
import { writeAckDetail } from '../../src/protocol/ack.ts';
import { ConnackPacket, readConnack, type WillPacket, writeConnect } from '../../src/protocol/connect.ts';
import { writeDisconnect } from '../../src/protocol/disconnect.ts';
import { FRAME_INCOMPLETE, Frame, readFrame } from '../../src/protocol/framer.ts';
import * as types from '../../src/protocol/packet-type.ts';
import type { Properties } from '../../src/protocol/property.ts';
import { PublishPacket, readPublishPacket, writePublishPacket } from '../../src/protocol/publish.ts';
import { type SubscribeEntry, writeSubscribe, writeUnsubscribe } from '../../src/protocol/subscribe.ts';

const PACKET_BYTES_MAX = 268_435_460;

export interface ConnectOptions {
  readonly clientId?: string;
  readonly version?: types.ProtocolVersion;
  readonly cleanStart?: boolean;
  readonly keepAlive?: number;
  readonly properties?: Properties;
  readonly will?:
    | { readonly topic: string; readonly payload?: string; readonly qos?: number; readonly properties?: Properties }
    | undefined;
}

/** A packet as it came: the type, and its body. */
export interface ReceivedPacket {
  readonly type: number;
  readonly first: number;
  readonly body: Buffer;
}

export abstract class PacketClient {
  readonly clientId: string;
  readonly version: types.ProtocolVersion;

  constructor(clientId: string, version: types.ProtocolVersion) {
    this.clientId = clientId;
    this.version = version;
  }

  /** Puts bytes on the way to the broker. */
  protected abstract transmit(bytes: Uint8Array): void;

  /** Whether the broker's bytes never end within a packet. */
  protected get isWhole(): boolean {
    return true;
  }

  /** All bytes of the broker so far. */
  protected abstract get incoming(): Buffer;

  connect(options: ConnectOptions): void {
    const { clientId } = this;
    const { will } = options;
    const willPacket: WillPacket | undefined = will && {
      topic: will.topic,
      topicBytes: utf8Bytes(will.topic),
      payload: utf8Bytes(will.payload ?? ''),
      qos: will.qos ?? 0,
      retain: false,
      properties: will.properties ?? {},
    };
    this.send((writer) =>
      writeConnect(writer, {
        version: this.version,
        cleanStart: options.cleanStart ?? true,
        keepAliveSeconds: options.keepAlive ?? 0,
        clientId,
        clientIdBytes: utf8Bytes(clientId),
        will: willPacket,
        username: undefined,
        password: undefined,
        properties: options.properties ?? {},
      }),
    );
  }

  send(write: (writer: Writer) => void): void {
    this.transmit(packetOf(write));
  }

  publish(topic: string, payload: string | Uint8Array, qos = 0, packetId = 0, properties: Properties = {}, retain = false): void {
    this.send((writer) => writePublishPacket(writer, publishOf(topic, payload, qos, packetId, properties, retain), this.version));
  }

  subscribe(filter: string, qos = 0, packetId = 1, options: Partial<SubscribeEntry> = {}, identifier = 0): void {
    const entry: SubscribeEntry = { filter, qos, noLocal: false, retainAsPublished: false, retainHandling: 0, ...options };
    const properties: Properties = identifier === 0 ? {} : { subscriptionIdentifiers: [identifier] };
    this.send((writer) => writeSubscribe(writer, { packetId, properties, entries: [entry] }, this.version));
  }

  unsubscribe(filter: string, packetId = 2): void {
    this.send((writer) => writeUnsubscribe(writer, { packetId, properties: {}, filters: [filter] }, this.version));
  }

  ack(type: number, packetId: number, code = 0): void {
    this.send((writer) => writeAckDetail(writer, type, this.version, packetId, code, undefined));
  }

  disconnect(code = 0, properties: Properties = {}): void {
    this.send((writer) => writeDisconnect(writer, this.version, code, properties));
  }

  /** All whole packets so far. */
  packets(): ReceivedPacket[] {
    const bytes = this.incoming;
    const frame = new Frame();
    const packets: ReceivedPacket[] = [];
    let at = 0;
    while (at < bytes.length) {
      const code = readFrame(frame, bytes, at, bytes.length, PACKET_BYTES_MAX);
      if (code === FRAME_INCOMPLETE && !this.isWhole) break;
      assert.equal(code, 0, 'the output is whole packets');
      packets.push({ type: frame.first >>> 4, first: frame.first, body: bytes.subarray(frame.bodyAt, frame.bodyEnd) });
      at = frame.bodyEnd;
    }
    return packets;
  }

  packetsOf(type: number): ReceivedPacket[] {
    return this.packets().filter((packet) => packet.type === type);
  }

  connack(): ConnackPacket {
    const packet = new ConnackPacket();
    const [first] = this.packets();
    assert.equal(first?.type, types.CONNACK, 'CONNACK comes first');
    assert.equal(readConnack(packet, first.body, 0, first.body.length, this.version), 0);
    return packet;
  }

  /** Messages that came so far. */
  messages(): PublishPacket[] {
    return this.packetsOf(types.PUBLISH).map(({ first, body }) => {
      const packet = new PublishPacket();
      assert.equal(readPublishPacket(packet, body, 0, body.length, first, this.version), 0);
      return packet;
    });
  }

  /** Their payloads as text. */
  payloads(): string[] {
    return this.messages().map((message) => Buffer.from(message.payload).toString());
  }
}

/** The bytes of one packet. */
export function packetOf(write: (writer: Writer) => void): Uint8Array {
  const writer = new Writer(256);
  write(writer);
  return Uint8Array.prototype.slice.call(writer.bytes, 0, writer.at);
}

export function publishOf(
  topic: string,
  payload: string | Uint8Array,
  qos: number,
  packetId: number,
  properties: Properties,
  retain: boolean,
): PublishPacket {
  const packet = new PublishPacket();
  packet.topic = topic;
  packet.payload = typeof payload === 'string' ? utf8Bytes(payload) : payload;
  packet.qos = qos;
  packet.packetId = packetId;
  packet.properties = properties;
  packet.retain = retain;
  return packet;
}
