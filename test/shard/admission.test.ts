/*
 * Goal: the accepting shard finds the owner of a client in any chunking of its CONNECT, loses no byte that came with it, and turns everything else away with the
 * answer that the standard names.
 * Method: random CONNECT packets cut at random places; the rows of the packet table; garbage.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { writeConnect } from '../../src/protocol/connect.ts';
import { FRAME_INCOMPLETE, Frame, readFrame } from '../../src/protocol/framer.ts';
import { CONNACK, CONNECT } from '../../src/protocol/packet-type.ts';
import { ReasonCode } from '../../src/protocol/reason-code.ts';
import { ADMISSION_OPEN, ADMISSION_REFUSED, Admission } from '../../src/shard/admission.ts';
import { PACKETS, packetBytes } from '../packets.ts';
import { connects } from '../protocol/arbitrary.ts';
import { packetOf } from '../support/packet-client.ts';
import { shardOfClientId } from '../support/placement.ts';
import { startShards } from '../support/shard-group.ts';
import '../protocol/seed.ts';

const SHARDS = 3;

async function shardOf(set: string[] = []) {
  const group = await startShards(SHARDS, set);
  group.stop();
  return group.shards[1]!;
}

test('any chunking of a CONNECT finds the owner, and what came behind it is kept', async () => {
  const shard = await shardOf();
  const versions = fc.constantFrom<3 | 4 | 5>(3, 4, 5);
  fc.assert(
    fc.property(
      versions.chain((version) => connects(version)),
      fc.uint8Array({ maxLength: 50 }),
      fc.array(fc.nat(400), { maxLength: 8 }),
      (packet, behind, cuts) => {
        const connect = packetOf((writer) => writeConnect(writer, packet));
        const all = Buffer.concat([connect, behind]);
        const places = [...new Set([0, ...cuts.filter((cut) => cut < connect.length), all.length])].sort((a, b) => a - b);
        const admission = new Admission(shard, shard.settings.limits.packetBytes);
        let owner = ADMISSION_OPEN;
        for (let i = 1; i < places.length; i++) {
          assert.equal(owner, ADMISSION_OPEN, 'the owner is not known before the packet is whole');
          const chunk = Buffer.from(all.subarray(places[i - 1]!, places[i]!));
          owner = admission.take(chunk);
          chunk.fill(0xee);
        }
        assert.equal(owner, packet.clientId === '' ? shard.index : shardOfClientId(packet.clientId, SHARDS));
        assert.ok(Buffer.from(admission.read).equals(all));
      },
    ),
  );
});

test('an empty chunk changes nothing', async () => {
  const shard = await shardOf();
  const admission = new Admission(shard, shard.settings.limits.packetBytes);
  assert.equal(admission.take(new Uint8Array(0)), ADMISSION_OPEN);
  assert.equal(admission.take(packetBytes('10')), ADMISSION_OPEN);
  assert.equal(admission.take(new Uint8Array(0)), ADMISSION_OPEN);
  assert.equal(admission.read.length, 1);
});

test('each CONNECT of the packet table: an owner, or its reason', async () => {
  const shard = await shardOf();
  const frame = new Frame();
  let refused = 0;
  for (const row of PACKETS) {
    const bytes = packetBytes(row.hex);
    if (row.from !== 'client' || bytes[0]! >>> 4 !== CONNECT) continue;
    const admission = new Admission(shard, shard.settings.limits.packetBytes);
    const owner = admission.take(bytes);
    if (row.code === 0) {
      assert.ok(owner >= 0 && owner < SHARDS, row.name);
      continue;
    }
    refused++;
    assert.equal(owner, ADMISSION_REFUSED, row.name);
    if (bytes[0] === CONNECT << 4) assert.equal(admission.reason, row.code, row.name);
    if (admission.answer === null) continue;
    assert.equal(readFrame(frame, admission.answer, 0, admission.answer.length, 1000), 0, row.name);
    assert.equal(frame.first >>> 4, CONNACK, row.name);
    assert.equal(admission.answer[frame.bodyAt], 0, row.name);
    if (row.version === 5) assert.equal(admission.answer[frame.bodyAt + 1], row.code, row.name);
  }
  assert.ok(refused > 20);
});

test('any other packet first is refused at its first byte, without an answer', async () => {
  const shard = await shardOf();
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 100 }), (bytes) => {
      fc.pre(bytes[0] !== CONNECT << 4);
      const admission = new Admission(shard, shard.settings.limits.packetBytes);
      assert.equal(admission.take(bytes), ADMISSION_REFUSED);
      assert.equal(admission.answer, null);
    }),
  );
});

test('garbage behind a right first byte is refused or waited for, never an error', async () => {
  const shard = await shardOf();
  const frame = new Frame();
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (rest) => {
      const bytes = Buffer.concat([packetBytes('10'), rest]);
      const owner = new Admission(shard, shard.settings.limits.packetBytes).take(bytes);
      const code = readFrame(frame, bytes, 0, bytes.length, shard.settings.limits.packetBytes);
      assert.equal(owner === ADMISSION_OPEN, code === FRAME_INCOMPLETE);
    }),
    { numRuns: 1000 },
  );
});

test('a CONNECT above the largest packet is refused as soon as its header says so', async () => {
  const admission = new Admission(await shardOf(), 200);
  assert.equal(admission.take(packetBytes('10c9')), ADMISSION_OPEN);
  assert.equal(admission.take(packetBytes('01')), ADMISSION_REFUSED);
  assert.equal(admission.reason, ReasonCode.PacketTooLarge);
  assert.equal(admission.read.length, 3);
});
