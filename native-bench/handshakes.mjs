/**
 * What a flood of TLS handshakes costs those who are connected: the round trip of a PINGREQ, with and without a flood from another process at full speed.
 *
 * Run: node native-bench/handshakes.mjs [--seconds 10] [--at-once 256] [--shards 1]
 * It measures the compiled broker (`npm run build`) and prints one table.
 */
import { spawn } from 'node:child_process';
import { connect as connectSocket } from 'node:net';
import { createInterface } from 'node:readline';
import { connect as connectTls } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = new URL('..', import.meta.url);
const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '10' },
    'at-once': { type: 'string', default: '256' },
    shards: { type: 'string', default: '1' },
    flood: { type: 'string' },
  },
});
const seconds = Number(values.seconds);
const CONNACK_BYTES = 4;
const PINGREQ = Buffer.from('c000', 'hex');
const CONNECT = Buffer.from('100d00044d5154540402000000017'.padEnd(30, '8'), 'hex');

if (values.flood === undefined) await measureAll();
else flood(Number(values.flood));

/** Handshakes without end. An RSA key costs the server more than the client, so that one client can keep it busy. Says once a second how many. */
function flood(port) {
  let done = 0;
  const one = () => {
    const socket = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false });
    socket.on('secureConnect', () => {
      done++;
      socket.destroy();
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', one);
  };
  for (let i = 0; i < Number(values['at-once']); i++) one();
  setInterval(() => {
    console.log(done);
    done = 0;
  }, 1000);
}

async function measureAll() {
  const { Authority } = await import(new URL('dist/test/support/certificates.js', root));
  const pair = new Authority('handshakes').issue('localhost', ['DNS:localhost'], ['-newkey', 'rsa:2048', '-nodes']);
  console.log(`| flood | PINGREQ p50 | p99 | max | handshakes/s |\n| --- | --- | --- | --- | --- |`);
  for (const isFlooded of [false, true]) console.log(await measure(pair, isFlooded));
}

async function measure(pair, isFlooded) {
  const listeners = [
    { type: 'tcp', bind: '127.0.0.1:0' },
    { type: 'tls', bind: '127.0.0.1:0', tls: { certificates: [pair] } },
  ];
  const settings = [`listeners=${JSON.stringify(listeners)}`, 'store.enabled=false'].flatMap((one) => ['--set', one]);
  const broker = spawn(process.execPath, [
    fileURLToPath(new URL('dist/src/cli/main.js', root)),
    'start',
    '--shards',
    values.shards,
    ...settings,
  ]);
  const ports = [];
  for await (const line of createInterface({ input: broker.stdout })) {
    const { msg, port } = JSON.parse(line);
    if (msg === 'listening') ports.push(port);
    if (ports.length === listeners.length) break;
  }
  broker.stdout.resume();
  const flooder = isFlooded
    ? spawn(process.execPath, [fileURLToPath(import.meta.url), '--flood', String(ports[1]), '--at-once', values['at-once']])
    : null;
  const rates = [];
  if (flooder !== null) {
    createInterface({ input: flooder.stdout }).on('line', (line) => rates.push(Number(line)));
    await new Promise((resolve) => flooder.stdout.once('data', resolve));
  }
  const times = await pings(ports[0]);
  flooder?.kill('SIGKILL');
  broker.kill('SIGKILL');
  times.sort((a, b) => a - b);
  const at = (share) => `${times[Math.min(times.length - 1, Math.floor(times.length * share))].toFixed(2)} ms`;
  const rate = rates.length === 0 ? '-' : Math.round(rates.reduce((sum, one) => sum + one) / rates.length);
  return `| ${isFlooded ? 'yes' : 'no'} | ${at(0.5)} | ${at(0.99)} | ${at(1)} | ${rate} |`;
}

/** Round trips of one client, one after the other, in milliseconds. */
function pings(port) {
  return new Promise((resolve, reject) => {
    const times = [];
    const end = performance.now() + seconds * 1000;
    let begun = 0;
    const socket = connectSocket({ host: '127.0.0.1', port, noDelay: true });
    socket.on('error', reject);
    socket.on('connect', () => socket.write(CONNECT));
    let greeted = 0;
    socket.on('data', (chunk) => {
      if (greeted < CONNACK_BYTES) greeted += chunk.length;
      else times.push(performance.now() - begun);
      if (performance.now() > end) {
        socket.destroy();
        resolve(times);
        return;
      }
      // Every millisecond one: more would make the client itself the flood.
      setTimeout(() => {
        begun = performance.now();
        socket.write(PINGREQ);
      }, 1);
    });
  });
}
