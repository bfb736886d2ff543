/*
 * Goal: the name that a client asks for is found in its first datagrams, however they come; and halves of a ClientHello cannot fill the memory.
 * Method: first flights of real clients at a socket that does not answer, taken apart in every order, and damaged.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { readHandshakeHello } from '../../../src/transports/client-hello.ts';
import { DatagramHeader, INITIAL } from '../../../src/transports/quic/datagram.ts';
import { InitialHello } from '../../../src/transports/quic/initial-hello.ts';
import { Random } from '../../sim/random.ts';
import { credentials, withEcho } from './echo-endpoint.ts';
import { connect, openSocket, withClient } from './native-client.ts';

const MANY = ['mqtt', ...Array.from({ length: 50 }, (_, i) => `filler-${i}-${'x'.repeat(10)}`)];
const [pair] = credentials.certificates;
const TWO = { certificates: [pair!, pair!], certificateFor: () => 1 };

/** The first datagrams of a client that nobody answers. */
async function firstFlight(protocols: readonly string[]): Promise<Buffer[]> {
  const deaf = await openSocket('127.0.0.1');
  const client = await connect({ port: deaf.address().port, serverName: 'device.example', protocols });
  const flight = [...client.datagramsOut];
  client.vanish();
  deaf.close();
  return flight;
}

function dcidOf(datagram: Buffer): Uint8Array {
  const header = new DatagramHeader();
  assert.equal(header.parse(datagram, datagram.length), INITIAL);
  return datagram.subarray(header.dcidAt, header.dcidAt + header.dcidLength);
}

test('one datagram, or two in any order', async () => {
  const one = await firstFlight(['mqtt']);
  const two = await firstFlight(MANY);
  assert.deepEqual([one.length, two.length], [1, 2]);
  for (const flight of [one, two, [...two].reverse(), [two[0]!, two[0]!, two[1]!]]) {
    const hello = new InitialHello(dcidOf(flight[0]!));
    for (const [index, datagram] of flight.entries()) {
      assert.equal(hello.take(datagram), true);
      const isWhole = index === flight.length - 1;
      assert.equal(hello.hello !== null, isWhole);
      if (isWhole) assert.equal(readHandshakeHello(hello.hello!).serverName, 'device.example');
    }
  }
});

const seed = Number(process.env['QUIC_SEED'] ?? Date.now()) >>> 0;
test(`what is damaged, cut short or encrypted with other keys has no name, and does no harm (QUIC_SEED=${seed})`, async () => {
  const [datagram] = await firstFlight(['mqtt']);
  const random = new Random(seed);
  for (let i = 0; i < 2000; i++) {
    const copy = Buffer.from(datagram!.subarray(0, random.chance(0.5) ? datagram!.length : random.below(datagram!.length)));
    for (let flips = random.below(4); flips >= 0 && copy.length > 0; flips--) copy[random.below(copy.length)]! ^= 1 << random.below(8);
    const hello = new InitialHello(dcidOf(datagram!));
    hello.take(copy);
    // The tag guards all of it but what quiche does not look at either.
    if (hello.hello !== null) assert.equal(readHandshakeHello(hello.hello).serverName, 'device.example');
  }
  assert.equal(new InitialHello(Buffer.alloc(8)).take(datagram!), false);
});

withEcho('halves are kept for a few clients only, and the next whole one is served', { credentials: TWO }, async (echo) => {
  const socket = await openSocket('127.0.0.1');
  for (let i = 0; i < 300; i++) {
    const [half] = await firstFlight(MANY);
    await new Promise((resolve) => {
      socket.send(half!, echo.port, '127.0.0.1', resolve);
    });
  }
  const client = await connect({ port: echo.port, protocols: MANY });
  await withClient(client, async () => {
    await client.connected();
    client.write(0, 'served');
    await client.until(() => client.text(0) === 'served');
  });
  assert.ok(echo.endpoint.counters.droppedHellos > 0);
  assert.equal(echo.endpoint.counters.accepted, 1);
  socket.close();
});
