/*
 * Goal: connections outlive what networks do: loss, delay, another order, another address of the client, and a datagram that the kernel gives to another shard.
 * Method: a proxy that spoils datagrams as a seed says (it is in the test's name; QUIC_SEED sets it), clients that change their socket, and two endpoints on one port.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { describe } from 'node:test';
import { openNetwork } from './bad-network.ts';
import { type EchoConnection, type EchoEndpoint, openEcho, withEcho } from './echo-endpoint.ts';
import { connect, type NativeClient, openSocket, withClient } from './native-client.ts';

const seeds = [1, 2, 3].map((_, index) => (Number(process.env['QUIC_SEED'] ?? Date.now()) + index) >>> 0);

describe('a bad network', () => {
  for (const [index, congestionControl] of (['reno', 'cubic', 'bbr'] as const).entries()) {
    const seed = seeds[index]!;
    withEcho(`everything arrives, in order, with ${congestionControl}, seed ${seed}`, { settings: { congestionControl } }, async (echo) => {
      const network = await openNetwork(echo.port, seed, { loss: 0.05, delayMilliseconds: 5 });
      const client = await connect({ port: network.port });
      try {
        await withClient(client, async () => {
          const parts = new Map([0, 4, 8].map((id) => [id, randomBytes(60_000)]));
          for (const [id, bytes] of parts) client.write(id, bytes);
          await client.until(() => [...parts].every(([id, bytes]) => client.received.get(id)?.length === bytes.length));
          for (const [id, bytes] of parts) assert.ok(client.received.get(id)!.equals(bytes), `stream ${id}`);
          assert.ok(network.lostCount > 0);
        });
      } finally {
        network.close();
      }
    });
  }
});

describe('a client that moves', () => {
  const moved = (served: EchoConnection): string[] => served.happened.filter((what) => what.startsWith('moved'));

  for (const how of ['moveSilently', 'migrate'] as const) {
    for (const host of ['127.0.0.1', '127.0.0.2']) {
      withEcho(`${how} to ${host}`, { host: '0.0.0.0' }, async (echo) => {
        const client = await connect({ port: echo.port, localHost: '127.0.0.1' });
        await withClient(client, async () => {
          client.write(0, 'before');
          await client.until(() => client.text(0) === 'before');
          const first = client.socket.address().port;
          await client[how](host);
          const { port } = client.socket.address();
          assert.notEqual(port, first);
          client.write(0, ', after');
          client.write(4, 'another');
          await client.until(() => client.text(0) === 'before, after' && client.text(4) === 'another');
          const [served] = echo.connections;
          await echo.until(() => moved(served!).length > 0);
          assert.deepEqual(moved(served!), [`moved ${host}:${port}`]);
          assert.equal(served!.connection.address.host, host);
          assert.equal(served!.connection.address.port, port);
          assert.equal(echo.connections.length, 1);
          assert.equal(echo.endpoint.counters.migrations, 1);
          assert.deepEqual(served!.closedReasons, []);
        });
      });
    }
  }

  withEcho('again and again', {}, async (echo) => {
    const client = await connect({ port: echo.port });
    await withClient(client, async () => {
      for (let i = 1; i <= 12; i++) {
        client.write(0, 'x');
        await client.until(() => client.text(0).length === i);
        await client.moveSilently('127.0.0.1');
      }
      client.write(0, 'x');
      await client.until(() => client.text(0).length === 13);
      assert.equal(echo.connections.length, 1);
      await echo.until(() => echo.connections[0]!.connection.address.port === client.socket.address().port);
    });
  });
});

describe('two shards', () => {
  /** Two endpoints on one port, each of which sends on what is the other's. */
  async function openShards(): Promise<[EchoEndpoint, EchoEndpoint]> {
    const secret = randomBytes(32);
    const first = await openEcho({ secret, shardIndex: 0, shardCount: 2 });
    const second = await openEcho({ secret, shardIndex: 1, shardCount: 2, port: first.port });
    first.peers.set(1, second);
    second.peers.set(0, first);
    return [first, second];
  }

  /** Moves the client until the kernel gives its datagrams to the shard that does not own it. */
  async function moveAway(client: NativeClient, other: EchoEndpoint): Promise<void> {
    for (let tries = 0; other.endpoint.counters.forwarded === 0; tries++) {
      assert.ok(tries < 40, 'the kernel chooses by the address');
      await client.moveSilently('127.0.0.1');
      const length = client.text(0).length;
      client.write(0, 'x');
      await client.until(() => client.text(0).length === length + 1);
    }
  }

  withEcho('a client that the kernel gives to another shard stays with its own', {}, async () => {
    const [first, second] = await openShards();
    try {
      const client = await connect({ port: first.port });
      await withClient(client, async () => {
        client.write(0, 'x');
        await client.until(() => client.text(0) === 'x');
        const [owner, other] = first.connections.length === 1 ? [first, second] : [second, first];
        await moveAway(client, other);
        assert.equal(owner.connections.length, 1);
        assert.equal(other.connections.length, 0);
        assert.ok(owner.endpoint.counters.receivedForwarded > 0);
        const before = client.text(0).length;
        const much = randomBytes(100_000);
        client.write(0, much);
        await client.until(() => client.received.get(0)!.length === before + much.length);
        assert.ok(client.received.get(0)!.subarray(before).equals(much));
        await owner.until(() => owner.connections[0]!.connection.address.port === client.socket.address().port);
      });
    } finally {
      first.close();
      second.close();
    }
  });

  withEcho('a shard that takes no more is counted', { shardCount: 2 }, async (echo) => {
    const secret = randomBytes(32);
    const owner = await openEcho({ secret, shardIndex: 1, shardCount: 2 });
    const stray = await openEcho({ secret, shardIndex: 0, shardCount: 2 });
    const client = await connect({ port: owner.port });
    await withClient(client, async () => {
      await client.connected();
      client.write(0, 'x');
      await client.until(() => client.text(0) === 'x');
      const socket = await openSocket('127.0.0.1');
      socket.send(client.datagramsOut.at(-1)!, stray.port, '127.0.0.1');
      await stray.until(() => stray.endpoint.counters.droppedForward === 1);
      assert.equal(stray.endpoint.counters.statelessResetsSent, 0, 'the connection may be alive');
      socket.close();
      await once(socket, 'close');
    });
    assert.equal(echo.endpoint.counters.received, 0);
    owner.close();
    stray.close();
  });
});
