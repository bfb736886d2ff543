/**
 * Takes the steps of the Dockerfile in a temporary folder, and proves that the result works: install, build, pack, install the package elsewhere with
 * production dependencies only, start the broker, publish, receive, look at the console, stop.
 *
 * It sees what a user gets: the files of the package and nothing of the checkout. Every wait has a limit, and everything that it starts or writes is
 * gone at the end.
 */
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'onehop-package-'));
const build = join(folder, 'build');
const elsewhere = join(folder, 'elsewhere');
const stepSeconds = 60;
const children = [];

function fail(message) {
  throw new Error(`package check: ${message}`);
}

function run(cwd, command, ...args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8', timeout: 600_000 });
  if (status !== 0) fail(`"${command} ${args.join(' ')}" failed: ${error?.message ?? `${stdout}${stderr}`}`);
  return stdout;
}

/** A child whose output is kept, with waits for a text in it and for its end. */
function begin(command, ...args) {
  const child = spawn(command, args, { cwd: elsewhere, stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  const name = `"${args.join(' ')}"`;
  let output = '';
  const listeners = new Set();
  const add = (chunk) => {
    output += chunk;
    for (const listener of listeners) listener();
  };
  child.stdout.setEncoding('utf8').on('data', add);
  child.stderr.setEncoding('utf8').on('data', add);
  const ended = new Promise((resolve) => child.on('close', (code, signal) => resolve(code ?? signal)));
  const within = (promise, what) => {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`package check: ${name}: ${what} within ${stepSeconds} s; it said:\n${output}`)),
        stepSeconds * 1_000,
      );
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
  };
  const says = (pattern) =>
    new Promise((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(output);
        if (match !== null) resolve(match);
      };
      listeners.add(look);
      look();
      ended.then((code) => reject(new Error(`package check: ${name} ended with ${code} before it said ${pattern}:\n${output}`)), reject);
    });
  return {
    child,
    says: (pattern) => within(says(pattern), `did not say ${pattern}`),
    end: () => within(ended, 'did not end'),
    output: () => output,
  };
}

/** Leaves the binary of this platform, as the Dockerfile does. */
function keepOwnBinary() {
  const own = `uws_${process.platform}_${process.arch}_${process.versions.modules}.node`;
  const folders = readdirSync(join(elsewhere, 'node_modules'), { recursive: true }).filter((name) =>
    name.endsWith(join('uWebSockets.js', 'dist', 'bin')),
  );
  if (folders.length !== 1) fail(`uWebSockets.js is there ${folders.length} times`);
  const bin = join(elsewhere, 'node_modules', folders[0]);
  const names = readdirSync(bin);
  if (!names.includes(own)) fail(`uWebSockets.js has no ${own}`);
  for (const name of names) if (name !== own) rmSync(join(bin, name));
}

/** Opens a WebSocket by its first request. */
function upgrade(port) {
  const headers = {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==',
    'Sec-WebSocket-Protocol': 'mqtt',
  };
  return new Promise((resolve, reject) => {
    const request = get({ host: '127.0.0.1', port, path: '/mqtt', headers, timeout: stepSeconds * 1_000 });
    request.on('upgrade', (_response, socket) => {
      socket.destroy();
      resolve();
    });
    request.on('response', ({ statusCode }) => reject(new Error(`package check: the WebSocket was answered ${statusCode}`)));
    request.on('timeout', () => request.destroy(new Error('package check: no WebSocket in time')));
    request.on('error', reject);
  });
}

/** The console is in the package, built, and served. */
async function lookAtConsole(port) {
  const page = await fetch(`http://127.0.0.1:${port}/console/`, { signal: AbortSignal.timeout(stepSeconds * 1_000) });
  const text = await page.text();
  const script = /src="([^"]+\.js)"/.exec(text);
  if (page.status !== 200 || script === null) fail(`the console was answered ${page.status}: ${text}`);
  const { status } = await fetch(`http://127.0.0.1:${port}${script[1]}`, { signal: AbortSignal.timeout(stepSeconds * 1_000) });
  if (status !== 200) fail(`the console's script was answered ${status}`);
}

/** The files of the checkout that belong to the repository, without anything installed or built. */
function copySources() {
  const names = run(root, 'git', 'ls-files', '--cached', '--others', '--exclude-standard').split('\n');
  for (const name of names.filter((entry) => entry !== '' && existsSync(join(root, entry)))) {
    mkdirSync(join(build, dirname(name)), { recursive: true });
    cpSync(join(root, name), join(build, name));
  }
}

async function check() {
  copySources();
  run(build, 'npm', 'ci', '--no-audit', '--no-fund');
  run(build, 'npm', 'run', 'build');
  // The lock file goes into the package, so that whoever installs it gets the versions that were tested.
  run(build, 'npm', 'shrinkwrap');
  run(build, 'npm', 'pack');
  const tarball = readdirSync(build).find((name) => name.endsWith('.tgz')) ?? fail('npm pack made no tarball');

  mkdirSync(elsewhere);
  writeFileSync(join(elsewhere, 'package.json'), '{ "private": true }\n');
  run(elsewhere, 'npm', 'install', '--omit=dev', '--no-audit', '--no-fund', join(build, tarball));
  for (const name of ['typescript', '@biomejs/biome', 'fast-check', 'aedes', 'vite', 'preact', 'playwright-core']) {
    if (existsSync(join(elsewhere, 'node_modules', name))) fail(`${name} is only for development, and was installed`);
  }
  const files = readdirSync(join(elsewhere, 'node_modules', 'onehop'));
  for (const name of ['src', 'test', 'native-bench', 'scripts']) if (files.includes(name)) fail(`${name}/ is in the package`);

  keepOwnBinary();
  const bin = join(elsewhere, 'node_modules', '.bin', 'onehop');
  const listeners = 'listeners=[{ type: tcp, bind: 127.0.0.1:0 }, { type: ws, bind: 127.0.0.1:0 }, { type: http, bind: 127.0.0.1:0 }]';
  const broker = begin(bin, 'start', '--set', listeners, '--shards', '2');
  const [, port, webSocketPort, httpPort] = await broker.says(
    /listens on 127\.0\.0\.1:(\d+), ws 127\.0\.0\.1:(\d+), http 127\.0\.0\.1:(\d+)/,
  );
  await upgrade(Number(webSocketPort));
  await lookAtConsole(httpPort);
  const subscriber = begin(bin, 'sub', '--port', port, '-t', 'package/#', '-q', '1', '-n', '1', '-v');
  await subscriber.says(/subscribed to package\/#/);
  const publisher = begin(bin, 'pub', '--port', port, '-t', 'package/check', '-m', 'it works', '-q', '1');
  if ((await publisher.end()) !== 0) fail(`pub failed:\n${publisher.output()}`);
  if ((await subscriber.end()) !== 0) fail(`sub failed:\n${subscriber.output()}`);
  if (!subscriber.output().includes('package/check it works')) fail(`sub printed something else:\n${subscriber.output()}`);
  broker.child.kill('SIGTERM');
  const code = await broker.end();
  if (code !== 0) fail(`the broker ended with ${code} after SIGTERM:\n${broker.output()}`);
}

try {
  await check();
  console.log('package check: packed, installed, started, published, received, opened a WebSocket, looked at the console, stopped');
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  for (const child of children) if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}
