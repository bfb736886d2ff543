/*
 * Goal: each stream is a channel of its own: order, pressure and end of one do not touch another, and each end is told once.
 * Method: an echo endpoint, and clients that read, do not read, finish, reset and stop their streams.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { type EchoEndpoint, openEcho, withEcho } from './echo-endpoint.ts';
import { connect, type NativeClient, withClient } from './native-client.ts';

const window = 65_536;

/** Bytes that show where each of them belongs. */
function numbered(length: number, first: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = (first + i * 7 + (i >> 8)) & 0xff;
  return bytes;
}

/** A test with an endpoint and a client that is connected. */
function withBoth(
  name: string,
  run: (client: NativeClient, echo: EchoEndpoint) => Promise<void>,
  options: Parameters<typeof withEcho>[1] = {},
): void {
  withEcho(name, options, async (echo) => {
    const client = await connect({ port: echo.port, streamWindowBytes: window });
    await withClient(client, async () => {
      await client.connected();
      await echo.until(() => echo.connections.length === 1);
      await run(client, echo);
    });
  });
}

function streamOf(echo: EchoEndpoint, id: number) {
  return echo.connections[0]!.streams.find(({ stream }) => stream.id === id)!;
}

describe('streams', () => {
  withBoth('several at once, each in order', async (client, echo) => {
    const ids = [0, 4, 8, 12, 16];
    const sent = new Map(ids.map((id) => [id, numbered(200_000 + id, id)]));
    for (const id of ids) client.write(id, sent.get(id)!);
    await client.until(() => ids.every((id) => client.received.get(id)?.length === sent.get(id)!.length));
    for (const id of ids) assert.ok(client.received.get(id)!.equals(sent.get(id)!), `stream ${id}`);
    assert.equal(echo.connections[0]!.connection.streamCount, 5);
    assert.deepEqual(
      echo.connections[0]!.streams.map(({ stream }) => stream.id),
      ids,
    );
  });

  withBoth(
    'more than are asked one by one',
    async (client) => {
      const ids = Array.from({ length: 60 }, (_, index) => index * 4);
      for (const id of ids) client.write(id, `stream ${id}`);
      await client.until(() => ids.every((id) => client.text(id) === `stream ${id}`));
      for (const id of ids.toReversed()) client.write(id, ', again');
      await client.until(() => ids.every((id) => client.text(id) === `stream ${id}, again`));
    },
    { settings: { maxStreams: 64 } },
  );

  withBoth('the first that arrives need not be the control stream', async (client, echo) => {
    client.write(8, 'data');
    await client.until(() => client.text(8) === 'data');
    client.write(0, 'control');
    await client.until(() => client.text(0) === 'control');
    client.write(4, 'between');
    await client.until(() => client.text(4) === 'between');
    assert.deepEqual(echo.connections[0]!.happened.slice(1), ['stream 8', 'stream 0 first', 'stream 4']);
  });

  withBoth('one that the client does not read holds up no other', async (client, echo) => {
    client.unread.add(4);
    const much = numbered(window * 3, 4);
    client.write(4, much);
    await echo.until(() => streamOf(echo, 4)?.isBlocked === true);
    assert.ok(streamOf(echo, 4).stream.isBlocked);
    const other = numbered(window * 4, 8);
    client.write(8, other);
    await client.until(() => client.received.get(8)?.length === other.length);
    assert.ok(streamOf(echo, 4).isBlocked, 'it still stands');
    client.unread.delete(4);
    client.pump();
    await client.until(() => client.received.get(4)?.length === much.length);
    assert.ok(client.received.get(4)!.equals(much));
    assert.equal(echo.connections[0]!.connection.streams.blockedCount, 0);
  });

  withBoth('one that is paused leaves its bytes in quiche, and its client stops', async (client, echo) => {
    client.write(0, 'first');
    await client.until(() => client.text(0) === 'first');
    const { stream } = streamOf(echo, 0);
    stream.pause();
    const much = numbered(window * 2, 1);
    client.write(0, much);
    client.write(4, 'other');
    await client.until(() => client.text(4) === 'other');
    assert.equal(streamOf(echo, 0).receivedBytes, 5);
    stream.resume();
    await client.until(() => client.received.get(0)?.length === 5 + much.length);
    assert.ok(client.received.get(0)!.subarray(5).equals(much));
  });

  withBoth('the end of one by FIN', async (client, echo) => {
    client.write(0, 'stays');
    client.write(4, 'goes', true);
    await client.until(() => client.finished.has(4));
    assert.equal(client.text(4), 'goes', 'what was written before is delivered');
    assert.deepEqual(streamOf(echo, 4).lostReasons, ['quic_stream_closed']);
    client.write(0, ' here');
    await client.until(() => client.text(0) === 'stays here');
    assert.equal(echo.connections[0]!.connection.streamCount, 1);
    assert.deepEqual(streamOf(echo, 0).lostReasons, []);
  });

  withBoth('the end of one by reset', async (client, echo) => {
    client.write(4, 'goes');
    await client.until(() => client.text(4) === 'goes');
    client.reset(4);
    await echo.until(() => streamOf(echo, 4).lostReasons.length > 0);
    assert.deepEqual(streamOf(echo, 4).lostReasons, ['quic_stream_closed']);
    client.write(0, 'control');
    await client.until(() => client.text(0) === 'control');
  });

  withBoth('a client that stops one is noticed at the next write', async (client, echo) => {
    client.write(4, 'one');
    await client.until(() => client.text(4) === 'one');
    client.stop(4);
    client.write(4, 'two');
    await echo.until(() => streamOf(echo, 4).lostReasons.length > 0);
    assert.deepEqual(streamOf(echo, 4).lostReasons, ['quic_stream_closed']);
    client.write(0, 'control');
    await client.until(() => client.text(0) === 'control');
  });

  withBoth('ended here: the client gets everything, and its answer ends the rest', async (client, echo) => {
    client.write(4, 'a');
    client.write(8, 'b');
    await client.until(() => client.text(4) === 'a' && client.text(8) === 'b');
    for (const id of [4, 8]) {
      const { stream } = streamOf(echo, id);
      stream.write(Buffer.from(' and the end'), 12);
      stream.end();
      assert.equal(stream.write(Buffer.from('too late'), 8), true);
    }
    await client.until(() => client.finished.has(4) && client.finished.has(8));
    assert.equal(client.text(4), 'a and the end');
    client.write(4, '', true);
    await echo.until(() => streamOf(echo, 4).lostReasons.length + streamOf(echo, 8).lostReasons.length === 2);
    for (const id of [4, 8]) assert.deepEqual(streamOf(echo, id).lostReasons, ['quic_stream_closed']);
    assert.equal(echo.connections[0]!.connection.streamCount, 0);
  });

  withBoth('ended here while the client is away: given up after a short time', async (client, echo) => {
    client.write(4, 'a');
    await client.until(() => client.text(4) === 'a');
    client.isDeaf = true;
    streamOf(echo, 4).stream.end();
    await echo.until(() => streamOf(echo, 4).lostReasons.length === 1);
    assert.deepEqual(streamOf(echo, 4).lostReasons, ['quic_stream_closed']);
    client.isDeaf = false;
    client.write(0, 'control');
    await client.until(() => client.text(0) === 'control');
  });

  withBoth('ended while the client does not read: the rest follows, then FIN', async (client, echo) => {
    client.unread.add(4);
    client.write(4, 'x');
    await echo.until(() => streamOf(echo, 4) !== undefined);
    const much = numbered(window * 2, 3);
    assert.equal(streamOf(echo, 4).stream.write(much, much.length), false);
    streamOf(echo, 4).stream.end();
    client.unread.delete(4);
    client.pump();
    await client.until(() => client.finished.has(4));
    assert.ok(client.received.get(4)!.subarray(1).equals(much));
  });

  withBoth('destroyed here: the client sees a reset, and the holder is told after the call', async (client, echo) => {
    client.write(4, 'one');
    await client.until(() => client.text(4) === 'one');
    const { stream, lostReasons } = streamOf(echo, 4);
    stream.destroy();
    assert.deepEqual(lostReasons, []);
    await client.until(() => client.broken.has(4));
    assert.deepEqual(lostReasons, ['quic_stream_closed']);
    stream.destroy();
    stream.end();
    stream.resume();
    client.write(0, 'control');
    await client.until(() => client.text(0) === 'control');
    assert.deepEqual(lostReasons, ['quic_stream_closed']);
  });

  withBoth(
    'ended ones make room for new ones',
    async (client, echo) => {
      for (let id = 0; id < 400; id += 4) {
        client.write(id, `stream ${id}`, true);
        await client.until(() => client.finished.has(id));
        assert.equal(client.text(id), `stream ${id}`);
      }
      assert.equal(echo.connections[0]!.connection.streamCount, 0);
      assert.equal(echo.endpoint.counters.streams, 100);
    },
    { settings: { maxStreams: 4 } },
  );

  withBoth('unidirectional ones are refused, and the rest goes on', async (client, echo) => {
    for (const id of [2, 6, 10]) client.write(id, 'x');
    await echo.until(() => echo.endpoint.counters.unidirectionalRefused === 3);
    client.write(0, 'control');
    await client.until(() => client.text(0) === 'control');
    assert.deepEqual(echo.connections[0]!.happened.slice(1), ['stream 0 first']);
  });
});

test('a block that is kept is whole when the client reads at last, and lost once when it does not', { timeout: 20_000 }, async () => {
  const echo = await openEcho();
  const client = await connect({ port: echo.port, streamWindowBytes: 1000 });
  client.unread.add(0);
  client.write(0, numbered(5000, 0));
  await echo.until(() => echo.connections[0]?.streams[0]?.isBlocked === true);
  client.close();
  await echo.until(() => echo.connections[0]!.closedReasons.length === 1);
  assert.deepEqual(echo.connections[0]!.streams[0]!.lostReasons, ['quic_closed']);
  assert.equal(echo.connections[0]!.connection.streams.blockedCount, 0);
  echo.close();
});
