/**
 * Load over HTTP: autocannon sends the requests of one workload to a server, from this process. The clients that are written to live in another process.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import autocannon from 'autocannon';

const CLIENTS = 100;
const PAYLOAD = 'x'.repeat(64);

function post(path) {
  return [{ method: 'POST', path, body: PAYLOAD }];
}

/** One request for each client: they take turns. */
function eachClient(requestOf) {
  return Array.from({ length: CLIENTS }, (_, index) => requestOf(`dev-${index}`));
}

function messageTo(clientId, query) {
  return post(`/v1/clients/${clientId}/messages?topic=cmd/x${query}`)[0];
}

/** What a workload may send, by its `request`. */
const requests = {
  'publish-qos0': { list: post('/topics/bench/http?qos=0') },
  'publish-qos1': { list: post('/topics/bench/http?qos=1') },
  status: { list: eachClient((clientId) => ({ method: 'GET', path: `/client-id/${clientId}/status` })), wantsClients: true },
  p2p: { list: eachClient((clientId) => messageTo(clientId, '')), wantsClients: true },
  'p2p-confirmed': { list: eachClient((clientId) => messageTo(clientId, '&confirm=true')), wantsClients: true },
};

/** Processor time of a process, all threads, in microseconds. */
function processorMicroseconds(pid) {
  const threads = readdirSync(`/proc/${pid}/task`);
  return (
    threads.reduce((sum, thread) => sum + Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]), 0) / 1000
  );
}

/** Starts the clients, and resolves when all are connected. */
async function startClients(port) {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'http-clients.mjs'), String(port), String(CLIENTS)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const outcome = await Promise.race([once(child.stdout, 'data'), once(child, 'exit').then(() => 'ended')]);
  if (outcome === 'ended') throw new Error('the clients did not connect');
  return child;
}

/**
 * Sends for `warmup` seconds, then for `seconds`, which are measured.
 * @param {{port: number, ports: Record<string, number>, pid: number}} broker `port` is that of its HTTP listener; `ports.tcp` that of MQTT, where it has one
 * @param {{request: string, connections: number, warmup: number, seconds: number}} args
 * @returns a result as the load generator gives it: requests are its messages
 */
export async function runHttpLoad(broker, { request, connections, warmup, seconds }) {
  const { list, wantsClients } = requests[request];
  const clients = wantsClients && broker.ports.tcp > 0 ? await startClients(broker.ports.tcp) : undefined;
  try {
    const options = { url: `http://127.0.0.1:${broker.port}`, requests: list, connections };
    if (warmup > 0) await autocannon({ ...options, duration: warmup });
    const before = processorMicroseconds(broker.pid);
    const { requests: counts, latency, errors, non2xx } = await autocannon({ ...options, duration: seconds });
    const cpuMicroseconds = (processorMicroseconds(broker.pid) - before) / counts.total;
    const latencyMicroseconds = { p50: latency.p50 * 1000, p99: latency.p99 * 1000, 'p99.9': latency.p99_9 * 1000 };
    const result = { ok: errors === 0 && non2xx === 0, perSecond: Math.round(counts.average), cpuMicroseconds, latencyMicroseconds };
    // autocannon counts whole milliseconds: below one all are alike.
    return { ...result, p99Milliseconds: Math.max(1, latency.p99), unanswered: errors, refused: non2xx };
  } finally {
    if (clients && clients.exitCode === null) {
      clients.kill('SIGTERM');
      await once(clients, 'exit');
    }
  }
}
