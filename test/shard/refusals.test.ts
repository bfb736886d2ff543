/*
 * Goal: refusals say why, within what the client takes, and the bounds behind them hold: bytes in flight count for the process, a large request to many targets
 * and the first packets of unknown peers do not fill the memory.
 * Method: one shard in this thread and clients in memory; each refusal is brought about once with and once without problem information.
 */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { AckView, readAck } from '../../src/protocol/ack.ts';
import { ReasonPacket, readDisconnect } from '../../src/protocol/disconnect.ts';
import * as types from '../../src/protocol/packet-type.ts';
import { ReasonCode } from '../../src/protocol/reason-code.ts';
import { readSuback, SubackPacket, writeSubscribe } from '../../src/protocol/subscribe.ts';
import { ADMISSION_OPEN, ADMISSION_REFUSED, Admission } from '../../src/shard/admission.ts';
import type { ConnectOptions } from '../support/packet-client.ts';
import { type MemoryClient, type ShardGroup, startShards } from '../support/shard-group.ts';

async function oneShard(t: TestContext, set: readonly string[] = []): Promise<ShardGroup> {
  const group = await startShards(1, ['mqtt.sysInterval=never', ...set]);
  t.after(() => group.stop());
  return group;
}

async function connected(group: ShardGroup, options: ConnectOptions = {}): Promise<MemoryClient> {
  const client = group.connect(options);
  await group.settle();
  assert.equal(client.connack().code, 0);
  return client;
}

function lastPuback(client: MemoryClient): { code: number; reasonString: string | undefined } {
  const packet = client.packetsOf(types.PUBACK).at(-1);
  assert.ok(packet !== undefined, 'a PUBACK came');
  const view = new AckView();
  assert.equal(readAck(view, types.PUBACK, packet.body, 0, packet.body.length, types.V5), 0);
  return { code: view.reasonCode, reasonString: view.properties?.reasonString };
}

function suback(client: MemoryClient): SubackPacket {
  const [packet] = client.packetsOf(types.SUBACK);
  assert.ok(packet !== undefined, 'a SUBACK came');
  const read = new SubackPacket();
  assert.equal(readSuback(read, packet.body, 0, packet.body.length, types.V5), 0);
  return read;
}

function disconnectCode(client: MemoryClient): number | undefined {
  const [packet] = client.packetsOf(types.DISCONNECT);
  if (packet === undefined) return undefined;
  const read = new ReasonPacket();
  assert.equal(readDisconnect(read, packet.body, 0, packet.body.length, types.V5), 0);
  return read.code;
}

test('a refused PUBLISH brings a Reason String, unless the client wants none or takes no packet of that size', async (t) => {
  const group = await oneShard(t);
  const options: [ConnectOptions['properties'], boolean][] = [
    [{}, true],
    [{ requestProblemInformation: 0 }, false],
    [{ maximumPacketSize: 40 }, false],
  ];
  for (const [properties, hasReason] of options) {
    const client = await connected(group, { properties: properties! });
    client.publish('$SYS/x', 'm', 1, 1);
    await group.settle();
    const { code, reasonString } = lastPuback(client);
    assert.equal(code, ReasonCode.NotAuthorized);
    assert.equal(reasonString !== undefined, hasReason, JSON.stringify(properties));
  }
});

test('a payload that is not the UTF-8 that it promises is refused on P2P topics as on others', async (t) => {
  const group = await oneShard(t);
  const client = await connected(group);
  for (const topic of ['a/b', `cmd/p2p/${client.clientId}`]) {
    client.publish(topic, Uint8Array.of(0xc3, 0x28), 1, 1, { payloadFormatIndicator: 1 });
    await group.settle();
    assert.equal(lastPuback(client).code, ReasonCode.PayloadFormatInvalid, topic);
  }
});

test('a SUBACK with a refusal says which kind', async (t) => {
  const group = await oneShard(t);
  const client = await connected(group);
  client.subscribe('cmd/p2p/other', 1);
  await group.settle();
  const { codes, properties } = suback(client);
  assert.deepEqual(codes, [ReasonCode.NotAuthorized]);
  assert.match(properties.reasonString ?? '', /address of another client/);
  const granted = await connected(group, { clientId: 'granted' });
  granted.subscribe('a', 1);
  await group.settle();
  assert.equal(suback(granted).properties.reasonString, undefined);
});

test('a SUBACK that the client cannot take ends the connection with 0x95', async (t) => {
  const group = await oneShard(t);
  const client = await connected(group, { properties: { maximumPacketSize: 50 } });
  const entries = Array.from({ length: 60 }, (_, i) => ({
    filter: `f${i}`,
    qos: 0,
    noLocal: false,
    retainAsPublished: false,
    retainHandling: 0,
  }));
  client.send((writer) => writeSubscribe(writer, { packetId: 1, properties: {}, entries }, types.V5));
  await group.settle();
  assert.deepEqual(client.packetsOf(types.SUBACK), []);
  assert.equal(disconnectCode(client), ReasonCode.PacketTooLarge);
});

test('messages in flight count against the bytes of the process, and stop counting when they are acknowledged', async (t) => {
  const group = await oneShard(t, ['limits.queuedBytesTotal=1MiB', 'limits.inflight=1000']);
  const target = await connected(group, { clientId: 'target', properties: { sessionExpiryInterval: 100 } });
  const sender = await connected(group);
  for (let i = 1; i <= 100; i++) {
    sender.publish('cmd/p2p/target', 'x'.repeat(20_000), 1, i);
    await group.settle();
  }
  assert.equal(lastPuback(sender).code, ReasonCode.QuotaExceeded);
  const taken = target.messages();
  assert.ok(taken.length < 60, `${taken.length} messages of 20 KB are in flight`);
  assert.ok(group.count('inflight/bytes') > 1_000_000);
  for (const { packetId } of taken) target.ack(types.PUBACK, packetId);
  await group.settle();
  assert.equal(group.count('inflight/bytes'), 0);
  sender.publish('cmd/p2p/target', 'y', 1, 101);
  await group.settle();
  assert.equal(lastPuback(sender).code, ReasonCode.Success);
});

test('one PUBLISH to many targets is bounded by payload times targets', async (t) => {
  const group = await oneShard(t, ['limits.packetSize=2MiB']);
  const sender = await connected(group);
  const targets: [string, string][] = Array.from({ length: 20 }, (_, i) => ['p2p-target', `t${i}`]);
  for (const [bytes, code] of [
    [1024 * 1024, ReasonCode.QuotaExceeded],
    [700 * 1024, ReasonCode.NoMatchingSubscribers],
  ] as const) {
    sender.publish('cmd/p2p/', new Uint8Array(bytes), 1, 1, { userProperties: targets });
    await group.settle();
    assert.equal(lastPuback(sender).code, code, `${bytes} bytes`);
  }
});

test('first packets that are not whole have a bound over all connections, and give it back', async (t) => {
  const group = await oneShard(t, ['limits.packetSize=8MiB']);
  const shard = group.shards[0]!;
  const half = Buffer.alloc(7 * 1024 * 1024);
  // A CONNECT that announces 8,000,000 bytes.
  half.set([0x10, 0x80, 0xa4, 0xe8, 0x03]);
  const open: Admission[] = [];
  let answer = ADMISSION_OPEN;
  while (answer === ADMISSION_OPEN) {
    assert.ok(open.length < 20, 'the bound is 64 MiB');
    const admission = new Admission(shard, shard.settings.limits.packetBytes);
    answer = admission.take(half);
    open.push(admission);
  }
  assert.equal(answer, ADMISSION_REFUSED);
  assert.equal(open.length, 10);
  for (const admission of open) admission.leave();
  assert.equal(shard.admissionBytes, 0);
  assert.equal(new Admission(shard, shard.settings.limits.packetBytes).take(half), ADMISSION_OPEN);
});
