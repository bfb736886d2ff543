/**
 * Goal: behind HAProxy the broker knows who its clients are, over both versions of the PROXY protocol, TCP, TLS and WebSocket.
 * Method: HAProxy as it comes from the system, with a configuration of this test; clients connect to it from several addresses of 127.0.0.0/8.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { connect as connectSocket, createServer } from 'node:net';
import test, { after, before } from 'node:test';
import { startBroker, type TestBroker } from '../../support/broker.ts';
import { Authority, pem, temporaryFile } from '../../support/certificates.ts';
import { connect, payloadText, type TestClient } from '../../support/client.ts';
import type { DialPlace, Transport } from '../../support/dial.ts';
import { clientIdOn } from '../../support/placement.ts';
import { beginProgram, type ChildProgram } from '../child-program.ts';

const SHARDS = 2;
const HOST = '127.0.0.1';
const TRANSPORTS: readonly Transport[] = ['tcp', 'tls', 'ws', 'wss'];
const VERSIONS = ['send-proxy', 'send-proxy-v2'] as const;

const authority = new Authority('haproxy');
let broker: TestBroker;
let balancer: ChildProgram;
let watcher: TestClient;
let ports: number[] = [];

/** Ports that are free now; HAProxy must be told numbers. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer().listen(0, HOST, () => resolve(server));
        }),
    ),
  );
  const numbers = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return numbers;
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connectSocket({ host: HOST, port });
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => setImmediate(() => resolve(false)));
  });
}

before(async () => {
  const tls = { certificates: [authority.issue('localhost', ['DNS:localhost'])] };
  const bind = `${HOST}:0`;
  const listeners = TRANSPORTS.map((type) => ({
    type,
    bind,
    proxy: { protocol: 'any' },
    deny: ['127.0.0.66'],
    ...(type === 'tls' || type === 'wss' ? { tls } : {}),
  }));
  broker = await startBroker({ shards: SHARDS, listeners: [{ type: 'tcp', bind }, ...listeners] });
  ports = await freePorts(TRANSPORTS.length * VERSIONS.length);
  const parts = VERSIONS.flatMap((version, row) =>
    TRANSPORTS.map((transport, column) => {
      const at = row * TRANSPORTS.length + column;
      return `listen ${version}-${transport}\n  bind ${HOST}:${ports[at]}\n  server onehop ${HOST}:${broker.ports[1 + column]} ${version}\n`;
    }),
  );
  const file = temporaryFile('haproxy.cfg');
  writeFileSync(
    file,
    `global\n  log stderr format raw local0\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n${parts.join('')}`,
  );
  balancer = beginProgram('/usr/sbin/haproxy', ['-db', '-f', file]);
  let hasEnded = false;
  void balancer.ended.then(() => (hasEnded = true));
  // It says nothing when it has bound its ports; the last of them stands for all.
  while (!(await isOpen(ports.at(-1)!))) assert.ok(!hasEnded, JSON.stringify(await Promise.race([balancer.ended, 'it runs'])));
  watcher = await connect(broker.port, {});
  await watcher.subscribe('$events/client_connected');
});
after(async () => {
  balancer.kill('SIGKILL');
  await balancer.ended;
  assert.equal(await broker.stop(), 0);
});

function placeOf(version: number, transport: number, localAddress: string): DialPlace {
  const port = ports[version * TRANSPORTS.length + transport]!;
  return { transport: TRANSPORTS[transport]!, host: HOST, port, ca: pem(authority.root), localAddress };
}

for (const [row, version] of VERSIONS.entries()) {
  for (const [column, transport] of TRANSPORTS.entries()) {
    test(`${version}, ${transport}`, async () => {
      for (const owner of [0, 1]) {
        const place = placeOf(row, column, `127.0.0.${20 + owner}`);
        const client = await connect(place, { clientId: clientIdOn(owner, SHARDS) });
        const facts = JSON.parse(payloadText(await watcher.next())) as { clientid: string; peername: string };
        assert.equal(facts.clientid, client.clientId);
        assert.match(facts.peername, new RegExp(`^127\\.0\\.0\\.${20 + owner}:\\d+$`));
        await client.publish(`to/p2p/${client.clientId}`, Buffer.alloc(200_000), { qos: 1 });
        assert.equal((await client.next()).payload.length, 200_000);
        await client.disconnect();
      }
      await assert.rejects(connect(placeOf(row, column, '127.0.0.66'), {}));
    });
  }
}
