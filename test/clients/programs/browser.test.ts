/**
 * Goal: a page in a browser talks MQTT over WebSocket, plain and over TLS: it subscribes, publishes, and receives a P2P message.
 * Method: headless Chromium opens a page that this test serves, with MQTT.js as it comes for browsers; at its end the page posts what it has done.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import test, { after, before, describe } from 'node:test';
import { startBroker, type TestBroker } from '../../support/broker.ts';
import { Authority } from '../../support/certificates.ts';
import { connect, payloadText } from '../../support/client.ts';
import { clientIdOn } from '../../support/placement.ts';
import { beginProgram } from '../child-program.ts';

const SHARDS = 2;
const HOST = '127.0.0.1';
/** Longest life of a page. */
const PAGE_MILLISECONDS = 60_000;

const bundle = join(dirname(createRequire(import.meta.url).resolve('mqtt/package.json')), 'dist/mqtt.min.js');
const profile = mkdtempSync(join(tmpdir(), 'onehop-browser-'));
let pages: Server;
let broker: TestBroker;
/** Who waits for what a page says, by its Client Identifier. */
const listeners = new Map<string, (lines: string[]) => void>();

const page = `<!doctype html>
<title>onehop</title>
<script src="/mqtt.js"></script>
<script>
  const asked = new URLSearchParams(location.search);
  const said = [];
  const say = (line) => said.push(line);
  const client = mqtt.connect(asked.get('url'), { protocolVersion: 5, clientId: asked.get('id'), reconnectPeriod: 0 });
  client.on('error', (error) => say('error ' + error.message));
  client.on('close', () => {
    say('closed');
    fetch('/said?' + asked.get('id'), { method: 'POST', body: said.join('\\n') });
  });
  client.on('connect', async () => {
    say('connected');
    await client.subscribeAsync('page/' + asked.get('id'), { qos: 1 });
    await client.publishAsync('page/' + asked.get('id'), 'x'.repeat(100000), { qos: 2 });
    await client.publishAsync('ready/p2p/' + asked.get('friend'), asked.get('id'), { qos: 1 });
  });
  client.on('message', (topic, payload) => {
    say(topic + ' ' + (payload.length > 100 ? payload.length + ' bytes' : payload.toString()));
    if (topic.startsWith('answer/')) client.end();
  });
</script>`;

before(async () => {
  const authority = new Authority('browser');
  const tls = { certificates: [authority.issue('localhost', ['DNS:localhost', `IP:${HOST}`])] };
  pages = createServer((request, response) => {
    if (request.method === 'POST') {
      void text(request).then((said) => listeners.get(request.url!.split('?')[1]!)?.(said.split('\n')));
      response.end();
      return;
    }
    const isScript = request.url === '/mqtt.js';
    response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html');
    response.end(isScript ? readFileSync(bundle) : page);
  }).listen(0, HOST);
  await once(pages, 'listening');
  const webSocket = { origins: [pageOrigin()] };
  const bind = `${HOST}:0`;
  const doors = [
    { type: 'tcp', bind },
    { type: 'ws', bind, webSocket },
    { type: 'wss', bind, tls, webSocket },
    { type: 'ws', bind, webSocket: { origins: ['https://console.example.test'] } },
  ];
  broker = await startBroker({ shards: SHARDS, listeners: doors });
});
after(async () => {
  pages.close();
  assert.equal(await broker.stop(), 0);
  rmSync(profile, { recursive: true, force: true });
});

function pageOrigin(): string {
  return `http://${HOST}:${(pages.address() as { port: number }).port}`;
}

/** What a page has said when it has come to its end. */
async function opened(url: string, clientId: string, friend: string): Promise<string[]> {
  const asked = new URLSearchParams({ url, id: clientId, friend });
  const said = new Promise<string[]>((resolve) => listeners.set(clientId, resolve));
  const options = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--ignore-certificate-errors'];
  const chromium = beginProgram('chromium', [...options, `--user-data-dir=${join(profile, clientId)}`, `${pageOrigin()}/?${asked}`]);
  const late = setTimeout(() => chromium.kill('SIGKILL'), PAGE_MILLISECONDS);
  const lines = await Promise.race([said, chromium.ended.then(({ stderr }) => [`chromium has ended: ${stderr}`])]);
  clearTimeout(late);
  chromium.kill('SIGTERM');
  await chromium.ended;
  return lines;
}

describe('a page in a browser', () => {
  for (const [index, scheme] of ['ws', 'wss'].entries()) {
    for (const owner of [0, 1]) {
      test(`over ${scheme} (owner ${owner})`, async () => {
        const friend = await connect(broker.port, { clientId: clientIdOn(1 - owner, SHARDS) });
        const clientId = clientIdOn(owner, SHARDS);
        const said = opened(`${scheme}://${HOST}:${broker.ports[1 + index]}/mqtt`, clientId, friend.clientId);
        const asked = await Promise.race([friend.next(), said.then((lines) => assert.fail(lines.join('\n')))]);
        assert.equal(payloadText(asked), clientId);
        await friend.publish(`answer/p2p/${clientId}`, 'good morning', { qos: 1 });
        assert.deepEqual(await said, ['connected', `page/${clientId} 100000 bytes`, `answer/p2p/${clientId} good morning`, 'closed']);
        await friend.disconnect();
      });
    }
  }

  test('of an origin that the listener does not allow', async () => {
    const lines = await opened(`ws://${HOST}:${broker.ports[3]}/mqtt`, 'stranger', 'nobody');
    assert.ok(!lines.includes('connected'), lines.join('\n'));
    await broker.line(({ msg, status }) => msg === 'WebSocket refused' && status === '403 Forbidden');
  });
});
