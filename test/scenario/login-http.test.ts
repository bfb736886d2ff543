/*
 * Goal: a service that judges logins. What it says counts, and only what it says in the agreed form; it is asked for exactly what the template says; when it is slow or
 * down, only its own clients notice, and after a while nobody waits for it.
 * Method: a real HTTP server in the test that answers as told.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { describe, type TestContext } from 'node:test';
import { connackCode, connect } from '../support/client.ts';
import { CounterWatch, stage } from './observe.ts';
import { connectBytes, RawConnection } from './raw-connection.ts';

interface Asked {
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** A server whose answers the test writes. */
async function service(t: TestContext, answer: (asked: Asked, response: ServerResponse) => void): Promise<{ url: string; asked: Asked[] }> {
  const asked: Asked[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const one = { url: request.url ?? '', headers: request.headers, body };
    asked.push(one);
    answer(one, response);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/auth`, asked };
}

function say(response: ServerResponse, answer: unknown, status = 200, type = 'application/json'): void {
  response.writeHead(status, { 'content-type': type }).end(typeof answer === 'string' ? answer : JSON.stringify(answer));
}

function brokerWith(t: TestContext, authenticator: object, more: object = {}): ReturnType<typeof stage> {
  const list = [{ type: 'http', ...authenticator }];
  return stage(t, { shards: 2, 'auth.authenticators': list, 'auth.failures.perAddress': 0, 'auth.failures.perName': 0, ...more });
}

describe('login by a service', { concurrency: 4 }, () => {
  test('its answers, and what is none', async (t) => {
    const answers: Record<string, (response: ServerResponse) => void> = {
      allow: (response) => say(response, { result: 'allow' }),
      charset: (response) => say(response, { result: 'allow', is_superuser: true }, 200, 'application/json; charset=utf-8'),
      nothing: (response) => void response.writeHead(204).end(),
      deny: (response) => say(response, { result: 'deny' }),
      ignore: (response) => say(response, { result: 'ignore' }),
      word: (response) => say(response, { result: 'yes' }),
      text: (response) => say(response, { result: 'allow' }, 200, 'text/plain'),
      broken: (response) => say(response, '{"result": "allow"'),
      created: (response) => say(response, { result: 'allow' }, 201),
      forbidden: (response) => say(response, { result: 'allow' }, 403),
      large: (response) => say(response, { result: 'allow', padding: 'x'.repeat(100_000) }),
    };
    const { url } = await service(t, ({ body }, response) => answers[(JSON.parse(body) as { username: string }).username]!(response));
    const broker = await brokerWith(t, { url });
    for (const name of Object.keys(answers))
      assert.equal(
        await connackCode(broker.port, { username: name, password: 'x' }),
        ['allow', 'charset', 'nothing'].includes(name) ? 0 : name === 'large' ? 0x88 : 0x86,
        name,
      );
  });

  test('User Properties go along as headers where that is written, and only then', async (t) => {
    const { url, asked } = await service(t, (_asked, response) => say(response, { result: 'allow' }));
    const shown: [string, string][] = [
      ['X-Region', 'eu'],
      ['host', 'evil'],
      ['authorization', 'Bearer of a client'],
      ['x-token', 'mine'],
    ];
    const who = { username: 'a', password: 'b', properties: { userProperties: shown } };
    const headers = { authorization: 'Bearer of the broker', 'X-Token': 'ours' };
    const withThem = await brokerWith(t, { url, headers, includeUserProperties: true });
    assert.equal(await connackCode(withThem.port, who), 0);
    const got = asked[0]!.headers;
    assert.deepEqual([got['x-region'], got['authorization'], got['x-token']], ['eu', 'Bearer of the broker', 'ours']);
    assert.match(got['host']!, /^127\.0\.0\.1:/);
    const without = await brokerWith(t, { url, headers });
    assert.equal(await connackCode(without.port, who), 0);
    assert.equal(asked[1]!.headers['x-region'], undefined);
  });

  test('the template says what is asked, and a client cannot add to it', async (t) => {
    const { url, asked } = await service(t, (_asked, response) => say(response, { result: 'allow' }));
    const template = { who: '${Username}', id: 'id-${ClientId}', from: '${Address}', secret: '${Password}', kept: '${Other}' };
    const post = await brokerWith(t, {
      url,
      body: template,
      headers: { authorization: 'Bearer of the broker', 'x-client': '${ClientId}' },
    });
    const evil = { clientId: 'a"\r\nx-admin: 1', username: '${Password}', password: 'p"w' };
    assert.equal(await connackCode(post.port, evil), 0);
    assert.deepEqual(JSON.parse(asked[0]!.body), {
      who: '${Password}',
      id: `id-${evil.clientId}`,
      from: '127.0.0.1',
      secret: 'p"w',
      kept: '${Other}',
    });
    assert.equal(asked[0]!.headers['authorization'], 'Bearer of the broker');
    assert.equal(asked[0]!.headers['x-admin'], undefined);
    assert.equal(decodeURI(String(asked[0]!.headers['x-client'])), evil.clientId);
    const get = await brokerWith(t, { url: `${url}?fixed=1`, method: 'GET', body: { user: '${Username}' } });
    assert.equal(await connackCode(get.port, { username: 'a&user=b', password: 'x' }), 0);
    assert.deepEqual(
      [...new URL(asked[1]!.url, url).searchParams],
      [
        ['fixed', '1'],
        ['user', 'a&user=b'],
      ],
    );
    assert.equal(asked[1]!.body, '');
  });

  test('yes and no are remembered as long as is written', async (t) => {
    const { url, asked } = await service(t, ({ body }, response) => say(response, { result: body.includes('good') ? 'allow' : 'deny' }));
    const broker = await brokerWith(t, { url, cache: '1h' });
    for (let n = 0; n < 3; n++) {
      assert.equal(await connackCode(broker.port, { clientId: 'c', username: 'u', password: 'good' }), 0);
      assert.equal(await connackCode(broker.port, { clientId: 'c', username: 'u', password: 'bad' }), 0x86);
    }
    assert.equal(asked.length, 2);
    assert.equal(await connackCode(broker.port, { clientId: 'd', username: 'u', password: 'good' }), 0);
    assert.equal(asked.length, 3, 'another client is another question');
  });

  test('what is remembered does not wait for a service that is slow', async (t) => {
    const { url } = await service(t, ({ body }, response) => {
      if (body.includes('good')) say(response, { result: 'allow' });
    });
    const broker = await brokerWith(t, { url, cache: '1h', concurrency: 1, readTimeout: '8s' });
    const good = { clientId: 'c', username: 'u', password: 'good' };
    assert.equal(await connackCode(broker.port, good), 0);
    const slow = connackCode(broker.port, { username: 'u', password: 'slow' });
    let isSlowDone = false;
    void slow.then(() => {
      isSlowDone = true;
    });
    for (let n = 0; n < 3; n++) assert.equal(await connackCode(broker.port, good), 0);
    assert.equal(isSlowDone, false);
    assert.equal(await slow, 0x88);
  });

  test('a service that does not answer holds back nobody else, and is given up for a while', async (t) => {
    const { url, asked } = await service(t, () => {});
    const broker = await brokerWith(t, { url, readTimeout: '200ms', concurrency: 2 }, { 'auth.allowAnonymous': true });
    const calm = await connect(broker.port);
    const waiting = Array.from({ length: 8 }, () => connackCode(broker.port, { username: 'u', password: 'x' }));
    await calm.ping();
    assert.deepEqual([...new Set(await Promise.all(waiting))], [0x88], 'nobody has said that the password is wrong');
    const before = asked.length;
    assert.equal(await connackCode(broker.port, { username: 'u', password: 'x' }), 0x88);
    assert.equal(asked.length, before, 'five failures in a row: it is not asked any more');
    await broker.line(({ cause }) => String(cause).includes('not asked: it has failed again and again'));
    await calm.ping();
  });

  test('who waits for a free connection waits for a bounded time', async (t) => {
    const { url } = await service(t, () => {});
    const broker = await brokerWith(t, { url, connectTimeout: '100ms', readTimeout: '300ms', concurrency: 1 });
    // One after the other they would take 12 seconds, longer than the broker waits for a verdict.
    const codes = await Promise.all(Array.from({ length: 40 }, () => connackCode(broker.port, { username: 'u', password: 'x' })));
    assert.deepEqual([...new Set(codes)], [0x88]);
    const causes = broker.log.map(({ cause }) => String(cause)).filter((cause) => cause.startsWith('http'));
    assert.ok(causes.length > 0);
  });

  test('nothing listens there: refused at once', async (t) => {
    const broker = await brokerWith(t, { url: 'http://127.0.0.1:1/auth' });
    assert.equal(await connackCode(broker.port, { username: 'u', password: 'x' }), 0x88);
  });

  test('an end that has passed, or is no time', async (t) => {
    const ends: Record<string, unknown> = {
      text: '1700000000',
      past: 1_700_000_000,
      negative: -5,
      later: Math.floor(Date.now() / 1000) + 600,
    };
    const { url } = await service(t, ({ body }, response) => {
      say(response, { result: 'allow', expire_at: ends[(JSON.parse(body) as { username: string }).username] });
    });
    const broker = await brokerWith(t, { url });
    for (const name of Object.keys(ends))
      assert.equal(await connackCode(broker.port, { username: name, password: 'x' }), name === 'later' ? 0 : 0x86, name);
  });

  test('nobody is asked for clients that have gone', async (t) => {
    const open: ServerResponse[] = [];
    const { url, asked } = await service(t, ({ body }, response) => {
      if (body.includes('"username":""')) say(response, { result: 'ignore' });
      else if (body.includes('right')) say(response, { result: 'allow' });
      else open.push(response);
    });
    const broker = await brokerWith(
      t,
      { url, concurrency: 1, readTimeout: '30s' },
      { shards: 1, 'auth.allowAnonymous': true, 'mqtt.sysInterval': 1 },
    );
    const watch = await CounterWatch.open(broker.port);
    const bytes = (n: number): Uint8Array => connectBytes(`gone${n}`, { username: 'u'.repeat(5000), password: new Uint8Array(60_000) });
    const gone = Array.from({ length: 30 }, (_, n) => {
      const connection = new RawConnection(broker.port);
      connection.send(bytes(n));
      return connection;
    });
    await watch.reaches('logins/waiting', (waiting) => waiting === 30);
    for (const connection of gone) await connection.reset();
    await watch.reaches('logins/waiting', (waiting) => waiting === 0);
    for (const response of open) say(response, { result: 'allow' });
    assert.equal(await connackCode(broker.port, { username: 'right', password: 'x' }), 0);
    assert.equal(
      asked.filter(({ body }) => !body.includes('"username":""')).length,
      2,
      'the first, which was under way, and the one that is there',
    );
  });
});
