/*
 * Goal: what a WebSocket's client has sent is handled in its order and whole, also when the broker has not read for a while and when the client has gone meanwhile; a close
 * waits until what was written has been sent; `lost` is told once, never from within a call.
 * Method: the channel over a socket of the test.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { loadSettings } from '../../src/server/config.ts';
import type { ChannelEvents } from '../../src/shard/channel.ts';
import type { Socket } from '../../src/transports/u-web-sockets.ts';
import { WebSocketChannel } from '../../src/transports/web-socket-channel.ts';
import { ShardGroup } from '../support/shard-group.ts';

class FakeSocket implements Socket {
  buffered = 0;
  readonly calls: string[] = [];
  channel!: WebSocketChannel;

  send(): number {
    return 1;
  }

  getBufferedAmount(): number {
    return this.buffered;
  }

  end(code: number): void {
    this.calls.push(`end ${code}`);
    this.channel.closed();
  }

  close(): void {
    this.calls.push('close');
    this.channel.closed();
  }

  getUserData(): object {
    return {};
  }
}

class Listener implements ChannelEvents {
  text = '';
  lostCount = 0;
  reads = true;

  received(bytes: Uint8Array, length: number): boolean {
    this.text += Buffer.from(bytes.subarray(0, length)).toString();
    return this.reads;
  }

  drainedCount = 0;

  drained(): void {
    this.drainedCount++;
  }

  lost(): void {
    this.lostCount++;
  }
}

async function scene(): Promise<{ group: ShardGroup; socket: FakeSocket; channel: WebSocketChannel; listener: Listener }> {
  const group = new ShardGroup(await loadSettings({ shards: '1', set: ['store.enabled=false'] }));
  const shard = group.shards[0]!;
  const channel = new WebSocketChannel(shard, false);
  const socket = new FakeSocket();
  socket.channel = channel;
  channel.opened(socket);
  const listener = new Listener();
  channel.events = listener;
  return { group, socket, channel, listener };
}

function arrive(channel: WebSocketChannel, text: string): void {
  const bytes = Uint8Array.from(Buffer.from(text));
  channel.received(bytes.buffer);
}

async function turn(): Promise<void> {
  for (let i = 0; i < 3; i++)
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
}

test('what was kept goes before what comes after the pause', async () => {
  const { channel, listener } = await scene();
  listener.reads = false;
  arrive(channel, '1');
  arrive(channel, '2');
  arrive(channel, '3');
  listener.reads = true;
  channel.resume();
  arrive(channel, '4');
  await turn();
  arrive(channel, '5');
  assert.equal(listener.text, '12345');
});

test('many small frames are kept as their bytes', async () => {
  const { channel, listener } = await scene();
  channel.pause();
  for (let i = 0; i < 200_000; i++) arrive(channel, 'x');
  channel.resume();
  await turn();
  assert.equal(listener.text.length, 200_000);
});

test('a client that has gone while the broker did not read is heard to its end, and then lost, once', async () => {
  const { channel, listener } = await scene();
  channel.pause();
  arrive(channel, 'last words');
  channel.closed();
  await turn();
  assert.deepEqual([listener.text, listener.lostCount], ['', 0]);
  channel.resume();
  await turn();
  assert.deepEqual([listener.text, listener.lostCount], ['last words', 1]);
  channel.destroy();
  await turn();
  assert.equal(listener.lostCount, 1);
});

test('or lost at once, when nobody wants to hear it', async () => {
  const { channel, listener } = await scene();
  channel.pause();
  arrive(channel, 'last words');
  channel.closed();
  channel.destroy();
  await turn();
  assert.deepEqual([listener.text, listener.lostCount], ['', 1]);
});

test('a full channel drains also where the library sends without a word: after a message of the client, and by itself', async () => {
  const { group, socket, channel, listener } = await scene();
  const bytes = Buffer.alloc(10);
  socket.buffered = 300_000;
  assert.equal(channel.write(bytes, 10), false);
  channel.received(new ArrayBuffer(4));
  assert.equal(listener.drainedCount, 0, 'it is sent behind the message');
  socket.buffered = 0;
  await turn();
  assert.equal(listener.drainedCount, 1);
  socket.buffered = 300_000;
  assert.equal(channel.write(bytes, 10), false);
  await group.pass(1);
  assert.equal(listener.drainedCount, 1, 'there is still much');
  socket.buffered = 0;
  await group.pass(1);
  assert.equal(listener.drainedCount, 2);
  assert.equal(channel.write(bytes, 10), true);
});

test('a close waits until what was written has been sent', async () => {
  const { channel, socket, listener } = await scene();
  socket.buffered = 100;
  channel.end();
  assert.deepEqual(socket.calls, []);
  socket.buffered = 0;
  channel.drained();
  assert.deepEqual(socket.calls, ['end 1000']);
  assert.equal(listener.lostCount, 0, 'not from within the call');
  await turn();
  assert.equal(listener.lostCount, 1);
});

test('but not for ever', async () => {
  const { group, channel, socket, listener } = await scene();
  socket.buffered = 100;
  channel.end();
  await group.pass(10);
  await turn();
  assert.deepEqual([socket.calls, listener.lostCount], [['close'], 1]);
});
