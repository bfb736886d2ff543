/*
 * A small MQTT client for tests, made of the project's own codec, versions 3.1, 3.1.1 and 5.0. It adds nothing to what it is told to send and hides nothing of
 * what it gets: no reconnect, no retry, no check of what the caller sends. Whatever waits for an answer fails when the connection ends or the deadline passes,
 * so no test hangs. Acknowledgements of received messages are automatic unless `autoAck` is false.
 */
import assert from 'node:assert/strict';
import type { Duplex } from 'node:stream';
import { utf8Bytes, Writer } from '../../src/base/bytes.ts';
import { AckView, readAck, writeAckDetail } from '../../src/protocol/ack.ts';
import { ConnackPacket, readConnack, writeConnect } from '../../src/protocol/connect.ts';
import { PINGREQ_IMAGE, ReasonPacket, readAuth, readDisconnect, writeAuth, writeDisconnect } from '../../src/protocol/disconnect.ts';
import { FRAME_INCOMPLETE, Frame, readFrame } from '../../src/protocol/framer.ts';
import * as types from '../../src/protocol/packet-type.ts';
import type { Properties } from '../../src/protocol/property.ts';
import { PublishPacket, readPublishPacket, writePublishPacket } from '../../src/protocol/publish.ts';
import {
  readSuback,
  readUnsuback,
  SubackPacket,
  type SubscribeEntry,
  SubscribePacket,
  UnsubscribePacket,
  writeSubscribe,
  writeUnsubscribe,
} from '../../src/protocol/subscribe.ts';
import { type DialPlace, dial } from './dial.ts';
import type { ScramClient } from './scram-client.ts';

/** Longest wait for one answer or message. */
const DEADLINE_MILLISECONDS = 10_000;
const PACKET_BYTES_MAX = 268_435_460;

export interface TestWill {
  readonly topic: string;
  readonly payload?: string | Uint8Array;
  readonly qos?: number;
  readonly retain?: boolean;
  /** Will Properties, `willDelayInterval` among them. */
  readonly properties?: Properties;
}

export interface ConnectOptions {
  /** Empty: the server assigns one. */
  readonly clientId?: string;
  /** 3 (MQTT 3.1), 4 (3.1.1) or 5. */
  readonly version?: types.ProtocolVersion;
  readonly cleanStart?: boolean;
  readonly keepAlive?: number;
  readonly properties?: Properties;
  readonly will?: TestWill;
  readonly username?: string;
  readonly password?: string | Uint8Array;
  /** Logs in by an exchange of AUTH packets. */
  readonly scram?: ScramClient;
  /** Address to connect from, such as 127.0.0.2. */
  readonly localAddress?: string;
  /** Whether received messages are acknowledged as they come; true unless written. Otherwise `ack` does it. */
  readonly autoAck?: boolean;
  /** Whether PUBREL is answered with PUBCOMP as it comes; true unless written. Otherwise `complete` does it. */
  readonly autoComplete?: boolean;
}

export interface PublishOptions {
  readonly qos?: number;
  readonly retain?: boolean;
  readonly properties?: Properties;
  /** Chosen by the client unless written. */
  readonly packetId?: number;
  readonly dup?: boolean;
  /** False: a QoS 2 publish resolves at PUBREC, and `release` sends the PUBREL. */
  readonly release?: boolean;
}

/** What the broker answered to a PUBLISH: reason code and properties of PUBACK or PUBREC; 0 and none for QoS 0 and before MQTT 5. */
export interface PublishAnswer {
  readonly code: number;
  readonly properties: Properties;
  readonly packetId: number;
}

export interface SubscribeOptions {
  readonly qos?: number;
  readonly noLocal?: boolean;
  readonly retainAsPublished?: boolean;
  readonly retainHandling?: number;
  /** Properties of the SUBSCRIBE, `subscriptionIdentifiers` among them. */
  readonly properties?: Properties;
}

/** How a connection ended: reason code and properties of the DISCONNECT that the broker sent, if it sent one. */
export interface Closing {
  readonly code?: number;
  readonly properties?: Properties;
}

/** The broker refused the connection. */
export class Refusal extends Error {
  readonly connack: ConnackPacket;

  constructor(connack: ConnackPacket) {
    super(`CONNACK refuses with 0x${connack.code.toString(16)}`);
    this.connack = connack;
  }
}

/** One who waits for an answer. */
interface Waiter<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (reason: Error) => void;
}

/** The payload as text. */
export function payloadText(packet: PublishPacket): string {
  return Buffer.from(packet.payload).toString();
}

/** Values of the User Properties with this name, in order. */
export function userValues(properties: Properties, name: string): string[] {
  return (properties.userProperties ?? []).filter(([key]) => key === name).map(([, value]) => value);
}

/**
 * Connects, over TCP to a port or over any transport to its place, and waits for CONNACK. The first message may already be in `messages` when it resolves.
 * Rejects with `Refusal` when CONNACK refuses, with an Error when the connection ends before.
 */
export async function connect(place: number | DialPlace, options: ConnectOptions = {}): Promise<TestClient> {
  const client = new TestClient(place, options);
  await client.opened;
  return client;
}

/** Connects, and goes again. @returns the code of the CONNACK: 0, or that of the refusal */
export async function connackCode(place: number | DialPlace, options: ConnectOptions = {}): Promise<number> {
  let client: TestClient;
  try {
    client = await connect(place, options);
  } catch (error) {
    if (error instanceof Refusal) return error.connack.code;
    throw error;
  }
  await client.disconnect();
  return 0;
}

export class TestClient {
  /** The assigned one when the server assigned it. */
  clientId: string;
  readonly version: types.ProtocolVersion;
  /** Every PUBLISH so far, in the order of arrival; a Topic Alias is resolved. */
  readonly messages: PublishPacket[] = [];
  /** Packet Identifier of every PUBREL so far. */
  readonly pubrels: number[] = [];
  connack: ConnackPacket = new ConnackPacket();
  /** Settles when CONNACK has come; `connect` waits for it. */
  readonly opened: Promise<void>;
  /** Resolves when the connection has ended; never rejects. */
  readonly closed: Promise<Closing>;

  private readonly socket: Duplex;
  private readonly autoAck: boolean;
  private readonly autoComplete: boolean;
  private readonly frame = new Frame();
  private readonly writer = new Writer(256);
  private received: Buffer = Buffer.alloc(0);
  /** Messages that `next` has handed out. */
  private taken = 0;
  private lastPacketId = 0;
  private goodbye: ReasonPacket | undefined;
  private ended: Error | undefined;
  private readonly aliases = new Map<number, string>();
  private readonly publishing = new Map<number, Waiter<PublishAnswer> & { readonly release: boolean; answer: PublishAnswer | undefined }>();
  private readonly subscribing = new Map<number, Waiter<SubackPacket>>();
  private readonly pings: Waiter<void>[] = [];
  /** The exchange under way, or the last one. */
  private scram: ScramClient | undefined;
  private renewing: Waiter<ReasonPacket> | undefined;
  /** Rejects each that waits for anything. */
  private readonly waiting = new Set<(reason: Error) => void>();
  private readonly arrivals: Waiter<void>[] = [];
  private opening: Waiter<void> | undefined;

  /** Use `connect`. */
  constructor(place: number | DialPlace, options: ConnectOptions) {
    this.clientId = options.clientId ?? '';
    this.version = options.version ?? types.V5;
    this.scram = options.scram;
    this.autoAck = options.autoAck ?? true;
    this.autoComplete = options.autoComplete ?? true;
    const { localAddress } = options;
    const at: DialPlace = typeof place === 'number' ? { transport: 'tcp', host: '127.0.0.1', port: place } : place;
    this.socket = dial({ ...at, ...(localAddress === undefined ? {} : { localAddress }) });
    this.opened = this.wait('CONNACK', (waiter) => {
      this.opening = waiter;
    });
    this.closed = new Promise((resolve) => {
      this.socket.on('close', () => {
        this.fail(
          new Error(
            `the connection of ${this.clientId} has ended${this.goodbye === undefined ? '' : `, DISCONNECT 0x${this.goodbye.code.toString(16)}`}`,
          ),
        );
        resolve(this.goodbye === undefined ? {} : { code: this.goodbye.code, properties: this.goodbye.properties });
      });
    });
    this.socket.on('error', (error: Error) => this.fail(error));
    // A WebSocket stream closes only when this side has ended, too.
    this.socket.on('end', () => this.socket.end());
    this.socket.on('data', (chunk: Buffer) => this.take(chunk));
    this.sendConnect(options);
  }

  /** Publishes. Resolves at PUBACK, at PUBCOMP, at a PUBREC of 0x80 or more; for QoS 0 when the bytes have been handed to the kernel. */
  publish(topic: string, payload: string | Uint8Array = '', options: PublishOptions = {}): Promise<PublishAnswer> {
    const packet = new PublishPacket();
    packet.topic = topic;
    packet.payload = bytesOf(payload);
    packet.qos = options.qos ?? 0;
    packet.retain = options.retain ?? false;
    packet.dup = options.dup ?? false;
    packet.properties = options.properties ?? {};
    packet.packetId = packet.qos === 0 ? 0 : (options.packetId ?? this.freePacketId());
    const { packetId } = packet;
    const bytes = this.write(() => writePublishPacket(this.writer, packet, this.version));
    return this.wait<PublishAnswer>(`the acknowledgement of ${packetId} (${topic})`, (waiter) => {
      if (packet.qos === 0) this.socket.write(bytes, () => waiter.resolve({ code: 0, properties: {}, packetId }));
      else {
        this.publishing.set(packetId, { ...waiter, release: options.release ?? true, answer: undefined });
        this.socket.write(bytes);
      }
    });
  }

  /** Sends PUBREL for a publish with `release: false`; resolves at PUBCOMP. */
  release(packetId: number): Promise<PublishAnswer> {
    return this.wait<PublishAnswer>(`PUBCOMP of ${packetId}`, (waiter) => {
      this.publishing.set(packetId, { ...waiter, release: true, answer: { code: 0, properties: {}, packetId } });
      this.sendAck(types.PUBREL, packetId, 0, undefined);
    });
  }

  /** Subscribes to one filter with `options`, or to several entries, each with options of its own. Resolves at SUBACK. */
  subscribe(
    filter: string | readonly (Partial<SubscribeEntry> & { readonly filter: string })[],
    options: SubscribeOptions = {},
  ): Promise<SubackPacket> {
    const { properties, ...common } = options;
    const entries = typeof filter === 'string' ? [{ filter }] : filter;
    const packet = new SubscribePacket();
    packet.packetId = this.freePacketId();
    packet.properties = properties ?? {};
    const plain = { qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 };
    packet.entries = entries.map((entry) => ({ ...plain, ...common, ...entry }));
    const bytes = this.write(() => writeSubscribe(this.writer, packet, this.version));
    return this.wait<SubackPacket>(`SUBACK of ${entries.map((entry) => entry.filter).join(' ')}`, (waiter) => {
      this.subscribing.set(packet.packetId, waiter);
      this.socket.write(bytes);
    });
  }

  /** Resolves at UNSUBACK; `codes` is empty before MQTT 5. */
  unsubscribe(filter: string | readonly string[], properties: Properties = {}): Promise<SubackPacket> {
    const packet = new UnsubscribePacket();
    packet.packetId = this.freePacketId();
    packet.properties = properties;
    packet.filters = typeof filter === 'string' ? [filter] : [...filter];
    const bytes = this.write(() => writeUnsubscribe(this.writer, packet, this.version));
    return this.wait<SubackPacket>(`UNSUBACK of ${packet.filters.join(' ')}`, (waiter) => {
      this.subscribing.set(packet.packetId, waiter);
      this.socket.write(bytes);
    });
  }

  /** The next message that no call has returned yet; waits for it. One caller at a time. */
  async next(): Promise<PublishPacket> {
    if (this.taken === this.messages.length) await this.wait<void>('a message', (waiter) => this.arrivals.push(waiter));
    return this.messages[this.taken++]!;
  }

  /** The next `count` messages. */
  async nextMany(count: number): Promise<PublishPacket[]> {
    const packets: PublishPacket[] = [];
    while (packets.length < count) packets.push(await this.next());
    return packets;
  }

  /** Acknowledges a message: PUBACK, or PUBREC, with `code`. Nothing for QoS 0. */
  ack(packet: PublishPacket, code = 0, properties?: Properties): void {
    if (packet.qos > 0) this.sendAck(packet.qos === 1 ? types.PUBACK : types.PUBREC, packet.packetId, code, properties);
  }

  /** Sends PUBCOMP; only needed with `autoComplete: false`. */
  complete(packetId: number, code = 0): void {
    this.sendAck(types.PUBCOMP, packetId, code, undefined);
  }

  /** PINGREQ and its PINGRESP: everything that the broker wrote to this connection before it read the PINGREQ has arrived. */
  ping(): Promise<void> {
    return this.wait<void>('PINGRESP', (waiter) => {
      this.pings.push(waiter);
      this.socket.write(PINGREQ_IMAGE);
    });
  }

  /** Proves anew who it is; resolves at AUTH 0x00, whose server signature has been checked. */
  reauthenticate(scram: ScramClient): Promise<ReasonPacket> {
    this.scram = scram;
    return this.wait<ReasonPacket>('AUTH 0x00', (waiter) => {
      this.renewing = waiter;
      this.sendAuth(0x19, scram.first());
    });
  }

  /**
   * Fails if a message has come that no `next` has returned, or comes before a PINGRESP. It sees what this client's shard has done: a message from another
   * shard is certain to have been handled only when its publisher has been answered (QoS 1, 2), or a later message of the same publisher has come.
   */
  async expectNone(): Promise<void> {
    await this.ping();
    const unread = this.messages.slice(this.taken).map((packet) => `${packet.topic}: ${payloadText(packet).slice(0, 80)}`);
    assert.deepEqual(unread, [], `${this.clientId} expected no message`);
  }

  /** Sends DISCONNECT and waits for the end of the connection. */
  async disconnect(code = 0, properties?: Properties): Promise<void> {
    this.socket.write(this.write(() => writeDisconnect(this.writer, this.version, code, properties)));
    this.socket.end();
    await this.closed;
  }

  /** Ends the connection without DISCONNECT: the network failed. */
  async destroy(): Promise<void> {
    this.socket.destroy();
    await this.closed;
  }

  /** Sends bytes as they are. */
  sendRaw(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  /** Takes no more bytes from the network until `resumeReading`: a slow client. */
  pauseReading(): void {
    this.socket.pause();
  }

  resumeReading(): void {
    this.socket.resume();
  }

  // A promise that fails at the end of the connection and at the deadline. It counts as handled, so that what a failed test leaves behind stays quiet.
  private wait<T>(what: string, register: (waiter: Waiter<T>) => void): Promise<T> {
    const promise = new Promise<T>((resolve, reject) => {
      if (this.ended !== undefined) {
        reject(this.ended);
        return;
      }
      const late = setTimeout(() => {
        failing(new Error(`${this.clientId} waited ${DEADLINE_MILLISECONDS} ms for ${what}`));
      }, DEADLINE_MILLISECONDS);
      const settle = <V>(action: (value: V) => void): ((value: V) => void) => {
        return (value) => {
          clearTimeout(late);
          this.waiting.delete(failing);
          action(value);
        };
      };
      const failing = settle(reject);
      this.waiting.add(failing);
      register({ resolve: settle(resolve), reject: failing });
    });
    promise.catch(() => {});
    return promise;
  }

  private fail(error: Error): void {
    this.ended ??= error;
    for (const reject of [...this.waiting]) reject(this.ended);
  }

  private freePacketId(): number {
    do this.lastPacketId = this.lastPacketId === 65_535 ? 1 : this.lastPacketId + 1;
    while (this.publishing.has(this.lastPacketId) || this.subscribing.has(this.lastPacketId));
    return this.lastPacketId;
  }

  private write(action: () => void): Uint8Array {
    this.writer.reset();
    action();
    return this.writer.copy();
  }

  private sendConnect(options: ConnectOptions): void {
    const { will, password } = options;
    const bytes = this.write(() =>
      writeConnect(this.writer, {
        version: this.version,
        cleanStart: options.cleanStart ?? true,
        keepAliveSeconds: options.keepAlive ?? 0,
        clientId: this.clientId,
        clientIdBytes: utf8Bytes(this.clientId),
        will:
          will === undefined
            ? undefined
            : {
                topic: will.topic,
                topicBytes: utf8Bytes(will.topic),
                payload: bytesOf(will.payload ?? ''),
                qos: will.qos ?? 0,
                retain: will.retain ?? false,
                properties: will.properties ?? {},
              },
        username: options.username,
        password: password === undefined ? undefined : bytesOf(password),
        properties: {
          ...options.properties,
          ...(options.scram !== undefined && {
            authenticationMethod: options.scram.method,
            authenticationData: options.scram.first(),
          }),
        },
      }),
    );
    this.socket.write(bytes);
  }

  private sendAuth(code: number, authenticationData: Uint8Array): void {
    const authenticationMethod = this.scram!.method;
    this.socket.write(this.write(() => writeAuth(this.writer, code, { authenticationMethod, authenticationData })));
  }

  private sendAck(packetType: number, packetId: number, code: number, properties: Properties | undefined): void {
    this.socket.write(this.write(() => writeAckDetail(this.writer, packetType, this.version, packetId, code, properties)));
  }

  private take(chunk: Buffer): void {
    const bytes = this.received.length === 0 ? chunk : Buffer.concat([this.received, chunk]);
    let at = 0;
    for (;;) {
      const code = readFrame(this.frame, bytes, at, bytes.length, PACKET_BYTES_MAX);
      if (code === FRAME_INCOMPLETE) break;
      const problem = code === 0 ? this.packet(bytes, this.frame.first, this.frame.bodyAt, this.frame.bodyEnd) : code;
      if (problem !== 0) {
        this.socket.destroy(new Error(`the broker sent a packet of type ${bytes[at]! >> 4} that is wrong: 0x${problem.toString(16)}`));
        return;
      }
      at = this.frame.bodyEnd;
    }
    this.received = bytes.subarray(at);
  }

  // Returns 0, or what is wrong with the packet.
  private packet(bytes: Uint8Array, first: number, at: number, end: number): number {
    const packetType = first >> 4;
    switch (packetType) {
      case types.PUBLISH:
        return this.onPublish(bytes, first, at, end);
      case types.PUBACK:
      case types.PUBREC:
      case types.PUBREL:
      case types.PUBCOMP:
        return this.onAck(packetType, bytes, at, end);
      case types.CONNACK: {
        const code = readConnack(this.connack, bytes, at, end, this.version);
        if (code !== 0) return code;
        if (this.connack.properties.assignedClientIdentifier !== undefined) {
          this.clientId = this.connack.properties.assignedClientIdentifier;
        }
        const { scram } = this;
        if (this.connack.code === 0 && scram !== undefined && !scram.isServer(this.connack.properties.authenticationData)) return 0x82;
        if (this.connack.code === 0) this.opening?.resolve();
        else this.opening?.reject(new Refusal(this.connack));
        return 0;
      }
      case types.SUBACK:
      case types.UNSUBACK: {
        const packet = new SubackPacket();
        const code = (packetType === types.SUBACK ? readSuback : readUnsuback)(packet, bytes, at, end, this.version);
        const waiter = this.subscribing.get(packet.packetId);
        this.subscribing.delete(packet.packetId);
        waiter?.resolve(packet);
        return code;
      }
      case types.PINGRESP:
        this.pings.shift()?.resolve();
        return 0;
      case types.AUTH:
        return this.onAuth(bytes, at, end);
      case types.DISCONNECT:
        this.goodbye = new ReasonPacket();
        return readDisconnect(this.goodbye, bytes, at, end, this.version);
      default:
        return 0x82;
    }
  }

  private onAuth(bytes: Uint8Array, at: number, end: number): number {
    const packet = new ReasonPacket();
    const code = readAuth(packet, bytes, at, end, this.version);
    const { scram } = this;
    if (code !== 0 || scram === undefined || packet.properties.authenticationMethod !== scram.method) return code || 0x82;
    const data = packet.properties.authenticationData;
    if (packet.code === 0x18) this.sendAuth(0x18, scram.answer(data!));
    else if (packet.code === 0 && scram.isServer(data)) this.renewing?.resolve(packet);
    else return 0x82;
    return 0;
  }

  private onPublish(bytes: Uint8Array, first: number, at: number, end: number): number {
    const packet = new PublishPacket();
    const code = readPublishPacket(packet, bytes, at, end, first, this.version);
    if (code !== 0) return code;
    const alias = packet.properties.topicAlias;
    if (alias !== undefined) {
      if (packet.topic !== '') this.aliases.set(alias, packet.topic);
      packet.topic = this.aliases.get(alias) ?? '';
    }
    this.messages.push(packet);
    if (this.autoAck) this.ack(packet);
    this.arrivals.shift()?.resolve();
    return 0;
  }

  private onAck(packetType: number, bytes: Uint8Array, at: number, end: number): number {
    const view = new AckView();
    const code = readAck(view, packetType, bytes, at, end, this.version);
    if (code !== 0) return code;
    const { packetId } = view;
    if (packetType === types.PUBREL) {
      this.pubrels.push(packetId);
      if (this.autoComplete) this.complete(packetId);
      return 0;
    }
    const waiter = this.publishing.get(packetId);
    if (waiter === undefined) return 0;
    const answer = { code: view.reasonCode, properties: view.properties ?? {}, packetId };
    if (packetType === types.PUBREC && view.reasonCode < 0x80) {
      waiter.answer = answer;
      if (waiter.release) {
        this.sendAck(types.PUBREL, packetId, 0, undefined);
        return 0;
      }
    }
    this.publishing.delete(packetId);
    // PUBREC says what became of the message; PUBCOMP only matters when it reports an error.
    waiter.resolve(packetType === types.PUBCOMP && view.reasonCode === 0 ? (waiter.answer ?? answer) : answer);
    return 0;
  }
}

function bytesOf(value: string | Uint8Array): Uint8Array {
  return typeof value === 'string' ? utf8Bytes(value) : value;
}
