/*
 * Goal: a PROXY protocol header is read whole, never a byte beyond it, and what is none is refused as soon as that can be seen.
 * Method: headers by hand, given to the reader in every pair of pieces and byte by byte; each time no more than it asked for.
 */
import assert from 'node:assert/strict';
import test, { describe } from 'node:test';
import { ProxyHeaderReader } from '../../src/transports/proxy-header.ts';
import { field, v1, v2 } from '../support/proxy-header.ts';

type Versions = 'v1' | 'v2' | 'any';

/** Reads from `bytes` as from a socket, `most` bytes at a time. @returns `address:port`, 'malformed' or 'incomplete', and how many bytes were taken */
function read(bytes: Buffer, versions: Versions = 'any', most = Number.POSITIVE_INFINITY): [string, number] {
  const reader = new ProxyHeaderReader(versions);
  let at = 0;
  while (at < bytes.length) {
    const piece = bytes.subarray(at, at + Math.min(reader.wanted, most));
    at += piece.length;
    const found = reader.take(piece);
    if (found === 'malformed') return ['malformed', at];
    if (found !== null) return [`${found.address}|${found.port}`, at];
  }
  return ['incomplete', at];
}

const ipv6 = [0x20, 1, 0xd, 0xb8, ...new Array<number>(11).fill(0), 7];
const headers: readonly [string, Buffer, string, 'v1' | 'v2'][] = [
  ['v1 IPv4', v1('203.0.113.9', 40_000), '203.0.113.9|40000', 'v1'],
  ['v1 IPv6', v1('2001:db8::7', 1), '2001:db8::7|1', 'v1'],
  ['v1 IPv4 in IPv6', v1('::ffff:203.0.113.9', 1), '203.0.113.9|1', 'v1'],
  ['v1 short UNKNOWN', Buffer.from('PROXY UNKNOWN\r\n'), '|0', 'v1'],
  ['v1 UNKNOWN with addresses', Buffer.from('PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n'), '|0', 'v1'],
  ['v1, the longest', Buffer.from(`PROXY UNKNOWN ${'ffff:'.repeat(7)}ffff ${'ffff:'.repeat(7)}ffff 65535 65535\r\n`), '|0', 'v1'],
  ['v2 IPv4', v2([203, 0, 113, 9, 127, 0, 0, 1], 40_000), '203.0.113.9|40000', 'v2'],
  ['v2 IPv6', v2([...ipv6, ...ipv6], 65_535), '2001:db8::7|65535', 'v2'],
  ['v2 IPv4 in IPv6', v2([...new Array<number>(10).fill(0), 255, 255, 203, 0, 113, 9, ...ipv6], 5), '203.0.113.9|5', 'v2'],
  ['v2 LOCAL', v2([], 0, { command: 0, family: 0 }), '|0', 'v2'],
  ['v2 LOCAL with addresses', v2([1, 2, 3, 4, 5, 6, 7, 8], 9, { command: 0 }), '|0', 'v2'],
  ['v2 Unix', v2(new Array<number>(216).fill(0), 0, { family: 0x31 }), '|0', 'v2'],
  ['v2 UNSPEC', v2([], 0, { family: 0 }), '|0', 'v2'],
  [
    'v2 with fields',
    v2([203, 0, 113, 9, 127, 0, 0, 1], 7, {
      fields: Buffer.concat([field(1, Buffer.from('mqtt')), field(2, Buffer.alloc(255, 97)), field(4, Buffer.alloc(500))]),
    }),
    '203.0.113.9|7',
    'v2',
  ],
];

describe('headers', () => {
  for (const [name, header, expected, version] of headers) {
    test(`${name}: in any pieces, and nothing behind it is touched`, () => {
      const all = Buffer.concat([header, Buffer.from('\x10\r\n\r\n\0\r\nQUIT\n PROXY \r\n')]);
      for (const versions of ['any', version] as const) {
        assert.deepEqual(read(all, versions), [expected, header.length]);
        for (const most of [1, 2, 3, 5, 11, 12, 13]) assert.deepEqual(read(all, versions, most), [expected, header.length]);
      }
      assert.equal(read(all, version === 'v1' ? 'v2' : 'v1')[0], 'malformed');
      for (let length = 0; length < header.length; length++) assert.equal(read(header.subarray(0, length))[0], 'incomplete');
    });
  }
});

test('what is no header is refused by its first bytes that show it', () => {
  assert.deepEqual(read(Buffer.from('\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02ab')), ['malformed', 12]);
  assert.deepEqual(read(Buffer.from('G'), 'any', 1), ['malformed', 1]);
  assert.deepEqual(read(Buffer.from('PROXX'), 'any', 1), ['malformed', 5]);
  assert.deepEqual(read(Buffer.from('\r\n\r\n\0\r\nQUIX'), 'any', 1), ['malformed', 11]);
});

test('malformed headers', () => {
  const lines = [
    'PROXY',
    'PROXY ',
    'PROXY TCP4',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1 65536',
    'PROXY TCP4 1.2.3.4 1.2.3.4 65536 1',
    'PROXY TCP4 1.2.3.4 1.2.3.4 -1 1',
    'PROXY TCP4 1.2.3.4 1.2.3.4 01 1',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1e3 1',
    'PROXY TCP4 1.2.3.4  1.2.3.4 1 1',
    'PROXY TCP4 1.2.3 1.2.3.4 1 1',
    'PROXY TCP4 ::1 ::1 1 1',
    'PROXY TCP6 1.2.3.4 ::1 1 1',
    'PROXY TCP6 ::1 nowhere 1 1',
    'PROXY UDP4 1.2.3.4 1.2.3.4 1 1',
    'PROXY tcp4 1.2.3.4 1.2.3.4 1 1',
  ];
  for (const line of lines) assert.equal(read(Buffer.from(`${line}\r\n${'x'.repeat(20)}`))[0], 'malformed', line);
  assert.deepEqual(read(Buffer.from(`PROXY TCP4 ${'1'.repeat(300)}`)), ['malformed', 108]);
  const addresses = [203, 0, 113, 9, 127, 0, 0, 1];
  const wrong = (change: (bytes: Buffer) => void): Buffer => {
    const bytes = v2(addresses, 7);
    change(bytes);
    return bytes;
  };
  for (const bytes of [
    wrong((bytes) => (bytes[12] = 0x11)),
    wrong((bytes) => (bytes[12] = 0x22)),
    wrong((bytes) => (bytes[13] = 0x12)),
    wrong((bytes) => (bytes[13] = 0x21)),
    v2([1, 2, 3, 4], 7, { family: 0x11 }),
    v2(addresses, 7, { fields: Buffer.alloc(5000) }),
  ])
    assert.equal(read(bytes)[0], 'malformed', bytes.toString('hex', 0, 20));
});
