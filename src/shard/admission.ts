/**
 * Admission: what the accepting shard does with a new connection before anyone owns it. It collects bytes until the first packet is whole, and that must be
 * a CONNECT; its Client Identifier decides which shard owns the client.
 *
 *   bytes → incomplete (bounded by `limits.packetSize`, `limits.connectTimeout`) → CONNECT → owner
 *                                                                               → anything else: CONNACK with the reason, or a bare close
 *
 * The owner reads the CONNECT again: a cold packet once more costs less than a second form of it.
 */
import { copyBytes, type ViewedBytes, Writer } from '../base/bytes.ts';
import { hash32 } from '../base/hash.ts';
import { readConnect, writeConnack } from '../protocol/connect.ts';
import { FRAME_INCOMPLETE, Frame, readFrame } from '../protocol/framer.ts';
import { CONNECT, type ProtocolVersion, V5 } from '../protocol/packet-type.ts';
import { ReasonCode } from '../protocol/reason-code.ts';
import { shardOfSlot, slotOf } from '../routing/slot.ts';
import type { Shard } from './shard.ts';

/** More bytes are needed. */
export const ADMISSION_OPEN = -1;
/** The connection is to be closed, after `answer` if there is one. */
export const ADMISSION_REFUSED = -2;

/** Bytes of first packets that are not whole, of all connections of one shard. */
const ADMISSION_BYTES_MAX = 64 * 1024 * 1024;

const frame = new Frame();
const NOTHING = new Uint8Array(0);

/**
 * Whether a refused CONNECT is answered by CONNACK. An unknown protocol is not, and neither is a v3 packet that breaks the protocol: v3 has no return code
 * for that [MQTT-3.1.4-1].
 */
export function hasAnswer(version: ProtocolVersion | 0, code: ReasonCode): boolean {
  if (version === 0) return false;
  return (
    version === V5 || (code !== ReasonCode.MalformedPacket && code !== ReasonCode.ProtocolError && code !== ReasonCode.TopicNameInvalid)
  );
}

export class Admission {
  private readonly shard: Shard;
  private readonly packetBytesMax: number;
  /** A block that is lent (`output-blocks.ts`): first packets that come in pieces, by hundreds a second, would keep the garbage collector busy. Null: nothing came yet. */
  private bytes: ViewedBytes | null;
  private length: number;
  /** CONNACK for a refusal, or null: close without a word. */
  answer: Uint8Array | null;
  /** Why it was refused, for the log. */
  reason: number;

  /** @param packetBytesMax largest packet of the listener */
  constructor(shard: Shard, packetBytesMax: number) {
    this.shard = shard;
    this.packetBytesMax = packetBytesMax;
    this.bytes = null;
    this.length = 0;
    this.answer = null;
    this.reason = 0;
  }

  /** All bytes so far; valid until `release`. */
  get read(): Uint8Array {
    return this.bytes === null ? NOTHING : this.bytes.subarray(0, this.length);
  }

  /** Takes what came. @returns the index of the owning shard, ADMISSION_OPEN or ADMISSION_REFUSED */
  take(chunk: Uint8Array): number {
    // Nobody has said who they are yet: what all of them together make the shard hold has a bound.
    if (this.shard.admissionBytes + chunk.length > ADMISSION_BYTES_MAX) return this.refuse(ReasonCode.QuotaExceeded, null);
    const bytes = this.append(chunk);
    if (this.length > 0 && bytes[0] !== CONNECT << 4) return this.refuse(0x82, null); // [MQTT-3.1.0-1]
    const code = readFrame(frame, bytes, 0, this.length, this.packetBytesMax);
    if (code === FRAME_INCOMPLETE) return ADMISSION_OPEN;
    if (code !== 0) return this.refuse(code, null);
    const result = readConnect(bytes, frame.bodyAt, frame.bodyEnd);
    if (result.packet === undefined) {
      if (!hasAnswer(result.version, result.code)) return this.refuse(result.code, null);
      const writer = new Writer(64);
      writeConnack(writer, result.version as ProtocolVersion, false, result.code, undefined);
      return this.refuse(result.code, writer.bytes.subarray(0, writer.at));
    }
    const id = result.packet.clientIdBytes;
    // An assigned identifier is chosen to belong to the shard that assigns it.
    if (id.length === 0) return this.shard.index;
    return shardOfSlot(slotOf(hash32(id, 0, id.length)), this.shard.shards);
  }

  /** The connection has left admission, whichever way. */
  leave(): void {
    this.shard.admissionBytes -= this.length;
  }

  private refuse(reason: number, answer: Uint8Array | null): number {
    this.reason = reason;
    this.answer = answer;
    return ADMISSION_REFUSED;
  }

  /** What was read is needed no more. */
  release(): void {
    if (this.bytes !== null) this.shard.blocks.give(this.bytes);
    this.bytes = null;
    this.length = 0;
  }

  private append(chunk: Uint8Array): ViewedBytes {
    const { blocks } = this.shard;
    const length = this.length + chunk.length;
    let { bytes } = this;
    if (bytes === null) bytes = blocks.take(length);
    else if (length > bytes.length) {
      const grown = blocks.take(length * 2);
      copyBytes(grown, 0, bytes, 0, this.length);
      blocks.give(bytes);
      bytes = grown;
    }
    copyBytes(bytes, this.length, chunk, 0, chunk.length);
    this.bytes = bytes;
    this.length = length;
    this.shard.admissionBytes += chunk.length;
    return bytes;
  }
}
