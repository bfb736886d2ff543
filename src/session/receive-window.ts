/**
 * ReceiveWindow: the Packet Identifiers of QoS 2 messages that the client has sent and not yet released. It is what makes QoS 2 exactly once:
 * an identifier in here has been routed, so the same PUBLISH again is only acknowledged again [MQTT-4.3.3-10].
 *
 * Session state: it outlives the connection. A set of numbers is small, because Receive Maximum bounds it.
 *
 * Hot path.
 */
export class ReceiveWindow {
  /** Whether the journal knows that the message of this identifier has been routed. */
  private readonly packetIds: Map<number, boolean>;

  constructor() {
    this.packetIds = new Map();
  }

  get count(): number {
    return this.packetIds.size;
  }

  has(packetId: number): boolean {
    return this.packetIds.has(packetId);
  }

  add(packetId: number): void {
    this.packetIds.set(packetId, false);
  }

  /** The journal has the identifier from now on. */
  markStored(packetId: number): void {
    this.packetIds.set(packetId, true);
  }

  isStored(packetId: number): boolean {
    return this.packetIds.get(packetId) === true;
  }

  /** Identifiers that the journal has; a list of the caller's. */
  stored(): number[] {
    const list: number[] = [];
    for (const [packetId, isStored] of this.packetIds) if (isStored) list.push(packetId);
    return list;
  }

  /** PUBREL came. @returns false when the identifier was not in use */
  remove(packetId: number): boolean {
    return this.packetIds.delete(packetId);
  }
}
