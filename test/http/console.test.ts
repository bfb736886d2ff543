/**
 * Goal: the console's files are served as they should be to any browser, and to nobody where it is switched off.
 * Method: requests to a real broker. What the files do in a browser is in test/console.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { type HttpBroker, startHttpBroker } from '../support/http.ts';

/** A path as it is written: fetch would tidy it up. */
async function ask(
  { url }: HttpBroker,
  path: string,
  headers: Record<string, string> = {},
  method: string = 'GET',
): Promise<{ readonly head: http.IncomingMessage; readonly body: Buffer }> {
  const { port } = new URL(url);
  const request = http.request({ host: '127.0.0.1', port, path, headers, method }).end();
  const [head] = (await once(request, 'response')) as [http.IncomingMessage];
  const parts: Buffer[] = [];
  for await (const part of head) parts.push(part as Buffer);
  return { head, body: Buffer.concat(parts) };
}

describe('the files of the console', () => {
  test('the page comes with a policy that lets nothing else in', async (t) => {
    const broker = await startHttpBroker(t);
    const { head, body } = await ask(broker, '/console/');
    assert.equal(head.statusCode, 200);
    assert.equal(head.headers['content-type'], 'text/html; charset=utf-8');
    assert.equal(head.headers['cache-control'], 'no-cache');
    assert.equal(head.headers['referrer-policy'], 'no-referrer');
    assert.equal(head.headers['x-content-type-options'], 'nosniff');
    const policy = new Map(
      String(head.headers['content-security-policy'])
        .split('; ')
        .map((part) => [part.split(' ')[0]!, part]),
    );
    assert.equal(policy.get('default-src'), "default-src 'self'");
    assert.equal(policy.get('script-src'), "script-src 'self'");
    assert.equal(policy.get('style-src'), "style-src 'self'");
    assert.equal(policy.get('frame-ancestors'), "frame-ancestors 'none'");
    assert.doesNotMatch([...policy.values()].join(), /unsafe|https?:|\*/);
    assert.doesNotMatch(body.toString(), /<style|style=|<script(?![^>]* src=)/, 'the policy would refuse what is inline');
    assert.doesNotMatch(body.toString(), /https?:\/\//);
    for (const path of ['/', '/console']) {
      const moved = await ask(broker, path);
      assert.equal(moved.head.statusCode, 302);
      assert.equal(moved.head.headers.location, '/console/');
    }
  });

  test('what has its hash in its name is kept for a year, packed, and is asked for again for nothing', async (t) => {
    const broker = await startHttpBroker(t, { shards: 2 });
    const { body: page } = await ask(broker, '/console/index.html');
    const script = /src="(\/console\/assets\/[^"]+\.js)"/.exec(page.toString())![1]!;
    const sheet = /href="(\/console\/assets\/[^"]+\.css)"/.exec(page.toString())![1]!;
    const plain = await ask(broker, script);
    assert.equal(plain.head.headers['content-type'], 'text/javascript; charset=utf-8');
    assert.equal(plain.head.headers['cache-control'], 'public, max-age=31536000, immutable');
    assert.equal(plain.head.headers['content-encoding'], undefined);
    const packed = await ask(broker, script, { 'accept-encoding': 'gzip, br' });
    assert.equal(packed.head.headers['content-encoding'], 'gzip');
    assert.deepEqual(gunzipSync(packed.body), plain.body);
    assert.ok(packed.body.length < 250 * 1024, `${packed.body.length} bytes`);
    const tag = String(plain.head.headers.etag);
    const again = await ask(broker, script, { 'if-none-match': tag, 'accept-encoding': 'gzip' });
    assert.equal(again.head.statusCode, 304);
    assert.equal(again.body.length, 0);
    assert.equal(again.head.headers['content-length'], undefined);
    assert.equal((await ask(broker, sheet, { 'if-none-match': tag })).head.statusCode, 200);
    assert.equal((await ask(broker, sheet)).head.headers['content-type'], 'text/css; charset=utf-8');
    const head = await ask(broker, script, {}, 'HEAD');
    assert.equal(head.head.headers['content-length'], String(plain.body.length));
    assert.equal(head.body.length, 0);
  });

  test('nothing else of the disk is served', async (t) => {
    const broker = await startHttpBroker(t);
    for (const path of [
      '../package.json',
      '..%2fpackage.json',
      '%2e%2e/src/cli/main.js',
      'assets',
      'index.html.gz',
      'assets/../index.html',
      '%00',
    ])
      assert.equal((await ask(broker, `/console/${path}`)).head.statusCode, 404, path);
    assert.equal((await ask(broker, '/console/', {}, 'POST')).head.statusCode, 405);
  });

  test('where it is switched off, there is nothing', async (t) => {
    const broker = await startHttpBroker(t, { 'http.console': false });
    for (const path of ['/', '/console', '/console/', '/console/index.html']) {
      const { head, body } = await ask(broker, path);
      assert.equal(head.statusCode, 404, path);
      assert.match(body.toString(), /http\.console/);
    }
    assert.equal((await broker.request('GET', '/healthz')).status, 200);
  });
});
