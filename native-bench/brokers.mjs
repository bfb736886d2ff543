/**
 * The brokers of the benchmark: how each is started on a free port of 127.0.0.1, when it counts as started, and how it is stopped.
 *
 * A broker counts as started when a client has got its CONNACK. It never touches a broker that it did not start.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';

const root = join(import.meta.dirname, '..');
const startTimeoutMilliseconds = 15_000;
const stopTimeoutMilliseconds = 5_000;

/** CONNECT, MQTT 3.1.1, Clean Session, client ID `bench-first`. */
const connectPacket = Buffer.from([0x10, 23, 0, 4, ...Buffer.from('MQTT'), 4, 2, 0, 60, 0, 11, ...Buffer.from('bench-first')]);
const disconnectPacket = Buffer.from([0xe0, 0]);

function versionOf(packageFile) {
  return JSON.parse(readFileSync(join(root, packageFile), 'utf8')).version;
}

function onehop(shards) {
  const main = join(root, 'dist/src/cli/main.js');
  return {
    family: 'onehop',
    label: shards === 1 ? 'onehop, 1 shard' : `onehop, ${shards} shards`,
    addressing: 'hop',
    version: () => (existsSync(main) ? versionOf('package.json') : undefined),
    missing: 'dist/src/cli/main.js is not built',
    printsPort: true,
    command: () => [process.execPath, main, 'start', '--shards', String(shards), '--set', 'listeners=[{type: tcp, bind: "127.0.0.1:0"}]'],
  };
}

function mosquittoPath() {
  return ['/usr/sbin/mosquitto', '/usr/local/sbin/mosquitto', '/usr/bin/mosquitto', '/opt/homebrew/sbin/mosquitto'].find(existsSync);
}

const mosquitto = {
  family: 'mosquitto',
  label: 'mosquitto',
  addressing: 'topics',
  version: () => {
    const path = mosquittoPath();
    return path && /version (\S+)/.exec(spawnSync(path, ['-h'], { encoding: 'utf8' }).stdout)?.[1];
  },
  missing: 'not installed (Debian: apt-get install mosquitto)',
  printsPort: false,
  command: (port, directory) => {
    const file = join(directory, 'mosquitto.conf');
    const lines = [
      `listener ${port} 127.0.0.1`,
      'allow_anonymous true',
      'persistence false',
      'max_inflight_messages 0',
      'max_queued_messages 0',
      'set_tcp_nodelay true',
      'log_dest none',
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    return [mosquittoPath(), '-c', file];
  },
};

const aedes = {
  family: 'aedes',
  label: 'aedes',
  addressing: 'topics',
  version: () => (existsSync(join(root, 'node_modules/aedes/package.json')) ? versionOf('node_modules/aedes/package.json') : undefined),
  missing: 'not installed (npm ci)',
  printsPort: false,
  command: (port) => [process.execPath, join(import.meta.dirname, 'aedes-server.mjs'), String(port)],
};

/** Every broker by its name in results; `family` is its name on the command line. */
export const brokers = { 'onehop-1': onehop(1), 'onehop-2': onehop(2), mosquitto, aedes };

/** Brokers that run now, so that an interrupted benchmark leaves none behind. */
const running = new Set();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve, reject) => server.once('listening', resolve).once('error', reject));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** One CONNECT; true when its CONNACK says success, false when nobody answers yet. */
function isAccepting(port) {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true }, () => socket.write(connectPacket));
    socket.once('data', (bytes) => {
      socket.end(disconnectPacket);
      resolve(bytes[0] === 0x20 && bytes[3] === 0);
    });
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });
}

/** The port in the broker's line `{"msg":"listening","type":"tcp","port":N,…}`. The output is read to its end, so that the broker never blocks on it. */
function readPort(child) {
  return new Promise((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (!line.startsWith('{') || !line.includes('"listening"')) return;
      const entry = JSON.parse(line);
      if (entry.msg === 'listening' && entry.type === 'tcp') resolve(entry.port);
    });
  });
}

/**
 * Starts a broker and waits for its first CONNACK.
 * @param {string} name a key of `brokers`
 * @returns {Promise<{name: string, port: number, pid: number, startMilliseconds: number, stop: () => Promise<void>}>}
 *   `startMilliseconds` runs from spawn to that CONNACK. Rejects, with what the broker wrote to stderr, when it does not come.
 */
export async function startBroker(name) {
  const broker = brokers[name];
  const directory = mkdtempSync(join(tmpdir(), 'bench-'));
  const chosenPort = broker.printsPort ? 0 : await freePort();
  const [file, ...args] = broker.command(chosenPort, directory);
  const spawned = performance.now();
  const child = spawn(file, args, { cwd: directory, stdio: ['ignore', broker.printsPort ? 'pipe' : 'ignore', 'pipe'] });
  running.add(child);
  let errors = '';
  child.stderr.on('data', (bytes) => {
    errors = (errors + bytes).slice(-2000);
  });
  const ended = new Promise((resolve) => child.once('exit', resolve).once('error', resolve));
  let hasEnded = false;
  void ended.then(() => {
    hasEnded = true;
    running.delete(child);
  });
  const stop = async () => {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMilliseconds);
    await ended;
    clearTimeout(timer);
    rmSync(directory, { recursive: true, force: true });
  };
  const deadline = spawned + startTimeoutMilliseconds;
  const port = broker.printsPort
    ? await Promise.race([readPort(child), ended.then(() => 0), wait(startTimeoutMilliseconds, 0, { ref: false })])
    : chosenPort;
  while (port > 0 && !hasEnded && performance.now() < deadline) {
    if (await isAccepting(port)) return { name, port, pid: child.pid, startMilliseconds: performance.now() - spawned, stop };
    await wait(2);
  }
  await stop();
  throw new Error(`${name} did not start${errors ? `: ${errors.trim()}` : ''}`);
}
