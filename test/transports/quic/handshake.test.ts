/*
 * Goal: a client gets a connection, its streams work and are independent of each other, and everything that ends is told once.
 * Method: an echo endpoint and clients of the same library in one process, over real sockets.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { openEcho } from './echo-endpoint.ts';
import { connect } from './native-client.ts';

const bounded = { timeout: 20_000 };

describe('handshake', bounded, () => {
  for (const host of ['127.0.0.1', '::1']) {
    test(`echo over ${host}`, async () => {
      const echo = await openEcho({ host });
      const client = await connect({ port: echo.port, host });
      client.write(0, 'hello');
      await client.until(() => client.text(0) === 'hello');
      const { connection } = echo.connections[0]!;
      assert.deepEqual(echo.connections[0]!.happened, ['established', 'stream 0 first']);
      assert.equal(connection.address.host, host);
      assert.equal(connection.serverName, 'localhost');
      assert.equal(connection.peerCertificates, null);
      client.close();
      await echo.until(() => echo.connections[0]!.closedReasons.length === 1);
      assert.deepEqual(echo.connections[0]!.closedReasons, ['closed by the client application error 0 bye']);
      assert.deepEqual(echo.connections[0]!.streams[0]!.lostReasons, ['quic_closed']);
      echo.close();
    });
  }
});
