/**
 * What the QUIC endpoint costs: processor time of the server for each echoed 64-byte message, and memory of an idle connection.
 *
 *   node native-bench/quic-echo.mjs [echo | burst | idle] [connections] [seconds] [client processes]
 *
 * The server runs in this process, the clients in another one, on the same quiche. `echo`: each client has one message under way. `burst`: the same, but
 * all clients send at the same moment, as a loaded server sees it. `idle`: connections that have exchanged one message. Needs `node scripts/prepare.mjs` first.
 */
import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const load = (path) => import(new URL(`../dist/${path}`, import.meta.url));
const [mode = 'echo', connections = mode === 'idle' ? 2000 : 200, seconds = 5, processes = 1] = process.argv
  .slice(2)
  .map((word) => (/^\d+$/.test(word) ? Number(word) : word));

if (process.send === undefined) await serve();
else process.once('message', (port) => runClients(port));

async function serve() {
  const { bindQuicSocket } = await load('src/transports/quic/bind-socket.js');
  const { QuicEndpoint } = await load('src/transports/quic/endpoint.js');
  const { settings, credentials } = await load('test/transports/quic/echo-endpoint.js');
  let messages = 0;
  let turns = 0;
  const shard = {
    startTurn() {
      turns++;
    },
    allows: () => true,
    forward: () => false,
    onConnection(connection) {
      connection.events = {
        stream(stream) {
          stream.events = {
            received(bytes, length) {
              messages++;
              return stream.write(bytes, length);
            },
            drained: () => stream.resume(),
            lost() {},
          };
        },
        established() {},
        moved() {},
        closed() {},
      };
    },
  };
  const endpoint = new QuicEndpoint({
    shardIndex: 0,
    shardCount: 2,
    socket: await bindQuicSocket('127.0.0.1', 0),
    secret: randomBytes(32),
    settings: { ...settings, idleTimeoutMilliseconds: 300_000 },
    credentials,
    shard,
    log: console,
  });
  globalThis.gc?.();
  const before = process.memoryUsage();
  const share = String(Math.ceil(connections / processes));
  const start = () => fork(fileURLToPath(import.meta.url), [mode, share, String(seconds)], { stdio: 'inherit' });
  const clients = Array.from({ length: processes }, start);
  const { counters } = endpoint;
  for (const client of clients) client.send(endpoint.port);
  await Promise.all(clients.map((client) => once(client, 'message')));
  globalThis.gc?.();
  const after = process.memoryUsage();
  const per = (name) => ((after[name] - before[name]) / counters.connections / 1024).toFixed(1);
  console.log(`${counters.connections} connections: ${per('rss')} KB each (heap ${per('heapUsed')} KB, external ${per('external')} KB)`);
  for (const client of clients) client.send('go');
  if (mode !== 'idle') await measure(seconds);
  for (const client of clients) client.kill();
  endpoint.close(0, '');

  async function measure() {
    // The first second warms up.
    await setTimeout(1000);
    const from = { messages, turns, received: counters.received, sent: counters.sent, at: performance.now() };
    const cpu = process.cpuUsage();
    await setTimeout(seconds * 1000);
    const { user, system } = process.cpuUsage(cpu);
    const count = messages - from.messages;
    const each = (value) => (value / count).toFixed(2);
    const elapsed = (performance.now() - from.at) / 1000;
    console.log(
      `${Math.round(count / elapsed)} messages/s; server: ${each(user + system)} µs each (user ${each(user)}, system ${each(system)}), ` +
        `${each(counters.received - from.received)} datagrams in and ${each(counters.sent - from.sent)} out for each, ` +
        `${((counters.received - from.received) / (turns - from.turns)).toFixed(1)} datagrams in a turn`,
    );
  }
}

/** Clients on a socket of ours for every hundred, so that they do not cost much more than the server. */
async function runClients(port) {
  const { NativeClient, openSocket } = await load('test/transports/quic/native-client.js');
  const all = [];
  const message = Buffer.alloc(64, 'x');
  for (let i = 0; i < connections; i++) {
    const client = new NativeClient(await openSocket('127.0.0.1'), { port, idleTimeoutMilliseconds: 300_000, isFrugal: true });
    client.start();
    client.write(0, message);
    all.push(client.until(() => (client.received.get(0)?.length ?? 0) >= 64).then(() => client));
    if (i % 100 === 99) await Promise.all(all);
  }
  const clients = await Promise.all(all);
  // The last acknowledgements.
  await setTimeout(500);
  process.send('connected');
  await once(process, 'message');
  if (mode === 'echo') {
    for (const client of clients) {
      client.onBytes = () => client.writeNow(0, message);
      client.writeNow(0, message);
    }
  }
  if (mode === 'burst') {
    let waiting = 0;
    const send = () => {
      waiting = clients.length;
      for (const client of clients) client.writeNow(0, message);
    };
    for (const client of clients) {
      client.onBytes = () => {
        if (--waiting === 0) setImmediate(send);
      };
    }
    send();
  }
}
