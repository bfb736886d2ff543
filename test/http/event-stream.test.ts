/*
 * Goal: a stream is kept open by a comment, a reader that is too slow is told what it has lost, and acknowledgements wait for the network.
 * Method: a shard in this thread with a clock that the test moves, and a stream that takes as much as the test lets it.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import type { HttpStream } from '../../src/http/call.ts';
import { EventStream } from '../../src/http/event-stream.ts';
import type { Connection } from '../../src/shard/connection.ts';
import { connectInner, subscribeInner } from '../../src/shard/inner-client.ts';
import { ANYBODY } from '../../src/shard/login.ts';
import type { Shard } from '../../src/shard/shard.ts';
import { startShards } from '../support/shard-group.ts';

class SlowStream implements HttpStream {
  isOpen = true;
  isFull = false;
  text = '';
  drained: () => void = () => {};
  gone: () => void = () => {};

  write(text: string | Uint8Array): boolean {
    this.text += String(text);
    return !this.isFull;
  }

  end(): void {
    this.isOpen = false;
  }

  /** What was written since the last call. */
  take(): string {
    const { text } = this;
    this.text = '';
    return text;
  }
}

function subscribe(shard: Shard, stream: SlowStream, qos: number): Connection {
  const channel = new EventStream(shard, (codes) => (codes[0] === qos ? stream : null));
  const peer = { name: '127.0.0.1:0', listener: 0, certificate: null };
  const connection = connectInner(shard, channel, { judgedAs: 'http-test', username: undefined, identity: ANYBODY, peer });
  assert.ok(typeof connection !== 'number');
  channel.connection = connection;
  subscribeInner(connection, 1, [{ filter: 't/#', qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }]);
  return connection;
}

test('a comment after 15 s of silence', async (t) => {
  const group = await startShards(1);
  t.after(() => group.stop());
  const stream = new SlowStream();
  subscribe(group.shards[0]!, stream, 0);
  await group.settle();
  for (let seconds = 0; seconds < 60; seconds++) await group.pass(1);
  const comments = stream.take();
  assert.ok(comments === ':\n\n'.repeat(3) || comments === ':\n\n'.repeat(4), comments);
});

test('a slow reader loses QoS 0 and hears how many', async (t) => {
  const group = await startShards(1, ['limits.outboundBytes=16384']);
  t.after(() => group.stop());
  const stream = new SlowStream();
  const connection = subscribe(group.shards[0]!, stream, 0);
  const publisher = group.connect({ clientId: 'p' });
  await group.settle();
  stream.isFull = true;
  for (let i = 0; i < 100; i++) {
    publisher.publish('t/x', 'x'.repeat(1000));
    await group.settle();
  }
  const { dropped } = connection;
  assert.ok(dropped > 50 && dropped < 100, String(dropped));
  stream.isFull = false;
  stream.drained();
  await group.settle();
  const text = stream.take();
  assert.equal(text.split('event: message').length - 1, 100 - dropped);
  assert.ok(text.endsWith(`: dropped ${dropped}\n\n`), text.slice(-100));
  assert.equal(group.count('publish/dropped/outbound-full'), dropped);
});

test('a reader that takes nothing for two minutes is let go, one that goes on is not', async (t) => {
  const group = await startShards(1);
  t.after(() => group.stop());
  const stream = new SlowStream();
  subscribe(group.shards[0]!, stream, 0);
  const publisher = group.connect({ clientId: 'p' });
  await group.settle();
  for (let round = 0; round < 3; round++) {
    stream.isFull = true;
    publisher.publish('t/x', 'x');
    await group.settle();
    for (let seconds = 0; seconds < 100; seconds++) await group.pass(1);
    assert.ok(stream.isOpen);
    stream.isFull = false;
    stream.drained();
    await group.settle();
  }
  stream.isFull = true;
  publisher.publish('t/x', 'x');
  await group.settle();
  for (let seconds = 0; seconds < 125; seconds++) await group.pass(1);
  assert.equal(stream.isOpen, false);
});

test('QoS 1 is acknowledged when the network has it, and waits meanwhile', async (t) => {
  const group = await startShards(1, ['limits.inflight=4']);
  t.after(() => group.stop());
  const stream = new SlowStream();
  const connection = subscribe(group.shards[0]!, stream, 1);
  const publisher = group.connect({ clientId: 'p' });
  await group.settle();
  stream.isFull = true;
  for (let i = 0; i < 20; i++) publisher.publish('t/x', String(i), 1, i + 1);
  await group.settle();
  assert.equal(connection.session!.inflight!.count, 4);
  assert.equal(connection.session!.queue!.count, 16);
  stream.isFull = false;
  stream.drained();
  // Acknowledgements come in turns of their own.
  for (let i = 0; i < 3; i++) await group.settle();
  const payloads = [...stream.take().matchAll(/"payload":"(\d+)"/g)].map(([, payload]) => payload);
  assert.deepEqual(
    payloads,
    Array.from({ length: 20 }, (_, index) => String(index)),
  );
  assert.equal(connection.session!.inflight!.count, 0);
});

test('the reader goes, and so does its session', async (t) => {
  const group = await startShards(1);
  t.after(() => group.stop());
  const stream = new SlowStream();
  subscribe(group.shards[0]!, stream, 0);
  await group.settle();
  assert.equal(group.count('clients/total'), 1);
  stream.gone();
  await group.settle();
  assert.deepEqual([group.count('clients/total'), group.count('clients/connected'), group.count('subscriptions/count')], [0, 0, 0]);
  assert.equal(group.shards[0]!.connections.size, 0);
});
