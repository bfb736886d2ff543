/**
 * The brokers of the benchmark: how each is started on free ports of 127.0.0.1, when it counts as started, and how it is ended.
 *
 * Each has a TCP listener, and at most one other, where it is measured then. A broker counts as started when a client has got its CONNACK over TCP. Each has a directory
 * of its own, where it may store what it likes; a broker can be started again over the directory of one that has ended. It never touches a broker that it did not start.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { listClients, makeSessions, readMetrics } from './onlookers.mjs';

const root = join(import.meta.dirname, '..');
const startTimeoutMilliseconds = 15_000;
const stopTimeoutMilliseconds = 5_000;

/** CONNECT, MQTT 3.1.1, Clean Session, client ID `bench-first`. */
const connectPacket = Buffer.from([0x10, 23, 0, 4, ...Buffer.from('MQTT'), 4, 2, 0, 60, 0, 11, ...Buffer.from('bench-first')]);
const disconnectPacket = Buffer.from([0xe0, 0]);

function versionOf(packageFile) {
  return JSON.parse(readFileSync(join(root, packageFile), 'utf8')).version;
}

/** `--set key=value` for each of the settings. */
function setOptions(settings) {
  return settings.flatMap((setting) => ['--set', setting]);
}

const hasQuiche = existsSync(join(root, `node_modules/@matrixai/quic-${process.platform}-${process.arch}`));

/** What a transport is called in the report. */
export const transportLabels = { tcp: 'TCP', tls: 'TLS', ws: 'WebSocket', wss: 'WebSocket over TLS', quic: 'QUIC', http: 'HTTP' };
const encrypted = ['tls', 'wss', 'quic'];

/** Directory of the certificate; it lives as long as this process. */
let certificateDirectory;

/** One self-signed certificate for all brokers of a run, EC P-256. */
function certificate() {
  if (!certificateDirectory) {
    const directory = mkdtempSync(join(tmpdir(), 'bench-certificate-'));
    process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', 'key.pem'];
    const name = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-days', '2', '-out', 'chain.pem'];
    const made = spawnSync('openssl', ['req', '-x509', ...key, ...name], { cwd: directory, encoding: 'utf8' });
    if (made.error || made.status !== 0) throw new Error(`openssl made no certificate: ${made.error?.message ?? made.stderr}`);
    certificateDirectory = directory;
  }
  return { chain: join(certificateDirectory, 'chain.pem'), key: join(certificateDirectory, 'key.pem') };
}

/** A fast machine connects clients faster than the broker lets them: 25,000 a second, and no more than 10,000 are let in as it comes. */
const anyConnectRate = 'quotas.broker.connectRate=off';

/**
 * `settings` are those of the variant, `variant` names it. Without both it is onehop as it comes: its store waits for the disk (`fsync`). `transport` is
 * that of its second listener, where it is measured.
 */
function onehop(shards, variant = '', settings = [], transport = 'tcp', password = '') {
  const main = join(root, 'dist/src/cli/main.js');
  const listeners = () => [
    { type: 'tcp', bind: '127.0.0.1:0' },
    ...(transport === 'tcp'
      ? []
      : [{ type: transport, bind: '127.0.0.1:0', ...(encrypted.includes(transport) && { tls: { certificates: [certificate()] } }) }]),
  ];
  return {
    family: 'onehop',
    label: `onehop, ${shards === 1 ? '1 shard' : `${shards} shards`}${variant && `, ${variant}`}`,
    transport,
    addressing: 'hop',
    version: () => (existsSync(main) && (transport !== 'quic' || hasQuiche) ? versionOf('package.json') : undefined),
    missing: existsSync(main) ? 'there is no quiche for this machine' : 'dist/src/cli/main.js is not built',
    printsPort: true,
    password,
    endSignal: 'SIGKILL',
    command: (_ports, _directory, more) => [
      process.execPath,
      main,
      'start',
      '--shards',
      String(shards),
      ...setOptions([`listeners=${JSON.stringify(listeners())}`, anyConnectRate, ...settings, ...more]),
    ],
  };
}

/** A hundred statements that all concern every client. Those that let the generator's messages through come last: each decision asks all. */
function statements() {
  const actions = ['publish', 'subscribe'];
  const others = Array.from({ length: 98 }, (_, n) => ({
    effect: n % 2 === 0 ? 'allow' : 'deny',
    actions,
    topics: [`plant-${n}/\${ClientId}/#`, `area/+/${n}`],
  }));
  return [...others, { effect: 'allow', resource: 'p2p', actions: ['publish'] }, { effect: 'allow', actions }];
}

/** A fleet that has to prove who it is: every client by a token, and a hundred statements about what it may do. The client that looks whether the broker has started shows nothing. */
function onehopWithRules() {
  const { file, token } = tokens();
  const authenticators = [{ type: 'jwt', algorithms: ['HS256'], secret: file, attributesClaim: 'attributes' }];
  const settings = [
    'auth.allowAnonymous=true',
    `auth.authenticators=${JSON.stringify(authenticators)}`,
    `authorization.statements=${JSON.stringify(statements())}`,
  ];
  return onehop(1, 'tokens and 100 statements', settings, 'tcp', token);
}

/** A shared secret in a file, and a token that is signed with it. */
function tokens() {
  const directory = mkdtempSync(join(tmpdir(), 'bench-token-'));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  const file = join(directory, 'secret');
  const secret = randomBytes(32).toString('hex');
  writeFileSync(file, secret);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = { sub: 'bench', exp: Math.floor(Date.now() / 1000) + 86_400, attributes: { group: 'bench' } };
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(claims)}`;
  return { file, token: `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}` };
}

/** Limits of client, listener and broker that are asked for each message and never reached. */
function quotas() {
  const listener = { type: 'tcp', bind: '127.0.0.1:0', messagesIn: 10_000_000, bytesIn: '10GB' };
  return [
    `listeners=${JSON.stringify([listener])}`,
    ...['client', 'broker'].flatMap((scope) => [`quotas.${scope}.messagesIn=10000000`, `quotas.${scope}.bytesIn=10GB`]),
    'quotas.client.messagesOut=10000000',
    'quotas.client.bytesOut=10GB',
  ];
}

/** A broker that is looked at all the time: its `/metrics` are read each second. */
function onehopWatched() {
  const listeners = ['tcp', 'http'].map((type) => ({ type, bind: '127.0.0.1:0' }));
  const settings = [`listeners=${JSON.stringify(listeners)}`, 'metrics.public=true'];
  return { ...onehop(1, 'metrics read each second', settings), hasHttp: true, onlooker: readMetrics };
}

/**
 * A broker with 100,000 sessions. `listed` says whose clients a program lists all the time: `own`, those of another such broker (`other`: the program and the lists take as much of the
 * machine, and nothing of the broker that is measured), or nobody's.
 */
function onehopWithSessions(label, listed) {
  const listeners = ['tcp', 'http'].map((type) => ({ type, bind: '127.0.0.1:0' }));
  const settings = [`listeners=${JSON.stringify(listeners)}`, 'store.enabled=false', 'http.apiKeys=api-keys.json'];
  const broker = onehop(1, label, settings);
  let key;
  const command = (ports, directory, more) => {
    const [node, main, ...args] = broker.command(ports, directory, more);
    const made = spawnSync(node, [main, 'apikey', 'add', 'bench', '--role', 'viewer', '--file', join(directory, 'api-keys.json')], {
      encoding: 'utf8',
    });
    if (made.status !== 0) throw new Error(`no API key: ${made.stderr}`);
    key = made.stdout.trim();
    return [node, main, ...args];
  };
  const onlooker = async (ports) => {
    // First, so that the one that is measured does not wait meanwhile: V8 collects garbage in a process that has done nothing for some seconds.
    const other = listed === 'other' ? await startBroker('onehop-1-listed') : null;
    await makeSessions(ports);
    if (listed === 'own') return listClients(ports, key);
    return other === null ? () => {} : other.stop;
  };
  return { ...broker, command, hasHttp: true, onlooker };
}

/** onehop with one shard as it comes, by another door than TCP. */
function onehopBy(transport) {
  return onehop(1, transportLabels[transport], [], transport);
}

/** Started by root, mosquitto would become another user, who may not use our directories; that of another user ignores the line. */
const runAsRoot = 'user root';

function mosquittoPath() {
  return ['/usr/sbin/mosquitto', '/usr/local/sbin/mosquitto', '/usr/bin/mosquitto', '/opt/homebrew/sbin/mosquitto'].find(existsSync);
}

/** `persistence` gives the lines of its configuration that say what it stores. `transport` is that of its second listener, where it is measured. */
function mosquitto(label, persistence, transport = 'tcp') {
  return {
    family: 'mosquitto',
    label,
    transport,
    addressing: 'topics',
    version: () => {
      const path = mosquittoPath();
      return path && /version (\S+)/.exec(spawnSync(path, ['-h'], { encoding: 'utf8' }).stdout)?.[1];
    },
    missing: 'not installed (Debian: apt-get install mosquitto)',
    printsPort: false,
    endSignal: 'SIGTERM', // it saves everything at a regular end only
    command: (ports, directory) => {
      const file = join(directory, 'mosquitto.conf');
      const lines = [
        `listener ${ports.tcp} 127.0.0.1`,
        ...(transport === 'tcp' ? [] : [`listener ${ports[transport]} 127.0.0.1`]),
        ...(transport === 'ws' ? ['protocol websockets'] : []),
        ...(transport === 'tls' ? [`certfile ${certificate().chain}`, `keyfile ${certificate().key}`, runAsRoot] : []),
        'allow_anonymous true',
        ...persistence(directory),
        'max_inflight_messages 0',
        'max_queued_messages 0',
        'set_tcp_nodelay true',
        'log_dest none',
      ];
      writeFileSync(file, `${lines.join('\n')}\n`);
      return [mosquittoPath(), '-c', file];
    },
  };
}

function storeNothing() {
  return ['persistence false'];
}

/**
 * The strictest setting that can be worked with. `autosave_interval` counts whole seconds, and each save writes the whole database again; saving
 * on every change (`autosave_on_changes`) would write all waiting messages for each new one. An acknowledgement never waits for a save.
 */
function saveEachSecond(directory) {
  return ['persistence true', `persistence_location ${directory}/`, 'autosave_interval 1', runAsRoot];
}

const aedes = {
  family: 'aedes',
  label: 'aedes',
  transport: 'tcp',
  addressing: 'topics',
  version: () => (existsSync(join(root, 'node_modules/aedes/package.json')) ? versionOf('node_modules/aedes/package.json') : undefined),
  missing: 'not installed (npm ci)',
  printsPort: false,
  endSignal: 'SIGTERM',
  command: (ports) => [process.execPath, join(import.meta.dirname, 'aedes-server.mjs'), String(ports.tcp)],
};

/** What HTTP is compared with: no broker, but a server that does nothing else. */
const bareHttp = {
  family: 'bare',
  label: 'bare uWebSockets.js',
  transport: 'http',
  hasNoMqtt: true,
  version: () => versionOf('node_modules/uWebSockets.js/package.json'),
  missing: 'not installed (npm ci)',
  printsPort: true,
  endSignal: 'SIGTERM',
  command: () => [process.execPath, join(import.meta.dirname, 'bare-http-server.mjs')],
};

/**
 * Every broker by its name in results; `family` is its name on the command line. `endSignal` ends it in the workload that starts it again: the hardest
 * signal after which it promises to have its messages.
 */
export const brokers = {
  'onehop-1': onehop(1),
  'onehop-1-os': onehop(1, 'os', ['store.durability=os']),
  'onehop-1-none': onehop(1, 'none', ['store.durability=none']),
  'onehop-1-off': onehop(1, 'no store', ['store.enabled=false']),
  'onehop-1-rules': onehopWithRules(),
  'onehop-1-quotas': onehop(1, 'quotas', quotas()),
  'onehop-1-watched': onehopWatched(),
  'onehop-1-sessions': onehopWithSessions('100,000 sessions'),
  'onehop-1-beside': onehopWithSessions('clients of another broker listed', 'other'),
  'onehop-1-listed': onehopWithSessions('all clients listed again and again', 'own'),
  'onehop-1-history': onehop(1, 'history', ['history.enabled=true']),
  'onehop-2': onehop(2),
  'onehop-tls': onehopBy('tls'),
  'onehop-ws': onehopBy('ws'),
  'onehop-wss': onehopBy('wss'),
  'onehop-quic': onehopBy('quic'),
  'bare-http': bareHttp,
  'onehop-http': onehopBy('http'),
  mosquitto: mosquitto('mosquitto', storeNothing),
  'mosquitto-persistent': mosquitto('mosquitto, persistent', saveEachSecond),
  'mosquitto-tls': mosquitto('mosquitto, TLS', storeNothing, 'tls'),
  'mosquitto-ws': mosquitto('mosquitto, WebSocket', storeNothing, 'ws'),
  aedes,
};

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

/** One CONNECT; true when its CONNACK says success, false when nobody answers yet, or not within the time. */
function isAccepting(port, timeoutMilliseconds) {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true }, () => socket.write(connectPacket));
    socket.setTimeout(timeoutMilliseconds, () => socket.destroy());
    socket.once('data', (bytes) => {
      socket.end(disconnectPacket);
      resolve(bytes[0] === 0x20 && bytes[3] === 0);
    });
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });
}

/**
 * The ports in the broker's lines `{"msg":"listening","type":"tcp","port":N,…}`, by type, when there are as many as `types`. The output is read to its
 * end, so that the broker never blocks on it.
 */
function readPorts(child, types) {
  const ports = {};
  return new Promise((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (!line.startsWith('{') || !line.includes('"listening"')) return;
      const entry = JSON.parse(line);
      if (entry.msg === 'listening') ports[entry.type] = entry.port;
      if (types.every((type) => ports[type] > 0)) resolve(ports);
    });
  });
}

/** Free ports, by type. */
async function choosePorts(types) {
  const ports = {};
  for (const type of types) ports[type] = await freePort();
  return ports;
}

/**
 * Starts a broker and waits for its first CONNACK.
 * @param {string} name a key of `brokers`
 * @param {{settings?: Record<string, string[]>, directory?: string, timeoutMilliseconds?: number}} [options] `settings`: those that a workload wants, by
 *   family (`key=value`, onehop only); `directory`: of a broker that has ended, to be started over what it has stored
 * @returns {Promise<{name: string, port: number, ports: Record<string, number>, pid: number, directory: string, startMilliseconds: number,
 *   end: (signal: string, timeoutMilliseconds?: number) => Promise<void>, stop: () => Promise<void>}>}
 *   `port` is that of the broker's transport. `startMilliseconds` runs from spawn to that CONNACK. `end` leaves the directory, `stop` removes it. Rejects, with what the broker wrote to stderr,
 *   when it does not start; then the directory is removed too.
 */
export async function startBroker(name, options = {}) {
  const broker = brokers[name];
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'bench-'));
  const timeout = options.timeoutMilliseconds ?? startTimeoutMilliseconds;
  const types = [...new Set([...(broker.hasNoMqtt ? [] : ['tcp']), broker.transport, ...(broker.hasHttp ? ['http'] : [])])];
  const chosen = broker.printsPort ? {} : await choosePorts(types);
  const [file, ...args] = broker.command(chosen, directory, options.settings?.[broker.family] ?? []);
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
  const end = async (signal, timeoutMilliseconds = stopTimeoutMilliseconds) => {
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMilliseconds);
    await ended;
    clearTimeout(timer);
  };
  let leave;
  const stop = async () => {
    try {
      await leave?.();
    } finally {
      await end('SIGTERM');
      rmSync(directory, { recursive: true, force: true });
    }
  };
  const deadline = spawned + timeout;
  const ports = broker.printsPort
    ? await Promise.race([readPorts(child, types), ended.then(() => ({})), wait(timeout, {}, { ref: false })])
    : chosen;
  const started = () => ({
    name,
    port: ports[broker.transport],
    ports,
    pid: child.pid,
    directory,
    startMilliseconds: performance.now() - spawned,
    end,
    stop,
  });
  if (broker.hasNoMqtt && ports[broker.transport] > 0) return started();
  while (ports.tcp > 0 && !hasEnded && performance.now() < deadline) {
    if (await isAccepting(ports.tcp, timeout)) {
      const result = started();
      try {
        leave = await broker.onlooker?.(ports);
      } catch (error) {
        await stop();
        throw error;
      }
      return result;
    }
    await wait(2);
  }
  await stop();
  throw new Error(`${name} did not start${errors ? `: ${errors.trim()}` : ''}`);
}
