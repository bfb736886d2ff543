/*
 * Goal: commands on the HTTP API find the broker and the key, and say what to do when they do not.
 * Method: the compiled program as child processes, against a real broker, a server that is no broker, and nothing at all.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test, { describe, type TestContext } from 'node:test';
import { Authority } from '../support/certificates.ts';
import { type HttpBroker, startHttpBroker } from '../support/http.ts';
import { storeDirectory } from '../support/store-directory.ts';
import { type Ended, runCommand } from './run-command.ts';

/** No key of whoever runs the tests. */
const ALONE = { XDG_CONFIG_HOME: storeDirectory(), ONEHOP_URL: '', ONEHOP_API_KEY: '' };

async function serve(t: TestContext, answer: http.RequestListener): Promise<string> {
  const server = http.createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe('commands on the HTTP API', { concurrency: 2 }, () => {
  test('a broker that is not there, one that is none, and addresses that are none', async (t) => {
    const stranger = await serve(t, (_, response) => response.writeHead(404).end('<html>not here</html>'));
    const silent = http.createServer((_, response) => response.destroy()).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    await new Promise((resolve) => silent.close(resolve));
    const cases: [string[], number, RegExp][] = [
      [
        ['clients', '--url', `http://127.0.0.1:${port}`],
        1,
        /^onehop: nothing listens at http:\/\/127\.0\.0\.1:\d+\nonehop: give the broker an HTTP listener .*type: http/,
      ],
      [['clients', '--url', stranger], 1, /^onehop: what answers at http:\S+ is no onehop: status 404\n$/],
      [['clients', '--url', 'ftp://x'], 2, /^onehop: --url: expected an address such as/],
      [['clients', '--url', 'nowhere'], 2, /expected an address/],
      [['kick', '..', '--url', stranger], 2, /"\.\." cannot be named in a URL/],
      [['clients', '--key', 'two words', '--url', stranger], 2, /characters that no key has/],
      [['publish', '-t', 'x', '--url', stranger], 2, /one of --message and --file/],
      [['p2p', '-c', 'x', '-m', 'y', '--json'], 2, /are for --confirm/],
      [['p2p', '-c', 'x', '-m', 'y', '--confirm', '-q', '0'], 2, /--confirm needs -q 1 or -q 2/],
      [['api', 'GET', 'me', '--header', 'x', '--url', stranger], 2, /expected "name: value"/],
    ];
    const results = await Promise.all(cases.map(([args]) => runCommand(args, ALONE)));
    for (const [index, [args, exit, message]] of cases.entries()) {
      const result = results[index]!;
      assert.match(result.stderr, message, args.join(' '));
      assert.deepEqual([result.exit, result.stdout], [exit, ''], args.join(' '));
      assert.doesNotMatch(result.stderr, /\n {4}at /);
    }
  });

  test('a port for something else, and a certificate that nobody vouches for', async (t) => {
    const authority = new Authority('cli');
    const { chain, key } = authority.issue('localhost', ['DNS:localhost', 'IP:127.0.0.1']);
    const broker = await startHttpBroker(t, {
      listeners: [
        { type: 'tcp', bind: '127.0.0.1:0' },
        { type: 'http', bind: '127.0.0.1:0' },
        { type: 'https', bind: '127.0.0.1:0', tls: { certificates: [{ chain, key }] } },
        { type: 'tls', bind: '127.0.0.1:0', tls: { certificates: [{ chain, key }] } },
      ],
    });
    const [mqtt, plain, secure, mqtts] = broker.ports.map((port) => `127.0.0.1:${port}`);
    const noHttp = 'does not speak HTTP, or has ended the connection: try https://, or say where the HTTP listener is: --url, ONEHOP_URL';
    const noHttps = 'does not speak HTTPS, or has ended the connection: try http://, or say where the HTTP listener is: --url, ONEHOP_URL';
    for (const [url, expected] of [
      [`http://${mqtt}`, `what answers at http://${mqtt} ${noHttp}`],
      [`http://${secure}`, `what answers at http://${secure} ${noHttp}`],
      [`http://${mqtts}`, `what answers at http://${mqtts} ${noHttp}`],
      [`https://${plain}`, `what answers at https://${plain} ${noHttps}`],
      [`https://${mqtt}`, `what answers at https://${mqtt} ${noHttps}`],
    ] as const)
      assert.deepEqual(await runCommand(['clients', '--url', url], ALONE), { exit: 1, stdout: '', stderr: `onehop: ${expected}\n` });
    const untrusted = await runCommand(['clients', '--url', `https://${secure}`], ALONE);
    assert.match(
      untrusted.stderr,
      /^onehop: the certificate of https:\S+ is not trusted \(unable to verify the first certificate\): .* NODE_EXTRA_CA_CERTS=FILE\n$/,
    );
    const trusted = { ...ALONE, ONEHOP_API_KEY: broker.keys.viewer, NODE_EXTRA_CA_CERTS: authority.root };
    assert.deepEqual(await runCommand(['alarms', '--url', `https://${secure}`], trusted), { exit: 0, stdout: 'no alarms\n', stderr: '' });
  });

  test('a key comes from the option, else the variable, else a file that only its owner reads', async (t) => {
    const broker = await startHttpBroker(t);
    const config = storeDirectory();
    mkdirSync(join(config, 'onehop'));
    const file = join(config, 'onehop', 'key');
    writeFileSync(file, `${broker.keys.viewer}\n`, { mode: 0o600 });
    const roleOf = async (args: string[], env: Readonly<Record<string, string>>): Promise<unknown> => {
      const result = await runCommand(['api', 'get', 'me', ...args], { ...ALONE, XDG_CONFIG_HOME: config, ONEHOP_URL: broker.url, ...env });
      return result.exit === 0 ? (JSON.parse(result.stdout) as { role: string }).role : result.stderr;
    };
    assert.equal(await roleOf([], {}), 'viewer');
    assert.equal(await roleOf([], { ONEHOP_API_KEY: broker.keys.operator }), 'operator');
    assert.equal(await roleOf(['--key', broker.keys.admin], { ONEHOP_API_KEY: broker.keys.operator }), 'admin');
    chmodSync(file, 0o640);
    assert.match(String(await roleOf([], {})), /others can read this key; run "chmod 600/);
    assert.equal(await roleOf([], { ONEHOP_API_KEY: broker.keys.operator }), 'operator', 'a file that is not needed is not read');
  });

  test('who may not is told what is missing', async (t) => {
    const broker = await startHttpBroker(t);
    const run = (role: 'viewer' | 'service', ...args: string[]): Promise<Ended> =>
      runCommand([...args, '--url', broker.url], { ...ALONE, ONEHOP_API_KEY: broker.keys[role] });
    const wrong = await runCommand(['clients', '--url', broker.url, '--key', 'ohk_nobody_x'], ALONE);
    assert.equal(wrong.exit, 1);
    assert.match(wrong.stderr, /does not take these credentials[\s\S]*onehop apikey add/);
    const refused = await run('service', 'clients');
    assert.equal(refused.exit, 1);
    assert.match(
      refused.stderr,
      /this needs the role viewer; yours is service\nonehop: "onehop apikey add NAME .*--file FILE.*http\.apiKeys/,
    );
    const kicked = await run('viewer', 'kick', 'dev-1');
    assert.match(kicked.stderr, /this needs the role operator; yours is viewer/);
    const keyless = await runCommand(['clients', '--url', broker.url], ALONE);
    assert.match(keyless.stderr, /yours is service\nonehop: "onehop apikey add NAME/, 'where clients need no credentials either');
    const raw = await runCommand(['api', 'GET', 'clients', '--url', broker.url], ALONE);
    assert.match(raw.stderr, /^onehop: "onehop apikey add NAME/);
    const missing = await run('viewer', 'clients', 'show', 'nobody');
    assert.doesNotMatch(missing.stderr, /apikey/);
  });

  test('api prints the body and nothing else', async (t) => {
    const broker: HttpBroker = await startHttpBroker(t);
    const run = (...args: string[]): Promise<Ended> =>
      runCommand(['api', ...args], { ...ALONE, ONEHOP_URL: broker.url, ONEHOP_API_KEY: broker.keys.admin });
    const health = await run('GET', '/healthz', '--include');
    assert.deepEqual([health.exit, health.stdout], [0, '{"status":"ok"}\n']);
    assert.match(health.stderr, /^200 OK\n[\s\S]*x-request-id: /);
    const missing = await run('GET', 'nowhere');
    assert.equal(missing.exit, 1);
    assert.equal((JSON.parse(missing.stdout) as { code: string }).code, 'not-found');
    const posted = await run('post', '/topics/a%2Fb', '--data', 'x', '--header', 'Content-Type: text/plain');
    assert.equal(posted.exit, 0, posted.stdout);
  });
});
