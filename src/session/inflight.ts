/**
 * Inflight: the QoS 1 and QoS 2 messages sent to a client and not yet acknowledged, by Packet Identifier.
 *
 *   slot = packetId & mask      states: 0 free · sent at QoS 1 (waits for PUBACK) · sent at QoS 2 (waits for PUBREC) · released (waits for PUBCOMP)
 *
 * Identifiers are given out in order and skip slots that are taken, so that a lookup is one index. The order of sending is kept as a number for each
 * entry, because a resend after reconnect must follow it. The table starts small and grows to the window; an idle session has none at all.
 * Invariant: count <= window <= 65,535, and no two entries share an identifier.
 *
 * Hot path.
 */
import { assert } from '../base/assert.ts';
import type { Delivery } from './delivery.ts';

export const INFLIGHT_FREE = 0;
export const INFLIGHT_QOS1 = 1;
export const INFLIGHT_QOS2 = 2;
export const INFLIGHT_RELEASED = 3;

export class Inflight {
  count: number;
  private packetIds: Uint16Array;
  private states: Uint8Array;
  private orders: Float64Array;
  private deliveries: (Delivery | null)[];
  private mask: number;
  private nextPacketId: number;
  private nextOrder: number;

  constructor() {
    this.count = 0;
    this.packetIds = new Uint16Array(8);
    this.states = new Uint8Array(8);
    this.orders = new Float64Array(8);
    this.deliveries = new Array<Delivery | null>(8).fill(null);
    this.mask = 7;
    this.nextPacketId = 1;
    this.nextOrder = 1;
  }

  /**
   * Takes a free Packet Identifier for a message that is sent now. The caller has checked the window.
   * @param qos 1 or 2
   * @param delivery what a resend or a redistribution needs; null when the session ends with its connection anyway
   * @returns the Packet Identifier, 1 to 65,535
   */
  add(qos: number, delivery: Delivery | null): number {
    assert(this.count < 65535, 'the in-flight window is at most 65,535');
    if (this.count > this.mask >> 1) this.grow();
    let packetId = this.nextPacketId;
    while (packetId === 0 || this.states[packetId & this.mask] !== 0) packetId = (packetId + 1) & 0xffff;
    const slot = packetId & this.mask;
    this.packetIds[slot] = packetId;
    this.states[slot] = qos === 2 ? INFLIGHT_QOS2 : INFLIGHT_QOS1;
    this.orders[slot] = this.nextOrder++;
    this.deliveries[slot] = delivery;
    this.nextPacketId = (packetId + 1) & 0xffff;
    this.count++;
    return packetId;
  }

  /** Puts back what was in flight when the broker ended, in the order of the calls. @param state `INFLIGHT_…` */
  restore(packetId: number, state: number, delivery: Delivery): void {
    assert(this.state(packetId) === INFLIGHT_FREE, 'an identifier is restored once');
    while (this.count > this.mask >> 1 || this.states[packetId & this.mask] !== 0) this.grow();
    const slot = packetId & this.mask;
    this.packetIds[slot] = packetId;
    this.states[slot] = state;
    this.orders[slot] = this.nextOrder++;
    this.deliveries[slot] = delivery;
    this.nextPacketId = (packetId + 1) & 0xffff;
    this.count++;
  }

  /** Packet Identifier of the delivery with this number in the journal; 0: none. Walks the window: not for the hot path. */
  packetIdOf(sequence: number): number {
    for (let slot = 0; slot <= this.mask; slot++)
      if (this.states[slot] !== 0 && this.deliveries[slot]?.sequence === sequence) return this.packetIds[slot]!;
    return 0;
  }

  /** State of `packetId`: INFLIGHT_FREE when it is not in flight. */
  state(packetId: number): number {
    const slot = packetId & this.mask;
    return this.packetIds[slot] === packetId ? this.states[slot]! : 0;
  }

  delivery(packetId: number): Delivery | null {
    const slot = packetId & this.mask;
    return this.packetIds[slot] === packetId ? this.deliveries[slot]! : null;
  }

  /** PUBREC came: the message is the client's, only the release is left. */
  release(packetId: number): void {
    const slot = packetId & this.mask;
    assert(this.packetIds[slot] === packetId && this.states[slot] !== 0, 'only an identifier in flight is released');
    this.states[slot] = INFLIGHT_RELEASED;
  }

  /** PUBACK or PUBCOMP came: the identifier is free again. */
  remove(packetId: number): void {
    const slot = packetId & this.mask;
    assert(this.packetIds[slot] === packetId && this.states[slot] !== 0, 'only an identifier in flight is removed');
    this.states[slot] = 0;
    this.packetIds[slot] = 0;
    this.deliveries[slot] = null;
    this.count--;
  }

  /** Packet Identifiers in the order of sending; for resends, not for the hot path. */
  inOrder(): number[] {
    const slots: number[] = [];
    for (let slot = 0; slot <= this.mask; slot++) if (this.states[slot] !== 0) slots.push(slot);
    slots.sort((a, b) => this.orders[a]! - this.orders[b]!);
    for (let i = 0; i < slots.length; i++) slots[i] = this.packetIds[slots[i]!]!;
    return slots;
  }

  private grow(): void {
    const size = (this.mask + 1) * 2;
    const packetIds = new Uint16Array(size);
    const states = new Uint8Array(size);
    const orders = new Float64Array(size);
    const deliveries = new Array<Delivery | null>(size).fill(null);
    for (let old = 0; old <= this.mask; old++) {
      if (this.states[old] === 0) continue;
      const slot = this.packetIds[old]! & (size - 1);
      packetIds[slot] = this.packetIds[old]!;
      states[slot] = this.states[old]!;
      orders[slot] = this.orders[old]!;
      deliveries[slot] = this.deliveries[old]!;
    }
    this.packetIds = packetIds;
    this.states = states;
    this.orders = orders;
    this.deliveries = deliveries;
    this.mask = size - 1;
  }
}
