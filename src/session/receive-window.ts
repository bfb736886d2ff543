/**
 * ReceiveWindow: the Packet Identifiers of QoS 2 messages that the client has sent and not yet released. It is what makes QoS 2 exactly once:
 * an identifier in here has been routed, so the same PUBLISH again is only acknowledged again [MQTT-4.3.3-10].
 *
 * Session state: it outlives the connection. A set of numbers is small, because Receive Maximum bounds it.
 *
 * Hot path.
 */
export class ReceiveWindow {
  private readonly packetIds: Set<number>;

  constructor() {
    this.packetIds = new Set();
  }

  get count(): number {
    return this.packetIds.size;
  }

  has(packetId: number): boolean {
    return this.packetIds.has(packetId);
  }

  add(packetId: number): void {
    this.packetIds.add(packetId);
  }

  /** PUBREL came. @returns false when the identifier was not in use */
  remove(packetId: number): boolean {
    return this.packetIds.delete(packetId);
  }
}
