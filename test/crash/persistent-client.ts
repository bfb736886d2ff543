/*
 * A client whose session state outlives its connections, as section 4.1 of the standard asks of a client: messages that the broker has not acknowledged, with
 * their Packet Identifiers, and the identifiers of QoS 2 messages that it has received and not released. On a new connection it sends again, in the first
 * order, PUBLISH with DUP and PUBREL (section 4.4). It receives QoS 2 by method A (figure 4.3): the first PUBLISH of an identifier goes to the application, and
 * none further until PUBREL, so a broker that delivers twice is seen to do so. Freed Packet Identifiers are used again at once, the lowest first, so that a
 * broker that forgets or remembers the wrong thing meets the wrong message. Whatever happens is told to the checker, in the order of the bytes.
 */
import { createConnection, type Socket } from 'node:net';
import { utf8Bytes, Writer } from '../../src/base/bytes.ts';
import { AckView, readAck, writeAckDetail } from '../../src/protocol/ack.ts';
import { ConnackPacket, readConnack, writeConnect } from '../../src/protocol/connect.ts';
import { PINGREQ_IMAGE, ReasonPacket, readDisconnect, writeDisconnect } from '../../src/protocol/disconnect.ts';
import { FRAME_INCOMPLETE, Frame, readFrame } from '../../src/protocol/framer.ts';
import * as types from '../../src/protocol/packet-type.ts';
import type { Properties } from '../../src/protocol/property.ts';
import { PublishPacket, readPublishPacket, writePublishPacket } from '../../src/protocol/publish.ts';
import {
  readSuback,
  readUnsuback,
  SubackPacket,
  SubscribePacket,
  UnsubscribePacket,
  writeSubscribe,
  writeUnsubscribe,
} from '../../src/protocol/subscribe.ts';
import type { Random } from '../scenario/observe.ts';
import type { Checker, Sent } from './checker.ts';
import { contentOf, nameIn } from './content.ts';

const PACKET_BYTES_MAX = 268_435_460;
const SESSION_SECONDS = 7 * 86_400;
/** Longest wait for one answer; it ends only what would hang. */
const DEADLINE_MILLISECONDS = 30_000;
/** Answers that a client holds back at most; less than any Receive Maximum here. */
const HELD_BACK_MAX = 4;

export interface ClientOptions {
  readonly clientId: string;
  readonly version: 4 | 5;
  readonly receiveMaximum: number;
  readonly checker: Checker;
  /** Decides which answers are held back. */
  readonly random: Random;
  /** Called when something has happened on the connection, after it has been handled. */
  readonly onEvent: (client: PersistentClient, what: ClientEvent) => void;
}

/** `closed`: the broker has ended the connection, or it failed; `lost`: this end has. */
export type ClientEvent = 'connack' | 'acknowledgement' | 'message' | 'release' | 'suback' | 'pingresp' | 'closed' | 'lost';

/** A message that the broker has not fully acknowledged. */
interface Outgoing {
  readonly sent: Sent;
  readonly packetId: number;
  step: 'publish' | 'release';
  /** Number of the connection on which it was written last. */
  connection: number;
}

/** What the broker said of one message: PUBACK or PUBREC. */
export interface Answer {
  readonly id: string;
  readonly code: number;
  readonly reason: string | undefined;
}

export class PersistentClient {
  readonly clientId: string;
  readonly version: 4 | 5;
  /** In the order of first sending. */
  readonly outgoing: Outgoing[] = [];
  /** Message by Packet Identifier, received at QoS 2 and not released. */
  readonly held: Map<number, string> = new Map();
  /** Answers so far that refused. */
  readonly refusals: Answer[] = [];
  /** Connections that the broker ended, and the code of its last DISCONNECT. */
  closings = 0;
  closingCode: number | undefined;
  /** Answers everything at once. */
  isPrompt = false;
  isOpen = false;
  private readonly options: ClientOptions;
  private readonly writer = new Writer(256);
  private readonly frame = new Frame();
  private socket: Socket | undefined;
  private ending: Promise<void> = Promise.resolve();
  private connection = 0;
  /** The session of this connection is to outlive it. */
  private isDurable = true;
  /** A clean start has been asked for and not been answered. */
  private wantsClean = false;
  private bytes: Buffer = Buffer.alloc(0);
  private heldBack: Uint8Array[] = [];
  private readonly waiting = new Map<number, (packet: SubackPacket | undefined) => void>();
  private pings: ((isAnswered: boolean) => void)[] = [];
  private opening: ((isOpen: boolean) => void) | undefined;

  constructor(options: ClientOptions) {
    this.options = options;
    this.clientId = options.clientId;
    this.version = options.version;
  }

  /** Between CONNECT and its answer. */
  get isOpening(): boolean {
    return this.opening !== undefined;
  }

  /**
   * Connects. Resolves with true at CONNACK, with false when the connection ends before or is refused. A clean start that was not answered is asked for again,
   * because without the answer neither end knows which session the other one has.
   * @param isClean throw the session away; @param isDurable have it outlive the connection
   */
  async open(port: number, isClean = false, isDurable = true): Promise<boolean> {
    let mustClean = isClean || this.wantsClean;
    if (mustClean && isDurable && this.version === 4) {
      // Before MQTT 5 one flag says both, so it takes two connections.
      if (!(await this.openOnce(port, true, false))) return false;
      this.leave();
      await this.closed();
      mustClean = false;
    }
    return this.openOnce(port, mustClean, isDurable);
  }

  private openOnce(port: number, isClean: boolean, isDurable: boolean): Promise<boolean> {
    this.lose();
    const { checker, receiveMaximum } = this.options;
    const { clientId, version } = this;
    if (isClean) this.wantsClean = true;
    this.isDurable = isDurable;
    const socket = createConnection({ host: '127.0.0.1', port, noDelay: true });
    this.socket = socket;
    this.connection++;
    this.bytes = Buffer.alloc(0);
    this.ending = new Promise((resolve) => socket.on('close', () => resolve()));
    socket.on('error', () => {});
    socket.on('close', () => {
      if (this.socket !== socket) return;
      this.closings++;
      this.drop('closed');
    });
    socket.on('data', (chunk: Buffer) => {
      if (this.socket === socket) this.take(socket, chunk);
    });
    checker.connecting(clientId, isClean, isDurable);
    const properties: Properties = version === 5 ? { sessionExpiryInterval: isDurable ? SESSION_SECONDS : 0, receiveMaximum } : {};
    socket.write(
      this.packet(() =>
        writeConnect(this.writer, {
          version,
          cleanStart: version === 5 ? isClean : !isDurable,
          keepAliveSeconds: 0,
          clientId,
          clientIdBytes: utf8Bytes(clientId),
          will: undefined,
          username: undefined,
          password: undefined,
          properties,
        }),
      ),
    );
    return this.within<boolean>('CONNACK', (resolve) => {
      this.opening = resolve;
    });
  }

  /** Publishes, or keeps for the next connection. The message counts as sent from now on. */
  publish(sent: Sent): void {
    const message: Outgoing = { sent, packetId: this.freePacketId(), step: 'publish', connection: 0 };
    this.outgoing.push(message);
    this.options.checker.publishing(sent, message.packetId);
    if (this.isOpen) this.sendPublish(message);
  }

  /** Resolves with whether SUBACK came. */
  async subscribe(filter: string, qos: number, identifier: number): Promise<boolean> {
    if (!this.isOpen) return false;
    const packet = new SubscribePacket();
    packet.packetId = this.freePacketId();
    if (this.version === 5 && identifier !== 0) packet.properties = { subscriptionIdentifiers: [identifier] };
    // Retained Messages are looked at by others, and are not sent for a subscription that is only made again.
    packet.entries = [{ filter, qos, noLocal: false, retainAsPublished: false, retainHandling: this.version === 5 ? 2 : 0 }];
    this.options.checker.subscribing(this.clientId, filter, this.version === 5 ? identifier : 0);
    const suback = await this.ask(
      packet.packetId,
      `SUBACK of ${filter}`,
      this.packet(() => writeSubscribe(this.writer, packet, this.version)),
      (answer) => this.options.checker.subscribed(this.clientId, filter, answer.codes[0] ?? 0x80),
    );
    return suback !== undefined && (suback.codes[0] ?? 0x80) < 0x80;
  }

  /** Resolves with whether UNSUBACK came. */
  async unsubscribe(filter: string): Promise<boolean> {
    if (!this.isOpen) return false;
    const packet = new UnsubscribePacket();
    packet.packetId = this.freePacketId();
    packet.filters = [filter];
    this.options.checker.unsubscribing(this.clientId, filter);
    const unsuback = await this.ask(
      packet.packetId,
      `UNSUBACK of ${filter}`,
      this.packet(() => writeUnsubscribe(this.writer, packet, this.version)),
      () => this.options.checker.unsubscribed(this.clientId, filter),
    );
    return unsuback !== undefined;
  }

  /** Resolves with whether PINGRESP came. */
  async ping(): Promise<boolean> {
    if (!this.isOpen) return false;
    return this.within<boolean>('PINGRESP', (resolve) => {
      this.pings.push(resolve);
      this.socket?.write(PINGREQ_IMAGE);
    });
  }

  /** Sends what has been held back. */
  answerAll(): void {
    for (const bytes of this.heldBack) this.socket?.write(bytes);
    this.heldBack = [];
  }

  /** The network fails, as far as this end can see. */
  lose(): void {
    const socket = this.socket;
    if (socket === undefined) return;
    this.drop('lost');
    socket.destroy();
  }

  /** Leaves with DISCONNECT; the session stays as it is. */
  leave(): void {
    const socket = this.socket;
    if (socket === undefined) return;
    const bytes = this.packet(() => writeDisconnect(this.writer, this.version, 0, undefined));
    this.drop('lost');
    socket.end(bytes);
  }

  /** Resolves when the last connection has ended. */
  async closed(): Promise<void> {
    await this.ending;
  }

  /** What this client still waits for, in words. */
  describe(): string {
    const first = this.outgoing[0];
    const next = first === undefined ? '' : `, the first is ${first.sent.id} (id ${first.packetId}, ${first.step})`;
    return `${this.clientId}: ${this.isOpen ? 'connected' : 'away'}, ${this.outgoing.length} unacknowledged${next}, ${this.held.size} held, ${this.options.checker.owedTo(this.clientId)} owed`;
  }

  private drop(event: 'closed' | 'lost'): void {
    this.socket = undefined;
    if (this.isOpen && !this.isDurable) this.forgetSession();
    this.isOpen = false;
    this.heldBack = [];
    for (const resolve of [...this.waiting.values()]) resolve(undefined);
    this.waiting.clear();
    for (const resolve of this.pings) resolve(false);
    this.pings = [];
    this.opening?.(false);
    this.opening = undefined;
    this.options.checker.disconnected(this.clientId);
    this.options.onEvent(this, event);
  }

  /**
   * The session has ended with its connection, on this end too (section 4.1). Not only when a CONNACK says that there is none: the next session may have begun
   * on a connection whose CONNACK was lost, and then the one that comes says that there is one.
   */
  private forgetSession(): void {
    this.held.clear();
    this.outgoing.length = 0;
  }

  /** What comes in time settles it; what does not is a fault, and the connection is given up. */
  private within<T>(what: string, register: (resolve: (value: T) => void) => void): Promise<T> {
    return new Promise((resolve) => {
      const late = setTimeout(() => {
        this.options.checker.violate(`${this.clientId} waited ${DEADLINE_MILLISECONDS} ms for ${what}`);
        this.lose();
      }, DEADLINE_MILLISECONDS);
      register((value) => {
        clearTimeout(late);
        resolve(value);
      });
    });
  }

  private ask(packetId: number, what: string, bytes: Uint8Array, note: (answer: SubackPacket) => void): Promise<SubackPacket | undefined> {
    return this.within(what, (resolve) => {
      this.waiting.set(packetId, (answer) => {
        if (answer !== undefined) note(answer);
        resolve(answer);
      });
      this.socket?.write(bytes);
    });
  }

  private packet(write: () => void): Uint8Array {
    this.writer.reset();
    write();
    return this.writer.copy();
  }

  private freePacketId(): number {
    const taken = new Set(this.outgoing.map(({ packetId }) => packetId));
    let packetId = 1;
    while (taken.has(packetId) || this.waiting.has(packetId)) packetId++;
    return packetId;
  }

  private sendPublish(message: Outgoing): void {
    const { sent } = message;
    const packet = new PublishPacket();
    packet.topic = sent.topic;
    packet.payload = contentOf(sent.id, sent.payloadBytes);
    packet.qos = sent.qos;
    packet.retain = sent.retain;
    packet.packetId = message.packetId;
    packet.dup = message.connection > 0; // [MQTT-3.3.1-1]
    if (packet.dup) this.options.checker.publishingAgain(sent.id);
    message.connection = this.connection;
    this.socket?.write(this.packet(() => writePublishPacket(this.writer, packet, this.version)));
  }

  private sendAck(packetType: number, packetId: number, code = 0): void {
    this.socket?.write(this.packet(() => writeAckDetail(this.writer, packetType, this.version, packetId, code, undefined)));
  }

  /** An answer to a message: now, or together with later ones, in their order [MQTT-4.6.0-2]. */
  private answer(packetType: number, packetId: number): void {
    this.heldBack.push(this.packet(() => writeAckDetail(this.writer, packetType, this.version, packetId, 0, undefined)));
    if (this.isPrompt || this.heldBack.length > HELD_BACK_MAX || !this.options.random.oneIn(3)) this.answerAll();
  }

  private take(socket: Socket, chunk: Buffer): void {
    const bytes = this.bytes.length === 0 ? chunk : Buffer.concat([this.bytes, chunk]);
    let at = 0;
    for (;;) {
      const code = readFrame(this.frame, bytes, at, bytes.length, PACKET_BYTES_MAX);
      if (code === FRAME_INCOMPLETE) break;
      const problem = code === 0 ? this.handle(bytes, this.frame.first, this.frame.bodyAt, this.frame.bodyEnd) : code;
      if (problem !== 0) {
        this.options.checker.violate(`${this.clientId} got a packet of type ${bytes[at]! >> 4} that is wrong: 0x${problem.toString(16)}`);
        this.lose();
      }
      // An event may have ended the connection.
      if (this.socket !== socket) return;
      at = this.frame.bodyEnd;
    }
    this.bytes = bytes.subarray(at);
  }

  /** @returns 0, or what is wrong with the packet */
  private handle(bytes: Uint8Array, first: number, at: number, end: number): number {
    const { version } = this;
    switch (first >> 4) {
      case types.CONNACK:
        return this.onConnack(bytes, at, end);
      case types.PUBLISH:
        return this.onPublish(bytes, first, at, end);
      case types.PUBACK:
      case types.PUBREC:
      case types.PUBREL:
      case types.PUBCOMP:
        return this.onAck(first >> 4, bytes, at, end);
      case types.SUBACK:
      case types.UNSUBACK: {
        const packet = new SubackPacket();
        const code = (first >> 4 === types.SUBACK ? readSuback : readUnsuback)(packet, bytes, at, end, version);
        const waiter = this.waiting.get(packet.packetId);
        this.waiting.delete(packet.packetId);
        waiter?.(packet);
        this.options.onEvent(this, 'suback');
        return code;
      }
      case types.PINGRESP:
        this.pings.shift()?.(true);
        this.options.onEvent(this, 'pingresp');
        return 0;
      case types.DISCONNECT: {
        const packet = new ReasonPacket();
        const code = readDisconnect(packet, bytes, at, end, version);
        this.closingCode = packet.code;
        return code;
      }
      default:
        return 0x82;
    }
  }

  private onConnack(bytes: Uint8Array, at: number, end: number): number {
    const packet = new ConnackPacket();
    const code = readConnack(packet, bytes, at, end, this.version);
    if (code !== 0) return code;
    const resolve = this.opening;
    this.opening = undefined;
    if (packet.code !== 0) {
      this.closingCode = packet.code;
      resolve?.(false);
      return 0;
    }
    this.options.checker.connected(this.clientId, packet.sessionPresent);
    // Without a session on the other side there is nothing to go on with (section 4.1).
    if (!packet.sessionPresent) this.held.clear();
    if (this.wantsClean) this.outgoing.length = 0;
    this.wantsClean = false;
    this.isOpen = true;
    for (const message of this.outgoing) {
      if (message.step === 'publish') this.sendPublish(message);
      else this.sendAck(types.PUBREL, message.packetId);
    }
    resolve?.(true);
    this.options.onEvent(this, 'connack');
    return 0;
  }

  private onPublish(bytes: Uint8Array, first: number, at: number, end: number): number {
    const { checker } = this.options;
    const packet = new PublishPacket();
    const code = readPublishPacket(packet, bytes, at, end, first, this.version);
    if (code !== 0) return code;
    const { packetId, payload } = packet;
    const heldId = packet.qos === 2 ? this.held.get(packetId) : undefined;
    if (heldId !== undefined) checker.receivedHeld(this.clientId, heldId, packetId, payload, packet.dup);
    else {
      if (packet.qos === 2) this.held.set(packetId, nameIn(payload));
      checker.received(this.clientId, {
        topic: packet.topic,
        payload,
        qos: packet.qos,
        packetId,
        isDup: packet.dup,
        identifiers: packet.properties.subscriptionIdentifiers ?? [],
      });
    }
    if (packet.qos > 0) this.answer(packet.qos === 1 ? types.PUBACK : types.PUBREC, packetId);
    this.options.onEvent(this, 'message');
    return 0;
  }

  private onAck(packetType: number, bytes: Uint8Array, at: number, end: number): number {
    const view = new AckView();
    const code = readAck(view, packetType, bytes, at, end, this.version);
    if (code !== 0) return code;
    const { packetId, reasonCode } = view;
    if (packetType === types.PUBREL) {
      this.held.delete(packetId);
      this.answer(types.PUBCOMP, packetId);
      this.options.onEvent(this, 'release');
      return 0;
    }
    const index = this.outgoing.findIndex((message) => message.packetId === packetId);
    const message = this.outgoing[index];
    const wanted =
      message === undefined ? '' : message.sent.qos === 1 ? types.PUBACK : message.step === 'publish' ? types.PUBREC : types.PUBCOMP;
    if (message === undefined || packetType !== wanted) {
      // PUBREC may come twice: for the PUBLISH and for its copy.
      if (packetType === types.PUBREC && message?.step === 'release') this.sendAck(types.PUBREL, packetId);
      else
        this.options.checker.violate(
          `${this.clientId} got ${types.packetTypeName(packetType)} for Packet Identifier ${packetId}, which ${message === undefined ? 'is not in use' : `waits for another answer (${message.sent.id})`}`,
        );
      return 0;
    }
    if (packetType !== types.PUBCOMP) {
      this.options.checker.answered(message.sent.id, reasonCode);
      if (reasonCode >= 0x80) this.refusals.push({ id: message.sent.id, code: reasonCode, reason: view.properties?.reasonString });
    }
    if (packetType === types.PUBREC && reasonCode < 0x80) {
      message.step = 'release';
      this.sendAck(types.PUBREL, packetId);
    } else this.outgoing.splice(index, 1);
    this.options.onEvent(this, 'acknowledgement');
    return 0;
  }
}
