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
  /** Acknowledgements that were not complete when their connection went, by identifier; null: none. */
  private open: Map<number, object> | null;

  constructor() {
    this.packetIds = new Map();
    this.open = null;
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

  /** The connection has gone before the message was everywhere: whoever sends it again waits for `receipt`. */
  keepOpen(packetId: number, receipt: object): void {
    if (!this.packetIds.has(packetId)) return;
    if (this.open === null) this.open = new Map();
    this.open.set(packetId, receipt);
  }

  openReceipt(packetId: number): object | undefined {
    return this.open?.get(packetId);
  }

  /** The message is everywhere, or refused. */
  closeOpen(packetId: number): void {
    if (this.open?.delete(packetId) && this.open.size === 0) this.open = null;
  }

  /** PUBREL came, or the message was refused. @returns false when the identifier was not in use */
  remove(packetId: number): boolean {
    if (this.open !== null) this.closeOpen(packetId);
    return this.packetIds.delete(packetId);
  }
}
