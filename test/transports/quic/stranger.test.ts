/*
 * Goal: what comes from strangers costs little, is answered with no more than it is worth, and never hurts those who are connected.
 * Method: datagrams made by hand or spoiled as a seed says (it is in the test's name; QUIC_SEED sets it), and the endpoint's counters.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:dgram';
import { once } from 'node:events';
import { describe } from 'node:test';
import { Random } from '../../sim/random.ts';
import { type EchoEndpoint, openEcho, withEcho } from './echo-endpoint.ts';
import { connect, firstDatagram, openSocket, withClient } from './native-client.ts';

const seed = Number(process.env['QUIC_SEED'] ?? Date.now()) >>> 0;

/** Sends and waits until it has left. */
function send(socket: Socket, bytes: Uint8Array, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.send(bytes, port, '127.0.0.1', (error) => (error === null || error === undefined ? resolve() : reject(error)));
  });
}

async function answer(socket: Socket, bytes: Uint8Array, port: number): Promise<Buffer> {
  const message = once(socket, 'message');
  await send(socket, bytes, port);
  return (await message)[0] as Buffer;
}

function withStranger(
  name: string,
  run: (socket: Socket, echo: EchoEndpoint) => Promise<void>,
  options: Parameters<typeof withEcho>[1] = {},
): void {
  withEcho(name, options, async (echo) => {
    const socket = await openSocket('127.0.0.1');
    try {
      await run(socket, echo);
    } finally {
      socket.close();
    }
  });
}

describe('Version Negotiation', () => {
  withStranger('names version 1, and turns the connection IDs round', async (socket, echo) => {
    const bytes = Buffer.alloc(1200);
    bytes.set([0xc3, 0x1a, 0x2a, 0x3a, 0x4a, 3, 1, 2, 3, 5, 11, 12, 13, 14, 15]);
    const got = await answer(socket, bytes, echo.port);
    assert.ok(got[0]! >= 0x80);
    assert.equal(got.toString('hex', 1), '00000000050b0c0d0e0f0301020300000001');
    assert.equal(echo.endpoint.counters.versionNegotiationsSent, 1);
  });

  withStranger('is not sent for small datagrams, nor for Version Negotiation', async (socket, echo) => {
    const small = Buffer.alloc(1199);
    small.set([0xc3, 0x1a, 0x2a, 0x3a, 0x4a, 3, 1, 2, 3, 5, 11, 12, 13, 14, 15]);
    await send(socket, small, echo.port);
    const negotiation = Buffer.alloc(1200);
    negotiation.set([0xc3, 0, 0, 0, 0, 3, 1, 2, 3, 5, 11, 12, 13, 14, 15]);
    await send(socket, negotiation, echo.port);
    await echo.until(() => echo.endpoint.counters.received === 2);
    assert.equal(echo.endpoint.counters.sent, 0);
    assert.equal(echo.endpoint.counters.droppedSmallInitial, 1);
    assert.equal(echo.endpoint.counters.droppedMalformed, 1);
  });
});

describe('Stateless Reset', () => {
  const secret = randomBytes(32);

  withEcho('ends a connection that the endpoint does not know any more', { secret }, async (before) => {
    const client = await connect({ port: before.port });
    await client.connected();
    await client.until(() => client.native.availableDcids() > 0);
    const { port } = before;
    // The process ends without a word, and begins anew on the same port with the same secret.
    before.endpoint.socket.close();
    const after = await openEcho({ secret, port });
    client.write(0, 'are you there?');
    await client.until(() => client.native.isDraining() || client.native.isClosed());
    assert.ok(after.endpoint.counters.statelessResetsSent >= 1);
    assert.equal(client.native.peerError(), null, 'nobody has closed it with a code');
    const reset = client.datagramsIn.at(-1)!;
    const asked = client.datagramsOut.at(-1)!;
    assert.ok(reset.length < asked.length && reset.length >= 21 && (reset[0]! & 0xc0) === 0x40);
    client.vanish();
    after.close();
  });

  withStranger('is never as large as what it answers, and not sent to tiny ones or to inventions', async (socket, echo) => {
    const id = echo.endpoint.ids.make();
    const packet = (length: number, dcid: Uint8Array): Buffer => {
      const bytes = Buffer.alloc(length, 0x55);
      bytes.set(dcid, 1);
      return bytes;
    };
    for (const length of [22, 30, 43, 44, 100, 1200]) {
      const got = await answer(socket, packet(length, id), echo.port);
      assert.equal(got.length, Math.min(length - 1, 43));
      assert.deepEqual(got.subarray(-16), echo.endpoint.ids.resetToken(id));
    }
    const { sent, droppedUnknown } = echo.endpoint.counters;
    await send(socket, packet(21, id), echo.port);
    await send(socket, packet(100, randomBytes(16)), echo.port);
    await echo.until(() => echo.endpoint.counters.droppedUnknown === droppedUnknown + 2);
    assert.equal(echo.endpoint.counters.sent, sent);
  });

  withStranger('is limited for each second', async (_socket, echo) => {
    const id = echo.endpoint.ids.make();
    const bytes = Buffer.alloc(50, 0x55);
    bytes.set(id, 1);
    // A second may begin meanwhile, but not two.
    for (let i = 0; i < 6_000; i++) echo.endpoint.receiveForwarded(bytes, '127.0.0.1', 9);
    const { statelessResetsSent, droppedRateLimited } = echo.endpoint.counters;
    assert.ok(droppedRateLimited > 0 && statelessResetsSent + droppedRateLimited === 6_000);
  });
});

describe('address validation', () => {
  withStranger(
    'before it, a client gets at most three times what it has sent',
    async (socket, echo) => {
      let got = 0;
      socket.on('message', (bytes) => {
        got += bytes.length;
      });
      const initial = firstDatagram();
      await send(socket, initial, echo.port);
      // Nothing more comes from the client: the handshake is repeated until it is given up.
      await echo.until(() => echo.endpoint.counters.handshakesFailed === 1);
      assert.ok(got > 0 && got <= 3 * initial.length, `${got} for ${initial.length}`);
    },
    { settings: { handshakeTimeoutMilliseconds: 3_000 } },
  );
});

describe('floods', () => {
  const handshakes = { settings: { maxHandshakes: 50, handshakeTimeoutMilliseconds: 1_000 } };
  const flood = async (socket: Socket, echo: EchoEndpoint): Promise<void> => {
    const client = await connect({ port: echo.port });
    await withClient(client, async () => {
      client.write(0, 'x');
      await client.until(() => client.text(0) === 'x');
      for (let i = 0; i < 2_000; i++) {
        await send(socket, firstDatagram(), echo.port);
        if (i % 250 !== 0) continue;
        const length = client.text(0).length;
        client.write(0, 'y');
        await client.until(() => client.text(0).length === length + 1);
      }
      const { counters } = echo.endpoint;
      assert.ok(counters.handshakes <= 50, `${counters.handshakes} handshakes`);
      assert.ok(counters.droppedHandshakes > 500, `${counters.droppedHandshakes} refused`);
      await echo.until(() => counters.handshakes === 0);
      assert.equal(counters.connections, 1);
    });
  };
  withStranger('of first datagrams: bounded, and a connection is served meanwhile', flood, handshakes);

  withStranger('of first datagrams that are not what they seem: nothing is kept', async (socket, echo) => {
    const initial = firstDatagram();
    for (let i = 0; i < 500; i++) {
      // Their keys follow from the ID, so that no byte of the rest can be read.
      randomBytes(16).copy(initial, 6);
      await send(socket, initial, echo.port);
    }
    const { counters } = echo.endpoint;
    await echo.until(() => counters.received === 500 && counters.connections === 0);
    assert.equal(counters.droppedByQuiche, 500);
    assert.equal(counters.sent, 0);
  });

  const retry = { settings: { retry: 'auto', retryAbove: 10 } } as const;
  const askedAgain = async (socket: Socket, echo: EchoEndpoint): Promise<void> => {
    for (let i = 0; i < 500; i++) await send(socket, firstDatagram(), echo.port);
    const { counters } = echo.endpoint;
    await echo.until(() => counters.received === 500);
    assert.equal(counters.retriesSent, 490);
    assert.equal(counters.connections, 10);
  };
  withStranger('are answered by Retry, which remembers nothing', askedAgain, retry);

  const oneOnly = async (socket: Socket, echo: EchoEndpoint): Promise<void> => {
    const client = await connect({ port: echo.port });
    await client.connected();
    await send(socket, firstDatagram(), echo.port);
    await echo.until(() => echo.endpoint.counters.droppedConnections === 1);
    client.close();
  };
  withStranger('above the limit of connections', oneOnly, { settings: { maxConnections: 1 } });

  withStranger('after the end of accepting', async (socket, echo) => {
    echo.endpoint.stopAccepting();
    await send(socket, firstDatagram(), echo.port);
    await echo.until(() => echo.endpoint.counters.droppedStopping === 1);
  });
});

describe('nonsense', () => {
  withStranger(`thousands of spoiled datagrams do no harm, seed ${seed}`, async (socket, echo) => {
    const random = new Random(seed);
    const client = await connect({ port: echo.port });
    await withClient(client, async () => {
      client.write(0, 'x');
      await client.until(() => client.text(0) === 'x');
      const models = [...client.datagramsOut, ...client.datagramsIn, firstDatagram()];
      for (let i = 0; i < 4_000; i++) {
        const bytes = Buffer.from(random.of(models)).subarray(0, random.chance(0.3) ? random.below(1_500) : undefined);
        const changes = random.below(4);
        for (let change = 0; change < changes && bytes.length > 0; change++)
          bytes[random.below(Math.min(bytes.length, 40))] = random.below(256);
        await send(socket, random.chance(0.1) ? randomBytes(random.below(200)) : bytes, echo.port);
      }
      client.write(0, 'y');
      await client.until(() => client.text(0) === 'xy');
      const { counters } = echo.endpoint;
      assert.ok(counters.droppedMalformed > 0 && counters.droppedUnknown > 0);
      assert.equal(echo.connections.filter(({ closedReasons }) => closedReasons.length === 0).length, 1);
    });
  });
});
