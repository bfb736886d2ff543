/*
 * What one PUBLISH costs to read and to write, and from which size on a native copy beats a loop. Each case runs in a child process of its
 * own, so that the type feedback of one does not slow another. Prints nanoseconds per operation, best of five rounds.
 * Run: node native-bench/micro/codec.bench.js [case]
 */

import { spawnSync } from 'node:child_process';
import { copyBytes, copyViewed, readText, Writer, withView } from '../../src/base/bytes.ts';
import { AckView, readAck, writeAck } from '../../src/protocol/ack.ts';
import { PUBACK, V5, V311 } from '../../src/protocol/packet-type.ts';
import { MessageView, PublishPacket, publishLength, readPublish, writePublish, writePublishPacket } from '../../src/protocol/publish.ts';

const OPERATIONS = 2_000_000;
const ROUNDS = 5;

/** Runs the body `OPERATIONS` times a round and returns the nanoseconds of one in the best round. */
function best(body: (i: number) => number): number {
  let bestNanoseconds = Number.POSITIVE_INFINITY;
  let sum = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const begin = process.hrtime.bigint();
    for (let i = 0; i < OPERATIONS; i++) sum += body(i);
    bestNanoseconds = Math.min(bestNanoseconds, Number(process.hrtime.bigint() - begin) / OPERATIONS);
  }
  // Using the sum keeps the compiler from dropping the work.
  if (Number.isNaN(sum)) throw new Error('a result was not a number');
  return bestNanoseconds;
}

function publishImage(version: 4 | 5, payloadBytes: number, withProperties: boolean): Writer {
  const packet = new PublishPacket();
  packet.topic = 'devices/p2p/client-000123';
  packet.qos = 1;
  packet.packetId = 77;
  packet.payload = new Uint8Array(payloadBytes).fill(0x61);
  if (withProperties) {
    packet.properties = {
      payloadFormatIndicator: 1,
      messageExpiryInterval: 60,
      contentType: 'text/plain',
      userProperties: [['key', 'value']],
    };
  }
  const writer = new Writer(256);
  writePublishPacket(writer, packet, version);
  return writer;
}

function readCase(version: 4 | 5, withProperties: boolean): number {
  const image = publishImage(version, 64, withProperties);
  const view = new MessageView();
  const scratch = new Writer(256);
  const bytes = image.bytes;
  const end = image.at;
  const bodyAt = end < 130 ? 2 : 3;
  return best(() => readPublish(view, bytes, bodyAt, end, bytes[0]!, version, scratch) + view.payloadAt);
}

function writeCase(version: 4 | 5, withProperties: boolean, payloadBytes: number): number {
  const image = publishImage(version, payloadBytes, withProperties);
  const view = new MessageView();
  const scratch = new Writer(256);
  const bodyAt = image.at < 130 ? 2 : 3;
  readPublish(view, image.bytes, bodyAt, image.at, image.bytes[0]!, version, scratch);
  const target = withView(Buffer.allocUnsafeSlow(65_536 * 2));
  return best((i) => {
    const length = publishLength(view, version, 1, null, 0, -1, 0, false);
    return writePublish(target, i & 0x3ff, view, version, 1, false, false, i & 0xffff, null, 0, -1, 0, false) + length;
  });
}

function copyCase(bytes: number, how: 'loop' | 'set' | 'copyBytes' | 'copyViewed'): number {
  const source = withView(Buffer.allocUnsafeSlow(4096).fill(1));
  const target = withView(Buffer.allocUnsafeSlow(4096));
  if (how === 'copyBytes') {
    return best((i) => {
      copyBytes(target, i & 255, source, i & 127, (i & 127) + bytes);
      return 1;
    });
  }
  if (how === 'copyViewed') {
    return best((i) => {
      copyViewed(target, target.dataView, i & 255, source, source.dataView, i & 127, (i & 127) + bytes);
      return 1;
    });
  }
  if (how === 'set') {
    return best((i) => {
      target.set(source.subarray(i & 127, (i & 127) + bytes), i & 255);
      return 1;
    });
  }
  return best((i) => {
    let to = i & 255;
    const end = (i & 127) + bytes;
    for (let from = i & 127; from < end; from++) target[to++] = source[from]!;
    return 1;
  });
}

function textCase(text: string): number {
  const bytes = Buffer.from(text);
  return best(() => readText(bytes, 0, bytes.length).length);
}

function ackReadCase(): number {
  const image = Buffer.alloc(4);
  writeAck(image, 0, PUBACK, 77);
  const view = new AckView();
  return best(() => readAck(view, PUBACK, image, 2, 4, V5) + view.packetId);
}

function ackWriteCase(): number {
  const target = Buffer.alloc(4096);
  return best((i) => writeAck(target, i & 1023, PUBACK, i & 0xffff));
}

const cases = new Map<string, () => number>([
  ['read PUBLISH 3.1.1, 64 bytes', () => readCase(V311, false)],
  ['read PUBLISH 5, 64 bytes', () => readCase(V5, false)],
  ['read PUBLISH 5, 64 bytes, 4 properties', () => readCase(V5, true)],
  ['write PUBLISH 3.1.1, 64 bytes', () => writeCase(V311, false, 64)],
  ['write PUBLISH 5, 64 bytes', () => writeCase(V5, false, 64)],
  ['write PUBLISH 5, 64 bytes, 4 properties', () => writeCase(V5, true, 64)],
  ['write PUBLISH 5, 1024 bytes', () => writeCase(V5, false, 1024)],
  ['read PUBACK', ackReadCase],
  ['write PUBACK', ackWriteCase],
  ['readText, 25 bytes of ASCII', () => textCase('devices/p2p/client-000123')],
  ['readText, 25 bytes of UTF-8', () => textCase('geräte/p2p/client-00012')],
]);
for (const bytes of [16, 32, 48, 64, 96, 128, 192, 256, 384, 512]) {
  for (const how of ['loop', 'set', 'copyBytes', 'copyViewed'] as const)
    cases.set(`copy ${bytes} bytes, ${how}`, () => copyCase(bytes, how));
}

const wanted = process.argv[2];
if (wanted !== undefined && cases.has(wanted)) {
  console.log(`${wanted}: ${cases.get(wanted)!().toFixed(1)} ns`);
} else {
  for (const name of cases.keys()) {
    if (wanted !== undefined && !name.includes(wanted)) continue;
    spawnSync(process.execPath, [process.argv[1]!, name], { stdio: 'inherit' });
  }
}
