/**
 * Arrival: the first moments of a channel that stays on the shard that accepted it (TLS, WebSocket, QUIC). What comes on it goes to `Admission` until its CONNECT
 * is whole; then it is attached here, or relayed to the shard that owns its client.
 */
import { reasonName } from '../protocol/reason-code.ts';
import { ADMISSION_OPEN, ADMISSION_REFUSED, Admission } from '../shard/admission.ts';
import { attach, attachStream } from '../shard/attach.ts';
import { type ChannelEvents, type EventChannel, NO_EVENTS, type Peer } from '../shard/channel.ts';
import { counter } from '../shard/counters.ts';
import type { Gate, Opening } from './gate.ts';

const REFUSED = counter('connections/refused');

/** Brings a further stream of a client to where its connection is. @param channel it is paused @returns false when the client is gone */
export type JoinStream = (channel: EventChannel) => boolean;

class Arrival implements ChannelEvents {
  private readonly gate: Gate;
  private readonly opening: Opening;
  private readonly channel: EventChannel;
  private readonly certificate: Uint8Array | null;
  private readonly onArrived: ((join: JoinStream) => void) | undefined;
  private readonly admission: Admission;
  private isOpen: boolean;

  constructor(
    gate: Gate,
    opening: Opening,
    channel: EventChannel,
    certificate: Uint8Array | null,
    onArrived: ((join: JoinStream) => void) | undefined,
  ) {
    this.gate = gate;
    this.opening = opening;
    this.channel = channel;
    this.certificate = certificate;
    this.onArrived = onArrived;
    this.admission = new Admission(gate.shard, gate.settings.packetBytes);
    this.isOpen = true;
  }

  received(bytes: Uint8Array, length: number): boolean {
    const { shard } = this.gate;
    if (!this.isOpen) return true;
    shard.startTurn();
    const owner = this.admission.take(bytes.subarray(0, length));
    if (owner === ADMISSION_OPEN) return true;
    this.leave();
    if (owner === ADMISSION_REFUSED) this.turnAway();
    else this.pass(owner);
    this.admission.release();
    return true;
  }

  private pass(owner: number): void {
    const { shard } = this.gate;
    const { read } = this.admission;
    const peer: Peer = { name: this.opening.name, listener: this.gate.listener, certificate: this.certificate };
    if (owner === shard.index) {
      const connection = attach(shard, this.channel, peer, read);
      this.onArrived?.((channel) => attachStream(connection, channel));
      return;
    }
    const relay = shard.relays.open(owner, this.channel, peer, read);
    if (relay === 0) {
      // The owner is down for a moment.
      shard.counters[REFUSED]!++;
      this.channel.events = NO_EVENTS;
      this.channel.destroy();
    } else this.onArrived?.((channel) => shard.relays.openStream(relay, channel));
  }

  private turnAway(): void {
    const { shard } = this.gate;
    const { answer, reason } = this.admission;
    shard.counters[REFUSED]!++;
    shard.clientLog.info({ peer: this.opening.name, reason, name: reasonName(reason) }, 'connection refused at CONNECT');
    if (answer === null || this.channel.write(answer, answer.length)) this.channel.end();
  }

  /** The refusal is on its way. */
  drained(): void {
    this.channel.end();
  }

  lost(): void {
    this.leave();
    this.admission.release();
  }

  private leave(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.opening.leave();
    this.admission.leave();
  }
}

/**
 * Waits for the CONNECT of a channel.
 * @param certificate of the client, in DER, or null
 * @param onArrived told when the connection is where it belongs, with the way there for further streams
 */
export function arrive(
  gate: Gate,
  opening: Opening,
  channel: EventChannel,
  certificate: Uint8Array | null,
  onArrived?: (join: JoinStream) => void,
): void {
  channel.events = new Arrival(gate, opening, channel, certificate, onArrived);
}
