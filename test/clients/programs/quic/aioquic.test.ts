/*
 * Goal: a QUIC stack that others wrote, aioquic, gets on with the endpoint: handshake, streams, ends, moves, key update, tickets and early data.
 * Method: an echo endpoint in this process; aioquic in another one, which is told what to do and tells what it sees. It checks the server's certificate by itself.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe } from 'node:test';
import { caCertificate } from '../../../transports/quic/certificates.ts';
import { type EchoEndpoint, openEcho, withEcho } from '../../../transports/quic/echo-endpoint.ts';
import { Aioquic } from './aioquic.ts';

const folder = mkdtempSync(join(tmpdir(), 'onehop-quic-'));
const authority = join(folder, 'ca.pem');
writeFileSync(authority, caCertificate);
after(() => rmSync(folder, { recursive: true }));

/** A test with an endpoint and a connection to it. */
function withBoth(
  name: string,
  run: (client: Aioquic, echo: EchoEndpoint) => Promise<void>,
  options: Parameters<typeof withEcho>[1] = {},
): void {
  withEcho(name, options, async (echo) => {
    const client = new Aioquic(echo.port, authority);
    try {
      client.tell('connect');
      await client.event('connected');
      await run(client, echo);
    } finally {
      await client.end();
    }
  });
}

describe('aioquic', { concurrency: 2 }, () => {
  withBoth('handshake and echo', async (client, echo) => {
    assert.equal((await client.event('connected')).alpn, 'mqtt');
    client.write(0, 'hello');
    await client.until(() => client.text(0) === 'hello');
    assert.equal(echo.connections[0]!.connection.serverName, 'localhost');
    client.tell('close', { code: 2 });
    await echo.until(() => echo.connections[0]!.closedReasons.length === 1);
    assert.deepEqual(echo.connections[0]!.closedReasons, ['closed by the client application error 2']);
  });

  withBoth(
    'handshake after a Retry',
    async (client, echo) => {
      client.write(0, 'hello');
      await client.until(() => client.text(0) === 'hello');
      assert.equal(echo.endpoint.counters.retriesSent, 1);
    },
    { settings: { retry: 'always' } },
  );

  withEcho('another protocol is refused', {}, async (echo) => {
    const client = new Aioquic(echo.port, authority, 'h3');
    client.tell('connect');
    assert.equal((await client.event('closed')).code, 0x178);
    await client.end();
    assert.equal(echo.connections.length, 0);
  });

  withBoth('several streams with much data, each in order', async (client, echo) => {
    const sent = new Map([0, 4, 8, 12].map((id) => [id, randomBytes(150_000)]));
    for (const [id, bytes] of sent) client.write(id, bytes);
    await client.until(() => [...sent].every(([id, bytes]) => client.received.get(id)?.length === bytes.length));
    for (const [id, bytes] of sent) assert.ok(client.received.get(id)!.equals(bytes), `stream ${id}`);
    assert.equal(echo.connections[0]!.streams.length, 4);
  });

  withBoth('FIN, reset and stop of streams', async (client, echo) => {
    client.write(0, 'control');
    client.write(4, 'to the end', true);
    client.write(8, 'reset');
    client.write(12, 'stop');
    await client.until(() => client.text(12) === 'stop' && client.text(8) === 'reset');
    await client.until(() => client.events.some(({ stream, end }) => stream === 4 && end === true));
    assert.equal(client.text(4), 'to the end');
    client.tell('reset', { stream: 8 });
    client.tell('stop', { stream: 12 });
    client.write(12, 'more');
    const reasons = (): string[][] => echo.connections[0]!.streams.map(({ lostReasons }) => lostReasons);
    await echo.until(() => reasons().flat().length === 3);
    assert.deepEqual(reasons(), [[], ['quic_stream_closed'], ['quic_stream_closed'], ['quic_stream_closed']]);
    client.write(0, ' goes on');
    await client.until(() => client.text(0) === 'control goes on');
  });

  withBoth('ended and destroyed by the server', async (client, echo) => {
    client.write(4, 'a');
    client.write(8, 'b');
    await client.until(() => client.text(4) === 'a' && client.text(8) === 'b');
    const [ended, destroyed] = echo.connections[0]!.streams;
    ended!.stream.write(Buffer.from('!'), 1);
    ended!.stream.end();
    destroyed!.stream.destroy();
    await client.event('reset', 8);
    await client.until(() => client.text(4) === 'a!' && client.events.some(({ stream, end }) => stream === 4 && end === true));
    await echo.until(() => ended!.lostReasons.length === 1 && destroyed!.lostReasons.length === 1);
    assert.equal(echo.connections[0]!.connection.streamCount, 0);
  });

  withBoth('a unidirectional stream is refused', async (client, echo) => {
    client.write(2, 'x');
    await client.event('stop', 2);
    client.write(0, 'control');
    await client.until(() => client.text(0) === 'control');
    assert.equal(echo.endpoint.counters.unidirectionalRefused, 1);
    assert.equal(echo.connections[0]!.streams.length, 1);
  });

  for (const newId of [false, true]) {
    withBoth(
      `the client moves, ${newId ? 'with a new connection ID each time' : 'and does not know it'}`,
      async (client, echo) => {
        let expected = '';
        let moves = 0;
        for (const host of ['127.0.0.1', '127.0.0.2', '127.0.0.3', '127.0.0.1', '127.0.0.1']) {
          client.tell('move', { host, newId });
          expected += 'x';
          client.write(0, 'x');
          await client.until(() => client.text(0) === expected);
          moves++;
          await echo.until(() => echo.endpoint.counters.migrations === moves);
          assert.equal(echo.connections[0]!.connection.address.host, host);
        }
        assert.equal(echo.connections.length, 1);
      },
      { host: '0.0.0.0' },
    );
  }

  withBoth('the client updates its keys', async (client) => {
    client.write(0, 'old');
    await client.until(() => client.text(0) === 'old');
    client.tell('keys');
    client.write(0, ', new');
    await client.until(() => client.text(0) === 'old, new');
    client.tell('ping');
    await client.event('pong');
  });

  const secret = randomBytes(32);
  const earlyData = { secret, settings: { earlyData: true } };
  withBoth(
    'a ticket of one endpoint is good at another, with early data',
    async (client) => {
      const ticket = (await client.event('ticket')).hex!;
      const other = await openEcho(earlyData);
      const again = new Aioquic(other.port, authority);
      try {
        again.tell('connect', { ticket, early: Buffer.from('early').toString('hex') });
        const connected = await again.event('connected');
        assert.equal(connected.resumed, true);
        assert.equal(connected.early, true);
        await again.until(() => again.text(0) === 'early');
        await other.until(() => other.connections[0]!.connection.isEstablished);
        assert.deepEqual(other.connections[0]!.happened, ['early', 'stream 0 first', 'established']);
      } finally {
        await again.end();
        other.close();
      }
    },
    earlyData,
  );
});
