/**
 * EventStream: the channel of an inner client (`shard/inner-client.ts`) whose messages go out as Server-Sent Events. It reads what the shard writes to any MQTT client, and answers
 * as one would: QoS 1 and 2 are acknowledged when the network has taken their events.
 *
 *   shard → PUBLISH, SUBACK, DISCONNECT → EventStream → `event: message` … → browser
 *         ← PUBACK, PUBREC, PUBCOMP ←
 *
 * A browser that does not read is a client that does not read: its connection counts as blocked, QoS 0 is dropped and the rest waits in its queue.
 */
import { isUtf8, Writer } from '../base/bytes.ts';
import { Timer } from '../base/timers.ts';
import { AckView, readAck, writeAck } from '../protocol/ack.ts';
import { ReasonPacket, readDisconnect } from '../protocol/disconnect.ts';
import { Frame, readFrame } from '../protocol/framer.ts';
import { DISCONNECT, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, V5 } from '../protocol/packet-type.ts';
import type { Properties } from '../protocol/property.ts';
import { PublishPacket, readPublishPacket } from '../protocol/publish.ts';
import { reasonName } from '../protocol/reason-code.ts';
import { readSuback, SubackPacket } from '../protocol/subscribe.ts';
import type { Channel } from '../shard/channel.ts';
import type { Connection } from '../shard/connection.ts';
import { receive } from '../shard/receive.ts';
import { connectionLost, drained } from '../shard/sessions.ts';
import type { Shard } from '../shard/shard.ts';
import type { HttpStream } from './call.ts';

/** How often something is sent, so that whoever is in between keeps the connection. */
const PING_MILLISECONDS = 15_000;
/** Of those, how often the reader may still have taken nothing of what waits. */
const STUCK_PINGS_MAX = 8;
const PACKET_BYTES_MAX = 268_435_460;
const CLOSED = 'http_closed';

export class EventStream implements Channel {
  /** Set by who has made the channel, at once. */
  connection: Connection | null;
  private readonly shard: Shard;
  /** Called with the codes of the SUBACK, with none where the client ends without one. @returns the stream; null: it is not wanted, and the client ends */
  private readonly subscribed: (codes: readonly number[]) => HttpStream | null;
  private stream: HttpStream | null;
  private readonly ping: Timer;
  /** Acknowledgements that wait until the network has taken the events. */
  private readonly acks: Writer;
  private isAnswering: boolean;
  /** Pings in a row that could not be sent. */
  private stuckPings: number;
  /** Of `Connection.dropped`, those that were told. */
  private droppedTold: number;
  private isOver: boolean;
  private readonly frame: Frame;

  constructor(shard: Shard, subscribed: (codes: readonly number[]) => HttpStream | null) {
    this.connection = null;
    this.shard = shard;
    this.subscribed = subscribed;
    this.stream = null;
    this.ping = new Timer(() => this.keepOpen());
    this.acks = new Writer(64);
    this.isAnswering = false;
    this.stuckPings = 0;
    this.droppedTold = 0;
    this.isOver = false;
    this.frame = new Frame();
  }

  /** The reader has gone. */
  lost(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.shard.timers.disarm(this.ping);
    if (this.connection !== null) connectionLost(this.connection, CLOSED);
  }

  write(bytes: Uint8Array, length: number): boolean {
    let text = '';
    const { frame } = this;
    // A block holds whole packets.
    for (let at = 0; at < length && readFrame(frame, bytes, at, length, PACKET_BYTES_MAX) === 0; at = frame.bodyEnd)
      text += this.take(frame.first, bytes, frame.bodyAt, frame.bodyEnd);
    const isTaken = this.send(text);
    if (isTaken && this.acks.at > 0) this.answerSoon();
    return isTaken;
  }

  pause(): void {}

  resume(): void {}

  end(): void {
    this.close();
  }

  destroy(): void {
    this.close();
  }

  private close(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.shard.timers.disarm(this.ping);
    if (this.stream === null) this.subscribed([]);
    else this.stream.end();
    // Not from within a call of the connection.
    setImmediate(() => connectionLost(this.connection!, CLOSED));
  }

  /** @returns whether the network has room for more */
  private send(text: string): boolean {
    const { stream, connection } = this;
    if (stream === null || this.isOver) return true;
    const { dropped } = connection!;
    if (dropped !== this.droppedTold) {
      text += `: dropped ${dropped - this.droppedTold}\n\n`;
      this.droppedTold = dropped;
    }
    if (text === '') return true;
    this.shard.timers.arm(this.ping, PING_MILLISECONDS);
    return stream.write(text);
  }

  private keepOpen(): void {
    this.shard.startTurn();
    if (!this.connection!.isBlocked) {
      this.send(':\n\n');
      return;
    }
    // What comes waits behind what is there. It has no Keep Alive that would end it: should the library not end a stream that nobody reads (it does so after 10 s in which bytes wait),
    // it would hold its place for ever.
    if (++this.stuckPings >= STUCK_PINGS_MAX) this.close();
    else this.shard.timers.arm(this.ping, PING_MILLISECONDS);
  }

  /** What a packet becomes in the stream; '' for nothing. */
  private take(first: number, bytes: Uint8Array, at: number, end: number): string {
    switch (first >> 4) {
      case PUBLISH: {
        const packet = new PublishPacket();
        if (readPublishPacket(packet, bytes, at, end, first, V5) !== 0) return '';
        if (packet.qos > 0) this.acknowledge(packet.qos === 1 ? PUBACK : PUBREC, packet.packetId);
        return event('message', messageOf(packet));
      }
      case PUBREL: {
        const view = new AckView();
        if (readAck(view, PUBREL, bytes, at, end, V5) === 0) this.acknowledge(PUBCOMP, view.packetId);
        return '';
      }
      case SUBACK: {
        const packet = new SubackPacket();
        if (readSuback(packet, bytes, at, end, V5) === 0) this.begin(packet.codes);
        return '';
      }
      case DISCONNECT: {
        const packet = new ReasonPacket();
        if (readDisconnect(packet, bytes, at, end, V5) !== 0) return '';
        return event('end', { reasonCode: packet.code, reason: reasonName(packet.code) });
      }
      default:
        return '';
    }
  }

  private begin(codes: readonly number[]): void {
    const stream = this.subscribed(codes);
    if (stream === null) {
      this.close();
      return;
    }
    this.stream = stream;
    stream.gone = () => this.lost();
    stream.drained = () => {
      this.stuckPings = 0;
      if (this.acks.at > 0) this.answerSoon();
      drained(this.connection!);
    };
    this.shard.timers.arm(this.ping, PING_MILLISECONDS);
  }

  private acknowledge(type: number, packetId: number): void {
    const { acks } = this;
    acks.room(4);
    writeAck(acks.bytes, acks.at, type, packetId);
    acks.at += 4;
  }

  /** Not from within a call of the connection. */
  private answerSoon(): void {
    if (this.isAnswering) return;
    this.isAnswering = true;
    setImmediate(() => {
      this.isAnswering = false;
      if (this.isOver) return;
      const answers = this.acks.copy();
      this.acks.reset();
      receive(this.connection!, answers, 0, answers.length);
    });
  }
}

/** One event. */
export function event(name: string, data: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

function messageOf({ topic, payload, qos, retain, properties }: PublishPacket): object {
  const isText = isUtf8(payload, 0, payload.length);
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.length);
  return {
    topic,
    ...(isText ? { payload: bytes.toString('utf8') } : { payloadBase64: bytes.toString('base64') }),
    qos,
    retain,
    properties: propertiesOf(properties),
  };
}

function propertiesOf({
  correlationData,
  payloadFormatIndicator,
  messageExpiryInterval,
  contentType,
  responseTopic,
  userProperties,
}: Properties): object {
  return {
    ...(payloadFormatIndicator !== undefined && { payloadFormat: payloadFormatIndicator }),
    ...(messageExpiryInterval !== undefined && { expirySeconds: messageExpiryInterval }),
    ...(contentType !== undefined && { contentType }),
    ...(responseTopic !== undefined && { responseTopic }),
    ...(correlationData !== undefined && { correlationData: Buffer.from(correlationData).toString('base64') }),
    ...(userProperties !== undefined && { userProperties }),
  };
}
