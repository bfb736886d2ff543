/*
 * Goal: behind a balancer the broker knows the client's own address, takes headers from those it trusts alone, and loses no byte that follows a header.
 * Method: brokers with a PROXY listener of each transport; the tests write the header themselves, before TLS and WebSocket begin.
 */
import assert from 'node:assert/strict';
import test, { after, before, describe } from 'node:test';
import { CounterWatch, WATCHED } from '../scenario/observe.ts';
import { connectBytes } from '../scenario/raw-connection.ts';
import { startBroker, type TestBroker } from '../support/broker.ts';
import { Authority, pem, temporaryFile } from '../support/certificates.ts';
import { connect, payloadText, type TestClient } from '../support/client.ts';
import { type DialPlace, dial, dialSocket, type Transport } from '../support/dial.ts';
import { clientIdOn } from '../support/placement.ts';
import { field, v1, v2 } from '../support/proxy-header.ts';

const SHARDS = 2;
const HOST = '127.0.0.1';
const TRANSPORTS: readonly Transport[] = ['tcp', 'tls', 'ws', 'wss', 'unix'];
const authority = new Authority(`proxy-${process.pid}`);
const tls = { certificates: [authority.issue('localhost', ['DNS:localhost'])] };
const two = { certificates: [...tls.certificates, authority.issue('second', ['DNS:second'])] };
const socketFile = temporaryFile('proxy-socket');
const rules = { allow: ['203.0.113.0/24', '2001:db8::/32'], deny: ['203.0.113.66'] };

let broker: TestBroker;
let watch: CounterWatch;
let watcher: TestClient;

before(async () => {
  const bind = `${HOST}:0`;
  const proxy = { protocol: 'any' };
  const listeners = [
    { type: 'tcp', bind },
    ...TRANSPORTS.map((type) => ({
      type,
      bind: type === 'unix' ? socketFile : bind,
      proxy,
      ...rules,
      ...(type === 'tls' ? { tls } : type === 'wss' ? { tls: two } : {}),
    })),
    { type: 'tcp', bind, proxy: { protocol: 'v1' } },
    { type: 'tcp', bind, proxy: { protocol: 'v2', trusted: ['127.0.0.7'] } },
  ];
  broker = await startBroker({ shards: SHARDS, listeners, ...WATCHED });
  watch = await CounterWatch.open(broker.port);
  watcher = await connect(broker.port, {});
  await watcher.subscribe('$events/client_connected');
});
after(async () => {
  assert.equal(await broker.stop(), 0);
});

function at(transport: Transport, prelude: Uint8Array): DialPlace {
  const port = broker.ports[1 + TRANSPORTS.indexOf(transport)]!;
  return { transport, host: HOST, port, path: socketFile, ca: pem(authority.root), prelude };
}

/** The peer's name of a client that is let in. */
async function peerName(place: DialPlace, owner: number): Promise<string> {
  const client = await connect(place, { clientId: clientIdOn(owner, SHARDS) });
  await client.ping();
  let facts = { clientid: '', peername: '' };
  while (facts.clientid !== client.clientId) facts = JSON.parse(payloadText(await watcher.next())) as typeof facts;
  await client.disconnect();
  return facts.peername;
}

/** Whether the connection is closed without a byte. */
async function isTurnedAway(place: DialPlace): Promise<boolean> {
  try {
    const client = await connect(place, {});
    await client.disconnect();
    return false;
  } catch (error) {
    assert.match(String(error), /has ended|hang up|ECONNRESET|disconnected|EPIPE/);
    return true;
  }
}

const ipv6 = [0x20, 1, 0xd, 0xb8, ...new Array<number>(11).fill(0), 7];
const fields = Buffer.concat([field(2, Buffer.from('broker.example')), field(5, Buffer.from('id')), field(4, Buffer.alloc(100))]);

for (const transport of TRANSPORTS) {
  describe(`over ${transport}`, () => {
    for (const owner of [0, 1]) {
      test(`the peer is who the header names (owner ${owner})`, async () => {
        assert.equal(await peerName(at(transport, v1('203.0.113.9', 40_000)), owner), '203.0.113.9:40000');
        assert.equal(await peerName(at(transport, v1('2001:db8::9', 1)), owner), '[2001:db8::9]:1');
        assert.equal(await peerName(at(transport, v2([203, 0, 113, 9, 127, 0, 0, 1], 65_535)), owner), '203.0.113.9:65535');
        assert.equal(await peerName(at(transport, v2([...ipv6, ...ipv6], 7, { fields })), owner), '[2001:db8::7]:7');
      });

      test(`a header that names nobody leaves the balancer's own name (owner ${owner})`, async () => {
        const own = transport === 'unix' ? /^unix:\// : /^127\.0\.0\.1:\d+$/;
        assert.match(await peerName(at(transport, Buffer.from('PROXY UNKNOWN\r\n')), owner), own);
        assert.match(await peerName(at(transport, v2([], 0, { command: 0, family: 0 })), owner), own);
      });
    }
  });
}

test('allow and deny are about the address in the header', async () => {
  const refused = await watch.fresh('connections/refused');
  const denied = watch.value('connections/denied');
  for (const transport of TRANSPORTS) {
    assert.ok(await isTurnedAway(at(transport, v1('203.0.113.66', 1))));
    assert.ok(await isTurnedAway(at(transport, v2([198, 51, 100, 1, 127, 0, 0, 1], 1))));
  }
  assert.equal((await watch.fresh('connections/denied')) - denied, 2 * TRANSPORTS.length);
  assert.equal(watch.value('connections/refused') - refused, 2 * TRANSPORTS.length);
});

test('without a header, or with a malformed one, nobody gets in', async () => {
  const refused = await watch.fresh('connections/refused');
  const preludes = ['PROXY TCP4 1 2 3 4\r\n', 'PROXY NONSENSE\r\n', 'PROXY TCP4 '.padEnd(200, '1'), 'GET / HTTP/1.1\r\n\r\n'];
  for (const transport of TRANSPORTS) {
    for (const prelude of preludes) assert.ok(await isTurnedAway(at(transport, Buffer.from(prelude))), prelude);
    const { prelude: _, ...bare } = at(transport, Buffer.alloc(0));
    assert.ok(await isTurnedAway(bare));
  }
  assert.equal((await watch.fresh('connections/refused')) - refused, TRANSPORTS.length * (preludes.length + 1));
  assert.equal(watch.value('connections/opening'), 0);
});

test('header and packets in one segment, and the header byte by byte', async () => {
  const header = v2([203, 0, 113, 9, 127, 0, 0, 1], 7, { fields });
  for (const owner of [0, 1]) {
    const packets = Buffer.concat([connectBytes(clientIdOn(owner, SHARDS), { version: 4 }), Buffer.from('c000c000', 'hex')]);
    for (const pieces of [[Buffer.concat([header, packets])], [...header].map((byte) => Uint8Array.of(byte)).concat([packets])]) {
      const socket = dialSocket(at('tcp', pieces[0]!));
      let answer = '';
      const whole = new Promise<void>((resolve) => {
        socket.on('data', (chunk: Buffer) => {
          answer += chunk.toString('hex');
          if (answer.length >= 16) resolve();
        });
      });
      for (const piece of pieces.slice(1)) await new Promise((resolve) => socket.write(piece, resolve));
      await whole;
      assert.equal(answer, '20020000d000d000');
      socket.destroy();
    }
  }
});

test('a listener for one version takes no other', async () => {
  const port = broker.ports[6]!;
  const place: DialPlace = { transport: 'tcp', host: HOST, port };
  assert.equal(await peerName({ ...place, prelude: v1('203.0.113.9', 1) }, 0), '203.0.113.9:1');
  assert.ok(await isTurnedAway({ ...place, prelude: v2([203, 0, 113, 9, 127, 0, 0, 1], 1) }));
  const second: DialPlace = { transport: 'tcp', host: HOST, port: broker.ports[7]!, localAddress: '127.0.0.7' };
  assert.equal(await peerName({ ...second, prelude: v2([203, 0, 113, 9, 127, 0, 0, 1], 1) }, 0), '203.0.113.9:1');
  assert.ok(await isTurnedAway({ ...second, prelude: v1('203.0.113.9', 1) }));
});

test('a header from an address that is not trusted is not even read', async () => {
  const place: DialPlace = { transport: 'tcp', host: HOST, port: broker.ports[7]!, prelude: v2([203, 0, 113, 9, 127, 0, 0, 1], 1) };
  assert.ok(await isTurnedAway(place));
  assert.ok(await isTurnedAway({ ...place, localAddress: '127.0.0.8' }));
  await broker.line(({ msg, peer }) => msg === 'connection refused: not a trusted proxy' && peer === '127.0.0.8');
});

test('a balancer that goes before its header is whole is forgotten', async () => {
  for (const transport of TRANSPORTS) {
    const streams = ['', 'PROXY TCP4 203'].map((part) => dialSocket(at(transport, Buffer.from(part))));
    for (const stream of streams) {
      stream.on('error', () => {});
      stream.end();
    }
  }
  await watch.reaches('connections/opening', (value) => value === 0);
  const good = dial(at('tcp', v1('203.0.113.9', 1)));
  good.destroy();
});
