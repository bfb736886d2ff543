/*
 * Goal: a listener lets in whom it shall, as many as it shall, and nobody stays who does not say who they are.
 * Method: one broker of two shards with a listener for each limit, clients from several addresses of 127.0.0.0/8, and the counters of the broker.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import test, { after, before, describe } from 'node:test';
import { CounterWatch, WATCHED } from '../scenario/observe.ts';
import { connectBytes } from '../scenario/raw-connection.ts';
import { startBroker, type TestBroker } from '../support/broker.ts';
import { Authority, pem } from '../support/certificates.ts';
import { connect, Refusal } from '../support/client.ts';
import { type DialPlace, dialSocket, dialTls, dialWebSocket, type Transport } from '../support/dial.ts';
import { clientIdOn } from '../support/placement.ts';

const SHARDS = 2;
const HOST = '127.0.0.1';
const bind = `${HOST}:0`;
const authority = new Authority(`gate-${process.pid}`);
const ca = pem(authority.root);
const tls = { certificates: [authority.issue('localhost', ['DNS:localhost'])] };
const quick = { handshakeTimeout: '1s' };
const listeners = {
  open: { type: 'tcp', bind },
  two: { type: 'tcp', bind, connections: 2 },
  twoWs: { type: 'ws', bind, connections: 2 },
  slow: { type: 'tcp', bind, connectRate: 5 },
  tcp: { type: 'tcp', bind, ...quick },
  tls: { type: 'tls', bind, tls, ...quick },
  ws: { type: 'ws', bind, ...quick },
  wss: { type: 'wss', bind, tls, ...quick },
  twoNames: { type: 'wss', bind, tls: { certificates: [...tls.certificates, ...tls.certificates] }, ...quick },
  small: { type: 'tcp', bind, packetSize: 200 },
  smallWs: { type: 'ws', bind, packetSize: 200 },
  some: { type: 'tcp', bind, allow: ['127.0.0.0/30'], deny: ['127.0.0.2'] },
  someTls: { type: 'tls', bind, tls, allow: ['127.0.0.0/30'], deny: ['127.0.0.2'] },
  someWs: { type: 'ws', bind, allow: ['127.0.0.0/30'], deny: ['127.0.0.2'] },
  mapped: { type: 'tcp', bind: '[::]:0', deny: ['127.0.0.2', '::1'] },
  mappedAllow: { type: 'tcp', bind: '[::]:0', allow: ['::ffff:127.0.0.3', 'fd00::/8'] },
} as const;
type Name = keyof typeof listeners;

let broker: TestBroker;
let watch: CounterWatch;

function at(name: Name, localAddress = HOST): DialPlace {
  return {
    transport: listeners[name].type as Transport,
    host: HOST,
    port: broker.ports[Object.keys(listeners).indexOf(name)]!,
    ca,
    localAddress,
  };
}

before(async () => {
  broker = await startBroker({ shards: SHARDS, listeners: Object.values(listeners), 'auth.allowAnonymous': true, ...WATCHED });
  watch = await CounterWatch.open(broker.port);
});
after(async () => {
  assert.equal(await broker.stop(), 0);
});

/** Resolves when it has closed, for whatever reason. */
function closed(connection: { once(event: 'close', listener: () => void): unknown }): Promise<void> {
  return new Promise((resolve) => {
    connection.once('close', () => resolve());
  });
}

/** Whether a client gets in. */
async function isLetIn(place: DialPlace): Promise<boolean> {
  try {
    const client = await connect(place, { clientId: clientIdOn(0, SHARDS) });
    await client.disconnect();
    return true;
  } catch (error) {
    assert.ok(!(error instanceof Refusal) || error.connack.code === 0x97);
    return false;
  }
}

describe('connections', () => {
  for (const name of ['two', 'twoWs'] as const) {
    test(`no more than the listener takes, whoever comes at once (${name})`, async () => {
      const tries = Array.from({ length: 20 }, (_, i) => connect(at(name), { clientId: clientIdOn(i % SHARDS, SHARDS) }));
      const results = await Promise.allSettled(tries);
      const inside = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      // Two shards that look at the same moment may each take the last place.
      assert.ok(inside.length >= 2 && inside.length <= 1 + SHARDS, `${inside.length} are in`);
      for (const result of results)
        assert.ok(result.status === 'fulfilled' || (result.reason instanceof Refusal && result.reason.connack.code === 0x97));
      // Who is there may come again.
      inside[0] = await connect(at(name), { clientId: inside[0]!.clientId });
      for (const client of inside) await client.disconnect();
      // Other listeners do not care.
      assert.ok(await isLetIn(at('open')));
      // A place that is given up is free again, as soon as both shards know.
      let isIn = false;
      for (let round = 0; !isIn && round < 10; round++) {
        isIn = await isLetIn(at(name));
        if (!isIn) await watch.round();
      }
      assert.ok(isIn);
    });
  }
});

test('connectRate: a burst of what one second allows, in all shards together', async () => {
  const before = await watch.fresh('connections/refused');
  const tries = Array.from({ length: 40 }, () => isLetIn(at('slow')));
  const results = await Promise.all(tries);
  const inside = results.filter((is) => is).length;
  // Slow machines take some time for so many.
  assert.ok(inside >= 5 && inside < 30, `${inside} are in`);
  assert.equal((await watch.fresh('connections/refused')) - before, 40 - inside);
});

describe('handshakeTimeout', () => {
  const hello = async (): Promise<Buffer> => {
    const { createServer } = await import('node:net');
    const server = createServer().listen(0, HOST);
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const client = dialTls({ ...at('tls'), port });
    client.on('error', () => {});
    const [socket] = (await once(server, 'connection')) as [import('node:net').Socket];
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    client.destroy();
    socket.destroy();
    server.close();
    return bytes;
  };
  const upgrade = 'GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n';

  /** Sends bytes and nothing more, and waits for the end that the broker makes. */
  async function stays(name: Name, bytes: string | Uint8Array): Promise<void> {
    const socket = dialSocket(at(name));
    socket.on('error', () => {});
    socket.resume();
    if (bytes.length > 0) socket.write(bytes);
    await closed(socket);
  }

  test('nobody stays who does not send a CONNECT, however far they come', async () => {
    const clientHello = await hello();
    const half = connectBytes('half').subarray(0, 10);
    const all = [
      ...(['tcp', 'tls', 'ws', 'wss', 'twoNames'] as const).map((name) => stays(name, '')),
      stays('tcp', half),
      stays('tls', clientHello.subarray(0, 5)),
      stays('tls', clientHello.subarray(0, 60)),
      stays('tls', clientHello),
      stays('wss', clientHello.subarray(0, 60)),
      stays('wss', clientHello),
      stays('twoNames', clientHello.subarray(0, 60)),
      stays('twoNames', clientHello),
      stays('ws', upgrade),
      stays('ws', 'GET'),
    ];
    const secure = dialTls(at('tls'));
    secure.on('error', () => {});
    secure.on('secureConnect', () => secure.write(half));
    secure.resume();
    all.push(closed(secure));
    const halfSecure = dialTls(at('wss'));
    halfSecure.on('error', () => {});
    halfSecure.on('secureConnect', () => halfSecure.write(upgrade));
    halfSecure.resume();
    all.push(closed(halfSecure));
    for (const name of ['ws', 'wss'] as const) {
      for (const bytes of [null, half]) {
        const socket = dialWebSocket(at(name));
        socket.on('error', () => {});
        if (bytes !== null) socket.on('open', () => socket.send(bytes));
        all.push(closed(socket));
      }
    }
    await watch.reaches('connections/opening', (value) => value > 0);
    await Promise.all(all);
    await watch.reaches('connections/opening', (value) => value === 0);
  });

  test('who goes by itself is forgotten at once', async () => {
    for (const name of ['open', 'tls', 'ws', 'wss', 'twoNames'] as const) {
      const sockets = Array.from({ length: 8 }, () => dialSocket(at(name)));
      for (const [index, socket] of sockets.entries()) {
        socket.on('error', () => {});
        await once(socket, 'connect');
        if (index % 2 === 0) socket.end();
        else socket.destroy();
      }
      for (const socket of sockets) socket.destroy();
    }
    await watch.reaches('connections/opening', (value) => value === 0);
  });

  test('a client that has said who it is stays', async () => {
    const clients = await Promise.all(
      (['tcp', 'tls', 'ws', 'wss'] as const).map((name) => connect(at(name), { clientId: clientIdOn(1, SHARDS) })),
    );
    for (let round = 0; round < 3; round++) await watch.round();
    for (const client of clients) {
      await client.ping();
      await client.disconnect();
    }
  });
});

describe('packetSize', () => {
  for (const name of ['small', 'smallWs'] as const) {
    for (const owner of [0, 1]) {
      test(`CONNACK says it, and a larger packet ends the connection (${name}, owner ${owner})`, async () => {
        const client = await connect(at(name), { clientId: clientIdOn(owner, SHARDS) });
        assert.equal(client.connack.properties.maximumPacketSize, 200);
        await client.publish('a', Buffer.alloc(150), { qos: 1 });
        client.publish('a', Buffer.alloc(300), { qos: 1 }).catch(() => {});
        assert.equal((await client.closed).code, 0x95);
      });
    }

    test(`a larger CONNECT is not taken (${name})`, async () => {
      await assert.rejects(connect(at(name), { clientId: 'c'.repeat(300) }), /has ended/);
    });
  }

  test('other listeners keep the size of the process', async () => {
    const client = await connect(at('open'), {});
    assert.equal(client.connack.properties.maximumPacketSize, 1_048_576);
    await client.disconnect();
  });
});

describe('allow and deny', () => {
  for (const name of ['some', 'someTls', 'someWs'] as const) {
    test(`deny beats allow, and what neither names stays out (${name})`, async () => {
      const refused = await watch.fresh('connections/refused');
      const denied = watch.value('connections/denied');
      assert.ok(await isLetIn(at(name, '127.0.0.1')));
      assert.ok(await isLetIn(at(name, '127.0.0.3')));
      assert.ok(!(await isLetIn(at(name, '127.0.0.2'))));
      assert.ok(!(await isLetIn(at(name, '127.0.0.4'))));
      assert.equal((await watch.fresh('connections/denied')) - denied, 2);
      assert.equal(watch.value('connections/refused') - refused, 2);
    });
  }

  test('a socket of both families judges IPv4 clients by their IPv4 address', async () => {
    assert.ok(await isLetIn(at('mapped', '127.0.0.1')));
    assert.ok(!(await isLetIn(at('mapped', '127.0.0.2'))));
    assert.ok(!(await isLetIn({ ...at('mapped', '::1'), host: '::1' })));
  });

  test('a network may be written as IPv4 in IPv6', async () => {
    assert.ok(await isLetIn(at('mappedAllow', '127.0.0.3')));
    assert.ok(!(await isLetIn(at('mappedAllow', '127.0.0.1'))));
    assert.ok(!(await isLetIn({ ...at('mappedAllow', '::1'), host: '::1' })));
  });
});
