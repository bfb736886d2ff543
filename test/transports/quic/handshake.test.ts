/*
 * Goal: clients get a connection, or are refused for the right reason, and come back with less: certificates, protocols, tickets, early data, Retry.
 * Method: echo endpoints and clients of the same library in one process, over real sockets.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe } from 'node:test';
import { caCertificate, clientCertificate, clientKey, serverCertificate, serverKey } from './certificates.ts';
import { credentials, openEcho, withEcho } from './echo-endpoint.ts';
import { connect, type NativeClient, openSocket, withClient } from './native-client.ts';

/** The transport error that ended the connection, at the client. */
function errorOf(client: NativeClient): number | undefined {
  return (client.native.peerError() ?? client.native.localError())?.errorCode;
}

const noApplicationProtocol = 0x178;
const certificateRequired = 0x174;
const unknownAuthority = 0x130;

describe('handshake', () => {
  for (const host of ['127.0.0.1', '::1']) {
    withEcho(`echo over ${host}`, { host }, async (echo) => {
      const client = await connect({ port: echo.port, host });
      client.write(0, 'hello');
      await client.until(() => client.text(0) === 'hello');
      const [served] = echo.connections;
      assert.deepEqual(served!.happened, ['established', 'stream 0 first']);
      assert.equal(served!.connection.address.host, host);
      assert.equal(served!.connection.address.port, client.socket.address().port);
      assert.equal(served!.connection.serverName, 'localhost');
      assert.equal(served!.connection.peerCertificates, null);
      client.close();
      await echo.until(() => served!.closedReasons.length === 1);
      assert.deepEqual(served!.closedReasons, ['closed by the client application error 0 bye']);
      assert.deepEqual(served!.streams[0]!.lostReasons, ['quic_closed']);
    });
  }

  withEcho('a socket for :: takes IPv4 as well', { host: '::' }, async (echo) => {
    const client = await connect({ port: echo.port, host: '127.0.0.1' });
    await withClient(client, async () => {
      client.write(0, 'hello');
      await client.until(() => client.text(0) === 'hello');
      assert.equal(echo.connections[0]!.connection.address.host, '::ffff:127.0.0.1');
    });
  });

  withEcho('another protocol is refused', {}, async (echo) => {
    const client = await connect({ port: echo.port, protocols: ['h3'] });
    await client.connected();
    assert.equal(errorOf(client), noApplicationProtocol);
    assert.equal(echo.connections.length, 0);
    client.vanish();
    await echo.until(() => echo.endpoint.counters.handshakesFailed === 1);
    assert.equal(echo.endpoint.counters.handshakes, 0);
    assert.equal(echo.endpoint.counters.connections, 0);
  });

  withEcho('closed by the server with an application error', {}, async (echo) => {
    const client = await connect({ port: echo.port });
    client.write(0, 'hello');
    await client.until(() => client.text(0) === 'hello');
    const [served] = echo.connections;
    const stream = served!.connection.stream(0)!;
    stream.write(Buffer.from('last words'), 10);
    served!.connection.close(2, 'overloaded');
    await client.until(() => client.native.peerError() !== null);
    const error = client.native.peerError()!;
    assert.deepEqual([error.isApp, error.errorCode, Buffer.from(error.reason).toString()], [true, 2, 'overloaded']);
    assert.equal(client.text(0), 'hellolast words');
    assert.deepEqual(served!.closedReasons, ['closed here']);
    assert.deepEqual(served!.streams[0]!.lostReasons, ['quic_closed']);
    client.vanish();
  });

  withEcho('a client that vanishes is gone after the idle timeout', { settings: { idleTimeoutMilliseconds: 300 } }, async (echo) => {
    const client = await connect({ port: echo.port });
    await client.connected();
    client.vanish();
    await echo.until(() => echo.connections[0]?.closedReasons.length === 1);
    assert.deepEqual(echo.connections[0]!.closedReasons, ['no datagram came within the idle timeout']);
    assert.equal(echo.endpoint.counters.connections, 0);
  });

  withEcho('a handshake that is not finished is given up', { settings: { handshakeTimeoutMilliseconds: 200 } }, async (echo) => {
    const client = await connect({ port: echo.port });
    client.isDeaf = true;
    await echo.until(() => echo.endpoint.counters.handshakesFailed === 1);
    assert.equal(echo.endpoint.counters.connections, 0);
    assert.equal(echo.connections.length, 0);
    client.vanish();
  });
});

describe('client certificates', () => {
  const ca = caCertificate;

  for (const verifyClient of ['optional', 'required'] as const) {
    withEcho(`${verifyClient}: one of the authority is taken`, { credentials: { ca, verifyClient } }, async (echo) => {
      const client = await connect({ port: echo.port, certificate: clientCertificate, key: clientKey });
      await withClient(client, async () => {
        await echo.until(() => echo.connections.length === 1);
        const chain = echo.connections[0]!.connection.peerCertificates!;
        assert.equal(chain.length, 1);
        const pem = clientCertificate.toString().replace(/-----[^-]+-----|\s/g, '');
        assert.equal(Buffer.from(chain[0]!).toString('base64'), pem);
      });
    });
  }

  withEcho('optional: none is taken', { credentials: { ca, verifyClient: 'optional' } }, async (echo) => {
    const client = await connect({ port: echo.port });
    await withClient(client, async () => {
      await echo.until(() => echo.connections.length === 1);
      assert.equal(echo.connections[0]!.connection.peerCertificates, null);
    });
  });

  withEcho('required: none is refused', { credentials: { ca, verifyClient: 'required' } }, async (echo) => {
    const client = await connect({ port: echo.port });
    await client.until(() => errorOf(client) !== undefined);
    assert.equal(errorOf(client), certificateRequired);
    assert.equal(echo.connections.length, 0);
    client.vanish();
  });

  for (const verifyClient of ['optional', 'required'] as const) {
    // The authority of the server's list is the client's own certificate, so nobody has signed anything.
    withEcho(`${verifyClient}: one of somebody else is refused`, { credentials: { ca: clientCertificate, verifyClient } }, async (echo) => {
      const client = await connect({ port: echo.port, certificate: serverCertificate, key: serverKey });
      await client.until(() => errorOf(client) !== undefined);
      assert.equal(errorOf(client), unknownAuthority);
      assert.equal(echo.connections.length, 0);
      client.vanish();
    });
  }

  withEcho('new credentials hold for new connections', {}, async (echo) => {
    const before = await connect({ port: echo.port });
    await withClient(before, async () => {
      await before.connected();
      echo.endpoint.setCredentials({ ...credentials, ca, verifyClient: 'required' });
      const after = await connect({ port: echo.port });
      await after.until(() => errorOf(after) !== undefined);
      assert.equal(errorOf(after), certificateRequired);
      after.vanish();
      before.write(0, 'still here');
      await before.until(() => before.text(0) === 'still here');
    });
    const wrong = [{ certificate: ca, key: Buffer.from('no key') }];
    assert.throws(() => echo.endpoint.setCredentials({ ...credentials, certificates: wrong }));
  });
});

describe('coming back', () => {
  const secret = randomBytes(32);
  const earlyData = { secret, settings: { earlyData: true } };

  /** A ticket of an endpoint. */
  async function ticketOf(port: number): Promise<Uint8Array> {
    const client = await connect({ port });
    await client.until(() => client.native.isEstablished() && client.native.session() !== null);
    const session = client.native.session()!;
    client.close();
    return session;
  }

  withEcho('a ticket of one shard is good at another, with early data', earlyData, async (first) => {
    const second = await openEcho(earlyData);
    try {
      const session = await ticketOf(first.port);
      const client = await connect({ port: second.port, session, early: Buffer.from('early') });
      await withClient(client, async () => {
        await client.until(() => client.text(0) === 'early');
        assert.ok(client.native.isResumed());
        const [served] = second.connections;
        await second.until(() => served!.connection.isEstablished);
        assert.deepEqual(served!.happened, ['early', 'stream 0 first', 'established']);
        assert.ok(served!.connection.isResumed);
        assert.ok(!served!.connection.isEarly);
        assert.equal(second.endpoint.counters.resumptions, 1);
      });
    } finally {
      second.close();
    }
  });

  withEcho('early data is not taken unless it is wanted', { secret }, async (echo) => {
    const session = await ticketOf(echo.port);
    const client = await connect({ port: echo.port, session, early: Buffer.from('early') });
    await withClient(client, async () => {
      await client.until(() => client.text(0) === 'early');
      assert.deepEqual(echo.connections.at(-1)!.happened, ['established', 'stream 0 first']);
      assert.ok(client.native.isResumed());
    });
  });

  withEcho('a ticket does not stand for a certificate that nobody has shown', earlyData, async (open) => {
    const credentials = { ca: caCertificate, verifyClient: 'required' } as const;
    const strict = await openEcho({ ...earlyData, credentials });
    const session = await ticketOf(open.port);
    const client = await connect({ port: strict.port, session, early: Buffer.from('early') });
    await client.until(() => errorOf(client) !== undefined);
    assert.equal(errorOf(client), certificateRequired);
    assert.equal(strict.connections.length, 0);
    client.vanish();
    strict.close();
  });

  withEcho(
    'a ticket of a client with a certificate',
    { ...earlyData, credentials: { ca: caCertificate, verifyClient: 'required' } },
    async (echo) => {
      const first = await connect({ port: echo.port, certificate: clientCertificate, key: clientKey });
      await first.until(() => first.native.isEstablished() && first.native.session() !== null);
      const client = await connect({ port: echo.port, session: first.native.session()! });
      await withClient(client, async () => {
        await echo.until(() => echo.connections.length === 2);
        const chains = echo.connections.map(({ connection }) => Buffer.from(connection.peerCertificates![0]!).toString('hex'));
        assert.equal(chains[1], chains[0], 'it is known who came back');
        assert.ok(echo.connections[1]!.connection.isResumed);
      });
      first.close();
    },
  );

  withEcho('a ticket of another process is not good, and does no harm', earlyData, async (echo) => {
    const other = await openEcho({ settings: { earlyData: true } });
    const session = await ticketOf(other.port);
    other.close();
    const client = await connect({ port: echo.port, session, early: Buffer.from('early') });
    await withClient(client, async () => {
      await client.until(() => client.text(0) === 'early');
      assert.ok(!client.native.isResumed());
      assert.deepEqual(echo.connections[0]!.happened, ['established', 'stream 0 first']);
    });
  });
});

describe('Retry', () => {
  withEcho('a client that answers it is let in', { settings: { retry: 'always' } }, async (echo) => {
    const client = await connect({ port: echo.port });
    await withClient(client, async () => {
      client.write(0, 'hello');
      await client.until(() => client.text(0) === 'hello');
      assert.equal(echo.endpoint.counters.retriesSent, 1);
      assert.equal(echo.endpoint.counters.accepted, 1);
      assert.equal(client.datagramsIn[0]![0]! & 0xf0, 0xf0, 'a Retry packet came first');
    });
  });

  withEcho('its token is good at every shard, and only for its address', { settings: { retry: 'always' } }, async (stranger) => {
    const secret = randomBytes(32);
    const options = { secret, shardCount: 2, settings: { retry: 'always' as const } };
    const issuer = await openEcho({ ...options, shardIndex: 0 });
    const other = await openEcho({ ...options, shardIndex: 1 });
    try {
      const client = await connect({ port: issuer.port });
      await client.connected();
      // The second datagram of the client is its Initial with the token.
      const initial = client.datagramsOut.filter((bytes) => bytes.length >= 1200 && (bytes[0]! & 0xf0) === 0xc0)[1]!;
      const { address, port } = client.socket.address();
      const { counters } = other.endpoint;
      other.endpoint.receiveForwarded(Buffer.from(initial), '127.0.0.2', port);
      other.endpoint.receiveForwarded(Buffer.from(initial), address, port ^ 1);
      assert.equal(counters.droppedToken, 2);
      assert.equal(counters.accepted, 0);
      other.endpoint.receiveForwarded(Buffer.from(initial), address, port);
      assert.equal(counters.accepted, 1);
      stranger.endpoint.receiveForwarded(Buffer.from(initial), address, port);
      assert.equal(stranger.endpoint.counters.accepted, 0, 'another process cannot read it, and asks again');
      assert.equal(stranger.endpoint.counters.retriesSent, 1);
      client.close();
    } finally {
      issuer.close();
      other.close();
    }
  });

  withEcho('automatic: only while many handshakes are open', { settings: { retry: 'auto', retryAbove: 2 } }, async (echo) => {
    const deaf = [await connect({ port: echo.port }), await connect({ port: echo.port })];
    for (const client of deaf) client.isDeaf = true;
    await echo.until(() => echo.endpoint.counters.handshakes === 2);
    assert.equal(echo.endpoint.counters.retriesSent, 0);
    const client = await connect({ port: echo.port });
    await withClient(client, async () => {
      await client.connected();
      assert.equal(echo.endpoint.counters.retriesSent, 1);
      assert.ok(client.native.isEstablished());
    });
    for (const each of deaf) each.vanish();
  });

  withEcho('a token that is none of ours counts as none', {}, async (echo) => {
    // As a client brings it that was at another server of this address before.
    const socket = await openSocket('127.0.0.1');
    const initial = Buffer.alloc(1200);
    initial.set([0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 4, 9, 9, 9, 9, 0x44, 0x00]);
    const before = echo.endpoint.counters.accepted;
    socket.send(initial, echo.port, '127.0.0.1');
    await echo.until(() => echo.endpoint.counters.accepted > before);
    assert.equal(echo.endpoint.counters.droppedToken, 0);
    socket.close();
  });
});
