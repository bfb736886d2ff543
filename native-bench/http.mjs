/**
 * The HTTP data plane beside a bare uWebSockets.js server that reads the same body and answers as much: requests a second, the slowest of a hundred, and processor time of the
 * server for each request. Rounds are interleaved, so that the drift of a shared machine meets all rows alike; the table has medians.
 *
 *   npm run bench:http [-- --seconds 4 --rounds 3 --connections 50 --pipelining 1 --only publish --check]
 *
 * The broker has one shard and comes as it is. autocannon sends from this process, the clients that are written to live in
 * another. `--check` ends with code 1 where publishing at QoS 0 does less than 0.7 of the echo's requests, or its slowest of a hundred takes more than twice as long.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import autocannon from 'autocannon';
import mqtt from 'mqtt';

const self = fileURLToPath(import.meta.url);
const ECHO = 'echo';
const CLIENTS = 100;
const REQUESTS_LEAST = 0.7;
const SLOWEST_MOST = 2;
/** /proc counts processor time in hundredths of a second. */
const TICK_MICROSECONDS = 10_000;
const PAYLOAD = 'x'.repeat(64);
const ANSWER = '{"status":"ok","reasonCode":0}';

const [role, ...words] = process.argv.slice(2);
if (role === 'serve-echo') await serveEcho();
else if (role === 'clients') await runClients(Number(words[0]));
else await measureAll();

/** A bare server: the whole body, then an answer as long as that of the broker. */
async function serveEcho() {
  const library = await import('uWebSockets.js');
  const app = library.App().any('/*', (response) => {
    response.onAborted(() => {});
    response.onData((_chunk, isLast) => {
      if (isLast) response.writeHeader('Content-Type', 'application/json').end(ANSWER);
    });
  });
  app.listen('127.0.0.1', 0, (socket) => process.stdout.write(`${JSON.stringify({ port: library.us_socket_local_port(socket) })}\n`));
}

/** Clients that acknowledge whatever comes. */
async function runClients(port) {
  const all = Array.from({ length: CLIENTS }, (_, index) =>
    mqtt.connect(`mqtt://127.0.0.1:${port}`, { clientId: `dev-${index}`, protocolVersion: 5 }),
  );
  await Promise.all(all.map((client) => once(client, 'connect')));
  process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
}

function start(args) {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (chunk) => {
    errors += chunk;
  });
  const lines = createInterface({ input: child.stdout });
  const line = (accepts) =>
    new Promise((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`${args.at(-1)} ended with ${code}: ${errors}`)));
      lines.on('line', (text) => {
        const found = text.startsWith('{') ? accepts(JSON.parse(text)) : undefined;
        if (found !== undefined) resolve(found);
      });
    });
  return { child, line };
}

function processorMicroseconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MICROSECONDS;
}

async function measureAll() {
  const text = { type: 'string' };
  const { values } = parseArgs({
    options: {
      seconds: { ...text, default: '4' },
      rounds: { ...text, default: '3' },
      connections: { ...text, default: '50' },
      pipelining: { ...text, default: '1' },
      only: text,
      check: { type: 'boolean', default: false },
    },
  });
  const directory = mkdtempSync(join(tmpdir(), 'bench-http-'));
  const echo = start([self, 'serve-echo']);
  const echoPort = await echo.line(({ port }) => port);
  const main = fileURLToPath(new URL('../dist/src/cli/main.js', import.meta.url));
  const listeners = ['tcp', 'http'].map((type) => ({ type, bind: '127.0.0.1:0' }));
  const settings = [`listeners=${JSON.stringify(listeners)}`, `store.path=${join(directory, 'store')}`, 'log.level=info'];
  const broker = start([main, 'start', '--shards', '1', ...settings.flatMap((one) => ['--set', one])]);
  const ports = [];
  await broker.line(({ msg, port }) => (msg === 'listening' && ports.push(port) === 2 ? true : undefined));
  const clients = start([self, 'clients', String(ports[0])]);
  await clients.line(({ ready }) => ready);
  const rows = rowsOf(`http://127.0.0.1:${echoPort}`, `http://127.0.0.1:${ports[1]}`).filter(
    ({ name }) => name === ECHO || values.only === undefined || values.only.split(',').some((word) => name.startsWith(word)),
  );
  const results = new Map(rows.map(({ name }) => [name, []]));
  try {
    for (let round = 0; round < Number(values.rounds); round++)
      for (const row of rows) results.get(row.name).push(await measure(row, row.name === ECHO ? echo.child.pid : broker.child.pid, values));
  } finally {
    for (const { child } of [clients, broker, echo]) child.kill('SIGTERM');
    await Promise.all([clients, broker, echo].map(({ child }) => child.exitCode ?? once(child, 'exit')));
    rmSync(directory, { recursive: true, force: true });
  }
  report(results, values.check);
}

/** Each names its requests; those to clients take turns. */
function rowsOf(echoUrl, url) {
  const post = (path) => [{ method: 'POST', path, body: PAYLOAD }];
  const toClients = (query) => Array.from({ length: CLIENTS }, (_, index) => post(`/v1/clients/dev-${index}/messages${query}`)[0]);
  return [
    { name: ECHO, url: echoUrl, requests: post('/topics/bench/http?qos=0') },
    { name: 'publish QoS 0', url, requests: post('/topics/bench/http?qos=0') },
    { name: 'publish QoS 1', url, requests: post('/topics/bench/http?qos=1') },
    {
      name: 'status',
      url,
      requests: Array.from({ length: CLIENTS }, (_, index) => ({ method: 'GET', path: `/client-id/dev-${index}/status` })),
    },
    { name: 'P2P QoS 1', url, requests: toClients('?topic=cmd/x') },
    { name: 'P2P QoS 1, confirmed', url, requests: toClients('?topic=cmd/x&confirm=true') },
  ];
}

async function measure({ name, url, requests }, pid, { seconds, connections, pipelining }) {
  const options = { url, requests, connections: Number(connections), pipelining: Number(pipelining) };
  await autocannon({ ...options, duration: Math.min(1, Number(seconds)) });
  const before = processorMicroseconds(pid);
  const { requests: counts, latency, errors, non2xx } = await autocannon({ ...options, duration: Number(seconds) });
  if (errors > 0 || non2xx > 0) throw new Error(`${name}: ${errors} requests without an answer, ${non2xx} refused`);
  return { perSecond: counts.average, slowest: latency.p99, microseconds: (processorMicroseconds(pid) - before) / counts.total };
}

function median(list) {
  const sorted = [...list].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

function report(results, isChecked) {
  const echoes = results.get(ECHO);
  const lines = ['| request | per second | of echo | p99 ms | p99 of echo | processor µs |', '| --- | --- | --- | --- | --- | --- |'];
  let isMissed = false;
  for (const [name, rounds] of results) {
    // Beside the echo of the same round.
    const ratio = median(rounds.map(({ perSecond }, round) => perSecond / echoes[round].perSecond));
    const slowest = median(rounds.map(({ slowest: own }, round) => Math.max(1, own) / Math.max(1, echoes[round].slowest)));
    if (name === 'publish QoS 0') isMissed = ratio < REQUESTS_LEAST || slowest > SLOWEST_MOST;
    const columns = [
      name,
      Math.round(median(rounds.map(({ perSecond }) => perSecond))),
      ratio.toFixed(2),
      median(rounds.map(({ slowest: own }) => own)),
      slowest.toFixed(2),
      median(rounds.map(({ microseconds }) => microseconds)).toFixed(1),
    ];
    lines.push(`| ${columns.join(' | ')} |`);
  }
  process.stdout.write(`${lines.join('\n')}\n`);
  if (isChecked && isMissed) process.exitCode = 1;
}
