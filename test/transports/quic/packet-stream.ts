/*
 * One stream of a QUIC connection as an MQTT client, whatever stack carries the connection.
 */
import { type ProtocolVersion, V5 } from '../../../src/protocol/packet-type.ts';
import { PacketClient } from '../../support/packet-client.ts';

/** A QUIC connection of a test. */
export interface StreamCarrier {
  readonly received: ReadonlyMap<number, Buffer>;
  write(stream: number, bytes: Buffer): void;
  until(isTrue: () => boolean): Promise<void>;
}

export class PacketStream extends PacketClient {
  readonly id: number;
  private readonly carrier: StreamCarrier;

  constructor(carrier: StreamCarrier, id: number, clientId: string, version: ProtocolVersion = V5) {
    super(clientId, version);
    this.carrier = carrier;
    this.id = id;
  }

  protected transmit(bytes: Uint8Array): void {
    this.carrier.write(this.id, Buffer.from(bytes));
  }

  protected get incoming(): Buffer {
    return this.carrier.received.get(this.id) ?? Buffer.alloc(0);
  }

  protected override get isWhole(): boolean {
    return false;
  }

  /** Waits for so many packets of a type. */
  async has(type: number, count = 1): Promise<void> {
    await this.carrier.until(() => this.packetsOf(type).length >= count);
  }
}
