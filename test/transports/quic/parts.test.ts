/*
 * Goal: the small parts hold what their heads promise: addresses, connection IDs, tokens, headers, deadlines.
 * Method: each by hand, with values from RFCs where there are any, and random ones with a model beside.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import test, { describe } from 'node:test';
import { BindError, bindQuicSocket } from '../../../src/transports/quic/bind-socket.ts';
import { ConnectionIds, deriveKeys } from '../../../src/transports/quic/connection-id.ts';
import { DatagramHeader, HANDSHAKE, INITIAL, MALFORMED, OTHER_VERSION, SHORT, ZERO_RTT } from '../../../src/transports/quic/datagram.ts';
import { Deadlines, type Due } from '../../../src/transports/quic/deadlines.ts';
import { mintRetryToken, openRetryToken } from '../../../src/transports/quic/retry-token.ts';
import { encodeSocketAddress, hostOf, lengthOf, portOf } from '../../../src/transports/quic/socket-address.ts';
import { Random } from '../../sim/random.ts';

describe('socket addresses', () => {
  for (const [host, text] of [
    ['127.0.0.1', '127.0.0.1'],
    ['::', '::'],
    ['::1', '::1'],
    ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['2001:db8::', '2001:db8::'],
    ['::ffff:192.0.2.1', '::ffff:192.0.2.1'],
    ['fe80::1%3', 'fe80::1'],
  ] as const) {
    test(`${host} comes back`, () => {
      const bytes = encodeSocketAddress(host, 14567)!;
      assert.equal(hostOf(bytes, 0), text);
      assert.equal(portOf(bytes, 0), 14567);
      assert.equal(lengthOf(bytes, 0), bytes.length);
    });
  }

  for (const host of ['', 'localhost', '1.2.3', '1.2.3.256', '1:2', '1:2:3:4:5:6:7:8:9', '::1::', 'g::', '1::2:3:4:5:6:7:8']) {
    test(`"${host}" is none`, () => assert.equal(encodeSocketAddress(host, 1), null));
  }

  test('a port that somebody has is refused to the first of a listener, and shared by the others', async () => {
    const first = await bindQuicSocket('127.0.0.1', 0, { isFirst: true });
    const second = await bindQuicSocket('127.0.0.1', first.port);
    assert.equal(second.port, first.port);
    await assert.rejects(bindQuicSocket('127.0.0.1', first.port, { isFirst: true }), (error: BindError) => error.code === 'EADDRINUSE');
    await assert.rejects(bindQuicSocket('192.0.2.1', 0), (error: BindError) => error.code === 'EADDRNOTAVAIL');
    await assert.rejects(bindQuicSocket('localhost', 0), BindError);
    first.close();
    second.close();
  });
});

describe('connection IDs', () => {
  const keys = deriveKeys(randomBytes(32));

  test('name their shard to every shard, and nothing to others', () => {
    const readers = [new ConnectionIds(0, keys), new ConnectionIds(255, keys)];
    const stranger = new ConnectionIds(0, deriveKeys(randomBytes(32)));
    for (const shard of [0, 1, 127, 255]) {
      const maker = new ConnectionIds(shard, keys);
      for (let i = 0; i < 300; i++) {
        const id = maker.make();
        const framed = Buffer.concat([Buffer.of(0x40), id, Buffer.of(1)]);
        for (const reader of readers) assert.equal(reader.shardOf(framed, 1, 16), shard);
        assert.equal(stranger.shardOf(id, 0, 16), -1);
        assert.equal(maker.shardOf(id, 0, 15), -1);
      }
    }
    assert.equal(readers[0]!.shardOf(randomBytes(16), 0, 16), -1);
  });

  test('are all different, and so are their reset tokens', () => {
    const ids = new ConnectionIds(3, keys);
    const made = Array.from({ length: 1000 }, () => ids.make());
    assert.equal(new Set(made.map((id) => Buffer.from(id).toString('hex'))).size, 1000);
    assert.equal(new Set(made.map((id) => ids.resetTokenNumber(id))).size, 1000);
    const id = made[0]!;
    assert.equal(ids.resetTokenNumber(id).toString(16).padStart(32, '0'), ids.resetToken(id).toString('hex'));
    assert.deepEqual(new ConnectionIds(9, keys).resetToken(id), ids.resetToken(id));
  });
});

test('a Retry token is good for its client, its Retry and its time, and for nothing else', () => {
  const key = randomBytes(32);
  const [original, scid] = [randomBytes(18), randomBytes(16)];
  const token = mintRetryToken(key, original, scid, '127.0.0.1', 1000, 50);
  assert.deepEqual(openRetryToken(key, token, scid, '127.0.0.1', 1000, 60), original);
  assert.equal(openRetryToken(key, token, scid, '127.0.0.1', 1000, 66), null);
  assert.equal(openRetryToken(key, token, scid, '127.0.0.2', 1000, 60), null);
  assert.equal(openRetryToken(key, token, scid, '127.0.0.1', 1001, 60), null);
  assert.equal(openRetryToken(key, token, randomBytes(16), '127.0.0.1', 1000, 60), null);
  assert.equal(openRetryToken(randomBytes(32), token, scid, '127.0.0.1', 1000, 60), null);
  for (let at = 0; at < token.length; at++) {
    const spoiled = Buffer.from(token);
    spoiled[at]! ^= 1;
    assert.equal(openRetryToken(key, spoiled, scid, '127.0.0.1', 1000, 60), null);
    assert.equal(openRetryToken(key, token.subarray(0, at), scid, '127.0.0.1', 1000, 60), null);
  }
});

test('headers: what is read is inside the datagram, whatever comes', () => {
  const header = new DatagramHeader();
  const kind = (hex: string): number => {
    const bytes = Buffer.from(hex, 'hex');
    return header.parse(bytes, bytes.length);
  };
  assert.equal(kind(''), MALFORMED);
  assert.equal(kind(`40${'00'.repeat(15)}`), MALFORMED);
  assert.equal(kind(`40${'00'.repeat(16)}`), SHORT);
  assert.equal(kind(`00${'00'.repeat(16)}`), MALFORMED, 'the fixed bit');
  assert.equal(kind('c000000001021122033344550203'), MALFORMED, 'a token that does not end');
  assert.equal(kind('c0000000010211220333445502030400'), INITIAL);
  assert.deepEqual([header.dcidAt, header.dcidLength, header.scidAt, header.scidLength], [6, 2, 9, 3]);
  assert.deepEqual([header.tokenAt, header.tokenLength], [13, 2]);
  assert.equal(kind('d00000000102112203334455'), ZERO_RTT);
  assert.equal(kind('e00000000102112203334455'), HANDSHAKE);
  assert.equal(kind('c06b3343cf02112203334455'), OTHER_VERSION);
  assert.equal(kind(`c000000001${'15'}${'00'.repeat(40)}`), MALFORMED, 'an ID of 21 bytes');
  const seed = Number(process.env['QUIC_SEED'] ?? Date.now()) >>> 0;
  const random = new Random(seed);
  for (let i = 0; i < 20_000; i++) {
    const bytes = Buffer.from(Array.from({ length: random.below(60) }, () => random.below(256)));
    if (random.chance(0.8) && bytes.length > 5) bytes.set([0xc0, 0, 0, 0, 1, random.below(22)]);
    const what = header.parse(bytes, bytes.length);
    if (what === MALFORMED) continue;
    assert.ok(header.dcidAt + header.dcidLength <= bytes.length, `seed ${seed}`);
    if (what !== SHORT) assert.ok(header.scidAt + header.scidLength <= bytes.length, `seed ${seed}`);
    if (what === INITIAL) assert.ok(header.tokenAt + header.tokenLength <= bytes.length, `seed ${seed}`);
  }
});

test('deadlines come once, not before their time, and only if they were not taken away', { timeout: 10_000 }, async () => {
  const deadlines = new Deadlines();
  const random = new Random(7);
  const from = performance.now();
  let came = 0;
  let left = 0;
  await new Promise<void>((resolve) => {
    const make = (): Due => {
      const due: Due = {
        deadline: Number.POSITIVE_INFINITY,
        deadlineAt: Number.POSITIVE_INFINITY,
        deadlinePlace: -1,
        deadlineCame(now) {
          assert.ok(now >= wanted.get(due)!, 'not before its time');
          came++;
          wanted.delete(due);
          if (--left === 0) resolve();
        },
      };
      return due;
    };
    const wanted = new Map<Due, number>();
    const set = (due: Due, at: number): void => {
      wanted.set(due, at);
      deadlines.set(due, at);
    };
    const all = Array.from({ length: 300 }, make);
    for (const due of all) set(due, from + random.below(200));
    // Later, earlier, away.
    for (const due of all.slice(0, 200)) set(due, from + random.below(200));
    for (const due of all.slice(0, 50)) {
      wanted.delete(due);
      if (random.chance(0.5)) deadlines.remove(due);
      else deadlines.set(due, Number.POSITIVE_INFINITY);
    }
    left = wanted.size;
  });
  assert.equal(came, 250);
  deadlines.stop();
});
